//! Codes of a collection that keeps no vectors. There they are all that is left of rows, so nothing can make them again: models and list
//! segments that prove themselves to the last byte are kept, and rows whose codes are gone are lost.

use std::sync::Arc;

use super::report::{Loss, RepairReport};
use super::rows::{Files, Salvage};
use crate::collection::checkpoint::copy_file;
use crate::collection::list_files::{open_list, open_model};
use crate::compaction::{Control, merge_lists};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{HashedEntry, Manifest};
use crate::segment::ListFile;
use crate::snapshot::{LiveRows, OpenModel};
use crate::storage::{FileId, FileKind, FileName, Storage};

/// Whole models and list segments. None of a collection that keeps vectors: there they follow from rows.
#[derive(Default)]
pub(super) struct Codes {
    pub(super) models: Vec<(HashedEntry, Arc<OpenModel>)>,
    /// Ascending by row number; ranges do not overlap.
    segments: Vec<ListFile>,
}

impl Codes {
    /// Opens models and list segments and reads them to the last byte.
    ///
    /// # Errors
    /// `UnsupportedVersion`.
    pub(super) fn read(from: &dyn Storage, manifest: &Manifest, report: &mut RepairReport) -> Result<Codes> {
        let mut codes = Codes::default();
        if manifest.schema.row_format().keeps_vectors() {
            return Ok(codes);
        }
        for entry in &manifest.models {
            let opened = open_model(from, manifest, entry).and_then(|model| {
                let mut first = None;
                model.file.verify(&mut |error| {
                    first.get_or_insert(error);
                });
                first.map_or(Ok(model), Err)
            });
            match opened {
                Ok(model) => codes.models.push((*entry, Arc::new(model))),
                Err(error) if error.kind() == ErrorKind::UnsupportedVersion => return Err(error),
                Err(error) => {
                    report.notes.push(format!("a model is damaged, and with it every code made by it: {error}"))
                }
            }
        }
        let models: Vec<Arc<OpenModel>> = codes.models.iter().map(|(_, model)| model.clone()).collect();
        for entry in &manifest.lists {
            let opened = open_list(from, manifest, &models, entry).and_then(|file| {
                let mut first = None;
                file.verify(&mut |error| {
                    first.get_or_insert(error);
                });
                first.map_or(Ok(file), Err)
            });
            match opened {
                Ok(file) => codes.segments.push(file),
                Err(error) if error.kind() == ErrorKind::UnsupportedVersion => return Err(error),
                Err(error) => report.lose(lost(entry, error)),
            }
        }
        Ok(codes)
    }

    /// Whether the code of a row of a file that is in lists is there.
    fn has(&self, row: u64) -> bool {
        let at = self.segments.partition_point(|file| file.facts().last_row < row);
        self.segments.get(at).is_some_and(|file| file.facts().first_row <= row)
    }

    /// Takes out the rows of which neither vector nor code is left.
    pub(super) fn leave_uncoded(&self, files: &mut Files, report: &mut RepairReport) {
        for file in files.open.iter_mut().filter(|file| !file.live.file.has_vectors()) {
            let mut gone = vec![0u64; file.live.file.len().div_ceil(64)];
            for ordinal in (0..file.live.file.len()).filter(|ordinal| !file.is_dead(*ordinal)) {
                if file.live.file.row_number(ordinal).is_ok_and(|row| self.has(row)) {
                    continue;
                }
                report.rows_lost = report.rows_lost.saturating_add(1);
                if let Ok(id) = file.id(ordinal) {
                    report.lose_id(id);
                }
                if let Some(word) = gone.get_mut(ordinal / 64) {
                    *word |= 1 << (ordinal % 64);
                }
            }
            file.live = file.live.with_dead_words(&gone);
        }
    }

    /// The rows of a file as new files are to have them: those whose codes are kept apart from those that have to be filed again.
    pub(super) fn pieces(&self, file: &Salvage) -> Vec<LiveRows> {
        if self.segments.is_empty() || !file.live.in_lists() {
            return vec![file.live.clone().with_lists(false)];
        }
        if !file.live.file.has_vectors() {
            return vec![file.live.clone()];
        }
        let rows = file.live.file.len();
        let coded = |ordinal: usize| file.live.file.row_number(ordinal).is_ok_and(|row| self.has(row));
        let mut pieces = Vec::new();
        let mut start = 0;
        while start < rows {
            let is_coded = coded(start);
            let end = (start..rows).find(|ordinal| coded(*ordinal) != is_coded).unwrap_or(rows);
            let mut others = vec![0u64; rows.div_ceil(64)];
            for ordinal in (0..start).chain(end..rows) {
                if let Some(word) = others.get_mut(ordinal / 64) {
                    *word |= 1 << (ordinal % 64);
                }
            }
            pieces.push(file.live.with_dead_words(&others).with_lists(is_coded));
            start = end;
        }
        pieces
    }

    /// Copies the models and writes the segments anew, without rows that are in no file of `kept` that is in lists.
    ///
    /// # Errors
    /// `Corrupt`; `NoSpace`; `Io`.
    pub(super) fn write(
        &self,
        (from, to): (&dyn Storage, &dyn Storage),
        manifest: &Manifest,
        kept: &[LiveRows],
        new_id: &dyn Fn() -> FileId,
        made: &mut Vec<FileName>,
    ) -> Result<Vec<(HashedEntry, Arc<ListFile>)>> {
        for (entry, _) in &self.models {
            let name = FileName::File(FileKind::Model, entry.file.id);
            made.push(name);
            copy_file(from, to, name, &entry.file.facts)?;
        }
        let is_kept = |row: u64| {
            let at = kept.partition_point(|rows| rows.file.last_row() < row);
            let rows = kept.get(at).filter(|rows| rows.in_lists())?;
            let ordinal = rows.file.ordinal(row).ok().flatten()?;
            (rows.live_word(ordinal / 64) >> (ordinal % 64) & 1 == 1).then_some(())
        };
        let mut written = Vec::new();
        for segment in &self.segments {
            let facts = segment.facts();
            let listed = kept.iter().filter(|rows| rows.in_lists());
            let live: u64 =
                listed.map(|rows| rows.live_between(facts.first_row, facts.last_row)).sum::<Result<u64>>()?;
            if live == 0 {
                continue;
            }
            let ids = (manifest.collection, manifest.own_origin());
            let (entry, file) =
                merge_lists(to, ids, &[segment], &|row| is_kept(row).is_none(), new_id, &Control::default())?;
            made.push(FileName::File(FileKind::List, entry.file.id));
            written.push((entry, Arc::new(file)));
        }
        Ok(written)
    }
}

/// A list segment as a loss: codes of rows, dead ones among them.
fn lost(entry: &HashedEntry, error: Error) -> Loss {
    let facts = &entry.file.facts;
    Loss::Rows { rows: facts.rows, first_row: facts.first_row, last_row: facts.last_row, error }
}
