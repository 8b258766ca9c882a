//! Codes of rows in their lists, and some rows of one list with their signs side by side: what a scan goes through.

use std::slice;

use crate::budget::Charge;
use crate::kernel::Kernels;
use crate::kernel::code::extra::record_bytes;
use crate::kernel::code::residual::{Coded, SignFactors};
use crate::kernel::code::scan::SignList;
use crate::kernel::code::sign_block::{BLOCK, FACTOR_BYTES, block_bytes, put_factors, put_signs};

/// A row in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Row number, less the first of the generation.
    pub(crate) row: u32,
    /// In the second list of the row its first list, else [`NO_LIST`](crate::kernel::cluster::NO_LIST).
    pub(crate) first: u32,
}

/// Rows of a list in the order of their numbers. If rows have codes, their signs stand in blocks as in a segment.
pub(crate) struct Piece {
    entries: Vec<Entry>,
    signs: Vec<u8>,
    factors: Vec<u8>,
    _charge: Charge,
}

/// Bytes of the code of a row in a list: a [record](record_bytes) of one bit per component, and its factors as a scan wants them.
pub(crate) fn sign_code_bytes(padded: usize) -> usize {
    record_bytes(padded, 1) + SIGN_FACTOR_BYTES
}

const SIGN_FACTOR_BYTES: usize = 4;

/// Appends such a code, of a vector that was coded with one bit.
pub(crate) fn append_sign_code(coded: &Coded, out: &mut Vec<u8>) {
    out.extend_from_slice(&coded.signs);
    out.extend_from_slice(&coded.factors.add.to_le_bytes());
    out.extend_from_slice(&coded.factors.rescale.to_le_bytes());
    out.extend_from_slice(&coded.sign_factors.add.to_le_bytes());
    out.extend_from_slice(&coded.sign_factors.rescale.to_le_bytes());
}

impl Piece {
    /// No rows.
    pub(super) fn empty() -> Piece {
        Piece { entries: Vec::new(), signs: Vec::new(), factors: Vec::new(), _charge: Charge::none() }
    }

    /// The same rows, with room for more.
    pub(super) fn another(&self) -> Piece {
        let mut entries = Vec::with_capacity(BLOCK);
        entries.extend_from_slice(&self.entries);
        Piece { entries, signs: self.signs.clone(), factors: self.factors.clone(), _charge: Charge::none() }
    }

    /// All rows of whole pieces, in that order.
    pub(super) fn joined<'a>(parts: impl Iterator<Item = &'a Piece> + Clone) -> Piece {
        let mut all = Piece::empty();
        let sum = |bytes: fn(&Piece) -> usize| parts.clone().map(bytes).sum::<usize>();
        all.entries.reserve_exact(sum(|part| part.entries.len()));
        all.signs.reserve_exact(sum(|part| part.signs.len()));
        all.factors.reserve_exact(sum(|part| part.factors.len()));
        for part in parts {
            all.entries.extend_from_slice(&part.entries);
            all.signs.extend_from_slice(&part.signs);
            all.factors.extend_from_slice(&part.factors);
        }
        all
    }

    /// Adds a row to a piece that is not [whole](Piece::is_whole). Its code is empty if rows have none, else as long as that of all others.
    pub(super) fn push(&mut self, entry: Entry, code: &[u8]) {
        let lane = self.entries.len();
        self.entries.push(entry);
        let padded = code.len().saturating_sub(sign_code_bytes(0)) * 8;
        let Some((signs, rest)) = code.split_at_checked(padded / 8).filter(|(signs, _)| !signs.is_empty()) else {
            return;
        };
        if self.signs.is_empty() {
            self.signs = vec![0; block_bytes(padded)];
            self.factors = vec![0; FACTOR_BYTES];
        }
        put_signs(&mut self.signs, lane, signs);
        if let (Some(factors), Some([a, b, c, d])) =
            (self.factors.first_chunk_mut::<FACTOR_BYTES>(), rest.last_chunk::<SIGN_FACTOR_BYTES>())
        {
            let (add, rescale) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
            put_factors(factors, lane, SignFactors { add, rescale });
        }
    }

    /// Whether there is no room for more.
    pub(super) fn is_whole(&self) -> bool {
        self.entries.len() >= BLOCK
    }

    /// Blocks that are full.
    pub(super) fn blocks(&self) -> usize {
        self.entries.len() / BLOCK
    }

    /// Counts its memory where `charge` is.
    pub(super) fn charged(mut self, charge: &Charge) -> Piece {
        self._charge = charge.another(self.memory_bytes() as u64);
        self
    }

    /// Heap bytes held.
    pub(super) fn memory_bytes(&self) -> usize {
        let codes = self.signs.capacity() + self.factors.capacity();
        size_of::<Piece>() + self.entries.capacity() * size_of::<Entry>() + codes
    }

    /// Asks for what the calls below read first.
    pub(super) fn ask(&self, kernels: &Kernels) {
        kernels.prefetch_values(slice::from_ref(self));
    }

    /// The rows.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The codes of the rows, in their order; `None` if they have none.
    pub(crate) fn codes(&self) -> Option<SignList<'_>> {
        let list = SignList { codes: &self.signs, factors: &self.factors, count: self.entries.len() };
        (!self.signs.is_empty()).then_some(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::code::sign_block::{take_factors, take_signs};

    const PADDED: usize = 128;

    fn code(row: u32) -> Vec<u8> {
        let sign_factors = SignFactors { add: row as u16, rescale: !row as u16 };
        let mut code = Vec::new();
        append_sign_code(&Coded::of_signs(vec![row as u8 ^ 0x5A; PADDED / 8], sign_factors), &mut code);
        assert_eq!(code.len(), sign_code_bytes(PADDED));
        code
    }

    fn piece(rows: std::ops::Range<u32>) -> Piece {
        let mut piece = Piece::empty();
        for row in rows {
            piece = piece.another();
            piece.push(Entry { row, first: 3 }, &code(row));
        }
        piece
    }

    fn check(piece: &Piece, first: u32) {
        let Some(list) = piece.codes() else { return assert!(piece.entries.is_empty()) };
        let mut signs = Vec::new();
        for (i, entry) in piece.entries().iter().enumerate() {
            assert_eq!(entry.row, first + i as u32);
            let block = &list.codes[i / BLOCK * block_bytes(PADDED)..];
            take_signs(&block[..block_bytes(PADDED)], i % BLOCK, &mut signs);
            let factors = take_factors(&list.factors.as_chunks::<FACTOR_BYTES>().0[i / BLOCK], i % BLOCK);
            let mut found = Vec::new();
            append_sign_code(&Coded::of_signs(signs.clone(), factors), &mut found);
            assert_eq!(found, code(entry.row), "row {i}");
        }
    }

    #[test]
    fn every_row_has_its_code_however_many_there_are() {
        for count in 0..=BLOCK as u32 {
            let piece = piece(50..50 + count);
            assert_eq!((piece.entries().len(), piece.is_whole()), (count as usize, count as usize == BLOCK));
            check(&piece, 50);
        }
        let parts: Vec<Piece> = (0..5).map(|i| piece(i * 32..i * 32 + 32)).collect();
        let all = Piece::joined(parts.iter());
        assert_eq!((all.entries().len(), all.blocks()), (160, 5));
        check(&all, 0);
    }

    #[test]
    fn rows_without_codes_are_only_named() {
        let mut piece = Piece::empty();
        (0..20).for_each(|row| piece.push(Entry { row, first: 0 }, &[]));
        assert!(piece.codes().is_none() && piece.entries().len() == 20);
    }
}
