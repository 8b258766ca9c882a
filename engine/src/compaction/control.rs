//! How a long job is watched and stopped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::error::{Error, ErrorKind, Result};
use crate::kernel::cluster::Watch;

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Rows handled.
    pub done: u64,
    /// Rows to handle, as far as known by now.
    pub total: u64,
}

/// How often a listener hears of progress, at the most.
pub(crate) const BEAT: Duration = Duration::from_millis(100);
/// The clock is looked at when so many more rows are done (a power of two), so that a row costs no call of the system.
const GLANCE: u64 = 256;

/// Shared by the job and whoever watches it.
#[derive(Default)]
pub(crate) struct Control {
    done: AtomicU64,
    total: AtomicU64,
    cancelled: AtomicBool,
    /// Set with `listener` locked.
    ended: AtomicBool,
    listener: Mutex<Option<Listener>>,
}

/// Who is told how far the job is, and when that was last done.
struct Listener {
    tell: Box<dyn FnMut(Progress) + Send>,
    last: Instant,
}

impl Control {
    pub(crate) fn progress(&self) -> Progress {
        Progress { done: self.done.load(Ordering::Relaxed), total: self.total.load(Ordering::Relaxed) }
    }

    /// Asks the job to stop at the next row.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn expect(&self, rows: u64) {
        self.total.fetch_add(rows, Ordering::Relaxed);
    }

    /// Tells `tell` now how far the job is, then whenever a tenth of a second has passed, from a thread of the job, and at its end. One listener
    /// at a time: the newest.
    pub(crate) fn listen(&self, mut tell: Box<dyn FnMut(Progress) + Send>) {
        let mut listener = self.listener.lock();
        tell(self.progress());
        let listens = !self.ended.load(Ordering::Relaxed);
        *listener = listens.then(|| Listener { tell, last: Instant::now() });
    }

    /// The job is over, in whatever way: its listener is told for the last time.
    pub(crate) fn end(&self) {
        let mut listener = self.listener.lock();
        self.ended.store(true, Ordering::Relaxed);
        if let Some(mut listener) = listener.take() {
            // What it panics of is on standard error; the job is over.
            let _ = catch_unwind(AssertUnwindSafe(|| (listener.tell)(self.progress())));
        }
    }

    /// Counts what is not rows; fails once the job is cancelled.
    pub(crate) fn step_by(&self, count: u64) -> Result<()> {
        let before = self.done.fetch_add(count, Ordering::Relaxed);
        if before / GLANCE != before.wrapping_add(count) / GLANCE {
            self.tell();
        }
        self.check()
    }

    /// Counts a row; fails once the job is cancelled.
    pub(crate) fn step(&self) -> Result<()> {
        self.step_by(1)
    }

    /// Tells the listener, if it is time and no other thread is at it.
    fn tell(&self) {
        let Some(mut listener) = self.listener.try_lock() else { return };
        let mut told = Ok(());
        if let Some(listener) = listener.as_mut().filter(|listener| listener.last.elapsed() >= BEAT) {
            listener.last = Instant::now();
            told = catch_unwind(AssertUnwindSafe(|| (listener.tell)(self.progress())));
        }
        // Not through the job, which has files to remove.
        if told.is_err() {
            *listener = None;
            self.cancel();
        }
    }

    /// Takes a lock that others may hold for long; fails once the job is cancelled.
    pub(crate) fn turn<'m, T>(&self, lock: &'m Mutex<T>) -> Result<MutexGuard<'m, T>> {
        loop {
            self.check()?;
            if let Some(guard) = lock.try_lock_for(BEAT) {
                return Ok(guard);
            }
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.cancelled.load(Ordering::Relaxed) {
            true => {
                Err(Error::new(ErrorKind::Cancelled, "the job was cancelled; what it had not finished was given up"))
            }
            false => Ok(()),
        }
    }
}

/// Ends clustering once the job is cancelled.
pub(super) struct Watched<'a>(pub(super) &'a Control);

impl Watch for Watched<'_> {
    fn cancelled(&self) -> bool {
        self.0.check().is_err()
    }
}
