//! Which rows of a generation belong to which list, as of one view: the youngest in leaves, the others in sorted runs that merge as they age. With
//! them stand their codes, which tell most of a search's rows apart without a look at their vectors.

use std::sync::Arc;

use zerocopy::IntoBytes;

use super::aging::to_merge_by;
use super::codes::Codes;
use super::leaves::{Entries, Entry, Leaves};
use crate::budget::Charge;
use crate::kernel::kernels;

/// Runs of one size class that become one. Every search goes through all runs, so there are fewer of them than of keys.
const FANOUT: usize = 4;
/// The youngest rows become a run when they are so many, or a quarter as many as there are lists: a run knows where each list begins.
const YOUNG_ROWS: usize = 1 << 12;
const LISTS_PER_ROW: usize = 4;
/// A run of this many rows is never merged again: a merge is done under the commit lock.
const SEALED_ROWS: usize = 1 << 16;
/// Entries of a list that are asked for before the first is read; the processor guesses the rest.
const ASKED: usize = 16;

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
}

/// Rows that follow each other, by list.
struct Run {
    /// Rows, whatever lists they are in.
    rows: usize,
    /// List by list, in the order of the rows.
    entries: Box<[Entry]>,
    /// Where the entries of each list begin, and the end of the last.
    starts: Box<[u32]>,
    _charge: Charge,
}

/// A persistent map from lists to the rows of a generation. A row may be in a second list, so that as many of the fresh rows are found
/// as of those in files; a search that looks at both meets it in the first. Cloning copies a pointer for each 64 lists, for each run (one for
/// each 65,536 rows, and at most three of each smaller size class behind the last of those) and for each 4,096 codes.
#[derive(Clone)]
pub(crate) struct Members {
    lists: usize,
    /// Row numbers are counted from here: the first row of the generation.
    first_row: u64,
    rows: usize,
    /// Oldest first.
    runs: Vec<Arc<Run>>,
    young: Leaves,
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

    fn has(&self, list: u32) -> bool {
        self.words.get(list as usize / 64).is_some_and(|word| word >> (list % 64) & 1 == 1)
    }
}

impl Members {
    /// No rows, in so many lists; the first one will have the number `first_row`.
    pub(super) fn new(first_row: u64, lists: usize) -> Members {
        let (runs, young, codes) = (Vec::new(), Leaves::new(lists), Codes::default());
        Members { lists, first_row, rows: 0, runs, young, codes, energy: 0.0 }
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

    /// The code of a row that [`in_lists`](Self::in_lists) named; empty if it has none.
    pub(crate) fn code(&self, row: u32) -> &[u8] {
        self.codes.of(row)
    }

    /// The number of a row that [`in_lists`](Self::in_lists) named.
    pub(crate) fn number(&self, row: u32) -> u64 {
        self.first_row + u64::from(row)
    }

    /// Adds the rows of a batch, which follow all earlier ones, with the lists of each. Their memory is counted where `charge` is.
    pub(super) fn push(&mut self, lists: &RowLists, charge: &Charge) {
        self.energy += lists.energy;
        self.young.push(self.rows as u32, &lists.pairs, charge);
        self.codes.push(lists.pairs.len(), &lists.codes, charge);
        self.rows += lists.pairs.len();
        if self.young.rows() >= YOUNG_ROWS.max(self.lists / LISTS_PER_ROW).min(SEALED_ROWS) {
            let young = std::mem::replace(&mut self.young, Leaves::new(self.lists));
            self.runs.push(Arc::new(Run::of(&[&young], young.rows(), young.entries(), self.lists, charge)));
            self.merge_as_they_age(charge);
        }
    }

    fn merge_as_they_age(&mut self, charge: &Charge) {
        loop {
            let count = to_merge_by(FANOUT, self.runs.iter().rev().map(|run| run.class()));
            if count == 0 {
                return;
            }
            let parts: Vec<Arc<Run>> = self.runs.drain(self.runs.len().saturating_sub(count)..).collect();
            let (rows, entries) = parts.iter().fold((0, 0), |sum, run| (sum.0 + run.rows, sum.1 + run.entries.len()));
            let parts: Vec<&dyn Entries> = parts.iter().map(|run| &**run as &dyn Entries).collect();
            self.runs.push(Arc::new(Run::of(&parts, rows, entries, self.lists, charge)));
        }
    }

    /// Writes to `rows` every row in the lists `probed`, which are those of `marked`; once, also if both lists of a row are among them. Rows
    /// are counted from the first of the generation, and in no order.
    pub(crate) fn in_lists(&self, probed: impl Iterator<Item = u32> + Clone, marked: &Marked, rows: &mut Vec<u32>) {
        rows.clear();
        self.ask(probed.clone());
        let mut offer = |entries: &[Entry]| {
            let once = entries.iter().filter(|entry| !marked.has(entry.first));
            rows.extend(once.map(|entry| entry.row));
        };
        for list in probed.clone() {
            offer(self.young.of_list(list));
        }
        for run in &self.runs {
            probed.clone().for_each(|list| offer(run.of_list(list)));
        }
    }

    /// Asks for the entries of lists: where each begins is asked for first, for all of them.
    fn ask(&self, lists: impl Iterator<Item = u32> + Clone) {
        let kernels = kernels();
        let first = |entries: &[Entry]| {
            kernels.prefetch(entries.get(..entries.len().min(ASKED)).unwrap_or_default().as_bytes())
        };
        lists.clone().for_each(|list| {
            kernels.prefetch(self.young.end_of(list));
            self.runs.iter().for_each(|run| kernels.prefetch(run.start_of(list)));
        });
        lists.for_each(|list| {
            first(self.young.of_list(list));
            self.runs.iter().for_each(|run| first(run.of_list(list)));
        });
    }

    /// Heap bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        let runs: usize = self.runs.iter().map(|run| run.memory_bytes()).sum();
        runs + self.young.memory_bytes() + self.codes.memory_bytes()
    }
}

impl Run {
    /// The entries of all parts, the oldest part first: so many rows and entries.
    fn of(parts: &[&dyn Entries], rows: usize, entries: usize, lists: usize, charge: &Charge) -> Run {
        let mut starts = Vec::with_capacity(lists + 1);
        let mut of_lists = Vec::with_capacity(entries);
        for list in 0..lists {
            starts.push(of_lists.len() as u32);
            parts.iter().for_each(|part| of_lists.extend_from_slice(part.of_list(list as u32)));
        }
        starts.push(of_lists.len() as u32);
        let bytes = of_lists.len() * size_of::<Entry>() + starts.len() * 4;
        Run { rows, entries: of_lists.into(), starts: starts.into(), _charge: charge.another(bytes as u64) }
    }

    /// The memory that [`of_list`](Entries::of_list) reads first, to be asked for.
    fn start_of(&self, list: u32) -> &[u8] {
        self.starts.get(list as usize..list as usize + 1).unwrap_or_default().as_bytes()
    }

    fn class(&self) -> Option<u32> {
        (self.rows < SEALED_ROWS).then(|| self.rows.max(1).ilog(FANOUT))
    }

    fn memory_bytes(&self) -> usize {
        self.entries.len() * size_of::<Entry>() + self.starts.len() * 4
    }
}

impl Entries for Run {
    fn of_list(&self, list: u32) -> &[Entry] {
        let list = list as usize;
        let (Some(start), Some(end)) = (self.starts.get(list), self.starts.get(list + 1)) else { return &[] };
        self.entries.get(*start as usize..*end as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, Share};
    use crate::kernel::cluster::NO_LIST;

    fn found(members: &Members, probed: &[u32]) -> Vec<u64> {
        let mut marked = Marked::default();
        marked.set(probed.iter().copied(), members.lists());
        let mut rows = vec![7];
        members.in_lists(probed.iter().copied(), &marked, &mut rows);
        for row in &rows {
            let own = members.number(*row).to_le_bytes();
            assert!(members.code_bytes() == 0 || members.code(*row) == own, "the code of another row");
        }
        let mut numbers: Vec<u64> = rows.into_iter().map(|row| members.number(row)).collect();
        numbers.sort_unstable();
        numbers
    }

    fn of(pairs: Vec<ListPair>) -> RowLists {
        RowLists { energy: 2.0 * pairs.len() as f64, pairs, codes: Vec::new() }
    }

    /// The same for rows from `first` on, their numbers as their codes.
    fn coded(first: u64, pairs: Vec<ListPair>) -> RowLists {
        let codes = (first..).take(pairs.len()).flat_map(u64::to_le_bytes).collect();
        RowLists { codes, ..of(pairs) }
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
            assert!(members.runs.len() <= 3 * 3 + 1, "{} runs", members.runs.len());
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
        assert!(!members.runs.is_empty(), "some have become a run");
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
    fn large_runs_are_left_alone() {
        let mut members = Members::new(0, 8);
        let batch = of(vec![[3, NO_LIST]; SEALED_ROWS]);
        (0..5).for_each(|_| members.push(&batch, &Charge::none()));
        assert_eq!(members.runs.len(), 5);
        assert_eq!(found(&members, &[3]).len(), 5 * SEALED_ROWS);
    }
}
