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
use super::{Stage, Trace};
use crate::error::Result;
use crate::index::flat::FlatQuery;
use crate::kernel::code::extra::{ExtraList, record_bytes};
use crate::kernel::code::query::QueryTables;
use crate::kernel::code::residual::gain_of;
use crate::kernel::code::scan::{ScanTerms, SignList, Survivors};
use crate::kernel::code::sign_block::first_stage_factors;
use crate::kernel::{Kernels, Op, Selection};

/// Lists of the first wave.
const FIRST_WAVE: usize = 4;
/// Lists of each further wave.
const WAVE: usize = 16;
/// Entries of the first wave that are scored before the others, at least as many as are wanted.
const FIRST_SCORED: usize = 13;
/// How far ahead of the list being scanned memory is asked for, in lists.
const LISTS_AHEAD: usize = 2;

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
#[derive(Clone, Copy)]
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
    shift: f32,
}

/// Survivors of one list within those of a wave.
#[derive(Clone, Copy)]
struct Span {
    segment: usize,
    probe: usize,
    start: usize,
    end: usize,
}

/// Room for a query, kept between queries: a search allocates nothing once it has grown.
#[derive(Default)]
pub(crate) struct Scratch {
    query: QueryState,
    pub(super) estimates: Vec<f32>,
    pub(super) selection: Selection,
    pub(super) offsets: Vec<usize>,
    pub(super) refined: Vec<f32>,
    pub(super) probes: Vec<Probed>,
    survivors: Survivors,
    spans: Vec<Span>,
    bounds: Vec<f32>,
    positions: Vec<u32>,
    sums: Vec<u32>,
    kept: Vec<Span>,
    scores: Vec<f32>,
    candidates: Candidates,
    places: Vec<u64>,
    exact: Vec<(f32, u64)>,
    /// Entries scanned, and entries whose records were read, by the last search.
    pub(crate) work: (usize, usize),
}

impl Scratch {
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
        self.places.len()
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
        let mut state = std::mem::take(&mut scratch.query);
        state.shift = self.frame.enter_query(self.kernels, query, length, &mut state.rotated);
        self.kernels.prepare_query(&state.rotated, &mut state.tables);
        trace.ended(Stage::Query);
        let nprobe = probe.nprobe.clamp(1, self.centroids.count.max(1));
        self.centroids.rank(self.kernels, self.frame, &state, nprobe, scratch, trace);
        scratch.candidates.reset(k, probe.exact);
        scratch.work = (0, 0);
        let outcome = self.waves(&state, k, probe, scratch, trace);
        scratch.query = state;
        outcome?;
        self.measure(exact, k, scratch)?;
        trace.ended(Stage::Exact);
        Ok(&scratch.exact)
    }

    fn waves<T: Trace>(
        &self,
        query: &QueryState,
        k: usize,
        probe: &Probe,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<()> {
        let (mut start, mut idle) = (0, 0);
        while start < scratch.probes.len() && idle < probe.patience {
            let end = scratch.probes.len().min(start + if start == 0 { FIRST_WAVE } else { WAVE });
            let before = scratch.candidates.kth();
            self.scan(query, start..end, probe, scratch)?;
            trace.ended(Stage::Scan);
            if before == f32::INFINITY {
                let first = k.max(FIRST_SCORED);
                let best = self.kernels.select(scratch.survivors.bounds(), first, &mut scratch.selection);
                let largest = best.iter().map(|chosen| chosen.estimate()).fold(f32::NEG_INFINITY, f32::max);
                self.score(query, f32::NEG_INFINITY, largest, scratch)?;
                self.score(query, largest, scratch.candidates.kth(), scratch)?;
            } else {
                self.score(query, f32::NEG_INFINITY, before, scratch)?;
            }
            trace.ended(Stage::Records);
            idle = if scratch.candidates.kth() < before { 0 } else { idle + (end - start) };
            start = end;
        }
        Ok(())
    }

    /// Gathers the entries of some probed lists whose bound is below that of the `k`-th candidate.
    fn scan(
        &self,
        query: &QueryState,
        wave: std::ops::Range<usize>,
        probe: &Probe,
        scratch: &mut Scratch,
    ) -> Result<()> {
        scratch.survivors.clear();
        scratch.spans.clear();
        let threshold = scratch.candidates.kth();
        let segments = self.segments.len();
        for turn in wave.start * segments..wave.end * segments {
            let (at, segment) = (turn / segments, turn % segments);
            let (Some(probed), Some(lists)) = (scratch.probes.get(at), self.segments.get(segment)) else { continue };
            let next = turn + LISTS_AHEAD;
            let ahead = scratch.probes.get(next / segments).zip(self.segments.get(next % segments));
            let ahead = ahead.map_or(&[][..], |(probed, lists)| lists.ahead(probed.list));
            let pieces = lists.list(probed.list)?;
            let list = SignList { codes: pieces.signs, factors: pieces.factors, count: pieces.count as usize };
            let terms = self.terms(query, probed);
            let start = scratch.survivors.len();
            let survivors = &mut scratch.survivors;
            self.kernels.scan(&query.tables, &list, &terms, probe.deviations, threshold, ahead, survivors);
            let end = scratch.survivors.len();
            scratch.work.0 += list.count;
            if start < end {
                scratch.spans.push(Span { segment, probe: at, start, end });
            }
        }
        Ok(())
    }

    /// What is common to the estimates of one list. The base of an inner product is the rank of the list and what the mean adds.
    fn terms(&self, query: &QueryState, probed: &Probed) -> ScanTerms {
        let op = self.frame.op();
        let base = match op {
            Op::L2 => probed.reach * probed.reach,
            Op::Dot => probed.rank + query.shift,
        };
        ScanTerms { op, base, reach: probed.reach, scale: self.frame.scale() }
    }

    /// Scores the survivors with bounds in `(above, up_to]`.
    fn score(&self, query: &QueryState, above: f32, up_to: f32, scratch: &mut Scratch) -> Result<()> {
        self.gather(above, up_to, scratch)?;
        let kept = std::mem::take(&mut scratch.kept);
        let outcome = kept.iter().try_for_each(|span| self.score_span(query, span, scratch));
        scratch.kept = kept;
        outcome
    }

    /// Leaves the survivors with such bounds in three columns, and asks for what will be read of them.
    fn gather(&self, above: f32, up_to: f32, scratch: &mut Scratch) -> Result<()> {
        let most = scratch.survivors.len();
        scratch.kept.clear();
        scratch.bounds.resize(most, 0.0);
        scratch.positions.resize(most, 0);
        scratch.sums.resize(most, 0);
        let all = above == f32::NEG_INFINITY;
        let mut end = 0;
        for span in &scratch.spans {
            let bounds = scratch.survivors.bounds().get(span.start..span.end).unwrap_or_default();
            let positions = scratch.survivors.positions().get(span.start..span.end).unwrap_or_default();
            let sums = scratch.survivors.sums().get(span.start..span.end).unwrap_or_default();
            let start = end;
            // Every entry is written and only those that pass move the end: no branch to guess wrong.
            let columns =
                (scratch.bounds.get_mut(start..), scratch.positions.get_mut(start..), scratch.sums.get_mut(start..));
            let (Some(to_bounds), Some(to_positions), Some(to_sums)) = columns else { break };
            let mut kept = 0;
            for ((bound, position), sum) in bounds.iter().zip(positions).zip(sums) {
                let places = (to_bounds.get_mut(kept), to_positions.get_mut(kept), to_sums.get_mut(kept));
                if let (Some(to_bound), Some(to_position), Some(to_sum)) = places {
                    (*to_bound, *to_position, *to_sum) = (*bound, *position, *sum);
                }
                kept += usize::from((*bound > above || all) & (*bound <= up_to));
            }
            end = start + kept;
            if start == end {
                continue;
            }
            scratch.kept.push(Span { start, end, ..*span });
            let (Some(probed), Some(lists)) = (scratch.probes.get(span.probe), self.segments.get(span.segment)) else {
                continue;
            };
            let pieces = lists.list(probed.list)?;
            let stride = stride_of(self.frame.padded(), lists.bits());
            for position in scratch.positions.get(start..end).unwrap_or_default() {
                let at = *position as usize;
                self.kernels.prefetch(pieces.records.get(at * stride..(at + 1) * stride).unwrap_or_default());
                self.kernels.prefetch(pieces.rows.get(at * 4..at * 4 + 1).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Scores what was gathered of one list and offers it.
    fn score_span(&self, query: &QueryState, span: &Span, scratch: &mut Scratch) -> Result<()> {
        let (Some(probed), Some(lists)) = (scratch.probes.get(span.probe), self.segments.get(span.segment)) else {
            return Ok(());
        };
        let pieces = lists.list(probed.list)?;
        let terms = self.terms(query, probed);
        let list = probed.list;
        let end = self.still_near(span, scratch);
        let Some(positions) = scratch.positions.get(span.start..end) else { return Ok(()) };
        let sums = scratch.sums.get(span.start..end).unwrap_or_default();
        scratch.scores.resize(positions.len(), 0.0);
        scratch.work.1 += positions.len();
        if lists.bits() > 1 {
            positions.iter().try_for_each(|position| lists.prove_record(list, *position))?;
            let extra = ExtraList { records: pieces.records, extra_bits: lists.bits() - 1 };
            self.kernels.estimate_extra(&query.tables, &extra, &terms, positions, sums, &mut scratch.scores);
        } else {
            for ((score, position), sum) in scratch.scores.iter_mut().zip(positions).zip(sums) {
                *score = first_estimate(&query.tables, &terms, pieces.factors, *position, *sum);
            }
        }
        for (score, position) in scratch.scores.iter().zip(positions) {
            if *score < scratch.candidates.bound() {
                let word =
                    pieces.rows.as_chunks::<4>().0.get(*position as usize).map_or(u32::MAX, |w| u32::from_le_bytes(*w));
                let row = lists.row(word)?;
                if self.rows.live(row)? {
                    scratch.candidates.push(*score, row);
                }
            }
        }
        Ok(())
    }

    /// Moves what is still within the bound of the `k`-th candidate to the front of a span; its new end.
    fn still_near(&self, span: &Span, scratch: &mut Scratch) -> usize {
        let kth = scratch.candidates.kth();
        let mut end = span.start;
        for i in span.start..span.end {
            let (Some(bound), Some(position), Some(sum)) =
                (scratch.bounds.get(i).copied(), scratch.positions.get(i).copied(), scratch.sums.get(i).copied())
            else {
                break;
            };
            if bound <= kth {
                if let (Some(to_position), Some(to_sum)) = (scratch.positions.get_mut(end), scratch.sums.get_mut(end)) {
                    (*to_position, *to_sum) = (position, sum);
                }
                end += 1;
            }
        }
        end
    }

    /// Exact distances of the candidates.
    fn measure(&self, exact: &FlatQuery, k: usize, scratch: &mut Scratch) -> Result<()> {
        scratch.places.clear();
        scratch.exact.clear();
        for (_, row) in scratch.candidates.found() {
            let place = self.rows.place(*row)?;
            self.kernels.prefetch(self.rows.ahead(place));
            scratch.places.push(place);
        }
        for (place, (_, row)) in scratch.places.iter().zip(scratch.candidates.found()) {
            let (vector, length) = self.rows.vector(*place)?;
            scratch.exact.push((exact.score_one(vector, length), *row));
        }
        scratch.exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        scratch.exact.truncate(k);
        Ok(())
    }
}

/// Bytes of a record.
fn stride_of(padded: usize, bits: usize) -> usize {
    if bits > 1 { record_bytes(padded, bits - 1) } else { 0 }
}

/// The estimate that the sign bits of an entry give.
fn first_estimate(tables: &QueryTables, terms: &ScanTerms, factors: &[u8], position: u32, sum: u32) -> f32 {
    let (add, rescale) = first_stage_factors(factors, position as usize);
    (add * terms.scale + terms.base) - rescale * (gain_of(terms.op) * tables.sign_product(sum))
}
