//! Which rows of a generation belong to which list, as of one view: sorted runs that merge as they age.

use std::sync::Arc;

use super::aging::to_merge_by;

/// Runs of one size class that become one. Every search goes through all runs, so there are fewer of them than of keys.
const FANOUT: usize = 4;
/// A run of this many rows is never merged again: a merge is done under the commit lock.
const SEALED_ROWS: usize = 1 << 16;
/// A run of at least one row for so many lists knows where each list begins; shorter ones are gone through.
const LISTS_PER_ROW: usize = 4;

/// Rows that follow each other, by list.
struct Run {
    first_row: u64,
    /// List in the upper half, row number - `first_row` in the lower; sorted.
    places: Box<[u64]>,
    /// Where the places of each list begin, and the end of the last; empty if the run is short.
    starts: Box<[u32]>,
}

/// A persistent map from lists to the rows of a generation. Each row is in one list: distances of rows in memory are exact, so a
/// second list would only bring the row twice. Cloning shares all runs: one for each 65,536 rows, and at most three of each of eight
/// smaller size classes behind the last of those.
#[derive(Clone)]
pub(crate) struct Members {
    lists: usize,
    runs: Vec<Arc<Run>>,
    memory: usize,
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

    fn has(&self, list: u64) -> bool {
        self.words.get((list / 64) as usize).is_some_and(|word| word >> (list % 64) & 1 == 1)
    }
}

impl Members {
    /// No rows, in so many lists.
    pub(super) fn new(lists: usize) -> Members {
        Members { lists, runs: Vec::new(), memory: 0 }
    }

    /// Number of lists.
    pub(crate) fn lists(&self) -> usize {
        self.lists
    }

    /// Adds the rows of a batch, which follow all earlier ones, with the list of each.
    pub(super) fn push(&mut self, first_row: u64, lists: &[u32]) {
        let mut places: Vec<u64> = lists.iter().zip(0u64..).map(|(list, at)| u64::from(*list) << 32 | at).collect();
        places.sort_unstable();
        self.add(Run::new(first_row, places, self.lists));
        loop {
            match to_merge_by(FANOUT, self.runs.iter().rev().map(|run| run.class())) {
                0 => return,
                count => self.merge(self.runs.len().saturating_sub(count)),
            }
        }
    }

    fn add(&mut self, run: Run) {
        self.memory += run.memory_bytes();
        self.runs.push(Arc::new(run));
    }

    /// Makes one run of the runs from `start` on.
    fn merge(&mut self, start: usize) {
        let Some(first_row) = self.runs.get(start).map(|run| run.first_row) else { return };
        let mut merged = Vec::with_capacity(self.runs[start..].iter().map(|run| run.places.len()).sum());
        for run in self.runs.drain(start..) {
            self.memory = self.memory.saturating_sub(run.memory_bytes());
            let base = run.first_row - first_row;
            merged.extend(run.places.iter().map(|place| place + base));
        }
        // This sort recognizes runs and merges them.
        merged.sort();
        self.add(Run::new(first_row, merged, self.lists));
    }

    /// Calls `visit` with the row number of every row in the lists `probed`, which are those of `marked`.
    pub(crate) fn for_each_in(
        &self,
        probed: impl Iterator<Item = u32> + Clone,
        marked: &Marked,
        mut visit: impl FnMut(u64),
    ) {
        for run in &self.runs {
            if run.starts.is_empty() {
                let inside = run.places.iter().filter(|place| marked.has(**place >> 32));
                inside.for_each(|place| visit(run.row(*place)));
                continue;
            }
            for list in probed.clone() {
                run.of_list(list).iter().for_each(|place| visit(run.row(*place)));
            }
        }
    }

    /// Heap bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory
    }
}

impl Run {
    /// `places` are sorted and name lists below `lists`.
    fn new(first_row: u64, places: Vec<u64>, lists: usize) -> Run {
        let starts = match places.len().saturating_mul(LISTS_PER_ROW) >= lists {
            true => starts(&places, lists),
            false => Vec::new(),
        };
        Run { first_row, places: places.into(), starts: starts.into() }
    }

    fn row(&self, place: u64) -> u64 {
        self.first_row + (place & 0xFFFF_FFFF)
    }

    fn of_list(&self, list: u32) -> &[u64] {
        let list = list as usize;
        let (Some(start), Some(end)) = (self.starts.get(list), self.starts.get(list + 1)) else { return &[] };
        self.places.get(*start as usize..*end as usize).unwrap_or_default()
    }

    fn class(&self) -> Option<u32> {
        (self.places.len() < SEALED_ROWS).then(|| self.places.len().max(1).ilog(FANOUT))
    }

    fn memory_bytes(&self) -> usize {
        self.places.len() * 8 + self.starts.len() * 4
    }
}

/// Where the places of each list begin, and the end of the last.
fn starts(places: &[u64], lists: usize) -> Vec<u32> {
    let mut starts = Vec::with_capacity(lists + 1);
    let mut at = 0;
    for list in 0..lists as u64 {
        starts.push(at as u32);
        while places.get(at).is_some_and(|place| place >> 32 == list) {
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
        let mut rows = Vec::new();
        members.for_each_in(probed.iter().copied(), &marked, |row| rows.push(row));
        rows.sort_unstable();
        rows
    }

    #[test]
    fn every_row_is_found_in_its_list_and_nowhere_else_however_batches_come() {
        const FIRST: u64 = 1_000;
        for (lists, sizes) in [(1u32, &[1usize][..]), (37, &[1, 3, 500, 2]), (5_000, &[1, 1, 1, 900, 30])] {
            let mut members = Members::new(lists as usize);
            let mut expected: Vec<Vec<u64>> = vec![Vec::new(); lists as usize];
            let mut row = FIRST;
            for size in sizes.iter().cycle().take(700) {
                let batch: Vec<u32> =
                    (row..).take(*size).map(|row| (row * 7919 % u64::from(lists)) as u32).collect();
                for (row, list) in (row..).zip(&batch) {
                    expected[*list as usize].push(row);
                }
                members.push(row, &batch);
                row += *size as u64;
            }
            assert!(members.runs.len() <= 3 * 8 + 4, "{} runs", members.runs.len());
            for probed in [vec![0], vec![lists / 2, lists - 1], (0..lists).step_by(3).collect()] {
                let mut probed: Vec<u32> = probed;
                probed.dedup();
                let mut rows: Vec<u64> = probed.iter().flat_map(|list| expected[*list as usize].clone()).collect();
                rows.sort_unstable();
                assert_eq!(found(&members, &probed), rows, "{lists} lists");
            }
            let bytes: usize = members.runs.iter().map(|run| run.memory_bytes()).sum();
            assert_eq!(members.memory_bytes(), bytes, "the sum that is kept is that of the runs");
        }
    }

    #[test]
    fn an_older_clone_sees_no_later_row_and_marks_do_not_outlive_their_search() {
        let mut members = Members::new(1_000);
        members.push(0, &[5, 6]);
        let older = members.clone();
        (2..100).for_each(|row| members.push(row, &[5]));
        assert_eq!((found(&older, &[5]), found(&members, &[5]).len()), (vec![0], 99));
        let mut marked = Marked::default();
        marked.set([5].into_iter(), 1_000);
        marked.set([6].into_iter(), 1_000);
        assert!(!marked.has(5) && marked.has(6) && !marked.has(1_000_000));
    }

    #[test]
    fn large_runs_are_left_alone() {
        let mut members = Members::new(8);
        let batch = vec![3; SEALED_ROWS];
        (0..5).for_each(|i| members.push(i * SEALED_ROWS as u64, &batch));
        assert_eq!(members.runs.len(), 5);
        assert_eq!(found(&members, &[3]).len(), 5 * SEALED_ROWS);
    }
}
