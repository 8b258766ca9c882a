//! An open id table: from the key of an id to row numbers.

use std::sync::Arc;

use zerocopy::FromBytes;
use zerocopy::little_endian::{U32, U64};

use super::id_filter::{FILTER_BLOCK_BYTES, filter_block_has, filter_block_of, filter_blocks};
use super::layout::{MAX_ROWS, PAGE_ROWS, PAGE_SHIFT};
use super::mapped_file::MappedFile;
use super::unit_section::UnitSection;
use crate::error::{Error, Result};
use crate::format::code::Code;
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::layout::layout;
use crate::format::section::{Scheme, Section};
use crate::id::IdKind;
use crate::storage::{AccessPattern, FileId, Storage};

layout! {
    /// One id. `row_word` is the local page in the upper 20 bits and the row within it in the lower 12.
    pub(super) struct KeyEntry: 12 {
        key: U64,
        row_word: U32,
    }
}

layout! {
    /// What a local page stands for.
    pub(super) struct PageName: 16 {
        page: U64,
        origin_index: U32,
        reserved: U32,
    }
}

/// Most pages of one table: the row word of all ones is never an entry.
pub(super) const MAX_PAGES: u64 = (1 << 20) - 1;
/// Largest page number.
const MAX_PAGE: u64 = u64::MAX >> PAGE_SHIFT;

/// A key and a row that carried the id at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdEntry {
    pub(crate) key: u64,
    pub(crate) row: u64,
}

/// How a footer states the kind of ids.
pub(super) fn parameters(kind: IdKind) -> [u64; 4] {
    [kind.code().into(), 0, 0, 0]
}

/// Entries ascending by key, then by row.
pub(crate) struct IdTable {
    pub(super) file: Arc<MappedFile>,
    pub(super) pages: Section,
    pub(super) fences: Section,
    pub(super) filter: UnitSection,
    pub(super) entries: UnitSection,
}

impl IdTable {
    /// Maps the table and proves that it is the one `facts` states: header, footer, pages, fence keys. No entry is touched.
    ///
    /// # Errors
    /// `Corrupt`, `UnsupportedVersion` or `Io`.
    pub(crate) fn open(
        storage: &dyn Storage,
        id: FileId,
        collection: u128,
        origin: u128,
        kind: IdKind,
        facts: &FileFacts,
    ) -> Result<IdTable> {
        let known = [SectionKind::ID_PAGES, SectionKind::ID_FENCES, SectionKind::ID_FILTER, SectionKind::ID_ENTRIES];
        let file = MappedFile::open(storage, ContainerKind::IdTable, id, collection, origin, facts, &known)?;
        let footer = *file.container().footer();
        if footer.parameters != parameters(kind) || !(1..=MAX_ROWS).contains(&footer.rows) {
            let what = format!("it has {} entries and parameters {:?}", footer.rows, footer.parameters);
            return Err(file.container().corrupt_footer(what));
        }
        let entries = file.require(SectionKind::ID_ENTRIES, Scheme::Units, size_of::<KeyEntry>(), footer.rows)?;
        let entries = UnitSection::new(&file, entries)?;
        let blocks = filter_blocks(footer.rows);
        let filter = file.require(SectionKind::ID_FILTER, Scheme::Units, FILTER_BLOCK_BYTES, blocks)?;
        let filter = UnitSection::new(&file, filter)?;
        let fences = file.require(SectionKind::ID_FENCES, Scheme::Whole, 8, entries.units())?;
        file.whole(&fences)?;
        let pages = file
            .section(SectionKind::ID_PAGES, Scheme::Whole, size_of::<PageName>())?
            .ok_or_else(|| file.container().missing(SectionKind::ID_PAGES))?;
        file.whole(&pages)?;
        check_pages(&file, &pages)?;
        // A look-up touches two places: reading ahead would turn it into megabytes.
        file.advise(AccessPattern::Random);
        Ok(IdTable { file, pages, fences, filter, entries })
    }

    /// What a manifest states about this file.
    pub(crate) fn facts(&self) -> FileFacts {
        self.file.container().facts()
    }

    /// The file's name, for messages.
    pub(crate) fn name(&self) -> &str {
        self.file.container().name()
    }

    /// Number of entries, at least one.
    pub(crate) fn len(&self) -> u64 {
        self.entries.entries()
    }

    /// The largest row of `key` that `is_it` accepts. Rows are offered from the largest to the smallest. Touches one unit of the
    /// filter, the fence keys and one unit of entries, unless a key has so many rows that they cross units.
    ///
    /// # Errors
    /// `Corrupt`, or what `is_it` says.
    pub(crate) fn lookup(&self, key: u64, mut is_it: impl FnMut(u64) -> Result<bool>) -> Result<Option<u64>> {
        if !self.may_have(key)? {
            return Ok(None);
        }
        let fences = self.fences();
        let mut units = fences.partition_point(|fence| fence.get() <= key);
        while let Some(unit) = units.checked_sub(1) {
            let payload = self.entries.unit(unit as u64)?;
            let entries = self.key_entries(&payload, unit as u64)?;
            let end = entries.partition_point(|entry| entry.key.get() <= key);
            for entry in entries.get(..end).unwrap_or_default().iter().rev() {
                if entry.key.get() != key {
                    return Ok(None);
                }
                let row = self.row(entry.row_word.get(), unit as u64)?;
                if is_it(row)? {
                    return Ok(Some(row));
                }
            }
            // All entries up to the unit's first have this key: the unit before may end with it as well.
            units = unit;
        }
        Ok(None)
    }

    fn may_have(&self, key: u64) -> Result<bool> {
        let block = self.filter.entry(filter_block_of(key, self.filter.entries()))?;
        Ok(filter_block_has(&block, key))
    }

    pub(super) fn fences(&self) -> &[U64] {
        self.file.entries(&self.fences)
    }

    pub(super) fn page_names(&self) -> &[PageName] {
        self.file.entries(&self.pages)
    }

    /// The entries in the payload of a unit.
    pub(super) fn key_entries<'a>(&self, payload: &'a [u8], unit: u64) -> Result<&'a [KeyEntry]> {
        <[KeyEntry]>::ref_from_bytes(payload).map_err(|_| self.corrupt(unit, "the unit does not hold whole entries"))
    }

    /// The row number of a row word found in a unit.
    pub(super) fn row(&self, row_word: u32, unit: u64) -> Result<u64> {
        let local = (row_word >> PAGE_SHIFT) as usize;
        let Some(name) = self.page_names().get(local) else {
            return Err(
                self.corrupt(unit, format!("row word {row_word:#x} names page {local} of {}", self.pages.entries))
            );
        };
        Ok(name.page.get() << PAGE_SHIFT | (u64::from(row_word) & (PAGE_ROWS - 1)))
    }

    /// Says that a unit of entries is wrong.
    pub(super) fn corrupt(&self, unit: u64, what: impl Into<String>) -> Error {
        self.entries.corrupt(unit.saturating_mul(self.entries.per_unit()), what)
    }

    /// All entries, ascending by key, then by row. Ends after the first error.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<IdEntry>> + '_ {
        let mut failed = false;
        (0..self.entries.units())
            .flat_map(move |unit| {
                let mut found = Vec::new();
                let entry =
                    |entry: &KeyEntry| Ok(IdEntry { key: entry.key.get(), row: self.row(entry.row_word.get(), unit)? });
                match self.entries.unit(unit) {
                    Ok(payload) => match self.key_entries(&payload, unit) {
                        Ok(entries) => found.extend(entries.iter().map(entry)),
                        Err(error) => found.push(Err(error)),
                    },
                    Err(error) => found.push(Err(error)),
                }
                found
            })
            .take_while(move |entry| !std::mem::replace(&mut failed, entry.is_err()))
    }

    /// Bytes of memory that it holds because it is not mapped.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.file.resident_bytes()
    }

    /// Name and bytes of each section.
    pub(crate) fn sections(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.file.container().sections().iter().map(|section| (section.kind.name(), section.len))
    }
}

/// Proves that pages ascend and are of the one origin that the footer names.
fn check_pages(file: &MappedFile, section: &Section) -> Result<()> {
    let names: &[PageName] = file.entries(section);
    let ascending = names.windows(2).all(|pair| match pair {
        [a, b] => a.page.get() < b.page.get(),
        _ => true,
    });
    let valid =
        |name: &PageName| name.page.get() <= MAX_PAGE && name.origin_index.get() == 0 && name.reserved.get() == 0;
    match ascending && names.iter().all(valid) && names.len() as u64 <= MAX_PAGES {
        true => Ok(()),
        false => Err(file.container().corrupt_section(section, "the pages do not ascend, or one is out of range")),
    }
}
