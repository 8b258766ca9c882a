//! The best rows so far by estimate.

use crate::kernel::SeenSet;

/// Up to this many are kept in order; beyond it moving them would cost more than sorting now and then.
const FEW: usize = 64;

/// A row is not measured if `k` others are nearer, by estimates that are so many standard errors off, its own and theirs. Of the rows that searches for ten measured, a
/// fifth less are at 32 lists of texts and of images, a twentieth less of descriptors, and all find what they did; with 1.5, .0003 less.
const SURE: f32 = 2.0;

/// A row that may be among the nearest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Candidate {
    pub(super) estimate: f32,
    /// Its standard error; the largest number if nothing is known of it, infinite if the estimate itself means nothing.
    pub(super) error: f32,
    /// Segment and row word: the same for both copies of a row.
    pub(super) name: (u32, u32),
    pub(super) row: u64,
    /// Where [`Rows`](super::Rows) says it is.
    pub(super) place: u64,
}

impl Candidate {
    fn key(&self) -> u64 {
        key(self.name)
    }
}

fn key(name: (u32, u32)) -> u64 {
    u64::from(name.0) << 32 | u64::from(name.1)
}

/// A bounded list of rows with their estimates, each row once: a row in two lists is kept as it was met first.
///
/// A few are kept sorted. Many are gathered, and cut to the best whenever twice as many as wanted are there: the bounds then lag
/// behind, which lets some rows in that a later cut drops.
#[derive(Default)]
pub(crate) struct Candidates {
    k: usize,
    room: usize,
    /// In no order if there are few.
    found: Vec<Candidate>,
    /// Names of `found`, if there are few.
    names: Vec<u64>,
    /// Estimates and places in `found`, sorted, if there are few.
    order: Vec<(f32, u32)>,
    kth: f32,
    bound: f32,
    seen: SeenSet,
    /// The most that each of `found` may be.
    highest: Vec<f32>,
}

impl Candidates {
    /// Forgets all; from now on the best `room` rows are kept, and [`kth`](Candidates::kth) is about the `k`-th.
    pub(super) fn reset(&mut self, k: usize, room: usize) {
        (self.k, self.room) = (k, room.max(k));
        self.found.clear();
        self.names.clear();
        self.order.clear();
        (self.kth, self.bound) = (f32::INFINITY, f32::INFINITY);
        if self.room > FEW {
            self.seen.clear();
        }
        if self.k == 0 {
            (self.kth, self.bound) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        }
    }

    /// The `k`-th best estimate or a larger number, infinity while there are fewer.
    #[inline]
    pub(super) fn kth(&self) -> f32 {
        self.kth
    }

    /// A row with this estimate or a larger one is not kept.
    #[inline]
    pub(super) fn bound(&self) -> f32 {
        self.bound
    }

    /// Whether the row of this name was kept and may not be again. Notes many, so ask only before [`push`](Candidates::push).
    #[inline]
    pub(super) fn has(&self, name: (u32, u32)) -> bool {
        match self.room <= FEW {
            // Without a way out in the middle: several are compared at once.
            true => self.names.iter().fold(false, |any, other| any | (*other == key(name))),
            false => self.seen.has(key(name)),
        }
    }

    /// Keeps a row that it does not have. The caller has seen that the estimate is below the bound.
    pub(super) fn push(&mut self, candidate: Candidate) {
        if self.room <= FEW {
            self.push_few(candidate);
            return;
        }
        self.seen.insert(candidate.key());
        self.found.push(candidate);
        if self.found.len() >= 2 * self.room || (self.kth == f32::INFINITY && self.found.len() == self.room) {
            self.cut();
        }
    }

    /// Insertion into the order moves eight bytes per row.
    fn push_few(&mut self, candidate: Candidate) {
        let slot = match self.order.len() == self.room {
            true => self.order.pop().map_or(0, |last| last.1),
            false => self.found.len() as u32,
        };
        match (self.found.get_mut(slot as usize), self.names.get_mut(slot as usize)) {
            (Some(found), Some(name)) => (*found, *name) = (candidate, candidate.key()),
            _ => {
                self.found.push(candidate);
                self.names.push(candidate.key());
            }
        }
        self.order.push((candidate.estimate, slot));
        let mut at = self.order.len() - 1;
        while let Some([before, here]) = self.order.get_mut(at.wrapping_sub(1)..at + 1)
            && before.0 > here.0
        {
            std::mem::swap(before, here);
            at -= 1;
        }
        let nth = |count: usize| self.order.get(count.wrapping_sub(1)).map_or(f32::INFINITY, |found| found.0);
        (self.kth, self.bound) = (nth(self.k), nth(self.room));
    }

    /// The estimate of the last of the best `count`.
    fn estimate_at(&self, count: usize) -> f32 {
        count.checked_sub(1).and_then(|last| self.found.get(last)).map_or(f32::INFINITY, |found| found.estimate)
    }

    fn cut(&mut self) {
        self.found.sort_unstable_by(|a, b| a.estimate.total_cmp(&b.estimate).then(a.key().cmp(&b.key())));
        self.found.truncate(self.room);
        self.kth = self.estimate_at(self.k);
        self.bound = self.estimate_at(self.room);
    }

    /// How many are kept at most.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// What was kept, in no order.
    pub(super) fn kept(&self) -> &[Candidate] {
        &self.found
    }

    /// Rows that would be measured if no others came, if they are few: most of them will be.
    pub(super) fn some(&mut self) -> impl Iterator<Item = &Candidate> {
        let few = self.room <= FEW;
        let sure = if few { self.farthest() } else { f32::INFINITY };
        self.found.iter().filter(move |candidate| few && !is_behind(candidate, sure))
    }

    /// The best rows, less those that are surely not among the best `k`; in no order if they are few.
    pub(super) fn finish(&mut self) -> &[Candidate] {
        if self.room > FEW {
            self.cut();
        }
        let sure = self.farthest();
        self.found.retain(|candidate| !is_behind(candidate, sure));
        &self.found
    }

    fn farthest(&mut self) -> f32 {
        farthest(&self.found, self.k, &mut self.highest)
    }

    /// Those that would be measured if the search ended now.
    pub(super) fn likely(&self) -> Vec<Candidate> {
        let mut kept = self.found.clone();
        if kept.len() > self.room {
            kept.select_nth_unstable_by(self.room, |a, b| a.estimate.total_cmp(&b.estimate).then(a.row.cmp(&b.row)));
            kept.truncate(self.room);
        }
        let sure = farthest(&kept, self.k, &mut Vec::new());
        kept.retain(|candidate| !is_behind(candidate, sure));
        kept
    }
}

/// What `k` rows are not behind for sure; infinity while there are fewer. Not the `k`-th estimate and its error: among rows with errors of several sizes those
/// with large ones come first that are taken for nearer than they are.
fn farthest(found: &[Candidate], k: usize, highest: &mut Vec<f32>) -> f32 {
    highest.clear();
    highest.extend(found.iter().map(|candidate| candidate.estimate + SURE * candidate.error));
    match k.checked_sub(1).filter(|last| *last < highest.len()) {
        Some(last) => *highest.select_nth_unstable_by(last, f32::total_cmp).1,
        None => f32::INFINITY,
    }
}

/// Whether a row is behind a distance for sure. Numbers that are none say nothing.
fn is_behind(candidate: &Candidate, distance: f32) -> bool {
    candidate.estimate - SURE * candidate.error > distance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::SplitMix64;

    fn candidate(estimate: f32, word: u32) -> Candidate {
        Candidate { estimate, error: f32::INFINITY, name: (0, word), row: word.into(), place: 0 }
    }

    fn offer(best: &mut Candidates, estimate: f32, word: u32) {
        if estimate < best.bound() && !best.has((0, word)) {
            best.push(candidate(estimate, word));
        }
    }

    fn kept(best: &mut Candidates) -> Vec<(f32, u64)> {
        let mut kept: Vec<_> = best.finish().iter().map(|found| (found.estimate, found.row)).collect();
        kept.sort_by(|a, b| a.0.total_cmp(&b.0));
        kept
    }

    #[test]
    fn the_best_are_kept_in_order_and_each_row_once() {
        let mut best = Candidates::default();
        best.reset(2, 3);
        assert_eq!((best.kth(), best.bound()), (f32::INFINITY, f32::INFINITY));
        for (estimate, row) in [(5.0, 1), (3.0, 2), (4.0, 3), (1.0, 2), (2.0, 4)] {
            offer(&mut best, estimate, row);
        }
        assert_eq!(kept(&mut best), [(2.0, 4), (3.0, 2), (4.0, 3)]);
        assert_eq!((best.kth(), best.bound()), (3.0, 4.0));
        best.reset(1, 1);
        assert!(best.finish().is_empty());
        best.push(candidate(9.0, 4));
        assert_eq!(best.kth(), 9.0);
    }

    #[test]
    fn few_and_many_keep_the_front_of_what_was_offered() {
        let mut draw = SplitMix64::new(4);
        for (k, room) in [(1, 1), (10, 16), (64, 64), (10, 65), (65, 65), (100, 300), (2_000, 2_000)] {
            let mut best = Candidates::default();
            best.reset(k, room);
            let mut all: Vec<(f32, u64)> = (0..1_500).map(|row| ((draw.next_u64() >> 44) as f32, row)).collect();
            for (estimate, row) in all.iter().chain(&all) {
                offer(&mut best, *estimate, *row as u32);
            }
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let wanted = room.min(all.len());
            let got = kept(&mut best);
            assert_eq!(
                got.iter().map(|found| found.0).collect::<Vec<_>>(),
                all[..wanted].iter().map(|a| a.0).collect::<Vec<_>>()
            );
            let kth = all.get(k - 1).map_or(f32::INFINITY, |found| found.0);
            assert_eq!(best.kth(), kth, "{k} {room}");
        }
    }

    #[test]
    fn what_is_surely_behind_the_kth_is_not_measured() {
        for room in [16, 100] {
            let mut best = Candidates::default();
            best.reset(2, room);
            for (row, (estimate, error)) in
                [(5.0, 1.0), (1.0, 0.1), (2.0, 0.5), (3.5, 0.1), (3.1, 0.1), (9.0, f32::NAN)].iter().enumerate()
            {
                best.push(Candidate { error: *error, ..candidate(*estimate, row as u32) });
            }
            // Many are asked for when they were cut.
            assert_eq!(best.some().count(), if room == 16 { 5 } else { 0 });
            let mut rows: Vec<u64> = best.finish().iter().map(|found| found.row).collect();
            rows.sort_unstable();
            assert_eq!(rows, [0, 1, 2, 4, 5], "3.5 - 0.2 is behind 2 + 1; 5 - 2 and 3.1 - 0.2 are not");
        }
    }
}
