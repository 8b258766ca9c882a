//! Syncs that fail and lie: what they should have written is gone, reads go on showing it, the next sync says all is well.
//!
//! That is what kernels do after a write-back error (Rebello et al., "Can Applications Recover from fsync Failures?",
//! USENIX ATC 2020). A model of power loss alone cannot find code that goes on from bytes it has only seen in the page cache.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stratavec::storage::FileKind;
use stratavec::storage::testing::{Fault, FaultDir, FaultPlan, MemDir, Op, Phase, Repeat};
use stratavec::{Background, Collection, Durability, ErrorKind, IdKind, Metric, OpenOptions, Outcome, Schema};
use stratavec_tests::WORKLOADS;

use crate::faults::fail_every_call;
use crate::ordeal::Count;

/// [C12] [C4] [C11] Whichever sync of a workload fails: the handle is poisoned or the failure concerned nothing anybody needs;
/// reads never show the batch; reopening shows it whole or not at all and makes what it shows survive a power loss.
#[test]
fn after_any_failed_sync_reopening_shows_only_what_stays() {
    let started = Instant::now();
    let (mut count, mut failures, mut syncs) = (Count::default(), Vec::new(), 0);
    for seed in 1..=12 {
        for workload in WORKLOADS {
            syncs += fail_every_call(workload, seed, Fault::LyingSync, &mut count, &mut failures);
        }
    }
    println!("failed syncs: {syncs} syncs, {count:?}, {:.1} s", started.elapsed().as_secs_f64());
    failures.iter().take(20).for_each(|line| eprintln!("{line}"));
    assert!(failures.is_empty(), "{} failures; the first: {}", failures.len(), failures[0]);
    assert!(count.unknown > 100 && count.poisoned > 500, "too little was tried: {count:?}");
}

/// [C12] [C4] Every commit that waits for the sync that fails learns that its outcome is unknown, and nothing is shown of it.
#[test]
fn all_commits_that_share_a_failed_sync_are_unknown() {
    let mut shared = 0;
    for seed in 1..=40 {
        let disk = MemDir::new(seed);
        let faults = Arc::new(FaultDir::with_disk(disk.clone(), &disk));
        // A sync takes a while, so that commits gather behind it.
        disk.on_call(|point| {
            if point.call.op == Op::Sync && point.phase == Phase::Before {
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        let options = OpenOptions::new().background(Background::Inline);
        let schema = Schema::new(2, Metric::L2).ids(IdKind::U64);
        let collection = Collection::create_in(faults.clone(), schema, options.clone()).unwrap();
        faults.arm(FaultPlan::new(Fault::LyingSync, 2 + seed % 5, Repeat::Once).on(&[Op::Sync]).of(&[FileKind::Wal]));
        // Each thread commits until it is refused; what it was told of each batch.
        let told: Vec<Vec<(u64, Option<Outcome>)>> = std::thread::scope(|scope| {
            let write = |thread: u64| {
                let mut told = Vec::new();
                loop {
                    let id = thread << 32 | told.len() as u64;
                    match collection.upsert(id, &[thread as f32, id as f32]) {
                        Ok(_) => told.push((id, None)),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Poisoned, "{error:?}");
                            told.push((id, Some(error.outcome())));
                            return told;
                        }
                    }
                }
            };
            let threads: Vec<_> = (0..6).map(|thread| scope.spawn(move || write(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let told: Vec<(u64, Option<Outcome>)> = told.into_iter().flatten().collect();
        let unknown = told.iter().filter(|(_, outcome)| *outcome == Some(Outcome::Unknown)).count();
        assert!(unknown >= 1, "no commit waited for the sync that failed");
        shared = shared.max(unknown);
        let snapshot = collection.snapshot();
        for (id, outcome) in &told {
            assert_eq!(snapshot.contains(*id).unwrap(), outcome.is_none(), "seed {seed}, {id}: {outcome:?}");
        }
        drop(collection);
        let found = Collection::open_in(Arc::new(disk.process_crash()), options).unwrap();
        for (id, outcome) in &told {
            let there = found.snapshot().contains(*id).unwrap();
            assert!(there || outcome.is_some(), "seed {seed}: {id} was acknowledged and is gone");
            assert!(!there || *outcome != Some(Outcome::NotCommitted), "seed {seed}: {id} was refused and is there");
        }
        assert_eq!(found.snapshot().count(), found.snapshot().iter().count() as u64);
    }
    assert!(shared > 1, "no sync was shared in 40 runs");
}

/// [C12] An operating-system acknowledgement that came before the failed sync stays visible; the level of a commit does not
/// matter to a poisoned handle.
#[test]
fn a_poisoned_handle_keeps_its_last_state_and_takes_nothing() {
    let disk = MemDir::new(1);
    let faults = Arc::new(FaultDir::with_disk(disk.clone(), &disk));
    let options = OpenOptions::new().background(Background::Inline);
    let schema = Schema::new(1, Metric::L2).ids(IdKind::U64);
    let collection = Collection::create_in(faults.clone(), schema, options.clone()).unwrap();
    let commit = |id: u64, level| {
        let mut batch = collection.batch();
        batch.upsert(id, &[id as f32]);
        batch.commit_with(level)
    };
    commit(1, Durability::Sync).unwrap();
    commit(2, Durability::Os).unwrap();
    faults.arm(FaultPlan::new(Fault::LyingSync, 0, Repeat::Once));
    assert_eq!(commit(3, Durability::Group).unwrap_err().outcome(), Outcome::Unknown);
    for level in [Durability::Os, Durability::Group, Durability::Sync] {
        let error = commit(4, level).unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Poisoned, Outcome::NotCommitted));
    }
    assert_eq!((collection.sync().unwrap_err().kind(), collection.durable_seq()), (ErrorKind::Poisoned, 1));
    assert_eq!(collection.wait_durable(2).unwrap_err().kind(), ErrorKind::Poisoned);
    assert!(collection.stats().poisoned.is_some());
    let snapshot = collection.snapshot();
    let there = [1u64, 2, 3, 4].map(|id| snapshot.contains(id).unwrap());
    assert_eq!(there, [true, true, false, false]);
    assert_eq!(snapshot.search(&[0.0]).k(9).run().unwrap().len(), 2);
    assert_eq!(collection.close().unwrap_err().kind(), ErrorKind::Poisoned);
}
