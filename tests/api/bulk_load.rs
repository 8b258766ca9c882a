//! Bulk load: any number of rows, all at once or not at all.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use stratavec::{
    Attributes, Background, BulkItem, BulkOptions, Collection, Compact, Compaction, Error, ErrorKind, Id, IdKind,
    Metric, OpenOptions, Repair, Schema, Value, Verify,
};

fn options() -> OpenOptions {
    OpenOptions::default().compaction(Compaction::Manual)
}

/// Parts of a few rows, so that small loads are made of many.
fn small_parts() -> OpenOptions {
    options().flush_rows(7)
}

fn create(path: &Path, kind: IdKind, options: OpenOptions) -> Collection {
    Collection::create(path, Schema::new(2, Metric::L2).ids(kind), options).unwrap()
}

fn id(kind: IdKind, n: u64) -> Id {
    match kind {
        IdKind::U64 => Id::U64(n),
        _ => Id::from(format!("row {n}")),
    }
}

fn contents(c: &Collection) -> BTreeMap<Id, (Vec<f32>, u64)> {
    c.snapshot().iter().map(|item| item.unwrap()).map(|item| (item.id, (item.vector, item.seq))).collect()
}

fn assert_sound(path: &Path) {
    let report = Collection::verify(path, Verify::Full).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

/// Files of a collection's directory that hold rows, ids or tombstones.
fn files(path: &Path) -> usize {
    let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| ["row-", "idt-", "del-"].iter().any(|kind| name.starts_with(kind))).count()
}

// [C1] [C2] a load is one batch: one sequence number, replacing what has its ids, the last of several items winning.
#[test]
fn a_load_replaces_what_has_its_ids_and_is_there_after_reopening() {
    for kind in [IdKind::U64, IdKind::Bytes] {
        for options in [options(), small_parts(), small_parts().background(Background::Inline)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("c");
            let c = create(&path, kind, options.clone());
            let mut model = BTreeMap::new();
            for n in 0..30 {
                c.upsert(&id(kind, n), &[n as f32, 0.5]).unwrap();
                model.insert(id(kind, n), (vec![n as f32, 0.5], n + 1));
                if n == 20 {
                    c.flush().unwrap();
                }
            }
            c.delete(&id(kind, 3)).unwrap();
            model.remove(&id(kind, 3));
            let before = c.snapshot();
            // Ids 15 to 114, the first ten of them twice, far apart.
            let numbers = (15..25).chain(15..115u64);
            let items = numbers.enumerate().map(move |(i, n)| BulkItem::new(id(kind, n), [n as f32, i as f32]));
            let report = c.bulk_load(items).unwrap().wait().unwrap();
            assert_eq!((report.items, report.inserted, report.replaced, report.repeated), (110, 85, 15, 10));
            assert_eq!((report.seq, c.last_seq(), c.durable_seq()), (32, 32, 32));
            for (i, n) in (15..115u64).enumerate() {
                model.insert(id(kind, n), (vec![n as f32, (i + 10) as f32], 32));
            }
            assert_eq!(contents(&c), model);
            assert_eq!(c.snapshot().count(), model.len() as u64);
            for n in 0..120 {
                assert_eq!(c.snapshot().contains(&id(kind, n)).unwrap(), model.contains_key(&id(kind, n)), "{n}");
            }
            assert_eq!(before.iter().count(), 29, "a snapshot taken before reads on");
            // Commits go on behind it.
            c.delete(&id(kind, 100)).unwrap();
            c.upsert(&id(kind, 15), &[0.0, -1.0]).unwrap();
            model.remove(&id(kind, 100));
            model.insert(id(kind, 15), (vec![0.0, -1.0], 34));
            assert_eq!(contents(&c), model);
            drop(c);
            let c = Collection::open(&path, options.clone()).unwrap();
            assert_eq!((contents(&c), c.last_seq()), (model.clone(), 34));
            assert_eq!(c.recovery().orphans_removed, 0);
            c.compact(Compact::Full).unwrap().wait().unwrap();
            assert_eq!(contents(&c), model);
            assert_eq!((c.stats().dead_rows, c.stats().row_files), (0, 1));
            c.close().unwrap();
            assert_sound(&path);
        }
    }
}

#[test]
fn attributes_and_payloads_come_along() {
    let dir = tempfile::tempdir().unwrap();
    let c = create(&dir.path().join("c"), IdKind::U64, small_parts());
    let attributes = |n: u64| Attributes::from([("n".to_owned(), Value::I64(n as i64))]);
    let items =
        (0..100u64).map(move |n| BulkItem::new(n, [n as f32, 0.0]).attributes(attributes(n)).payload(n.to_string()));
    c.bulk_load(items).unwrap().wait().unwrap();
    let item = c.snapshot().get(77u64).unwrap().unwrap();
    assert_eq!(item.attributes, attributes(77));
    assert_eq!(item.payload.as_deref(), Some(&b"77"[..]));
    let hits = c.snapshot().search(&[42.2, 0.0]).k(1).run().unwrap();
    assert_eq!(hits[0].id, 42);
    assert_eq!(c.stats().row_files, 1, "parts are merged");
    assert!(c.stats().bulk_loads == 1 && c.stats().bulk_load_bytes_written > 0);
}

#[test]
fn nothing_to_load_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let c = create(&path, IdKind::U64, options());
    c.upsert(1u64, &[1.0, 1.0]).unwrap();
    let generation = c.stats().generation;
    let report = c.bulk_load(Vec::<BulkItem>::new()).unwrap().wait().unwrap();
    assert_eq!((report.seq, report.items), (1, 0));
    assert_eq!((c.last_seq(), c.stats().generation), (1, generation));
    c.close().unwrap();
    assert_sound(&path);
}

// [C1] [C4] an item that is refused, or an iterator that fails, leaves nothing behind: not a row, not a file.
#[test]
fn a_load_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let c = create(&path, IdKind::U64, small_parts());
    c.upsert(1u64, &[1.0, 1.0]).unwrap();
    c.flush().unwrap();
    let good = |n: u64| Ok(BulkItem::new(n, [n as f32, 0.0]));
    let cases: [(&str, stratavec::Result<BulkItem>, ErrorKind); 5] = [
        ("its own", Err(Error::new(ErrorKind::NotFound, "the file ended")), ErrorKind::NotFound),
        ("dimension", Ok(BulkItem::new(9u64, [1.0])), ErrorKind::InvalidArgument),
        ("not a number", Ok(BulkItem::new(9u64, [1.0, f32::NAN])), ErrorKind::InvalidArgument),
        ("kind of id", Ok(BulkItem::new("nine", [1.0, 2.0])), ErrorKind::InvalidArgument),
        ("payload", Ok(BulkItem::new(9u64, [1.0, 2.0]).payload(vec![0; (64 << 10) + 1])), ErrorKind::InvalidArgument),
    ];
    for (what, bad, kind) in cases {
        let items: Vec<_> = (0..500).map(good).chain([bad]).chain((500..600).map(good)).collect();
        let error = c.bulk_load(items).unwrap().wait().unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(error.to_string().contains("item 500"), "{what}: {error}");
        assert_eq!((c.last_seq(), c.snapshot().count(), files(&path)), (1, 1, 2), "{what}");
    }
    c.close().unwrap();
    assert_sound(&path);
}

// [C1] cancelled at any moment, a load is there as a whole or not at all.
#[test]
fn a_load_that_is_cancelled_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let c = create(&path, IdKind::U64, small_parts());
    c.upsert(1u64, &[1.0, 1.0]).unwrap();
    let (mut cancelled, mut done) = (0, 0);
    for after in 0..24u64 {
        let items = (0..200u64).map(|n| (n, [n as f32, 0.0]));
        let job = c.bulk_load(items).unwrap();
        while job.progress().done < after * 25 && !job.is_finished() {
            std::hint::spin_loop();
        }
        job.cancel();
        let count = match job.wait() {
            Ok(report) => {
                done += 1;
                assert_eq!(report.items, 200);
                200
            }
            Err(error) => {
                cancelled += 1;
                assert_eq!(error.kind(), ErrorKind::Cancelled);
                if done == 0 { 1 } else { 200 }
            }
        };
        assert_eq!(c.snapshot().count(), count);
        assert_eq!(c.last_seq(), 1 + done);
    }
    assert!(cancelled > 0, "{cancelled} cancelled, {done} done");
    let named = c.stats();
    assert_eq!(files(&path) as u64, named.row_files + named.id_tables + named.tombstone_files);
    c.close().unwrap();
    assert_sound(&path);
}

// [C8] what other threads commit while a load runs is neither lost nor undone: the load takes its place behind it.
#[test]
fn commits_during_a_load_keep_their_place() {
    for kind in [IdKind::U64, IdKind::Bytes] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let auto = OpenOptions::default().flush_rows(50).compaction(Compaction::Auto { dead_ratio: 0.1, fanout: 2 });
        let c = create(&path, kind, auto.clone());
        const IDS: u64 = 400;
        // The newest write of each id by the commit order: sequence number and vector, `None` for a delete.
        let writes = std::sync::Mutex::new(BTreeMap::<u64, Vec<(u64, Option<[f32; 2]>)>>::new());
        let (stop, committed) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut loads = Vec::new();
        std::thread::scope(|scope| {
            for thread in 0..3u64 {
                let (c, writes, stop, committed) = (&c, &writes, &stop, &committed);
                scope.spawn(move || {
                    let mut state = thread + 1;
                    while !stop.load(Ordering::Relaxed) {
                        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                        let n = (state >> 33) % IDS;
                        let vector = (state >> 60 > 5).then_some([n as f32, (state >> 40) as f32]);
                        let mut batch = c.batch();
                        match vector {
                            Some(vector) => drop(batch.upsert(&id(kind, n), &vector)),
                            None => drop(batch.delete(&id(kind, n))),
                        }
                        let receipt = batch.commit_with(stratavec::Durability::Os).unwrap();
                        writes.lock().unwrap().entry(n).or_default().push((receipt.seq, vector));
                        committed.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for round in 0..8u64 {
                let (send, receive) = sync_channel(1);
                let items = receive.into_iter().map(move |n: u64| (id(kind, n), [n as f32, -1.0 - round as f32]));
                let job = c.bulk_load(items).unwrap();
                let numbers: Vec<u64> = (0..IDS / 2).map(|i| (i * 2 + round) % IDS).collect();
                for n in &numbers {
                    send.send(*n).unwrap();
                    if n % 16 == round {
                        let before = committed.load(Ordering::Relaxed);
                        while committed.load(Ordering::Relaxed) < before + 20 {
                            std::thread::yield_now();
                        }
                    }
                }
                drop(send);
                let report = job.wait().unwrap();
                assert_eq!(report.inserted + report.replaced, numbers.len() as u64);
                loads.push((report.seq, numbers, -1.0 - round as f32));
            }
            stop.store(true, Ordering::Relaxed);
        });
        let mut writes = writes.into_inner().unwrap();
        for (seq, numbers, y) in loads {
            for n in numbers {
                writes.entry(n).or_default().push((seq, Some([n as f32, y])));
            }
        }
        let mut model = BTreeMap::new();
        for (n, mut history) in writes {
            history.sort_by_key(|(seq, _)| *seq);
            if let Some((seq, Some(vector))) = history.last() {
                model.insert(id(kind, n), (vector.to_vec(), *seq));
            }
        }
        assert_eq!(contents(&c), model);
        assert_eq!(c.snapshot().count(), model.len() as u64);
        for n in 0..IDS {
            assert_eq!(c.snapshot().contains(&id(kind, n)).unwrap(), model.contains_key(&id(kind, n)));
        }
        drop(c);
        let c = Collection::open(&path, auto).unwrap();
        assert_eq!(contents(&c), model);
        c.close().unwrap();
        assert_sound(&path);
    }
}

// [C11] what a process that was killed in the middle of a load leaves is removed by the next open.
#[test]
fn an_open_removes_what_an_unfinished_load_left() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("c"), dir.path().join("copy"));
    let c = create(&path, IdKind::U64, small_parts());
    c.upsert(1u64, &[1.0, 1.0]).unwrap();
    let (send, receive) = sync_channel::<(u64, [f32; 2])>(0);
    let job = c.bulk_load(receive).unwrap();
    (0..100u64).for_each(|n| send.send((n, [n as f32, 0.0])).unwrap());
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    assert!(files(&copy) >= 20, "{} files", files(&copy));
    drop(send);
    job.wait().unwrap();
    let killed = Collection::open(&copy, options()).unwrap();
    assert_eq!((killed.snapshot().count(), killed.last_seq()), (1, 1));
    assert!(killed.recovery().orphans_removed >= 20);
    killed.close().unwrap();
    assert_sound(&copy);
}

#[test]
fn a_load_of_several_merged_groups_keeps_the_last_of_each_id() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let c = create(&path, IdKind::Bytes, options().flush_rows(1));
    // 64 parts make a group: three groups, every id in each of them.
    let items = (0..180u64).map(|i| (format!("row {}", i % 30), [i as f32, 0.0]));
    let report = c.bulk_load(items).unwrap().wait().unwrap();
    assert_eq!((report.items, report.inserted, report.repeated), (180, 30, 150));
    assert!(c.stats().row_files > 1 && c.stats().dead_rows > 0, "{:?}", c.stats());
    for (id, (vector, _)) in contents(&c) {
        let n: f32 = id.to_text().trim_start_matches("row ").parse().unwrap();
        assert_eq!(vector, [150.0 + n, 0.0]);
    }
    assert_eq!(c.snapshot().count(), 30);
    c.close().unwrap();
    assert_sound(&path);
}

// A property is set in the step that makes the rows visible, stays, and goes with a load that fails.
#[test]
fn a_property_changes_with_the_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let c = create(&path, IdKind::U64, options());
    let mark = |value: &str| BulkOptions::new().property("read", value);
    c.bulk_load_with([(1u64, [1.0, 1.0])], mark("1")).unwrap().wait().unwrap();
    assert_eq!(c.property("read").as_deref(), Some(&b"1"[..]));
    let follower = Collection::open_read_only(&path).unwrap();
    let pinned = c.snapshot();
    assert_eq!((follower.property("read"), pinned.property("read")), (Some(b"1".to_vec()), Some(b"1".to_vec())));
    assert_eq!((follower.property("write"), pinned.property("")), (None, None));
    let failing: Vec<stratavec::Result<BulkItem>> = vec![Err(Error::new(ErrorKind::NotFound, "gone"))];
    c.bulk_load_with(failing, mark("2")).unwrap().wait().unwrap_err();
    c.upsert(2u64, &[2.0, 2.0]).unwrap();
    c.flush().unwrap();
    drop(c);
    let c = Collection::open(&path, options()).unwrap();
    assert_eq!(c.property("read").as_deref(), Some(&b"1"[..]));
    let report = c.bulk_load_with(Vec::<BulkItem>::new(), mark("3")).unwrap().wait().unwrap();
    assert_eq!((report.items, report.seq, c.last_seq()), (0, 3, 3));
    assert_eq!(c.property("read").as_deref(), Some(&b"3"[..]));
    assert_eq!(follower.property("read").as_deref(), Some(&b"1"[..]), "the state shown");
    follower.refresh().unwrap();
    assert_eq!(follower.property("read").as_deref(), Some(&b"3"[..]));
    assert_eq!(pinned.property("read").as_deref(), Some(&b"1"[..]));
    c.compact(Compact::Full).unwrap().wait().unwrap();
    c.bulk_load_with(Vec::<BulkItem>::new(), mark("")).unwrap().wait().unwrap();
    assert_eq!(c.property("read"), None);
    for (name, value) in [("", "x".to_owned()), (&*"n".repeat(256), "x".to_owned()), ("n", "x".repeat(4097))] {
        let options = BulkOptions::new().property(name, value);
        let error = c.bulk_load_with(Vec::<BulkItem>::new(), options).err().expect("refused");
        assert_eq!(error.argument_name(), Some("property"));
    }
    c.close().unwrap();
    assert_sound(&path);
}

// [C8] [C10] followers see a load as a whole; checkpoints and repairs keep its rows, their numbers and what they replaced.
#[test]
fn followers_checkpoints_and_repairs_take_loads_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let c = create(&path, IdKind::Bytes, small_parts());
    (0..10).for_each(|n| drop(c.upsert(&id(IdKind::Bytes, n), &[n as f32, 0.0])));
    let follower = Collection::open_read_only(&path).unwrap();
    assert_eq!(follower.snapshot().count(), 10);
    let items = (5..50).map(|n| (id(IdKind::Bytes, n), [n as f32, 1.0]));
    let seq = c.bulk_load(items).unwrap().wait().unwrap().seq;
    c.delete(&id(IdKind::Bytes, 7)).unwrap();
    assert_eq!(follower.refresh().unwrap(), seq + 1);
    let wanted = contents(&c);
    let seen = |items: stratavec::Items<'_>| -> BTreeMap<Id, (Vec<f32>, u64)> {
        items.map(|item| item.unwrap()).map(|item| (item.id, (item.vector, item.seq))).collect()
    };
    assert_eq!(seen(follower.snapshot().iter()), wanted);
    assert_eq!(wanted.len(), 49);
    let (copy, mended) = (dir.path().join("copy"), dir.path().join("mended"));
    c.checkpoint(&copy).unwrap();
    assert_eq!(contents(&Collection::open(&copy, options()).unwrap()), wanted);
    c.close().unwrap();
    let report = Collection::repair(&path, &mended, Repair::KeepProven).unwrap();
    assert_eq!(contents(&Collection::open(&mended, options()).unwrap()), wanted, "{report:?}");
    assert_sound(&mended);
}

// How hard searches look that do not say it is part of the collection: other handles, followers and copies see it.
#[test]
fn a_default_effort_is_stored_with_the_collection() {
    use stratavec::Effort;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let c = Collection::create(&path, Schema::new(2, Metric::L2), OpenOptions::default()).unwrap();
    let follower = Collection::open_read_only(&path).unwrap();
    c.upsert("a", &[0.0, 1.0]).unwrap();
    assert_eq!(c.snapshot().default_effort(), Effort::default());
    let before = c.snapshot();
    c.set_default_effort(Effort::Probe { nprobe: 12, patience: 3 }).unwrap();
    assert_eq!(before.default_effort(), Effort::default(), "a snapshot never changes");
    assert_eq!(c.snapshot().default_effort(), Effort::Probe { nprobe: 12, patience: 3 });
    let error = c.set_default_effort(Effort::Recall(1.5)).unwrap_err();
    assert_eq!(error.argument_name(), Some("effort"));
    let mine = BulkOptions::new().property("engine.effort", "exact");
    let error = c.bulk_load_with(std::iter::empty::<BulkItem>(), mine).map(|_| ()).unwrap_err();
    assert_eq!(error.argument_name(), Some("property"));
    c.close().unwrap();
    follower.refresh().unwrap();
    assert_eq!(follower.snapshot().default_effort(), Effort::Probe { nprobe: 12, patience: 3 });
    let c = Collection::open(&path, OpenOptions::default()).unwrap();
    assert_eq!(c.snapshot().default_effort(), Effort::Probe { nprobe: 12, patience: 3 });
    assert_eq!(c.snapshot().search(&[0.0, 0.0]).run().unwrap().len(), 1);
}
