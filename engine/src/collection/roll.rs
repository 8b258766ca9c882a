//! Ending one generation and beginning the next.

use std::mem;
use std::sync::Arc;

use super::retrain::{scanned, scanned_with};
use super::shared::{Frozen, MAX_FROZEN, Shared, Writer, count};
use crate::budget::Share;
use crate::compaction::{changes_until_look, drifts_with, is_watched, many_rows, most_in_memory};
use crate::delta::{Generation, KnownIds};
use crate::error::Result;
use crate::manifest::Training;
use crate::options::{Background, Compaction};
use crate::snapshot::View;
use crate::storage::{FileKind, FileName};

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

    /// Rolls if the active generation has reached its size; true if it did. A failure is no failure of the commits
    /// before it: it is kept for `stats` and tried again later.
    pub(super) fn roll_if_full(&self, writer: &mut Writer) -> bool {
        let length = writer.wal.as_ref().map_or(0, |wal| wal.len());
        let most = self.options.delta_bytes();
        let active = &self.view.load().active;
        let limited = self.options.memory_budget.is_some();
        let full = length >= most
            || active.rows() >= self.options.flush_rows
            || self.has_aged(active, &mut writer.next_look)
            || (limited && active.memory_bytes() as u64 + writer.known_charge.bytes() >= most);
        if !full
            || length < writer.roll_not_before
            || writer.frozen.len() >= MAX_FROZEN
            || self.poison_cause().is_some()
        {
            return false;
        }
        match self.roll(writer) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "cannot start a new log; the old one goes on");
                writer.roll_not_before = length + most / 8;
                self.pending.lock().roll_failed = Some(error);
                false
            }
        }
    }

    /// Whether the rows of a generation, once they are in files, will have lists made anew: because they lie so far from the centroids, or
    /// because with them and without what they replace searches scan too many entries. That is not to wait until a delta is full: new rows
    /// would be hard to find all that time, or all others. What files alone say flushes nothing: it is being mended, or cannot be.
    fn has_aged(&self, active: &Generation, next_look: &mut (u64, u64)) -> bool {
        // Where no vectors are kept lists are added, up to a number that was asked for.
        let grows = || self.schema.index_kind().lists().is_some_and(|options| options.wanted_nlist().is_none());
        let trains = self.options.compaction != Compaction::Manual && (self.keeps_vectors() || grows());
        let Some(members) = active.members().filter(|_| trains) else { return false };
        let view = self.view.load();
        let version = &view.version;
        let model = version.model_of(active).filter(|_| version.older_model().is_none());
        let training = model.and_then(|model| version.manifest.training_of(model.file.hash()));
        let (many, most) = (many_rows(&self.policy()), most_in_memory(&self.policy()));
        training.is_some_and(|training| {
            let came = active.end_row().saturating_sub(training.next_row);
            drifts_with(training, came, active.rows(), members.energy(), many)
                || most.is_finite()
                    && self.is_time_to_look(training, active, next_look)
                    && scanned_with(version, training, active) > most
                    && scanned(version) <= 1.0 + many
        })
    }

    /// Whether enough has come and gone in a generation since the last look at what it makes of the lists, all of which it takes.
    fn is_time_to_look(&self, training: &Training, active: &Generation, next_look: &mut (u64, u64)) -> bool {
        let changes = active.rows() + active.kills().len() as u64;
        let (step, first) = changes_until_look(training);
        if next_look.0 != active.first_row() {
            *next_look = (active.first_row(), first);
        }
        // What is frozen is about to be in files.
        let due = is_watched(training) && changes >= next_look.1 && self.view.load().frozen.is_empty();
        if due {
            next_look.1 = changes + step.max(1);
        }
        due
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
        // Of no generation.
        writer.next_look = (u64::MAX, 0);
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

    /// After a commit rolled the log, outside all locks: have the frozen generation flushed.
    pub(super) fn flush_after_roll(&self) {
        match self.options.background {
            Background::Thread => {
                self.pending_changed.notify_all();
            }
            Background::Inline => {
                if let Err(error) = self.flush_frozen() {
                    tracing::warn!(%error, "flush failed; it will be tried again");
                }
            }
        }
    }
}
