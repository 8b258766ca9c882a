//! Codes with AVX-512: a line of 64 table bytes looks up four groups for 32 entries at once.

use std::arch::x86_64::*;

use crate::kernel::code::extra::needs_low_plane;
use crate::kernel::code::query::QueryTables;
use crate::kernel::code::scan::{Line, SignList, Survivors};
use crate::kernel::code::sign_block::{BLOCK, FACTOR_BYTES, block_bytes};

/// Lines after which 16-bit sums are widened: a pair of lines adds at most 255 in each of four lanes, which are added too.
const LINES_PER_SUM: usize = 128;

/// Sums of the table bytes of the 32 entries of a block, as two vectors of sixteen. `lines` is a multiple of four.
#[inline(always)]
unsafe fn block_sums(block: *const u8, table: *const u8, lines: usize) -> [__m512i; 2] {
    // SAFETY: the caller grants `lines` lines at both addresses; every access is to a line below.
    unsafe {
        let mut totals = [_mm512_setzero_si512(); 2];
        let mut line = 0;
        while line < lines {
            let end = lines.min(line + LINES_PER_SUM);
            let mut sums = [_mm512_setzero_si512(); 4];
            while line < end {
                // Two pairs of lines to a round; the number of lines is a multiple of four.
                for pair in [line, line + 2] {
                    let (low_a, high_a) = look_up(block.add(pair * 64), table.add(pair * 64));
                    let (low_b, high_b) = look_up(block.add(pair * 64 + 64), table.add(pair * 64 + 64));
                    // The table is made so that two bytes of one place in a pair of lines never pass 255 together.
                    let (low, high) = (_mm512_add_epi8(low_a, low_b), _mm512_add_epi8(high_a, high_b));
                    sums[0] = _mm512_add_epi16(sums[0], low);
                    sums[1] = _mm512_add_epi16(sums[1], _mm512_srli_epi16::<8>(low));
                    sums[2] = _mm512_add_epi16(sums[2], high);
                    sums[3] = _mm512_add_epi16(sums[3], _mm512_srli_epi16::<8>(high));
                }
                line += 4;
            }
            let sixteen = widen(sums);
            totals[0] = _mm512_add_epi32(totals[0], sixteen[0]);
            totals[1] = _mm512_add_epi32(totals[1], sixteen[1]);
        }
        totals
    }
}

/// What the lower and the upper nibbles of a line select.
#[inline(always)]
unsafe fn look_up(codes: *const u8, table: *const u8) -> (__m512i, __m512i) {
    // SAFETY: the caller grants 64 bytes at both addresses; loads are unaligned.
    unsafe {
        let nibble = _mm512_set1_epi8(15);
        let (codes, table) = (_mm512_loadu_si512(codes.cast()), _mm512_loadu_si512(table.cast()));
        let low = _mm512_shuffle_epi8(table, _mm512_and_si512(codes, nibble));
        let high = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble));
        (low, high)
    }
}

/// Takes the odd bytes out of the sums of whole words, adds the four 128-bit lanes, and widens to 32 bits: entries 0 to 15 and
/// 16 to 31.
#[inline(always)]
unsafe fn widen(sums: [__m512i; 4]) -> [__m512i; 2] {
    // SAFETY: arithmetic on registers; the callers run with AVX-512.
    unsafe {
        let [words, odd, upper_words, upper_odd] = sums;
        let even = _mm512_sub_epi16(words, _mm512_slli_epi16::<8>(odd));
        let upper_even = _mm512_sub_epi16(upper_words, _mm512_slli_epi16::<8>(upper_odd));
        let half = |a, b| _mm512_add_epi16(_mm512_shuffle_i64x2::<0x44>(a, b), _mm512_shuffle_i64x2::<0xEE>(a, b));
        let (lower, upper) = (half(even, odd), half(upper_even, upper_odd));
        let all =
            _mm512_add_epi16(_mm512_shuffle_i64x2::<0x88>(lower, upper), _mm512_shuffle_i64x2::<0xDD>(lower, upper));
        [_mm512_cvtepu16_epi32(_mm512_castsi512_si256(all)), _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(all))]
    }
}

/// [`Line`] in registers.
struct Wide {
    scale: __m512,
    base: __m512,
    slope: __m512,
    shift: __m512,
}

impl Wide {
    #[inline(always)]
    unsafe fn new(line: &Line) -> Self {
        // SAFETY: arithmetic on registers; the callers run with AVX-512.
        unsafe {
            Wide {
                scale: _mm512_set1_ps(line.scale),
                base: _mm512_set1_ps(line.base),
                slope: _mm512_set1_ps(line.slope),
                shift: _mm512_set1_ps(line.shift),
            }
        }
    }

    /// Bounds of sixteen entries: `factors` points to the first one's `F`, 64 bytes before its `fr`.
    #[inline(always)]
    unsafe fn bounds(&self, factors: *const u8, sums: __m512i) -> __m512 {
        // SAFETY: the caller grants 32 bytes at `factors` and 64 bytes on; loads are unaligned.
        unsafe {
            let add = _mm512_cvtph_ps(_mm256_loadu_si256(factors.cast()));
            let rescale = _mm512_cvtepu16_epi32(_mm256_loadu_si256(factors.add(64).cast()));
            let rescale = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(rescale));
            let product = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), self.slope), self.shift);
            let constant = _mm512_add_ps(_mm512_mul_ps(add, self.scale), self.base);
            _mm512_sub_ps(constant, _mm512_mul_ps(rescale, product))
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
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
    // SAFETY: the caller checked the blocks and factors of `count` entries against the tables, and made room for `count` more
    // survivors and sixteen places of slack: each store is at most sixteen places long and starts at a place below that of the
    // entry it is for.
    unsafe {
        let wide = Wide::new(line);
        let threshold = _mm512_set1_ps(threshold);
        let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        for block in 0..blocks {
            ahead.ask();
            let sums = block_sums(list.codes.as_ptr().add(block * block_bytes(query.padded_dim())), table, lines);
            let factors = list.factors.as_ptr().add(block * FACTOR_BYTES);
            let bounds = [wide.bounds(factors, sums[0]), wide.bounds(factors.add(32), sums[1])];
            let left = list.count - block * BLOCK;
            let used = if left < BLOCK { (1_u32 << left) - 1 } else { u32::MAX };
            let passed = [
                _mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(used as u16, bounds[0], threshold),
                _mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>((used >> 16) as u16, bounds[1], threshold),
            ];
            if passed[0] | passed[1] == 0 {
                continue;
            }
            macro_rules! append {
                ($half:literal) => {
                    if passed[$half] != 0 {
                        let positions = _mm512_add_epi32(
                            lane,
                            _mm512_set1_epi32(first_place as i32 | (block * BLOCK + $half * 16) as i32),
                        );
                        let kept = _mm512_maskz_compress_ps(passed[$half], bounds[$half]);
                        _mm512_storeu_ps(out.bounds.as_mut_ptr().add(len), kept);
                        let kept = _mm512_maskz_compress_epi32(passed[$half], positions);
                        _mm512_storeu_si512(out.positions.as_mut_ptr().add(len).cast(), kept);
                        let kept = _mm512_maskz_compress_epi32(passed[$half], sums[$half]);
                        _mm512_storeu_si512(out.sums.as_mut_ptr().add(len).cast(), kept);
                        len += passed[$half].count_ones() as usize;
                    }
                };
            }
            append!(0);
            append!(1);
        }
    }
    len
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) unsafe fn estimate(query: &QueryTables, list: &SignList, line: &Line, out: &mut [f32]) {
    let lines = query.lines.len();
    let table = query.lines.as_ptr().cast::<u8>();
    for (block, places) in out.chunks_mut(BLOCK).enumerate() {
        // SAFETY: the caller checked the blocks and factors of `out.len()` entries against the tables; stores are masked to the
        // length of `places`.
        unsafe {
            let wide = Wide::new(line);
            let sums = block_sums(list.codes.as_ptr().add(block * block_bytes(query.padded_dim())), table, lines);
            let factors = list.factors.as_ptr().add(block * FACTOR_BYTES);
            let used = if places.len() < BLOCK { (1_u32 << places.len()) - 1 } else { u32::MAX };
            let at = places.as_mut_ptr();
            _mm512_mask_storeu_ps(at, used as u16, wide.bounds(factors, sums[0]));
            _mm512_mask_storeu_ps(at.wrapping_add(16), (used >> 16) as u16, wide.bounds(factors.add(32), sums[1]));
        }
    }
}

/// The 64 values of a run, a byte each.
#[inline(always)]
unsafe fn run_values<const BITS: usize>(run: *const u8) -> __m512i {
    // SAFETY: the caller grants `8 * BITS` bytes: the fields of 4, 2 and 1 bits take 32, 16 and 8 of them, in this order.
    unsafe {
        if BITS == 8 {
            return _mm512_loadu_si512(run.cast());
        }
        let mut at = run;
        let mut rest = BITS;
        let mut values = _mm512_setzero_si512();
        if BITS & 4 != 0 {
            rest -= 4;
            let r = rest as i32;
            let field = _mm512_broadcast_i64x4(_mm256_loadu_si256(at.cast()));
            // Rotating a word brings the wanted bits of each byte into place; others are masked off.
            let turn = _mm512_mask_blend_epi32(0xFF00, _mm512_set1_epi32(r), _mm512_set1_epi32(r + 28));
            values = _mm512_and_si512(_mm512_rolv_epi32(field, turn), _mm512_set1_epi8((15_u8 << rest) as i8));
            at = at.add(32);
        }
        if BITS & 2 != 0 {
            rest -= 2;
            let r = rest as i32;
            let field = _mm512_broadcast_i32x4(_mm_loadu_si128(at.cast()));
            let turns = [r, r + 30, r + 28, r + 26];
            let turn = _mm512_setr_epi32(
                turns[0], turns[0], turns[0], turns[0], turns[1], turns[1], turns[1], turns[1], turns[2], turns[2],
                turns[2], turns[2], turns[3], turns[3], turns[3], turns[3],
            );
            let field = _mm512_and_si512(_mm512_rolv_epi32(field, turn), _mm512_set1_epi8((3_u8 << rest) as i8));
            values = _mm512_or_si512(values, field);
            at = at.add(16);
        }
        if BITS & 1 != 0 {
            let mask = at.cast::<u64>().read_unaligned();
            values = _mm512_mask_add_epi8(values, mask, values, _mm512_set1_epi8(1));
        }
        values
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
#[inline]
unsafe fn extra<const BITS: usize>(query: &QueryTables, code: *const u8) -> (i32, i32) {
    let runs = query.high.len() / 64;
    // SAFETY: the caller grants `8 * BITS` bytes for each of the `P / 64` runs; both planes have `P` components.
    unsafe {
        let (high, low) = (query.high.as_ptr(), query.low.as_ptr());
        let mut sums = [_mm512_setzero_si512(); 2];
        let mut low_sums = _mm512_setzero_si512();
        let mut run = 0;
        macro_rules! step {
            ($sum:literal) => {{
                let values = run_values::<BITS>(code.add(run * 8 * BITS));
                sums[$sum] = _mm512_dpbusd_epi32(sums[$sum], values, _mm512_loadu_si512(high.add(run * 64).cast()));
                if needs_low_plane(BITS) {
                    low_sums = _mm512_dpbusd_epi32(low_sums, values, _mm512_loadu_si512(low.add(run * 64).cast()));
                }
                run += 1;
            }};
        }
        while run + 2 <= runs {
            step!(0);
            step!(1);
        }
        if run < runs {
            step!(0);
        }
        let low = if needs_low_plane(BITS) { _mm512_reduce_add_epi32(low_sums) } else { 0 };
        let _ = run;
        (_mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1])), low)
    }
}

super::super::code_loops!(#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]);
