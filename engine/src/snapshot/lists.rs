//! Files behind the faces that a search by lists sees.

use std::sync::atomic::AtomicU64;

use super::version::LiveRows;
use crate::error::{Error, Result};
use crate::format::list::{BYTE_WORDS, ListCode, ListShape, NIBBLE_WORDS};
use crate::format::model::centroid_stride;
use crate::id::Id;
use crate::index::ivf::{CentroidSet, Coder, EntryLayout, Frame, ListPieces, Lists, Rows};
use crate::index::stored::Stored;
use crate::kernel::code::product::Codebook;
use crate::options::Codes;
use crate::segment::{CodebookFacts, ListFile, ListView, ModelFile, Records};
use crate::storage::{Bytes, FileId, FileKind, FileName};

/// A model, ready for queries.
pub(crate) struct OpenModel {
    /// The file's id: what generations name their model by.
    pub(crate) id: FileId,
    pub(crate) file: ModelFile,
    pub(crate) frame: Frame,
    /// How its lists code rows: anything but [`Codes::Auto`].
    codes: Codes,
    book: Option<Codebook>,
}

impl OpenModel {
    /// Prepares the rotation. `codes` are those of the schema.
    ///
    /// # Errors
    /// `Corrupt` if the model does not have the codewords of such codes, or has some and should not.
    pub(crate) fn new(file: ModelFile, codes: Codes) -> Result<OpenModel> {
        let frame = Frame::new(file.metric(), file.mean().to_vec(), file.seed(), file.scale());
        let wanted = match codes {
            Codes::Product { m, codebook_size } => {
                Some(CodebookFacts { parts: m as usize, size: codebook_size as usize })
            }
            _ => None,
        };
        let book = file
            .codebook()
            .and_then(|CodebookFacts { parts, size }| Codebook::new(file.padded(), parts, size, file.codewords()));
        if file.codebook() != wanted || book.is_some() != wanted.is_some() {
            let name = FileName::File(FileKind::Model, file.id_of_file());
            return Err(Error::corrupt(name, "footer", 0, "its codewords are not those that the schema asks for"));
        }
        Ok(OpenModel { id: file.id_of_file(), file, frame, codes, book })
    }

    /// How its lists code rows.
    pub(crate) fn coder(&self) -> Coder<'_> {
        match (self.codes, &self.book) {
            (Codes::Product { .. }, Some(book)) => Coder::Product(book),
            (Codes::None, _) => Coder::None,
            (Codes::Bits(bits), _) => Coder::Bits(bits.into()),
            _ => Coder::Bits(1),
        }
    }

    /// Rows to measure at least for `k` that are wanted, where nobody looked how many it takes: the fewer bits a code has, the more.
    pub(crate) fn fewest_measured(&self, k: usize) -> usize {
        let each = match &self.book {
            None => 1,
            Some(book) => match book.parts() * book.bits() / book.dim().max(1) {
                0 => 8,
                1 => 4,
                2 => 3,
                _ => 2,
            },
        };
        k.saturating_mul(each)
    }

    /// Codewords of all parts; 0 if its lists have no product codes.
    pub(crate) fn codewords(&self) -> usize {
        self.book.as_ref().map_or(0, |book| book.parts() * book.size().max(256))
    }

    /// The shape of its lists.
    ///
    /// # Errors
    /// `InvalidArgument` if there are no such lists, which a schema that was checked does not ask for.
    pub(crate) fn shape(&self) -> Result<ListShape> {
        let code = match self.coder() {
            Coder::Bits(bits) => ListCode::Bits(bits as u32),
            Coder::Product(book) => ListCode::Product { parts: book.parts() as u32, size: book.size() as u32 },
            Coder::None => ListCode::Rows,
        };
        ListShape::new(self.file.padded(), code)
            .ok_or_else(|| Error::argument("codes", format!("are {}, of which there are no lists", self.codes)))
    }

    /// The centroids.
    pub(crate) fn centroids(&self) -> CentroidSet<'_> {
        let (signs, factors) = self.file.codes();
        let stride = centroid_stride(self.file.padded());
        CentroidSet { count: self.file.lists(), bytes: self.file.centroids(), stride, signs, factors }
    }
}

/// The lists of a segment of codes, proven to be of one model's shape.
#[derive(Clone, Copy)]
pub(crate) struct CodedLists<'a> {
    view: ListView<'a>,
    bits: usize,
    stride: usize,
}

impl<'a> CodedLists<'a> {
    /// # Errors
    /// `InvalidArgument` if the segment holds codes of another kind than the model's, or does not have its lists or dimension.
    pub(crate) fn new(file: &'a ListFile, model: &OpenModel) -> Result<Self> {
        let (shape, wanted) = (file.shape(), model.shape()?);
        let alike = match (shape.code(), wanted.code()) {
            // Lists of other bits are searched side by side.
            (ListCode::Bits(_), ListCode::Bits(_)) => true,
            (code, wanted) => code == wanted,
        };
        match alike && file.lists() == model.file.lists() && shape.padded() == wanted.padded() {
            true => Ok(CodedLists::of(file)),
            false => Err(Error::argument("lists", "have other codes than the model, or are not as many or as long")),
        }
    }

    /// The lists of a segment that [`CodedLists::new`] accepted when it was opened.
    #[inline]
    pub(super) fn of(file: &'a ListFile) -> Self {
        let bits = match file.shape().code() {
            ListCode::Bits(bits) => bits as usize,
            _ => 0,
        };
        CodedLists { view: file.view(), bits, stride: file.shape().stride() }
    }
}

/// How entries of this shape are put into blocks.
pub(crate) fn layout_of(shape: &ListShape) -> EntryLayout {
    match shape.code() {
        ListCode::Bits(_) => EntryLayout::Nibbles(shape.padded()),
        ListCode::Product { size: NIBBLE_WORDS, .. } => EntryLayout::Nibbles(shape.sign_bytes() / 4),
        ListCode::Product { parts, size } => {
            EntryLayout::Columns { parts: parts as usize, width: if size > BYTE_WORDS { 2 } else { 1 } }
        }
        ListCode::Raw(_) | ListCode::Rows => EntryLayout::Bare,
    }
}

impl Lists for CodedLists<'_> {
    fn bits(&self) -> usize {
        self.bits
    }

    fn stride(&self) -> usize {
        self.stride
    }

    #[inline]
    fn list(&self, list: u32) -> Result<ListPieces<'_>> {
        let bytes = self.view.list(list as usize)?;
        let (signs, factors, rows, records) = (bytes.signs, bytes.factors, bytes.rows, bytes.records);
        Ok(ListPieces { count: bytes.count, signs, factors, rows, records })
    }

    #[inline]
    fn header(&self, list: u32) -> &[u8] {
        self.view.header(list as usize)
    }

    #[inline]
    fn ahead(&self, list: u32) -> &[u8] {
        self.view.codes(list as usize)
    }

    #[inline]
    fn prove_record(&self, list: u32, position: u32) -> Result<()> {
        self.view.prove_record(list as usize, position)
    }

    #[inline]
    fn prove_records(&self, list: u32) -> Result<bool> {
        self.view.prove_records(list as usize)
    }

    #[inline]
    fn row(&self, word: u32) -> Result<u64> {
        self.view.row(word)
    }
}

/// Rows in files. `killed` is asked about rows that a generation in memory may have killed.
pub(crate) struct FileRows<'a, K> {
    pub(crate) files: &'a [LiveRows],
    pub(crate) killed: K,
}

impl<K: Fn(u64) -> bool> FileRows<'_, K> {
    #[inline]
    fn locate(&self, row: u64) -> Result<Option<(usize, usize)>> {
        let index = self.files.partition_point(|rows| rows.file.last_row() < row);
        let Some(rows) = self.files.get(index) else { return Ok(None) };
        Ok(rows.file.ordinal(row)?.map(|ordinal| (index, ordinal)))
    }

    /// The id of the row at a place.
    pub(super) fn id(&self, place: u64) -> Result<Id> {
        let Some((rows, ordinal)) = self.at(place) else { return Ok(Id::U64(u64::MAX)) };
        rows.file.id(ordinal)
    }

    /// The file and ordinal of a place.
    fn at(&self, place: u64) -> Option<(&LiveRows, usize)> {
        Some((self.files.get((place >> 32) as usize)?, (place & 0xFFFF_FFFF) as usize))
    }
}

impl<K: Fn(u64) -> bool> Rows for FileRows<'_, K> {
    fn live(&self, row: u64) -> Result<bool> {
        self.find(row).map(|place| place.is_some())
    }

    #[inline]
    fn find(&self, row: u64) -> Result<Option<u64>> {
        // A row that is in no file any more died before the files were last rewritten.
        let Some((index, ordinal)) = self.locate(row)? else { return Ok(None) };
        let Some(rows) = self.files.get(index) else { return Ok(None) };
        let bit = |word: u64| word >> (ordinal % 64) & 1 == 1;
        let live =
            bit(rows.live_word(ordinal / 64)) && !(bit(rows.maybe_dead_word(ordinal / 64)) && (self.killed)(row));
        Ok(live.then_some((index as u64) << 32 | ordinal as u64))
    }

    fn place(&self, row: u64) -> Result<u64> {
        match self.locate(row)? {
            Some((index, ordinal)) => Ok((index as u64) << 32 | ordinal as u64),
            None => Err(Error::corrupt("row files", "rows", 0, format!("row {row} of a list is in none of them"))),
        }
    }

    fn ahead(&self, place: u64) -> &[u8] {
        self.at(place).map_or(&[], |(rows, ordinal)| rows.file.record(ordinal))
    }

    fn proof(&self, place: u64) -> &[AtomicU64] {
        self.at(place).map_or(&[], |(rows, ordinal)| rows.file.proof(ordinal))
    }

    fn ask(&self, place: u64) {
        if let Some((rows, ordinal)) = self.at(place) {
            rows.file.ask(ordinal..ordinal.saturating_add(1));
        }
    }

    fn load(&self, place: u64) -> Result<Stored<Bytes<'_>>> {
        let Some((rows, ordinal)) = self.at(place) else { return Ok(Stored::none()) };
        rows.file.records(ordinal..ordinal.saturating_add(1)).map(Records::into_first)
    }

    fn vector(&self, place: u64) -> Result<Stored<&[u8]>> {
        let Some((rows, ordinal)) = self.at(place) else { return Ok(Stored::none()) };
        rows.file.proven_vector(ordinal)
    }
}
