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
    /// Rows that came since are of a kind that there are no lists for.
    Foreign,
    /// Rows that came since crowd in a few lists.
    Crowded,
    /// Some lists have become far longer than the others.
    Unbalanced,
}

/// Fewer rows than this make a model in no time, and it is soon outgrown: it waits for more growth.
const SMALL: u64 = 20_000;
const GROWTH: u64 = 2;
const GROWTH_OF_SMALL: u64 = 4;
/// How much further new rows may be from their centroids than rows that the training held out, as squares; and how much once they are many:
/// then a little costs as much as a lot does of a few. Rows of a kind that was rare are always a little further.
const MOST_DRIFT: f64 = 1.3;
const MOST_DRIFT_OF_MANY: f64 = 1.1;
/// How many times as far, as squares, rows are of a kind that there are no lists for. Every search near them reads all of them, the more of
/// them the further they are from everything else: their number times the square of what they are further is a part of the rows trained on.
const FOREIGN: f64 = 1.5;
const LEAST_FOREIGN: u64 = 500;
const FOREIGN_WEIGHT: f64 = 1.0 / 16.0;
/// How many times as crowded lists may be as they were, if searches scan so many entries for that and for dead rows that lists are to be rewritten in
/// any case; the part of the rows that must have come since.
const MOST_CROWDED: f64 = 1.05;
const LEAST_CROWD: u64 = 32;
/// How many times the mean the lists may be that one in a hundred surpasses, and how many times what it was.
const MOST_SKEW: f32 = 8.0;
const MOST_MORE_SKEW: f32 = 1.5;
/// The part of the rows that must have come since.
const LEAST_CHANGE: u64 = 8;
const LEAST_CHANGED_ROWS: u64 = 1_000;

/// What the lengths of lists tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    /// One list in a hundred is longer than so many times the mean.
    pub(crate) skew: f32,
    /// They are so many times as crowded as when they were new: see [`crowding`].
    pub(crate) crowded: f64,
    /// Entries for each live row, dead rows having some.
    pub(crate) entries: f64,
}

impl Lengths {
    /// Entries that searches scan for each that they would scan of live rows alone, in lists as even as they were.
    pub(crate) fn scanned(&self) -> f64 {
        self.crowded * self.entries
    }
}

/// Whether lengths of lists are looked at: fewer rows are searched in no time.
pub(crate) fn is_watched(training: &Training) -> bool {
    training.rows >= SMALL
}

/// Rows that have to come or to go in memory until it is worth a look what that makes of the lists, and how many must have until it is worth a
/// flush or a training.
pub(crate) fn changes_until_look(training: &Training) -> (u64, u64) {
    (training.rows / LEAST_CROWD / 2, training.rows / LEAST_CROWD * 2)
}

/// Whether a model is to be trained anew where there are so many live rows, and so many were written since it was trained. New rows are many
/// once they are the part `many` of the rows trained on, and so are entries that are scanned in vain.
pub(crate) fn aged(training: &Training, live: u64, came: u64, lists: Lengths, many: f64) -> Option<Aged> {
    let growth = if training.rows < SMALL { GROWTH_OF_SMALL } else { GROWTH };
    if training.rows > 0 && live >= training.rows.saturating_mul(growth) {
        return Some(Aged::Grown);
    }
    if is_foreign(training) {
        return Some(Aged::Foreign);
    }
    let rewritten = is_watched(training) && lists.scanned() > 1.0 + many;
    if rewritten && is_crowded(training, came, lists) {
        return Some(Aged::Crowded);
    }
    if !is_changed(training) {
        return None;
    }
    if is_far(training, if rewritten { u64::MAX } else { came }, many) {
        return Some(Aged::Drifted);
    }
    let uneven = training.skew > 0.0 && lists.skew > MOST_SKEW && lists.skew > MOST_MORE_SKEW * training.skew;
    uneven.then_some(Aged::Unbalanced)
}

/// The drift that there is once so many more rows, with such a sum of squared distances from their centroids, are filed; `came` are those
/// written since training, these among them. What is drift without them is answered already, or cannot be.
pub(crate) fn drift_with(training: &Training, came: u64, rows: u64, energy: f64, many: f64) -> Option<Aged> {
    let mut with = *training;
    with.add(rows, energy);
    let drift = |training: &Training, came: u64| match is_foreign(training) {
        true => Some(Aged::Foreign),
        false => (is_changed(training) && is_far(training, came, many)).then_some(Aged::Drifted),
    };
    drift(&with, came).filter(|_| drift(training, came.saturating_sub(rows)).is_none())
}

/// Whether it is some lists that grew which make searches scan more, and not dead rows alone; `came` as above.
pub(crate) fn is_crowded(training: &Training, came: u64, lists: Lengths) -> bool {
    came >= training.rows / LEAST_CROWD && lists.crowded > MOST_CROWDED
}

/// A few rows say little, and what they cost is little.
fn is_changed(training: &Training) -> bool {
    training.fresh >= (training.rows / LEAST_CHANGE).max(LEAST_CHANGED_ROWS)
}

fn is_far(training: &Training, came: u64, many: f64) -> bool {
    let most = if came as f64 >= training.rows as f64 * many { MOST_DRIFT_OF_MANY } else { MOST_DRIFT };
    training.energy > 0.0 && training.fresh_energy > most * training.energy
}

fn is_foreign(training: &Training) -> bool {
    if training.rows < SMALL || training.fresh < LEAST_FOREIGN || training.energy <= 0.0 {
        return false;
    }
    let far = training.fresh_energy / training.energy;
    far >= FOREIGN && training.fresh as f64 * (far - 1.0).powi(2) >= FOREIGN_WEIGHT * training.rows as f64
}

/// How many times as many entries searches scan, of rows like those in the lists, as if all lists were equally long.
pub(crate) fn crowding(lengths: &[u64]) -> f64 {
    let (sum, squares) = lengths.iter().fold((0.0, 0.0), |(sum, squares), length| {
        let length = *length as f64;
        (sum + length, squares + length * length)
    });
    if sum > 0.0 { squares * lengths.len() as f64 / (sum * sum) } else { 0.0 }
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

    const SAME: Lengths = Lengths { skew: 3.0, crowded: 1.0, entries: 1.0 };

    fn training(rows: u64) -> Training {
        Training { rows, energy: 1.0, fresh: rows, fresh_energy: 1.0, skew: 3.0, ..Training::default() }
    }

    #[test]
    fn twice_the_rows_or_four_times_a_few() {
        let aged = |training: &Training, live: u64| aged(training, live, 0, SAME, 0.2);
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
        let aged = |training: &Training, came: u64| aged(training, 50_000, came, SAME, 0.2);
        assert_eq!(aged(&drifted, 6_250), Some(Aged::Drifted));
        assert_eq!(aged(&Training { fresh: 6_249, ..drifted }, 6_250), None);
        let little = Training { fresh_energy: 1.11, ..drifted };
        assert_eq!(aged(&little, 9_999), None);
        assert_eq!(aged(&little, 10_000), Some(Aged::Drifted), "a little, of many");
        assert_eq!(aged(&Training { fresh_energy: 1.09, ..drifted }, 50_000), None);
        assert_eq!(aged(&Training { energy: 0.0, ..drifted }, 50_000), None, "not known what is far");
    }

    #[test]
    fn whoever_rewrites_lists_later_trains_later() {
        let little = Training { fresh: 6_250, fresh_energy: 1.2, ..training(50_000) };
        let many = |came: u64| aged(&little, 50_000, came, SAME, 0.27);
        assert_eq!((many(13_499), many(13_500)), (None, Some(Aged::Drifted)));
    }

    #[test]
    fn rows_in_memory_count_as_they_will_in_files() {
        let drift_with = |training: &Training, came, rows, energy| drift_with(training, came, rows, energy, 0.2);
        let known = Training { fresh: 3_000, fresh_energy: 1.0, ..training(50_000) };
        assert_eq!(drift_with(&known, 6_249, 3_249, 5_750.0), None, "too few to tell");
        assert_eq!(drift_with(&known, 6_250, 3_250, 5_750.0), Some(Aged::Drifted));
        assert_eq!(drift_with(&known, 10_000, 7_000, 7_000.0), None, "as near as others");
        assert_eq!(drift_with(&known, 10_000, 7_000, 9_000.0), Some(Aged::Drifted), "a little, of many");
        assert_eq!(drift_with(&Training { fresh: 0, ..known }, 600, 600, 2_400.0), Some(Aged::Foreign));
        let drifted = Training { fresh: 6_250, fresh_energy: 1.5, ..known };
        let known_from_files = drift_with(&drifted, 7_000, 100, 500.0);
        assert_eq!(known_from_files, None, "a training is under way or impossible");
    }

    #[test]
    fn lists_that_have_become_uneven_and_not_those_that_always_were() {
        let aged = |training: &Training, skew: f32| aged(training, 50_000, 0, Lengths { skew, ..SAME }, 0.2);
        assert_eq!(aged(&training(50_000), 8.5), Some(Aged::Unbalanced));
        assert_eq!(aged(&training(50_000), 7.9), None);
        assert_eq!(aged(&Training { skew: 6.0, ..training(50_000) }, 8.9), None);
        assert_eq!(aged(&Training { skew: 0.0, ..training(50_000) }, 100.0), None);
    }

    #[test]
    fn a_few_rows_of_another_kind_and_fewer_the_further_they_are() {
        let of = |fresh: u64, fresh_energy: f64| Training { fresh, fresh_energy, ..training(50_000) };
        let aged = |training: &Training| aged(training, 50_000, training.fresh, SAME, 0.2);
        assert_eq!(aged(&of(499, 9.0)), None, "few rows say little");
        assert_eq!(aged(&of(500, 4.0)), Some(Aged::Foreign));
        assert_eq!((aged(&of(3_124, 2.0)), aged(&of(3_125, 2.0))), (None, Some(Aged::Foreign)));
        assert_eq!(aged(&of(6_200, 1.49)), None, "that is drift, and waits for more of them");
        let small = Training { rows: 19_999, ..of(900, 9.0) };
        assert_eq!(super::aged(&small, 19_999, 900, SAME, 0.2), None, "a training of so few takes no time");
    }

    #[test]
    fn new_rows_that_crowd_in_few_lists() {
        let aged = |came: u64, crowded: f64, entries: f64| {
            aged(&training(50_000), 50_000, came, Lengths { skew: 3.0, crowded, entries }, 0.2)
        };
        assert_eq!(aged(2_000, 1.21, 1.0), Some(Aged::Crowded));
        assert_eq!(aged(2_000, 1.11, 1.1), Some(Aged::Crowded));
        assert_eq!(aged(2_000, 1.04, 1.3), None, "dead entries are left out by a merge");
        assert_eq!(aged(2_000, 1.15, 1.0), None);
        assert_eq!(aged(1_500, 9.0, 1.0), None, "too few came since");
        assert_eq!((crowding(&[5, 5, 5, 5]), crowding(&[20, 0, 0, 0]), crowding(&[])), (1.0, 4.0, 0.0));
    }

    #[test]
    fn a_little_drift_is_enough_where_lists_are_rewritten_in_any_case() {
        let little = Training { fresh: 6_250, fresh_energy: 1.11, ..training(50_000) };
        let aged = |entries: f64| aged(&little, 50_000, 6_250, Lengths { entries, ..SAME }, 0.2);
        assert_eq!((aged(1.2), aged(1.21)), (None, Some(Aged::Drifted)));
        assert!(is_watched(&little) && !is_watched(&training(19_999)));
        assert_eq!(changes_until_look(&little), (781, 3_124));
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
