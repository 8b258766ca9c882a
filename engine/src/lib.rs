//! Stratavec: an embeddable, crash-safe, on-disk vector index engine.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
compile_error!("stratavec needs a 64-bit little-endian platform: its files are mapped as they are");

mod budget;
mod collection;
mod compaction;
mod delta;
mod error;
mod filter;
mod format;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod index;
#[doc(hidden)]
pub mod kernel;
mod manifest;
mod metric;
mod options;
#[cfg(any(test, feature = "testing"))]
pub mod planted;
#[cfg(not(any(test, feature = "testing")))]
mod planted;
mod segment;
mod snapshot;
pub mod storage;
#[doc(hidden)]
pub mod trial;
mod value;
mod wal;

pub use collection::{
    Batch, BulkItem, BulkLoad, BulkOptions, BulkReport, CheckpointReport, Collection, Compact, CompactReport, Follower,
    Health, IntoBulkItem, Job, Loss, MemoryStats, Put, Receipt, Repair, RepairReport, RetrainReason, ScrubJob,
    ScrubReport, SearchBatch, Stats, UpgradeReport, Verify, VerifyReport,
};
pub use compaction::Progress;
pub use error::{Error, ErrorKind, Outcome, Result};
pub use filter::Filter;
pub use id::{Id, IdKind, IdRef, MAX_ID_BYTES};
pub use metric::{Metric, RowFormat};
pub use options::{
    Access, Anchors, Background, Codes, Compaction, Durability, IndexKind, IvfOptions, MAX_ATTRIBUTE_BYTES,
    MAX_BATCH_BYTES, MAX_DIM, MAX_PAYLOAD_BYTES, MIN_MEMORY_BUDGET, OpenOptions, RecoveryCallback, RecoveryReport,
    Schema, Scrub, Spill,
};
pub use snapshot::{
    Effort, Explain, Hit, Hits, Include, Item, Items, Search, SearchMode, Snapshot, SourceError, VectorSource,
};
pub use value::{Attributes, Value};

/// The README's programs, so that the tests run them.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
