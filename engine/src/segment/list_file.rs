//! An open list segment: inverted lists of codes, or of whole vectors.

use std::ops::Range;
use std::sync::Arc;

use zerocopy::little_endian::U32;

use super::id_table::{MAX_PAGES, PageName};
use super::layout::{MAX_ROWS, PAGE_SHIFT};
use super::list_view::ListView;
use super::mapped_file::MappedFile;
use crate::error::{Error, Result};
use crate::format::checksum::{matches, unit_crc};
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::list::{ListCode, ListHeader, ListShape, MAX_ENTRIES, PIECE_ALIGN};
use crate::format::proven::ProvenBits;
use crate::format::section::{Scheme, Section};
use crate::storage::{AccessPattern, FileId, Storage};

/// Largest page number.
const MAX_PAGE: u64 = u64::MAX >> PAGE_SHIFT;

/// Lists `0..lists()`. Where pieces lie was proven when the file was opened; pieces are proven when first touched.
pub(crate) struct ListFile {
    pub(super) file: Arc<MappedFile>,
    pub(super) shape: ListShape,
    pages: Section,
    headers: Section,
    pub(super) scan: Section,
    pub(super) records: Option<Section>,
    checks: Section,
    proven: ProvenBits,
}

impl ListFile {
    /// Maps the segment and proves that it is the one `facts` states, made with the model of this hash: header, footer, pages,
    /// headers and the table of checksums. No list is touched.
    ///
    /// # Errors
    /// `Corrupt`, `UnsupportedVersion` or `Io`.
    pub(crate) fn open(
        storage: &dyn Storage,
        id: FileId,
        collection: u128,
        origin: u128,
        model: &[u8; 32],
        facts: &FileFacts,
    ) -> Result<ListFile> {
        let known = [
            SectionKind::LIST_PAGES,
            SectionKind::LIST_HEADERS,
            SectionKind::LIST_SCAN,
            SectionKind::LIST_RECORDS,
            SectionKind::LIST_RAW,
            SectionKind::LIST_CHECKS,
        ];
        let file = MappedFile::open(storage, ContainerKind::Lists, id, collection, origin, facts, &known)?;
        let footer = *file.container().footer();
        let Some((shape, lists)) = ListShape::from_parameters(footer.parameters) else {
            let what = format!("its lists are laid out as {:?}, which is none of our layouts", footer.parameters);
            return Err(file.container().corrupt_footer(what));
        };
        if file.container().frame_hash() != model || !(1..=MAX_ROWS).contains(&footer.rows) {
            return Err(file
                .container()
                .corrupt_footer("it was made with another model, or it has no rows or too many"));
        }
        let headers = file.require(SectionKind::LIST_HEADERS, Scheme::Whole, size_of::<ListHeader>(), lists)?;
        file.whole(&headers)?;
        let totals = check_headers(&file, &headers, &shape, footer.rows)?;
        let pages = file
            .section(SectionKind::LIST_PAGES, Scheme::Whole, size_of::<PageName>())?
            .ok_or_else(|| file.container().missing(SectionKind::LIST_PAGES))?;
        file.whole(&pages)?;
        check_pages(&file, &pages)?;
        let scan =
            file.require(SectionKind::LIST_SCAN, Scheme::Pieces, PIECE_ALIGN, totals.scan / PIECE_ALIGN as u64)?;
        let records = open_records(&file, &shape, totals.records)?;
        let checks = file.require(SectionKind::LIST_CHECKS, Scheme::Whole, 4, totals.checks)?;
        file.whole(&checks)?;
        // The table of checksums is inside the file, so their number is no more than its bytes.
        let proven = ProvenBits::new(totals.checks as usize);
        // A query touches lists here and there: reading ahead would turn it into megabytes.
        file.advise(AccessPattern::Random);
        Ok(ListFile { file, shape, pages, headers, scan, records, checks, proven })
    }

    /// What a manifest states about this file.
    pub(crate) fn facts(&self) -> FileFacts {
        self.file.container().facts()
    }

    /// Its id, which names it.
    pub(crate) fn id_of_file(&self) -> FileId {
        self.file.id()
    }

    /// Hash of the model that its lists and codes are of.
    pub(crate) fn model(&self) -> &[u8; 32] {
        self.file.container().frame_hash()
    }

    /// Bytes of memory that it holds because it is not mapped.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.file.resident_bytes()
    }

    /// Name and bytes of each section.
    pub(crate) fn sections(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.file.container().sections().iter().map(|section| (section.kind.name(), section.len))
    }

    /// How entries are kept.
    pub(crate) fn shape(&self) -> &ListShape {
        &self.shape
    }

    /// Checksums of its pieces: so many bits of memory.
    pub(crate) fn checks(&self) -> u64 {
        self.checks.entries
    }

    /// Number of lists, at least one.
    pub(crate) fn lists(&self) -> usize {
        self.headers.entries as usize
    }

    /// Whether its lists are mapped, so that [`ListFile::view`] shows them.
    pub(crate) fn is_mapped(&self) -> bool {
        self.file.is_mapped()
    }

    /// What look-ups need, found once: for whoever makes many. Of a file that is not mapped it shows the numbers of lists and nothing in
    /// them: see [`ListFile::load`].
    pub(crate) fn view(&self) -> ListView<'_> {
        ListView {
            file: self,
            shape: self.shape,
            proven: &self.proven,
            headers: self.file.entries(&self.headers),
            scan: self.file.section_bytes(&self.scan),
            records: self.records.as_ref().map_or(&[], |section| self.file.section_bytes(section)),
            pages: self.file.entries(&self.pages),
        }
    }

    /// The piece of a list in `list-scan`, as it is in the file. Not proven; empty if there is no such list.
    #[cfg(test)]
    pub(crate) fn scan_piece(&self, list: usize) -> &[u8] {
        self.view().scan_piece(list)
    }

    /// Proves the record of an entry, and with it the others under the same checksum. Those that were read are proven.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn prove_record(&self, list: usize, position: u32) -> Result<()> {
        match self.is_mapped() {
            true => self.view().prove_record(list, position),
            false => Ok(()),
        }
    }

    /// The row number of a row word.
    ///
    /// # Errors
    /// `Corrupt` if it names no page.
    pub(crate) fn row(&self, word: u32) -> Result<u64> {
        self.view().row(word)
    }

    pub(super) fn header(&self, list: usize) -> Option<&ListHeader> {
        self.file.entries::<ListHeader>(&self.headers).get(list)
    }

    #[cold]
    pub(super) fn prove_scan(&self, list: usize, chunk: usize) -> Result<()> {
        let Some(header) = self.header(list) else { return Err(self.no_list(list)) };
        let parts = self.shape.parts(header.n_total.get());
        let check = header.first_check.get() as usize + chunk;
        self.prove(check, &self.scan, header.scan_offset.get(), parts.scan_chunk(chunk))
    }

    #[cold]
    pub(super) fn prove_records(&self, list: usize, chunk: usize) -> Result<()> {
        let Some(header) = self.header(list) else { return Err(self.no_list(list)) };
        let parts = self.shape.parts(header.n_total.get());
        let Some(section) = self.records.filter(|_| chunk < parts.record_checks()) else {
            return Err(self.no_list(list));
        };
        let check = header.first_check.get() as usize + parts.scan_checks() + chunk;
        self.prove(check, &section, header.record_offset.get(), parts.record_chunk(chunk))
    }

    /// Compares a chunk of a piece with its checksum and remembers that it is right.
    #[cold]
    fn prove(&self, check: usize, section: &Section, piece: u64, chunk: Range<usize>) -> Result<()> {
        let place = |at: usize| piece.saturating_add(at as u64);
        let bytes = self.file.read(section, place(chunk.start)..place(chunk.end))?;
        self.check_chunk(check, section, place(chunk.start), &bytes)?;
        self.proven.set(check);
        Ok(())
    }

    /// Compares bytes at a place of a section with a checksum.
    pub(super) fn check_chunk(&self, check: usize, section: &Section, at: u64, bytes: &[u8]) -> Result<()> {
        let at = section.offset.saturating_add(at);
        let stored = self.file.entries::<U32>(&self.checks).get(check).map_or(0, |crc| crc.get());
        let found = unit_crc(self.file.container().file_seed(), at, bytes);
        if !matches(found, stored) {
            let what = format!("checksum of {} bytes is {found:08x}, stored is {stored:08x}", bytes.len());
            return Err(Error::corrupt(self.file.container().name(), section.kind.name(), at, what));
        }
        Ok(())
    }

    #[cold]
    pub(super) fn no_page(&self, word: u32) -> Error {
        let what = format!("row word {word:#x} names no page of {}", self.page_count());
        self.file.container().corrupt_section(&self.scan, what)
    }

    pub(super) fn page_count(&self) -> usize {
        self.pages.entries as usize
    }

    /// What is wrong with a list, and where that begins.
    pub(crate) fn corrupt_list(&self, list: usize, what: &str) -> Error {
        let offset = self.header(list).map_or(0, |header| header.scan_offset.get());
        let (name, section) = (self.file.container().name(), self.scan.kind.name());
        Error::corrupt(name, section, self.scan.offset.saturating_add(offset), format!("list {list}: {what}"))
    }

    #[cold]
    pub(crate) fn no_list(&self, list: usize) -> Error {
        let what = format!("list {list} of {}, or an entry it does not have, was asked for", self.lists());
        self.file.container().corrupt_section(&self.headers, what)
    }

    /// Proves every chunk whether or not it was proven before; reports all that fail. Before each `pace` is told how many bytes come
    /// and may end it.
    ///
    /// # Errors
    /// What `pace` says.
    pub(super) fn check_pieces(
        &self,
        pace: &mut dyn FnMut(u64) -> Result<()>,
        report: &mut dyn FnMut(Error),
    ) -> Result<()> {
        for list in 0..self.lists() {
            let Some(header) = self.header(list) else { continue };
            let parts = self.shape.parts(header.n_total.get());
            let first = header.first_check.get() as usize;
            let pieces = [
                Some((self.scan, header.scan_offset.get(), 0)),
                self.records.map(|section| (section, header.record_offset.get(), parts.scan_checks())),
            ];
            for (section, offset, before) in pieces.into_iter().flatten() {
                let chunks = if before == 0 && section.kind == SectionKind::LIST_SCAN {
                    (0..parts.scan_checks()).map(|i| parts.scan_chunk(i)).collect::<Vec<_>>()
                } else {
                    (0..parts.record_checks()).map(|i| parts.record_chunk(i)).collect()
                };
                for (i, chunk) in chunks.into_iter().enumerate() {
                    pace(chunk.len() as u64)?;
                    if let Err(error) = self.prove(first + before + i, &section, offset, chunk) {
                        report(error);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What all lists need together.
struct Totals {
    scan: u64,
    records: u64,
    checks: u64,
}

/// Proves that pieces follow each other without gaps and that primaries are as many as rows.
fn check_headers(file: &MappedFile, section: &Section, shape: &ListShape, rows: u64) -> Result<Totals> {
    let mut totals = Totals { scan: 0, records: 0, checks: 0 };
    let mut primaries = 0u64;
    for (i, header) in file.entries::<ListHeader>(section).iter().enumerate() {
        let (primary, total) = (header.n_primary.get(), header.n_total.get());
        let right = header.scan_offset.get() == totals.scan
            && header.record_offset.get() == totals.records
            && u64::from(header.first_check.get()) == totals.checks
            && primary <= total
            && total <= MAX_ENTRIES
            && header.reserved.get() == 0;
        if !right {
            let what = format!("list {i} does not follow the one before, or has impossible numbers");
            return Err(file.container().corrupt_section(section, what));
        }
        // At most 2^28 lists of 2^28 entries of 2^20 bytes could pass u64: saturated sums match no section.
        let parts = shape.parts(total);
        totals.scan = totals.scan.saturating_add(parts.scan_bytes() as u64);
        totals.records = totals.records.saturating_add(parts.record_bytes() as u64);
        totals.checks = totals.checks.saturating_add(parts.checks() as u64);
        primaries = primaries.saturating_add(primary.into());
    }
    match primaries == rows {
        true => Ok(totals),
        false => {
            let what = format!("lists have {primaries} first copies, the file states {rows} rows");
            Err(file.container().corrupt_section(section, what))
        }
    }
}

fn open_records(file: &Arc<MappedFile>, shape: &ListShape, bytes: u64) -> Result<Option<Section>> {
    let (kind, other) = match shape.code() {
        ListCode::Raw(_) => (SectionKind::LIST_RAW, SectionKind::LIST_RECORDS),
        _ => (SectionKind::LIST_RECORDS, SectionKind::LIST_RAW),
    };
    file.forbid(&[other])?;
    if bytes == 0 {
        return file.forbid(&[kind]).map(|()| None);
    }
    file.require(kind, Scheme::Pieces, PIECE_ALIGN, bytes / PIECE_ALIGN as u64).map(Some)
}

/// Proves that pages ascend and are of the one origin that the footer names.
fn check_pages(file: &MappedFile, section: &Section) -> Result<()> {
    let names: &[PageName] = file.entries(section);
    let ascending = names.windows(2).all(|pair| matches!(pair, [a, b] if a.page.get() < b.page.get()));
    let valid =
        |name: &PageName| name.page.get() <= MAX_PAGE && name.origin_index.get() == 0 && name.reserved.get() == 0;
    match ascending && names.iter().all(valid) && names.len() as u64 <= MAX_PAGES {
        true => Ok(()),
        false => Err(file.container().corrupt_section(section, "the pages do not ascend, or one is out of range")),
    }
}
