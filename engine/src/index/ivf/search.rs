//! One query over lists.
//!
//! Lists are scanned in waves: first few, then many. Of the first wave the entries with the smallest bounds are scored at once, so
//! that the bound for all others is near its final value before they are looked at. Two waves are nearly as good as a bound
//! that tightens with every list, and cost far less bookkeeping. Memory is asked for ahead: the list two further on while
//! one is scanned, the records of all survivors of a wave before the first is read, and the vectors of all candidates before
//! the first is measured.

use super::candidates::{Candidate, Candidates};
use super::centroids::{CentroidSet, Probed};
use super::frame::Frame;
use super::wave::{Room, Wave};
use super::{Stage, Trace};
use crate::error::Result;
use crate::index::flat::FlatQuery;
use crate::kernel::code::query::QueryTables;
use crate::kernel::code::scan::{MAX_TURNS, Survivors};
use crate::kernel::{Kernels, Selection};

/// Lists of the first wave.
pub(super) const FIRST_WAVE: usize = 4;
/// Lists of each further wave.
pub(super) const WAVE: usize = 32;
/// Entries of the first wave that are scored before the others, at least as many as are wanted.
const FIRST_SCORED: usize = 13;

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

    /// What [`list`](Lists::list) will look at, to be asked for.
    fn header(&self, _list: u32) -> &[u8] {
        &[]
    }

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

    /// The stored vector at a place and, under cosine, its length.
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
    state: QueryState,
    probes: Vec<Probed>,
}

impl Ready {
    /// The nearest list: queries that have the same look at many of the same lists.
    pub(crate) fn nearest_list(&self) -> u32 {
        let nearest = self.probes.iter().take(FIRST_WAVE).min_by(|a, b| a.rank.total_cmp(&b.rank));
        nearest.map_or(u32::MAX, |probed| probed.list)
    }
}

/// Room for a query, kept between queries: a search allocates nothing once it has grown.
#[derive(Default)]
pub(crate) struct Scratch {
    ready: Ready,
    pub(super) estimates: Vec<f32>,
    pub(super) selection: Selection,
    pub(super) offsets: Vec<usize>,
    pub(super) refined: Vec<f32>,
    pub(super) slots: Vec<u32>,
    pub(super) probes: Vec<Probed>,
    pub(super) survivors: Survivors,
    pub(super) candidates: Candidates,
    wave: Room,
    exact: Vec<(f32, u64)>,
    /// Entries scanned, and entries whose records were read, by the last search.
    pub(crate) work: (usize, usize),
}

impl Scratch {
    /// What the last search found.
    pub(crate) fn found(&self) -> &[(f32, u64)] {
        &self.exact
    }

    /// The lists that the last search chose, wave by wave.
    pub(crate) fn probed(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        self.probes.iter().map(|probed| probed.list)
    }

    /// Rows that the last search measured.
    pub(crate) fn measured(&self) -> usize {
        self.candidates.len()
    }
}

/// A search under way: what it does next, and in the middle of which wave it is.
pub(super) struct Running<'w> {
    wave: Wave<'w>,
    next: Next,
    /// The turns of the wave.
    start: usize,
    end: usize,
    /// Turns without a better `k`-th candidate, and its estimate before the wave.
    idle: usize,
    before: f32,
}

enum Next {
    /// Scan the first wave.
    Scan,
    /// Score the entries of the first wave up to this bound.
    First(f32),
    /// Score what was asked for, then scan on.
    Score,
    /// Measure the candidates.
    Measure,
}

impl Running<'_> {
    /// Gives the room back.
    pub(super) fn end(self, scratch: &mut Scratch) {
        scratch.wave = self.wave.into_room();
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
        // Patience counts lists from the nearest on.
        let sorted = probe.patience < nprobe;
        self.centroids.rank(self.kernels, self.frame, state, nprobe, sorted, scratch, trace);
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
        let mut run = self.begin(k, probe, ready, scratch);
        while !self.step(ready, exact, k, probe, &mut run, scratch, trace)? {}
        run.end(scratch);
        Ok(())
    }

    /// Begins the second half; [`step`](IvfSearch::step) does it, [`Running::end`] ends it.
    pub(super) fn begin(&self, k: usize, probe: &Probe, ready: &mut Ready, scratch: &mut Scratch) -> Running<'_> {
        std::mem::swap(&mut ready.probes, &mut scratch.probes);
        scratch.candidates.reset(k, probe.exact);
        scratch.exact.clear();
        scratch.work = (0, 0);
        for probed in &scratch.probes {
            self.segments.iter().for_each(|lists| self.kernels.prefetch(lists.header(probed.list)));
        }
        let wave = Wave::new(std::mem::take(&mut scratch.wave));
        Running { wave, next: Next::Scan, start: 0, end: 0, idle: 0, before: f32::INFINITY }
    }

    /// Looks at the probed lists, a turn for each of every segment, up to the next point where memory was asked for; true if that was
    /// the last step and all is found.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(super) fn step<'w, T: Trace>(
        &'w self,
        ready: &Ready,
        exact: &FlatQuery,
        k: usize,
        probe: &Probe,
        run: &mut Running<'w>,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<bool> {
        let query = &ready.state;
        let segments = self.segments.len();
        let turns = scratch.probes.len() * segments;
        match run.next {
            Next::Scan => {}
            Next::First(near) => {
                self.score(query, &run.wave, scratch)?;
                if near < f32::INFINITY {
                    return self.ask_for(near, run, turns, scratch).map(|()| false);
                }
                self.ended(run, scratch, trace);
            }
            Next::Score => {
                self.score(query, &run.wave, scratch)?;
                self.ended(run, scratch, trace);
            }
            Next::Measure => {
                self.measure(exact, k, scratch)?;
                trace.ended(Stage::Exact);
                return Ok(true);
            }
        }
        if run.start >= turns || run.idle >= probe.patience.saturating_mul(segments) {
            self.ask_for_rows(scratch.candidates.finish());
            run.next = Next::Measure;
            return Ok(false);
        }
        let most = if run.start == 0 { (FIRST_WAVE * segments).min(MAX_TURNS) } else { WAVE };
        run.end = turns.min(run.start + most);
        run.before = scratch.candidates.kth();
        self.scan(query, run.start..run.end, probe, &mut run.wave, scratch)?;
        trace.ended(Stage::Scan);
        if run.before == f32::INFINITY {
            let near = self.kernels.near(scratch.survivors.bounds(), k.max(FIRST_SCORED), &mut scratch.selection);
            self.ask(f32::NEG_INFINITY, near, &mut run.wave, scratch)?;
            run.next = Next::First(near);
            return Ok(false);
        }
        self.ask_for(f32::NEG_INFINITY, run, turns, scratch).map(|()| false)
    }

    /// Asks for the records of the survivors above a bound, and after the last lists for the rows of the candidates there are: most
    /// stay, and the wait for both is one.
    fn ask_for(&self, above: f32, run: &mut Running<'_>, turns: usize, scratch: &Scratch) -> Result<()> {
        self.ask(above, scratch.candidates.kth(), &mut run.wave, scratch)?;
        if run.end == turns {
            self.ask_for_rows(scratch.candidates.some());
        }
        run.next = Next::Score;
        Ok(())
    }

    /// A wave is over.
    fn ended<T: Trace>(&self, run: &mut Running<'_>, scratch: &Scratch, trace: &mut T) {
        let better = scratch.candidates.kth() < run.before;
        run.idle = if better { 0 } else { run.idle + (run.end - run.start) };
        run.start = run.end;
        trace.ended(Stage::Records);
    }

    fn ask_for_rows(&self, candidates: &[Candidate]) {
        for candidate in candidates {
            self.kernels.prefetch(self.rows.ahead(candidate.place));
        }
    }

    /// Exact distances of the candidates.
    fn measure(&self, exact: &FlatQuery, k: usize, scratch: &mut Scratch) -> Result<()> {
        scratch.exact.clear();
        for candidate in scratch.candidates.finish() {
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
