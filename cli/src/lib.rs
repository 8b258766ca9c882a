//! The command line of the Stratavec vector index engine, as a library: the binary is one call of [`run`].
//!
//! * [`import`] reads other people's files, bounded and without panics, so that tests and fuzzers can call it.

pub mod import;
