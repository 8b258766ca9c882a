//! Lloyd's algorithm on a few rows, and the means of lists.

use crate::error::Result;
use crate::kernel::{Kernels, SplitMix64};

use super::groups::Groups;
use super::panels::Panels;
use super::parallel::ranges;
use super::sample::Matrix;
use super::watch::{Stage, Work};

/// Rows whose scores are computed at once.
pub(super) const TILE_ROWS: usize = 120;
/// Fewest rows that are worth several threads.
const FEWEST_SHARED: usize = 8 * TILE_ROWS;
/// Lists per part when means are computed.
const PART_LISTS: usize = 32;

/// Centroids, end to end, and the list of each row they were made from.
pub(super) struct Clustered {
    pub(super) centroids: Vec<f32>,
    pub(super) lists: Vec<u32>,
}

/// Clusters some rows into at most `count` lists, none of them empty: random distinct rows first, then `passes` of means and
/// nearest centroids.
pub(super) fn cluster(
    work: &Work<'_>,
    rows: &Matrix,
    members: &[u32],
    count: usize,
    passes: usize,
    draw: &mut SplitMix64,
) -> Result<Clustered> {
    let count = count.min(members.len()).max(1);
    let mut centroids = Vec::new();
    rows.gather(&pick(members, count, draw), &mut centroids);
    let mut best = vec![(0.0, 0); members.len()];
    nearest(work, rows, members, &centroids, &mut best)?;
    for pass in 0..passes {
        let lists: Vec<u32> = best.iter().map(|best| best.1).collect();
        let groups = Groups::new(&lists, centroids.len() / rows.width);
        for (list, centroid) in centroids.chunks_exact_mut(rows.width).enumerate() {
            let of_list: Vec<u32> = groups.members(list).iter().map(|at| members[*at as usize]).collect();
            mean(work.kernels, rows, &of_list, centroid);
        }
        if pass + 1 < passes {
            reseed(rows, members, &groups, &best, &mut centroids);
        }
        nearest(work, rows, members, &centroids, &mut best)?;
    }
    Ok(drop_empty(&best, centroids, rows.width))
}

/// `count` of the members, each at most once, in the order drawn.
pub(super) fn pick(members: &[u32], count: usize, draw: &mut SplitMix64) -> Vec<u32> {
    let mut members = members.to_vec();
    for i in 0..count {
        let other = i + (draw.next_u64() % (members.len() - i) as u64) as usize;
        members.swap(i, other);
    }
    members.truncate(count);
    members
}

/// The nearest centroid of each member and its score.
fn nearest(work: &Work<'_>, rows: &Matrix, members: &[u32], centroids: &[f32], best: &mut [(f32, u32)]) -> Result<()> {
    let panels = Panels::new(rows.width, centroids.chunks_exact(rows.width));
    let some = |members: &[u32], best: &mut [(f32, u32)]| {
        let (mut gathered, mut scores) = (Vec::new(), Vec::new());
        for (members, best) in members.chunks(TILE_ROWS).zip(best.chunks_mut(TILE_ROWS)) {
            rows.gather(members, &mut gathered);
            panels.best(work.kernels, &gathered, &mut scores, best);
        }
    };
    if members.len() < FEWEST_SHARED {
        some(members, best);
        return Ok(());
    }
    let parts = members.chunks(TILE_ROWS).zip(best.chunks_mut(TILE_ROWS)).collect();
    work.each(Stage::Initial, parts, |_, (members, best): (&[u32], &mut [(f32, u32)])| {
        some(members, best);
        Ok(())
    })
}

/// The mean of some rows, summed in f64 in their order; without rows, `out` stays as it is.
pub(super) fn mean(kernels: &Kernels, rows: &Matrix, members: &[u32], out: &mut [f32]) {
    let count = members.len();
    if count == 0 {
        return;
    }
    let mut sums = vec![0.0_f64; rows.width];
    kernels.add_rows(&rows.rows, members, &mut sums);
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = (sum / count as f64) as f32);
}

/// Gives every empty list the row that is farthest from its centroid and not yet taken.
fn reseed(rows: &Matrix, members: &[u32], groups: &Groups, best: &[(f32, u32)], centroids: &mut [f32]) {
    let empty: Vec<usize> = (0..groups.count()).filter(|list| groups.members(*list).is_empty()).collect();
    if empty.is_empty() {
        return;
    }
    let distance = |at: usize| rows.norms[members[at] as usize] - 2.0 * best[at].0;
    let mut far: Vec<(f32, usize)> = (0..members.len()).map(|at| (distance(at), at)).collect();
    far.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    for (list, (_, at)) in empty.into_iter().zip(far) {
        centroids[list * rows.width..][..rows.width].copy_from_slice(rows.row(members[at] as usize));
    }
}

/// Drops lists without rows and numbers the others anew.
fn drop_empty(best: &[(f32, u32)], centroids: Vec<f32>, width: usize) -> Clustered {
    let mut names = vec![u32::MAX; centroids.len() / width];
    best.iter().for_each(|(_, list)| names[*list as usize] = 0);
    let mut kept = Vec::with_capacity(centroids.len());
    for (name, centroid) in names.iter_mut().zip(centroids.chunks_exact(width)).filter(|(name, _)| **name == 0) {
        *name = (kept.len() / width) as u32;
        kept.extend_from_slice(centroid);
    }
    Clustered { centroids: kept, lists: best.iter().map(|(_, list)| names[*list as usize]).collect() }
}

/// Moves every centroid to the mean of its list; that of an empty list stays.
pub(super) fn move_to_means(
    work: &Work<'_>,
    stage: Stage,
    rows: &Matrix,
    groups: &Groups,
    centroids: &mut [f32],
) -> Result<()> {
    let parts = ranges(groups.count(), PART_LISTS).zip(centroids.chunks_mut(PART_LISTS * rows.width)).collect();
    work.each(stage, parts, |_, (lists, centroids)| {
        for (list, centroid) in lists.zip(centroids.chunks_exact_mut(rows.width)) {
            mean(work.kernels, rows, groups.members(list), centroid);
        }
        Ok(())
    })
}
