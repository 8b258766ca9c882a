//! A long job: watched, cancelled, waited for.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::compact::{Compact, CompactReport};
use super::shared::Shared;
use crate::compaction::{BEAT, Control, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::planted;

/// The jobs of a handle that are at work.
#[derive(Default)]
pub(super) struct Jobs {
    running: Mutex<Vec<Entry>>,
    ended: Condvar,
}

struct Entry {
    control: Arc<Control>,
    /// Whether the end of the collection waits for the job's. It must not where code of the caller may hold the job up.
    held: bool,
}

impl Jobs {
    pub(super) fn begin(self: &Arc<Self>, control: Arc<Control>, held: bool) -> Running {
        self.running.lock().push(Entry { control: control.clone(), held });
        Running { jobs: self.clone(), control }
    }

    /// Cancels all and returns when none of those that are held has the collection open any more.
    pub(super) fn end_all(&self) {
        let mut running = self.running.lock();
        running.iter().for_each(|entry| entry.control.cancel());
        while running.iter().any(|entry| entry.held) {
            self.ended.wait(&mut running);
        }
    }
}

/// Ends a job's entry, also if the job panics.
pub(super) struct Running {
    jobs: Arc<Jobs>,
    control: Arc<Control>,
}

impl Running {
    /// From here on the end of the collection waits for the job. It has been cancelled if that end was before.
    pub(super) fn hold(&self) -> Result<()> {
        let mut running = self.jobs.running.lock();
        let own = running.iter_mut().find(|entry| Arc::ptr_eq(&entry.control, &self.control));
        own.into_iter().for_each(|entry| entry.held = true);
        self.control.check()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.jobs.running.lock().retain(|entry| !Arc::ptr_eq(&entry.control, &self.control));
        self.jobs.ended.notify_all();
    }
}

/// A compaction at work. Dropping it lets the work go on; so does dropping the collection, whose lock is held until it ends.
/// [`crate::Collection::close`] cancels it.
#[must_use = "errors of the job are returned by `wait`"]
pub struct Job {
    control: Arc<Control>,
    thread: JoinHandle<Result<CompactReport>>,
}

impl Job {
    pub(super) fn start(shared: Arc<Shared>, what: Compact) -> Result<Job> {
        let control = Arc::new(Control::default());
        let (watched, name) = (control.clone(), shared.storage.describe());
        let running = shared.jobs.begin(control.clone(), true);
        let before = shared.pending.lock().upkeep;
        let work = move || {
            // Dropped in the reverse order: the collection is let go of before the job counts as ended.
            let _running = running;
            let shared = shared;
            let outcome = shared.compact(what, &watched);
            watched.end();
            let upkeep = shared.pending.lock().upkeep;
            outcome.map(|report| report.with_growth(upkeep, before))
        };
        let thread = std::thread::Builder::new()
            .name("stratavec-compact".into())
            .spawn(planted::carrying(work))
            .map_err(|error| Error::io("start a thread for", name, error))?;
        Ok(Job { control, thread })
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.control.progress()
    }

    /// Tells the callback how far it is: now, then about ten times a second from the thread of the job, and once more at its end. The newest
    /// callback counts. It holds the job up while it runs; one that panics cancels the job.
    pub fn on_progress(&self, callback: impl FnMut(Progress) + Send + 'static) {
        self.control.listen(Box::new(callback));
    }

    /// Asks it to stop. What it has installed by then stays; what it was at is given up without a trace.
    pub fn cancel(&self) {
        self.control.cancel();
    }

    /// Whether it has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// `Cancelled`, also if the collection was closed meanwhile; `NoSpace`, before anything is written, if the disk will not hold the result; `Corrupt` if an input fails
    /// a checksum; `Io`; `Poisoned`.
    pub fn wait(self) -> Result<CompactReport> {
        self.thread.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the compaction ended unexpectedly")))
    }

    /// Waits for the end and tells the callback ten times a second how far it is.
    ///
    /// # Errors
    /// As [`Job::wait`].
    pub fn wait_with(self, mut on_progress: impl FnMut(Progress)) -> Result<CompactReport> {
        while !self.thread.is_finished() {
            on_progress(self.progress());
            std::thread::sleep(BEAT);
        }
        on_progress(self.progress());
        self.wait()
    }
}
