//! What reads see while batches are written, moved to files and made durable.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use stratavec::storage::FileKind;
use stratavec::storage::testing::{MemDir, Op, Phase};
use stratavec::{Background, Collection, Durability, IdKind, Metric, OpenOptions, Schema, Snapshot};
use stratavec_tests::{Driver, WORKLOADS, compare};

/// [C6] [C9] A snapshot shows its batch for as long as it is held, whatever is written, flushed, removed, closed or opened
/// after it.
#[test]
fn a_snapshot_shows_its_own_batch_for_ever() {
    for workload in WORKLOADS {
        for seed in 1..=5 {
            let mut driver = Driver::new(workload, Arc::new(MemDir::new(seed)), seed);
            let mut held: Vec<Snapshot> = Vec::new();
            driver.create().unwrap();
            for step in workload.steps {
                held.extend(driver.collection().map(Collection::snapshot));
                driver.step(*step).unwrap_or_else(|failure| panic!("{} seed {seed}: {failure}", workload.name));
            }
            let history = driver.history();
            for snapshot in &held {
                let model = history.state(snapshot.seq()).expect("a batch that was committed");
                compare(snapshot, model, history.ids())
                    .unwrap_or_else(|what| panic!("{} seed {seed}, batch {}: {what}", workload.name, snapshot.seq()));
            }
        }
    }
}

/// [C7] A search that starts after `commit` returned sees the batch. Before the log is synced no search sees a batch that has
/// to be durable; before it is written none sees any.
#[test]
fn a_batch_is_seen_when_it_is_acknowledged_and_not_before_it_is_safe() {
    let disk = MemDir::new(1);
    let options = OpenOptions::new().background(Background::Inline).flush_rows(7);
    let schema = Schema::new(1, Metric::L2).ids(IdKind::U64);
    let collection = Arc::new(Collection::create_in(Arc::new(disk.clone()), schema, options).unwrap());
    let (acknowledged, looks) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let reader: Arc<OnceLock<Weak<Collection>>> = Arc::default();
    reader.set(Arc::downgrade(&collection)).expect("set once");
    let (seen_from, count) = (acknowledged.clone(), looks.clone());
    disk.on_call(move |point| {
        let of_the_log = point.call.name.and_then(|name| name.kind()) == Some(FileKind::Wal);
        let writes = (point.call.op, point.phase) == (Op::WriteAt, Phase::Before) || point.call.op == Op::Sync;
        if let Some(collection) = reader.get().and_then(Weak::upgrade).filter(|_| of_the_log && writes) {
            let snapshot = collection.snapshot();
            // While the log is rolled the batch before may be on its way to its caller.
            assert!(snapshot.seq() <= seen_from.load(Ordering::SeqCst) + 1);
            count.fetch_add(1, Ordering::SeqCst);
            if snapshot.seq() > seen_from.load(Ordering::SeqCst) {
                assert!(
                    collection.durable_seq() >= snapshot.seq() || snapshot.seq() % 3 == 0,
                    "seen before it is safe"
                );
            }
        }
    });
    for seq in 1..=60u64 {
        let mut batch = collection.batch();
        batch.upsert(seq % 10, &[seq as f32]);
        let level = if seq % 3 == 0 { Durability::Os } else { Durability::Group };
        assert_eq!(batch.commit_with(level).unwrap().seq, seq);
        assert_eq!(collection.snapshot().seq(), seq);
        assert_eq!(collection.snapshot().get(seq % 10).unwrap().unwrap().vector, [seq as f32]);
        acknowledged.store(seq, Ordering::SeqCst);
    }
    disk.clear_hook();
    assert!(looks.load(Ordering::SeqCst) > 100);
}
