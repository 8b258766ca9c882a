//! How hard a search looks.

use crate::error::{Error, Result};
use crate::index::ivf::Probe;
use crate::manifest::Calibration;

/// How hard a search looks. It matters where there are lists to choose from; a flat collection is always searched exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Effort {
    /// As hard as it takes to find this part (above 0, at most 1) of the true nearest rows, on average over queries that are like the
    /// stored rows. Queries of another kind may find less. A query for which the nearest lists tell that others are too far away looks at fewer of them than
    /// the next one. 1 is the same as [`Effort::Exact`], and so is a part above what was measured
    /// (0.995), or one that no search by lists was seen to find. What it takes is measured once the lists are made and again when
    /// their rows have halved or grown by half, or half of them have come since, or an eighth came or went and a sample finds less. Where no vectors are kept
    /// ([`RowFormat::None`](crate::RowFormat::None)) it is what [`rerank_with`](crate::Search::rerank_with) finds, measured once; estimates alone find less.
    Recall(f32),
    /// The nearest lists, this many of them (1 or more; more than there are is fine). All of them is not [`Effort::Exact`]: of what is
    /// in lists a few more rows than are wanted are measured, those with the nearest codes (all of them if there are no codes).
    Probe {
        /// Lists to look at.
        nprobe: usize,
        /// Lists without a better k-th row after which the search ends; `usize::MAX`: it goes on.
        patience: usize,
    },
    /// As [`Effort::Recall`], the work shared out by what a search finds on its way: one that stops finding nearer rows ends early, another one
    /// goes on for longer, up to three times the lists that all would look at if all looked at as many. How long without a nearer row is long enough is measured
    /// with the lists.
    Confidence(f32),
    /// Every row is measured.
    Exact,
}

impl Default for Effort {
    fn default() -> Self {
        Effort::Recall(0.95)
    }
}

/// The property of a collection that says how hard searches look that do not say it themselves.
pub(crate) const EFFORT_PROPERTY: &str = "engine.effort";

/// Rows measured exactly for each ten that are wanted, and beyond.
const MEASURED_PER_TEN: usize = 11;
const MEASURED_BEYOND: usize = 6;
/// Standard errors by which bounds are lower than estimates.
const DEVIATIONS: f32 = 1.5;
/// Lists that find 95 % of ten rows, for each root of the number of lists. Measured on texts: 0.57 of 1,800 lists, 0.9 of 200, with
/// second lists.
const LISTS_PER_ROOT: f64 = 1.1;
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

    /// As the property [`EFFORT_PROPERTY`] has it: a word and its numbers.
    pub(crate) fn to_text(self) -> String {
        match self {
            Effort::Recall(part) => format!("recall {part}"),
            Effort::Confidence(part) => format!("confidence {part}"),
            Effort::Probe { nprobe, patience: usize::MAX } => format!("probe {nprobe}"),
            Effort::Probe { nprobe, patience } => format!("probe {nprobe} {patience}"),
            Effort::Exact => "exact".into(),
        }
    }

    /// What [`Effort::to_text`] wrote; `None` if it is of a kind that this release does not know, or out of range.
    pub(crate) fn from_text(text: &[u8]) -> Option<Effort> {
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        let effort = match (words.next()?, words.next(), words.next(), words.next()) {
            ("recall", Some(part), None, None) => Effort::Recall(part.parse().ok()?),
            ("confidence", Some(part), None, None) => Effort::Confidence(part.parse().ok()?),
            ("probe", Some(nprobe), None, None) => Effort::Probe { nprobe: nprobe.parse().ok()?, patience: usize::MAX },
            ("probe", Some(nprobe), Some(patience), None) => {
                Effort::Probe { nprobe: nprobe.parse().ok()?, patience: patience.parse().ok()? }
            }
            ("exact", None, None, None) => Effort::Exact,
            _ => return None,
        };
        effort.check().is_ok().then_some(effort)
    }

    /// How to search `lists` lists for `k` rows; `None`: measure every row. `known` is what was measured with these lists, ascending by
    /// `k` and part; without it the answer is a guess on the safe side.
    pub(crate) fn probe(self, k: usize, lists: usize, known: &[Calibration]) -> Option<Probe> {
        // Beyond the best part that was measured for nothing short of everything was good enough, or nobody looked: a guess would be a
        // promise that measuring has refuted.
        let by_part = |part: f32| match find(part, k, known, false) {
            None if known.is_empty() => Some(guess(f64::from(part), k, lists)),
            found => found,
        };
        match self {
            Effort::Exact => None,
            Effort::Recall(part) | Effort::Confidence(part) if part >= 1.0 => None,
            Effort::Recall(part) => by_part(part),
            Effort::Confidence(part) => {
                if let Some(probe) = find(part, k, known, true) {
                    return Some(probe);
                }
                let probe = by_part(part)?;
                let nprobe = probe.nprobe.saturating_mul(PATIENT_LISTS);
                Some(Probe { nprobe, patience: probe.nprobe.max(1), horizon: f32::INFINITY, ..probe })
            }
            Effort::Probe { nprobe, patience } => {
                Some(Probe { patience, exact: measured(k), deviations: DEVIATIONS, ..Probe::new(nprobe) })
            }
        }
    }
}

/// Whether a search by this entry may end before it has looked at all its lists.
fn is_patient(entry: &&Calibration) -> bool {
    entry.patience != u32::MAX
}

/// What was measured of searches that may end early, or of those that may not, between two parts and two numbers of rows in proportion;
/// `None` beyond what was measured.
fn find(part: f32, k: usize, known: &[Calibration], patient: bool) -> Option<Probe> {
    let known = || known.iter().filter(move |entry| is_patient(entry) == patient);
    let below = known().rev().map(|entry| entry.k).find(|known| *known as usize <= k);
    let above = known().map(|entry| entry.k).find(|known| *known as usize >= k);
    let of = |wanted: u32| at_part(part, known().filter(move |entry| entry.k == wanted));
    match (below, above) {
        (Some(below), Some(above)) if below == above => of(below),
        (Some(below), Some(above)) => {
            let (low, high) = (of(below)?, of(above)?);
            let share = (k as f64 / f64::from(below)).ln() / (f64::from(above) / f64::from(below)).ln();
            let nprobe = between(low.nprobe, high.nprobe, share);
            let exact = between(low.exact, high.exact, share).max(k);
            let patience = if patient { between(low.patience, high.patience, share) } else { usize::MAX };
            let horizon = between_places(low.horizon, high.horizon, share);
            Some(Probe { nprobe, exact, deviations: low.deviations.max(high.deviations), patience, horizon })
        }
        // Fewer rows are found by as many lists; more of them take more.
        (None, Some(least)) => of(least),
        (Some(most), None) => {
            let probe = of(most)?;
            let more = (k as f64 / f64::from(most)).powf(K_EXPONENT);
            let patience = if patient { (probe.patience as f64 * more).ceil() as usize } else { usize::MAX };
            let nprobe = (probe.nprobe as f64 * more).ceil() as usize;
            Some(Probe { nprobe, exact: measured(k), patience, ..probe })
        }
        (None, None) => None,
    }
}

fn at_part<'c>(part: f32, entries: impl Iterator<Item = &'c Calibration>) -> Option<Probe> {
    let mut below: Option<&Calibration> = None;
    for entry in entries {
        if entry.recall >= part {
            let high = probe_of(entry);
            let Some(below) = below.filter(|_| entry.recall > part) else { return Some(high) };
            let missed = |part: f32| f64::from(1.0 - part).max(1e-4).ln();
            let share = (missed(below.recall) - missed(part)) / (missed(below.recall) - missed(entry.recall));
            let patience = match high.patience {
                usize::MAX => usize::MAX,
                patience => between(below.patience as usize, patience, share),
            };
            let horizon = between_places(below.horizon, high.horizon, share);
            return Some(Probe {
                nprobe: between(below.nprobe as usize, high.nprobe, share),
                patience,
                horizon,
                ..high
            });
        }
        below = Some(entry);
    }
    None
}

/// A number between two, in proportion to their logarithms.
fn between(low: usize, high: usize, share: f64) -> usize {
    let (low, high) = (low.max(1) as f64, high.max(1) as f64);
    (low * (high / low).powf(share)).ceil() as usize
}

/// A place between two, each of them how far out lists are; infinite if one is.
fn between_places(low: f32, high: f32, share: f64) -> f32 {
    match low.is_finite() && high.is_finite() {
        true => (f64::from(low) + f64::from(high - low) * share) as f32,
        false => f32::INFINITY,
    }
}

fn probe_of(entry: &Calibration) -> Probe {
    let patience = if entry.patience == u32::MAX { usize::MAX } else { entry.patience as usize };
    let Calibration { nprobe, exact, deviations, horizon, .. } = *entry;
    Probe { nprobe: nprobe as usize, patience, exact: exact as usize, deviations, horizon }
}

/// Rows to measure exactly for `k` that are wanted.
pub(crate) fn measured(k: usize) -> usize {
    (k.saturating_mul(MEASURED_PER_TEN) / 10).saturating_add(MEASURED_BEYOND)
}

/// What finds about this part of the `k` nearest rows, where nothing was measured.
fn guess(part: f64, k: usize, lists: usize) -> Probe {
    let missed = (0.05 / (1.0 - part).max(1e-4)).powf(MISSED_EXPONENT);
    let wanted = (k.max(1) as f64 / 10.0).max(0.1).powf(K_EXPONENT);
    let nprobe = (LISTS_PER_ROOT * (lists as f64).sqrt() * missed * wanted).ceil().max(LEAST_LISTS) as usize;
    Probe { exact: measured(k), deviations: DEVIATIONS, ..Probe::new(nprobe) }
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
    fn efforts_are_kept_as_text() {
        for effort in [
            Effort::Recall(0.973),
            Effort::Confidence(0.9),
            Effort::Probe { nprobe: 24, patience: usize::MAX },
            Effort::Probe { nprobe: 24, patience: 3 },
            Effort::Exact,
        ] {
            assert_eq!(Effort::from_text(effort.to_text().as_bytes()), Some(effort));
        }
        for text in ["", "recall", "recall 2", "recall .5 1", "probe 0", "probe 1 0", "later 1", "exact 1", "\u{ff}"] {
            assert_eq!(Effort::from_text(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Effort::from_text(&[0xff, 0xfe]), None);
    }

    #[test]
    fn more_recall_more_rows_and_more_lists_mean_more_work() {
        let lists = |effort: Effort, k: usize, lists: usize| effort.probe(k, lists, &[]).map(|probe| probe.nprobe);
        assert!(lists(Effort::Recall(0.9), 10, 2_000) < lists(Effort::Recall(0.95), 10, 2_000));
        assert!(lists(Effort::Recall(0.95), 10, 2_000) < lists(Effort::Recall(0.95), 100, 2_000));
        assert!(lists(Effort::Recall(0.95), 10, 2_000) < lists(Effort::Recall(0.95), 10, 8_000));
        assert_eq!(lists(Effort::Recall(1.0), 10, 2_000), None);
        assert_eq!(lists(Effort::Exact, 10, 2_000), None);
        assert!(Effort::Recall(0.5).probe(100, 10, &[]).is_some_and(|probe| probe.exact >= 100));
    }

    fn entry(k: u32, recall: f32, nprobe: u32) -> Calibration {
        let (model, rows, patience, exact, deviations) = ([0; 32], 1, u32::MAX, k + 5, 1.25);
        Calibration { model, rows, k, recall, nprobe, patience, exact, deviations, horizon: f32::INFINITY }
    }

    #[test]
    fn what_was_measured_counts_and_what_lies_between_is_in_proportion() {
        let known = [entry(10, 0.9, 10), entry(10, 0.99, 40), entry(100, 0.9, 20), entry(100, 0.99, 80)];
        let probe = |effort: Effort, k: usize| effort.probe(k, 2_000, &known).unwrap();
        let lists = |part: f32, k: usize| probe(Effort::Recall(part), k).nprobe;
        assert_eq!((lists(0.9, 10), lists(0.99, 10), lists(0.99, 100)), (10, 40, 80));
        assert_eq!(probe(Effort::Recall(0.99), 10), Probe { exact: 15, deviations: 1.25, ..Probe::new(40) });
        assert!((19..=21).contains(&lists(0.9684, 10)), "half way in what is missed: {}", lists(0.9684, 10));
        assert!((14..=16).contains(&lists(0.9, 32)), "half way in rows wanted: {}", lists(0.9, 32));
        assert_eq!((lists(0.2, 10), lists(0.9, 1)), (10, 10), "never less than was measured");
        assert!(lists(0.9, 1_000) > 30 && probe(Effort::Recall(0.9), 1_000).exact >= 1_000);
        assert_eq!(
            Effort::Recall(0.999).probe(10, 2_000, &known),
            None,
            "what no search by lists was seen to find is found exactly"
        );
        let sure = probe(Effort::Confidence(0.9), 10);
        assert!(sure.patience == 10 && sure.nprobe > 10);
        let patient = |k: u32, recall: f32, patience: u32| Calibration { patience, ..entry(k, recall, 99) };
        let known = [patient(10, 0.9, 6), entry(10, 0.9, 10), patient(10, 0.99, 24), entry(10, 0.99, 40)];
        let probe = |effort: Effort| effort.probe(10, 2_000, &known).unwrap();
        assert_eq!((probe(Effort::Recall(0.9)).nprobe, probe(Effort::Recall(0.9)).patience), (10, usize::MAX));
        assert_eq!((probe(Effort::Confidence(0.9)).nprobe, probe(Effort::Confidence(0.9)).patience), (99, 6));
        assert!((12..=13).contains(&probe(Effort::Confidence(0.9684)).patience), "half way in what is missed");
        let near = |recall: f32, horizon: f32| Calibration { horizon, ..entry(10, recall, 20) };
        let known = [near(0.8, 1.0), near(0.9, 1.5), near(0.99, f32::INFINITY), near(0.995, 2.0)];
        let horizon = |part: f32| Effort::Recall(part).probe(10, 2_000, &known).unwrap().horizon;
        assert_eq!((horizon(0.5), horizon(0.9), horizon(0.99)), (1.0, 1.5, f32::INFINITY));
        assert!((horizon(0.8586) - 1.25).abs() < 0.001, "half way in what is missed: {}", horizon(0.8586));
        assert_eq!(
            (horizon(0.95), horizon(0.993)),
            (f32::INFINITY, f32::INFINITY),
            "rather too many lists than too few"
        );
    }
}
