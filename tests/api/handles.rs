//! Handles and snapshots: how long they live, what they show, what ends them.

use stratavec::storage::Storage;
use stratavec::{Collection, Compact, Include, OpenOptions, Snapshot};

use super::scene::{Scene, ids, inline, nearest, open, plain};

fn rows(from: u64, to: u64, s: &Scene) {
    for id in from..to {
        let mut batch = s.c.batch();
        batch.upsert(id, &[id as f32, 1.0]).payload(format!("row {id}").as_bytes());
        batch.commit().expect("commit");
    }
}

/// Reads everything a snapshot has in every way.
fn read_all(snapshot: &Snapshot) -> Vec<String> {
    let everything = Include::VECTOR | Include::PAYLOAD | Include::ATTRIBUTES;
    let hits = snapshot.search(&[0.0, 0.0]).k(1000).include(everything).run().expect("search");
    let mut seen: Vec<String> = hits.into_iter().map(|hit| format!("{hit:?}")).collect();
    seen.extend(snapshot.iter().map(|item| format!("{:?}", item.expect("a row"))));
    seen.extend((0..60u64).map(|id| format!("{:?}", snapshot.get(id).expect("get"))));
    seen
}

// [C6], [C9]: whatever is done to the collection and its files.
#[test]
fn a_snapshot_outlives_flushes_merges_the_handle_and_the_next_one() {
    let s = Scene::new(plain());
    rows(0, 20, &s);
    s.c.flush().expect("flush");
    rows(20, 30, &s);
    s.c.delete(5u64).expect("delete");
    let snapshot = s.c.snapshot();
    let before = read_all(&snapshot);
    rows(3, 40, &s);
    s.c.flush().expect("flush");
    assert_eq!(read_all(&snapshot), before);
    s.c.compact(Compact::Full).expect("compact").wait().expect("the merge");
    assert_eq!(read_all(&snapshot), before, "its files are gone from the directory");
    let disk = s.disk.clone();
    s.c.close().expect("close");
    assert_eq!(read_all(&snapshot), before);
    let c = open(&disk);
    for id in 0..60u64 {
        c.delete(id).expect("delete");
    }
    c.flush().expect("flush");
    drop(c);
    assert_eq!(read_all(&snapshot), before);
    let copy = snapshot.clone();
    drop(snapshot);
    assert_eq!(std::thread::spawn(move || read_all(&copy)).join().expect("the thread"), before);
}

#[test]
fn a_snapshot_on_a_real_disk_outlives_its_files() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let path = place.path().join("c");
    let c = Collection::create(&path, plain(), inline()).expect("create");
    for id in 0..10u64 {
        c.upsert(id, &[id as f32, 0.0]).expect("upsert");
        c.flush().expect("flush");
    }
    let snapshot = c.snapshot();
    let before = read_all(&snapshot);
    c.compact(Compact::Full).expect("compact").wait().expect("the merge");
    c.close().expect("close");
    std::fs::remove_dir_all(&path).expect("remove");
    assert_eq!(read_all(&snapshot), before);
}

#[test]
fn a_snapshot_is_of_its_moment() {
    let s = Scene::new(plain());
    let empty = s.c.snapshot();
    rows(0, 3, &s);
    let three = s.c.snapshot();
    s.c.delete(1u64).expect("delete");
    let two = s.c.snapshot();
    assert_eq!((empty.seq(), empty.count(), ids(&empty).len()), (0, 0, 0));
    assert_eq!((three.seq(), three.count()), (3, 3));
    assert_eq!((two.seq(), ids(&two)), (4, vec![stratavec::Id::U64(0), stratavec::Id::U64(2)]));
    assert_eq!(nearest(&three, &[1.0, 1.0], 1), [1u64]);
    assert_eq!(three.schema(), s.c.schema());
    assert_eq!(format!("{three:?}"), "Snapshot(seq 3, 3 rows)");
}

#[test]
fn rows_are_iterated_in_the_order_of_writing_through_files_and_memory() {
    let s = Scene::new(plain());
    for id in [5u64, 1, 9, 3] {
        s.c.upsert(id, &[0.0, 0.0]).expect("upsert");
    }
    s.c.flush().expect("flush");
    for id in [7u64, 1, 2] {
        s.c.upsert(id, &[1.0, 0.0]).expect("upsert");
    }
    let expected = [5u64, 9, 3, 7, 1, 2].map(stratavec::Id::U64);
    assert_eq!(ids(&s.c.snapshot()), expected);
    s.c.flush().expect("flush");
    assert_eq!(ids(&s.c.snapshot()), expected);
    s.c.compact(Compact::Full).expect("compact").wait().expect("the merge");
    assert_eq!(ids(&s.c.snapshot()), expected);
    assert_eq!(ids(&s.reopened().c.snapshot()), expected);
}

// [C5], [C11]: closing leaves nothing to do, dropping leaves the log.
#[test]
fn closing_leaves_nothing_to_recover_and_dropping_leaves_the_log() {
    let s = Scene::new(plain());
    rows(0, 10, &s);
    let disk = s.disk.clone();
    drop(s.c);
    let c = open(&disk);
    assert_eq!((c.recovery().batches_replayed, c.snapshot().count()), (10, 10));
    assert!(!c.recovery().is_clean());
    c.close().expect("close");
    let c = open(&disk);
    assert!(c.recovery().is_clean(), "{:?}", c.recovery());
    // A handle that writes nothing leaves nothing, however it ends.
    drop(c);
    let before = disk.image_hash();
    for _ in 0..2 {
        let c = open(&disk);
        assert!(c.recovery().is_clean());
        assert_eq!(ids(&c.snapshot()).len(), 10);
        c.close().expect("close");
    }
    assert_eq!(disk.image_hash(), before, "opening, reading and closing wrote something");
}

#[test]
fn a_merge_keeps_the_collection_open_until_it_ends() {
    let s = Scene::with(plain(), OpenOptions::new());
    rows(0, 5, &s);
    s.c.flush().expect("flush");
    let job = s.c.compact(Compact::Full).expect("compact");
    drop(s.c);
    job.wait().expect("the merge goes on without the handle");
    assert_eq!(open(&s.disk).snapshot().count(), 5);
    assert!(s.disk.list().expect("list").len() >= 4);
}
