//! Codes of whole rows, not of residuals: 8 bits (the row format I8) or 4, scored where a row would be.
//!
//! A record is that of the second stage (`extra`) with all bits in one place and no list: `P B / 8` bytes of code, `F` and `fr`
//! as f32. `F` is `|o|^2` for L2 and the negated part of the inner product that centring took away otherwise; with `base` =
//! `|q|^2` or `-<q, mean>` and `reach` = `|q|` the estimate and its error have the common form. Four bits use the best of eight
//! steps; for eight bits the step that just covers the largest component is as good.

use super::super::distance::Op;
use super::super::lanes::{LANES, Lanes, sum1};
use super::extra::{append_code, record_bytes};
use super::residual::{best_step, gain, quantise};
use super::scan::ScanTerms;

/// Standard error of an 8-bit estimate in units of `fr * |q|`: a uniform error of one step.
const SIGMA_8: f32 = 0.288_675;

/// How rows are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowCoding {
    /// Bits per component, 4 or 8.
    pub bits: usize,
    /// Which sum the distance is made of: [`Op::L2`] also for cosine, on unit vectors.
    pub op: Op,
}

impl RowCoding {
    /// Bytes of one record of `padded` components.
    pub fn record_bytes(&self, padded: usize) -> usize {
        record_bytes(padded, self.bits)
    }

    /// Standard error of an estimate of an entry with factor `rescale`.
    pub fn sigma(&self, terms: &ScanTerms, rescale: f32) -> f32 {
        let unit = if self.bits == 8 { SIGMA_8 } else { super::SIGMA[self.bits] };
        gain(self.op) * rescale * (unit * terms.reach)
    }
}

/// Appends the record of `vector` to `out`; `values` is scratch space of the same length. `offset` as in
/// [`Kernels::encode`](crate::kernel::Kernels::encode).
#[inline(always)]
pub(in crate::kernel) fn encode<L: Lanes>(
    lanes: L,
    coding: &RowCoding,
    vector: &[f32],
    offset: f32,
    values: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    let energy = sum1(lanes, vector, |x| lanes.mul(x, x));
    values.clear();
    values.resize(vector.len(), 0);
    let mut rescale = 0.0;
    if energy >= f32::MIN_POSITIVE && energy.is_finite() {
        let step = match coding.bits {
            8 => largest(lanes, vector) / 127.5,
            bits => best_step(lanes, vector, energy, bits),
        };
        let (inner, _) = quantise(lanes, vector, vector, coding.bits, step, values);
        rescale = energy / inner;
    }
    // The sign becomes the top bit.
    let top = 1 << (coding.bits - 1);
    for (value, x) in values.iter_mut().zip(vector) {
        *value |= if *x >= 0.0 { top } else { 0 };
    }
    append_code(values, coding.bits, out);
    let add = match coding.op {
        Op::L2 => energy,
        Op::Dot => -offset,
    };
    out.extend_from_slice(&add.to_le_bytes());
    out.extend_from_slice(&rescale.to_le_bytes());
}

/// Largest magnitude of a component.
#[inline(always)]
fn largest<L: Lanes>(lanes: L, vector: &[f32]) -> f32 {
    let mut all = lanes.splat(0.0);
    for x in vector.as_chunks::<LANES>().0 {
        all = lanes.max(lanes.abs(lanes.load(x)), all);
    }
    let mut sixteen = [0.0; LANES];
    lanes.store(all, &mut sixteen);
    sixteen.into_iter().fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::code::query::QueryTables;
    use crate::kernel::code::tests::{dot, every_path, squared, vectors};

    const CODINGS: [RowCoding; 4] = [
        RowCoding { bits: 4, op: Op::L2 },
        RowCoding { bits: 8, op: Op::L2 },
        RowCoding { bits: 4, op: Op::Dot },
        RowCoding { bits: 8, op: Op::Dot },
    ];

    fn terms(op: Op, query: &[f32]) -> ScanTerms {
        let norm = dot(query, query);
        let base = if op == Op::L2 { norm } else { 0.0 };
        ScanTerms { op, base: base as f32, reach: norm.sqrt() as f32, scale: 1.0 }
    }

    /// Records and estimates of `rows` on one path.
    fn run(
        kernels: &crate::kernel::Kernels,
        coding: &RowCoding,
        rows: &[Vec<f32>],
        query: &[f32],
    ) -> (Vec<u8>, Vec<f32>) {
        let (mut values, mut records) = (Vec::new(), Vec::new());
        rows.iter().for_each(|row| kernels.encode_row_code(coding, row, 0.75, &mut values, &mut records));
        let offsets: Vec<usize> = (0..rows.len()).map(|i| i * coding.record_bytes(query.len())).collect();
        let mut tables = QueryTables::new();
        kernels.prepare_query(query, &mut tables);
        let mut out = vec![0.0; rows.len()];
        kernels.estimate_row_codes(&tables, coding, &terms(coding.op, query), &records, &offsets, &mut out);
        // The same from records that are told one by one.
        let each: Vec<&[u8]> = records.chunks_exact(coding.record_bytes(query.len())).collect();
        for (each, out) in each.chunks(crate::kernel::RECORDS).zip(out.chunks(crate::kernel::RECORDS)) {
            let mut alone = vec![f32::NAN; each.len()];
            kernels.estimate_row_records(&tables, coding, &terms(coding.op, query), each, &mut alone);
            assert!(alone.iter().zip(out).all(|(a, b)| a.to_bits() == b.to_bits()), "{:?}", kernels.path());
        }
        (records, out)
    }

    #[test]
    fn every_path_codes_and_scores_rows_alike() {
        for padded in [64, 192, 384] {
            let mut rows = vectors(20, padded, 3);
            rows.extend([vec![0.0; padded], vec![1.0; padded], vec![1.0e-41; padded], vec![1.0e15; padded]]);
            for coding in &CODINGS {
                let expected = run(crate::kernel::Kernels::scalar(), coding, &rows[1..], &rows[0]);
                for kernels in every_path() {
                    let got = run(kernels, coding, &rows[1..], &rows[0]);
                    assert_eq!(got.0, expected.0, "{:?} {coding:?}", kernels.path());
                    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&got.1), bits(&expected.1), "{:?} {coding:?}", kernels.path());
                }
            }
        }
    }

    #[test]
    fn errors_of_row_codes_are_as_large_as_sigma_says() {
        for coding in &CODINGS {
            for padded in [128, 768] {
                let (mut sum, mut square, mut n) = (0.0, 0.0, 0.0);
                for seed in 0..40 {
                    let rows = vectors(61, padded, seed);
                    let (records, estimates) = run(crate::kernel::kernels(), coding, &rows[1..], &rows[0]);
                    let terms = terms(coding.op, &rows[0]);
                    let parts = records.chunks_exact(coding.record_bytes(padded)).zip(estimates);
                    for (row, (record, estimate)) in rows[1..].iter().zip(parts) {
                        let exact = match coding.op {
                            Op::L2 => squared(&rows[0], row),
                            Op::Dot => -(dot(&rows[0], row) + 0.75),
                        };
                        let sigma = coding.sigma(&terms, super::super::extra::take_factors(record).rescale);
                        let z = (f64::from(estimate) - exact) / f64::from(sigma);
                        (sum, square, n) = (sum + z, square + z * z, n + 1.0);
                    }
                }
                let deviation = (square / n - (sum / n) * (sum / n)).sqrt();
                assert!((sum / n).abs() < 0.08, "{coding:?} {padded}: mean {}", sum / n);
                assert!((0.93..1.07).contains(&deviation), "{coding:?} {padded}: deviation {deviation}");
            }
        }
    }

    #[test]
    fn eight_bits_tell_distances_to_a_thousandth() {
        let rows = vectors(50, 128, 9);
        let (_, estimates) = run(crate::kernel::kernels(), &CODINGS[1], &rows[1..], &rows[0]);
        for (row, estimate) in rows[1..].iter().zip(estimates) {
            let exact = squared(&rows[0], row);
            assert!((f64::from(estimate) / exact - 1.0).abs() < 8e-3, "{estimate} instead of {exact}");
        }
    }
}
