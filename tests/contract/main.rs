//! The contract, promise by promise: for each the shortest scene that would show it broken. The suites under `durability` and
//! `corruption` hold the same promises over every call, image and bit; these say in a few lines what each means.

mod commits;
mod failures;
mod files;
mod followers;
mod planted;
mod reads;

use std::sync::Arc;

use stratavec::storage::testing::{CrashOptions, MemDir};
use stratavec::{Background, Collection, Compaction, IdKind, Metric, OpenOptions, Schema, Snapshot};

/// Two components, numeric ids.
pub fn schema() -> Schema {
    Schema::new(2, Metric::L2).ids(IdKind::U64)
}

/// No thread, and no compaction unless it is asked for: the same calls make the same sequence of disk operations.
pub fn inline() -> OpenOptions {
    OpenOptions::default().background(Background::Inline).compaction(Compaction::Manual)
}

/// An empty collection.
pub fn create(disk: &MemDir) -> Collection {
    Collection::create_in(Arc::new(disk.clone()), schema(), inline()).expect("create")
}

/// The collection that is there.
pub fn open(disk: &MemDir) -> Collection {
    Collection::open_in(Arc::new(disk.clone()), inline()).expect("open")
}

/// Ids and first components of all rows, by id.
pub fn rows(snapshot: &Snapshot) -> Vec<(u64, f32)> {
    let mut rows: Vec<_> = snapshot
        .iter()
        .map(|item| item.expect("a row"))
        .map(|item| (item.id.as_u64().expect("a number"), item.vector[0]))
        .collect();
    rows.sort_by_key(|(id, _)| *id);
    rows
}

/// Every directory that a power cut at this moment may leave.
pub fn power_cuts(disk: &MemDir) -> impl Iterator<Item = MemDir> {
    disk.crash_images(&CrashOptions::default())
}
