//! One query over lists.
//!
//! Lists are scanned in waves: first few, then many. Of the first wave the entries with the smallest bounds are scored at once, so
//! that the bound for all others is near its final value before they are looked at. Two waves are nearly as good as a bound
//! that tightens with every list, and cost far less bookkeeping. Memory is asked for ahead: the list two further on while
//! one is scanned, the records of all survivors of a wave before the first is read, and the vectors of all candidates before
//! the first is measured.

use std::ops::Range;
use std::sync::atomic::AtomicU64;

use super::candidates::{Candidate, Candidates};
use super::centroids::{CentroidSet, Probed};
use super::encoder::Coder;
use super::exact::Entry;
use super::frame::Frame;
use super::fresh::FreshList;
use super::product::CodewordTables;
use super::wave::{Room, Wave};
use super::waves::Waves;
use super::{Stage, Trace};
use crate::error::Result;
use crate::index::flat::FlatQuery;
use crate::index::stored::Stored;
use crate::kernel::code::query::QueryTables;
use crate::kernel::code::scan::Survivors;
use crate::kernel::{Kernels, SeenSet, Selection};
use crate::storage::Bytes;

/// Entries of the first wave that are scored before the others, at least as many as are wanted.
const FIRST_SCORED: usize = 13;

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Probe {
    /// Lists to look at.
    pub(crate) nprobe: usize,
    /// Lists without a better `k`-th candidate after which the search ends.
    pub(crate) patience: usize,
    /// Rows that are measured exactly, at least `k`, less those that codes of bits leave no doubt of.
    pub(crate) exact: usize,
    /// Standard errors by which bounds are lower than estimates.
    pub(crate) deviations: f32,
    /// How far out lists are looked at, beyond the first few of them, by what those held; infinity: however far. See [`Horizon`](super::Horizon).
    pub(crate) horizon: f32,
}

impl Probe {
    /// Lists that most queries look at.
    pub(crate) fn likely_lists(&self) -> usize {
        match self.patience {
            usize::MAX => self.nprobe,
            patience => self.nprobe.min(patience.saturating_mul(2)),
        }
    }

    /// The customary search of `nprobe` lists: all of them, 16 exact rows, 1.5 standard errors.
    pub(crate) fn new(nprobe: usize) -> Probe {
        Probe { nprobe, patience: usize::MAX, exact: 16, deviations: 1.5, horizon: f32::INFINITY }
    }
}

impl Probe {
    /// The search of all of `lists` lists for `k` rows: nearly everything is looked at with all bits.
    pub(crate) fn all(lists: usize, k: usize) -> Probe {
        Probe { exact: k, deviations: 3.5, ..Probe::new(lists) }
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

    /// Bytes between the starts of two records; 0 if there are none.
    fn stride(&self) -> usize;

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

    /// What tells whether those bytes are proven, to be asked for.
    fn proof(&self, _place: u64) -> &[AtomicU64] {
        &[]
    }

    /// Asks for what is at a place to be read soon, where it is not in memory.
    fn ask(&self, _place: u64) {}

    /// [`vector`](Rows::vector), wherever the row is.
    ///
    /// # Errors
    /// `Corrupt`; `Io`.
    fn load(&self, place: u64) -> Result<Stored<Bytes<'_>>> {
        let Stored { bytes, element, length } = self.vector(place)?;
        Ok(Stored { bytes: Bytes::Mapped(bytes), element, length })
    }

    /// The stored vector at a place in memory. If there is none, the estimate counts.
    ///
    /// # Errors
    /// `Corrupt`.
    fn vector(&self, place: u64) -> Result<Stored<&[u8]>>;
}

/// A query in the space of codes.
#[derive(Default)]
pub(crate) struct QueryState {
    pub(super) rotated: Vec<f32>,
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
    pub(super) slots: Vec<u32>,
    pub(super) probes: Vec<Probed>,
    pub(super) survivors: Survivors,
    pub(super) candidates: Candidates,
    pub(super) wave: Room,
    /// Tables for codewords, where lists have them.
    pub(super) words: CodewordTables,
    /// Entries of one wave that are near enough, where lists have codewords.
    pub(super) sifted: Survivors,
    pub(super) entries: Vec<Entry>,
    /// Row words that were met, where lists have no codes.
    pub(super) met: SeenSet,
    pub(super) exact: Vec<(f32, u64)>,
    /// Rows measured by the last search, and the bytes of their vectors.
    pub(super) measured: usize,
    pub(super) measured_bytes: usize,
    /// Entries scanned, and entries whose records were read, by the last search.
    pub(crate) work: (usize, usize),
    /// Lists that it looked at: of those it chose, perhaps not all.
    pub(crate) looked: usize,
    /// Rows in the order of their places, with their estimates.
    pub(super) places: Vec<(u64, u64, f32)>,
    /// What the last search asked for, if it was not sure of its memory.
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

    /// The query of the last search, in the space of codes.
    pub(crate) fn query(&self) -> &QueryState {
        &self.ready.state
    }

    /// What the last search found.
    pub(crate) fn found(&self) -> &[(f32, u64)] {
        &self.exact
    }

    /// The lists that the last search chose, wave by wave.
    pub(crate) fn probed(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        self.probes.iter().map(|probed| probed.list)
    }

    /// The same, each with what a look at its fresh rows has to know.
    pub(crate) fn fresh_lists<'a>(&'a self, frame: &'a Frame) -> impl Iterator<Item = FreshList<'a>> + 'a {
        let table_error = self.query().tables.table_error();
        self.probes.iter().map(move |probed| FreshList::new(frame, self.query(), *probed, table_error))
    }

    /// The rows that the last search measured, in no order, and their distances by codes: squared, or negated products. Without those whose codes say nothing.
    pub(crate) fn estimates(&self) -> impl Iterator<Item = (u64, f32)> + '_ {
        let told = self.candidates.kept().iter().filter(|candidate| candidate.error.is_finite());
        told.map(|candidate| (candidate.row, candidate.estimate))
    }

    /// Rows that the last search measured.
    pub(crate) fn measured(&self) -> usize {
        self.measured
    }

    /// Bytes of their vectors.
    pub(crate) fn measured_bytes(&self) -> usize {
        self.measured_bytes
    }

    /// Nothing was looked at yet.
    pub(super) fn forget_work(&mut self) {
        (self.work, self.looked, self.cold) = ((0, 0), 0, None);
        (self.measured, self.measured_bytes) = (0, 0);
    }

    /// The rows that would be measured if the search ended now, with their estimates, in no order, to `out`.
    pub(crate) fn best(&self, out: &mut Vec<(f32, u64)>) {
        out.clear();
        out.extend(self.candidates.likely().iter().map(|candidate| (candidate.estimate, candidate.row)));
    }

    /// What changes when a row gets among the best: their number so far, and what a row must be nearer than.
    pub(crate) fn state_of_best(&self) -> (usize, f32, f32) {
        (self.candidates.kept().len(), self.candidates.kth(), self.candidates.bound())
    }

    /// Of candidates that were measured already.
    pub(super) fn settle_measured(&mut self, k: usize) {
        self.exact.clear();
        self.exact.extend(self.candidates.finish().iter().map(|candidate| (candidate.estimate, candidate.row)));
        self.settle(k);
    }

    /// Orders what was measured and keeps the nearest `k`.
    pub(super) fn settle(&mut self, k: usize) {
        self.exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        // Only damaged segments name a row twice under two names.
        self.exact.dedup_by_key(|found| found.1);
        self.exact.truncate(k);
    }
}

/// What a search needs to know of the collection.
pub(crate) struct IvfSearch<'a, L, R> {
    pub(crate) kernels: &'static Kernels,
    pub(crate) frame: &'a Frame,
    pub(crate) centroids: CentroidSet<'a>,
    /// What the entries of all lists are.
    pub(crate) coder: Coder<'a>,
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
        std::mem::swap(&mut ready.probes, &mut scratch.probes);
        scratch.candidates.reset(k, probe.exact);
        scratch.forget_work();
        match self.coder {
            Coder::Bits(_) => self.waves(&ready.state, k, probe, scratch, trace)?,
            Coder::Product(book) => self.product_waves(&ready.state, book, probe, scratch, trace)?,
            Coder::None => return self.measure_lists(&ready.state, exact, k, probe, scratch, trace),
        }
        self.measure(exact, k, scratch)?;
        trace.ended(Stage::Exact);
        Ok(())
    }

    /// The waves in which so many lists are looked at.
    pub(super) fn waves_of<'q>(&'q self, query: &'q QueryState, lists: usize, probe: &Probe) -> Waves<'q> {
        Waves::new((self.frame, query, self.coder), self.segments.len(), lists, probe)
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
        for probed in &scratch.probes {
            self.segments.iter().for_each(|lists| self.kernels.prefetch(lists.header(probed.list)));
        }
        let mut waves = self.waves_of(query, scratch.probes.len(), probe);
        let mut wave = Wave::new(std::mem::take(&mut scratch.wave));
        while let Some(turns) = waves.next(trace.most_lists(waves.looked())) {
            let before = scratch.candidates.kth();
            self.wave(query, k, turns.clone(), probe, &mut wave, scratch, trace)?;
            waves.ended(turns, (before, scratch.candidates.kth()), &mut scratch.probes);
            trace.looked(waves.looked(), waves.place(&scratch.probes), scratch);
        }
        scratch.wave = wave.into_room();
        scratch.looked = waves.looked();
        Ok(())
    }

    /// Looks at the lists of some turns.
    #[inline]
    pub(super) fn wave<'w, T: Trace>(
        &'w self,
        query: &QueryState,
        k: usize,
        turns: Range<usize>,
        probe: &Probe,
        wave: &mut Wave<'w>,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<()> {
        let before = scratch.candidates.kth();
        let last = turns.end == scratch.probes.len() * self.segments.len();
        self.scan(query, turns, probe, wave, scratch)?;
        trace.ended(Stage::Scan);
        let mut above = f32::NEG_INFINITY;
        if before == f32::INFINITY {
            above = self.kernels.near(scratch.survivors.bounds(), k.max(FIRST_SCORED), &mut scratch.selection);
            self.ask(f32::NEG_INFINITY, above, wave, scratch)?;
            self.score(query, wave, scratch)?;
        }
        if above < f32::INFINITY {
            self.ask(above, scratch.candidates.kth(), wave, scratch)?;
            if last {
                // Most candidates stay: the wait for their rows and for the last records is one.
                self.ask_for_rows(scratch.candidates.some());
            }
            self.score(query, wave, scratch)?;
        }
        trace.ended(Stage::Records);
        Ok(())
    }

    fn ask_for_rows<'c>(&self, candidates: impl IntoIterator<Item = &'c Candidate>) {
        for candidate in candidates {
            self.kernels.prefetch(self.rows.ahead(candidate.place));
            self.kernels.prefetch_values(self.rows.proof(candidate.place));
        }
    }

    /// Exact distances of the candidates.
    fn measure(&self, exact: &FlatQuery, k: usize, scratch: &mut Scratch) -> Result<()> {
        scratch.exact.clear();
        let found = scratch.candidates.finish();
        self.ask_for_rows(found);
        for candidate in found {
            let vector = self.rows.vector(candidate.place)?;
            let distance = match vector.is_none() {
                true => self.frame.distance_of(candidate.estimate),
                false => exact.score_one(&vector),
            };
            scratch.measured_bytes += vector.bytes.len();
            scratch.exact.push((distance, candidate.row));
        }
        scratch.measured = scratch.exact.len();
        scratch.settle(k);
        Ok(())
    }
}
