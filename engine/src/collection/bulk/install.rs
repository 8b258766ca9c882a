//! Making a load visible: one manifest.

use std::mem;
use std::sync::Arc;

use super::BulkOptions;
use super::overlap::{Overlap, overlap, replaced_since};
use super::parts::{Part, Parts};
use crate::budget::Share;
use crate::collection::build::{Build, Built};
use crate::collection::crew::Crew;
use crate::collection::flush::{older_manifests, publish, remove_all};
use crate::collection::shared::{Shared, Writer, count};
use crate::compaction::Control;
use crate::delta::{Generation, KnownIds};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::snapshot::{LiveRows, Version, View};
use crate::storage::{FileKind, FileName};
use crate::wal::{WalHead, WalWriter};

/// Row numbers that are left to commits while a load is built: a load's rows have numbers above those of every batch before it.
pub(in crate::collection) const NUMBERS_LEFT: u64 = 1 << 32;
/// A load's first row is the first of a page.
const PAGE: u64 = 4096;
/// Times that what was committed meanwhile is looked up before commits are held up.
const ROUNDS: usize = 3;
/// Rows committed meanwhile that are few enough to be looked up while commits are held up.
const FEW_ROWS: u64 = 1000;

/// What was installed.
pub(super) struct Installed {
    pub(super) seq: u64,
    pub(super) rows: u64,
    pub(super) replaced: u64,
}

/// The first row number of a load that begins now.
pub(super) fn first_row(shared: &Shared) -> u64 {
    let next = shared.writer.lock().next_row;
    (next + NUMBERS_LEFT).next_multiple_of(PAGE)
}

/// A load whose files are complete:
///
/// 1. Flush, and find out which rows of the files the load replaces; again for what was committed meanwhile, until that is
///    little. Nothing is held up.
/// 2. Hold up commits; searches go on. Flush the rest and look it up: now the files hold every batch there is.
/// 3. Write the tombstones of the rows that the load replaces. A crash up to here: orphans.
/// 4. Create the log that will follow. A crash: an orphan without records.
/// 5. Publish the manifest that names the load's files, with the next sequence number, and that begins with the new log.
///    A crash in it: the old manifest and its empty log, or the new ones.
/// 6. Swap the view; commits go on. 7. Remove the old log. A crash: an orphan.
pub(super) fn install(
    shared: &Shared,
    parts: &mut Parts<'_>,
    options: &BulkOptions,
    control: &Control,
) -> Result<Installed> {
    let kind = shared.schema.id_kind();
    shared.flush_only()?;
    let mut seen = shared.view.load().version.clone();
    let base = seen.clone();
    let found = overlap(&parts.done, &base, kind, control)?;
    let mut since = Vec::new();
    for _ in 0..ROUNDS {
        if shared.view.load().generations().map(Generation::rows).sum::<u64>() <= FEW_ROWS {
            break;
        }
        shared.flush_only()?;
        let now = shared.view.load().version.clone();
        replaced_since(&parts.done, &now, seen.manifest.next_row, kind, &mut since)?;
        seen = now;
    }
    control.check()?;
    let _no_commit = shared.gate.lock();
    shared.flush_only()?;
    let _one_manifest_at_a_time = shared.flushing.lock();
    let old = shared.view.load().version.clone();
    replaced_since(&parts.done, &old, seen.manifest.next_row, kind, &mut since)?;
    let load = Load { shared, options, base: &base, found, since };
    load.commit(&old, parts)
}

/// A load with everything that is known of its ids.
struct Load<'l> {
    shared: &'l Shared,
    options: &'l BulkOptions,
    /// What `found` was found in.
    base: &'l Version,
    found: Overlap,
    /// Rows that were committed after that and that the load replaces.
    since: Vec<u64>,
}

impl Load<'_> {
    /// Steps 3 to 7. The caller holds up commits and other manifests.
    fn commit(&self, old: &Version, parts: &mut Parts<'_>) -> Result<Installed> {
        let shared = self.shared;
        let (seq, next_row) = {
            let writer = shared.writer.lock();
            (writer.last_seq + 1, writer.next_row)
        };
        if parts.done.first().is_some_and(|part| part.live.file.first_row() < next_row) {
            return Err(Error::new(ErrorKind::Io, "more rows were written during the load than it left numbers for"));
        }
        let mut made = Vec::new();
        let done = self.publish(old, parts, seq, &mut made);
        match &done {
            // The manifest may be there.
            Err(error) if error.is_sync_failure() => parts.keep(),
            Err(_) => drop(remove_all(&*shared.storage, &made)),
            Ok(_) => parts.keep(),
        }
        done
    }

    fn publish(&self, old: &Version, parts: &Parts<'_>, seq: u64, made: &mut Vec<FileName>) -> Result<Installed> {
        let shared = self.shared;
        let files = parts.with_seq(seq)?;
        let loaded: u64 = files.iter().map(|part| part.rows.facts.rows).sum();
        let live_before: u64 = old.rows.iter().map(LiveRows::live).sum();
        let mut built = name(old, files);
        let most = self.found.replaced.count() + self.found.repeated.count() + self.since.len() as u64;
        // One list of row numbers, which the tombstone file is written from.
        let _working = shared.budget.reserve(Share::BulkLoad, most * 8)?;
        let kills = self.kills(&built, parts)?;
        let new_id = || shared.new_file_id();
        let build =
            Build { storage: &*shared.storage, schema: &shared.schema, new_id: &new_id, parallel: &Crew::ALONE };
        if !kills.is_empty() {
            build.write_dead(old, kills, seq, &mut built, made)?;
        }
        let live: u64 = built.rows.iter().map(LiveRows::live).sum();
        let rows = loaded - self.found.repeated_rows;
        let replaced = live_before + rows - live;
        self.options.apply(&mut built.manifest.properties)?;
        built.manifest.epoch = shared.epoch;
        built.manifest.covered_seq = seq;
        built.manifest.next_row = old.manifest.next_row.max(parts.end_row());
        let head = WalHead {
            collection: shared.collection,
            epoch: shared.epoch,
            predecessor: None,
            first_seq: seq + 1,
            first_row: built.manifest.next_row,
        };
        let created = WalWriter::create(&*shared.storage, shared.new_file_id(), head);
        let mut wal = created.map_err(|e| shared.judge(e))?;
        wal.keep_spare(shared.options.delete_reserve);
        made.push(FileName::File(FileKind::Wal, wal.id()));
        built.manifest.first_wal = wal.id();
        built.manifest.next_file_number = shared.next_file_number() + 1;
        publish(&*shared.storage, &built.manifest, shared.new_file_id()).map_err(|error| {
            match shared.judge(error) {
                error if error.is_sync_failure() => error.with_outcome(Outcome::Unknown),
                error => error,
            }
        })?;
        count(&shared.counters.loads, 1);
        count(&shared.counters.load_bytes, parts.bytes + built.bytes);
        let mut dropped = mem::take(&mut built.dropped);
        dropped.extend(older_manifests(built.manifest.generation));
        dropped.extend(swap(shared, built, wal, seq, live));
        count(&shared.counters.orphans_left, remove_all(&*shared.storage, &dropped));
        Ok(Installed { seq, rows, replaced })
    }

    /// Rows that die with the load, sorted: of the collection, and the load's own repeated ones.
    fn kills(&self, built: &Built, parts: &Parts<'_>) -> Result<Vec<u64>> {
        let most = self.found.replaced.count() + self.found.repeated.count() + self.since.len() as u64;
        let mut kills: Vec<u64> = Vec::with_capacity(most as usize);
        let mut take = |rows: &[u64]| {
            kills.extend_from_slice(rows);
            Ok(())
        };
        self.found.replaced.for_each(self.base.rows.iter(), &mut take)?;
        take(&self.since)?;
        self.found.repeated.for_each(parts.done.iter().map(|part| &part.live), &mut take)?;
        kills.sort_unstable();
        // Some have died since, and their files may be gone.
        let mut files = built.rows.iter().peekable();
        let mut is_live = |row: u64| -> Result<bool> {
            while files.next_if(|rows| rows.file.last_row() < row).is_some() {}
            let Some(rows) = files.peek() else { return Ok(false) };
            let ordinal = rows.file.ordinal(row)?;
            Ok(ordinal.is_some_and(|ordinal| rows.live_word(ordinal / 64) >> (ordinal % 64) & 1 == 1))
        };
        let mut outcome = Ok(());
        kills.retain(|row| match is_live(*row) {
            Ok(live) => live,
            Err(error) => {
                outcome = Err(error);
                false
            }
        });
        outcome.map(|()| kills)
    }
}

/// The next manifest, naming the load's files behind the others.
fn name(old: &Version, files: Vec<Part>) -> Built {
    let mut built = Built {
        manifest: old.manifest.successor(),
        rows: old.rows.clone(),
        id_tables: old.id_tables.clone(),
        models: old.models.clone(),
        lists: old.lists.clone(),
        made: Vec::new(),
        dropped: Vec::new(),
        new_rows: None,
        bytes: 0,
    };
    for part in files {
        built.manifest.row_files.push(part.rows);
        built.manifest.id_tables.push(part.ids);
        built.rows.push(part.live);
        built.id_tables.insert(0, part.table);
    }
    built
}

/// Step 6; the logs that are not needed any more.
fn swap(shared: &Shared, built: Built, wal: WalWriter, seq: u64, live: u64) -> Vec<FileName> {
    let mut writer = shared.writer.lock();
    let old = shared.view.load_full();
    let next_row = built.manifest.next_row;
    let new_logs = vec![wal.id()];
    let Writer { wal: log, logs, known, known_charge, last_seq, next_row: row, roll_not_before, .. } = &mut *writer;
    (*log, *last_seq, *row, *roll_not_before) = (Some(wal), seq, next_row, 0);
    *known = KnownIds::new(shared.schema.id_kind());
    let old_logs = mem::replace(logs, new_logs);
    shared.set_durable(seq);
    known_charge.set(0);
    let version = built.version(old.version.install + 1);
    shared.account_files(&version);
    shared.view.store(Arc::new(View {
        version: Arc::new(version),
        frozen: Vec::new(),
        active: Generation::in_lists(next_row, old.version.filed_by()),
        seq,
        count: live,
    }));
    old_logs.into_iter().map(|id| FileName::File(FileKind::Wal, id)).collect()
}
