//! Stored vectors, as they are found in a file or in memory.

use crate::kernel::decode_row;
use crate::metric::Element;

/// A stored vector, without what stands behind it.
pub(crate) struct Stored<B> {
    pub(crate) bytes: B,
    /// What its components are.
    pub(crate) element: Element,
    /// Its length under cosine, else 0.
    pub(crate) length: f32,
}

impl<B: AsRef<[u8]>> Stored<B> {
    /// Whether there is no vector.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.bytes.as_ref().is_empty()
    }

    /// Its components.
    pub(crate) fn decode(&self, out: &mut [f32]) {
        decode_row(self.element, self.bytes.as_ref(), out);
    }
}

impl<B: Default> Stored<B> {
    /// No vector.
    pub(crate) fn none() -> Self {
        Stored { bytes: B::default(), element: Element::F32, length: 0.0 }
    }
}

/// Stored vectors, one every so many bytes.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) stride: usize,
    pub(crate) element: Element,
}
