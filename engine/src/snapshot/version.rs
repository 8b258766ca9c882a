//! The immutable files of one manifest, opened.

use std::sync::Arc;

use super::lists::OpenModel;
use super::marks::Marks;
use crate::delta::Generation;
use crate::error::{Error, Result};
use crate::id::IdRef;
use crate::manifest::Manifest;
use crate::segment::{IdTable, ListFile, RowFile};
use crate::storage::FileId;

/// What one manifest names. Shared by every view until the next manifest.
#[derive(Clone)]
pub(crate) struct Version {
    /// Counts the manifests this handle has installed; tells a prepared commit that its look-ups may be stale.
    pub(crate) install: u64,
    pub(crate) manifest: Arc<Manifest>,
    /// Ascending by row number; ranges do not overlap.
    pub(crate) rows: Vec<LiveRows>,
    /// Newest first.
    pub(crate) id_tables: Vec<Arc<IdTable>>,
    /// Newest last; empty while the collection is flat.
    pub(crate) models: Vec<Arc<OpenModel>>,
    /// Ascending by row number; ranges do not overlap. Each is of one of the models.
    pub(crate) lists: Vec<Arc<ListFile>>,
}

/// A row file and what is known of its rows.
#[derive(Clone)]
pub(crate) struct LiveRows {
    pub(crate) file: Arc<RowFile>,
    /// One bit per ordinal: dead by the manifest's tombstone files. Empty: none is.
    dead: Arc<[u64]>,
    dead_count: u64,
    /// One bit per ordinal: perhaps killed by a generation that is still in memory. Shared by all versions; only ever
    /// goes from 0 to 1, before the view that kills is published.
    maybe_dead: Arc<Marks>,
    /// Each live row is in a list segment too.
    in_lists: bool,
}

impl LiveRows {
    /// All rows of the file live.
    pub(crate) fn new(file: Arc<RowFile>) -> Self {
        let maybe_dead = Arc::new(Marks::new(file.len()));
        LiveRows { file, dead: Arc::new([]), dead_count: 0, maybe_dead, in_lists: false }
    }

    /// The same file; whether its live rows are in list segments.
    pub(crate) fn with_lists(self, in_lists: bool) -> Self {
        if in_lists {
            self.file.expect_scattered();
        }
        LiveRows { in_lists, ..self }
    }

    /// Whether each live row is in a list segment too: a search by lists finds it there.
    pub(crate) fn in_lists(&self) -> bool {
        self.in_lists
    }

    /// The same file as no tombstone file had touched it. What is perhaps killed stays so.
    pub(crate) fn without_dead(&self) -> Self {
        LiveRows { dead: Arc::new([]), dead_count: 0, ..self.clone() }
    }

    /// The same file with more rows dead.
    pub(crate) fn with_dead(&self, rows: &[u64]) -> Result<Self> {
        let mut words = match self.dead.len() {
            0 => vec![0u64; self.file.len().div_ceil(64)],
            _ => self.dead.to_vec(),
        };
        for row in rows {
            if let Some(ordinal) = self.file.ordinal(*row)?
                && let Some(word) = words.get_mut(ordinal / 64)
            {
                *word |= 1 << (ordinal % 64);
            }
        }
        let dead_count = words.iter().map(|w| u64::from(w.count_ones())).sum();
        Ok(LiveRows { dead: words.into(), dead_count, ..self.clone() })
    }

    /// The same file with the rows of these words dead too, one bit per ordinal.
    pub(crate) fn with_dead_words(&self, more: &[u64]) -> Self {
        let word = |at: usize| self.dead.get(at).copied().unwrap_or(0) | more.get(at).copied().unwrap_or(0);
        let words: Vec<u64> = (0..self.file.len().div_ceil(64)).map(word).collect();
        let dead_count = words.iter().map(|w| u64::from(w.count_ones())).sum();
        LiveRows { dead: words.into(), dead_count, ..self.clone() }
    }

    /// Rows of the file that no tombstone file kills.
    pub(crate) fn live(&self) -> u64 {
        self.file.len() as u64 - self.dead_count
    }

    /// Rows with numbers `first..=last` that no tombstone file kills.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn live_between(&self, first: u64, last: u64) -> Result<u64> {
        if first <= self.file.first_row() && self.file.last_row() <= last {
            return Ok(self.live());
        }
        let (start, end) = (self.ordinal_from(first)?, self.ordinal_from(last.saturating_add(1))?);
        let inside = |word: usize| {
            let below = |ordinal: usize| match ordinal.saturating_sub(word * 64) {
                count @ 0..64 => (1u64 << count) - 1,
                _ => u64::MAX,
            };
            u64::from((self.live_word(word) & below(end) & !below(start)).count_ones())
        };
        Ok((start / 64..end.div_ceil(64)).map(inside).sum())
    }

    /// The first ordinal whose row number is at least `row`.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn ordinal_from(&self, row: u64) -> Result<usize> {
        let (mut low, mut high) = (0, self.file.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.file.row_number(middle)? < row {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low)
    }

    pub(crate) fn dead_count(&self) -> u64 {
        self.dead_count
    }

    /// Liveness of ordinals `64 * word ..` by the tombstone files; bits past the end are clear.
    pub(crate) fn live_word(&self, word: usize) -> u64 {
        let rows = self.file.len() - (word * 64).min(self.file.len());
        let inside = if rows >= 64 { u64::MAX } else { (1 << rows) - 1 };
        inside & !self.dead.get(word).copied().unwrap_or(0)
    }

    pub(crate) fn maybe_dead_word(&self, word: usize) -> u64 {
        self.maybe_dead.word(word)
    }

    pub(crate) fn mark_maybe_dead(&self, ordinal: usize) {
        self.maybe_dead.set(ordinal);
    }

    /// Ordinals dead by the tombstone files.
    pub(crate) fn dead_ordinals(&self) -> impl Iterator<Item = usize> + '_ {
        self.dead
            .iter()
            .enumerate()
            .flat_map(|(w, bits)| (0..64).filter(move |b| bits >> b & 1 == 1).map(move |b| w * 64 + b))
    }

    fn is_dead(&self, ordinal: usize) -> bool {
        self.live_word(ordinal / 64) >> (ordinal % 64) & 1 == 0
    }
}

impl Version {
    /// The model that new rows get their lists by; `None` while there is none.
    pub(crate) fn current_model(&self) -> Option<&Arc<OpenModel>> {
        self.models.last()
    }

    /// Whether the vectors of some rows are gone.
    pub(crate) fn is_lean(&self) -> bool {
        self.manifest.row_files.iter().any(|entry| entry.element.is_none())
    }

    /// What new rows are filed by: the model file and its number of lists.
    pub(crate) fn filed_by(&self) -> Option<(FileId, usize)> {
        self.current_model().map(|model| (model.id, model.file.lists()))
    }

    /// The model whose list segments are being converted to the current one, if any.
    pub(crate) fn older_model(&self) -> Option<&Arc<OpenModel>> {
        self.models.split_last().and_then(|(_, older)| older.last())
    }

    /// Rows in the list segments of a model, dead ones included.
    pub(crate) fn rows_in_lists_of(&self, model: &OpenModel) -> u64 {
        let files = self.lists.iter().filter(|file| file.model() == model.file.hash());
        files.map(|file| file.facts().rows).sum()
    }

    /// The model that a generation's rows are filed by.
    pub(crate) fn model_of(&self, generation: &Generation) -> Option<&Arc<OpenModel>> {
        self.models.iter().find(|model| Some(model.id) == generation.model())
    }

    /// The model of list segment `i`.
    pub(crate) fn list_model(&self, i: usize) -> Option<&Arc<OpenModel>> {
        let hash = self.lists.get(i)?.model();
        self.models.iter().find(|model| model.file.hash() == hash)
    }

    /// The file and ordinal of a row that is in a file and that no tombstone file kills.
    pub(crate) fn locate_live(&self, row: u64) -> Result<Option<(usize, usize)>> {
        let Some((index, ordinal)) = self.locate(row)? else { return Ok(None) };
        let dead = self.rows.get(index).is_none_or(|rows| rows.is_dead(ordinal));
        Ok((!dead).then_some((index, ordinal)))
    }

    /// The file and ordinal of a row that is in a file, dead or alive.
    pub(crate) fn locate(&self, row: u64) -> Result<Option<(usize, usize)>> {
        let index = self.rows.partition_point(|rows| rows.file.last_row() < row);
        let Some(rows) = self.rows.get(index) else { return Ok(None) };
        Ok(rows.file.ordinal(row)?.map(|ordinal| (index, ordinal)))
    }

    /// The newest row of an id by the files, live or dead. The row may be dead: the newest match decides.
    pub(crate) fn find(&self, key: u64, id: IdRef<'_>) -> Result<Option<u64>> {
        self.find_with(key, |row| self.row_has_id(row, id))
    }

    /// The newest row of a key that `is_it` accepts.
    pub(crate) fn find_with(&self, key: u64, mut is_it: impl FnMut(u64) -> Result<bool>) -> Result<Option<u64>> {
        for table in &self.id_tables {
            let found = table.lookup(key, &mut is_it)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Whether the row carries this id. Numbers need no look: their keys are a bijection.
    pub(crate) fn row_has_id(&self, row: u64, id: IdRef<'_>) -> Result<bool> {
        if matches!(id, IdRef::U64(_)) {
            return Ok(true);
        }
        match self.locate(row)? {
            Some((index, ordinal)) => match self.rows.get(index) {
                Some(rows) => Ok(rows.file.id(ordinal)?.as_ref() == id),
                None => Ok(false),
            },
            None => {
                Err(Error::corrupt("idt", "entries", 0, format!("an id table names row {row}, which no row file has")))
            }
        }
    }
}
