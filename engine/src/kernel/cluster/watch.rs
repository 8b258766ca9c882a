//! What a piece of work is given besides its rows: kernels, threads, and someone who watches.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Kernels;

use super::parallel::Parallel;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Reading the sample.
    Sample,
    /// First centroids.
    Initial,
    /// A pass of Lloyd's algorithm; counted from 0.
    Pass(usize),
    /// Splitting lists.
    Split,
    /// Giving rows their lists.
    Assign,
    /// Choosing rows that are far from each other.
    Coverage,
}

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Parts of it that are done.
    pub done: usize,
    /// Parts in all.
    pub total: usize,
}

/// Someone who is told of progress and may end the work. Called from any thread, between parts of a few milliseconds.
pub trait Watch: Sync {
    /// One more part is done. Parts end in any order; `done` of several threads may arrive out of order.
    fn progress(&self, progress: Progress) {
        let _ = progress;
    }

    /// Whether the work is to end with `Cancelled`.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// With what work is done. None of it changes a result.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// The instruction set.
    pub kernels: &'static Kernels,
    /// Threads.
    pub parallel: &'a dyn Parallel,
    /// Progress and cancellation.
    pub watch: &'a dyn Watch,
}

impl Work<'_> {
    /// Does `task` for each part, side by side. Every part has its own place for results, so that order does not matter.
    pub(super) fn each<T: Send>(
        &self,
        stage: Stage,
        parts: Vec<T>,
        task: impl Fn(usize, T) -> Result<()> + Sync,
    ) -> Result<()> {
        let total = parts.len();
        let done = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        let parts: Vec<Mutex<Option<T>>> = parts.into_iter().map(|part| Mutex::new(Some(part))).collect();
        self.parallel.run(total, &|number| {
            if failure.lock().is_some() {
                return;
            }
            let Some(part) = parts.get(number).and_then(|part| part.lock().take()) else { return };
            match self.go_on().and_then(|()| task(number, part)) {
                Ok(()) => {
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    self.watch.progress(Progress { stage, done, total });
                }
                Err(error) => *failure.lock() = Some(error),
            }
        });
        match failure.into_inner() {
            Some(error) => Err(error),
            None if done.into_inner() < total => Err(Error::new(ErrorKind::Cancelled, "threads ended before the work")),
            None => Ok(()),
        }
    }

    /// An error if the work has been cancelled.
    pub(crate) fn go_on(&self) -> Result<()> {
        match self.watch.cancelled() {
            true => Err(Error::new(ErrorKind::Cancelled, "clustering was cancelled")),
            false => Ok(()),
        }
    }
}
