//! R1: every power loss of every workload. R2: every power loss of the recoveries from them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use stratavec::storage::testing::{CrashOptions, HoleFill};
use stratavec_tests::{WORKLOADS, Workload};

use crate::explore::{Plan, Tally, explore};
use crate::kill::number_from_environment;
use crate::line::Line;
use crate::regressions;

/// Repeats a failure line.
pub fn repeat(line: &str) -> Result<(), String> {
    let only = Line::parse(line).ok_or_else(|| format!("not a failure line: {line}"))?;
    let plan = Plan { images: images(only.seed), only: Some(only.clone()), ..Plan::default() };
    explore(only.workload, only.seed, &plan).failures.into_iter().next().map_or(Ok(()), Err)
}

/// How the images of a seed are enumerated. What a file shows where it was never written changes with the seed.
fn images(seed: u64) -> CrashOptions {
    let fill = [HoleFill::Zeros, HoleFill::Noise(seed), HoleFill::Stale][seed as usize % 3];
    CrashOptions { seed, fill, ..CrashOptions::default() }
}

/// Explores all workloads with seeds from 1 on, on two threads, until `enough` says so of what was tried.
fn explore_all(plan: &Plan, enough: impl Fn(&Tally) -> bool + Sync) -> Tally {
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    let (workload, seed): (&'static Workload, u64) =
                        (&WORKLOADS[job % WORKLOADS.len()], 1 + (job / WORKLOADS.len()) as u64);
                    let tally = explore(
                        workload,
                        seed,
                        &Plan {
                            images: CrashOptions { exhaustive_units: plan.images.exhaustive_units, ..images(seed) },
                            ..plan.clone()
                        },
                    );
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    all.add(tally);
                    // Every workload is explored with the same number of seeds.
                    let round_is_over = (job + 1).is_multiple_of(WORKLOADS.len());
                    if (round_is_over && enough(&all)) || all.failures.len() > 100 {
                        next.store(usize::MAX / 2, Ordering::Relaxed);
                    }
                    if next.load(Ordering::Relaxed) >= usize::MAX / 2 {
                        break;
                    }
                }
            });
        }
    });
    all.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn report(suite: &str, tally: &Tally, started: Instant) {
    println!(
        "{suite}: {} images at {} crash points, {} double crashes in {} recoveries, at most {} pending units, {} failures, {:.1} s",
        tally.images,
        tally.points,
        tally.doubles,
        tally.inner_runs,
        tally.most_units,
        tally.failures.len(),
        started.elapsed().as_secs_f64()
    );
}

/// [C1] [C2] [C3] [C8] [C9] [C11] [WAL-4] [WAL-8] After a power loss at any call, whatever part of the unsynced bytes and names survived: the
/// collection opens, holds the result of a prefix of the batches with everything durable in it, and takes the next batch.
#[test]
fn every_state_after_a_power_loss_is_a_prefix_with_everything_durable() {
    regressions::try_all();
    let started = Instant::now();
    let tally = explore_all(&Plan::default(), |tally| tally.images >= 310_000);
    report("R1", &tally, started);
    tally.assert_sound();
    assert!(tally.images >= 300_000, "only {} images", tally.images);
}

/// [C11] [WAL-11] A recovery may be interrupted any number of times: it leaves what an undisturbed one finds.
#[test]
fn a_recovery_stopped_at_any_call_is_done_by_the_next() {
    let started = Instant::now();
    let images = CrashOptions { exhaustive_units: 8, ..CrashOptions::default() };
    let plan = Plan { images, inner_every: 16, again_every: 0, ..Plan::default() };
    let tally = explore_all(&plan, |tally| tally.doubles >= 60_000);
    report("R2", &tally, started);
    tally.assert_sound();
    assert!(tally.doubles >= 50_000, "only {} double crashes", tally.doubles);
}

/// The same for as long as it takes to see 20,000,000 images (or `STRATAVEC_IMAGES`) and a tenth as many double crashes.
#[test]
#[ignore = "takes the better part of an hour; make soak"]
fn soak_power_losses() {
    let started = Instant::now();
    let images = number_from_environment("STRATAVEC_IMAGES", 20_000_000);
    let plan = Plan { inner_every: 200, again_every: 64, ..Plan::default() };
    let tally = explore_all(&plan, |tally| tally.images >= images && tally.doubles >= images / 10);
    report("R1 and R2, long", &tally, started);
    tally.assert_sound();
}
