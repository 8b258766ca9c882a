//! The rows that a set of ids names, in the files of one version.

use std::sync::{Arc, Weak};

use super::{Snapshot, Version};
use crate::budget::{Charge, Share};
use crate::error::Result;
use crate::filter::{IdSet, Note};
use crate::format::id_key;
use crate::manifest::Manifest;

/// Where the rows of a set of ids are, so that a search need not look ids up. Rows in memory are not among them: they come and go.
pub(super) struct ChosenRows {
    /// For each row file a bit for each ordinal; empty for a file without any.
    words: Vec<Box<[u64]>>,
    /// File and ordinal of each, in row order.
    pub(super) places: Vec<(u32, u32)>,
    _charge: Charge,
}

/// What a set of ids remembers.
struct Remembered {
    /// The files it is about.
    of: Weak<Manifest>,
    /// From the second search on, or from the first of a batch.
    rows: Option<Arc<ChosenRows>>,
}

impl ChosenRows {
    /// The rows of a set, if it was asked about these files before or will be asked `again`: a set that is used once is not worth the look-ups.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(super) fn of(ids: &IdSet, snapshot: &Snapshot, again: bool) -> Result<Option<Arc<ChosenRows>>> {
        let version = &*snapshot.view().version;
        let noted = ids.noted();
        let remembered = noted.as_ref().and_then(|note| note.downcast_ref::<Remembered>());
        let remembered = remembered.filter(|known| known.of.as_ptr() == Arc::as_ptr(&version.manifest));
        match remembered {
            Some(Remembered { rows: Some(rows), .. }) => return Ok(Some(rows.clone())),
            None if !again => {
                Self::remember(ids, version, None);
                return Ok(None);
            }
            _ => {}
        }
        let bytes: u64 = version.rows.iter().map(|rows| rows.file.len() as u64 / 8 + 64).sum();
        let bytes = bytes.saturating_add((ids.len() as u64).saturating_mul(16));
        // Without room for it ids are looked up by each search.
        let charge = match snapshot.budget.as_ref().map(|budget| budget.reserve(Share::Search, bytes)) {
            None => Charge::none(),
            Some(Ok(charge)) => charge,
            Some(Err(_)) => return Ok(None),
        };
        let rows = Arc::new(Self::find(ids, version, charge)?);
        Self::remember(ids, version, Some(rows.clone()));
        Ok(Some(rows))
    }

    fn remember(ids: &IdSet, version: &Version, rows: Option<Arc<ChosenRows>>) {
        let note: Note = Box::new(Remembered { of: Arc::downgrade(&version.manifest), rows });
        ids.note(note);
    }

    fn find(ids: &IdSet, version: &Version, charge: Charge) -> Result<ChosenRows> {
        let mut places = Vec::with_capacity(ids.len());
        for id in ids.iter() {
            let Some(row) = version.find(id_key(id, version.manifest.collection), id)? else { continue };
            if let Some((file, ordinal)) = version.locate_live(row)? {
                places.push((file as u32, ordinal as u32));
            }
        }
        places.sort_unstable();
        let mut words: Vec<Box<[u64]>> = version.rows.iter().map(|_| Box::default()).collect();
        for (file, ordinal) in &places {
            let (Some(words), Some(rows)) = (words.get_mut(*file as usize), version.rows.get(*file as usize)) else {
                continue;
            };
            if words.is_empty() {
                *words = vec![0; rows.file.len().div_ceil(64)].into();
            }
            if let Some(word) = words.get_mut(*ordinal as usize / 64) {
                *word |= 1 << (ordinal % 64);
            }
        }
        Ok(ChosenRows { words, places, _charge: charge })
    }

    /// Whether the row at a place, file and ordinal, is one of them.
    pub(super) fn has(&self, file: usize, ordinal: usize) -> bool {
        let word = self.words.get(file).and_then(|words| words.get(ordinal / 64));
        word.is_some_and(|word| word >> (ordinal % 64) & 1 == 1)
    }
}
