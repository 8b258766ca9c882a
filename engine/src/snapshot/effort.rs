//! How hard a search looks.

use crate::error::{Error, Result};
use crate::index::ivf::Probe;

/// How hard a search looks. It matters where there are lists to choose from; a flat collection is always searched exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Effort {
    /// As hard as it takes to find this part (above 0, at most 1) of the true nearest rows, on average over queries that are like the
    /// stored rows. Queries of another kind may find less. 1 is the same as [`Effort::Exact`].
    Recall(f32),
    /// The nearest lists, this many of them (1 or more; more than there are is fine).
    Probe {
        /// Lists to look at.
        nprobe: usize,
        /// Lists without a better k-th row after which the search ends; `usize::MAX`: it goes on.
        patience: usize,
    },
    /// As [`Effort::Recall`], the work shared out by need: a query that stops finding nearer rows ends early, another one
    /// goes on for longer.
    Confidence(f32),
    /// Every row is measured.
    Exact,
}

impl Default for Effort {
    fn default() -> Self {
        Effort::Recall(0.95)
    }
}

/// Rows measured exactly for each ten that are wanted, and beyond.
const MEASURED_PER_TEN: usize = 11;
const MEASURED_BEYOND: usize = 6;
/// Standard errors by which bounds are lower than estimates.
const DEVIATIONS: f32 = 1.5;
/// Lists that find 95 % of ten rows, for each root of the number of lists. Measured on texts: 0.57 of 1,800 lists, 0.9 of 200, with
/// second lists.
const LISTS_PER_ROOT: f64 = 1.0;
/// Each halving of what is missed takes 1.7 times as many lists, and ten times as many rows twice as many.
const MISSED_EXPONENT: f64 = 0.75;
const K_EXPONENT: f64 = 0.3;
/// Fewest lists.
const LEAST_LISTS: f64 = 8.0;
/// A search that may end early is allowed so many times the lists of one that may not.
const PATIENT_LISTS: usize = 4;

impl Effort {
    /// Checks the limits.
    ///
    /// # Errors
    /// `InvalidArgument` naming `effort`.
    pub(crate) fn check(self) -> Result<()> {
        let refuse = |what: String| Err(Error::argument("effort", what));
        match self {
            Effort::Recall(part) | Effort::Confidence(part) if !(part > 0.0 && part <= 1.0) => {
                refuse(format!("asks for {part} of the nearest rows; use a number above 0, at most 1"))
            }
            Effort::Probe { nprobe: 0, .. } => refuse("looks at 0 lists; use 1 or more".into()),
            Effort::Probe { patience: 0, .. } => refuse("has a patience of 0 lists; use 1 or more".into()),
            _ => Ok(()),
        }
    }

    /// How to search `lists` lists for `k` rows; `None`: measure every row.
    pub(crate) fn probe(self, k: usize, lists: usize) -> Option<Probe> {
        let exact = measured(k);
        let guess = |part: f32| guess(f64::from(part), k, lists);
        match self {
            Effort::Exact => None,
            Effort::Recall(part) | Effort::Confidence(part) if part >= 1.0 => None,
            Effort::Recall(part) => {
                Some(Probe { nprobe: guess(part), patience: usize::MAX, exact, deviations: DEVIATIONS })
            }
            Effort::Confidence(part) => {
                let patience = guess(part);
                let nprobe = patience.saturating_mul(PATIENT_LISTS);
                Some(Probe { nprobe, patience, exact, deviations: DEVIATIONS })
            }
            Effort::Probe { nprobe, patience } => Some(Probe { nprobe, patience, exact, deviations: DEVIATIONS }),
        }
    }
}

/// Rows to measure exactly for `k` that are wanted.
pub(crate) fn measured(k: usize) -> usize {
    (k.saturating_mul(MEASURED_PER_TEN) / 10).saturating_add(MEASURED_BEYOND)
}

/// Lists that find about this part of the `k` nearest rows, where nothing was measured yet.
fn guess(part: f64, k: usize, lists: usize) -> usize {
    let missed = (0.05 / (1.0 - part).max(1e-4)).powf(MISSED_EXPONENT);
    let wanted = (k.max(1) as f64 / 10.0).max(0.1).powf(K_EXPONENT);
    (LISTS_PER_ROOT * (lists as f64).sqrt() * missed * wanted).ceil().max(LEAST_LISTS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efforts_that_mean_nothing_are_refused_by_name() {
        for effort in [
            Effort::Recall(0.0),
            Effort::Recall(f32::NAN),
            Effort::Recall(1.01),
            Effort::Confidence(-1.0),
            Effort::Probe { nprobe: 0, patience: 1 },
            Effort::Probe { nprobe: 1, patience: 0 },
        ] {
            assert_eq!(effort.check().unwrap_err().argument_name(), Some("effort"), "{effort:?}");
        }
        assert!(Effort::Recall(1.0).check().is_ok() && Effort::default().check().is_ok());
    }

    #[test]
    fn more_recall_more_rows_and_more_lists_mean_more_work() {
        let lists = |effort: Effort, k: usize, lists: usize| effort.probe(k, lists).map(|probe| probe.nprobe);
        assert!(lists(Effort::Recall(0.9), 10, 2_000) < lists(Effort::Recall(0.95), 10, 2_000));
        assert!(lists(Effort::Recall(0.95), 10, 2_000) < lists(Effort::Recall(0.95), 100, 2_000));
        assert!(lists(Effort::Recall(0.95), 10, 2_000) < lists(Effort::Recall(0.95), 10, 8_000));
        assert_eq!(lists(Effort::Recall(1.0), 10, 2_000), None);
        assert_eq!(lists(Effort::Exact, 10, 2_000), None);
        assert!(Effort::Recall(0.5).probe(100, 10).is_some_and(|probe| probe.exact >= 100));
    }
}
