//! Search by lists: the nearest lists of all segments, fresh rows in those lists, and exactly what is in no list yet.

use super::hit::{Hits, Include};
use super::lists::FileRows;
use super::scan::Scan;
use super::spot::{Spot, sort};
use super::{OpenModel, Snapshot, Source, View};
use crate::delta::{Generation, Marked};
use crate::error::Result;
use crate::filter::Filter;
use crate::id::IdKind;
use crate::index::flat::FlatQuery;
use crate::index::ivf::{IvfSearch, Probe, Rows, Scratch};
use crate::kernel::kernels;

/// What is searched, and how.
#[derive(Clone, Copy)]
pub(super) struct Seek<'s, 'q> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) model: &'s OpenModel,
    pub(super) query: &'q [f32],
    pub(super) filter: Option<&'q Filter>,
    /// Rows wanted, at most as many as there are.
    pub(super) k: usize,
}

impl<'s> Seek<'s, '_> {
    /// Generations whose rows are in lists of the model.
    fn filed(&self) -> impl Iterator<Item = &'s Generation> {
        let id = self.model.id;
        self.snapshot.view().generations().filter(move |generation| generation.model() == Some(id))
    }

    /// Everything that is in no list of the model.
    fn unfiled(&self) -> impl Iterator<Item = Source<'s>> {
        let (view, id): (&'s View, _) = (self.snapshot.view(), self.model.id);
        let files = view.version.rows.iter().filter(|rows| !rows.in_lists()).map(Source::File);
        let generations = view.generations().filter(move |generation| generation.model() != Some(id));
        files.chain(generations.flat_map(Generation::blocks).map(|block| Source::Block(block)))
    }

    /// Whether lists hold all rows there are.
    pub(super) fn all_in_segments(&self) -> bool {
        let view = self.snapshot.view();
        view.version.rows.iter().all(|rows| rows.in_lists()) && view.generations().all(|g| g.rows() == 0)
    }

    /// Searches the list segments; `scratch.found()` has the rows found, nearest first, ties by row number. `exact` is the query.
    pub(super) fn segments(&self, exact: &FlatQuery, probe: &Probe, scratch: &mut Scratch) -> Result<()> {
        let view = self.snapshot.view();
        let rows = FileRows { files: &view.version.rows, killed: |row: u64| view.killed(row) };
        match self.filter {
            None => self.nearest(&rows, exact, probe, scratch),
            Some(filter) => {
                let kind = self.snapshot.schema().id_kind();
                self.nearest(&Matching { rows, filter, kind }, exact, probe, scratch)
            }
        }
    }

    fn nearest<R: Rows>(&self, rows: &R, exact: &FlatQuery, probe: &Probe, scratch: &mut Scratch) -> Result<()> {
        let search = IvfSearch {
            kernels: kernels(),
            frame: &self.model.frame,
            centroids: self.model.centroids(),
            segments: &self.snapshot.view().version.lists[..],
            rows,
        };
        search.nearest(self.query, exact.length(), exact, self.k, probe, scratch, &mut ()).map(drop)
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

    /// Offers to `scan` what was found in segments, then the fresh rows of the probed lists, then all that is in no list.
    pub(super) fn gather(
        &self,
        scratch: &Scratch,
        marked: &mut Marked,
        fresh: &mut Vec<u64>,
        scan: &mut Scan<'s, '_>,
    ) -> Result<()> {
        for (distance, row) in scratch.found() {
            if *distance <= scan.bound
                && let Some(spot) = self.spot(*row)?
            {
                scan.take(spot, *distance)?;
            }
        }
        let mut ready = false;
        for generation in self.filed().filter(|generation| generation.rows() > 0) {
            let Some(members) = generation.members() else { continue };
            if !ready {
                marked.set(scratch.probed(), members.lists());
                ready = true;
            }
            fresh.clear();
            members.for_each_in(scratch.probed(), marked, |row| fresh.push(row));
            self.fresh(generation, fresh, scan)?;
        }
        scan.scan_all(self.unfiled())
    }

    /// Scores fresh rows.
    fn fresh(&self, generation: &'s Generation, fresh: &[u64], scan: &mut Scan<'s, '_>) -> Result<()> {
        let view = self.snapshot.view();
        for row in fresh {
            let Some((block, at)) = generation.locate(*row) else { continue };
            let maybe_dead = block.maybe_dead_word(at / 64) >> (at % 64) & 1 == 1;
            if !(maybe_dead && view.killed(*row)) {
                scan.score(Spot { source: Source::Block(block), at })?;
            }
        }
        Ok(())
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
    filter: &'a Filter,
    kind: IdKind,
}

impl<K: Fn(u64) -> bool> Rows for Matching<'_, K> {
    fn live(&self, row: u64) -> Result<bool> {
        if !self.rows.live(row)? {
            return Ok(false);
        }
        let place = self.rows.place(row)?;
        Ok(self.filter.matches(self.rows.id(place, self.kind)?.as_ref()))
    }

    fn place(&self, row: u64) -> Result<u64> {
        self.rows.place(row)
    }

    fn ahead(&self, place: u64) -> &[u8] {
        self.rows.ahead(place)
    }

    fn vector(&self, place: u64) -> Result<(&[u8], f32)> {
        self.rows.vector(place)
    }
}
