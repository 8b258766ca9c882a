//! Lists of product codes: estimates of all entries of the probed lists, the best of which are measured.
//!
//! Tables of sixteen words are scanned by the kernel of sign codes, larger ones column by column. Either says an entry's estimate at once:
//! there are no further bits to look at, and nothing is known of an error that would let a bound decide. So the best by estimate are
//! kept, as many as are to be measured.

use std::ops::Range;

use super::candidates::Candidate;
use super::centroids::Probed;
use super::search::{IvfSearch, Lists, Probe, QueryState, Rows, Scratch};
use super::{Stage, Trace};
use crate::error::Result;
use crate::kernel::Kernels;
use crate::kernel::code::product::{Codebook, ProductTables};
use crate::kernel::code::scan::{MAX_TURNS, ScanTerms, ScanTurn, SignList, place_parts};

/// How far ahead of the list being scanned memory is asked for, in turns.
const AHEAD: usize = 2;

/// A query's tables for the codewords of a book.
#[derive(Default)]
pub(super) struct CodewordTables {
    tables: ProductTables,
    /// Whether lists are scanned by the kernel of sign codes.
    by_nibbles: bool,
}

impl CodewordTables {
    /// Tables of a rotated query.
    pub(super) fn prepare(&mut self, kernels: &Kernels, book: &Codebook, rotated: &[f32]) {
        kernels.prepare_product(book, rotated, &mut self.tables);
        self.by_nibbles = book.has_nibbles();
    }
}

/// Where the row words of a turn are.
#[derive(Clone, Copy, Default)]
struct Turn<'a> {
    segment: usize,
    rows: &'a [u8],
}

impl<L: Lists, R: Rows> IvfSearch<'_, L, R> {
    /// Looks at the probed lists, a turn for each of every segment; candidates are the best by estimate.
    pub(super) fn product_waves<T: Trace>(
        &self,
        query: &QueryState,
        book: &Codebook,
        probe: &Probe,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<()> {
        scratch.words.prepare(self.kernels, book, &query.rotated);
        trace.ended(Stage::Query);
        let mut probes = std::mem::take(&mut scratch.probes);
        let outcome = self.product_turns(query, probe, &mut probes, scratch, trace);
        scratch.probes = probes;
        outcome
    }

    fn product_turns<T: Trace>(
        &self,
        query: &QueryState,
        probe: &Probe,
        probes: &mut Vec<Probed>,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<()> {
        let mut waves = self.waves_of(query, probes.len(), probe);
        while let Some(turns) = waves.next(trace.most_lists(waves.looked())) {
            let before = scratch.candidates.kth();
            self.product_wave(query, probes, turns.clone(), scratch, trace)?;
            waves.ended(turns, (before, scratch.candidates.kth()), probes);
            trace.looked(waves.looked(), waves.place(probes), scratch);
        }
        scratch.looked = waves.looked();
        Ok(())
    }

    /// Looks at the lists of some turns. The tables for codewords are those of the query.
    pub(super) fn product_wave<T: Trace>(
        &self,
        query: &QueryState,
        probes: &[Probed],
        turns: Range<usize>,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Result<()> {
        let room = scratch.candidates.room();
        let mut of = [Turn::default(); MAX_TURNS];
        self.scan_codewords(query, probes, turns, &mut of, scratch)?;
        trace.ended(Stage::Scan);
        // So many of the smallest first: most of the rest are then above the bound.
        let near = match scratch.candidates.bound() {
            f32::INFINITY => self.kernels.near(scratch.survivors.bounds(), room, &mut scratch.selection),
            _ => f32::INFINITY,
        };
        self.take_estimates(f32::NEG_INFINITY, near, &of, scratch)?;
        if near < f32::INFINITY {
            self.take_estimates(near, scratch.candidates.bound(), &of, scratch)?;
        }
        trace.ended(Stage::Records);
        Ok(())
    }

    /// Gathers the entries of some turns whose estimate is below that of the last candidate.
    fn scan_codewords<'w>(
        &'w self,
        query: &QueryState,
        probes: &[Probed],
        turns: Range<usize>,
        of: &mut [Turn<'w>; MAX_TURNS],
        scratch: &mut Scratch,
    ) -> Result<()> {
        const NONE: ScanTurn<'_> =
            ScanTurn { list: SignList { codes: &[], factors: &[], count: 0 }, terms: NO_TERMS, ahead: &[] };
        let mut scans = [NONE; MAX_TURNS];
        let mut count = 0;
        let start = turns.start;
        for turn in turns.take(MAX_TURNS) {
            let Some((segment, lists, probed)) = self.turn(turn, probes) else { continue };
            if turn < start + AHEAD {
                self.kernels.prefetch(lists.ahead(probed.list));
            }
            let pieces = lists.list(probed.list)?;
            if let Some((_, later, then)) = self.turn(turn + AHEAD, probes) {
                self.kernels.prefetch(later.ahead(then.list));
            }
            let list = SignList { codes: pieces.signs, factors: pieces.factors, count: pieces.count as usize };
            scratch.work.0 += list.count;
            if let (Some(scan), Some(turn)) = (scans.get_mut(count), of.get_mut(count)) {
                *scan = ScanTurn { list, terms: self.terms(query, &probed), ahead: &[] };
                *turn = Turn { segment, rows: pieces.rows };
                count += 1;
            }
        }
        let scans = scans.get(..count).unwrap_or_default();
        let (words, bound) = (&scratch.words, scratch.candidates.bound());
        scratch.survivors.clear();
        match words.by_nibbles {
            true => self.kernels.scan_all(words.tables.block_tables(), scans, 0.0, bound, &mut scratch.survivors),
            false => self.kernels.scan_columns(&words.tables, scans, bound, &mut scratch.survivors),
        }
        Ok(())
    }

    /// Makes entries with estimates in `(above, up_to]` candidates, if their rows may be found and are none yet.
    fn take_estimates(&self, above: f32, up_to: f32, of: &[Turn<'_>], scratch: &mut Scratch) -> Result<()> {
        let mut sifted = std::mem::take(&mut scratch.sifted);
        self.kernels.sift(&scratch.survivors, above, up_to, &mut sifted);
        for place in sifted.positions() {
            let (at, position) = place_parts(*place);
            let rows = of.get(at).map_or(&[][..], |turn| turn.rows);
            self.kernels.prefetch(rows.get(position * 4..position * 4 + 1).unwrap_or_default());
        }
        let outcome = sifted.positions().iter().zip(sifted.bounds()).try_for_each(|(place, estimate)| {
            // The bound has tightened since they were sifted.
            if *estimate >= scratch.candidates.bound() {
                return Ok(());
            }
            let (at, position) = place_parts(*place);
            let Some(turn) = of.get(at) else { return Ok(()) };
            let word = turn.rows.as_chunks::<4>().0.get(position).map_or(u32::MAX, |word| u32::from_le_bytes(*word));
            self.offer_word(*estimate, turn.segment, word, scratch)
        });
        scratch.sifted = sifted;
        outcome
    }

    /// Makes an entry whose estimate is within the bound a candidate, if its row may be found and is none yet.
    fn offer_word(&self, estimate: f32, segment: usize, word: u32, scratch: &mut Scratch) -> Result<()> {
        let name = (segment as u32, word);
        let Some(lists) = self.segments.get(segment) else { return Ok(()) };
        if scratch.candidates.has(name) {
            return Ok(());
        }
        let row = lists.row(word)?;
        if let Some(place) = self.rows.find(row)? {
            scratch.candidates.push(Candidate { estimate, error: f32::MAX, name, row, place });
        }
        Ok(())
    }
}

/// Of a turn that is none.
const NO_TERMS: ScanTerms = ScanTerms { op: crate::kernel::Op::L2, base: 0.0, reach: 0.0, scale: 1.0 };
