//! The numeric kernels: distances, selection, rotation, codes.
//!
//! Everything here is arithmetic on slices: no files, no ids, no threads. [`kernels`] hands out the table of functions for the
//! best instruction set of this machine; [`Kernels::for_path`] gives a lower one to tests. The only unsafe code is in `arch`,
//! one file per instruction set, each checked against plain Rust in `arch::scalar`.
//!
//! **What may differ between machines and what may not.** Distances are sums of f32 in an order that depends on the
//! instruction set: their last bits may differ. Whatever ends in a file (codes, factors, norms) and every integer sum is the
//! same on all of them, bit for bit.

mod arch;
mod bytes;
pub mod cluster;
pub mod code;
mod dispatch;
mod distance;
mod element;
mod lanes;
mod rotation;
mod seen;
mod select;
mod topk;

pub use arch::{Kernels, RECORDS, RECORDS_AHEAD};
pub use bytes::ByteOp;
pub use dispatch::{CPU_VARIABLE, CpuPath, kernels};
pub use distance::Op;
pub use element::{decode_row, encode_row, holds};
pub(crate) use lanes::LANES;
pub use rotation::{PADDING, Rotation, SplitMix64, padded_dim};
pub use seen::SeenSet;
pub use select::{Chosen, Selection};
pub use topk::TopK;

pub use crate::metric::Element;
