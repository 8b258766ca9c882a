//! Codes with NEON: sixteen table bytes look up one group for 32 entries at once. The rest is plain Rust.

use std::arch::aarch64::*;

use half::{bf16, f16};

use crate::kernel::code::product::column_sums;
use crate::kernel::code::query::QueryTables;
use crate::kernel::code::scan::{Line, SignList, Survivors};
use crate::kernel::code::sign_block::{BLOCK, ENTRY, FACTOR_BYTES, block_bytes, take_factors};

use super::super::scalar::extra;
use super::super::{column_loop, estimate_table, product_loop, scan_loop};

scan_loop!(#[target_feature(enable = "neon")]);
product_loop!(#[target_feature(enable = "neon")]);
column_loop!(#[target_feature(enable = "neon")]);
estimate_table!(#[target_feature(enable = "neon")]);

/// Groups after which 16-bit sums are widened: a group adds at most 255.
const GROUPS_PER_SUM: usize = 256;

/// Sums of the table bytes of the 32 entries of a block.
#[inline(always)]
unsafe fn block_sums(block: *const u8, table: *const u8, groups: usize) -> [u32; BLOCK] {
    let mut totals = [0; BLOCK];
    let mut group = 0;
    while group < groups {
        let end = groups.min(group + GROUPS_PER_SUM);
        let mut words = [[0_u16; 16]; 2];
        // SAFETY: the caller grants 16 bytes for each of the groups at both addresses; `words` holds four vectors of eight.
        unsafe {
            let mut sums = [vdupq_n_u16(0); 4];
            while group < end {
                let (codes, table) = (vld1q_u8(block.add(group * 16)), vld1q_u8(table.add(group * 16)));
                let low = vqtbl1q_u8(table, vandq_u8(codes, vdupq_n_u8(15)));
                let high = vqtbl1q_u8(table, vshrq_n_u8::<4>(codes));
                sums[0] = vaddw_u8(sums[0], vget_low_u8(low));
                sums[1] = vaddw_high_u8(sums[1], low);
                sums[2] = vaddw_u8(sums[2], vget_low_u8(high));
                sums[3] = vaddw_high_u8(sums[3], high);
                group += 1;
            }
            for (half, words) in words.iter_mut().enumerate() {
                vst1q_u16(words.as_mut_ptr(), sums[half * 2]);
                vst1q_u16(words.as_mut_ptr().add(8), sums[half * 2 + 1]);
            }
        }
        for (byte, entry) in ENTRY.into_iter().enumerate() {
            totals[entry] += u32::from(words[0][byte]);
            totals[entry + 16] += u32::from(words[1][byte]);
        }
    }
    totals
}

/// The sums and estimates of the entries of each block, in order.
#[inline(always)]
unsafe fn each_block(query: &QueryTables, list: &SignList, line: &Line, mut visit: impl FnMut(usize, u32, f32)) {
    let blocks = list.codes.chunks_exact(block_bytes(query.padded_dim()));
    let factors = list.factors.as_chunks::<FACTOR_BYTES>().0;
    for (b, (block, factors)) in blocks.zip(factors).take(list.count.div_ceil(BLOCK)).enumerate() {
        // SAFETY: a block has `P / 4` groups of 16 bytes, and so has the table.
        let sums = unsafe { block_sums(block.as_ptr(), query.lines.as_ptr().cast(), query.padded_dim() / 4) };
        for (lane, sum) in sums.into_iter().enumerate().take(list.count - b * BLOCK) {
            let stored = take_factors(factors, lane);
            let add = f16::from_bits(stored.add).to_f32_const();
            let rescale = bf16::from_bits(stored.rescale).to_f32_const();
            visit(b * BLOCK + lane, sum, line.bound(add, rescale, sum));
        }
    }
}

#[target_feature(enable = "neon")]
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
    // SAFETY: the caller has NEON.
    unsafe {
        each_block(query, list, line, |position, sum, bound| {
            if bound < threshold {
                out.positions[len] = first_place | position as u32;
                out.bounds[len] = bound;
                out.sums[len] = sum;
                len += 1;
            }
        });
    }
    len
}

#[target_feature(enable = "neon")]
pub(super) unsafe fn estimate(query: &QueryTables, list: &SignList, line: &Line, out: &mut [f32]) {
    // SAFETY: the caller has NEON.
    unsafe { each_block(query, list, line, |position, _, estimate| out[position] = estimate) };
}
