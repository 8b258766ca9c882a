//! The arithmetic of clustering compiled for each instruction set.

use crate::kernel::cluster::coarse::{CoarseBlock, QUAD};
use crate::kernel::cluster::tile::Block;
use crate::kernel::dispatch::CpuPath;
use crate::kernel::lanes::LANES;

#[cfg(target_arch = "aarch64")]
use super::neon;
use super::{Kernels, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// The functions of one instruction set; see `kernel::cluster::tile`.
pub(super) struct ClusterTable {
    pub(super) scores: unsafe fn(Block<'_>, &mut [f32]),
    pub(super) coarse_scores: unsafe fn(CoarseBlock<'_>, &mut [f32]),
    pub(super) coarse_rows: unsafe fn(&[f32], usize, &mut [u8], &mut [f32]),
    pub(super) add_rows: unsafe fn(&[f32], &[u32], &mut [f64]),
    pub(super) best: unsafe fn(&[f32], usize, &mut [(f32, u32)]),
    pub(super) above: unsafe fn(&[f32], &[u32], usize, &mut Vec<(f32, u32)>),
    pub(super) norms: unsafe fn(&[f32], usize, &mut [f32]),
    pub(super) nearer: unsafe fn(&[f32], &[f32], &mut [f32]),
    pub(super) distances: unsafe fn(&[f32], &[f32], &[u32], &mut [f32]),
    pub(super) spill_terms: unsafe fn(&[f32], &[f32], &[f32], &[u32], &mut [(f32, f32)]),
}

/// Defines `TABLE` for the calling module: how it gets its lanes, rows and panels per tile, and attributes.
macro_rules! cluster_functions {
    ($lanes:expr, $rows:literal, $panels:literal; $($attribute:tt)*) => {
        use crate::kernel::cluster::{coarse, tile};

        pub(in crate::kernel::arch) static TABLE: crate::kernel::arch::cluster::ClusterTable =
            crate::kernel::arch::cluster::ClusterTable {
                scores, coarse_scores, coarse_rows, add_rows, best, above, norms, nearer, distances, spill_terms,
            };

        macro_rules! lanes {
            () => {{
                #[allow(unused_unsafe, reason = "plain lanes need no proof")]
                // SAFETY: the caller has the instructions of this path.
                let lanes = unsafe { $lanes };
                lanes
            }};
        }

        $($attribute)*
        unsafe fn scores(block: tile::Block<'_>, out: &mut [f32]) {
            tile::scores::<_, $rows, $panels>(lanes!(), block, out);
        }

        $($attribute)*
        unsafe fn coarse_scores(block: coarse::CoarseBlock<'_>, out: &mut [f32]) {
            coarse::coarse_scores::<_, $rows, $panels>(lanes!(), block, out);
        }

        $($attribute)*
        unsafe fn coarse_rows(rows: &[f32], dim: usize, bytes: &mut [u8], steps: &mut [f32]) {
            let rows = rows.chunks_exact(dim).zip(bytes.chunks_exact_mut(dim));
            for ((row, bytes), step) in rows.zip(steps) {
                *step = coarse::coarse_row(row, bytes);
            }
        }

        $($attribute)*
        unsafe fn add_rows(rows: &[f32], which: &[u32], sums: &mut [f64]) {
            tile::add_rows(rows, which, sums);
        }

        $($attribute)*
        unsafe fn best(scores: &[f32], width: usize, out: &mut [(f32, u32)]) {
            let lanes = lanes!();
            for (out, scores) in out.iter_mut().zip(scores.chunks_exact(width)) {
                let (score, place) = tile::best(lanes, scores);
                *out = (score, place as u32);
            }
        }

        $($attribute)*
        unsafe fn above(scores: &[f32], names: &[u32], most: usize, kept: &mut Vec<(f32, u32)>) {
            let bound = if kept.len() == most { kept[most - 1].0 } else { f32::NEG_INFINITY };
            tile::above(lanes!(), scores, bound, |score, place| {
                if kept.len() == most {
                    kept.pop();
                }
                let at = kept.iter().rposition(|(other, _)| *other >= score).map_or(0, |at| at + 1);
                kept.insert(at, (score, names[place]));
                if kept.len() == most { kept[most - 1].0 } else { f32::NEG_INFINITY }
            });
        }

        $($attribute)*
        unsafe fn norms(rows: &[f32], dim: usize, out: &mut [f32]) {
            let lanes = lanes!();
            for (out, row) in out.iter_mut().zip(rows.chunks_exact(dim)) {
                *out = tile::norm(lanes, row);
            }
        }

        $($attribute)*
        unsafe fn nearer(rows: &[f32], point: &[f32], out: &mut [f32]) {
            let lanes = lanes!();
            for (out, row) in out.iter_mut().zip(rows.chunks_exact(point.len())) {
                let distance = tile::squared(lanes, row, point);
                if distance < *out {
                    *out = distance;
                }
            }
        }

        $($attribute)*
        unsafe fn distances(point: &[f32], rows: &[f32], which: &[u32], out: &mut [f32]) {
            let lanes = lanes!();
            for (out, row) in out.iter_mut().zip(which) {
                *out = tile::squared(lanes, point, &rows[*row as usize * point.len()..][..point.len()]);
            }
        }

        $($attribute)*
        unsafe fn spill_terms(point: &[f32], residual: &[f32], rows: &[f32], which: &[u32], out: &mut [(f32, f32)]) {
            let lanes = lanes!();
            for (out, row) in out.iter_mut().zip(which) {
                let row = &rows[*row as usize * point.len()..][..point.len()];
                *out = tile::spill_terms(lanes, point, row, residual);
            }
        }
    };
}
pub(super) use cluster_functions;

impl Kernels {
    fn cluster(&self) -> &'static ClusterTable {
        match self.path() {
            #[cfg(target_arch = "aarch64")]
            CpuPath::Neon => &neon::cluster::TABLE,
            #[cfg(target_arch = "x86_64")]
            CpuPath::Avx2 => &avx2::cluster::TABLE,
            #[cfg(target_arch = "x86_64")]
            CpuPath::Avx512 => &avx512::cluster::TABLE,
            _ => &scalar::cluster::TABLE,
        }
    }

    /// Scores of `out.len() / width` rows against all panels, where a row of scores has `width = 16 * panels` places.
    ///
    /// # Panics
    /// If rows, panels and places do not fit together.
    pub(in crate::kernel) fn scores(&self, block: Block<'_>, out: &mut [f32]) {
        let width = block.start.len() * LANES;
        if out.is_empty() || width == 0 {
            return;
        }
        assert!(out.len().is_multiple_of(width), "places for whole rows of scores");
        assert_eq!(Some(block.panels.len()), block.dim.checked_mul(block.start.len()), "lines of all panels");
        assert_eq!(Some(block.rows.len()), (out.len() / width).checked_mul(block.dim), "rows for all places");
        // SAFETY: the path is available; the function takes slices and checks what it reads.
        unsafe { (self.cluster().scores)(block, out) }
    }

    /// The same by bytes, about; see `kernel::cluster::coarse`.
    ///
    /// # Panics
    /// If rows, panels and places do not fit together, or a row is not there.
    pub(in crate::kernel) fn coarse_scores(&self, block: CoarseBlock<'_>, out: &mut [f32]) {
        let (rows, panels) = (block.which.len(), block.terms.len());
        if rows == 0 || panels == 0 {
            return;
        }
        assert!(block.dim.is_multiple_of(QUAD), "whole lines");
        assert_eq!(Some(out.len()), panels.checked_mul(LANES).and_then(|width| width.checked_mul(rows)), "places");
        assert_eq!(Some(block.lines.len()), (block.dim / QUAD).checked_mul(panels), "lines of all panels");
        // SAFETY: the path is available; the function takes slices and checks what it reads.
        unsafe { (self.cluster().coarse_scores)(block, out) }
    }

    /// Rows of `dim` components in bytes, and the step of each; see `kernel::cluster::coarse`.
    pub(in crate::kernel) fn coarse_rows(&self, rows: &[f32], dim: usize, bytes: &mut [u8], steps: &mut [f32]) {
        if dim > 0 {
            // SAFETY: the path is available; the function takes slices and checks what it reads.
            unsafe { (self.cluster().coarse_rows)(rows, dim, bytes, steps) }
        }
    }

    /// Adds the rows named by `which`, one after the other, to sums of their components.
    pub(in crate::kernel) fn add_rows(&self, rows: &[f32], which: &[u32], sums: &mut [f64]) {
        // SAFETY: the path is available; the function takes slices and checks what it reads.
        unsafe { (self.cluster().add_rows)(rows, which, sums) }
    }

    /// The best of each row of `width` scores, the first of equals, with its place.
    pub(in crate::kernel) fn best(&self, scores: &[f32], width: usize, out: &mut [(f32, u32)]) {
        if width > 0 {
            // SAFETY: the path is available; the function takes slices and checks what it reads.
            unsafe { (self.cluster().best)(scores, width, out) }
        }
    }

    /// Keeps the `most` best of those kept so far and of one row of scores, best first; of equals the one that came first.
    /// Places are given by name; scores past the names must be negative infinity, which is never kept.
    pub(in crate::kernel) fn keep_best(&self, scores: &[f32], names: &[u32], most: usize, kept: &mut Vec<(f32, u32)>) {
        if most > 0 {
            kept.truncate(most);
            // SAFETY: the path is available; the function takes slices and checks what it reads.
            unsafe { (self.cluster().above)(scores, names, most, kept) }
        }
    }

    /// Squared lengths of rows of `dim` components, a multiple of sixteen; in one order of addition on every path.
    pub(in crate::kernel) fn norms(&self, rows: &[f32], dim: usize, out: &mut [f32]) {
        if dim > 0 {
            // SAFETY: the path is available; the function takes slices and checks what it reads.
            unsafe { (self.cluster().norms)(rows, dim, out) }
        }
    }

    /// Lowers each of `out` to the squared distance between its row and `point`, if that is smaller.
    pub(in crate::kernel) fn nearer(&self, rows: &[f32], point: &[f32], out: &mut [f32]) {
        if !point.is_empty() {
            // SAFETY: the path is available; the function takes slices and checks what it reads.
            unsafe { (self.cluster().nearer)(rows, point, out) }
        }
    }

    /// Squared distances from `point` to the rows named by `which`.
    pub(in crate::kernel) fn distances_to(&self, point: &[f32], rows: &[f32], which: &[u32], out: &mut [f32]) {
        // SAFETY: the path is available; the function takes slices and checks what it reads.
        unsafe { (self.cluster().distances)(point, rows, which, out) }
    }

    /// For the rows `c` named by `which`: `|x - c|^2` and `(x - c).r`.
    pub(in crate::kernel) fn spill_terms(
        &self,
        point: &[f32],
        residual: &[f32],
        rows: &[f32],
        which: &[u32],
        out: &mut [(f32, f32)],
    ) {
        // SAFETY: the path is available; the function takes slices and checks what it reads.
        unsafe { (self.cluster().spill_terms)(point, residual, rows, which, out) }
    }
}
