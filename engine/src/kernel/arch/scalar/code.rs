//! Codes in plain Rust.

use crate::kernel::code::extra::{needs_low_plane, take_code};
use crate::kernel::code::product::column_sums;
use crate::kernel::code::query::QueryTables;
use crate::kernel::code::scan::{Line, SignList, Survivors, block_sums};
use crate::kernel::code::sign_block::{BLOCK, FACTOR_BYTES, block_bytes, take_factors};

use half::{bf16, f16};

use super::super::{column_loop, estimate_table, product_loop, scan_loop};

scan_loop!();
product_loop!();
column_loop!();
estimate_table!();

/// The sums and estimates of the entries of each block, in order.
fn each_block(query: &QueryTables, list: &SignList, line: &Line, mut visit: impl FnMut(usize, u32, f32)) {
    let blocks = list.codes.chunks_exact(block_bytes(query.padded_dim()));
    let factors = list.factors.as_chunks::<FACTOR_BYTES>().0;
    for (b, (block, factors)) in blocks.zip(factors).take(list.count.div_ceil(BLOCK)).enumerate() {
        for (lane, sum) in block_sums(query, block).into_iter().enumerate().take(list.count - b * BLOCK) {
            let stored = take_factors(factors, lane);
            let add = f16::from_bits(stored.add).to_f32_const();
            let rescale = bf16::from_bits(stored.rescale).to_f32_const();
            visit(b * BLOCK + lane, sum, line.bound(add, rescale, sum));
        }
    }
}

#[inline]
unsafe fn scan_list(
    query: &QueryTables,
    list: &SignList,
    line: &Line,
    threshold: f32,
    _ahead: &[u8],
    first_place: u32,
    out: &mut Survivors,
) -> usize {
    let mut len = out.len();
    each_block(query, list, line, |position, sum, bound| {
        if bound < threshold {
            out.positions[len] = first_place | position as u32;
            out.bounds[len] = bound;
            out.sums[len] = sum;
            len += 1;
        }
    });
    len
}

pub(super) unsafe fn estimate(query: &QueryTables, list: &SignList, line: &Line, out: &mut [f32]) {
    each_block(query, list, line, |position, _, estimate| out[position] = estimate);
}

pub(in crate::kernel::arch) unsafe fn extra<const BITS: usize>(query: &QueryTables, code: *const u8) -> (i32, i32) {
    // SAFETY: the caller grants P * BITS / 8 bytes.
    let code = unsafe { std::slice::from_raw_parts(code, query.padded_dim() / 8 * BITS) };
    let mut values = [0_u8; 64];
    let (mut high, mut low) = (0, 0);
    let planes = query.high.as_chunks::<64>().0.iter().zip(query.low.as_chunks::<64>().0);
    for (run, (h, l)) in code.chunks_exact(8 * BITS).zip(planes) {
        take_code(run, BITS, &mut values);
        high += product(&values, h);
        if needs_low_plane(BITS) {
            low += product(&values, l);
        }
    }
    (high, low)
}

fn product(values: &[u8; 64], plane: &[i8; 64]) -> i32 {
    values.iter().zip(plane).map(|(u, q)| i32::from(*u) * i32::from(*q)).sum()
}
