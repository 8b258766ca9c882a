//! `stats`: figures that are counted, not estimated.

use stratavec::storage::{FileKind, Storage};
use stratavec::{Compact, Durability};

use super::scene::{Scene, plain};

const V: [f32; 2] = [1.0, 1.0];

fn bytes_of(s: &Scene, kinds: &[FileKind]) -> u64 {
    let entries = s.disk.list().expect("list");
    let ours = entries.iter().filter(|e| e.name.and_then(|name| name.kind()).is_some_and(|kind| kinds.contains(&kind)));
    ours.map(|entry| entry.len).sum()
}

fn count_of(s: &Scene, kind: FileKind) -> u64 {
    let entries = s.disk.list().expect("list");
    entries.iter().filter(|e| e.name.and_then(|name| name.kind()) == Some(kind)).count() as u64
}

/// What the figures say of files is what is there.
fn agree_with_the_disk(s: &Scene) {
    let stats = s.c.stats();
    assert_eq!(stats.row_files, count_of(s, FileKind::Row));
    assert_eq!(stats.id_tables, count_of(s, FileKind::IdTable));
    assert_eq!(stats.tombstone_files, count_of(s, FileKind::Tombstone));
    assert_eq!(stats.file_bytes, bytes_of(s, &[FileKind::Row, FileKind::IdTable, FileKind::Tombstone]));
    assert!(stats.sections.iter().map(|(_, bytes)| bytes).sum::<u64>() <= stats.file_bytes, "{:?}", stats.sections);
    assert_eq!((stats.rows, stats.last_seq), (s.c.snapshot().count(), s.c.last_seq()));
    assert_eq!(stats.durable_seq, s.c.durable_seq());
    assert!(stats.flush_error.is_none() && stats.poisoned.is_none() && stats.compaction_error.is_none());
}

#[test]
fn figures_follow_what_is_done() {
    let s = Scene::new(plain());
    let fresh = s.c.stats();
    assert_eq!((fresh.rows, fresh.delta_rows, fresh.file_bytes, fresh.generation), (0, 0, 0, 1));
    assert_eq!(fresh.schema, plain());
    agree_with_the_disk(&s);

    for id in 0..10u64 {
        s.c.upsert(id, &V).expect("upsert");
    }
    s.c.delete(3u64).expect("delete");
    s.c.upsert(4u64, &V).expect("upsert");
    let mut batch = s.c.batch();
    batch.upsert(90u64, &V);
    batch.upsert(91u64, &V);
    batch.commit_with(Durability::Os).expect("commit");
    let full = s.c.stats();
    assert_eq!((full.rows, full.delta_rows, full.dead_rows), (11, 13, 0), "dead rows in memory count as delta rows");
    assert_eq!((full.batches, full.log_syncs, full.flushes), (13, 12, 0));
    assert_eq!((full.last_seq, full.durable_seq), (13, 12));
    assert!(full.delta_bytes >= 13 * 8 && full.wal_bytes > fresh.wal_bytes);
    assert_eq!(full.log_bytes, full.wal_bytes - fresh.wal_bytes);
    agree_with_the_disk(&s);

    s.c.flush().expect("flush");
    let flushed = s.c.stats();
    assert_eq!((flushed.rows, flushed.delta_rows, flushed.delta_bytes), (11, 0, 0));
    assert_eq!((flushed.flushes, flushed.row_files, flushed.id_tables), (1, 1, 1));
    assert_eq!(flushed.dead_rows, 0, "rows that died before the flush are not written");
    assert_eq!(flushed.flush_bytes_written, flushed.file_bytes);
    assert!(flushed.generation > full.generation && flushed.durable_seq == 13);
    agree_with_the_disk(&s);

    s.c.delete(5u64).expect("delete");
    s.c.upsert(6u64, &V).expect("upsert");
    s.c.flush().expect("flush");
    let deleted = s.c.stats();
    assert_eq!((deleted.rows, deleted.dead_rows, deleted.tombstone_files), (10, 2, 1));
    agree_with_the_disk(&s);

    s.c.flush().expect("flush");
    assert_eq!(s.c.stats().generation, deleted.generation, "nothing to flush, nothing done");
    let report = s.c.compact(Compact::Full).expect("compact").wait().expect("the merge");
    let merged = s.c.stats();
    assert_eq!((merged.rows, merged.dead_rows, merged.row_files, merged.merges), (10, 0, 1, 1));
    assert_eq!((report.rows, report.dropped, report.files_read), (10, 2, 2));
    assert_eq!(merged.merge_bytes_written, report.bytes_written);
    agree_with_the_disk(&s);

    let s = s.reopened();
    let reopened = s.c.stats();
    assert_eq!((reopened.rows, reopened.last_seq, reopened.durable_seq), (10, 15, 15));
    assert_eq!((reopened.batches, reopened.flushes, reopened.log_bytes), (0, 0, 0), "counts are of this handle");
    agree_with_the_disk(&s);
}

#[test]
fn refused_commits_do_not_count() {
    let s = Scene::new(plain());
    s.c.upsert(1u64, &V).expect("upsert");
    s.c.insert(1u64, &V).expect_err("it is there");
    s.c.batch().commit().expect("an empty batch");
    let stats = s.c.stats();
    assert_eq!((stats.batches, stats.rows, stats.delta_rows, stats.last_seq), (1, 1, 1, 1));
}
