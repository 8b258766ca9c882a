//! Clustering in plain Rust, compiled for NEON, which has fused multiply-adds.

crate::kernel::arch::cluster::cluster_functions!(crate::kernel::lanes::Plain, 4, 1; #[target_feature(enable = "neon")]);
