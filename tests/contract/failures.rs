//! When something fails: C11 to C15.

use std::sync::{Arc, Mutex};

use stratavec::storage::testing::{Fault, FaultDir, FaultPlan, MemDir, Op, Repeat};
use stratavec::storage::{FileKind, FileName};
use stratavec::{Collection, ErrorKind, Outcome, Verify};

use super::{create, inline, open, power_cuts, rows, schema};

fn crashed() -> MemDir {
    let disk = MemDir::new(11);
    let c = create(&disk);
    for id in 0..4u64 {
        c.upsert(id, &[id as f32; 2]).expect("commit");
    }
    c.flush().expect("flush");
    c.upsert(1u64, &[21.0; 2]).expect("commit");
    c.delete(2u64).expect("delete");
    drop(c);
    disk.fork()
}

/// [C11] recovery can be stopped at any call, and run again; opening twice is opening once.
#[test]
pub fn recovery_may_be_interrupted_and_repeated() {
    let disk = crashed();
    let expected = vec![(0, 0.0), (1, 21.0), (3, 3.0)];
    let failed = Arc::new(Mutex::new(Vec::new()));
    let (kept, wanted) = (failed.clone(), expected.clone());
    disk.on_call(move |point| {
        for image in power_cuts(&point.dir).chain([point.dir.process_crash()]) {
            let found = rows(&open(&image).snapshot());
            if found != wanted || rows(&open(&image).snapshot()) != wanted {
                kept.lock().expect("lock").push(found);
            }
        }
    });
    let c = open(&disk);
    disk.clear_hook();
    assert_eq!(c.recovery().batches_replayed, 2);
    assert_eq!(rows(&c.snapshot()), expected);
    assert!(failed.lock().expect("lock").is_empty(), "{failed:?}");
    drop(c);
    assert!(open(&disk).recovery().is_clean(), "nothing is left to recover");
}

/// [C11] what recovery dropped and removed is reported.
#[test]
pub fn recovery_reports_the_tail_it_dropped_and_the_leftovers_it_removed() {
    let disk = crashed();
    let log = newest(&disk, FileKind::Wal);
    disk.corrupt(log, |bytes| bytes.extend([0xAB; 21]));
    let orphan = FileName::parse("tmp-000000000000ffff0000000000000001").expect("a name");
    disk.put_raw(orphan, vec![1, 2, 3]);
    let told = Arc::new(Mutex::new(None));
    let kept = told.clone();
    let options = inline().on_recovery(move |report| *kept.lock().expect("lock") = Some(report.clone()));
    let c = Collection::open_in(Arc::new(disk.clone()), options).expect("open");
    let report = c.recovery();
    assert_eq!((report.batches_replayed, report.tail_bytes_dropped), (2, 21));
    assert!(report.orphans_removed >= 1 && disk.file_bytes(orphan).is_none());
    assert_eq!(told.lock().expect("lock").as_ref(), Some(report));
}

fn newest(disk: &MemDir, kind: FileKind) -> FileName {
    let files = disk.names().into_iter().filter(|name| name.kind() == Some(kind));
    files.max_by_key(|name| name.file_id().number).expect("a file of this kind")
}

/// [C12] after a failed sync that lies afterwards: no more writes, reads go on, reopening keeps every acknowledged batch.
#[test]
pub fn a_failed_sync_ends_writing_and_is_never_tried_again() {
    let disk = MemDir::new(12);
    let storage = Arc::new(FaultDir::with_disk(disk.clone(), &disk));
    let c = Collection::create_in(storage.clone(), schema(), inline()).expect("create");
    c.upsert(1u64, &[1.0; 2]).expect("commit");
    storage.arm(FaultPlan::new(Fault::LyingSync, 0, Repeat::Once).on(&[Op::Sync]).of(&[FileKind::Wal]));
    let first = c.upsert(2u64, &[2.0; 2]).expect_err("the failed sync");
    assert_eq!((first.kind(), first.outcome()), (ErrorKind::Poisoned, Outcome::Unknown));
    let syncs = storage.count(Op::Sync);
    for error in [
        c.upsert(3u64, &[3.0; 2]).expect_err("poisoned"),
        c.sync().expect_err("poisoned"),
        c.flush().expect_err("poisoned"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("reopen")), "{error}");
    }
    assert_eq!(storage.count(Op::Sync), syncs, "a sync was tried again");
    assert!(c.stats().poisoned.is_some());
    assert_eq!(rows(&c.snapshot()), [(1, 1.0)]);
    drop(c);
    // The cache still shows the lost bytes; what recovery keeps of them must survive their loss.
    let c = open(&disk);
    let found = rows(&c.snapshot());
    drop(c);
    disk.evict();
    assert!(found == [(1, 1.0)] || found == [(1, 1.0), (2, 2.0)], "{found:?}");
    assert!(power_cuts(&disk).all(|image| rows(&open(&image).snapshot()) == found));
}

/// [C13] a full disk refuses the commit, harms nothing, and is over when there is space.
#[test]
pub fn a_full_disk_is_an_answer_and_not_an_end() {
    let disk = MemDir::new(13);
    let c = create(&disk);
    c.upsert(1u64, &[1.0; 2]).expect("commit");
    disk.set_free_bytes(Some(0));
    let mut batch = c.batch();
    for id in 10..30_000u64 {
        batch.upsert(id, &[id as f32; 2]);
    }
    let error = batch.commit().expect_err("a full disk");
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::NotCommitted), "{error}");
    assert_eq!(rows(&c.snapshot()), [(1, 1.0)]);
    assert!(c.stats().poisoned.is_none());
    disk.set_free_bytes(None);
    c.upsert(2u64, &[2.0; 2]).expect("space again");
    drop(c);
    assert_eq!(rows(&open(&disk).snapshot()), [(1, 1.0), (2, 2.0)]);
}

/// [C14] a flipped bit is an error with file and offset, for verify and for the read that touches it; never another answer.
#[test]
pub fn damage_is_named_with_file_and_offset() {
    let disk = crashed();
    open(&disk).close().expect("close");
    let good = rows(&open(&disk).snapshot());
    for kind in [FileKind::Row, FileKind::IdTable, FileKind::Tombstone] {
        let name = newest(&disk, kind);
        let bits = disk.file_bytes(name).expect("bytes").len() as u64 * 8;
        for bit in (0..bits).step_by(97) {
            let image = disk.fork();
            assert!(image.flip_bit(name, bit));
            let report = Collection::verify_in(&image, Verify::Full).expect("verify");
            let finding = report.findings.first().unwrap_or_else(|| panic!("{name} bit {bit} is not found"));
            assert_eq!(finding.kind(), ErrorKind::Corrupt);
            assert!(finding.file() == Some(name.to_string().as_str()) && finding.offset().is_some(), "{finding}");
            let read = Collection::open_in(Arc::new(image), inline()).and_then(|c| {
                c.snapshot()
                    .iter()
                    .map(|item| item.map(|item| (item.id.as_u64().unwrap_or(0), item.vector[0])))
                    .collect()
            });
            match read {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
                Ok(mut rows) => {
                    let rows: &mut Vec<(u64, f32)> = &mut rows;
                    rows.sort_by_key(|(id, _)| *id);
                    assert_eq!(*rows, good, "{name} bit {bit}: another answer");
                }
            }
        }
    }
}

/// [C15] damage to the last group of the last log is a dropped tail; before it, it is damage.
#[test]
pub fn damage_to_the_last_group_is_a_reported_tail() {
    let disk = crashed();
    let log = newest(&disk, FileKind::Wal);
    let len = disk.file_bytes(log).expect("bytes").len() as u64;
    let last = disk.fork();
    last.flip_bit(log, (len - 1) * 8);
    let c = open(&last);
    assert_eq!(rows(&c.snapshot()), [(0, 0.0), (1, 21.0), (2, 2.0), (3, 3.0)], "the delete is lost");
    assert!(c.recovery().tail_bytes_dropped > 0, "and that is reported");
    let earlier = disk.fork();
    earlier.flip_bit(log, 140 * 8);
    let hash = earlier.image_hash();
    let error = Collection::open_in(Arc::new(earlier.clone()), inline()).expect_err("damage");
    assert_eq!((error.kind(), error.file()), (ErrorKind::Corrupt, Some(log.to_string().as_str())));
    assert_eq!(earlier.image_hash(), hash, "nothing was changed");
}
