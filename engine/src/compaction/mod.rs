//! Fewer files and no dead rows: what to merge, and merging it.
//!
//! Rows keep their numbers, so a merge re-encodes nothing, nothing that names a row changes, and deletes that arrive while
//! it runs need no second look: they are keyed by row. A merge reads a pinned [`Version`](crate::snapshot::Version) and hands back
//! new files; the collection installs them.

mod anchoring;
mod codebooks;
mod coded_rows;
mod control;
mod extend_codes;
mod extend_model;
mod filing;
mod list_build;
mod list_merge;
mod list_move;
mod list_policy;
mod live_points;
mod merge;
mod policy;
mod retrain_policy;
mod train_model;

pub(crate) use anchoring::anchor_memory;
pub(crate) use codebooks::{codebook_memory, codebook_of, train_codebook};
pub(crate) use coded_rows::CodedRows;
pub use control::Progress;
pub(crate) use control::{BEAT, Control};
pub(crate) use extend_codes::Added;
pub(crate) use extend_model::Extended;
pub(crate) use filing::{Filed, Filing};
pub(crate) use list_build::ListBuild;
pub(crate) use list_merge::{ListMerge, merge_lists};
pub(crate) use list_move::{MoveJob, check_coding};
pub(crate) use list_policy::{
    ListState, choose_lists, many_rows, most_in_files, most_in_memory, next_old, next_unfiled, rows_for_lists,
};
pub(crate) use live_points::{LivePoints, Place};
pub(crate) use merge::{Ids, Merged, merge};
pub(crate) use policy::{FileState, Policy, Until, Width, choose, choose_full, merged, until};
pub(crate) use retrain_policy::{
    Aged, Lengths, aged, changes_until_look, crowding, drift_with, is_crowded, is_watched, skew,
};
pub(crate) use train_model::{Made, ModelJob};
