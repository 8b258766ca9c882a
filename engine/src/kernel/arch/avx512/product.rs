//! Scan of columns of codewords' numbers with VBMI: one instruction looks up 128 places of a table.

use std::arch::x86_64::*;

use crate::kernel::code::product::{ByteTable, ProductTables, column_sums as plain_sums};
use crate::kernel::code::scan::{Line, PLACE_BITS, ScanTurn, SignList, Survivors};
use crate::kernel::code::sign_block::{BLOCK, FACTOR_BYTES};

use super::code::Wide;

/// Columns that sums of 16 bits can take: 257 bytes of 255 fit.
const MOST_PARTS: usize = 256;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c,bmi1,popcnt")]
pub(super) unsafe fn scan_columns(tables: &ProductTables, turns: &[ScanTurn], threshold: f32, out: &mut Survivors) {
    let mut first_place = 0;
    for turn in turns {
        // SAFETY: the caller checked every list against the tables and made room for the entries of all.
        let len = unsafe { scan_list(tables, &turn.list, &tables.line(turn), threshold, first_place, out) };
        out.set_len(len);
        first_place = first_place.wrapping_add(1 << PLACE_BITS);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c,bmi1,popcnt")]
#[inline]
unsafe fn scan_list(
    tables: &ProductTables,
    list: &SignList,
    line: &Line,
    threshold: f32,
    first_place: u32,
    out: &mut Survivors,
) -> usize {
    let block_bytes = tables.column_block_bytes();
    let blocks = Blocks { codes: list.codes, bytes: block_bytes };
    let count = list.count.div_ceil(BLOCK);
    let mut len = out.len();
    let mut at = 0;
    // SAFETY: the caller checked the blocks and factors of `count` entries, and made room for `count` more survivors and sixteen places of
    // slack: each store is at most sixteen places long and starts at a place below that of the entry it is for.
    unsafe {
        let wide = Wide::new(line);
        let limit = _mm512_set1_ps(threshold);
        let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        while at < count {
            // The last block may stand alone: it is then looked at twice, and once is kept.
            let pair = [blocks.at(at), blocks.at((at + 1).min(count - 1))];
            let sums = pair_sums(tables, pair);
            for (half, sums) in sums.iter().enumerate().take(count - at) {
                let first = (at + half) * BLOCK;
                let factors = list.factors.as_ptr().add((at + half) * FACTOR_BYTES);
                let left = list.count - first;
                let used = if left < BLOCK { (1_u32 << left) - 1 } else { u32::MAX };
                for part in 0..2 {
                    let sums = _mm512_loadu_si512(sums.as_ptr().add(16 * part).cast());
                    let estimates = wide.bounds(factors.add(32 * part), sums);
                    let passed = _mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>((used >> (16 * part)) as u16, estimates, limit);
                    if passed == 0 {
                        continue;
                    }
                    let place =
                        _mm512_add_epi32(lane, _mm512_set1_epi32(first_place as i32 | (first + 16 * part) as i32));
                    _mm512_storeu_ps(out.bounds.as_mut_ptr().add(len), _mm512_maskz_compress_ps(passed, estimates));
                    let place = _mm512_maskz_compress_epi32(passed, place);
                    _mm512_storeu_si512(out.positions.as_mut_ptr().add(len).cast(), place);
                    let sums = _mm512_maskz_compress_epi32(passed, sums);
                    _mm512_storeu_si512(out.sums.as_mut_ptr().add(len).cast(), sums);
                    len += passed.count_ones() as usize;
                }
            }
            at += 2;
        }
    }
    len
}

/// Blocks of a list.
struct Blocks<'a> {
    codes: &'a [u8],
    bytes: usize,
}

impl<'a> Blocks<'a> {
    fn at(&self, block: usize) -> &'a [u8] {
        self.codes.get(block * self.bytes..(block + 1) * self.bytes).unwrap_or_default()
    }
}

/// The sums of table bytes of the entries of two blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c,bmi1,popcnt")]
#[inline]
unsafe fn pair_sums(tables: &ProductTables, blocks: [&[u8]; 2]) -> [[u32; BLOCK]; 2] {
    if tables.number_bytes() > 1 {
        return blocks.map(|block| plain_sums(tables, block));
    }
    let [low, high] = blocks.map(|block| block.as_chunks::<BLOCK>().0);
    let mut out = [[0; BLOCK]; 2];
    let columns = low.chunks(MOST_PARTS).zip(high.chunks(MOST_PARTS));
    for ((low, high), tables) in columns.zip(tables.bytes.chunks(MOST_PARTS)) {
        // SAFETY: columns are arrays of 32 bytes, tables of 256, and the loads are of as many; the path is available.
        unsafe { add_columns(low, high, tables, &mut out) };
    }
    out
}

/// Adds the bytes of up to 256 columns of two blocks to sums: entries of the first block in the lower half of a register, of the second in
/// the upper.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c,bmi1,popcnt")]
#[inline]
unsafe fn add_columns(low: &[[u8; BLOCK]], high: &[[u8; BLOCK]], tables: &[ByteTable], out: &mut [[u32; BLOCK]; 2]) {
    // SAFETY: each load is of the bytes of an array behind a reference, each store to the whole of `words`.
    unsafe {
        let (mut even, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        let low_byte = _mm512_set1_epi16(0xFF);
        for ((low, high), table) in low.iter().zip(high).zip(tables) {
            let low = _mm512_castsi256_si512(_mm256_loadu_si256(low.as_ptr().cast()));
            let numbers = _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(high.as_ptr().cast()));
            let at = table.0.as_ptr();
            let quarter = |i: usize| _mm512_load_si512(at.add(64 * i).cast());
            let below = _mm512_permutex2var_epi8(quarter(0), numbers, quarter(1));
            let above = _mm512_permutex2var_epi8(quarter(2), numbers, quarter(3));
            let bytes = _mm512_mask_blend_epi8(_mm512_movepi8_mask(numbers), below, above);
            even = _mm512_add_epi16(even, _mm512_and_si512(bytes, low_byte));
            odd = _mm512_add_epi16(odd, _mm512_srli_epi16::<8>(bytes));
        }
        let mut words = [[0_u16; BLOCK]; 2];
        _mm512_storeu_si512(words[0].as_mut_ptr().cast(), even);
        _mm512_storeu_si512(words[1].as_mut_ptr().cast(), odd);
        let pairs = words[0].iter().zip(&words[1]);
        for (pair, (even, odd)) in out.as_flattened_mut().as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
            pair[0] += u32::from(*even);
            pair[1] += u32::from(*odd);
        }
    }
}
