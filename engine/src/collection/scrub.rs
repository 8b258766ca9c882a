//! Scrub: reading every byte of every file again, at a pace that leaves the disk to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard};

use super::shared::Shared;
use crate::compaction::{BEAT, Control, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::options::Scrub;
use crate::segment::TombstoneFile;
use crate::snapshot::Version;

/// From the end of a pass in the background to the beginning of the next.
const REST: Duration = Duration::from_secs(3600);
/// Longest sleep before looking whether to stop.
const NAP: Duration = Duration::from_millis(50);
/// Findings that are kept.
const MOST_FINDINGS: usize = 100;

/// What a scrub found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ScrubReport {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Damage, each with file, section and offset; the first hundred.
    pub findings: Vec<Error>,
}

/// What all scrubs of a handle have found.
#[derive(Default)]
pub(super) struct Scrubbed {
    state: Mutex<State>,
    /// Tells the thread that its work is over.
    stop: AtomicBool,
    /// One pass at a time, so that the rate is one.
    pass: Mutex<()>,
    /// Scrubs that were asked for: the pass in the background leaves its place to them.
    asked: AtomicUsize,
}

#[derive(Clone, Default)]
struct State {
    passes: u64,
    bytes: u64,
    last: Option<SystemTime>,
    findings: Vec<Error>,
}

/// What `stats` shows: passes, bytes, when the last pass ended, findings.
pub(super) type ScrubFigures = (u64, u64, Option<SystemTime>, Vec<Error>);

impl Scrubbed {
    pub(super) fn figures(&self) -> ScrubFigures {
        let state = self.state.lock().clone();
        (state.passes, state.bytes, state.last, state.findings)
    }

    /// Ends the background pass at its next nap.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The place of the pass in the background, which gives it up at its next nap.
    fn take_over(&self, control: &Control) -> Result<Asked<'_>> {
        self.asked.fetch_add(1, Ordering::AcqRel);
        let mut asked = Asked { scrubbed: self, _pass: None };
        asked._pass = Some(control.turn(&self.pass)?);
        Ok(asked)
    }

    /// Damage is told at once, wherever it is looked for.
    fn find(&self, error: &Error) {
        tracing::error!(%error, "a scrub has found damage: verify the collection, keep a checkpoint from before, see repair");
        let mut state = self.state.lock();
        if state.findings.len() < MOST_FINDINGS && state.findings.iter().all(|old| old.to_string() != error.to_string())
        {
            state.findings.push(error.clone());
        }
    }
}

/// A scrub that was asked for.
struct Asked<'s> {
    scrubbed: &'s Scrubbed,
    _pass: Option<MutexGuard<'s, ()>>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.scrubbed.asked.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A scrub at work, in the place of one in the background. Dropping it lets the work go on; [`crate::Collection::close`] cancels it.
#[must_use = "what the scrub finds is returned by `wait`"]
pub struct ScrubJob {
    control: Arc<Control>,
    thread: JoinHandle<Result<ScrubReport>>,
}

impl ScrubJob {
    pub(super) fn start(shared: Arc<Shared>) -> Result<ScrubJob> {
        let control = Arc::new(Control::default());
        let (watched, name) = (control.clone(), shared.storage.describe());
        let running = shared.jobs.begin(control.clone(), true);
        let thread = std::thread::Builder::new()
            .name("stratavec-scrub".into())
            .spawn(move || {
                // Dropped in the reverse order: the collection is let go of before the job counts as ended.
                let _running = running;
                let shared = shared;
                let rate = match shared.options.scrub {
                    Scrub::Rate(rate) => Some(rate),
                    Scrub::Off => None,
                };
                let place = shared.scrubbed.take_over(&watched);
                let outcome = place.and_then(|_place| shared.scrub_pass(rate, &|| watched.check(), &watched));
                watched.end();
                outcome
            })
            .map_err(|error| Error::io("start a thread for", name, error))?;
        Ok(ScrubJob { control, thread })
    }

    /// How far it is: bytes read, of those there are.
    pub fn progress(&self) -> Progress {
        self.control.progress()
    }

    /// Tells the callback how far it is: now, then about ten times a second from the thread of the job, and once more at its end. The newest
    /// callback counts. It holds the job up while it runs; one that panics cancels the job.
    pub fn on_progress(&self, callback: impl FnMut(Progress) + Send + 'static) {
        self.control.listen(Box::new(callback));
    }

    /// Asks it to stop.
    pub fn cancel(&self) {
        self.control.cancel();
    }

    /// Whether it has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end. Damage is no error: it is in the report.
    ///
    /// # Errors
    /// `Cancelled`, also if the collection was closed meanwhile; `Io`.
    pub fn wait(self) -> Result<ScrubReport> {
        self.thread.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the scrub ended unexpectedly")))
    }

    /// Waits for the end and tells the callback ten times a second how far it is.
    ///
    /// # Errors
    /// As [`ScrubJob::wait`].
    pub fn wait_with(self, mut on_progress: impl FnMut(Progress)) -> Result<ScrubReport> {
        while !self.thread.is_finished() {
            on_progress(self.progress());
            std::thread::sleep(BEAT);
        }
        on_progress(self.progress());
        self.wait()
    }
}

impl Shared {
    /// Reads all files of the newest manifest once. They stay open, so merges may drop them meanwhile.
    fn scrub_pass(&self, rate: Option<u64>, go_on: &dyn Fn() -> Result<()>, control: &Control) -> Result<ScrubReport> {
        let version = self.view.load().version.clone();
        control.expect(version.manifest.files().map(|(_, facts)| facts.len).sum());
        let start = Instant::now();
        let mut report = ScrubReport::default();
        let mut found = Vec::new();
        let mut read = 0u64;
        let done = self.scrub_files(
            &version,
            &mut |bytes| {
                read = read.saturating_add(bytes);
                control.step_by(bytes)?;
                let due = rate.map_or(0.0, |rate| read as f64 / rate.max(1) as f64);
                while start.elapsed().as_secs_f64() < due {
                    go_on()?;
                    std::thread::sleep(
                        NAP.min(Duration::from_secs_f64((due - start.elapsed().as_secs_f64()).max(0.0))),
                    );
                }
                go_on()
            },
            &mut |error| {
                self.scrubbed.find(&error);
                if found.len() < MOST_FINDINGS {
                    found.push(error);
                }
            },
            &mut report.files,
        );
        let mut state = self.scrubbed.state.lock();
        state.bytes = state.bytes.saturating_add(read);
        done?;
        state.passes += 1;
        state.last = Some(SystemTime::now());
        drop(state);
        (report.bytes, report.findings) = (read, found);
        Ok(report)
    }

    fn scrub_files(
        &self,
        version: &Version,
        pace: &mut dyn FnMut(u64) -> Result<()>,
        find: &mut dyn FnMut(Error),
        files: &mut u64,
    ) -> Result<()> {
        for rows in &version.rows {
            rows.file.scrub(pace, find)?;
            *files += 1;
        }
        for table in &version.id_tables {
            table.scrub(pace, find)?;
            *files += 1;
        }
        for model in &version.models {
            model.file.scrub(pace, find)?;
            *files += 1;
        }
        for list in &version.lists {
            list.scrub(pace, find)?;
            *files += 1;
        }
        let (collection, origin) = (version.manifest.collection, version.manifest.own_origin());
        for entry in &version.manifest.tombstones {
            match TombstoneFile::open(&*self.storage, entry.id, collection, origin, &entry.facts) {
                Ok(file) => file.scrub(pace, find)?,
                // A merge may have replaced it; the next pass reads what there is then.
                Err(_) if !Arc::ptr_eq(&self.view.load().version.manifest, &version.manifest) => {}
                Err(error) => find(error),
            }
            *files += 1;
        }
        Ok(())
    }
}

/// The thread of a handle: pass after pass.
pub(super) fn run(shared: &Shared) {
    let Scrub::Rate(rate) = shared.options.scrub else { return };
    let asked = || shared.scrubbed.asked.load(Ordering::Acquire) > 0;
    let go_on = || match shared.scrubbed.stopped() || asked() {
        true => Err(Error::new(ErrorKind::Cancelled, "the handle was closed, or asked for a scrub")),
        false => Ok(()),
    };
    while !shared.scrubbed.stopped() {
        let Some(place) = shared.scrubbed.pass.try_lock().filter(|_| !asked()) else {
            std::thread::sleep(NAP);
            continue;
        };
        if let Err(error) = shared.scrub_pass(Some(rate), &go_on, &Control::default())
            && error.kind() != ErrorKind::Cancelled
        {
            tracing::warn!(%error, "a scrub could not be finished; it will be tried again");
        }
        drop(place);
        let mut pending = shared.pending.lock();
        let until = Instant::now() + REST;
        while !pending.stop && Instant::now() < until {
            shared.pending_changed.wait_until(&mut pending, until);
        }
    }
}
