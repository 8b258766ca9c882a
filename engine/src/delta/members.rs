//! Which rows of a generation belong to which list, as of one view. With them stand their codes, which tell most of a search's rows apart
//! without a look at their vectors: signs in the lists, as in segments, and one code of more bits for each row.

use super::codes::Codes;
use super::leaves::{BatchCodes, Leaves, ListRows};
use crate::budget::Charge;
use crate::kernel::kernels;

/// The lists of a row: the nearest, and the second or [`NO_LIST`](crate::kernel::cluster::NO_LIST).
pub(crate) type ListPair = [u32; 2];

/// The lists of the rows of a batch, by one model.
#[derive(Debug, Default)]
pub(crate) struct RowLists {
    /// In the order of the rows.
    pub(crate) pairs: Vec<ListPair>,
    /// The sum of the squared distances of the rows from the centroids of their first lists.
    pub(crate) energy: f64,
    /// A code for each row, all of one length, end to end; empty if they have none.
    pub(crate) codes: Vec<u8>,
    /// A [sign code](super::sign_code_bytes) for each of so many lists of each row, end to end; empty if they have none.
    pub(crate) signs: Vec<u8>,
    /// How many lists have room there.
    pub(crate) signs_per_row: usize,
}

/// A persistent map from lists to the rows of a generation. A row may be in a second list, so that as many of the fresh rows are found
/// as of those in files; a search that looks at both meets it in the first. Cloning copies a pointer for each 64 lists and for each 4,096 codes.
#[derive(Clone)]
pub(crate) struct Members {
    lists: usize,
    /// Row numbers are counted from here: the first row of the generation.
    first_row: u64,
    rows: usize,
    leaves: Leaves,
    /// Bytes of a row's code in a list; 0 if there are none, or not one for each row.
    sign_bytes: usize,
    codes: Codes,
    energy: f64,
}

/// The lists that a search looks at, as bits. The room is kept between searches.
#[derive(Default)]
pub(crate) struct Marked {
    words: Vec<u64>,
}

impl Marked {
    /// Marks these lists, all of them below `lists`, and no others.
    pub(crate) fn set(&mut self, marked: impl Iterator<Item = u32>, lists: usize) {
        self.words.clear();
        self.words.resize(lists.div_ceil(64), 0);
        for list in marked {
            if let Some(word) = self.words.get_mut(list as usize / 64) {
                *word |= 1 << (list % 64);
            }
        }
    }

    /// Whether a list is marked.
    pub(crate) fn has(&self, list: u32) -> bool {
        self.words.get(list as usize / 64).is_some_and(|word| word >> (list % 64) & 1 == 1)
    }
}

impl Members {
    /// No rows, in so many lists; the first one will have the number `first_row`.
    pub(super) fn new(first_row: u64, lists: usize) -> Members {
        let (leaves, codes) = (Leaves::new(lists), Codes::default());
        Members { lists, first_row, rows: 0, leaves, sign_bytes: 0, codes, energy: 0.0 }
    }

    /// Number of lists.
    pub(crate) fn lists(&self) -> usize {
        self.lists
    }

    /// The sum of the squared distances of all rows from the centroids of their first lists.
    pub(crate) fn energy(&self) -> f64 {
        self.energy
    }

    /// Bytes of a row's code; 0 if rows have none.
    pub(crate) fn code_bytes(&self) -> usize {
        self.codes.stride()
    }

    /// The code of a row of an entry; empty if it has none.
    pub(crate) fn code(&self, row: u32) -> &[u8] {
        self.codes.of(row)
    }

    /// The number of a row of an entry.
    pub(crate) fn number(&self, row: u32) -> u64 {
        self.first_row + u64::from(row)
    }

    /// Bytes of the code of a row in a list; 0 if rows have none there.
    pub(crate) fn sign_bytes(&self) -> usize {
        self.sign_bytes
    }

    /// Adds the rows of a batch, which follow all earlier ones, with the lists of each. Their memory is counted where `charge` is. Once rows
    /// come without sign codes, or with others than those before, later ones get none, and searches look at each row's own code.
    pub(super) fn push(&mut self, lists: &RowLists, charge: &Charge) {
        let places = lists.pairs.len().saturating_mul(lists.signs_per_row);
        let stride = lists.signs.len().checked_div(places).unwrap_or(0);
        if self.rows == 0 {
            self.sign_bytes = stride;
        }
        let whole = stride != 0 && stride == self.sign_bytes && lists.signs.len() == places * stride;
        if !whole {
            self.sign_bytes = 0;
        }
        let bytes = if whole { &lists.signs[..] } else { &[] };
        let signs = BatchCodes { stride, per_row: lists.signs_per_row, bytes };
        self.energy += lists.energy;
        self.leaves.push(self.rows as u32, &lists.pairs, signs, charge);
        self.codes.push(lists.pairs.len(), &lists.codes, charge);
        self.rows += lists.pairs.len();
    }

    /// The rows in a list: also those whose second list it is.
    pub(crate) fn of_list(&self, list: u32) -> ListRows<'_> {
        self.leaves.of_list(list, self.sign_bytes)
    }

    /// Asks for what a search of these lists reads first. What one thing points to is asked for when that thing was asked for of all lists.
    pub(crate) fn ask(&self, lists: impl Iterator<Item = u32> + Clone) {
        let kernels = kernels();
        lists.clone().for_each(|list| self.leaves.ask(kernels, list));
        lists.clone().for_each(|list| self.of_list(list).ask(kernels));
        for piece in lists.flat_map(|list| self.of_list(list).pieces) {
            piece.ask(kernels);
        }
    }

    /// Heap bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.leaves.memory_bytes() + self.codes.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::piece::{Entry, append_sign_code, sign_code_bytes};
    use super::*;
    use crate::budget::{Budget, Share};
    use crate::kernel::cluster::NO_LIST;
    use crate::kernel::code::residual::{Coded, SignFactors};
    use crate::kernel::code::sign_block::{BLOCK, block_bytes, take_signs};

    fn found(members: &Members, probed: &[u32]) -> Vec<u64> {
        let mut marked = Marked::default();
        marked.set(probed.iter().copied(), members.lists());
        let mut rows = Vec::new();
        for list in probed.iter().map(|list| members.of_list(*list)) {
            assert!(list.pieces.is_empty() || list.loose.is_empty());
            let entries = list.loose.iter().chain(list.pieces.iter().flat_map(|piece| piece.entries()));
            rows.extend(entries.filter(|entry| !marked.has(entry.first)).map(|entry| entry.row));
        }
        for row in &rows {
            let own = members.number(*row).to_le_bytes();
            assert!(members.code_bytes() == 0 || members.code(*row) == own, "the code of another row");
        }
        let mut numbers: Vec<u64> = rows.into_iter().map(|row| members.number(row)).collect();
        numbers.sort_unstable();
        numbers
    }

    fn of(pairs: Vec<ListPair>) -> RowLists {
        RowLists { energy: 2.0 * pairs.len() as f64, pairs, ..RowLists::default() }
    }

    /// The same for rows from `first` on, their numbers as their codes, and in the signs of each list.
    fn coded(first: u64, pairs: Vec<ListPair>) -> RowLists {
        let codes = (first..).take(pairs.len()).flat_map(u64::to_le_bytes).collect();
        let sign = |row: u64, list: u32| {
            let mut code = Vec::new();
            let signs = (row ^ u64::from(list)).to_le_bytes().to_vec();
            append_sign_code(&Coded::of_signs(signs, SignFactors::default()), &mut code);
            code
        };
        let signs = (first..).zip(&pairs).flat_map(|(row, pair)| pair.iter().flat_map(move |list| sign(row, *list)));
        RowLists { codes, signs: signs.collect(), signs_per_row: 2, ..of(pairs) }
    }

    fn pair(row: u64, lists: u32) -> ListPair {
        let first = (row * 7919 % u64::from(lists)) as u32;
        match row % 3 {
            0 => [first, NO_LIST],
            _ => [first, (row * 31 % u64::from(lists)) as u32],
        }
    }

    #[test]
    fn every_row_is_found_once_in_its_lists_and_nowhere_else_however_batches_come() {
        const FIRST: u64 = 1_000;
        for (lists, sizes) in [(1u32, &[1usize][..]), (37, &[1, 3, 500, 2]), (40_000, &[1, 1, 1, 900, 30])] {
            let mut members = Members::new(FIRST, lists as usize);
            let mut end = FIRST;
            for size in sizes.iter().cycle().take(700) {
                let batch = coded(end, (end..).take(*size).map(|row| pair(row, lists)).collect());
                members.push(&batch, &Charge::none());
                end += *size as u64;
            }
            let most = (0..lists).map(|list| members.of_list(list).pieces.len()).max();
            assert!(most.is_some_and(|most| most <= 3 * 3 + 1 + (end - FIRST) as usize / 2_048), "{most:?} pieces");
            for probed in [vec![0], vec![lists / 2, lists - 1], (0..lists).step_by(3).collect::<Vec<u32>>()] {
                let mut probed: Vec<u32> = probed;
                probed.dedup();
                let inside = |row: &u64| pair(*row, lists).iter().any(|list| probed.contains(list));
                assert_eq!(found(&members, &probed), (FIRST..end).filter(inside).collect::<Vec<_>>(), "{lists} lists");
            }
        }
    }

    #[test]
    fn what_is_held_is_counted_and_given_back() {
        let budget = Budget::new(None);
        let charge = budget.charge(Share::Delta, 0);
        let mut members = Members::new(0, 300);
        for batch in 0..400u64 {
            let first = batch * 50;
            members.push(&coded(first, (first..first + 50).map(|row| pair(row, 300)).collect()), &charge);
            assert_eq!(budget.held(Share::Delta), members.memory_bytes() as u64, "after batch {batch}");
        }
        assert!((0..300).any(|list| members.of_list(list).pieces.len() > 1), "some lists are in pieces");
        drop(members);
        assert_eq!(budget.held(Share::Delta), 0);
    }

    #[test]
    fn an_older_clone_sees_no_later_row_and_marks_do_not_outlive_their_search() {
        let mut members = Members::new(0, 1_000);
        members.push(&of(vec![[5, NO_LIST], [6, 7]]), &Charge::none());
        let older = members.clone();
        (2..100).for_each(|_| members.push(&of(vec![[5, 9]]), &Charge::none()));
        assert_eq!((found(&older, &[5]), found(&members, &[5]).len()), (vec![0], 99));
        assert_eq!((older.energy(), members.energy()), (4.0, 4.0 + 98.0 * 2.0));
        assert_eq!((found(&older, &[7, 6]), found(&members, &[9, 5]).len()), (vec![1], 99));
        let mut marked = Marked::default();
        marked.set([5].into_iter(), 1_000);
        marked.set([6].into_iter(), 1_000);
        assert!(!marked.has(5) && marked.has(6) && !marked.has(1_000_000));
    }

    #[test]
    fn every_entry_of_a_list_has_the_code_of_its_row_in_that_list() {
        let mut members = Members::new(7, 400);
        let mut end = 7;
        for size in [1u64, 5, 900, 2, 64, 700] {
            members.push(&coded(end, (end..end + size).map(|row| pair(row, 400)).collect()), &Charge::none());
            end += size;
        }
        let (mut signs, mut rows, mut kinds) = (Vec::new(), 0, [0; 2]);
        for list in 0..400 {
            let all = members.of_list(list);
            kinds[usize::from(all.pieces.is_empty())] += 1;
            let mut check = |entry: &Entry, signs: &[u8]| {
                assert_eq!(signs, (members.number(entry.row) ^ u64::from(list)).to_le_bytes());
                rows += usize::from(entry.first == NO_LIST);
            };
            assert_eq!(all.codes.len(), all.loose.len() * sign_code_bytes(64));
            for (entry, code) in all.loose.iter().zip(all.codes.chunks(sign_code_bytes(64))) {
                check(entry, &code[..8]);
            }
            for piece in all.pieces {
                let codes = piece.codes().unwrap();
                for (i, entry) in piece.entries().iter().enumerate() {
                    take_signs(&codes.codes[i / BLOCK * block_bytes(64)..][..block_bytes(64)], i % BLOCK, &mut signs);
                    check(entry, &signs);
                }
            }
        }
        assert!(kinds.iter().all(|count| *count > 10), "few and many rows: {kinds:?}");
        assert_eq!(rows as u64, end - 7);
    }

    #[test]
    fn rows_without_sign_codes_take_them_from_later_ones_and_all_are_found() {
        let mut members = Members::new(0, 4);
        members.push(&coded(0, vec![[1, 2]; 40]), &Charge::none());
        assert_eq!(members.sign_bytes(), sign_code_bytes(64));
        members.push(&of(vec![[1, 2]; 40]), &Charge::none());
        members.push(&coded(80, vec![[1, 2]; 40]), &Charge::none());
        assert_eq!((members.sign_bytes(), found(&members, &[2, 1]).len(), found(&members, &[2]).len()), (0, 120, 120));
    }

    #[test]
    fn many_rows_of_one_list_are_in_few_pieces_that_are_left_alone_when_they_are_large() {
        let mut members = Members::new(0, 8);
        (0..300).for_each(|i| members.push(&coded(i * 1_000, vec![[3, NO_LIST]; 1_000]), &Charge::none()));
        let pieces = members.of_list(3).pieces;
        let largest = pieces.iter().map(|piece| piece.entries().len()).max();
        assert!(pieces.len() < 300_000 / 2_048 + 11 && largest < Some(4 * 2_048), "{} {largest:?}", pieces.len());
        assert_eq!(found(&members, &[3]).len(), 300_000);
    }
}
