//! The way from a row to its nearest centroid.
//!
//! Up to [`FLAT`] centroids are all looked at. More of them are clustered into about their square root of super-lists, and a
//! row looks only at the lists of the super-lists nearest to it. No super-list has more than [`CROWD`] times the mean of lists:
//! where centroids have no structure, one near the middle would attract most of them, and nearly every row. What a row finds
//! depends on the row and the centroids alone.

use crate::error::Result;
use crate::kernel::{Kernels, SplitMix64};

use super::groups::Groups;
use super::lloyd::{self, TILE_ROWS};
use super::panels::Panels;
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

/// Centroids that are looked at together.
struct Group {
    panels: Panels,
    /// Ascending.
    lists: Vec<u32>,
}

/// Super-lists over centroids.
pub(super) struct Router {
    width: usize,
    supers: Panels,
    /// `0..` for the super-lists; empty if there is one group, which every row looks at.
    names: Vec<u32>,
    groups: Vec<Group>,
}

impl Router {
    /// A router over centroids.
    pub(super) fn new(work: &Work<'_>, stage: Stage, centroids: &Matrix) -> Result<Self> {
        let all: Vec<u32> = (0..centroids.count() as u32).collect();
        if all.len() <= FLAT {
            let groups = vec![Group {
                panels: Panels::new(centroids.width, centroids.rows.chunks_exact(centroids.width)),
                lists: all,
            }];
            return Ok(Router {
                width: centroids.width,
                supers: Panels::new(centroids.width, std::iter::empty()),
                names: Vec::new(),
                groups,
            });
        }
        let count = all.len().isqrt();
        let some: Vec<u32> = all.iter().copied().step_by(all.len().div_ceil(count * SAMPLE).max(1)).collect();
        let supers =
            lloyd::cluster(work.kernels, centroids, &some, count, PASSES, &mut SplitMix64::new(SEED)).centroids;
        let by_super = Groups::new(&shared_out(work, stage, centroids, &supers)?, supers.len() / centroids.width);
        let means = (0..by_super.count()).flat_map(|group| {
            let mut mean = supers[group * centroids.width..][..centroids.width].to_vec();
            lloyd::mean(centroids, by_super.members(group).iter().copied(), &mut mean);
            mean
        });
        let means: Vec<f32> = means.collect();
        let supers = Panels::new(centroids.width, means.chunks_exact(centroids.width));
        let groups = (0..by_super.count()).map(|group| {
            let lists = by_super.members(group).to_vec();
            Group {
                panels: Panels::new(centroids.width, lists.iter().map(|list| centroids.row(*list as usize))),
                lists,
            }
        });
        let (groups, names) = (groups.collect(), (0..by_super.count() as u32).collect());
        Ok(Router { width: centroids.width, supers, names, groups })
    }

    /// Whether every row looks at every centroid.
    pub(super) fn exact(&self) -> bool {
        self.names.is_empty()
    }

    /// Number of super-lists; 0 if every row looks at every centroid.
    pub(super) fn supers(&self) -> usize {
        self.names.len()
    }

    /// For each row (a part of [`PART_ROWS`] at most) its nearest centroid and the score: of equals the lower number.
    pub(super) fn nearest(&self, kernels: &Kernels, rows: &[f32], probes: usize, out: &mut [(f32, u32)]) {
        out.fill((f32::NEG_INFINITY, u32::MAX));
        let mut best = Vec::new();
        self.visit(kernels, rows, probes, |members, lists, scores, places| {
            best.resize(members.len(), (0.0, 0));
            kernels.best(scores, places, &mut best);
            for (row, (score, place)) in members.iter().zip(&best) {
                let (Some(list), Some(out)) = (lists.get(*place as usize), out.get_mut(*row as usize)) else {
                    continue;
                };
                if *score > out.0 || *score == out.0 && *list < out.1 {
                    *out = (*score, *list);
                }
            }
        });
        // Rows whose scores are no numbers.
        out.iter_mut().filter(|out| out.1 == u32::MAX).for_each(|out| out.1 = 0);
    }

    /// For each row the `most` nearest centroids found and their scores, nearest first.
    pub(super) fn nearest_many(
        &self,
        kernels: &Kernels,
        rows: &[f32],
        probes: usize,
        most: usize,
    ) -> Vec<Vec<(f32, u32)>> {
        let mut kept = vec![Vec::with_capacity(most + 1); rows.len() / self.width];
        self.visit(kernels, rows, probes, |members, lists, scores, places| {
            for (row, scores) in members.iter().zip(scores.chunks_exact(places)) {
                kernels.keep_best(scores, lists, most, &mut kept[*row as usize]);
            }
        });
        kept
    }

    /// Calls `see` with every block of scores: which rows, lists of the places, scores, places per row.
    fn visit(
        &self,
        kernels: &Kernels,
        rows: &[f32],
        probes: usize,
        mut see: impl FnMut(&[u32], &[u32], &[f32], usize),
    ) {
        let (mut scores, mut gathered) = (Vec::new(), Vec::new());
        let probes = if self.exact() { 1 } else { probes.clamp(1, self.groups.len()) };
        let looks = Groups::new(&self.looks(kernels, rows, probes), self.groups.len());
        for (number, group) in self.groups.iter().enumerate() {
            for looks in looks.members(number).chunks(TILE_ROWS) {
                let members: Vec<u32> = looks.iter().map(|look| look / probes as u32).collect();
                gathered.clear();
                for row in &members {
                    gathered.extend_from_slice(&rows[*row as usize * self.width..][..self.width]);
                }
                for (from, places) in group.panels.parts() {
                    scores.resize(members.len() * places, 0.0);
                    group.panels.scores(kernels, &gathered, from, places, &mut scores);
                    see(&members, &group.lists[from..], &scores, places);
                }
            }
        }
    }

    /// Which groups each row looks at, `probes` numbers per row: those of the nearest super-lists.
    fn looks(&self, kernels: &Kernels, rows: &[f32], probes: usize) -> Vec<u32> {
        let mut looks = vec![0; rows.len() / self.width * probes];
        if self.exact() {
            return looks;
        }
        let mut kept = Vec::with_capacity(probes + 1);
        let mut scores = Vec::new();
        for (rows, looks) in rows.chunks(TILE_ROWS * self.width).zip(looks.chunks_mut(TILE_ROWS * probes)) {
            scores.resize(rows.len() / self.width * self.supers.places(), 0.0);
            self.supers.scores(kernels, rows, 0, self.supers.places(), &mut scores);
            for (scores, looks) in scores.chunks_exact(self.supers.places()).zip(looks.chunks_exact_mut(probes)) {
                kept.clear();
                kernels.keep_best(scores, &self.names, probes, &mut kept);
                looks.iter_mut().zip(&kept).for_each(|(look, (_, name))| *look = *name);
            }
        }
        looks
    }
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
