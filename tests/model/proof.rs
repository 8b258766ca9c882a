//! Tries a property on many random cases, shrinks the first that fails and prints it.

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

/// A case that fails, and why.
#[derive(Debug)]
pub struct Counterexample<T> {
    /// The shortest case found.
    pub case: T,
    /// What it breaks.
    pub reason: String,
}

/// Looks for a case that fails; shrinks it.
pub fn find_failure<S: Strategy>(
    seed: u64,
    cases: u32,
    strategy: &S,
    check: impl Fn(&S::Value) -> Result<(), String>,
) -> Option<Counterexample<S::Value>> {
    let config = Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 4_000,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let found = TestRunner::new(config).run(strategy, |case| check(&case).map_err(TestCaseError::fail));
    match found {
        Ok(()) => None,
        Err(TestError::Fail(reason, case)) => Some(Counterexample { case, reason: reason.to_string() }),
        Err(TestError::Abort(reason)) => panic!("no cases could be drawn: {reason}"),
    }
}

/// Proves a property on `cases` random cases.
///
/// # Panics
/// With the shortest failing case found, as it is to be written into `replay.rs`.
pub fn prove<S: Strategy>(name: &str, cases: u32, strategy: &S, check: impl Fn(&S::Value) -> Result<(), String>) {
    let from_environment = |key: &str| std::env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = from_environment("STRATAVEC_MODEL_SEED").unwrap_or(1);
    let times = from_environment("STRATAVEC_MODEL_CASES").unwrap_or(1);
    let cases = cases.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX));
    // Every property draws cases of its own.
    let own = name.bytes().fold(seed, |hash, byte| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
    if let Some(Counterexample { case, reason }) = find_failure(own, cases, strategy, check) {
        panic!("{name}: {reason}\nshortest case found (to be kept in replay.rs):\n{case:?}\nseed {seed}");
    }
}
