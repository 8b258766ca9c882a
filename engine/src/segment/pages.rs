//! Which row numbers a row file has: per page of 4,096 numbers a dense run, or a bitmap with ranks.

use std::sync::Arc;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::layout::{PAGE_ROWS, PAGE_SHIFT};
use super::mapped_file::MappedFile;
use super::unit_section::UnitSection;
use crate::error::{Error, Result};
use crate::format::kind::SectionKind;
use crate::format::layout::layout;
use crate::format::section::{Scheme, Section};
use crate::storage::Bytes;

layout! {
    /// One page of a row file. `bitmap` is `u32::MAX` if the page is the run `first .. first + row_count`, else the number of its
    /// bitmap, and `first` is 0.
    pub(super) struct PageEntry: 24 {
        page: U64,
        first_ordinal: U32,
        row_count: U16,
        first: U16,
        bitmap: U32,
        reserved: U32,
    }
}

layout! {
    /// Presence of the rows of a page. `ranks[i]` counts the set bits before bit `512 * i`.
    pub(super) struct PageBitmap: 528 {
        ranks: [U16; 8],
        words: [U64; 64],
    }
}

/// Largest page number.
const MAX_PAGE: u64 = u64::MAX >> PAGE_SHIFT;
const DENSE: u32 = u32::MAX;

/// Cuts ascending row numbers into pages.
pub(super) struct PageCutter {
    page: u64,
    words: [u64; 64],
    count: u64,
    rows_before: u64,
    bitmaps: u32,
}

impl PageCutter {
    pub(super) fn new() -> Self {
        PageCutter { page: 0, words: [0; 64], count: 0, rows_before: 0, bitmaps: 0 }
    }

    /// Adds a row number; gives the page before if this one opens another.
    pub(super) fn push(&mut self, row: u64) -> Option<(PageEntry, Option<PageBitmap>)> {
        let page = row >> PAGE_SHIFT;
        let done = if page != self.page { self.finish() } else { None };
        self.page = page;
        let at = (row & (PAGE_ROWS - 1)) as usize;
        if let Some(word) = self.words.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
        self.count += 1;
        done
    }

    /// The page being cut, if it has rows.
    pub(super) fn finish(&mut self) -> Option<(PageEntry, Option<PageBitmap>)> {
        if self.count == 0 {
            return None;
        }
        let first = first_set(&self.words);
        let dense = first + self.count == end_of_set(&self.words);
        let entry = PageEntry {
            page: self.page.into(),
            first_ordinal: (self.rows_before as u32).into(),
            row_count: (self.count as u16).into(),
            first: if dense { (first as u16).into() } else { 0.into() },
            bitmap: if dense { DENSE.into() } else { self.bitmaps.into() },
            reserved: 0.into(),
        };
        let bitmap = (!dense).then(|| PageBitmap { ranks: ranks_of(&self.words), words: self.words.map(U64::new) });
        self.bitmaps += u32::from(!dense);
        self.rows_before += self.count;
        self.count = 0;
        self.words = [0; 64];
        Some((entry, bitmap))
    }
}

fn first_set(words: &[u64; 64]) -> u64 {
    words.iter().zip(0u64..).find(|(w, _)| **w != 0).map_or(0, |(w, i)| i * 64 + u64::from(w.trailing_zeros()))
}

fn end_of_set(words: &[u64; 64]) -> u64 {
    words
        .iter()
        .zip(0u64..)
        .filter(|(w, _)| **w != 0)
        .last()
        .map_or(0, |(w, i)| i * 64 + 64 - u64::from(w.leading_zeros()))
}

fn ranks_of(words: &[u64; 64]) -> [U16; 8] {
    let mut ranks = [U16::new(0); 8];
    let mut count = 0u32;
    for (rank, words) in ranks.iter_mut().zip(words.chunks(8)) {
        *rank = (count as u16).into();
        count += words.iter().map(|w| w.count_ones()).sum::<u32>();
    }
    ranks
}

/// The page directory of an open row file. Its structure is proven: pages ascend, ordinals follow each other without gaps, runs end
/// inside their page, bitmaps are numbered in order. Bitmaps are proven when touched.
pub(super) struct PageDirectory {
    file: Arc<MappedFile>,
    section: Section,
    /// A copy of the section, 24 bytes for 4,096 rows: searches look rows up by the dozen.
    entries: Box<[PageEntry]>,
    bitmaps: Option<UnitSection>,
    /// All rows, ascending, of a file whose pages cannot be read; then there are no entries.
    told: Box<[u64]>,
}

impl PageDirectory {
    pub(super) fn open(file: &Arc<MappedFile>, rows: u64) -> Result<PageDirectory> {
        let section = file
            .section(SectionKind::ROW_PAGES, Scheme::Whole, size_of::<PageEntry>())?
            .ok_or_else(|| file.container().missing(SectionKind::ROW_PAGES))?;
        file.whole(&section)?;
        let bitmap_count = check_entries(file, &section, rows)?;
        let width = size_of::<PageBitmap>();
        let bitmaps = match file.section(SectionKind::ROW_PAGE_BITMAPS, Scheme::Units, width)? {
            Some(bitmaps) => {
                file.check_entries(&bitmaps, bitmap_count)?;
                Some(UnitSection::new(file, bitmaps)?)
            }
            None if bitmap_count == 0 => None,
            None => return Err(file.container().missing(SectionKind::ROW_PAGE_BITMAPS)),
        };
        let entries = file.entries::<PageEntry>(&section).into();
        Ok(PageDirectory { file: file.clone(), section, entries, bitmaps, told: Box::default() })
    }

    /// The directory of a damaged file whose rows are `first..=last` without gaps.
    pub(super) fn run(file: &Arc<MappedFile>, first: u64, last: u64) -> Result<PageDirectory> {
        let entries = run_entries(first, last).into();
        Ok(PageDirectory { entries, ..PageDirectory::untold(file)? })
    }

    /// The directory of a damaged file of whose rows no number is known.
    pub(super) fn untold(file: &Arc<MappedFile>) -> Result<PageDirectory> {
        let kind = SectionKind::ROW_PAGES;
        let section = *file.container().section(kind).ok_or_else(|| file.container().missing(kind))?;
        let (entries, told) = (Box::default(), Box::default());
        Ok(PageDirectory { file: file.clone(), section, entries, bitmaps: None, told })
    }

    /// Takes the numbers of all rows, ascending, from elsewhere.
    pub(super) fn tell(&mut self, rows: Box<[u64]>) {
        (self.entries, self.bitmaps, self.told) = (Box::default(), None, rows);
    }

    /// Not hot: only files that a repair reads have told rows.
    #[cold]
    fn told_ordinal(&self, row: u64) -> Option<u64> {
        self.told.binary_search(&row).ok().map(|ordinal| ordinal as u64)
    }

    fn entries(&self) -> &[PageEntry] {
        &self.entries
    }

    /// The position of a row, if the file has it.
    #[inline]
    pub(super) fn ordinal(&self, row: u64) -> Result<Option<u64>> {
        let page = row >> PAGE_SHIFT;
        let at = row & (PAGE_ROWS - 1);
        let entries = self.entries();
        // Most files have every page of their range: then the place follows from the first one.
        let first = entries.first().map_or(0, |entry| entry.page.get());
        let guess = page.checked_sub(first).and_then(|index| entries.get(usize::try_from(index).ok()?));
        let search = || entries.get(entries.partition_point(|entry| entry.page.get() < page));
        let right = |entry: &&PageEntry| entry.page.get() == page;
        let Some(entry) = guess.filter(right).or_else(|| search().filter(right)) else {
            return Ok(self.told_ordinal(row));
        };
        let first_ordinal = u64::from(entry.first_ordinal.get());
        if entry.bitmap.get() == DENSE {
            let inside = at.checked_sub(entry.first.get().into()).filter(|i| *i < entry.row_count.get().into());
            return Ok(inside.map(|i| first_ordinal + i));
        }
        self.ordinal_by_bitmap(entry, at)
    }

    fn ordinal_by_bitmap(&self, entry: &PageEntry, at: u64) -> Result<Option<u64>> {
        let first_ordinal = u64::from(entry.first_ordinal.get());
        let bytes = self.bitmap_bytes(entry)?;
        let bitmap = self.bitmap(&bytes, entry)?;
        let word_at = (at / 64) as usize;
        let word = bitmap.words.get(word_at).map_or(0, |w| w.get());
        if word >> (at % 64) & 1 == 0 {
            return Ok(None);
        }
        let chunk = word_at / 8;
        let before = bitmap.words.get(chunk * 8..word_at).unwrap_or_default();
        let in_chunk: u32 = before.iter().map(|w| w.get().count_ones()).sum();
        let in_word = (word & ((1 << (at % 64)) - 1)).count_ones();
        let rank = bitmap.ranks.get(chunk).map_or(0, |r| u64::from(r.get())) + u64::from(in_chunk + in_word);
        match rank < entry.row_count.get().into() {
            true => Ok(Some(first_ordinal + rank)),
            false => Err(self.corrupt(entry, "the bitmap has more rows than the page")),
        }
    }

    /// The row at a position.
    pub(super) fn row_number(&self, ordinal: u64) -> Result<u64> {
        let entries = self.entries();
        let behind = entries.partition_point(|entry| u64::from(entry.first_ordinal.get()) <= ordinal);
        let entry = behind.checked_sub(1).and_then(|index| entries.get(index));
        let within = |entry: &&PageEntry| ordinal - u64::from(entry.first_ordinal.get()) < entry.row_count.get().into();
        let Some(entry) = entry.filter(within) else {
            if let Some(row) = usize::try_from(ordinal).ok().and_then(|ordinal| self.told.get(ordinal)) {
                return Ok(*row);
            }
            let what = format!("row {ordinal} of the file was asked for");
            return Err(self.file.container().corrupt_section(&self.section, what));
        };
        let rank = ordinal - u64::from(entry.first_ordinal.get());
        let base = entry.page.get() << PAGE_SHIFT;
        if entry.bitmap.get() == DENSE {
            return Ok(base | (u64::from(entry.first.get()) + rank));
        }
        let bytes = self.bitmap_bytes(entry)?;
        let bitmap = self.bitmap(&bytes, entry)?;
        let at = select(bitmap, rank).ok_or_else(|| self.corrupt(entry, "the bitmap has fewer rows than the page"))?;
        Ok(base | at)
    }

    fn bitmap_bytes(&self, entry: &PageEntry) -> Result<Bytes<'_>> {
        match &self.bitmaps {
            Some(bitmaps) => bitmaps.entry(entry.bitmap.get().into()),
            None => Ok(Bytes::default()),
        }
    }

    fn bitmap<'a>(&self, bytes: &'a [u8], entry: &PageEntry) -> Result<&'a PageBitmap> {
        zerocopy::FromBytes::ref_from_bytes(bytes).map_err(|_| self.corrupt(entry, "the page has no bitmap"))
    }

    fn corrupt(&self, entry: &PageEntry, what: &str) -> Error {
        match &self.bitmaps {
            Some(bitmaps) => bitmaps.corrupt(entry.bitmap.get().into(), what),
            None => self.file.container().corrupt_section(&self.section, what),
        }
    }

    /// As [`UnitSection::set_proven`].
    pub(super) fn set_proven(&self) {
        self.bitmaps.iter().for_each(UnitSection::set_proven);
    }

    /// Checks the bitmaps against the directory, and both ends against the footer.
    pub(super) fn verify(&self, report: &mut dyn FnMut(Error)) {
        for entry in self.entries().iter().filter(|entry| entry.bitmap.get() != DENSE) {
            let bytes = self.bitmap_bytes(entry);
            match bytes.as_ref().map_err(Clone::clone).and_then(|bytes| self.bitmap(bytes, entry)) {
                Err(error) => report(error),
                Ok(bitmap) => {
                    let words = bitmap.words.map(U64::get);
                    let count: u32 = words.iter().map(|w| w.count_ones()).sum();
                    let dense = first_set(&words) + u64::from(count) == end_of_set(&words);
                    if count != u32::from(entry.row_count.get()) {
                        report(self.corrupt(entry, "the bitmap and the page differ in their number of rows"));
                    } else if dense || bitmap.ranks.as_bytes() != ranks_of(&words).as_bytes() {
                        report(self.corrupt(entry, "the page should be a run, or its ranks are wrong"));
                    }
                }
            }
        }
        let footer = self.file.container().footer();
        let ends = [(0, footer.first_row), (footer.rows.saturating_sub(1), footer.last_row)];
        for (ordinal, stated) in ends {
            match self.row_number(ordinal) {
                Ok(row) if row == stated => {}
                Ok(row) => report(
                    self.file.container().corrupt_footer(format!("it states row {stated}, the pages have {row}")),
                ),
                Err(error) => report(error),
            }
        }
    }
}

/// The position of the set bit with `rank` set bits before it.
fn select(bitmap: &PageBitmap, rank: u64) -> Option<u64> {
    let chunk = bitmap.ranks.iter().rposition(|r| u64::from(r.get()) <= rank)?;
    let mut left = rank - u64::from(bitmap.ranks.get(chunk)?.get());
    for (word, i) in bitmap.words.iter().zip(0u64..).skip(chunk * 8) {
        let mut word = word.get();
        let count = u64::from(word.count_ones());
        if left >= count {
            left -= count;
            continue;
        }
        for _ in 0..left {
            word &= word - 1;
        }
        return Some(i * 64 + u64::from(word.trailing_zeros()));
    }
    None
}

/// The entries of `first..=last`.
pub(super) fn run_entries(first: u64, last: u64) -> Vec<PageEntry> {
    let mut entries = Vec::new();
    let mut row = first;
    while row <= last {
        let at = row & (PAGE_ROWS - 1);
        let count = (PAGE_ROWS - at).min((last - row).saturating_add(1));
        entries.push(PageEntry {
            page: (row >> PAGE_SHIFT).into(),
            first_ordinal: ((row - first) as u32).into(),
            row_count: (count as u16).into(),
            first: (at as u16).into(),
            bitmap: DENSE.into(),
            reserved: 0.into(),
        });
        let Some(next) = row.checked_add(count) else { break };
        row = next;
    }
    entries
}

/// How many entries at the start of `bytes` hold `rows` rows, and how many bitmaps they name, if they follow each other as they must.
pub(super) fn count_entries(bytes: &[u8], rows: u64) -> Option<(u64, u64)> {
    let mut follow = Follow::default();
    for (chunk, i) in bytes.chunks_exact(size_of::<PageEntry>()).zip(1u64..) {
        let entry: &PageEntry = zerocopy::FromBytes::ref_from_bytes(chunk).ok()?;
        if !follow.add(entry) || follow.ordinals > rows {
            return None;
        }
        if follow.ordinals == rows {
            return Some((i, follow.bitmaps));
        }
    }
    None
}

/// What the next entry has to go on from.
#[derive(Default)]
struct Follow {
    next_page: u64,
    ordinals: u64,
    bitmaps: u64,
}

impl Follow {
    /// Whether an entry follows those before.
    fn add(&mut self, entry: &PageEntry) -> bool {
        let count = u64::from(entry.row_count.get());
        let first = u64::from(entry.first.get());
        let page = entry.page.get();
        let dense = entry.bitmap.get() == DENSE;
        let right = page >= self.next_page
            && page <= MAX_PAGE
            && u64::from(entry.first_ordinal.get()) == self.ordinals
            && (1..=PAGE_ROWS).contains(&count)
            && entry.reserved.get() == 0
            && match dense {
                true => first + count <= PAGE_ROWS,
                false => first == 0 && u64::from(entry.bitmap.get()) == self.bitmaps,
            };
        if right {
            self.next_page = page + 1;
            self.ordinals += count;
            self.bitmaps += u64::from(!dense);
        }
        right
    }
}

/// Proves the structure of the directory; returns how many bitmaps it names.
fn check_entries(file: &MappedFile, section: &Section, rows: u64) -> Result<u64> {
    let mut follow = Follow::default();
    for (entry, i) in file.entries::<PageEntry>(section).iter().zip(0u64..) {
        if !follow.add(entry) {
            return Err(file.container().corrupt_section(section, format!("entry {i} does not follow the one before")));
        }
    }
    let Follow { ordinals, bitmaps, .. } = follow;
    match ordinals == rows {
        true => Ok(bitmaps),
        false => {
            Err(file.container().corrupt_section(section, format!("the pages have {ordinals} rows, the file {rows}")))
        }
    }
}
