//! One query over lists.
//!
//! Lists are scanned in waves: first few, then many. Of the first wave the entries with the smallest bounds are scored at once, so
//! that the bound for all others is near its final value before they are looked at. Two waves are nearly as good as a bound
//! that tightens with every list, and cost far less bookkeeping. Memory is asked for ahead: the list two further on while
//! one is scanned, the records of all survivors of a wave before the first is read, and the vectors of all candidates before
//! the first is measured.

use super::candidates::Candidates;
use super::centroids::{CentroidSet, Probed};
use super::frame::Frame;
use super::wave::{Room, Wave};
use super::{Stage, Trace};
use crate::error::Result;
use crate::index::flat::FlatQuery;
use crate::kernel::code::query::QueryTables;
use crate::kernel::code::scan::{MAX_TURNS, Sifted, Survivors};
use crate::kernel::{Kernels, Selection};
use crate::storage::Bytes;

/// Lists of the first wave.
pub(super) const FIRST_WAVE: usize = 4;
/// Lists of each further wave.
const WAVE: usize = 32;
/// Entries of the first wave that are scored before the others, at least as many as are wanted.
pub(super) const FIRST_SCORED: usize = 13;

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Probe {
    /// Lists to look at.
    pub(crate) nprobe: usize,
    /// Lists without a better `k`-th candidate after which the search ends.
    pub(crate) patience: usize,
    /// Rows that are measured exactly, at least `k`.
    pub(crate) exact: usize,
    /// Standard errors by which bounds are lower than estimates.
    pub(crate) deviations: f32,
}

impl Probe {
    /// Lists that most queries look at.
    pub(crate) fn likely_lists(&self) -> usize {
        match self.patience {
            usize::MAX => self.nprobe,
            patience => self.nprobe.min(patience.saturating_mul(2)),
        }
    }

    /// The customary search of `nprobe` lists: no patience limit, 16 exact rows, 1.5 standard errors.
    pub(crate) fn new(nprobe: usize) -> Probe {
        Probe { nprobe, patience: usize::MAX, exact: 16, deviations: 1.5 }
    }
}

/// One list, in borrowed bytes whose lengths and checksums are proven.
#[derive(Clone, Copy, Default)]
pub(crate) struct ListPieces<'a> {
    /// Entries.
    pub(crate) count: u32,
    /// Sign blocks of the entries.
    pub(crate) signs: &'a [u8],
    /// Factors of the blocks.
    pub(crate) factors: &'a [u8],
    /// A row word for each lane, little-endian.
    pub(crate) rows: &'a [u8],
    /// Second-stage records of the entries; not proven, see [`Lists::prove_record`].
    pub(crate) records: &'a [u8],
}

/// The lists of one segment.
pub(crate) trait Lists {
    /// Bits per component of the codes.
    fn bits(&self) -> usize;

    /// A list; what a scan reads of it is proven.
    ///
    /// # Errors
    /// `Corrupt`.
    fn list(&self, list: u32) -> Result<ListPieces<'_>>;

    /// What a scan of this list will read, to be asked for. Not proven.
    fn ahead(&self, list: u32) -> &[u8];

    /// Proves the record of an entry.
    ///
    /// # Errors
    /// `Corrupt`.
    fn prove_record(&self, list: u32, position: u32) -> Result<()>;

    /// Proves all records of a list, if that is no more work than proving one; false if each has to be proven alone.
    ///
    /// # Errors
    /// `Corrupt`.
    fn prove_records(&self, _list: u32) -> Result<bool> {
        Ok(false)
    }

    /// The row that a row word names.
    ///
    /// # Errors
    /// `Corrupt`.
    fn row(&self, word: u32) -> Result<u64>;
}

/// The rows that lists name.
pub(crate) trait Rows {
    /// Whether a row may be found. Asked of rows that are about to become candidates.
    ///
    /// # Errors
    /// `Corrupt`.
    fn live(&self, row: u64) -> Result<bool>;

    /// Where the vector of a row is: a number that the other calls understand.
    ///
    /// # Errors
    /// `Corrupt` if it is nowhere.
    fn place(&self, row: u64) -> Result<u64>;

    /// [`place`](Rows::place) of a row that is [`live`](Rows::live), `None` of another.
    ///
    /// # Errors
    /// `Corrupt`.
    fn find(&self, row: u64) -> Result<Option<u64>> {
        match self.live(row)? {
            true => self.place(row).map(Some),
            false => Ok(None),
        }
    }

    /// The bytes at a place, to be asked for. Not proven.
    fn ahead(&self, place: u64) -> &[u8];

    /// Asks for what is at a place to be read soon, where it is not in memory.
    fn ask(&self, _place: u64) {}

    /// [`vector`](Rows::vector), wherever the row is.
    ///
    /// # Errors
    /// `Corrupt`; `Io`.
    fn load(&self, place: u64) -> Result<(Bytes<'_>, f32)> {
        self.vector(place).map(|(vector, length)| (Bytes::Mapped(vector), length))
    }

    /// The stored vector at a place in memory and, under cosine, its length.
    ///
    /// # Errors
    /// `Corrupt`.
    fn vector(&self, place: u64) -> Result<(&[u8], f32)>;
}

/// A query in the space of codes.
#[derive(Default)]
pub(crate) struct QueryState {
    rotated: Vec<f32>,
    pub(super) tables: QueryTables,
    /// Added to estimates of negated inner products.
    pub(super) shift: f32,
}

/// A query with the lists it will look at.
#[derive(Default)]
pub(crate) struct Ready {
    pub(super) state: QueryState,
    pub(super) probes: Vec<Probed>,
}

impl Ready {
    /// The nearest list: queries that have the same look at many of the same lists.
    pub(crate) fn nearest_list(&self) -> u32 {
        self.probes.first().map_or(u32::MAX, |probed| probed.list)
    }
}

/// What a search asked for that may have had to come from the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ColdWork {
    /// Pieces of lists, and rows.
    pub(crate) pieces: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// Room for a query, kept between queries: a search allocates nothing once it has grown.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(super) ready: Ready,
    pub(super) estimates: Vec<f32>,
    pub(super) selection: Selection,
    pub(super) offsets: Vec<usize>,
    pub(super) refined: Vec<f32>,
    pub(super) probes: Vec<Probed>,
    pub(super) survivors: Survivors,
    pub(super) sifted: Vec<Sifted>,
    pub(super) candidates: Candidates,
    pub(super) wave: Room,
    pub(super) exact: Vec<(f32, u64)>,
    /// Entries scanned, and entries whose records were read, by the last search.
    pub(crate) work: (usize, usize),
    /// Lists that it looked at: of those it chose, perhaps not all.
    pub(crate) looked: usize,
    /// Rows in the order of their places, and what the last search that was not sure of its memory asked for.
    pub(super) places: Vec<(u64, u64)>,
    pub(crate) cold: Option<ColdWork>,
}

impl Scratch {
    /// Room for the first half of a search, to be given back.
    pub(crate) fn take_ready(&mut self) -> Ready {
        std::mem::take(&mut self.ready)
    }

    /// Takes it back.
    pub(crate) fn give_ready(&mut self, ready: Ready) {
        self.ready = ready;
    }

    /// What the last search found.
    pub(crate) fn found(&self) -> &[(f32, u64)] {
        &self.exact
    }

    /// The lists that the last search chose, nearest first.
    pub(crate) fn probed(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        self.probes.iter().map(|probed| probed.list)
    }

    /// Rows that the last search measured.
    pub(crate) fn measured(&self) -> usize {
        self.candidates.len()
    }
}

/// What a search needs to know of the collection.
pub(crate) struct IvfSearch<'a, L, R> {
    pub(crate) kernels: &'static Kernels,
    pub(crate) frame: &'a Frame,
    pub(crate) centroids: CentroidSet<'a>,
    /// Segments whose lists have the same centroids.
    pub(crate) segments: &'a [L],
    pub(crate) rows: &'a R,
}

impl<L: Lists, R: Rows> IvfSearch<'_, L, R> {
    /// The `k` nearest live rows that are found, with their exact distances, nearest first, ties by row number. `query` is the
    /// vector as given, of length `length`; `exact` measures distances to it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn nearest<'s, T: Trace>(
        &self,
        query: &[f32],
        length: f32,
        exact: &FlatQuery,
        k: usize,
        probe: &Probe,
        scratch: &'s mut Scratch,
        trace: &mut T,
    ) -> Result<&'s [(f32, u64)]> {
        let mut ready = std::mem::take(&mut scratch.ready);
        self.prepare(query, length, probe, &mut ready, scratch, trace);
        let outcome = self.finish(exact, k, probe, &mut ready, scratch, trace);
        scratch.ready = ready;
        outcome?;
        Ok(&scratch.exact)
    }

    /// The first half of a search: the tables of the query and the lists to look at. [`finish`](IvfSearch::finish) does the rest.
    pub(crate) fn prepare<T: Trace>(
        &self,
        query: &[f32],
        length: f32,
        probe: &Probe,
        ready: &mut Ready,
        scratch: &mut Scratch,
        trace: &mut T,
    ) {
        let state = &mut ready.state;
        state.shift = self.frame.enter_query(self.kernels, query, length, &mut state.rotated);
        self.kernels.prepare_query(&state.rotated, &mut state.tables);
        trace.ended(Stage::Query);
        let nprobe = probe.nprobe.clamp(1, self.centroids.count.max(1));
        self.centroids.rank(self.kernels, self.frame, state, nprobe, scratch, trace);
        std::mem::swap(&mut ready.probes, &mut scratch.probes);
    }

    /// The second half: `scratch.found()` and what stands beside it are then about this query.
    ///
    /// # Errors
    /// `Corrupt`.
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
        (scratch.work, scratch.cold) = ((0, 0), None);
        self.waves(&ready.state, k, probe, scratch, trace)?;
        self.measure(exact, k, scratch)?;
        trace.ended(Stage::Exact);
        Ok(())
    }

    /// Looks at the probed lists, a turn for each of every segment.
    fn waves<T: Trace>(
        &self,
        query: &QueryState,
        k: usize,
        probe: &Probe,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<()> {
        let segments = self.segments.len();
        let turns = scratch.probes.len() * segments;
        let patience = probe.patience.saturating_mul(segments);
        let most_turns = WAVE.min(patience.max(FIRST_WAVE));
        let mut wave = Wave::new(std::mem::take(&mut scratch.wave));
        let (mut start, mut idle) = (0, 0);
        while start < turns && idle < patience {
            let most = if start == 0 { (FIRST_WAVE * segments).min(MAX_TURNS) } else { most_turns };
            let end = turns.min(start + most);
            let before = scratch.candidates.kth();
            self.scan(query, start..end, probe, &mut wave, scratch)?;
            trace.ended(Stage::Scan);
            if before == f32::INFINITY {
                let first = k.max(FIRST_SCORED);
                let near = self.kernels.near(scratch.survivors.bounds(), first, &mut scratch.selection);
                self.score(query, f32::NEG_INFINITY, near, &mut wave, scratch)?;
                if near < f32::INFINITY {
                    self.score(query, near, scratch.candidates.kth(), &mut wave, scratch)?;
                }
            } else {
                self.score(query, f32::NEG_INFINITY, before, &mut wave, scratch)?;
            }
            trace.ended(Stage::Records);
            idle = if scratch.candidates.kth() < before { 0 } else { idle + (end - start) };
            start = end;
        }
        scratch.wave = wave.into_room();
        scratch.looked = start / segments.max(1);
        Ok(())
    }

    /// Exact distances of the candidates.
    fn measure(&self, exact: &FlatQuery, k: usize, scratch: &mut Scratch) -> Result<()> {
        scratch.exact.clear();
        let found = scratch.candidates.finish();
        for candidate in found {
            self.kernels.prefetch(self.rows.ahead(candidate.place));
        }
        for candidate in found {
            let (vector, length) = self.rows.vector(candidate.place)?;
            scratch.exact.push((exact.score_one(vector, length), candidate.row));
        }
        scratch.exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        // Only damaged segments name a row twice under two names.
        scratch.exact.dedup_by_key(|found| found.1);
        scratch.exact.truncate(k);
        Ok(())
    }
}
