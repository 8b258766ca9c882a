//! Fewer files and no dead rows: what to merge, and merging it.
//!
//! Rows keep their numbers, so a merge re-encodes nothing, nothing that names a row changes, and deletes that arrive while
//! it runs need no second look: they are keyed by row. A merge reads a pinned [`Version`](crate::snapshot::Version) and hands back
//! new files; the collection installs them.

mod control;
mod list_build;
mod list_merge;
mod merge;
mod policy;

pub(crate) use control::Control;
pub use control::Progress;
pub(crate) use list_build::ListBuild;
pub(crate) use list_merge::ListMerge;
pub(crate) use merge::{Ids, Merged, merge};
pub(crate) use policy::{FileState, Policy, Until, choose, choose_full, until};
