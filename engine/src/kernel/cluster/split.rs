//! Lists that are too large give up half of their rows: to an empty list, or to a new one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::error::Result;
use crate::kernel::SplitMix64;

use super::groups::Groups;
use super::lloyd::cluster;
use super::sample::Matrix;
use super::watch::Work;

/// Passes of the 2-means.
const PASSES: usize = 4;

/// Lists by size, the largest first, and what has become of those that were split.
pub(super) struct Splitter<'a> {
    rows: &'a Matrix,
    groups: &'a Groups,
    /// Size, then the lower number first.
    largest: BinaryHeap<(usize, Reverse<usize>)>,
    /// Members of lists that are no longer those of `groups`.
    changed: HashMap<usize, Vec<u32>>,
    draw: SplitMix64,
}

impl<'a> Splitter<'a> {
    pub(super) fn new(rows: &'a Matrix, groups: &'a Groups, seed: u64) -> Self {
        let largest = (0..groups.count()).map(|list| (groups.members(list).len(), Reverse(list))).collect();
        Splitter { rows, groups, largest, changed: HashMap::new(), draw: SplitMix64::new(seed) }
    }

    /// Splits the largest list of more than `limit` rows in two, one of which becomes list `other`. `None` if there is none
    /// left; a list whose rows are all the same is left as it is.
    pub(super) fn split(&mut self, work: &Work<'_>, limit: usize, other: usize) -> Result<Option<Split>> {
        while let Some((size, Reverse(list))) = self.largest.pop().filter(|(size, _)| *size > limit.max(1)) {
            work.go_on()?;
            let members = match self.changed.get(&list) {
                Some(members) => members,
                None => self.groups.members(list),
            };
            let two = cluster(work, self.rows, members, 2, PASSES, &mut self.draw)?;
            if two.centroids.len() < 2 * self.rows.width {
                continue;
            }
            let half = |of: u32| -> Vec<u32> {
                members.iter().zip(&two.lists).filter(|(_, list)| **list == of).map(|(row, _)| *row).collect()
            };
            let (first, second) = (half(0), half(1));
            debug_assert_eq!(first.len() + second.len(), size);
            self.largest.push((first.len(), Reverse(list)));
            self.largest.push((second.len(), Reverse(other)));
            self.changed.insert(list, first);
            self.changed.insert(other, second);
            return Ok(Some(Split { list, centroids: two.centroids }));
        }
        Ok(None)
    }
}

/// The list that was split, and the centroids of what remains in it and of the other one, end to end.
pub(super) struct Split {
    pub(super) list: usize,
    pub(super) centroids: Vec<f32>,
}
