//! What reads see: C6 to C9.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use stratavec::storage::testing::MemDir;
use stratavec::{Collection, OpenOptions};

use super::{create, open, power_cuts, rows, schema};

/// [C6] under a writer that moves all ids at once, no read sees two versions of one id, none of it, or half of a batch.
#[test]
pub fn a_snapshot_is_one_committed_state_while_writers_run() {
    const IDS: u64 = 8;
    let place = tempfile::tempdir().expect("a temporary folder");
    let options = OpenOptions::default().flush_rows(100);
    let c = Collection::create(place.path().join("c"), schema(), options).expect("create");
    let put_all = |version: f32| {
        let mut batch = c.batch();
        for id in 0..IDS {
            batch.upsert(id, &[version, id as f32]);
        }
        batch.commit().expect("commit");
    };
    put_all(0.0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (1..150).for_each(|version| put_all(version as f32));
            done.store(true, Ordering::Release);
        });
        let mut last = 0.0;
        while !done.load(Ordering::Acquire) {
            let snapshot = c.snapshot();
            let found = rows(&snapshot);
            assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (0..IDS).collect::<Vec<_>>());
            let version = found[0].1;
            assert!(found.iter().all(|(_, v)| *v == version), "two batches at once: {found:?}");
            assert!(version >= last, "reads went back from {last} to {version}");
            let hits = snapshot.search(&[version, 0.0]).k(20).run().expect("search");
            assert_eq!(hits.len(), IDS as usize, "a search of the same snapshot");
            assert!(snapshot.get(3u64).expect("get").is_some_and(|item| item.vector[0] == version));
            last = version;
        }
    });
    assert!(c.stats().flushes > 3, "the test is about flushes as well");
}

/// [C7] a commit is seen by the next read; under Sync and Group not before it is durable.
#[test]
pub fn a_commit_is_seen_at_once_and_never_before_it_is_durable() {
    let disk = MemDir::new(7);
    let c = Arc::new(create(&disk));
    let early = Arc::new(Mutex::new(0));
    let (reader, count) = (c.clone(), early.clone());
    // At every call of the commit, whatever a search sees must survive a power cut at this very moment.
    disk.on_call(move |point| {
        let seen = rows(&reader.snapshot());
        for image in power_cuts(&point.dir) {
            let kept = rows(&open(&image).snapshot());
            *count.lock().expect("lock") += usize::from(!seen.iter().all(|row| kept.contains(row)));
        }
    });
    for id in 1..=4u64 {
        c.upsert(id, &[id as f32; 2]).expect("commit");
        assert!(c.snapshot().contains(id).expect("contains"));
        let hits = c.snapshot().search(&[id as f32; 2]).k(1).run().expect("search");
        assert_eq!(hits[0].id, id);
    }
    disk.clear_hook();
    assert_eq!(*early.lock().expect("lock"), 0, "reads showed what a power cut took back");
}

/// [C8] a deleted id stays away through flushes, crashes and reopening, until it is written again.
#[test]
pub fn a_deleted_id_stays_deleted() {
    let disk = MemDir::new(8);
    let mut c = create(&disk);
    for id in 0..6u64 {
        c.upsert(id, &[id as f32; 2]).expect("commit");
    }
    c.flush().expect("flush");
    c.delete(1u64).expect("in a file");
    c.upsert(9u64, &[9.0; 2]).expect("commit");
    c.delete(9u64).expect("in memory");
    let gone = |c: &Collection| {
        let hits = c.snapshot().search(&[1.0; 2]).k(50).run().expect("search");
        hits.iter().all(|hit| hit.id != 1u64 && hit.id != 9u64) && !c.snapshot().contains(1u64).expect("contains")
    };
    for _ in 0..3 {
        assert!(gone(&c));
        assert!(power_cuts(&disk).all(|image| gone(&open(&image))));
        c.flush().expect("flush");
        assert!(gone(&c));
        c.upsert(100 + c.last_seq(), &[0.0; 2]).expect("commit");
        drop(c);
        c = open(&disk);
    }
    assert!(!c.delete(1u64).expect("delete"), "it is not there to be deleted again");
    c.insert(1u64, &[7.0; 2]).expect("written again");
    assert!(rows(&c.snapshot()).contains(&(1, 7.0)));
}

/// [C9] flushing, and stopping anywhere in a flush, does not change what is there.
#[test]
pub fn a_flush_does_not_show_even_if_it_is_cut_short() {
    let disk = MemDir::new(9);
    let c = create(&disk);
    for id in 0..5u64 {
        c.upsert(id, &[id as f32; 2]).expect("commit");
    }
    c.flush().expect("flush");
    c.delete(0u64).expect("delete");
    c.upsert(1u64, &[11.0; 2]).expect("commit");
    let before = rows(&c.snapshot());
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let (kept, expected) = (wrong.clone(), before.clone());
    disk.on_call(move |point| {
        let mut images: Vec<MemDir> = power_cuts(&point.dir).collect();
        images.push(point.dir.process_crash());
        let found = images.iter().map(|image| rows(&open(image).snapshot())).filter(|rows| *rows != expected);
        kept.lock().expect("lock").extend(found);
    });
    c.flush().expect("flush");
    disk.clear_hook();
    assert!(wrong.lock().expect("lock").is_empty(), "{wrong:?}");
    assert_eq!(rows(&c.snapshot()), before);
}
