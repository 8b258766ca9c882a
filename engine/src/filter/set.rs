//! A set of ids, for filters.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::error::{Error, Result};
use crate::id::{Id, IdKind, IdRef};

/// Ids of either kind; a collection's search accepts only sets of its own kind.
#[derive(Default)]
pub(crate) struct IdSet {
    numbers: HashSet<u64>,
    strings: HashSet<Box<[u8]>>,
    /// What the last search made of the set; see [`IdSet::note`].
    noted: ArcSwapOption<Note>,
}

/// What a search found out about a set of ids, for the next one. Of a type that only searches know.
pub(crate) type Note = Box<dyn Any + Send + Sync>;

impl IdSet {
    pub(super) fn from_ids(ids: impl Iterator<Item = Id>) -> Self {
        let mut set = IdSet::default();
        for id in ids {
            match id {
                Id::U64(n) => drop(set.numbers.insert(n)),
                Id::Bytes(b) => drop(set.strings.insert(b)),
            }
        }
        set
    }

    /// What was noted last. No lock.
    pub(crate) fn noted(&self) -> Option<Arc<Note>> {
        self.noted.load_full()
    }

    /// Leaves a note for the next search with this set, in place of the last one.
    pub(crate) fn note(&self, note: Note) {
        self.noted.store(Some(Arc::new(note)));
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len() + self.strings.len()
    }

    pub(super) fn contains(&self, id: IdRef<'_>) -> bool {
        match id {
            IdRef::U64(n) => self.numbers.contains(&n),
            IdRef::Bytes(b) => self.strings.contains(b),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = IdRef<'_>> {
        let numbers = self.numbers.iter().map(|n| IdRef::U64(*n));
        numbers.chain(self.strings.iter().map(|b| IdRef::Bytes(b)))
    }

    pub(super) fn check(&self, kind: IdKind) -> Result<()> {
        let (wrong, name) = match kind {
            IdKind::U64 => (self.strings.len(), "bytes"),
            IdKind::Bytes => (self.numbers.len(), "u64"),
        };
        if wrong == 0 {
            return Ok(());
        }
        Err(Error::argument(
            "filter",
            format!("holds {wrong} ids of kind {name}; this collection's ids are {}", kind.name()),
        ))
    }
}
