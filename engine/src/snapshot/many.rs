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
use super::window::Window;
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
    /// Lists and rows may have to come from the disk.
    cold: bool,
}

impl<'s> Many<'s> {
    /// For so many queries; the terms were checked.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn new(snapshot: &'s Snapshot, terms: &'s Terms, queries: usize) -> Result<Self> {
        let plan = plan(snapshot, terms, queries > 1)?;
        let cold = matches!(plan, Plan::Lists(_)) && terms.mode.is_cold(snapshot);
        Ok(Many { snapshot, terms, plan, cold })
    }

    /// Queries for one call of [`answer`](Many::answer) of `all` that are shared out to `threads`.
    pub(crate) fn at_once(&self, all: usize, threads: usize) -> usize {
        match self.cold {
            true => (all / threads.saturating_mul(4).max(1)).clamp(SHARING, WAITING),
            false => SHARING,
        }
    }

    /// The numbers of the queries, in the order in which they are best answered.
    ///
    /// # Errors
    /// `InvalidArgument` naming `query`, of the first query that is refused.
    pub(crate) fn order(&self, queries: &[&[f32]]) -> Result<Vec<usize>> {
        if !self.cold {
            return Ok((0..queries.len()).collect());
        }
        let schema = self.snapshot.schema();
        queries.iter().try_for_each(|query| check_vector("query", query, schema).map(drop))?;
        Ok(by_place(queries, schema.metric()))
    }

    /// Answers queries, in their order.
    ///
    /// # Errors
    /// As [`Search::run`](super::Search::run), of the first query that fails.
    pub(crate) fn answer(&self, queries: &[&[f32]]) -> Result<Vec<Hits>> {
        match &self.plan {
            Plan::Scan if queries.len() > 1 => {
                let mut answers = Vec::with_capacity(queries.len());
                for group in queries.chunks(SHARING) {
                    share_scan(self.snapshot, group, self.terms, &mut answers)?;
                }
                Ok(answers)
            }
            Plan::Lists(lists) if self.cold && queries.len() > 1 => {
                Window::new(self.snapshot, queries, self.terms, lists).answer()
            }
            _ => self.one_by_one(queries),
        }
    }

    /// The same, in the memory that one of them takes.
    ///
    /// # Errors
    /// As [`answer`](Many::answer).
    pub(crate) fn one_by_one(&self, queries: &[&[f32]]) -> Result<Vec<Hits>> {
        let answer = |query: &&[f32]| {
            Room::with(|room| {
                room.query.set(query, self.snapshot.schema())?;
                by_plan(self.snapshot, query, self.terms, &self.plan, room)
            })
        };
        queries.iter().map(answer).collect()
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
