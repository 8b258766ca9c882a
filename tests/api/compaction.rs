//! Compaction: fewer files, no dead rows, the same content.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stratavec::storage::FileKind;
use stratavec::storage::testing::MemDir;
use stratavec::{Background, Collection, Compact, Compaction, ErrorKind, IdKind, Metric, OpenOptions, Schema, Verify};

use super::scene::plain;
use super::slow_disk::SlowDisk;

fn contents(c: &Collection) -> BTreeMap<u64, Vec<f32>> {
    c.snapshot().iter().map(|item| item.unwrap()).map(|item| (item.id.as_u64().unwrap(), item.vector)).collect()
}

fn manual() -> OpenOptions {
    OpenOptions::default().compaction(Compaction::Manual)
}

fn small(path: &std::path::Path, options: OpenOptions) -> Collection {
    Collection::create(path, Schema::new(2, Metric::L2).ids(IdKind::U64), options).unwrap()
}

// [C8] [C9] a full compaction drops every dead row and file, and changes nothing that can be asked.
#[test]
fn a_full_compaction_changes_the_files_and_not_the_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let c = small(&path, manual());
    for round in 0..6u64 {
        for i in 0..300 {
            c.upsert(i * (round + 1), &[i as f32, round as f32]).unwrap();
        }
        c.delete(round * 7).unwrap();
        c.flush().unwrap();
    }
    // A kill that is still in memory while the merge runs.
    c.delete(299u64).unwrap();
    let before = contents(&c);
    let pinned = c.snapshot();
    let planned = c.compact_dry_run(Compact::Full);
    let report = c.compact(Compact::Full).unwrap().wait().unwrap();
    assert_eq!((report.files_read, report.rows), (planned.files_read, planned.rows));
    assert!(report.bytes_written <= planned.bytes_written && report.dropped > 0);
    assert_eq!(contents(&c), before);
    let stats = c.stats();
    assert_eq!((stats.row_files, stats.id_tables), (1, 1));
    assert_eq!(stats.dead_rows, 0);
    assert_eq!(pinned.iter().count(), before.len(), "a snapshot taken before reads on");
    for id in [0, 7, 14, 299, 5, 1494] {
        assert_eq!(c.snapshot().contains(id).unwrap(), before.contains_key(&id), "id {id}");
    }
    drop(c);
    let c = Collection::open(&path, manual()).unwrap();
    assert_eq!(contents(&c), before);
    c.compact(Compact::Full).unwrap().wait().unwrap();
    c.close().unwrap();
    let report = Collection::verify(&path, Verify::Full).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

#[test]
fn small_files_and_dead_rows_go_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions::default().background(Background::Inline);
    let c = small(&dir.path().join("c"), options);
    for round in 0..40u64 {
        for i in 0..50 {
            c.upsert(i, &[i as f32, round as f32]).unwrap();
        }
        c.flush().unwrap();
    }
    let stats = c.stats();
    assert!(stats.row_files < 8 && stats.dead_rows <= 10, "{} files, {} dead", stats.row_files, stats.dead_rows);
    assert!(stats.merges > 0 && stats.compaction_error.is_none());
    assert_eq!(contents(&c).len(), 50);
}

// [C8] deletes and replacements that arrive while merges run are never lost.
#[test]
fn writes_during_merges_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let options =
        OpenOptions::default().flush_bytes(16 << 10).compaction(Compaction::Auto { dead_ratio: 0.05, fanout: 2 });
    let c = small(&path, options.clone());
    let mut model = BTreeMap::new();
    let mut state = 1u64;
    // Commits may be faster than whoever merges beside them: they go on until some merges have been.
    let until = Instant::now() + Duration::from_secs(60);
    let goes_on = |step: &u64| *step < 6_000 || (c.stats().merges <= 3 && Instant::now() < until);
    for step in (0..u64::MAX).take_while(goes_on) {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let id = (state >> 33) % 200;
        if state >> 60 < 4 {
            assert_eq!(c.delete(id).unwrap(), model.remove(&id).is_some());
        } else {
            let vector = vec![step as f32, id as f32];
            c.upsert(id, &vector).unwrap();
            model.insert(id, vector);
        }
        if step % 997 == 0 {
            assert_eq!(contents(&c), model, "step {step}");
        }
    }
    assert_eq!(contents(&c), model);
    assert!(c.stats().merges > 3, "{} merges", c.stats().merges);
    drop(c);
    let c = Collection::open(&path, options).unwrap();
    assert_eq!(contents(&c), model);
}

#[test]
fn a_cancelled_compaction_leaves_everything_as_it_was() {
    let memory = MemDir::new(1);
    let disk = SlowDisk::new(memory.clone());
    let c = Collection::create_in(disk.clone(), plain(), manual()).unwrap();
    for _ in 0..3 {
        let mut batch = c.batch();
        for i in 0..20_000u64 {
            batch.upsert(i, &[i as f32, 0.0]);
        }
        batch.commit().unwrap();
        c.flush().unwrap();
    }
    let files = c.stats().row_files;
    disk.hold(FileKind::Row);
    let job = c.compact(Compact::Full).unwrap();
    disk.wait_until_held();
    job.cancel();
    disk.release();
    assert_eq!(job.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(c.stats().row_files, files);
    assert_eq!(c.snapshot().count(), 20_000);
    let mut seen = Vec::new();
    let report = c.compact(Compact::Full).unwrap().wait_with(|p| seen.push(p)).unwrap();
    assert!(report.merges == 1 && seen.last().is_some_and(|p| p.done == p.total && p.total > 0), "{seen:?}");
    drop(c);
    assert!(Collection::verify_in(&memory, Verify::Full).unwrap().is_sound());
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for (compaction, name) in [
        (Compaction::Auto { dead_ratio: 0.0, fanout: 8 }, "dead_ratio"),
        (Compaction::Auto { dead_ratio: 0.2, fanout: 1 }, "fanout"),
    ] {
        let options = OpenOptions::default().compaction(compaction);
        let error = Collection::create(dir.path().join("c"), Schema::new(1, Metric::L2), options).unwrap_err();
        assert_eq!(error.argument_name(), Some(name));
    }
}

// A callback hears of a job without anybody waiting for it: when it is given, and when the job ends.
#[test]
fn progress_is_told_from_the_beginning_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let c = small(&dir.path().join("c"), manual());
    let heard = |told: &std::sync::mpsc::Receiver<stratavec::Progress>| told.iter().collect::<Vec<_>>();
    let (tell, told) = std::sync::mpsc::channel();
    let load = c.bulk_load((0..30_000u64).map(|i| (i, vec![i as f32, 1.0]))).unwrap();
    load.on_progress(move |p| tell.send(p).unwrap());
    // The channel ends once the load has let go of the callback.
    let seen = heard(&told);
    assert_eq!(load.wait().unwrap().items, 30_000);
    assert!(seen.last().is_some_and(|p| p.done == p.total && p.total >= 30_000), "{seen:?}");
    assert!(seen.windows(2).all(|pair| pair[0].done <= pair[1].done), "{seen:?}");

    c.upsert(7u64, &[0.0, 0.0]).unwrap();
    c.flush().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let job = c.compact(Compact::Full).unwrap();
    job.on_progress(move |p| tell.send(p).unwrap());
    let seen = heard(&told);
    assert_eq!(job.wait().unwrap().merges, 1);
    assert!(seen.last().is_some_and(|p| p.done == p.total && p.total > 0), "{seen:?}");
}
