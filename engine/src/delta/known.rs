//! What the writer knows of ids written in one generation: the newest state of each, whatever the files say.

use std::collections::HashMap;

use crate::id::{IdKind, IdRef};

/// The newest state of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Live as this row.
    Live(u64),
    /// Deleted.
    Dead,
}

/// Id to state, for one generation. Used under the commit lock only; searches find ids through the blocks.
pub(crate) enum KnownIds {
    U64(HashMap<u64, Known>),
    Bytes {
        /// By id.
        map: HashMap<Box<[u8]>, Known>,
        /// Bytes of all ids.
        bytes: usize,
    },
}

impl KnownIds {
    pub(crate) fn new(kind: IdKind) -> Self {
        match kind {
            IdKind::U64 => KnownIds::U64(HashMap::new()),
            IdKind::Bytes => KnownIds::Bytes { map: HashMap::new(), bytes: 0 },
        }
    }

    pub(crate) fn get(&self, id: IdRef<'_>) -> Option<Known> {
        match (self, id) {
            (KnownIds::U64(map), IdRef::U64(n)) => map.get(&n).copied(),
            (KnownIds::Bytes { map, .. }, IdRef::Bytes(b)) => map.get(b).copied(),
            _ => None,
        }
    }

    /// Heap bytes held, nearly: a map has a byte of its own for each place and leaves an eighth of them empty.
    pub(crate) fn memory_bytes(&self) -> usize {
        let places = |capacity: usize, entry: usize| capacity / 7 * 8 * (entry + 1);
        match self {
            KnownIds::U64(map) => places(map.capacity(), size_of::<(u64, Known)>()),
            KnownIds::Bytes { map, bytes } => {
                // An allocation takes 16 bytes more, or is rounded up by as much.
                places(map.capacity(), size_of::<(Box<[u8]>, Known)>()) + bytes + map.len() * 16
            }
        }
    }

    pub(crate) fn set(&mut self, id: IdRef<'_>, state: Known) {
        match (self, id) {
            (KnownIds::U64(map), IdRef::U64(n)) => {
                map.insert(n, state);
            }
            (KnownIds::Bytes { map, bytes }, IdRef::Bytes(b)) => {
                if let Some(known) = map.get_mut(b) {
                    *known = state;
                } else {
                    map.insert(b.into(), state);
                    *bytes += b.len();
                }
            }
            _ => debug_assert!(false, "the kind of an id is checked before it is stored"),
        }
    }
}
