//! What the suites share: oracles, seeded data, workloads.
