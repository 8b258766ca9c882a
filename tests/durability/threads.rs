//! Power losses while several threads commit and the handle's own threads flush and merge: the one thing that the exhaustive
//! suites, which run on one thread, cannot show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stratavec::storage::testing::{CrashOptions, MemDir, TraceDir, UnitMask};
use stratavec::{Background, Collection, Compaction, OpenOptions};
use stratavec_tests::{Errand, Random, THREADS};

use crate::guard::guarded;

const BATCHES: u64 = 60;

/// A moment: what had been promised before it, thread by thread, and the disk.
struct Moment {
    durable: Vec<u64>,
    acknowledged: Vec<u64>,
    disk: MemDir,
}

fn options() -> OpenOptions {
    OpenOptions::new().flush_bytes(12 << 10).compaction(Compaction::Auto { dead_ratio: 0.2, fanout: 3 })
}

/// [C1] [C2] [C3] [C9] Whenever the machine or the process stops: what is left is a prefix of the commit order of all threads,
/// and everything promised to any of them is in it.
#[test]
fn threads_that_commit_flush_and_merge_can_be_stopped_at_any_moment() {
    let started = Instant::now();
    let (mut moments, mut images, mut flushes) = (0, 0, 0);
    for seed in 1..=60 {
        let run = run(seed);
        flushes += run.flushes;
        moments += run.moments.len();
        for moment in &run.moments {
            images += moment.check(seed, &run.order).unwrap_or_else(|what| panic!("threads, seed={seed}: {what}"));
        }
    }
    println!(
        "threads: {images} images at {moments} moments of 60 runs with {flushes} flushes, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    assert!(moments > 100 && flushes > 60, "too little happened: {moments} moments, {flushes} flushes");
}

struct Run {
    moments: Vec<Moment>,
    /// For each thread the sequence numbers of its batches.
    order: Vec<Vec<u64>>,
    flushes: u64,
}

fn run(seed: u64) -> Run {
    let errand = Errand { seed };
    let disk = MemDir::new(seed);
    let traced = Arc::new(TraceDir::new(disk.clone()));
    let collection = Collection::create_in(traced.clone(), errand.schema(), options()).expect("create");
    let counters = || (0..THREADS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    let (durable, acknowledged, over) = (counters(), counters(), AtomicBool::new(false));
    let read = |counters: &[AtomicU64]| counters.iter().map(|n| n.load(Ordering::SeqCst)).collect::<Vec<u64>>();
    let mut moments = Vec::new();
    let order = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (errand, collection, durable, acknowledged) = (&errand, &collection, &durable, &acknowledged);
                scope.spawn(move || {
                    let commit = |n| {
                        let receipt = errand.commit(collection, thread, n).expect("commit");
                        acknowledged[thread as usize].store(n, Ordering::SeqCst);
                        if receipt.durable {
                            durable[thread as usize].store(n, Ordering::SeqCst);
                        }
                        receipt.seq
                    };
                    (1..=BATCHES).map(commit).collect::<Vec<u64>>()
                })
            })
            .collect();
        let sampler = scope.spawn(|| {
            let mut moments = Vec::new();
            while !over.load(Ordering::SeqCst) {
                // The promises are read first: what is promised later need not be on this disk.
                let (durable, acknowledged) = (read(&durable), read(&acknowledged));
                moments.push(Moment { durable, acknowledged, disk: disk.fork() });
                std::thread::sleep(Duration::from_micros(300));
            }
            moments
        });
        let order = writers.into_iter().map(|writer| writer.join().expect("a writer")).collect::<Vec<_>>();
        over.store(true, Ordering::SeqCst);
        moments = sampler.join().expect("the sampler");
        order
    });
    let flushes = collection.stats().flushes;
    drop(collection);
    traced.assert_orderly();
    Run { moments, order, flushes }
}

impl Moment {
    /// Recovers from some of the states this moment may leave; how many.
    fn check(&self, seed: u64, order: &[Vec<u64>]) -> Result<usize, String> {
        let set = self.disk.crash_set(&CrashOptions { exhaustive_units: 3, random_subsets: 6, ..Default::default() });
        let mut random = Random::new(seed ^ self.disk.calls());
        let every = UnitMask::range(0..set.units());
        let some = (0..3).map(|_| set.build(random.below(set.len() as u64) as usize));
        let images: Vec<MemDir> = [set.build(0), set.build_mask(&every)].into_iter().chain(some).collect();
        for image in &images {
            guarded(|| self.check_image(seed, image, &self.durable, order))?;
        }
        guarded(|| self.check_image(seed, &self.disk.process_crash(), &self.acknowledged, order))?;
        Ok(images.len() + 1)
    }

    fn check_image(&self, seed: u64, image: &MemDir, promised: &[u64], order: &[Vec<u64>]) -> Result<(), String> {
        let options = options().background(Background::Inline);
        let collection = Collection::open_in(Arc::new(image.clone()), options)
            .map_err(|error| format!("does not open: {error:?}"))?;
        let progress = Errand { seed }.check(&collection.snapshot())?;
        let last = collection.last_seq();
        for (thread, (found, promised)) in progress.iter().zip(promised).enumerate() {
            if found < promised {
                return Err(format!("thread {thread}: batch {promised} was promised, {found} is the last there"));
            }
            let before = order[thread].partition_point(|seq| *seq <= last) as u64;
            if *found != before {
                return Err(format!(
                    "thread {thread}: {found} batches are there, {before} of the first {last} are its"
                ));
            }
        }
        Ok(())
    }
}
