//! Training: from rows to centroids.
//!
//! A sample of `rows_per_list` rows per list is read. Random rows of it are the first centroids; then come passes of Lloyd's
//! algorithm, in which a row looks at the lists of its nearest super-lists only (these are found anew for every pass). A list
//! that is empty after a pass takes half of the largest one; at the end lists far above the mean size are halved until they
//! are not.
//!
//! First centroids that came from clustering every super-list by itself gave the same error and more even lists, and yet
//! searches of text had to read 5 to 9 % more rows to find 98 to 99 % of the neighbours: sparse regions got too few lists.

use crate::error::{Error, Result};
use crate::kernel::SplitMix64;

use super::centroids::Centroids;
use super::coarse::CoarseRows;
use super::frame::width;
use super::groups::Groups;
use super::lloyd::{TILE_ROWS, move_to_means, pick};
use super::points::Points;
use super::router::Router;
use super::sample::{Matrix, PART_ROWS, draw};
use super::split::Splitter;
use super::watch::{Stage, Work};

/// What to do with lists that have become much larger than the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Oversize {
    /// Leave them: there are never more lists than asked for.
    Keep,
    /// Halve those with more than this many times the mean (4 is customary), until none is left or a quarter more lists exist
    /// than asked for. Lists of equal rows stay.
    Halve(f32),
}

/// How centroids are trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// Lists wanted. There will be fewer if there are fewer distinct rows, and up to a quarter more with [`Oversize::Halve`].
    pub nlist: usize,
    /// Rows of the sample for each list. Fewer cost recall: with 16 instead of 40 a search reads a third more.
    pub rows_per_list: usize,
    /// Passes of Lloyd's algorithm after the first centroids.
    pub passes: usize,
    /// Super-lists whose lists a row looks at.
    pub probes: usize,
    /// What to do with oversized lists.
    pub oversize: Oversize,
    /// Where random choices start.
    pub seed: u64,
    /// Most bytes the training may hold at once; the sample becomes smaller if need be.
    pub budget_bytes: u64,
}

impl Training {
    /// The customary training of `nlist` lists: 40 rows per list, 8 passes, 16 probes, 4 times the mean, 1 GiB. Of text, 8 probes
    /// leave lists that a search for 95 % of the neighbours has to read 7 % more of, 5 passes 4 %.
    pub fn new(nlist: usize) -> Self {
        Training {
            nlist,
            rows_per_list: 40,
            passes: 8,
            probes: 16,
            oversize: Oversize::Halve(4.0),
            seed: 0,
            budget_bytes: 1 << 30,
        }
    }

    /// Bytes the training holds at most with a sample of `rows` rows of `dim` components and so many threads. With
    /// `w = 4 dim`, dim rounded up to 16:
    /// `rows (1.25 w + 36) + 1.25 nlist (4 w + 32) + threads (1144 w + 4 MiB)`.
    pub fn bytes(&self, rows: usize, dim: usize, threads: usize) -> u64 {
        let row = 4 * width(dim) as u64;
        let scratch = (PART_ROWS + TILE_ROWS) as u64 * row + (4 << 20);
        (rows as u64)
            .saturating_mul(row + row / 4 + 36)
            .saturating_add((self.nlist as u64 + self.nlist as u64 / 4).saturating_mul(4 * row + 32))
            .saturating_add((threads as u64).saturating_mul(scratch))
    }

    /// Rows of the sample from `total` rows.
    pub(super) fn sample_rows(&self, total: usize, dim: usize, threads: usize) -> Result<usize> {
        let wanted = self.nlist.saturating_mul(self.rows_per_list.max(1)).min(total);
        let row = self.bytes(1, dim, threads) - self.bytes(0, dim, threads);
        let room = self.budget_bytes.saturating_sub(self.bytes(0, dim, threads)) / row;
        let rows = wanted.min(usize::try_from(room).unwrap_or(usize::MAX));
        if rows < self.nlist.min(total) {
            let least = self.bytes(self.nlist.min(total), dim, threads);
            let problem = format!("of {} is too small: {} lists need {least} at least", self.budget_bytes, self.nlist);
            return Err(Error::argument("budget_bytes", problem).with_hint("ask for fewer lists, or give more memory"));
        }
        Ok(rows)
    }
}

/// Centroids and how they came about.
#[derive(Clone, Debug)]
pub struct Trained {
    /// One per list.
    pub centroids: Centroids,
    /// Rows of the sample.
    pub sample_rows: usize,
    /// Mean squared distance of the rows of the sample to the centroids at the start of each pass.
    pub errors: Vec<f64>,
    /// Lists that were empty after a pass and took half of another one.
    pub reseeded: usize,
    /// Lists added by halving.
    pub halved: usize,
}

/// Trains centroids on a sample of the rows. No list is empty on the sample when this returns.
///
/// # Errors
/// `InvalidArgument` if there are no rows, a row is not finite, `nlist` is zero or 2^31 and more, the sample has 2^31 rows and
/// more, or the budget does not even suffice for one row per list; `Cancelled` if the watch says so; what the source returns.
pub fn train(work: &Work<'_>, points: &dyn Points, training: &Training) -> Result<Trained> {
    let (dim, total) = (points.dim(), points.count());
    if dim == 0 || total == 0 {
        return Err(Error::argument("points", "must have rows and components"));
    }
    if training.nlist == 0 || training.nlist >= 1 << 31 {
        return Err(Error::argument("nlist", format!("must be in 1..2^31, not {}", training.nlist)));
    }
    let rows = training.sample_rows(total, dim, work.parallel.threads())?;
    if rows >= 1 << 31 {
        return Err(Error::argument("rows_per_list", format!("gives a sample of {rows} rows; 2^31 - 1 are possible")));
    }
    let (frame, sample) = draw(work, points, rows, training.seed)?;
    let coarse = CoarseRows::of(work, &sample.rows, sample.width)?;
    let mut run = Run { work, training, sample: &sample, coarse, errors: Vec::new(), reseeded: 0, halved: 0 };
    let inside = run.train()?;
    let mut values = Vec::with_capacity(inside.len());
    inside.chunks_exact(sample.width).for_each(|row| frame.leave(row, &mut values));
    Ok(Trained {
        centroids: Centroids::new(values, dim)?,
        sample_rows: rows,
        errors: run.errors.into_iter().map(|error| frame.distance(error)).collect(),
        reseeded: run.reseeded,
        halved: run.halved,
    })
}

/// One training on a sample in its frame.
struct Run<'a> {
    work: &'a Work<'a>,
    training: &'a Training,
    sample: &'a Matrix,
    coarse: CoarseRows,
    errors: Vec<f64>,
    reseeded: usize,
    halved: usize,
}

impl Run<'_> {
    fn train(&mut self) -> Result<Vec<f32>> {
        let mut centroids = Matrix::new(self.work, self.initial(), self.sample.width);
        let mut lists = vec![0; self.sample.count()];
        for pass in 0..self.training.passes.max(1) {
            let stage = Stage::Pass(pass);
            self.assign(stage, &centroids, &mut lists)?;
            let groups = Groups::new(&lists, centroids.count());
            let mut rows = std::mem::take(&mut centroids.rows);
            move_to_means(self.work, stage, self.sample, &groups, &mut rows)?;
            let last = pass + 1 >= self.training.passes;
            self.fill_empty(&groups, pass, last, &mut rows)?;
            centroids = Matrix::new(self.work, rows, self.sample.width);
        }
        Ok(centroids.rows)
    }

    /// The first centroids: distinct rows of the sample, drawn at random.
    fn initial(&self) -> Vec<f32> {
        let all: Vec<u32> = (0..self.sample.count() as u32).collect();
        let count = self.training.nlist.min(all.len());
        let mut centroids = Vec::new();
        self.sample.gather(&pick(&all, count, &mut SplitMix64::new(self.training.seed)), &mut centroids);
        centroids
    }

    /// Gives every row of the sample its list, and notes the mean squared distance.
    fn assign(&mut self, stage: Stage, centroids: &Matrix, lists: &mut [u32]) -> Result<()> {
        let (width, kernels, probes) = (self.sample.width, self.work.kernels, self.training.probes);
        let router = Router::new(self.work, stage, centroids)?;
        let mut errors = vec![0.0; lists.len().div_ceil(PART_ROWS)];
        let parts = self.sample.rows.chunks(PART_ROWS * width).zip(lists.chunks_mut(PART_ROWS)).zip(&mut errors);
        self.work.each(stage, parts.collect(), |number, ((rows, lists), error): (_, &mut f64)| {
            let mut best = vec![(0.0, 0); lists.len()];
            router.nearest(kernels, centroids, rows, (&self.coarse, number * PART_ROWS), probes, &mut best);
            for (list, best) in lists.iter_mut().zip(best) {
                *list = best.1;
                *error += f64::from(best.0);
            }
            Ok(())
        })?;
        self.errors.push(errors.iter().sum::<f64>() / lists.len() as f64);
        Ok(())
    }

    /// Halves the largest lists for those that are empty; after the last pass, drops what is still empty and halves oversized
    /// ones.
    fn fill_empty(&mut self, groups: &Groups, pass: usize, last: bool, centroids: &mut Vec<f32>) -> Result<()> {
        let width = self.sample.width;
        let mut splitter = Splitter::new(self.sample, groups, self.training.seed ^ (pass as u64 + 1));
        let mut still_empty = Vec::new();
        for empty in (0..groups.count()).filter(|list| groups.members(*list).is_empty()) {
            match splitter.split(self.work, 1, empty)? {
                Some(split) => {
                    put(centroids, width, split.list, empty, &split.centroids);
                    self.reseeded += 1;
                }
                None => still_empty.push(empty),
            }
        }
        // First centroids that fell together were dropped.
        while still_empty.is_empty() && centroids.len() / width < self.training.nlist {
            if !self.halve(&mut splitter, 1, centroids)? {
                break;
            }
            self.reseeded += 1;
        }
        if !last {
            return Ok(());
        }
        if let Oversize::Halve(times) = self.training.oversize {
            let mean = self.sample.count() as f32 / groups.count() as f32;
            let limit = (mean * times.max(2.0)).ceil() as usize;
            for _ in 0..groups.count() / 4 {
                if !self.halve(&mut splitter, limit, centroids)? {
                    break;
                }
                self.halved += 1;
            }
        }
        for empty in still_empty.into_iter().rev() {
            centroids.drain(empty * width..(empty + 1) * width);
        }
        Ok(())
    }

    /// Makes two lists of the largest one of more than `limit` rows; false if there is none.
    fn halve(&self, splitter: &mut Splitter<'_>, limit: usize, centroids: &mut Vec<f32>) -> Result<bool> {
        let width = self.sample.width;
        let new = centroids.len() / width;
        let Some(split) = splitter.split(self.work, limit, new)? else { return Ok(false) };
        centroids.resize((new + 1) * width, 0.0);
        put(centroids, width, split.list, new, &split.centroids);
        Ok(true)
    }
}

/// Puts two centroids into their places.
fn put(centroids: &mut [f32], width: usize, first: usize, second: usize, two: &[f32]) {
    centroids[first * width..][..width].copy_from_slice(&two[..width]);
    centroids[second * width..][..width].copy_from_slice(&two[width..]);
}
