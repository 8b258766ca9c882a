//! Sums over columns of numbers of codewords with VBMI: one instruction looks up 128 places of a table.

use std::arch::x86_64::*;

use crate::kernel::code::product::{ByteTable, ProductTables, column_sums as plain_sums};
use crate::kernel::code::sign_block::BLOCK;

use super::super::column_loop;

/// Columns that sums of 16 bits can take: 257 bytes of 255 fit.
const MOST_PARTS: usize = 256;

column_loop!(#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c")]);

/// The sums of table bytes of the 32 entries of a block.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c")]
#[inline]
unsafe fn column_sums(tables: &ProductTables, block: &[u8]) -> [u32; BLOCK] {
    if tables.number_bytes() > 1 {
        return plain_sums(tables, block);
    }
    let columns = block.as_chunks::<BLOCK>().0;
    let mut out = [0; BLOCK];
    for (columns, tables) in columns.chunks(MOST_PARTS).zip(tables.bytes.chunks(MOST_PARTS)) {
        // SAFETY: columns are arrays of 32 bytes, tables of 256, and the loads are of as many; the path is available.
        unsafe { add_columns(columns, tables, &mut out) };
    }
    out
}

/// Adds the bytes of up to 256 columns to sums.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c")]
#[inline]
unsafe fn add_columns(columns: &[[u8; BLOCK]], tables: &[ByteTable], out: &mut [u32; BLOCK]) {
    // SAFETY: each load is of the bytes of an array behind a reference, each store to the whole of `words`.
    unsafe {
        let (mut even, mut odd) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let low_byte = _mm256_set1_epi16(0xFF);
        for (column, table) in columns.iter().zip(tables) {
            let numbers = _mm256_loadu_si256(column.as_ptr().cast());
            let numbers = _mm512_castsi256_si512(numbers);
            let at = table.0.as_ptr();
            let quarter = |i: usize| _mm512_load_si512(at.add(64 * i).cast());
            let low = _mm512_permutex2var_epi8(quarter(0), numbers, quarter(1));
            let high = _mm512_permutex2var_epi8(quarter(2), numbers, quarter(3));
            let upper = _mm512_movepi8_mask(numbers);
            let bytes = _mm512_castsi512_si256(_mm512_mask_blend_epi8(upper, low, high));
            even = _mm256_add_epi16(even, _mm256_and_si256(bytes, low_byte));
            odd = _mm256_add_epi16(odd, _mm256_srli_epi16::<8>(bytes));
        }
        let mut words = [[0_u16; BLOCK / 2]; 2];
        _mm256_storeu_si256(words[0].as_mut_ptr().cast(), even);
        _mm256_storeu_si256(words[1].as_mut_ptr().cast(), odd);
        for (pair, (even, odd)) in out.as_chunks_mut::<2>().0.iter_mut().zip(words[0].iter().zip(&words[1])) {
            pair[0] += u32::from(*even);
            pair[1] += u32::from(*odd);
        }
    }
}
