//! Fresh rows of the probed lists: their codes say which of them are worth measuring.

use super::Source;
use super::scan::{AHEAD, Scan};
use super::seek::Seek;
use super::spot::Spot;
use crate::delta::{Block, Generation, Marked, Members};
use crate::error::Result;
use crate::index::ivf::{RowCodes, Scratch};
use crate::kernel::kernels;

/// Rows that are measured before others are sifted again; twice as many each time.
const AT_FIRST: usize = 32;

/// Room of a search for fresh rows, kept between searches.
#[derive(Default)]
pub(super) struct FreshRoom {
    marked: Marked,
    /// Of one generation, in the probed lists.
    rows: Vec<u32>,
    /// Those that may be near enough, each with a number that its distance is not below.
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
            members.in_lists(scratch.probed(), &room.marked, &mut room.rows);
            self.bound_fresh(scratch, members, room, scan);
            self.measure_fresh(generation, &mut room.near, scan)?;
        }
        Ok(())
    }

    /// Which of the rows may be near enough, by their codes if they have any.
    fn bound_fresh(&self, scratch: &Scratch, members: &Members, room: &mut FreshRoom, scan: &mut Scan<'s, '_>) {
        let FreshRoom { rows, near, .. } = room;
        near.clear();
        let limit = scan.limit();
        let mut offer = |row: u32, bound: f32| {
            if bound <= limit {
                near.push((bound, members.number(row)));
            }
        };
        let frame = &self.model.frame;
        let coder = RowCodes::of(frame, self.snapshot.schema().vector_bytes());
        match coder.filter(|coder| coder.stride() == members.code_bytes()) {
            Some(coder) => {
                scan.explain.fresh_scanned += rows.len() as u64;
                coder.bounds(kernels(), frame, scratch.query(), rows, |row| members.code(row), offer);
            }
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
        let ask = |row: u64| {
            if let Some((block, at)) = generation.locate(row) {
                kernels().prefetch(block.vector(at));
            }
        };
        near.iter().take(AHEAD).for_each(|(_, row)| ask(*row));
        for (i, (bound, row)) in near.iter().enumerate() {
            if *bound > scan.limit() {
                // Nor are those that follow.
                break;
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
