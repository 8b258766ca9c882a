//! R1 and R2.

use std::time::Instant;

use stratavec_tests::WORKLOADS;

use crate::explore::{Plan, explore};

#[test]
fn probe() {
    for workload in WORKLOADS {
        let started = Instant::now();
        let tally = explore(workload, 1, &Plan { inner_every: 200, ..Plan::default() });
        println!(
            "{:15} {:?} {:.2} s",
            workload.name,
            (tally.points, tally.images, tally.inner_runs, tally.doubles, tally.most_units, tally.failures.len()),
            started.elapsed().as_secs_f64()
        );
        tally.failures.iter().take(3).for_each(|f| println!("   {f}"));
    }
}
