//! Measuring how many lists find what part of the nearest rows, with stored rows as queries.
//!
//! Every question is asked once in each way of looking, and followed: what it had found after so many lists tells what a search of no more lists
//! finds, and one that ends early. So a collection is measured in a fraction of the time that trying all settings would take.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::effort::Effort;
use super::mode::SearchMode;
use super::questions::{Question, answer, sample};
use super::seek::Seek;
use super::trail::{Step, Trail, Truth, found_with};
use super::{LiveRows, OpenModel, Snapshot, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::index::flat::FlatQuery;
use crate::index::ivf::{Coder, Probe, Scratch, wave_lists};
use crate::kernel::cluster::Parallel;
use crate::manifest::Calibration;

/// Rows that serve as queries: the mean of what they find is within half a percent of that of all rows. Of a large collection fewer do, since
/// each is compared with all rows.
const QUERIES: std::ops::RangeInclusive<u64> = 200..=512;
/// Of those that ask for more than the fewest rows: each tells of more rows, so fewer tell as much.
const QUERIES_OF_MANY: usize = 128;
/// How many nearest rows are measured for.
const KS: [usize; 2] = [10, 100];
/// The parts of the nearest rows that are measured for.
const TARGETS: [f32; 8] = [0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995];
/// The part of what a target misses that must be found on top of it: stored rows are a little easier to find than queries, and the cheapest of
/// many searches that found enough had some luck.
const MARGIN: f64 = 0.16;
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
/// Lists that questions are followed for at first; then so many times as many, while that finds at least so much more.
const FIRST_LISTS: usize = 128;
const TIMES: usize = 2;
const GAIN: f64 = 0.000_5;
/// Rows that are asked whether what was measured holds, how many times as many lists they look at to know, and standard errors of what they tell.
const CHECKED: u64 = 1_024;
const FURTHER: usize = 8;
const DEVIATIONS: f64 = 2.0;
/// How much less they may find than was measured, and how much more: that is work in vain, and the many lists find not all there is.
const LEAST_OFF: f64 = 0.005;
const MOST_OFF: f64 = 0.02;
/// Questions that a thread takes at a time.
const TOGETHER: usize = 16;
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
/// a second or so, and some mebibytes beside the vectors of some 512 rows; the same at any number of threads. `go_on` is asked now and then.
///
/// # Errors
/// `Corrupt`; what `go_on` says.
pub(crate) fn calibrate(
    snapshot: &Snapshot,
    parallel: &dyn Parallel,
    go_on: &(dyn Fn() -> Result<()> + Sync),
) -> Result<Calibrated> {
    let version = &snapshot.view().version;
    let mut calibrated = Calibrated::default();
    let Some(model) = version.current_model() else { return Ok(calibrated) };
    let listed = |rows: &&LiveRows| rows.in_lists() && rows.file.has_vectors();
    let rows: u64 = version.rows.iter().filter(listed).map(LiveRows::live).sum();
    let found = &mut calibrated.entries;
    if rows < FEWEST_CALIBRATED || version.lists.is_empty() {
        return Ok(calibrated);
    }
    let mut questions = sample(snapshot, rows, QUERIES)?;
    // One more than will be wanted, to tell whether it is as near.
    let k = KS.into_iter().max().unwrap_or(1) + 1;
    let part = questions.len().div_ceil(parallel.threads().max(1)).max(1);
    side_by_side(parallel, questions.chunks_mut(part).collect(), |questions| {
        let files = version.rows.iter().filter(listed).map(Source::File);
        answer(snapshot, files, questions, k, &mut || go_on())
    })?;
    let measuring = |every: usize| Measuring {
        snapshot,
        model,
        questions: questions.iter().step_by(every).collect(),
        parallel,
        go_on,
    };
    for k in KS.into_iter().filter(|k| (*k as u64) < rows / 2) {
        let measuring = measuring(if k > KS[0] { (questions.len() / QUERIES_OF_MANY).max(2) } else { 1 });
        let courses = measuring.courses(k)?;
        let settings: Vec<Vec<Setting>> = courses.iter().map(|course| measuring.settings(course)).collect();
        // More is not found with less patience.
        let mut patience = 0;
        for target in TARGETS {
            let Some((_, probe)) = cheapest(&courses, &settings, target, false) else { continue };
            let plain = cheapest(&courses, &settings, target, true);
            let patient = plain.and_then(|(course, probe)| measuring.patient(course, target, &probe, &mut patience));
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
                    horizon: probe.horizon,
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
            horizon: f32::INFINITY,
        });
    }
    if let Some(probe) = Effort::default().probe(KS[0], model.file.lists(), found) {
        calibrated.scanned = measuring(1).scanned(KS[0], &probe)?;
    }
    Ok(calibrated)
}

/// Whether searches of the default effort find as much as they were to when that was measured, by what rows of a sample find and what they find if
/// they look much further: no row is compared with all others. What a sample of such a size may tell by chance counts for nothing.
///
/// # Errors
/// `Corrupt`; what `go_on` says.
pub(crate) fn still_holds(
    snapshot: &Snapshot,
    parallel: &dyn Parallel,
    go_on: &(dyn Fn() -> Result<()> + Sync),
) -> Result<bool> {
    let version = &snapshot.view().version;
    let Some(model) = version.current_model() else { return Ok(true) };
    let (k, lists, effort) = (KS[0], model.file.lists(), Effort::default());
    let known = version.manifest.calibration_of(model.file.hash());
    let Some((probe, Effort::Recall(part))) = effort.probe(k, lists, known).map(|probe| (probe, effort)) else {
        return Ok(true);
    };
    let further = Probe {
        exact: probe.exact.saturating_mul(2),
        deviations: MOST_DEVIATIONS,
        ..Probe::new(probe.nprobe.saturating_mul(FURTHER).min(lists))
    };
    let rows: u64 = version.rows.iter().filter(|rows| rows.in_lists()).map(LiveRows::live).sum();
    let questions = sample(snapshot, rows, CHECKED..=CHECKED)?;
    let found = side_by_side(parallel, questions.chunks(TOGETHER).collect(), |questions: &[Question]| {
        go_on()?;
        let mut asking = Asking::new(snapshot, model);
        questions.iter().map(|question| asking.part_found(question, k, &probe, &further)).collect::<Result<Vec<_>>>()
    })?;
    let found: Vec<f64> = found.into_iter().flatten().collect();
    let count = found.len().max(1) as f64;
    let mean = found.iter().sum::<f64>() / count;
    let variance = found.iter().map(|part| (part - mean).powi(2)).sum::<f64>() / count;
    let off = mean - with_margin(part);
    let chance = DEVIATIONS * (variance / count).sqrt();
    Ok(off >= -(LEAST_OFF + chance) && off <= MOST_OFF + chance)
}

/// Does `task` for each part; the first error, in the order of parts. After an error no part is begun.
fn side_by_side<T: Send, O: Send>(
    parallel: &dyn Parallel,
    parts: Vec<T>,
    task: impl Fn(T) -> Result<O> + Sync,
) -> Result<Vec<O>> {
    let failed = AtomicBool::new(false);
    let places: Vec<Mutex<(Option<T>, Option<Result<O>>)>> =
        parts.into_iter().map(|part| Mutex::new((Some(part), None))).collect();
    parallel.run(places.len(), &|number| {
        let Some(place) = places.get(number).filter(|_| !failed.load(Ordering::Relaxed)) else { return };
        let part = place.lock().0.take();
        let outcome = part.map(&task);
        failed.fetch_or(outcome.as_ref().is_some_and(Result::is_err), Ordering::Relaxed);
        place.lock().1 = outcome;
    });
    let mut done = Vec::with_capacity(places.len());
    let mut missing = None;
    for place in places {
        match place.into_inner().1 {
            Some(outcome) => done.push(outcome?),
            None => missing = Some(Error::new(ErrorKind::Cancelled, "threads ended before the work")),
        }
    }
    missing.map_or(Ok(done), Err)
}

fn with_margin(target: f32) -> f64 {
    let target = f64::from(target);
    target + MARGIN * (1.0 - target)
}

/// Questions that are asked in some way, for more and more lists.
struct Course {
    k: usize,
    /// Rows that are measured in the end, the one that asks among them.
    exact: usize,
    deviations: f32,
    /// After how many lists a look was taken: the same for all questions.
    lists: Vec<usize>,
    /// What was seen of each question.
    asked: Vec<Asked>,
    /// The part of the nearest rows that was found in the end.
    recall: f64,
    ended: bool,
}

/// One question: what was seen of it at each look.
struct Asked {
    /// Rows found that are among the nearest.
    found: Vec<u32>,
    /// Whether the last of the best had become a better one.
    improved: Vec<bool>,
    /// How far out the last list was.
    places: Vec<f32>,
    /// What lists and what was found in them had cost.
    costs: Vec<f32>,
}

impl Course {
    fn probe(&self, nprobe: usize) -> Probe {
        Probe { exact: self.exact, deviations: self.deviations, ..Probe::new(nprobe) }
    }

    /// How far out lists may be: as far as half of the questions have them after so many, or however far.
    fn horizons(&self) -> Vec<f32> {
        let median = |look: usize| {
            let mut places: Vec<f32> = self.asked.iter().filter_map(|asked| asked.places.get(look).copied()).collect();
            let middle = places.len() / 2;
            places.sort_unstable_by(f32::total_cmp);
            places.get(middle).copied().filter(|place| place.is_finite())
        };
        let mut horizons: Vec<f32> = (1..self.lists.len()).filter_map(median).collect();
        horizons.dedup();
        horizons.push(f32::INFINITY);
        horizons
    }
}

/// Searches of up to so many lists, none of them farther out than that.
struct Setting {
    lists: usize,
    horizon: f32,
    recall: f64,
    cost: f64,
}

/// The cheapest search that finds a part of the nearest rows, and how it went; `far`: one that looks at all its lists.
fn cheapest<'c>(
    courses: &'c [Course],
    settings: &[Vec<Setting>],
    target: f32,
    far: bool,
) -> Option<(&'c Course, Probe)> {
    let all = courses.iter().zip(settings);
    let all = all.flat_map(|(course, settings)| settings.iter().map(move |setting| (course, setting)));
    let good = all.filter(|(_, setting)| setting.recall >= with_margin(target));
    let good = good.filter(|(_, setting)| !far || setting.horizon == f32::INFINITY);
    let (course, setting) = good.min_by(|a, b| a.1.cost.total_cmp(&b.1.cost))?;
    Some((course, Probe { exact: course.exact - 1, horizon: setting.horizon, ..course.probe(setting.lists) }))
}

/// Stored rows that ask.
struct Measuring<'m> {
    snapshot: &'m Snapshot,
    model: &'m OpenModel,
    questions: Vec<&'m Question>,
    parallel: &'m dyn Parallel,
    go_on: &'m (dyn Fn() -> Result<()> + Sync),
}

impl Measuring<'_> {
    /// All ways of looking for the `k` nearest rows.
    fn courses(&self, k: usize) -> Result<Vec<Course>> {
        let ways = match self.model.coder() {
            Coder::Bits(bits) if bits <= FEW_BITS => &WAYS_OF_FEW_BITS[..],
            Coder::Bits(_) => &WAYS[..],
            Coder::Product(_) => &PRODUCT_WAYS[..],
            Coder::None => &EXACT_WAYS[..],
        };
        let course = |(deviations, beyond): &(f32, usize)| {
            // One row more is wanted than counts: the one that asks.
            let exact = k + 1 + beyond * k.div_ceil(10);
            Course {
                k,
                exact,
                deviations: *deviations,
                lists: Vec::new(),
                asked: Vec::new(),
                recall: 0.0,
                ended: false,
            }
        };
        let mut courses: Vec<Course> = ways.iter().map(course).collect();
        // Of fewer than two nothing could be followed.
        let limit = (self.model.file.lists() / 2).max(2);
        let mut lists = FIRST_LISTS.min(limit);
        loop {
            for course in courses.iter_mut().filter(|course| !course.ended) {
                let before = course.recall;
                self.follow(course, lists)?;
                let all = TARGETS.last().is_some_and(|last| course.recall >= with_margin(*last));
                course.ended = all || course.recall < before + GAIN || lists >= limit;
            }
            if courses.iter().all(|course| course.ended) {
                return Ok(courses);
            }
            lists = lists.saturating_mul(TIMES).min(limit);
        }
    }

    /// Asks all questions and follows them for so many lists.
    fn follow(&self, course: &mut Course, lists: usize) -> Result<()> {
        let parts = self.questions.chunks(TOGETHER).collect();
        let trails = side_by_side(self.parallel, parts, |questions: &[&Question]| {
            (self.go_on)()?;
            let mut asking = Asking::new(self.snapshot, self.model);
            questions.iter().map(|question| asking.trail(question, course, lists)).collect::<Result<Vec<_>>>()
        })?;
        let trails: Vec<Vec<Step>> = trails.into_iter().flatten().collect();
        // Looks are taken after as many lists of all questions.
        let looks = trails.iter().map(Vec::len).min().unwrap_or(0);
        let lists = |look: usize| trails.iter().filter_map(|trail| trail.get(look)).map(|step| step.lists).max();
        course.lists = (0..looks).map(|look| lists(look).unwrap_or(0) as usize).collect();
        course.asked = trails.iter().map(|trail| self.asked(trail.get(..looks).unwrap_or_default())).collect();
        let found: u64 =
            course.asked.iter().filter_map(|asked| asked.found.last()).map(|found| u64::from(*found)).sum();
        course.recall = found as f64 / self.wanted(course.k);
        Ok(())
    }

    fn asked(&self, trail: &[Step]) -> Asked {
        Asked {
            found: trail.iter().map(|step| step.found).collect(),
            improved: trail.iter().map(|step| step.improved).collect(),
            places: trail.iter().map(|step| step.place).collect(),
            costs: trail.iter().map(|step| self.cost(step) as f32).collect(),
        }
    }

    /// Rows that all questions together want.
    fn wanted(&self, k: usize) -> f64 {
        self.questions.iter().map(|question| question.truth.len().min(k)).sum::<usize>().max(1) as f64
    }

    /// What searches of up to as many lists as there were looks find and cost, for each horizon.
    fn settings(&self, course: &Course) -> Vec<Setting> {
        let (looks, wanted) = (course.lists.len(), self.wanted(course.k));
        let mut settings = Vec::new();
        for horizon in course.horizons() {
            let mut found = vec![0u32; looks];
            let mut costs = vec![0.0f64; looks];
            for asked in &course.asked {
                // The first lists are looked at wherever they are.
                let last = asked.places.partition_point(|place| *place <= horizon).max(1) - 1;
                add_until(&mut found, &asked.found, last, |sum, more| sum + more);
                add_until(&mut costs, &asked.costs, last, |sum, more| sum + f64::from(more));
            }
            for ((lists, found), cost) in course.lists.iter().zip(found).zip(costs) {
                let cost = cost / course.asked.len().max(1) as f64 + self.cost_of_all(*lists, course.exact);
                settings.push(Setting { lists: *lists, horizon, recall: f64::from(found) / wanted, cost });
            }
        }
        settings
    }

    /// The least patience, from the one at `from` on, that finds a target where a search may go on for longer than `plain` does; `from` is then
    /// its place. Nothing if it takes as much patience as such a search has lists.
    fn patient(&self, course: &Course, target: f32, plain: &Probe, from: &mut usize) -> Option<Probe> {
        let nprobe = plain.nprobe.saturating_mul(LONGER).min(self.model.file.lists());
        let hash = self.model.file.hash();
        let segments = self.snapshot.view().version.lists.iter().filter(|file| file.model() == hash).count();
        while let Some(patience) = PATIENCE.get(*from).copied().filter(|patience| *patience < nprobe) {
            let found = |asked: &Asked| {
                let looks = course.lists.iter().zip(&asked.found).zip(&asked.improved);
                let looks = looks.map(|((lists, found), improved)| (*lists as u32, *found, *improved));
                let wave = |looked: usize| wave_lists(&self.model.coder(), segments, looked, patience);
                found_with(looks, nprobe, patience, wave)
            };
            let found: u64 = course.asked.iter().map(|asked| u64::from(found(asked))).sum();
            if found as f64 / self.wanted(course.k) >= with_margin(target) {
                return Some(Probe { nprobe, patience, ..*plain });
            }
            *from += 1;
        }
        None
    }

    /// Entries that a search scans on average.
    fn scanned(&self, k: usize, probe: &Probe) -> Result<f32> {
        let parts = self.questions.chunks(TOGETHER).collect();
        let scanned = side_by_side(self.parallel, parts, |questions: &[&Question]| {
            (self.go_on)()?;
            let mut asking = Asking::new(self.snapshot, self.model);
            questions.iter().map(|question| asking.scanned(question, k, probe)).sum::<Result<usize>>()
        })?;
        Ok(scanned.into_iter().sum::<usize>() as f32 / self.questions.len().max(1) as f32)
    }

    /// What lists and what was found in them have cost by some step of a search, in nanoseconds of no machine in particular. Counted and not
    /// timed, so that the same rows give the same answer however busy a machine is.
    fn cost(&self, step: &Step) -> f64 {
        let dim = self.model.file.padded() as f64;
        let [entries, records, measured] = step.work.map(f64::from);
        let (entry, measured) = match self.model.coder() {
            Coder::Bits(_) => (0.3 + 0.004 * dim, 0.0),
            Coder::Product(book) => (0.3 + 0.02 * book.parts() as f64, 0.0),
            Coder::None => (5.0, measured),
        };
        let record = 20.0 + 0.1 * dim;
        f64::from(step.lists) * 25.0 + entries * entry + records * record + measured * self.cost_of_row()
    }

    /// What it cost to choose so many lists, whether they are looked at or not, and to measure so many rows.
    fn cost_of_all(&self, lists: usize, exact: usize) -> f64 {
        let list = 2.0 * (8.0 + 0.02 * self.model.file.padded() as f64);
        let rows = match self.model.coder() {
            Coder::None => 0.0,
            _ => exact as f64 * self.cost_of_row(),
        };
        lists as f64 * list + rows
    }

    fn cost_of_row(&self) -> f64 {
        40.0 + 0.06 * self.snapshot.schema().vector_bytes() as f64
    }
}

/// Adds to each sum what there was at its look, and from the `last` one on what there was then.
fn add_until<S: Copy, V: Copy>(sums: &mut [S], values: &[V], last: usize, add: impl Fn(S, V) -> S) {
    let (until, beyond) = sums.split_at_mut(last.min(sums.len()));
    until.iter_mut().zip(values).for_each(|(sum, value)| *sum = add(*sum, *value));
    let Some(value) = values.get(last) else { return };
    beyond.iter_mut().for_each(|sum| *sum = add(*sum, *value));
}

/// Somebody who asks with stored rows, each of which finds itself first.
struct Asking<'s> {
    snapshot: &'s Snapshot,
    model: &'s OpenModel,
    exact: FlatQuery,
    scratch: Scratch,
    truth: Truth,
}

impl<'s> Asking<'s> {
    fn new(snapshot: &'s Snapshot, model: &'s OpenModel) -> Self {
        Asking { snapshot, model, exact: FlatQuery::blank(), scratch: Scratch::default(), truth: Truth::default() }
    }

    fn seek<'q>(&self, question: &'q Question, k: usize) -> Seek<'s, 'q> {
        let (snapshot, model) = (self.snapshot, self.model);
        let cold = SearchMode::Auto.is_cold(snapshot);
        Seek { snapshot, model, query: &question.vector, filter: None, chosen: None, k: k + 1, cold }
    }

    /// Asks, and follows the search for so many lists.
    fn trail(&mut self, question: &Question, course: &Course, lists: usize) -> Result<Vec<Step>> {
        self.exact.set(&question.vector, self.snapshot.schema())?;
        self.truth.set(question, course.k);
        let seek = self.seek(question, course.k);
        // Lists from the nearest on, and never impatient: something is found in the first of them.
        let probe = Probe { patience: lists.saturating_sub(1), ..course.probe(lists) };
        let mut trail = Trail::new(seek, question, &self.exact, &mut self.truth);
        seek.follow(&self.exact, &probe, &mut self.scratch, &mut trail)?;
        trail.into_steps()
    }

    /// Entries that one search scans.
    fn scanned(&mut self, question: &Question, k: usize, probe: &Probe) -> Result<usize> {
        self.exact.set(&question.vector, self.snapshot.schema())?;
        self.seek(question, k).segments(&self.exact, probe, &mut self.scratch)?;
        Ok(self.scratch.work.0)
    }

    /// The part of what one search finds that another finds too.
    fn part_found(&mut self, question: &Question, k: usize, probe: &Probe, further: &Probe) -> Result<f64> {
        self.exact.set(&question.vector, self.snapshot.schema())?;
        let seek = self.seek(question, k);
        let others = |found: &[(f32, u64)]| -> Vec<f32> {
            found.iter().filter(|found| found.1 != question.row).map(|found| found.0).take(k).collect()
        };
        seek.segments(&self.exact, further, &mut self.scratch)?;
        let nearest = others(self.scratch.found());
        seek.segments(&self.exact, probe, &mut self.scratch)?;
        let Some(reach) = nearest.last() else { return Ok(1.0) };
        let found = others(self.scratch.found()).iter().filter(|distance| *distance <= reach).count();
        Ok(found as f64 / nearest.len() as f64)
    }
}
