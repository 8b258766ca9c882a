//! One query over lists that may have to come from the disk first.
//!
//! The stages are those of a search in memory, and so is the answer. What differs is that all of a wave is asked for before any of it is
//! looked at, and the next wave before this one is scanned, so that the disk is never asked for one piece at a time; and that rows are
//! asked for all at once, in the order of their places: at the end, or those of some lists where lists have no codes.

use std::ops::Range;

use super::centroids::CentroidSet;
use super::encoder::Coder;
use super::exact::Entry;
use super::frame::Frame;
use super::search::{ColdWork, IvfSearch, Lists, Probe, QueryState, Ready, Rows, Scratch};
use super::wave::Wave;
use super::waves::Waves;
use super::{Stage, Trace};
use crate::error::Result;
use crate::index::flat::FlatQuery;
use crate::index::stored::Stored;
use crate::kernel::Kernels;
use crate::storage::Bytes;

/// The lists of a segment, in memory or not.
pub(crate) trait ColdLists {
    /// Some of the lists, in memory.
    type Here<'h>: Lists
    where
        Self: 'h;

    /// Asks for a list to be read soon.
    fn ask(&self, list: u32);

    /// Bytes of a list.
    fn bytes(&self, list: u32) -> usize;

    /// Brings lists into memory.
    ///
    /// # Errors
    /// `Corrupt`; `Io`.
    fn bring<'h>(&'h self, lists: &mut dyn Iterator<Item = u32>) -> Result<Self::Here<'h>>;
}

/// What a search needs to know of the collection; see [`IvfSearch`].
pub(crate) struct ColdSearch<'a, C, R> {
    pub(crate) kernels: &'static Kernels,
    pub(crate) frame: &'a Frame,
    pub(crate) centroids: CentroidSet<'a>,
    pub(crate) coder: Coder<'a>,
    pub(crate) segments: &'a [C],
    pub(crate) rows: &'a R,
}

/// A query that is being answered.
struct Query<'q> {
    state: &'q QueryState,
    exact: &'q FlatQuery,
    k: usize,
    probe: &'q Probe,
}

impl<C: ColdLists, R: Rows> ColdSearch<'_, C, R> {
    /// As [`IvfSearch::finish`].
    ///
    /// # Errors
    /// `Corrupt`; `Io`.
    pub(crate) fn finish<T: Trace>(
        &self,
        exact: &FlatQuery,
        k: usize,
        probe: &Probe,
        ready: &mut Ready,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<()> {
        self.begin(k, probe, ready, scratch);
        self.look(exact, k, probe, ready, scratch, trace)?;
        self.measure(exact, k, scratch)?;
        trace.ended(Stage::Exact);
        Ok(())
    }

    /// Asks for the first lists of a query that is ready. [`look`](ColdSearch::look) comes next: later, if there is something else to do.
    pub(crate) fn begin(&self, k: usize, probe: &Probe, ready: &mut Ready, scratch: &mut Scratch) {
        std::mem::swap(&mut ready.probes, &mut scratch.probes);
        scratch.candidates.reset(k, probe.exact);
        scratch.forget_work();
        scratch.met.clear();
        scratch.cold = Some(ColdWork::default());
        self.ask_for_first(&mut self.waves_of(&ready.state, scratch, probe), |turns| self.ask(&turns, scratch));
    }

    /// The first lists are asked for before anything is known of the query.
    fn ask_for_first(&self, waves: &mut Waves<'_>, mut ask: impl FnMut(Range<usize>)) {
        let Some(first) = waves.next(usize::MAX) else { return };
        let second = waves.after(&first, usize::MAX);
        [first, second].into_iter().for_each(|turns| ask(waves.ask(&turns)));
    }

    /// Looks at the lists and asks for the rows that are to be measured. [`measure`](ColdSearch::measure) comes next, at any time.
    ///
    /// # Errors
    /// `Corrupt`; `Io`.
    pub(crate) fn look<T: Trace>(
        &self,
        exact: &FlatQuery,
        k: usize,
        probe: &Probe,
        ready: &Ready,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<()> {
        let mut work = scratch.cold.take().unwrap_or_default();
        if let Coder::Product(book) = self.coder {
            scratch.words.prepare(self.kernels, book, &ready.state.rotated);
        }
        let outcome = self.waves(&Query { state: &ready.state, exact, k, probe }, scratch, &mut work, trace);
        scratch.cold = Some(work);
        outcome?;
        if !self.measures_in_waves() {
            scratch.places.clear();
            let found = scratch.candidates.finish().iter();
            scratch.places.extend(found.map(|found| (found.place, found.row, found.estimate)));
            self.ask_for_rows(scratch);
        }
        Ok(())
    }

    /// Measures what was found: `scratch.found()` and what stands beside it are then about this query.
    ///
    /// # Errors
    /// `Corrupt`; `Io`.
    pub(crate) fn measure(&self, exact: &FlatQuery, k: usize, scratch: &mut Scratch) -> Result<()> {
        if self.measures_in_waves() {
            scratch.settle_measured(k);
            return Ok(());
        }
        let mut work = scratch.cold.take().unwrap_or_default();
        let outcome = self.measure_places(exact, scratch, &mut work);
        scratch.cold = Some(work);
        outcome?;
        scratch.measured = scratch.exact.len();
        scratch.settle(k);
        Ok(())
    }

    /// Whether rows are measured list by list: lists without codes say nothing else of them.
    fn measures_in_waves(&self) -> bool {
        matches!(self.coder, Coder::None)
    }

    /// The waves in which the probed lists are looked at.
    fn waves_of<'q>(&'q self, query: &'q QueryState, scratch: &Scratch, probe: &Probe) -> Waves<'q> {
        Waves::new((self.frame, query, self.coder), self.segments.len(), scratch.probes.len(), probe)
    }

    /// The lists of one segment among those of a wave: turns go through all segments before the next list.
    fn lists_of(&self, segment: usize, turns: &Range<usize>, scratch: &Scratch) -> impl Iterator<Item = u32> {
        let many = self.segments.len();
        let until = |turn: usize| turn.saturating_sub(segment).div_ceil(many);
        let probes = scratch.probes.get(until(turns.start)..until(turns.end));
        probes.unwrap_or_default().iter().map(|probed| probed.list)
    }

    fn ask(&self, turns: &Range<usize>, scratch: &Scratch) {
        for (i, segment) in self.segments.iter().enumerate() {
            self.lists_of(i, turns, scratch).for_each(|list| segment.ask(list));
        }
    }

    fn waves<T: Trace>(
        &self,
        query: &Query<'_>,
        scratch: &mut Scratch,
        work: &mut ColdWork,
        trace: &mut T,
    ) -> Result<()> {
        let mut waves = self.waves_of(query.state, scratch, query.probe);
        self.ask_for_first(&mut waves, drop);
        while let Some(here) = waves.next(trace.most_lists(waves.looked())) {
            let next = waves.after(&here, trace.most_lists(waves.lists(here.end)));
            self.ask(&waves.ask(&next), scratch);
            let before = scratch.candidates.kth();
            self.wave(query, here.clone(), scratch, work, trace)?;
            waves.ended(here, (before, scratch.candidates.kth()), &mut scratch.probes);
            trace.looked(waves.looked(), waves.place(&scratch.probes), scratch);
        }
        scratch.looked = waves.looked();
        Ok(())
    }

    /// Brings the lists of some turns into memory and looks at them.
    fn wave<T: Trace>(
        &self,
        query: &Query<'_>,
        turns: Range<usize>,
        scratch: &mut Scratch,
        work: &mut ColdWork,
        trace: &mut T,
    ) -> Result<()> {
        let mut here = Vec::with_capacity(self.segments.len());
        for (i, segment) in self.segments.iter().enumerate() {
            for list in self.lists_of(i, &turns, scratch) {
                work.pieces += 1;
                work.bytes += segment.bytes(list) as u64;
            }
            here.push(segment.bring(&mut self.lists_of(i, &turns, scratch))?);
        }
        let (kernels, frame, centroids, coder, rows) =
            (self.kernels, self.frame, self.centroids, self.coder, self.rows);
        let search = IvfSearch { kernels, frame, centroids, coder, segments: &here, rows };
        match self.coder {
            Coder::Bits(_) => {
                let mut wave = Wave::new(std::mem::take(&mut scratch.wave));
                search.wave(query.state, query.k, turns, query.probe, &mut wave, scratch, trace)?;
                scratch.wave = wave.into_room();
            }
            Coder::Product(_) => {
                let probes = std::mem::take(&mut scratch.probes);
                let outcome = search.product_wave(query.state, &probes, turns, scratch, trace);
                scratch.probes = probes;
                outcome?;
            }
            Coder::None => {
                let mut entries = std::mem::take(&mut scratch.entries);
                let outcome = self.measure_entries(&search, query.exact, turns, &mut entries, scratch, work);
                scratch.entries = entries;
                outcome?;
                trace.ended(Stage::Scan);
            }
        }
        Ok(())
    }

    /// Measures the rows of some lists without codes, in the order of their entries.
    fn measure_entries<L: Lists>(
        &self,
        search: &IvfSearch<'_, L, R>,
        exact: &FlatQuery,
        turns: Range<usize>,
        entries: &mut Vec<Entry>,
        scratch: &mut Scratch,
        work: &mut ColdWork,
    ) -> Result<()> {
        entries.clear();
        for turn in turns {
            let Some((segment, _, probed)) = search.turn(turn, &scratch.probes) else { continue };
            search.list_entries(segment, probed.list, entries, scratch)?;
        }
        scratch.places.clear();
        scratch.places.extend(entries.iter().map(|entry| (entry.place, 0, 0.0)));
        self.ask_for_rows(scratch);
        for entry in entries.iter() {
            let vector = self.load(entry.place, work)?;
            search.offer_entry(exact.score_one(&vector), entry, scratch)?;
        }
        Ok(())
    }

    /// Exact distances of the candidates, in the order of their places.
    fn measure_places(&self, exact: &FlatQuery, scratch: &mut Scratch, work: &mut ColdWork) -> Result<()> {
        scratch.exact.clear();
        for (place, row, estimate) in &scratch.places {
            let vector = self.load(*place, work)?;
            let distance = match vector.is_none() {
                true => self.frame.distance_of(*estimate),
                false => exact.score_one(&vector),
            };
            scratch.exact.push((distance, *row));
        }
        Ok(())
    }

    /// Puts places in order and asks for what is there.
    fn ask_for_rows(&self, scratch: &mut Scratch) {
        scratch.places.sort_unstable_by_key(|(place, row, _)| (*place, *row));
        scratch.places.iter().for_each(|(place, ..)| self.rows.ask(*place));
    }

    fn load(&self, place: u64, work: &mut ColdWork) -> Result<Stored<Bytes<'_>>> {
        let vector = self.rows.load(place)?;
        work.pieces += u64::from(!vector.is_none());
        work.bytes += vector.bytes.len() as u64;
        Ok(vector)
    }
}
