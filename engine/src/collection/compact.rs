//! Compaction: choosing what to merge, installing what a merge made.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::build::all_dead;
use super::flush::{DeadMarks, older_manifests, publish, remove_all};
use super::index_job::Wanted;
use super::retired::Retired;
use super::shared::{Shared, count};
use crate::budget::Share;
use crate::compaction::{
    Control, FileState, Ids, Merged, Policy, Until, Width, choose, choose_full, merge, merged, until,
};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{FileEntry, Manifest};
use crate::options::{Background, Compaction, Schema};
use crate::planted::{self, Bug};
use crate::segment::{IdTable, write_tombstones};
use crate::snapshot::{LiveRows, Version, View};
use crate::storage::{FileId, FileKind, FileName};
use crate::wal::WalWriter;

/// How much to compact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compact {
    /// What the automatic rules ask for, if anything.
    #[default]
    Auto,
    /// Everything: as few files as can be, no dead rows.
    Full,
    /// Lists made anew by a model that is trained on the rows there are now, then what the automatic rules ask for. A change to a new model
    /// that is under way is brought to its end before. Where there are no lists yet, as [`Compact::Auto`].
    ///
    /// Where no vectors are kept ([`RowFormat::None`](crate::RowFormat::None)) lists are added to those there are, which stay, up to the number
    /// that the rows there are now would get, or a quarter more than was asked for; lists without a row go. Nothing is done if there are
    /// as many. Codes are copied as they are, and a row goes to a new list where its estimates become no worse by that: with one bit
    /// hardly any does, and the new lists are for rows to come; with four bits and more nearly all do that are nearer there, and each such change
    /// costs estimates a little (a hundredth of the nearest ten, 384 components).
    Retrain,
}

/// What a compaction did, or would do. What the upkeep of the handle did while a job was at work counts: the two take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Merges.
    pub merges: u64,
    /// Row files read.
    pub files_read: u64,
    /// Live rows written again.
    pub rows: u64,
    /// Dead rows dropped.
    pub dropped: u64,
    /// Bytes of files read.
    pub bytes_read: u64,
    /// Bytes of files written; of a dry run at most so many.
    pub bytes_written: u64,
    /// Rows that got their lists.
    pub filed: u64,
    /// Models that were trained in place of older ones, or given more lists than those.
    pub retrains: u64,
    /// Rows that went from the lists of an older model to those of the newest.
    pub refiled: u64,
    /// Merges of list segments.
    pub list_merges: u64,
}

impl CompactReport {
    fn counts(&mut self) -> [&mut u64; 10] {
        let CompactReport { merges, files_read, rows, dropped, bytes_read, .. } = self;
        let CompactReport { bytes_written, filed, retrains, refiled, list_merges, .. } = self;
        [merges, files_read, rows, dropped, bytes_read, bytes_written, filed, retrains, refiled, list_merges]
    }

    /// This and what another grew by since it was `before`.
    pub(super) fn with_growth(mut self, mut now: CompactReport, mut before: CompactReport) -> CompactReport {
        let grown = now.counts().into_iter().zip(before.counts()).map(|(now, before)| now.saturating_sub(*before));
        self.counts().into_iter().zip(grown).for_each(|(count, grown)| *count += grown);
        self
    }
}

/// Largest row file that a merge makes, and its rows.
pub(super) const MOST_BYTES: u64 = 4 << 30;
pub(super) const MOST_ROWS: u64 = 4 << 20;
/// Largest merge that `close` waits for.
pub(super) const MOST_BYTES_AT_CLOSE: u64 = 16 << 20;
/// Room that a merge leaves on the disk for the writer: two deltas and their logs, but no more than half of what is free. On a small disk
/// or a rather full one nothing would ever be merged otherwise, and dead rows would fill what is left.
const KEEP_FREE_DELTAS: u64 = 4;

/// Between two looks of a merge that rests at whether it was cancelled.
const REST_BEAT: Duration = Duration::from_millis(10);

impl Shared {
    pub(super) fn policy(&self) -> Policy {
        policy_of(self.options.compaction)
    }

    fn next_merge(&self, version: &Version, what: Compact) -> Option<Range<usize>> {
        let states = states(version);
        match what {
            Compact::Auto | Compact::Retrain => choose(&states, &self.policy()),
            Compact::Full => choose_full(&states, &self.policy()),
        }
    }

    /// What `compact` would do.
    pub(super) fn plan(&self, what: Compact) -> CompactReport {
        let view = self.view.load_full();
        let mut files = states(&view.version);
        let mut id_bytes = id_bytes(&view.version);
        let mut report = CompactReport::default();
        if let Err(error) = self.plan_lists(&view.version, what, &mut report) {
            tracing::warn!(%error, "what filing rows in lists would take cannot be told");
        }
        // Where all rows are filed, files merge whether they were in lists before or not.
        if report.filed > 0 {
            let keeps = self.schema.row_format().keeps_vectors();
            files
                .iter_mut()
                .for_each(|file| (file.in_lists, file.excess) = (true, file.excess || (!keeps && !file.in_lists)));
        }
        loop {
            let next = match what {
                Compact::Auto | Compact::Retrain => choose(&files, &self.policy()),
                Compact::Full => choose_full(&files, &self.policy()),
            };
            let Some(range) = next else { return report };
            let group: Vec<FileState> = files.get(range.clone()).unwrap_or_default().to_vec();
            let merged = merged(&group);
            let ids: u64 = id_bytes.get(range.clone()).unwrap_or_default().iter().sum();
            report.merges += 1;
            report.files_read += group.len() as u64;
            report.rows += merged.rows;
            report.dropped += group.iter().map(|file| file.dead).sum::<u64>();
            report.bytes_read += group.iter().map(|file| file.bytes).sum::<u64>();
            if merged.rows > 0 {
                report.bytes_written += most_written(merged.bytes + ids, merged.rows);
            }
            id_bytes.splice(range.clone(), (merged.rows > 0).then_some(ids));
            files.splice(range, (merged.rows > 0).then_some(merged));
        }
    }

    /// Merges until nothing is left to merge. The thread that merges is the one that unmaps the files it replaced: see [`Retired`].
    /// Lists that find no room do not hold up row files, whose merges make room: the error is told at the end.
    pub(super) fn compact(&self, what: Compact, control: &Control) -> Result<CompactReport> {
        self.compact_telling(what, control, &|_| ())
    }

    /// The same; `tell` hears after each step, before others get their turn, what was done by then.
    fn compact_telling(
        &self,
        what: Compact,
        control: &Control,
        tell: &dyn Fn(&CompactReport),
    ) -> Result<CompactReport> {
        let mut report = CompactReport::default();
        let mut no_room = None;
        let mut wanted = Wanted::of(what);
        loop {
            // For each merge anew: under steady writes there is always one more, and others wait.
            let _one_at_a_time = control.turn(&self.compacting)?;
            self.check_writable()?;
            let version = self.view.load().version.clone();
            if no_room.is_none() {
                match self.list_step(&version, &mut wanted, control, &mut report) {
                    Ok(true) => {
                        tell(&report);
                        continue;
                    }
                    Ok(false) => {}
                    Err(error) if matches!(error.kind(), ErrorKind::OverBudget | ErrorKind::NoSpace) => {
                        no_room = Some(error)
                    }
                    Err(error) => return Err(error),
                }
            }
            let Some(range) = self.next_merge(&version, what) else {
                return no_room.or(wanted.no_room).map_or(Ok(report), Err);
            };
            let retired = Retired::of(&version, range.clone(), self.options.background == Background::Thread);
            let merged = self.merge_one(&version, range, control, &mut report);
            drop(version);
            drop(retired);
            merged?;
            tell(&report);
        }
    }

    /// The next step of making lists, if one is due.
    fn list_step(
        &self,
        version: &Version,
        wanted: &mut Wanted,
        control: &Control,
        report: &mut CompactReport,
    ) -> Result<bool> {
        // Who asked for a training gets it from files.
        if wanted.no_room.is_none() && wanted.what != Compact::Retrain && self.train_for_memory(control, report)? {
            return Ok(true);
        }
        match self.next_list_step(version, wanted)? {
            Some(step) => self.take_or_leave(version, step, wanted, control, report).map(|()| true),
            None => Ok(false),
        }
    }

    /// One merge:
    ///
    /// 1. See that the disk will hold the result.
    /// 2. Write the row file and the id table; each is synced and read back. Nothing is locked; commits, flushes and
    ///    searches go on. A crash: orphans.
    /// 3. With flushes held off: take over what died meanwhile, publish the next manifest. A crash in it: the old or the new
    ///    manifest counts, and both tell the same rows.
    /// 4. Install: swap the view under the commit lock.
    /// 5. Remove the inputs. A crash: orphans.
    fn merge_one(
        &self,
        pinned: &Version,
        range: Range<usize>,
        control: &Control,
        report: &mut CompactReport,
    ) -> Result<()> {
        let inputs = pinned.rows.get(range).unwrap_or_default();
        let rows = bounds(inputs);
        let of_inputs = |table: &&Arc<IdTable>| rows.contains(&table.facts().first_row);
        let tables: Vec<Arc<IdTable>> = pinned.id_tables.iter().filter(of_inputs).cloned().collect();
        let bytes = merged(&states_of(&self.schema, inputs)).bytes;
        let live: u64 = inputs.iter().map(LiveRows::live).sum();
        let id_bytes: u64 = tables.iter().map(|table| table.facts().len).sum();
        self.refuse_without_room("merge", most_written(bytes + id_bytes, live))?;
        let _working = self.budget.reserve(Share::Compaction, merge_memory(live))?;
        let ids = (self.collection, pinned.manifest.own_origin());
        let (begun, syncs) = (Instant::now(), self.counters.log_syncs.load(Ordering::Relaxed));
        let merged =
            merge(&*self.storage, &self.schema, ids, inputs, Ids::Tables(&tables), &|| self.new_file_id(), control)?;
        let (made, written) = (merged.names(), merged.bytes);
        if self.counters.log_syncs.load(Ordering::Relaxed) > syncs
            && let Err(cancelled) = self.rest(begun.elapsed(), control)
        {
            remove_all(&*self.storage, &made);
            return Err(cancelled);
        }
        let rows = merged.rows.as_ref().map_or(0, |(entry, _)| entry.facts.rows);
        if let Err(error) = self.install_merge(inputs, merged) {
            if !error.is_sync_failure() {
                remove_all(&*self.storage, &made);
            }
            return Err(self.judge(error));
        }
        count(&self.counters.merges, 1);
        count(&self.counters.merge_bytes, written);
        *self.counters.merged_at.lock() = Some(SystemTime::now());
        report.merges += 1;
        report.files_read += inputs.len() as u64;
        report.rows += rows;
        report.dropped += inputs.iter().map(LiveRows::dead_count).sum::<u64>();
        report.bytes_read += bytes;
        report.bytes_written += written;
        Ok(())
    }

    /// Leaves the disk and a processor to commits for a while. A merge syncs all it wrote at once, and what commits sync queues behind
    /// it (to sync in small steps made that worse: each of them is a transaction of the file system). So a merge beside which
    /// durable commits were made rests as long as it worked; merges one after the other then work half of the time.
    fn rest(&self, time: Duration, control: &Control) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            control.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.options.background == Background::Inline {
                return Ok(());
            }
            std::thread::sleep(left.min(REST_BEAT));
        }
    }

    /// `NoSpace` unless the disk will hold so many more bytes and what the writer needs besides.
    pub(super) fn refuse_without_room(&self, what: &str, bytes: u64) -> Result<()> {
        let free =
            self.storage.free_bytes().map_err(|e| Error::io("measure the disk of", self.storage.describe(), e))?;
        let keep = self.options.delta_bytes().saturating_mul(KEEP_FREE_DELTAS).min(free / 2);
        if free >= bytes.saturating_add(keep) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::NoSpace,
            format!(
                "the {what} needs up to {bytes} bytes and leaves {keep} for writes; {free} are free; nothing was written"
            ),
        ))
    }

    /// Steps 3 to 5.
    fn install_merge(&self, inputs: &[LiveRows], merged: Merged) -> Result<()> {
        let _no_flush = self.flushing.lock();
        self.check_writable()?;
        let current = self.view.load().version.clone();
        let gone: Vec<FileId> = inputs.iter().map(|rows| rows.file.id_of_file()).collect();
        let bounds = bounds(inputs);
        let died = died_since(inputs, &current, &gone)?;
        let (new_rows, new_ids) = (merged.rows, merged.ids);
        let new_live = match &new_rows {
            Some((_, live)) if died.is_empty() => Some(live.clone()),
            Some((_, live)) => Some(live.with_dead(&died)?),
            None => None,
        };
        let inside = |facts: &crate::format::facts::FileFacts| {
            bounds.contains(&facts.first_row) && bounds.contains(&facts.last_row)
        };
        let mut manifest = current.manifest.successor();
        manifest.epoch = self.epoch;
        let mut dropped = Vec::new();
        replace(
            &mut manifest.row_files,
            |e| gone.contains(&e.id),
            new_rows.map(|(e, _)| e),
            FileKind::Row,
            &mut dropped,
        );
        let new_table = new_ids.as_ref().map(|(entry, _)| *entry);
        replace(&mut manifest.id_tables, |e| inside(&e.facts), new_table, FileKind::IdTable, &mut dropped);
        let mut rows: Vec<LiveRows> =
            current.rows.iter().filter(|rows| !gone.contains(&rows.file.id_of_file())).cloned().collect();
        let at = rows.partition_point(|rows| rows.file.last_row() < bounds.start);
        rows.splice(at..at, new_live.clone());
        let mut id_tables: Vec<_> = current.id_tables.iter().filter(|table| !inside(&table.facts())).cloned().collect();
        let at = id_tables.partition_point(|table| table.facts().first_row >= bounds.end);
        id_tables.splice(at..at, new_ids.map(|(_, table)| table));
        let mut made = self.shrink_tombstones(&mut manifest, &rows, &mut dropped)?;
        let log = match self.log_after_clean_open() {
            Ok(log) => log,
            Err(error) => {
                remove_all(&*self.storage, &made);
                return Err(error);
            }
        };
        if let Some(log) = &log {
            manifest.first_wal = log.id();
            made.push(FileName::File(FileKind::Wal, log.id()));
        }
        manifest.next_file_number = self.next_file_number() + 1;
        if let Err(error) = publish(&*self.storage, &manifest, self.new_file_id()) {
            if !error.is_sync_failure() {
                remove_all(&*self.storage, &made);
            }
            return Err(error);
        }
        dropped.extend(older_manifests(manifest.generation));
        let (models, lists) = (current.models.clone(), current.lists.clone());
        let version = |install| Version { install, manifest: Arc::new(manifest), rows, id_tables, models, lists };
        dropped.extend(self.swap_version(version, new_live.as_ref(), log));
        count(&self.counters.orphans_left, remove_all(&*self.storage, &dropped));
        Ok(())
    }

    /// A new log for the next manifest, if the one it would begin with holds a seal: that says that its manifest is durable,
    /// and of one that a crash interrupts nobody knows. The caller holds `flushing`, so no commit begins a log meanwhile.
    pub(super) fn log_after_clean_open(&self) -> Result<Option<WalWriter>> {
        let writer = self.writer.lock();
        writer.wal.is_none().then(|| self.create_log(&writer)).transpose()
    }

    /// Step 4, for the view's files only: what is in memory stays. Returns the logs that are not needed any more.
    pub(super) fn swap_version(
        &self,
        version: impl FnOnce(u64) -> Version,
        new_rows: Option<&LiveRows>,
        log: Option<WalWriter>,
    ) -> Vec<FileName> {
        let new_rows = new_rows.filter(|_| !planted::is(Bug::InstallWithoutKillsInMemory));
        let before = self.view.load_full();
        let marks = new_rows.map(|rows| DeadMarks::set(rows, before.generations()));
        let mut writer = self.writer.lock();
        let old = self.view.load_full();
        if let Some(marks) = marks {
            marks.complete(old.generations());
        }
        let sealed = match log {
            Some(log) => {
                let sealed = std::mem::replace(&mut writer.logs, vec![log.id()]);
                writer.wal = Some(log);
                sealed
            }
            None => Vec::new(),
        };
        let version = Arc::new(version(old.version.install + 1));
        self.account_files(&version);
        let active = old.active.clone().refiled(version.filed_by());
        let view = Arc::new(View { version, active, ..(*old).clone() });
        if planted::is(Bug::ReleaseBeforePublish) {
            drop(writer);
            // As long a gap as a call to the disk, so that tests that act between calls meet it.
            let _ = self.storage.remove(FileName::File(FileKind::Row, self.new_file_id()));
        }
        self.view.store(view);
        sealed.into_iter().map(|id| FileName::File(FileKind::Wal, id)).collect()
    }

    /// Drops tombstone files that tell of no row that is still there; writes them anew when most of what they tell is gone.
    fn shrink_tombstones(
        &self,
        manifest: &mut Manifest,
        rows: &[LiveRows],
        dropped: &mut Vec<FileName>,
    ) -> Result<Vec<FileName>> {
        let told: u64 = manifest.tombstones.iter().map(|entry| entry.facts.rows).sum();
        let _working = self.budget.charge(Share::Compaction, rows.iter().map(LiveRows::dead_count).sum::<u64>() * 8);
        let dead = all_dead(rows)?;
        if told == 0 || told < 4 * dead.len() as u64 && !planted::is(Bug::DropTombstonesEarly) {
            return Ok(Vec::new());
        }
        dropped.extend(manifest.tombstones.drain(..).map(|entry| FileName::File(FileKind::Tombstone, entry.id)));
        if dead.is_empty() || planted::is(Bug::DropTombstonesEarly) {
            return Ok(Vec::new());
        }
        let id = self.new_file_id();
        let origin = manifest.own_origin();
        let facts = write_tombstones(&*self.storage, id, self.collection, origin, &dead, 0, manifest.covered_seq)?;
        manifest.tombstones.push(FileEntry::new(id, facts));
        Ok(vec![FileName::File(FileKind::Tombstone, id)])
    }

    /// At the end of a handle that wrote: merges that are due and small, so that writers that live briefly leave no heap of
    /// small files. What fails is left to the next writer.
    pub(super) fn compact_at_close(&self) {
        let wrote = self.writer.lock().wal.is_some();
        if !wrote || self.options.compaction == Compaction::Manual {
            return;
        }
        let (control, mut report) = (Control::default(), CompactReport::default());
        let _one_at_a_time = self.compacting.lock();
        if let Err(error) = self.small_list_steps(&control, &mut report) {
            tracing::warn!(%error, "filing rows in lists failed while closing; the next writer will try again");
        }
        while self.poison_cause().is_none() {
            let version = self.view.load().version.clone();
            let Some(range) = self.next_merge(&version, Compact::Auto) else { return };
            let inputs = version.rows.get(range.clone()).unwrap_or_default();
            if merged(&states_of(&self.schema, inputs)).bytes > MOST_BYTES_AT_CLOSE {
                return;
            }
            if let Err(error) = self.merge_one(&version, range, &control, &mut report) {
                tracing::warn!(%error, "compaction failed while closing; the next writer will try again");
                return;
            }
        }
    }

    /// After a flush, outside all locks: merge what the rules ask for, or have it merged.
    pub(super) fn compact_after_flush(&self) {
        if self.options.compaction == Compaction::Manual {
            return;
        }
        let before = self.pending.lock().upkeep;
        let tell = |done: &CompactReport| {
            self.pending.lock().upkeep = before.with_growth(*done, CompactReport::default());
        };
        let result = self.compact_telling(Compact::Auto, &self.stop_merges, &tell);
        let mut pending = self.pending.lock();
        match result {
            Ok(_) => pending.merge_failed = None,
            Err(error) if error.kind() == ErrorKind::Cancelled => {}
            Err(error) => {
                tracing::warn!(%error, "compaction failed; searches and writes go on, it will be tried again");
                let before = pending.merge_failed.as_ref().map_or(0, |(times, _)| *times);
                // Not on a poisoned handle: it merges no more.
                pending.merge_due = error.kind() != ErrorKind::Poisoned;
                pending.merge_failed = Some((before.saturating_add(1), error));
            }
        }
    }
}

/// Memory of a merge: the buffers of a row file's sections, what is known of the rows of its output, fence keys and pages.
pub(super) fn merge_memory(live: u64) -> u64 {
    const BUFFERS: u64 = 5 << 20;
    BUFFERS + live / 2
}

/// The most bytes that a merge of files of so many bytes writes: rows of files with one sequence number each get their own, and
/// sections begin at multiples of 64 KiB once they are a mebibyte.
fn most_written(bytes: u64, rows: u64) -> u64 {
    const SECTIONS: u64 = 16;
    let alignment = if bytes < 1 << 20 { 4 << 10 } else { 64 << 10 };
    bytes.saturating_add(rows.saturating_mul(8)).saturating_add(SECTIONS * alignment)
}

/// Bytes of the id tables over the rows of each row file.
fn id_bytes(version: &Version) -> Vec<u64> {
    let mut bytes = vec![0; version.rows.len()];
    for table in &version.id_tables {
        let facts = table.facts();
        let file = version.rows.partition_point(|rows| rows.file.last_row() < facts.first_row);
        if let Some(bytes) = bytes.get_mut(file) {
            *bytes += facts.len;
        }
    }
    bytes
}

/// The numbers of the rules; those of the default where nobody compacts by himself.
pub(super) fn policy_of(compaction: Compaction) -> Policy {
    let (dead_ratio, fanout) = match (compaction, Compaction::default()) {
        (Compaction::Auto { dead_ratio, fanout }, _) | (_, Compaction::Auto { dead_ratio, fanout }) => {
            (dead_ratio, fanout)
        }
        (Compaction::Manual, Compaction::Manual) => (0.2, 8),
    };
    Policy { fanout, dead_ratio, most_bytes: MOST_BYTES, most_rows: MOST_ROWS }
}

/// Bytes of the files that the rules would merge next, and how far they are from that if there are none.
pub(super) fn outlook(version: &Version, compaction: Compaction) -> (u64, Until) {
    let (files, policy) = (states(version), policy_of(compaction));
    let due = choose(&files, &policy).and_then(|range| files.get(range));
    (due.unwrap_or_default().iter().map(|file| file.bytes).sum(), until(&files, &policy))
}

fn states(version: &Version) -> Vec<FileState> {
    states_of(&version.manifest.schema, &version.rows)
}

/// What the rules know of some row files.
pub(super) fn states_of<'r>(schema: &Schema, files: impl IntoIterator<Item = &'r LiveRows>) -> Vec<FileState> {
    let (keeps, own, dim) = (schema.row_format().keeps_vectors(), schema.row_format().element(), schema.dim());
    let state = |rows: &LiveRows| FileState {
        rows: rows.file.len() as u64,
        dead: rows.dead_count(),
        bytes: rows.file.facts().len,
        in_lists: rows.in_lists(),
        excess: !keeps && rows.in_lists() && rows.file.has_vectors(),
        width: rows.file.element().map(|element| Width { element, own, dim }),
    };
    files.into_iter().map(state).collect()
}

/// The row numbers that neighbouring files span.
fn bounds(inputs: &[LiveRows]) -> Range<u64> {
    let first = inputs.first().map_or(0, |rows| rows.file.first_row());
    let last = inputs.last().map_or(0, |rows| rows.file.last_row());
    first..last + 1
}

/// Rows of the inputs that were live when the merge began and that a flush has since found dead.
fn died_since(inputs: &[LiveRows], current: &Version, gone: &[FileId]) -> Result<Vec<u64>> {
    let mut died = Vec::new();
    if planted::is(Bug::InstallWithoutFlushedKills) {
        return Ok(died);
    }
    for (input, now) in inputs.iter().zip(current.rows.iter().filter(|rows| gone.contains(&rows.file.id_of_file()))) {
        for ordinal in now.dead_ordinals() {
            if input.live_word(ordinal / 64) >> (ordinal % 64) & 1 == 1 {
                died.push(now.file.row_number(ordinal)?);
            }
        }
    }
    Ok(died)
}

/// Takes entries out of a table and puts one in their place.
fn replace(
    table: &mut Vec<FileEntry>,
    is_old: impl Fn(&FileEntry) -> bool,
    new: Option<FileEntry>,
    kind: FileKind,
    dropped: &mut Vec<FileName>,
) {
    let at = table.iter().position(&is_old).unwrap_or(table.len());
    dropped.extend(table.iter().filter(|entry| is_old(entry)).map(|entry| FileName::File(kind, entry.id)));
    table.retain(|entry| !is_old(entry));
    table.splice(at..at, new);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_entry_takes_the_place_of_the_old_ones() {
        let entry = |number| FileEntry::new(FileId { number, epoch: 0 }, Default::default());
        let mut table: Vec<FileEntry> = (1..=5).map(entry).collect();
        let mut dropped = Vec::new();
        replace(&mut table, |e| (2..=3).contains(&e.id.number), Some(entry(9)), FileKind::Row, &mut dropped);
        assert_eq!(table.iter().map(|e| e.id.number).collect::<Vec<_>>(), [1, 9, 4, 5]);
        assert_eq!(dropped.len(), 2);
    }
}
