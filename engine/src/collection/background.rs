//! The threads of a handle: one flushes frozen generations and seals an idle log, one merges what flushes leave, and
//! one, if it is wanted, reads all files again.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::scrub;
use super::shared::{NextModel, Shared};
use crate::error::{Error, Result};
use crate::options::Scrub;
use crate::storage::stand_back;

/// A log that nobody wrote to for this long gets a seal.
const IDLE: Duration = Duration::from_secs(1);
/// How often somebody looks how full memory is while a model is trained for what is frozen.
const LOOK: Duration = Duration::from_millis(20);
/// After a failed merge the next try waits this long, doubled for each failure in a row, at most 2^6 times.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// Run until [`Threads::stop`] or drop.
pub(super) struct Threads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Threads> {
        let mut started = Threads { shared: shared.clone(), threads: Vec::new() };
        started.spawn("stratavec-flush", run_flushes)?;
        started.spawn("stratavec-merge", run_merges)?;
        if shared.options.scrub != Scrub::Off {
            started.spawn("stratavec-scrub", scrub::run)?;
        }
        Ok(started)
    }

    fn spawn(&mut self, name: &str, run: fn(&Shared)) -> Result<()> {
        let worker = self.shared.clone();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || run(&worker))
            .map_err(|error| Error::io("start a thread of", self.shared.storage.describe(), error))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Ends the threads: a flush is finished, a merge is given up.
    pub(super) fn stop(&mut self) {
        self.shared.stop_merges.cancel();
        self.shared.scrubbed.stop();
        self.shared.pending.lock().stop = true;
        self.shared.pending_changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run_flushes(shared: &Shared) {
    let mut sealed = 0;
    while let Some(work) = wait_for_flush(shared) {
        if !work {
            seal_if_idle(shared, &mut sealed);
        } else if let Err(error) = shared.flush_frozen() {
            tracing::warn!(%error, "flush failed; it will be tried again");
        }
    }
}

/// Waits until there is something to flush (true) or a while went by (false); `None` when the thread is to end. What failed is
/// left alone for that while, whoever else notifies; a poisoned handle flushes no more. Whoever is to train a model for what is frozen
/// has that while to begin.
fn wait_for_flush(shared: &Shared) -> Option<bool> {
    let mut pending = shared.pending.lock();
    let (mut until, mut has_waited) = (Instant::now() + IDLE, false);
    loop {
        if pending.stop {
            return None;
        }
        if shared.poison_cause().is_some() {
            shared.pending_changed.wait(&mut pending);
            continue;
        }
        let waits = shared.waits_for_model(&pending);
        if pending.frozen > 0 && pending.failed.is_none() && !waits {
            return Some(true);
        }
        if pending.frozen > 0 && waits && !has_waited {
            (until, has_waited) = (Instant::now() + IDLE, true);
        }
        if Instant::now() >= until {
            let waits = waits && pending.next_model == NextModel::Begun;
            return Some(pending.frozen > 0 && !waits);
        }
        let look = if waits { until.min(Instant::now() + LOOK) } else { until };
        shared.pending_changed.wait_until(&mut pending, look);
    }
}

fn run_merges(shared: &Shared) {
    stand_back();
    let mut not_before = None;
    while wait_for_merge(shared, not_before) {
        shared.compact_after_flush();
        let failures = shared.pending.lock().merge_failed.as_ref().map(|(failures, _)| *failures);
        not_before = failures.map(|failures| Instant::now() + backoff(failures));
    }
}

/// How long to leave it after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    FIRST_BACKOFF * 2u32.pow(failures.saturating_sub(1).min(6))
}

/// Waits until there may be something to merge, but not before the given time; false when the thread is to end.
fn wait_for_merge(shared: &Shared, not_before: Option<Instant>) -> bool {
    let mut pending = shared.pending.lock();
    loop {
        let early = not_before.filter(|at| Instant::now() < *at);
        match early {
            _ if pending.stop => return false,
            _ if !pending.merge_due => shared.pending_changed.wait(&mut pending),
            Some(at) => drop(shared.pending_changed.wait_until(&mut pending, at)),
            None => {
                pending.merge_due = false;
                return true;
            }
        }
    }
}

/// Appends a seal if nothing was committed since the last look: from then on damage to the last group is told from a torn
/// tail (contract C15). A failure is left to the next commit to meet.
fn seal_if_idle(shared: &Shared, seen: &mut u64) {
    let mut writer = shared.writer.lock();
    let idle = *seen == writer.last_seq && shared.check_writable().is_ok();
    *seen = writer.last_seq;
    let durable = shared.durable_seq() >= writer.last_seq;
    if let Some(wal) = &mut writer.wal
        && idle
        && durable
        && !wal.is_sealed()
        && let Err(error) = wal.seal()
    {
        shared.judge(error);
    }
}
