//! Sums over bytes with AVX2: 32 bytes at a time, widened to 16 bits for products.

use std::arch::x86_64::*;

use crate::kernel::bytes::terms;

pub(super) const BYTES: [super::super::ByteFn; 5] = [sum::<0>, sum::<1>, sum::<2>, sum::<3>, sum::<4>];

/// Bytes after which 32-bit sums are collected: a lane of one step gains at most 4 * 255^2.
const PER_SUM: usize = 1 << 14;

#[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]
unsafe fn sum<const OP: usize>(a: *const u8, b: *const u8, bytes: usize) -> i64 {
    let mut total = 0;
    let mut at = 0;
    let whole = bytes - bytes % 32;
    // SAFETY: the caller grants `bytes` bytes at both addresses; steps end at `whole`, and the rest is taken as slices.
    unsafe {
        while at < whole {
            let end = whole.min(at + PER_SUM);
            let mut sums = _mm256_setzero_si256();
            while at < end {
                sums = step::<OP>(sums, _mm256_loadu_si256(a.add(at).cast()), _mm256_loadu_si256(b.add(at).cast()));
                at += 32;
            }
            total += collect::<OP>(sums);
        }
        let rest = |x: *const u8| std::slice::from_raw_parts(x.add(whole), bytes - whole);
        total + terms::<OP>(rest(a), rest(b))
    }
}

/// Adds the terms of 32 bytes: to eight 32-bit lanes, or to four of 64 bits if bits are counted.
#[inline(always)]
unsafe fn step<const OP: usize>(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: arithmetic on registers; the callers run with AVX2.
    unsafe {
        if OP == 4 {
            return _mm256_add_epi64(sums, ones(_mm256_xor_si256(a, b)));
        }
        let widen = |x: __m128i| if OP < 2 { _mm256_cvtepi8_epi16(x) } else { _mm256_cvtepu8_epi16(x) };
        let halves = |x: __m256i| [widen(_mm256_castsi256_si128(x)), widen(_mm256_extracti128_si256::<1>(x))];
        let ([a0, a1], [b0, b1]) = (halves(a), halves(b));
        let product = |a, b| {
            if OP % 2 == 1 {
                return _mm256_madd_epi16(a, b);
            }
            let difference = _mm256_sub_epi16(a, b);
            _mm256_madd_epi16(difference, difference)
        };
        _mm256_add_epi32(sums, _mm256_add_epi32(product(a0, b0), product(a1, b1)))
    }
}

/// Ones among the bits, counted by nibble, in four 64-bit lanes.
#[inline(always)]
unsafe fn ones(bits: __m256i) -> __m256i {
    // SAFETY: arithmetic on registers; the callers run with AVX2.
    unsafe {
        let counts = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
        let nibble = _mm256_set1_epi8(15);
        let low = _mm256_shuffle_epi8(counts, _mm256_and_si256(bits, nibble));
        let high = _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16::<4>(bits), nibble));
        _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256())
    }
}

/// The sum of the lanes of [`step`].
#[inline(always)]
unsafe fn collect<const OP: usize>(sums: __m256i) -> i64 {
    if OP == 4 {
        let mut lanes = [0_i64; 4];
        // SAFETY: `lanes` has 32 bytes.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums) };
        return lanes.into_iter().sum();
    }
    let mut lanes = [0_i32; 8];
    // SAFETY: `lanes` has 32 bytes.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums) };
    lanes.into_iter().map(i64::from).sum()
}
