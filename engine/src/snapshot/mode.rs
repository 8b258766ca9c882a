//! Whether a search expects lists and rows in memory.

use super::Snapshot;

/// Whether a search by lists expects what it will read in memory. The answer is the same; how it is come by differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SearchMode {
    /// Not in memory if files are read and not mapped ([`Access::Pread`](crate::Access::Pread)), or if the files of rows and lists are
    /// larger than the handle's `memory_budget`.
    #[default]
    Auto,
    /// In memory: nothing is asked of the disk before it is touched. Of files that are not mapped this is the same as `Cold`.
    Hot,
    /// Not in memory: lists are asked for some at a time before they are looked at, and all rows that are to be measured at once.
    Cold,
}

impl SearchMode {
    /// Whether lists and rows of this state may have to come from the disk.
    pub(crate) fn is_cold(self, snapshot: &Snapshot) -> bool {
        let version = &snapshot.view().version;
        let unmapped = version.lists.iter().any(|file| !file.is_mapped());
        let larger = || {
            let limit = snapshot.budget.as_ref().and_then(|budget| budget.limit());
            let manifest = &version.manifest;
            let rows = manifest.row_files.iter().map(|entry| entry.facts.len);
            let bytes = rows.chain(manifest.lists.iter().map(|entry| entry.file.facts.len)).sum::<u64>();
            limit.is_some_and(|limit| bytes > limit)
        };
        unmapped
            || match self {
                SearchMode::Auto => larger(),
                SearchMode::Hot => false,
                SearchMode::Cold => true,
            }
    }
}
