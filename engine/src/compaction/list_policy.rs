//! Which list segments to merge, and which rows to file: arithmetic on counts, no files.
//!
//! Segments are in the order of their rows. Two segments may become one unless a row file that is not in lists lies between them: its rows
//! will get a segment of their own there, or they are of two models. Otherwise the rules are those of row files. What is of an older model is
//! filed again and not merged before.

use std::ops::Range;

use super::policy::{FileState, Policy, choose, choose_full};

/// A list segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListState {
    pub(crate) rows: u64,
    /// Rows that are dead, or in no row file any more.
    pub(crate) dead: u64,
    pub(crate) bytes: u64,
    /// The most bytes that its entries take in a new file.
    pub(crate) rewritten: u64,
    /// Row files before it that are not in lists.
    pub(crate) unfiled_before: usize,
    /// Whether it is of an older model than new rows are filed by.
    pub(crate) old: bool,
}

impl ListState {
    /// Of a segment of so many rows and bytes that was just made.
    pub(crate) fn of_new_file(rows: u64, bytes: u64) -> ListState {
        ListState { rows, dead: 0, bytes, rewritten: bytes, unfiled_before: 0, old: false }
    }
}

/// The dead part with which lists are rewritten at the latest, and the least that a policy that rewrites them sooner still waits for with training: to
/// train is to rewrite them.
const MOST_DEAD: f64 = 0.27;
const LEAST_CAME: f64 = 0.2;
/// The part of the entries, in memory, that is not worth a small file.
const MORE_IN_MEMORY: f64 = 0.1;
/// The dead part that is worth it where searches scan too many entries all in all.
const LEAST_DEAD: f64 = 0.08;

/// The part of the rows that are new when a model that suits them a little less is to be trained anew: about as many as are dead when lists are
/// rewritten in any case. And the part of the entries that searches may scan in vain, for dead rows and because lists have become uneven.
pub(crate) fn many_rows(policy: &Policy) -> f64 {
    policy.dead_ratio.clamp(LEAST_CAME, MOST_DEAD)
}

/// Entries that searches may scan for each that they would scan of live rows alone, before lists are made anew for that.
pub(crate) fn most_in_files(policy: &Policy) -> f64 {
    1.0 + many_rows(policy)
}

/// Entries that searches may scan, rows in memory among them, for each that they would scan of live rows alone: with more a delta moves to files before
/// it is full, by another model if that is why. More than with which lists are rewritten then: small files cost more, and rows that died in memory never get into one. A policy that
/// waits with dead rows as long as can be, to write less, waits for full deltas too.
pub(crate) fn most_in_memory(policy: &Policy) -> f64 {
    match many_rows(policy) {
        many if many >= MOST_DEAD => f64::INFINITY,
        many => 1.0 + many + MORE_IN_MEMORY,
    }
}

/// The segments to merge next by the automatic rules, or, in a full compaction, by those that leave as few as can be. `scanned`: entries that
/// searches scan for each of live rows, as lists were when they were new.
pub(crate) fn choose_lists(lists: &[ListState], policy: &Policy, full: bool, scanned: f64) -> Option<Range<usize>> {
    let most_dead = if scanned > most_in_files(policy) { LEAST_DEAD } else { MOST_DEAD };
    let policy = &Policy { dead_ratio: policy.dead_ratio.min(most_dead), ..*policy };
    let mut end = lists.len();
    lists.chunk_by(|a, b| a.unfiled_before == b.unfiled_before && a.old == b.old).rev().find_map(|run| {
        end -= run.len();
        if run.first().is_some_and(|list| list.old) {
            return None;
        }
        let state = |list: &ListState| FileState {
            rows: list.rows,
            dead: list.dead.min(list.rows),
            bytes: list.bytes,
            // They are the lists: their dead are scanned.
            in_lists: false,
            excess: false,
            width: None,
        };
        let states: Vec<FileState> = run.iter().map(state).collect();
        let range = if full { choose_full(&states, policy) } else { choose(&states, policy) };
        range.map(|range| range.start + end..range.end + end)
    })
}

/// Segments that are converted at a time at most, so that not much is lost when that is interrupted.
const MOST_CONVERTED: usize = 4;
/// A segment with so many times the rows of those after it is converted by itself, after them.
const MUCH_LARGER: u64 = 8;

/// The youngest segments that are of an older model, neighbours without rows to be filed between them, a few with at most so many rows together,
/// or one. `None` once all are of the newest. The youngest have the rows that the older model suits least; they are few, and off its lists
/// long before a large segment is.
pub(crate) fn next_old(lists: &[ListState], most_rows: u64) -> Option<Range<usize>> {
    let last = lists.iter().rposition(|list| list.old)?;
    let before = lists.get(last)?.unfiled_before;
    let mut rows = 0u64;
    let fits = |list: &&ListState| {
        let much_larger = rows > 0 && list.rows > rows.saturating_mul(MUCH_LARGER);
        rows = rows.saturating_add(list.rows);
        list.old && list.unfiled_before == before && rows <= most_rows && !much_larger
    };
    let count = lists.get(..=last)?.iter().rev().take(MOST_CONVERTED).take_while(fits).count().max(1);
    Some(last + 1 - count..last + 1)
}

/// Rows from which on a collection has a model: some thousand for one that asked for lists, or as many as its number of lists needs; more for one
/// that decides itself.
pub(crate) fn rows_for_lists(asked: bool, nlist: Option<u32>) -> u64 {
    const ROWS_PER_LIST: u64 = 8;
    const ASKED: u64 = 1_000;
    const AUTO: u64 = 20_000;
    match (asked, nlist) {
        (false, _) => AUTO,
        (true, None) => ASKED,
        (true, Some(lists)) => ROWS_PER_LIST * u64::from(lists),
    }
}

/// The oldest row files that are not in lists yet, neighbours, at most so many rows together unless it is one file. `files` tells of each
/// whether it is in lists, and its live rows.
pub(crate) fn next_unfiled(files: &[(bool, u64)], most_rows: u64) -> Option<Range<usize>> {
    let start = files.iter().position(|(in_lists, _)| !in_lists)?;
    let mut rows = 0u64;
    let fits = |(in_lists, live): &&(bool, u64)| {
        rows = rows.saturating_add(*live);
        !in_lists && rows <= most_rows
    };
    let count = files.get(start..)?.iter().take_while(fits).count();
    Some(start..start + count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { fanout: 4, dead_ratio: 0.2, most_bytes: 100 << 20, most_rows: 1_000_000 };

    fn list(kib: u64, dead_percent: u64, unfiled_before: usize) -> ListState {
        ListState { dead: kib * dead_percent / 10, unfiled_before, ..ListState::of_new_file(kib * 10, kib << 10) }
    }

    #[test]
    fn segments_merge_in_tiers_and_lose_their_dead() {
        let cases: [(&str, Vec<ListState>, Option<Range<usize>>); 6] = [
            ("nothing there", vec![], None),
            ("three wait", vec![list(10, 0, 0); 3], None),
            (
                "four merge",
                vec![list(9000, 0, 0), list(9, 0, 0), list(9, 0, 0), list(9, 0, 0), list(9, 0, 0)],
                Some(1..5),
            ),
            ("a fifth is dead", vec![list(100, 20, 0), list(10, 0, 0)], Some(0..1)),
            ("rows to be filed lie between", vec![list(9, 0, 0), list(9, 0, 0), list(9, 0, 1), list(9, 0, 1)], None),
            ("four on one side of them", [vec![list(9, 0, 0); 4], vec![list(9, 0, 2); 3]].concat(), Some(0..4)),
        ];
        for (name, lists, want) in cases {
            assert_eq!(choose_lists(&lists, &POLICY, false, 1.0), want, "{name}");
        }
        assert_eq!(choose_lists(&[list(9, 0, 0), list(9, 0, 0), list(9, 0, 1)], &POLICY, true, 1.0), Some(0..2));
        assert_eq!(choose_lists(&[list(9, 0, 0), list(9, 50, 1)], &POLICY, true, 1.0), Some(1..2));
    }

    #[test]
    fn segments_of_an_older_model_are_not_merged_and_are_converted_youngest_first() {
        let old = |kib| ListState { old: true, ..list(kib, 90, 0) };
        let lists = [list(9, 0, 0), old(9), old(9), old(9), list(9, 0, 0), list(9, 0, 0), old(9)];
        assert_eq!(choose_lists(&lists, &POLICY, true, 1.0), Some(4..6));
        assert_eq!(choose_lists(&[old(9); 8], &POLICY, false, 9.0), None);
        assert_eq!(next_old(&lists, 1_000), Some(6..7));
        let lists = &lists[..6];
        assert_eq!(next_old(lists, 1_000), Some(1..4));
        assert_eq!(next_old(lists, 200), Some(2..4));
        assert_eq!(next_old(&[old(9); 6], 1_000), Some(2..6));
        assert_eq!(next_old(lists, 1), Some(3..4), "one segment, however large");
        assert_eq!(next_old(&[old(9), ListState { unfiled_before: 1, ..old(9) }], 1_000), Some(1..2));
        assert_eq!(next_old(&[old(90), old(9), old(1), old(1)], 10_000), Some(1..4), "a large one waits");
        assert_eq!(next_old(&[list(9, 0, 0)], 1_000), None);
    }

    #[test]
    fn lists_are_rewritten_before_dead_entries_cost_a_third() {
        let patient = Policy { dead_ratio: 0.9, ..POLICY };
        assert_eq!(choose_lists(&[list(1_000, 26, 0)], &patient, false, 1.27), None);
        assert_eq!(choose_lists(&[list(1_000, 27, 0)], &patient, false, 1.27), Some(0..1));
        assert_eq!((many_rows(&patient), many_rows(&POLICY)), (0.27, 0.2));
        assert_eq!((most_in_memory(&patient), most_in_memory(&POLICY)), (f64::INFINITY, 1.0 + 0.2 + 0.1));
    }

    #[test]
    fn dead_entries_go_sooner_where_lists_have_become_uneven_too() {
        let lists = [list(1_000, 15, 0), list(100, 7, 0)];
        assert_eq!(choose_lists(&lists, &POLICY, false, 1.2), None);
        assert_eq!(choose_lists(&lists, &POLICY, false, 1.21), Some(0..1));
        assert_eq!(choose_lists(&lists[1..], &POLICY, false, 9.0), None, "that would change little");
    }

    #[test]
    fn rows_are_filed_oldest_first_a_few_files_at_a_time() {
        assert_eq!(next_unfiled(&[], 10), None);
        assert_eq!(next_unfiled(&[(true, 5), (true, 5)], 10), None);
        assert_eq!(next_unfiled(&[(true, 5), (false, 5), (false, 5), (false, 5)], 10), Some(1..3));
        assert_eq!(next_unfiled(&[(false, 50), (false, 5)], 10), Some(0..1));
        assert_eq!(next_unfiled(&[(false, 5), (true, 5), (false, 5)], 100), Some(0..1));
    }

    #[test]
    fn a_collection_has_lists_from_some_rows_on() {
        assert_eq!(rows_for_lists(true, None), 1_000);
        assert_eq!(rows_for_lists(true, Some(4)), 32);
        assert_eq!(rows_for_lists(false, None), 20_000);
    }
}
