//! Scores of rows against centroids by bytes: four times as many at once as by numbers of 32 bits, and near enough to say which few centroids may be
//! the nearest.
//!
//! A row has 7 bits per component (its largest component is 63 steps of it, zero is 64), a centroid 8 (127 steps). Sums of products are integers, so
//! they are the same on every machine; with 7 bits no instruction has to cut a sum off. What follows from them is one multiplication after the other,
//! nothing fused: the same bits everywhere, as everything here.

use super::sample::PART_ROWS;
use super::tile::Fused;
use super::watch::{Stage, Work};
use crate::error::Result;
use crate::kernel::Kernels;
use crate::kernel::lanes::LANES;

/// Components whose products are added by one step.
pub(in crate::kernel) const QUAD: usize = 4;
/// A component of zero.
const ZERO: f32 = 64.0;
/// Steps of the largest component of a row, and of a centroid.
const ROW_STEPS: f32 = 63.0;
const CENTROID_STEPS: f32 = 127.0;

/// Lanes with sums of products of bytes.
pub(in crate::kernel) trait Bytewise: Fused {
    /// Sixteen integers of 32 bits.
    type Sums: Copy;

    fn no_sums(self) -> Self::Sums;

    /// Adds to each lane the products of four bytes below 128 with four of its own, above -128.
    fn add_products(self, sums: Self::Sums, row: [u8; QUAD], line: &[i8; QUAD * LANES]) -> Self::Sums;

    /// To the nearest numbers.
    fn to_numbers(self, sums: Self::Sums) -> Self::Vector;
}

impl Bytewise for crate::kernel::lanes::Plain {
    type Sums = [i32; LANES];

    #[inline(always)]
    fn no_sums(self) -> [i32; LANES] {
        [0; LANES]
    }

    #[inline(always)]
    fn add_products(self, mut sums: [i32; LANES], row: [u8; QUAD], line: &[i8; QUAD * LANES]) -> [i32; LANES] {
        for (sum, own) in sums.iter_mut().zip(line.as_chunks::<QUAD>().0) {
            *sum += row.iter().zip(own).map(|(x, c)| i32::from(*x) * i32::from(*c)).sum::<i32>();
        }
        sums
    }

    #[inline(always)]
    fn to_numbers(self, sums: [i32; LANES]) -> [f32; LANES] {
        sums.map(|sum| sum as f32)
    }
}

/// What [`coarse_scores`] reads: some rows of `dim` bytes, which lie end to end, with their steps, and panels of sixteen centroids.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct CoarseBlock<'a> {
    pub rows: &'a [u8],
    pub steps: &'a [f32],
    /// The rows that are scored.
    pub which: &'a [u32],
    /// Components, a multiple of [`QUAD`].
    pub dim: usize,
    /// `dim / 4` lines for each panel.
    pub lines: &'a [[i8; QUAD * LANES]],
    pub terms: &'a [Terms],
}

/// What turns the sums of a panel into scores.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Terms {
    /// Where scores start.
    start: [f32; LANES],
    /// What zeros of rows add to the sum.
    zeros: [f32; LANES],
    /// Steps of the centroids.
    steps: [f32; LANES],
}

/// Scores of every row against every centroid of every panel, row after row; `R` rows by `V` panels at a time. The caller has checked the lengths.
#[inline(always)]
pub(in crate::kernel) fn coarse_scores<L: Bytewise, const R: usize, const V: usize>(
    lanes: L,
    block: CoarseBlock<'_>,
    out: &mut [f32],
) {
    let (count, width) = (block.which.len(), block.terms.len() * LANES);
    let mut panel = 0;
    while panel < block.terms.len() {
        let wide = panel + V <= block.terms.len();
        let mut row = 0;
        while row < count {
            let tall = row + R <= count;
            match (tall, wide) {
                (true, true) => tile::<L, R, V>(lanes, block, row, panel, out, width),
                (true, false) => tile::<L, R, 1>(lanes, block, row, panel, out, width),
                (false, true) => tile::<L, 1, V>(lanes, block, row, panel, out, width),
                (false, false) => tile::<L, 1, 1>(lanes, block, row, panel, out, width),
            }
            row += if tall { R } else { 1 };
        }
        panel += if wide { V } else { 1 };
    }
}

#[inline(always)]
fn tile<L: Bytewise, const R: usize, const V: usize>(
    lanes: L,
    block: CoarseBlock<'_>,
    first_row: usize,
    first_panel: usize,
    out: &mut [f32],
    width: usize,
) {
    let quads = block.dim / QUAD;
    let mut rows = [&[][..]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        let at = block.which[first_row + r] as usize;
        *row = &block.rows[at * block.dim..][..block.dim].as_chunks::<QUAD>().0[..quads];
    }
    let mut panels = [&block.lines[..0]; V];
    for (v, panel) in panels.iter_mut().enumerate() {
        *panel = &block.lines[(first_panel + v) * quads..][..quads];
    }
    let mut sums = [[lanes.no_sums(); V]; R];
    for i in 0..quads {
        for r in 0..R {
            for v in 0..V {
                sums[r][v] = lanes.add_products(sums[r][v], rows[r][i], &panels[v][i]);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        let step = lanes.splat(block.steps[block.which[first_row + r] as usize]);
        let out = &mut out[(first_row + r) * width + first_panel * LANES..][..V * LANES];
        for ((to, sum), terms) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(sums).zip(&block.terms[first_panel..]) {
            let product = lanes.sub(lanes.to_numbers(*sum), lanes.load(&terms.zeros));
            let product = lanes.mul(lanes.mul(product, lanes.load(&terms.steps)), step);
            lanes.store(lanes.add(lanes.load(&terms.start), product), to);
        }
    }
}

/// Panels of sixteen centroids in bytes, four components after the other; the last one is filled up with centroids whose score is negative infinity.
pub(super) struct CoarsePanels {
    dim: usize,
    lines: Vec<[i8; QUAD * LANES]>,
    terms: Vec<Terms>,
}

impl CoarsePanels {
    /// Panels of centroids of `dim` components, a multiple of sixteen.
    pub(super) fn new<'a>(dim: usize, centroids: impl Iterator<Item = &'a [f32]>) -> Self {
        let mut panels = CoarsePanels { dim, lines: Vec::new(), terms: Vec::new() };
        for (place, centroid) in centroids.enumerate() {
            if place.is_multiple_of(LANES) {
                panels.lines.resize(panels.lines.len() + dim / QUAD, [0; QUAD * LANES]);
                let none = [0.0; LANES];
                panels.terms.push(Terms { start: [f32::NEG_INFINITY; LANES], zeros: none, steps: none });
            }
            panels.put(place, centroid);
        }
        panels
    }

    fn put(&mut self, place: usize, centroid: &[f32]) {
        let (panel, lane) = (place / LANES, place % LANES);
        let (step, inverse) = steps(centroid, CENTROID_STEPS);
        let lines = self.lines.get_mut(panel * (self.dim / QUAD)..).unwrap_or_default();
        let mut sum = 0_i32;
        for (line, quad) in lines.iter_mut().zip(centroid.as_chunks::<QUAD>().0) {
            for (to, x) in line[lane * QUAD..][..QUAD].iter_mut().zip(quad) {
                // Cut off above zero: rounded.
                *to = ((x * inverse + 128.5) as i32 - 128) as i8;
                sum += i32::from(*to);
            }
        }
        let norm: f64 = centroid.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        if let Some(terms) = self.terms.get_mut(panel) {
            terms.start[lane] = (-0.5 * norm) as f32;
            terms.zeros[lane] = sum as f32 * ZERO;
            terms.steps[lane] = step;
        }
    }

    /// Places in a row of scores, a multiple of the lanes.
    pub(super) fn places(&self) -> usize {
        self.terms.len() * LANES
    }

    /// Places `from..from + places` (multiples of the lanes) of the scores of each of some rows: `which` of those from `first_row` on.
    pub(super) fn scores(
        &self,
        kernels: &Kernels,
        (rows, first_row, which): (&CoarseRows, usize, &[u32]),
        (from, places): (usize, usize),
        out: &mut [f32],
    ) {
        let (first, count, quads) = (from / LANES, places / LANES, self.dim / QUAD);
        let lines = self.lines.get(first * quads..(first + count) * quads).unwrap_or_default();
        let terms = self.terms.get(first..first + count).unwrap_or_default();
        let steps = rows.steps.get(first_row..).unwrap_or_default();
        let rows = rows.bytes.get(first_row * self.dim..).unwrap_or_default();
        kernels.coarse_scores(CoarseBlock { rows, steps, which, dim: self.dim, lines, terms }, out);
    }
}

/// The step of some components, whose largest is so many of them, and its inverse: both 0 where all components are 0.
#[inline(always)]
fn steps(components: &[f32], most: f32) -> (f32, f32) {
    let larger = |largest: f32, x: f32| if x > largest { x } else { largest };
    // Sixteen largest side by side; what is the largest of all does not depend on the order.
    let (lines, rest) = components.as_chunks::<LANES>();
    let mut tops = [0.0_f32; LANES];
    for line in lines {
        tops.iter_mut().zip(line).for_each(|(top, x)| *top = larger(*top, x.abs()));
    }
    let largest = tops.into_iter().chain(rest.iter().map(|x| x.abs())).fold(0.0, larger);
    // Of components so small that their inverse is no number, nothing is left.
    let inverse = most / largest;
    match inverse.is_finite() {
        true => (largest / most, inverse),
        false => (0.0, 0.0),
    }
}

/// Rows in bytes.
#[derive(Default)]
pub(super) struct CoarseRows {
    bytes: Vec<u8>,
    steps: Vec<f32>,
}

impl CoarseRows {
    /// Rows of `dim` components, end to end.
    pub(super) fn new(kernels: &Kernels, rows: &[f32], dim: usize) -> Self {
        let mut coarse = CoarseRows::blank(rows.len() / dim, dim);
        kernels.coarse_rows(rows, dim, &mut coarse.bytes, &mut coarse.steps);
        coarse
    }

    /// The same of many rows, side by side.
    pub(super) fn of(work: &Work<'_>, rows: &[f32], dim: usize) -> Result<Self> {
        let mut coarse = CoarseRows::blank(rows.len() / dim, dim);
        let parts = rows.chunks(PART_ROWS * dim).zip(coarse.bytes.chunks_mut(PART_ROWS * dim));
        let parts = parts.zip(coarse.steps.chunks_mut(PART_ROWS)).collect();
        work.each(Stage::Initial, parts, |_, ((rows, bytes), steps): ((&[f32], &mut [u8]), &mut [f32])| {
            work.kernels.coarse_rows(rows, dim, bytes, steps);
            Ok(())
        })?;
        Ok(coarse)
    }

    fn blank(count: usize, dim: usize) -> Self {
        CoarseRows { bytes: vec![0; count * dim], steps: vec![0.0; count] }
    }
}

/// A row of components in bytes; returns its step.
#[inline(always)]
pub(in crate::kernel) fn coarse_row(row: &[f32], bytes: &mut [u8]) -> f32 {
    let (step, inverse) = steps(row, ROW_STEPS);
    for (to, x) in bytes.iter_mut().zip(row) {
        // Between 1 and 127, or zero for what is no number.
        *to = (x * inverse + (ZERO + 0.5)) as i32 as u8;
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::code::tests::every_path;
    use crate::kernel::{SplitMix64, kernels};

    fn rows(count: usize, dim: usize, draw: &mut SplitMix64) -> Vec<f32> {
        (0..count * dim).map(|_| (draw.next_u64() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    #[test]
    fn scores_are_near_the_true_ones_and_the_same_on_every_path() {
        let mut draw = SplitMix64::new(5);
        for (count, centroids, dim) in [(1, 1, 16), (7, 17, 48), (13, 50, 384), (25, 96, 784)] {
            let mut x = rows(count, dim, &mut draw);
            x.iter_mut().take(dim).for_each(|x| *x *= 1e-3);
            let c = rows(centroids, dim, &mut draw);
            let (coarse, panels) = (CoarseRows::new(kernels(), &x, dim), CoarsePanels::new(dim, c.chunks_exact(dim)));
            let all: Vec<u32> = (0..count as u32).collect();
            let mut first: Option<Vec<u32>> = None;
            for kernels in every_path() {
                let mut scores = vec![0.0; count * panels.places()];
                panels.scores(kernels, (&coarse, 0, &all), (0, panels.places()), &mut scores);
                for (x, scores) in x.chunks_exact(dim).zip(scores.chunks_exact(panels.places())) {
                    for (c, score) in c.chunks_exact(dim).zip(scores) {
                        let product: f32 = x.iter().zip(c).map(|(x, c)| x * c).sum();
                        let norm: f32 = c.iter().map(|c| c * c).sum();
                        let length = |a: &[f32]| a.iter().map(|x| x * x).sum::<f32>().sqrt();
                        assert!((score - (product - norm / 2.0)).abs() <= 0.02 * length(x) * length(c) + 1e-4);
                    }
                    assert!(scores[centroids..].iter().all(|score| *score == f32::NEG_INFINITY));
                }
                let bits: Vec<u32> = scores.iter().map(|score| score.to_bits()).collect();
                assert_eq!(*first.get_or_insert(bits.clone()), bits, "{:?}", kernels.path());
            }
        }
    }

    #[test]
    fn rows_become_the_same_bytes_and_sums_on_every_path() {
        let mut draw = SplitMix64::new(6);
        for dim in [1, 16, 33, 784] {
            let x = [rows(9, dim, &mut draw), vec![0.0; dim], vec![f32::MAX; dim]].concat();
            let (mut expected, mut steps) = (vec![0; x.len()], Vec::new());
            for (row, bytes) in x.chunks_exact(dim).zip(expected.chunks_exact_mut(dim)) {
                steps.push(coarse_row(row, bytes));
            }
            let which = [3u32, 0, 10, 3, 8, 9, 1];
            for kernels in every_path() {
                let (mut bytes, mut own) = (vec![7; x.len()], vec![f32::NAN; 11]);
                kernels.coarse_rows(&x, dim, &mut bytes, &mut own);
                assert_eq!((&bytes, &own), (&expected, &steps), "{:?}", kernels.path());
                let mut sums = vec![0.5; dim];
                kernels.add_rows(&x, &which, &mut sums);
                let sum = |i: usize| which.iter().fold(0.5, |sum, row| sum + f64::from(x[*row as usize * dim + i]));
                assert!((0..dim).all(|i| sums[i] == sum(i)), "{:?}", kernels.path());
            }
        }
    }

    #[test]
    fn rows_of_zeros_and_of_hardly_anything_have_finite_scores() {
        let dim = 16;
        let x = [vec![0.0; dim], vec![1e-45; dim], vec![f32::MAX; dim]].concat();
        let c = [vec![0.0; dim], vec![1e-45; dim], vec![1.0; dim]].concat();
        let (coarse, panels) = (CoarseRows::new(kernels(), &x, dim), CoarsePanels::new(dim, c.chunks_exact(dim)));
        for kernels in every_path() {
            let (all, mut scores) = ([0, 1, 2], vec![0.0; 3 * panels.places()]);
            panels.scores(kernels, (&coarse, 0, &all), (0, panels.places()), &mut scores);
            assert_eq!(scores[..3], [0.0, 0.0, -8.0]);
            assert!(
                scores.chunks_exact(panels.places()).all(|scores| scores[..2].iter().all(|score| score.is_finite()))
            );
        }
    }

    #[test]
    fn the_largest_sums_are_not_cut_off() {
        // Every component as large as it gets, of either sign.
        let dim = 1_024;
        for sign in [1.0, -1.0] {
            let (x, c) = (vec![3.0; dim], vec![sign * 5.0; dim]);
            let (coarse, panels) = (CoarseRows::new(kernels(), &x, dim), CoarsePanels::new(dim, c.chunks_exact(dim)));
            for kernels in every_path() {
                let (all, mut scores) = ([0], vec![0.0; panels.places()]);
                panels.scores(kernels, (&coarse, 0, &all), (0, panels.places()), &mut scores);
                let want = dim as f32 * (sign * 15.0 - 12.5);
                assert!((scores[0] - want).abs() < want.abs() * 1e-3, "{} {want}", scores[0]);
            }
        }
    }
}
