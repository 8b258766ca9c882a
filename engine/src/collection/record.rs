//! Log records to rows in memory: what recovery and readers in other processes share.

use crate::delta::{BlockBuilder, Generation, RowLists};
use crate::error::{Error, ErrorKind, Result};
use crate::format::attributes::check_attributes;
use crate::format::batch::{BatchView, Op};
use crate::manifest::Manifest;
use crate::segment::RowLayout;
use crate::snapshot::{OpenModel, lists_of};
use crate::storage::{FileId, FileKind, FileName};

/// Applies one record of a log to the generation that it continues. Returns the rows the batch kills, sorted; those of this
/// generation are known to have been live, those of older ones are for the caller to look up. Logs carry no lists: rows get them by
/// `model`, if the generation is in lists of that model.
///
/// # Errors
/// `Corrupt` if it is no batch of this collection, or none that can follow.
pub(super) fn apply_record(
    generation: &mut Generation,
    manifest: &Manifest,
    wal: FileId,
    seq: u64,
    payload: &[u8],
    model: Option<&OpenModel>,
) -> Result<Vec<u64>> {
    let file = FileName::File(FileKind::Wal, wal);
    let batch = BatchView::decode(payload, &manifest.schema)
        .map_err(|error| error.caused(ErrorKind::Corrupt, format!("log record {seq} of {file} is not a batch")))?;
    let next_row = generation.end_row();
    let damaged = |what: &str| Error::corrupt(file, "record", 0, format!("record {seq} {what}"));
    if batch.first_row() != next_row {
        let found = batch.first_row();
        return Err(damaged(&format!("begins at row {found}, not {next_row}")));
    }
    let layout = RowLayout::from(&manifest.schema);
    let mut rows = BlockBuilder::new(&manifest.schema, manifest.collection);
    for op in batch.ops() {
        if let Op::Put { id, vector, norm, attributes, payload, .. } = op {
            // The checksum is right, so this is a forgery; files are not made of it.
            if !layout.norm_is_valid(norm) || !layout.is_finite(vector) || check_attributes(attributes).is_err() {
                return Err(damaged("holds a row that no batch can hold"));
            }
            rows.push_stored(id, vector, norm);
            rows.set_attributes(attributes);
            rows.set_payload(payload);
        }
    }
    let lists = match model.filter(|model| generation.model() == Some(model.id)) {
        Some(model) => lists_of(model, &manifest.schema, manifest.schema.has_second_lists(), &rows),
        None => RowLists::default(),
    };
    if let Some(block) = rows.finish() {
        generation.push(block.number(next_row, seq), &lists);
    }
    let mut killed: Vec<u64> = batch.kills().collect();
    killed.sort_unstable();
    let kills = generation.kills();
    let twice = killed.windows(2).any(|pair| matches!(pair, [a, b] if a == b));
    if twice || killed.last().is_some_and(|row| *row >= next_row) || killed.iter().any(|row| kills.contains(*row)) {
        return Err(damaged("kills rows that are dead or were never written"));
    }
    generation.kill(killed.clone());
    Ok(killed)
}
