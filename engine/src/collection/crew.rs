//! Threads for work that can be cut into tasks: started when it begins, gone when it ends.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::shared::Shared;
use crate::kernel::cluster::Parallel;
use crate::options::Background;
use crate::planted;
use crate::storage::stand_back;

/// Most threads that work at once: from here on the memory is slower than they are.
const MOST: usize = 16;
/// Memory that a handle must have for each further thread.
const BUDGET_PER_THREAD: u64 = 64 << 20;

/// So many threads, the calling one among them.
pub(super) struct Crew {
    threads: usize,
    /// Whether the threads that are started get out of the way of searches and commits.
    stands_back: bool,
}

impl Crew {
    /// The calling thread alone.
    pub(super) const ALONE: Crew = Crew { threads: 1, stands_back: false };

    /// What suits a handle: the calling thread alone if it is to start none, else as many as the machine and the budget have room for.
    pub(super) fn of(shared: &Shared) -> Crew {
        if shared.options.background == Background::Inline {
            return Crew::ALONE;
        }
        let machine = std::thread::available_parallelism().map_or(1, NonZero::get);
        let room = shared.budget.limit().map_or(MOST as u64, |limit| limit / BUDGET_PER_THREAD);
        Crew { threads: machine.min(MOST).min(room as usize).max(1), stands_back: false }
    }

    /// The same, but only the calling thread insists: the others work where a processor would be idle.
    pub(super) fn standing_back(self) -> Crew {
        Crew { stands_back: true, ..self }
    }
}

impl Parallel for Crew {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= tasks {
                    return;
                }
                task(number);
            }
        };
        let help = || {
            if self.stands_back {
                stand_back();
            }
            work();
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.min(tasks) {
                // Where no thread can be had, those that are there do the work.
                let _ = std::thread::Builder::new().spawn_scoped(scope, planted::carrying(help));
            }
            work();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once() {
        for threads in [1, 2, 5] {
            let done: Vec<AtomicUsize> = (0..97).map(|_| AtomicUsize::new(0)).collect();
            Crew { threads, stands_back: threads == 2 }.run(97, &|task| {
                done[task].fetch_add(1, Ordering::Relaxed);
            });
            assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{threads} threads");
            Crew { threads, stands_back: false }.run(0, &|_| panic!("no task"));
        }
    }
}
