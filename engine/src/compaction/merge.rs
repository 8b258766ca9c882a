//! Merging row files and their id tables into one of each, without the rows that are dead.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::control::Control;
use crate::error::{Error, Result};
use crate::format::id_key;
use crate::index::stored::Stored;
use crate::manifest::FileEntry;
use crate::options::Schema;
use crate::segment::{
    IdEntry, IdSource, IdTable, RowInput, RowLayout, RowSource, write_id_table, write_row_file, write_sorted_ids,
};
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

/// Where a merge finds the ids of its rows.
#[derive(Clone, Copy)]
pub(crate) enum Ids<'a> {
    /// In the id tables of the inputs.
    Tables(&'a [Arc<IdTable>]),
    /// In the rows themselves, which takes 16 bytes of memory for each.
    Rows,
}

/// Merges neighbouring row files and their id tables, one for each. Memory: about three mebibytes with id tables, whatever the
/// number of rows. The output is in lists if all inputs are.
///
/// # Errors
/// `Cancelled`; `Corrupt` if an input fails a checksum, or a row is not in its id table; `NoSpace`; `Io`. What was made is removed,
/// as far as possible.
pub(crate) fn merge(
    storage: &dyn Storage,
    schema: &Schema,
    (collection, origin): (u128, u128),
    inputs: &[LiveRows],
    known: Ids<'_>,
    new_id: &dyn Fn() -> FileId,
    control: &Control,
) -> Result<Merged> {
    let live = LiveRowsOf::new(inputs, schema, control);
    if live.len() == 0 {
        return Ok(Merged { rows: None, ids: None, bytes: 0 });
    }
    let in_lists = inputs.iter().all(LiveRows::in_lists);
    // The writers read their rows and ids twice.
    control.expect(live.len() as u64 * 4);
    // Rows that are in lists need no vectors any more, if the collection keeps none.
    let bare = in_lists && !schema.row_format().keeps_vectors();
    let layout = RowLayout::of(schema, (!bare).then_some(schema.row_format().element()));
    let live = LiveRowsOf { bare, ..live };
    let row_id = new_id();
    let file = write_row_file(storage, row_id, collection, origin, &layout, &live)?;
    let facts = file.facts();
    let undo = |error: Error| {
        let _ = storage.remove(FileName::File(FileKind::Row, row_id));
        error
    };
    let (kind, ids_id) = (schema.id_kind(), new_id());
    let (min_seq, max_seq) = (facts.min_seq, facts.max_seq);
    let table = match known {
        Ids::Tables(tables) => {
            let ids = LiveIdsOf { rows: &live, tables };
            write_sorted_ids(storage, ids_id, collection, origin, kind, &ids, min_seq, max_seq)
        }
        Ids::Rows => live.ids(collection).and_then(|mut entries| {
            write_id_table(storage, ids_id, collection, origin, kind, &mut entries, min_seq, max_seq)
        }),
    }
    .map_err(undo)?;
    let id_facts = table.facts();
    Ok(Merged {
        rows: Some((
            FileEntry { in_lists, ..FileEntry::of_rows(row_id, facts, file.element()) },
            LiveRows::new(Arc::new(file)).with_lists(in_lists),
        )),
        ids: Some((FileEntry::new(ids_id, id_facts), Arc::new(table))),
        bytes: facts.len + id_facts.len,
    })
}

/// The live rows of neighbouring files, in row order.
struct LiveRowsOf<'m> {
    inputs: &'m [LiveRows],
    live: usize,
    cursor: Cell<Cursor>,
    schema: &'m Schema,
    control: &'m Control,
    /// Vectors are left out.
    bare: bool,
}

/// Where row `at` is: rows are read front to back, so the next is never far.
#[derive(Clone, Copy, Default)]
struct Cursor {
    at: usize,
    input: usize,
    /// The first ordinal that may hold it.
    ordinal: usize,
}

impl<'m> LiveRowsOf<'m> {
    fn new(inputs: &'m [LiveRows], schema: &'m Schema, control: &'m Control) -> Self {
        let live = inputs.iter().map(|rows| rows.live() as usize).sum();
        LiveRowsOf { inputs, live, cursor: Cell::default(), schema, control, bare: false }
    }

    /// Input and ordinal of the `i`-th live row.
    fn place(&self, i: usize) -> Option<(&'m LiveRows, usize)> {
        let mut cursor = Some(self.cursor.get()).filter(|cursor| cursor.at <= i).unwrap_or_default();
        loop {
            let rows = self.inputs.get(cursor.input)?;
            let word = rows.live_word(cursor.ordinal / 64) & u64::MAX << (cursor.ordinal % 64);
            if word == 0 {
                cursor.ordinal = (cursor.ordinal / 64 + 1) * 64;
                if cursor.ordinal >= rows.file.len() {
                    (cursor.input, cursor.ordinal) = (cursor.input + 1, 0);
                }
                continue;
            }
            let ordinal = cursor.ordinal / 64 * 64 + word.trailing_zeros() as usize;
            if cursor.at == i {
                self.cursor.set(Cursor { ordinal, ..cursor });
                return Some((rows, ordinal));
            }
            (cursor.at, cursor.ordinal) = (cursor.at + 1, ordinal + 1);
            if cursor.ordinal >= rows.file.len() {
                (cursor.input, cursor.ordinal) = (cursor.input + 1, 0);
            }
        }
    }

    /// The ids of all rows.
    fn ids(&self, collection: u128) -> Result<Vec<IdEntry>> {
        let mut entries = Vec::with_capacity(self.live);
        for i in 0..self.live {
            self.visit(i, &mut |row| {
                entries.push(IdEntry { key: id_key(row.id, collection), row: row.row });
                Ok(())
            })?;
        }
        Ok(entries)
    }

    /// Whether a row is in an input and live.
    fn is_live(&self, row: u64) -> Result<bool> {
        let input = self.inputs.partition_point(|rows| rows.file.last_row() < row);
        let Some(rows) = self.inputs.get(input) else { return Ok(false) };
        let ordinal = rows.file.ordinal(row)?;
        Ok(ordinal.is_some_and(|ordinal| rows.live_word(ordinal / 64) >> (ordinal % 64) & 1 == 1))
    }
}

/// The ids of the live rows: the tables of the inputs merged, without the rows that are dead.
struct LiveIdsOf<'m> {
    rows: &'m LiveRowsOf<'m>,
    tables: &'m [Arc<IdTable>],
}

impl IdSource for LiveIdsOf<'_> {
    fn for_each(&self, take: &mut dyn FnMut(IdEntry) -> Result<()>) -> Result<()> {
        let mut tables: Vec<_> = self.tables.iter().map(|table| table.iter()).collect();
        let mut heap = BinaryHeap::with_capacity(tables.len());
        for (i, table) in tables.iter_mut().enumerate() {
            if let Some(entry) = table.next() {
                heap.push(Reverse((entry?, i)));
            }
        }
        let mut found = 0;
        while let Some(Reverse((entry, i))) = heap.pop() {
            if let Some(next) = tables[i].next() {
                heap.push(Reverse((next?, i)));
            }
            if self.rows.is_live(entry.row)? {
                self.rows.control.step()?;
                found += 1;
                take(entry)?;
            }
        }
        match found == self.rows.live {
            true => Ok(()),
            false => {
                let what = format!("the id tables of these rows have {found} of {} live ones", self.rows.live);
                let name = self.rows.inputs.first().map_or("row file", |rows| rows.file.name());
                Err(Error::corrupt(name, "ids", 0, what))
            }
        }
    }
}

impl RowSource for LiveRowsOf<'_> {
    fn len(&self) -> usize {
        self.live
    }

    fn visit(&self, i: usize, take: &mut dyn FnMut(RowInput<'_>) -> Result<()>) -> Result<()> {
        self.control.step()?;
        let Some((rows, at)) = self.place(i) else {
            return Err(Error::argument("rows", format!("are {}; there is no row {i}", self.live)));
        };
        let source = Source::File(rows);
        rows.file.ask_ahead(at);
        let vector = match self.bare {
            true => Stored::none(),
            false => source.vector(at, self.schema)?,
        };
        let id = source.id(at)?;
        let (attributes, payload) = (source.attributes(at)?, source.payload(at)?);
        take(RowInput {
            row: source.row_number(at)?,
            seq: source.seq(at)?,
            id: id.as_ref(),
            vector: &vector.bytes,
            element: vector.element,
            norm: vector.length,
            attributes: &attributes,
            payload: &payload,
        })
    }
}
