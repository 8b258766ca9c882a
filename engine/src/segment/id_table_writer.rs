//! Writing id tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

use super::file_writer::{FileWriter, SectionWriter, settle};
use super::id_filter::{FILTER_BLOCK_BYTES, FilterEncoder, filter_blocks};
use super::id_table::{IdEntry, IdTable, KeyEntry, MAX_PAGES, PageName, parameters};
use super::layout::{MAX_ROWS, PAGE_ROWS, PAGE_SHIFT};
use crate::error::{Error, Result};
use crate::format::container::FooterFacts;
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::unit::UnitShape;
use crate::format::unit_encoder::UnitEncoder;
use crate::id::IdKind;
use crate::storage::{FileId, FileKind, FileName, Storage, StorageFile};

/// Where the entries of a new id table come from. Read twice; both times it must give the same.
pub(crate) trait IdSource {
    /// Hands out all entries, ascending by key, then by row.
    ///
    /// # Errors
    /// Of the source, or of `take`.
    fn for_each(&self, take: &mut dyn FnMut(IdEntry) -> Result<()>) -> Result<()>;
}

impl IdSource for &[IdEntry] {
    fn for_each(&self, take: &mut dyn FnMut(IdEntry) -> Result<()>) -> Result<()> {
        self.iter().try_for_each(|entry| take(*entry))
    }
}

/// Sorts `entries` and writes them into one id table: see [`write_sorted_ids`].
///
/// # Errors
/// As [`write_sorted_ids`].
pub(crate) fn write_id_table(
    storage: &dyn Storage,
    id: FileId,
    collection: u128,
    origin: u128,
    kind: IdKind,
    entries: &mut [IdEntry],
    min_seq: u64,
    max_seq: u64,
) -> Result<IdTable> {
    entries.sort_unstable();
    write_sorted_ids(storage, id, collection, origin, kind, &&*entries, min_seq, max_seq)
}

/// Writes entries into one id table, syncs it, opens it again and checks every byte: the table that it returns is proven, and its pages
/// are in the map. The name is durable only after a `sync_dir` by the caller. Memory: about half a mebibyte, and 8 bytes for each unit of entries and some 50 for each page of rows.
///
/// # Errors
/// `InvalidArgument` if there are no entries, too many, equal or unsorted ones, or rows of too many pages; otherwise what the source
/// or the storage says. A file that was begun is removed, as far as possible.
pub(crate) fn write_sorted_ids(
    storage: &dyn Storage,
    id: FileId,
    collection: u128,
    origin: u128,
    kind: IdKind,
    entries: &dyn IdSource,
    min_seq: u64,
    max_seq: u64,
) -> Result<IdTable> {
    let plan = Plan::count(entries)?;
    let name = FileName::File(FileKind::IdTable, id);
    let writer = FileWriter::create(storage, name, ContainerKind::IdTable, collection)?;
    let footer = FooterFacts {
        rows: plan.entries,
        first_row: plan.first_row,
        last_row: plan.last_row,
        min_seq,
        max_seq,
        origin,
        parameters: parameters(kind),
    };
    settle(storage, name, write(writer, entries, &plan, &footer), |facts| {
        let table = IdTable::open(storage, id, collection, origin, kind, facts)?;
        table.prove_all()?;
        Ok(table)
    })
}

/// What the first pass finds out.
struct Plan {
    entries: u64,
    first_row: u64,
    last_row: u64,
    /// First key of each unit.
    fences: Vec<U64>,
    /// The pages of all rows, ascending: their order is the order of local pages, so entries of one key ascend by row.
    pages: Vec<PageName>,
}

impl Plan {
    fn count(entries: &dyn IdSource) -> Result<Plan> {
        let per_unit = UnitShape::fixed(size_of::<KeyEntry>(), 1).map_or(1, |shape| shape.per_unit());
        let mut plan = Plan { entries: 0, first_row: u64::MAX, last_row: 0, fences: Vec::new(), pages: Vec::new() };
        let mut pages = BTreeSet::new();
        let (mut last, mut last_page) = (None, None);
        entries.for_each(&mut |entry| {
            if last.replace(entry).is_some_and(|last| last >= entry) {
                return Err(Error::argument("entries", "name one row twice under one key, or are not sorted"));
            }
            if plan.entries.is_multiple_of(per_unit) {
                plan.fences.push(entry.key.into());
            }
            plan.entries += 1;
            (plan.first_row, plan.last_row) = (plan.first_row.min(entry.row), plan.last_row.max(entry.row));
            let page = entry.row >> PAGE_SHIFT;
            if last_page.replace(page) != Some(page) {
                pages.insert(page);
            }
            Ok(())
        })?;
        if !(1..=MAX_ROWS).contains(&plan.entries) {
            return Err(Error::argument("entries", format!("are {}; an id table has 1..={MAX_ROWS}", plan.entries)));
        }
        if pages.len() as u64 > MAX_PAGES {
            let found = pages.len();
            return Err(Error::argument("entries", format!("have rows of {found} pages; use at most {MAX_PAGES}")));
        }
        let name = |page: u64| PageName { page: page.into(), origin_index: 0.into(), reserved: 0.into() };
        plan.pages = pages.into_iter().map(name).collect();
        Ok(plan)
    }

    fn row_word(&self, row: u64) -> u32 {
        let page = row >> PAGE_SHIFT;
        let local = self.pages.partition_point(|name| name.page.get() < page) as u32;
        local << PAGE_SHIFT | (row & (PAGE_ROWS - 1)) as u32
    }
}

/// Filter and entries are filled side by side.
fn write(
    mut file: FileWriter,
    entries: &dyn IdSource,
    plan: &Plan,
    footer: &FooterFacts,
) -> Result<(FileFacts, Arc<dyn StorageFile>)> {
    file.whole(SectionKind::ID_PAGES, size_of::<PageName>(), plan.pages.as_bytes())?;
    file.whole(SectionKind::ID_FENCES, 8, plan.fences.as_bytes())?;
    let filter = file.units(SectionKind::ID_FILTER, FILTER_BLOCK_BYTES, filter_blocks(plan.entries))?;
    let body = file.units(SectionKind::ID_ENTRIES, size_of::<KeyEntry>(), plan.entries)?;
    file.extend()?;
    let mut filter = Units::new(filter, file.file_seed(), FILTER_BLOCK_BYTES);
    let mut body = Units::new(body, file.file_seed(), size_of::<KeyEntry>());
    let mut bits = FilterEncoder::new(plan.entries);
    entries.for_each(&mut |entry| {
        bits.push(entry.key, |block| filter.push(block))?;
        body.push(KeyEntry { key: entry.key.into(), row_word: plan.row_word(entry.row).into() }.as_bytes())
    })?;
    bits.finish(|block| filter.push(block))?;
    filter.finish()?;
    body.finish()?;
    file.finish(footer)
}

/// A section that is a unit stream.
struct Units(SectionWriter, UnitEncoder);

impl Units {
    fn new(section: SectionWriter, file_seed: u32, width: usize) -> Self {
        let encoder = UnitEncoder::fixed(file_seed, section.offset(), width);
        Units(section, encoder)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.1.push(bytes, self.0.buffer());
        self.0.spill()
    }

    fn finish(mut self) -> Result<()> {
        self.1.finish(self.0.buffer());
        self.0.finish()
    }
}
