//! How a long job is watched and stopped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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

/// Shared by the job and whoever watches it.
#[derive(Default)]
pub(crate) struct Control {
    done: AtomicU64,
    total: AtomicU64,
    cancelled: AtomicBool,
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

    /// Counts what is not rows; fails once the job is cancelled.
    pub(crate) fn step_by(&self, count: u64) -> Result<()> {
        self.done.fetch_add(count, Ordering::Relaxed);
        self.check()
    }

    /// Counts a row; fails once the job is cancelled.
    pub(crate) fn step(&self) -> Result<()> {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.check()
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
