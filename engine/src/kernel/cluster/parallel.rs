//! Threads, which are the caller's: this layer starts none.

/// Runs tasks side by side.
pub trait Parallel: Sync {
    /// Threads that may run tasks at once; bounds the memory of the work, never its result.
    fn threads(&self) -> usize;

    /// Calls `task` with every number below `tasks` once, in any order, on any threads, and returns when all calls have.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// The calling thread alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Parallel for Serial {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// Ranges of `step` that cover `0..count`.
pub(super) fn ranges(count: usize, step: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..count).step_by(step.max(1)).map(move |start| start..count.min(start + step))
}
