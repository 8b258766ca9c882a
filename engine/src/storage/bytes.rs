//! A piece of an immutable file, wherever its bytes are.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes of a file: in its map, or read into memory that this keeps alive.
#[derive(Clone, Debug)]
pub(crate) enum Bytes<'a> {
    /// In a map or in memory that outlives this.
    Mapped(&'a [u8]),
    /// A part of what was read; always inside of it.
    Read(Arc<[u8]>, Range<usize>),
}

impl Bytes<'_> {
    /// All of what was read.
    pub(crate) fn read(bytes: Arc<[u8]>) -> Self {
        let whole = 0..bytes.len();
        Bytes::Read(bytes, whole)
    }

    /// A part of it; `None` if it reaches beyond.
    pub(crate) fn part(self, range: Range<usize>) -> Option<Self> {
        match self {
            Bytes::Mapped(bytes) => bytes.get(range).map(Bytes::Mapped),
            Bytes::Read(bytes, whole) => {
                let (start, end) = (whole.start.checked_add(range.start)?, whole.start.checked_add(range.end)?);
                (start <= end && end <= whole.end).then_some(Bytes::Read(bytes, start..end))
            }
        }
    }
}

impl Default for Bytes<'_> {
    fn default() -> Self {
        Bytes::Mapped(&[])
    }
}

impl AsRef<[u8]> for Bytes<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(bytes) => bytes,
            Bytes::Read(bytes, range) => bytes.get(range.clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_parts_are_the_same_wherever_the_bytes_are() {
        let bytes: Vec<u8> = (0..100).collect();
        for whole in [Bytes::Mapped(&bytes), Bytes::read(bytes.clone().into())] {
            let part = whole.clone().part(10..50).unwrap();
            assert_eq!((&part[..], part.len()), (&bytes[10..50], 40));
            assert_eq!(&part.clone().part(5..40).unwrap()[..], &bytes[15..50]);
            assert!(part.clone().part(5..41).is_none() && part.part(usize::MAX..usize::MAX).is_none());
            assert_eq!(&whole.part(100..100).unwrap()[..], &[] as &[u8]);
        }
        assert!(Bytes::default().is_empty());
    }
}
