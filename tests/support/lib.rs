//! What the suites share: oracles, seeded data, workloads.

mod skip;

pub use skip::skip;
