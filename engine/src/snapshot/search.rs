//! Search: the nearest live rows of a pinned state.

use std::time::Duration;

use super::effort::Effort;
use super::hit::{Explain, Hits, Include};
use super::room::Room;
use super::scan::Scan;
use super::seek::Seek;
use super::terms::Terms;
use super::{Killed, Snapshot};
use crate::budget::Share;
use crate::error::Result;
use crate::filter::Filter;
use crate::index::flat::FlatQuery;
use crate::index::ivf::Probe;
use crate::kernel::TopK;

/// Scoring all rows costs less than looking up this fraction of them by id.
const SCAN_PER_LOOKUP: u64 = 16;
/// How many times as many lists are looked at if those chosen first hold too few rows that may be returned.
const MORE_LISTS: usize = 4;

/// A search being described; [`Search::run`] carries it out.
pub struct Search<'s> {
    snapshot: &'s Snapshot,
    query: &'s [f32],
    terms: Terms,
}

impl<'s> Search<'s> {
    pub(super) fn new(snapshot: &'s Snapshot, query: &'s [f32]) -> Self {
        Search { snapshot, query, terms: Terms::default() }
    }

    /// How many rows at most; 1 or more, 10 if not said. More than there are rows is fine.
    #[must_use]
    pub fn k(mut self, k: usize) -> Self {
        self.terms.k = k;
        self
    }

    /// How hard to look, where the collection has lists; [`Effort::Recall`] of 0.95 if not said. A flat collection is always searched
    /// exactly.
    #[must_use]
    pub fn effort(mut self, effort: Effort) -> Self {
        self.terms.effort = effort;
        self
    }

    /// Only rows that match. A second filter narrows the first.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.terms.narrow(filter);
        self
    }

    /// Only rows at most this far away, in the metric's own unit.
    #[must_use]
    pub fn max_distance(mut self, distance: f32) -> Self {
        self.terms.max_distance = Some(distance);
        self
    }

    /// What to return of each row beside id and distance.
    #[must_use]
    pub fn include(mut self, what: Include) -> Self {
        self.terms.include = what;
        self
    }

    /// Stops scoring after this time and returns the best rows found by then, with `explain().cut_short` set. Looked at between
    /// rows that are measured, not while lists are looked at, which takes microseconds.
    #[must_use]
    pub fn deadline(mut self, time: Duration) -> Self {
        self.terms.deadline = Some(time);
        self
    }

    /// Searches, in the calling thread. Takes no lock.
    ///
    /// Cost, where the collection is flat or every row is to be measured: one pass over the stored vectors, at memory speed; with a
    /// filter that names less than about a sixteenth of the rows by id, one look-up for each id. With lists: the centroids, the lists
    /// probed, a vector for each of some twenty candidates and for each fresh row in those lists, and a pass over rows that are in no
    /// list yet.
    ///
    /// # Errors
    /// `InvalidArgument` naming `query`, `k`, `max_distance`, `effort` or `filter`; `OverBudget` if `memory_budget` has no room for
    /// the best `k` rows; `Corrupt` if a row that was needed fails its checksum.
    pub fn run(self) -> Result<Hits> {
        self.terms.check(self.snapshot.schema().id_kind())?;
        Room::with(|room| answer(self.snapshot, self.query, &self.terms, room))
    }
}

/// Answers one query; the terms were checked.
pub(super) fn answer(snapshot: &Snapshot, query: &[f32], terms: &Terms, room: &mut Room) -> Result<Hits> {
    room.query.set(query, snapshot.schema())?;
    let view = snapshot.view();
    let k = terms.k.min(usize::try_from(view.count).unwrap_or(usize::MAX));
    let model = view.version.current_model().filter(|_| !view.version.lists.is_empty() || !terms.is_exact());
    let Some(model) = model.filter(|_| k > 0) else { return measure(snapshot, terms, k, &room.query) };
    let lists = model.file.lists();
    let Some(probe) = choose(terms, k, lists) else { return measure(snapshot, terms, k, &room.query) };
    room.reserve(snapshot.budget.as_ref(), k, lists, model.file.padded())?;
    let seek = Seek { snapshot, model, query, filter: terms.filter.as_ref(), k };
    by_lists(&seek, terms, probe, room)
}

/// How to search by lists; `None`: every row is to be measured.
fn choose(terms: &Terms, k: usize, lists: usize) -> Option<Probe> {
    let probe = terms.effort.probe(k, lists)?;
    // Half of the lists, read entry by entry, cost more than all rows at memory speed.
    let chosen = matches!(terms.effort, Effort::Probe { .. });
    (chosen || probe.nprobe.saturating_mul(2) < lists).then_some(probe)
}

/// The exact answer.
fn measure(snapshot: &Snapshot, terms: &Terms, k: usize, query: &FlatQuery) -> Result<Hits> {
    let view = snapshot.view();
    let bytes = k.saturating_mul(Scan::BYTES_PER_ROW) as u64;
    let _working = snapshot.budget.as_ref().map(|budget| budget.reserve(Share::Search, bytes)).transpose()?;
    let mut scan = scan(snapshot, terms, k, query);
    match scan.filter.and_then(Filter::only_within) {
        Some(ids) if (ids.len() as u64).saturating_mul(SCAN_PER_LOOKUP) <= view.count => scan.look_up(ids)?,
        _ => scan.scan_all(view.sources())?,
    }
    scan.finish(terms.include)
}

fn scan<'s, 'q>(snapshot: &'s Snapshot, terms: &'q Terms, k: usize, query: &'q FlatQuery) -> Scan<'s, 'q> {
    let view = snapshot.view();
    Scan {
        snapshot,
        query,
        filter: terms.filter.as_ref(),
        bound: terms.bound(),
        until: terms.until(),
        killed: Killed::new(view),
        best: TopK::new(k),
        explain: Explain { seq: view.seq, ..Explain::default() },
    }
}

fn by_lists(seek: &Seek<'_, '_>, terms: &Terms, mut probe: Probe, room: &mut Room) -> Result<Hits> {
    let lists = seek.model.file.lists();
    loop {
        seek.segments(&room.query, &probe, &mut room.lists)?;
        let mut hits = if seek.all_in_segments() {
            seek.hits(room.lists.found(), terms.bound(), terms.include)?
        } else {
            let mut scan = scan(seek.snapshot, terms, seek.k, &room.query);
            seek.gather(&room.lists, &mut room.marked, &mut room.fresh, &mut scan)?;
            scan.finish(terms.include)?
        };
        hits.explain.add_lists(seek.snapshot, &room.lists);
        let enough = hits.len() >= seek.k || terms.max_distance.is_some();
        if enough || probe.nprobe >= lists || hits.explain.cut_short {
            return Ok(hits);
        }
        if terms.filter.is_some() || probe.nprobe.saturating_mul(2 * MORE_LISTS) >= lists {
            return measure(seek.snapshot, terms, seek.k, &room.query);
        }
        probe.nprobe = probe.nprobe.saturating_mul(MORE_LISTS);
        probe.patience = usize::MAX;
    }
}
