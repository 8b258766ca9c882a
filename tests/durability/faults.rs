//! R4: every call of every workload fails once, and from then on, in every way a call can fail.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use stratavec::storage::testing::{Fault, Repeat};
use stratavec_tests::{WORKLOADS, Workload};

use crate::guard::guarded;
use crate::ordeal::{Count, Ordeal};

/// Fails every call of one workload in one way. Returns the number of calls.
pub fn fail_every_call(
    workload: &'static Workload,
    seed: u64,
    fault: Fault,
    count: &mut Count,
    failures: &mut Vec<String>,
) -> u64 {
    let ordeal = Ordeal { workload, seed, fault, after: 0, repeat: Repeat::Once };
    let (matched, total) = ordeal.calls().unwrap_or_else(|what| panic!("{} without a fault: {what}", workload.name));
    if fault == Fault::Io && matched != total {
        failures.push(format!("R4 workload={}: {matched} of {total} calls can fail", workload.name));
    }
    for repeat in [Repeat::Once, Repeat::Forever] {
        for after in 0..matched {
            match guarded(|| Ordeal { after, repeat, ..ordeal }.run()) {
                Ok(run) => count.add(&run),
                Err(what) => failures.push(format!(
                    "R4 workload={} seed={seed} fault={fault:?} after={after} repeat={repeat:?}: {what}",
                    workload.name
                )),
            }
        }
    }
    matched
}

#[test]
fn every_call_fails_in_every_way() {
    let started = Instant::now();
    let jobs: Vec<(&'static Workload, Fault)> =
        WORKLOADS.iter().flat_map(|workload| Fault::ALL.map(|fault| (workload, fault))).collect();
    let next = AtomicUsize::new(0);
    let all = Mutex::new((Count::default(), 0, Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((workload, fault)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (mut count, mut failures) = (Count::default(), Vec::new());
                    let calls = fail_every_call(workload, 1, *fault, &mut count, &mut failures);
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    all.0.add(&count);
                    all.1 += calls;
                    all.2.append(&mut failures);
                }
            });
        }
    });
    let (count, calls, failures) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("R4: {calls} calls of {} workloads, {count:?}, {:.1} s", WORKLOADS.len(), started.elapsed().as_secs_f64());
    let mut kinds: std::collections::BTreeMap<String, (usize, String)> = Default::default();
    for f in &failures {
        let key: String = f
            .split(": ")
            .skip(1)
            .collect::<Vec<_>>()
            .join(": ")
            .chars()
            .filter(|c| !c.is_ascii_hexdigit())
            .take(90)
            .collect();
        kinds.entry(key).or_insert((0, f.clone())).0 += 1;
    }
    for (n, f) in kinds.values() {
        eprintln!("{n} x {f}");
    }
    assert!(failures.is_empty(), "{} failures; the first: {}", failures.len(), failures[0]);
}
