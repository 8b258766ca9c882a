//! The one thread of a handle: flushes frozen generations, seals an idle log.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::shared::Shared;
use crate::error::{Error, Result};

/// A log that nobody wrote to for this long gets a seal.
const IDLE: Duration = Duration::from_secs(1);

/// Runs until [`Flusher::stop`] or drop.
pub(super) struct Flusher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Flusher> {
        let worker = shared.clone();
        let thread = std::thread::Builder::new()
            .name("stratavec-flush".into())
            .spawn(move || run(&worker))
            .map_err(|error| Error::io("start the flush thread of", shared.storage.describe(), error))?;
        Ok(Flusher { shared: shared.clone(), thread: Some(thread) })
    }

    /// Ends the thread after the flush it is in.
    pub(super) fn stop(&mut self) {
        self.shared.pending.lock().stop = true;
        self.shared.pending_changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(shared: &Shared) {
    let mut sealed = 0;
    loop {
        let work = {
            let mut pending = shared.pending.lock();
            if !pending.stop && (pending.frozen == 0 || pending.failed.is_some()) {
                shared.pending_changed.wait_for(&mut pending, IDLE);
            }
            if pending.stop {
                return;
            }
            pending.frozen > 0
        };
        if !work {
            seal_if_idle(shared, &mut sealed);
        } else if let Err(error) = shared.flush_frozen() {
            tracing::warn!(%error, "flush failed; it will be tried again");
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
