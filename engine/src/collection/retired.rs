//! Files that a merge has replaced, on their way out.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::segment::{IdTable, RowFile};
use crate::snapshot::Version;

/// How long it is waited for searches that still read the files; a search takes milliseconds, a snapshot may be kept for hours.
const PATIENCE: Duration = Duration::from_millis(50);
/// Between two looks.
const BEAT: Duration = Duration::from_micros(300);

/// Whoever lets go of a file last unmaps it, and since it has no name any more the system then frees its pages and its room on the
/// disk: tens of milliseconds for a large one. A search that began before the install of a merge and ends after it should not
/// pay for that, so the thread of the merge waits a moment for those searches.
pub(super) struct Retired {
    rows: Vec<Arc<RowFile>>,
    id_tables: Vec<Arc<IdTable>>,
    /// Whether to wait at all.
    wait: bool,
}

impl Retired {
    /// The row files at `range` and the tables over their rows. Made before the merge, dropped after it and after whatever else the
    /// merge's thread holds of them.
    pub(super) fn of(version: &Version, range: Range<usize>, wait: bool) -> Retired {
        let rows: Vec<_> = version.rows.get(range).unwrap_or_default().iter().map(|rows| rows.file.clone()).collect();
        let first = rows.first().map_or(0, |file| file.first_row());
        let last = rows.last().map_or(0, |file| file.last_row());
        let inside = |table: &&Arc<IdTable>| (first..=last).contains(&table.facts().first_row);
        Retired { id_tables: version.id_tables.iter().filter(inside).cloned().collect(), rows, wait }
    }

    fn in_use(&self) -> bool {
        self.rows.iter().any(|file| Arc::strong_count(file) > 1)
            || self.id_tables.iter().any(|table| Arc::strong_count(table) > 1)
    }
}

impl Drop for Retired {
    fn drop(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.wait && self.in_use() && Instant::now() < until {
            std::thread::sleep(BEAT);
        }
    }
}
