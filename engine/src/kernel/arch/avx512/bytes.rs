//! Sums over bytes with AVX-512: 64 bits or 32 widened bytes to a register, masked tails, bits counted in hardware.

use std::arch::x86_64::*;

pub(super) const BYTES: [super::super::ByteFn; 5] = [sum::<0>, sum::<1>, sum::<2>, sum::<3>, sum::<4>];

/// Bytes after which 32-bit sums are collected: a lane of one step gains at most 4 * 255^2.
const PER_SUM: usize = 1 << 15;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vpopcntdq,avx2,fma,f16c,bmi1,popcnt")]
unsafe fn sum<const OP: usize>(a: *const u8, b: *const u8, bytes: usize) -> i64 {
    let mut total = 0;
    let mut at = 0;
    while at < bytes {
        let end = bytes.min(at + PER_SUM);
        // SAFETY: the caller grants `bytes` bytes at both addresses; the last load is masked to them.
        unsafe {
            let mut sums = [_mm512_setzero_si512(); 2];
            while at + 64 <= end {
                let (x, y) = (_mm512_loadu_si512(a.add(at).cast()), _mm512_loadu_si512(b.add(at).cast()));
                sums = step::<OP>(sums, x, y);
                at += 64;
            }
            if at < end {
                let mask = (1_u64 << (end - at)) - 1;
                let load = |from: *const u8| _mm512_maskz_loadu_epi8(mask, from.add(at).cast());
                sums = step::<OP>(sums, load(a), load(b));
                at = end;
            }
            total += collect::<OP>(sums);
        }
    }
    total
}

/// Adds the terms of 64 bytes: to 32-bit lanes, or to 64-bit ones if bits are counted.
#[inline(always)]
unsafe fn step<const OP: usize>(sums: [__m512i; 2], a: __m512i, b: __m512i) -> [__m512i; 2] {
    // SAFETY: arithmetic on registers; the callers run with AVX-512.
    unsafe {
        if OP == 4 {
            return [_mm512_add_epi64(sums[0], _mm512_popcnt_epi64(_mm512_xor_si512(a, b))), sums[1]];
        }
        let widen = |x: __m256i| if OP < 2 { _mm512_cvtepi8_epi16(x) } else { _mm512_cvtepu8_epi16(x) };
        let halves = |x: __m512i| [widen(_mm512_castsi512_si256(x)), widen(_mm512_extracti64x4_epi64::<1>(x))];
        let ([a0, a1], [b0, b1]) = (halves(a), halves(b));
        let add = |sum, a, b| {
            if OP % 2 == 1 {
                return _mm512_dpwssd_epi32(sum, a, b);
            }
            let difference = _mm512_sub_epi16(a, b);
            _mm512_dpwssd_epi32(sum, difference, difference)
        };
        [add(sums[0], a0, b0), add(sums[1], a1, b1)]
    }
}

/// The sum of the lanes of [`step`].
#[inline(always)]
unsafe fn collect<const OP: usize>(sums: [__m512i; 2]) -> i64 {
    // SAFETY: arithmetic on registers; the callers run with AVX-512.
    unsafe {
        if OP == 4 {
            return _mm512_reduce_add_epi64(sums[0]);
        }
        let wide = |x: __m512i| {
            let low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(x));
            _mm512_add_epi64(low, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(x)))
        };
        _mm512_reduce_add_epi64(_mm512_add_epi64(wide(sums[0]), wide(sums[1])))
    }
}
