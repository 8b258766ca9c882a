//! C10 at every call: readers beside a writer on the simulated disk, between any two calls of either.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use stratavec::storage::testing::{Fault, FaultDir, FaultPlan, MemDir, Op, Repeat, TraceDir};
use stratavec::{Collection, ErrorKind, Follower, Verify};
use stratavec_tests::{Driver, Failure, History, MeddledDir, Step, WORKLOADS, Workload, compare};

use crate::explore::stall;
use crate::guard::guarded;
use crate::ordeal::Ordeal;

/// The calls a follower may make.
const READS: [Op; 5] = [Op::List, Op::Open, Op::Len, Op::ReadAt, Op::Map];

/// Proves that a follower shows a prefix of the batches with at least `least` of them; how many.
pub fn shows_a_prefix(follower: &Follower, history: &History, least: u64) -> Result<u64, String> {
    let snapshot = follower.snapshot();
    let (k, most) = (snapshot.seq(), history.attempted());
    if !(least..=most).contains(&k) {
        return Err(format!("a follower shows {k} batches; {least} were acknowledged before, {most} tried"));
    }
    let model = history.state(k).ok_or_else(|| format!("there is no batch {k}"))?;
    compare(&snapshot, model, history.ids()).map_err(|what| format!("a follower at batch {k}: {what}"))?;
    Ok(k)
}

/// Opens a follower on a directory at rest and proves that it only reads; how many batches it shows, `None` if there is no
/// collection.
pub fn follow_at_rest(disk: &MemDir, history: &History, least: u64) -> Result<Option<u64>, String> {
    let traced = Arc::new(TraceDir::new(disk.clone()));
    let follower = match Collection::open_read_only_in(traced.clone()) {
        Ok(follower) => follower,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("does not open read-only: {error:?}")),
    };
    if let Some(write) = traced.calls().iter().find(|traced| !READS.contains(&traced.call.op)) {
        return Err(format!("a follower writes: {write:?}"));
    }
    shows_a_prefix(&follower, history, least).map(Some)
}

/// A follower that refreshes all the time, and fresh ones beside it.
struct Watch {
    disk: MemDir,
    history: Arc<Mutex<History>>,
    follower: Option<Follower>,
    last: u64,
    /// The fault may take back what was shown.
    may_go_back: bool,
    /// Calls since something may have gone wrong; `None`: it is looked at every call.
    faults: Option<(Arc<FaultDir<MemDir>>, u64)>,
    looks: u64,
    failure: Option<String>,
}

impl Watch {
    fn start(disk: &MemDir, driver: &Driver) -> Watch {
        Watch {
            disk: disk.clone(),
            history: driver.shared_history(),
            follower: None,
            last: 0,
            may_go_back: false,
            faults: None,
            looks: 0,
            failure: None,
        }
    }

    fn on_call(self) -> Arc<Mutex<Watch>> {
        let disk = self.disk.clone();
        let watch = Arc::new(Mutex::new(self));
        let watching = watch.clone();
        disk.on_call(move |point| {
            let mut watch = watching.lock().unwrap_or_else(PoisonError::into_inner);
            if watch.failure.is_none()
                && watch.is_time(point.index)
                && let Err(what) = guarded(|| watch.look())
            {
                watch.failure = Some(format!("{:?} of call {}, {:?}: {what}", point.phase, point.index, point.call));
            }
        });
        watch
    }

    /// Where calls fail: at a few calls from the failure on, and now and then.
    fn is_time(&mut self, call: u64) -> bool {
        let Some((faults, since)) = &mut self.faults else { return true };
        *since += u64::from(faults.fired() > 0);
        (1..12).contains(since) || call.is_multiple_of(13)
    }

    fn look(&mut self) -> Result<(), String> {
        self.looks += 1;
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let least = history.acknowledged();
        let fresh = match Collection::open_read_only_in(Arc::new(self.disk.clone())) {
            Ok(follower) => follower,
            Err(error) if error.kind() == ErrorKind::NotFound && !history.created => return Ok(()),
            Err(error) => return Err(format!("does not open read-only: {error:?}")),
        };
        let k = shows_a_prefix(&fresh, &history, least)?;
        let Some(follower) = &self.follower else {
            self.follower = Some(fresh);
            return Ok(());
        };
        let seq = follower.refresh().map_err(|error| format!("refresh: {error:?}"))?;
        if seq != k || seq < self.last && !self.may_go_back {
            return Err(format!("a refresh shows {seq} batches after {}, a fresh follower {k}", self.last));
        }
        self.last = shows_a_prefix(follower, &history, least)?;
        Ok(())
    }

    fn end(watch: &Arc<Mutex<Watch>>, run: Result<(), String>) -> Result<u64, String> {
        let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.disk.clear_hook();
        run?;
        match watch.failure.take() {
            Some(what) => Err(what),
            None => watch.look().map(|()| watch.looks),
        }
    }
}

/// [C10] Before and after every call of the writer that changes the disk, in recoveries too: followers show a prefix of the
/// batches with everything acknowledged, and never fewer than before.
#[test]
fn between_any_two_calls_of_a_writer_followers_show_a_prefix() {
    let started = Instant::now();
    let mut looks = 0;
    for workload in WORKLOADS {
        for seed in 1..=6 {
            let disk = MemDir::new(seed);
            let faults = Arc::new(FaultDir::new(disk.clone()));
            let mut driver = Driver::new(workload, faults.clone(), seed);
            driver.on_stall(move |stalled| stall(&faults, stalled));
            let watch = Watch::start(&disk, &driver).on_call();
            let run = driver.run();
            looks += Watch::end(&watch, run)
                .unwrap_or_else(|what| panic!("C10 workload={} seed={seed}: {what}", workload.name));
        }
    }
    println!("followers: {looks} looks beside {} workloads, {:.1} s", WORKLOADS.len(), started.elapsed().as_secs_f64());
    assert!(looks > 10_000);
}

/// [C10] [C4] The same while calls of the writer fail: what a failed write left in the log is not shown, and what was shown
/// stays, unless the write was done in full or a sync lied.
#[test]
fn a_follower_never_shows_what_a_failed_write_left() {
    watch_faults(FEW_CALLS);
}

/// The same for every other call of the long workloads too.
#[test]
#[ignore = "takes the better part of an hour; make soak"]
fn soak_followers_of_failing_writers() {
    watch_faults(u64::MAX);
}

/// Calls of a workload of which every other fails in turn; of the calls of a longer one so many fail, evenly spaced. A look at every call
/// of each of these runs makes it quadratic.
const FEW_CALLS: u64 = 120;

fn watch_faults(few: u64) {
    let started = Instant::now();
    let faults = [Fault::Io, Fault::NoSpaceMidWrite, Fault::ShortWrite, Fault::IoAfter, Fault::LyingSync];
    let jobs: Vec<(&'static Workload, Fault)> =
        WORKLOADS.iter().flat_map(|workload| faults.map(|fault| (workload, fault))).collect();
    let (next, looks) = (AtomicUsize::new(0), AtomicU64::new(0));
    let work = || {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let Some((workload, fault)) = jobs.get(job) else { break };
            // Every other call, another half of them with the next fault.
            let calls = Ordeal { workload, seed: 1, fault: *fault, after: 0, repeat: Repeat::Once }.calls();
            let (calls, _) = calls.unwrap_or_else(|what| panic!("{} without a fault: {what}", workload.name));
            let stride = (calls * 2).div_ceil(few).max(2);
            let mut after = job as u64 % stride;
            while let Some(seen) = watch_fault(workload, *fault, after)
                .unwrap_or_else(|what| panic!("C10 workload={} fault={fault:?} after={after}: {what}", workload.name))
            {
                looks.fetch_add(seen, Ordering::Relaxed);
                after += stride;
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let looks = looks.into_inner();
    println!("followers: {looks} looks beside failing writers, {:.1} s", started.elapsed().as_secs_f64());
}

/// Runs a workload with one call failing; `None` if there is no such call.
fn watch_fault(workload: &'static Workload, fault: Fault, after: u64) -> Result<Option<u64>, String> {
    let disk = MemDir::new(1);
    let faults = Arc::new(FaultDir::with_disk(disk.clone(), &disk));
    faults.arm(FaultPlan::new(fault, after, Repeat::Once));
    let mut driver = Driver::new(workload, faults.clone(), 1);
    driver.expect_orphans();
    let watch = Watch {
        may_go_back: matches!(fault, Fault::IoAfter | Fault::LyingSync),
        faults: Some((faults.clone(), 0)),
        ..Watch::start(&disk, &driver)
    };
    let watch = watch.on_call();
    let run = run_through(workload, &mut driver);
    let looks = Watch::end(&watch, run)?;
    Ok((faults.fired() > 0).then_some(looks))
}

/// Does the steps, whatever fails.
fn run_through(workload: &'static Workload, driver: &mut Driver) -> Result<(), String> {
    let broken = |failure| match failure {
        Failure::Engine(_) => Ok(()),
        Failure::Promise(what) => Err(what),
    };
    if let Err(failure) = driver.create() {
        return broken(failure);
    }
    for step in workload.steps {
        driver.step(*step).or_else(broken)?;
        if driver.collection().is_none() {
            driver.open(false).map_err(|failure| format!("opening again: {failure}"))?;
        }
    }
    Ok(())
}

/// [C10] [C14] Between any two calls of a follower or of a check, the writer does the next steps of a workload: it commits,
/// flushes, merges, removes files, closes, crashes and recovers.
#[test]
fn between_any_two_calls_of_a_follower_the_writer_goes_on() {
    let started = Instant::now();
    let mut races = 0;
    for workload in WORKLOADS {
        races += race(workload).unwrap_or_else(|what| panic!("C10 {what}"));
    }
    println!("followers: {races} races, {:.1} s", started.elapsed().as_secs_f64());
    assert!(races > 3_000, "only {races} races");
}

/// All races of a workload. How many.
pub fn race(workload: &'static Workload) -> Result<u64, String> {
    let mut races = 0;
    for before in 0..workload.steps.len() {
        for meddled in 1..=(workload.steps.len() - before).min(4) {
            for reader in [Reader::Refreshes, Reader::Opens, Reader::Verifies] {
                let mut call = 0;
                loop {
                    let race = Race { workload, before, meddled, call, reader };
                    let calls = guarded(|| race.run()).map_err(|what| {
                        let at = format!("{before} steps before, {meddled} before call {call}");
                        format!("workload={} {reader:?}, {at}: {what}", workload.name)
                    })?;
                    races += 1;
                    call += 1;
                    if call >= calls {
                        break;
                    }
                }
            }
        }
    }
    Ok(races)
}

/// One meeting.
#[derive(Clone, Copy)]
struct Race {
    workload: &'static Workload,
    /// Steps done before.
    before: usize,
    /// Steps done between two calls of the follower.
    meddled: usize,
    /// Before this one.
    call: u64,
    reader: Reader,
}

/// What meets the writer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reader {
    /// A follower that was there before.
    Refreshes,
    /// A new one.
    Opens,
    /// A check of all files and logs.
    Verifies,
}

impl Race {
    /// How many calls the follower made.
    fn run(self) -> Result<u64, String> {
        let disk = MemDir::new(1);
        let faults = Arc::new(FaultDir::new(disk.clone()));
        let mut driver = Driver::new(self.workload, faults.clone(), 1);
        driver.on_stall(move |stalled| stall(&faults, stalled));
        driver.create().map_err(|failure| failure.to_string())?;
        let (before, rest) = self.workload.steps.split_at(self.before);
        do_steps(&mut driver, before)?;
        let history = driver.shared_history();
        let least = driver.history().acknowledged();
        let place = Arc::new(MeddledDir::new(disk));
        let refreshes = self.reader == Reader::Refreshes;
        let open = |place: &Arc<MeddledDir>| Collection::open_read_only_in(place.clone());
        let follower = refreshes.then(|| open(&place)).transpose().map_err(|error| format!("{error:?}"))?;
        // The first steps went by before the follower refreshes: there is something to do for it.
        let (late, meddled) = rest.split_at(usize::from(refreshes && rest.len() > self.meddled));
        do_steps(&mut driver, late)?;
        let meddled = meddled.get(..self.meddled).unwrap_or(meddled);
        let driver = Rc::new(RefCell::new((driver, Ok(()))));
        let meddler = {
            let driver = driver.clone();
            move |call| {
                if call == self.call {
                    let (driver, outcome) = &mut *driver.borrow_mut();
                    *outcome = do_steps(driver, meddled);
                }
            }
        };
        let (followed, calls) = place.meddle(meddler, || match follower {
            Some(follower) => follower.refresh().map(|_| follower),
            None if self.reader == Reader::Opens => open(&place),
            None => {
                let report = Collection::verify_in(&*place, Verify::Full)?;
                report.findings.into_iter().next().map_or_else(|| open(&place), Err)
            }
        });
        driver.borrow().1.clone()?;
        let follower = followed.map_err(|error| format!("{error:?}"))?;
        let history = history.lock().unwrap_or_else(PoisonError::into_inner);
        let k = shows_a_prefix(&follower, &history, least)?;
        let after = follower.refresh().map_err(|error| format!("the next refresh: {error:?}"))?;
        if after < k {
            return Err(format!("the next refresh goes back from {k} to {after}"));
        }
        shows_a_prefix(&follower, &history, history.acknowledged())?;
        Ok(calls)
    }
}

fn do_steps(driver: &mut Driver, steps: &[Step]) -> Result<(), String> {
    steps.iter().try_for_each(|step| driver.step(*step).map_err(|failure| format!("{step:?}: {failure}")))
}
