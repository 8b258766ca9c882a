//! What a commit means: C1 to C5.

use std::sync::{Arc, Mutex};

use stratavec::storage::FileKind;
use stratavec::storage::testing::{Fault, FaultDir, FaultPlan, MemDir, Op, Repeat};
use stratavec::{Collection, Durability, ErrorKind, Outcome};

use super::{create, inline, open, power_cuts, rows, schema};

/// [C1] a batch that was being written when the power went is there as a whole or not at all.
#[test]
pub fn a_batch_is_whole_or_absent_after_a_power_cut_anywhere_in_its_commit() {
    let disk = MemDir::new(1);
    let c = create(&disk);
    c.upsert(1u64, &[1.0, 0.0]).expect("commit");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    disk.on_call(move |point| {
        for image in power_cuts(&point.dir) {
            kept.lock().expect("lock").push(rows(&open(&image).snapshot()));
        }
    });
    let mut batch = c.batch();
    batch.upsert(1u64, &[2.0, 0.0]);
    batch.upsert(2u64, &[2.0, 0.0]);
    batch.delete(3u64);
    batch.commit().expect("commit");
    disk.clear_hook();
    let (before, after) = (vec![(1, 1.0)], vec![(1, 2.0), (2, 2.0)]);
    let seen = seen.lock().expect("lock");
    assert!(seen.iter().all(|rows| *rows == before || *rows == after), "{seen:?}");
    assert!(seen.contains(&before) && seen.contains(&after));
}

/// [C2] without any sync a power cut leaves a prefix: no batch without those before it.
#[test]
pub fn what_a_power_cut_leaves_of_unsynced_batches_has_no_holes() {
    let disk = MemDir::new(2);
    let c = create(&disk);
    for id in 1..=5u64 {
        let mut batch = c.batch();
        batch.upsert(id, &[id as f32; 2]);
        batch.commit_with(Durability::Os).expect("commit");
    }
    let mut lengths = [0; 6];
    for image in power_cuts(&disk) {
        let rows = rows(&open(&image).snapshot());
        assert!(rows.iter().zip(1u64..).all(|((id, _), place)| *id == place), "a hole: {rows:?}");
        lengths[rows.len()] += 1;
    }
    assert!(lengths.iter().filter(|count| **count > 0).count() > 3, "prefixes of {lengths:?} lengths");
}

/// [C3] acknowledged under Sync and Group survives a power cut; under Os it does once something says so.
#[test]
pub fn acknowledged_batches_survive_as_their_durability_says() {
    for level in [Durability::Sync, Durability::Group] {
        let disk = MemDir::new(3);
        let c = create(&disk);
        let mut batch = c.batch();
        batch.upsert(1u64, &[1.0; 2]);
        let receipt = batch.commit_with(level).expect("commit");
        assert!(receipt.durable && c.durable_seq() == receipt.seq);
        assert!(power_cuts(&disk).all(|image| rows(&open(&image).snapshot()).len() == 1), "{level:?}");
    }
    let makers: [(&str, fn(&Collection)); 5] = [
        ("sync", |c| assert_eq!(c.sync().expect("sync"), 1)),
        ("flush", |c| c.flush().expect("flush")),
        ("wait_durable", |c| c.wait_durable(1).expect("wait")),
        ("a later commit", |c| assert!(c.upsert(2u64, &[2.0; 2]).expect("commit").durable)),
        ("nothing", |_| {}),
    ];
    for (name, make_durable) in makers {
        let disk = MemDir::new(3);
        let c = create(&disk);
        let mut batch = c.batch();
        batch.upsert(1u64, &[1.0; 2]);
        let receipt = batch.commit_with(Durability::Os).expect("commit");
        assert!(!receipt.durable && c.durable_seq() < receipt.seq);
        assert_eq!(rows(&open(&disk.process_crash()).snapshot()).len(), 1, "a process crash loses nothing");
        make_durable(&c);
        let kept = power_cuts(&disk).all(|image| rows(&open(&image).snapshot()).contains(&(1, 1.0)));
        assert_eq!(kept, name != "nothing", "{name}");
    }
}

/// [C4] an error before the sync leaves nothing for ever; one of the sync itself is an unknown outcome.
#[test]
pub fn a_failed_commit_says_what_it_left() {
    let cases = [
        (Fault::NoSpaceMidWrite, Op::WriteAt, Outcome::NotCommitted, ErrorKind::NoSpace),
        (Fault::Io, Op::WriteAt, Outcome::NotCommitted, ErrorKind::Io),
        (Fault::LyingSync, Op::Sync, Outcome::Unknown, ErrorKind::Poisoned),
    ];
    for (fault, op, outcome, kind) in cases {
        let disk = MemDir::new(4);
        let storage = Arc::new(FaultDir::with_disk(disk.clone(), &disk));
        let c = Collection::create_in(storage.clone(), schema(), inline()).expect("create");
        c.upsert(1u64, &[1.0; 2]).expect("commit");
        storage.arm(FaultPlan::new(fault, 0, Repeat::Once).on(&[op]).of(&[FileKind::Wal]));
        let error = c.upsert(2u64, &[2.0; 2]).expect_err("the fault");
        storage.disarm();
        assert_eq!((error.outcome(), error.kind()), (outcome, kind), "{fault:?}: {error}");
        assert_eq!(rows(&c.snapshot()), [(1, 1.0)], "this handle does not show it");
        let found: Vec<usize> = power_cuts(&disk).map(|image| rows(&open(&image).snapshot()).len()).collect();
        let most = if outcome == Outcome::NotCommitted { 1 } else { 2 };
        assert!(found.iter().all(|count| (1..=most).contains(count)), "{fault:?}: {found:?}");
    }
}

/// [C5] dropping a handle loses nothing, not even what was not durable, as long as the system lives.
#[test]
pub fn dropping_the_handle_is_a_crash_that_loses_nothing() {
    let disk = MemDir::new(5);
    let c = create(&disk);
    c.upsert(1u64, &[1.0; 2]).expect("commit");
    let mut batch = c.batch();
    batch.upsert(2u64, &[2.0; 2]);
    batch.commit_with(Durability::Os).expect("commit");
    drop(c);
    let c = open(&disk);
    assert_eq!(rows(&c.snapshot()), [(1, 1.0), (2, 2.0)]);
    assert_eq!(c.recovery().batches_replayed, 2);
}
