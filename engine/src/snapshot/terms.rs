//! What is asked of a search, besides the query.

use std::time::{Duration, Instant};

use super::Snapshot;
use super::effort::Effort;
use super::hit::Include;
use super::mode::SearchMode;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::id::IdKind;

/// What one search and a batch of them have in common.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) k: usize,
    /// The answer goes to a source of vectors: it is the candidates, with nothing but their ids.
    pub(crate) rerank: bool,
    /// Rows that are measured at the end, or given to a source of vectors; `None`: as many as the effort says.
    pub(crate) candidates: Option<usize>,
    pub(crate) effort: Effort,
    pub(crate) mode: SearchMode,
    pub(crate) filter: Option<Filter>,
    pub(crate) max_distance: Option<f32>,
    pub(crate) include: Include,
    pub(crate) deadline: Option<Duration>,
}

impl Default for Terms {
    fn default() -> Self {
        let (filter, max_distance, deadline, candidates) = (None, None, None, None);
        Terms {
            k: 10,
            rerank: false,
            candidates,
            effort: Effort::default(),
            mode: SearchMode::default(),
            filter,
            max_distance,
            include: Include::NONE,
            deadline,
        }
    }
}

impl Terms {
    /// What counts where nothing is said.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Terms { effort: snapshot.default_effort(), ..Terms::default() }
    }

    /// Adds a filter: a second one narrows the first.
    pub(crate) fn narrow(&mut self, filter: Filter) {
        self.filter = Some(match self.filter.take() {
            Some(first) => first & filter,
            None => filter,
        });
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// `InvalidArgument` naming `k`, `candidates`, `max_distance`, `effort` or `filter`.
    pub(crate) fn check(&self, kind: IdKind) -> Result<()> {
        if self.k == 0 {
            return Err(Error::argument("k", "is 0; use 1 or more"));
        }
        if self.candidates == Some(0) {
            return Err(Error::argument("candidates", "is 0; use 1 or more"));
        }
        if self.max_distance.is_some_and(f32::is_nan) {
            return Err(Error::argument("max_distance", "is NaN; use a number"));
        }
        self.effort.check()?;
        self.filter.as_ref().map_or(Ok(()), |filter| filter.check(kind))
    }

    /// The largest distance that a search looks at: that of an estimate says little about what a source of vectors will.
    pub(crate) fn first_bound(&self) -> f32 {
        if self.rerank { f32::INFINITY } else { self.bound() }
    }

    /// What a search reads of the rows that it finds.
    pub(crate) fn first_include(&self) -> Include {
        if self.rerank { Include::NONE } else { self.include }
    }

    /// The largest distance that is of interest.
    pub(crate) fn bound(&self) -> f32 {
        self.max_distance.unwrap_or(f32::INFINITY)
    }

    /// When to stop.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.deadline.and_then(|time| Instant::now().checked_add(time))
    }
}
