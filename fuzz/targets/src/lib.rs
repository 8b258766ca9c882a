//! What the fuzzers run, as a library: so that an ordinary test replays every input they ever found, on any compiler.
//!
//! * [`fixture`]: small collections with every kind of file; [`seal`] and [`layout`]: the format as an outsider knows it, to forge
//!   files whose checksums are right; [`reading`]: everything that can be asked of a directory, and what must hold of the answers.
//! * [`TARGETS`]: one function per fuzz target. Each takes any bytes, and panics if a promise is broken.

mod check;
pub mod fixture;
pub mod input;
pub mod layout;
pub mod reading;
pub mod seal;

pub use check::*;

/// A fuzz target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every fuzz target.
pub const TARGETS: &[Target] = &[
    ("codec", codec),
    ("delfile", delfile),
    ("footer", footer),
    ("import", import),
    ("kernels", kernels),
    ("manifest", manifest),
    ("ops_crash", ops_crash),
    ("ops_model", ops_model),
    ("search_params", search_params),
    ("segment_raw", segment_raw),
    ("segment_resealed", segment_resealed),
    ("store_dir", store_dir),
    ("wal", wal),
];
