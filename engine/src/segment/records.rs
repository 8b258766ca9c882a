//! Vector records of an open row file.

use super::layout::{RecordTrailer, RowLayout};
use crate::format::unit::{read_u32, read_u64};
use crate::index::stored::Stored;
use crate::storage::Bytes;

/// Some proven records, one after the other.
pub(crate) struct Records<'a> {
    bytes: Bytes<'a>,
    layout: RowLayout,
}

impl<'a> Records<'a> {
    /// Whole records of this layout.
    pub(super) fn new(bytes: Bytes<'a>, layout: &RowLayout) -> Self {
        Records { bytes, layout: *layout }
    }

    /// All of them: record `i` starts at `i` times the stride of the file.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One record; empty if there are not as many.
    #[inline]
    fn record(&self, i: usize) -> &[u8] {
        let stride = self.layout.stride();
        let start = i.saturating_mul(stride);
        self.bytes.get(start..start.saturating_add(stride)).unwrap_or_default()
    }

    /// The stored vector of one.
    #[inline]
    pub(crate) fn vector(&self, i: usize) -> Stored<&[u8]> {
        let Some(element) = self.layout.element else { return Stored::none() };
        let record = self.record(i);
        let bytes = record.get(..self.layout.vector_bytes()).unwrap_or_default();
        Stored { bytes, element, length: norm_of(record) }
    }

    /// The length of the stored vector of one under cosine, else 0.
    #[inline]
    pub(crate) fn norm(&self, i: usize) -> f32 {
        norm_of(self.record(i))
    }

    /// The vector of the first.
    pub(crate) fn into_first(self) -> Stored<Bytes<'a>> {
        let Some(element) = self.layout.element else { return Stored::none() };
        let length = self.norm(0);
        Stored { bytes: self.bytes.part(0..self.layout.vector_bytes()).unwrap_or_default(), element, length }
    }
}

fn trailer(record: &[u8]) -> &[u8] {
    record.get(record.len().saturating_sub(size_of::<RecordTrailer>())..).unwrap_or_default()
}

/// The numeric id that a record carries; 0 in a file of byte ids.
pub(super) fn id_of(record: &[u8]) -> u64 {
    read_u64(trailer(record))
}

/// The length of a record's vector under cosine, else 0.
#[inline]
pub(super) fn norm_of(record: &[u8]) -> f32 {
    f32::from_bits(trailer(record).get(8..).map_or(0, read_u32))
}
