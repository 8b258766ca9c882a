//! Many searches in one call, by several threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::snapshot::{Effort, Hits, Include, Many, SearchMode, Snapshot, Terms, VectorSource, rerank};

/// Searches being described, by [`Snapshot::search_batch`]; [`SearchBatch::run`] carries them out.
pub struct SearchBatch<'s, Q> {
    snapshot: &'s Snapshot,
    queries: &'s [Q],
    terms: Terms,
    threads: usize,
    source: Option<&'s mut dyn VectorSource>,
}

impl Snapshot {
    /// Starts searches for the rows nearest to each of `queries` (`dim` components each). The answers are those of as many single
    /// searches. Those that measure every row share passes over the rows; those whose lists and rows may have to come from the disk (see
    /// [`SearchMode`]) are answered in an order in which neighbours read the same, some of them waiting while others are worked on.
    ///
    /// ```
    /// # use stratavec::{Collection, Metric, OpenOptions, Schema};
    /// # let dir = tempfile::tempdir()?;
    /// # let c = Collection::create(dir.path().join("idx"), Schema::new(2, Metric::L2), OpenOptions::default())?;
    /// c.upsert("a", &[0.0, 1.0])?;
    /// let answers = c.snapshot().search_batch(&[[0.0, 0.0], [1.0, 1.0]]).k(1).threads(2).run()?;
    /// assert_eq!((answers.len(), answers[1][0].distance), (2, 1.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn search_batch<'s, Q: AsRef<[f32]> + Sync>(&'s self, queries: &'s [Q]) -> SearchBatch<'s, Q> {
        SearchBatch { snapshot: self, queries, terms: Terms::of(self), threads: 1, source: None }
    }
}

impl<'s, Q: AsRef<[f32]> + Sync> SearchBatch<'s, Q> {
    /// As [`Search::k`](crate::Search::k), for each query.
    #[must_use]
    pub fn k(mut self, k: usize) -> Self {
        self.terms.k = k;
        self
    }

    /// As [`Search::effort`](crate::Search::effort).
    #[must_use]
    pub fn effort(mut self, effort: Effort) -> Self {
        self.terms.effort = effort;
        self
    }

    /// As [`Search::filter`](crate::Search::filter).
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.terms.narrow(filter);
        self
    }

    /// As [`Search::max_distance`](crate::Search::max_distance).
    #[must_use]
    pub fn max_distance(mut self, distance: f32) -> Self {
        self.terms.max_distance = Some(distance);
        self
    }

    /// As [`Search::include`](crate::Search::include).
    #[must_use]
    pub fn include(mut self, what: Include) -> Self {
        self.terms.include = what;
        self
    }

    /// As [`Search::mode`](crate::Search::mode).
    #[must_use]
    pub fn mode(mut self, mode: SearchMode) -> Self {
        self.terms.mode = mode;
        self
    }

    /// As [`Search::deadline`](crate::Search::deadline), from when the work on a query begins.
    #[must_use]
    pub fn deadline(mut self, time: Duration) -> Self {
        self.terms.deadline = Some(time);
        self
    }

    /// As [`Search::rerank_with`](crate::Search::rerank_with): called once for each query, in the order of the queries and by the calling
    /// thread, when the candidates of all are found.
    #[must_use]
    pub fn rerank_with(mut self, source: &'s mut dyn VectorSource) -> Self {
        self.terms.rerank = true;
        self.source = Some(source);
        self
    }

    /// As [`Search::candidates`](crate::Search::candidates).
    #[must_use]
    pub fn candidates(mut self, candidates: usize) -> Self {
        self.terms.candidates = Some(candidates);
        self
    }

    /// Threads that work (1..=1024), the calling one among them; 1 if not said.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Searches. The answers are in the order of the queries.
    ///
    /// # Errors
    /// As [`Search::run`](crate::Search::run), of the first query that is refused or of one that fails; `InvalidArgument` naming `threads`; `Io` if no
    /// thread can be started.
    pub fn run(self) -> Result<Vec<Hits>> {
        let SearchBatch { snapshot, queries, terms, threads, source } = self;
        terms.check(snapshot.schema().id_kind())?;
        if !(1..=1024).contains(&threads) {
            return Err(Error::argument("threads", format!("is {}; use 1..=1024", threads)));
        }
        let vectors: Vec<&[f32]> = queries.iter().map(AsRef::as_ref).collect();
        let many = Many::new(snapshot, &terms, &vectors, threads)?;
        let order = many.order(&vectors);
        let parts: Vec<&[usize]> = order.chunks(many.at_once(queries.len(), threads)).collect();
        let answers = on_threads(threads, &parts, |part| {
            many.answer(&part.iter().filter_map(|at| vectors.get(*at).copied()).collect::<Vec<_>>())
        })?;
        let mut all = vec![Hits::default(); queries.len()];
        for (at, hits) in order.iter().zip(answers.into_iter().flatten()) {
            if let Some(place) = all.get_mut(*at) {
                *place = hits;
            }
        }
        let Some(source) = source else { return Ok(all) };
        let reranked = vectors.iter().zip(all).map(|(query, found)| rerank(snapshot, query, &terms, found, source));
        reranked.collect()
    }
}

/// What `work` makes of each part, on up to `threads` threads, the calling one among them.
///
/// # Errors
/// Of the first part that fails; `Io` if no thread can be started.
fn on_threads<P: Copy + Sync, T: Send>(
    threads: usize,
    parts: &[P],
    work: impl Fn(P) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<Option<Result<T>>>> = Mutex::new(parts.iter().map(|_| None).collect());
    let take_parts = || {
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(part) = parts.get(at)
        {
            let outcome = work(*part);
            if let Some(place) = outcomes.lock().get_mut(at) {
                *place = Some(outcome);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(parts.len()) {
            let started = std::thread::Builder::new().name("stratavec-search".into()).spawn_scoped(scope, take_parts);
            started.map_err(|error| Error::io("start", "a search thread", error))?;
        }
        take_parts();
        Ok(())
    })?;
    outcomes.into_inner().into_iter().flatten().collect()
}
