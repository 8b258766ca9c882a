//! R21 and R22: calls come in an order a crash proof can stand on, and equal seeds make equal calls.

use std::collections::HashSet;
use std::sync::Arc;

use stratavec::storage::testing::{FaultDir, MemDir, TraceDir};
use stratavec_tests::{Driver, WORKLOADS, Workload};

use crate::explore::stall;

/// One run under observation: the hash of all calls, their results and the bytes written, and the rules it broke.
pub fn observe(workload: &'static Workload, seed: u64) -> (u128, Vec<String>) {
    let faults = Arc::new(FaultDir::new(MemDir::new(seed)));
    let traced = Arc::new(TraceDir::new(faults.clone()).checking_names());
    let mut driver = Driver::new(workload, traced.clone(), seed);
    driver.on_stall(move |stalled| stall(&faults, stalled));
    let mut broken = Vec::new();
    let line = format!("R21 workload={} seed={seed}", workload.name);
    if let Err(what) = driver.run() {
        broken.push(format!("{line}: {what}"));
    }
    broken.extend(traced.violations().iter().map(|violation| format!("{line}: {violation:?}")));
    (traced.trace_hash(), broken)
}

/// [C3] [C12] No file is published before it is synced, none is removed before its successor's name is durable, none is synced
/// again after a failure.
#[test]
fn calls_come_in_order() {
    for workload in WORKLOADS {
        for seed in 1..=5 {
            let (_, broken) = observe(workload, seed);
            assert!(broken.is_empty(), "{broken:#?}");
        }
    }
}

#[test]
fn equal_seeds_make_equal_calls() {
    let mut hashes = HashSet::new();
    for seed in 1..=20 {
        for workload in WORKLOADS {
            let (one, two) = (observe(workload, seed).0, observe(workload, seed).0);
            assert_eq!(one, two, "R22 workload={} seed={seed}", workload.name);
            hashes.insert(one);
        }
    }
    assert_eq!(hashes.len(), 20 * WORKLOADS.len(), "different runs have different hashes");
}
