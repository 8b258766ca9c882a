//! Search: the nearest live rows of a pinned state.
//!
//! Rows are scored 64 at a time, one word of liveness bits each; only rows within the current bound meet the filter, and
//! only equal distances compare ids. When the filter names few ids, their rows are looked up instead.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::time::{Duration, Instant};

use super::hit::{Explain, Hit, Hits, Include};
use super::item::{read_attributes, read_vector};
use super::{Killed, Snapshot, Source};
use crate::budget::Share;
use crate::error::{Error, Result};
use crate::filter::{Filter, IdSet};
use crate::format::id_key;
use crate::id::Id;
use crate::index::flat::{CHUNK, FlatQuery, within};
use crate::kernel::TopK;

/// Scoring all rows costs less than looking up this fraction of them by id.
const SCAN_PER_LOOKUP: u64 = 16;
/// Bytes of vectors between two looks at the clock.
const BYTES_PER_CLOCK: usize = 1 << 20;

/// A search being described; [`Search::run`] carries it out.
pub struct Search<'s> {
    snapshot: &'s Snapshot,
    query: &'s [f32],
    k: usize,
    filter: Option<Filter>,
    max_distance: Option<f32>,
    include: Include,
    deadline: Option<Duration>,
}

impl<'s> Search<'s> {
    pub(super) fn new(snapshot: &'s Snapshot, query: &'s [f32]) -> Self {
        Search { snapshot, query, k: 10, filter: None, max_distance: None, include: Include::NONE, deadline: None }
    }

    /// How many rows at most; 1 or more, 10 if not said. More than there are rows is fine.
    #[must_use]
    pub fn k(mut self, k: usize) -> Self {
        self.k = k;
        self
    }

    /// Only rows that match. A second filter narrows the first.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(match self.filter.take() {
            Some(first) => first & filter,
            None => filter,
        });
        self
    }

    /// Only rows at most this far away, in the metric's own unit.
    #[must_use]
    pub fn max_distance(mut self, distance: f32) -> Self {
        self.max_distance = Some(distance);
        self
    }

    /// What to return of each row beside id and distance.
    #[must_use]
    pub fn include(mut self, what: Include) -> Self {
        self.include = what;
        self
    }

    /// Stops scoring after this time and returns the best rows found by then, with `explain().cut_short` set.
    #[must_use]
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = Some(time);
        self
    }

    /// Searches, in the calling thread. Takes no lock.
    ///
    /// Cost: one pass over the stored vectors, at memory speed; with a filter that names less than about a sixteenth of
    /// the rows by id, one look-up for each id.
    ///
    /// # Errors
    /// `InvalidArgument` naming `query`, `k`, `max_distance` or `filter`; `OverBudget` if `memory_budget` has no room for the
    /// best `k` rows; `Corrupt` if a row that was needed fails its checksum.
    pub fn run(self) -> Result<Hits> {
        let schema = self.snapshot.schema();
        let view = self.snapshot.view();
        let query = FlatQuery::new(self.query, schema)?;
        if self.k == 0 {
            return Err(Error::argument("k", "is 0; use 1 or more"));
        }
        if self.max_distance.is_some_and(f32::is_nan) {
            return Err(Error::argument("max_distance", "is NaN; use a number"));
        }
        if let Some(filter) = &self.filter {
            filter.check(schema.id_kind())?;
        }
        let sources = view.sources();
        let most = self.k.min(usize::try_from(view.count).unwrap_or(usize::MAX));
        // The best rows, then the same with their ids, and the list of places to look.
        let bytes = most.saturating_mul(size_of::<(f32, Place)>() + size_of::<(f32, Id, Place)>() + size_of::<Hit>())
            + sources.len() * size_of::<Source<'_>>();
        let budget = self.snapshot.budget.as_ref();
        let _working = budget.map(|budget| budget.reserve(Share::Search, bytes as u64)).transpose()?;
        let started = Instant::now();
        let mut scan = Scan {
            snapshot: self.snapshot,
            query,
            filter: self.filter.as_ref(),
            bound: self.max_distance.unwrap_or(f32::INFINITY),
            until: self.deadline.and_then(|time| started.checked_add(time)),
            sources,
            killed: Killed::new(view),
            best: TopK::new(most),
            explain: Explain { seq: view.seq, ..Explain::default() },
        };
        match scan.filter.and_then(Filter::only_within) {
            Some(ids) if (ids.len() as u64).saturating_mul(SCAN_PER_LOOKUP) <= view.count => scan.look_up(ids)?,
            _ => scan.scan_all()?,
        }
        scan.finish(self.include)
    }
}

/// Where a candidate is: source and position.
type Place = (u32, u32);

struct Scan<'s> {
    snapshot: &'s Snapshot,
    query: FlatQuery,
    filter: Option<&'s Filter>,
    bound: f32,
    until: Option<Instant>,
    sources: Vec<Source<'s>>,
    killed: Killed<'s>,
    best: TopK<Place>,
    explain: Explain,
}

impl Scan<'_> {
    fn scan_all(&mut self) -> Result<()> {
        for index in 0..self.sources.len() {
            self.explain.sources_scanned += 1;
            if !self.scan_source(index)? {
                self.explain.cut_short = true;
                break;
            }
        }
        Ok(())
    }

    /// Scores every live row of one source; false if the deadline passed.
    fn scan_source(&mut self, index: usize) -> Result<bool> {
        let source = self.sources[index];
        // A callback may take any time.
        let chunk_bytes = CHUNK * self.snapshot.schema().vector_bytes();
        let chunks_per_clock = if self.filter.is_some() { 1 } else { (BYTES_PER_CLOCK / chunk_bytes).max(1) };
        for word in 0..source.len().div_ceil(CHUNK) {
            if word % chunks_per_clock == 0 && self.until.is_some_and(|until| Instant::now() >= until) {
                return Ok(false);
            }
            let live = source.live_word(word, &mut self.killed)?;
            if live != 0 {
                self.scan_chunk(index, word, live)?;
            }
        }
        Ok(true)
    }

    /// Scores the rows `64 * word ..` and offers the live ones.
    fn scan_chunk(&mut self, index: usize, word: usize, live: u64) -> Result<()> {
        let source = self.sources[index];
        let start = word * CHUNK;
        let rows = (source.len() - start).min(CHUNK);
        let vectors = source.vectors(start..start + rows)?;
        let mut distances = [0.0f32; CHUNK];
        let distances = &mut distances[..rows];
        self.query.score_chunk(vectors, source.stride(), |i| source.norm(start + i), distances);
        self.explain.rows_scored += rows as u64;
        self.explain.bytes_read += vectors.len() as u64;
        let mut near = within(distances, self.bound.min(self.best.threshold())) & live;
        if self.best.threshold() == f32::INFINITY {
            self.count_unscorable(distances, live);
        }
        while near != 0 {
            let i = near.trailing_zeros() as usize;
            near &= near - 1;
            self.offer(index, start + i, distances[i])?;
        }
        Ok(())
    }

    /// Counts live rows without a distance. Such rows cannot be written, only forged.
    fn count_unscorable(&mut self, distances: &[f32], live: u64) {
        let nan = distances.iter().enumerate().filter(|(i, d)| d.is_nan() && live >> i & 1 == 1).count();
        self.explain.rows_skipped += nan as u64;
    }

    /// Scores the live rows of the given ids.
    fn look_up(&mut self, ids: &IdSet) -> Result<()> {
        self.explain.by_lookup = true;
        let view = self.snapshot.view();
        let collection = view.version.manifest.collection;
        self.sources.clear();
        for (looked, id) in ids.iter().enumerate() {
            if looked % CHUNK == 0 && self.until.is_some_and(|until| Instant::now() >= until) {
                self.explain.cut_short = true;
                break;
            }
            let Some((source, at)) = view.find_live(id_key(id, collection), id)? else { continue };
            let vector = source.vectors(at..at + 1)?;
            let distance = self.query.score_one(&vector[..self.snapshot.schema().vector_bytes()], source.norm(at));
            self.explain.rows_scored += 1;
            self.explain.bytes_read += vector.len() as u64;
            self.explain.rows_skipped += u64::from(distance.is_nan());
            self.sources.push(source);
            if distance <= self.bound.min(self.best.threshold()) {
                self.offer(self.sources.len() - 1, at, distance)?;
            }
        }
        Ok(())
    }

    /// Puts a row among the best if the filter lets it through.
    fn offer(&mut self, index: usize, at: usize, distance: f32) -> Result<()> {
        if distance > self.best.threshold() {
            return Ok(());
        }
        if let Some(filter) = self.filter
            && !filter.matches(self.id((index as u32, at as u32))?.as_ref())
        {
            return Ok(());
        }
        let failure = RefCell::new(None);
        let (sources, kind) = (&self.sources, self.snapshot.schema().id_kind());
        self.best.push(distance, (index as u32, at as u32), |a, b| {
            let id = |place: Place| sources[place.0 as usize].id(place.1 as usize, kind);
            match (id(a), id(b)) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Err(error), _) | (_, Err(error)) => {
                    *failure.borrow_mut() = Some(error);
                    Ordering::Equal
                }
            }
        });
        failure.into_inner().map_or(Ok(()), Err)
    }

    fn id(&self, place: Place) -> Result<Id> {
        self.sources[place.0 as usize].id(place.1 as usize, self.snapshot.schema().id_kind())
    }

    /// Reads what was asked for of the best rows.
    fn finish(self, include: Include) -> Result<Hits> {
        let schema = self.snapshot.schema();
        let mut found = Vec::with_capacity(self.best.len());
        for (distance, place) in self.best.into_sorted(|_, _| Ordering::Equal) {
            found.push((distance, self.sources[place.0 as usize].id(place.1 as usize, schema.id_kind())?, place));
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        let hits = found.into_iter().map(|(distance, id, place)| {
            let (source, at) = (&self.sources[place.0 as usize], place.1 as usize);
            Ok(Hit {
                id,
                distance,
                exact: true,
                vector: include.contains(Include::VECTOR).then(|| read_vector(source, at, schema)).transpose()?,
                attributes: include.contains(Include::ATTRIBUTES).then(|| read_attributes(source, at)).transpose()?,
                payload: match include.contains(Include::PAYLOAD) {
                    true => Some(source.payload(at)?).filter(|p| !p.is_empty()),
                    false => None,
                },
            })
        });
        Ok(Hits { hits: hits.collect::<Result<_>>()?, explain: self.explain })
    }
}
