//! The bits behind the sign, entry by entry: read for the entries that passed the scan.
//!
//! A record is the code bits followed by `F` and `fr` as f32, `P e / 8 + 8` bytes for `e` bits per component. The code bits
//! stand in runs of `8 e` bytes for 64 components each. A run is made of fields of 4, 2 and 1 bits as `e` needs them (7 bits: one
//! of each), the field with the upper bits first; a field of `w` bits takes `8 w` bytes, and byte `j` of it holds components
//! `j`, `j + 8 w`, `j + 16 w` and so on, the first in its lowest bits. The 1-bit field is an exception, so that it loads as a
//! mask: bit `i % 8` of byte `i / 8`. Eight bits, used by row codes only, are plain bytes.

use super::query::QueryTables;
use super::residual::{Coded, Factors};

/// Components per run.
pub const RUN: usize = 64;

/// Bytes of the code bits of one entry, `e` bits per component.
pub fn code_bytes(padded: usize, extra_bits: usize) -> usize {
    padded / 8 * extra_bits
}

/// Bytes of one record.
pub fn record_bytes(padded: usize, extra_bits: usize) -> usize {
    code_bytes(padded, extra_bits) + 8
}

/// Appends the code bits of `values` (below `2^extra_bits`; their number a multiple of 64).
pub fn append_code(values: &[u8], extra_bits: usize, out: &mut Vec<u8>) {
    for run in values.as_chunks::<RUN>().0 {
        if extra_bits == 8 {
            out.extend_from_slice(run);
            continue;
        }
        let mut rest = extra_bits;
        for width in [4, 2, 1] {
            if extra_bits & width != 0 {
                rest -= width;
                append_field(run, width, rest, out);
            }
        }
    }
}

/// Appends bits `shift .. shift + width` of the 64 values.
fn append_field(run: &[u8; RUN], width: usize, shift: usize, out: &mut Vec<u8>) {
    let bytes = 8 * width;
    let field = |i: usize| run[i] >> shift & ((1 << width) - 1);
    out.extend((0..bytes).map(|j| match width {
        1 => (0..8).fold(0, |byte, bit| byte | field(8 * j + bit) << bit),
        _ => (0..8 / width).fold(0, |byte, part| byte | field(j + part * bytes) << (part * width)),
    }));
}

/// Reads back the values [`append_code`] wrote.
#[inline(always)]
pub fn take_code(code: &[u8], extra_bits: usize, values: &mut [u8]) {
    let runs = code.chunks_exact(8 * extra_bits.max(1));
    for (bytes, run) in runs.zip(values.as_chunks_mut::<RUN>().0) {
        if extra_bits == 8 {
            run.copy_from_slice(bytes);
            continue;
        }
        run.fill(0);
        let (mut start, mut rest) = (0, extra_bits);
        for width in [4, 2, 1] {
            if extra_bits & width != 0 {
                rest -= width;
                let field = &bytes[start..start + 8 * width];
                start += 8 * width;
                for (i, value) in run.iter_mut().enumerate() {
                    *value |= field_value(field, width, i) << rest;
                }
            }
        }
    }
}

#[inline(always)]
fn field_value(field: &[u8], width: usize, i: usize) -> u8 {
    match width {
        1 => field[i / 8] >> (i % 8) & 1,
        _ => field[i % (8 * width)] >> (i / (8 * width) * width) & ((1 << width) - 1),
    }
}

/// Appends the record of `coded`, whose code has `extra_bits + 1` bits.
pub fn append_record(coded: &Coded, extra_bits: usize, out: &mut Vec<u8>) {
    append_code(&coded.extra, extra_bits, out);
    out.extend_from_slice(&coded.factors.add.to_le_bytes());
    out.extend_from_slice(&coded.factors.rescale.to_le_bytes());
}

/// The factors at the end of a record.
#[inline(always)]
pub fn take_factors(record: &[u8]) -> Factors {
    let Some((_, factors)) = record.split_last_chunk::<8>() else { return Factors::default() };
    let [a, b, c, d, e, f, g, h] = *factors;
    Factors { add: f32::from_le_bytes([a, b, c, d]), rescale: f32::from_le_bytes([e, f, g, h]) }
}

/// Records of one list.
#[derive(Clone, Copy)]
pub struct ExtraList<'a> {
    /// Records, [`record_bytes`] each, in the order of the entries.
    pub records: &'a [u8],
    /// Bits per component in the records, `1..=7`.
    pub extra_bits: usize,
}

/// The record of one entry, and what its estimate takes from elsewhere.
#[derive(Clone, Copy, Default)]
pub struct Record<'a> {
    /// Code bits and factors: [`record_bytes`], or more that are not looked at.
    pub bytes: &'a [u8],
    /// Added to the estimate: the base of the terms of its list.
    pub base: f32,
    /// Sum of the table bytes of its signs.
    pub sum: u32,
}

/// Whether the second plane of the query takes part: with more bits the error of the first alone would show.
pub(in crate::kernel) fn needs_low_plane(extra_bits: usize) -> bool {
    extra_bits > 4
}

/// The inner product of the query with `u - (2^bits - 1) / 2`, from the products of `u` with its planes.
#[inline(always)]
pub(in crate::kernel) fn further_product(query: &QueryTables, extra_bits: usize, high: i32, low: i32) -> f32 {
    let mean = (1_i64 << extra_bits) - 1;
    // Twice the product with u - mean / 2, in integers.
    let mut twice = 128 * (2 * i64::from(high) - mean * i64::from(query.high_sum));
    if needs_low_plane(extra_bits) {
        twice += 2 * i64::from(low) - mean * i64::from(query.low_sum);
    }
    twice as f32 * (0.5 * query.plane_unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::SplitMix64;

    #[test]
    fn values_of_any_width_come_back_and_take_their_bits_only() {
        let mut generator = SplitMix64::new(8);
        for bits in 1..=8 {
            let values: Vec<u8> = (0..192).map(|_| (generator.next_u64() & ((1 << bits) - 1)) as u8).collect();
            let mut code = Vec::new();
            append_code(&values, bits, &mut code);
            assert_eq!(code.len(), code_bytes(192, bits));
            let mut back = vec![0xFF; 192];
            take_code(&code, bits, &mut back);
            assert_eq!(back, values, "{bits} bits");
        }
    }
}
