//! The rows that a generation's batches killed, as of one view: sorted runs that merge as they age.

use std::ops::Range;
use std::sync::Arc;

use super::aging::to_merge_by;

/// A run of so many rows is not merged again, so that a commit never copies more than a few times as many: merges happen under the
/// commit lock.
const SEALED_ROWS: usize = 1 << 16;
/// Runs of one size class that become one: fewer than of other parts, since every dead row that a search meets is looked up in all runs.
const FANOUT: usize = 4;

/// A persistent set of row numbers. Cloning shares all runs.
#[derive(Clone, Default)]
pub(crate) struct Kills {
    runs: Vec<Arc<[u64]>>,
    len: usize,
}

impl Kills {
    /// Rows killed. A row is killed once in its life, so runs never overlap.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the row is in the set.
    pub(crate) fn contains(&self, row: u64) -> bool {
        self.runs.iter().any(|run| run.binary_search(&row).is_ok())
    }

    /// Rows killed with this number or a larger one.
    pub(crate) fn len_from(&self, row: u64) -> usize {
        self.runs.iter().map(|run| run.len() - run.partition_point(|killed| *killed < row)).sum()
    }

    /// Adds rows (distinct, not in the set yet).
    pub(crate) fn push(&mut self, mut rows: Vec<u64>) {
        if rows.is_empty() {
            return;
        }
        rows.sort_unstable();
        self.len += rows.len();
        self.runs.push(rows.into());
        loop {
            let class = |run: &Arc<[u64]>| (run.len() < SEALED_ROWS).then(|| run.len().ilog(FANOUT));
            let young = to_merge_by(FANOUT, self.runs.iter().rev().map(class));
            if young == 0 {
                return;
            }
            let mut merged = self.runs.split_off(self.runs.len() - young).concat();
            // This sort recognizes runs and merges them.
            merged.sort();
            self.runs.push(merged.into());
        }
    }

    /// All rows in `range`, ascending within each run.
    pub(crate) fn for_each_in(&self, range: Range<u64>, visit: impl FnMut(u64)) {
        self.for_each_new(range, &[], visit);
    }

    /// The same without the runs that one of the `known` sets shares.
    pub(crate) fn for_each_new(&self, range: Range<u64>, known: &[Kills], mut visit: impl FnMut(u64)) {
        let is_known = |run: &&Arc<[u64]>| known.iter().any(|set| set.runs.iter().any(|other| Arc::ptr_eq(run, other)));
        for run in self.runs.iter().filter(|run| !is_known(run)) {
            let start = run.partition_point(|row| *row < range.start);
            run[start..].iter().take_while(|row| **row < range.end).for_each(|row| visit(*row));
        }
    }

    /// All rows, sorted.
    pub(crate) fn to_sorted(&self) -> Vec<u64> {
        let mut rows: Vec<u64> = self.runs.iter().flat_map(|run| run.iter().copied()).collect();
        rows.sort_unstable();
        rows
    }

    /// Heap bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.len * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_many_pushes_stays_small_and_complete() {
        let mut kills = Kills::default();
        for i in 0..10_000u64 {
            kills.push(vec![(i * 7919) % 10_007]);
            assert!(kills.runs.len() <= 7 * (FANOUT - 1), "{} runs", kills.runs.len());
        }
        assert_eq!(kills.len(), 10_000);
        let sorted = kills.to_sorted();
        assert!(sorted.windows(2).all(|w| w[0] < w[1]));
        for row in 0..10_007 {
            assert_eq!(kills.contains(row), sorted.binary_search(&row).is_ok());
        }
        for row in [0, 1, 5_000, 10_006, 10_007] {
            assert_eq!(kills.len_from(row), sorted.iter().filter(|killed| **killed >= row).count());
        }
    }

    #[test]
    fn large_runs_are_left_alone() {
        let mut kills = Kills::default();
        for i in 0..40u64 {
            kills.push((0..SEALED_ROWS as u64 / 2).map(|j| i << 32 | j).collect());
        }
        let longest = kills.runs.iter().map(|run| run.len()).max().unwrap();
        assert!(longest <= FANOUT * SEALED_ROWS, "a run of {longest}");
        let mut sealed = Kills::default();
        (0..40u64).for_each(|i| sealed.push((0..SEALED_ROWS as u64).map(|j| i << 32 | j).collect()));
        assert_eq!((sealed.runs.len(), sealed.len()), (40, 40 * SEALED_ROWS));
    }

    #[test]
    fn only_runs_that_are_not_known_are_visited() {
        let mut kills = Kills::default();
        kills.push(vec![5, 6]);
        let known = [kills.clone()];
        kills.push(vec![1, 9]);
        let visited = |known: &[Kills]| {
            let mut rows = Vec::new();
            kills.for_each_new(0..9, known, |row| rows.push(row));
            rows
        };
        assert_eq!((visited(&[]), visited(&known)), (vec![5, 6, 1], vec![1]));
    }

    #[test]
    fn an_older_clone_does_not_see_later_rows() {
        let mut kills = Kills::default();
        kills.push(vec![1, 2]);
        let before = kills.clone();
        for row in 3..100 {
            kills.push(vec![row]);
        }
        assert!(!before.contains(50) && kills.contains(50) && before.len() == 2);
    }
}
