//! An open tombstone file: which rows died in an interval of sequence numbers.

use std::sync::Arc;

use zerocopy::little_endian::{U32, U64};

use super::layout::{PAGE_ROWS, PAGE_SHIFT};
use super::mapped_file::MappedFile;
use super::unit_section::UnitSection;
use crate::error::{Error, Result};
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::layout::layout;
use crate::format::section::{Scheme, Section};
use crate::format::unit::read_u64;
use crate::storage::{Bytes, FileId, Storage};

layout! {
    /// One page with dead rows. Fewer than 256: `place` is the first of `dead_count` positions in the arrays; else it is the number
    /// of the page's bitmap.
    pub(super) struct DeadPage: 16 {
        page: U64,
        dead_count: U32,
        place: U32,
    }
}

/// Dead rows of a page from which on a bitmap takes no more bytes than an array.
pub(super) const BITMAP_FROM: u64 = 256;
/// Bytes of the bitmap of a page.
pub(super) const BITMAP_BYTES: usize = (PAGE_ROWS / 8) as usize;
/// Bytes of one position in an array.
pub(super) const POSITION_BYTES: usize = 2;
/// Largest page number.
const MAX_PAGE: u64 = u64::MAX >> PAGE_SHIFT;

/// Dead rows by page.
pub(crate) struct TombstoneFile {
    file: Arc<MappedFile>,
    pages: Section,
    arrays: Option<UnitSection>,
    bitmaps: Option<UnitSection>,
}

impl TombstoneFile {
    /// Maps the file and proves that it is the one `facts` states: header, footer, page directory.
    ///
    /// # Errors
    /// `Corrupt`, `UnsupportedVersion` or `Io`.
    pub(crate) fn open(
        storage: &dyn Storage,
        id: FileId,
        collection: u128,
        origin: u128,
        facts: &FileFacts,
    ) -> Result<TombstoneFile> {
        let known = [SectionKind::DEAD_PAGES, SectionKind::DEAD_ARRAYS, SectionKind::DEAD_BITMAPS];
        let file = MappedFile::open(storage, ContainerKind::Tombstones, id, collection, origin, facts, &known)?;
        let footer = *file.container().footer();
        if footer.parameters != [0; 4] || footer.min_seq > footer.max_seq {
            return Err(file
                .container()
                .corrupt_footer("it has parameters, or an interval that ends before it starts"));
        }
        let pages = file
            .section(SectionKind::DEAD_PAGES, Scheme::Whole, size_of::<DeadPage>())?
            .ok_or_else(|| file.container().missing(SectionKind::DEAD_PAGES))?;
        file.whole(&pages)?;
        let (positions, bitmap_count) = check_pages(&file, &pages, footer.rows)?;
        let arrays = open_units(&file, SectionKind::DEAD_ARRAYS, POSITION_BYTES, positions)?;
        let bitmaps = open_units(&file, SectionKind::DEAD_BITMAPS, BITMAP_BYTES, bitmap_count)?;
        Ok(TombstoneFile { file, pages, arrays, bitmaps })
    }

    /// Number of dead rows, at least one.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.file.container().footer().rows
    }

    /// Bytes of the file.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.file.container().facts().len
    }

    /// The rows died after the first of these sequence numbers and up to the second.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn interval(&self) -> (u64, u64) {
        let footer = self.file.container().footer();
        (footer.min_seq, footer.max_seq)
    }

    /// Whether this file says that a row is dead.
    ///
    /// # Errors
    /// `Corrupt`.
    #[cfg(test)]
    pub(crate) fn contains(&self, row: u64) -> Result<bool> {
        let pages = self.entries();
        let index = pages.partition_point(|entry| entry.page.get() < row >> PAGE_SHIFT);
        let Some(entry) = pages.get(index).filter(|entry| entry.page.get() == row >> PAGE_SHIFT) else {
            return Ok(false);
        };
        let at = row & (PAGE_ROWS - 1);
        if u64::from(entry.dead_count.get()) >= BITMAP_FROM {
            let word = self.bitmap(entry)?.chunks_exact(8).nth((at / 64) as usize).map_or(0, read_u64);
            return Ok(word >> (at % 64) & 1 == 1);
        }
        let (mut low, mut high) = (0, u64::from(entry.dead_count.get()));
        while low < high {
            let middle = low + (high - low) / 2;
            match self.position(entry, middle)?.cmp(&at) {
                std::cmp::Ordering::Equal => return Ok(true),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(false)
    }

    /// Visits every dead row, ascending.
    ///
    /// # Errors
    /// `Corrupt`; rows visited before stand.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(u64)) -> Result<()> {
        self.entries().iter().try_for_each(|entry| self.for_each_of(entry, &mut visit))
    }

    fn for_each_of(&self, entry: &DeadPage, visit: &mut impl FnMut(u64)) -> Result<()> {
        let base = entry.page.get() << PAGE_SHIFT;
        let count = u64::from(entry.dead_count.get());
        if count >= BITMAP_FROM {
            for (word, i) in self.bitmap(entry)?.chunks_exact(8).map(read_u64).zip(0u64..) {
                let mut left = word;
                while left != 0 {
                    visit(base | (i * 64 + u64::from(left.trailing_zeros())));
                    left &= left - 1;
                }
            }
            return Ok(());
        }
        for i in 0..count {
            visit(base | self.position(entry, i)?);
        }
        Ok(())
    }

    /// Visits every dead row that can be read, ascending, and hands out what is wrong with the pages of the others.
    pub(crate) fn for_each_readable(&self, mut visit: impl FnMut(u64), report: &mut dyn FnMut(Error)) {
        for entry in self.entries() {
            if let Err(error) = self.for_each_of(entry, &mut visit) {
                report(error);
            }
        }
    }

    fn entries(&self) -> &[DeadPage] {
        self.file.entries(&self.pages)
    }

    fn bitmap(&self, entry: &DeadPage) -> Result<Bytes<'_>> {
        match &self.bitmaps {
            Some(bitmaps) => bitmaps.entry(entry.place.get().into()),
            None => Err(self.file.container().missing(SectionKind::DEAD_BITMAPS)),
        }
    }

    /// The `i`-th dead row of a page with few.
    fn position(&self, entry: &DeadPage, i: u64) -> Result<u64> {
        let Some(arrays) = &self.arrays else { return Err(self.file.container().missing(SectionKind::DEAD_ARRAYS)) };
        let at = u64::from(entry.place.get()) + i;
        let position = arrays.entry(at)?.first_chunk::<2>().map_or(u64::MAX, |b| u16::from_le_bytes(*b).into());
        match position < PAGE_ROWS {
            true => Ok(position),
            false => Err(arrays.corrupt(at, format!("position {position} is outside a page"))),
        }
    }

    /// Checks every byte against its checksum, again, at a pace.
    ///
    /// # Errors
    /// What `pace` says.
    pub(crate) fn scrub(&self, pace: &mut dyn FnMut(u64) -> Result<()>, report: &mut dyn FnMut(Error)) -> Result<()> {
        self.file.verify_bytes_at(pace, report)
    }

    /// Checks every byte and every rule of the file; reports all findings. If bytes fail their checksums, the rules about their
    /// meaning are not looked at.
    pub(crate) fn verify(&self, report: &mut dyn FnMut(Error)) {
        let mut damaged = false;
        self.file.verify_bytes(&mut |error| {
            damaged = true;
            report(error);
        });
        if damaged {
            return;
        }
        for entry in self.entries().iter().filter(|entry| u64::from(entry.dead_count.get()) >= BITMAP_FROM) {
            match self.bitmap(entry) {
                Ok(bitmap) if bitmap.iter().map(|b| b.count_ones()).sum::<u32>() == entry.dead_count.get() => {}
                Ok(_) => report(
                    self.file.container().corrupt_section(&self.pages, "a bitmap and its page differ in their count"),
                ),
                Err(error) => report(error),
            }
        }
        let (mut first, mut last, mut ascending) = (None, None, true);
        let walked = self.for_each(|row| {
            ascending &= last.is_none_or(|last| last < row);
            first.get_or_insert(row);
            last = Some(row);
        });
        let footer = self.file.container().footer();
        if let Err(error) = walked {
            report(error);
        } else if !ascending || (first, last) != (Some(footer.first_row), Some(footer.last_row)) {
            report(self.file.container().corrupt_footer("the dead rows do not ascend, or do not span what it states"));
        }
    }
}

fn open_units(file: &Arc<MappedFile>, kind: SectionKind, width: usize, entries: u64) -> Result<Option<UnitSection>> {
    match entries {
        0 => file.forbid(&[kind]).map(|()| None),
        _ => UnitSection::new(file, file.require(kind, Scheme::Units, width, entries)?).map(Some),
    }
}

/// Proves the structure of the directory; returns how many positions and how many bitmaps it names.
fn check_pages(file: &MappedFile, section: &Section, rows: u64) -> Result<(u64, u64)> {
    let (mut positions, mut bitmaps, mut total, mut next_page) = (0u64, 0u64, 0u64, 0u64);
    for (entry, i) in file.entries::<DeadPage>(section).iter().zip(0u64..) {
        let count = u64::from(entry.dead_count.get());
        let page = entry.page.get();
        let place = if count < BITMAP_FROM { positions } else { bitmaps };
        let right = page >= next_page
            && page <= MAX_PAGE
            && (1..=PAGE_ROWS).contains(&count)
            && u64::from(entry.place.get()) == place;
        if !right {
            return Err(file.container().corrupt_section(section, format!("entry {i} does not follow the one before")));
        }
        match count < BITMAP_FROM {
            true => positions += count,
            false => bitmaps += 1,
        }
        total += count;
        next_page = page + 1;
    }
    match total == rows {
        true => Ok((positions, bitmaps)),
        false => {
            Err(file.container().corrupt_section(section, format!("the pages have {total} rows, the file {rows}")))
        }
    }
}
