//! Row files: which open, and which of their rows prove themselves.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::numbers::told_numbers;
use super::report::{Loss, RepairReport};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Id;
use crate::manifest::{FileEntry, Manifest};
use crate::segment::{IdTable, RowFile, RowLayout, TombstoneFile};
use crate::snapshot::LiveRows;
use crate::storage::{EntryKind, FileId, FileKind, FileName, Storage};

/// A row file that opens, or of which enough is left.
pub(super) struct Salvage {
    /// Dead: by tombstones and logs, unproven, or older than another row of the id.
    pub(super) live: LiveRows,
    /// One bit per ordinal: the row did not prove itself.
    pub(super) unproven: Vec<u64>,
}

impl Salvage {
    pub(super) fn is_unproven(&self, ordinal: usize) -> bool {
        self.unproven.get(ordinal / 64).is_some_and(|word| word >> (ordinal % 64) & 1 == 1)
    }

    pub(super) fn is_dead(&self, ordinal: usize) -> bool {
        self.live.live_word(ordinal / 64) >> (ordinal % 64) & 1 == 0
    }

    /// The id of a row whose id can be read.
    pub(super) fn id(&self, ordinal: usize) -> Result<Id> {
        self.live.file.id(ordinal)
    }
}

/// All row files of a manifest: those that open, and the row numbers of those that do not.
pub(super) struct Files {
    /// Ascending by row number.
    pub(super) open: Vec<Salvage>,
    pub(super) lost: Vec<RangeInclusive<u64>>,
}

impl Files {
    /// Opens the row files and proves each row by itself.
    pub(super) fn read(from: &dyn Storage, manifest: &Manifest, report: &mut RepairReport) -> Result<Files> {
        let mut files = Files { open: Vec::new(), lost: Vec::new() };
        let tables = whole_tables(from, manifest)?;
        for entry in &manifest.row_files {
            let facts = entry.facts;
            match open_or_salvage(from, manifest, entry, &tables, report) {
                Ok(file) => {
                    // Where numbers are not known, whatever id tables tell of the range may be one of these rows.
                    if (0..file.live.file.len()).any(|ordinal| file.live.file.row_number(ordinal).is_err()) {
                        files.lost.push(facts.first_row..=facts.last_row);
                    }
                    files.open.push(file);
                }
                Err(error) if error.kind() == ErrorKind::UnsupportedVersion => return Err(error),
                Err(error) => {
                    files.lost.push(facts.first_row..=facts.last_row);
                    report.rows_lost = report.rows_lost.saturating_add(facts.rows);
                    report.lose(Loss::File {
                        rows: facts.rows,
                        first_row: facts.first_row,
                        last_row: facts.last_row,
                        first_seq: facts.min_seq,
                        last_seq: facts.max_seq,
                        error,
                    });
                }
            }
        }
        Ok(files)
    }

    /// The file and ordinal of a row, as far as the page directories can be read.
    pub(super) fn locate(&self, row: u64) -> Option<(usize, usize)> {
        let index = self.open.partition_point(|file| file.live.file.last_row() < row);
        let ordinal = self.open.get(index)?.live.file.ordinal(row).ok().flatten()?;
        Some((index, ordinal))
    }

    /// Whether the row at a place is dead.
    pub(super) fn is_dead(&self, (index, ordinal): (usize, usize)) -> bool {
        self.open.get(index).is_some_and(|file| file.is_dead(ordinal))
    }

    /// Whether the row is in a file that does not open, or did not prove itself.
    pub(super) fn is_lost(&self, row: u64) -> bool {
        match self.locate(row) {
            Some((index, ordinal)) => self.open.get(index).is_some_and(|file| file.is_unproven(ordinal)),
            None => self.lost.iter().any(|range| range.contains(&row)),
        }
    }

    /// Marks a row dead.
    pub(super) fn kill(&self, dead: &mut [Vec<u64>], row: u64) {
        if let Some((index, ordinal)) = self.locate(row)
            && let Some(word) = dead.get_mut(index).and_then(|words| words.get_mut(ordinal / 64))
        {
            *word |= 1 << (ordinal % 64);
        }
    }

    /// A bit for each row of each file.
    pub(super) fn bits(&self) -> Vec<Vec<u64>> {
        self.open.iter().map(|file| vec![0; file.live.file.len().div_ceil(64)]).collect()
    }

    pub(super) fn add_dead(&mut self, dead: &[Vec<u64>]) {
        for (file, dead) in self.open.iter_mut().zip(dead) {
            file.live = file.live.with_dead_words(dead);
        }
    }

    /// Applies the tombstone files. Of one that cannot be read as a whole, what can.
    pub(super) fn bury(&mut self, from: &dyn Storage, manifest: &Manifest, report: &mut RepairReport) -> Result<()> {
        let mut dead = self.bits();
        for entry in &manifest.tombstones {
            let (after, up_to) = (entry.facts.min_seq, entry.facts.max_seq);
            let file = TombstoneFile::open(from, entry.id, manifest.collection, manifest.own_origin(), &entry.facts);
            let mut first = None;
            match file {
                Ok(file) => file.for_each_readable(|row| self.kill(&mut dead, row), &mut |error| {
                    first.get_or_insert(error);
                }),
                Err(error) if error.kind() == ErrorKind::UnsupportedVersion => return Err(error),
                Err(error) => first = Some(error),
            }
            if let Some(error) = first {
                report.lose(Loss::Deletes { after, up_to, error });
            }
        }
        self.add_dead(&dead);
        Ok(())
    }

    /// Counts the rows that are lost and were live, as runs, and takes them out.
    pub(super) fn leave_unproven(&mut self, report: &mut RepairReport) {
        for file in &mut self.open {
            let mut run: Option<Run> = None;
            for ordinal in 0..file.live.file.len() {
                if !file.is_unproven(ordinal) || file.is_dead(ordinal) {
                    run.take().into_iter().for_each(|run| run.end(file, report));
                    continue;
                }
                if let Ok(id) = file.id(ordinal) {
                    report.lose_id(id);
                }
                match &mut run {
                    Some(run) => run.last = ordinal,
                    None => run = Some(Run { first: ordinal, last: ordinal }),
                }
            }
            run.take().into_iter().for_each(|run| run.end(file, report));
            file.live = file.live.with_dead_words(&file.unproven);
        }
    }
}

/// Ordinals of neighbouring lost rows.
struct Run {
    first: usize,
    last: usize,
}

impl Run {
    fn end(self, file: &Salvage, report: &mut RepairReport) {
        let rows = (self.last - self.first) as u64 + 1;
        let rows_file = &file.live.file;
        let error = rows_file
            .prove_row(self.first)
            .err()
            .unwrap_or_else(|| Error::corrupt(rows_file.name(), "rows", 0, format!("row {} failed once", self.first)));
        report.rows_lost = report.rows_lost.saturating_add(rows);
        report.lose(Loss::Rows {
            rows,
            first_row: rows_file.row_number(self.first).unwrap_or(rows_file.first_row()),
            last_row: rows_file.row_number(self.last).unwrap_or(rows_file.last_row()),
            error,
        });
    }
}

/// The id tables that open.
fn whole_tables(from: &dyn Storage, manifest: &Manifest) -> Result<Vec<IdTable>> {
    let (collection, origin, kind) = (manifest.collection, manifest.own_origin(), manifest.schema.id_kind());
    let mut tables = Vec::new();
    for entry in &manifest.id_tables {
        match IdTable::open(from, entry.id, collection, origin, kind, &entry.facts) {
            Ok(table) => tables.push(table),
            Err(error) if error.kind() == ErrorKind::UnsupportedVersion => return Err(error),
            Err(_) => {}
        }
    }
    Ok(tables)
}

/// Opens a row file, or what is left of it if that has rows that prove themselves.
fn open_or_salvage(
    from: &dyn Storage,
    manifest: &Manifest,
    entry: &FileEntry,
    tables: &[IdTable],
    report: &mut RepairReport,
) -> Result<Salvage> {
    let (layout, facts) = (RowLayout::of(&manifest.schema, entry.element), &entry.facts);
    let (collection, origin) = (manifest.collection, manifest.own_origin());
    let opened = RowFile::open(from, entry.id, collection, origin, &layout, facts);
    let error = match opened {
        Ok(mut file) => {
            file.find_payloads();
            return Ok(prove(numbered(file, tables, manifest).with_lists(entry.in_lists)));
        }
        Err(error) if error.kind() == ErrorKind::Corrupt => error,
        Err(error) => return Err(error),
    };
    // The file under its name, then those under other names that say they are this one.
    for at in std::iter::once(entry.id).chain(elsewhere(from, entry.id)?) {
        let ids = (collection, origin);
        let Ok(file) = RowFile::salvage(from, at, entry.id, ids, &layout, facts) else { continue };
        let salvage = prove(numbered(file, tables, manifest).with_lists(entry.in_lists));
        if (0..salvage.live.file.len()).any(|ordinal| !salvage.is_unproven(ordinal)) {
            report.notes.push(format!("a row file was read row by row: {error}"));
            return Ok(salvage);
        }
    }
    Err(error)
}

/// The row files whose headers have an id that is not that of their names.
fn elsewhere(from: &dyn Storage, id: FileId) -> Result<Vec<FileId>> {
    let entries = from.list().map_err(|error| Error::io("list", from.describe(), error))?;
    let names = entries.iter().filter_map(|entry| match entry.name {
        Some(FileName::File(FileKind::Row, name)) if entry.entry == EntryKind::File && name != id => Some(name),
        _ => None,
    });
    Ok(names.filter(|name| RowFile::inner_id(from, *name) == Some(id)).collect())
}

/// The file with its row numbers, from the id tables if its pages do not tell all of them.
fn numbered(mut file: RowFile, tables: &[IdTable], manifest: &Manifest) -> LiveRows {
    if (0..file.len()).any(|ordinal| file.row_number(ordinal).is_err())
        && let Some(rows) = told_numbers(&file, tables, manifest)
    {
        file.tell_numbers(rows);
    }
    LiveRows::new(Arc::new(file))
}

/// Proves each row by itself, and that row numbers ascend within what the file states.
fn prove(live: LiveRows) -> Salvage {
    let mut unproven = vec![0u64; live.file.len().div_ceil(64)];
    let mut last = None;
    let stated = live.file.first_row()..=live.file.last_row();
    for ordinal in 0..live.file.len() {
        let row = live.file.row_number(ordinal).ok().filter(|row| stated.contains(row));
        let row = row.filter(|row| last.is_none_or(|last| last < *row));
        let found = row.is_some_and(|row| live.file.ordinal(row).ok() == Some(Some(ordinal)));
        if found && live.file.prove_row(ordinal).is_ok() {
            last = row;
        } else if let Some(word) = unproven.get_mut(ordinal / 64) {
            *word |= 1 << (ordinal % 64);
        }
    }
    Salvage { live, unproven }
}
