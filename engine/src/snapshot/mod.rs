//! Reads: a pinned state, and everything that can be asked of it.

mod calibrate;
mod chosen;
mod cold;
mod costs;
mod effort;
mod filing;
mod fresh;
mod health;
mod hit;
mod item;
mod killed;
mod lists;
mod many;
mod marks;
mod mode;
mod order;
mod questions;
mod read_ahead;
mod rerank;
mod room;
mod scan;
mod search;
mod seek;
mod source;
mod spot;
mod terms;
mod trail;
mod version;
mod view;
mod window;

use std::fmt;
use std::sync::Arc;

use crate::budget::Budget;
use crate::error::Result;
use crate::format::id_key;
use crate::id::IdRef;
use crate::options::Schema;

pub(crate) use calibrate::{Calibrated, FEWEST_CALIBRATED, calibrate, still_holds};
pub(crate) use effort::EFFORT_PROPERTY;
pub use effort::Effort;
pub(crate) use filing::lists_of;
pub(crate) use health::{Asked, Measured, measure};
pub use hit::{Explain, Hit, Hits, Include};
pub use item::{Item, Items};
pub(crate) use killed::Killed;
pub(crate) use lists::{CodedLists, FileRows, OpenModel, layout_of};
pub(crate) use many::Many;
pub use mode::SearchMode;
pub(crate) use rerank::rerank;
pub use rerank::{SourceError, VectorSource};
pub use search::Search;
pub(crate) use source::Source;
pub(crate) use terms::Terms;
pub(crate) use version::{LiveRows, Version};
pub(crate) use view::View;

/// One committed state of a collection, pinned: later writes, flushes and the removal of files do not touch it.
///
/// Owned, `Send + Sync`, cheap to clone. Reads take no lock. A snapshot keeps the files it was taken on from being
/// freed, and the rows that were in memory; drop it when done.
#[derive(Clone)]
pub struct Snapshot {
    view: Arc<View>,
    schema: Arc<Schema>,
    budget: Option<Arc<Budget>>,
}

impl Snapshot {
    pub(crate) fn new(view: Arc<View>, schema: Arc<Schema>) -> Self {
        Snapshot { view, schema, budget: None }
    }

    /// The same, its searches counted.
    pub(crate) fn within(self, budget: &Arc<Budget>) -> Self {
        Snapshot { budget: Some(budget.clone()), ..self }
    }

    /// The sequence number of the last batch in this state; 0 before the first.
    pub fn seq(&self) -> u64 {
        self.view.seq
    }

    /// Live rows.
    pub fn count(&self) -> u64 {
        self.view.count
    }

    /// What the collection is.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How hard searches look that do not say it themselves: what [`crate::Collection::set_default_effort`] stored last, else
    /// [`Effort::default`].
    pub fn default_effort(&self) -> Effort {
        let stored = self.view.version.manifest.properties.get(EFFORT_PROPERTY);
        stored.and_then(|text| Effort::from_text(text)).unwrap_or_default()
    }

    /// A property that a bulk load has set: see [`crate::BulkOptions::property`].
    pub fn property(&self, name: &str) -> Option<Vec<u8>> {
        self.view.version.manifest.properties.get(name).cloned()
    }

    /// Starts a search for the rows nearest to `query` (`dim` components). The search runs in [`Search::run`], in the
    /// calling thread.
    pub fn search<'s>(&'s self, query: &'s [f32]) -> Search<'s> {
        Search::new(self, query)
    }

    /// The row of an id: its vector as stored, attributes, payload and sequence number. `None` if there is no live row.
    ///
    /// # Errors
    /// `InvalidArgument` for an id of the wrong kind or length; `Corrupt`.
    pub fn get<'i>(&self, id: impl Into<IdRef<'i>>) -> Result<Option<Item>> {
        match self.find_live(id.into())? {
            Some((source, at)) => Item::read(&source, at, &self.schema).map(Some),
            None => Ok(None),
        }
    }

    /// Whether an id has a live row. Cheaper than [`Snapshot::get`].
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn contains<'i>(&self, id: impl Into<IdRef<'i>>) -> Result<bool> {
        Ok(self.find_live(id.into())?.is_some())
    }

    /// All live rows, in the order in which they were written.
    pub fn iter(&self) -> Items<'_> {
        Items::new(self)
    }

    fn find_live(&self, id: IdRef<'_>) -> Result<Option<(Source<'_>, usize)>> {
        id.check(self.schema.id_kind())?;
        let key = id_key(id, self.view.version.manifest.collection);
        self.view.find_live(key, id)
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }
}

impl<'s> IntoIterator for &'s Snapshot {
    type Item = Result<Item>;
    type IntoIter = Items<'s>;

    fn into_iter(self) -> Items<'s> {
        self.iter()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot(seq {}, {} rows)", self.seq(), self.count())
    }
}
