//! The ids of a generation by key, as of one view: sorted runs that merge as they age, whatever the blocks do.

use std::sync::Arc;

use super::aging::{FANOUT, to_merge};

/// A run of this many keys is never merged again: a merge is done under the commit lock.
const SEALED_KEYS: usize = 1 << 16;

/// The keys of rows that follow each other.
#[derive(Clone)]
struct Run {
    first_row: u64,
    /// (Key of the id, row number - `first_row`), sorted.
    keys: Arc<[(u64, u32)]>,
}

/// A persistent map from keys to rows. Cloning shares all runs: one for each 65,536 rows, and at most fifteen of each of four
/// smaller size classes behind the last of those. A key is copied at most four times.
#[derive(Clone, Default)]
pub(super) struct Keys {
    runs: Vec<Run>,
}

impl Keys {
    /// Adds the keys of a batch: (key, position), sorted. The batch's rows follow all earlier ones.
    pub(super) fn push(&mut self, first_row: u64, keys: Arc<[(u64, u32)]>) {
        debug_assert!(keys.is_sorted(), "the keys of a batch are sorted");
        self.runs.push(Run { first_row, keys });
        loop {
            match to_merge(self.runs.iter().rev().map(Run::class)) {
                0 => return,
                count => self.merge(self.runs.len() - count),
            }
        }
    }

    /// Makes one run of the runs from `start` on.
    fn merge(&mut self, start: usize) {
        let Some(first_row) = self.runs.get(start).map(|run| run.first_row) else { return };
        let mut merged = Vec::with_capacity(self.runs[start..].iter().map(|run| run.keys.len()).sum());
        for run in self.runs.drain(start..) {
            let base = (run.first_row - first_row) as u32;
            merged.extend(run.keys.iter().map(|(key, at)| (*key, base + at)));
        }
        // This sort recognizes runs and merges them.
        merged.sort();
        self.runs.push(Run { first_row, keys: merged.into() });
    }

    /// The newest row of a key that `is_it` accepts.
    pub(super) fn find(&self, key: u64, mut is_it: impl FnMut(u64) -> bool) -> Option<u64> {
        self.runs.iter().rev().find_map(|run| {
            let end = run.keys.partition_point(|(k, _)| *k <= key);
            let same = run.keys[..end].iter().rev().take_while(|(k, _)| *k == key);
            same.map(|(_, at)| run.first_row + u64::from(*at)).find(|row| is_it(*row))
        })
    }
}

impl Run {
    fn class(&self) -> Option<u32> {
        (self.keys.len() < SEALED_KEYS).then(|| self.keys.len().max(1).ilog(FANOUT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_at_its_newest_row_while_runs_merge() {
        const KEYS: u64 = 150_001;
        let mut keys = Keys::default();
        let key = |row: u64| row * 7919 % KEYS;
        for row in 0..200_000 {
            keys.push(row, [(key(row), 0)].into());
        }
        assert!(keys.runs.len() <= 3 + 4 * FANOUT, "{} runs", keys.runs.len());
        for row in (50_000..200_000).step_by(97) {
            assert_eq!(keys.find(key(row), |_| true), Some(row));
        }
        assert_eq!(keys.find(key(1), |row| row < KEYS), Some(1), "an older row of the key");
        assert_eq!(keys.find(KEYS, |_| true), None);
    }

    #[test]
    fn large_runs_stay_as_they_are_and_an_older_clone_sees_no_later_key() {
        const ROWS: u64 = 70_000;
        let mut keys = Keys::default();
        let batch = |from: u64| (0..ROWS).map(|at| (from + at, at as u32)).collect();
        (0..20).for_each(|i| keys.push(i * ROWS, batch(i * ROWS)));
        assert_eq!(keys.runs.len(), 20);
        let older = keys.clone();
        keys.push(20 * ROWS, [(20 * ROWS, 0)].into());
        assert_eq!((older.find(20 * ROWS, |_| true), keys.find(20 * ROWS, |_| true)), (None, Some(20 * ROWS)));
        assert_eq!(keys.find(ROWS + 3, |_| true), Some(ROWS + 3));
    }
}
