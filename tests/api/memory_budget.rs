//! One number for the memory of a handle: what it holds back, what is refused, and that it is kept.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stratavec::storage::FileKind;
use stratavec::storage::testing::MemDir;
use stratavec::{
    Background, BulkItem, Collection, Compact, Compaction, ErrorKind, IdKind, MIN_MEMORY_BUDGET, Metric, OpenOptions,
    Outcome, Schema,
};

use super::scene::{inline, plain};
use super::slow_disk::SlowDisk;

const MIB: u64 = 1 << 20;

fn wide() -> Schema {
    Schema::new(256, Metric::L2).ids(IdKind::U64)
}

/// A batch of 500 KiB.
fn fill(c: &Collection, first: u64) -> stratavec::Result<stratavec::Receipt> {
    let mut batch = c.batch();
    (first..first + 500).for_each(|id| {
        batch.upsert(id, &[id as f32; 256]);
    });
    batch.commit()
}

#[test]
fn a_budget_out_of_range_is_refused_with_the_range() {
    let dir = tempfile::tempdir().unwrap();
    for bytes in [0, MIN_MEMORY_BUDGET - 1, u64::MAX] {
        let options = OpenOptions::new().memory_budget(bytes);
        let error = Collection::create(dir.path().join("c"), plain(), options).unwrap_err();
        assert_eq!(error.argument_name(), Some("memory_budget"));
        assert!(error.to_string().contains("33554432..="), "{error}");
    }
}

#[test]
fn the_shares_are_those_who_hold_memory_and_go_down_to_nothing() {
    let options = inline().memory_budget(64 * MIB);
    let c = Collection::create_in(std::sync::Arc::new(MemDir::new(1)), wide(), options).unwrap();
    assert_eq!((c.stats().memory.budget, c.stats().memory.delta), (Some(64 * MIB), 0));
    let mut batch = c.batch();
    (0..1000u64).for_each(|id| {
        batch.upsert(id, &[id as f32; 256]);
    });
    let held = c.stats().memory;
    assert!(held.batches >= 1024 * 1000 && held.used >= held.batches, "{held:?}");
    batch.commit().unwrap();
    let held = c.stats().memory;
    assert!(held.batches == 0 && (1024 * 1000..1500 * 1000).contains(&held.delta), "{held:?}");
    let pinned = c.snapshot();
    c.flush().unwrap();
    let held = c.stats().memory;
    assert!(held.delta >= 1024 * 1000 && held.files > 0, "the snapshot holds the delta: {held:?}");
    drop(pinned);
    let held = c.stats().memory;
    assert_eq!((held.delta, held.used), (0, held.files), "{held:?}");
    assert!(held.peak > 2 * 1024 * 1000);
}

// [C13]: a batch that is too large for the budget is told so, and what takes it.
#[test]
fn a_batch_has_a_sixteenth_of_the_budget() {
    let c =
        Collection::create_in(std::sync::Arc::new(MemDir::new(1)), wide(), inline().memory_budget(MIN_MEMORY_BUDGET))
            .unwrap();
    let mut batch = c.batch();
    (0..4000u64).for_each(|id| {
        batch.upsert(id, &[id as f32; 256]);
    });
    let error = batch.commit().unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::BatchTooLarge, Outcome::NotCommitted));
    assert!(error.to_string().contains("memory_budget"), "{error}");
    assert!(error.hint().unwrap().contains("bulk_load"));
    assert_eq!(c.stats().memory.batches, 0);
    let items = (0..4000u64).map(|id| BulkItem::new(id, vec![id as f32; 256]));
    c.bulk_load(items).unwrap().wait().unwrap();
    assert_eq!((c.snapshot().count(), c.stats().memory.bulk_load), (4000, 0));
}

// [C7]: more memory is wanted than there is while nothing can be flushed: writers wait, and go on when it can.
#[test]
fn writers_wait_for_memory_and_go_on() {
    let memory = MemDir::new(5);
    let disk = SlowDisk::new(memory.clone());
    let options = OpenOptions::new().memory_budget(MIN_MEMORY_BUDGET).compaction(Compaction::Manual);
    let c = Collection::create_in(disk.clone(), wide(), options).unwrap();
    disk.hold(FileKind::Row);
    let committed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (c, committed) = (&c, &committed);
            scope.spawn(move || {
                for i in 0..30 {
                    fill(c, (thread * 30 + i) * 500).expect("it waits");
                    committed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        disk.wait_until_held();
        let mut last = u64::MAX;
        while std::mem::replace(&mut last, committed.load(Ordering::Relaxed)) != committed.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(300));
        }
        assert!(last < 90, "all {last} batches fitted");
        let held = c.stats().memory;
        assert!(held.used <= MIN_MEMORY_BUDGET, "{held:?}");
        disk.release();
    });
    assert_eq!(c.snapshot().count(), 90 * 500);
    assert!(c.stats().memory.peak <= MIN_MEMORY_BUDGET, "{:?}", c.stats().memory);
}

// [C4]: memory that snapshots pin cannot be waited for for ever: the error names the budget, nothing is changed, and it
// ends with the snapshots.
#[test]
fn what_snapshots_pin_ends_in_an_error_that_names_the_budget() {
    for background in [Background::Inline, Background::Thread] {
        let options = inline().background(background).memory_budget(MIN_MEMORY_BUDGET);
        let c = Collection::create_in(std::sync::Arc::new(MemDir::new(1)), wide(), options).unwrap();
        let (mut pinned, mut batches) = (Vec::new(), 0u64);
        let began = Instant::now();
        let error = loop {
            match fill(&c, batches * 500) {
                Ok(_) => batches += 1,
                Err(error) => break error,
            }
            pinned.push(c.snapshot());
            assert!(batches < 200, "pinned memory is not counted");
        };
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::OverBudget, Outcome::NotCommitted));
        assert!(error.to_string().contains("memory_budget is 33554432"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(30));
        assert_eq!(c.snapshot().count(), batches * 500);
        assert_eq!(c.snapshot().search(&[7.0; 256]).k(1).run().unwrap()[0].id, 7, "searches go on");
        drop(pinned);
        fill(&c, batches * 500).expect("there is room again");
        assert!(c.stats().poisoned.is_none());
    }
}

#[test]
fn a_search_without_room_for_its_best_rows_is_refused() {
    let schema = Schema::new(1, Metric::L2).ids(IdKind::U64);
    let options = inline().memory_budget(MIN_MEMORY_BUDGET);
    let c = Collection::create_in(std::sync::Arc::new(MemDir::new(1)), schema, options).unwrap();
    c.bulk_load((0..300_000u64).map(|id| (id, [id as f32]))).unwrap().wait().unwrap();
    let error = c.snapshot().search(&[5.0]).k(300_000).run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OverBudget);
    assert!(error.to_string().contains("memory_budget"), "{error}");
    assert_eq!(c.snapshot().search(&[5.0]).k(1000).run().unwrap().len(), 1000);
    assert_eq!(c.stats().memory.search, 0);
}

// [C11]: what cannot be recovered within the budget is left as it is and can be recovered without it.
#[test]
fn a_log_too_long_for_the_budget_is_recovered_by_a_larger_one() {
    let disk = MemDir::new(3);
    let c = Collection::create_in(std::sync::Arc::new(disk.clone()), wide(), inline()).unwrap();
    for i in 0..40 {
        fill(&c, i * 500).unwrap();
    }
    drop(c);
    let before = disk.image_hash();
    let small = inline().memory_budget(MIN_MEMORY_BUDGET);
    let error = Collection::open_in(std::sync::Arc::new(disk.clone()), small.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OverBudget);
    assert!(error.hint().unwrap().contains("larger memory_budget"));
    assert_eq!(disk.image_hash(), before);
    Collection::open_in(std::sync::Arc::new(disk.clone()), inline()).unwrap().close().unwrap();
    let c = Collection::open_in(std::sync::Arc::new(disk.clone()), small).unwrap();
    assert_eq!(c.snapshot().count(), 20_000);
    c.compact(Compact::Full).unwrap().wait().unwrap();
    assert_eq!(c.stats().memory.compaction, 0);
}

// Batches, merges, a bulk load and searches of three times the budget's bytes, in a process of its own: what the system
// counts as its memory is within the budget.
#[test]
fn the_process_stays_within_the_budget() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let args = [path.to_str().unwrap(), "200000", "128", "33554432"];
    let output = Command::new(env!("CARGO_BIN_EXE_frugal")).args(args).output().expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    let words: Vec<&str> = text.split_whitespace().collect();
    let figure = |name: &str| {
        let at = words.iter().position(|word| *word == name).expect("a figure");
        words[at + 1].parse::<u64>().expect("a number")
    };
    assert!(figure("rows") > 180_000);
    assert!(figure("counted") <= 32 * MIB, "{text}");
    if cfg!(target_os = "linux") {
        assert!((MIB..=32 * MIB).contains(&figure("anonymous")), "{text}");
    }
}
