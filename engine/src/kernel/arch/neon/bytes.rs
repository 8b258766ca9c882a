//! Sums over bytes with NEON: sixteen bytes at a time.

use std::arch::aarch64::*;

use crate::kernel::bytes::terms;

pub(super) const BYTES: [super::super::ByteFn; 5] = [sum::<0>, sum::<1>, sum::<2>, sum::<3>, sum::<4>];

/// Bytes after which 32-bit sums are collected: a lane of one step gains at most 4 * 255^2.
const PER_SUM: usize = 1 << 13;

#[target_feature(enable = "neon")]
unsafe fn sum<const OP: usize>(a: *const u8, b: *const u8, bytes: usize) -> i64 {
    let mut total = 0;
    let mut at = 0;
    let whole = bytes - bytes % 16;
    // SAFETY: the caller grants `bytes` bytes at both addresses; steps end at `whole`, and the rest is taken as slices.
    unsafe {
        while at < whole {
            let end = whole.min(at + PER_SUM);
            let mut sums = vdupq_n_s32(0);
            while at < end {
                sums = step::<OP>(sums, vld1q_u8(a.add(at)), vld1q_u8(b.add(at)));
                at += 16;
            }
            total += vaddlvq_s32(sums);
        }
        let rest = |x: *const u8| std::slice::from_raw_parts(x.add(whole), bytes - whole);
        total + terms::<OP>(rest(a), rest(b))
    }
}

/// Adds the terms of sixteen bytes to four lanes.
#[inline(always)]
unsafe fn step<const OP: usize>(sums: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
    // SAFETY: arithmetic on registers; the callers run with NEON.
    unsafe {
        if OP == 4 {
            let counts = vpaddlq_u16(vpaddlq_u8(vcntq_u8(veorq_u8(a, b))));
            return vaddq_s32(sums, vreinterpretq_s32_u32(counts));
        }
        let halves = |x: uint8x16_t| {
            if OP < 2 {
                let x = vreinterpretq_s8_u8(x);
                return [vmovl_s8(vget_low_s8(x)), vmovl_high_s8(x)];
            }
            [vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x))), vreinterpretq_s16_u16(vmovl_high_u8(x))]
        };
        let mut sums = sums;
        for (a, b) in halves(a).into_iter().zip(halves(b)) {
            let (a, b) = if OP % 2 == 1 { (a, b) } else { (vsubq_s16(a, b), vsubq_s16(a, b)) };
            sums = vmlal_s16(sums, vget_low_s16(a), vget_low_s16(b));
            sums = vmlal_high_s16(sums, a, b);
        }
        sums
    }
}
