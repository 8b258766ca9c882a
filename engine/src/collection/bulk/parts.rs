//! Rows on their way into files that no manifest names yet.
//!
//! Rows gather in memory up to the size of a part; a part is written as a row file and an id table, as a flush would. Once
//! parts fill a file of the largest size, they are merged into one. So memory is bounded by a part and by what a merge takes,
//! the disk holds at most twice the rows, and a load of any size ends in few files.

use std::sync::Arc;

use super::overlap::forget_repeated;
use crate::budget::{Charge, Share};
use crate::collection::compact::{MOST_BYTES, MOST_ROWS, merge_memory, states_of};
use crate::collection::flush::remove_all;
use crate::collection::shared::{Shared, count};
use crate::compaction::{Control, Ids, merge, merged};
use crate::delta::{Block, BlockBuilder};
use crate::error::{Error, ErrorKind, Result};
use crate::format::id_key;
use crate::manifest::FileEntry;
use crate::metric::Element;
use crate::planted;
use crate::segment::{IdEntry, IdTable, RowFile, RowInput, RowLayout, RowSource, WrittenRows, write_id_table};
use crate::snapshot::LiveRows;
use crate::storage::{FileKind, FileName};

use super::ahead::Ahead;
use super::item::BulkItem;

/// Parts that are merged into one at the latest: each holds two files open.
const MOST_PARTS: usize = 64;
/// Memory of a row beside its bytes: norm, key and position, liveness.
const ROW_OVERHEAD: usize = 64;

/// A row file and its id table: written, synced, read back.
pub(super) struct Part {
    pub(super) rows: FileEntry,
    pub(super) ids: FileEntry,
    pub(super) live: LiveRows,
    pub(super) table: Arc<IdTable>,
}

impl Part {
    fn bytes(&self) -> u64 {
        self.rows.facts.len + self.ids.facts.len
    }

    pub(super) fn names(&self) -> [FileName; 2] {
        [FileName::File(FileKind::Row, self.rows.id), FileName::File(FileKind::IdTable, self.ids.id)]
    }
}

/// The files of a load that is not committed. Dropping it removes them, as far as possible; what stays is removed by the next
/// open.
pub(super) struct Parts<'s> {
    shared: &'s Shared,
    control: &'s Control,
    origin: u128,
    next_row: u64,
    rows: BlockBuilder,
    part_bytes: usize,
    part_rows: usize,
    /// Rows per part that were needed last time.
    expected: usize,
    /// Parts that will be merged.
    open: Vec<Part>,
    /// Files of their final size, ascending by row.
    pub(super) done: Vec<Part>,
    /// Bytes written.
    pub(super) bytes: u64,
    kept: bool,
    /// Memory of a part, and of what writes it.
    _charge: Charge,
}

impl<'s> Parts<'s> {
    /// Rows get numbers from `first_row` on.
    ///
    /// # Errors
    /// `OverBudget`.
    pub(super) fn new(shared: &'s Shared, control: &'s Control, first_row: u64) -> Result<Self> {
        let options = &shared.options;
        let mut charge = shared.budget.charge(Share::BulkLoad, 0);
        // Columns grow by doubling; sorted keys and ids come on top.
        shared.reserve(&mut charge, options.delta_bytes().saturating_mul(5) / 2 + merge_memory(0))?;
        Ok(Parts {
            _charge: charge,
            shared,
            control,
            origin: shared.view.load().version.manifest.own_origin(),
            next_row: first_row,
            rows: BlockBuilder::new(&shared.schema, shared.collection),
            part_bytes: usize::try_from(options.delta_bytes()).unwrap_or(usize::MAX),
            part_rows: usize::try_from(options.flush_rows).unwrap_or(usize::MAX).min(MOST_ROWS as usize),
            expected: 0,
            open: Vec::new(),
            done: Vec::new(),
            bytes: 0,
            kept: false,
        })
    }

    /// One past the number of the last row.
    pub(super) fn end_row(&self) -> u64 {
        self.next_row
    }

    /// Takes a row.
    pub(super) fn push(&mut self, item: &BulkItem) -> Result<()> {
        item.push_to(&mut self.rows, &self.shared.schema)?;
        let held = self.rows.data_bytes() + self.rows.len() * ROW_OVERHEAD;
        match held >= self.part_bytes || self.rows.len() >= self.part_rows {
            true => self.write_part(false).map(drop),
            false => Ok(()),
        }
    }

    /// Writes what is left. After this `done` holds everything; an id is live in at most one row of each of its files. Returns the model that the
    /// rows get, if it was trained meanwhile.
    pub(super) fn finish(&mut self) -> Result<Option<Ahead<'s>>> {
        let ahead = self.write_part(true)?;
        self.merge_open().map(|()| ahead)
    }

    /// From here on the files stay: a manifest names them, or may.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    /// Writes the rows in memory, the last ones perhaps while a model is trained on them. A crash or an error leaves orphans.
    fn write_part(&mut self, last: bool) -> Result<Option<Ahead<'s>>> {
        // What closes the collection cancels the load first: that is then why it ended.
        self.shared.check_writable().or_else(|error| self.control.check().and(Err(error)))?;
        let next = BlockBuilder::new(&self.shared.schema, self.shared.collection);
        let rows = std::mem::replace(&mut self.rows, next);
        self.expected = rows.len();
        let Some(block) = rows.finish() else { return Ok(None) };
        let block = block.number(self.next_row, 0);
        self.next_row = block.end_row();
        let source = NewestRows::new(&block, self.shared.collection, self.shared.schema.row_format().element());
        self.shared.refuse_without_room("load", block.memory_bytes() as u64)?;
        let all = last && self.open.is_empty() && self.done.is_empty();
        let (written, ahead) = match Ahead::lists(self.shared, source.len()).filter(|_| all) {
            Some(lists) => self.write_and_train(&source, lists),
            None => (self.write(&source), None),
        };
        // Gone before the rows are read back, so that they are never in memory twice.
        let entries = source.id_entries(self.shared.collection);
        drop(source);
        drop(block);
        let part = self.settle(written?, entries)?;
        let ahead = ahead.map(|ahead| ahead.of(part.rows.id));
        self.bytes += part.bytes();
        self.open.push(part);
        if last {
            return Ok(ahead);
        }
        self.rows.reserve(self.expected);
        let (bytes, rows) = self.open.iter().fold((0, 0), |(b, r), part| (b + part.bytes(), r + part.live.live()));
        // Another part like this one would make the file too large.
        let full =
            bytes + bytes / self.open.len() as u64 > MOST_BYTES || rows + rows / self.open.len() as u64 > MOST_ROWS;
        match full || self.open.len() >= MOST_PARTS {
            true => self.merge_open().map(|()| None),
            false => Ok(None),
        }
    }

    /// Writes rows and trains on them, both at once.
    fn write_and_train(&self, source: &NewestRows<'_>, lists: usize) -> (Result<WrittenRows>, Option<Ahead<'s>>) {
        std::thread::scope(|scope| {
            let write = planted::carrying(|| self.write(source));
            let Ok(writing) = std::thread::Builder::new().name("stratavec-rows".into()).spawn_scoped(scope, write)
            else {
                return (self.write(source), None);
            };
            let ahead = Ahead::train(self.shared, source, self.origin, lists, self.control);
            let ended = |_| Err(Error::new(ErrorKind::Io, "the thread that wrote rows ended unexpectedly"));
            (writing.join().unwrap_or_else(ended), ahead)
        })
    }

    /// Writes and syncs a row file.
    fn write(&self, source: &NewestRows<'_>) -> Result<WrittenRows> {
        let layout = RowLayout::from(&*self.shared.schema);
        let id = self.shared.new_file_id();
        WrittenRows::write(&*self.shared.storage, id, self.shared.collection, self.origin, &layout, source)
    }

    /// Reads a row file back and writes the table of its ids.
    fn settle(&self, written: WrittenRows, mut entries: Vec<IdEntry>) -> Result<Part> {
        let (storage, schema, collection) = (&*self.shared.storage, &self.shared.schema, self.shared.collection);
        let file = written.settle(storage, collection, self.origin)?;
        let (row_id, facts) = (file.id_of_file(), file.facts());
        let undo = |error: Error| {
            remove_all(storage, &[FileName::File(FileKind::Row, row_id)]);
            error
        };
        let (kind, table_id) = (schema.id_kind(), self.shared.new_file_id());
        let table =
            write_id_table(storage, table_id, collection, self.origin, kind, &mut entries, 0, 0).map_err(undo)?;
        let table_facts = table.facts();
        Ok(Part {
            rows: FileEntry::of_rows(row_id, facts, file.element()),
            ids: FileEntry::new(table_id, table_facts),
            live: LiveRows::new(Arc::new(file)),
            table: Arc::new(table),
        })
    }

    /// Merges the open parts into one, without the rows that a later one of them replaces.
    fn merge_open(&mut self) -> Result<()> {
        if self.open.len() < 2 {
            self.done.append(&mut self.open);
            return Ok(());
        }
        self.control.check()?;
        let rows = merged(&states_of(&self.shared.schema, self.open.iter().map(|part| &part.live))).bytes;
        let ids: u64 = self.open.iter().map(|part| part.ids.facts.len).sum();
        self.shared.refuse_without_room("load", rows + ids)?;
        let lives = forget_repeated(&self.open, self.shared.schema.id_kind())?;
        let tables: Vec<Arc<IdTable>> = self.open.iter().map(|part| part.table.clone()).collect();
        let ids = (self.shared.collection, self.origin);
        let merged = merge(
            &*self.shared.storage,
            &self.shared.schema,
            ids,
            &lives,
            Ids::Tables(&tables),
            &|| self.shared.new_file_id(),
            self.control,
        )?;
        self.bytes += merged.bytes;
        let inputs = std::mem::take(&mut self.open);
        if let (Some((rows, live)), Some((ids, table))) = (merged.rows, merged.ids) {
            self.done.push(Part { rows, ids, live, table });
        }
        drop((lives, tables));
        let names: Vec<FileName> = inputs.iter().flat_map(Part::names).collect();
        drop(inputs);
        count(&self.shared.counters.orphans_left, remove_all(&*self.shared.storage, &names));
        Ok(())
    }

    /// The manifest's entries of the files, opened anew with the sequence number that it gives them.
    pub(super) fn with_seq(&self, seq: u64) -> Result<Vec<Part>> {
        let (storage, schema, collection) = (&*self.shared.storage, &self.shared.schema, self.shared.collection);
        let open = |part: &Part| {
            let (mut rows, mut ids) = (part.rows, part.ids);
            let layout = RowLayout::of(schema, rows.element);
            for facts in [&mut rows.facts, &mut ids.facts] {
                (facts.min_seq, facts.max_seq) = (seq, seq);
            }
            let file = RowFile::open(storage, rows.id, collection, self.origin, &layout, &rows.facts)?;
            let table = IdTable::open(storage, ids.id, collection, self.origin, schema.id_kind(), &ids.facts)?;
            Ok(Part { rows, ids, live: LiveRows::new(Arc::new(file)), table: Arc::new(table) })
        };
        self.done.iter().map(open).collect()
    }
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        // After a failed sync nothing is removed: the next open does.
        if !self.kept && self.shared.poison_cause().is_none() {
            let names: Vec<FileName> = self.open.iter().chain(&self.done).flat_map(Part::names).collect();
            remove_all(&*self.shared.storage, &names);
        }
    }
}

/// The rows of a block, of each id the last.
pub(super) struct NewestRows<'b> {
    pub(super) block: &'b Block,
    pub(super) places: Vec<u32>,
    element: Element,
}

impl<'b> NewestRows<'b> {
    fn new(block: &'b Block, collection: u128, element: Element) -> Self {
        let newest = |i: &u32| {
            let id = block.id(*i as usize);
            block.find(id_key(id, collection), id) == Some(*i as usize)
        };
        NewestRows { block, places: (0..block.len() as u32).filter(newest).collect(), element }
    }

    fn id_entries(&self, collection: u128) -> Vec<IdEntry> {
        let entry = |i: &u32| IdEntry {
            key: id_key(self.block.id(*i as usize), collection),
            row: self.block.first_row() + u64::from(*i),
        };
        self.places.iter().map(entry).collect()
    }
}

impl RowSource for NewestRows<'_> {
    fn len(&self) -> usize {
        self.places.len()
    }

    fn visit(&self, i: usize, take: &mut dyn FnMut(RowInput<'_>) -> Result<()>) -> Result<()> {
        let at = self.places[i] as usize;
        take(RowInput {
            row: self.block.first_row() + at as u64,
            seq: self.block.seq(at),
            id: self.block.id(at),
            vector: self.block.vector(at),
            element: self.element,
            norm: self.block.norm(at),
            attributes: self.block.attributes(at),
            payload: self.block.payload(at),
        })
    }
}
