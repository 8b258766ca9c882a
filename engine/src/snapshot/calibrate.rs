//! Measuring how many lists find what part of the nearest rows, with stored rows as queries.

use super::effort::Effort;
use super::mode::SearchMode;
use super::questions::{Question, answer, sample};
use super::seek::Seek;
use super::{LiveRows, OpenModel, Snapshot, Source};
use crate::error::Result;
use crate::index::flat::FlatQuery;
use crate::index::ivf::{Coder, Probe, Scratch};
use crate::manifest::Calibration;

/// Rows that serve as queries: the mean of what they find is within half a percent of that of all rows. Of a large collection fewer do, since
/// each is compared with all rows.
const QUERIES: std::ops::RangeInclusive<u64> = 200..=400;
/// How many nearest rows are measured for.
const KS: [usize; 2] = [10, 100];
/// The parts of the nearest rows that are measured for.
const TARGETS: [f32; 8] = [0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995];
/// The part of what a target misses that must be found on top of it: stored rows are a little easier to find than queries.
const MARGIN: f64 = 0.08;
/// Standard errors, and rows measured beyond `k` for each ten of `k`, that are tried.
const WAYS: [(f32, usize); 3] = [(1.0, 3), (1.5, 6), (2.0, 12)];
/// The same for codes of one or two bits, by which more rows seem as near as the nearest.
const WAYS_OF_FEW_BITS: [(f32, usize); 4] = [(1.0, 6), (1.5, 15), (2.0, 40), (2.0, 96)];
const FEW_BITS: usize = 2;
/// The same of product codes, whose estimates have no bounds and are rougher; without codes there is one way.
const PRODUCT_WAYS: [(f32, usize); 4] = [(1.0, 6), (1.0, 15), (1.0, 40), (1.0, 100)];
const EXACT_WAYS: [(f32, usize); 1] = [(1.0, 0)];
/// Standard errors where nothing short of all lists is good enough.
const MOST_DEVIATIONS: f32 = 3.5;
/// A search that may end early may look at so many times the lists of one that may not, and this is how patient it may be.
const LONGER: usize = 3;
const PATIENCE: [usize; 14] = [4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128];
/// Fewest rows that are worth it: fewer are searched in no time, however badly the lists are chosen.
pub(crate) const FEWEST_CALIBRATED: u64 = 1_000;

/// What was measured.
#[derive(Default)]
pub(crate) struct Calibrated {
    pub(crate) entries: Vec<Calibration>,
    /// Entries of lists that a search of the default effort scans, on average; 0 if it measures every row.
    pub(crate) scanned: f32,
}

/// What to do for each of some parts of the nearest ten and hundred rows, ascending by `k` and part: the least work that finds as much, on
/// average over rows of the collection. Parts that no such search finds are left out. Nothing if there are few rows or no lists. Takes
/// a few seconds, and two mebibytes; `go_on` is asked now and then.
///
/// # Errors
/// `Corrupt`; what `go_on` says.
pub(crate) fn calibrate(snapshot: &Snapshot, go_on: &mut dyn FnMut() -> Result<()>) -> Result<Calibrated> {
    let version = &snapshot.view().version;
    let mut calibrated = Calibrated::default();
    let Some(model) = version.current_model() else { return Ok(calibrated) };
    let listed = |rows: &&LiveRows| rows.in_lists() && rows.file.has_vectors();
    let rows: u64 = version.rows.iter().filter(listed).map(LiveRows::live).sum();
    let found = &mut calibrated.entries;
    if rows < FEWEST_CALIBRATED || version.lists.is_empty() {
        return Ok(calibrated);
    }
    let mut asking = Asking { snapshot, model, exact: FlatQuery::blank(), scratch: Scratch::default() };
    let mut questions = sample(snapshot, rows, QUERIES)?;
    let files = version.rows.iter().filter(listed).map(Source::File);
    answer(snapshot, files, &mut questions, KS.into_iter().max().unwrap_or(1), go_on)?;
    for k in KS.into_iter().filter(|k| (*k as u64) < rows / 2) {
        // More is not found with less patience.
        let mut patience = 0;
        for (target, best) in TARGETS.into_iter().zip(asking.curve(&questions, k, go_on)?) {
            let Some((_, probe)) = best else { continue };
            let patient = asking.patient(&questions, k, target, &probe, &mut patience, go_on)?;
            for probe in patient.into_iter().chain([probe]) {
                found.push(Calibration {
                    model: *model.file.hash(),
                    rows,
                    k: k as u32,
                    recall: target,
                    nprobe: probe.nprobe as u32,
                    patience: u32::try_from(probe.patience).unwrap_or(u32::MAX),
                    exact: probe.exact as u32,
                    deviations: probe.deviations,
                });
            }
        }
    }
    if found.is_empty() {
        // Nothing is good enough short of everything; that is worth knowing too.
        let (k, lists) = (KS[0] as u32, model.file.lists() as u32);
        found.push(Calibration {
            model: *model.file.hash(),
            rows,
            k,
            recall: 1.0,
            nprobe: lists,
            patience: u32::MAX,
            exact: 2 * k,
            deviations: MOST_DEVIATIONS,
        });
    }
    if let Some(probe) = Effort::default().probe(KS[0], model.file.lists(), found) {
        for question in &questions {
            go_on()?;
            asking.ask(question, KS[0], &probe)?.for_each(drop);
            calibrated.scanned += asking.scratch.work.0 as f32 / questions.len() as f32;
        }
    }
    Ok(calibrated)
}

fn with_margin(target: f32) -> f64 {
    let target = f64::from(target);
    target + MARGIN * (1.0 - target)
}

/// Somebody who asks with stored rows, each of which finds itself first.
struct Asking<'s> {
    snapshot: &'s Snapshot,
    model: &'s OpenModel,
    exact: FlatQuery,
    scratch: Scratch,
}

/// For each target the cheapest probe so far that reaches it, with its cost.
type Curve = [Option<(f64, Probe)>; TARGETS.len()];

impl Asking<'_> {
    /// Distances of the rows found by one search, without the one that asks.
    fn ask(&mut self, question: &Question, k: usize, probe: &Probe) -> Result<impl Iterator<Item = f32> + '_> {
        let row = question.row;
        self.exact.set(&question.vector, self.snapshot.schema())?;
        let (snapshot, model) = (self.snapshot, self.model);
        let cold = SearchMode::Auto.is_cold(snapshot);
        let seek = Seek { snapshot, model, query: &question.vector, filter: None, chosen: None, k: k + 1, cold };
        seek.segments(&self.exact, probe, &mut self.scratch)?;
        Ok(self.scratch.found().iter().filter(move |found| found.1 != row).map(|found| found.0).take(k))
    }

    /// Goes up the numbers of lists, for each way of looking at them.
    fn curve(&mut self, questions: &[Question], k: usize, go_on: &mut dyn FnMut() -> Result<()>) -> Result<Curve> {
        let mut curve: Curve = Default::default();
        let most = (self.model.file.lists() / 2).max(1);
        let ways = match self.model.coder() {
            Coder::Bits(bits) if bits <= FEW_BITS => &WAYS_OF_FEW_BITS[..],
            Coder::Bits(_) => &WAYS[..],
            Coder::Product(_) => &PRODUCT_WAYS[..],
            Coder::None => &EXACT_WAYS[..],
        };
        for (deviations, beyond) in ways.iter().copied() {
            // One row more is wanted than counts: the one that asks.
            let exact = k + 1 + beyond * k.div_ceil(10);
            let mut nprobe = 1;
            while nprobe <= most {
                go_on()?;
                let probe = Probe { nprobe, patience: usize::MAX, exact, deviations };
                let (recall, cost) = self.measure(questions, k, &probe)?;
                for (target, best) in TARGETS.into_iter().zip(&mut curve) {
                    if recall >= with_margin(target) && best.is_none_or(|best| cost < best.0) {
                        *best = Some((cost, Probe { exact: exact - 1, ..probe }));
                    }
                }
                if TARGETS.last().is_some_and(|last| recall >= with_margin(*last)) {
                    break;
                }
                nprobe += nprobe.div_ceil(7);
            }
        }
        Ok(curve)
    }

    /// The least patience, from the one at `from` on, that finds a target where a search may go on for longer than `plain` does; `from` is then
    /// its place. Nothing if it takes as much patience as such a search has lists.
    fn patient(
        &mut self,
        questions: &[Question],
        k: usize,
        target: f32,
        plain: &Probe,
        from: &mut usize,
        go_on: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Option<Probe>> {
        let nprobe = plain.nprobe.saturating_mul(LONGER).min(self.model.file.lists());
        while let Some(patience) = PATIENCE.get(*from).copied().filter(|patience| *patience < nprobe) {
            go_on()?;
            let probe = Probe { nprobe, patience, exact: plain.exact + 1, ..*plain };
            if self.measure(questions, k, &probe)?.0 >= with_margin(target) {
                return Ok(Some(Probe { exact: plain.exact, ..probe }));
            }
            *from += 1;
        }
        Ok(None)
    }

    /// The part of the truth that is found, and the mean cost.
    fn measure(&mut self, questions: &[Question], k: usize, probe: &Probe) -> Result<(f64, f64)> {
        let (mut found, mut wanted, mut cost) = (0, 0, 0.0);
        for question in questions {
            let truth = question.truth.get(..k).unwrap_or(&question.truth);
            let reach = truth.last().copied().unwrap_or(f32::NEG_INFINITY);
            found += self.ask(question, k, probe)?.filter(|distance| *distance <= reach).count();
            wanted += truth.len();
            cost += self.cost(probe);
        }
        Ok((found as f64 / wanted.max(1) as f64, cost / questions.len().max(1) as f64))
    }

    /// What the last search cost, in nanoseconds of no machine in particular. Counted and not measured, so that the same rows give the
    /// same answer however busy a machine is.
    fn cost(&self, probe: &Probe) -> f64 {
        let (dim, bytes) = (self.model.file.padded() as f64, self.snapshot.schema().vector_bytes() as f64);
        let (entries, records) = (self.scratch.work.0 as f64, self.scratch.work.1 as f64);
        let list = 25.0 + 2.0 * (8.0 + 0.02 * dim);
        let entry = match self.model.coder() {
            Coder::Bits(_) => 0.3 + 0.004 * dim,
            Coder::Product(book) => 0.3 + 0.02 * book.parts() as f64,
            Coder::None => 5.0,
        };
        let record = 20.0 + 0.1 * dim;
        let row = 40.0 + 0.06 * bytes;
        let measured = match self.model.coder() {
            Coder::None => self.scratch.measured(),
            _ => probe.exact,
        };
        self.scratch.looked as f64 * list + entries * entry + records * record + measured as f64 * row
    }
}
