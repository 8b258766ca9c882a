//! Codes with AVX-512: a line of 64 table bytes looks up four groups for 32 entries at once.

use std::arch::x86_64::*;

use super::super::prefetch::Ahead;
use crate::kernel::code::extra::{Record, needs_low_plane};
use crate::kernel::code::query::QueryTables;
use crate::kernel::code::scan::{Line, SignList, Survivors};
use crate::kernel::code::sign_block::{BLOCK, ENTRY, FACTOR_BYTES, block_bytes};

/// Where the bytes of a line go so that the four groups of an entry stand side by side: to byte `4 v + t` the byte of entry `v`
/// in group `t`.
const SIDE_BY_SIDE: [u8; 64] = {
    let mut from = [0; 64];
    let mut at = 0;
    while at < 64 {
        let byte = at % 16;
        from[4 * ENTRY[byte] + at / 16] = at as u8;
        at += 1;
    }
    from
};

/// Sums of the table bytes of the 32 entries of a block, as two vectors of sixteen. `lines` is a multiple of four.
///
/// A line of the table is 64 bytes that one shuffle can look up in: the upper bits of an index are the group. With the groups of an
/// entry side by side a product with ones adds four at once into 32 bits.
#[inline(always)]
unsafe fn block_sums(block: *const u8, table: *const u8, lines: usize, ahead: &mut Ahead) -> [__m512i; 2] {
    // SAFETY: the caller grants `lines` lines at both addresses; every access is to a line below.
    unsafe {
        let order = _mm512_loadu_si512(SIDE_BY_SIDE.as_ptr().cast());
        let (nibble, ones) = (_mm512_set1_epi8(15), _mm512_set1_epi8(1));
        let group = _mm512_set1_epi32(0x3020_1000);
        let mut sums = [_mm512_setzero_si512(); 4];
        let mut line = 0;
        while line < lines {
            // A few lines at a time: a burst would fill the queue of misses and stop what is being worked on.
            ahead.ask();
            macro_rules! step {
                ($line:literal, $low:literal, $high:literal) => {{
                    let at = (line + $line) * 64;
                    let codes = _mm512_permutexvar_epi8(order, _mm512_loadu_si512(block.add(at).cast()));
                    let table = _mm512_loadu_si512(table.add(at).cast());
                    // (codes & nibble) | group
                    let low = _mm512_ternarylogic_epi32::<0xEA>(codes, nibble, group);
                    let high = _mm512_ternarylogic_epi32::<0xEA>(_mm512_srli_epi16::<4>(codes), nibble, group);
                    sums[$low] = _mm512_dpbusd_epi32(sums[$low], _mm512_permutexvar_epi8(low, table), ones);
                    sums[$high] = _mm512_dpbusd_epi32(sums[$high], _mm512_permutexvar_epi8(high, table), ones);
                }};
            }
            step!(0, 0, 1);
            step!(1, 2, 3);
            step!(2, 0, 1);
            step!(3, 2, 3);
            line += 4;
        }
        [_mm512_add_epi32(sums[0], sums[2]), _mm512_add_epi32(sums[1], sums[3])]
    }
}

/// [`Line`] in registers.
pub(super) struct Wide {
    scale: __m512,
    base: __m512,
    slope: __m512,
    shift: __m512,
}

impl Wide {
    #[inline(always)]
    pub(super) unsafe fn new(line: &Line) -> Self {
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
    pub(super) unsafe fn bounds(&self, factors: *const u8, sums: __m512i) -> __m512 {
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

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c,bmi1,popcnt")]
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
    let mut ahead = Ahead::new(ahead, blocks * lines / 4);
    // SAFETY: the caller checked the blocks and factors of `count` entries against the tables, and made room for `count` more
    // survivors and sixteen places of slack: each store is at most sixteen places long and starts at a place below that of the
    // entry it is for.
    unsafe {
        let wide = Wide::new(line);
        let threshold = _mm512_set1_ps(threshold);
        let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        for block in 0..blocks {
            let codes = list.codes.as_ptr().add(block * block_bytes(query.padded_dim()));
            let sums = block_sums(codes, table, lines, &mut ahead);
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

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi1,popcnt")]
pub(super) unsafe fn sift(survivors: &Survivors, above: f32, up_to: f32, out: &mut Survivors) -> usize {
    let mut len = 0;
    // SAFETY: loads are masked to the survivors; the caller made room in `out` for as many and sixteen places of slack: each store
    // is at most sixteen places long and starts at a place below their number.
    unsafe {
        let (low, high) = (_mm512_set1_ps(above), _mm512_set1_ps(up_to));
        let skipped = if above == f32::NEG_INFINITY { 0 } else { u16::MAX };
        for start in (0..survivors.len()).step_by(16) {
            let left = survivors.len() - start;
            let used = if left < 16 { (1_u16 << left) - 1 } else { u16::MAX };
            let bounds = _mm512_maskz_loadu_ps(used, survivors.bounds.as_ptr().add(start));
            let below = _mm512_mask_cmp_ps_mask::<_CMP_LE_OQ>(used, bounds, high);
            let passed = below & !(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(bounds, low) & skipped);
            if passed == 0 {
                continue;
            }
            let positions = _mm512_maskz_loadu_epi32(used, survivors.positions.as_ptr().add(start).cast());
            let sums = _mm512_maskz_loadu_epi32(used, survivors.sums.as_ptr().add(start).cast());
            _mm512_storeu_ps(out.bounds.as_mut_ptr().add(len), _mm512_maskz_compress_ps(passed, bounds));
            let kept = _mm512_maskz_compress_epi32(passed, positions);
            _mm512_storeu_si512(out.positions.as_mut_ptr().add(len).cast(), kept);
            let kept = _mm512_maskz_compress_epi32(passed, sums);
            _mm512_storeu_si512(out.sums.as_mut_ptr().add(len).cast(), kept);
            len += passed.count_ones() as usize;
        }
    }
    len
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi1,popcnt")]
pub(super) unsafe fn places_up_to(estimates: &[f32], limit: f32, places: &mut [u32]) -> usize {
    let mut count = 0;
    // SAFETY: loads are masked to the estimates; the caller made room for as many places and sixteen of slack: each store is sixteen
    // places long and starts below their number.
    unsafe {
        let limit = _mm512_set1_ps(limit);
        let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        for start in (0..estimates.len()).step_by(16) {
            let left = estimates.len() - start;
            let used = if left < 16 { (1_u16 << left) - 1 } else { u16::MAX };
            let x = _mm512_maskz_loadu_ps(used, estimates.as_ptr().add(start));
            let passed = _mm512_mask_cmp_ps_mask::<_CMP_LE_OQ>(used, x, limit);
            let here = _mm512_maskz_compress_epi32(passed, _mm512_add_epi32(lane, _mm512_set1_epi32(start as i32)));
            _mm512_storeu_si512(places.as_mut_ptr().add(count).cast(), here);
            count += passed.count_ones() as usize;
        }
    }
    count
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c,bmi1,popcnt")]
pub(super) unsafe fn estimate(query: &QueryTables, list: &SignList, line: &Line, out: &mut [f32]) {
    let lines = query.lines.len();
    let table = query.lines.as_ptr().cast::<u8>();
    for (block, places) in out.chunks_mut(BLOCK).enumerate() {
        // SAFETY: the caller checked the blocks and factors of `out.len()` entries against the tables; stores are masked to the
        // length of `places`.
        unsafe {
            let wide = Wide::new(line);
            let codes = list.codes.as_ptr().add(block * block_bytes(query.padded_dim()));
            let sums = block_sums(codes, table, lines, &mut Ahead::new(&[], 1));
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

/// Sums, not yet folded, of the products of one record with the high and, if needed, the low plane.
#[inline(always)]
unsafe fn plane_sums<const BITS: usize>(query: &QueryTables, code: *const u8) -> [__m512i; 2] {
    let runs = query.high.len() / 64;
    // SAFETY: the caller grants `8 * BITS` bytes for each of the `P / 64` runs; both planes have `P` components.
    unsafe {
        let (high, low) = (query.high.as_ptr(), query.low.as_ptr());
        let mut sums = [_mm512_setzero_si512(); 2];
        let mut low_sums = [_mm512_setzero_si512(); 2];
        let mut run = 0;
        macro_rules! step {
            ($sum:literal) => {{
                let values = run_values::<BITS>(code.add(run * 8 * BITS));
                sums[$sum] = _mm512_dpbusd_epi32(sums[$sum], values, _mm512_loadu_si512(high.add(run * 64).cast()));
                if needs_low_plane(BITS) {
                    let plane = _mm512_loadu_si512(low.add(run * 64).cast());
                    low_sums[$sum] = _mm512_dpbusd_epi32(low_sums[$sum], values, plane);
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
        let _ = run;
        [_mm512_add_epi32(sums[0], sums[1]), _mm512_add_epi32(low_sums[0], low_sums[1])]
    }
}

/// The sums of the lanes of eight vectors, in order: a tree of shuffles, where folding each alone would wait for itself.
#[inline(always)]
unsafe fn fold_eight(x: [__m512i; 8]) -> [i32; 8] {
    // SAFETY: arithmetic on registers and a store to an array of its size; the callers run with AVX-512.
    unsafe {
        let pair = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let four = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
        let (a, b) = (four(pair(x[0], x[1]), pair(x[2], x[3])), four(pair(x[4], x[5]), pair(x[6], x[7])));
        // Lanes of 128 bits hold parts of the sums of four vectors: of the first four in `a`, of the others in `b`.
        let half = _mm512_add_epi32(_mm512_shuffle_i64x2::<0x44>(a, b), _mm512_shuffle_i64x2::<0xEE>(a, b));
        let all = _mm512_add_epi32(half, _mm512_shuffle_i64x2::<0b10_11_00_01>(half, half));
        let sums = _mm512_castsi512_si256(_mm512_shuffle_i64x2::<0b00_00_10_00>(all, all));
        let mut out = [0; 8];
        _mm256_storeu_si256(out.as_mut_ptr().cast(), sums);
        out
    }
}

/// As the loop of the other paths: eight records at a time, or four where both planes count.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c,bmi1,popcnt")]
unsafe fn products<const BITS: usize>(query: &QueryTables, records: &[Record], out: &mut [(i32, i32)]) {
    let group = if needs_low_plane(BITS) { 4 } else { 8 };
    for (records, out) in records.chunks(group).zip(out.chunks_mut(group)) {
        // SAFETY: the caller checked that each record has `P e / 8` bytes of code.
        unsafe {
            let mut sums = [_mm512_setzero_si512(); 8];
            for (i, record) in records.iter().enumerate() {
                let [high, low] = plane_sums::<BITS>(query, record.bytes.as_ptr());
                sums[i & 7] = high;
                if needs_low_plane(BITS) {
                    sums[(i + 4) & 7] = low;
                }
            }
            let sums = fold_eight(sums);
            for (i, out) in out.iter_mut().enumerate() {
                *out = (sums[i & 7], if needs_low_plane(BITS) { sums[(i + 4) & 7] } else { 0 });
            }
        }
    }
}

super::super::scan_loop!(#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c,bmi1,popcnt")]);
super::super::estimate_table!(#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c,bmi1,popcnt")]);
