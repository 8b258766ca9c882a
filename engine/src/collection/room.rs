//! Memory for writes: taken from the budget, waited for while flushes can still make some.

use std::time::{Duration, Instant};

use super::shared::Shared;
use crate::budget::Charge;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Background;
use crate::segment::{IdTable, RowFile};
use crate::snapshot::Version;

/// Longest wait for others, once nothing is left to flush.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a waiting write looks again.
const LOOK: Duration = Duration::from_millis(20);

impl Shared {
    /// Adds to a charge, waiting for flushes and for the writes of others to make room.
    ///
    /// # Errors
    /// `OverBudget` if there is none after all that could be flushed was, and two seconds more; what a flush failed with. The caller
    /// holds no lock.
    pub(super) fn reserve(&self, charge: &mut Charge, bytes: u64) -> Result<()> {
        let Err(mut refusal) = charge.reserve(bytes) else { return Ok(()) };
        let mut until = Instant::now() + PATIENCE;
        while self.budget.limit().is_some_and(|limit| bytes <= limit) {
            if self.make_room()? {
                until = Instant::now() + PATIENCE;
            } else if Instant::now() >= until || self.options.background == Background::Inline {
                break;
            }
            match charge.reserve(bytes) {
                Ok(()) => return Ok(()),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    /// Has the delta moved to files, or waits a little; whether there was any.
    fn make_room(&self) -> Result<bool> {
        self.check_writable()?;
        let has_delta = self.view.load().generations().any(|generation| !generation.is_empty());
        match self.options.background {
            Background::Inline if has_delta => self.flush_only()?,
            Background::Inline => {}
            Background::Thread => {
                if has_delta && self.pending.lock().frozen == 0 {
                    self.roll_if_any()?;
                    self.pending_changed.notify_all();
                }
                let mut pending = self.pending.lock();
                self.pending_changed.wait_for(&mut pending, LOOK);
                if let Some(error) = pending.failed.clone() {
                    let message = format!("no memory is left and the delta cannot be flushed: {}", error.message());
                    return Err(error.clone().caused(error.kind(), message));
                }
            }
        }
        Ok(has_delta)
    }

    /// Counts what is known of the rows of a version's files. Called when it is installed.
    pub(super) fn account_files(&self, version: &Version) {
        self.files_charge.lock().set(file_bytes(version));
    }
}

/// Bytes of memory for what is known of the rows of files: three bits each, and one for each unit of an id table
/// and each checksum of a list segment.
pub(super) fn file_bytes(version: &Version) -> u64 {
    let rows = version.rows.iter().map(|rows| memory_of_rows(&rows.file)).sum::<u64>();
    let lists = version.lists.iter().map(|file| file.checks() / 8 + OPEN_FILE_BYTES).sum::<u64>();
    let models = version.models.iter().map(|model| model.file.padded() as u64 * 32 + OPEN_FILE_BYTES).sum::<u64>();
    rows + lists
        + models
        + version.id_tables.iter().map(|table| memory_of_ids(table)).sum::<u64>()
        + resident_bytes(version)
}

/// Bytes of what is in memory because files are not mapped: directories and tables, and all of a model.
fn resident_bytes(version: &Version) -> u64 {
    let rows = version.rows.iter().map(|rows| rows.file.resident_bytes());
    let ids = version.id_tables.iter().map(|table| table.resident_bytes());
    let lists = version.lists.iter().map(|file| file.resident_bytes());
    let models = version.models.iter().map(|model| model.file.resident_bytes());
    rows.chain(ids).chain(lists).chain(models).sum()
}

/// Memory that an open file takes beside its bits.
const OPEN_FILE_BYTES: u64 = 4 << 10;

fn memory_of_rows(file: &RowFile) -> u64 {
    file.len() as u64 * 3 / 8 + OPEN_FILE_BYTES
}

fn memory_of_ids(table: &IdTable) -> u64 {
    table.len() / 341 / 8 + OPEN_FILE_BYTES
}

/// Refuses to open a collection that the budget cannot serve: half of it must be left for work.
pub(super) fn check_files(limit: Option<u64>, version: &Version) -> Result<()> {
    let (Some(limit), bytes) = (limit, file_bytes(version)) else { return Ok(()) };
    match bytes > limit / 2 {
        false => Ok(()),
        true => {
            let what = format!(
                "is {limit}; the files of this collection take {bytes} bytes of memory, use at least {}",
                bytes * 2
            );
            Err(Error::argument("memory_budget", what))
        }
    }
}

/// Refuses to recover more than the budget holds: what the logs hold is in memory until it is in files.
pub(super) fn check_recovery(limit: Option<u64>, log_bytes: u64) -> Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    let needed = log_bytes.saturating_mul(5) / 2;
    match needed > limit {
        false => Ok(()),
        true => Err(Error::new(
            ErrorKind::OverBudget,
            format!(
                "recovering {log_bytes} bytes of log takes up to {needed} bytes of memory; memory_budget is {limit}"
            ),
        )
        .with_hint("open it once with a larger memory_budget, or without one, and close it; nothing was changed")),
    }
}
