//! Exact search: rows are scored 64 at a time, one word of liveness bits each; only rows within the current bound meet the filter, and
//! only equal distances compare ids. When the filter names few ids, their rows are looked up instead.

use std::time::Instant;

use super::chosen::ChosenRows;
use super::hit::{Explain, Hit, Hits, Include};
use super::read_ahead::ReadAhead;
use super::spot::{Spot, keep, sort};
use super::{Killed, Snapshot, Source};
use crate::delta::Generation;
use crate::error::Result;
use crate::filter::{Filter, IdSet};
use crate::format::id_key;
pub(super) use crate::index::flat::CHUNK;
use crate::index::flat::{FlatQuery, within};
use crate::kernel::{TopK, kernels};

/// Bytes of vectors between two looks at the clock.
const BYTES_PER_CLOCK: usize = 1 << 20;
/// How many rows ahead memory is asked for where rows are measured one by one.
pub(super) const AHEAD: usize = 4;

/// One search, at work on sources one after the other.
pub(super) struct Scan<'s, 'q> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) query: &'q FlatQuery,
    pub(super) filter: Option<&'q Filter>,
    pub(super) bound: f32,
    pub(super) until: Option<Instant>,
    pub(super) killed: Killed<'s>,
    pub(super) best: TopK<Spot<'s>>,
    pub(super) explain: Explain,
}

impl Scan<'_, '_> {
    /// Bytes for each row wanted: among the best, and as a hit.
    pub(super) const BYTES_PER_ROW: usize = size_of::<(f32, Spot<'_>)>() + size_of::<Hit>();
}

impl<'s> Scan<'s, '_> {
    /// Scores every live row of the sources.
    pub(super) fn scan_all(&mut self, sources: impl Iterator<Item = Source<'s>>) -> Result<()> {
        for source in sources {
            self.explain.sources_scanned += 1;
            if !self.scan_source(source)? {
                self.explain.cut_short = true;
                break;
            }
        }
        Ok(())
    }

    /// A row further away than this is none of the best.
    pub(super) fn limit(&self) -> f32 {
        self.bound.min(self.best.threshold())
    }

    pub(super) fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Scores every live row of one source; false if the deadline passed.
    fn scan_source(&mut self, source: Source<'s>) -> Result<bool> {
        // A callback may take any time.
        let chunk_bytes = CHUNK * self.snapshot.schema().vector_bytes();
        let chunks_per_clock = if self.filter.is_some() { 1 } else { (BYTES_PER_CLOCK / chunk_bytes).max(1) };
        let mut ahead = ReadAhead::new(&source);
        for word in 0..source.len().div_ceil(CHUNK) {
            if word % chunks_per_clock == 0 && self.is_late() {
                return Ok(false);
            }
            let live = source.live_word(word, &mut self.killed)?;
            if live != 0 {
                ahead.before(&source, word * CHUNK);
                self.scan_chunk(source, word, live)?;
            }
        }
        Ok(true)
    }

    /// Scores the rows `64 * word ..` and offers the live ones.
    pub(super) fn scan_chunk(&mut self, source: Source<'s>, word: usize, live: u64) -> Result<()> {
        let start = word * CHUNK;
        let rows = (source.len() - start).min(CHUNK);
        let vectors = source.vectors(start..start + rows, self.snapshot.schema())?;
        let mut distances = [0.0f32; CHUNK];
        let distances = &mut distances[..rows];
        self.query.score_chunk(vectors.run(), |i| vectors.norm(i), distances);
        self.explain.rows_scored += rows as u64;
        self.explain.bytes_read += vectors.run().bytes.len() as u64;
        self.take_scored(source, start, live, distances)
    }

    /// Offers the live ones of up to 64 rows from `start` on, whose distances are known.
    pub(super) fn take_scored(&mut self, source: Source<'s>, start: usize, live: u64, distances: &[f32]) -> Result<()> {
        let mut near = within(distances, self.limit()) & live;
        if self.best.threshold() == f32::INFINITY {
            self.count_unscorable(distances, live);
        }
        while near != 0 {
            let i = near.trailing_zeros() as usize;
            near &= near - 1;
            self.offer(Spot { source, at: start + i }, distances[i])?;
        }
        Ok(())
    }

    /// Counts live rows without a distance. Such rows cannot be written, only forged.
    fn count_unscorable(&mut self, distances: &[f32], live: u64) {
        let nan = distances.iter().enumerate().filter(|(i, d)| d.is_nan() && live >> i & 1 == 1).count();
        self.explain.rows_skipped += nan as u64;
    }

    /// Scores the live rows of the given ids.
    pub(super) fn look_up(&mut self, ids: &IdSet) -> Result<()> {
        self.explain.by_lookup = true;
        let view = self.snapshot.view();
        let collection = view.version.manifest.collection;
        for (looked, id) in ids.iter().enumerate() {
            if looked % CHUNK == 0 && self.is_late() {
                self.explain.cut_short = true;
                break;
            }
            let Some((source, at)) = view.find_live(id_key(id, collection), id)? else { continue };
            self.score(Spot { source, at })?;
        }
        Ok(())
    }

    /// Scores the live rows among those that the filter's ids name in files, and rows in memory.
    pub(super) fn each(&mut self, chosen: &ChosenRows) -> Result<()> {
        self.explain.by_lookup = true;
        let view = self.snapshot.view();
        for (looked, (file, ordinal)) in chosen.places.iter().enumerate() {
            if looked % CHUNK == 0 && self.is_late() {
                self.explain.cut_short = true;
                return Ok(());
            }
            if let Some((file, ordinal)) = chosen.places.get(looked + AHEAD)
                && let Some(rows) = view.version.rows.get(*file as usize)
            {
                kernels().prefetch(rows.file.record(*ordinal as usize));
            }
            let Some(rows) = view.version.rows.get(*file as usize) else { continue };
            let spot = Spot { source: Source::File(rows), at: *ordinal as usize };
            if !(spot.source.maybe_dead(spot.at) && self.killed.contains(spot.source.row_number(spot.at)?)) {
                self.score(spot)?;
            }
        }
        self.scan_all(view.generations().flat_map(Generation::blocks).map(|block| Source::Block(block)))
    }

    /// Scores one live row and offers it.
    pub(super) fn score(&mut self, spot: Spot<'s>) -> Result<()> {
        let Spot { source, at } = spot;
        let vector = source.vector(at, self.snapshot.schema())?;
        let distance = self.query.score_one(&vector);
        self.explain.rows_scored += 1;
        self.explain.bytes_read += source.stride() as u64;
        self.explain.rows_skipped += u64::from(distance.is_nan());
        match distance <= self.limit() {
            true => self.offer(spot, distance),
            false => Ok(()),
        }
    }

    /// Puts a row among the best that the filter has let through.
    pub(super) fn take(&mut self, spot: Spot<'s>, distance: f32) -> Result<()> {
        match distance > self.best.threshold() {
            true => Ok(()),
            false => keep(&mut self.best, distance, spot),
        }
    }

    /// Puts a row among the best if the filter lets it through.
    fn offer(&mut self, spot: Spot<'s>, distance: f32) -> Result<()> {
        if distance > self.best.threshold() {
            return Ok(());
        }
        if let Some(filter) = self.filter
            && !filter.matches(spot.id()?.as_ref())
        {
            return Ok(());
        }
        keep(&mut self.best, distance, spot)
    }

    /// Reads what was asked for of the best rows.
    pub(super) fn finish(self, include: Include) -> Result<Hits> {
        let found = self.best.into_sorted(|_, _| std::cmp::Ordering::Equal);
        let mut hits = Vec::with_capacity(found.len());
        for (distance, spot) in found {
            hits.push(spot.hit(self.snapshot, distance, include)?);
        }
        sort(&mut hits);
        Ok(Hits { hits, explain: self.explain })
    }
}
