//! Codes of rows that are in no segment yet.
//!
//! A list has a handful of fresh rows, so blocks of 32 entries for each would be mostly empty, and as many bytes would be read as a code of
//! eight bits per component has. So a fresh row gets one code of half of that, around the mean and not around a centroid, whatever lists it
//! is in and whatever those are coded by. It tells distances to a hundredth or so: of the rows of the probed lists hardly more than those
//! that belong to the answer are measured.

use super::frame::Frame;
use super::search::QueryState;
use crate::kernel::code::extra::take_factors;
use crate::kernel::code::row::RowCoding;
use crate::kernel::code::scan::ScanTerms;
use crate::kernel::{Kernels, Op, RECORDS, RECORDS_AHEAD};

/// Bits per component.
const BITS: usize = 4;
/// Codes are of use for vectors so many times as long: they take less memory to look at, and most vectors are then not looked at.
const WORTH: usize = 3;
/// Standard errors by which bounds are lower than estimates: a row is missed once in some million times that it matters.
const DEVIATIONS: f32 = 5.0;
/// What sums in floats may be off, as a part of what is added.
const ROUNDING: f32 = 1e-5;

/// How the fresh rows of a model are coded.
#[derive(Clone, Copy)]
pub(crate) struct RowCodes {
    coding: RowCoding,
    stride: usize,
}

impl RowCodes {
    /// The codes of rows that take so many bytes; `None` if measuring them costs little more than looking at codes.
    pub(crate) fn of(frame: &Frame, vector_bytes: usize) -> Option<RowCodes> {
        let coding = RowCoding { bits: BITS, op: frame.op() };
        let stride = coding.record_bytes(frame.padded());
        (stride.saturating_mul(WORTH) <= vector_bytes).then_some(RowCodes { coding, stride })
    }

    /// Bytes of a code.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Appends the code of a row that is in the frame; `values` is room for it.
    pub(crate) fn append(&self, kernels: &Kernels, inside: &[f32], values: &mut Vec<u8>, out: &mut Vec<u8>) {
        kernels.encode_row_code(&self.coding, inside, 0.0, values, out);
    }

    /// Calls `visit` with each row and a lower bound of its distance, in the unit of the metric. `code` tells the code of a row; a row whose
    /// code is not as long as it should be may be anywhere.
    pub(crate) fn bounds<'c>(
        &self,
        kernels: &Kernels,
        frame: &Frame,
        query: &QueryState,
        rows: &[u32],
        code: impl Fn(u32) -> &'c [u8],
        mut visit: impl FnMut(u32, f32),
    ) {
        let terms = terms_of(frame, query);
        let off = ROUNDING * terms.base.abs();
        let per_rescale = DEVIATIONS * self.coding.sigma(&terms, 1.0);
        rows.iter().take(RECORDS * RECORDS_AHEAD).for_each(|row| kernels.prefetch(code(*row)));
        let mut ahead = rows.chunks(RECORDS).skip(RECORDS_AHEAD);
        for rows in rows.chunks(RECORDS) {
            ahead.next().unwrap_or_default().iter().for_each(|row| kernels.prefetch(code(*row)));
            let mut records: [&[u8]; RECORDS] = [&[]; RECORDS];
            records.iter_mut().zip(rows).for_each(|(record, row)| *record = code(*row));
            let records = &records[..rows.len()];
            if records.iter().any(|record| record.len() != self.stride) {
                rows.iter().for_each(|row| visit(*row, f32::NEG_INFINITY));
                continue;
            }
            let mut estimates = [0.0; RECORDS];
            let estimates = &mut estimates[..rows.len()];
            kernels.estimate_row_records(&query.tables, &self.coding, &terms, records, estimates);
            for ((row, record), estimate) in rows.iter().zip(records).zip(estimates) {
                let factors = take_factors(record);
                let error = per_rescale * factors.rescale + off + ROUNDING * (factors.add.abs() + estimate.abs());
                let lowest = frame.distance_of(*estimate - error);
                // Numbers near the end of what a float holds tell nothing.
                visit(*row, if estimate.is_finite() && error.is_finite() { lowest } else { f32::NEG_INFINITY });
            }
        }
    }
}

/// What is common to the estimates of all rows.
fn terms_of(frame: &Frame, query: &QueryState) -> ScanTerms {
    let square = query.tables.norm_squared();
    let op = frame.op();
    let base = if op == Op::L2 { square } else { query.shift };
    ScanTerms { op, base, reach: square.sqrt(), scale: 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{SplitMix64, kernels};
    use crate::metric::Metric;

    fn draw(count: usize, dim: usize, scale: f32, seed: u64) -> Vec<Vec<f32>> {
        let mut draw = SplitMix64::new(seed);
        let mut component = || ((draw.next_u64() >> 40) as f32 / 8_388_608.0 - 0.7) * scale;
        (0..count).map(|_| (0..dim).map(|_| component()).collect()).collect()
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    fn distance(metric: Metric, query: &[f32], row: &[f32]) -> f64 {
        match metric {
            Metric::Cosine => 1.0 - dot(query, row) / (dot(query, query) * dot(row, row)).sqrt(),
            Metric::InnerProduct => -dot(query, row),
            _ => dot(query, query) + dot(row, row) - 2.0 * dot(query, row),
        }
    }

    /// Bounds of rows, and the distances they are of.
    fn bounds(metric: Metric, rows: &[Vec<f32>], query: &[f32]) -> Vec<(f32, f64)> {
        let kernels = kernels();
        let frame = Frame::new(metric, vec![0.01; query.len()], 5, 1.0);
        let length = |vector: &[f32]| dot(vector, vector).sqrt() as f32;
        let coder = RowCodes::of(&frame, 4 * query.len()).unwrap();
        let (mut inside, mut values, mut codes, mut out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            frame.enter(kernels, row, length(row), &mut inside);
            coder.append(kernels, &inside, &mut values, &mut codes);
        }
        let mut state = QueryState::default();
        state.shift = frame.enter_query(kernels, query, length(query), &mut state.rotated);
        kernels.prepare_query(&state.rotated, &mut state.tables);
        let numbers: Vec<u32> = (0..rows.len() as u32).rev().collect();
        let code = |row: u32| &codes[row as usize * coder.stride()..][..coder.stride()];
        coder.bounds(kernels, &frame, &state, &numbers, code, |row, bound| {
            out.push((bound, distance(metric, query, &rows[row as usize])));
        });
        assert_eq!(out.len(), rows.len(), "a bound for each row");
        out
    }

    #[test]
    fn bounds_lie_below_distances_and_near_them() {
        for (metric, dim) in [(Metric::L2, 384), (Metric::Cosine, 100), (Metric::InnerProduct, 257)] {
            let rows = draw(3_000, dim, 1.0, 3);
            let query = &draw(1, dim, 1.0, 4)[0];
            for (bound, exact) in bounds(metric, &rows, query) {
                let scale = if metric == Metric::Cosine { 1.0 } else { dot(query, query) };
                assert!(f64::from(bound) <= exact, "{metric:?}: {bound} above {exact}");
                assert!(exact - f64::from(bound) < 0.1 * scale, "{metric:?}: {bound} far below {exact}");
            }
        }
    }

    #[test]
    fn a_row_that_is_the_query_and_rows_too_large_to_tell_are_never_bounded_away() {
        for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
            for scale in [1.0, 1e-12, 1e12, 3e19] {
                let rows = draw(40, 128, scale, 9);
                for (bound, exact) in bounds(metric, &rows, &rows[7]) {
                    assert!(
                        f64::from(bound) <= exact.max(0.0) || exact.is_nan(),
                        "{metric:?} {scale}: {bound} {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn short_vectors_have_no_codes() {
        let frame = |dim: usize| Frame::new(Metric::L2, vec![0.0; dim], 5, 1.0);
        assert!(RowCodes::of(&frame(24), 96).is_none() && RowCodes::of(&frame(384), 388).is_none());
        for bytes in [1536, 768] {
            assert!(RowCodes::of(&frame(384), bytes).is_some_and(|codes| codes.stride() == 200));
        }
    }
}
