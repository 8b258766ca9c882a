//! Which files to merge: arithmetic on counts, no files.
//!
//! Files are in the order of their rows, oldest first, and only neighbours merge, since a file provides one range of rows.
//! Three rules, the first that applies wins:
//!
//! * **Dead rows**: a file of which `dead_ratio` is dead is rewritten without them. So no more than about that part of the
//!   space is dead for long. Files whose rows are in lists wait for twice as much: nothing scans their dead rows, which cost space
//!   alone, and they are several times as large as the lists, in which the dead are scanned.
//! * **Tiers**: once there are `fanout` files of one size class (a power of `fanout`) with no larger one after them, they and
//!   the smaller ones between them become one. So a row is
//!   rewritten about once per power of `fanout` in size, and the number of files grows with the logarithm of the rows. Files whose rows
//!   are in lists wait until they are twice as many: searches go by the lists, and only look-ups by id meet how many files there are.
//! * **Excess**: a file with vectors that a rewrite leaves out is rewritten. So a collection that keeps no vectors has none of rows that
//!   are in lists for long.

use std::ops::Range;

use crate::metric::Element;

/// What the policy knows of a row file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileState {
    pub(crate) rows: u64,
    pub(crate) dead: u64,
    pub(crate) bytes: u64,
    /// Its rows are in list segments too: a merge of such a file and another could say neither.
    pub(crate) in_lists: bool,
    /// It has vectors that a rewrite would leave out.
    pub(crate) excess: bool,
    /// How long its vectors are; `None` if it has none, or they stay as long as they are.
    pub(crate) width: Option<Width>,
}

/// What the components of a file's vectors are, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Width {
    pub(crate) element: Element,
    /// Those of the collection, which hold all.
    pub(crate) own: Element,
    pub(crate) dim: usize,
}

impl Width {
    fn bytes(self) -> u64 {
        self.element.vector_bytes(self.dim).next_multiple_of(8) as u64
    }

    /// Of a file that has the rows of both.
    fn joined(self, other: Width) -> Width {
        Width { element: self.element.joined(other.element).unwrap_or(self.own), ..self }
    }
}

/// The file that a merge of some makes, at its largest: beside the vectors of one those of another may have to be longer.
pub(crate) fn merged(files: &[FileState]) -> FileState {
    let width = files.iter().filter_map(|file| file.width).reduce(Width::joined);
    let bytes = |file: &FileState| {
        let longer = width.zip(file.width).map_or(0, |(to, from)| to.bytes().saturating_sub(from.bytes()));
        file.bytes.saturating_add(file.live().saturating_mul(longer))
    };
    FileState {
        rows: files.iter().map(FileState::live).sum(),
        dead: 0,
        bytes: files.iter().map(bytes).sum(),
        in_lists: files.first().is_some_and(|file| file.in_lists),
        excess: false,
        width,
    }
}

impl FileState {
    /// Dead rows with which it is to be rewritten.
    fn ripe_at(&self, policy: &Policy) -> f64 {
        (policy.dead_ratio * f64::from(self.patience())).min(1.0) * self.rows as f64
    }

    fn live(&self) -> u64 {
        self.rows.saturating_sub(self.dead)
    }

    fn patience(&self) -> u32 {
        if self.in_lists { PATIENCE_IN_LISTS } else { 1 }
    }
}

/// The numbers of the two rules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Policy {
    pub(crate) fanout: u32,
    pub(crate) dead_ratio: f64,
    /// Largest output.
    pub(crate) most_bytes: u64,
    /// Most rows of an output.
    pub(crate) most_rows: u64,
}

/// How many times as large a part of a file may be dead if its rows are in lists, and how many times as many such files one size class may have.
const PATIENCE_IN_LISTS: u32 = 2;
/// Sizes below this count as the same.
const SMALLEST_TIER_BYTES: u64 = 64 << 10;

/// The neighbours to merge next, if any rule applies.
pub(crate) fn choose(files: &[FileState], policy: &Policy) -> Option<Range<usize>> {
    in_runs(files, &|run| too_dead(run, policy))
        .or_else(|| in_runs(files, &|run| tier(run, policy)))
        .or_else(|| with_excess(files))
}

/// The oldest file with vectors that are not to be kept.
fn with_excess(files: &[FileState]) -> Option<Range<usize>> {
    files.iter().position(|file| file.excess).map(|at| at..at + 1)
}

/// What a rule chooses in the youngest run of files that are all in lists, or all not, in which it chooses anything.
fn in_runs(files: &[FileState], rule: &dyn Fn(&[FileState]) -> Option<Range<usize>>) -> Option<Range<usize>> {
    let mut end = files.len();
    files.chunk_by(|a, b| a.in_lists == b.in_lists).rev().find_map(|run| {
        end -= run.len();
        rule(run).map(|range| range.start + end..range.end + end)
    })
}

/// The file with the most dead bytes among those that are dead enough.
fn too_dead(files: &[FileState], policy: &Policy) -> Option<Range<usize>> {
    let dead_bytes = |file: &FileState| file.bytes / file.rows.max(1) * file.dead;
    let ripe = files.iter().enumerate().filter(|(_, file)| file.dead as f64 >= file.ripe_at(policy));
    let worst = ripe.filter(|(_, file)| file.dead > 0).max_by_key(|(_, file)| dead_bytes(file))?.0;
    Some(worst..worst + 1)
}

/// How far the rules are from their next merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Until {
    /// Rows that still have to die in some one file; `None` without files.
    pub(crate) dead_rows: Option<u64>,
    /// Files of the smallest class that still have to come.
    pub(crate) files: u64,
}

/// What would trigger the next merge, if none is due.
pub(crate) fn until(files: &[FileState], policy: &Policy) -> Until {
    let missing = |file: &FileState| (file.ripe_at(policy).ceil() as u64).max(1).saturating_sub(file.dead);
    let small = files.iter().rev().take_while(|file| size_class(file, policy) == 0).count() as u64;
    Until { dead_rows: files.iter().map(missing).min(), files: most_of_a_size(files, policy).saturating_sub(small) }
}

/// Files of one size class that become one, if they are like the youngest.
fn most_of_a_size(files: &[FileState], policy: &Policy) -> u64 {
    u64::from(policy.fanout.max(2)) * u64::from(files.last().map_or(1, FileState::patience))
}

fn size_class(file: &FileState, policy: &Policy) -> u32 {
    (file.bytes / SMALLEST_TIER_BYTES).max(1).ilog(u64::from(policy.fanout.max(2)))
}

fn tier(files: &[FileState], policy: &Policy) -> Option<Range<usize>> {
    let class = |file: &FileState| size_class(file, policy);
    let (highest, most) = (files.iter().map(class).max()?, most_of_a_size(files, policy));
    (0..=highest).find_map(|limit| {
        let young = files.iter().rev().take_while(|file| class(file) <= limit).count();
        let of_this_size = files.iter().rev().take(young).filter(|file| class(file) == limit).count();
        let range = fit(files, files.len() - young..files.len(), policy);
        (of_this_size as u64 >= most && range.len() >= 2).then_some(range)
    })
}

/// The young end of a range that one output can hold.
fn fit(files: &[FileState], range: Range<usize>, policy: &Policy) -> Range<usize> {
    let (mut output, mut start) = (merged(&[]), range.end);
    for i in range.clone().rev() {
        let Some(file) = files.get(i) else { break };
        let with = merged(&[output, *file]);
        if with.rows > policy.most_rows || with.bytes > policy.most_bytes {
            break;
        }
        (output, start) = (with, i);
    }
    start..range.end
}

/// The first group of neighbours that a full compaction still has to merge: as many as one output can hold, unless that is
/// one file without dead rows.
pub(crate) fn choose_full(files: &[FileState], policy: &Policy) -> Option<Range<usize>> {
    in_runs(files, &|run| full(run, policy))
}

fn full(files: &[FileState], policy: &Policy) -> Option<Range<usize>> {
    let mut end = files.len();
    while end > 0 {
        let fitting = fit(files, 0..end, policy);
        let group = fitting.start.min(end - 1)..end;
        let dead = files.get(group.clone()).is_some_and(|group| group.iter().any(|file| file.dead > 0));
        let excess = files.get(group.clone()).is_some_and(|group| group.iter().any(|file| file.excess));
        if group.len() > 1 || dead || excess {
            return Some(group);
        }
        end = group.start;
    }
    None
}

#[cfg(test)]
#[path = "policy_rounds.rs"]
mod rounds;

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { fanout: 4, dead_ratio: 0.2, most_bytes: 100 << 20, most_rows: 1_000_000 };

    fn file(kib: u64, dead_percent: u64) -> FileState {
        FileState {
            rows: kib * 10,
            dead: kib * dead_percent / 10,
            bytes: kib << 10,
            in_lists: false,
            excess: false,
            width: None,
        }
    }

    /// A file of rows with vectors of 96 components, in a collection of f32.
    fn wide(rows: u64, element: Element) -> FileState {
        let width = Width { element, own: Element::F32, dim: 96 };
        FileState { rows, dead: 0, bytes: rows * (width.bytes() + 16), width: Some(width), ..file(0, 0) }
    }

    #[test]
    fn one_row_makes_all_as_long_that_it_is_merged_with() {
        use Element::{Bf16, F16, F32, U8};
        let bytes = |elements: &[Element]| merged(&elements.iter().map(|e| wide(100, *e)).collect::<Vec<_>>()).bytes;
        assert_eq!(bytes(&[U8, U8]), 200 * (96 + 16));
        assert_eq!(bytes(&[U8, F16, U8]), 300 * (192 + 16));
        assert_eq!(bytes(&[U8, Bf16]), 200 * (192 + 16));
        assert_eq!((bytes(&[F16, Bf16]), bytes(&[U8, F32])), (200 * (384 + 16), 200 * (384 + 16)));
        let dead = FileState { dead: 60, ..wide(100, U8) };
        assert_eq!(merged(&[dead, wide(1, F32)]).bytes, 100 * 112 + 40 * 288 + 400, "what is dead does not come along");
        let policy = Policy { most_bytes: 200 * 112, ..POLICY };
        assert_eq!(choose_full(&[wide(100, U8), wide(100, U8)], &policy), Some(0..2));
        assert_eq!(choose_full(&[wide(199, U8), wide(1, F32)], &policy), None, "too large by a long row");
    }

    #[test]
    fn the_rules_choose_what_they_say() {
        let cases: [(&str, Vec<FileState>, Option<Range<usize>>); 8] = [
            ("nothing there", vec![], None),
            ("one clean file", vec![file(1000, 0)], None),
            ("three small ones wait", vec![file(1000, 0), file(10, 0), file(10, 0), file(10, 0)], None),
            (
                "four small ones merge",
                vec![file(9000, 0), file(10, 0), file(9, 0), file(8, 0), file(10, 0)],
                Some(1..5),
            ),
            ("a fifth is dead", vec![file(1000, 20), file(10, 0)], Some(0..1)),
            ("nearly a fifth is dead", vec![file(1000, 19)], None),
            ("the one with most to gain", vec![file(100, 50), file(1000, 25), file(10, 90)], Some(1..2)),
            (
                "a larger tier takes the smaller with it",
                vec![file(9000, 0), file(300, 0), file(300, 0), file(10, 0), file(300, 0), file(300, 0)],
                Some(1..6),
            ),
        ];
        for (name, files, want) in cases {
            assert_eq!(choose(&files, &POLICY), want, "{name}");
        }
    }

    #[test]
    fn files_in_lists_and_others_do_not_merge() {
        let listed = |kib, dead| FileState { in_lists: true, ..file(kib, dead) };
        let mixed = vec![listed(10, 0), listed(10, 0), file(10, 0), file(10, 0), listed(10, 0), listed(10, 0)];
        assert_eq!(choose(&mixed, &POLICY), None);
        assert_eq!(choose_full(&mixed, &POLICY), Some(4..6));
        assert_eq!(choose_full(&[listed(10, 0), file(10, 0), listed(10, 50)], &POLICY), Some(2..3));
        let young = [vec![file(10, 0); 4], vec![listed(10, 0); 7]].concat();
        assert_eq!(choose(&young, &POLICY), Some(0..4));
    }

    #[test]
    fn files_in_lists_wait_for_twice_as_many_dead_and_for_twice_as_many_files() {
        let listed = |dead| FileState { in_lists: true, ..file(1000, dead) };
        assert_eq!((choose(&[listed(0); 7], &POLICY), choose(&[listed(0); 8], &POLICY)), (None, Some(0..8)));
        assert_eq!(until(&[listed(0); 7], &POLICY).files, 8, "none of the smallest class");
        assert_eq!(choose(&[listed(39)], &POLICY), None);
        assert_eq!(choose(&[listed(40)], &POLICY), Some(0..1));
        assert_eq!(until(&[listed(30)], &POLICY).dead_rows, Some(1_000));
        let eager = Policy { dead_ratio: 1.0, ..POLICY };
        assert_eq!((choose(&[listed(99)], &eager), choose(&[listed(100)], &eager)), (None, Some(0..1)));
    }

    #[test]
    fn vectors_that_are_not_kept_are_a_reason_of_their_own() {
        let waits = |kib| FileState { in_lists: true, excess: true, ..file(kib, 0) };
        let clean = |kib| FileState { in_lists: true, ..file(kib, 0) };
        let files = [clean(9000), waits(10), clean(10), waits(10)];
        assert_eq!(choose(&files, &POLICY), Some(1..2), "one by one, if nothing else is due");
        assert_eq!(
            choose(&[vec![waits(10); 7], vec![clean(10)]].concat(), &POLICY),
            Some(0..8),
            "with the others of a tier"
        );
        assert_eq!(choose_full(&[waits(10)], &POLICY), Some(0..1));
        assert_eq!(choose(&[clean(10)], &POLICY), None);
    }

    #[test]
    fn what_is_missing_for_the_next_merge_is_told_and_then_triggers_it() {
        assert_eq!(until(&[], &POLICY), Until { dead_rows: None, files: 4 });
        let files = vec![file(9000, 10), file(1000, 19), file(10, 0), file(10, 0)];
        assert_eq!((choose(&files, &POLICY), until(&files, &POLICY)), (None, Until { dead_rows: Some(20), files: 2 }));
        let mut dead = files.clone();
        dead[2].dead += 20;
        assert_eq!(choose(&dead, &POLICY), Some(2..3));
        let more: Vec<FileState> = files.into_iter().chain([file(10, 0), file(10, 0)]).collect();
        assert_eq!(choose(&more, &POLICY), Some(2..6));
    }

    #[test]
    fn an_output_never_passes_its_limit() {
        let files = vec![file(60 << 10, 0), file(60 << 10, 0), file(30 << 10, 0), file(30 << 10, 0), file(30 << 10, 0)];
        assert_eq!(choose(&files, &POLICY), Some(2..5));
        let small = Policy { most_rows: 500, ..POLICY };
        assert_eq!(choose(&[file(20, 0), file(20, 0), file(20, 0), file(20, 0)], &small), Some(2..4));
    }

    #[test]
    fn a_full_compaction_ends_with_nothing_to_do() {
        let mut files: Vec<FileState> = (0..30).map(|i| file(1 + i * 1000, i % 7)).collect();
        let mut steps = 0;
        while let Some(range) = choose_full(&files, &POLICY) {
            let group = &files[range.clone()];
            let merged = FileState {
                rows: group.iter().map(|f| f.rows - f.dead).sum(),
                dead: 0,
                bytes: group.iter().map(|f| f.bytes / f.rows.max(1) * (f.rows - f.dead)).sum(),
                in_lists: false,
                excess: false,
                width: None,
            };
            files.splice(range, [merged]);
            steps += 1;
            assert!(steps < 100, "it goes on for ever");
        }
        assert!(files.iter().all(|f| f.dead == 0));
    }

    #[test]
    fn steady_small_writes_keep_the_number_of_files_small() {
        let mut files: Vec<FileState> = Vec::new();
        let mut rewritten = 0;
        for _ in 0..2_000 {
            files.push(file(64, 0));
            while let Some(range) = choose(&files, &POLICY) {
                let rows = files[range.clone()].iter().map(|f| f.rows).sum();
                let bytes = files[range.clone()].iter().map(|f| f.bytes).sum();
                files.splice(range, [FileState { rows, dead: 0, bytes, in_lists: false, excess: false, width: None }]);
                rewritten += bytes;
            }
        }
        assert!(files.len() < 24, "{} files", files.len());
        let amplification = rewritten as f64 / f64::from(2_000 * (64 << 10));
        assert!(amplification < 6.0, "each byte was rewritten {amplification:.1} times");
    }
}
