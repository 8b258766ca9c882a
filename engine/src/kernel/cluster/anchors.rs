//! Anchors: lists from other selections than plain k-means. Whatever rows are chosen, what is kept is the **mean of each list**
//! over all rows: a chosen row itself is further from its neighbours than their mean by a factor of about the square root of
//! two, which makes it a bad centroid.

use crate::error::{Error, Result};
use crate::kernel::SplitMix64;

use super::assign::{Assigner, Places};
use super::centroids::Centroids;
use super::coverage::farthest_first;
use super::frame::width;
use super::groups::Groups;
use super::parallel::ranges;
use super::points::{Points, Subset};
use super::sample::{Matrix, PART_ROWS, read_rows, spread};
use super::stratify::allocate;
use super::train::{Oversize, Training, train};
use super::watch::{Stage, Work};

/// Rows read at once when means are made.
const CHUNK_ROWS: usize = 16 * PART_ROWS;
/// Lists per part when means are made.
const PART_LISTS: usize = 64;

/// How far apart the anchors of [`Selection::MaxCoverage`] are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Diversity {
    /// At least this cosine distance (`1 - cos`, in 0..2).
    Cosine(f32),
    /// At least this squared Euclidean distance.
    L2(f32),
}

/// How anchors are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Selection<'a> {
    /// Random rows.
    Random,
    /// K-means.
    KMeans,
    /// Rows of the sample that are as far from each other as possible; fewer than asked for if the diversity demands it.
    MaxCoverage(Diversity),
    /// K-means within each group of rows.
    Stratified {
        /// The group of every row.
        groups: &'a [u32],
        /// Fewest anchors of a group that has rows, or as many as it has rows.
        minimum: usize,
    },
}

/// Anchors and where they come from.
#[derive(Clone, Debug)]
pub struct Anchors {
    /// The mean of each list.
    pub centroids: Centroids,
    /// The rows chosen, for [`Selection::Random`] and [`Selection::MaxCoverage`]: row `i` began list `i`.
    pub rows: Vec<usize>,
    /// Anchors for each group number, for [`Selection::Stratified`].
    pub shares: Vec<usize>,
}

/// Chooses at most `training.nlist` anchors, exactly as many where there are enough distinct rows (and, for coverage, distant
/// ones). The other fields of `training` say how large samples are, how k-means runs, where draws begin and how much memory
/// there is; oversized lists are always kept.
///
/// Reads all rows once for the means. Besides what [`Training::bytes`] says it holds `12 dim` bytes per list and 16,384 rows.
///
/// # Errors
/// As [`train`]; `InvalidArgument` if there is not one group per row, the minima exceed the number of anchors, or a diversity
/// is not a number of at least 0.
pub fn anchors(work: &Work<'_>, points: &dyn Points, selection: Selection<'_>, training: &Training) -> Result<Anchors> {
    if points.count() == 0 || points.dim() == 0 || training.nlist == 0 {
        return Err(Error::argument("points", "and anchors must be at least one"));
    }
    let training = Training { oversize: Oversize::Keep, ..*training };
    let (mut rows, mut shares) = (Vec::new(), Vec::new());
    let chosen = match selection {
        Selection::Random => {
            let count = training.nlist.min(points.count());
            rows = random(points.count(), count, training.seed);
            at_rows(points, &rows)?
        }
        Selection::KMeans => train(work, points, &training)?.centroids,
        Selection::MaxCoverage(diversity) => {
            rows = coverage(work, points, diversity, &training)?;
            at_rows(points, &rows)?
        }
        Selection::Stratified { groups, minimum } => {
            let (chosen, given) = stratified(work, points, groups, minimum, &training)?;
            shares = given;
            chosen
        }
    };
    let centroids = list_means(work, points, &chosen, training.probes)?;
    Ok(Anchors { centroids, rows, shares })
}

/// `count` rows of `total`, each at most once, ascending.
fn random(total: usize, count: usize, seed: u64) -> Vec<usize> {
    // Floyd's algorithm: every set of rows is equally likely, and only the chosen ones are held.
    let mut draw = SplitMix64::new(seed);
    let mut chosen = std::collections::BTreeSet::new();
    for last in total - count..total {
        let row = (draw.next_u64() % (last as u64 + 1)) as usize;
        if !chosen.insert(row) {
            chosen.insert(last);
        }
    }
    chosen.into_iter().collect()
}

fn at_rows(points: &dyn Points, rows: &[usize]) -> Result<Centroids> {
    let dim = points.dim();
    let mut values = vec![0.0; rows.len() * dim];
    for (row, out) in rows.iter().zip(values.chunks_exact_mut(dim)) {
        points.read(*row, out)?;
    }
    Centroids::new(values, dim)
}

fn coverage(work: &Work<'_>, points: &dyn Points, diversity: Diversity, training: &Training) -> Result<Vec<usize>> {
    let threshold = match diversity {
        // Of unit vectors, |a - b|^2 = 2 (1 - cos).
        Diversity::Cosine(distance) => 2.0 * distance,
        Diversity::L2(distance) => distance,
    };
    if threshold.is_nan() || threshold < 0.0 {
        return Err(Error::argument("diversity", format!("must be at least 0, not {threshold}")));
    }
    let (dim, total) = (points.dim(), points.count());
    let count = training.sample_rows(total, dim, work.parallel.threads())?;
    let numbers = spread(total, count, 0..count, training.seed);
    let width = width(dim);
    let mut rows = vec![0.0; count * width];
    let parts = numbers.chunks(PART_ROWS).zip(rows.chunks_mut(PART_ROWS * width)).collect();
    work.each(Stage::Sample, parts, |_, (numbers, rows)| {
        read_rows(points, numbers, width, rows)?;
        if matches!(diversity, Diversity::Cosine(_)) {
            rows.chunks_exact_mut(width).for_each(normalise);
        }
        Ok(())
    })?;
    let rows = Matrix::new(work, rows, width);
    let chosen = farthest_first(work, &rows, training.nlist, threshold, training.seed)?;
    Ok(chosen.into_iter().map(|at| numbers[at]).collect())
}

/// Scales a row to unit length; a row of zeros stays.
fn normalise(row: &mut [f32]) {
    let length = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length > 0.0 {
        row.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
}

/// K-means within each group, all centroids end to end in the order of groups, and how many each group got.
fn stratified(
    work: &Work<'_>,
    points: &dyn Points,
    groups: &[u32],
    minimum: usize,
    training: &Training,
) -> Result<(Centroids, Vec<usize>)> {
    if groups.len() != points.count() {
        return Err(Error::argument("groups", format!("name {} rows of {}", groups.len(), points.count())));
    }
    // Numbers of groups may have gaps; members are held for those that occur.
    let mut members = std::collections::BTreeMap::<u32, Vec<usize>>::new();
    groups.iter().enumerate().for_each(|(row, group)| members.entry(*group).or_default().push(row));
    let sizes: Vec<usize> = members.values().map(Vec::len).collect();
    let wanted = allocate(&sizes, training.nlist, minimum)?;
    let mut values = Vec::new();
    let mut shares = Vec::new();
    for (rows, nlist) in members.values().zip(wanted) {
        let before = values.len();
        if nlist > 0 {
            let some = Training { nlist, ..*training };
            values.extend_from_slice(train(work, &Subset::new(points, rows), &some)?.centroids.values());
        }
        shares.push((values.len() - before) / points.dim());
    }
    Ok((Centroids::new(values, points.dim())?, shares))
}

/// The means of the lists that all rows form around `centroids`; a centroid without rows stays. Reads all rows once, in chunks,
/// and sums in f64 in the order of rows.
///
/// # Errors
/// `Cancelled`; what the source returns.
pub fn list_means(work: &Work<'_>, points: &dyn Points, centroids: &Centroids, probes: usize) -> Result<Centroids> {
    let (dim, count) = (points.dim(), centroids.count());
    let assigner = Assigner::new(work, centroids, probes, None)?;
    let mut sums = vec![0.0_f64; count * dim];
    let mut sizes = vec![0_usize; count];
    for range in ranges(points.count(), CHUNK_ROWS) {
        let mut lists = vec![0; range.len()];
        assigner.assign(work, points, range.start, Places { lists: &mut lists, ..Places::default() })?;
        let mut rows = vec![0.0; range.len() * dim];
        points.read(range.start, &mut rows)?;
        let groups = Groups::new(&lists, count);
        let parts = ranges(count, PART_LISTS).zip(sums.chunks_mut(PART_LISTS * dim)).zip(sizes.chunks_mut(PART_LISTS));
        work.each(Stage::Assign, parts.collect(), |_, ((lists, sums), sizes)| {
            for ((list, sums), size) in lists.zip(sums.chunks_exact_mut(dim)).zip(sizes) {
                *size += groups.members(list).len();
                for row in groups.members(list) {
                    let row = &rows[*row as usize * dim..][..dim];
                    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
                }
            }
            Ok(())
        })?;
    }
    let mut values = centroids.values().to_vec();
    for ((mean, sums), size) in values.chunks_exact_mut(dim).zip(sums.chunks_exact(dim)).zip(sizes) {
        if size > 0 {
            mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean = (sum / size as f64) as f32);
        }
    }
    Centroids::new(values, dim)
}
