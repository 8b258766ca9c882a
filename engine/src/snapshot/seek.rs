//! Search by lists: the nearest lists of all segments, fresh rows in those lists, and exactly what is in no list yet.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::chosen::ChosenRows;
use super::cold::ColdFile;
use super::fresh::FreshRoom;
use super::hit::{Hits, Include};
use super::lists::{CodedLists, FileRows};
use super::scan::Scan;
use super::spot::{Spot, sort};
use super::{OpenModel, Snapshot, Source, View};
use crate::delta::Generation;
use crate::error::Result;
use crate::filter::Filter;
use crate::index::flat::FlatQuery;
use crate::index::ivf::{ColdSearch, IvfSearch, Probe, Ready, Rows, Scratch, Trace};
use crate::index::stored::Stored;
use crate::kernel::kernels;
use crate::segment::ListFile;
use crate::storage::Bytes;

/// With more segments than this a search allocates.
const FEW_SEGMENTS: usize = 8;
/// Rows that must have met a filter before the part of them that matched says anything.
const ENOUGH_MET: u32 = 32;

/// What is searched, and how.
#[derive(Clone, Copy)]
pub(super) struct Seek<'s, 'q> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) model: &'s OpenModel,
    pub(super) query: &'q [f32],
    pub(super) filter: Option<&'q Filter>,
    /// The rows of the ids that the filter names, if they are known.
    pub(super) chosen: Option<&'q ChosenRows>,
    /// Rows wanted, at most as many as there are.
    pub(super) k: usize,
    /// Whether lists and rows may have to come from the disk.
    pub(super) cold: bool,
}

impl<'s> Seek<'s, '_> {
    /// Generations whose rows are in lists of the model.
    pub(super) fn filed(&self) -> impl Iterator<Item = &'s Generation> {
        let id = self.model.id;
        self.snapshot.view().generations().filter(move |generation| generation.model() == Some(id))
    }

    /// Everything that is in no list of any model.
    fn unfiled(&self) -> impl Iterator<Item = Source<'s>> {
        let view: &'s View = self.snapshot.view();
        let files = view.version.rows.iter().filter(|rows| !rows.in_lists()).map(Source::File);
        let generations = view.generations().filter(|generation| view.version.model_of(generation).is_none());
        files.chain(generations.flat_map(Generation::blocks).map(|block| Source::Block(block)))
    }

    /// Whether lists hold all rows there are.
    pub(super) fn all_in_segments(&self) -> bool {
        let view = self.snapshot.view();
        view.version.rows.iter().all(|rows| rows.in_lists()) && view.generations().all(|g| g.rows() == 0)
    }

    /// The first half of [`segments`](Seek::segments), without a filter: `exact` is the query, `scratch` is worked in.
    fn prepare(&self, exact: &FlatQuery, probe: &Probe, ready: &mut Ready, scratch: &mut Scratch) {
        let (kernels, frame, centroids) = (kernels(), &self.model.frame, self.model.centroids());
        let coder = self.model.coder();
        let rows = FileRows { files: &[], killed: |_: u64| false };
        let segments: &[CodedLists<'_>] = &[];
        let search = IvfSearch { kernels, frame, centroids, coder, segments, rows: &rows };
        search.prepare(self.query, exact.length(), probe, ready, scratch, &mut ());
    }

    /// Begins a search of the list segments, where they and rows may have to come from the disk: asks for the first lists. With
    /// [`look`](Seek::look) and [`measure`](Seek::measure), which may come later, it does what [`segments`](Seek::segments) does.
    pub(super) fn begin(&self, exact: &FlatQuery, probe: &Probe, scratch: &mut Scratch) {
        let mut ready = scratch.take_ready();
        self.prepare(exact, probe, &mut ready, scratch);
        self.with_cold(&self.rows(), |search| search.begin(self.k, probe, &mut ready, scratch));
        scratch.give_ready(ready);
    }

    /// Looks at the lists and asks for the rows that are to be measured. The part of the rows that met the filter and matched, as
    /// [`segments`](Seek::segments) says it.
    pub(super) fn look(&self, exact: &FlatQuery, probe: &Probe, scratch: &mut Scratch) -> Result<Option<f64>> {
        let ready = scratch.take_ready();
        let seen = match self.matching() {
            None => {
                let look = |search: &ColdSearch<'_, _, _>| search.look(exact, self.k, probe, &ready, scratch, &mut ());
                self.with_cold(&self.rows(), look).map(|()| None)
            }
            Some(matching) => {
                let look = |search: &ColdSearch<'_, _, _>| search.look(exact, self.k, probe, &ready, scratch, &mut ());
                self.with_cold(&matching, look).map(|()| matching.part())
            }
        };
        scratch.give_ready(ready);
        seen
    }

    /// Measures what was found: `scratch.found()` has it.
    pub(super) fn measure(&self, exact: &FlatQuery, scratch: &mut Scratch) -> Result<()> {
        self.with_cold(&self.rows(), |search| search.measure(exact, self.k, scratch))
    }

    /// Rows in files.
    fn rows(&self) -> FileRows<'s, impl Fn(u64) -> bool + use<'s>> {
        let view: &'s View = self.snapshot.view();
        FileRows { files: &view.version.rows, killed: move |row: u64| view.killed(row) }
    }

    /// Those that the filter lets through, if there is one.
    fn matching(&self) -> Option<Matching<'_, impl Fn(u64) -> bool + use<'s>>> {
        // A set of ids whose rows are known says all that the filter says.
        let filter =
            self.filter.map(|filter| Some(filter).filter(|f| self.chosen.is_none() || f.as_ids().is_none()))?;
        Some(Matching { rows: self.rows(), filter, chosen: self.chosen, met: Cell::new(0), matched: Cell::new(0) })
    }

    /// Searches the list segments; `scratch.found()` has the rows found, nearest first, ties by row number. `exact` is the query.
    /// The part of the rows that met the filter and matched, if enough of them met it to tell.
    pub(super) fn segments(&self, exact: &FlatQuery, probe: &Probe, scratch: &mut Scratch) -> Result<Option<f64>> {
        let Some(matching) = self.matching() else {
            self.nearest(&self.rows(), exact, probe, scratch, &mut ())?;
            return Ok(None);
        };
        self.nearest(&matching, exact, probe, scratch, &mut ())?;
        Ok(matching.part())
    }

    /// Searches the list segments, without a filter, while `trace` looks on.
    pub(super) fn follow<T: Trace>(
        &self,
        exact: &FlatQuery,
        probe: &Probe,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<()> {
        self.nearest(&self.rows(), exact, probe, scratch, trace)
    }

    /// The distance of a row that a search of list segments may measure, and whose codes say `estimate`: as the search would tell it.
    pub(super) fn distance(&self, row: u64, estimate: f32, exact: &FlatQuery) -> Result<f32> {
        let rows = FileRows { files: &self.snapshot.view().version.rows, killed: |_: u64| false };
        let vector = rows.load(rows.place(row)?)?;
        match vector.is_none() {
            true => Ok(self.model.frame.distance_of(estimate)),
            false => Ok(exact.score_one(&vector)),
        }
    }

    fn nearest<R: Rows, T: Trace>(
        &self,
        rows: &R,
        exact: &FlatQuery,
        probe: &Probe,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<()> {
        if self.cold {
            let mut ready = scratch.take_ready();
            self.prepare(exact, probe, &mut ready, scratch);
            let finish =
                |search: &ColdSearch<'_, _, R>| search.finish(exact, self.k, probe, &mut ready, scratch, trace);
            let outcome = self.with_cold(rows, finish);
            scratch.give_ready(ready);
            return outcome;
        }
        self.with(rows, |search| {
            search.nearest(self.query, exact.length(), exact, self.k, probe, scratch, trace).map(drop)
        })
    }

    /// The list segments of the model.
    fn files(&self) -> impl Iterator<Item = &'s Arc<ListFile>> {
        let hash = self.model.file.hash();
        self.snapshot.view().version.lists.iter().filter(move |file| file.model() == hash)
    }

    /// The same, where lists and rows may have to come from the disk.
    fn with_cold<R: Rows, T>(&self, rows: &R, run: impl FnOnce(&ColdSearch<'_, ColdFile<'s>, R>) -> T) -> T {
        let segments: Vec<ColdFile<'s>> = self.files().map(|file| ColdFile::new(file)).collect();
        let (kernels, frame, centroids) = (kernels(), &self.model.frame, self.model.centroids());
        run(&ColdSearch { kernels, frame, centroids, coder: self.model.coder(), segments: &segments, rows })
    }

    /// Calls `run` with a search over all list segments of the model.
    #[inline]
    fn with<R: Rows, T>(&self, rows: &R, run: impl FnOnce(&IvfSearch<'_, CodedLists<'_>, R>) -> T) -> T {
        let version = &self.snapshot.view().version;
        let own: Vec<Arc<ListFile>>;
        let files = match version.older_model() {
            None => &version.lists[..],
            Some(_) => {
                own = self.files().cloned().collect();
                &own[..]
            }
        };
        let run = |segments: &[CodedLists<'_>]| {
            let (kernels, frame, centroids) = (kernels(), &self.model.frame, self.model.centroids());
            let coder = self.model.coder();
            run(&IvfSearch { kernels, frame, centroids, coder, segments, rows })
        };
        match files {
            [] => run(&[]),
            [one] => run(&[CodedLists::of(one)]),
            [first, ..] if files.len() <= FEW_SEGMENTS => {
                let view = |i: usize| CodedLists::of(files.get(i).unwrap_or(first));
                run(std::array::from_fn::<_, FEW_SEGMENTS, _>(view).get(..files.len()).unwrap_or_default())
            }
            many => run(&many.iter().map(|file| CodedLists::of(file)).collect::<Vec<_>>()),
        }
    }

    /// Hits of nothing but list segments: the whole answer if they hold all rows.
    pub(super) fn hits(&self, found: &[(f32, u64)], bound: f32, include: Include) -> Result<Hits> {
        let mut hits = Hits::default();
        hits.hits.reserve_exact(found.len());
        for (distance, row) in found {
            if *distance <= bound
                && let Some(spot) = self.spot(*row)?
            {
                hits.hits.push(spot.hit(self.snapshot, *distance, include)?);
            }
        }
        sort(&mut hits.hits);
        Ok(hits)
    }

    /// Offers to `scan` what was found in segments, then the fresh rows of the probed lists.
    pub(super) fn gather(&self, scratch: &Scratch, room: &mut FreshRoom, scan: &mut Scan<'s, '_>) -> Result<()> {
        for (distance, row) in scratch.found() {
            if *distance <= scan.bound
                && let Some(spot) = self.spot(*row)?
            {
                scan.take(spot, *distance)?;
            }
        }
        self.gather_fresh(scratch, room, scan)
    }

    /// Offers to `scan` all that is in no list.
    pub(super) fn gather_unfiled(&self, scan: &mut Scan<'s, '_>) -> Result<()> {
        scan.scan_all(self.unfiled())
    }

    fn spot(&self, row: u64) -> Result<Option<Spot<'s>>> {
        let version: &'s super::Version = &self.snapshot.view().version;
        let Some((index, at)) = version.locate(row)? else { return Ok(None) };
        // A file that is not said to be in lists is scanned.
        let rows = version.rows.get(index).filter(|rows| rows.in_lists());
        Ok(rows.map(|rows| Spot { source: Source::File(rows), at }))
    }
}

/// Rows in files that a filter lets through.
struct Matching<'a, K> {
    rows: FileRows<'a, K>,
    filter: Option<&'a Filter>,
    chosen: Option<&'a ChosenRows>,
    /// How many rows met the filter, and how many it let through.
    met: Cell<u32>,
    matched: Cell<u32>,
}

impl<K: Fn(u64) -> bool> Matching<'_, K> {
    /// The part of the rows that met the filter and matched, if enough of them met it to tell.
    fn part(&self) -> Option<f64> {
        let (met, matched) = (self.met.get(), self.matched.get());
        (met >= ENOUGH_MET).then(|| f64::from(matched) / f64::from(met))
    }

    fn lets_through(&self, place: u64) -> Result<bool> {
        let (file, ordinal) = ((place >> 32) as usize, (place & 0xFFFF_FFFF) as usize);
        if self.chosen.is_some_and(|chosen| !chosen.has(file, ordinal)) {
            return Ok(false);
        }
        match self.filter {
            Some(filter) => Ok(filter.matches(self.rows.id(place)?.as_ref())),
            None => Ok(true),
        }
    }
}

impl<K: Fn(u64) -> bool> Rows for Matching<'_, K> {
    fn live(&self, row: u64) -> Result<bool> {
        self.find(row).map(|place| place.is_some())
    }

    fn find(&self, row: u64) -> Result<Option<u64>> {
        let Some(place) = self.rows.find(row)? else { return Ok(None) };
        let through = self.lets_through(place)?;
        self.met.set(self.met.get().saturating_add(1));
        self.matched.set(self.matched.get().saturating_add(through.into()));
        Ok(through.then_some(place))
    }

    fn place(&self, row: u64) -> Result<u64> {
        self.rows.place(row)
    }

    fn ahead(&self, place: u64) -> &[u8] {
        self.rows.ahead(place)
    }

    fn proof(&self, place: u64) -> &[AtomicU64] {
        self.rows.proof(place)
    }

    fn ask(&self, place: u64) {
        self.rows.ask(place);
    }

    fn load(&self, place: u64) -> Result<Stored<Bytes<'_>>> {
        self.rows.load(place)
    }

    fn vector(&self, place: u64) -> Result<Stored<&[u8]>> {
        self.rows.vector(place)
    }
}
