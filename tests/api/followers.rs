//! Collections opened for reading only, beside a writer or without one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use stratavec::storage::testing::{MemDir, Op, TraceDir};
use stratavec::storage::{FileKind, ReadOnlyDir, Storage};
use stratavec::{
    Background, Collection, Compact, Compaction, Durability, ErrorKind, IdKind, Include, Metric, OpenOptions, Schema,
    Snapshot, Verify,
};
use stratavec_tests::MeddledDir;

fn schema() -> Schema {
    Schema::new(2, Metric::L2).ids(IdKind::U64)
}

fn manual() -> OpenOptions {
    OpenOptions::new().compaction(Compaction::Manual)
}

/// Nothing is written but what is asked for: no thread seals a log that is idle.
fn inline() -> OpenOptions {
    manual().background(Background::Inline)
}

/// Id and first component of every row.
fn rows(snapshot: &Snapshot) -> BTreeMap<u64, f32> {
    let items = snapshot.iter().map(|item| item.expect("a row"));
    items.map(|item| (item.id.as_u64().expect("a number"), item.vector[0])).collect()
}

/// Names, lengths and times of all files.
fn files(path: &Path) -> Vec<(String, u64, SystemTime)> {
    let mut files: Vec<_> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let about = entry.metadata().unwrap();
            (entry.file_name().into_string().unwrap(), about.len(), about.modified().unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_follower_shows_what_was_acknowledged_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let writer = Collection::create(&path, schema(), inline()).unwrap();
    for id in 0..20u64 {
        let mut batch = writer.batch();
        batch.upsert(id, &[id as f32, 1.0]).payload(b"p");
        batch.commit_with(if id % 2 == 0 { Durability::Group } else { Durability::Os }).unwrap();
    }
    writer.flush().unwrap();
    writer.delete(3u64).unwrap();
    writer.upsert(4u64, &[40.0, 1.0]).unwrap();
    let before = files(&path);
    let follower = Collection::open_read_only(&path).unwrap();
    assert_eq!(follower.last_seq(), writer.last_seq());
    let (seen, written) = (follower.snapshot(), writer.snapshot());
    assert_eq!(rows(&seen), rows(&written));
    assert_eq!(seen.count(), 19);
    assert!(seen.get(3u64).unwrap().is_none() && !seen.contains(3u64).unwrap());
    let hits = seen.search(&[40.0, 1.0]).k(1).include(Include::PAYLOAD).run().unwrap();
    assert_eq!((hits[0].id.as_u64(), hits[0].distance), (Some(4), 0.0));
    assert_eq!(follower.schema(), writer.schema());
    assert_eq!(files(&path), before, "nothing was written");
    // The writer is not disturbed, and is still the only one.
    assert_eq!(Collection::open(&path, manual()).unwrap_err().kind(), ErrorKind::Locked);
    writer.close().unwrap();
    assert_eq!(follower.refresh().unwrap(), 22);
    assert_eq!(rows(&follower.snapshot()), rows(&written));
}

#[test]
fn a_refresh_shows_what_came_meanwhile_and_an_old_snapshot_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let writer = Collection::create(&path, schema(), manual()).unwrap();
    let follower = Collection::open_read_only(&path).unwrap();
    assert_eq!((follower.last_seq(), follower.snapshot().count()), (0, 0));
    let mut held = Vec::new();
    for round in 0..30u64 {
        let mut batch = writer.batch();
        for id in 0..50u64 {
            batch.upsert(id * 7 % 100, &[round as f32, id as f32]);
        }
        batch.delete(round);
        batch.commit().unwrap();
        match round % 6 {
            2 => writer.flush().unwrap(),
            5 => drop(writer.compact(Compact::Full).unwrap().wait().unwrap()),
            _ => {}
        }
        assert_eq!(follower.refresh().unwrap(), round + 1);
        let snapshot = follower.snapshot();
        assert_eq!(rows(&snapshot), rows(&writer.snapshot()), "round {round}");
        held.push((rows(&snapshot), snapshot));
    }
    let stats = follower.stats();
    assert_eq!((stats.rows, stats.last_seq, stats.generation), (writer.stats().rows, 30, writer.stats().generation));
    // The writer has removed the files of most of them.
    for (content, snapshot) in &held {
        assert_eq!(&rows(snapshot), content);
    }
}

#[test]
fn a_follower_needs_no_writer_and_reads_what_a_crashed_one_left() {
    let disk = MemDir::new(1);
    let options = inline();
    let writer = Collection::create_in(Arc::new(disk.clone()), schema(), options.clone()).unwrap();
    for id in 0..10u64 {
        writer.upsert(id, &[id as f32, 0.0]).unwrap();
    }
    let killed = disk.process_crash();
    // Half of a record is at the end of the log, as after a write that was cut short.
    let log = killed.names().into_iter().find(|name| name.kind() == Some(FileKind::Wal)).unwrap();
    assert!(killed.corrupt(log, |bytes| bytes.truncate(bytes.len() - 9)));
    let hash = killed.image_hash();
    let traced = Arc::new(TraceDir::new(killed.clone()));
    let follower = Collection::open_read_only_in(traced.clone()).unwrap();
    assert_eq!((follower.last_seq(), follower.snapshot().count()), (9, 9));
    assert_eq!(follower.refresh().unwrap(), 9);
    let reads = [Op::List, Op::Open, Op::Len, Op::ReadAt, Op::Map];
    assert!(traced.calls().iter().all(|traced| reads.contains(&traced.call.op)), "{:?}", traced.calls());
    assert_eq!(killed.image_hash(), hash, "the torn tail is still there");
    // The next writer drops the tail for good; the follower goes on behind it.
    let next = Collection::open_in(Arc::new(killed.clone()), options).unwrap();
    next.upsert(77u64, &[7.0, 7.0]).unwrap();
    assert_eq!(follower.refresh().unwrap(), 10);
    assert_eq!(rows(&follower.snapshot()), rows(&next.snapshot()));
}

#[test]
fn a_refresh_without_news_reads_the_manifest_and_looks_at_the_end_of_the_log() {
    let disk = MemDir::new(2);
    let writer = Collection::create_in(Arc::new(disk.clone()), schema(), inline()).unwrap();
    for id in 0..2_000u64 {
        writer.upsert(id, &[id as f32, 0.0]).unwrap();
    }
    writer.flush().unwrap();
    writer.upsert(1u64, &[0.0, 0.0]).unwrap();
    let traced = Arc::new(TraceDir::new(disk));
    let follower = Collection::open_read_only_in(traced.clone()).unwrap();
    let opened = traced.calls().len();
    follower.refresh().unwrap();
    let seen: Vec<_> = traced.calls()[opened..].iter().map(|traced| (traced.call.op, kind(&traced.call))).collect();
    let (manifest, log) = (Some(FileKind::Manifest), Some(FileKind::Wal));
    let reads = [(Op::Open, manifest), (Op::Len, manifest), (Op::ReadAt, manifest)];
    assert_eq!(seen, [&[(Op::List, None)], &reads[..], &[(Op::ReadAt, log), (Op::Len, log)]].concat());
    // A batch: besides that, one read of the log.
    writer.upsert(2u64, &[0.0, 0.0]).unwrap();
    let opened = traced.calls().len();
    follower.refresh().unwrap();
    let new = traced.calls()[opened..].iter().filter(|t| t.call.op == Op::ReadAt).count();
    assert_eq!(new, 3, "the manifest, the last checksum and the new record");
    // A flush: the new files are opened, the old ones are not.
    writer.flush().unwrap();
    let opened = traced.calls().len();
    follower.refresh().unwrap();
    let maps = traced.calls()[opened..].iter().filter(|t| t.call.op == Op::Map).count();
    assert_eq!(maps, 3, "one row file, one id table, one tombstone file");
}

fn kind(call: &stratavec::storage::testing::Call) -> Option<FileKind> {
    call.name.and_then(|name| name.kind())
}

#[test]
fn a_directory_that_may_not_be_written_to_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let writer = Collection::create(&path, schema(), manual()).unwrap();
    writer.upsert(1u64, &[1.0, 1.0]).unwrap();
    writer.flush().unwrap();
    writer.upsert(2u64, &[2.0, 2.0]).unwrap();
    drop(writer);
    let all = || std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).chain([path.clone()]);
    all().for_each(|path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o500)).unwrap());
    let follower = Collection::open_read_only(&path).unwrap();
    assert_eq!(rows(&follower.snapshot()), BTreeMap::from([(1, 1.0), (2, 2.0)]));
    assert_eq!(follower.refresh().unwrap(), 2);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn a_place_without_a_collection_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("absent")] {
        assert_eq!(Collection::open_read_only(&path).unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_collection_that_was_exchanged_or_removed_is_reported_and_the_old_state_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let writer = Collection::create(&path, schema(), manual()).unwrap();
    writer.upsert(1u64, &[1.0, 1.0]).unwrap();
    writer.flush().unwrap();
    let follower = Collection::open_read_only(&path).unwrap();
    writer.close().unwrap();
    for entry in std::fs::read_dir(&path).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(follower.refresh().unwrap_err().kind(), ErrorKind::NotFound);
    let other = Collection::create(&path, schema(), manual()).unwrap();
    other.upsert(2u64, &[2.0, 2.0]).unwrap();
    let error = follower.refresh().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("another collection"), "{error}");
    assert_eq!(rows(&follower.snapshot()), BTreeMap::from([(1, 1.0)]));
}

#[test]
fn damage_is_reported_and_what_was_shown_stays() {
    let disk = MemDir::new(3);
    let writer = Collection::create_in(Arc::new(disk.clone()), schema(), manual()).unwrap();
    for id in 0..6u64 {
        writer.upsert(id, &[id as f32, 0.0]).unwrap();
    }
    let follower = Collection::open_read_only_in(Arc::new(disk.clone())).unwrap();
    for id in 6..9u64 {
        writer.upsert(id, &[id as f32, 0.0]).unwrap();
    }
    let log = disk.names().into_iter().find(|name| name.kind() == Some(FileKind::Wal)).unwrap();
    let whole = disk.file_bytes(log).unwrap();
    let at = whole.len() - (whole.len() - 128) / 9 * 2 - 4;
    assert!(disk.corrupt(log, |bytes| bytes[at] ^= 1));
    for _ in 0..2 {
        assert_eq!(follower.refresh().unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!((follower.last_seq(), follower.snapshot().count()), (6, 6));
    }
    assert_eq!(Collection::open_read_only_in(Arc::new(disk.clone())).unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(disk.corrupt(log, |bytes| bytes[at] ^= 1));
    assert_eq!(follower.refresh().unwrap(), 9);
}

#[test]
fn a_writer_that_is_always_faster_is_an_error_and_not_an_endless_loop() {
    let disk = MemDir::new(5);
    let writer = Collection::create_in(Arc::new(disk.clone()), schema(), manual()).unwrap();
    writer.upsert(0u64, &[0.0, 0.0]).unwrap();
    let place = Arc::new(MeddledDir::new(disk));
    let follower = Collection::open_read_only_in(place.clone()).unwrap();
    let (writer, mut next) = (Arc::new(writer), 1);
    let busy = writer.clone();
    // Two manifests between any two calls: what was listed is gone before it is opened.
    let meddler = move |_| {
        for _ in 0..2 {
            busy.upsert(next % 50, &[next as f32, 0.0]).unwrap();
            busy.flush().unwrap();
            next += 1;
        }
    };
    let (refreshed, calls) = place.meddle(meddler, || follower.refresh());
    let error = refreshed.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
    assert!((200..10_000).contains(&calls), "{calls} calls");
    assert_eq!(follower.snapshot().seq(), 1, "what was shown stays");
    assert_eq!(follower.refresh().unwrap(), writer.last_seq());
}

/// What is gone because a newer manifest is there is no damage.
#[test]
fn a_check_beside_a_writer_that_is_always_faster_tells_of_no_damage() {
    let disk = MemDir::new(6);
    let writer = Collection::create_in(Arc::new(disk.clone()), schema(), manual()).unwrap();
    let place = Arc::new(MeddledDir::new(disk));
    let mut next = 0;
    let meddler = move |_| {
        for _ in 0..2 {
            writer.upsert(next % 50, &[next as f32, 0.0]).unwrap();
            writer.flush().unwrap();
            next += 1;
        }
    };
    let (checked, calls) = place.meddle(meddler, || Collection::verify_in(&*place, Verify::Quick));
    assert_eq!(checked.unwrap_err().kind(), ErrorKind::Busy);
    assert!((40..10_000).contains(&calls), "{calls} calls");
}

#[test]
fn a_directory_without_its_writing_half_refuses_every_change() {
    let disk = MemDir::new(4);
    drop(Collection::create_in(Arc::new(disk.clone()), schema(), manual()).unwrap());
    let traced = Arc::new(TraceDir::new(disk));
    let read_only = ReadOnlyDir::new(traced.clone());
    let name = read_only.list().unwrap().iter().find_map(|entry| entry.name).unwrap();
    let file = read_only.open(name).unwrap();
    let refused = [
        read_only.create(name).err(),
        read_only.publish(name, name).err(),
        read_only.remove(name).err(),
        read_only.sync_dir().err(),
        read_only.lock().err(),
        file.write_at(b"x", 0).err(),
        file.reserve(0, 8).err(),
        file.truncate(0).err(),
        file.sync().err(),
        file.seal().err(),
    ];
    for (at, error) in refused.into_iter().enumerate() {
        assert_eq!(error.map(|e| e.kind()), Some(std::io::ErrorKind::PermissionDenied), "call {at}");
    }
    assert_eq!(traced.calls().iter().map(|t| t.call.op).collect::<Vec<_>>(), [Op::List, Op::Open]);
}

#[test]
fn followers_refresh_and_search_from_many_threads_while_the_writer_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let options = OpenOptions::new().flush_rows(40);
    let writer = Collection::create(&path, schema(), options).unwrap();
    let follower = Collection::open_read_only(&path).unwrap();
    const BATCHES: u64 = 300;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while last < BATCHES {
                    let seq = follower.refresh().unwrap();
                    let snapshot = follower.snapshot();
                    assert!(seq >= last && snapshot.seq() >= seq);
                    let versions = rows(&snapshot);
                    let all: Vec<f32> = versions.values().copied().collect();
                    assert!(all.iter().all(|v| *v == snapshot.seq() as f32), "{versions:?} at {}", snapshot.seq());
                    last = seq;
                }
            });
        }
        for version in 1..=BATCHES {
            let mut batch = writer.batch();
            (0..5u64).for_each(|id| {
                batch.upsert(id, &[version as f32, 0.0]);
            });
            batch.commit_with(Durability::Os).unwrap();
        }
    });
    assert!(writer.stats().flushes > 5);
}
