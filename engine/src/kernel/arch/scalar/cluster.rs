//! Clustering in plain Rust: the oracle. `f32::mul_add` rounds once, as the instructions do.

crate::kernel::arch::cluster::cluster_functions!(crate::kernel::lanes::Plain, 1, 1;);
