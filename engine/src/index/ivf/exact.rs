//! Lists without codes: every row of the probed lists is measured.
//!
//! An entry is a row word; the vector stands with its row. Where it is follows from the word, so the vectors of a list are asked for some rows
//! ahead of the one being measured.

use super::candidates::Candidate;
use super::search::{IvfSearch, Lists, Probe, Rows, Scratch};
use super::{Stage, Trace};
use crate::error::Result;
use crate::index::flat::FlatQuery;

/// Rows that are asked for ahead.
const AHEAD: usize = 8;
/// Lists between two looks at the patience.
pub(super) const GROUP: usize = 4;

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
        exact: &FlatQuery,
        k: usize,
        probe: &Probe,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<()> {
        scratch.met.clear();
        let probes = std::mem::take(&mut scratch.probes);
        let mut entries = std::mem::take(&mut scratch.entries);
        let mut idle = 0;
        let mut outcome = Ok(());
        for group in probes.chunks(GROUP) {
            if idle >= probe.patience {
                break;
            }
            let before = scratch.candidates.kth();
            outcome = group.iter().try_for_each(|probed| self.measure_list(exact, probed.list, &mut entries, scratch));
            if outcome.is_err() {
                break;
            }
            trace.ended(Stage::Scan);
            scratch.looked += group.len();
            idle = if scratch.candidates.kth() < before { 0 } else { idle + group.len() };
            trace.looked(scratch.looked, scratch);
        }
        (scratch.probes, scratch.entries) = (probes, entries);
        outcome?;
        scratch.settle_measured(k);
        trace.ended(Stage::Exact);
        Ok(())
    }

    /// Measures the rows of one list in all segments.
    fn measure_list(
        &self,
        exact: &FlatQuery,
        list: u32,
        entries: &mut Vec<Entry>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        for segment in 0..self.segments.len() {
            entries.clear();
            self.list_entries(segment, list, entries, scratch)?;
            self.measure_entries(exact, entries, scratch)?;
        }
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
