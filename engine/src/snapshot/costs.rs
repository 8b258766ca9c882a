//! What the ways of answering a filtered query cost, and so which one to take. Nanoseconds, roughly, of one core with everything in memory:
//! only their proportions matter.

use crate::index::ivf::Probe;

/// A row in memory order, and one anywhere: for each and for each byte. Measured on 50,000 texts, 60,000 images and 900,000 descriptors.
const NEXT_ROW: (f64, f64) = (6.0, 0.02);
const ANY_ROW: (f64, f64) = (40.0, 0.04);
/// Finding the row of an id.
const LOOK_UP: f64 = 600.0;
/// Centroids and all that does not depend on lists.
const FIXED: f64 = 6_000.0;
/// Each 32 entries of a list, for each component.
const BLOCK: f64 = 0.4;
const BLOCK_ENTRIES: f64 = 32.0;
/// Entries that get as far as the filter, if all match; and what one costs, with its second stage.
const ENTRIES: f64 = 60.0;
const ENTRY: (f64, f64) = (80.0, 200.0);
/// Lists for a filter that lets all rows through, and how many more it takes the fewer it lets through: a tenth, five times as many. Texts
/// and random ids need less; ids that lie together, on one side of the query, need this much.
const LISTS_FACTOR: f64 = 1.4;
const LISTS_EXPONENT: f64 = 0.55;

/// What is known before a filtered search.
pub(super) struct Costs {
    /// Live rows.
    pub(super) rows: u64,
    /// Bytes of a stored vector.
    pub(super) vector_bytes: usize,
    /// Components.
    pub(super) dim: usize,
    /// Entries of a list.
    pub(super) per_list: f64,
    /// Whether they have codes; if not, what matches is measured.
    pub(super) coded: bool,
    /// Whether the places of matching rows are known, so that nothing has to be looked up.
    pub(super) placed: bool,
}

impl Costs {
    /// Measuring all rows.
    pub(super) fn scan(&self) -> f64 {
        self.rows as f64 * (NEXT_ROW.0 + NEXT_ROW.1 * self.vector_bytes as f64)
    }

    /// Measuring rows that match, one by one.
    pub(super) fn each(&self, matching: u64) -> f64 {
        let find = if self.placed { 0.0 } else { LOOK_UP };
        matching as f64 * (find + ANY_ROW.0 + ANY_ROW.1 * self.vector_bytes as f64)
    }

    /// A search by lists of which a part of the rows matches.
    pub(super) fn lists(&self, probe: &Probe, part: f64) -> f64 {
        let entry = if self.placed { ENTRY.0 } else { ENTRY.1 };
        let lists = probe.likely_lists() as f64;
        if !self.coded {
            let row = ANY_ROW.0 + ANY_ROW.1 * self.vector_bytes as f64;
            return FIXED + lists * self.per_list * (entry / 2.0 + part * row);
        }
        FIXED + lists * self.list() + ENTRIES / part.max(1e-9) * entry
    }

    /// A look at so many lists that tells what part of their rows matches; at most so many of them do.
    pub(super) fn scout(&self, lists: usize, part: f64) -> f64 {
        let entries = (lists as f64 * self.per_list).min(ENTRIES / part.max(1e-9));
        FIXED + lists as f64 * self.list() + entries * ENTRY.0
    }

    /// Scanning a list.
    fn list(&self) -> f64 {
        (self.per_list / BLOCK_ENTRIES).ceil().max(1.0) * BLOCK * self.dim as f64
    }
}

/// The probe that finds as much where only a part of the rows matches.
pub(super) fn widened(probe: &Probe, part: f64) -> Probe {
    let more = LISTS_FACTOR * (1.0 / part.clamp(1e-9, 1.0)).powf(LISTS_EXPONENT);
    let nprobe = (probe.nprobe as f64 * more).ceil() as usize;
    Probe { nprobe, patience: probe.patience.saturating_mul(more.ceil() as usize), ..*probe }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(placed: bool) -> Costs {
        Costs { rows: 50_000, vector_bytes: 1536, dim: 384, per_list: 56.0, coded: true, placed }
    }

    #[test]
    fn few_matches_are_measured_and_many_are_searched_by_lists() {
        let probe = Probe::new(24);
        for placed in [false, true] {
            let costs = costs(placed);
            let lists = |part: f64| costs.lists(&widened(&probe, part), part);
            assert!(costs.each(50) < lists(0.001) && costs.each(50) < costs.scan());
            assert!(lists(0.5) < costs.each(25_000) && lists(0.5) < costs.scan());
            assert!(lists(0.1) < costs.each(5_000) && lists(0.1) < costs.scan());
        }
    }

    #[test]
    fn rows_of_lists_without_codes_are_measured_one_by_one() {
        let probe = Probe::new(40);
        for placed in [false, true] {
            let uncoded = Costs { per_list: 30.0, coded: false, ..costs(placed) };
            let lists = |part: f64| uncoded.lists(&widened(&probe, part), part);
            assert!(lists(0.5) > costs(placed).lists(&widened(&probe, 0.5), 0.5));
            assert!(uncoded.each(50) < lists(0.001) && lists(0.5) < uncoded.scan());
        }
    }

    /// 9,000 of 900,000 descriptors: measured one by one they take 0.4 ms, by lists half as long again or more.
    #[test]
    fn long_lists_cost_more_than_short_ones() {
        let many = Costs { rows: 900_000, vector_bytes: 512, dim: 128, per_list: 236.0, coded: true, placed: true };
        let lists = |costs: &Costs, part: f64| costs.lists(&widened(&Probe::new(46), part), part);
        assert!(many.each(9_000) < lists(&many, 0.01) && many.each(90_000) > lists(&many, 0.1));
        assert!(lists(&many, 0.1) > lists(&Costs { per_list: 30.0, ..many }, 0.1));
    }

    #[test]
    fn the_fewer_rows_match_the_more_lists_are_looked_at() {
        let probe = Probe { patience: 16, ..Probe::new(24) };
        let tenth = widened(&probe, 0.1);
        assert!(tenth.nprobe > 48 && tenth.patience > 32 && widened(&probe, 0.01).nprobe > 2 * tenth.nprobe);
        assert_eq!(widened(&Probe::new(4), 0.1).patience, usize::MAX);
    }
}
