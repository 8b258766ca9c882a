//! The binary `stratavec`.

fn main() {}
