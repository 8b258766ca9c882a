//! What the rules cost where rows are replaced at random: counts alone, no files.

use super::{FileState, Policy, choose};
use std::ops::Range;

const ROWS: usize = 200_000;
const ROW_BYTES: u64 = 1_577;
/// As many as a delta of 64 MiB has.
const FLUSH_ROWS: usize = 41_000;
const ROUNDS: usize = 20;

/// Rows in files, each known by the file it is in.
struct Rows {
    file_of: Vec<usize>,
    /// In order: name, rows ever, live rows.
    files: Vec<(usize, u64, u64)>,
    names: usize,
    written: u64,
}

impl Rows {
    fn flush(&mut self, ids: &mut Vec<usize>) {
        ids.sort_unstable();
        ids.dedup();
        self.names += 1;
        for id in ids.iter() {
            let old = std::mem::replace(&mut self.file_of[*id], self.names);
            self.files.iter_mut().filter(|file| file.0 == old).for_each(|file| file.2 -= 1);
        }
        self.files.push((self.names, ids.len() as u64, ids.len() as u64));
        self.written += ids.len() as u64;
        ids.clear();
    }

    fn states(&self) -> Vec<FileState> {
        let state = |&(_, rows, live): &_| FileState {
            rows,
            dead: rows - live,
            bytes: rows * ROW_BYTES,
            in_lists: false,
            excess: false,
            width: None,
        };
        self.files.iter().map(state).collect()
    }

    fn merge(&mut self, range: Range<usize>) {
        self.names += 1;
        let merged: Vec<_> = self.files.drain(range.clone()).collect();
        for file in &mut self.file_of {
            if merged.iter().any(|(name, _, _)| name == file) {
                *file = self.names;
            }
        }
        let live = merged.iter().map(|(_, _, live)| live).sum();
        self.files.insert(range.start, (self.names, live, live));
        self.written += live;
    }
}

/// Rows written to files per row given, and the most rows that files had after a round per live row.
fn cost(rule: impl Fn(&[FileState]) -> Option<Range<usize>>) -> (f64, f64) {
    let mut rows = Rows { file_of: vec![0; ROWS], files: Vec::new(), names: 0, written: 0 };
    let (mut waiting, mut given, mut most, mut state) = (Vec::new(), 0u64, 0.0f64, 1u64);
    let settle = |rows: &mut Rows, waiting: &mut Vec<usize>| {
        rows.flush(waiting);
        while let Some(range) = rule(&rows.states()) {
            rows.merge(range);
        }
    };
    for round in 0..=ROUNDS {
        for i in 0..if round == 0 { ROWS } else { ROWS / 10 } {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            waiting.push(if round == 0 { i } else { (state >> 33) as usize % ROWS });
            given += 1;
            if waiting.len() == FLUSH_ROWS {
                settle(&mut rows, &mut waiting);
            }
        }
        settle(&mut rows, &mut waiting);
        if round > 0 {
            most = most.max(rows.files.iter().map(|(_, rows, _)| *rows).sum::<u64>() as f64 / ROWS as f64);
        }
    }
    (rows.written as f64 / given as f64, most)
}

/// Folds all files into the largest once the small ones and the dead rows pass a tenth of it.
fn fold(files: &[FileState]) -> Option<Range<usize>> {
    let largest = files.iter().max_by_key(|file| file.rows)?;
    let small = files.iter().map(|file| file.rows).sum::<u64>() - largest.rows;
    let dead = files.iter().map(|file| file.dead).sum::<u64>();
    ((small + dead) * 10 > largest.rows).then_some(0..files.len())
}

/// The figures that ARCHITECTURE compares the rules by.
#[test]
fn what_rounds_of_replacement_cost_under_each_rule() {
    let tiers = |dead_ratio, fanout| {
        let policy = Policy { fanout, dead_ratio, most_bytes: u64::MAX, most_rows: u64::MAX };
        cost(move |files| choose(files, &policy))
    };
    let all = [("a fifth, eight", tiers(0.2, 8)), ("a tenth, two", tiers(0.1, 2)), ("fold", cost(fold))];
    for (name, (written, space)) in all {
        println!("{name}: {written:.2} written, {space:.3} kept");
    }
    let expected = [(2.7..3.1, 1.15..1.25), (6.0..7.0, 1.05..1.15), (8.0..9.0, 1.0..1.05)];
    for ((name, (written, space)), (writes, keeps)) in all.into_iter().zip(expected) {
        assert!(writes.contains(&written) && keeps.contains(&space), "{name}: {written} written, {space} kept");
    }
}
