//! Several queries at once.

use super::Snapshot;
use super::effort::measured;
use super::hit::Hits;
use super::order::by_place;
use super::read_ahead::ReadAhead;
use super::room::Room;
use super::scan::{CHUNK, Scan};
use super::search::{Plan, by_plan, gathered, new_scan, plan};
use super::terms::Terms;
use super::window::{Window, searches_ahead};
use crate::budget::Share;
use crate::error::Result;
use crate::index::flat::{FlatQuery, check_vector};

/// Queries that share one pass over the rows: what they have found so far fits the fast caches beside the rows.
const SHARING: usize = 32;
/// Most queries of one call that are answered while others of them wait for the disk. With more of them threads would not end together.
const WAITING: usize = 256;

/// Queries that are answered as if each was asked alone. Those that are scanned share passes over the rows; those whose lists and rows may have
/// to come from the disk share what they read; the others go one after the other.
pub(crate) struct Many<'s> {
    snapshot: &'s Snapshot,
    terms: &'s Terms,
    plan: Plan<'s>,
    /// Where lists and rows may have to come from the disk: how many searches wait for them on each thread.
    ahead: Option<usize>,
}

impl<'s> Many<'s> {
    /// For these queries, to be answered by so many threads; the terms were checked.
    ///
    /// # Errors
    /// `InvalidArgument` naming `query`, of the first that is refused; `Corrupt`.
    pub(crate) fn new(snapshot: &'s Snapshot, terms: &'s Terms, queries: &[&[f32]], threads: usize) -> Result<Self> {
        // A query that is refused is refused before anything is looked up for it.
        queries.iter().try_for_each(|query| check_vector("query", query, snapshot.schema()).map(drop))?;
        let plan = plan(snapshot, terms, queries.len() > 1)?;
        let ahead = match &plan {
            Plan::Lists(lists) if terms.mode.is_cold(snapshot) => Some(searches_ahead(snapshot, terms, lists, threads)),
            _ => None,
        };
        Ok(Many { snapshot, terms, plan, ahead })
    }

    /// Queries for one call of [`answer`](Many::answer) of `all` that are shared out to `threads`.
    pub(crate) fn at_once(&self, all: usize, threads: usize) -> usize {
        match self.ahead.is_some() {
            true => (all / threads.saturating_mul(4).max(1)).clamp(SHARING, WAITING),
            false => SHARING,
        }
    }

    /// The numbers of the queries, in the order in which they are best answered.
    pub(crate) fn order(&self, queries: &[&[f32]]) -> Vec<usize> {
        match self.ahead {
            Some(_) => by_place(queries, self.snapshot.schema().metric()),
            None => (0..queries.len()).collect(),
        }
    }

    /// Answers queries, in their order.
    ///
    /// # Errors
    /// As [`Search::run`](super::Search::run), of a query that fails.
    pub(crate) fn answer(&self, queries: &[&[f32]]) -> Result<Vec<Hits>> {
        match (&self.plan, self.ahead) {
            (Plan::Scan, _) if queries.len() > 1 => {
                let mut answers = Vec::with_capacity(queries.len());
                for group in queries.chunks(SHARING) {
                    share_scan(self.snapshot, group, self.terms, &mut answers)?;
                }
                Ok(answers)
            }
            (Plan::Lists(lists), Some(ahead)) => Window::new(self.snapshot, queries, self.terms, lists, ahead).answer(),
            (plan, _) => {
                let answer = |query: &&[f32]| {
                    Room::with(|room| {
                        room.query.set(query, self.snapshot.schema())?;
                        by_plan(self.snapshot, query, self.terms, plan, room)
                    })
                };
                queries.iter().map(answer).collect()
            }
        }
    }
}

/// One pass over all rows for a group of queries.
fn share_scan(snapshot: &Snapshot, group: &[&[f32]], terms: &Terms, answers: &mut Vec<Hits>) -> Result<()> {
    let view = snapshot.view();
    let k = gathered(snapshot, terms, measured(terms.k));
    let bytes = k.saturating_mul(Scan::BYTES_PER_ROW).saturating_mul(group.len()) as u64;
    let _working = snapshot.budget.as_ref().map(|budget| budget.reserve(Share::Search, bytes)).transpose()?;
    let ready = |query: &&[f32]| FlatQuery::new(query, snapshot.schema());
    let ready: Vec<FlatQuery> = group.iter().map(ready).collect::<Result<_>>()?;
    let mut scans: Vec<Scan<'_, '_>> = ready.iter().map(|query| new_scan(snapshot, terms, k, query)).collect();
    let mut late = false;
    for source in view.sources() {
        scans.iter_mut().for_each(|scan| scan.explain.sources_scanned += 1);
        let mut ahead = ReadAhead::new(&source);
        for word in 0..source.len().div_ceil(CHUNK) {
            let Some(first) = scans.first_mut() else { return Ok(()) };
            late = late || first.is_late();
            if late {
                break;
            }
            let live = source.live_word(word, &mut first.killed)?;
            if live != 0 {
                ahead.before(&source, word * CHUNK);
                scans.iter_mut().try_for_each(|scan| scan.scan_chunk(source, word, live))?;
            }
        }
    }
    for mut scan in scans {
        scan.explain.cut_short |= late;
        answers.push(scan.finish(terms.first_include())?);
    }
    Ok(())
}
