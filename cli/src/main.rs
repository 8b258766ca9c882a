//! Command line of the Stratavec vector index engine.
fn main() {}
