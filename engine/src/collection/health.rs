//! How healthy the lists of a collection are, and whether they are to be made anew.

use super::retrain::{list_skew, why_retrain};
use crate::compaction::{Aged, Policy};
use crate::error::Result;
use crate::snapshot::{Asked, LiveRows, Measured, Snapshot, measure};

/// Why lists are to be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetrainReason {
    /// There are many more rows than they were made for.
    Growth,
    /// The rows that came since lie further from their centroids than others did.
    Drift,
    /// Some have become far longer than the others.
    Balance,
}

impl RetrainReason {
    /// The name used in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            RetrainReason::Growth => "growth",
            RetrainReason::Drift => "drift",
            RetrainReason::Balance => "balance",
        }
    }
}

impl From<Aged> for RetrainReason {
    fn from(aged: Aged) -> Self {
        match aged {
            Aged::Grown => RetrainReason::Growth,
            Aged::Drifted | Aged::Foreign => RetrainReason::Drift,
            Aged::Unbalanced | Aged::Crowded => RetrainReason::Balance,
        }
    }
}

/// How good the lists of a collection are, measured on a sample of its rows.
///
/// Where no row is in a list every search is exact and there is nothing to grade: [`score`](Health::score) and all that it is made of are
/// `None`. What asks or is compared with vectors is `None`, and counts as good, if those of the rows are gone
/// ([`RowFormat::None`](crate::RowFormat::None)).
///
/// Distances are squared, and under cosine those of vectors of unit length.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Health {
    /// 0 to 100: [`coverage`](Health::coverage) counts 35, [`quantization_error`](Health::quantization_error) 25,
    /// [`balance`](Health::balance) 15, [`delta_ratio`](Health::delta_ratio) 15, [`latency_ratio`](Health::latency_ratio) 10. More than 70
    /// is healthy, 80 excellent, less than 60 is not.
    pub score: Option<f64>,
    /// How near rows are to the centroids of their lists: 0 if as far as from one centroid for all rows, 1 if as near as to the nearest other
    /// row (or at three quarters of the distance from the one centroid, whichever is more).
    pub coverage: Option<f64>,
    /// Mean difference of the inner products of rows with their ten nearest, by codes and exactly, as a part of the mean squared length.
    pub quantization_error: Option<f64>,
    /// The same with its sign: whether codes make rows seem further (above 0) or nearer.
    pub bias: Option<f64>,
    /// What looking at a list would cost if all had as many rows, as a part of what it costs (Jain's index of their live rows).
    pub balance: Option<f64>,
    /// The part of the lists that have a live row.
    pub connectivity: Option<f64>,
    /// Rows in memory, rows of files that are in no list yet, and dead rows in files, for each live row in lists.
    pub delta_ratio: Option<f64>,
    /// Entries that a search of the default effort scans, for each that it scanned when the lists were new; `None`, which counts as good,
    /// if that is not known.
    pub latency_ratio: Option<f64>,
    /// Those entries, on average.
    pub entries_scanned: Option<f64>,
    /// The part of its ten nearest that a row finds by a search of the default effort.
    pub recall: Option<f64>,
    /// Rows that were looked at.
    pub sampled: u64,
    /// Lists of the newest model; 0 if there is none.
    pub lists: u64,
    /// The length of a list that one in a hundred surpasses, as a multiple of the mean.
    pub skew: Option<f64>,
    /// Live rows for each that the lists were made for; `None` if that is not known.
    pub growth: Option<f64>,
    /// How far rows that came since are from their centroids, for what rows were that training had not seen; `None` if that is not known.
    pub drift: Option<f64>,
    /// Why the lists are to be made anew, if they are: automatic compaction by the rules of the handle ([`OpenOptions::compaction`]; a follower, and a handle that
    /// compacts by hand, take those of the default) will see to it. Where no vectors are kept: why lists are to be added, if some can be (see
    /// [`Compact::Retrain`](crate::Compact::Retrain)).
    ///
    /// [`OpenOptions::compaction`]: crate::OpenOptions::compaction
    pub retrain: Option<RetrainReason>,
}

/// Measures a snapshot, and judges by the rules of a policy. `go_on` is asked now and then.
///
/// # Errors
/// `Corrupt`; what `go_on` says.
pub(super) fn health(snapshot: &Snapshot, policy: &Policy, go_on: &mut dyn FnMut() -> Result<()>) -> Result<Health> {
    let measured = measure(snapshot, go_on)?;
    let view = snapshot.view();
    let version = &view.version;
    let live: u64 = version.rows.iter().map(LiveRows::live).sum();
    let model = version.current_model();
    let training = model.and_then(|model| version.manifest.training_of(model.file.hash()));
    let graded = measured.map(|measured| Graded::new(&measured, snapshot, training.map(|training| training.scanned)));
    let asked = measured.and_then(|measured| measured.asked);
    Ok(Health {
        score: graded.map(|graded| graded.score),
        coverage: asked.map(|asked| asked.coverage),
        quantization_error: asked.map(|asked| asked.quantization_error),
        bias: asked.map(|asked| asked.bias),
        balance: measured.map(|measured| measured.balance),
        connectivity: measured.map(|measured| measured.connectivity),
        delta_ratio: graded.map(|graded| graded.delta_ratio),
        latency_ratio: graded.and_then(|graded| graded.latency_ratio),
        entries_scanned: asked.map(|asked| asked.scanned),
        recall: asked.map(|asked| asked.recall),
        sampled: asked.map_or(0, |asked| asked.sampled),
        lists: model.map_or(0, |model| model.file.lists() as u64),
        skew: measured.map(|_| f64::from(list_skew(version))),
        growth: training.filter(|training| training.rows > 0).map(|training| live as f64 / training.rows as f64),
        drift: training
            .filter(|training| training.energy > 0.0 && training.fresh > 0)
            .map(|training| training.fresh_energy / training.energy),
        retrain: why_retrain(version, live, policy).map(RetrainReason::from),
    })
}

/// What is worked out of what was measured.
#[derive(Clone, Copy)]
struct Graded {
    score: f64,
    delta_ratio: f64,
    latency_ratio: Option<f64>,
}

impl Graded {
    /// `before`: what searches scanned when the lists were new; 0 if that is not known.
    fn new(measured: &Measured, snapshot: &Snapshot, before: Option<f32>) -> Graded {
        let view = snapshot.view();
        let rows = &view.version.rows;
        let in_lists: u64 = rows.iter().filter(|rows| rows.in_lists()).map(LiveRows::live).sum();
        let live: u64 = rows.iter().map(LiveRows::live).sum();
        let dead: u64 = rows.iter().map(LiveRows::dead_count).sum();
        let fresh: u64 = view.generations().map(|generation| generation.rows()).sum();
        let outside = dead + fresh + live.saturating_sub(in_lists);
        let delta_ratio = outside as f64 / in_lists.max(1) as f64;
        let before = before.map(f64::from).filter(|before| *before > 0.0);
        let scanned = measured.asked.map(|asked| asked.scanned).filter(|scanned| *scanned > 0.0);
        let latency_ratio = scanned.zip(before).map(|(scanned, before)| scanned / before);
        let (coverage, error) = measured
            .asked
            .map_or((1.0, 0.0), |Asked { coverage, quantization_error, .. }| (coverage, quantization_error));
        let score = score(coverage, error, measured.balance, delta_ratio, latency_ratio.unwrap_or(1.0));
        Graded { score, delta_ratio, latency_ratio }
    }
}

/// 0 to 100.
fn score(coverage: f64, error: f64, balance: f64, delta: f64, latency: f64) -> f64 {
    100.0
        * (0.35 * grade(coverage, [0.80, 0.70, 0.40])
            + 0.25 * grade(error, [0.03, 0.05, 0.15])
            + 0.15 * grade(balance, [0.80, 0.70, 0.30])
            + 0.15 * grade(delta, [0.05, 0.10, 0.30])
            + 0.10 * grade(latency, [1.10, 1.30, 2.00]))
}

/// 1 at the first of three values or beyond, 0.6 at the second, 0 at the third or beyond, in proportion between them.
fn grade(value: f64, [good, fair, bad]: [f64; 3]) -> f64 {
    let part = |from: f64, to: f64| (value - from) / (to - from);
    match part(fair, good) {
        beyond if beyond >= 0.0 => 0.6 + 0.4 * beyond.min(1.0),
        _ => 0.6 * part(bad, fair).clamp(0.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_60_where_everything_is_just_fair() {
        assert!((score(0.70, 0.05, 0.70, 0.10, 1.30) - 60.0).abs() < 1e-9);
        assert!((score(1.0, 0.0, 1.0, 0.0, 1.0) - 100.0).abs() < 1e-9);
        assert!(score(0.0, 1.0, 0.0, 1.0, 9.0).abs() < 1e-9);
        assert!((score(0.0, 0.0, 1.0, 0.0, 1.0) - 65.0).abs() < 1e-9, "coverage counts 35");
    }

    #[test]
    fn grades_lie_on_two_lines() {
        let coverage = [0.80, 0.70, 0.40];
        for (value, want) in [(0.9, 1.0), (0.8, 1.0), (0.75, 0.8), (0.7, 0.6), (0.55, 0.3), (0.4, 0.0), (0.1, 0.0)] {
            assert!((grade(value, coverage) - want).abs() < 1e-9, "{value}");
        }
        for (value, want) in [(0.0, 1.0), (0.03, 1.0), (0.04, 0.8), (0.05, 0.6), (0.10, 0.3), (0.15, 0.0), (9.0, 0.0)] {
            assert!((grade(value, [0.03, 0.05, 0.15]) - want).abs() < 1e-9, "{value}");
        }
    }
}
