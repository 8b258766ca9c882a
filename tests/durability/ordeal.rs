//! Runs a workload on a disk that fails at one call, or from one call on, and proves that nothing promised is lost and
//! nothing refused appears.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stratavec::storage::Storage;
use stratavec::storage::testing::{CrashOptions, Fault, FaultDir, FaultPlan, MemDir, Repeat, TraceDir};
use stratavec::{Collection, Durability, Error, ErrorKind, Outcome};
use stratavec_tests::{Crash, Driver, Failure, History, Random, Step, Work, Workload, check_copy, inline_options};

/// One run with one fault.
#[derive(Clone, Copy, Debug)]
pub struct Ordeal {
    /// What is run.
    pub workload: &'static Workload,
    /// Its seed.
    pub seed: u64,
    /// The way a call fails.
    pub fault: Fault,
    /// The call, among those that can fail in this way.
    pub after: u64,
    /// Whether later ones fail too.
    pub repeat: Repeat,
}

/// What happened in some runs.
#[derive(Debug, Default)]
pub struct Count {
    /// Runs.
    pub runs: u64,
    /// Calls that failed.
    pub fired: u64,
    /// Commits that returned `NotCommitted`.
    pub refused: u64,
    /// Commits that returned `Unknown`.
    pub unknown: u64,
    /// Handles that took no more writes.
    pub poisoned: u64,
    /// States recovered from.
    pub states: u64,
}

impl Count {
    /// Adds other runs.
    pub fn add(&mut self, other: &Count) {
        self.runs += other.runs;
        self.fired += other.fired;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.poisoned += other.poisoned;
        self.states += other.states;
    }
}

type Traced = Arc<TraceDir<Arc<FaultDir<MemDir>>>>;

struct Run {
    ordeal: Ordeal,
    disk: MemDir,
    faults: Arc<FaultDir<MemDir>>,
    traced: Traced,
    copies: Copies,
    driver: Driver,
    count: Count,
}

/// Directories that checkpoints were made in. Their calls fail with those of the collection's.
type Copies = Arc<Mutex<Vec<(MemDir, Arc<TraceDir<FaultDir<MemDir>>>)>>>;

impl Ordeal {
    /// How many calls of an undisturbed run can fail in this way, and how many calls it has in all.
    pub fn calls(&self) -> Result<(u64, u64), String> {
        let mut run = Run::new(Ordeal { after: u64::MAX >> 1, ..*self });
        run.driver.run()?;
        let beside: u64 = run.copies().iter().map(|(_, traced)| traced.total()).sum();
        Ok((run.faults.matched(), run.traced.total() + beside))
    }

    /// Runs and proves. Fails if the call was never reached.
    pub fn run(self) -> Result<Count, String> {
        let mut run = Run::new(self);
        run.steps()?;
        if run.faults.fired() == 0 {
            return Err("the run ended before the call that should fail".to_owned());
        }
        run.count.fired = run.faults.fired();
        run.faults.disarm();
        run.live_handle()?;
        run.driver.abandon();
        run.after_process_crash()?;
        run.after_power_loss()?;
        run.checkpoints()?;
        let beside: Vec<_> = run.copies().iter().flat_map(|(_, traced)| traced.violations()).collect();
        match run.traced.violations().iter().chain(&beside).next() {
            Some(violation) => Err(format!("calls out of order: {violation:?}")),
            None => Ok(run.count),
        }
    }
}

impl Run {
    fn new(ordeal: Ordeal) -> Run {
        let disk = MemDir::new(ordeal.seed);
        let faults = Arc::new(FaultDir::with_disk(disk.clone(), &disk));
        faults.arm(FaultPlan::new(ordeal.fault, ordeal.after, ordeal.repeat));
        let traced = Arc::new(TraceDir::new(faults.clone()).checking_names());
        let mut driver = Driver::new(ordeal.workload, traced.clone(), ordeal.seed);
        let copies = Copies::default();
        let (made, beside) = (copies.clone(), faults.clone());
        driver.on_checkpoint(move || {
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            let disk = MemDir::new(ordeal.seed ^ (made.len() as u64 + 1) << 32);
            if made.len().is_multiple_of(2) {
                disk.refuse_links();
            }
            let traced = Arc::new(TraceDir::new(beside.beside(disk.clone(), &disk)).checking_names());
            made.push((disk, traced.clone()));
            traced
        });
        Run { ordeal, disk, faults, traced, copies, driver, count: Count { runs: 1, ..Count::default() } }
    }

    fn copies(&self) -> MutexGuard<'_, Vec<(MemDir, Arc<TraceDir<FaultDir<MemDir>>>)>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A checkpoint that failed left nothing that opens, or all of it; one that did not fail is there.
    fn checkpoints(&mut self) -> Result<(), String> {
        let history = self.driver.history().clone();
        let copies = std::mem::take(&mut *self.copies());
        let last = copies.len();
        for (number, (disk, _)) in copies.iter().enumerate() {
            let done = history.copied.filter(|_| number + 1 == last);
            for image in some_images(disk, self.ordeal.seed).into_iter().chain([disk.process_crash()]) {
                self.count.states += 1;
                check_copy(&image, self.ordeal.workload, &history, done).map_err(in_state("a checkpoint"))?;
            }
        }
        *self.copies() = copies;
        Ok(())
    }

    /// Does the steps, whatever fails. Errors are allowed, broken promises are not.
    fn steps(&mut self) -> Result<(), String> {
        self.driver.expect_orphans();
        if let Err(failure) = self.driver.create() {
            return self.tolerate("create", failure).map(drop);
        }
        for (at, step) in self.ordeal.workload.steps.iter().enumerate() {
            let name = format!("step {at}, {step:?}");
            if let Err(failure) = self.driver.step(*step) {
                let error = self.tolerate(&name, failure)?;
                if let Step::Commit(..) = step {
                    self.refused_commit(&name, &error)?;
                }
            }
            // A failed close or open leaves no handle. Opening once more works if the fault is over.
            if self.driver.collection().is_none() {
                match (self.driver.open(false), self.ordeal.repeat) {
                    (Ok(()), _) => {}
                    (Err(Failure::Engine(_)), Repeat::Forever) => return Ok(()),
                    (Err(failure), _) => return Err(format!("{name}, opening again: {failure}")),
                }
            }
        }
        Ok(())
    }

    fn tolerate(&self, name: &str, failure: Failure) -> Result<Error, String> {
        match failure {
            Failure::Engine(error) if self.faults.fired() > 0 => {
                // Every error a user can meet here names its kind; damage would be a false alarm.
                match error.kind() {
                    ErrorKind::Corrupt | ErrorKind::UnsupportedVersion | ErrorKind::AlreadyExists => {
                        Err(format!("{name}: {error:?}"))
                    }
                    _ => Ok(error),
                }
            }
            failure => Err(format!("{name}: {failure}")),
        }
    }

    fn refused_commit(&mut self, name: &str, error: &Error) -> Result<(), String> {
        let poisoned = self.driver.collection().is_some_and(|collection| collection.stats().poisoned.is_some());
        match error.outcome() {
            Outcome::NotCommitted => self.count.refused += 1,
            Outcome::Unknown if poisoned => self.count.unknown += 1,
            Outcome::Unknown => return Err(format!("{name}: the outcome is unknown, but writes go on: {error:?}")),
        }
        Ok(())
    }

    /// [C12] A handle with a failed sync refuses every write and goes on reading. [C13] One without takes writes again as soon
    /// as the fault is over.
    fn live_handle(&mut self) -> Result<(), String> {
        let Some(collection) = self.driver.collection() else { return Ok(()) };
        let poisoned = collection.stats().poisoned.is_some();
        self.driver.check_reads().map_err(|failure| format!("reads after the fault: {failure}"))?;
        let result = self.driver.commit(Durability::Group, Work::Mixed(2));
        match (result, poisoned) {
            (Ok(()), false) => {}
            (Err(Failure::Engine(error)), true) => {
                let refused = error.kind() == ErrorKind::Poisoned && error.outcome() == Outcome::NotCommitted;
                if !refused {
                    return Err(format!("a poisoned handle answers a commit with {:?}: {error:?}", error.outcome()));
                }
                self.count.poisoned += 1;
                let collection = self.driver.collection().ok_or("the handle is gone")?;
                for (call, result) in [("sync", collection.sync().map(drop)), ("flush", collection.flush())] {
                    if result.is_ok() {
                        return Err(format!("a poisoned handle answers {call} with Ok"));
                    }
                }
            }
            (Ok(()), true) => return Err("a poisoned handle takes a commit".to_owned()),
            (Err(failure), _) => return Err(format!("a commit after the fault: {failure}")),
        }
        self.driver.check_reads().map_err(|failure| format!("reads of the live handle: {failure}"))
    }

    /// The next process meets the same page cache, lies and all. What it has shown must survive a power loss.
    fn after_process_crash(&mut self) -> Result<(), String> {
        let disk = self.disk.process_crash();
        let history = self.driver.history().clone();
        let (collection, created) =
            open(&disk, self.ordeal.workload, &history).map_err(in_state("the next process"))?;
        let k = history.matches_prefix(&collection, Crash::Process).map_err(in_state("the next process"))?;
        self.count.states += 1;
        let mut after = history.clone();
        after.recovered(k);
        after.created = created;
        for image in some_images(&disk, self.ordeal.seed) {
            self.count.states += 1;
            let found =
                reopen(&image, self.ordeal.workload, &after).map_err(in_state("a power loss after reopening"))?;
            if found != k {
                return Err(format!("reopening showed {k} batches, {found} survived a power loss"));
            }
        }
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        after.created = true;
        let mut driver = Driver::resume(self.ordeal.workload, storage, self.ordeal.seed + 1, after, collection);
        driver
            .commit(Durability::Group, Work::Mixed(3))
            .map_err(|failure| format!("a commit after reopening: {failure}"))?;
        driver.check_reads().map_err(|failure| format!("after a commit after reopening: {failure}"))?;
        for image in some_images(&disk, self.ordeal.seed) {
            self.count.states += 1;
            reopen(&image, self.ordeal.workload, &driver.history())
                .map_err(in_state("a power loss after reopening and a commit"))?;
        }
        Ok(())
    }

    fn after_power_loss(&mut self) -> Result<(), String> {
        for image in some_images(&self.disk, self.ordeal.seed) {
            self.count.states += 1;
            let history = self.driver.history();
            reopen(&image, self.ordeal.workload, &history).map_err(in_state("a power loss"))?;
        }
        Ok(())
    }
}

fn in_state(state: &'static str) -> impl Fn(String) -> String {
    move |what| format!("{state}: {what}")
}

/// What a power loss leaves at the least and at the most, and two states between.
fn some_images(disk: &MemDir, seed: u64) -> Vec<MemDir> {
    let options = CrashOptions { exhaustive_units: 4, random_subsets: 4, seed, ..CrashOptions::default() };
    let set = disk.crash_set(&options);
    let mut random = Random::new(seed ^ disk.calls());
    let count = set.len() as u64;
    let mut chosen = vec![0, count - 1, random.below(count), random.below(count)];
    chosen.sort_unstable();
    chosen.dedup();
    // The state with every unit is among the prefixes, not at the end, when there are many.
    let all = stratavec::storage::testing::UnitMask::range(0..set.units());
    chosen.into_iter().map(|index| set.build(index as usize)).chain([set.build_mask(&all)]).collect()
}

fn open(disk: &MemDir, workload: &'static Workload, history: &History) -> Result<(Collection, bool), String> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let options = inline_options(workload);
    match Collection::open_in(storage.clone(), options.clone()) {
        Ok(collection) => Ok((collection, true)),
        Err(error) if error.kind() == ErrorKind::NotFound && !history.created => {
            let created = Collection::create_in(storage, workload.schema(), options);
            created.map(|collection| (collection, true)).map_err(|error| format!("create does not work: {error:?}"))
        }
        Err(error) => Err(format!("does not open: {error:?}")),
    }
}

fn reopen(image: &MemDir, workload: &'static Workload, history: &History) -> Result<u64, String> {
    let (collection, _) = open(image, workload, history)?;
    history.matches_prefix(&collection, Crash::Power)
}
