//! Repair: a new collection from what a damaged one can prove.
//!
//! The old directory is only read. Everything that reaches the new one has passed its checksums: rows one by one, log records as far
//! as they chain. What did not is listed, with what is known of it.

mod adopt;
mod codes;
mod logs;
mod numbers;
mod report;
mod rows;
mod settle;

use std::cell::Cell;
use std::slice;
use std::sync::Arc;

use self::codes::Codes;
use self::logs::Logged;
pub use self::report::{Loss, RepairReport};
use self::rows::Files;
use super::build::{Build, Built};
use super::checkpoint::{finish, refuse_occupied};
use super::crew::Crew;
use super::flush::remove_all;
use super::open::take_lock;
use super::verify::{Verify, verify};
use crate::compaction::{Control, Ids, merge};
use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::COUNTER_END;
use crate::manifest::{self, Loaded, Manifest};
use crate::snapshot::Version;
use crate::storage::{FileId, FileName, LockGuard, Storage};

/// What a repair may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Repair {
    /// Keep every row that its checksums prove, and list the others.
    #[default]
    KeepProven,
}

/// Repairs into an empty directory:
///
/// 1. Lock both. Choose the newest manifest of which a copy is whole; if there was a newer one, take up what it named.
/// 2. Open its row files, those that are damaged with the help of the manifest and of id tables; prove each row by itself. Read the logs as far as they chain.
///    Of a collection that keeps no vectors, choose the models and list segments that are whole: what is in none of them has no code.
/// 3. Bury: what tombstones and logs kill. Settle: of the rows of an id the newest stays, if it is alive and proven.
/// 4. Write a row file and an id table for each old row file, and one for the logs. Each is synced and read back.
/// 5. Create an empty log, publish a manifest. A crash before: a directory that holds no collection.
/// 6. Check the new collection to the last byte.
pub(super) fn repair(from: &dyn Storage, to: &dyn Storage, mode: Repair) -> Result<RepairReport> {
    let Repair::KeepProven = mode;
    refuse_occupied(to)?;
    let mut report = RepairReport::default();
    let _old = lock_old(from, &mut report)?;
    let mut old = choose_manifest(from, &mut report)?;
    adopt::adopt(from, &mut old, &mut report)?;
    let _new = take_lock(to)?;
    refuse_occupied(to)?;
    let mut files = Files::read(from, &old, &mut report)?;
    let mut logged = logs::read(from, &old, &mut report)?;
    files.bury(from, &old, &mut report)?;
    logged.bury(&mut files);
    settle::settle(from, &old, &mut files, &mut logged, &mut report)?;
    files.leave_unproven(&mut report);
    let codes = Codes::read(from, &old, &mut report)?;
    codes.leave_uncoded(&mut files, &mut report);
    let mut made = Vec::new();
    let written = write((from, to), &old, (&files, &logged, &codes), &mut made, &mut report);
    if let Err(error) = &written
        && !error.is_sync_failure()
    {
        remove_all(to, &made);
    }
    written?;
    check(to, report)
}

/// No writer may be at work on what is repaired. A collection that nobody can lock, nobody writes to.
fn lock_old(from: &dyn Storage, report: &mut RepairReport) -> Result<Option<Box<dyn LockGuard>>> {
    let entries = from.list().map_err(|error| Error::io("list", from.describe(), error))?;
    if entries.iter().all(|entry| entry.name != Some(FileName::Lock)) {
        return Ok(None);
    }
    match take_lock(from) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == ErrorKind::Locked => Err(error),
        Err(error) => {
            report.notes.push(format!("the old directory was read without its lock: {error}"));
            Ok(None)
        }
    }
}

/// The newest manifest that can be read. One that names files of which none is here counts less than an older one of another
/// collection whose files are here: it has strayed in.
fn choose_manifest(from: &dyn Storage, report: &mut RepairReport) -> Result<Manifest> {
    let entries = from.list().map_err(|error| Error::io("list", from.describe(), error))?;
    let here = |manifest: &Manifest| manifest.files().any(|(name, _)| entries.iter().any(|e| e.name == Some(name)));
    let mut strayed: Option<(u64, Loaded)> = None;
    let generations = manifest::list_generations(from)?;
    if generations.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no manifest in {}", from.describe()))
            .with_hint("nothing says what belongs to the collection: restore a checkpoint"));
    }
    let mut last = None;
    for generation in generations.into_iter().rev() {
        match manifest::load(from, generation) {
            Ok(loaded) if strayed.is_none() && loaded.manifest.files().next().is_some() && !here(&loaded.manifest) => {
                strayed = Some((generation, loaded));
            }
            Ok(loaded) => match &strayed {
                Some((_, newer))
                    if newer.manifest.collection == loaded.manifest.collection || !here(&loaded.manifest) => {}
                Some((newer, _)) => {
                    let what = "it is of another collection, none of its files is here";
                    let error = Error::corrupt(FileName::Manifest(*newer), "manifest", 0, what);
                    report.lose(Loss::Manifest { generation: *newer, error });
                    return Ok(chosen(generation, loaded, report));
                }
                None => return Ok(chosen(generation, loaded, report)),
            },
            Err(error) if error.kind() == ErrorKind::UnsupportedVersion => return Err(error),
            Err(error) => {
                report.lose(Loss::Manifest { generation, error: error.clone() });
                last = Some(error);
            }
        }
    }
    if let Some((generation, loaded)) = strayed {
        return Ok(chosen(generation, loaded, report));
    }
    let none = Error::new(ErrorKind::Corrupt, "no manifest is whole");
    Err(last.unwrap_or(none).with_hint("nothing says what belongs to the collection: restore a checkpoint"))
}

fn chosen(generation: u64, loaded: Loaded, report: &mut RepairReport) -> Manifest {
    if loaded.second_copy_used {
        report.notes.push(format!("manifest {generation} was read from its second copy"));
    }
    report.generation = generation;
    loaded.manifest
}

/// Gives file numbers above every one in the old directory.
struct Numbers {
    next: Cell<u64>,
    epoch: u64,
}

impl Numbers {
    fn new(from: &dyn Storage, to: &dyn Storage, old: &Manifest) -> Result<Numbers> {
        let entries = from.list().map_err(|error| Error::io("list", from.describe(), error))?;
        let used = entries.iter().filter_map(|entry| match entry.name {
            Some(FileName::File(_, id)) => Some(id.number),
            _ => None,
        });
        // A name that no writer gives says nothing about what they gave.
        let used = used.filter(|number| *number < COUNTER_END - (1 << 32));
        let next = used.max().map_or(0, |number| number.saturating_add(1)).max(old.next_file_number);
        let epoch = to.nonce().map_err(|error| Error::io("draw a number for", to.describe(), error))?;
        Ok(Numbers { next: Cell::new(next), epoch })
    }

    fn give(&self) -> FileId {
        let number = self.next.get();
        self.next.set(number.saturating_add(1));
        FileId { number, epoch: self.epoch }
    }
}

/// Steps 4 and 5.
fn write(
    (from, to): (&dyn Storage, &dyn Storage),
    old: &Manifest,
    (files, logged, codes): (&Files, &Logged, &Codes),
    made: &mut Vec<FileName>,
    report: &mut RepairReport,
) -> Result<()> {
    let numbers = Numbers::new(from, to, old)?;
    let (schema, ids) = (old.schema.clone(), (old.collection, old.own_origin()));
    // Models and lists follow from rows: the first writer makes them again. Where no vectors are kept, they do not.
    let models: Vec<_> = codes.models.iter().map(|(entry, _)| *entry).collect();
    let (lists, (calibration, training)) = match models.is_empty() {
        true => (Vec::new(), (Vec::new(), Vec::new())),
        false => (Vec::new(), (old.calibration.clone(), old.training.clone())),
    };
    let (row_files, id_tables, tombstones) = (Vec::new(), Vec::new(), Vec::new());
    let mut new = Manifest { row_files, id_tables, tombstones, models, lists, calibration, training, ..old.clone() };
    let mut version = Version {
        install: 0,
        manifest: Arc::new(old.clone()),
        rows: Vec::new(),
        id_tables: Vec::new(),
        models: codes.models.iter().map(|(_, model)| model.clone()).collect(),
        lists: Vec::new(),
    };
    for live in files.open.iter().flat_map(|file| codes.pieces(file)) {
        let live = slice::from_ref(&live);
        let merged = merge(to, &schema, ids, live, Ids::Rows, &|| numbers.give(), &Control::default())?;
        made.extend(merged.names());
        if let (Some((rows, live)), Some((ids, table))) = (merged.rows, merged.ids) {
            report.rows = report.rows.saturating_add(live.live());
            new.row_files.push(rows);
            new.id_tables.push(ids);
            version.rows.push(live);
            version.id_tables.insert(0, table);
        }
    }
    for (entry, file) in codes.write((from, to), old, &version.rows, &|| numbers.give(), made)? {
        new.lists.push(entry);
        version.lists.push(file);
    }
    new.epoch = numbers.epoch;
    version.manifest = Arc::new(new);
    let build = Build { storage: to, schema: &schema, new_id: &|| numbers.give(), parallel: &Crew::ALONE };
    let Built { mut manifest, new_rows, .. } = build.generation(&version, &logged.alone(), logged.last_seq)?;
    report.rows = report.rows.saturating_add(new_rows.map_or(0, |rows| rows.live()));
    report.last_seq = logged.last_seq;
    let newest = manifest::list_generations(from)?.pop().unwrap_or(0).max(manifest.generation);
    (manifest.generation, manifest.parent) = (newest.saturating_add(1), newest);
    let (wal, temp) = (numbers.give(), numbers.give());
    manifest.next_file_number = numbers.next.get();
    let counters = [manifest.generation, manifest.next_file_number, manifest.next_row, manifest.covered_seq];
    if counters.iter().any(|counter| *counter >= COUNTER_END - 1) {
        let what = "the collection has counted as far as any can; its rows fit no other";
        return Err(Error::corrupt(FileName::Manifest(old.generation), "manifest", 0, what));
    }
    finish(to, manifest, wal, temp, made)
}

/// Step 6.
fn check(to: &dyn Storage, report: RepairReport) -> Result<RepairReport> {
    match verify(to, Verify::Full)?.findings.into_iter().next() {
        None => Ok(report),
        Some(finding) => Err(finding.caused(ErrorKind::Corrupt, "what was written does not read back as it should")),
    }
}
