//! Moving frozen generations into files.

use std::sync::Arc;

use super::build::{Build, Built, MAX_TOMBSTONE_FILES};
use super::crew::Crew;
use super::shared::{Shared, count};
use crate::budget::Share;
use crate::compaction::Filing;
use crate::delta::{Generation, Kills};
use crate::error::{Error, Result};
use crate::manifest;
use crate::options::Background;
use crate::planted::{self, Bug};
use crate::snapshot::{LiveRows, Version, View};
use crate::storage::{FileId, FileKind, FileName, Storage};
use crate::wal::WalWriter;

/// The oldest frozen generation and what its manifest will say.
struct Job {
    generation: Arc<Generation>,
    version: Arc<Version>,
    logs: Vec<FileId>,
    next_wal: FileId,
    last_seq: u64,
}

impl Shared {
    /// Moves everything in memory to files.
    pub(super) fn flush(&self) -> Result<()> {
        self.roll_if_any()?;
        self.flush_frozen()
    }

    /// Flushes, then writes into the empty log that the collection was closed. Not synced: if it gets lost, the next open
    /// publishes a manifest that nothing needs.
    pub(super) fn flush_and_seal(&self) -> Result<()> {
        self.flush()?;
        self.compact_at_close();
        let mut writer = self.writer.lock();
        self.check_writable()?;
        match &mut writer.wal {
            Some(wal) if !wal.holds_records() => wal.seal().map_err(|error| self.judge(error)),
            _ => Ok(()),
        }
    }

    /// Moves everything in memory to files and merges nothing.
    pub(super) fn flush_only(&self) -> Result<()> {
        self.roll_if_any()?;
        self.flush_all_frozen()
    }

    pub(super) fn roll_if_any(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        self.check_writable()?;
        // A batch may have no effect and still be in the log.
        let logged = writer.wal.as_ref().is_some_and(WalWriter::holds_records);
        match logged || !self.view.load().active.is_empty() {
            true => self.roll(&mut writer),
            false => Ok(()),
        }
    }

    /// Flushes frozen generations, oldest first, until there is none; then has merged what has become due.
    pub(super) fn flush_frozen(&self) -> Result<()> {
        let flushed = self.flush_all_frozen();
        match self.options.background {
            Background::Inline => self.compact_after_flush(),
            Background::Thread => {
                self.pending.lock().merge_due = true;
                self.pending_changed.notify_all();
            }
        }
        flushed
    }

    /// Flushes what is frozen by now. Under steady writes there is always more: others who publish manifests get their turn
    /// after each.
    fn flush_all_frozen(&self) -> Result<()> {
        let Some(last) = self.writer.lock().frozen.back().map(|frozen| frozen.last_seq) else { return Ok(()) };
        loop {
            let _one_at_a_time = self.flushing.lock();
            let result = match self.next_job() {
                Ok(job) => match job.filter(|job| job.last_seq <= last) {
                    Some(job) => self.flush_one(job),
                    None => return Ok(()),
                },
                Err(error) => Err(error),
            };
            let mut pending = self.pending.lock();
            pending.failed = result.as_ref().err().cloned();
            self.pending_changed.notify_all();
            if let Err(error) = result {
                count(&self.counters.flush_failures, 1);
                return Err(error);
            }
        }
    }

    fn next_job(&self) -> Result<Option<Job>> {
        let writer = self.writer.lock();
        let Some(frozen) = writer.frozen.front() else { return Ok(None) };
        self.check_writable()?;
        Ok(Some(Job {
            generation: frozen.generation.clone(),
            version: self.view.load().version.clone(),
            logs: frozen.logs.clone(),
            next_wal: frozen.next_wal,
            last_seq: frozen.last_seq,
        }))
    }

    /// One flush:
    ///
    /// 1. Write the row file, the id table and the tombstone file; each is synced and read back. A crash: orphans.
    /// 2. Sync the directory, so that no manifest can name a file whose name is lost. A crash: orphans.
    /// 3. Publish the next manifest, which names them and begins at the next log. A crash in it: the old manifest counts,
    ///    its log is still there.
    /// 4. Install: swap the view under the commit lock.
    /// 5. Remove the log and whatever else only older manifests name. A crash: orphans.
    fn flush_one(&self, job: Job) -> Result<()> {
        let crew = Crew::of(self).standing_back();
        let new_id = || self.new_file_id();
        let build = Build { storage: &*self.storage, schema: &self.schema, new_id: &new_id, parallel: &crew };
        let _working = self.budget.charge(Share::Flush, flush_memory(&job));
        let mut built = build.generation(&job.version, &job.generation, job.last_seq)?;
        built.manifest.epoch = self.epoch;
        built.manifest.first_wal = job.next_wal;
        built.manifest.next_file_number = self.next_file_number() + 1;
        built.dropped.extend(job.logs.iter().map(|id| FileName::File(FileKind::Wal, *id)));
        if planted::is(Bug::RemoveBeforeDirSync) {
            remove_all(&*self.storage, &built.dropped);
        }
        if let Err(error) = publish(&*self.storage, &built.manifest, self.new_file_id()) {
            if !error.is_sync_failure() {
                remove_all(&*self.storage, &built.made);
            }
            return Err(self.judge(error));
        }
        count(&self.counters.flushes, 1);
        count(&self.counters.flush_bytes, built.bytes);
        let mut dropped = std::mem::take(&mut built.dropped);
        dropped.extend(older_manifests(built.manifest.generation));
        if planted::is(Bug::SweepRunningBuild) {
            dropped.extend(self.unnamed_files(&built.manifest));
        }
        self.install(&job, built);
        count(&self.counters.orphans_left, remove_all(&*self.storage, &dropped));
        Ok(())
    }

    /// The planted bug that takes files which a running merge or load has made, and which no manifest names yet, for orphans.
    fn unnamed_files(&self, manifest: &manifest::Manifest) -> Vec<FileName> {
        let is_named = |name: &FileName| manifest.files().any(|(named, _)| named == *name);
        let names = self.storage.list().into_iter().flatten().filter_map(|entry| entry.name);
        names
            .filter(|name| matches!(name, FileName::File(FileKind::Row | FileKind::IdTable, _)) && !is_named(name))
            .collect()
    }

    /// Swaps the view. Of files only the new one's page table is looked at under the lock, for the last kills.
    fn install(&self, job: &Job, built: Built) {
        let later = |view: &View| -> Vec<Arc<Generation>> {
            view.frozen.iter().filter(|g| !Arc::ptr_eq(g, &job.generation)).cloned().collect()
        };
        let before = self.view.load_full();
        let frozen = later(&before);
        let all = frozen.iter().map(|g| &**g).chain([&before.active]);
        let marks = built.new_rows.as_ref().map(|rows| DeadMarks::set(rows, all));
        let mut writer = self.writer.lock();
        let old = self.view.load_full();
        let frozen = later(&old);
        if let Some(marks) = marks {
            marks.complete(frozen.iter().map(|g| &**g).chain([&old.active]));
        }
        writer.frozen.retain(|f| !Arc::ptr_eq(&f.generation, &job.generation));
        let version = built.version(old.version.install + 1);
        self.account_files(&version);
        self.view.store(Arc::new(View {
            version: Arc::new(version),
            frozen,
            active: old.active.clone(),
            seq: old.seq,
            count: old.count,
        }));
        self.pending.lock().frozen = writer.frozen.len();
    }
}

/// Memory of a flush: places and ids of its rows, and the buffers of a row file's sections.
/// A tombstone file too many is merged with the others, which lists all dead rows.
fn flush_memory(job: &Job) -> u64 {
    const BUFFERS: u64 = 4 << 20;
    let dead: u64 = match job.version.manifest.tombstones.len() >= MAX_TOMBSTONE_FILES {
        true => job.version.rows.iter().map(LiveRows::dead_count).sum(),
        false => 0,
    };
    let lists = job.version.current_model().map_or(0, |model| Filing::memory(model, job.generation.rows()));
    BUFFERS + lists + job.generation.rows() * 32 + job.generation.kills().len() as u64 * 16 + dead * 8
}

/// Sets the maybe-dead bits of rows of a new file that later generations have killed meanwhile, in two steps: nearly all without a
/// lock, then, under the commit lock, those of the commits in between.
pub(super) struct DeadMarks<'r> {
    rows: &'r LiveRows,
    /// Kills whose rows are marked.
    done: Vec<Kills>,
}

impl<'r> DeadMarks<'r> {
    /// The first step, with the generations of some recent view.
    pub(super) fn set<'g>(rows: &'r LiveRows, later: impl Iterator<Item = &'g Generation>) -> DeadMarks<'r> {
        let mut marks = DeadMarks { rows, done: Vec::new() };
        for generation in later {
            marks.mark(generation.kills());
            marks.done.push(generation.kills().clone());
        }
        marks
    }

    /// The second, with those of the newest view.
    pub(super) fn complete<'g>(self, later: impl Iterator<Item = &'g Generation>) {
        later.for_each(|generation| self.mark(generation.kills()));
    }

    fn mark(&self, kills: &Kills) {
        let span = self.rows.file.first_row()..self.rows.file.last_row() + 1;
        kills.for_each_new(span, &self.done, |row| {
            if let Ok(Some(ordinal)) = self.rows.file.ordinal(row) {
                self.rows.mark_maybe_dead(ordinal);
            }
        });
    }
}

/// Steps 2 and 3: file names durable, then the manifest.
pub(super) fn publish(storage: &dyn Storage, next: &manifest::Manifest, temp: FileId) -> Result<()> {
    storage.sync_dir().map_err(|error| Error::sync_failed(storage.describe(), error))?;
    manifest::publish(storage, next, temp)
}

/// The manifest before the one before this.
pub(super) fn older_manifests(generation: u64) -> Option<FileName> {
    generation.checked_sub(2).filter(|g| *g > 0).map(FileName::Manifest)
}

/// Removes files that nothing durable names any more; returns how many could not be removed. They are orphans, and the
/// next open removes them.
pub(super) fn remove_all(storage: &dyn Storage, names: &[FileName]) -> u64 {
    let failed = |name: &&FileName| match storage.remove(**name) {
        Ok(()) => false,
        Err(error) => {
            tracing::warn!(%error, file = %name, "cannot remove a file that is no longer needed");
            error.kind() != std::io::ErrorKind::NotFound
        }
    };
    names.iter().filter(failed).count() as u64
}
