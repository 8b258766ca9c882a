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

    /// What was not asked for of the turns that were not looked at, up to the end of these, and is from now on. Lists that were left out may have
    /// brought some of them forward.
    pub(super) fn ask(&mut self, turns: &Range<usize>) -> Range<usize> {
        let from = self.asked.max(self.start);
        self.asked = self.asked.max(turns.end);
        from..turns.end.max(from)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_asked_for_before_they_are_looked_at_and_once() {
        let frame = Frame::new(crate::metric::Metric::L2, vec![0.0; 8], 1, 1.0);
        let query = QueryState::default();
        // Far and near lists in turns, as they stand within a wave.
        let ranks = |list: u32| if list < 4 || list % 2 == 1 { 1.0 } else { 9.0 };
        for coder in [Coder::None, Coder::Bits(4)] {
            for segments in [1, 2, 3, 5, 17, 70] {
                let all: Vec<Probed> = (0..60).map(|list| Probed { list, rank: ranks(list), reach: 0.0 }).collect();
                let mut probes = all.clone();
                let probe = Probe { horizon: 1.5, ..Probe::new(60) };
                let mut waves = Waves::new((&frame, &query, coder), segments, probes.len(), &probe);
                let mut asked = std::collections::BTreeMap::new();
                let (mut looked, mut last) = (0, f32::INFINITY);
                let first = waves.next(usize::MAX).unwrap();
                let second = waves.after(&first, usize::MAX);
                for turns in [first, second] {
                    for turn in waves.ask(&turns) {
                        *asked.entry((probes[turn / segments].list, turn % segments)).or_insert(0) += 1;
                    }
                }
                while let Some(here) = waves.next(usize::MAX) {
                    for turn in waves.ask(&waves.after(&here, usize::MAX)) {
                        *asked.entry((probes[turn / segments].list, turn % segments)).or_insert(0) += 1;
                    }
                    let names = here.clone().map(|turn| (probes[turn / segments].list, turn % segments));
                    names.for_each(|name| assert!(asked.contains_key(&name), "{segments}: {name:?}"));
                    looked += here.len();
                    waves.ended(here, (last, 1.0), &mut probes);
                    last = 1.0;
                }
                let near = all.iter().filter(|probed| probed.rank < 2.0 || probed.list < 4).count();
                assert!(probes.len() == near && looked == near * segments, "{segments}");
                let twice = asked.values().filter(|times| **times > 1).count();
                assert!(twice < segments, "{segments}: {twice}");
            }
        }
    }
}
