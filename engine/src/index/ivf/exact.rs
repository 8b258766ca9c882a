//! Lists without codes: every row of the probed lists is measured.
//!
//! An entry is a row word; the vector stands with its row. Where it is follows from the word, so the vectors of a list are asked for some rows
//! ahead of the one being measured.

use super::candidates::Candidate;
use super::centroids::Probed;
use super::search::{IvfSearch, Lists, Probe, QueryState, Rows, Scratch};
use super::{Stage, Trace};
use crate::error::Result;
use crate::index::flat::FlatQuery;

/// Rows that are asked for ahead.
const AHEAD: usize = 8;

/// A row of the probed lists.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    name: (u32, u32),
    row: u64,
    pub(super) place: u64,
}

impl<L: Lists, R: Rows> IvfSearch<'_, L, R> {
    /// Measures the rows of the probed lists; `scratch.found()` has the nearest afterwards.
    pub(super) fn measure_lists<T: Trace>(
        &self,
        query: &QueryState,
        exact: &FlatQuery,
        k: usize,
        probe: &Probe,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<()> {
        scratch.met.clear();
        let mut probes = std::mem::take(&mut scratch.probes);
        let mut entries = std::mem::take(&mut scratch.entries);
        let outcome = self.measure_waves(query, exact, probe, (&mut probes, &mut entries), scratch, trace);
        (scratch.probes, scratch.entries) = (probes, entries);
        outcome?;
        scratch.settle_measured(k);
        trace.ended(Stage::Exact);
        Ok(())
    }

    fn measure_waves<T: Trace>(
        &self,
        query: &QueryState,
        exact: &FlatQuery,
        probe: &Probe,
        (probes, entries): (&mut Vec<Probed>, &mut Vec<Entry>),
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<()> {
        let mut waves = self.waves_of(query, probes.len(), probe);
        while let Some(turns) = waves.next(trace.most_lists(waves.looked())) {
            let before = scratch.candidates.kth();
            for turn in turns.clone() {
                let Some((segment, _, probed)) = self.turn(turn, probes) else { continue };
                entries.clear();
                self.list_entries(segment, probed.list, entries, scratch)?;
                self.measure_entries(exact, entries, scratch)?;
            }
            trace.ended(Stage::Scan);
            waves.ended(turns, (before, scratch.candidates.kth()), probes);
            trace.looked(waves.looked(), waves.place(probes), scratch);
        }
        scratch.looked = waves.looked();
        Ok(())
    }

    /// Appends the rows of one list of one segment that may be found and were not met before.
    pub(super) fn list_entries(
        &self,
        segment: usize,
        list: u32,
        entries: &mut Vec<Entry>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let Some(lists) = self.segments.get(segment) else { return Ok(()) };
        let pieces = lists.list(list)?;
        let words = pieces.rows.as_chunks::<4>().0.iter().take(pieces.count as usize);
        scratch.work.0 += words.len();
        for word in words {
            let word = u32::from_le_bytes(*word);
            // A row that stands in two of the lists is measured once.
            if !scratch.met.insert((segment as u64) << 32 | u64::from(word)) {
                continue;
            }
            let row = lists.row(word)?;
            // To know that a row is dead or not wanted costs less than to measure it.
            let Some(place) = self.rows.find(row)? else { continue };
            entries.push(Entry { name: (segment as u32, word), row, place });
        }
        Ok(())
    }

    fn measure_entries(&self, exact: &FlatQuery, entries: &[Entry], scratch: &mut Scratch) -> Result<()> {
        for entry in entries.iter().take(AHEAD) {
            self.kernels.prefetch(self.rows.ahead(entry.place));
        }
        for (at, entry) in entries.iter().enumerate() {
            if let Some(later) = entries.get(at + AHEAD) {
                self.kernels.prefetch(self.rows.ahead(later.place));
            }
            let vector = self.rows.vector(entry.place)?;
            scratch.measured_bytes += vector.bytes.len();
            self.offer_entry(exact.score_one(&vector), entry, scratch)?;
        }
        Ok(())
    }

    /// Makes a row that was measured a candidate, if it is near enough.
    #[inline]
    pub(super) fn offer_entry(&self, distance: f32, entry: &Entry, scratch: &mut Scratch) -> Result<()> {
        scratch.measured += 1;
        if distance < scratch.candidates.bound() && self.rows.find(entry.row)?.is_some() {
            let Entry { name, row, place } = *entry;
            scratch.candidates.push(Candidate { estimate: distance, error: 0.0, name, row, place });
        }
        Ok(())
    }
}
