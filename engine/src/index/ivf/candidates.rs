//! The best rows so far by estimate, nearest first.

use crate::kernel::SeenSet;

/// A bounded list of rows with their estimates, each row once: a row in two lists is kept as it was met first.
///
/// Insertion moves what is behind: right for the tens or hundreds of rows that are measured exactly, and no more than a few
/// kilobytes for thousands.
#[derive(Default)]
pub(crate) struct Candidates {
    k: usize,
    room: usize,
    found: Vec<(f32, u64)>,
    seen: SeenSet,
}

impl Candidates {
    /// Forgets all; from now on the best `room` rows are kept, and [`kth`](Candidates::kth) is about the `k`-th.
    pub(super) fn reset(&mut self, k: usize, room: usize) {
        (self.k, self.room) = (k, room.max(k));
        self.found.clear();
        self.seen.clear();
    }

    /// The `k`-th best estimate, infinity while there are fewer.
    #[inline]
    pub(super) fn kth(&self) -> f32 {
        self.k.checked_sub(1).and_then(|last| self.found.get(last)).map_or(f32::INFINITY, |found| found.0)
    }

    /// A row with this estimate or a larger one is not kept.
    #[inline]
    pub(super) fn bound(&self) -> f32 {
        self.room.checked_sub(1).and_then(|last| self.found.get(last)).map_or(f32::INFINITY, |found| found.0)
    }

    /// Keeps a row unless it was kept before. The caller has seen that `estimate` is below the bound.
    pub(super) fn push(&mut self, estimate: f32, row: u64) {
        if !self.seen.insert(row) {
            return;
        }
        if self.found.len() == self.room {
            self.found.pop();
        }
        let at = self.found.partition_point(|found| found.0 <= estimate);
        self.found.insert(at, (estimate, row));
    }

    /// Estimates and rows, nearest first.
    pub(super) fn found(&self) -> &[(f32, u64)] {
        &self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_in_order_and_each_row_once() {
        let mut best = Candidates::default();
        best.reset(2, 3);
        assert_eq!((best.kth(), best.bound()), (f32::INFINITY, f32::INFINITY));
        for (estimate, row) in [(5.0, 1), (3.0, 2), (4.0, 3), (1.0, 2), (2.0, 4)] {
            if estimate < best.bound() {
                best.push(estimate, row);
            }
        }
        assert_eq!(best.found(), [(2.0, 4), (3.0, 2), (4.0, 3)]);
        assert_eq!((best.kth(), best.bound()), (3.0, 4.0));
        best.reset(1, 1);
        assert!(best.found().is_empty());
        best.push(9.0, 4);
        assert_eq!(best.kth(), 9.0);
    }
}
