//! The write-ahead log: what is committed but not yet in files.
//!
//! One file per generation: a header, then records, each 8-byte aligned and chained to the one before by its checksum. A
//! record says how far the log was known to be durable when it was framed (`synced_to`): so recovery can tell a torn tail,
//! which is normal, from damage to what was acknowledged, which is not. The last record of a log that was followed by
//! another names that other log.

mod candidates;
mod follow;
mod replay;
mod salvage;
mod writer;

pub use crate::format::batch::Frame;
pub use follow::{Tail, follow_chain, refuse_later};
pub use replay::{Replay, replay_chain};
pub use salvage::{begins, salvage};
pub use writer::{WalHead, WalWriter};

#[cfg(all(test, feature = "testing"))]
mod follow_tests;
#[cfg(all(test, feature = "testing"))]
mod tail_tests;
#[cfg(all(test, feature = "testing"))]
mod tests;
