//! A long job: watched, cancelled, waited for.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::compact::{Compact, CompactReport};
use super::shared::Shared;
use crate::compaction::{Control, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::planted;

/// How often a callback hears of progress.
const BEAT: Duration = Duration::from_millis(100);

/// A compaction at work. Dropping it lets the work go on; the collection stays open until it ends.
#[must_use = "errors of the job are returned by `wait`"]
pub struct Job {
    control: Arc<Control>,
    thread: JoinHandle<Result<CompactReport>>,
}

impl Job {
    pub(super) fn start(shared: Arc<Shared>, what: Compact) -> Result<Job> {
        let control = Arc::new(Control::default());
        let (watched, name) = (control.clone(), shared.storage.describe());
        let thread = std::thread::Builder::new()
            .name("stratavec-compact".into())
            .spawn(planted::carrying(move || shared.compact(what, &watched)))
            .map_err(|error| Error::io("start a thread for", name, error))?;
        Ok(Job { control, thread })
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.control.progress()
    }

    /// Asks it to stop. What it has installed by then stays; what it was at is given up without a trace.
    pub fn cancel(&self) {
        self.control.cancel();
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// `Cancelled`; `NoSpace`, before anything is written, if the disk will not hold the result; `Corrupt` if an input fails
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
