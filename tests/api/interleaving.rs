//! Many threads: commit order is visibility order, and every thread sees its own writes. [C6] [C7]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use stratavec::storage::testing::MemDir;
use stratavec::{Collection, Compaction, Durability, ErrorKind, OpenOptions};

use super::scene::{open, plain};

fn small_files() -> OpenOptions {
    OpenOptions::new().flush_rows(60).compaction(Compaction::Auto { dead_ratio: 0.2, fanout: 3 })
}

fn level(n: u64) -> Durability {
    [Durability::Os, Durability::Group, Durability::Sync][n as usize % 3]
}

#[test]
fn the_order_of_commits_is_the_order_in_which_they_are_seen() {
    const THREADS: u64 = 4;
    // Each commits at least so often, and at most so often until the reader has looked.
    const EACH: u64 = 150;
    const MOST: u64 = 20_000;
    let memory = MemDir::new(3);
    let c = Collection::create_in(Arc::new(memory.clone()), plain(), small_files()).expect("create");
    let (done, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    let written: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|t| {
                let (c, looks) = (&c, &looks);
                scope.spawn(move || {
                    let write = |i: u64| {
                        let id = t * MOST + i;
                        let mut batch = c.batch();
                        batch.upsert(id, &[id as f32, 0.0]);
                        let receipt = batch.commit_with(level(i)).expect("commit");
                        let snapshot = c.snapshot();
                        assert!(snapshot.seq() >= receipt.seq && snapshot.contains(id).expect("contains"));
                        let item = snapshot.get(id).expect("get").expect("its own write");
                        assert_eq!(item.seq, receipt.seq);
                        (receipt.seq, id)
                    };
                    let goes_on = |i: &u64| *i < EACH || looks.load(Ordering::Acquire) < 3;
                    (0..MOST).take_while(goes_on).map(write).collect::<Vec<_>>()
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let mut last = 0;
            while !done.load(Ordering::Acquire) {
                let snapshot = c.snapshot();
                assert!(snapshot.seq() >= last, "reads went back");
                last = snapshot.seq();
                // Every batch up to this number and none after it.
                let seqs: BTreeSet<u64> = snapshot.iter().map(|item| item.expect("a row").seq).collect();
                assert!(seqs.iter().copied().eq(1..=last), "of {last} batches {} are seen", seqs.len());
                assert_eq!(snapshot.count(), last);
                looks.fetch_add(1, Ordering::Release);
            }
        });
        let written = writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect();
        done.store(true, Ordering::Release);
        reader.join().expect("the reader");
        assert!(looks.load(Ordering::Acquire) >= 3, "the reader hardly looked");
        written
    });
    let by_seq: BTreeMap<u64, u64> = written.iter().copied().collect();
    assert!(by_seq.keys().copied().eq(1..=written.len() as u64), "each number was given once");
    let check = |c: &Collection| {
        for item in &c.snapshot() {
            let item = item.expect("a row");
            assert_eq!(by_seq.get(&item.seq), item.id.as_u64().as_ref());
        }
    };
    check(&c);
    drop(c);
    check(&open(&memory));
}

#[test]
fn of_many_inserts_of_one_id_one_succeeds() {
    let memory = MemDir::new(4);
    let c = Collection::create_in(Arc::new(memory.clone()), plain(), small_files()).expect("create");
    const IDS: u64 = 120;
    let wins: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6u64)
            .map(|t| {
                let c = &c;
                scope.spawn(move || {
                    let mut won = Vec::new();
                    for id in 0..IDS {
                        match c.insert(id, &[t as f32, id as f32]) {
                            Ok(_) => won.push(id),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
                        }
                        assert!(c.snapshot().contains(id).expect("contains"), "somebody wrote it");
                    }
                    won
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a writer")).collect()
    });
    assert_eq!(wins.len() as u64, IDS);
    assert_eq!(wins.iter().collect::<BTreeSet<_>>().len() as u64, IDS);
    assert_eq!((c.snapshot().count(), c.last_seq()), (IDS, IDS), "refused inserts took no number");
}

#[test]
fn receipts_of_threads_that_write_the_same_ids_add_up() {
    let memory = MemDir::new(5);
    let c = Collection::create_in(Arc::new(memory.clone()), plain(), small_files()).expect("create");
    let sums: Vec<(u64, u64, u64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..5u64)
            .map(|t| {
                let c = &c;
                scope.spawn(move || {
                    let mut random = stratavec_tests::Random::new(t);
                    let mut sum = (0, 0, 0);
                    for n in 0..120 {
                        let mut batch = c.batch();
                        for _ in 0..random.below(4) + 1 {
                            let id = random.below(30);
                            match random.one_in(3) {
                                true => drop(batch.delete(id)),
                                false => drop(batch.upsert(id, &[t as f32, n as f32])),
                            }
                        }
                        let receipt = batch.commit_with(level(n)).expect("commit");
                        sum = (sum.0 + receipt.inserted, sum.1 + receipt.replaced, sum.2 + receipt.deleted);
                    }
                    sum
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a writer")).collect()
    });
    let (inserted, deleted) = (sums.iter().map(|sum| sum.0).sum::<u64>(), sums.iter().map(|sum| sum.2).sum::<u64>());
    let live = inserted - deleted;
    assert_eq!(c.snapshot().count(), live, "every row that came was counted once, and every one that went");
    assert_eq!(c.snapshot().iter().count() as u64, live);
    drop(c);
    assert_eq!(open(&memory).snapshot().count(), live);
}
