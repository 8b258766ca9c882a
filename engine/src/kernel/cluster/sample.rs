//! The rows centroids are trained on, in memory.

use crate::error::{Error, Result};
use crate::kernel::SplitMix64;

use super::frame::{Frame, width};
use super::parallel::ranges;
use super::points::Points;
use super::watch::{Stage, Work};

/// Rows per part of the work.
pub(super) const PART_ROWS: usize = 1024;

/// Rows in a frame, end to end, with their squared lengths.
pub(super) struct Matrix {
    pub(super) width: usize,
    pub(super) rows: Vec<f32>,
    pub(super) norms: Vec<f32>,
}

impl Matrix {
    /// Rows of `width` components, a multiple of the lanes.
    pub(super) fn new(work: &Work<'_>, rows: Vec<f32>, width: usize) -> Self {
        let mut norms = vec![0.0; rows.len() / width];
        work.kernels.norms(&rows, width, &mut norms);
        Matrix { width, rows, norms }
    }

    pub(super) fn count(&self) -> usize {
        self.norms.len()
    }

    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.rows[row * self.width..][..self.width]
    }

    /// Copies some rows to `out`, end to end.
    pub(super) fn gather(&self, which: &[u32], out: &mut Vec<f32>) {
        out.clear();
        for row in which {
            out.extend_from_slice(self.row(*row as usize));
        }
    }
}

/// `count` row numbers of `0..total`, ascending: one from each of `count` stretches of equal length.
pub(super) fn spread(total: usize, count: usize, range: std::ops::Range<usize>, seed: u64) -> Vec<usize> {
    let mut draw = SplitMix64::new(seed ^ (range.start as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let edge = |i: usize| (i as u128 * total as u128 / count as u128) as usize;
    range
        .map(|i| {
            let (from, to) = (edge(i), edge(i + 1));
            from + (draw.next_u64() % (to - from).max(1) as u64) as usize
        })
        .collect()
}

/// Reads rows, given by ascending numbers, to `out`, `width` places apart; runs of neighbours in one call.
pub(super) fn read_rows(points: &dyn Points, numbers: &[usize], width: usize, out: &mut [f32]) -> Result<()> {
    let dim = points.dim();
    let mut buffer = Vec::new();
    let mut out = out.chunks_exact_mut(width);
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        buffer.resize(run.len() * dim, 0.0);
        points.read(run[0], &mut buffer)?;
        for (row, out) in buffer.chunks_exact(dim).zip(&mut out) {
            out[..dim].copy_from_slice(row);
        }
    }
    Ok(())
}

/// Draws `count` rows and puts them into the frame of their mean.
pub(super) fn draw(work: &Work<'_>, points: &dyn Points, count: usize, seed: u64) -> Result<(Frame, Matrix)> {
    let (dim, total) = (points.dim(), points.count());
    let width = width(dim);
    let mut rows = vec![0.0; count * width];
    let mut sums: Vec<Vec<f64>> = ranges(count, PART_ROWS).map(|_| vec![0.0; dim]).collect();
    let parts = ranges(count, PART_ROWS).zip(rows.chunks_mut(PART_ROWS * width)).zip(&mut sums).collect();
    work.each(Stage::Sample, parts, |_, ((range, rows), sums)| {
        read_rows(points, &spread(total, count, range, seed), width, rows)?;
        for row in rows.chunks_exact(width) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        Ok(())
    })?;
    let frame = frame_around(work, mean_of(&sums, count), &rows, width)?;
    let parts = rows.chunks_mut(PART_ROWS * width).collect();
    work.each(Stage::Sample, parts, |_, rows: &mut [f32]| {
        rows.chunks_exact_mut(width).for_each(|row| frame.enter_in_place(row));
        Ok(())
    })?;
    Ok((frame, Matrix::new(work, rows, width)))
}

fn mean_of(sums: &[Vec<f64>], count: usize) -> Vec<f32> {
    let mut total = vec![0.0; sums.first().map_or(0, Vec::len)];
    for sums in sums {
        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    total.iter().map(|sum| (sum / count as f64) as f32).collect()
}

/// The frame of rows, padded to `width`, around an offset.
pub(super) fn frame_around(work: &Work<'_>, offset: Vec<f32>, rows: &[f32], width: usize) -> Result<Frame> {
    let mut reaches = vec![0.0; rows.len().div_ceil(PART_ROWS * width)];
    let parts = rows.chunks(PART_ROWS * width).zip(&mut reaches).collect();
    work.each(Stage::Sample, parts, |_, (rows, reach): (&[f32], &mut f64)| {
        for row in rows.chunks_exact(width) {
            // Without a way out in the middle: several components are looked at once.
            let mut finite = true;
            for (x, offset) in row.iter().zip(&offset) {
                let distance = (f64::from(*x) - f64::from(*offset)).abs();
                finite &= distance.is_finite();
                *reach = if distance > *reach { distance } else { *reach };
            }
            if !finite {
                return Err(Error::argument("points", "must have finite components"));
            }
        }
        Ok(())
    })?;
    Ok(Frame::new(offset, reaches.into_iter().fold(0.0, f64::max)))
}
