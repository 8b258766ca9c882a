//! Lists taken one by one, wherever they are.

use std::ops::Range;

use super::list_file::ListFile;
use super::list_view::ListBytes;
use crate::error::Result;
use crate::format::list::{ListHeader, ListParts, ListShape};
use crate::format::section::Section;
use crate::storage::Bytes;

/// A list whose pieces are mapped, or were read and are all proven.
pub(crate) struct LoadedList<'a> {
    count: u32,
    primary: u32,
    parts: ListParts,
    scan: Bytes<'a>,
    records: Bytes<'a>,
}

impl LoadedList<'_> {
    /// Its parts.
    pub(crate) fn bytes(&self) -> ListBytes<'_> {
        let part = |range: Range<usize>| self.scan.get(range).unwrap_or_default();
        ListBytes {
            count: self.count,
            primary: self.primary,
            signs: part(self.parts.signs()),
            factors: part(self.parts.factors()),
            rows: part(self.parts.rows()),
            records: &self.records,
        }
    }
}

impl ListFile {
    /// A list, whether it is mapped or has to be read. What a scan reads of it is proven; records are too if they had to be read, else
    /// see [`ListFile::prove_record`].
    ///
    /// # Errors
    /// `Corrupt`; `Io`.
    pub(crate) fn load(&self, list: usize) -> Result<LoadedList<'_>> {
        let Some(header) = self.header(list) else { return Err(self.no_list(list)) };
        let parts = self.shape.parts(header.n_total.get());
        let (count, primary) = (header.n_total.get(), header.n_primary.get());
        if self.is_mapped() {
            let view = self.view();
            view.list(list)?;
            let (scan, records) = (view.scan_piece(list), view.record_piece(header, &parts));
            return Ok(LoadedList {
                count,
                primary,
                parts,
                scan: Bytes::Mapped(scan),
                records: Bytes::Mapped(records),
            });
        }
        let first = header.first_check.get() as usize;
        let chunks = (0..parts.scan_checks()).map(|chunk| parts.scan_chunk(chunk));
        let scan = self.read_piece(&self.scan, header.scan_offset.get(), parts.scan_bytes(), first, chunks)?;
        let records = match &self.records {
            None => Bytes::default(),
            Some(section) => {
                let chunks = (0..parts.record_checks()).map(|chunk| parts.record_chunk(chunk));
                let first = first + parts.scan_checks();
                self.read_piece(section, header.record_offset.get(), parts.record_bytes(), first, chunks)?
            }
        };
        Ok(LoadedList { count, primary, parts, scan, records })
    }

    /// Reads a piece and compares its chunks with the checksums from `first` on.
    fn read_piece(
        &self,
        section: &Section,
        offset: u64,
        len: usize,
        first: usize,
        chunks: impl Iterator<Item = Range<usize>>,
    ) -> Result<Bytes<'_>> {
        let piece = self.file.read(section, offset..offset.saturating_add(len as u64))?;
        for (i, chunk) in chunks.enumerate() {
            let at = offset.saturating_add(chunk.start as u64);
            self.check_chunk(first + i, section, at, piece.get(chunk).unwrap_or_default())?;
        }
        Ok(piece)
    }

    /// Where the pieces of a list are, in the order of the file: for scanning, and its records.
    fn pieces(&self, header: &ListHeader) -> [Option<(Section, Range<u64>)>; 2] {
        let parts = self.shape.parts(header.n_total.get());
        let place = |offset: u64, len: usize| offset..offset.saturating_add(len as u64);
        [
            Some((self.scan, place(header.scan_offset.get(), parts.scan_bytes()))),
            self.records.map(|section| (section, place(header.record_offset.get(), parts.record_bytes()))),
        ]
    }

    /// The most bytes that its entries take in a new file: records of files of before become longer.
    pub(crate) fn most_rewritten(&self) -> u64 {
        let (shape, new) = (self.shape, self.shape.of_new_files());
        if shape == new {
            return self.facts().len;
        }
        let bytes = |shape| (0..self.lists()).map(|list| self.list_bytes(list, shape) as u64).sum::<u64>();
        self.facts().len.saturating_add(bytes(new).saturating_sub(bytes(shape)))
    }

    /// Bytes of a list in this shape, its own or that of new files; 0 if there is no such list.
    pub(crate) fn list_bytes(&self, list: usize, shape: ListShape) -> usize {
        let parts = self.header(list).map(|header| shape.parts(header.n_total.get()));
        parts.map_or(0, |parts| {
            parts.scan_bytes().saturating_add(if self.records.is_some() { parts.record_bytes() } else { 0 })
        })
    }

    /// Asks for a list to be read soon.
    pub(crate) fn ask(&self, list: usize) {
        let Some(header) = self.header(list) else { return };
        for (section, place) in self.pieces(header).into_iter().flatten() {
            if place.start < place.end {
                self.file.ask(&section, place);
            }
        }
    }
}
