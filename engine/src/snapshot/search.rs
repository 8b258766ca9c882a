//! Search: the nearest live rows of a pinned state.

use std::sync::Arc;
use std::time::Duration;

use super::chosen::ChosenRows;
use super::costs::{Costs, widened};
use super::effort::{Effort, measured};
use super::hit::{Explain, Hits, Include};
use super::mode::SearchMode;
use super::rerank::{VectorSource, rerank};
use super::room::{Needs, Room};
use super::scan::Scan;
use super::seek::Seek;
use super::terms::Terms;
use super::{Killed, OpenModel, Snapshot};
use crate::budget::Share;
use crate::delta::Generation;
use crate::error::Result;
use crate::filter::{Filter, IdSet};
use crate::index::flat::FlatQuery;
use crate::index::ivf::{Coder, Probe};
use crate::kernel::TopK;
use crate::planted::{self, Bug};

/// Scoring all rows costs less than looking up this fraction of them by id.
const SCAN_PER_LOOKUP: u64 = 16;
/// If the lists chosen first hold too few rows that may be returned, as many are looked at as if so many times fewer matched.
const MORE_LISTS: usize = 16;
/// The part of the rows that a filter is taken to let through until rows have met it.
const ASSUMED_PART: f64 = 0.5;
/// Lists that are looked at to see how many rows near the query match, before many lists are, and the part of the cost of measuring all that match which
/// may be lost by that, or by not doing so. Where it is more lists are to be so much cheaper, since it is not known whether they are enough.
const SCOUTED: usize = 16;
const MAY_BE_LOST: f64 = 0.15;
const UNSEEN: f64 = 0.65;

/// A search being described; [`Search::run`] carries it out.
pub struct Search<'s> {
    snapshot: &'s Snapshot,
    query: &'s [f32],
    terms: Terms,
    source: Option<&'s mut dyn VectorSource>,
}

impl<'s> Search<'s> {
    pub(super) fn new(snapshot: &'s Snapshot, query: &'s [f32]) -> Self {
        Search { snapshot, query, terms: Terms::of(snapshot), source: None }
    }

    /// How many rows at most; 1 or more, 10 if not said. More than there are rows is fine.
    #[must_use]
    pub fn k(mut self, k: usize) -> Self {
        self.terms.k = k;
        self
    }

    /// How hard to look, where the collection has lists; [`Snapshot::default_effort`] if not said. A flat collection is always searched
    /// exactly.
    #[must_use]
    pub fn effort(mut self, effort: Effort) -> Self {
        self.terms.effort = effort;
        self
    }

    /// Whether lists and rows are expected in memory; decided by sizes if not said.
    #[must_use]
    pub fn mode(mut self, mode: SearchMode) -> Self {
        self.terms.mode = mode;
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

    /// Measures the best rows by estimate once more, with vectors that `source` gives for their ids: it is called once, at the end, with
    /// [`candidates`](Search::candidates) ids. Distances are then exact, those of rows that the source does not have aside, and
    /// the hits are the `k` nearest by them, at most [`max_distance`](Search::max_distance) away. Of use where the collection keeps
    /// vectors as bytes, or none.
    #[must_use]
    pub fn rerank_with(mut self, source: &'s mut dyn VectorSource) -> Self {
        self.terms.rerank = true;
        self.source = Some(source);
        self
    }

    /// How many rows are measured at the end, less those whose codes, if they are bits, leave no doubt that they are not among the `k`, or given to
    /// [`rerank_with`](Search::rerank_with); at least `k` are. More find more and cost more. If
    /// not said, as many as the effort takes.
    #[must_use]
    pub fn candidates(mut self, candidates: usize) -> Self {
        self.terms.candidates = Some(candidates);
        self
    }

    /// Searches, in the calling thread. Takes no lock.
    ///
    /// Cost, where the collection is flat or every row is to be measured: one pass over the stored vectors, at memory speed; with a
    /// filter that names less than about a sixteenth of the rows by id, one look-up for each id. With lists: the centroids, the lists
    /// probed, a code for each fresh row in those lists (its vector, if vectors are short), a vector for each of some twenty candidates, and
    /// a pass over rows that are in no list yet.
    ///
    /// # Errors
    /// `InvalidArgument` naming `query`, `k`, `candidates`, `max_distance`, `effort`, `filter` or `rerank_with`; `OverBudget` if `memory_budget`
    /// has no room for the best `k` rows; `Corrupt` if a row that was needed fails its checksum; `Source` if the source of vectors
    /// fails.
    pub fn run(self) -> Result<Hits> {
        self.terms.check(self.snapshot.schema().id_kind())?;
        let found = Room::with(|room| answer(self.snapshot, self.query, &self.terms, room))?;
        match self.source {
            Some(source) => rerank(self.snapshot, self.query, &self.terms, found, source),
            None => Ok(found),
        }
    }
}

/// How a query is answered.
pub(super) enum Plan<'s> {
    /// Every row is measured, in a pass over all of them.
    Scan,
    /// The rows of the filter's ids are looked up.
    LookUp(&'s IdSet),
    /// The rows of the filter's ids are known.
    Each(Arc<ChosenRows>),
    /// The nearest lists.
    Lists(Lists<'s>),
}

/// A search by lists.
pub(super) struct Lists<'s> {
    pub(super) model: &'s OpenModel,
    /// As for a search without a filter.
    pub(super) probe: Probe,
    /// The same for a model whose list segments are being converted. Each row is in the lists of one of the two, and as large a part of
    /// each one's rows is looked at, so as much is found as with one model.
    pub(super) older: Option<(&'s OpenModel, Probe)>,
    /// The rows of the filter's ids, if the filter names some and they are known.
    chosen: Option<Arc<ChosenRows>>,
    /// The part of the rows that matches, if it is known.
    part: Option<f64>,
}

impl<'s> Lists<'s> {
    /// What a query is to look for. `cold`: lists and rows may have to come from the disk.
    pub(super) fn seek<'q>(
        &'q self,
        snapshot: &'s Snapshot,
        query: &'q [f32],
        terms: &'q Terms,
        cold: bool,
    ) -> Seek<'s, 'q> {
        let k = gathered(snapshot, terms, self.probe.exact);
        let (filter, chosen) = (terms.filter.as_ref(), self.chosen.as_deref());
        Seek { snapshot, model: self.model, query, filter, chosen, k, cold }
    }

    /// What such a search works in takes.
    pub(super) fn bytes(&self, snapshot: &Snapshot, terms: &Terms) -> u64 {
        self.needs(snapshot, gathered(snapshot, terms, self.probe.exact)).bytes()
    }

    /// Counts what such a search works in.
    ///
    /// # Errors
    /// `OverBudget`.
    pub(super) fn reserve(&self, seek: &Seek<'s, '_>, room: &mut Room) -> Result<()> {
        room.reserve(seek.snapshot.budget.as_ref(), &self.needs(seek.snapshot, seek.k))
    }

    /// A probe that costs as much as those of both models.
    fn together(&self) -> Probe {
        together(&self.probe, self.older.as_ref().map(|(_, probe)| probe))
    }

    /// What memory depends on, for so many rows.
    fn needs(&self, snapshot: &Snapshot, k: usize) -> Needs {
        let components = self.model.file.padded();
        let (older_lists, older_probes) =
            self.older.map_or((0, 0), |(model, probe)| (model.file.lists(), probe.nprobe.min(model.file.lists())));
        let nprobe = self.probe.nprobe.min(self.model.file.lists()).saturating_add(older_probes);
        let codewords = self.model.codewords().max(self.older.map_or(0, |(model, _)| model.codewords()));
        let lists = self.model.file.lists().saturating_add(older_lists);
        // Of the rows in memory as large a part as of lists, in either copy, and as much again where lists are uneven.
        let rows: u64 = snapshot.view().generations().map(Generation::rows).sum();
        let part = (4.0 * nprobe as f64 / lists.max(1) as f64).min(2.0);
        let fresh = (rows as f64 * part) as usize;
        Needs { k: k.max(self.probe.exact / 2), lists, nprobe, components, codewords, fresh }
    }
}

/// Rows wanted, at most as many as there are.
fn wanted(snapshot: &Snapshot, terms: &Terms) -> usize {
    terms.k.min(usize::try_from(snapshot.count()).unwrap_or(usize::MAX))
}

/// Rows that a search gathers, at most as many as there are: those wanted, or the candidates of a source of vectors, `usual` ones if their
/// number was not said.
pub(super) fn gathered(snapshot: &Snapshot, terms: &Terms, usual: usize) -> usize {
    let rows = if terms.rerank { terms.candidates.unwrap_or(usual).max(terms.k) } else { terms.k };
    rows.min(usize::try_from(snapshot.count()).unwrap_or(usize::MAX))
}

/// The cheapest way that is good enough. `again`: not for one query alone.
///
/// # Errors
/// `Corrupt`.
pub(super) fn plan<'s>(snapshot: &'s Snapshot, terms: &'s Terms, again: bool) -> Result<Plan<'s>> {
    let k = wanted(snapshot, terms);
    let lists = by_effort(snapshot, terms, k);
    let Some(ids) = terms.filter.as_ref().and_then(Filter::only_within) else {
        return Ok(lists.map_or(Plan::Scan, Plan::Lists));
    };
    let chosen = ChosenRows::of(ids, snapshot, again)?;
    let exact = Exact::of(snapshot, ids, chosen.as_ref());
    let costs = costs(snapshot, chosen.is_some());
    let part = (ids.len() as f64 / snapshot.count().max(1) as f64).min(1.0);
    match lists {
        Some(lists) if is_lean(snapshot) => Ok(Plan::Lists(Lists { chosen, part: Some(part), ..lists })),
        Some(lists) => {
            let scouts = may_scout(terms, chosen.as_ref()) && costs.scout(SCOUTED, part) < MAY_BE_LOST * exact.cost;
            let cost = costs.lists(&widened(&lists.together(), part), part);
            match cost < exact.cost * if scouts { 1.0 } else { UNSEEN } {
                true => Ok(Plan::Lists(Lists { chosen, part: Some(part), ..lists })),
                false => Ok(exact.plan),
            }
        }
        None => Ok(exact.plan),
    }
}

/// Whether it costs no calls to see what matches: the rows of the filter's ids are known, and the filter is nothing but ids.
fn may_scout(terms: &Terms, chosen: Option<&Arc<ChosenRows>>) -> bool {
    chosen.is_some() && terms.filter.as_ref().is_some_and(|filter| filter.as_ids().is_some())
}

/// The cheapest way to measure all rows that match.
struct Exact<'s> {
    plan: Plan<'s>,
    cost: f64,
}

impl<'s> Exact<'s> {
    /// Of a filter that lets nothing through but some ids, whose rows may be known.
    fn of(snapshot: &Snapshot, ids: &'s IdSet, chosen: Option<&Arc<ChosenRows>>) -> Self {
        let (matching, rows) = (ids.len() as u64, snapshot.count().max(1));
        let costs = costs(snapshot, chosen.is_some());
        let fresh: u64 = snapshot.view().generations().map(Generation::rows).sum();
        let (each, scan) = (costs.each(matching), costs.scan());
        let few = matching.saturating_mul(SCAN_PER_LOOKUP);
        match chosen {
            Some(_) if each > scan => Exact { plan: Plan::Scan, cost: scan },
            Some(chosen) if fresh <= few => Exact { plan: Plan::Each(chosen.clone()), cost: each },
            _ if few <= rows => Exact { plan: Plan::LookUp(ids), cost: each },
            _ => Exact { plan: Plan::Scan, cost: scan },
        }
    }

    /// Of any filter, instead of a search by lists. Rows whose vectors are gone are not measured one by one: all codes are looked at if that is cheaper.
    fn of_terms(snapshot: &Snapshot, terms: &'s Terms, plan: &Lists<'_>) -> Self {
        match terms.filter.as_ref().and_then(Filter::only_within).filter(|_| !is_lean(snapshot)) {
            Some(ids) => Exact::of(snapshot, ids, plan.chosen.as_ref()),
            None => Exact { plan: Plan::Scan, cost: costs(snapshot, false).scan() },
        }
    }
}

/// How the effort wants lists to be searched; `None`: every row is to be measured.
fn by_effort<'s>(snapshot: &'s Snapshot, terms: &Terms, k: usize) -> Option<Lists<'s>> {
    let version = &snapshot.view().version;
    let model = version.current_model().filter(|_| k > 0)?;
    let lean = is_lean(snapshot);
    let probe = probe_of(snapshot, terms, k, model)?;
    let older = match version.older_model().filter(|_| !planted::is(Bug::SearchNewestModelOnly)) {
        Some(older) => Some((&**older, probe_of(snapshot, terms, k, older)?)),
        None => None,
    };
    // Half of the lists, read entry by entry, cost more than all rows at memory speed.
    let told = matches!(terms.effort, Effort::Probe { .. });
    let part = |model: &OpenModel, probe: &Probe| (probe.likely_lists() as f64 / model.file.lists() as f64).min(1.0);
    let part = match older {
        None => part(model, &probe),
        Some((older, older_probe)) => {
            let (new, old) = (version.rows_in_lists_of(model) as f64, version.rows_in_lists_of(older) as f64);
            (new * part(model, &probe) + old * part(older, &older_probe)) / (new + old).max(1.0)
        }
    };
    (told || lean || part < 0.5).then_some(Lists { model, probe, older, chosen: None, part: None })
}

/// How the effort wants the lists of a model to be searched; `None`: every row is to be measured.
fn probe_of(snapshot: &Snapshot, terms: &Terms, k: usize, model: &OpenModel) -> Option<Probe> {
    let known = snapshot.view().version.manifest.calibration_of(model.file.hash());
    let lists = model.file.lists();
    let mut probe = match terms.effort.probe(k, lists, known) {
        None if is_lean(snapshot) => Probe::all(lists, k),
        probe => probe?,
    };
    if known.is_empty() || matches!(terms.effort, Effort::Probe { .. }) {
        probe.exact = probe.exact.max(model.fewest_measured(k));
    }
    if terms.rerank && is_lean(snapshot) {
        probe.exact = probe.exact.max(candidates_of(model, k));
    }
    if let Some(candidates) = terms.candidates {
        let rows = usize::try_from(snapshot.count()).unwrap_or(usize::MAX);
        probe.exact = candidates.min(rows).max(k);
    }
    Some(probe)
}

/// Rows among which the `k` nearest are, by codes alone. Measured on texts of 384 components; one bit needs twice as many at 128.
fn candidates_of(model: &OpenModel, k: usize) -> usize {
    let (rows, tenths) = match model.coder() {
        Coder::Bits(1) => (k, 100),
        Coder::Bits(2) => (k, 32),
        Coder::Bits(_) | Coder::None => (k, 16),
        Coder::Product(_) => (model.fewest_measured(k), 25),
    };
    rows.saturating_mul(tenths) / 10
}

/// Whether there are rows whose vectors are gone: only their codes tell how near they are.
fn is_lean(snapshot: &Snapshot) -> bool {
    !snapshot.schema().row_format().keeps_vectors() && snapshot.view().version.is_lean()
}

fn costs(snapshot: &Snapshot, placed: bool) -> Costs {
    let schema = snapshot.schema();
    let model = snapshot.view().version.current_model();
    let copies = if schema.has_second_lists() { 2.0 } else { 1.0 };
    let per_list = model.map_or(0.0, |model| copies * snapshot.count() as f64 / model.file.lists().max(1) as f64);
    let coded = model.is_none_or(|model| !matches!(model.coder(), Coder::None));
    // Of the log: what plan is taken is not to depend on how rows came to files.
    Costs { rows: snapshot.count(), vector_bytes: schema.vector_bytes(), dim: schema.dim(), per_list, coded, placed }
}

/// Answers one query; the terms were checked.
pub(super) fn answer(snapshot: &Snapshot, query: &[f32], terms: &Terms, room: &mut Room) -> Result<Hits> {
    // A query that is refused is refused before anything is looked up for it.
    room.query.set(query, snapshot.schema())?;
    by_plan(snapshot, query, terms, &plan(snapshot, terms, false)?, room)
}

/// Answers the query that was set in the room.
pub(super) fn by_plan(
    snapshot: &Snapshot,
    query: &[f32],
    terms: &Terms,
    plan: &Plan<'_>,
    room: &mut Room,
) -> Result<Hits> {
    let Plan::Lists(lists) = plan else { return measure(snapshot, terms, plan, &room.query) };
    by_lists(&lists.seek(snapshot, query, terms, terms.mode.is_cold(snapshot)), terms, lists, room)
}

/// Answers the query that was set in the room, by lists.
fn by_lists<'s>(seek: &Seek<'s, '_>, terms: &Terms, plan: &Lists<'s>, room: &mut Room) -> Result<Hits> {
    plan.reserve(seek, room)?;
    let attempt = Attempt::first(seek, terms, plan);
    let seen = attempt.segments(seek, room)?;
    settle(attempt, seen, seek, terms, plan, room)
}

/// The exact answer.
fn measure(snapshot: &Snapshot, terms: &Terms, plan: &Plan<'_>, query: &FlatQuery) -> Result<Hits> {
    let k = gathered(snapshot, terms, measured(terms.k));
    let bytes = k.saturating_mul(Scan::BYTES_PER_ROW) as u64;
    let _working = snapshot.budget.as_ref().map(|budget| budget.reserve(Share::Search, bytes)).transpose()?;
    let mut scan = new_scan(snapshot, terms, k, query);
    match plan {
        Plan::LookUp(ids) => scan.look_up(ids)?,
        Plan::Each(chosen) => scan.each(chosen)?,
        Plan::Scan | Plan::Lists(_) => scan.scan_all(snapshot.view().sources())?,
    }
    scan.finish(terms.first_include())
}

/// An exact search that has looked at nothing yet.
pub(super) fn new_scan<'s, 'q>(
    snapshot: &'s Snapshot,
    terms: &'q Terms,
    k: usize,
    query: &'q FlatQuery,
) -> Scan<'s, 'q> {
    let view = snapshot.view();
    Scan {
        snapshot,
        query,
        filter: terms.filter.as_ref(),
        bound: terms.first_bound(),
        until: terms.until(),
        killed: Killed::new(view),
        best: TopK::new(k),
        explain: Explain { seq: view.seq, ..Explain::default() },
    }
}

/// Whether rows are missing that more lists may hold. A row that was found and is too far away shows that nearer ones were looked at.
pub(super) fn is_few(seek: &Seek<'_, '_>, terms: &Terms, hits: &Hits, found: usize) -> bool {
    let wanted = terms.k.min(seek.k);
    hits.len() < wanted && (terms.first_bound() == f32::INFINITY || found < wanted)
}

/// The hits of a search of list segments, and of what is not in them. `older`: the lists of another model were looked at too.
pub(super) fn collect<'s>(
    seek: &Seek<'s, '_>,
    older: Option<&'s OpenModel>,
    terms: &Terms,
    room: &mut Room,
) -> Result<Hits> {
    if older.is_none() && seek.all_in_segments() {
        let mut hits = seek.hits(room.lists.found(), terms.first_bound(), terms.first_include())?;
        hits.explain.add_lists(seek.snapshot, &room.lists);
        return Ok(hits);
    }
    let mut scan = new_scan(seek.snapshot, terms, seek.k, &room.query);
    seek.gather(&room.lists, &mut room.fresh, &mut scan)?;
    if let Some(model) = older {
        Seek { model, ..*seek }.gather(&room.older, &mut room.fresh, &mut scan)?;
    }
    seek.gather_unfiled(&mut scan)?;
    let mut hits = scan.finish(terms.first_include())?;
    hits.explain.add_lists(seek.snapshot, &room.lists);
    if older.is_some() {
        hits.explain.add_lists(seek.snapshot, &room.older);
    }
    Ok(hits)
}

/// What lists are looked at: those of the plan first, and more of them each time that they hold too few rows that may be returned.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'s> {
    /// The part of the rows that is taken to match.
    part: f64,
    probe: Probe,
    older: Option<(&'s OpenModel, Probe)>,
    /// It is made to see how many rows near the query match.
    scouts: bool,
}

/// What an attempt comes to.
enum Outcome<'s> {
    Hits(Hits),
    /// Look at more.
    More(Attempt<'s>),
}

impl<'s> Attempt<'s> {
    pub(super) fn first(seek: &Seek<'s, '_>, terms: &Terms, plan: &Lists<'s>) -> Self {
        let part = plan.part.unwrap_or(ASSUMED_PART);
        let widen = |probe: &Probe| if seek.filter.is_some() { widened(probe, part) } else { *probe };
        let first = Attempt::new(part, plan, |_, probe| widen(probe));
        let many = |attempt: &Attempt<'_>| {
            attempt.probe.nprobe > SCOUTED || attempt.older.is_some_and(|(_, probe)| probe.nprobe > SCOUTED)
        };
        if is_lean(seek.snapshot) || !may_scout(terms, plan.chosen.as_ref()) || !many(&first) {
            return first;
        }
        let may_be_lost = MAY_BE_LOST * Exact::of_terms(seek.snapshot, terms, plan).cost;
        if first.cost(seek) < may_be_lost || costs(seek.snapshot, true).scout(SCOUTED, part) > may_be_lost {
            return first;
        }
        let few = |probe: &Probe| Probe { exact: seek.k, deviations: probe.deviations, ..Probe::new(SCOUTED) };
        Attempt { scouts: true, ..Attempt::new(part, plan, |_, probe| few(probe)) }
    }

    fn new(part: f64, plan: &Lists<'s>, probe_of: impl Fn(&OpenModel, &Probe) -> Probe) -> Self {
        let older = plan.older.as_ref().map(|(model, probe)| (*model, probe_of(model, probe)));
        Attempt { part, probe: probe_of(plan.model, &plan.probe), older, scouts: false }
    }

    /// What it costs if so many rows match.
    fn cost(&self, seek: &Seek<'s, '_>) -> f64 {
        let all = together(&self.probe, self.older.as_ref().map(|(_, probe)| probe));
        costs(seek.snapshot, seek.chosen.is_some()).lists(&all, self.part)
    }

    /// Searches the list segments. The part of the rows that met the filter and matched, if enough of them met it to tell.
    fn segments(&self, seek: &Seek<'s, '_>, room: &mut Room) -> Result<Option<f64>> {
        let seen = seek.segments(&room.query, &self.probe, &mut room.lists)?;
        let Some((model, probe)) = &self.older else { return Ok(seen) };
        let also = Seek { model, ..*seek }.segments(&room.query, probe, &mut room.older)?;
        Ok(seen.into_iter().chain(also).reduce(f64::min))
    }

    /// The first of three steps that do together what [`segments`](Attempt::segments) does, with any time between them, where lists and rows
    /// may have to come from the disk: asks for lists.
    pub(super) fn begin(&self, seek: &Seek<'s, '_>, room: &mut Room) {
        seek.begin(&room.query, &self.probe, &mut room.lists);
        if let Some((model, probe)) = &self.older {
            Seek { model, ..*seek }.begin(&room.query, probe, &mut room.older);
        }
    }

    /// The second: looks at the lists and asks for rows.
    pub(super) fn look(&self, seek: &Seek<'s, '_>, room: &mut Room) -> Result<Option<f64>> {
        let seen = seek.look(&room.query, &self.probe, &mut room.lists)?;
        let Some((model, probe)) = &self.older else { return Ok(seen) };
        let also = Seek { model, ..*seek }.look(&room.query, probe, &mut room.older)?;
        Ok(seen.into_iter().chain(also).reduce(f64::min))
    }

    /// The third: measures rows.
    pub(super) fn measure(&self, seek: &Seek<'s, '_>, room: &mut Room) -> Result<()> {
        seek.measure(&room.query, &mut room.lists)?;
        match &self.older {
            None => Ok(()),
            Some((model, _)) => Seek { model, ..*seek }.measure(&room.query, &mut room.older),
        }
    }

    /// The hits, if those that were found are enough.
    fn conclude(
        self,
        seen: Option<f64>,
        seek: &Seek<'s, '_>,
        terms: &Terms,
        plan: &Lists<'s>,
        room: &mut Room,
    ) -> Result<Outcome<'s>> {
        if self.scouts {
            // Where none was met that matches there may be some farther on.
            let part = match seen {
                Some(0.0) => self.part / MORE_LISTS as f64,
                seen => seen.map_or(self.part, |seen| seen.min(self.part)),
            };
            return self.go_on(part, false, seek, terms, plan, room);
        }
        let hits = collect(seek, self.older.map(|(model, _)| model), terms, room)?;
        // Fewer match near the query than elsewhere.
        let found = seen.filter(|seen| *seen < self.part / 2.0);
        let met = room.lists.found().len() + self.older.map_or(0, |_| room.older.found().len());
        let few = is_few(seek, terms, &hits, met);
        let all = |model: &OpenModel, probe: &Probe| probe.nprobe >= model.file.lists() && probe.patience == usize::MAX;
        let everything = all(seek.model, &self.probe) && self.older.is_none_or(|(model, probe)| all(model, &probe));
        if (found.is_none() && !few) || everything || hits.explain.cut_short {
            return Ok(Outcome::Hits(hits));
        }
        self.go_on(found.unwrap_or(self.part / MORE_LISTS as f64), few, seek, terms, plan, room)
    }

    /// As is best where such a part of the rows near the query matches. `few`: there were fewer hits than are wanted, so that no patience is to end the
    /// search.
    fn go_on(
        self,
        part: f64,
        few: bool,
        seek: &Seek<'s, '_>,
        terms: &Terms,
        plan: &Lists<'s>,
        room: &mut Room,
    ) -> Result<Outcome<'s>> {
        let more = |model: &OpenModel, probe: &Probe| {
            let wide = widened(probe, part);
            // If fewer match than was taken for granted, more lists are to be looked at wherever they are.
            let horizon = if part < self.part / 2.0 || !self.scouts { f32::INFINITY } else { probe.horizon };
            let patience = if few { usize::MAX } else { wide.patience };
            Probe { nprobe: wide.nprobe.min(model.file.lists()), patience, horizon, ..wide }
        };
        let mut next = Attempt::new(part, plan, more);
        let exact = Exact::of_terms(seek.snapshot, terms, plan);
        if next.cost(seek) > exact.cost {
            if !is_lean(seek.snapshot) {
                return measure(seek.snapshot, terms, &exact.plan, &room.query).map(Outcome::Hits);
            }
            let every = |model: &OpenModel, probe| Probe { nprobe: model.file.lists(), patience: usize::MAX, ..probe };
            next.probe = every(seek.model, next.probe);
            next.older = next.older.map(|(model, probe)| (model, every(model, probe)));
        }
        Ok(Outcome::More(next))
    }
}

/// The hits of an attempt that looked at its lists, or of those that come after it.
pub(super) fn settle<'s>(
    mut attempt: Attempt<'s>,
    mut seen: Option<f64>,
    seek: &Seek<'s, '_>,
    terms: &Terms,
    plan: &Lists<'s>,
    room: &mut Room,
) -> Result<Hits> {
    loop {
        match attempt.conclude(seen, seek, terms, plan, room)? {
            Outcome::Hits(hits) => return Ok(hits),
            Outcome::More(next) => attempt = next,
        }
        seen = attempt.segments(seek, room)?;
    }
}

/// A probe that costs as much as two.
fn together(probe: &Probe, older: Option<&Probe>) -> Probe {
    Probe { nprobe: probe.nprobe.saturating_add(older.map_or(0, |older| older.nprobe)), ..*probe }
}
