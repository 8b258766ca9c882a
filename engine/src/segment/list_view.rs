//! Look-ups in an open list segment, as a search makes them: hundreds per query.

use zerocopy::IntoBytes;

use super::id_table::PageName;
use super::layout::{PAGE_ROWS, PAGE_SHIFT};
use super::list_file::ListFile;
use crate::error::Result;
use crate::format::list::{ListHeader, ListParts, ListShape};
use crate::format::proven::ProvenBits;

/// What a search reads of one list.
#[derive(Clone, Copy)]
pub(crate) struct ListBytes<'a> {
    /// Entries.
    pub(crate) count: u32,
    /// Entries that are the first copy of their row: they stand in front.
    pub(crate) primary: u32,
    /// Sign blocks; none in lists of whole vectors.
    pub(crate) signs: &'a [u8],
    /// First-stage factors of the blocks.
    pub(crate) factors: &'a [u8],
    /// A row word for each lane.
    pub(crate) rows: &'a [u8],
    /// Records or vectors, not proven: see [`ListView::prove_record`].
    pub(crate) records: &'a [u8],
}

/// A list segment with its sections found: a look-up is arithmetic and loads, and no calls through the map.
#[derive(Clone, Copy)]
pub(crate) struct ListView<'a> {
    pub(super) file: &'a ListFile,
    pub(super) shape: ListShape,
    pub(super) proven: &'a ProvenBits,
    pub(super) headers: &'a [ListHeader],
    pub(super) scan: &'a [u8],
    /// Empty if there are none.
    pub(super) records: &'a [u8],
    pub(super) pages: &'a [PageName],
}

impl<'a> ListView<'a> {
    /// The piece of a list in `list-scan`, as it is in the file. Not proven; empty if there is no such list.
    #[inline]
    pub(crate) fn scan_piece(&self, list: usize) -> &'a [u8] {
        let Some(header) = self.headers.get(list) else { return &[] };
        let bytes = self.shape.parts(header.n_total.get()).scan_bytes();
        let start = header.scan_offset.get() as usize;
        self.scan.get(start..start + bytes).unwrap_or_default()
    }

    /// Where the pieces of a list are told, to be asked for before [`list`](ListView::list).
    #[inline]
    pub(crate) fn header(&self, list: usize) -> &'a [u8] {
        self.headers.get(list).map_or(&[], IntoBytes::as_bytes)
    }

    /// The part of it that every scan reads: signs and factors.
    #[inline]
    pub(crate) fn codes(&self, list: usize) -> &'a [u8] {
        let Some(header) = self.headers.get(list) else { return &[] };
        let bytes = self.shape.parts(header.n_total.get()).factors().end;
        let start = header.scan_offset.get() as usize;
        self.scan.get(start..start + bytes).unwrap_or_default()
    }

    /// A list; what a scan reads of it is proven.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub(crate) fn list(&self, list: usize) -> Result<ListBytes<'a>> {
        let Some(header) = self.headers.get(list) else { return Err(self.file.no_list(list)) };
        let parts = self.shape.parts(header.n_total.get());
        let first = header.first_check.get() as usize;
        for chunk in 0..parts.scan_checks() {
            if !self.proven.has(first + chunk) {
                self.file.prove_scan(list, chunk)?;
            }
        }
        let start = header.scan_offset.get() as usize;
        let piece = self.scan.get(start..start + parts.scan_bytes()).unwrap_or_default();
        let part = |range| piece.get(range).unwrap_or_default();
        Ok(ListBytes {
            count: header.n_total.get(),
            primary: header.n_primary.get(),
            signs: part(parts.signs()),
            factors: part(parts.factors()),
            rows: part(parts.rows()),
            records: self.record_piece(header, &parts),
        })
    }

    /// Entries of a list that are first copies, and all of them; none if there is no such list.
    #[inline]
    pub(crate) fn counts(&self, list: usize) -> (u32, u32) {
        self.headers.get(list).map_or((0, 0), |header| (header.n_primary.get(), header.n_total.get()))
    }

    #[inline]
    pub(super) fn record_piece(&self, header: &ListHeader, parts: &ListParts) -> &'a [u8] {
        let start = header.record_offset.get() as usize;
        self.records.get(start..start + parts.record_bytes()).unwrap_or_default()
    }

    /// Proves the record of an entry, and with it the others under the same checksum.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub(crate) fn prove_record(&self, list: usize, position: u32) -> Result<()> {
        let Some(header) = self.headers.get(list) else { return Err(self.file.no_list(list)) };
        let parts = self.shape.parts(header.n_total.get());
        let chunk = match parts.record_checks() {
            _ if position >= header.n_total.get() => return Err(self.file.no_list(list)),
            0 => return Err(self.file.no_list(list)),
            1 => 0,
            _ => position as usize / parts.records_per_check(),
        };
        let check = header.first_check.get() as usize + parts.scan_checks() + chunk;
        match self.proven.has(check) {
            true => Ok(()),
            false => self.file.prove_records(list, chunk),
        }
    }

    /// Proves all records of a list if they are under one checksum, as in all but very long lists; says whether they are.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub(crate) fn prove_records(&self, list: usize) -> Result<bool> {
        let Some(header) = self.headers.get(list) else { return Err(self.file.no_list(list)) };
        match self.shape.parts(header.n_total.get()).record_checks() {
            1 => self.prove_record(list, 0).map(|()| true),
            _ => Ok(false),
        }
    }

    /// The row number of a row word.
    ///
    /// # Errors
    /// `Corrupt` if it names no page.
    #[inline]
    pub(crate) fn row(&self, word: u32) -> Result<u64> {
        match self.pages.get((word >> PAGE_SHIFT) as usize) {
            Some(name) => Ok(name.page.get() << PAGE_SHIFT | (u64::from(word) & (PAGE_ROWS - 1))),
            None => Err(self.file.no_page(word)),
        }
    }
}
