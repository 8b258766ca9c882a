//! How good the lists of a snapshot are, measured on some of its rows.
//!
//! Distances here are squared and in the space of the model: of cosine collections those of unit vectors. `c(x)` is the centroid of the list
//! of row `x`, `m` the mean that the model was made around.

use super::effort::Effort;
use super::mode::SearchMode;
use super::questions::{Question, answer, sample};
use super::seek::Seek;
use super::{LiveRows, OpenModel, Snapshot};
use crate::error::Result;
use crate::index::flat::FlatQuery;
use crate::index::ivf::{Filing, Probe, Scratch};
use crate::kernel::kernels;
use crate::metric::Metric;

/// Rows that are looked at.
const ROWS: std::ops::RangeInclusive<u64> = 100..=1_000;
/// Nearest rows of each.
const NEAREST: usize = 10;
/// The part of the spread around the mean that lists need not be better than.
const GOOD_PART: f64 = 0.75;
/// How codes are looked at: candidates for each row that asks, and standard errors.
const CANDIDATES: usize = 64;
const DEVIATIONS: f32 = 3.5;

/// What was measured of lists.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) balance: f64,
    pub(crate) connectivity: f64,
    /// `None` if vectors of rows are gone: nothing can ask or be compared.
    pub(crate) asked: Option<Asked>,
}

/// What rows of a sample found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) sampled: u64,
    pub(crate) coverage: f64,
    pub(crate) quantization_error: f64,
    pub(crate) bias: f64,
    pub(crate) recall: f64,
    /// Entries that a search scans, on average.
    pub(crate) scanned: f64,
}

/// Sums over the sample.
#[derive(Default)]
struct Sums {
    /// Distance from the list's centroid, from the mean, from the nearest other row.
    centroid: f64,
    mean: f64,
    nearest: f64,
    with_nearest: f64,
    /// Squared lengths of rows.
    length: f64,
    /// Differences of estimated and exact distances, their absolute values, and how many.
    difference: f64,
    error: f64,
    pairs: f64,
    found: f64,
    wanted: f64,
    scanned: f64,
}

/// Measures the lists of a snapshot: one pass over all rows, and some searches. `None` if no row is in a list. `go_on` is asked now and then.
///
/// # Errors
/// `Corrupt`; what `go_on` says.
pub(crate) fn measure(snapshot: &Snapshot, go_on: &mut dyn FnMut() -> Result<()>) -> Result<Option<Measured>> {
    let view = snapshot.view();
    let rows: u64 = view.version.rows.iter().filter(|rows| rows.in_lists()).map(LiveRows::live).sum();
    let Some(model) = view.version.current_model().filter(|_| rows > 0) else { return Ok(None) };
    let lengths = live_lengths(snapshot)?;
    let filled = lengths.iter().filter(|length| **length > 0).count() as f64;
    let (balance, connectivity) = (balance(&lengths), filled / lengths.len().max(1) as f64);
    let asked = match view.version.is_lean() {
        true => None,
        false => Some(ask(snapshot, model, rows, go_on)?),
    };
    Ok(Some(Measured { balance, connectivity, asked }))
}

/// Has rows of a sample look for their nearest.
fn ask(snapshot: &Snapshot, model: &OpenModel, rows: u64, go_on: &mut dyn FnMut() -> Result<()>) -> Result<Asked> {
    let mut questions = sample(snapshot, rows, ROWS)?;
    answer(snapshot, snapshot.view().sources(), &mut questions, NEAREST, go_on)?;
    let mut sums = Sums::default();
    let mut looking = Looking { snapshot, model, exact: FlatQuery::blank(), scratch: Scratch::default() };
    let mut filing = Filing::new(kernels(), &model.frame, model.centroids());
    for question in &questions {
        go_on()?;
        looking.distances(question, &mut filing, &mut sums);
        looking.codes(question, &mut sums)?;
        looking.search(question, &mut sums)?;
    }
    let count = questions.len().max(1) as f64;
    Ok(Asked {
        sampled: questions.len() as u64,
        coverage: coverage(sums.centroid / count, sums.mean / count, sums.nearest / sums.with_nearest.max(1.0)),
        quantization_error: sums.error / sums.pairs.max(1.0) / (sums.length / count).max(f64::MIN_POSITIVE),
        bias: sums.difference / sums.pairs.max(1.0) / (sums.length / count).max(f64::MIN_POSITIVE),
        recall: if sums.wanted > 0.0 { sums.found / sums.wanted } else { 1.0 },
        scanned: sums.scanned / count,
    })
}

/// How far lists are on the way from one centroid for all rows (0) to centroids as near as the nearest other row (1). `nearest` of 0: not known.
fn coverage(centroid: f64, mean: f64, nearest: f64) -> f64 {
    let good = mean * GOOD_PART;
    let good = if nearest > 0.0 { nearest.min(good) } else { good };
    match mean > good {
        true => ((mean - centroid) / (mean - good)).clamp(0.0, 1.0),
        false => 1.0,
    }
}

/// Jain's index of the lengths of lists: what a probe would cost if all were equal, as a part of what it costs.
fn balance(lengths: &[u64]) -> f64 {
    let sum: f64 = lengths.iter().map(|length| *length as f64).sum();
    let squares: f64 = lengths.iter().map(|length| (*length as f64).powi(2)).sum();
    if squares > 0.0 { sum * sum / (lengths.len() as f64 * squares) } else { 1.0 }
}

/// Live rows in each list of each model: by their first copies.
fn live_lengths(snapshot: &Snapshot) -> Result<Vec<u64>> {
    let view = snapshot.view();
    let mut lengths = Vec::new();
    for model in &view.version.models {
        let mut own = vec![0; model.file.lists()];
        for file in view.version.lists.iter().filter(|file| file.model() == model.file.hash()) {
            for (list, length) in own.iter_mut().enumerate() {
                let loaded = file.load(list)?;
                let bytes = loaded.bytes();
                for word in bytes.rows.as_chunks::<4>().0.iter().take(bytes.primary as usize) {
                    let row = file.row(u32::from_le_bytes(*word))?;
                    let live = view.version.locate_live(row)?.is_some() && !view.killed(row);
                    *length += u64::from(live);
                }
            }
        }
        lengths.append(&mut own);
    }
    Ok(lengths)
}

/// Somebody who looks at stored rows.
struct Looking<'s> {
    snapshot: &'s Snapshot,
    model: &'s OpenModel,
    exact: FlatQuery,
    scratch: Scratch,
}

impl Looking<'_> {
    fn metric(&self) -> Metric {
        self.snapshot.schema().metric()
    }

    /// How far the row is from its centroid, the mean and the nearest other row.
    fn distances(&self, question: &Question, filing: &mut Filing<'_>, sums: &mut Sums) {
        let squared = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let length = squared(&mut question.vector.iter().map(|x| f64::from(*x)));
        let (mut inside, mut centroid) = (Vec::new(), Vec::new());
        self.model.frame.enter(kernels(), &question.vector, length.sqrt() as f32, &mut inside);
        let (list, _) = filing.list_of(&question.vector, length.sqrt() as f32);
        self.model.centroids().centroid(list as usize, self.model.file.padded(), &mut centroid);
        sums.centroid += squared(&mut inside.iter().zip(&centroid).map(|(x, c)| f64::from(*x) - f64::from(*c)));
        sums.mean += squared(&mut inside.iter().map(|x| f64::from(*x)));
        sums.length += if self.metric() == Metric::Cosine { 1.0 } else { length };
        let nearest = question.truth.first().copied().map(f64::from);
        let nearest = match self.metric() {
            Metric::L2 => nearest,
            Metric::Cosine => nearest.map(|distance| 2.0 * distance),
            // The largest product says nothing of the distance.
            Metric::InnerProduct => None,
        };
        sums.nearest += nearest.unwrap_or(0.0);
        sums.with_nearest += if nearest.is_some() { 1.0 } else { 0.0 };
    }

    /// How far estimates by codes are off, of the row's nearest.
    fn codes(&mut self, question: &Question, sums: &mut Sums) -> Result<()> {
        let (snapshot, model) = (self.snapshot, self.model);
        self.exact.set(&question.vector, snapshot.schema())?;
        let cold = SearchMode::Auto.is_cold(snapshot);
        let seek = Seek { snapshot, model, query: &question.vector, filter: None, chosen: None, k: NEAREST + 1, cold };
        let probe = Probe { exact: CANDIDATES, deviations: DEVIATIONS, ..Probe::new(model.file.lists()) };
        seek.segments(&self.exact, &probe, &mut self.scratch)?;
        for (exact, row) in self.scratch.found().iter().filter(|found| found.1 != question.row).take(NEAREST) {
            let estimate = self.scratch.estimates().find(|estimate| estimate.0 == *row);
            let Some((_, estimate)) = estimate.filter(|(_, estimate)| estimate.is_finite()) else { continue };
            // As products: half of the difference of squared distances.
            let difference = match self.metric() {
                Metric::L2 => (f64::from(estimate) - f64::from(*exact)) / 2.0,
                Metric::Cosine => f64::from(estimate) / 2.0 - f64::from(*exact),
                Metric::InnerProduct => f64::from(estimate) - f64::from(*exact),
            };
            sums.difference += difference;
            sums.error += difference.abs();
            sums.pairs += 1.0;
        }
        Ok(())
    }

    /// What a search of the default effort finds.
    fn search(&self, question: &Question, sums: &mut Sums) -> Result<()> {
        let hits = self.snapshot.search(&question.vector).k(NEAREST + 1).effort(Effort::default()).run()?;
        let Some(reach) = question.truth.last() else { return Ok(()) };
        // One of them is the row itself.
        let within = hits.iter().filter(|hit| hit.distance <= *reach).count();
        sums.found += within.saturating_sub(1).min(question.truth.len()) as f64;
        sums.wanted += question.truth.len() as f64;
        sums.scanned += hits.explain().entries_scanned as f64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_goes_from_one_centroid_to_the_nearest_neighbours() {
        assert_eq!(coverage(10.0, 10.0, 2.0), 0.0);
        assert_eq!(coverage(6.0, 10.0, 2.0), 0.5);
        assert_eq!(coverage(2.0, 10.0, 2.0), 1.0);
        assert_eq!(coverage(1.0, 10.0, 2.0), 1.0);
        assert_eq!(coverage(8.0, 10.0, 9.0), 0.8, "three quarters of the spread are good enough");
        assert_eq!(coverage(0.0, 0.0, 0.0), 1.0);
    }

    #[test]
    fn balance_is_what_a_probe_would_cost_if_lists_were_equal() {
        assert_eq!(balance(&[5, 5, 5, 5]), 1.0);
        assert_eq!(balance(&[20, 0, 0, 0]), 0.25);
        assert_eq!(balance(&[3, 1]), 0.8);
        assert_eq!((balance(&[]), balance(&[0])), (1.0, 1.0));
    }
}
