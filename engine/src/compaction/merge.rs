//! Merging row files and their id tables into one of each, without the rows that are dead.

use std::sync::Arc;

use super::control::Control;
use crate::error::{Error, Result};
use crate::format::id_key;
use crate::id::IdKind;
use crate::manifest::FileEntry;
use crate::options::Schema;
use crate::segment::{IdEntry, IdTable, RowFile, RowInput, RowLayout, RowSource, write_id_table, write_row_file};
use crate::snapshot::{LiveRows, Source};
use crate::storage::{FileId, FileKind, FileName, Storage};

/// What a merge made: files that are written, synced and read back, and that no manifest names yet.
pub(crate) struct Merged {
    /// The rows that were live, `None` if none was.
    pub(crate) rows: Option<(FileEntry, LiveRows)>,
    /// Their ids.
    pub(crate) ids: Option<(FileEntry, Arc<IdTable>)>,
    /// Bytes written.
    pub(crate) bytes: u64,
}

impl Merged {
    /// The names of the files made.
    pub(crate) fn names(&self) -> Vec<FileName> {
        let rows = self.rows.iter().map(|(entry, _)| FileName::File(FileKind::Row, entry.id));
        let ids = self.ids.iter().map(|(entry, _)| FileName::File(FileKind::IdTable, entry.id));
        rows.chain(ids).collect()
    }
}

/// Merges neighbouring row files. Memory: 8 bytes for each live row, then 16, and about two mebibytes.
///
/// # Errors
/// `Cancelled`; `Corrupt` if an input fails a checksum; `NoSpace`; `Io`. What was made is removed, as far as possible.
pub(crate) fn merge(
    storage: &dyn Storage,
    schema: &Schema,
    (collection, origin): (u128, u128),
    inputs: &[LiveRows],
    new_id: &dyn Fn() -> FileId,
    control: &Control,
) -> Result<Merged> {
    let live = LiveRowsOf::new(inputs, schema, control);
    if live.len() == 0 {
        return Ok(Merged { rows: None, ids: None, bytes: 0 });
    }
    // The writer reads its rows twice, the id table once.
    control.expect(live.len() as u64 * 3);
    let layout = RowLayout::from(schema);
    let row_id = new_id();
    let facts = write_row_file(storage, row_id, collection, origin, &layout, &live)?;
    let undo = |error: Error| {
        let _ = storage.remove(FileName::File(FileKind::Row, row_id));
        error
    };
    let file = RowFile::open(storage, row_id, collection, origin, &layout, &facts).map_err(undo)?;
    let mut entries = live.id_entries(collection).map_err(undo)?;
    let (kind, ids_id) = (schema.id_kind(), new_id());
    let id_facts =
        write_id_table(storage, ids_id, collection, origin, kind, &mut entries, facts.min_seq, facts.max_seq)
            .map_err(undo)?;
    let table = IdTable::open(storage, ids_id, collection, origin, kind, &id_facts).map_err(undo)?;
    Ok(Merged {
        rows: Some((FileEntry { id: row_id, facts }, LiveRows::new(Arc::new(file)))),
        ids: Some((FileEntry { id: ids_id, facts: id_facts }, Arc::new(table))),
        bytes: facts.len + id_facts.len,
    })
}

/// The live rows of neighbouring files, in row order.
struct LiveRowsOf<'m> {
    inputs: &'m [LiveRows],
    /// Input and ordinal.
    places: Vec<(u32, u32)>,
    schema: &'m Schema,
    control: &'m Control,
}

impl<'m> LiveRowsOf<'m> {
    fn new(inputs: &'m [LiveRows], schema: &'m Schema, control: &'m Control) -> Self {
        let live = inputs.iter().map(|rows| rows.live() as usize).sum();
        let mut places = Vec::with_capacity(live);
        for (input, rows) in (0u32..).zip(inputs) {
            for word in 0..rows.file.len().div_ceil(64) {
                let mut bits = rows.live_word(word);
                while bits != 0 {
                    places.push((input, (word * 64) as u32 + bits.trailing_zeros()));
                    bits &= bits - 1;
                }
            }
        }
        LiveRowsOf { inputs, places, schema, control }
    }

    fn id_entries(&self, collection: u128) -> Result<Vec<IdEntry>> {
        let mut entries = Vec::with_capacity(self.places.len());
        for (input, ordinal) in &self.places {
            self.control.step()?;
            let (source, at) = (Source::File(&self.inputs[*input as usize]), *ordinal as usize);
            if self.schema.id_kind() == IdKind::U64 {
                source.vectors(at..at + 1)?;
            }
            let id = source.id(at, self.schema.id_kind())?;
            entries.push(IdEntry { key: id_key(id.as_ref(), collection), row: source.row_number(at)? });
        }
        Ok(entries)
    }
}

impl RowSource for LiveRowsOf<'_> {
    fn len(&self) -> usize {
        self.places.len()
    }

    fn visit(&self, i: usize, take: &mut dyn FnMut(RowInput<'_>) -> Result<()>) -> Result<()> {
        self.control.step()?;
        let (input, ordinal) = self.places[i];
        let (source, at) = (Source::File(&self.inputs[input as usize]), ordinal as usize);
        let vector = source.vector(at, self.schema)?;
        let id = source.id(at, self.schema.id_kind())?;
        let (attributes, payload) = (source.attributes(at)?, source.payload(at)?);
        take(RowInput {
            row: source.row_number(at)?,
            seq: source.seq(at)?,
            id: id.as_ref(),
            vector,
            norm: source.norm(at),
            attributes: &attributes,
            payload: &payload,
        })
    }
}
