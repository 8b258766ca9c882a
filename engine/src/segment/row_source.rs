//! Where the rows of a new file come from.

use crate::error::Result;
use crate::id::IdRef;
use crate::metric::Element;

/// One row.
#[derive(Clone, Copy)]
pub(crate) struct RowInput<'a> {
    pub(crate) row: u64,
    pub(crate) seq: u64,
    pub(crate) id: IdRef<'a>,
    /// The stored bytes of the vector, with or without the zeros that make it whole 8-byte words; none for a file without vectors.
    pub(crate) vector: &'a [u8],
    /// What its components are.
    pub(crate) element: Element,
    /// The length of the stored vector under cosine, else 0.
    pub(crate) norm: f32,
    /// Encoded; empty for none.
    pub(crate) attributes: &'a [u8],
    /// Empty for none.
    pub(crate) payload: &'a [u8],
}

/// Rows in ascending order of their numbers. Read twice, front to back; both times it must give the same.
pub(crate) trait RowSource {
    fn len(&self) -> usize;
    /// Hands row `i` to `take`.
    fn visit(&self, i: usize, take: &mut dyn FnMut(RowInput<'_>) -> Result<()>) -> Result<()>;
}
