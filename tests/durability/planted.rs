//! R20: whether these suites would notice. Each planted bug must be found by the suite that is there for it.

use std::time::Instant;

use stratavec::planted::{self, Bug};
use stratavec::storage::testing::{Fault, Repeat};
use stratavec_tests::WORKLOADS;

use crate::damage;
use crate::explore::{Plan, explore};
use crate::faults::MOST_CALLS;
use crate::follow;
use crate::guard::guarded;
use crate::ordeal::Ordeal;
use crate::order::observe;
use crate::race;

/// A suite that may find a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suite {
    /// Power losses alone; the order of calls is not looked at.
    PowerLoss,
    /// The order of calls alone.
    Order,
    /// Syncs that fail and lie.
    FailedSync,
    /// Other calls that fail.
    Faults,
    /// Damaged and exchanged bytes.
    Damage,
    /// Readers beside a writer.
    Followers,
    /// What happens while a compaction runs.
    Races,
}

use Suite::{Damage, FailedSync, Faults, Followers, Order, PowerLoss, Races};

/// Each bug, and the suites that must find it. Numbers that are missing have no place here, which `format-spec/contract-tests.md`
/// explains; number 27 is a matter of one product and is found beside it, in `format/section.rs`.
const CATALOGUE: &[(u32, Bug, &[Suite])] = &[
    (1, Bug::SkipWalSync, &[PowerLoss]),
    (2, Bug::AckBeforeSync, &[PowerLoss]),
    (3, Bug::SkipDirSyncAfterCreate, &[PowerLoss, Order]),
    (4, Bug::SkipDirSyncAfterPublish, &[PowerLoss, Order]),
    (5, Bug::PublishBeforeSync, &[PowerLoss, Order]),
    (6, Bug::RemoveBeforeDirSync, &[PowerLoss]),
    (7, Bug::RollWithoutSync, &[PowerLoss, Faults]),
    (8, Bug::AppendBehindTornTail, &[PowerLoss]),
    (9, Bug::AppendToOldLog, &[FailedSync]),
    (10, Bug::RetryFailedSync, &[FailedSync]),
    (11, Bug::ServeFailedBatch, &[FailedSync]),
    (12, Bug::AcceptBadCrc, &[PowerLoss, Damage]),
    (13, Bug::CrcWithoutFileId, &[Damage]),
    (14, Bug::IgnoreSyncedTo, &[Damage]),
    (16, Bug::SweepBeforeManifest, &[PowerLoss]),
    (17, Bug::SweepRunningBuild, &[Races]),
    (18, Bug::InstallWithoutFlushedKills, &[Races]),
    (18, Bug::InstallWithoutKillsInMemory, &[Races]),
    (21, Bug::DropTombstonesEarly, &[Races]),
    (22, Bug::SplitUpsert, &[PowerLoss]),
    (23, Bug::ApplyBeforeLog, &[Faults]),
    (24, Bug::SkipManifestCopy, &[Damage]),
    (25, Bug::IgnoreShortWrite, &[Faults]),
    (26, Bug::LeaveHalfRecord, &[Faults]),
    (29, Bug::FollowerTriesOnce, &[Followers]),
    (30, Bug::ReleaseBeforePublish, &[Races]),
    (31, Bug::SkipCopySync, &[PowerLoss]),
    (32, Bug::LeaveRowUnfiled, &[PowerLoss, Races]),
    (33, Bug::MergeListsByMemory, &[Races]),
    (34, Bug::ConvertTooFew, &[PowerLoss]),
    (36, Bug::DropOlderModelEarly, &[PowerLoss]),
    (37, Bug::MergeWrongLane, &[Races]),
];

impl Suite {
    /// Runs until the first failure, which is returned.
    fn find(self) -> Option<String> {
        match self {
            PowerLoss => WORKLOADS.iter().find_map(|workload| {
                let plan = Plan { first_failure: true, ignore_order: true, again_every: 4, ..Plan::default() };
                explore(workload, 1, &plan).failures.into_iter().next()
            }),
            Order => WORKLOADS.iter().find_map(|workload| observe(workload, 1).1.into_iter().next()),
            FailedSync => first_ordeal(&[Fault::LyingSync]),
            Followers => WORKLOADS.iter().find_map(|workload| follow::race(workload).err()),
            Races => race::find(),
            Faults => first_ordeal(&[Fault::ShortWrite, Fault::NoSpace, Fault::Io]),
            Damage => [
                damage::a_broken_chain_is_refused,
                damage::damage_before_durable_records_is_refused,
                damage::a_manifest_survives_in_its_second_copy,
                damage::blocks_of_another_file_are_refused,
                damage::a_flipped_bit_is_never_served,
            ]
            .iter()
            .find_map(|check| guarded(check).err()),
        }
    }
}

fn first_ordeal(faults: &[Fault]) -> Option<String> {
    for workload in WORKLOADS {
        for fault in faults {
            let ordeal = Ordeal { workload, seed: 1, fault: *fault, after: 0, repeat: Repeat::Once };
            let (calls, _) = match guarded(|| ordeal.calls()) {
                Ok(calls) => calls,
                Err(what) => return Some(what),
            };
            for after in (0..calls).step_by(calls.div_ceil(MOST_CALLS).max(1) as usize) {
                if let Err(what) = guarded(|| Ordeal { after, ..ordeal }.run()) {
                    return Some(format!("workload={} fault={fault:?} after={after}: {what}", workload.name));
                }
            }
        }
    }
    None
}

#[test]
fn every_planted_bug_is_found() {
    let started = Instant::now();
    let mut missed = Vec::new();
    for (number, bug, suites) in CATALOGUE {
        for suite in *suites {
            let since = Instant::now();
            let found = planted::with(*bug, || suite.find());
            match &found {
                Some(what) => {
                    let what: String = what.chars().take(150).collect();
                    println!("bug {number:2} {bug:?}: {suite:?} in {:.2} s: {what}", since.elapsed().as_secs_f64());
                }
                None => missed.push(format!("bug {number} {bug:?} is not found by {suite:?}")),
            }
        }
    }
    println!("R20: {} bugs in {:.1} s", CATALOGUE.len(), started.elapsed().as_secs_f64());
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn nothing_is_found_where_nothing_is_planted() {
    for suite in [Order, Damage, Faults] {
        assert_eq!(suite.find(), None);
    }
}
