//! When a model has aged: arithmetic on what a manifest says of its training, no files.
//!
//! What a model is compared with is always how good it was when it was new, never an ideal. Data without structure has lists that are bad by
//! any measure, and training again would not make them better.

use crate::manifest::Training;

/// Why a model is to be trained anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aged {
    /// There are many more rows than it was trained on.
    Grown,
    /// Rows that came since are further from their centroids than others were.
    Drifted,
    /// Some lists have become far longer than the others.
    Unbalanced,
}

/// Fewer rows than this make a model in no time, and it is soon outgrown: it waits for more growth.
const SMALL: u64 = 20_000;
const GROWTH: u64 = 2;
const GROWTH_OF_SMALL: u64 = 4;
/// How much further new rows may be from their centroids than rows that the training held out, as squares; and how much once they are a fifth of
/// the rows trained on: then a little costs as much as a lot does of a few. Rows of a kind that was rare are always a little further.
const MOST_DRIFT: f64 = 1.3;
const MOST_DRIFT_OF_MANY: f64 = 1.1;
const MANY: u64 = 5;
/// How many times the mean the lists may be that one in a hundred surpasses, and how many times what it was.
const MOST_SKEW: f32 = 8.0;
const MOST_MORE_SKEW: f32 = 1.5;
/// The part of the rows that must have come since.
const LEAST_CHANGE: u64 = 8;
const LEAST_CHANGED_ROWS: u64 = 1_000;

/// Whether a model is to be trained anew where there are so many live rows, so many were written since it was trained, and one list in a
/// hundred is longer than `skew` times the mean.
pub(crate) fn aged(training: &Training, live: u64, came: u64, skew: f32) -> Option<Aged> {
    let growth = if training.rows < SMALL { GROWTH_OF_SMALL } else { GROWTH };
    if training.rows > 0 && live >= training.rows.saturating_mul(growth) {
        return Some(Aged::Grown);
    }
    if !is_changed(training) {
        return None;
    }
    if is_far(training, came) {
        return Some(Aged::Drifted);
    }
    let uneven = training.skew > 0.0 && skew > MOST_SKEW && skew > MOST_MORE_SKEW * training.skew;
    uneven.then_some(Aged::Unbalanced)
}

/// Whether it becomes drift once so many more rows, with such a sum of squared distances from their centroids, are filed; `came` are those
/// written since training, these among them. What is drift without them is answered already, or cannot be.
pub(crate) fn drifts_with(training: &Training, came: u64, rows: u64, energy: f64) -> bool {
    let mut with = *training;
    with.add(rows, energy);
    let drifts = |training: &Training, came: u64| is_changed(training) && is_far(training, came);
    drifts(&with, came) && !drifts(training, came.saturating_sub(rows))
}

/// A few rows say little, and what they cost is little.
fn is_changed(training: &Training) -> bool {
    training.fresh >= (training.rows / LEAST_CHANGE).max(LEAST_CHANGED_ROWS)
}

fn is_far(training: &Training, came: u64) -> bool {
    let most = if came >= training.rows / MANY { MOST_DRIFT_OF_MANY } else { MOST_DRIFT };
    training.energy > 0.0 && training.fresh_energy > most * training.energy
}

/// The length that one list in a hundred surpasses, as a multiple of the mean. Sorts the lengths.
pub(crate) fn skew(lengths: &mut [u64]) -> f32 {
    let sum: u64 = lengths.iter().sum();
    let at = lengths.len().saturating_sub(1).saturating_mul(99) / 100;
    if sum == 0 || lengths.is_empty() {
        return 0.0;
    }
    let (_, length, _) = lengths.select_nth_unstable(at);
    (*length as f64 * lengths.len() as f64 / sum as f64) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training(rows: u64) -> Training {
        Training { rows, energy: 1.0, fresh: rows, fresh_energy: 1.0, skew: 3.0, ..Training::default() }
    }

    #[test]
    fn twice_the_rows_or_four_times_a_few() {
        let aged = |training: &Training, live: u64| aged(training, live, 0, 3.0);
        assert_eq!(aged(&training(50_000), 99_999), None);
        assert_eq!(aged(&training(50_000), 100_000), Some(Aged::Grown));
        assert_eq!(aged(&training(1_000), 3_999), None);
        assert_eq!(aged(&training(1_000), 4_000), Some(Aged::Grown));
        assert_eq!(aged(&Training::default(), 1 << 40), None, "nothing is known of the training");
        assert_eq!(aged(&training(50_000), 10), None, "fewer rows are no reason");
    }

    #[test]
    fn new_rows_that_are_further_away_once_they_are_an_eighth() {
        let drifted = Training { fresh: 6_250, fresh_energy: 1.31, ..training(50_000) };
        let aged = |training: &Training, came: u64| aged(training, 50_000, came, 3.0);
        assert_eq!(aged(&drifted, 6_250), Some(Aged::Drifted));
        assert_eq!(aged(&Training { fresh: 6_249, ..drifted }, 6_250), None);
        let little = Training { fresh_energy: 1.11, ..drifted };
        assert_eq!(aged(&little, 9_999), None);
        assert_eq!(aged(&little, 10_000), Some(Aged::Drifted), "a little, of many");
        assert_eq!(aged(&Training { fresh_energy: 1.09, ..drifted }, 50_000), None);
        assert_eq!(aged(&Training { energy: 0.0, ..drifted }, 50_000), None, "not known what is far");
    }

    #[test]
    fn rows_in_memory_count_as_they_will_in_files() {
        let known = Training { fresh: 3_000, fresh_energy: 1.0, ..training(50_000) };
        assert!(!drifts_with(&known, 6_249, 3_249, 9_000.0), "too few to tell");
        assert!(drifts_with(&known, 6_250, 3_250, 9_000.0));
        assert!(!drifts_with(&known, 10_000, 7_000, 7_000.0), "as near as others");
        assert!(drifts_with(&known, 10_000, 7_000, 9_000.0), "a little, of many");
        let drifted = Training { fresh: 6_250, fresh_energy: 1.5, ..known };
        assert!(
            !drifts_with(&drifted, 7_000, 100, 500.0),
            "known from files, and a training is under way or impossible"
        );
    }

    #[test]
    fn lists_that_have_become_uneven_and_not_those_that_always_were() {
        let aged = |training: &Training, skew: f32| aged(training, 50_000, 0, skew);
        assert_eq!(aged(&training(50_000), 8.5), Some(Aged::Unbalanced));
        assert_eq!(aged(&training(50_000), 7.9), None);
        assert_eq!(aged(&Training { skew: 6.0, ..training(50_000) }, 8.9), None);
        assert_eq!(aged(&Training { skew: 0.0, ..training(50_000) }, 100.0), None);
    }

    #[test]
    fn the_length_that_one_list_in_a_hundred_surpasses() {
        let mut lengths: Vec<u64> = vec![1; 198];
        lengths.extend([51, 51]);
        assert_eq!(skew(&mut lengths), 200.0 / 300.0);
        lengths.push(51);
        assert!(skew(&mut lengths) > 29.0);
        assert_eq!((skew(&mut []), skew(&mut [0, 0])), (0.0, 0.0));
        assert_eq!(skew(&mut [7]), 1.0);
    }
}
