//! How the rows of a collection lie in its row files.

use zerocopy::little_endian::{F32, U32, U64};

use crate::error::{Error, Result};
use crate::format::code::Code;
use crate::format::layout::layout;
use crate::id::IdKind;
use crate::metric::{Element, Metric, RowFormat};
use crate::options::Schema;

/// Row numbers of one page.
pub(crate) const PAGE_ROWS: u64 = 4096;
/// Bits of a row number below the page.
pub(crate) const PAGE_SHIFT: u32 = 12;
/// Most rows of one file.
pub(crate) const MAX_ROWS: u64 = u32::MAX as u64 - 1;

layout! {
    /// What stands behind each vector.
    pub(crate) struct RecordTrailer: 16 {
        id: U64,
        norm: F32,
        crc: U32,
    }
}

/// What decides the bytes of a row: facts of the schema, and what the components of the vectors in this file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowLayout {
    pub(crate) dim: usize,
    /// `None` in a file without vectors.
    pub(crate) element: Option<Element>,
    pub(crate) metric: Metric,
    pub(crate) ids: IdKind,
}

impl From<&Schema> for RowLayout {
    /// With vectors as they stand in the log.
    fn from(schema: &Schema) -> Self {
        RowLayout::of(schema, Some(schema.row_format().element()))
    }
}

impl RowLayout {
    /// The layout of files with such vectors, or without.
    pub(crate) fn of(schema: &Schema, element: Option<Element>) -> Self {
        RowLayout { dim: schema.dim(), element, metric: schema.metric(), ids: schema.id_kind() }
    }

    /// What a footer of a collection of this schema states; `None` if that cannot be one of its files with vectors.
    pub(crate) fn stated(schema: &Schema, parameters: [u64; 4]) -> Option<Self> {
        let own = schema.row_format().element();
        let layouts = std::iter::once(&own).chain(own.narrower()).map(|element| RowLayout::of(schema, Some(*element)));
        layouts.into_iter().find(|layout| layout.parameters() == parameters)
    }

    /// Whether there are vector records.
    pub(crate) fn has_vectors(&self) -> bool {
        self.element.is_some()
    }

    /// Bytes of one stored vector.
    pub(crate) fn vector_bytes(&self) -> usize {
        self.element.map_or(0, |element| element.vector_bytes(self.dim))
    }

    /// Bytes of one stored vector and the zeros that make it whole 8-byte words.
    pub(crate) fn padded_bytes(&self) -> usize {
        self.vector_bytes().next_multiple_of(8)
    }

    /// Bytes between the starts of two vector records; 0 if there are none.
    pub(crate) fn stride(&self) -> usize {
        if self.has_vectors() { self.padded_bytes() + size_of::<RecordTrailer>() } else { 0 }
    }

    /// How a footer states this layout.
    pub(crate) fn parameters(&self) -> [u64; 4] {
        let element = self.element.map_or(RowFormat::None.code(), Code::code);
        [self.dim as u64, element.into(), self.metric.code().into(), self.ids.code().into()]
    }

    /// Checks a norm: under cosine the positive, finite length of the vector, else exactly zero.
    pub(crate) fn norm_is_valid(&self, norm: f32) -> bool {
        match self.metric {
            Metric::Cosine => norm.is_finite() && norm > 0.0,
            _ => norm.to_bits() == 0,
        }
    }

    /// Checks a number that stands in the id field of a record.
    pub(crate) fn id_is_valid(&self, id: u64) -> bool {
        match self.ids {
            IdKind::U64 => id != u64::MAX,
            IdKind::Bytes => id == 0,
        }
    }

    /// Whether all components of a stored vector are finite numbers that the writer can have written.
    pub(crate) fn is_finite(&self, vector: &[u8]) -> bool {
        let words = |exponent: u16| {
            vector
                .chunks_exact(2)
                .all(|b| b.first_chunk::<2>().is_some_and(|b| u16::from_le_bytes(*b) & exponent != exponent))
        };
        match self.element {
            Some(Element::F32) => {
                vector.chunks_exact(4).all(|b| b.first_chunk::<4>().is_some_and(|b| f32::from_le_bytes(*b).is_finite()))
            }
            Some(Element::F16) => words(0x7C00),
            Some(Element::Bf16) => words(0x7F80),
            Some(Element::I8) => {
                let (bytes, step) = vector.split_at(self.dim.min(vector.len()));
                let step = step.first_chunk().map_or(f32::NAN, |step| f32::from_le_bytes(*step));
                (0.0..=f32::MAX / 127.0).contains(&step) && !bytes.contains(&i8::MIN.cast_unsigned())
            }
            Some(Element::U8) | None => true,
        }
    }

    /// Checks the dimension.
    ///
    /// # Errors
    /// `InvalidArgument` naming `dim`.
    pub(crate) fn check(&self) -> Result<()> {
        match self.dim {
            1..=crate::options::MAX_DIM => Ok(()),
            dim => Err(Error::argument("dim", format!("is {dim}"))),
        }
    }
}
