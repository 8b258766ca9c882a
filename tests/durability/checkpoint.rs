//! Checkpoints while several threads commit and the handle's own threads flush and merge.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use stratavec::storage::testing::{CrashOptions, MemDir};
use stratavec::{
    Background, Collection, Compact, Compaction, IdKind, IndexKind, IvfOptions, Metric, OpenOptions, RowFormat, Schema,
    Spill, Verify,
};
use stratavec_tests::{Errand, THREADS};

fn options() -> OpenOptions {
    OpenOptions::new().flush_bytes(12 << 10).compaction(Compaction::Auto { dead_ratio: 0.2, fanout: 3 })
}

/// [C8] [C9] Each copy holds whole batches, everything acknowledged to any thread before the call, and opens without recovery after a
/// power loss on its disk; the writers have not noticed.
#[test]
fn checkpoints_are_whole_while_writers_go_on() {
    for seed in 1..=12 {
        let errand = Errand { seed };
        let disk = MemDir::new(seed);
        let collection = Collection::create_in(Arc::new(disk.clone()), errand.schema(), options()).expect("create");
        let acknowledged: Vec<AtomicU64> = (0..THREADS).map(|_| AtomicU64::new(0)).collect();
        let over = AtomicBool::new(false);
        let copies: Vec<(Vec<u64>, MemDir, u64)> = std::thread::scope(|scope| {
            for (thread, last) in (0..THREADS).zip(&acknowledged) {
                let (errand, collection, over) = (&errand, &collection, &over);
                scope.spawn(move || {
                    for n in (1..).take_while(|_| !over.load(Ordering::SeqCst)) {
                        errand.commit(collection, thread, n).expect("commit");
                        last.store(n, Ordering::SeqCst);
                    }
                });
            }
            let copies = (0..8u64)
                .map(|number| {
                    while acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).sum::<u64>() < 12 * (number + 1) {
                        std::thread::yield_now();
                    }
                    let before = acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).collect();
                    let target = MemDir::new(seed ^ number << 8);
                    if number.is_multiple_of(2) {
                        target.refuse_links();
                    }
                    let report = collection.checkpoint_in(&target).expect("checkpoint");
                    (before, target, report.seq)
                })
                .collect();
            over.store(true, Ordering::SeqCst);
            copies
        });
        for (before, target, seq) in copies {
            let least = target.crash_set(&CrashOptions { exhaustive_units: 0, ..CrashOptions::default() }).build(0);
            let copy = Collection::open_in(Arc::new(least.clone()), options()).expect("open a checkpoint");
            assert!(copy.recovery().is_clean() && copy.last_seq() == seq, "{:?}", copy.recovery());
            let found = errand.check(&copy.snapshot()).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
            assert!(found.iter().zip(&before).all(|(found, before)| found >= before), "{found:?} of {before:?}");
            drop(copy);
            let report = Collection::verify_in(&least, Verify::Full).expect("verify");
            assert!(report.is_sound(), "{:?}", report.findings);
        }
        errand.check(&collection.snapshot()).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

/// [C8] Files without vectors, and with shorter ones than the log has, are checked as what they are when they are copied.
#[test]
fn copies_of_row_files_are_checked_as_what_they_are() {
    for format in [RowFormat::F32, RowFormat::F16, RowFormat::None] {
        let (disk, target) = (MemDir::new(7), MemDir::new(8));
        target.refuse_links();
        let index = IndexKind::Ivf(IvfOptions::auto().nlist(2).spill(Spill::Off));
        let schema = Schema::new(4, Metric::L2).ids(IdKind::U64).rows(format).index(index);
        let manual = OpenOptions::new().background(Background::Inline).compaction(Compaction::Manual);
        let c = Collection::create_in(Arc::new(disk), schema, manual).expect("create");
        for id in 0..40u64 {
            c.upsert(id, &[id as f32, 1.0, 2.0, (id * id % 7) as f32]).expect("upsert");
        }
        c.flush().expect("flush");
        c.compact(Compact::Auto).expect("begin").wait().expect("make lists");
        c.checkpoint_in(&target).unwrap_or_else(|error| panic!("{format:?}: {error}"));
        let copy = Collection::open_in(Arc::new(target), OpenOptions::new()).expect("open a checkpoint");
        let found = |c: &Collection| {
            c.snapshot()
                .search(&[3.0; 4])
                .k(40)
                .run()
                .expect("search")
                .iter()
                .map(|hit| hit.distance)
                .collect::<Vec<_>>()
        };
        assert_eq!(found(&copy), found(&c), "{format:?}");
    }
}
