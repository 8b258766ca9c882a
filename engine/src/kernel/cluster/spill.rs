//! A second list for every row: SOAR (Sun, Guo, Kumar: "SOAR: Improved Indexing for Approximate Nearest Neighbor Search",
//! <https://arxiv.org/abs/2404.00774>).
//!
//! A row `x` in list `a` has the residual `r = x - c_a`. A query that misses it there does so because its own error points
//! along `r`; the second list should therefore be near `x` with a residual that is not parallel to `r`. It is the list that
//! minimises `|x - c|^2 + lambda <x - c, r>^2 / |r|^2` (the published loss for unit queries, up to a constant factor).
//! Departure: only the lists nearest to `c_a` are looked at, not all.

use crate::error::Result;
use crate::kernel::Kernels;

use super::parallel::ranges;
use super::router::Router;
use super::sample::{Matrix, PART_ROWS};
use super::watch::{Stage, Work};

/// In place of a second list when there is only one list.
pub const NO_LIST: u32 = u32::MAX;

/// Most steps from list to neighbouring list.
const STEPS: usize = 3;

/// How second lists are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spill {
    /// Weight of the parallel part of the second residual; 0 takes the second nearest list, 1 is customary.
    pub lambda: f32,
}

impl Default for Spill {
    fn default() -> Self {
        Spill { lambda: 1.0 }
    }
}

/// The nearest other lists of every list.
pub(super) struct Neighbours {
    most: usize,
    /// `most` for each list, nearest first, filled up with [`NO_LIST`].
    lists: Vec<u32>,
}

impl Neighbours {
    /// The `most` nearest that the router finds.
    pub(super) fn new(
        work: &Work<'_>,
        router: &Router,
        centroids: &Matrix,
        probes: usize,
        most: usize,
    ) -> Result<Self> {
        let most = most.min(centroids.count() - 1);
        let mut lists = vec![NO_LIST; centroids.count() * most];
        if most > 0 {
            let parts = ranges(centroids.count(), PART_ROWS).zip(lists.chunks_mut(PART_ROWS * most)).collect();
            work.each(Stage::Assign, parts, |_, (range, lists)| {
                let rows = &centroids.rows[range.start * centroids.width..range.end * centroids.width];
                let found = router.nearest_many(work.kernels, centroids, rows, probes, most + 1);
                for ((list, lists), found) in range.zip(lists.chunks_exact_mut(most)).zip(found) {
                    let others = found.iter().map(|(_, other)| *other).filter(|other| *other as usize != list);
                    lists.iter_mut().zip(others).for_each(|(place, other)| *place = other);
                }
                Ok(())
            })?;
        }
        Ok(Neighbours { most, lists })
    }

    fn of(&self, list: u32) -> &[u32] {
        let all =
            self.lists.get(list as usize * self.most..).and_then(|lists| lists.get(..self.most)).unwrap_or_default();
        let found = all.iter().position(|list| *list == NO_LIST).unwrap_or(all.len());
        &all[..found]
    }
}

/// Finds lists of single rows; holds the memory for it.
pub(super) struct Spiller<'a> {
    kernels: &'a Kernels,
    centroids: &'a Matrix,
    neighbours: &'a Neighbours,
    distances: Vec<f32>,
    terms: Vec<(f32, f32)>,
    residual: Vec<f32>,
    candidates: Vec<u32>,
}

impl<'a> Spiller<'a> {
    pub(super) fn new(kernels: &'a Kernels, centroids: &'a Matrix, neighbours: &'a Neighbours) -> Self {
        let residual = vec![0.0; centroids.width];
        Spiller {
            kernels,
            centroids,
            neighbours,
            distances: Vec::new(),
            terms: Vec::new(),
            residual,
            candidates: Vec::new(),
        }
    }

    /// The squared distance of a row to a list.
    pub(super) fn distance(&mut self, row: &[f32], list: u32) -> f32 {
        let mut distance = [0.0];
        self.kernels.distances_to(row, &self.centroids.rows, &[list], &mut distance);
        distance[0]
    }

    /// Walks from a list to the nearest of its neighbours while that is nearer to the row.
    pub(super) fn walk(&mut self, row: &[f32], mut list: u32) -> u32 {
        let mut distance = self.distance(row, list);
        for _ in 0..STEPS {
            let neighbours = self.neighbours.of(list);
            self.distances.resize(neighbours.len(), 0.0);
            self.kernels.distances_to(row, &self.centroids.rows, neighbours, &mut self.distances);
            let mut better = list;
            for (other, to) in neighbours.iter().zip(&self.distances) {
                if *to < distance || *to == distance && *other < better {
                    (distance, better) = (*to, *other);
                }
            }
            if better == list {
                break;
            }
            list = better;
        }
        list
    }

    /// The second list of a row whose first is `list`: one of `near`, the lists nearest to the row, or, should there be no other,
    /// of those nearest to the list.
    pub(super) fn second(&mut self, row: &[f32], list: u32, near: &[(f32, u32)], spill: Spill) -> u32 {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        candidates.extend(near.iter().map(|(_, other)| *other).filter(|other| *other != list));
        if candidates.is_empty() {
            candidates.extend_from_slice(self.neighbours.of(list));
        }
        let second = self.least_loss(row, list, &candidates, spill);
        self.candidates = candidates;
        second
    }

    fn least_loss(&mut self, row: &[f32], list: u32, neighbours: &[u32], spill: Spill) -> u32 {
        let centroid = self.centroids.row(list as usize);
        self.residual.iter_mut().zip(row).zip(centroid).for_each(|((r, x), c)| *r = x - c);
        let mut length = [0.0];
        self.kernels.norms(&self.residual, self.centroids.width, &mut length);
        let weight = if length[0] > 0.0 { spill.lambda / length[0] } else { 0.0 };
        self.terms.resize(neighbours.len(), (0.0, 0.0));
        self.kernels.spill_terms(row, &self.residual, &self.centroids.rows, neighbours, &mut self.terms);
        let mut best = (f32::INFINITY, neighbours.first().copied().unwrap_or(NO_LIST));
        for (other, (distance, along)) in neighbours.iter().zip(&self.terms) {
            let loss = distance + weight * (along * along);
            if loss < best.0 || loss == best.0 && *other < best.1 {
                best = (loss, *other);
            }
        }
        best.1
    }
}
