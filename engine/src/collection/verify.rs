//! Checking a collection without changing anything.
//!
//! Beyond checksums, a full check proves the invariants that searches rely on: row ranges do not overlap (one provider per
//! row), every live row is found by its id through the id tables, no id has two live rows in files and logs together, every entry
//! of an id table names a row of its id, tombstones and logs agree with the files, no id
//! that a log deletes is alive, and every live row of a file that is
//! in lists is in one list, with its own code.

use std::collections::HashSet;

use super::build::open_version;
use super::list_files::check_list_file;
use super::verify_lists::check_lists;
use super::verify_log::{Deleted, check_logged};
use crate::delta::Generation;
use crate::error::{Error, ErrorKind, Result};
use crate::format::id_key;
use crate::manifest::{self, FileEntry, Manifest};
use crate::options::RecoveryReport;
use crate::segment::{IdEntry, IdTable, RowFile, RowLayout, TombstoneFile};
use crate::snapshot::Version;
use crate::storage::{EntryKind, FileKind, FileName, Storage};

/// How much [`Collection::verify`](super::Collection::verify) reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Verify {
    /// Names, lengths, headers, section directories, both copies of the manifests, the logs. Reads little.
    Quick,
    /// Every byte of every file, and that every live row is the one that is reached by its id. Memory: a bit per row.
    #[default]
    Full,
}

/// What a check found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Damage, each with file, section and offset; the first thousand. Empty: the collection is sound.
    pub findings: Vec<Error>,
    /// What is worth knowing and no damage: a log to replay, orphans, foreign files.
    pub notes: Vec<String>,
    /// Files checked.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Live rows that are in files.
    pub rows: u64,
    /// What the logs hold, as the next open will find it.
    pub log: RecoveryReport,
}

impl VerifyReport {
    /// Whether there was no damage.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    pub(super) fn find(&mut self, error: Error) {
        find(&mut self.findings, error);
    }
}

/// Times a check is made again. A writer may be at work: a check during which the newest manifest changed says nothing.
const RACES: usize = 20;

/// Findings that are kept. A file can hold millions of wrong units; what to do about it does not depend on the rest.
const MOST_FINDINGS: usize = 1000;

fn find(findings: &mut Vec<Error>, error: Error) {
    if findings.len() < MOST_FINDINGS {
        findings.push(error);
    }
}

pub(super) fn verify(storage: &dyn Storage, mode: Verify) -> Result<VerifyReport> {
    for _ in 0..RACES {
        let before = manifest::list_generations(storage)?.pop();
        let report = verify_once(storage, mode)?;
        if report.is_sound() || manifest::list_generations(storage)?.pop() == before {
            return Ok(report);
        }
    }
    let what = format!("a writer replaced files faster than they could be checked, {RACES} times in a row");
    Err(Error::new(ErrorKind::Busy, what).with_hint("check a checkpoint, or when less is written"))
}

fn verify_once(storage: &dyn Storage, mode: Verify) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let entries = storage.list().map_err(|error| Error::io("list", storage.describe(), error))?;
    if !entries.iter().any(|entry| matches!(entry.name, Some(FileName::Manifest(_)))) {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no collection in {}", storage.describe())));
    }
    let loaded = match manifest::load_newest(storage) {
        Ok(loaded) => loaded,
        Err(error) => {
            report.find(error);
            return Ok(report);
        }
    };
    report.bytes = entries.iter().filter(|entry| entry.name.is_some()).map(|entry| entry.len).sum();
    check_manifests(storage, loaded.manifest.collection, &mut report);
    check_names(&loaded.manifest, &entries, &mut report);
    let logged = check_logs(storage, &loaded.manifest, &mut report);
    check_files(storage, &loaded.manifest, mode, &mut report);
    if mode == Verify::Full && report.is_sound() {
        match open_version(storage, loaded.manifest, 0) {
            Ok(version) => {
                if let Some((generation, deleted)) = &logged {
                    check_logged(&version, generation, deleted, &mut report);
                }
                check_rows(&version, &mut report);
                check_entries(&version, &mut report);
                check_lists(&version, &mut report);
            }
            Err(error) => report.find(error),
        }
    }
    Ok(report)
}

/// Both copies of every manifest that is there.
fn check_manifests(storage: &dyn Storage, collection: u128, report: &mut VerifyReport) {
    match manifest::list_generations(storage) {
        Err(error) => report.find(error),
        Ok(generations) => {
            for generation in generations {
                report.files += 1;
                manifest::verify(storage, generation, collection, &mut |error| report.find(error));
            }
        }
    }
}

/// Orphans and foreign files.
fn check_names(manifest: &Manifest, entries: &[crate::storage::DirEntry], report: &mut VerifyReport) {
    let needed: HashSet<FileName> = manifest.files().map(|(name, _)| name).collect();
    entries.iter().filter_map(super::open::number_beyond_the_end).for_each(|error| report.find(error));
    for entry in entries {
        match entry.name {
            None => report.notes.push(format!("{} is not one of our files; it is left alone", entry.text)),
            Some(name) if entry.entry == EntryKind::Other => {
                report.find(Error::corrupt(name, "directory", 0, "is not a regular file"));
            }
            Some(FileName::File(FileKind::Wal, _) | FileName::Manifest(_) | FileName::Lock) => {}
            Some(name) if !needed.contains(&name) => {
                report.notes.push(format!("{name} is an orphan; the next open for writing removes it"));
            }
            Some(_) => {}
        }
    }
}

fn check_logs(storage: &dyn Storage, manifest: &Manifest, report: &mut VerifyReport) -> Option<(Generation, Deleted)> {
    let (mut log, mut deleted) = (RecoveryReport::default(), Deleted::default());
    let read = super::open::Log::read_only(storage, manifest, &mut log, &mut |batch| deleted.follow(batch));
    let logged = match read {
        Err(error) => {
            report.find(error);
            None
        }
        Ok((generation, logs)) => {
            report.files += logs;
            note_log(&generation, &log, report);
            Some((generation, deleted))
        }
    };
    report.log = log;
    logged
}

fn note_log(generation: &Generation, log: &RecoveryReport, report: &mut VerifyReport) {
    if log.batches_replayed > 0 {
        let (batches, rows) = (log.batches_replayed, generation.rows());
        report.notes.push(format!("the log holds {batches} batches with {rows} rows; the next open replays them"));
    }
    if log.tail_bytes_dropped > 0 {
        let bytes = log.tail_bytes_dropped;
        report.notes.push(format!("the log ends in {bytes} bytes that are no whole record; the next open drops them"));
    }
}

/// Every file the manifest names: opened, and in a full check read to the last byte.
fn check_files(storage: &dyn Storage, manifest: &Manifest, mode: Verify, report: &mut VerifyReport) {
    let VerifyReport { findings, files, .. } = report;
    let tables = [
        (FileKind::Row, &manifest.row_files),
        (FileKind::IdTable, &manifest.id_tables),
        (FileKind::Tombstone, &manifest.tombstones),
    ];
    let full = mode == Verify::Full;
    for (kind, entries) in tables {
        for entry in entries {
            *files += 1;
            check_file(storage, manifest, kind, entry, full, &mut |error| find(findings, error));
        }
    }
    for (kind, entries) in [(FileKind::Model, &manifest.models), (FileKind::List, &manifest.lists)] {
        for entry in entries {
            *files += 1;
            check_file(storage, manifest, kind, &entry.file, full, &mut |error| find(findings, error));
        }
    }
}

/// One file that the manifest names.
pub(super) fn check_file(
    storage: &dyn Storage,
    manifest: &Manifest,
    kind: FileKind,
    entry: &FileEntry,
    full: bool,
    finding: &mut dyn FnMut(Error),
) {
    let (collection, origin, ids) = (manifest.collection, manifest.own_origin(), manifest.schema.id_kind());
    let FileEntry { id, facts, .. } = entry;
    let outcome = match kind {
        FileKind::Row => {
            let layout = RowLayout::of(&manifest.schema, entry.element);
            RowFile::open(storage, *id, collection, origin, &layout, facts).map(|file| {
                if full {
                    file.verify(finding)
                }
            })
        }
        FileKind::IdTable => IdTable::open(storage, *id, collection, origin, ids, facts).map(|table| {
            if full {
                table.verify(finding)
            }
        }),
        FileKind::Model | FileKind::List => check_list_file(storage, manifest, kind, *id, full, finding),
        _ => TombstoneFile::open(storage, *id, collection, origin, facts).map(|file| {
            if full {
                file.verify(finding)
            }
        }),
    };
    if let Err(error) = outcome {
        finding(error);
    }
}

/// Every live row: found by its id. Two live rows of one id cannot both be, so this also proves that there is at most one.
fn check_rows(version: &Version, report: &mut VerifyReport) {
    let collection = version.manifest.collection;
    for rows in &version.rows {
        for word in 0..rows.file.len().div_ceil(64) {
            let mut live = rows.live_word(word);
            while live != 0 {
                let ordinal = word * 64 + live.trailing_zeros() as usize;
                live &= live - 1;
                if let Err(error) = check_row(version, rows, ordinal, collection) {
                    report.find(error);
                }
                report.rows += 1;
            }
        }
    }
}

/// Every entry of an id table: it names a row that a file has, dead or alive, and that carries the id of this key.
fn check_entries(version: &Version, report: &mut VerifyReport) {
    for table in &version.id_tables {
        for entry in table.iter() {
            if let Err(error) = entry.and_then(|entry| check_entry(version, table, entry)) {
                report.find(error);
            }
        }
    }
}

fn check_entry(version: &Version, table: &IdTable, entry: IdEntry) -> Result<()> {
    let IdEntry { key, row } = entry;
    let wrong = |what: String| Err(Error::corrupt(table.name(), "entries", 0, what));
    let Some((index, ordinal)) = version.locate(row)? else {
        return wrong(format!("an entry names row {row}, which no row file has"));
    };
    let Some(rows) = version.rows.get(index) else { return Ok(()) };
    let id = rows.file.id(ordinal)?;
    match id_key(id.as_ref(), version.manifest.collection) == key {
        true => Ok(()),
        false => wrong(format!("the entry of row {row} has key {key:#x}, which is not that of its id {id:?}")),
    }
}

fn check_row(version: &Version, rows: &crate::snapshot::LiveRows, ordinal: usize, collection: u128) -> Result<()> {
    let row = rows.file.row_number(ordinal)?;
    let id = rows.file.id(ordinal)?;
    let file = rows.file.name();
    let found = version.find(id_key(id.as_ref(), collection), id.as_ref())?;
    if found != Some(row) {
        return Err(Error::corrupt(
            file,
            "ids",
            0,
            format!("live row {row} with id {id:?} is found as {found:?} by its id"),
        ));
    }
    Ok(())
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
