//! Files behind the faces that a search by lists sees.

use super::version::LiveRows;
use crate::error::{Error, Result};
use crate::format::list::ListCode;
use crate::format::model::centroid_stride;
use crate::id::Id;
use crate::index::ivf::{CentroidSet, Frame, ListPieces, Lists, Rows};
use crate::segment::{ListFile, ListView, ModelFile, Records};
use crate::storage::{Bytes, FileId};

/// A model, ready for queries.
pub(crate) struct OpenModel {
    /// The file's id: what generations name their model by.
    pub(crate) id: FileId,
    pub(crate) file: ModelFile,
    pub(crate) frame: Frame,
}

impl OpenModel {
    /// Prepares the rotation.
    pub(crate) fn new(file: ModelFile) -> OpenModel {
        let frame = Frame::new(file.metric(), file.mean().to_vec(), file.seed(), file.scale());
        OpenModel { id: file.id_of_file(), file, frame }
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
}

impl<'a> CodedLists<'a> {
    /// # Errors
    /// `InvalidArgument` if the segment holds whole vectors, or does not have the model's lists or dimension.
    pub(crate) fn new(file: &'a ListFile, model: &ModelFile) -> Result<Self> {
        let shape = file.shape();
        match shape.code() {
            ListCode::Bits(bits) if file.lists() == model.lists() && shape.padded() == model.padded() => {
                Ok(CodedLists { view: file.view(), bits: bits as usize })
            }
            _ => Err(Error::argument("lists", "are no codes, or not as many or as long as those of the model")),
        }
    }

    /// The lists of a segment that [`CodedLists::new`] accepted when it was opened.
    #[inline]
    pub(super) fn of(file: &'a ListFile) -> Self {
        let bits = match file.shape().code() {
            ListCode::Bits(bits) => bits as usize,
            ListCode::Raw(_) => 0,
        };
        CodedLists { view: file.view(), bits }
    }
}

impl Lists for CodedLists<'_> {
    fn bits(&self) -> usize {
        self.bits
    }

    #[inline]
    fn list(&self, list: u32) -> Result<ListPieces<'_>> {
        let bytes = self.view.list(list as usize)?;
        let (signs, factors, rows, records) = (bytes.signs, bytes.factors, bytes.rows, bytes.records);
        Ok(ListPieces { count: bytes.count, signs, factors, rows, records })
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

    fn ask(&self, place: u64) {
        if let Some((rows, ordinal)) = self.at(place) {
            rows.file.ask(ordinal..ordinal.saturating_add(1));
        }
    }

    fn load(&self, place: u64) -> Result<(Bytes<'_>, f32)> {
        let Some((rows, ordinal)) = self.at(place) else { return Ok(Default::default()) };
        rows.file.records(ordinal..ordinal.saturating_add(1)).map(Records::into_first)
    }

    fn vector(&self, place: u64) -> Result<(&[u8], f32)> {
        let Some((rows, ordinal)) = self.at(place) else { return Ok((&[], 0.0)) };
        rows.file.proven_vector(ordinal)
    }
}
