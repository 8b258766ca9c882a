//! Writers, searches, flushes and merges at once, watched by readers that know what must always hold. [C6] [C8] [C9]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stratavec::storage::testing::MemDir;
use stratavec::{Collection, Compact, Compaction, Durability, Filter, OpenOptions, Snapshot};
use stratavec_tests::Random;

use super::scene::{open, plain};

/// Ids that are rewritten for ever; none is ever absent.
const IDS: u64 = 90;
/// Accounts whose sum never changes.
const ACCOUNTS: u64 = 8;
const EACH: f32 = 100.0;
const ACCOUNT_IDS: u64 = 1_000_000;
/// Ids that are deleted before anybody looks, for ever.
const GRAVES: u64 = 2_000_000;

/// What every snapshot must show. `seen` holds the highest version seen of each id.
fn check(snapshot: &Snapshot, seen: &mut BTreeMap<u64, u32>) {
    let mut rewritten = 0;
    let mut sum = 0.0;
    for item in snapshot {
        let item = item.expect("a row");
        let id = item.id.as_u64().expect("a number");
        match id {
            0..IDS => {
                rewritten += 1;
                let version = item.vector[0] as u32;
                assert_eq!(item.payload.as_deref(), Some(version.to_string().as_bytes()), "the parts of one row");
                let last = seen.insert(id, version).unwrap_or(0);
                assert!(version >= last, "id {id} went back from version {last} to {version}");
            }
            ACCOUNT_IDS.. if id < GRAVES => sum += item.vector[1],
            _ => panic!("{id} was deleted"),
        }
    }
    assert_eq!(rewritten, IDS, "rows of {snapshot:?}");
    assert_eq!(sum, EACH * ACCOUNTS as f32, "what was moved between accounts in {snapshot:?}");
    assert_eq!(snapshot.count(), IDS + ACCOUNTS);
}

/// The same through searches.
fn check_search(snapshot: &Snapshot, random: &mut Random) {
    let query = [random.below(200) as f32, 50.0];
    let hits = snapshot.search(&query).k(1000).run().expect("search");
    assert_eq!(hits.len() as u64, IDS + ACCOUNTS);
    let id = random.below(IDS);
    let one = snapshot.search(&query).filter(Filter::ids([id, GRAVES + id])).run().expect("search");
    assert_eq!(one.iter().map(|hit| hit.id.as_u64()).collect::<Vec<_>>(), [Some(id)]);
    assert!(!snapshot.contains(GRAVES + id).expect("contains"));
}

fn begin(c: &Collection) {
    let mut batch = c.batch();
    for id in 0..IDS {
        batch.insert(id, &[0.0, 0.0]).payload(b"0");
    }
    for account in 0..ACCOUNTS {
        batch.insert(ACCOUNT_IDS + account, &[1e4, EACH]);
    }
    for id in 0..IDS {
        batch.insert(GRAVES + id, &[0.0, 0.0]);
    }
    batch.commit().expect("commit");
    (0..IDS).for_each(|id| assert!(c.delete(GRAVES + id).expect("delete")));
}

/// Rewrites ids of its own, counting up.
fn rewrite(c: &Collection, thread: u64, threads: u64, batches: u64) {
    for n in 1..=batches {
        let mut batch = c.batch();
        for id in (0..IDS).filter(|id| id % threads == thread) {
            match id % 3 {
                0 => drop(batch.delete(id)),
                1 => drop(batch.upsert(id, &[-1.0, 0.0])),
                _ => {}
            }
            batch.upsert(id, &[n as f32, id as f32]).payload(n.to_string().as_bytes());
        }
        let level = if n % 4 == 0 { Durability::Group } else { Durability::Os };
        let receipt = batch.commit_with(level).expect("commit");
        assert_eq!((receipt.inserted, receipt.deleted), (0, 0));
    }
}

/// Moves amounts between two accounts and lets graves come and go in one batch.
fn transfer(c: &Collection, lock: &std::sync::Mutex<()>, seed: u64, batches: u64) {
    let mut random = Random::new(seed);
    for _ in 0..batches {
        let (from, to) = (random.below(ACCOUNTS), random.below(ACCOUNTS));
        if from == to {
            continue;
        }
        // Reading and writing again is the caller's transaction; the batch makes it one change.
        let _turn = lock.lock().expect("lock");
        let snapshot = c.snapshot();
        let amount = |account| snapshot.get(ACCOUNT_IDS + account).expect("get").expect("an account").vector[1];
        let mut batch = c.batch();
        batch.upsert(ACCOUNT_IDS + from, &[1e4, amount(from) - 1.0]);
        batch.upsert(ACCOUNT_IDS + to, &[1e4, amount(to) + 1.0]);
        batch.insert(GRAVES + random.below(IDS), &[0.0, 0.0]);
        batch.upsert(GRAVES + random.below(IDS), &[0.0, 0.0]);
        for id in 0..IDS {
            batch.delete(GRAVES + id);
        }
        batch.commit_with(Durability::Os).expect("commit");
    }
}

fn watched(options: OpenOptions, batches: u64) {
    let memory = MemDir::new(11);
    let c = Collection::create_in(Arc::new(memory.clone()), plain(), options).expect("create");
    begin(&c);
    let (done, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    let turn = std::sync::Mutex::new(());
    let until = Instant::now() + Duration::from_secs(60);
    let is_watched = || looks.load(Ordering::Relaxed) > 3 && c.stats().flushes > 3 && c.stats().merges > 0;
    std::thread::scope(|scope| {
        let mut writers: Vec<_> = (0..2)
            .map(|t| {
                scope.spawn({
                    let c = &c;
                    move || rewrite(c, t, 2, batches)
                })
            })
            .collect();
        // Who watches and who merges may come to it late: there is something to see until they have.
        writers.push(scope.spawn(|| {
            let goes_on = |seed: &u64| *seed == 5 || (!is_watched() && Instant::now() < until);
            (5..).take_while(goes_on).for_each(|seed| transfer(&c, &turn, seed, batches));
        }));
        for seed in 0..2 {
            let (c, done, looks) = (&c, &done, &looks);
            scope.spawn(move || {
                let (mut random, mut seen) = (Random::new(seed), BTreeMap::new());
                while !done.load(Ordering::Acquire) {
                    let snapshot = c.snapshot();
                    check(&snapshot, &mut seen);
                    check_search(&snapshot, &mut random);
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                c.flush().expect("flush");
                c.compact(Compact::Full).expect("compact").wait().expect("the merge");
            }
        });
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Release);
        results.into_iter().for_each(|result| result.expect("a writer"));
    });
    assert!(looks.load(Ordering::Relaxed) > 3, "the readers saw {looks:?} states");
    assert!(c.stats().flushes > 3 && c.stats().merges > 0);
    let mut seen = BTreeMap::new();
    check(&c.snapshot(), &mut seen);
    assert!(seen.values().all(|version| u64::from(*version) == batches));
    // And what a killed process leaves.
    let c = open(&memory.process_crash());
    check(&c.snapshot(), &mut seen);
    check_search(&c.snapshot(), &mut Random::new(1));
}

#[test]
fn rows_are_conserved_while_everything_happens_at_once() {
    watched(OpenOptions::new().flush_rows(100).compaction(Compaction::Auto { dead_ratio: 0.2, fanout: 2 }), 150);
}

#[test]
fn rows_are_conserved_when_every_commit_flushes() {
    watched(OpenOptions::new().flush_rows(1).compaction(Compaction::Manual), 40);
}
