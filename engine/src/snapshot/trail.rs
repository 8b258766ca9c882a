//! What one search had found after so many lists: followed once, it tells of all shorter searches, and of those that end early.

use std::collections::HashMap;

use super::questions::Question;
use super::seek::Seek;
use crate::error::{Error, Result};
use crate::index::flat::FlatQuery;
use crate::index::ivf::{Scratch, Trace};
use crate::kernel::SeenSet;

/// After the first wave a look is taken after each list up to so many, then sixteen times for each doubling of their number.
const EACH: usize = 32;
/// Fewest lists between two looks where lists may have to come from the disk.
const COLD: usize = 8;

/// A search at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Step {
    /// Lists looked at.
    pub(super) lists: u32,
    /// Rows found that are among the nearest.
    pub(super) found: u32,
    /// Whether the `k`-th best row became a better one since the step before.
    pub(super) improved: bool,
    /// How far out the last of the lists is; see [`Probe::horizon`](crate::index::ivf::Probe).
    pub(super) place: f32,
    /// Entries scanned, records read and rows measured.
    pub(super) work: [u32; 3],
}

/// The rows that are nearest to a question.
#[derive(Default)]
pub(super) struct Truth {
    /// Their numbers, unless others are as near as the last of them.
    rows: SeenSet,
    /// Their number, and the distance of the last.
    count: usize,
    reach: f32,
    /// Whether rows have to be measured to tell.
    tied: bool,
    /// Distances of rows from the question, as far as anyone asked.
    known: HashMap<u64, f32>,
}

impl Truth {
    /// The `k` nearest of those that the question knows: one more, so that it shows whether others are as near.
    pub(super) fn set(&mut self, question: &Question, k: usize) {
        let truth = question.truth.get(..k).unwrap_or(&question.truth);
        self.rows.clear();
        self.known.clear();
        for row in question.nearest.iter().take(truth.len()) {
            self.rows.insert(*row);
        }
        self.count = truth.len();
        self.reach = truth.last().copied().unwrap_or(f32::NEG_INFINITY);
        self.tied = question.truth.get(truth.len()) == truth.last();
    }

    fn has(&mut self, row: u64, distance: impl FnOnce() -> Result<f32>) -> Result<bool> {
        if !self.tied {
            return Ok(self.rows.has(row));
        }
        let distance = match self.known.get(&row) {
            Some(distance) => *distance,
            None => *self.known.entry(row).or_insert(distance()?),
        };
        Ok(distance <= self.reach)
    }
}

/// Follows a search for the rows nearest to a stored row.
pub(super) struct Trail<'t, 's, 'q> {
    seek: Seek<'s, 'q>,
    question: &'t Question,
    exact: &'t FlatQuery,
    /// What is known of the nearest rows.
    truth: &'t mut Truth,
    steps: Vec<Step>,
    /// What went wrong.
    failure: Option<Error>,
    /// See [`Scratch::state_of_best`].
    state: (usize, f32, f32),
    best: Vec<(f32, u64)>,
}

impl<'t, 's, 'q> Trail<'t, 's, 'q> {
    /// Ready to follow the search of `seek`, which asks with a stored row; `exact` is that row, `truth` what it looks for.
    pub(super) fn new(seek: Seek<'s, 'q>, question: &'t Question, exact: &'t FlatQuery, truth: &'t mut Truth) -> Self {
        let state = (usize::MAX, f32::INFINITY, f32::INFINITY);
        Trail { seek, question, exact, truth, steps: Vec::new(), failure: None, state, best: Vec::new() }
    }

    /// What was seen, from the first lists on.
    ///
    /// # Errors
    /// `Corrupt` if a row could not be measured.
    pub(super) fn into_steps(self) -> Result<Vec<Step>> {
        self.failure.map_or(Ok(self.steps), Err)
    }

    /// How many of the best rows so far are among the `k` nearest.
    fn found(&mut self, scratch: &Scratch) -> Result<u32> {
        scratch.best(&mut self.best);
        let mut found = 0;
        for (estimate, row) in &self.best {
            let near = self.truth.has(*row, || self.seek.distance(*row, *estimate, self.exact))?;
            found += usize::from(near && *row != self.question.row);
        }
        Ok(found.min(self.truth.count) as u32)
    }
}

impl Trace for Trail<'_, '_, '_> {
    fn most_lists(&self, looked: usize) -> usize {
        match looked {
            0 => usize::MAX,
            looked => {
                let step = if looked < EACH { 1 } else { 2 << (looked / EACH).ilog2() };
                if self.seek.cold { step.max(COLD) } else { step }
            }
        }
    }

    fn looked(&mut self, lists: usize, place: f32, scratch: &Scratch) {
        let last = self.steps.last().copied().unwrap_or_default();
        let state = scratch.state_of_best();
        let found = match state == self.state {
            true => Ok(last.found),
            false => self.found(scratch),
        };
        let improved = state.1 < self.state.1;
        self.state = state;
        match found {
            Ok(found) => {
                let work = [scratch.work.0, scratch.work.1, scratch.measured()].map(|count| count as u32);
                self.steps.push(Step { lists: lists as u32, found, improved, place, work });
            }
            Err(error) => self.failure = self.failure.take().or(Some(error)),
        }
    }
}

/// What a search of up to `nprobe` lists would have found that ends after `patience` lists without a better row. `wave` says of how many lists the wave
/// is that comes after some: only at the end of one a search looks at its patience.
pub(super) fn found_with(
    steps: impl Iterator<Item = (u32, u32, bool)>,
    nprobe: usize,
    patience: usize,
    wave: impl Fn(usize) -> usize,
) -> u32 {
    let (mut idle, mut before, mut better, mut found) = (0, 0, false, 0);
    let mut end = wave(0);
    for (lists, now, improved) in steps {
        let lists = lists as usize;
        (found, better) = (now, better | improved);
        if lists < end.min(nprobe) {
            continue;
        }
        idle = if better { 0 } else { idle + lists - before };
        if idle >= patience || lists >= nprobe {
            break;
        }
        (before, better, end) = (lists, false, lists + wave(lists));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::ivf::{Coder, wave_lists};

    #[test]
    fn a_search_ends_with_the_wave_in_which_its_patience_does() {
        // One list at a time; a better row comes with the lists 1, 6 and 30.
        let steps = |found: [u32; 3]| {
            (1..=40u32).map(move |lists| {
                let at = [1, 6, 30].into_iter().filter(|at| *at <= lists).count();
                (lists, found[at - 1], [1, 6, 30].contains(&lists))
            })
        };
        let of = |coder: Coder<'static>, nprobe: usize, patience: usize| {
            found_with(steps([1, 2, 3]), nprobe, patience, |looked| wave_lists(&coder, 1, looked, patience))
        };
        let found = |nprobe: usize, patience: usize| of(Coder::Bits(4), nprobe, patience);
        assert_eq!(found(5, 100), 1, "the lists are all");
        assert_eq!(found(40, 100), 3, "patience enough");
        assert_eq!(found(40, 4), 2, "ends with the lists 9 to 12");
        assert_eq!(found(40, 16), 3, "the lists 21 to 36 are looked at together, and one of them is better");
        assert_eq!(found(29, 100), 2);
        assert_eq!(
            of(Coder::None, 40, 16),
            2,
            "without codes four lists are a wave: idle from the list 9 on, it ends with 24"
        );
        // Of four segments a wave after the first is of eight lists.
        let four = |looked: usize| wave_lists(&Coder::Bits(4), 4, looked, 16);
        assert_eq!([four(0), four(4), four(100)], [4, 8, 8]);
    }
}
