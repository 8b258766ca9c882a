//! Bringing a collection to the format that this release writes.
//!
//! There has been one format so far, so there is nothing to rewrite yet. What is here is what every later version stands on: an old
//! format is told from a new one before anything is touched, and a newer one is refused.

use crate::error::Result;
use crate::format::manifest::FORMAT_VERSION;
use crate::manifest;
use crate::storage::Storage;

/// What an upgrade did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpgradeReport {
    /// The format version that was found.
    pub from: u32,
    /// The format version that is there now.
    pub to: u32,
    /// Files written anew.
    pub files_rewritten: u64,
}

/// Reads the newest manifest, whose version is that of the whole collection: reading it refuses a newer one.
pub(super) fn upgrade(storage: &dyn Storage) -> Result<UpgradeReport> {
    manifest::load_newest(storage)?;
    Ok(UpgradeReport { from: FORMAT_VERSION, to: FORMAT_VERSION, files_rewritten: 0 })
}
