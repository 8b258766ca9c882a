//! When files cannot be written as fast as rows come: commits wait, reads do not, nothing is lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stratavec::storage::FileKind;
use stratavec::storage::testing::MemDir;
use stratavec::{Collection, Compact, Compaction, OpenOptions};

use super::scene::{nearest, open, plain};
use super::slow_disk::SlowDisk;

const FLUSH_ROWS: u64 = 50;

fn options() -> OpenOptions {
    OpenOptions::new().flush_rows(FLUSH_ROWS).compaction(Compaction::Manual)
}

/// Waits for something that other threads bring about.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

// [C7], [C9]
#[test]
fn commits_wait_for_a_slow_flush_and_reads_do_not() {
    let memory = MemDir::new(5);
    let disk = SlowDisk::new(memory.clone());
    let c = Collection::create_in(disk.clone(), plain(), options()).expect("create");
    disk.hold(FileKind::Row);
    let committed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for id in 0..5 * FLUSH_ROWS {
                c.upsert(id, &[id as f32, 0.0]).expect("upsert");
                committed.fetch_add(1, Ordering::Release);
            }
        });
        disk.wait_until_held();
        // Two full deltas may wait for their flush; the third finds no room.
        let mut last = 0;
        eventually("commits stop", || {
            let now = committed.load(Ordering::Acquire);
            std::thread::sleep(Duration::from_millis(20));
            std::mem::replace(&mut last, now) == now && now >= 2 * FLUSH_ROWS
        });
        let stopped = committed.load(Ordering::Acquire);
        assert!(
            (2 * FLUSH_ROWS..4 * FLUSH_ROWS).contains(&stopped),
            "{stopped} commits while nothing could be flushed"
        );
        assert!(!writer.is_finished());
        for id in 0..stopped {
            assert!(c.snapshot().contains(id).expect("contains"), "reads wait for nothing");
        }
        assert_eq!(nearest(&c.snapshot(), &[-1.0, 0.0], 2), [0u64, 1u64]);
        assert_eq!(c.stats().flushes, 0);
        disk.release();
        writer.join().expect("the writer");
    });
    assert_eq!(c.snapshot().count(), 5 * FLUSH_ROWS);
    eventually("the flushes are done", || c.stats().flushes >= 3);
    drop(c);
    assert_eq!(open(&memory).snapshot().count(), 5 * FLUSH_ROWS, "nothing was lost");
}

#[test]
fn dropping_a_handle_whose_flush_is_held_up_loses_nothing() {
    let memory = MemDir::new(6);
    let disk = SlowDisk::new(memory.clone());
    let c = Collection::create_in(disk.clone(), plain(), options()).expect("create");
    disk.hold(FileKind::Row);
    for id in 0..FLUSH_ROWS + 7 {
        c.upsert(id, &[id as f32, 0.0]).expect("upsert");
    }
    disk.wait_until_held();
    let left_behind = memory.process_crash();
    assert_eq!(open(&left_behind).snapshot().count(), FLUSH_ROWS + 7);
    disk.release();
    drop(c);
    assert_eq!(open(&memory).snapshot().count(), FLUSH_ROWS + 7);
}

// [C8], [C9]: what dies while its row is being moved stays dead.
#[test]
fn writes_and_searches_go_on_during_a_flush_and_a_merge() {
    let memory = MemDir::new(7);
    let disk = SlowDisk::new(memory.clone());
    let c = Collection::create_in(disk.clone(), plain(), OpenOptions::new().compaction(Compaction::Manual))
        .expect("create");
    let fill = |from: u64| (from..from + 40).for_each(|id| assert!(c.upsert(id, &[id as f32, 0.0]).is_ok()));
    fill(0);
    c.flush().expect("flush");
    fill(40);
    // Deletes of rows that are being flushed, that are in a file already, and that come back at once.
    let change = |shift: u64| {
        for id in [shift, 40 + shift, 60 + shift] {
            assert!(c.delete(id).expect("delete"));
        }
        c.upsert(60 + shift, &[60.5, 0.0]).expect("upsert");
        c.upsert(41 + shift, &[41.5, 0.0]).expect("upsert");
    };
    let check = |c: &Collection, shift: u64| {
        let snapshot = c.snapshot();
        for id in [shift, 40 + shift] {
            assert!(!snapshot.contains(id).expect("contains"), "{id} was deleted");
            let hits = snapshot.search(&[id as f32, 0.0]).k(100).run().expect("search");
            assert!(hits.iter().all(|hit| hit.id != id), "{id} was deleted");
        }
        assert_eq!(snapshot.get(60 + shift).expect("get").expect("the row").vector[0], 60.5);
        assert_eq!(snapshot.get(41 + shift).expect("get").expect("the row").vector[0], 41.5);
    };
    disk.hold(FileKind::Row);
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| c.flush());
        disk.wait_until_held();
        change(3);
        check(&c, 3);
        disk.release();
        flush.join().expect("the thread").expect("flush");
    });
    check(&c, 3);
    c.flush().expect("flush");
    check(&c, 3);
    disk.hold(FileKind::Row);
    let job = c.compact(Compact::Full).expect("compact");
    disk.wait_until_held();
    change(8);
    check(&c, 8);
    // A flush beside the merge: the merge takes over what died meanwhile.
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| c.flush());
        std::thread::sleep(Duration::from_millis(10));
        disk.release();
        flush.join().expect("the thread").expect("flush");
    });
    job.wait().expect("the merge");
    for shift in [3, 8] {
        check(&c, shift);
    }
    assert_eq!(c.snapshot().count(), 76);
    drop(c);
    let c = open(&memory);
    for shift in [3, 8] {
        check(&c, shift);
    }
}

// The first commit of a handle publishes a manifest, as a merge does.
#[test]
fn the_first_commit_after_opening_and_a_merge_take_turns() {
    let memory = MemDir::new(8);
    let c = Collection::create_in(std::sync::Arc::new(memory.clone()), plain(), options()).expect("create");
    for round in 0..3u64 {
        c.upsert(round, &[1.0, 0.0]).expect("upsert");
        c.flush().expect("flush");
    }
    c.close().expect("close");
    // Both publish within the same moment: publishing takes its time.
    memory.on_call(|point| {
        if point.call.op == stratavec::storage::testing::Op::Publish {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    for round in 0..5u64 {
        let c = Collection::open_in(std::sync::Arc::new(memory.clone()), options()).expect("open");
        c.compact(Compact::Full).expect("compact").wait().expect("the merge");
        c.upsert(100 + round, &[2.0, 0.0]).expect("upsert");
        c.close().expect("close");
        let c = Collection::open_in(std::sync::Arc::new(memory.clone()), options()).expect("open");
        let job = c.compact(Compact::Full).expect("compact");
        std::thread::sleep(Duration::from_millis(round * 5));
        c.upsert(200 + round, &[2.0, 0.0]).expect("the first commit");
        job.wait().expect("the merge");
        c.close().expect("close");
    }
    memory.clear_hook();
    assert_eq!(open(&memory).snapshot().count(), 13);
}
