//! The way from a row to its nearest centroid.
//!
//! Up to [`FLAT`] centroids are all looked at. More of them are clustered into about their square root of super-lists, and a
//! row looks only at the lists of the super-lists nearest to it, by bytes first, and at the few best of them by their numbers. No super-list has more than [`CROWD`] times the mean of lists:
//! where centroids have no structure, one near the middle would attract most of them, and nearly every row. What a row finds
//! depends on the row and the centroids alone.

use crate::error::Result;
use crate::kernel::{Kernels, SplitMix64};

use super::coarse::{CoarsePanels, CoarseRows};
use super::groups::Groups;
use super::lloyd::{self, TILE_ROWS};
use super::panels::{Panels, parts};
use super::parallel::ranges;
use super::sample::{Matrix, PART_ROWS};
use super::watch::{Stage, Work};

/// Most centroids that are looked at without super-lists.
pub(super) const FLAT: usize = 512;
/// Where the draws for super-lists start: fixed, so that they follow from the centroids.
const SEED: u64 = 0x5375_7065_724C_6973;
/// Centroids per super-list that super-lists are trained on.
const SAMPLE: usize = 48;
/// Passes of their training.
const PASSES: usize = 5;
/// Most lists of a super-list, in multiples of the mean.
const CROWD: usize = 2;
/// Super-lists that a list may go to, nearest first, while they have room.
const CHOICES: usize = 16;

/// The best centroid by bytes of each super-list is found, and so many of those are looked at by their numbers.
const REFINED: usize = 2;

/// Centroids that are looked at together.
struct Group {
    panels: CoarsePanels,
    /// Ascending.
    lists: Vec<u32>,
}

/// Super-lists over centroids.
pub(super) struct Router {
    width: usize,
    /// All centroids, if they are few; else super-lists.
    panels: Panels,
    /// `0..` for the panels.
    names: Vec<u32>,
    /// Of the super-lists; none if centroids are few.
    groups: Vec<Group>,
}

impl Router {
    /// A router over centroids.
    pub(super) fn new(work: &Work<'_>, stage: Stage, centroids: &Matrix) -> Result<Self> {
        let (all, width): (Vec<u32>, usize) = ((0..centroids.count() as u32).collect(), centroids.width);
        if all.len() <= FLAT {
            let panels = Panels::new(width, centroids.rows.chunks_exact(width));
            return Ok(Router { width, panels, names: all, groups: Vec::new() });
        }
        let count = all.len().isqrt();
        let some: Vec<u32> = all.iter().copied().step_by(all.len().div_ceil(count * SAMPLE).max(1)).collect();
        let supers = lloyd::cluster(work, centroids, &some, count, PASSES, &mut SplitMix64::new(SEED))?.centroids;
        let by_super = Groups::new(&shared_out(work, stage, centroids, &supers)?, supers.len() / width);
        let (mut means, mut groups) = (supers, Vec::new());
        groups.resize_with(by_super.count(), || None);
        let parts = means.chunks_exact_mut(width).zip(&mut groups).collect();
        work.each(stage, parts, |number, (mean, group): (&mut [f32], &mut Option<Group>)| {
            let lists = by_super.members(number).to_vec();
            lloyd::mean(work.kernels, centroids, &lists, mean);
            let panels = CoarsePanels::new(width, lists.iter().map(|list| centroids.row(*list as usize)));
            *group = Some(Group { panels, lists });
            Ok(())
        })?;
        let (groups, names) = (groups.into_iter().flatten().collect(), (0..by_super.count() as u32).collect());
        Ok(Router { width, panels: Panels::new(width, means.chunks_exact(width)), names, groups })
    }

    /// Whether every row looks at every centroid.
    pub(super) fn exact(&self) -> bool {
        self.groups.is_empty()
    }

    /// Rows as this router looks at them first; nothing if it need not.
    pub(super) fn coarse(&self, kernels: &Kernels, rows: &[f32]) -> CoarseRows {
        match self.exact() {
            true => CoarseRows::default(),
            false => CoarseRows::new(kernels, rows, self.width),
        }
    }

    /// For each row (a part of [`PART_ROWS`] at most) its nearest centroid and the squared distance: of equals the lower number. `centroids` are
    /// those that the router was made of; the rows are those from `first` on of `coarse`.
    pub(super) fn nearest(
        &self,
        kernels: &Kernels,
        centroids: &Matrix,
        rows: &[f32],
        (coarse, first): (&CoarseRows, usize),
        probes: usize,
        out: &mut [(f32, u32)],
    ) {
        if self.exact() {
            let mut scores = Vec::new();
            for (rows, out) in rows.chunks(TILE_ROWS * self.width).zip(out.chunks_mut(TILE_ROWS)) {
                self.panels.best(kernels, rows, &mut scores, out);
            }
            for (row, out) in rows.chunks_exact(self.width).zip(out) {
                *out = nearest_of(kernels, centroids, row, &[*out]).unwrap_or_default();
            }
            return;
        }
        let mut near = vec![[(f32::NEG_INFINITY, u32::MAX); REFINED]; out.len()];
        let mut best = Vec::new();
        self.visit(kernels, rows, (coarse, first), probes, |members, lists, scores, places| {
            best.resize(members.len(), (0.0, 0));
            kernels.best(scores, places, &mut best);
            for (row, (score, place)) in members.iter().zip(&best) {
                if let (Some(near), Some(list)) = (near.get_mut(*row as usize), lists.get(*place as usize)) {
                    keep(near, (*score, *list));
                }
            }
        });
        for ((row, near), out) in rows.chunks_exact(self.width).zip(near).zip(out) {
            let found = near.iter().position(|near| near.1 == u32::MAX).unwrap_or(REFINED);
            // A row whose scores are no numbers has found none.
            *out = nearest_of(kernels, centroids, row, &near[..found]).unwrap_or_default();
        }
    }

    /// For each row the `most` nearest centroids found and their scores, about: the first of them is the nearest.
    pub(super) fn nearest_many(
        &self,
        kernels: &Kernels,
        centroids: &Matrix,
        rows: &[f32],
        probes: usize,
        most: usize,
    ) -> Vec<Vec<(f32, u32)>> {
        if self.exact() {
            return self.scored(kernels, rows, most);
        }
        let mut near = vec![Vec::with_capacity(most + 1); rows.len() / self.width];
        self.visit(kernels, rows, (&self.coarse(kernels, rows), 0), probes, |members, lists, scores, places| {
            for (row, scores) in members.iter().zip(scores.chunks_exact(places)) {
                kernels.keep_best(scores, lists, most, &mut near[*row as usize]);
            }
        });
        for (row, near) in rows.chunks_exact(self.width).zip(&mut near) {
            let first = near.get(..REFINED).unwrap_or(near);
            if let Some((_, nearest)) = nearest_of(kernels, centroids, row, first)
                && let Some(at) = near.iter().position(|(_, list)| *list == nearest)
                && let Some(first) = near.get_mut(..=at)
            {
                first.rotate_right(1);
            }
        }
        near
    }

    /// For each row the `most` panels' centroids with the best scores.
    fn scored(&self, kernels: &Kernels, rows: &[f32], most: usize) -> Vec<Vec<(f32, u32)>> {
        let mut kept = vec![Vec::with_capacity(most + 1); rows.len() / self.width];
        let mut scores = Vec::new();
        for (rows, kept) in rows.chunks(TILE_ROWS * self.width).zip(kept.chunks_mut(TILE_ROWS)) {
            for (from, places) in self.panels.parts() {
                scores.resize(kept.len() * places, 0.0);
                self.panels.scores(kernels, rows, from, places, &mut scores);
                for (scores, kept) in scores.chunks_exact(places).zip(kept.iter_mut()) {
                    kernels.keep_best(scores, self.names.get(from..).unwrap_or_default(), most, kept);
                }
            }
        }
        kept
    }

    /// Which groups each row looks at, `probes` numbers per row in no order: those of the nearest super-lists.
    fn looks(&self, kernels: &Kernels, rows: &[f32], probes: usize) -> Vec<u32> {
        let places = self.panels.places();
        let mut looks = vec![0; rows.len() / self.width * probes];
        let (mut scores, mut order) = (Vec::new(), Vec::<u64>::with_capacity(places));
        for (rows, looks) in rows.chunks(TILE_ROWS * self.width).zip(looks.chunks_mut(TILE_ROWS * probes)) {
            scores.resize(rows.len() / self.width * places, 0.0);
            self.panels.scores(kernels, rows, 0, places, &mut scores);
            for (scores, looks) in scores.chunks_exact(places).zip(looks.chunks_exact_mut(probes)) {
                order.clear();
                order.extend(scores.iter().zip(&self.names).map(|(score, name)| rank(*score) << 32 | u64::from(*name)));
                if probes < order.len() {
                    order.select_nth_unstable(probes);
                }
                looks.iter_mut().zip(&order).for_each(|(look, rank)| *look = *rank as u32);
            }
        }
        looks
    }

    /// Calls `see` with every block of scores by bytes: which rows, lists of the places, scores, places per row.
    fn visit(
        &self,
        kernels: &Kernels,
        rows: &[f32],
        (coarse, first): (&CoarseRows, usize),
        probes: usize,
        mut see: impl FnMut(&[u32], &[u32], &[f32], usize),
    ) {
        let probes = probes.clamp(1, self.groups.len());
        let looks = Groups::new(&self.looks(kernels, rows, probes), self.groups.len());
        let (mut members, mut scores) = (Vec::new(), Vec::new());
        for (number, group) in self.groups.iter().enumerate() {
            for looks in looks.members(number).chunks(TILE_ROWS) {
                members.clear();
                members.extend(looks.iter().map(|look| look / probes as u32));
                for (from, places) in parts(group.panels.places()) {
                    scores.resize(members.len() * places, 0.0);
                    group.panels.scores(kernels, (coarse, first, &members), (from, places), &mut scores);
                    see(&members, group.lists.get(from..).unwrap_or_default(), &scores, places);
                }
            }
        }
    }
}

/// A number that is the smaller the larger a score is, in the order of all scores.
fn rank(score: f32) -> u64 {
    let bits = score.to_bits();
    // Of numbers below zero the bits grow as the numbers fall.
    u64::from(if bits >> 31 == 0 { bits ^ 0x7FFF_FFFF } else { bits })
}

/// Puts a score where it belongs among the best, the largest first; of equals the lower list.
fn keep(best: &mut [(f32, u32); REFINED], new: (f32, u32)) {
    let before = |other: &(f32, u32)| other.0 > new.0 || other.0 == new.0 && other.1 < new.1;
    let at = best.iter().position(|other| !before(other)).unwrap_or(REFINED);
    if let Some(rest) = best.get_mut(at..).filter(|rest| !rest.is_empty()) {
        rest.rotate_right(1);
        rest[0] = new;
    }
}

/// The nearest to a row of some centroids, and its squared distance: of equals the lower number.
fn nearest_of(kernels: &Kernels, centroids: &Matrix, row: &[f32], some: &[(f32, u32)]) -> Option<(f32, u32)> {
    let mut distance = [0.0];
    let distances = some.iter().map(|(_, list)| {
        kernels.distances_to(row, &centroids.rows, &[*list], &mut distance);
        (distance[0], *list)
    });
    distances.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
}

/// The super-list of each centroid: the nearest that has room, in the order of centroids.
fn shared_out(work: &Work<'_>, stage: Stage, centroids: &Matrix, supers: &[f32]) -> Result<Vec<u32>> {
    let (width, count) = (centroids.width, supers.len() / centroids.width);
    let panels = Panels::new(width, supers.chunks_exact(width));
    let names: Vec<u32> = (0..panels.places() as u32).collect();
    let mut choices: Vec<Vec<(f32, u32)>> = vec![Vec::new(); centroids.count()];
    let parts = ranges(centroids.count(), PART_ROWS).zip(choices.chunks_mut(PART_ROWS)).collect();
    work.each(stage, parts, |_, (range, choices)| {
        let rows = &centroids.rows[range.start * width..range.end * width];
        let mut scores = vec![0.0; TILE_ROWS * panels.places()];
        for (rows, choices) in rows.chunks(TILE_ROWS * width).zip(choices.chunks_mut(TILE_ROWS)) {
            let scores = &mut scores[..choices.len() * panels.places()];
            panels.scores(work.kernels, rows, 0, panels.places(), scores);
            for (scores, choices) in scores.chunks_exact(panels.places()).zip(choices) {
                work.kernels.keep_best(scores, &names, CHOICES, choices);
            }
        }
        Ok(())
    })?;
    let room = CROWD * centroids.count().div_ceil(count);
    let mut sizes = vec![0; count];
    let chosen = choices.into_iter().map(|choices| {
        let open = |name: &u32| sizes.get(*name as usize).is_some_and(|size| *size < room);
        let near = choices.into_iter().map(|(_, name)| name).find(open);
        // There is always room somewhere: twice as much as there are centroids.
        let chosen = near.or_else(|| (0..count as u32).find(open)).unwrap_or(0);
        sizes[chosen as usize] += 1;
        chosen
    });
    Ok(chosen.collect())
}
