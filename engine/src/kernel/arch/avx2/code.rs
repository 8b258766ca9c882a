//! Codes with AVX2: half a line of table bytes looks up two groups for 32 entries at once.

use std::arch::x86_64::*;

use crate::kernel::code::extra::needs_low_plane;
use crate::kernel::code::product::column_sums;
use crate::kernel::code::query::QueryTables;
use crate::kernel::code::scan::{Line, SignList, Survivors};
use crate::kernel::code::sign_block::{BLOCK, FACTOR_BYTES, block_bytes};

/// Lines after which 16-bit sums are widened: a pair of lines adds at most 255 in each of four lanes, which are added too.
const LINES_PER_SUM: usize = 128;

/// Sums of the table bytes of the 32 entries of a block, as four vectors of eight. `lines` is a multiple of two.
#[inline(always)]
unsafe fn block_sums(block: *const u8, table: *const u8, lines: usize) -> [__m256i; 4] {
    // SAFETY: the caller grants `lines` lines at both addresses; every access is to a line below.
    unsafe {
        let mut totals = [_mm256_setzero_si256(); 4];
        let mut line = 0;
        while line < lines {
            let end = lines.min(line + LINES_PER_SUM);
            let mut sums = [_mm256_setzero_si256(); 4];
            while line < end {
                for half in [0, 32] {
                    let at = line * 64 + half;
                    let (low_a, high_a) = look_up(block.add(at), table.add(at));
                    let (low_b, high_b) = look_up(block.add(at + 64), table.add(at + 64));
                    // The table is made so that two bytes of one place in a pair of lines never pass 255 together.
                    let (low, high) = (_mm256_add_epi8(low_a, low_b), _mm256_add_epi8(high_a, high_b));
                    sums[0] = _mm256_add_epi16(sums[0], low);
                    sums[1] = _mm256_add_epi16(sums[1], _mm256_srli_epi16::<8>(low));
                    sums[2] = _mm256_add_epi16(sums[2], high);
                    sums[3] = _mm256_add_epi16(sums[3], _mm256_srli_epi16::<8>(high));
                }
                line += 2;
            }
            let [words, odd, upper_words, upper_odd] = sums;
            let even = _mm256_sub_epi16(words, _mm256_slli_epi16::<8>(odd));
            let upper_even = _mm256_sub_epi16(upper_words, _mm256_slli_epi16::<8>(upper_odd));
            for (total, sum) in totals.iter_mut().zip([even, odd, upper_even, upper_odd]) {
                let eight = _mm_add_epi16(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
                *total = _mm256_add_epi32(*total, _mm256_cvtepu16_epi32(eight));
            }
        }
        totals
    }
}

/// What the lower and the upper nibbles of half a line select.
#[inline(always)]
unsafe fn look_up(codes: *const u8, table: *const u8) -> (__m256i, __m256i) {
    // SAFETY: the caller grants 32 bytes at both addresses; loads are unaligned.
    unsafe {
        let nibble = _mm256_set1_epi8(15);
        let (codes, table) = (_mm256_loadu_si256(codes.cast()), _mm256_loadu_si256(table.cast()));
        let low = _mm256_shuffle_epi8(table, _mm256_and_si256(codes, nibble));
        let high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble));
        (low, high)
    }
}

/// [`Line`] in registers.
struct Wide {
    scale: __m256,
    base: __m256,
    slope: __m256,
    shift: __m256,
}

impl Wide {
    #[inline(always)]
    unsafe fn new(line: &Line) -> Self {
        // SAFETY: arithmetic on registers; the callers run with AVX2.
        unsafe {
            Wide {
                scale: _mm256_set1_ps(line.scale),
                base: _mm256_set1_ps(line.base),
                slope: _mm256_set1_ps(line.slope),
                shift: _mm256_set1_ps(line.shift),
            }
        }
    }

    /// Bounds of eight entries: `factors` points to the first one's `F`, 64 bytes before its `fr`.
    #[inline(always)]
    unsafe fn bounds(&self, factors: *const u8, sums: __m256i) -> __m256 {
        // SAFETY: the caller grants 16 bytes at `factors` and 64 bytes on; loads are unaligned.
        unsafe {
            let add = _mm256_cvtph_ps(_mm_loadu_si128(factors.cast()));
            let rescale = _mm256_cvtepu16_epi32(_mm_loadu_si128(factors.add(64).cast()));
            let rescale = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(rescale));
            let product = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), self.slope), self.shift);
            let constant = _mm256_add_ps(_mm256_mul_ps(add, self.scale), self.base);
            _mm256_sub_ps(constant, _mm256_mul_ps(rescale, product))
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]
#[inline]
unsafe fn scan_list(
    query: &QueryTables,
    list: &SignList,
    line: &Line,
    threshold: f32,
    ahead: &[u8],
    first_place: u32,
    out: &mut Survivors,
) -> usize {
    let lines = query.lines.len();
    let table = query.lines.as_ptr().cast::<u8>();
    let blocks = list.count.div_ceil(BLOCK);
    let mut len = out.len();
    let mut ahead = super::super::prefetch::Ahead::new(ahead, blocks);
    // SAFETY: the caller checked the blocks and factors of `count` entries against the tables.
    unsafe {
        let wide = Wide::new(line);
        let limit = _mm256_set1_ps(threshold);
        for block in 0..blocks {
            ahead.ask();
            let sums = block_sums(list.codes.as_ptr().add(block * block_bytes(query.padded_dim())), table, lines);
            let factors = list.factors.as_ptr().add(block * FACTOR_BYTES);
            let mut bounds = [_mm256_setzero_ps(); 4];
            let mut passed = 0_u32;
            for quarter in 0..4 {
                bounds[quarter] = wide.bounds(factors.add(quarter * 16), sums[quarter]);
                let mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(bounds[quarter], limit));
                passed |= (mask as u32) << (quarter * 8);
            }
            let left = list.count - block * BLOCK;
            if left < BLOCK {
                passed &= (1 << left) - 1;
            }
            if passed == 0 {
                continue;
            }
            let (mut bounds_of, mut sums_of) = ([0.0_f32; BLOCK], [0_u32; BLOCK]);
            for quarter in 0..4 {
                _mm256_storeu_ps(bounds_of.as_mut_ptr().add(quarter * 8), bounds[quarter]);
                _mm256_storeu_si256(sums_of.as_mut_ptr().add(quarter * 8).cast(), sums[quarter]);
            }
            while passed != 0 {
                let lane = passed.trailing_zeros() as usize;
                out.positions[len] = first_place | (block * BLOCK + lane) as u32;
                out.bounds[len] = bounds_of[lane];
                out.sums[len] = sums_of[lane];
                len += 1;
                passed &= passed - 1;
            }
        }
    }
    len
}

#[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]
pub(super) unsafe fn estimate(query: &QueryTables, list: &SignList, line: &Line, out: &mut [f32]) {
    let lines = query.lines.len();
    let table = query.lines.as_ptr().cast::<u8>();
    for (block, places) in out.chunks_mut(BLOCK).enumerate() {
        let mut all = [0.0_f32; BLOCK];
        // SAFETY: the caller checked the blocks and factors of `out.len()` entries against the tables.
        unsafe {
            let wide = Wide::new(line);
            let sums = block_sums(list.codes.as_ptr().add(block * block_bytes(query.padded_dim())), table, lines);
            let factors = list.factors.as_ptr().add(block * FACTOR_BYTES);
            for (quarter, sums) in sums.into_iter().enumerate() {
                let bounds = wide.bounds(factors.add(quarter * 16), sums);
                _mm256_storeu_ps(all.as_mut_ptr().add(quarter * 8), bounds);
            }
        }
        places.copy_from_slice(&all[..places.len()]);
    }
}

/// The 64 values of a run, a byte each, in two vectors.
#[inline(always)]
unsafe fn run_values<const BITS: usize>(run: *const u8) -> [__m256i; 2] {
    // SAFETY: the caller grants `8 * BITS` bytes: the fields of 4, 2 and 1 bits take 32, 16 and 8 of them, in this order.
    unsafe {
        let mut at = run;
        let mut rest = BITS;
        let mut values = [_mm256_setzero_si256(); 2];
        let place = |x, shift: usize| _mm256_sll_epi16(x, _mm_cvtsi32_si128(shift as i32));
        if BITS & 4 != 0 {
            rest -= 4;
            let field = _mm256_loadu_si256(at.cast());
            let nibble = _mm256_set1_epi8(15);
            values = [
                place(_mm256_and_si256(field, nibble), rest),
                place(_mm256_and_si256(_mm256_srli_epi16::<4>(field), nibble), rest),
            ];
            at = at.add(32);
        }
        if BITS & 2 != 0 {
            rest -= 2;
            let field = _mm256_broadcastsi128_si256(_mm_loadu_si128(at.cast()));
            let pair = _mm256_set1_epi8(3);
            let first = _mm256_srlv_epi32(field, _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2));
            let second = _mm256_srlv_epi32(field, _mm256_setr_epi32(4, 4, 4, 4, 6, 6, 6, 6));
            values[0] = _mm256_or_si256(values[0], place(_mm256_and_si256(first, pair), rest));
            values[1] = _mm256_or_si256(values[1], place(_mm256_and_si256(second, pair), rest));
            at = at.add(16);
        }
        if BITS & 1 != 0 {
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            let byte = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
            for (half, values) in values.iter_mut().enumerate() {
                let word = at.cast::<i32>().add(half).read_unaligned();
                let spread = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(word), byte), bit);
                // All ones where the bit is set: taking it off adds one.
                *values = _mm256_sub_epi8(*values, _mm256_cmpeq_epi8(spread, bit));
            }
        }
        values
    }
}

/// `sum` plus the products of 32 unsigned and 32 signed bytes.
#[inline(always)]
unsafe fn add_products<const BITS: usize>(sum: __m256i, values: __m256i, plane: *const i8) -> __m256i {
    // SAFETY: the caller grants 32 components at `plane`; loads are unaligned.
    unsafe {
        let plane = _mm256_loadu_si256(plane.cast());
        let ones = _mm256_set1_epi16(1);
        if BITS < 8 {
            // Two products of at most 127 * 125 fit 16 bits.
            return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(values, plane), ones));
        }
        let half = |values, plane| _mm256_madd_epi16(_mm256_cvtepu8_epi16(values), _mm256_cvtepi8_epi16(plane));
        let first = half(_mm256_castsi256_si128(values), _mm256_castsi256_si128(plane));
        let second = half(_mm256_extracti128_si256::<1>(values), _mm256_extracti128_si256::<1>(plane));
        _mm256_add_epi32(sum, _mm256_add_epi32(first, second))
    }
}

#[inline(always)]
unsafe fn total(sum: __m256i) -> i32 {
    // SAFETY: arithmetic on registers; the callers run with AVX2.
    unsafe {
        let four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
        _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
    }
}

#[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]
#[inline]
unsafe fn extra<const BITS: usize>(query: &QueryTables, code: *const u8) -> (i32, i32) {
    // SAFETY: the caller grants `8 * BITS` bytes for each of the `P / 64` runs; both planes have `P` components.
    unsafe {
        let (high, low) = (query.high.as_ptr(), query.low.as_ptr());
        let mut high_sums = [_mm256_setzero_si256(); 2];
        let mut low_sums = [_mm256_setzero_si256(); 2];
        for run in 0..query.high.len() / 64 {
            let at = code.add(run * 8 * BITS);
            let values = if BITS == 8 {
                [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast())]
            } else {
                run_values::<BITS>(at)
            };
            for half in 0..2 {
                let plane = run * 64 + half * 32;
                high_sums[half] = add_products::<BITS>(high_sums[half], values[half], high.add(plane));
                if needs_low_plane(BITS) {
                    low_sums[half] = add_products::<BITS>(low_sums[half], values[half], low.add(plane));
                }
            }
        }
        let low = if needs_low_plane(BITS) { total(_mm256_add_epi32(low_sums[0], low_sums[1])) } else { 0 };
        (total(_mm256_add_epi32(high_sums[0], high_sums[1])), low)
    }
}

super::super::scan_loop!(#[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]);
super::super::product_loop!(#[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]);
super::super::column_loop!(#[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]);
super::super::estimate_table!(#[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]);
