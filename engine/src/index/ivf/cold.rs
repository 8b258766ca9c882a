//! One query over lists that may have to come from the disk first.
//!
//! The stages are those of a search in memory. What differs is that all of a wave is asked for before any of it is looked at, and the
//! next wave before this one is scanned, so that the disk is never asked for one piece at a time; and that rows are measured at the
//! end in the order of their places, all of them asked for at once.

use super::Stage;
use super::Trace;
use super::centroids::CentroidSet;
use super::frame::Frame;
use super::search::{ColdWork, FIRST_SCORED, FIRST_WAVE, IvfSearch, Lists, Probe, QueryState, Ready, Rows, Scratch};
use super::wave::Wave;
use crate::error::Result;
use crate::index::flat::FlatQuery;
use crate::kernel::Kernels;
use crate::kernel::code::scan::MAX_TURNS;

/// Turns of a wave after the first: enough requests for a disk to work on side by side, few enough that the search can end early.
const COLD_WAVE: usize = 16;

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
    pub(crate) segments: &'a [C],
    pub(crate) rows: &'a R,
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
        std::mem::swap(&mut ready.probes, &mut scratch.probes);
        scratch.candidates.reset(k, probe.exact);
        scratch.work = (0, 0);
        let mut work = ColdWork::default();
        self.waves(&ready.state, k, probe, scratch, &mut work, trace)?;
        self.measure(exact, k, scratch, &mut work)?;
        scratch.cold = Some(work);
        trace.ended(Stage::Exact);
        Ok(())
    }

    /// Where a wave that starts at a turn ends.
    fn wave_end(&self, start: usize, turns: usize, patience: usize) -> usize {
        let most = match start {
            0 => (FIRST_WAVE * self.segments.len()).min(MAX_TURNS),
            _ => COLD_WAVE.min(patience.max(FIRST_WAVE)),
        };
        turns.min(start.saturating_add(most))
    }

    /// The lists of one segment among those of a wave: turns go through all segments before the next list.
    fn lists_of(&self, segment: usize, start: usize, end: usize, scratch: &Scratch) -> impl Iterator<Item = u32> {
        let many = self.segments.len();
        let (from, to) = (start.saturating_sub(segment).div_ceil(many), end.saturating_sub(segment).div_ceil(many));
        scratch.probes.get(from..to).unwrap_or_default().iter().map(|probed| probed.list)
    }

    fn ask(&self, start: usize, end: usize, scratch: &Scratch) {
        for (i, segment) in self.segments.iter().enumerate() {
            self.lists_of(i, start, end, scratch).for_each(|list| segment.ask(list));
        }
    }

    fn waves<T: Trace>(
        &self,
        query: &QueryState,
        k: usize,
        probe: &Probe,
        scratch: &mut Scratch,
        work: &mut ColdWork,
        trace: &mut T,
    ) -> Result<()> {
        let segments = self.segments.len();
        let turns = scratch.probes.len().saturating_mul(segments);
        let patience = probe.patience.saturating_mul(segments);
        let (mut start, mut idle) = (0, 0);
        let mut end = self.wave_end(start, turns, patience);
        self.ask(start, end, scratch);
        while start < turns && idle < patience {
            let next = self.wave_end(end, turns, patience);
            self.ask(end, next, scratch);
            let before = scratch.candidates.kth();
            self.wave(query, k, start..end, probe, scratch, work)?;
            trace.ended(Stage::Records);
            idle = if scratch.candidates.kth() < before { 0 } else { idle + (end - start) };
            (start, end) = (end, next);
        }
        scratch.looked = start / segments.max(1);
        Ok(())
    }

    /// Brings the lists of some turns into memory and looks at them.
    fn wave(
        &self,
        query: &QueryState,
        k: usize,
        turns: std::ops::Range<usize>,
        probe: &Probe,
        scratch: &mut Scratch,
        work: &mut ColdWork,
    ) -> Result<()> {
        let mut here = Vec::with_capacity(self.segments.len());
        for (i, segment) in self.segments.iter().enumerate() {
            for list in self.lists_of(i, turns.start, turns.end, scratch) {
                work.pieces += 1;
                work.bytes += segment.bytes(list) as u64;
            }
            here.push(segment.bring(&mut self.lists_of(i, turns.start, turns.end, scratch))?);
        }
        let (kernels, frame, centroids, rows) = (self.kernels, self.frame, self.centroids, self.rows);
        let search = IvfSearch { kernels, frame, centroids, segments: &here, rows };
        let mut wave = Wave::new(std::mem::take(&mut scratch.wave));
        let before = scratch.candidates.kth();
        search.scan(query, turns, probe, &mut wave, scratch)?;
        let mut from = f32::NEG_INFINITY;
        if before == f32::INFINITY {
            // The most promising entries first: the bound is then near its final value for all others.
            let near = kernels.near(scratch.survivors.bounds(), k.max(FIRST_SCORED), &mut scratch.selection);
            search.score(query, from, near, &mut wave, scratch)?;
            from = near;
        }
        if from < f32::INFINITY {
            search.score(query, from, scratch.candidates.kth(), &mut wave, scratch)?;
        }
        scratch.wave = wave.into_room();
        Ok(())
    }

    /// Exact distances of the candidates, in the order of their places.
    fn measure(&self, exact: &FlatQuery, k: usize, scratch: &mut Scratch, work: &mut ColdWork) -> Result<()> {
        scratch.exact.clear();
        scratch.places.clear();
        scratch.places.extend(scratch.candidates.finish().iter().map(|found| (found.place, found.row)));
        scratch.places.sort_unstable();
        for (place, _) in &scratch.places {
            self.rows.ask(*place);
        }
        for (place, row) in &scratch.places {
            let (vector, length) = self.rows.load(*place)?;
            work.pieces += 1;
            work.bytes += vector.len() as u64;
            scratch.exact.push((exact.score_one(&vector, length), *row));
        }
        scratch.exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        // Only damaged segments name a row twice under two names.
        scratch.exact.dedup_by_key(|found| found.1);
        scratch.exact.truncate(k);
        Ok(())
    }
}
