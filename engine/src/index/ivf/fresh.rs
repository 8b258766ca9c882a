//! Codes of rows that are in no segment yet.
//!
//! In each of its lists a row has the signs that it would have in a segment, and they tell most rows apart: in blocks that are scanned where a
//! list has more than a few fresh rows, one by one where it has few. And it has one code of four bits per component, around the mean and not around a centroid, whatever lists it is in
//! and whatever those are coded by. That one tells distances to a hundredth or so: of the rows that pass a scan hardly more
//! than those that belong to the answer are measured.

use super::centroids::Probed;
use super::frame::Frame;
use super::search::QueryState;
use super::wave::list_terms;
use crate::kernel::code::extra::{Record, record_bytes, take_factors};
use crate::kernel::code::row::RowCoding;
use crate::kernel::code::scan::{ScanTerms, ScanTurn, Survivors};
use crate::kernel::{Kernels, Op, RECORDS, RECORDS_AHEAD};

/// Bits per component.
const BITS: usize = 4;
/// Codes are of use for vectors so many times as long: they take less memory to look at, and most vectors are then not looked at.
const WORTH: usize = 3;
/// Standard errors by which bounds are lower than estimates: a row is missed once in some million times that it matters.
const DEVIATIONS: f32 = 5.0;
/// What sums in floats may be off, as a part of what is added.
const ROUNDING: f32 = 1e-5;

/// Signs are of use for vectors so many times as long as the codes of a row in both of its lists.
const WORTH_SIGNS: usize = 2;
/// Standard errors by which the bounds of a scan of signs are lower than its estimates, at least: a row that is just near enough passes in 99 of
/// 100 cases, and nearer ones always.
const SCAN_DEVIATIONS: f32 = 2.5;

/// Whether the fresh rows of a model, that take so many bytes, have signs in their lists.
pub(crate) fn has_signs(frame: &Frame, vector_bytes: usize) -> bool {
    2 * WORTH_SIGNS * record_bytes(frame.padded(), 1) <= vector_bytes
}

/// A list that a search looks at for fresh rows.
pub(crate) struct FreshList<'a> {
    frame: &'a Frame,
    query: &'a QueryState,
    probed: Probed,
    table_error: f32,
}

impl<'a> FreshList<'a> {
    pub(super) fn new(frame: &'a Frame, query: &'a QueryState, probed: Probed, table_error: f32) -> FreshList<'a> {
        FreshList { frame, query, probed, table_error }
    }

    /// Its number.
    pub(crate) fn list(&self) -> u32 {
        self.probed.list
    }

    /// What is common to the estimates of its rows. Errors count the rounding of the query's table too: a fresh row has no other code to be
    /// found by.
    pub(crate) fn terms(&self) -> ScanTerms {
        list_terms(self.frame, self.query, &self.probed).with_rounding(self.table_error)
    }
}

/// The code of one bit of a row in a list.
#[derive(Clone, Copy)]
pub(crate) struct ListedCode<'a> {
    /// Number of the row.
    pub(crate) row: u32,
    /// What its list makes of estimates.
    pub(crate) terms: ScanTerms,
    /// The record, and more that is not looked at.
    pub(crate) record: &'a [u8],
}

/// Calls `visit` with rows and their bounds, as estimates, as [`scan_signs`] makes them.
pub(crate) fn bound_signs(
    kernels: &Kernels,
    frame: &Frame,
    query: &QueryState,
    codes: &[ListedCode<'_>],
    mut visit: impl FnMut(u32, f32),
) {
    let length = record_bytes(frame.padded(), 1);
    for codes in codes.chunks(RECORDS) {
        let mut records = [Record::default(); RECORDS];
        let mut estimates = [f32::NEG_INFINITY; RECORDS];
        let (records, estimates) = (&mut records[..codes.len()], &mut estimates[..codes.len()]);
        for (record, code) in records.iter_mut().zip(codes) {
            *record = Record { bytes: code.record.get(..length).unwrap_or_default(), base: code.terms.base, sum: 0 };
        }
        if records.iter().all(|record| record.bytes.len() == length) {
            kernels.estimate_signs(&query.tables, frame.op(), records, estimates);
        }
        for ((code, record), estimate) in codes.iter().zip(records).zip(estimates) {
            let error = code.terms.sign_error(take_factors(record.bytes).rescale) * SCAN_DEVIATIONS;
            let bound = *estimate - error;
            visit(code.row, if bound.is_finite() && bound > f32::MIN { bound } else { f32::NEG_INFINITY });
        }
    }
}

/// Gathers the entries of fresh lists whose bound is not above `limit`, a distance: their places tell the turn and the position.
pub(crate) fn scan_signs(
    kernels: &Kernels,
    frame: &Frame,
    query: &QueryState,
    turns: &[ScanTurn<'_>],
    limit: f32,
    out: &mut Survivors,
) {
    out.clear();
    kernels.scan_all(&query.tables, turns, SCAN_DEVIATIONS, frame.estimate_of(limit).next_up(), out);
}

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
    use crate::kernel::code::residual::{Coded, Coding};
    use crate::kernel::code::scan::SignList;
    use crate::kernel::code::sign_block::append_blocks;
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

    /// Bounds of rows as estimates by their codes in a list around `centroid`, in a block and one by one.
    fn sign_bounds(metric: Metric, rows: &[Vec<f32>], centroid: &[f32], query: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let kernels = kernels();
        let frame = Frame::new(metric, vec![0.01; query.len()], 5, 1.0);
        let length = |vector: &[f32]| dot(vector, vector).sqrt() as f32;
        let (mut inside, mut around, mut coded) = (Vec::new(), Vec::new(), Vec::new());
        frame.enter(kernels, centroid, length(centroid), &mut around);
        let coding = Coding { bits: 1, op: frame.op(), scale: frame.scale() };
        for row in rows {
            frame.enter(kernels, row, length(row), &mut inside);
            coded.push(Coded::default());
            kernels.encode(&coding, &inside, &around, 0.0, coded.last_mut().unwrap());
        }
        let mut state = QueryState::default();
        state.shift = frame.enter_query(kernels, query, length(query), &mut state.rotated);
        kernels.prepare_query(&state.rotated, &mut state.tables);
        let apart: Vec<f32> = state.rotated.iter().zip(&around).map(|(q, c)| q - c).collect();
        let rank = -state.rotated.iter().zip(&around).map(|(q, c)| q * c).sum::<f32>();
        let probed = Probed { list: 3, rank, reach: dot(&apart, &apart).sqrt() as f32 };
        let list = FreshList::new(&frame, &state, probed, state.tables.table_error());
        assert_eq!(list.list(), 3);
        let (mut signs, mut factors) = (Vec::new(), Vec::new());
        append_blocks(frame.padded(), &coded, &mut signs, &mut factors);
        let block = SignList { codes: &signs, factors: &factors, count: rows.len() };
        let mut survivors = Survivors::new();
        let turn = ScanTurn { list: block, terms: list.terms(), ahead: &[] };
        scan_signs(kernels, &frame, &state, &[turn], f32::INFINITY, &mut survivors);
        assert_eq!(survivors.positions(), (0..rows.len() as u32).collect::<Vec<_>>());
        let records: Vec<Vec<u8>> = coded
            .iter()
            .map(|coded| {
                let factors = [coded.factors.add.to_le_bytes(), coded.factors.rescale.to_le_bytes()];
                [&coded.signs[..], factors.as_flattened()].concat()
            })
            .collect();
        let code = |(row, record)| ListedCode { row, terms: list.terms(), record };
        let codes: Vec<ListedCode<'_>> = (0..).zip(records.iter().map(|record| &record[..])).map(code).collect();
        let mut alone = Vec::new();
        bound_signs(kernels, &frame, &state, &codes, |row, bound| {
            assert_eq!(row as usize, alone.len());
            alone.push(bound);
        });
        (survivors.bounds().to_vec(), alone)
    }

    #[test]
    fn signs_in_lists_bound_nearly_all_distances_in_blocks_and_one_by_one() {
        for (metric, dim) in [(Metric::L2, 384), (Metric::Cosine, 100), (Metric::InnerProduct, 257)] {
            let rows = draw(3_000, dim, 1.0, 3);
            let (query, centroid) = (&draw(1, dim, 1.0, 4)[0], &draw(1, dim, 0.8, 8)[0]);
            let (blocks, alone) = sign_bounds(metric, &rows, centroid, query);
            let frame = Frame::new(metric, vec![0.01; dim], 5, 1.0);
            let (mut above, mut far) = (0, 0);
            for ((row, block), alone) in rows.iter().zip(blocks).zip(alone) {
                let exact = frame.estimate_of(distance(metric, query, row) as f32);
                let scale = if metric == Metric::Cosine { 2.0 } else { dot(query, query) as f32 };
                assert!((block - alone).abs() < 0.03 * scale, "{metric:?}: {block} in a block, {alone} alone");
                above += usize::from(block > exact) + usize::from(alone > exact);
                far += usize::from(exact - alone > 0.6 * scale);
            }
            assert!(above < 2 * rows.len() / 50 && far < rows.len() / 20, "{metric:?}: {above} above, {far} far below");
        }
    }

    #[test]
    fn a_code_that_is_no_record_bounds_nothing() {
        let frame = Frame::new(Metric::L2, vec![0.0; 128], 5, 1.0);
        let mut state = QueryState::default();
        frame.enter_query(kernels(), &[1.0; 128], 1.0, &mut state.rotated);
        kernels().prepare_query(&state.rotated, &mut state.tables);
        let terms = terms_of(&frame, &state);
        let short = ListedCode { row: 1, terms, record: &[0; 23] };
        let wild = ListedCode { row: 2, terms, record: &[0xFF; 24] };
        let mut bounds = Vec::new();
        bound_signs(kernels(), &frame, &state, &[wild, short], |row, bound| bounds.push((row, bound)));
        assert_eq!(bounds, [(2, f32::NEG_INFINITY), (1, f32::NEG_INFINITY)]);
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
