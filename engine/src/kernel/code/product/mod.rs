//! Product quantisation: parts of a vector, each replaced by the nearest of a few codewords.
//!
//! Jegou, Douze, Schmid, *Product quantization for nearest neighbor search* (2011), with two departures. Codes are of residuals,
//! yet one table per query serves every list: the table holds inner products of the query with the codewords, and the entry
//! carries what depends on its centroid, as for sign codes. And the code `r^` of a residual is rescaled by
//! `fr = |r|^2 / <r, r^>`, which takes away the bias towards small distances.
//!
//! A code is `parts` numbers of `log2(size)` bits, packed from the lowest bit of the first byte on. In lists, numbers of 16 codewords
//! are kept in the blocks of sign codes, a part where a group of four components would be, and scanned by the same kernel; others in
//! columns, see `columns`.

mod columns;
#[cfg(test)]
mod tests;
mod training;

use half::bf16;

use crate::kernel::code::query::QueryTables;
use crate::kernel::code::residual::{SignFactors, gain};
use crate::kernel::code::scan::ScanTerms;
use crate::kernel::distance::Op;
use crate::kernel::lanes::{LANES, Lanes, sum2};

pub(in crate::kernel) use columns::{ByteTable, column_sums, scan_columns};
pub use columns::{COLUMN, put_numbers, take_numbers};
pub use training::ProductTraining;
pub(in crate::kernel) use training::train_part;

/// Fewest codewords of a book.
pub const MIN_WORDS: usize = 16;
/// Most codewords of a book.
pub const MAX_WORDS: usize = 1024;

/// A codebook for each part of a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Codebook {
    dim: usize,
    parts: usize,
    size: usize,
    /// Part after part, component after component, the codewords' values side by side: `dim * size` numbers.
    words: Vec<f32>,
}

/// What an entry's estimates need beside its code.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct ProductFactors {
    /// `F`, in the units of the distance.
    pub add: f32,
    /// `fr` as bfloat16.
    pub rescale: u16,
    /// Standard error of the estimate in units of `|q - c|`, as bfloat16.
    pub error: u16,
}

impl ProductFactors {
    /// Standard error of the estimate of this entry.
    pub fn sigma(&self, terms: &ScanTerms) -> f32 {
        gain(terms.op) * bf16::from_bits(self.error).to_f32() * terms.reach
    }

    /// The factors as the block scan wants them, `F` in units of `scale`; see [`SignFactors`].
    pub fn to_block_factors(&self, scale: f32) -> SignFactors {
        SignFactors::new(self.add, bf16::from_bits(self.rescale), scale)
    }
}

impl Codebook {
    /// A book from its numbers, as [`words`](Codebook::words) gives them. `None` unless `dim` is a multiple of 16 and of `parts`, `size` a
    /// power of two in `16..=1024`, and there are `dim * size` numbers.
    pub fn new(dim: usize, parts: usize, size: usize, words: Vec<f32>) -> Option<Self> {
        let fits = dim.is_multiple_of(LANES) && parts > 0 && dim.is_multiple_of(parts) && size.is_power_of_two();
        let fits = fits && (MIN_WORDS..=MAX_WORDS).contains(&size) && dim.checked_mul(size) == Some(words.len());
        fits.then_some(Codebook { dim, parts, size, words })
    }

    /// Components of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Numbers in a code.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Codewords per part.
    pub fn size(&self) -> usize {
        self.size
    }

    /// All codewords: part after part, component after component, codewords side by side.
    pub fn words(&self) -> &[f32] {
        &self.words
    }

    /// Bits per part.
    pub fn bits(&self) -> usize {
        self.size.ilog2() as usize
    }

    /// Bytes of a packed code.
    pub fn code_bytes(&self) -> usize {
        (self.parts * self.bits()).div_ceil(8)
    }

    fn width(&self) -> usize {
        self.dim / self.parts
    }

    /// The codewords of one part: `width` rows of `size` values.
    fn book(&self, part: usize) -> &[f32] {
        let length = self.width() * self.size;
        &self.words[part * length..][..length]
    }

    /// Packs one number per part.
    pub fn pack(&self, code: &[u16], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + self.code_bytes(), 0);
        let bytes = &mut out[start..];
        for (part, word) in code.iter().enumerate() {
            let at = part * self.bits();
            let shifted = (u32::from(*word) << (at % 8)).to_le_bytes();
            for (byte, bits) in bytes[at / 8..].iter_mut().zip(shifted) {
                *byte |= bits;
            }
        }
    }

    /// The number of one part of a packed code.
    #[inline(always)]
    pub fn unpack(&self, code: &[u8], part: usize) -> usize {
        let at = part * self.bits();
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().zip(&code[at / 8..]) {
            *to = *from;
        }
        u32::from_le_bytes(word) as usize >> (at % 8) & (self.size - 1)
    }
}

/// The nearest codeword of each part of `vector`, the first of equals, in `code`; what they stand for in `decoded`.
#[inline(always)]
fn quantise<L: Lanes>(lanes: L, book: &Codebook, vector: &[f32], code: &mut Vec<u16>, decoded: &mut [f32]) {
    code.clear();
    let width = book.width();
    for (part, (x, y)) in vector.chunks_exact(width).zip(decoded.chunks_exact_mut(width)).enumerate() {
        let words = book.book(part);
        let (nearest, _) = nearest(lanes, words, book.size, x);
        code.push(nearest as u16);
        for (y, values) in y.iter_mut().zip(words.chunks_exact(book.size)) {
            *y = values[nearest];
        }
    }
}

/// The codeword nearest to `x`, and its squared distance.
#[inline(always)]
fn nearest<L: Lanes>(lanes: L, words: &[f32], size: usize, x: &[f32]) -> (usize, f32) {
    let mut least = lanes.splat(f32::INFINITY);
    let mut group = lanes.splat(0.0);
    for first in (0..size).step_by(LANES) {
        let mut distance = lanes.splat(0.0);
        for (x, values) in x.iter().zip(words.chunks_exact(size)) {
            let Some(values) = values[first..].first_chunk::<LANES>() else { continue };
            let difference = lanes.sub(lanes.splat(*x), lanes.load(values));
            distance = lanes.add(distance, lanes.mul(difference, difference));
        }
        let keep = lanes.at_most(least, distance);
        group = lanes.select(keep, group, lanes.splat(first as f32));
        least = lanes.select(keep, least, distance);
    }
    let (mut distances, mut groups) = ([0.0; LANES], [0.0; LANES]);
    lanes.store(least, &mut distances);
    lanes.store(group, &mut groups);
    let mut best = (0, f32::INFINITY);
    for lane in 0..LANES {
        let word = groups[lane] as usize + lane;
        if distances[lane] < best.1 || (distances[lane] == best.1 && word < best.0) {
            best = (word, distances[lane]);
        }
    }
    best
}

/// Scratch space for coding.
#[derive(Default)]
pub struct ProductScratch {
    /// One number per part of the last vector coded.
    pub code: Vec<u16>,
    residual: Vec<f32>,
    decoded: Vec<f32>,
}

/// Codes `vector` relative to `centroid`; the numbers stay in `scratch.code`.
#[inline(always)]
pub(in crate::kernel) fn encode<L: Lanes>(
    lanes: L,
    book: &Codebook,
    op: Op,
    vector: &[f32],
    centroid: &[f32],
    offset: f32,
    scratch: &mut ProductScratch,
) -> ProductFactors {
    let ProductScratch { code, residual, decoded } = scratch;
    residual.clear();
    residual.extend(vector.iter().zip(centroid).map(|(o, c)| o - c));
    decoded.resize(book.dim, 0.0);
    quantise(lanes, book, residual, code, decoded);
    let product = |a: &[f32], b: &[f32]| sum2(lanes, a, b, |a, b| lanes.mul(a, b));
    let energy = product(residual, residual);
    let (inner, square) = (product(residual, decoded), product(decoded, decoded));
    let fixed = match op {
        Op::L2 => energy,
        Op::Dot => -(product(residual, centroid) + offset),
    };
    // A code that points away from its vector says nothing: the entry counts as its centroid, with all of it as error.
    let told = inner > 0.0 && energy.is_finite();
    let rescale = bf16::from_f32(if told { energy / inner } else { 0.0 });
    let tangent = if told { (energy * square / inner / inner - 1.0).max(0.0) } else { 1.0 };
    let error = (energy * tangent / (book.dim as f32 - 1.0).max(1.0)).sqrt();
    let add = fixed + rescale.to_f32() * (gain(op) * product(decoded, centroid));
    ProductFactors { add, rescale: rescale.to_bits(), error: bf16::from_f32(error).to_bits() }
}

/// Inner products of a query with every codeword.
#[derive(Clone, Default)]
pub struct ProductTables {
    parts: usize,
    size: usize,
    /// Part after part, `size` numbers each.
    entries: Vec<f32>,
    /// `entries` as the tables of the block scan, if there are sixteen codewords.
    nibbles: QueryTables,
    /// `entries` as bytes, if there are more than sixteen codewords.
    pub(in crate::kernel) bytes: Vec<ByteTable>,
    /// What one unit of a byte is worth.
    unit: f32,
    /// The inner product is `unit * sum of bytes + bias`.
    bias: f32,
    /// Smallest and largest number of each part.
    ends: Vec<(f32, f32)>,
}

impl ProductTables {
    /// Empty tables; fill them with [`Kernels::prepare_product`](crate::kernel::Kernels::prepare_product).
    pub fn new() -> Self {
        ProductTables::default()
    }

    /// The inner products, part after part: for tests and golden files.
    pub fn entries(&self) -> &[f32] {
        &self.entries
    }

    /// The estimate of an entry, from its packed code.
    ///
    /// # Panics
    /// If the tables are of another book or the code is too short.
    #[inline]
    pub fn estimate(&self, book: &Codebook, terms: &ScanTerms, code: &[u8], factors: &ProductFactors) -> f32 {
        assert!(self.parts == book.parts && self.size == book.size, "tables of this book");
        // Four sums: part p goes to sum p % 4.
        let mut sums = [0.0; 4];
        if book.bits() == 8 {
            for (part, (word, table)) in code.iter().zip(self.entries.chunks_exact(self.size)).enumerate() {
                sums[part % 4] += table[usize::from(*word)];
            }
        } else {
            for (part, table) in self.entries.chunks_exact(self.size).enumerate() {
                sums[part % 4] += table[book.unpack(code, part)];
            }
        }
        let product = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        let rescale = bf16::from_bits(factors.rescale).to_f32();
        (factors.add + terms.base) - rescale * (gain(terms.op) * product)
    }

    /// The tables as bytes for the block scan; only of books of 16 codewords. `ratio` is the typical error of an entry in units
    /// of `fr |q - c|`, known from training.
    ///
    /// # Panics
    /// If the book has more codewords.
    pub fn to_block_tables(&self, ratio: f32) -> QueryTables {
        assert_eq!(self.size, MIN_WORDS, "blocks hold four bits per part");
        self.nibbles.with_ratio(ratio)
    }

    /// The tables for the block scan, with no error taken off; empty if the book has more than sixteen codewords.
    pub fn block_tables(&self) -> &QueryTables {
        &self.nibbles
    }
}

#[inline(always)]
pub(in crate::kernel) fn prepare<L: Lanes>(lanes: L, book: &Codebook, query: &[f32], tables: &mut ProductTables) {
    (tables.parts, tables.size) = (book.parts, book.size);
    tables.entries.resize(book.parts * book.size, 0.0);
    let mut ends = std::mem::take(&mut tables.ends);
    ends.clear();
    let parts = query.chunks_exact(book.width()).zip(tables.entries.chunks_exact_mut(book.size));
    for (part, (q, entries)) in parts.enumerate() {
        let words = book.book(part);
        let (mut least, mut most) = (lanes.splat(f32::INFINITY), lanes.splat(f32::NEG_INFINITY));
        for (at, sixteen) in entries.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut sum = lanes.splat(0.0);
            for (q, values) in q.iter().zip(words.chunks_exact(book.size)) {
                let Some(values) = values[at * LANES..].first_chunk::<LANES>() else { continue };
                sum = lanes.add(sum, lanes.mul(lanes.splat(*q), lanes.load(values)));
            }
            lanes.store(sum, sixteen);
            (least, most) = (lanes.min(least, sum), lanes.max(most, sum));
        }
        let (mut low, mut high) = ([0.0; LANES], [0.0; LANES]);
        lanes.store(least, &mut low);
        lanes.store(most, &mut high);
        ends.push((low.into_iter().fold(f32::INFINITY, f32::min), high.into_iter().fold(f32::NEG_INFINITY, f32::max)));
    }
    if book.size > MIN_WORDS {
        tables.fill_bytes(&ends);
    } else {
        tables.nibbles.set_entries(lanes, tables.entries.as_chunks::<MIN_WORDS>().0, &ends);
    }
    tables.ends = ends;
}

/// The typical error of a book's entries in units of `fr |q - c|`, for [`ProductTables::to_block_tables`].
pub fn error_ratio<'a>(entries: impl IntoIterator<Item = &'a ProductFactors>) -> f32 {
    let (mut sum, mut count) = (0.0_f64, 0.0_f64);
    for entry in entries {
        let rescale = f64::from(bf16::from_bits(entry.rescale).to_f32());
        if rescale > 0.0 {
            sum += (f64::from(bf16::from_bits(entry.error).to_f32()) / rescale).powi(2);
            count += 1.0;
        }
    }
    if count > 0.0 { (sum / count).sqrt() as f32 } else { 0.0 }
}
