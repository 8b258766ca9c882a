//! Runs a workload on the simulated disk, stops the machine at every call that changes the disk, and recovers from every
//! state a power loss can leave there.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use stratavec::storage::testing::{
    CrashOptions, CrashPoint, CrashSet, Fault, FaultDir, FaultPlan, MemDir, Op, Phase, Repeat, TraceDir, UnitMask,
};
use stratavec::storage::{FileKind, Storage};
use stratavec::{Collection, Durability, ErrorKind, Verify};
use stratavec_tests::{Crash, Driver, History, Work, Workload, check_copy, inline_options};

use crate::follow::follow_at_rest;
use crate::guard::guarded;
use crate::line::{Line, Place};

/// Every so many states are shown to a follower before they are recovered from.
const FOLLOW_EVERY: u64 = 3;

/// How far to look.
#[derive(Clone)]
pub struct Plan {
    /// How crash images are enumerated.
    pub images: CrashOptions,
    /// How they are in recoveries.
    pub inner_images: CrashOptions,
    /// Every so many images the recovery is stopped at each of its calls too; 0: never.
    pub inner_every: u64,
    /// Every so many images the collection is verified before and after, and stopped again after one more batch.
    pub again_every: u64,
    /// Stop at the first failure.
    pub first_failure: bool,
    /// Do not look at the order of calls.
    pub ignore_order: bool,
    /// Only this one.
    pub only: Option<Line>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            images: CrashOptions::default(),
            inner_images: CrashOptions { exhaustive_units: 6, random_subsets: 8, ..CrashOptions::default() },
            inner_every: 0,
            again_every: 16,
            first_failure: false,
            ignore_order: false,
            only: None,
        }
    }
}

/// What was tried.
#[derive(Debug, Default)]
pub struct Tally {
    /// Moments at which the machine was stopped.
    pub points: u64,
    /// Distinct states it left.
    pub images: u64,
    /// Distinct states left by recoveries that were stopped.
    pub doubles: u64,
    /// Recoveries that were stopped at every call.
    pub inner_runs: u64,
    /// Most units that were pending at one moment.
    pub most_units: usize,
    /// One line each.
    pub failures: Vec<String>,
}

impl Tally {
    /// Adds another run.
    pub fn add(&mut self, other: Tally) {
        self.points += other.points;
        self.images += other.images;
        self.doubles += other.doubles;
        self.inner_runs += other.inner_runs;
        self.most_units = self.most_units.max(other.most_units);
        self.failures.extend(other.failures);
    }

    /// Prints all failures and ends the test if there are any.
    #[track_caller]
    pub fn assert_sound(&self) {
        self.failures.iter().take(20).for_each(|line| eprintln!("{line}"));
        assert!(self.failures.is_empty(), "{} failures; the first: {}", self.failures.len(), self.failures[0]);
    }
}

/// What a state holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing that counts as a collection.
    Nothing,
    /// So many batches.
    Batches(u64),
    /// It was reported already.
    Failed,
}

struct Explorer {
    workload: &'static Workload,
    seed: u64,
    plan: Plan,
    history: Arc<Mutex<History>>,
    /// What each state was found to hold.
    seen: HashMap<u128, Found>,
    /// The same for states left by recoveries.
    seen_inner: HashMap<u128, Found>,
    /// The same for directories of checkpoints: `None` if it was reported.
    seen_copies: HashMap<u128, Option<bool>>,
    /// What was promised when the last point was looked at.
    last_bounds: Option<(bool, u64, u64)>,
    tally: Tally,
}

/// Runs the workload and explores every crash of it.
pub fn explore(workload: &'static Workload, seed: u64, plan: &Plan) -> Tally {
    let disk = MemDir::new(seed);
    let faults = Arc::new(FaultDir::new(disk.clone()));
    let traced = Arc::new(TraceDir::new(faults.clone()).checking_names());
    let mut driver = Driver::new(workload, traced.clone(), seed);
    driver.on_stall(move |stalled| stall(&faults, stalled));
    let copies = Arc::new(Mutex::new(Vec::new()));
    let explorer = Arc::new(Mutex::new(Explorer {
        workload,
        seed,
        plan: plan.clone(),
        history: driver.shared_history(),
        seen: HashMap::new(),
        seen_inner: HashMap::new(),
        seen_copies: HashMap::new(),
        last_bounds: None,
        tally: Tally::default(),
    }));
    driver.on_checkpoint(copy_place(seed, &explorer, &copies));
    let lock = || explorer.lock().unwrap_or_else(PoisonError::into_inner);
    let hooked = explorer.clone();
    disk.on_call(move |point| hooked.lock().unwrap_or_else(PoisonError::into_inner).point(point));
    let run = catch_unwind(AssertUnwindSafe(|| driver.run()));
    disk.clear_hook();
    lock().look(disk.calls() + 1, Phase::Before, disk.crash_set(&plan.images));
    let copies = std::mem::take(&mut *copies.lock().unwrap_or_else(PoisonError::into_inner));
    copies.iter().for_each(|(copy, _)| copy.clear_hook());
    let mut explorer = lock();
    let whole = format!("R1 workload={} seed={seed}", workload.name);
    match run {
        Ok(Ok(())) => {}
        Ok(Err(what)) => explorer.tally.failures.push(format!("{whole}: without any crash: {what}")),
        Err(_) => explorer.tally.failures.push(format!("{whole}: the run panicked")),
    }
    let beside = copies.iter().flat_map(|(_, traced)| traced.violations());
    for violation in traced.violations().into_iter().chain(beside).filter(|_| !plan.ignore_order) {
        explorer.tally.failures.push(format!("R21 workload={} seed={seed}: {violation:?}", workload.name));
    }
    std::mem::take(&mut explorer.tally)
}

/// Directories that checkpoints were made in.
type Copies = Arc<Mutex<Vec<(MemDir, Traced)>>>;

/// Gives places for checkpoints, in which every crash is looked at. Every other one can only be copied into.
fn copy_place(seed: u64, explorer: &Arc<Mutex<Explorer>>, copies: &Copies) -> impl Fn() -> Arc<dyn Storage> + use<> {
    let (explorer, copies) = (explorer.clone(), copies.clone());
    move || {
        let mut copies = copies.lock().unwrap_or_else(PoisonError::into_inner);
        let number = copies.len() as u64;
        let disk = MemDir::new(seed ^ (number + 1) << 32);
        if (seed + number).is_multiple_of(2) {
            disk.refuse_links();
        }
        let hooked = explorer.clone();
        disk.on_call(move |point| hooked.lock().unwrap_or_else(PoisonError::into_inner).copy_point(number, point));
        let traced = Arc::new(TraceDir::new(disk.clone()).checking_names());
        copies.push((disk, traced.clone()));
        traced
    }
}

/// Makes files of rows impossible, or possible again.
pub fn stall(faults: &FaultDir<MemDir>, stalled: bool) {
    match stalled {
        true => faults.arm(FaultPlan::new(Fault::Io, 0, Repeat::Forever).on(&[Op::Create]).of(&[
            FileKind::Row,
            FileKind::IdTable,
            FileKind::Tombstone,
        ])),
        false => faults.disarm(),
    }
}

impl Explorer {
    fn stopped(&self) -> bool {
        self.plan.first_failure && !self.tally.failures.is_empty()
    }

    fn point(&mut self, point: &CrashPoint) {
        if self.stopped() {
            return;
        }
        let bounds = self.bounds();
        // Before a call the disk is as after the one before; only what was promised meanwhile may differ.
        if point.phase == Phase::Before && self.last_bounds == Some(bounds) && self.plan.only.is_none() {
            return;
        }
        self.last_bounds = Some(bounds);
        let wanted = |only: &Line| only.first.call == point.index && only.first.phase == point.phase;
        if self.plan.only.as_ref().is_none_or(wanted) {
            self.look(point.index, point.phase, point.dir.crash_set(&self.plan.images));
        }
    }

    /// A crash of the machine on whose disk a checkpoint is.
    fn copy_point(&mut self, number: u64, point: &CrashPoint) {
        if self.stopped() || self.plan.only.is_some() {
            return;
        }
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let set = point.dir.crash_set(&self.plan.images);
        self.tally.points += 1;
        self.tally.most_units = self.tally.most_units.max(set.units());
        for image in set.iter() {
            let whole = match self.seen_copies.get(&image.hash()) {
                Some(whole) => *whole,
                None => {
                    self.tally.images += 1;
                    let found = guarded(|| check_copy(&image.build(), self.workload, &history, history.copied));
                    if let Err(what) = &found {
                        self.copy_failure(number, point, image.mask(), what);
                    }
                    self.seen_copies.insert(image.hash(), found.clone().ok());
                    found.ok()
                }
            };
            if whole == Some(false) && history.copied.is_some() {
                self.copy_failure(number, point, image.mask(), "it was acknowledged and is not there");
            }
        }
    }

    fn copy_failure(&mut self, number: u64, point: &CrashPoint, mask: &UnitMask, what: &str) {
        let (name, seed, call) = (self.workload.name, self.seed, point.index);
        let phase = point.phase;
        self.tally.failures.push(format!(
            "R1 workload={name} seed={seed}: checkpoint {number}, its call {call} {phase:?}, units {mask}: {what}"
        ));
    }

    fn bounds(&self) -> (bool, u64, u64) {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        (history.created, history.durable(), history.attempted())
    }

    fn look(&mut self, call: u64, phase: Phase, set: CrashSet) {
        if self.stopped() {
            return;
        }
        self.tally.points += 1;
        self.tally.most_units = self.tally.most_units.max(set.units());
        let line = |mask: &UnitMask| Line {
            workload: self.workload,
            seed: self.seed,
            first: Place { call, phase, mask: mask.clone() },
            second: None,
        };
        if let Some(only) = self.plan.only.clone() {
            if only.first.call == call && only.first.phase == phase {
                self.first_image(&line(&only.first.mask), &set.build_mask(&only.first.mask));
            }
            return;
        }
        let lines: Vec<(u128, usize, Line)> =
            set.iter().map(|image| (image.hash(), image.index(), line(image.mask()))).collect();
        for (hash, index, line) in lines {
            let known = self.seen.get(&hash).copied();
            match known {
                Some(found) => {
                    if let Err(what) = self.allowed(found) {
                        self.tally.failures.push(format!("{line}: {what}"));
                    }
                }
                None => {
                    self.tally.images += 1;
                    let found = self.first_image(&line, &set.build(index));
                    self.seen.insert(hash, found);
                }
            }
            if self.stopped() {
                return;
            }
        }
    }

    fn allowed(&self, found: Found) -> Result<(), String> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Found::Nothing if history.created => Err("there is no collection any more".to_owned()),
            Found::Nothing | Found::Failed => Ok(()),
            Found::Batches(k) => history.allows(k, Crash::Power),
        }
    }

    /// Recovers from a state nobody has seen yet.
    fn first_image(&mut self, line: &Line, image: &MemDir) -> Found {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let thorough = self.plan.again_every > 0 && self.tally.images.is_multiple_of(self.plan.again_every);
        let untouched = image.fork();
        let order = !self.plan.ignore_order;
        let follow = self.tally.images.is_multiple_of(FOLLOW_EVERY) || self.plan.only.is_some();
        let visit = Visit { workload: self.workload, seed: self.seed, history: &history, order, follow };
        let recovered = guarded(|| visit.recover(image, thorough || self.plan.only.is_some()));
        let found = match recovered {
            Ok(found) => found,
            Err(what) => {
                self.tally.failures.push(format!("{line}: {what}"));
                return Found::Failed;
            }
        };
        let inner = self.plan.inner_every > 0 && self.tally.images.is_multiple_of(self.plan.inner_every);
        if inner || self.plan.only.as_ref().is_some_and(|only| only.second.is_some()) {
            self.stop_recovery(line, &untouched, found, &history);
        }
        found
    }

    /// Stops the recovery from a state at each of its calls. It must leave what the undisturbed recovery found.
    fn stop_recovery(&mut self, line: &Line, image: &MemDir, found: Found, history: &History) {
        self.tally.inner_runs += 1;
        let inner = Arc::new(Mutex::new(Inner {
            line: line.clone(),
            options: self.plan.inner_images,
            only: self.plan.only.as_ref().and_then(|only| only.second.clone()),
            history: history.clone(),
            wanted: found,
            seen: std::mem::take(&mut self.seen_inner),
            doubles: 0,
            failures: Vec::new(),
        }));
        let hooked = inner.clone();
        image.on_call(move |point| hooked.lock().unwrap_or_else(PoisonError::into_inner).point(point));
        let opened = open(image, self.workload, history.created);
        image.clear_hook();
        let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(what) = opened {
            inner.failures.push(format!("{line}: the second time: {what}"));
        }
        self.seen_inner = std::mem::take(&mut inner.seen);
        self.tally.doubles += inner.doubles;
        self.tally.failures.append(&mut inner.failures);
    }
}

/// The crashes of one recovery.
struct Inner {
    line: Line,
    options: CrashOptions,
    only: Option<Place>,
    history: History,
    wanted: Found,
    seen: HashMap<u128, Found>,
    doubles: u64,
    failures: Vec<String>,
}

impl Inner {
    fn point(&mut self, point: &CrashPoint) {
        if point.phase == Phase::Before && point.index > 1 && self.only.is_none() {
            return;
        }
        let set = point.dir.crash_set(&self.options);
        let place = |mask: &UnitMask| Place { call: point.index, phase: point.phase, mask: mask.clone() };
        if let Some(only) = &self.only {
            if only.call == point.index && only.phase == point.phase {
                self.image(place(&only.mask), &set.build_mask(&only.mask));
            }
            return;
        }
        for image in set.iter() {
            let found = match self.seen.get(&image.hash()) {
                Some(found) => *found,
                None => {
                    self.doubles += 1;
                    let found = self.image(place(image.mask()), &image.build());
                    self.seen.insert(image.hash(), found);
                    continue;
                }
            };
            if !self.as_wanted(found) {
                self.fail(place(image.mask()), format!("holds {found:?}, {:?} was there before", self.wanted));
            }
        }
    }

    /// Where there was nothing before, `create` was tried again; it may have got far enough.
    fn as_wanted(&self, found: Found) -> bool {
        found == self.wanted || found == Found::Failed || (found, self.wanted) == (Found::Batches(0), Found::Nothing)
    }

    fn image(&mut self, place: Place, image: &MemDir) -> Found {
        let visit = Visit {
            workload: self.line.workload,
            seed: self.line.seed,
            history: &self.history,
            order: false,
            follow: false,
        };
        match guarded(|| visit.look(image).map(|(found, _, _)| found)) {
            Ok(found) => {
                if !self.as_wanted(found) {
                    self.fail(place, format!("holds {found:?}, {:?} was there before", self.wanted));
                }
                found
            }
            Err(what) => {
                self.fail(place, what);
                Found::Failed
            }
        }
    }

    fn fail(&mut self, place: Place, what: String) {
        let line = Line { second: Some(place), ..self.line.clone() };
        self.failures.push(format!("{line}: {what}"));
    }
}

/// One state after a power loss.
struct Visit<'v> {
    workload: &'static Workload,
    seed: u64,
    history: &'v History,
    /// Whether the order of calls is looked at.
    order: bool,
    /// Whether a follower looks first: it must show what recovery then finds, and change nothing.
    follow: bool,
}

type Traced = Arc<TraceDir<MemDir>>;

fn open(image: &MemDir, workload: &'static Workload, created: bool) -> Result<(Collection, Traced, bool), String> {
    let traced = Arc::new(TraceDir::new(image.clone()).checking_names());
    let options = inline_options(workload);
    match Collection::open_in(traced.clone(), options.clone()) {
        Ok(collection) => Ok((collection, traced, true)),
        // An interrupted `create` may be tried again.
        Err(error) if error.kind() == ErrorKind::NotFound && !created => {
            match Collection::create_in(traced.clone(), workload.schema(), options) {
                Ok(collection) => Ok((collection, traced, false)),
                Err(error) => Err(format!("create does not work any more: {error:?}")),
            }
        }
        Err(error) => Err(format!("does not open: {error:?}")),
    }
}

impl Visit<'_> {
    /// Opens a state and proves what it holds.
    fn look(&self, image: &MemDir) -> Result<(Found, Collection, Traced), String> {
        let (collection, traced, was_there) = open(image, self.workload, self.history.created)?;
        let k = self.history.matches_prefix(&collection, Crash::Power)?;
        if collection.durable_seq() != k {
            return Err(format!("durable_seq() is {} after recovery", collection.durable_seq()));
        }
        Ok((if was_there { Found::Batches(k) } else { Found::Nothing }, collection, traced))
    }

    /// Opens a state, proves what it holds, writes on. `thorough`: verifies the files, stops once more and opens again.
    fn recover(&self, image: &MemDir, thorough: bool) -> Result<Found, String> {
        if thorough && image.names().iter().any(|name| name.to_string().starts_with("man-")) {
            sound(image, "before recovery")?;
        }
        let shown = self.follow.then(|| follow_at_rest(image, self.history, self.history.durable())).transpose()?;
        let (found, collection, traced) = self.look(image)?;
        let recovered = if let Found::Batches(k) = found { Some(k) } else { None };
        if shown.is_some_and(|shown| shown != recovered) {
            return Err(format!("a follower shows {shown:?} batches, recovery finds {recovered:?}"));
        }
        let mut history = self.history.clone();
        history.recovered(collection.last_seq());
        let mut driver = Driver::resume(self.workload, traced.clone(), self.seed, history, collection);
        let level = if self.seed.is_multiple_of(2) { Durability::Group } else { Durability::Os };
        driver.commit(level, Work::Mixed(3)).map_err(|failure| format!("one more batch: {failure}"))?;
        driver.check_reads().map_err(|failure| format!("after one more batch: {failure}"))?;
        if thorough {
            let again = CrashOptions { exhaustive_units: 3, random_subsets: 2, ..CrashOptions::default() };
            for image in image.crash_images(&again) {
                let visit = Visit { history: &driver.history(), ..*self };
                visit.look(&image).map_err(|what| format!("crashed after one more batch: {what}"))?;
            }
            sound(image, "after recovery")?;
        }
        match traced.violations().first() {
            Some(violation) if self.order => Err(format!("calls out of order: {violation:?}")),
            _ => Ok(found),
        }
    }
}

fn sound(image: &MemDir, when: &str) -> Result<(), String> {
    let report = Collection::verify_in(image, Verify::Full).map_err(|error| format!("verify {when}: {error:?}"))?;
    match report.findings.first() {
        Some(finding) => Err(format!("verify {when}: {finding:?}")),
        None => Ok(()),
    }
}
