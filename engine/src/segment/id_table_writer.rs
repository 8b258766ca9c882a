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

/// Sorts `entries` and writes them into one id table, syncs it, opens it again and checks every byte. The name is durable only
/// after a `sync_dir` by the caller.
///
/// # Errors
/// `InvalidArgument` if there are no entries, too many, equal ones, or rows of too many pages; otherwise what the storage says. A
/// file that was begun is removed, as far as possible.
pub(crate) fn write_id_table(
    storage: &dyn Storage,
    id: FileId,
    collection: u128,
    origin: u128,
    kind: IdKind,
    entries: &mut [IdEntry],
    min_seq: u64,
    max_seq: u64,
) -> Result<FileFacts> {
    entries.sort_unstable();
    let pages = pages_of(entries)?;
    let name = FileName::File(FileKind::IdTable, id);
    let writer = FileWriter::create(storage, name, ContainerKind::IdTable, collection)?;
    let rows = || entries.iter().map(|entry| entry.row);
    let footer = FooterFacts {
        rows: entries.len() as u64,
        first_row: rows().min().unwrap_or(0),
        last_row: rows().max().unwrap_or(0),
        min_seq,
        max_seq,
        origin,
        parameters: parameters(kind),
    };
    settle(storage, name, write(writer, entries, &pages, &footer), |facts| {
        let table = IdTable::open(storage, id, collection, origin, kind, facts)?;
        let mut first = None;
        table.verify(&mut |error| {
            first.get_or_insert(error);
        });
        first.map_or(Ok(()), Err)
    })
}

/// The pages of all rows, ascending: their order is the order of local pages, so entries of one key ascend by row.
fn pages_of(entries: &[IdEntry]) -> Result<Vec<PageName>> {
    if entries.is_empty() || entries.len() as u64 > MAX_ROWS {
        return Err(Error::argument("entries", format!("are {}; an id table has 1..={MAX_ROWS}", entries.len())));
    }
    if entries.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err(Error::argument("entries", "name one row twice under one key"));
    }
    let mut pages = BTreeSet::new();
    let mut last = None;
    for entry in entries {
        let page = entry.row >> PAGE_SHIFT;
        if last.replace(page) != Some(page) {
            pages.insert(page);
        }
    }
    if pages.len() as u64 > MAX_PAGES {
        return Err(Error::argument("entries", format!("have rows of {} pages; use at most {MAX_PAGES}", pages.len())));
    }
    let name = |page: u64| PageName { page: page.into(), origin_index: 0.into(), reserved: 0.into() };
    Ok(pages.into_iter().map(name).collect())
}

fn write(
    mut file: FileWriter,
    entries: &[IdEntry],
    pages: &[PageName],
    footer: &FooterFacts,
) -> Result<(FileFacts, Arc<dyn StorageFile>)> {
    let count = entries.len() as u64;
    let per_unit = UnitShape::fixed(size_of::<KeyEntry>(), count).map_or(1, |shape| shape.per_unit() as usize);
    let fences: Vec<U64> = entries.iter().step_by(per_unit).map(|entry| entry.key.into()).collect();
    file.whole(SectionKind::ID_PAGES, size_of::<PageName>(), pages.as_bytes())?;
    file.whole(SectionKind::ID_FENCES, 8, fences.as_bytes())?;
    let filter = file.units(SectionKind::ID_FILTER, FILTER_BLOCK_BYTES, filter_blocks(count))?;
    let body = file.units(SectionKind::ID_ENTRIES, size_of::<KeyEntry>(), count)?;
    file.extend()?;
    write_filter(filter, file.file_seed(), entries)?;
    write_entries(body, file.file_seed(), entries, pages)?;
    file.finish(footer)
}

fn write_filter(mut section: SectionWriter, file_seed: u32, entries: &[IdEntry]) -> Result<()> {
    let mut units = UnitEncoder::fixed(file_seed, section.offset(), FILTER_BLOCK_BYTES);
    let mut filter = FilterEncoder::new(entries.len() as u64);
    let mut put = |block: &[u8]| {
        units.push(block, section.buffer());
        section.spill()
    };
    for entry in entries {
        filter.push(entry.key, &mut put)?;
    }
    filter.finish(&mut put)?;
    units.finish(section.buffer());
    section.finish()
}

fn write_entries(mut section: SectionWriter, file_seed: u32, entries: &[IdEntry], pages: &[PageName]) -> Result<()> {
    let mut units = UnitEncoder::fixed(file_seed, section.offset(), size_of::<KeyEntry>());
    for entry in entries {
        let page = entry.row >> PAGE_SHIFT;
        let local = pages.partition_point(|name| name.page.get() < page) as u32;
        let row_word = local << PAGE_SHIFT | (entry.row & (PAGE_ROWS - 1)) as u32;
        let on_disk = KeyEntry { key: entry.key.into(), row_word: row_word.into() };
        units.push(on_disk.as_bytes(), section.buffer());
        section.spill()?;
    }
    units.finish(section.buffer());
    section.finish()
}
