//! Numbers of codewords of 32 entries side by side, and their scan.
//!
//! Books of more than sixteen codewords are kept in blocks of 32 entries: for each part a column of 32 numbers, of one byte each up to 256
//! codewords and two beyond. A query's tables are bytes, as for sign codes: sums are integers, the same on every path, and a table of 256
//! words is four registers of 64 bytes.

use super::{Codebook, ProductTables};
use crate::kernel::code::scan::{Line, ScanTurn, SignList, Survivors};
use crate::kernel::code::sign_block::{BLOCK, FACTOR_BYTES, take_factors};

use half::{bf16, f16};

/// What a block is a multiple of.
pub const COLUMN: usize = 64;
/// Codewords that a number of one byte tells apart.
pub(in crate::kernel) const BYTE_WORDS: usize = 256;

/// What 256 codewords of a part add to a sum, at an address divisible by 64. Places behind the last word are zeros.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(in crate::kernel) struct ByteTable(pub [u8; BYTE_WORDS]);

impl Codebook {
    /// Bytes of a number in a column: 1 or 2; of sixteen codewords there are no columns but nibbles.
    pub fn number_bytes(&self) -> usize {
        if self.size > BYTE_WORDS { 2 } else { 1 }
    }

    /// Whether lists keep codes of this book in nibbles.
    pub fn has_nibbles(&self) -> bool {
        self.size == super::MIN_WORDS
    }

    /// Spells a code as lists take it: of sixteen codewords two numbers to a byte, as the signs of eight components would be; else
    /// [`number_bytes`](Codebook::number_bytes) each.
    pub fn spell(&self, code: &[u16], out: &mut Vec<u8>) {
        out.clear();
        match self.number_bytes() {
            _ if self.has_nibbles() => {
                let nibble = |pair: &[u16], at: usize| pair.get(at).map_or(0, |word| *word as u8 & 15);
                out.extend(code.chunks(2).map(|pair| (nibble(pair, 0) << 4 | nibble(pair, 1)).reverse_bits()));
            }
            1 => out.extend(code.iter().map(|word| *word as u8)),
            _ => out.extend(code.iter().flat_map(|word| word.to_le_bytes())),
        }
    }

    /// What a code stands for that is spelled as [`spell`](Codebook::spell) does. Numbers that are missing count as 0.
    pub fn decode(&self, spelled: &[u8], out: &mut Vec<f32>) {
        let (width, bytes) = (self.width(), self.number_bytes());
        out.clear();
        for part in 0..self.parts {
            let byte = |at: usize| usize::from(spelled.get(at).copied().unwrap_or(0));
            let number = match bytes {
                _ if self.has_nibbles() => {
                    usize::from(spelled.get(part / 2).copied().unwrap_or(0).reverse_bits()) >> (4 * (1 - part % 2)) & 15
                }
                1 => byte(part),
                _ => byte(2 * part) | byte(2 * part + 1) << 8,
            };
            let words = self.book(part).chunks_exact(self.size).take(width);
            out.extend(words.map(|values| values.get(number).copied().unwrap_or(0.0)));
        }
    }
}

/// Writes the numbers of an entry, of `width` bytes each, into its lane of a block.
pub fn put_numbers(block: &mut [u8], lane: usize, width: usize, numbers: &[u8]) {
    for (column, number) in block.chunks_exact_mut(BLOCK * width).zip(numbers.chunks_exact(width)) {
        column[lane * width..][..width].copy_from_slice(number);
    }
}

/// Appends what [`put_numbers`] wrote for `parts` parts.
pub fn take_numbers(block: &[u8], lane: usize, parts: usize, width: usize, out: &mut Vec<u8>) {
    for column in block.chunks_exact(BLOCK * width).take(parts) {
        out.extend_from_slice(&column[lane * width..][..width]);
    }
}

impl ProductTables {
    /// Bytes of a block of columns.
    pub(in crate::kernel) fn column_block_bytes(&self) -> usize {
        (self.parts * self.number_bytes() * BLOCK).next_multiple_of(COLUMN)
    }

    pub(in crate::kernel) fn number_bytes(&self) -> usize {
        if self.size > BYTE_WORDS { 2 } else { 1 }
    }

    /// # Panics
    /// If the slices are too short for the entries of the list.
    pub(in crate::kernel) fn check(&self, list: &SignList) {
        let blocks = list.count.div_ceil(BLOCK);
        let whole = list.codes.len() / self.column_block_bytes().max(1) >= blocks
            && list.factors.len() / FACTOR_BYTES >= blocks
            && self.bytes.len() >= self.parts * self.tables_per_part();
        assert!(self.parts > 0 && whole, "fewer blocks than entries need, or tables that were never made");
    }

    fn tables_per_part(&self) -> usize {
        self.size.div_ceil(BYTE_WORDS)
    }

    /// The line of estimates: nothing is taken off.
    pub(in crate::kernel) fn line(&self, turn: &ScanTurn) -> Line {
        Line::of(self.unit, self.bias, &turn.terms)
    }

    /// Makes the byte tables of `entries`, whose smallest and largest of each part are given.
    #[inline(always)]
    pub(super) fn fill_bytes(&mut self, ends: &[(f32, f32)]) {
        /// Adding it leaves the nearest integer, halves to even, in the lowest bits.
        const MAGIC: f32 = 12_582_912.0;
        let widest = ends.iter().map(|(least, most)| most - least).fold(0.0, f32::max);
        self.unit = if widest >= f32::MIN_POSITIVE { widest / 255.0 } else { 0.0 };
        let inverse = if self.unit > 0.0 { 1.0 / self.unit } else { 0.0 };
        let per_part = self.tables_per_part();
        self.bytes.resize(self.parts * per_part, ByteTable([0; BYTE_WORDS]));
        self.bias = 0.0;
        let parts = self.entries.chunks_exact(self.size).zip(self.bytes.chunks_exact_mut(per_part));
        for ((entries, tables), (least, _)) in parts.zip(ends) {
            self.bias += least;
            for (entries, table) in entries.chunks(BYTE_WORDS).zip(tables) {
                for (x, byte) in entries.iter().zip(&mut table.0) {
                    *byte = ((x - least) * inverse + MAGIC).to_bits() as u8;
                }
            }
        }
    }
}

/// The sums of table bytes of the 32 entries of a block: the oracle of the vector versions. Numbers beyond a table, which only damaged files
/// hold, count as the last word.
pub(in crate::kernel) fn column_sums(tables: &ProductTables, block: &[u8]) -> [u32; BLOCK] {
    let mut sums = [0; BLOCK];
    if tables.number_bytes() == 1 {
        for (column, table) in block.as_chunks::<BLOCK>().0.iter().zip(&tables.bytes) {
            for (sum, number) in sums.iter_mut().zip(column) {
                *sum += u32::from(table.0[usize::from(*number)]);
            }
        }
    } else {
        let parts = tables.bytes.chunks_exact(tables.tables_per_part());
        for (column, tables_of) in block.chunks_exact(2 * BLOCK).zip(parts) {
            for (sum, number) in sums.iter_mut().zip(column.as_chunks::<2>().0) {
                let number = usize::from(u16::from_le_bytes(*number)).min(tables.size - 1);
                *sum += u32::from(tables_of[number / BYTE_WORDS].0[number % BYTE_WORDS]);
            }
        }
    }
    sums
}

/// Scans a list of columns with `sums` for each block; returns how many there are then in `out`.
#[inline(always)]
pub(in crate::kernel) fn scan_columns(
    tables: &ProductTables,
    list: &SignList,
    line: &Line,
    threshold: f32,
    first_place: u32,
    out: &mut Survivors,
    mut sums: impl FnMut(&[u8], &mut [u32; BLOCK]),
) {
    let blocks = list.codes.chunks_exact(tables.column_block_bytes());
    let factors = list.factors.as_chunks::<FACTOR_BYTES>().0;
    let mut of = [0; BLOCK];
    let mut len = out.len();
    for (b, (block, factors)) in blocks.zip(factors).take(list.count.div_ceil(BLOCK)).enumerate() {
        sums(block, &mut of);
        for (lane, sum) in of.into_iter().enumerate().take(list.count - b * BLOCK) {
            let stored = take_factors(factors, lane);
            let add = f16::from_bits(stored.add).to_f32_const();
            let rescale = bf16::from_bits(stored.rescale).to_f32_const();
            let estimate = line.bound(add, rescale, sum);
            if estimate < threshold {
                out.positions[len] = first_place | (b * BLOCK + lane) as u32;
                out.bounds[len] = estimate;
                out.sums[len] = sum;
                len += 1;
            }
        }
    }
    out.set_len(len);
}
