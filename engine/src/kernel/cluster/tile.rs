//! The arithmetic of clustering, written once against sixteen lanes: scores of many rows against many centroids, the best of a
//! row of scores, and sums over a pair of rows.
//!
//! The score of row `x` and centroid `c` is `x.c - |c|^2 / 2`, which orders centroids as `|x - c|^2` does, largest first. It is
//! **one chain** of fused multiply-adds over the components in their order, started at `-|c|^2 / 2`: centroids lie side by side
//! in the lanes (see [`Panels`](super::panels::Panels)), so that the chain is the same for every register width, every blocking
//! and plain Rust. Nothing is ever added across lanes. That makes assignments, and so centroids, equal bit for bit everywhere.

use crate::kernel::lanes::{LANES, Lanes, sum1, sum2};

/// Lanes with a fused multiply-add.
pub(in crate::kernel) trait Fused: Lanes {
    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
}

impl Fused for crate::kernel::lanes::Plain {
    #[inline(always)]
    fn mul_add(self, a: [f32; LANES], b: [f32; LANES], c: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }
}

/// What [`scores`] reads: rows of `dim` components end to end, and panels of sixteen centroids, component after component.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Block<'a> {
    pub rows: &'a [f32],
    pub dim: usize,
    /// `dim` lines of sixteen numbers for each panel.
    pub panels: &'a [[f32; LANES]],
    /// Where the chains of each panel start.
    pub start: &'a [[f32; LANES]],
}

/// Scores of every row against every centroid of every panel, row after row. Computes `R` rows by `V` panels at a time, whose
/// sums stay in registers. The caller has checked the lengths.
#[inline(always)]
pub(in crate::kernel) fn scores<L: Fused, const R: usize, const V: usize>(lanes: L, block: Block<'_>, out: &mut [f32]) {
    let dim = block.dim;
    let width = block.start.len() * LANES;
    let mut panel = 0;
    while panel < block.start.len() {
        let wide = panel + V <= block.start.len();
        let mut row = 0;
        while (row + 1) * width <= out.len() {
            let tall = (row + R) * width <= out.len();
            let out = &mut out[row * width + panel * LANES..];
            let rows = &block.rows[row * dim..];
            let panels = &block.panels[panel * dim..];
            let start = &block.start[panel..];
            match (tall, wide) {
                (true, true) => tile::<L, R, V>(lanes, rows, dim, panels, start, out, width),
                (true, false) => tile::<L, R, 1>(lanes, rows, dim, panels, start, out, width),
                (false, true) => tile::<L, 1, V>(lanes, rows, dim, panels, start, out, width),
                (false, false) => tile::<L, 1, 1>(lanes, rows, dim, panels, start, out, width),
            }
            row += if tall { R } else { 1 };
        }
        panel += if wide { V } else { 1 };
    }
}

#[inline(always)]
fn tile<L: Fused, const R: usize, const V: usize>(
    lanes: L,
    rows: &[f32],
    dim: usize,
    panels: &[[f32; LANES]],
    start: &[[f32; LANES]],
    out: &mut [f32],
    width: usize,
) {
    let mut row = [&rows[..0]; R];
    for (r, row) in row.iter_mut().enumerate() {
        *row = &rows[r * dim..][..dim];
    }
    let mut panel = [&panels[..0]; V];
    for (v, panel) in panel.iter_mut().enumerate() {
        *panel = &panels[v * dim..][..dim];
    }
    let mut sums = [[lanes.splat(0.0); V]; R];
    for sums in &mut sums {
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = lanes.load(&start[v]);
        }
    }
    for i in 0..dim {
        let mut c = [lanes.splat(0.0); V];
        for (v, c) in c.iter_mut().enumerate() {
            *c = lanes.load(&panel[v][i]);
        }
        for r in 0..R {
            let x = lanes.splat(row[r][i]);
            for v in 0..V {
                sums[r][v] = lanes.mul_add(x, c[v], sums[r][v]);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        let out = &mut out[r * width..][..V * LANES];
        for (to, sum) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
            lanes.store(*sum, to);
        }
    }
}

/// The largest of some scores and its place, the first of equals. Negative infinity at place 0 if there is no number above it.
#[inline(always)]
pub(in crate::kernel) fn best<L: Fused>(lanes: L, scores: &[f32]) -> (f32, usize) {
    let chunks = scores.as_chunks::<LANES>().0;
    let mut top = lanes.splat(f32::NEG_INFINITY);
    for chunk in chunks {
        top = lanes.max(lanes.load(chunk), top);
    }
    let mut tops = [0.0; LANES];
    lanes.store(top, &mut tops);
    let most = tops.into_iter().fold(f32::NEG_INFINITY, |most, x| if x > most { x } else { most });
    let bound = lanes.splat(most);
    for (i, chunk) in chunks.iter().enumerate() {
        let bits = lanes.bits(lanes.at_most(bound, lanes.load(chunk)));
        if bits != 0 {
            return (most, i * LANES + bits.trailing_zeros() as usize);
        }
    }
    (f32::NEG_INFINITY, 0)
}

/// Calls `keep` with every score above the bound it returned last (at first `bound`), in order of place.
#[inline(always)]
pub(in crate::kernel) fn above<L: Fused>(
    lanes: L,
    scores: &[f32],
    mut bound: f32,
    mut keep: impl FnMut(f32, usize) -> f32,
) {
    for (i, chunk) in scores.as_chunks::<LANES>().0.iter().enumerate() {
        let mut bits = lanes.bits(lanes.at_most(lanes.splat(bound), lanes.load(chunk)));
        while bits != 0 {
            let lane = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            if chunk[lane] > bound {
                bound = keep(chunk[lane], i * LANES + lane);
            }
        }
    }
}

/// Adds some rows, as long as there are sums, to the sums: one after the other, four at a time.
#[inline(always)]
pub(in crate::kernel) fn add_rows(rows: &[f32], which: &[u32], sums: &mut [f64]) {
    let dim = sums.len();
    let row = |number: u32| &rows[number as usize * dim..][..dim];
    let (fours, rest) = which.as_chunks::<4>();
    for four in fours {
        let [a, b, c, d] = four.map(row);
        for (((sum, a), b), (c, d)) in sums.iter_mut().zip(a).zip(b).zip(c.iter().zip(d)) {
            *sum = *sum + f64::from(*a) + f64::from(*b) + f64::from(*c) + f64::from(*d);
        }
    }
    for number in rest {
        sums.iter_mut().zip(row(*number)).for_each(|(sum, x)| *sum += f64::from(*x));
    }
}

/// `|a|^2` of a row whose length is a multiple of sixteen.
#[inline(always)]
pub(in crate::kernel) fn norm<L: Fused>(lanes: L, a: &[f32]) -> f32 {
    sum1(lanes, a, |a| lanes.mul(a, a))
}

/// `|a - b|^2` of rows whose length is a multiple of sixteen.
#[inline(always)]
pub(in crate::kernel) fn squared<L: Fused>(lanes: L, a: &[f32], b: &[f32]) -> f32 {
    sum2(lanes, a, b, |a, b| {
        let difference = lanes.sub(a, b);
        lanes.mul(difference, difference)
    })
}

/// `|x - c|^2` and `(x - c).r`.
#[inline(always)]
pub(in crate::kernel) fn spill_terms<L: Fused>(lanes: L, x: &[f32], c: &[f32], r: &[f32]) -> (f32, f32) {
    let (mut length, mut along) = (lanes.splat(0.0), lanes.splat(0.0));
    let rows = x.as_chunks::<LANES>().0.iter().zip(c.as_chunks::<LANES>().0).zip(r.as_chunks::<LANES>().0);
    for ((x, c), r) in rows {
        let difference = lanes.sub(lanes.load(x), lanes.load(c));
        length = lanes.add(length, lanes.mul(difference, difference));
        along = lanes.add(along, lanes.mul(difference, lanes.load(r)));
    }
    (lanes.fold(length), lanes.fold(along))
}
