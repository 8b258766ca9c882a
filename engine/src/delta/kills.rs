//! The rows that a generation's batches killed, as of one view: sorted runs that merge as they age.

use std::sync::Arc;

use super::aging::{FANOUT, to_merge};

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

    /// Adds rows (distinct, not in the set yet).
    pub(crate) fn push(&mut self, mut rows: Vec<u64>) {
        if rows.is_empty() {
            return;
        }
        rows.sort_unstable();
        self.len += rows.len();
        self.runs.push(rows.into());
        loop {
            let young = to_merge(self.runs.iter().rev().map(|run| Some(run.len().ilog(FANOUT))));
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
    pub(crate) fn for_each_in(&self, range: std::ops::Range<u64>, mut visit: impl FnMut(u64)) {
        for run in &self.runs {
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
        }
        assert!(kills.runs.len() <= 4 * FANOUT, "{} runs", kills.runs.len());
        assert_eq!(kills.len(), 10_000);
        let sorted = kills.to_sorted();
        assert!(sorted.windows(2).all(|w| w[0] < w[1]));
        for row in 0..10_007 {
            assert_eq!(kills.contains(row), sorted.binary_search(&row).is_ok());
        }
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
