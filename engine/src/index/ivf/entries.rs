//! The entries of one list as a segment keeps them: what is laid out in blocks of 32, and how one entry is put there and taken out again.

use crate::kernel::code::product::{COLUMN, put_numbers, take_numbers};
use crate::kernel::code::residual::SignFactors;
use crate::kernel::code::sign_block::{
    BLOCK, FACTOR_BYTES, block_bytes, put_factors, put_signs, take_factors, take_signs,
};

/// How the codes of 32 entries are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EntryLayout {
    /// There are none: entries are row words.
    #[default]
    Bare,
    /// Half a byte for each four of so many components: signs, or numbers of codewords.
    Nibbles(usize),
    /// A column of numbers for each of so many parts.
    Columns {
        /// Parts.
        parts: usize,
        /// Bytes of a number, 1 or 2.
        width: usize,
    },
}

impl EntryLayout {
    /// Bytes of the codes of a block.
    pub(crate) fn block_bytes(self) -> usize {
        match self {
            EntryLayout::Bare => 0,
            EntryLayout::Nibbles(padded) => block_bytes(padded),
            EntryLayout::Columns { parts, width } => (parts * width * BLOCK).next_multiple_of(COLUMN),
        }
    }

    /// Bytes of the factors of a block.
    fn factor_bytes(self) -> usize {
        if self == EntryLayout::Bare { 0 } else { FACTOR_BYTES }
    }
}

/// The entries of one list, laid out as a segment keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EncodedList {
    layout: EntryLayout,
    /// Entries that are the first copy of their row; they stand before the others.
    pub(crate) primary: usize,
    /// The row of each entry.
    pub(crate) rows: Vec<u64>,
    /// Blocks of codes; lanes behind the last entry are zeros.
    pub(crate) signs: Vec<u8>,
    /// First-stage factors of the blocks.
    pub(crate) factors: Vec<u8>,
    /// Second-stage records, end to end.
    pub(crate) records: Vec<u8>,
}

impl EncodedList {
    /// No entries.
    pub(crate) fn new(layout: EntryLayout) -> EncodedList {
        EncodedList { layout, ..EncodedList::default() }
    }

    /// Forgets the entries, keeps the room.
    pub(crate) fn clear(&mut self) {
        self.primary = 0;
        self.rows.clear();
        self.signs.clear();
        self.factors.clear();
        self.records.clear();
    }

    /// Appends an entry without its record, which the caller appends to `records`. Signs are a bit for each component; numbers of codewords
    /// stand as [`take_entry`] gives them.
    pub(crate) fn push(&mut self, row: u64, code: &[u8], factors: SignFactors) {
        let lane = self.rows.len() % BLOCK;
        let bytes = self.layout.block_bytes();
        if lane == 0 {
            self.signs.resize(self.signs.len() + bytes, 0);
            self.factors.resize(self.factors.len() + self.layout.factor_bytes(), 0);
        }
        self.rows.push(row);
        let start = self.signs.len().saturating_sub(bytes);
        let block = self.signs.get_mut(start..).unwrap_or_default();
        match self.layout {
            EntryLayout::Bare => return,
            EntryLayout::Nibbles(_) => put_signs(block, lane, code),
            EntryLayout::Columns { width, .. } => put_numbers(block, lane, width, code),
        }
        if let Some(block) = self.factors.last_chunk_mut::<FACTOR_BYTES>() {
            put_factors(block, lane, factors);
        }
    }
}

/// Reads an entry of a list back: its code and first-stage factors. `None` if there is no such entry.
pub(crate) fn take_entry(
    layout: EntryLayout,
    signs: &[u8],
    factors: &[u8],
    position: usize,
    out: &mut Vec<u8>,
) -> Option<SignFactors> {
    let (block, lane) = (position / BLOCK, position % BLOCK);
    let bytes = layout.block_bytes();
    let codes = signs.get(block.checked_mul(bytes)?..)?.get(..bytes)?;
    out.clear();
    match layout {
        EntryLayout::Bare => return Some(SignFactors::default()),
        EntryLayout::Nibbles(_) => take_signs(codes, lane, out),
        EntryLayout::Columns { parts, width } => take_numbers(codes, lane, parts, width, out),
    }
    Some(take_factors(factors.as_chunks::<FACTOR_BYTES>().0.get(block)?, lane))
}
