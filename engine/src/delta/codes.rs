//! Codes of rows in the order of the rows, as of one view: pieces of equal size that views share.

use std::sync::Arc;

use crate::budget::Charge;

/// Codes in a piece. A commit copies the last piece if it is not full.
const PIECE: usize = 64;
/// Pieces that one pointer shares.
const NODE: usize = 64;

/// Some codes that follow each other; room for [`PIECE`] of them.
#[derive(Clone)]
struct Piece {
    bytes: Vec<u8>,
    _charge: Arc<Charge>,
}

/// A persistent list of codes, all of one length. Cloning copies a pointer for each 4,096 of them.
#[derive(Clone, Default)]
pub(super) struct Codes {
    /// Bytes of a code; 0 if there are none, or not one for each row.
    stride: usize,
    rows: usize,
    nodes: Vec<Arc<Vec<Arc<Piece>>>>,
}

impl Codes {
    /// Bytes of a code; 0 if rows have none.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Adds the codes of so many rows, end to end. Once rows come without codes, or with others than those before, none has one.
    pub(super) fn push(&mut self, rows: usize, mut codes: &[u8], charge: &Charge) {
        if self.rows == 0 {
            self.stride = codes.len().checked_div(rows).unwrap_or(0);
        }
        if self.stride == 0 || codes.len() != rows.saturating_mul(self.stride) {
            *self = Codes { stride: 0, rows: self.rows + rows, nodes: Vec::new() };
            return;
        }
        while !codes.is_empty() {
            let count = (PIECE - self.rows % PIECE).min(codes.len() / self.stride);
            let (now, later) = codes.split_at(count * self.stride);
            self.last_piece(charge).extend_from_slice(now);
            self.rows += count;
            codes = later;
        }
    }

    /// Where the next code goes, shared with nobody.
    fn last_piece(&mut self, charge: &Charge) -> &mut Vec<u8> {
        let room = PIECE * self.stride;
        let counted = || Arc::new(charge.another(room as u64));
        if self.rows.is_multiple_of(PIECE * NODE) {
            self.nodes.push(Arc::new(Vec::with_capacity(NODE)));
        }
        let last = self.nodes.len() - 1;
        let node = Arc::make_mut(&mut self.nodes[last]);
        if self.rows.is_multiple_of(PIECE) {
            node.push(Arc::new(Piece { bytes: Vec::with_capacity(room), _charge: counted() }));
        }
        let last = node.len() - 1;
        let piece = &mut node[last];
        if Arc::get_mut(piece).is_none() {
            let mut bytes = Vec::with_capacity(room);
            bytes.extend_from_slice(&piece.bytes);
            *piece = Arc::new(Piece { bytes, _charge: counted() });
        }
        &mut Arc::make_mut(piece).bytes
    }

    /// The code of a row, counted from the first; empty if it has none.
    pub(super) fn of(&self, row: u32) -> &[u8] {
        let (piece, at) = (row as usize / PIECE, row as usize % PIECE);
        let found = self.nodes.get(piece / NODE).and_then(|node| node.get(piece % NODE));
        found.and_then(|piece| piece.bytes.get(at * self.stride..(at + 1) * self.stride)).unwrap_or_default()
    }

    /// Heap bytes held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.nodes.iter().map(|node| node.len()).sum::<usize>() * PIECE * self.stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, Share};

    fn numbers(first: u64, count: usize) -> Vec<u8> {
        (first..).take(count).flat_map(u64::to_le_bytes).collect()
    }

    #[test]
    fn each_row_has_its_code_and_an_older_clone_those_it_had() {
        for sizes in [&[1usize][..], &[64], &[63, 1, 5_000, 2], &[300, 1]] {
            let (mut codes, mut rows, mut older) = (Codes::default(), 0u64, Vec::new());
            for size in sizes.iter().cycle().take(70) {
                codes.push(*size, &numbers(rows, *size), &Charge::none());
                rows += *size as u64;
                older.push((rows, codes.clone()));
            }
            for (rows, codes) in older {
                assert!((0..rows).all(|row| codes.of(row as u32) == row.to_le_bytes()), "{rows} of {sizes:?}");
                assert!(codes.of(rows as u32).is_empty() && codes.of(u32::MAX).is_empty());
            }
        }
    }

    #[test]
    fn rows_without_codes_take_them_from_all() {
        let mut codes = Codes::default();
        codes.push(3, &numbers(0, 3), &Charge::none());
        codes.push(2, &[], &Charge::none());
        codes.push(1, &numbers(5, 1), &Charge::none());
        assert_eq!((codes.stride(), codes.of(0), codes.of(5), codes.memory_bytes()), (0, &[][..], &[][..], 0));
    }

    #[test]
    fn what_is_held_is_counted_until_the_last_clone_is_gone() {
        let budget = Budget::new(None);
        let charge = budget.charge(Share::Delta, 0);
        let mut codes = Codes::default();
        codes.push(100, &numbers(0, 100), &charge);
        assert_eq!(budget.held(Share::Delta), codes.memory_bytes() as u64);
        let older = codes.clone();
        codes.push(1, &numbers(100, 1), &charge);
        assert_eq!(budget.held(Share::Delta), 3 * 64 * 8, "the last piece is there twice");
        drop(older);
        assert_eq!(budget.held(Share::Delta), codes.memory_bytes() as u64);
        drop(codes);
        assert_eq!(budget.held(Share::Delta), 0);
    }
}
