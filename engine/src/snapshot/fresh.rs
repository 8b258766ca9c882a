//! Fresh rows of the probed lists: their codes say which of them are worth measuring.

use super::Source;
use super::scan::{AHEAD, Scan};
use super::seek::Seek;
use super::spot::Spot;
use crate::delta::{Block, Found, Generation, Marked};
use crate::error::Result;
use crate::index::ivf::{RowCodes, Scratch};
use crate::kernel::kernels;

/// Room of a search for fresh rows, kept between searches.
#[derive(Default)]
pub(super) struct FreshRoom {
    marked: Marked,
    /// Of one run: rows, where their codes begin, and what those say.
    rows: Vec<u32>,
    offsets: Vec<usize>,
    bounds: Vec<f32>,
    /// Rows of one generation that may be near enough, each with a number that its distance is not below.
    near: Vec<(f32, u64)>,
}

impl<'s> Seek<'s, '_> {
    /// Offers to `scan` the fresh rows of the lists that were probed. The more it knows of others by then, the fewer are measured.
    pub(super) fn gather_fresh(&self, scratch: &Scratch, room: &mut FreshRoom, scan: &mut Scan<'s, '_>) -> Result<()> {
        let mut marked = false;
        for generation in self.filed().filter(|generation| generation.rows() > 0) {
            let Some(members) = generation.members() else { continue };
            if !marked {
                room.marked.set(scratch.probed(), members.lists());
                marked = true;
            }
            room.near.clear();
            let mut rows = std::mem::take(&mut room.rows);
            let FreshRoom { marked, offsets, bounds, near, .. } = room;
            let limit = scan.limit();
            members.for_each_run(scratch.probed(), marked, &mut rows, |found| {
                if self.bounds(scratch, &found, offsets, bounds) {
                    scan.explain.fresh_scanned += found.rows.len() as u64;
                } else {
                    bounds.clear();
                    bounds.resize(found.rows.len(), f32::NEG_INFINITY);
                }
                let numbers = found.rows.iter().map(|row| found.first_row + u64::from(*row));
                near.extend(bounds.iter().copied().zip(numbers).filter(|(bound, _)| *bound <= limit));
            });
            room.rows = rows;
            self.measure_fresh(generation, &mut room.near, scan)?;
        }
        Ok(())
    }

    /// Bounds of the distances of rows of a run; false if they have no codes.
    fn bounds(&self, scratch: &Scratch, found: &Found<'_>, offsets: &mut Vec<usize>, bounds: &mut Vec<f32>) -> bool {
        let frame = &self.model.frame;
        let coder = RowCodes::of(frame, self.snapshot.schema().vector_bytes()).filter(|_| !found.codes.is_empty());
        let Some(coder) = coder else { return false };
        offsets.clear();
        offsets.extend(found.rows.iter().map(|row| *row as usize * coder.stride()));
        coder.bounds(kernels(), frame, scratch.query(), found.codes, offsets, bounds);
        true
    }

    /// Measures rows of a generation, the most promising first, until no bound is near enough.
    fn measure_fresh(
        &self,
        generation: &'s Generation,
        near: &mut [(f32, u64)],
        scan: &mut Scan<'s, '_>,
    ) -> Result<()> {
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let ask = |row: u64| {
            if let Some((block, at)) = generation.locate(row) {
                kernels().prefetch(block.vector(at));
            }
        };
        near.iter().take(AHEAD).for_each(|(_, row)| ask(*row));
        for (i, (bound, row)) in near.iter().enumerate() {
            if *bound > scan.limit() {
                continue;
            }
            if let Some((bound, later)) = near.get(i + AHEAD)
                && *bound <= scan.limit()
            {
                ask(*later);
            }
            let Some((block, at)) = generation.locate(*row) else { continue };
            if !(is_maybe_dead(block, at) && self.snapshot.view().killed(*row)) {
                scan.score(Spot { source: Source::Block(block), at })?;
            }
        }
        Ok(())
    }
}

fn is_maybe_dead(block: &Block, at: usize) -> bool {
    block.maybe_dead_word(at / 64) >> (at % 64) & 1 == 1
}
