//! The lists that are scanned between two looks at the bound, and the scoring of what passes.
//!
//! All lists of a wave are scanned by one call of the kernel, and where their pieces lie is kept until the wave is over. A survivor
//! is a number that tells turn and position; it gets a row number only when its estimate is among the best.

use std::ops::Range;

use super::candidates::Candidate;
use super::centroids::Probed;
use super::frame::Frame;
use super::search::{IvfSearch, ListPieces, Lists, Probe, QueryState, Rows, Scratch};
use crate::error::Result;
use crate::kernel::code::extra::{Record, record_bytes, take_factors};
use crate::kernel::code::query::QueryTables;
use crate::kernel::code::residual::gain_of;
use crate::kernel::code::scan::{MAX_TURNS, ScanTerms, ScanTurn, SignList, Survivors, place_parts};
use crate::kernel::code::sign_block::first_stage_factors;
use crate::kernel::{Op, RECORDS};

/// How far ahead of the list being scanned memory is asked for, in turns.
const AHEAD: usize = 2;

/// What is known of the lists of a wave; one for all waves of a query.
pub(super) struct Wave<'a> {
    scans: Vec<ScanTurn<'a>>,
    turns: Vec<Turn<'a>>,
    /// The survivors being scored, and their records.
    sifted: Survivors,
    records: Vec<&'a [u8]>,
    /// A bit for each turn whose records are all proven.
    proven: u64,
}

/// The room of a wave, without what it borrowed.
#[derive(Default)]
pub(super) struct Room(Vec<ScanTurn<'static>>, Vec<Turn<'static>>, Survivors, Vec<&'static [u8]>);

/// One list of one segment.
#[derive(Clone, Copy, Default)]
struct Turn<'a> {
    segment: usize,
    list: u32,
    bits: usize,
    /// Bytes between the starts of two records; 0 if there are none.
    stride: usize,
    pieces: ListPieces<'a>,
}

impl<'a> Turn<'a> {
    fn record(&self, position: usize) -> Option<&'a [u8]> {
        self.pieces.records.get(position * self.stride..(position + 1) * self.stride)
    }
}

/// The room of a vector for elements of another lifetime: collecting no elements of one size keeps the allocation.
pub(crate) fn emptied<A, B>(mut room: Vec<A>) -> Vec<B> {
    room.clear();
    room.into_iter().filter_map(|_| None).collect()
}

impl Wave<'_> {
    pub(super) fn new(room: Room) -> Self {
        let Room(scans, turns, sifted, records) = room;
        Wave { scans: emptied(scans), turns: emptied(turns), sifted, records: emptied(records), proven: 0 }
    }

    pub(super) fn into_room(self) -> Room {
        Room(emptied(self.scans), emptied(self.turns), self.sifted, emptied(self.records))
    }
}

/// Survivors whose estimates are made by one call.
#[derive(Default)]
struct Batch<'a> {
    bits: usize,
    count: usize,
    records: [Record<'a>; RECORDS],
    places: [u32; RECORDS],
    /// How many of the batch before are near enough, and those with their estimates: their row words are on the way.
    near: usize,
    waiting: [(f32, u32); RECORDS],
}

impl<L: Lists, R: Rows> IvfSearch<'_, L, R> {
    /// Gathers the entries of some turns whose bound is below that of the `k`-th candidate.
    pub(super) fn scan<'w>(
        &'w self,
        query: &QueryState,
        turns: Range<usize>,
        probe: &Probe,
        wave: &mut Wave<'w>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        wave.proven = 0;
        scratch.survivors.clear();
        wave.scans.clear();
        wave.turns.clear();
        let start = turns.start;
        for turn in turns.take(MAX_TURNS) {
            let Some((segment, lists, probed)) = self.turn(turn, &scratch.probes) else { continue };
            if turn < start + AHEAD {
                self.kernels.prefetch(lists.ahead(probed.list));
            }
            let pieces = lists.list(probed.list)?;
            let list = SignList { codes: pieces.signs, factors: pieces.factors, count: pieces.count as usize };
            let ahead =
                self.turn(turn + AHEAD, &scratch.probes).map_or(&[][..], |(_, lists, probed)| lists.ahead(probed.list));
            wave.scans.push(ScanTurn { list, terms: self.terms(query, &probed), ahead });
            let bits = lists.bits();
            let stride = lists.stride();
            wave.turns.push(Turn { segment, list: probed.list, bits, stride, pieces });
            scratch.work.0 += list.count;
        }
        self.kernels.scan_all(
            &query.tables,
            &wave.scans,
            probe.deviations,
            scratch.candidates.kth(),
            &mut scratch.survivors,
        );
        Ok(())
    }

    /// Turns go through all segments before the next list.
    pub(super) fn turn(&self, turn: usize, probes: &[Probed]) -> Option<(usize, &L, Probed)> {
        let (at, segment) = match self.segments.len() {
            1 => (turn, 0),
            many => (turn.checked_div(many)?, turn.checked_rem(many)?),
        };
        Some((segment, self.segments.get(segment)?, *probes.get(at)?))
    }

    /// What is common to the estimates of one list. The base of an inner product is the rank of the list and what the mean adds.
    pub(super) fn terms(&self, query: &QueryState, probed: &Probed) -> ScanTerms {
        list_terms(self.frame, query, probed)
    }

    /// Takes the survivors with bounds in `(above, up_to]`, asks for their records, all before the first is read, and proves them. Of the row words
    /// few will be read: those of entries without records are asked for here, others once it is known which.
    pub(super) fn ask(&self, above: f32, up_to: f32, wave: &mut Wave<'_>, scratch: &Scratch) -> Result<()> {
        let Wave { turns, sifted, records, proven, .. } = wave;
        self.kernels.sift(&scratch.survivors, above, up_to, sifted);
        records.clear();
        for place in sifted.positions() {
            let (at, position) = place_parts(*place);
            let Some(turn) = turns.get(at) else { break };
            let record = turn.record(position).unwrap_or_default();
            match turn.bits < 2 {
                true => self.ask_row(turn, position),
                false => self.kernels.prefetch(record),
            }
            records.push(record);
            if *proven >> at & 1 == 0 && turn.bits > 1 && self.prove(turn, position)? {
                *proven |= 1 << at;
            }
        }
        Ok(())
    }

    /// Scores what was asked for.
    pub(super) fn score(&self, query: &QueryState, wave: &Wave<'_>, scratch: &mut Scratch) -> Result<()> {
        let sifted = &wave.sifted;
        let mut batch = Batch::default();
        let columns = sifted.positions().iter().zip(sifted.bounds()).zip(sifted.sums()).zip(&wave.records);
        for (((place, bound), sum), bytes) in columns {
            // The bound has tightened since they were sifted.
            if *bound > scratch.candidates.kth() {
                continue;
            }
            let (at, position) = place_parts(*place);
            let (Some(turn), Some(scan)) = (wave.turns.get(at), wave.scans.get(at)) else { continue };
            if turn.bits < 2 {
                let score = first_estimate(&query.tables, &scan.terms, turn.pieces.factors, position, *sum);
                scratch.work.1 += 1;
                if score < scratch.candidates.bound() {
                    self.take(query, score, *place, wave, scratch)?;
                }
                continue;
            }
            // Segments may differ in their bits; the entries of a batch may not.
            if batch.count == RECORDS || batch.bits != turn.bits {
                self.score_batch(query, &mut batch, wave, scratch)?;
                batch.bits = turn.bits;
            }
            if let (Some(record), Some(name)) = (batch.records.get_mut(batch.count), batch.places.get_mut(batch.count))
            {
                (*record, *name) = (Record { bytes, base: scan.terms.base, sum: *sum }, *place);
                batch.count += 1;
            }
        }
        self.score_batch(query, &mut batch, wave, scratch)?;
        self.take_waiting(query, &mut batch, wave, scratch)
    }

    /// Scores up to [`RECORDS`] survivors by their further bits, asks for the rows of those that are near enough, and offers what waits of the batch
    /// before.
    fn score_batch(
        &self,
        query: &QueryState,
        batch: &mut Batch<'_>,
        wave: &Wave<'_>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let count = std::mem::take(&mut batch.count);
        let Some(records) = batch.records.get(..count).filter(|records| !records.is_empty()) else { return Ok(()) };
        let mut scores = [0.0; RECORDS];
        self.kernels.estimate_records(&query.tables, self.frame.op(), batch.bits - 1, records, &mut scores);
        scratch.work.1 += count;
        self.take_waiting(query, batch, wave, scratch)?;
        for (score, place) in scores.iter().zip(&batch.places).take(count) {
            let (at, position) = place_parts(*place);
            if *score < scratch.candidates.bound()
                && let (Some(turn), Some(waiting)) = (wave.turns.get(at), batch.waiting.get_mut(batch.near))
            {
                self.ask_row(turn, position);
                *waiting = (*score, *place);
                batch.near += 1;
            }
        }
        Ok(())
    }

    /// Offers what waits for its rows.
    fn take_waiting(
        &self,
        query: &QueryState,
        batch: &mut Batch<'_>,
        wave: &Wave<'_>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        for (score, place) in batch.waiting.iter().take(std::mem::take(&mut batch.near)) {
            if *score < scratch.candidates.bound() {
                self.take(query, *score, *place, wave, scratch)?;
            }
        }
        Ok(())
    }

    /// Asks for the row word of an entry.
    fn ask_row(&self, turn: &Turn<'_>, position: usize) {
        self.kernels.prefetch(turn.pieces.rows.get(position * 4..position * 4 + 4).unwrap_or_default());
    }

    /// Whether with the record of an entry all others of its list are proven now.
    #[cold]
    fn prove(&self, turn: &Turn<'_>, position: usize) -> Result<bool> {
        let Some(lists) = self.segments.get(turn.segment) else { return Ok(false) };
        if lists.prove_records(turn.list)? {
            return Ok(true);
        }
        lists.prove_record(turn.list, position as u32)?;
        Ok(false)
    }

    /// Makes an entry whose estimate is within the bound a candidate, if its row may be found and is none yet.
    fn take(
        &self,
        query: &QueryState,
        estimate: f32,
        place: u32,
        wave: &Wave<'_>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let (at, position) = place_parts(place);
        let Some(turn) = wave.turns.get(at) else { return Ok(()) };
        let Some(lists) = self.segments.get(turn.segment) else { return Ok(()) };
        let words = turn.pieces.rows.as_chunks::<4>().0;
        let word = words.get(position).map_or(u32::MAX, |word| u32::from_le_bytes(*word));
        let name = (turn.segment as u32, word);
        if scratch.candidates.has(name) {
            return Ok(());
        }
        let row = lists.row(word)?;
        if let Some(place) = self.rows.find(row)? {
            let error = self.error(query, wave, (at, position));
            scratch.candidates.push(Candidate { estimate, error, name, row, place });
        }
        Ok(())
    }

    /// The standard error of the estimate of an entry, by all bits it has.
    fn error(&self, query: &QueryState, wave: &Wave<'_>, (at, position): (usize, usize)) -> f32 {
        let (Some(turn), Some(scan)) = (wave.turns.get(at), wave.scans.get(at)) else { return f32::INFINITY };
        let length = record_bytes(self.frame.padded(), turn.bits.saturating_sub(1));
        let rescale = match turn.record(position).and_then(|record| record.get(..length)) {
            Some(record) if turn.bits > 1 => take_factors(record).rescale,
            _ => match first_stage_factors(turn.pieces.factors, position) {
                // Its estimate is made up.
                (f32::NEG_INFINITY, _) => return f32::INFINITY,
                (_, rescale) => rescale,
            },
        };
        scan.terms.sigma(&query.tables, turn.bits.max(1), rescale)
    }
}

/// What is common to the estimates of one list.
pub(super) fn list_terms(frame: &Frame, query: &QueryState, probed: &Probed) -> ScanTerms {
    let op = frame.op();
    let base = match op {
        Op::L2 => probed.reach * probed.reach,
        Op::Dot => probed.rank + query.shift,
    };
    ScanTerms { op, base, reach: probed.reach, scale: frame.scale() }
}

/// The estimate that the sign bits of an entry give. Where `F` does not fit its half it is told, under L2, by the other factor: of a rotated residual the mean size of a
/// component says how long it is.
fn first_estimate(tables: &QueryTables, terms: &ScanTerms, factors: &[u8], position: usize, sum: u32) -> f32 {
    const MOST: f32 = 65_504.0;
    let (add, rescale) = first_stage_factors(factors, position);
    let add = match terms.op {
        _ if add != f32::NEG_INFINITY => add,
        Op::L2 => MOST.max(rescale * rescale * tables.padded_dim() as f32 / (2.0 * std::f32::consts::PI) / terms.scale),
        Op::Dot => 0.0,
    };
    (add * terms.scale + terms.base) - rescale * (gain_of(terms.op) * tables.sign_product(sum))
}
