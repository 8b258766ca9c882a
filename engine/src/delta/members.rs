//! Which rows of a generation belong to which list, as of one view: sorted runs that merge as they age. With the rows of a run stand their
//! codes, which tell most of a search's rows apart without a look at their vectors.

use std::sync::Arc;

use zerocopy::{Immutable, IntoBytes};

use super::aging::to_merge_by;
use crate::budget::Charge;
use crate::kernel::cluster::NO_LIST;
use crate::kernel::{Kernels, kernels};

/// Runs of one size class that become one. Every search goes through all runs, so there are fewer of them than of keys.
const FANOUT: usize = 4;
/// A run of this many rows is never merged again: a merge is done under the commit lock.
const SEALED_ROWS: usize = 1 << 16;
/// A run of at least one row for so many lists knows where each list begins; shorter ones are gone through.
const LISTS_PER_ROW: usize = 4;
/// Entries of a list that are asked for before the first is read; the processor guesses the rest.
const ASKED: usize = 16;

/// The lists of a row: the nearest, and the second or [`NO_LIST`].
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

/// A row in a list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoBytes, Immutable)]
#[repr(C)]
struct Entry {
    list: u32,
    /// Row number, less the first of the run.
    row: u32,
    /// In the second list of the row its first list, else [`NO_LIST`].
    first: u32,
}

/// Rows that follow each other, by list.
struct Run {
    first_row: u64,
    /// Rows, whatever lists they are in.
    rows: usize,
    /// Sorted.
    entries: Box<[Entry]>,
    /// Where the entries of each list begin, and the end of the last; empty if the run is short.
    starts: Box<[u32]>,
    /// Codes of the rows, in their order; empty if they have none.
    codes: Box<[u8]>,
    charge: Charge,
}

/// Rows of one run that are in lists a search looks at.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    /// Row number of the first row of the run.
    pub(crate) first_row: u64,
    /// Rows, each less the first of the run; in no order.
    pub(crate) rows: &'a [u32],
    /// Codes of all rows of the run, from the first on; empty if they have none.
    pub(crate) codes: &'a [u8],
}

/// A persistent map from lists to the rows of a generation. A row may be in a second list, so that as many of the fresh rows are found
/// as of those in files; a search that looks at both meets it in the first. Cloning shares all runs: one for each 65,536 rows, and at
/// most three of each of eight smaller size classes behind the last of those.
#[derive(Clone)]
pub(crate) struct Members {
    lists: usize,
    runs: Vec<Arc<Run>>,
    memory: usize,
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
    /// No rows, in so many lists.
    pub(super) fn new(lists: usize) -> Members {
        Members { lists, runs: Vec::new(), memory: 0, energy: 0.0 }
    }

    /// Number of lists.
    pub(crate) fn lists(&self) -> usize {
        self.lists
    }

    /// The sum of the squared distances of all rows from the centroids of their first lists.
    pub(crate) fn energy(&self) -> f64 {
        self.energy
    }

    /// Adds the rows of a batch, which follow all earlier ones, with the lists of each. Their memory is counted where `charge` is.
    pub(super) fn push(&mut self, first_row: u64, lists: &RowLists, charge: &Charge) {
        self.energy += lists.energy;
        let (lists, codes) = (&lists.pairs, &lists.codes);
        let mut entries = Vec::with_capacity(lists.len() * 2);
        for ([first, second], row) in lists.iter().zip(0u32..) {
            entries.push(Entry { list: *first, row, first: NO_LIST });
            if second != first && *second != NO_LIST {
                entries.push(Entry { list: *second, row, first: *first });
            }
        }
        entries.sort_unstable();
        self.add(Run::new(first_row, lists.len(), entries, codes.clone(), self.lists), charge);
        loop {
            match to_merge_by(FANOUT, self.runs.iter().rev().map(|run| run.class())) {
                0 => return,
                count => self.merge(self.runs.len().saturating_sub(count), charge),
            }
        }
    }

    fn add(&mut self, mut run: Run, charge: &Charge) {
        run.charge = charge.another(run.memory_bytes() as u64);
        self.memory += run.memory_bytes();
        self.runs.push(Arc::new(run));
    }

    /// Makes one run of the runs from `start` on.
    fn merge(&mut self, start: usize, charge: &Charge) {
        let Some(first_row) = self.runs.get(start).map(|run| run.first_row) else { return };
        let mut rows = 0;
        let mut merged = Vec::with_capacity(self.runs[start..].iter().map(|run| run.entries.len()).sum());
        let mut codes = Vec::with_capacity(self.runs[start..].iter().map(|run| run.codes.len()).sum());
        let stride = self.runs[start].code_bytes();
        let alike = self.runs[start..].iter().all(|run| run.code_bytes() == stride);
        for run in self.runs.drain(start..) {
            self.memory = self.memory.saturating_sub(run.memory_bytes());
            let base = (run.first_row - first_row) as u32;
            merged.extend(run.entries.iter().map(|entry| Entry { row: entry.row + base, ..*entry }));
            if alike {
                codes.extend_from_slice(&run.codes);
            }
            rows += run.rows;
        }
        // This sort recognizes runs and merges them.
        merged.sort();
        self.add(Run::new(first_row, rows, merged, codes, self.lists), charge);
    }

    /// Calls `visit`, run by run, with every row in the lists `probed`, which are those of `marked`; once, also if both lists of a row are
    /// among them. `rows` is room for their numbers.
    pub(crate) fn for_each_run(
        &self,
        probed: impl Iterator<Item = u32> + Clone,
        marked: &Marked,
        rows: &mut Vec<u32>,
        mut visit: impl FnMut(Found<'_>),
    ) {
        for run in &self.runs {
            rows.clear();
            run.ask(probed.clone(), kernels());
            let mut offer = |entry: &Entry| {
                if entry.first == NO_LIST || !marked.has(entry.first) {
                    rows.push(entry.row);
                }
            };
            match run.starts.is_empty() {
                true => run.entries.iter().filter(|entry| marked.has(entry.list)).for_each(&mut offer),
                false => probed.clone().for_each(|list| run.of_list(list).iter().for_each(&mut offer)),
            }
            if !rows.is_empty() {
                visit(Found { first_row: run.first_row, rows, codes: &run.codes });
            }
        }
    }

    /// Heap bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory
    }
}

impl Run {
    /// `entries` are sorted and name lists below `lists`.
    fn new(first_row: u64, rows: usize, entries: Vec<Entry>, codes: Vec<u8>, lists: usize) -> Run {
        let starts = match entries.len().saturating_mul(LISTS_PER_ROW) >= lists {
            true => starts(&entries, lists),
            false => Vec::new(),
        };
        Run {
            first_row,
            rows,
            entries: entries.into(),
            starts: starts.into(),
            codes: codes.into(),
            charge: Charge::none(),
        }
    }

    /// Bytes of the code of a row.
    fn code_bytes(&self) -> usize {
        self.codes.len().checked_div(self.rows).unwrap_or(0)
    }

    fn of_list(&self, list: u32) -> &[Entry] {
        let list = list as usize;
        let (Some(start), Some(end)) = (self.starts.get(list), self.starts.get(list + 1)) else { return &[] };
        self.entries.get(*start as usize..*end as usize).unwrap_or_default()
    }

    /// Asks for the entries of lists: where each begins is asked for first, for all of them.
    fn ask(&self, lists: impl Iterator<Item = u32> + Clone, kernels: &Kernels) {
        if !self.starts.is_empty() {
            let start = |list: u32| self.starts.get(list as usize..list as usize + 1).unwrap_or_default();
            lists.clone().for_each(|list| kernels.prefetch(start(list).as_bytes()));
            lists.for_each(|list| {
                let entries = self.of_list(list);
                kernels.prefetch(entries.get(..entries.len().min(ASKED)).unwrap_or_default().as_bytes());
            });
        }
    }

    fn class(&self) -> Option<u32> {
        (self.rows < SEALED_ROWS).then(|| self.rows.max(1).ilog(FANOUT))
    }

    fn memory_bytes(&self) -> usize {
        self.entries.len() * size_of::<Entry>() + self.starts.len() * 4 + self.codes.len()
    }
}

/// Where the entries of each list begin, and the end of the last.
fn starts(entries: &[Entry], lists: usize) -> Vec<u32> {
    let mut starts = Vec::with_capacity(lists + 1);
    let mut at = 0;
    for list in 0..lists {
        starts.push(at as u32);
        while entries.get(at).is_some_and(|entry| entry.list as usize == list) {
            at += 1;
        }
    }
    starts.push(at as u32);
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(members: &Members, probed: &[u32]) -> Vec<u64> {
        let mut marked = Marked::default();
        marked.set(probed.iter().copied(), members.lists());
        let (mut rows, mut room) = (Vec::new(), Vec::new());
        members.for_each_run(probed.iter().copied(), &marked, &mut room, |found| {
            for row in found.rows {
                let number = found.first_row + u64::from(*row);
                let code = found.codes.as_chunks::<8>().0.get(*row as usize);
                assert!(found.codes.is_empty() || code == Some(&number.to_le_bytes()), "the code of another row");
                rows.push(number);
            }
        });
        rows.sort_unstable();
        rows
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
        for (lists, sizes) in [(1u32, &[1usize][..]), (37, &[1, 3, 500, 2]), (5_000, &[1, 1, 1, 900, 30])] {
            let mut members = Members::new(lists as usize);
            let mut end = FIRST;
            for size in sizes.iter().cycle().take(700) {
                members.push(
                    end,
                    &coded(end, (end..).take(*size).map(|row| pair(row, lists)).collect()),
                    &Charge::none(),
                );
                end += *size as u64;
            }
            assert!(members.runs.len() <= 3 * 8 + 4, "{} runs", members.runs.len());
            for probed in [vec![0], vec![lists / 2, lists - 1], (0..lists).step_by(3).collect::<Vec<u32>>()] {
                let mut probed: Vec<u32> = probed;
                probed.dedup();
                let inside = |row: &u64| pair(*row, lists).iter().any(|list| probed.contains(list));
                assert_eq!(found(&members, &probed), (FIRST..end).filter(inside).collect::<Vec<_>>(), "{lists} lists");
            }
            let codes: usize = members.runs.iter().map(|run| run.codes.len()).sum();
            assert_eq!(codes as u64, 8 * (end - FIRST), "a code for each row");
            let bytes: usize = members.runs.iter().map(|run| run.memory_bytes()).sum();
            assert_eq!(members.memory_bytes(), bytes, "the sum that is kept is that of the runs");
        }
    }

    #[test]
    fn an_older_clone_sees_no_later_row_and_marks_do_not_outlive_their_search() {
        let mut members = Members::new(1_000);
        members.push(0, &of(vec![[5, NO_LIST], [6, 7]]), &Charge::none());
        let older = members.clone();
        (2..100).for_each(|row| members.push(row, &of(vec![[5, 9]]), &Charge::none()));
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
        let mut members = Members::new(8);
        let batch = of(vec![[3, NO_LIST]; SEALED_ROWS]);
        (0..5).for_each(|i| members.push(i * SEALED_ROWS as u64, &batch, &Charge::none()));
        assert_eq!(members.runs.len(), 5);
        assert_eq!(found(&members, &[3]).len(), 5 * SEALED_ROWS);
    }
}
