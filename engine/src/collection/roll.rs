//! Ending one generation and beginning the next.

use std::mem;
use std::sync::Arc;

use super::foresight::{Look, Mending};
use super::shared::{Frozen, MAX_FROZEN, Shared, Writer, count};
use crate::budget::Share;
use crate::delta::{Generation, KnownIds};
use crate::error::Result;
use crate::options::Background;
use crate::snapshot::View;
use crate::storage::{FileKind, FileName};

/// What is to be done after a commit, outside all locks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct After {
    /// The log was rolled: the frozen generation is to be flushed.
    rolled: bool,
    /// A model is to be trained for rows in memory.
    trains: bool,
}

impl Shared {
    /// Waits until the flusher has caught up so far that another generation fits in memory.
    pub(super) fn wait_for_room(&self) -> Result<()> {
        let mut pending = self.pending.lock();
        while pending.frozen >= MAX_FROZEN {
            self.check_writable()?;
            if pending.failed.is_some() || pending.stop || self.options.background == Background::Inline {
                drop(pending);
                return self.flush_frozen();
            }
            self.pending_changed.wait(&mut pending);
        }
        Ok(())
    }

    /// Rolls if the active generation has reached its size or is to be in files for other reasons. A failure is no failure of the commits
    /// before it: it is kept for `stats` and tried again later.
    pub(super) fn roll_if_full(&self, writer: &mut Writer) -> After {
        let length = writer.wal.as_ref().map_or(0, |wal| wal.len());
        let most = self.options.delta_bytes();
        let active = &self.view.load().active;
        let limited = self.options.memory_budget.is_some();
        let full = length >= most
            || active.rows() >= self.options.flush_rows
            || (limited && active.memory_bytes() as u64 + writer.known_charge.bytes() >= most);
        let may_roll =
            length >= writer.roll_not_before && writer.frozen.len() < MAX_FROZEN && self.poison_cause().is_none();
        if full && !may_roll {
            return After::default();
        }
        let mending = self.mending_after(active, full, &mut writer.next_look);
        let trains = mending == Some(Mending::Train);
        if trains {
            self.ask_for_model();
        }
        if !may_roll || !full && mending != Some(Mending::Flush) {
            return After { rolled: false, trains };
        }
        match self.roll(writer) {
            Ok(()) => After { rolled: true, trains },
            Err(error) => {
                tracing::warn!(%error, "cannot start a new log; the old one goes on");
                writer.roll_not_before = length + most / 8;
                self.pending.lock().roll_failed = Some(error);
                After { rolled: false, trains }
            }
        }
    }

    /// Ends the active generation. Under the commit lock:
    ///
    /// 1. Create the next log, sync it, sync the directory. A crash: an orphan without records.
    /// 2. Append the record that names it to the old log and sync that, at every durability: there is never a hole between
    ///    two logs. A crash: recovery follows the record or has an orphan without records.
    /// 3. Publish a view in which the old generation is frozen and the new one is empty.
    pub(super) fn roll(&self, writer: &mut Writer) -> Result<()> {
        let mut wal = self.create_log(writer)?;
        let next_wal = wal.id();
        // Without room for deletes behind it the new log is worse than the old one.
        if let Err(error) = wal.make_room(0) {
            let _ = self.storage.remove(FileName::File(FileKind::Wal, next_wal));
            return Err(error);
        }
        if let Some(old) = &mut writer.wal
            && let Err(error) = old.finish(next_wal)
        {
            if !error.is_sync_failure() {
                let _ = self.storage.remove(FileName::File(FileKind::Wal, next_wal));
            }
            return Err(self.judge(error));
        }
        count(&self.counters.log_syncs, 1);
        self.set_durable(writer.last_seq);
        writer.wal = Some(wal);
        let old = self.view.load_full();
        let generation = Arc::new(old.active.clone());
        writer.frozen.push_back(Frozen {
            generation: generation.clone(),
            known: mem::replace(&mut writer.known, KnownIds::new(self.schema.id_kind())),
            _known_charge: mem::replace(&mut writer.known_charge, self.budget.charge(Share::Delta, 0)),
            logs: mem::replace(&mut writer.logs, vec![next_wal]),
            next_wal,
            last_seq: writer.last_seq,
        });
        writer.roll_not_before = 0;
        writer.next_look = Look::default();
        let mut frozen = old.frozen.clone();
        frozen.push(generation);
        self.view.store(Arc::new(View {
            version: old.version.clone(),
            frozen,
            active: Generation::in_lists(writer.next_row, old.version.filed_by()),
            seq: old.seq,
            count: old.count,
        }));
        let mut pending = self.pending.lock();
        pending.frozen = writer.frozen.len();
        pending.roll_failed = None;
        Ok(())
    }

    /// After a commit, outside all locks: do what it made due, or have it done.
    pub(super) fn follow_up(&self, after: After) {
        let inline = self.options.background == Background::Inline;
        if after.trains {
            self.pending.lock().merge_due |= !inline;
        }
        if !inline {
            if after.trains || after.rolled {
                self.pending_changed.notify_all();
            }
            return;
        }
        if after.trains {
            self.compact_after_flush();
        }
        if after.rolled
            && let Err(error) = self.flush_frozen()
        {
            tracing::warn!(%error, "flush failed; it will be tried again");
        }
    }
}
