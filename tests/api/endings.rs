//! Handles that end, wait or give up: what is left behind, and how long it takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stratavec::storage::FileKind;
use stratavec::storage::testing::{CrashOptions, Fault, FaultDir, FaultPlan, MemDir, Op, Repeat};
use stratavec::{Collection, Compact, Compaction, Durability, ErrorKind, OpenOptions};

use super::scene::{inline, open, plain};
use super::slow_disk::SlowDisk;

const V: [f32; 2] = [0.0, 1.0];

/// Waits for something that other threads bring about.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn files_of(disk: &MemDir, kind: FileKind) -> usize {
    disk.names().into_iter().filter(|name| name.kind() == Some(kind)).count()
}

/// Some files, each flushed by itself.
fn fill(c: &Collection, files: u64) {
    for id in 0..files {
        c.upsert(id, &[id as f32, 0.0]).expect("upsert");
        c.flush().expect("flush");
    }
}

#[test]
fn merges_that_fail_are_tried_again_by_themselves_and_do_not_hold_up_close() {
    let disk = MemDir::new(1);
    let eager = Compaction::Auto { dead_ratio: 0.2, fanout: 2 };
    let storage = Arc::new(FaultDir::with_disk(disk.clone(), &disk));
    let c = Collection::create_in(storage.clone(), plain(), OpenOptions::new().compaction(eager)).expect("create");
    // Only merges ask how much is free.
    storage.arm(FaultPlan::new(Fault::Io, 0, Repeat::Forever).on(&[Op::FreeBytes]));
    let began = Instant::now();
    fill(&c, 2);
    let failures = || c.stats().compaction_error.map_or(0, |(times, _)| times);
    eventually("a merge fails", || failures() >= 1);
    // Flushes do not cut the wait short, and nothing but time ends it.
    fill(&c, 2);
    eventually("it is tried again", || failures() >= 2);
    assert!(began.elapsed() >= Duration::from_secs(1), "the next try waits a second");
    let before = Instant::now();
    c.close().expect("close");
    assert!(before.elapsed() < Duration::from_secs(1), "close took {:?}", before.elapsed());
}

// [C3]
#[test]
fn an_empty_batch_makes_earlier_ones_durable() {
    for level in [Durability::Sync, Durability::Group] {
        let os = OpenOptions::new().durability(Durability::Os);
        let c = Collection::create_in(Arc::new(MemDir::new(1)), plain(), os).expect("create");
        let receipt = c.upsert(1u64, &V).expect("upsert");
        assert!(!c.batch().commit().expect("an empty batch").durable);
        let empty = c.batch().commit_with(level).expect("an empty batch");
        assert!(empty.durable && c.durable_seq() >= receipt.seq, "{empty:?}");
    }
}

#[test]
fn closing_ends_a_compaction_and_nothing_moves_after_it() {
    let memory = MemDir::new(2);
    let disk = SlowDisk::new(memory.clone());
    let c = Collection::create_in(disk.clone(), plain(), OpenOptions::new().compaction(Compaction::Manual))
        .expect("create");
    fill(&c, 5);
    disk.hold(FileKind::Row);
    let job = c.compact(Compact::Full).expect("start");
    disk.wait_until_held();
    let closing = std::thread::spawn(move || c.close());
    std::thread::sleep(Duration::from_millis(50));
    assert!(!closing.is_finished(), "the job still holds the collection");
    disk.release();
    closing.join().expect("close").expect("close");
    let (names, calls) = (memory.names(), memory.calls());
    assert_eq!(open(&memory).snapshot().count(), 5, "the lock is free at once");
    assert!(memory.calls() > calls);
    // On a busy machine it may have been done before it heard of the end.
    assert!(job.wait().err().is_none_or(|error| error.kind() == ErrorKind::Cancelled));
    assert_eq!(memory.names(), names, "nothing was left, nothing had to be recovered");
}

#[test]
fn writers_that_live_briefly_leave_few_files() {
    let disk = MemDir::new(3);
    let storage = Arc::new(disk.clone());
    Collection::create_in(storage.clone(), plain(), OpenOptions::new()).expect("create").close().expect("close");
    for round in 0..40u64 {
        let c = Collection::open_in(storage.clone(), OpenOptions::new()).expect("open");
        let mut batch = c.batch();
        (0..20u64).for_each(|id| {
            batch.upsert(id, &[round as f32, 0.0]);
        });
        batch.commit().expect("commit");
        c.close().expect("close");
    }
    let c = open(&disk);
    let stats = c.stats();
    assert!(c.recovery().is_clean() && stats.row_files <= 2, "{} files", stats.row_files);
    assert_eq!(c.snapshot().count(), 20);
}

// [C1], [C9], [C12]: whatever call of a merge fails, the manifest it left may be visible and not durable.
#[test]
fn a_merge_after_a_clean_open_leaves_nothing_unproven() {
    let mut poisoned = 0;
    for after in 0..8 {
        for fault in [Fault::Io, Fault::IoAfter] {
            let disk = MemDir::new(4);
            let storage = Arc::new(FaultDir::with_disk(disk.clone(), &disk));
            let c = Collection::create_in(storage.clone(), plain(), inline()).expect("create");
            fill(&c, 4);
            c.close().expect("close");
            let c = Collection::open_in(storage.clone(), inline()).expect("open");
            storage.arm(FaultPlan::new(fault, after, Repeat::Once).on(&[Op::SyncDir, Op::Publish]));
            let merged = c.compact(Compact::Full).expect("start").wait();
            storage.disarm();
            if let Err(error) = merged {
                // What cannot be tried again says so.
                let ends = c.stats().poisoned.is_some();
                assert_eq!(error.kind() == ErrorKind::Poisoned, ends, "{error}");
                poisoned += u32::from(ends);
            }
            drop(c);
            assert_eq!(open(&disk).snapshot().count(), 4);
            for image in disk.crash_images(&CrashOptions::default()) {
                assert_eq!(open(&image).snapshot().count(), 4, "{fault:?} after {after}");
            }
        }
    }
    assert!(poisoned > 4, "the test is about failed syncs: {poisoned}");
}

// [C13]
#[test]
fn a_flush_that_cannot_be_published_leaves_no_files() {
    let disk = MemDir::new(5);
    let storage = Arc::new(FaultDir::with_disk(disk.clone(), &disk));
    let c = Collection::create_in(storage.clone(), plain(), inline()).expect("create");
    fill(&c, 1);
    c.upsert(0u64, &V).expect("upsert");
    storage.arm(FaultPlan::new(Fault::NoSpace, 0, Repeat::Forever).on(&[Op::Create]).of(&[FileKind::Temp]));
    for _ in 0..3 {
        assert_eq!(c.flush().expect_err("no space").kind(), ErrorKind::NoSpace);
    }
    let of = |kind| files_of(&disk, kind);
    assert_eq!((of(FileKind::Row), of(FileKind::IdTable), of(FileKind::Tombstone)), (1, 1, 0));
    storage.disarm();
    c.flush().expect("space again");
    assert_eq!(c.snapshot().count(), 1);
}

// [C13]: recovery needs space; reading does not.
#[test]
fn a_full_disk_can_still_be_read() {
    let disk = MemDir::new(6);
    let c = Collection::create_in(Arc::new(disk.clone()), plain(), inline()).expect("create");
    for id in 0..50u64 {
        c.upsert(id, &V).expect("upsert");
    }
    drop(c);
    for free in [0, 4096, 20_000] {
        disk.set_free_bytes(Some(free));
        let before = disk.names();
        let error = match Collection::open_in(Arc::new(disk.clone()), OpenOptions::new()) {
            Err(error) => error,
            Ok(_) => break,
        };
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(error.hint().is_some_and(|hint| hint.contains("open_read_only")), "{error:?}");
        assert_eq!(disk.names(), before, "what was begun is gone again");
        let reader = Collection::open_read_only_in(Arc::new(disk.clone())).expect("read");
        assert_eq!(reader.snapshot().count(), 50);
    }
    disk.set_free_bytes(None);
    assert_eq!(open(&disk).snapshot().count(), 50);
}

// [C12]: whoever waits for room on a handle that takes no more writes is told.
#[test]
fn a_commit_that_waits_for_room_hears_of_a_failed_sync() {
    let memory = MemDir::new(7);
    let disk = SlowDisk::new(memory.clone());
    let options = OpenOptions::new().flush_rows(10).compaction(Compaction::Manual).durability(Durability::Os);
    let c = Collection::create_in(disk.clone(), plain(), options).expect("create");
    disk.hold(FileKind::Row);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| (0..1000u64).find_map(|id| c.upsert(id, &V).err()));
        disk.wait_until_held();
        eventually("the delta is full", || c.last_seq() >= 20);
        std::thread::sleep(Duration::from_millis(100));
        memory.fail_next_sync();
        let failed = c.sync();
        let (done, poisoned) = (waits.is_finished(), c.stats().poisoned.is_some());
        if failed.is_err() {
            eventually("the commit is told", || waits.is_finished());
        }
        disk.release();
        let told = waits.join().expect("the writer");
        assert!(!done && poisoned == failed.is_err());
        if failed.is_err() {
            assert_eq!(told.map(|error| error.kind()), Some(ErrorKind::Poisoned));
        }
    });
}

// [C4], [C7]: an insert that loses to one of its own group is told when that is there.
#[test]
fn a_refused_insert_sees_its_rival() {
    let disk = SlowDisk::new(MemDir::new(8));
    let c = Collection::create_in(disk.clone(), plain(), OpenOptions::new()).expect("create");
    disk.syncs_take(Duration::from_millis(40));
    for id in 0..10u64 {
        std::thread::scope(|scope| {
            let c = &c;
            scope.spawn(move || c.upsert(1_000_000 + id, &V).expect("upsert"));
            std::thread::sleep(Duration::from_millis(10));
            for _ in 0..4 {
                scope.spawn(move || {
                    if let Err(error) = c.insert(id, &V) {
                        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
                        assert!(c.snapshot().contains(id).expect("contains"), "told of a row that is not there");
                    }
                });
            }
        });
    }
}

// [C4]: if nobody's insert succeeds, nobody is told that the id exists.
#[test]
fn an_insert_is_not_refused_for_a_rival_that_never_came() {
    let memory = MemDir::new(9);
    let slow = SlowDisk::new(memory.clone());
    let c = Collection::create_in(slow.clone(), plain(), OpenOptions::new()).expect("create");
    slow.syncs_take(Duration::from_millis(100));
    let payload = vec![7u8; 60_000];
    std::thread::scope(|scope| {
        let (c, payload) = (&c, &payload);
        scope.spawn(move || c.upsert(999u64, &V));
        std::thread::sleep(Duration::from_millis(30));
        let insert = move || {
            let mut batch = c.batch();
            (0..30u64).for_each(|id| {
                batch.insert(id, &V).payload(payload);
            });
            batch.commit()
        };
        let rivals: Vec<_> = (0..4).map(|_| scope.spawn(insert)).collect();
        std::thread::sleep(Duration::from_millis(20));
        memory.set_free_bytes(Some(100_000));
        let told: Vec<_> = rivals.into_iter().map(|rival| rival.join().expect("a writer")).collect();
        let exists = told.iter().flat_map(|told| told.as_ref().err()).any(|e| e.kind() == ErrorKind::AlreadyExists);
        assert!(told.iter().any(Result::is_ok) || !exists, "{told:?}");
    });
}
