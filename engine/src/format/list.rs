//! Records of a list segment, and the arithmetic of where the parts of a list lie.
//!
//! A list is two pieces: one in `list-scan` (all that a scan reads, and the row words), one in `list-records` or `list-raw`
//! (what is read of survivors). Sizes of pieces follow from the number of entries and the shape alone; headers say where they
//! start and are proven when the file is opened.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::ops::Range;

use zerocopy::little_endian::{U32, U64};

use super::layout::layout;
use super::model::{BLOCK_ENTRIES, BLOCK_FACTOR_BYTES, COMPONENT_STEP};

layout! {
    /// One list: where its pieces start, counted from the start of their sections, how many entries it has, and which of the
    /// checksums is its first.
    pub struct ListHeader: 32 {
        scan_offset: U64,
        record_offset: U64,
        n_primary: U32,
        n_total: U32,
        first_check: U32,
        reserved: U32,
    }
}

/// Most bytes under one checksum.
pub const CHUNK_BYTES: usize = 64 << 10;
/// What pieces start at and end with.
pub const PIECE_ALIGN: usize = 64;
/// Bytes that memory is read by, and how many of the last of them a record uses that is worth filling it up.
const LINE: usize = 64;
const ALMOST: usize = LINE - 8;
/// Bytes of a row word.
pub const ROW_WORD_BYTES: usize = 4;
/// The row word of a lane that no entry uses.
pub const NO_ROW: u32 = u32::MAX;
/// Most entries of a list.
pub const MAX_ENTRIES: u32 = 1 << 26;
/// Most bits per component.
pub const MAX_BITS: u64 = 8;

/// How the entries of all lists of a segment are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListCode {
    /// Codes of so many bits per component, 1 to 8.
    Bits(u32),
    /// Whole vectors, so many bytes each.
    Raw(u32),
    /// Numbers of codewords: so many parts, each with so many codewords to choose from.
    Product {
        /// Numbers in a code; divides the padded dimension.
        parts: u32,
        /// Codewords per part, a power of two in `16..=1024`.
        size: u32,
    },
    /// Nothing but row words.
    Rows,
}

/// Codewords that a byte can name; more take two.
pub const BYTE_WORDS: u32 = 256;
/// Codewords that half a byte can name.
pub const NIBBLE_WORDS: u32 = 16;
/// Where the binary logarithm of the number of codewords stands above the number of parts in a footer.
const SIZE_SHIFT: u32 = 24;

/// How a footer states product codes.
pub fn product_parameter(parts: u32, size: u32) -> u32 {
    parts & ((1 << SIZE_SHIFT) - 1) | size.trailing_zeros() << SIZE_SHIFT
}

/// Parts and codewords that a footer states; `None` if there are no such codes for `padded` components.
pub fn product_of(parameter: u32, padded: usize) -> Option<(u32, u32)> {
    let parts = parameter & ((1 << SIZE_SHIFT) - 1);
    let size = 1_u32.checked_shl(parameter >> SIZE_SHIFT)?;
    (16..=1024).contains(&size).then_some(())?;
    (parts > 0 && padded.is_multiple_of(parts as usize)).then_some((parts, size))
}

/// Said beside the bits in a footer: records of eight bytes less than whole lines of 64 are followed by eight zeros each.
const WHOLE_LINES: u32 = 1 << 8;

/// What the layout of every list follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListShape {
    padded: usize,
    code: ListCode,
    /// Of a file from before records were rounded up to whole lines, where that makes a difference.
    packed: bool,
}

impl ListShape {
    /// The shape of lists with `padded` components; `None` if there is no such shape.
    pub fn new(padded: usize, code: ListCode) -> Option<ListShape> {
        let whole = padded > 0 && padded.is_multiple_of(COMPONENT_STEP) && padded <= 1 << 17;
        let valid = match code {
            ListCode::Bits(bits) => (1..=MAX_BITS as u32).contains(&bits),
            ListCode::Raw(stride) => stride >= 8 && stride.is_multiple_of(8) && stride <= 1 << 20,
            ListCode::Product { parts, size } => {
                size.is_power_of_two() && product_of(product_parameter(parts, size), padded) == Some((parts, size))
            }
            ListCode::Rows => true,
        };
        (whole && valid).then_some(ListShape { padded, code, packed: false })
    }

    /// The shape of new files that hold what files of this shape hold.
    pub fn of_new_files(self) -> ListShape {
        ListShape { packed: false, ..self }
    }

    /// How a footer states it, in front of the number of lists.
    pub fn parameters(&self, lists: u64) -> [u64; 4] {
        let (kind, value) = match self.code {
            ListCode::Bits(bits) if self.stride() > self.record_len() => (1, bits | WHOLE_LINES),
            ListCode::Bits(bits) => (1, bits),
            ListCode::Raw(stride) => (2, stride),
            ListCode::Product { parts, size } => (3, product_parameter(parts, size)),
            ListCode::Rows => (4, 0),
        };
        [lists, self.padded as u64, kind, value.into()]
    }

    /// The shape and the number of lists that a footer states.
    pub fn from_parameters(parameters: [u64; 4]) -> Option<(ListShape, u64)> {
        let [lists, padded, kind, value] = parameters;
        let (value, padded) = (u32::try_from(value).ok()?, usize::try_from(padded).ok()?);
        let lines = kind == 1 && value & WHOLE_LINES != 0;
        let code = match (kind, value) {
            (1, value) => ListCode::Bits(value & !WHOLE_LINES),
            (2, stride) => ListCode::Raw(stride),
            (3, parameter) => product_of(parameter, padded).map(|(parts, size)| ListCode::Product { parts, size })?,
            (4, 0) => ListCode::Rows,
            _ => return None,
        };
        let shape = ListShape::new(padded, code)?;
        let rounded = shape.stride() > shape.record_len();
        (rounded || !lines).then_some((ListShape { packed: rounded && !lines, ..shape }, lists))
    }

    /// Components after padding.
    pub fn padded(&self) -> usize {
        self.padded
    }

    /// How entries are kept.
    pub fn code(&self) -> ListCode {
        self.code
    }

    /// Bytes of the codes of 32 entries that every scan reads: signs, or numbers of codewords.
    #[inline]
    pub fn sign_bytes(&self) -> usize {
        match self.code {
            ListCode::Bits(_) => self.padded * 4,
            ListCode::Product { parts, size: NIBBLE_WORDS } => {
                (parts as usize * 4).next_multiple_of(COMPONENT_STEP) * 4
            }
            ListCode::Product { parts, size } => {
                let bytes = parts as usize * BLOCK_ENTRIES * if size > BYTE_WORDS { 2 } else { 1 };
                bytes.next_multiple_of(PIECE_ALIGN)
            }
            ListCode::Raw(_) | ListCode::Rows => 0,
        }
    }

    /// Bytes of the first-stage factors of 32 entries.
    #[inline]
    pub fn factor_bytes(&self) -> usize {
        match self.code {
            ListCode::Bits(_) | ListCode::Product { .. } => BLOCK_FACTOR_BYTES,
            ListCode::Raw(_) | ListCode::Rows => 0,
        }
    }

    /// Bytes of a record; 0 if there are none.
    #[inline]
    pub fn record_len(&self) -> usize {
        match self.code {
            ListCode::Bits(1) | ListCode::Product { .. } | ListCode::Rows => 0,
            ListCode::Bits(bits) => self.padded / 8 * (bits as usize - 1) + 8,
            ListCode::Raw(stride) => stride as usize,
        }
    }

    /// Bytes between the starts of two records. One that eight bytes are missing of to a whole number of lines gets them: whoever reads it, and records are
    /// read here and there, waits for a line less.
    #[inline]
    pub fn stride(&self) -> usize {
        let length = self.record_len();
        match (self.code, length % LINE) {
            (ListCode::Bits(_), ALMOST) if !self.packed => length + LINE - ALMOST,
            _ => length,
        }
    }

    /// Whether nothing but zeros follows each of `count` records in a piece.
    pub fn records_end_in_zeros(&self, count: u32, piece: &[u8]) -> bool {
        let (length, stride) = (self.record_len(), self.stride().max(1));
        let (records, tail) =
            piece.split_at_checked((count as usize).saturating_mul(self.stride())).unwrap_or((piece, &[]));
        let ends = records.chunks_exact(stride).filter_map(|record| record.get(length..)).flatten();
        ends.chain(tail).all(|byte| *byte == 0)
    }

    /// Where the parts of a list of `count` entries lie in its pieces.
    #[inline]
    pub fn parts(&self, count: u32) -> ListParts {
        let blocks = (count as usize).div_ceil(BLOCK_ENTRIES);
        let factors = blocks * self.sign_bytes();
        let rows = factors + blocks * self.factor_bytes();
        let scan = rows + blocks * BLOCK_ENTRIES * ROW_WORD_BYTES;
        let records = (count as usize).saturating_mul(self.stride()).next_multiple_of(PIECE_ALIGN);
        ListParts { count, factors, rows, scan, records, stride: self.stride(), record_len: self.record_len() }
    }
}

/// The parts of one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListParts {
    count: u32,
    factors: usize,
    rows: usize,
    scan: usize,
    records: usize,
    stride: usize,
    record_len: usize,
}

impl ListParts {
    /// Bytes of the piece in `list-scan`.
    #[inline]
    pub fn scan_bytes(&self) -> usize {
        self.scan
    }

    /// Bytes of the piece of records.
    #[inline]
    pub fn record_bytes(&self) -> usize {
        self.records
    }

    /// Bytes of a record.
    #[inline]
    pub fn record_len(&self) -> usize {
        self.record_len
    }

    /// Lays out records that stand end to end as the piece has them; `None` if they are not as many bytes as the entries have.
    pub fn lay_out_records(&self, records: &[u8], piece: &mut Vec<u8>) -> Option<()> {
        piece.clear();
        (records.len() == (self.count as usize).checked_mul(self.record_len)?).then_some(())?;
        match self.stride == self.record_len {
            true => piece.extend_from_slice(records),
            false => {
                for record in records.chunks_exact(self.record_len) {
                    piece.extend_from_slice(record);
                    piece.resize(piece.len() + self.stride - self.record_len, 0);
                }
            }
        }
        piece.resize(self.records, 0);
        Some(())
    }

    /// Sign codes, within the piece.
    #[inline]
    pub fn signs(&self) -> Range<usize> {
        0..self.factors
    }

    /// First-stage factors, within the piece.
    #[inline]
    pub fn factors(&self) -> Range<usize> {
        self.factors..self.rows
    }

    /// Row words, within the piece.
    #[inline]
    pub fn rows(&self) -> Range<usize> {
        self.rows..self.scan
    }

    /// Checksums of the piece in `list-scan`.
    #[inline]
    pub fn scan_checks(&self) -> usize {
        self.scan.div_ceil(CHUNK_BYTES)
    }

    /// Records under one checksum: none straddles two chunks.
    #[inline]
    pub fn records_per_check(&self) -> usize {
        (CHUNK_BYTES / self.stride.max(1)).max(1)
    }

    /// Checksums of the records.
    #[inline]
    pub fn record_checks(&self) -> usize {
        match self.count as usize * self.stride {
            0 => 0,
            // Nearly every list: no division.
            1..=CHUNK_BYTES => 1,
            _ => (self.count as usize).div_ceil(self.records_per_check()),
        }
    }

    /// All checksums of the list.
    pub fn checks(&self) -> usize {
        self.scan_checks() + self.record_checks()
    }

    /// The bytes of a chunk of the piece in `list-scan`.
    pub fn scan_chunk(&self, chunk: usize) -> Range<usize> {
        let start = chunk * CHUNK_BYTES;
        start..(start + CHUNK_BYTES).min(self.scan)
    }

    /// The bytes of a chunk of records; the last one includes the padding.
    pub fn record_chunk(&self, chunk: usize) -> Range<usize> {
        let bytes = self.records_per_check() * self.stride;
        let end = if chunk + 1 == self.record_checks() { self.records } else { (chunk + 1) * bytes };
        chunk * bytes..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_pieces_without_gaps_and_records_do_not_straddle() {
        let product = |parts, size| ListCode::Product { parts, size };
        let bits = [ListCode::Bits(1), ListCode::Bits(4), ListCode::Bits(8)];
        let whole = [ListCode::Raw(1544), ListCode::Raw(1 << 20), ListCode::Rows];
        let of = |code| ListShape::new(384, code).unwrap();
        let shapes = bits.into_iter().chain(whole).chain([product(3, 16), product(48, 256), product(1, 1024)]).map(of);
        let lines = ListShape::new(128, ListCode::Bits(4)).unwrap();
        for shape in shapes.chain([lines]) {
            let code = shape.code();
            for count in [0, 1, 31, 32, 33, 425, 426, 3_000, 70_001] {
                let parts = shape.parts(count);
                let covered = |chunks: Vec<Range<usize>>, bytes: usize| {
                    let end = chunks.iter().fold(0, |end, chunk| {
                        assert!(chunk.start == end && chunk.end > end, "{code:?} {count} {chunks:?}");
                        chunk.end
                    });
                    assert_eq!(end, bytes, "{code:?} {count}");
                };
                covered((0..parts.scan_checks()).map(|i| parts.scan_chunk(i)).collect(), parts.scan_bytes());
                covered((0..parts.record_checks()).map(|i| parts.record_chunk(i)).collect(), parts.record_bytes());
                for at in 0..count as usize * usize::from(parts.record_bytes() > 0) {
                    let chunk = parts.record_chunk(at / parts.records_per_check());
                    assert!(chunk.start <= at * shape.stride() && (at + 1) * shape.stride() <= chunk.end);
                }
            }
        }
    }

    #[test]
    fn records_that_nearly_end_a_line_do() {
        let shape = |padded, bits| ListShape::new(padded, ListCode::Bits(bits)).unwrap();
        let strides = [(128, 4), (192, 3), (640, 4), (64, 7), (128, 1), (128, 5), (384, 4), (64, 8)];
        let strides = strides.map(|(padded, bits)| (shape(padded, bits).record_len(), shape(padded, bits).stride()));
        let expected = [(56, 64), (56, 64), (248, 256), (56, 64), (0, 0), (72, 72), (152, 152), (64, 64)];
        assert_eq!(strides, expected);
        let records: Vec<u8> = (1..=112).collect();
        let (mut piece, parts) = (Vec::new(), shape(128, 4).parts(2));
        assert_eq!(parts.lay_out_records(&records, &mut piece), Some(()));
        assert_eq!(piece, [&records[..56], &[0; 8], &records[56..], &[0; 8]].concat());
        assert_eq!(parts.lay_out_records(&records[..56], &mut piece), None);
        // Files of before say nothing of it, and are read as they are.
        let (packed, lists) = ListShape::from_parameters([7, 128, 1, 4]).unwrap();
        assert!(packed.stride() == 56 && lists == 7 && packed.parameters(7) == [7, 128, 1, 4]);
        assert!(packed != shape(128, 4) && packed.of_new_files() == shape(128, 4));
        assert_eq!(ListShape::from_parameters([7, 384, 1, 4]), Some((shape(384, 4), 7)));
    }

    #[test]
    fn footers_state_shapes_and_refuse_what_is_none() {
        let shape = ListShape::new(384, ListCode::Bits(4)).unwrap();
        let product = |parts, size| ListShape::new(384, ListCode::Product { parts, size });
        let rows = ListShape::new(384, ListCode::Rows).unwrap();
        let lines = ListShape::new(128, ListCode::Bits(4)).unwrap();
        for shape in [shape, lines, rows, product(48, 16).unwrap(), product(384, 1024).unwrap()] {
            assert_eq!(ListShape::from_parameters(shape.parameters(7)), Some((shape, 7)));
            let block = shape.parts(1).scan_bytes();
            assert!(block.is_multiple_of(PIECE_ALIGN) && shape.parts(33).scan_bytes() == 2 * block, "{shape:?}");
        }
        assert!(
            [product(0, 16), product(50, 16), product(48, 8), product(48, 48), product(48, 2048)]
                .iter()
                .all(Option::is_none)
        );
        for wrong in [
            [7, 64, 3, 0],
            [7, 64, 3, 5 | 4 << 24],
            [7, 64, 3, 8 | 11 << 24],
            [7, 64, 3, 8 | 63 << 24],
            [7, 64, 4, 1],
            [7, 0, 1, 4],
            [7, 65, 1, 4],
            [7, 64, 1, 9],
            [7, 128, 1, 4 | 2 << 8],
            // Nothing there is to be rounded.
            [7, 384, 1, 4 | 1 << 8],
            [7, 128, 1, 1 | 1 << 8],
            [7, 128, 4, 1 << 8],
            [7, 64, 1, 0],
            [7, 64, 5, 4],
            [7, 64, 2, 12],
            [7, u64::MAX, 1, 4],
        ] {
            assert_eq!(ListShape::from_parameters(wrong), None, "{wrong:?}");
        }
    }
}
