//! A column of ids in memory: numbers, or byte strings end to end.

use crate::id::{IdKind, IdRef};

/// Ids in row order.
pub(super) enum IdColumn {
    /// One number per row.
    U64(Vec<u64>),
    /// `ends[i]` is where id `i` ends in `bytes`.
    Bytes { ends: Vec<usize>, bytes: Vec<u8> },
}

impl IdColumn {
    pub(super) fn new(kind: IdKind) -> Self {
        match kind {
            IdKind::U64 => IdColumn::U64(Vec::new()),
            IdKind::Bytes => IdColumn::Bytes { ends: Vec::new(), bytes: Vec::new() },
        }
    }

    /// Appends an id of the column's kind; the caller has checked the kind.
    pub(super) fn push(&mut self, id: IdRef<'_>) {
        match (self, id) {
            (IdColumn::U64(column), IdRef::U64(n)) => column.push(n),
            (IdColumn::Bytes { ends, bytes }, IdRef::Bytes(b)) => {
                bytes.extend_from_slice(b);
                ends.push(bytes.len());
            }
            _ => debug_assert!(false, "the kind of an id is checked before it is stored"),
        }
    }

    pub(super) fn get(&self, i: usize) -> IdRef<'_> {
        match self {
            IdColumn::U64(column) => IdRef::U64(column[i]),
            IdColumn::Bytes { ends, bytes } => {
                let start = if i == 0 { 0 } else { ends[i - 1] };
                IdRef::Bytes(&bytes[start..ends[i]])
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            IdColumn::U64(column) => column.len() * 8,
            IdColumn::Bytes { ends, bytes } => ends.len() * 8 + bytes.len(),
        }
    }
}

/// Byte strings end to end, one per row, most of them empty: attributes and payloads.
#[derive(Default)]
pub(super) struct BlobColumn {
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl BlobColumn {
    pub(super) fn push(&mut self, blob: &[u8]) {
        self.bytes.extend_from_slice(blob);
        self.ends.push(self.bytes.len());
    }

    /// Replaces the blob of the last row.
    pub(super) fn replace_last(&mut self, blob: &[u8]) {
        if self.ends.pop().is_some() {
            self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
            self.push(blob);
        }
    }

    pub(super) fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }

    /// Gives back what was allocated ahead.
    pub(super) fn shrink(&mut self) {
        self.ends.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    pub(super) fn total_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.ends.len() * 8 + self.bytes.len()
    }
}
