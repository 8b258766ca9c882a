//! Fresh rows of the probed lists: their codes say which of them are worth measuring.

use super::Source;
use super::scan::{AHEAD, Scan};
use super::seek::Seek;
use super::spot::Spot;
use crate::delta::{Block, Entry, Generation, Marked, Members, Piece};
use crate::error::Result;
use crate::index::ivf::{Frame, ListedCode, RowCodes, Scratch, bound_signs, emptied, has_signs, scan_signs};
use crate::kernel::code::scan::{MAX_TURNS, ScanTerms, ScanTurn, Survivors, place_parts};
use crate::kernel::{Selection, kernels};

/// Rows that are measured before others are sifted again; twice as many each time.
const AT_FIRST: usize = 32;
/// Of so many entries that pass a scan, the most promising are measured before the others are looked at.
const MANY: usize = 64;
/// The nearest lists are looked at before the others if they have many fresh rows.
const FIRST_LISTS: usize = 4;
/// How far ahead of the piece being scanned memory is asked for, in pieces.
const PIECES_AHEAD: usize = 2;

/// Room of a search for fresh rows, kept between searches.
#[derive(Default)]
pub(super) struct FreshRoom {
    marked: Marked,
    turns: Vec<ScanTurn<'static>>,
    pieces: Vec<&'static Piece>,
    /// What passed a scan.
    survivors: Survivors,
    sifted: Survivors,
    listed: Vec<ListedCode<'static>>,
    /// Of rows that are not in pieces, what passed: bounds, as estimates, and the rows.
    bounds: Vec<f32>,
    passed: Vec<u32>,
    selection: Selection,
    /// Rows that are to be looked at now.
    rows: Vec<u32>,
    /// Those that may be near enough, each with a number that its distance is not below.
    near: Vec<(f32, u64)>,
}

/// What is to be scanned of a generation.
struct Pieces<'a> {
    turns: Vec<ScanTurn<'a>>,
    pieces: Vec<&'a Piece>,
    listed: Vec<ListedCode<'a>>,
}

impl<'s> Seek<'s, '_> {
    /// Offers to `scan` the fresh rows of the lists that were probed. The more it knows of others by then, the fewer are measured.
    pub(super) fn gather_fresh(&self, scratch: &Scratch, room: &mut FreshRoom, scan: &mut Scan<'s, '_>) -> Result<()> {
        let has_signs = has_signs(&self.model.frame, self.snapshot.schema().vector_bytes());
        let mut marked = false;
        for generation in self.filed().filter(|generation| generation.rows() > 0) {
            let Some(members) = generation.members() else { continue };
            if !marked {
                room.marked.set(scratch.probed(), members.lists());
                marked = true;
            }
            members.ask(scratch.probed());
            match has_signs && members.sign_bytes() > 0 {
                true => self.scan_lists(scratch, generation, members, room, scan)?,
                false => {
                    room.name_all(scratch, members);
                    self.look_at(scratch, generation, members, room, scan)?;
                }
            }
        }
        Ok(())
    }

    /// Goes through the codes that rows have in the probed lists, and measures what may be near enough.
    fn scan_lists(
        &self,
        scratch: &Scratch,
        generation: &'s Generation,
        members: &'s Members,
        room: &mut FreshRoom,
        scan: &mut Scan<'s, '_>,
    ) -> Result<()> {
        let mut pieces = Pieces {
            turns: emptied(std::mem::take(&mut room.turns)),
            pieces: emptied(std::mem::take(&mut room.pieces)),
            listed: emptied(std::mem::take(&mut room.listed)),
        };
        for (at, probed) in scratch.fresh_lists(&self.model.frame).enumerate() {
            if at == FIRST_LISTS && pieces.entries() > MANY {
                // What is found here says what is near enough elsewhere.
                self.scan_pieces(scratch, generation, members, &mut pieces, room, scan)?;
            }
            let rows = members.of_list(probed.list());
            if rows.is_empty() {
                continue;
            }
            let terms = probed.terms();
            // Numbers near the end of what a float holds tell nothing: such rows are looked at one by one.
            let tells = terms.base.is_finite() && terms.reach.is_finite();
            for (entry, record) in rows.loose.iter().zip(rows.codes.chunks_exact(members.sign_bytes())) {
                pieces.list(entry, terms, if tells { record } else { &[] }, &room.marked);
            }
            for piece in rows.pieces {
                let Some(list) = piece.codes().filter(|_| tells) else {
                    piece.entries().iter().for_each(|entry| pieces.list(entry, terms, &[], &room.marked));
                    continue;
                };
                pieces.turns.push(ScanTurn { list, terms, ahead: &[] });
                pieces.pieces.push(piece);
                if pieces.turns.len() == MAX_TURNS {
                    self.scan_pieces(scratch, generation, members, &mut pieces, room, scan)?;
                }
            }
        }
        self.scan_pieces(scratch, generation, members, &mut pieces, room, scan)?;
        let Pieces { turns, pieces, listed } = pieces;
        (room.turns, room.pieces, room.listed) = (emptied(turns), emptied(pieces), emptied(listed));
        Ok(())
    }

    /// Scans some pieces, then some rows one by one, and measures what may be near enough.
    fn scan_pieces(
        &self,
        scratch: &Scratch,
        generation: &'s Generation,
        members: &Members,
        pieces: &mut Pieces<'s>,
        room: &mut FreshRoom,
        scan: &mut Scan<'s, '_>,
    ) -> Result<()> {
        let frame = &self.model.frame;
        scan.explain.fresh_scanned += pieces.entries() as u64;
        let limit = scan.limit();
        room.survivors.clear();
        if !pieces.turns.is_empty() {
            pieces.look_ahead();
            scan_signs(kernels(), frame, scratch.query(), &pieces.turns, limit, &mut room.survivors);
        }
        room.rows.clear();
        let first = room.most_promising(room.survivors.len(), |room| room.survivors.bounds());
        room.name_sifted(f32::NEG_INFINITY, first, &pieces.pieces);
        // These come while rows are bounded one by one.
        room.rows.iter().for_each(|row| kernels().prefetch(members.code(*row)));
        room.bound_listed(frame, scratch, &pieces.listed, limit);
        let first_listed = room.most_promising(room.bounds.len(), |room| &room.bounds);
        room.name_bounded(f32::NEG_INFINITY, first_listed);
        self.look_at(scratch, generation, members, room, scan)?;
        if first.min(first_listed) < f32::INFINITY {
            room.rows.clear();
            let up_to = frame.estimate_of(scan.limit());
            // Those of which nothing is told were all among the first.
            room.name_sifted(first.max(f32::MIN), up_to, &pieces.pieces);
            room.name_bounded(first_listed.max(f32::MIN), up_to);
            self.look_at(scratch, generation, members, room, scan)?;
        }
        pieces.clear();
        Ok(())
    }

    /// Measures those of `room.rows` whose codes say that they may be near enough.
    fn look_at(
        &self,
        scratch: &Scratch,
        generation: &'s Generation,
        members: &Members,
        room: &mut FreshRoom,
        scan: &mut Scan<'s, '_>,
    ) -> Result<()> {
        self.bound_fresh(scratch, generation, members, room, scan.limit());
        self.measure_fresh(generation, &mut room.near, scan)
    }

    /// Which of the rows may be near enough, by their codes if they have any. The vectors of the first are asked for: where few are looked at most are measured.
    fn bound_fresh(
        &self,
        scratch: &Scratch,
        generation: &Generation,
        members: &Members,
        room: &mut FreshRoom,
        limit: f32,
    ) {
        let FreshRoom { rows, near, .. } = room;
        near.clear();
        let mut offer = |row: u32, bound: f32| {
            if bound <= limit {
                let row = members.number(row);
                if near.len() < AHEAD {
                    ask(generation, row);
                }
                near.push((bound, row));
            }
        };
        let frame = &self.model.frame;
        let coder = RowCodes::of(frame, self.snapshot.schema().vector_bytes());
        match coder.filter(|coder| coder.stride() == members.code_bytes()) {
            Some(coder) => coder.bounds(kernels(), frame, scratch.query(), rows, |row| members.code(row), offer),
            None => rows.iter().for_each(|row| offer(*row, f32::NEG_INFINITY)),
        }
    }

    /// Measures rows of a generation, the most promising first, until no bound is near enough. After each few the others are sifted again:
    /// where nearly all that is near is fresh, thousands seem near enough before the first is measured.
    fn measure_fresh(
        &self,
        generation: &'s Generation,
        near: &mut Vec<(f32, u64)>,
        scan: &mut Scan<'s, '_>,
    ) -> Result<()> {
        let order = |a: &(f32, u64), b: &(f32, u64)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        let mut count = AT_FIRST;
        while !near.is_empty() {
            let later = near.len().saturating_sub(count);
            if later > 0 {
                // The most promising at the end, from where they are taken.
                near.select_nth_unstable_by(later - 1, |a, b| order(b, a));
            }
            near[later..].sort_unstable_by(order);
            self.measure_in_order(generation, &near[later..], scan)?;
            near.truncate(later);
            let limit = scan.limit();
            near.retain(|(bound, _)| *bound <= limit);
            count *= 2;
        }
        Ok(())
    }

    fn measure_in_order(&self, generation: &'s Generation, near: &[(f32, u64)], scan: &mut Scan<'s, '_>) -> Result<()> {
        near.iter().take(AHEAD).for_each(|(_, row)| ask(generation, *row));
        for (i, (bound, row)) in near.iter().enumerate() {
            if *bound > scan.limit() {
                // Nor are those that follow.
                break;
            }
            if let Some((bound, later)) = near.get(i + AHEAD)
                && *bound <= scan.limit()
            {
                ask(generation, *later);
            }
            let Some((block, at)) = generation.locate(*row) else { continue };
            if !(is_maybe_dead(block, at) && self.snapshot.view().killed(*row)) {
                scan.score(Spot { source: Source::Block(block), at })?;
            }
        }
        Ok(())
    }
}

impl FreshRoom {
    /// All rows of the probed lists are to be looked at.
    fn name_all(&mut self, scratch: &Scratch, members: &Members) {
        self.rows.clear();
        for list in scratch.probed() {
            let rows = members.of_list(list);
            let entries = rows.loose.iter().chain(rows.pieces.iter().flat_map(|piece| piece.entries()));
            self.rows.extend(entries.filter(|entry| !self.marked.has(entry.first)).map(|entry| entry.row));
        }
    }

    /// Of many that passed, up to which bound they are to be looked at first; infinity if they are few.
    fn most_promising(&mut self, count: usize, bounds: impl Fn(&FreshRoom) -> &[f32]) -> f32 {
        if count <= MANY {
            return f32::INFINITY;
        }
        let mut selection = std::mem::take(&mut self.selection);
        let first = kernels().near(bounds(self), AT_FIRST, &mut selection);
        self.selection = selection;
        first
    }

    /// Of what passed a scan, rows with bounds in `(above, up_to]` are to be looked at too, those aside that are met in their first list.
    fn name_sifted(&mut self, above: f32, up_to: f32, pieces: &[&Piece]) {
        kernels().sift(&self.survivors, above, up_to, &mut self.sifted);
        let entry = |place: &u32| {
            let (turn, position) = place_parts(*place);
            pieces.get(turn).and_then(|piece| piece.entries().get(position))
        };
        let entries = self.sifted.positions().iter().filter_map(entry);
        self.rows.extend(entries.filter(|entry| !self.marked.has(entry.first)).map(|entry| entry.row));
    }

    /// Which of the rows that are not in pieces may be within a distance.
    fn bound_listed(&mut self, frame: &Frame, scratch: &Scratch, listed: &[ListedCode<'_>], limit: f32) {
        let Self { bounds, passed, .. } = self;
        bounds.clear();
        passed.clear();
        let limit = frame.estimate_of(limit);
        bound_signs(kernels(), frame, scratch.query(), listed, |row, bound| {
            if bound <= limit {
                bounds.push(bound);
                passed.push(row);
            }
        });
    }

    /// The same of these: from the least one on if `above` is minus infinity.
    fn name_bounded(&mut self, above: f32, up_to: f32) {
        let all = above == f32::NEG_INFINITY;
        let inside = |bound: &f32| (all || *bound > above) && *bound <= up_to;
        self.rows.extend(self.bounds.iter().zip(&self.passed).filter(|(bound, _)| inside(bound)).map(|(_, row)| *row));
    }
}

impl<'a> Pieces<'a> {
    fn clear(&mut self) {
        self.turns.clear();
        self.pieces.clear();
        self.listed.clear();
    }

    /// Adds a row, unless it is met in its first list.
    fn list(&mut self, entry: &Entry, terms: ScanTerms, record: &'a [u8], marked: &Marked) {
        if !marked.has(entry.first) {
            self.listed.push(ListedCode { row: entry.row, terms, record });
        }
    }

    fn entries(&self) -> usize {
        self.turns.iter().map(|turn| turn.list.count).sum::<usize>() + self.listed.len()
    }

    /// Has the codes of each piece asked for some pieces before.
    fn look_ahead(&mut self) {
        for at in 0..self.turns.len() {
            let ahead = self.turns.get(at + PIECES_AHEAD).map_or(&[][..], |turn| turn.list.codes);
            if let Some(turn) = self.turns.get_mut(at) {
                turn.ahead = ahead;
            }
        }
        for turn in self.turns.iter().take(PIECES_AHEAD) {
            kernels().prefetch(turn.list.factors);
            kernels().prefetch(turn.list.codes);
        }
    }
}

/// Asks for the vector of a row.
fn ask(generation: &Generation, row: u64) {
    if let Some((block, at)) = generation.locate(row) {
        kernels().prefetch(block.vector(at));
    }
}

fn is_maybe_dead(block: &Block, at: usize) -> bool {
    block.maybe_dead_word(at / 64) >> (at % 64) & 1 == 1
}
