//! The answers to many queries, as tables.

use std::collections::TryReserveError;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use stratavec::{Hits, Id, SearchMode, Snapshot};

use crate::error::{OrRaise, refuse};
use crate::filter::with_callbacks;
use crate::rerank::PySource;
use crate::terms::{Terms, apply};

/// Queries for each thread after which it is known how long a query takes.
const FIRST: usize = 64;
/// How long a signal may wait for a search.
const PATIENCE: Duration = Duration::from_millis(500);
/// Most ids in a table of answers: more than that is a slip.
const MOST_CELLS: usize = 1 << 30;

/// `queries` x `k` ids and distances, row by row. Where there is no hit, `u64::MAX` or `None` and infinity.
pub struct Answers {
    pub numbers: Vec<u64>,
    pub names: Vec<Option<Id>>,
    pub distances: Vec<f32>,
}

/// Many queries, and what is told of them.
pub struct Asked<'a> {
    pub snapshot: &'a Snapshot,
    pub queries: &'a [&'a [f32]],
    pub terms: &'a Terms,
    pub source: Option<PySource>,
    pub mode: SearchMode,
    pub threads: usize,
}

impl Asked<'_> {
    /// Searches some queries at a time and gives what was found to `take`. Looks for signals some times a second.
    pub fn run(self, py: Python<'_>, mut take: impl FnMut(Vec<Hits>) + Send) -> PyResult<()> {
        let Asked { snapshot, queries, terms, mut source, mode, threads } = self;
        // Callbacks take turns anyway, and what they raise belongs to this thread.
        let threads = if terms.asks { 1 } else { threads };
        let mut rest = queries;
        let mut step = FIRST.saturating_mul(threads.clamp(1, 1024));
        loop {
            let (now, later) = rest.split_at(step.min(rest.len()));
            let started = Instant::now();
            let search = || -> stratavec::Result<()> {
                let batch = apply!(snapshot.search_batch(now), terms).mode(mode).threads(threads);
                let found = match &mut source {
                    Some(source) => batch.rerank_with(source).run()?,
                    None => batch.run()?,
                };
                take(found);
                Ok(())
            };
            let done = match terms.asks {
                false => py.detach(search),
                true => py.detach(|| with_callbacks(search))?,
            };
            if let Some(error) = source.as_mut().and_then(PySource::raised) {
                return Err(error);
            }
            done.or_raise(py)?;
            rest = later;
            if rest.is_empty() {
                return Ok(());
            }
            py.check_signals()?;
            step = next_step(now.len(), started.elapsed(), rest.len());
        }
    }
}

impl Answers {
    /// The answers to these queries.
    pub fn search(py: Python<'_>, asked: Asked<'_>) -> PyResult<Answers> {
        let (queries, terms, snapshot) = (asked.queries, asked.terms, asked.snapshot);
        let cells = queries.len().saturating_mul(terms.k);
        if cells > MOST_CELLS {
            return Err(refuse(py, "k", format!("is {}; so many answers to each query do not fit a table", terms.k)));
        }
        let numbers = snapshot.schema().id_kind() == stratavec::IdKind::U64;
        let mut answers = Answers::with_room(cells, numbers).map_err(|_| {
            PyMemoryError::new_err(format!("there is no memory for a table of {} x {}", queries.len(), terms.k))
        })?;
        asked.run(py, |found| answers.add(found, terms.k, numbers))?;
        Ok(answers)
    }

    fn with_room(cells: usize, numbers: bool) -> Result<Answers, TryReserveError> {
        let mut answers = Answers { numbers: Vec::new(), names: Vec::new(), distances: Vec::new() };
        answers.distances.try_reserve_exact(cells)?;
        match numbers {
            true => answers.numbers.try_reserve_exact(cells)?,
            false => answers.names.try_reserve_exact(cells)?,
        }
        Ok(answers)
    }

    fn add(&mut self, found: Vec<Hits>, k: usize, numbers: bool) {
        for hits in found {
            let missing = k.saturating_sub(hits.len());
            self.distances.extend(hits.iter().map(|hit| hit.distance));
            self.distances.extend(std::iter::repeat_n(f32::INFINITY, missing));
            if numbers {
                self.numbers.extend(hits.iter().map(|hit| hit.id.as_u64().unwrap_or(u64::MAX)));
                self.numbers.extend(std::iter::repeat_n(u64::MAX, missing));
            } else {
                self.names.extend(hits.into_iter().map(|hit| Some(hit.id)));
                self.names.extend(std::iter::repeat_n(None, missing));
            }
        }
    }
}

/// As many queries as fit the patience; all that are left if those do.
fn next_step(done: usize, took: Duration, left: usize) -> usize {
    let each = took.as_secs_f64() / done.max(1) as f64;
    let fit = (PATIENCE.as_secs_f64() / each.max(1e-9)) as usize;
    if fit >= left { left } else { fit.max(FIRST) }
}
