//! Rows that are far from each other: farthest-first traversal (Gonzalez, "Clustering to minimize the maximum intercluster
//! distance", 1985). Every choice is the row farthest from all rows chosen before, so that outliers are found first.

use crate::error::Result;
use crate::kernel::SplitMix64;

use super::sample::{Matrix, PART_ROWS};
use super::watch::{Progress, Stage, Work};

/// Chooses up to `count` rows, stopping where the next would be nearer than `threshold` (a squared distance) to one already
/// chosen, or equal to it. The first is drawn by `seed`; of rows equally far the first is taken.
pub(super) fn farthest_first(
    work: &Work<'_>,
    rows: &Matrix,
    count: usize,
    threshold: f32,
    seed: u64,
) -> Result<Vec<usize>> {
    let mut distances = vec![f32::INFINITY; rows.count()];
    let mut chosen = Vec::new();
    let mut next = (SplitMix64::new(seed).next_u64() % rows.count().max(1) as u64) as usize;
    while chosen.len() < count.min(rows.count()) {
        chosen.push(next);
        work.watch.progress(Progress { stage: Stage::Coverage, done: chosen.len(), total: count });
        let far = lower(work, rows, next, &mut distances)?;
        if !(far.0 > 0.0 && far.0 >= threshold) {
            break;
        }
        next = far.1;
    }
    Ok(chosen)
}

/// Lowers every row's distance to the chosen ones by one more of them; the largest that is left, and its row.
fn lower(work: &Work<'_>, rows: &Matrix, chosen: usize, distances: &mut [f32]) -> Result<(f32, usize)> {
    let part = 8 * PART_ROWS;
    let mut farthest = vec![(f32::NEG_INFINITY, 0); distances.len().div_ceil(part)];
    let parts = rows.rows.chunks(part * rows.width).zip(distances.chunks_mut(part)).zip(&mut farthest).collect();
    // The stage reports choices, not their parts.
    let silent = Work { watch: &Silent(work), ..*work };
    silent.each(Stage::Coverage, parts, |number, ((some, distances), farthest)| {
        work.kernels.nearer(some, rows.row(chosen), distances);
        for (at, distance) in distances.iter().enumerate() {
            if *distance > farthest.0 {
                *farthest = (*distance, number * part + at);
            }
        }
        Ok(())
    })?;
    Ok(farthest.into_iter().fold((f32::NEG_INFINITY, 0), |most, far| if far.0 > most.0 { far } else { most }))
}

/// Hands on cancellation and no progress.
struct Silent<'a>(&'a Work<'a>);

impl super::watch::Watch for Silent<'_> {
    fn cancelled(&self) -> bool {
        self.0.watch.cancelled()
    }
}
