//! An open row file.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::blob::BlobColumn;
use super::layout::{MAX_ROWS, RowLayout};
use super::mapped_file::MappedFile;
use super::pages::PageDirectory;
use super::payload_reader::PayloadColumn;
use super::records::{Records, id_of, norm_of};
use super::unit_section::UnitSection;
use crate::error::{Error, Result};
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::proven::ProvenBits;
use crate::format::section::{Scheme, Section};
use crate::format::unit::read_u64;
use crate::id::{Id, IdKind, MAX_ID_BYTES};
use crate::index::stored::Stored;
use crate::metric::Element;
use crate::options::MAX_ATTRIBUTE_BYTES;
use crate::storage::{AccessPattern, Bytes, FileId, Storage};

/// Bytes of rows that a pass in order asks for at a time.
const WINDOW_BYTES: usize = 1 << 20;
/// The sections that this build reads.
pub(super) const KNOWN: &[SectionKind] = &[
    SectionKind::ROW_PAGES,
    SectionKind::ROW_PAGE_BITMAPS,
    SectionKind::ROW_VECTORS,
    SectionKind::ROW_SEQS,
    SectionKind::ROW_U64_IDS,
    SectionKind::ROW_ID_OFFSETS,
    SectionKind::ROW_ID_BYTES,
    SectionKind::ROW_ATTRIBUTE_OFFSETS,
    SectionKind::ROW_ATTRIBUTE_BYTES,
    SectionKind::ROW_PAYLOAD_OFFSETS,
    SectionKind::ROW_PAYLOAD_BLOCKS,
    SectionKind::ROW_PAYLOAD_TABLE,
];

/// Rows at ordinals `0..len()`, ascending by row number.
pub(crate) struct RowFile {
    pub(super) file: Arc<MappedFile>,
    pub(super) layout: RowLayout,
    rows: usize,
    stride: usize,
    /// Vector records; a file without has its numeric ids in a column.
    vectors: Option<Section>,
    pub(super) numbers: Option<UnitSection>,
    pub(super) proven: ProvenBits,
    pub(super) pages: PageDirectory,
    pub(super) seqs: Option<UnitSection>,
    pub(super) ids: Option<BlobColumn>,
    pub(super) attributes: Option<BlobColumn>,
    pub(super) payloads: Option<PayloadColumn>,
}

impl RowFile {
    /// Opens the file and proves that it is the one `facts` states: header, footer, directories. No row is touched.
    ///
    /// # Errors
    /// `Corrupt`, `UnsupportedVersion` or `Io`.
    pub(crate) fn open(
        storage: &dyn Storage,
        id: FileId,
        collection: u128,
        origin: u128,
        layout: &RowLayout,
        facts: &FileFacts,
    ) -> Result<RowFile> {
        let file = MappedFile::open(storage, ContainerKind::Rows, id, collection, origin, facts, KNOWN)?;
        let rows = file.container().footer().rows;
        check_footer(&file, layout)?;
        let pages = PageDirectory::open(&file, rows)?;
        let payloads = PayloadColumn::open(&file, rows)?;
        RowFile::assembled(file, layout, pages, payloads)
    }

    /// Takes the numbers of all rows, ascending, from elsewhere than the pages.
    pub(crate) fn tell_numbers(&mut self, rows: Box<[u64]>) {
        self.pages.tell(rows);
    }

    /// A file of these pages and payloads, the rest as its sections say.
    pub(super) fn assembled(
        file: Arc<MappedFile>,
        layout: &RowLayout,
        pages: PageDirectory,
        payloads: Option<PayloadColumn>,
    ) -> Result<RowFile> {
        let footer = *file.container().footer();
        let (rows, stride) = (footer.rows, layout.stride());
        let (vectors, numbers) = open_vectors(&file, rows, layout)?;
        let seqs = open_seqs(&file, rows, footer.min_seq == footer.max_seq)?;
        let ids = open_ids(&file, rows, layout.ids)?;
        let attribute_kinds = (SectionKind::ROW_ATTRIBUTE_OFFSETS, SectionKind::ROW_ATTRIBUTE_BYTES);
        let attributes = BlobColumn::open(&file, attribute_kinds, rows, MAX_ATTRIBUTE_BYTES)?;
        // `rows` records are inside the file, or its salvage has bounded them: the count is no more than its bytes.
        let proven = ProvenBits::new(rows as usize);
        let (layout, rows) = (*layout, rows as usize);
        Ok(RowFile { file, layout, rows, stride, vectors, numbers, proven, pages, seqs, ids, attributes, payloads })
    }

    /// Number of rows, at least one.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// What a manifest states about this file.
    pub(crate) fn facts(&self) -> FileFacts {
        self.file.container().facts()
    }

    /// The file's id.
    pub(crate) fn id_of_file(&self) -> FileId {
        self.file.id()
    }

    /// The file's name, for messages.
    pub(crate) fn name(&self) -> &str {
        self.file.container().name()
    }

    /// Smallest row number.
    pub(crate) fn first_row(&self) -> u64 {
        self.file.container().footer().first_row
    }

    /// Largest row number.
    pub(crate) fn last_row(&self) -> u64 {
        self.file.container().footer().last_row
    }

    /// The number of the row at an ordinal.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn row_number(&self, ordinal: usize) -> Result<u64> {
        self.pages.row_number(ordinal as u64)
    }

    /// The ordinal of a row, `None` if the file does not have it.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub(crate) fn ordinal(&self, row: u64) -> Result<Option<usize>> {
        Ok(self.pages.ordinal(row)?.map(|ordinal| ordinal as usize))
    }

    /// Whether there are vectors.
    pub(crate) fn has_vectors(&self) -> bool {
        self.vectors.is_some()
    }

    /// What the components of its vectors are.
    pub(crate) fn element(&self) -> Option<Element> {
        self.layout.element
    }

    /// Bytes between the starts of two records.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// The records of a range, proven: where the file is mapped, those that were not checked before are checked now, and where all were,
    /// this costs one load per 64 rows; where it is read, they are read and checked, unless it is one that is still kept. No bytes in a file
    /// without vectors.
    ///
    /// # Errors
    /// `Corrupt` for the first record that fails or a range that leaves the file; `Io`.
    #[inline]
    pub(crate) fn records(&self, range: Range<usize>) -> Result<Records<'_>> {
        let Some(section) = &self.vectors else { return self.no_records(&range) };
        match self.mapped_vectors() {
            Some(vectors) => {
                self.prove_vectors(range.clone())?;
                let bytes = vectors.get(range.start * self.stride..range.end * self.stride).unwrap_or_default();
                Ok(Records::new(Bytes::Mapped(bytes), &self.layout))
            }
            None => self.read_records(section, range),
        }
    }

    /// All vector records, if they are mapped. Record `i` starts at `i * stride()`.
    #[inline]
    fn mapped_vectors(&self) -> Option<&[u8]> {
        let vectors = self.vectors.as_ref()?;
        self.file.is_mapped().then(|| self.file.section_bytes(vectors))
    }

    #[cold]
    fn no_records(&self, range: &Range<usize>) -> Result<Records<'_>> {
        match range.start > range.end || range.end > self.rows {
            true => Err(self.no_rows(range)),
            false => Ok(Records::new(Bytes::default(), &self.layout)),
        }
    }

    #[cold]
    fn read_records(&self, section: &Section, range: Range<usize>) -> Result<Records<'_>> {
        if range.start > range.end || range.end > self.rows {
            return Err(self.no_rows(&range));
        }
        let bytes = (range.start * self.stride) as u64..(range.end * self.stride) as u64;
        let check = |whole: &[u8]| {
            let records = whole.chunks_exact(self.stride.max(1));
            range.clone().zip(records).try_for_each(|(ordinal, record)| self.check_record(ordinal, record))
        };
        let bytes = match range.len() {
            1 => self.file.proven(section, bytes, check)?,
            _ => {
                let bytes = self.file.read(section, bytes)?;
                check(&bytes)?;
                bytes
            }
        };
        Ok(Records::new(bytes, &self.layout))
    }

    /// Tells the kernel that rows will be read here and there: reading ahead would turn a query into gigabytes.
    pub(crate) fn expect_scattered(&self) {
        self.file.advise(AccessPattern::Random);
    }

    /// Asks for rows ahead of somebody who is at `ordinal` and goes on in order, now and then.
    pub(crate) fn ask_ahead(&self, ordinal: usize) {
        let window = (WINDOW_BYTES / self.stride.max(1)).max(1);
        if ordinal.is_multiple_of(window) {
            let ahead = if ordinal == 0 { 0 } else { ordinal.saturating_add(window) };
            self.ask(ahead..ordinal.saturating_add(2 * window).min(self.rows));
        }
    }

    /// Asks for the records of rows to be read soon.
    pub(crate) fn ask(&self, ordinals: Range<usize>) {
        let Some(vectors) = self.vectors.as_ref().filter(|_| ordinals.start < ordinals.end) else { return };
        let place = |ordinal: usize| ordinal.saturating_mul(self.stride) as u64;
        self.file.ask(vectors, place(ordinals.start)..place(ordinals.end));
    }

    #[cold]
    fn no_rows(&self, range: &Range<usize>) -> Error {
        let what = format!("rows {}..{} of {} were asked for", range.start, range.end, self.rows);
        Error::corrupt(self.name(), SectionKind::ROW_VECTORS.name(), 0, what)
    }

    /// Checks the records of a mapped range that were not checked before.
    ///
    /// # Errors
    /// `Corrupt` for the first record that fails or a range that leaves the file.
    #[inline]
    fn prove_vectors(&self, range: Range<usize>) -> Result<()> {
        if range.start > range.end || range.end > self.rows {
            return Err(self.no_rows(&range));
        }
        if self.vectors.is_none() {
            return Ok(());
        }
        let mut start = range.start;
        while start < range.end {
            let word = start / 64;
            let end = range.end.min((word + 1) * 64);
            let wanted = (u64::MAX >> (64 - (end - start))) << (start % 64);
            let missing = wanted & !self.proven.word(word);
            if missing != 0 {
                self.prove_word(word, missing)?;
            }
            start = end;
        }
        Ok(())
    }

    /// The stored vector of a row of a mapped file; checked now if it never was. None in a file without vectors.
    ///
    /// # Errors
    /// `Corrupt` if the record fails or the file does not have it.
    #[inline]
    pub(crate) fn proven_vector(&self, ordinal: usize) -> Result<Stored<&[u8]>> {
        let Some(element) = self.layout.element else { return Ok(Stored::none()) };
        if !self.proven.has(ordinal) {
            self.prove_vectors(ordinal..ordinal.saturating_add(1))?;
        }
        let record = self.record(ordinal);
        let bytes = record.get(..self.layout.vector_bytes()).unwrap_or_default();
        Ok(Stored { bytes, element, length: norm_of(record) })
    }

    /// What [`proven_vector`](RowFile::proven_vector) looks at first, to be asked for.
    #[inline]
    pub(crate) fn proof(&self, ordinal: usize) -> &[AtomicU64] {
        self.proven.ahead(ordinal)
    }

    #[cold]
    fn prove_word(&self, word: usize, missing: u64) -> Result<()> {
        let mut left = missing;
        while left != 0 {
            let ordinal = word * 64 + left.trailing_zeros() as usize;
            left &= left - 1;
            self.check_record(ordinal, self.record(ordinal))?;
            self.proven.set_word(word, 1 << (ordinal % 64));
        }
        Ok(())
    }

    /// Checks one record: its checksum, and that its id and norm are ones that the writer can have written.
    fn check_record(&self, ordinal: usize, record: &[u8]) -> Result<()> {
        let Some(vectors) = &self.vectors else { return Ok(()) };
        self.file.check_record(vectors, ordinal as u64, record)?;
        self.check_content(ordinal, record)
    }

    /// Checks what a record whose checksum is right says.
    fn check_content(&self, ordinal: usize, record: &[u8]) -> Result<()> {
        let (id, norm) = (id_of(record), norm_of(record));
        let padding = record.get(self.layout.vector_bytes()..self.layout.padded_bytes()).unwrap_or_default();
        if !self.layout.id_is_valid(id) || !self.layout.norm_is_valid(norm) || padding.iter().any(|b| *b != 0) {
            return Err(
                self.corrupt_record(ordinal, format!("record {ordinal} has id {id} and norm {norm}, or bad padding"))
            );
        }
        Ok(())
    }

    pub(super) fn corrupt_record(&self, ordinal: usize, what: String) -> Error {
        let start = self.vectors.as_ref().map_or(0, |vectors| vectors.offset);
        let at = start.saturating_add((ordinal as u64).saturating_mul(self.stride as u64));
        Error::corrupt(self.file.container().name(), SectionKind::ROW_VECTORS.name(), at, what)
    }

    /// A mapped record, not proven: to be asked for. Empty if there is none.
    pub(crate) fn record(&self, ordinal: usize) -> &[u8] {
        let start = ordinal.saturating_mul(self.stride);
        let vectors = self.mapped_vectors().unwrap_or_default();
        vectors.get(start..start.saturating_add(self.stride)).unwrap_or_default()
    }

    /// The id of a row.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn id(&self, ordinal: usize) -> Result<Id> {
        let Some(ids) = &self.ids else { return self.number(ordinal).map(Id::U64) };
        let id = ids.get(ordinal as u64)?;
        match id.is_empty() {
            false => Ok(Id::Bytes(id.into_owned().into())),
            true => Err(ids.corrupt(ordinal as u64, format!("the id of row {ordinal} is empty"))),
        }
    }

    /// The numeric id of a row.
    #[inline]
    fn number(&self, ordinal: usize) -> Result<u64> {
        let Some(numbers) = &self.numbers else {
            let records = self.records(ordinal..ordinal.saturating_add(1))?;
            return Ok(id_of(records.bytes()));
        };
        let id = read_u64(&numbers.entry(ordinal as u64)?);
        match self.layout.id_is_valid(id) {
            true => Ok(id),
            false => Err(numbers.corrupt(ordinal as u64, format!("row {ordinal} has id {id}"))),
        }
    }

    /// The sequence number of the batch that wrote a row.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn seq(&self, ordinal: usize) -> Result<u64> {
        let footer = self.file.container().footer();
        let Some(seqs) = &self.seqs else { return Ok(footer.min_seq) };
        let seq = read_u64(&seqs.entry(ordinal as u64)?);
        match (footer.min_seq..=footer.max_seq).contains(&seq) {
            true => Ok(seq),
            false => Err(seqs.corrupt(
                ordinal as u64,
                format!("row {ordinal} has sequence number {seq}, the file {}..={}", footer.min_seq, footer.max_seq),
            )),
        }
    }

    /// The encoded attributes of a row; empty if it has none.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn attributes(&self, ordinal: usize) -> Result<Vec<u8>> {
        match &self.attributes {
            Some(attributes) => Ok(attributes.get(ordinal as u64)?.into_owned()),
            None => Ok(Vec::new()),
        }
    }

    /// The payload of a row; empty if it has none.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn payload(&self, ordinal: usize) -> Result<Vec<u8>> {
        match &self.payloads {
            Some(payloads) => payloads.get(ordinal as u64),
            None => Ok(Vec::new()),
        }
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

fn open_vectors(
    file: &Arc<MappedFile>,
    rows: u64,
    layout: &RowLayout,
) -> Result<(Option<Section>, Option<UnitSection>)> {
    if layout.has_vectors() {
        file.forbid(&[SectionKind::ROW_U64_IDS])?;
        return Ok((Some(file.require(SectionKind::ROW_VECTORS, Scheme::Record, layout.stride(), rows)?), None));
    }
    file.forbid(&[SectionKind::ROW_VECTORS])?;
    if layout.ids == IdKind::Bytes {
        return file.forbid(&[SectionKind::ROW_U64_IDS]).map(|()| (None, None));
    }
    let numbers = file.require(SectionKind::ROW_U64_IDS, Scheme::Units, 8, rows)?;
    Ok((None, Some(UnitSection::new(file, numbers)?)))
}

fn check_footer(file: &MappedFile, layout: &RowLayout) -> Result<()> {
    let footer = *file.container().footer();
    if footer.parameters != layout.parameters() {
        let what =
            format!("its rows are laid out as {:?}, the collection's as {:?}", footer.parameters, layout.parameters());
        return Err(file.container().corrupt_footer(what));
    }
    if footer.rows == 0
        || footer.rows > MAX_ROWS
        || footer.first_row > footer.last_row
        || footer.min_seq > footer.max_seq
    {
        return Err(file.container().corrupt_footer("it has no rows, too many, or a range that ends before it starts"));
    }
    Ok(())
}

fn open_seqs(file: &Arc<MappedFile>, rows: u64, constant: bool) -> Result<Option<UnitSection>> {
    if constant {
        return file.forbid(&[SectionKind::ROW_SEQS]).map(|()| None);
    }
    let section = file.require(SectionKind::ROW_SEQS, Scheme::Units, 8, rows)?;
    UnitSection::new(file, section).map(Some)
}

fn open_ids(file: &Arc<MappedFile>, rows: u64, kind: IdKind) -> Result<Option<BlobColumn>> {
    let kinds = (SectionKind::ROW_ID_OFFSETS, SectionKind::ROW_ID_BYTES);
    match kind {
        IdKind::U64 => file.forbid(&[kinds.0, kinds.1]).map(|()| None),
        IdKind::Bytes => match BlobColumn::open(file, kinds, rows, MAX_ID_BYTES)? {
            Some(ids) => Ok(Some(ids)),
            None => Err(file.container().missing(kinds.0)),
        },
    }
}
