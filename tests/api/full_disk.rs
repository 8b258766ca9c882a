//! When the disk is full or refuses: what a caller is told, what goes on, and how it ends.

use std::sync::Arc;

use stratavec::storage::FileKind;
use stratavec::storage::testing::{Fault, FaultDir, FaultPlan, MemDir, Op, Repeat};
use stratavec::{
    Background, Collection, Compact, Compaction, Durability, ErrorKind, IdKind, Metric, OpenOptions, Outcome, Schema,
};

use super::scene::{Scene, ids, inline, nearest, open, plain};

const V: [f32; 2] = [1.0, 1.0];

fn faulty(options: OpenOptions) -> (MemDir, Arc<FaultDir<MemDir>>, Collection) {
    let disk = MemDir::new(9);
    let storage = Arc::new(FaultDir::with_disk(disk.clone(), &disk));
    let c = Collection::create_in(storage.clone(), plain(), options).expect("create");
    (disk, storage, c)
}

// [C4], [C13]: at whatever call of a commit the space ends, the batch is absent and everything else goes on.
#[test]
fn a_commit_without_space_leaves_nothing_and_the_next_with_space_succeeds() {
    let mut refused = 0;
    for free in (0..160_000).step_by(2_477) {
        let s = Scene::new(plain());
        s.c.upsert(1u64, &V).expect("upsert");
        s.disk.set_free_bytes(Some(free));
        let mut batch = s.c.batch();
        for id in 100..300u64 {
            batch.upsert(id, &[id as f32, 0.0]).payload(&[7; 1000]);
        }
        batch.delete(1u64);
        let committed = match batch.commit() {
            Ok(_) => true,
            Err(error) => {
                assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::NotCommitted), "{error}");
                assert!(error.to_string().contains("wal-"), "the file is named: {error}");
                refused += 1;
                false
            }
        };
        let rows = |c: &Collection| (c.snapshot().count(), c.snapshot().contains(1u64).expect("contains"));
        let expected = if committed { (200, false) } else { (1, true) };
        assert_eq!(rows(&s.c), expected, "{free} bytes free");
        assert!(s.c.stats().poisoned.is_none());
        s.disk.set_free_bytes(None);
        assert_eq!(s.c.upsert(2u64, &V).expect("space again").seq, 2 + u64::from(committed));
        let s = s.reopened();
        assert_eq!(rows(&s.c), (expected.0 + 1, expected.1), "{free} bytes free, after reopening");
    }
    assert!(refused > 20, "the test is about full disks: {refused}");
}

// [C12], [C13]: a flush that fails keeps everything in memory and in the log; searches and commits go on.
#[test]
fn a_flush_that_fails_can_be_tried_again() {
    for (fault, kind) in [(Fault::NoSpace, ErrorKind::NoSpace), (Fault::Io, ErrorKind::Io)] {
        for file in [FileKind::Row, FileKind::IdTable] {
            let (disk, storage, c) = faulty(inline());
            for id in 0..20u64 {
                c.upsert(id, &[id as f32, 0.0]).expect("upsert");
            }
            storage.arm(FaultPlan::new(fault, 0, Repeat::Once).on(&[Op::Create, Op::WriteAt]).of(&[file]));
            let error = c.flush().expect_err("the fault");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(c.stats().poisoned.is_none() && c.stats().flush_error.is_some());
            assert_eq!(nearest(&c.snapshot(), &[4.2, 0.0], 1), [4u64]);
            c.upsert(100u64, &V).expect("commits go on");
            c.flush().expect("the second try");
            assert!(c.stats().flush_error.is_none());
            assert_eq!(c.stats().delta_rows, 0);
            let names = disk.names();
            drop(c);
            let c = open(&disk);
            assert_eq!(c.snapshot().count(), 21);
            assert_eq!(c.recovery().orphans_removed, 0, "half-made files were left among {names:?}");
        }
    }
}

// [C12]: every call after the failed sync, and what each of them says.
#[test]
fn a_poisoned_handle_refuses_writes_and_answers_reads() {
    let (disk, storage, c) = faulty(inline());
    c.upsert(1u64, &V).expect("upsert");
    c.flush().expect("flush");
    c.upsert(2u64, &V).expect("upsert");
    let mut early = c.batch();
    early.upsert(5u64, &V);
    storage.arm(FaultPlan::new(Fault::Io, 0, Repeat::Once).on(&[Op::Sync]).of(&[FileKind::Wal]));
    let first = c.upsert(3u64, &V).expect_err("the sync fails");
    assert_eq!((first.kind(), first.outcome()), (ErrorKind::Poisoned, Outcome::Unknown));
    assert!(first.to_string().contains("cannot sync wal-"), "the cause is named: {first}");
    assert!(std::error::Error::source(&first).is_some());
    let commit = early.commit().expect_err("a batch that was begun before");
    assert_eq!(commit.outcome(), Outcome::NotCommitted, "it was never tried");
    let refused = [
        commit,
        c.upsert(4u64, &V).expect_err("upsert"),
        c.delete(1u64).expect_err("delete"),
        c.sync().expect_err("sync"),
        c.flush().expect_err("flush"),
        c.compact(Compact::Full).err().expect("compact"),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
        assert!(error.to_string().contains("cannot sync wal-"), "the first cause is kept: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("reopen")), "{error}");
    }
    c.wait_durable(2).expect("what was durable before still is");
    assert_eq!((c.last_seq(), c.durable_seq()), (2, 2));
    assert_eq!(ids(&c.snapshot()), [1u64, 2u64]);
    assert_eq!(nearest(&c.snapshot(), &V, 5).len(), 2);
    assert_eq!(c.close().expect_err("close").kind(), ErrorKind::Poisoned);
    let c = open(&disk);
    let found = ids(&c.snapshot());
    assert!(found == [1u64, 2] || found == [1u64, 2, 3], "whole or absent: {found:?}");
    c.upsert(9u64, &V).expect("writes again");
}

// [C4]: threads that wait for one failed sync are all told, and none of their batches is shown.
#[test]
fn all_who_wait_for_a_failed_sync_are_told() {
    for round in 0..10u64 {
        let (disk, storage, c) = faulty(OpenOptions::new().background(Background::Inline));
        c.upsert(1u64, &V).expect("upsert");
        storage.arm(FaultPlan::new(Fault::Io, 2 + round, Repeat::Forever).on(&[Op::Sync]).of(&[FileKind::Wal]));
        let told: Vec<(u64, Result<u64, Outcome>)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6u64)
                .map(|t| {
                    let c = &c;
                    scope.spawn(move || {
                        let one = |i| {
                            let id = 100 * (t + 1) + i;
                            (id, c.upsert(id, &V).map(|r| r.seq).map_err(|error| error.outcome()))
                        };
                        (0..24).map(one).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a writer")).collect()
        });
        let shown = c.snapshot();
        for (id, answer) in &told {
            assert_eq!(shown.contains(*id).expect("contains"), answer.is_ok(), "{id}: {answer:?}");
        }
        assert!(told.iter().any(|(_, answer)| answer.is_err()));
        drop((shown, c));
        let c = open(&disk);
        for (id, answer) in told {
            let there = c.snapshot().contains(id).expect("contains");
            match answer {
                Ok(_) => assert!(there, "{id} was acknowledged"),
                Err(Outcome::NotCommitted) => assert!(!there, "{id} was said not to be committed"),
                Err(Outcome::Unknown) => {}
            }
        }
    }
}

// [C12]: the failed sync of a file that nothing names ends only the work that wrote it.
#[test]
fn a_merge_whose_output_cannot_be_synced_is_given_up_and_nothing_else() {
    let (disk, storage, c) = faulty(inline());
    for id in 0..3u64 {
        c.upsert(id, &V).expect("upsert");
        c.flush().expect("flush");
    }
    storage.arm(FaultPlan::new(Fault::Io, 0, Repeat::Once).on(&[Op::Sync]).of(&[FileKind::Row]));
    let error = c.compact(Compact::Full).expect("compact").wait().expect_err("the fault");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    c.upsert(10u64, &V).expect("writes go on");
    assert!(c.stats().poisoned.is_none());
    c.compact(Compact::Full).expect("compact").wait().expect("the second try");
    assert_eq!(c.stats().row_files, 1);
    drop(c);
    assert_eq!(open(&disk).snapshot().count(), 4);
}

// [C13]: a merge says that the disk will not hold its result before it writes any of it.
#[test]
fn a_merge_without_room_is_refused_before_it_writes() {
    let (disk, _, c) = faulty(inline());
    for round in 0..3u64 {
        for id in round..40 {
            c.upsert(id, &[id as f32, round as f32]).expect("upsert");
        }
        c.flush().expect("flush");
    }
    let need = c.compact_dry_run(Compact::Full).bytes_written;
    let (before, files) = (disk.image_hash(), disk.names());
    for free in [0, need / 2, need] {
        disk.set_free_bytes(Some(free));
        let error = c.compact(Compact::Full).expect("start").wait().expect_err("no room");
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        assert!(error.to_string().contains("merge"), "{error}");
        assert_eq!((disk.image_hash(), disk.names()), (before, files.clone()), "{free} bytes free");
    }
    assert_eq!(c.snapshot().count(), 40);
    disk.set_free_bytes(None);
    c.compact(Compact::Full).expect("start").wait().expect("room again");
    assert_eq!((c.stats().row_files, c.snapshot().count()), (1, 40));
}

// One row that is long makes all long that it is merged with.
#[test]
fn a_merge_of_short_files_with_a_long_one_is_refused_where_a_long_one_has_no_room() {
    let disk = MemDir::new(19);
    let schema = Schema::new(64, Metric::L2).ids(IdKind::U64);
    let c = Collection::create_in(Arc::new(disk.clone()), schema, inline()).expect("create");
    for id in 0..2_000u64 {
        c.upsert(id, &[(id % 256) as f32; 64]).expect("upsert");
    }
    c.flush().expect("flush");
    c.upsert(2_000u64, &[0.1; 64]).expect("upsert");
    c.flush().expect("flush");
    let vectors =
        |c: &Collection| c.stats().sections.iter().find(|(name, _)| *name == "vectors").map_or(0, |(_, n)| *n);
    assert_eq!(vectors(&c), 2_000 * (64 + 16) + 256 + 16);
    let (files, long) = (disk.names(), 2_001 * (256 + 16));
    assert!(c.compact_dry_run(Compact::Full).bytes_written >= long);
    // Room for a file as long as its inputs, half of it kept for writes, and not for one with long vectors.
    disk.set_free_bytes(Some(700_000));
    let error = c.compact(Compact::Full).expect("start").wait().expect_err("no room");
    assert_eq!((error.kind(), disk.names()), (ErrorKind::NoSpace, files), "{error}");
    assert!(error.to_string().contains("nothing was written"), "{error}");
    disk.set_free_bytes(None);
    c.compact(Compact::Full).expect("start").wait().expect("room again");
    assert_eq!(vectors(&c), long);
}

// Small disks are no reason to keep dead rows: what a merge needs is there, and as much again.
#[test]
fn a_small_disk_is_merged_on() {
    let disk = MemDir::new(18);
    let options = OpenOptions::new().background(Background::Inline).compaction(Compaction::Manual);
    let c = Collection::create_in(Arc::new(disk.clone()), plain(), options).expect("create");
    for round in 0..4u64 {
        c.upsert(0u64, &[round as f32, 0.0]).expect("upsert");
        c.flush().expect("flush");
    }
    disk.set_free_bytes(Some(4 << 20));
    c.compact(Compact::Full).expect("start").wait().expect("room enough");
    assert_eq!((c.stats().row_files, c.stats().dead_rows), (1, 0));
    c.bulk_load([(1u64, V)]).expect("start").wait().expect("room enough");
    assert_eq!(c.snapshot().count(), 2);
}

// [C13]: opening needs room when there is something to recover; without it nothing is lost.
#[test]
fn a_recovery_without_space_says_so_and_succeeds_later() {
    let s = Scene::new(plain());
    for id in 0..50u64 {
        let mut batch = s.c.batch();
        batch.upsert(id, &V);
        batch.commit_with(Durability::Os).expect("commit");
    }
    drop(s.c);
    let before = s.disk.image_hash();
    for free in [0, 100, 2000] {
        s.disk.set_free_bytes(Some(free));
        let error = Collection::open_in(Arc::new(s.disk.clone()), inline()).expect_err("no room");
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    }
    s.disk.set_free_bytes(None);
    let c = open(&s.disk);
    assert_eq!((c.snapshot().count(), c.recovery().batches_replayed), (50, 50));
    assert_ne!(s.disk.image_hash(), before);
}

// [C13] [C8]: the disk is filled, thousands of ids are deleted while it is full, space comes back, and it goes on: nothing is
// lost, nothing comes back, nothing is poisoned.
#[test]
fn a_full_disk_takes_deletes_and_goes_on_when_it_is_freed() {
    fill_and_free(4);
}

/// The same two hundred times over.
#[test]
#[ignore = "takes minutes; make soak"]
fn soak_full_disks() {
    fill_and_free(200);
}

fn fill_and_free(cycles: u32) {
    for background in [Background::Inline, Background::Thread] {
        let disk = MemDir::new(16);
        let options = OpenOptions::new().background(background).flush_bytes(512 << 10).durability(Durability::Os);
        let c = Collection::create_in(Arc::new(disk.clone()), plain(), options.clone()).expect("create");
        let mut live = std::collections::BTreeSet::new();
        let mut next = 0u64;
        for cycle in 0..cycles {
            disk.set_free_bytes(Some(6 << 20));
            let error = loop {
                let mut batch = c.batch();
                for id in next..next + 500 {
                    batch.upsert(id, &[id as f32, cycle as f32]).payload(&[7; 100]);
                }
                match batch.commit() {
                    Ok(_) => live.extend(next..next + 500),
                    Err(error) => break error,
                }
                next += 500;
            };
            assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::NotCommitted), "{error}");
            assert_eq!(c.snapshot().count(), live.len() as u64);
            let doomed: Vec<u64> = live.iter().copied().take(10_000).collect();
            assert_eq!(doomed.len(), 10_000, "cycle {cycle}");
            for ids in doomed.chunks(100) {
                let mut batch = c.batch();
                for id in ids {
                    batch.delete(*id);
                }
                let receipt = batch.commit_with(Durability::Sync).expect("deletes are taken");
                assert_eq!((receipt.deleted, receipt.durable), (100, true));
                for id in ids {
                    live.remove(id);
                }
            }
            assert_eq!(
                (c.snapshot().count(), c.snapshot().contains(doomed[0]).expect("contains")),
                (live.len() as u64, false)
            );
            disk.set_free_bytes(None);
            c.upsert(next, &V).expect("space again");
            live.insert(next);
            next += 1;
            // What is there does not grow from cycle to cycle.
            while live.len() > 12_000 {
                let mut batch = c.batch();
                for _ in 0..1_000 {
                    if let Some(id) = live.pop_first() {
                        batch.delete(id);
                    }
                }
                batch.commit().expect("deletes");
            }
            c.flush().expect("flush");
            assert!(c.stats().poisoned.is_none());
        }
        drop(c);
        let c = Collection::open_in(Arc::new(disk.clone()), options).expect("open");
        assert_eq!(ids(&c.snapshot()), live.iter().map(|id| stratavec::Id::U64(*id)).collect::<Vec<_>>());
        c.close().expect("close");
        assert!(Collection::verify_in(&disk, stratavec::Verify::Full).expect("verify").is_sound());
    }
}
