//! Which lists a search looks at together, and when it has looked at enough.

use std::ops::Range;

use super::centroids::Probed;
use super::encoder::Coder;
use super::frame::Frame;
use super::horizon::Horizon;
use super::search::{Probe, QueryState};
use crate::kernel::code::scan::MAX_TURNS;

/// Lists of the first wave.
pub(super) const FIRST_WAVE: usize = 4;
/// Lists of each further wave: fewer if the search may end early.
pub(super) const WAVE: usize = 32;
/// Lists of all waves where lists have no codes.
const UNCODED_WAVE: usize = 4;

/// Lists of the wave that comes after `looked` lists, of so many segments, in a search of some patience.
pub(crate) fn wave_lists(coder: &Coder<'_>, segments: usize, looked: usize, patience: usize) -> usize {
    let segments = segments.max(1);
    let start = looked.saturating_mul(segments);
    (wave_turns(coder, segments, start, patience.saturating_mul(segments)) / segments).max(1)
}

/// Turns of the wave that starts at one. Depends on nothing else, so that lists from the disk and lists in memory give the same answer.
fn wave_turns(coder: &Coder<'_>, segments: usize, start: usize, patience: usize) -> usize {
    match (coder, start) {
        (Coder::None, _) => UNCODED_WAVE.saturating_mul(segments),
        (_, 0) => FIRST_WAVE.saturating_mul(segments).min(MAX_TURNS),
        _ => WAVE.min(patience.max(FIRST_WAVE)),
    }
}

/// The waves of one search. There is a turn for each list of each segment, and turns go through all segments before the next list.
pub(super) struct Waves<'a> {
    frame: &'a Frame,
    query: &'a QueryState,
    coder: Coder<'a>,
    segments: usize,
    turns: usize,
    /// Turns without a better row after which the search ends.
    patience: usize,
    /// How far out lists may be; see [`Probe`].
    most: f32,
    /// Where the next wave starts, and turns since a row was better.
    start: usize,
    idle: usize,
    /// Turns from the first on that were asked for.
    asked: usize,
    horizon: Horizon,
}

impl<'a> Waves<'a> {
    /// Of a search that looks at so many lists of so many segments.
    pub(super) fn new(
        (frame, query, coder): (&'a Frame, &'a QueryState, Coder<'a>),
        segments: usize,
        lists: usize,
        probe: &Probe,
    ) -> Self {
        let (turns, patience) = (lists.saturating_mul(segments), probe.patience.saturating_mul(segments));
        let (most, horizon) = (probe.horizon, Horizon::default());
        Waves { frame, query, coder, segments, turns, patience, most, start: 0, idle: 0, asked: 0, horizon }
    }

    /// The turns of the next wave; none if the search has ended. Of `most` lists, for somebody who follows the search.
    pub(super) fn next(&self, most: usize) -> Option<Range<usize>> {
        (self.start < self.turns && self.idle < self.patience).then(|| self.from(self.start, most))
    }

    /// Those of the wave after that one, as far as is known before it was looked at.
    pub(super) fn after(&self, wave: &Range<usize>, most: usize) -> Range<usize> {
        self.from(wave.end, most)
    }

    fn from(&self, start: usize, most: usize) -> Range<usize> {
        let turns = match self.coder {
            Coder::None => wave_turns(&self.coder, self.segments, start, self.patience),
            _ => wave_turns(&self.coder, self.segments, start, self.patience)
                .min(most.saturating_mul(self.segments).max(1)),
        };
        start..self.turns.min(start.saturating_add(turns))
    }

    /// What was not asked for of some turns, and is from now on.
    pub(super) fn ask(&mut self, turns: Range<usize>) -> Range<usize> {
        let rest = turns.start.max(self.asked)..turns.end;
        self.asked = self.asked.max(turns.end);
        rest
    }

    /// Notes that a wave was looked at, by which the `k`-th best estimate went from one number to another. After the first one lists that are too
    /// far out are taken off `probes`.
    pub(super) fn ended(&mut self, wave: Range<usize>, (before, kth): (f32, f32), probes: &mut Vec<Probed>) {
        self.idle = if kth < before { 0 } else { self.idle + wave.len() };
        self.start = wave.end;
        if wave.start > 0 {
            return;
        }
        let seen = wave.end.div_ceil(self.segments.max(1));
        let first = probes.get(..seen).unwrap_or_default();
        // Without codes rows are measured, in the unit of the metric.
        let kth = match self.coder {
            Coder::None => self.frame.estimate_of(kth),
            _ => kth,
        };
        self.horizon = Horizon::after(first, kth, self.frame, self.query);
        if self.most < f32::INFINITY {
            let asked = self.lists(self.asked);
            self.asked = self.horizon.leave_out(self.most, seen, asked, probes).saturating_mul(self.segments);
            self.turns = probes.len().saturating_mul(self.segments);
        }
    }

    /// Lists that were looked at, in all segments.
    pub(super) fn looked(&self) -> usize {
        self.lists(self.start)
    }

    /// Lists that so many turns go through, in all segments.
    pub(super) fn lists(&self, turns: usize) -> usize {
        turns.checked_div(self.segments).unwrap_or(0)
    }

    /// How far out the last of them is.
    pub(super) fn place(&self, probes: &[Probed]) -> f32 {
        let last = self.looked().checked_sub(1).and_then(|last| probes.get(last));
        last.map_or(f32::NEG_INFINITY, |last| self.horizon.place(last.rank))
    }
}
