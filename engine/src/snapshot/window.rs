//! Searches of lists that may have to come from the disk, several under way at a time: while one is worked on, what the next ones will read is
//! on its way.

use std::collections::VecDeque;

use super::Snapshot;
use super::hit::Hits;
use super::room::Room;
use super::search::{Attempt, Lists, settle};
use super::terms::Terms;
use crate::error::{ErrorKind, Result};

/// Searches that wait for their lists, and as many that wait for their rows. More of them are no faster, and where little memory is left the system
/// forgets what the last ones asked for before they come to it.
const AHEAD: usize = 3;
/// The part of a budget that searches which wait may take together, and the part of what is left of it.
const PART_OF_BUDGET: u64 = 8;
const PART_OF_REST: u64 = 2;

/// Searches of such a plan that may wait for lists, and for rows, on each of so many threads: none where memory is short, so that a batch takes no more
/// than as many single searches on those threads.
pub(super) fn searches_ahead(snapshot: &Snapshot, terms: &Terms, plan: &Lists<'_>, threads: usize) -> usize {
    let Some(budget) = &snapshot.budget else { return AHEAD };
    let Some(limit) = budget.limit() else { return AHEAD };
    let rest = limit.saturating_sub(budget.total());
    let room = plan.bytes(snapshot, terms).saturating_mul(threads as u64).max(1);
    let rooms = (limit / PART_OF_BUDGET).min(rest / PART_OF_REST) / room;
    (rooms.saturating_sub(1) / 2).min(AHEAD as u64) as usize
}

/// Some queries, in the order in which they are answered. Each is answered as if it was asked alone.
pub(super) struct Window<'s, 'q> {
    snapshot: &'s Snapshot,
    queries: &'q [&'q [f32]],
    terms: &'q Terms,
    plan: &'q Lists<'s>,
    /// Searches that may wait for lists, and for rows.
    ahead: usize,
    /// Those that asked for lists, and those that looked at them and asked for rows.
    asked: VecDeque<UnderWay<'s>>,
    looked: VecDeque<UnderWay<'s>>,
    /// Rooms of searches that have ended.
    #[expect(clippy::vec_box, reason = "rooms are large and move from search to search")]
    free: Vec<Box<Room>>,
    answers: Vec<Hits>,
}

/// A search that waits for something.
struct UnderWay<'s> {
    query: usize,
    attempt: Attempt<'s>,
    /// The part of the rows that met a filter and matched.
    seen: Option<f64>,
    room: Box<Room>,
}

impl<'s, 'q> Window<'s, 'q> {
    /// `ahead` searches may wait for lists, and as many for rows.
    pub(super) fn new(
        snapshot: &'s Snapshot,
        queries: &'q [&'q [f32]],
        terms: &'q Terms,
        plan: &'q Lists<'s>,
        ahead: usize,
    ) -> Self {
        let (asked, looked, free) = (VecDeque::new(), VecDeque::new(), Vec::new());
        let answers = Vec::with_capacity(queries.len());
        Window { snapshot, queries, terms, plan, ahead, asked, looked, free, answers }
    }

    /// The answers.
    ///
    /// # Errors
    /// Of a query that fails.
    pub(super) fn answer(mut self) -> Result<Vec<Hits>> {
        while self.answers.len() < self.queries.len() {
            match self.go_on() {
                // There is no room for so many: the rest one at a time.
                Err(error) if error.kind() == ErrorKind::OverBudget && self.ahead > 0 => {
                    self.ahead = 0;
                    self.asked.clear();
                    self.looked.clear();
                    self.free.clear();
                }
                outcome => outcome?,
            }
        }
        Ok(self.answers)
    }

    /// Answers all queries that have no answer yet.
    fn go_on(&mut self) -> Result<()> {
        for query in self.answers.len()..self.queries.len() {
            self.begin(query)?;
            if self.asked.len() > self.ahead {
                self.look()?;
            }
            if self.looked.len() > self.ahead {
                self.measure()?;
            }
        }
        while !self.asked.is_empty() {
            self.look()?;
        }
        while !self.looked.is_empty() {
            self.measure()?;
        }
        Ok(())
    }

    fn query(&self, query: usize) -> &'q [f32] {
        self.queries.get(query).copied().unwrap_or_default()
    }

    fn begin(&mut self, query: usize) -> Result<()> {
        let vector = self.query(query);
        let mut room = self.free.pop().unwrap_or_else(Room::new);
        room.query.set(vector, self.snapshot.schema())?;
        let seek = self.plan.seek(self.snapshot, vector, self.terms, true);
        self.plan.reserve(&seek, &mut room)?;
        let attempt = Attempt::first(&seek, self.terms, self.plan);
        attempt.begin(&seek, &mut room);
        self.asked.push_back(UnderWay { query, attempt, seen: None, room });
        Ok(())
    }

    /// Goes on with the search that asked for its lists first.
    fn look(&mut self) -> Result<()> {
        let Some(mut search) = self.asked.pop_front() else { return Ok(()) };
        let seek = self.plan.seek(self.snapshot, self.query(search.query), self.terms, true);
        search.seen = search.attempt.look(&seek, &mut search.room)?;
        self.looked.push_back(search);
        Ok(())
    }

    /// Ends the search that asked for its rows first.
    fn measure(&mut self) -> Result<()> {
        let Some(UnderWay { query, attempt, seen, mut room }) = self.looked.pop_front() else { return Ok(()) };
        let seek = self.plan.seek(self.snapshot, self.query(query), self.terms, true);
        attempt.measure(&seek, &mut room)?;
        self.answers.push(settle(attempt, seen, &seek, self.terms, self.plan, &mut room)?);
        self.free.push(room);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use crate::budget::Share;
    use crate::filter::Filter;
    use crate::id::{IdKind, IdRef};
    use crate::options::{IndexKind, IvfOptions, Schema};
    use crate::snapshot::{Effort, Hits};
    use crate::storage::testing::MemDir;
    use crate::{Access, Background, Collection, Compact, Metric, OpenOptions};

    fn vector(seed: u64) -> Vec<f32> {
        (0..16).map(|i| ((seed * 31 + i * i * 7 + seed % (i + 3) * 11) % 97) as f32 / 97.0).collect()
    }

    fn even(id: IdRef<'_>) -> bool {
        matches!(id, IdRef::U64(id) if id % 2 == 0)
    }

    #[test]
    fn memory_that_goes_while_searches_wait_leaves_them_to_be_answered_one_at_a_time() {
        let disk = Arc::new(MemDir::new(1));
        let schema = Schema::new(16, Metric::L2).ids(IdKind::U64).index(IndexKind::Ivf(IvfOptions::auto().nlist(30)));
        let options = OpenOptions::new().access(Access::Pread).background(Background::Inline).memory_budget(32 << 20);
        let c = Collection::create_in(disk, schema, options).unwrap();
        let mut batch = c.batch();
        for id in 0..2_000u64 {
            batch.upsert(id, &vector(id));
        }
        batch.commit().unwrap();
        c.flush().unwrap();
        c.compact(Compact::Full).unwrap().wait().unwrap();
        let snapshot = c.snapshot();
        let asked: Vec<Vec<f32>> = (0..60).map(|n| vector(5_000 + n)).collect();
        let effort = Effort::Probe { nprobe: 6, patience: usize::MAX };
        let alone = |query: &Vec<f32>| snapshot.search(query).effort(effort).filter(Filter::by(even)).run().unwrap();
        let alone: Vec<Hits> = asked.iter().map(alone).collect();
        let budget = snapshot.budget.clone().unwrap();
        let (taken, calls) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(0)));
        let (take, count) = (taken.clone(), calls.clone());
        let greedy = Filter::by(move |id| {
            *count.lock() += 1;
            take.lock().get_or_insert_with(|| {
                let rest = budget.limit().unwrap() - budget.total() - 100;
                budget.reserve(Share::Batches, rest).unwrap()
            });
            even(id)
        });
        let found = snapshot.search_batch(&asked).effort(effort).filter(greedy).run().unwrap();
        assert!(taken.lock().is_some() && *calls.lock() > 0);
        assert!(found.iter().zip(&alone).all(|(found, alone)| **found == **alone));
        drop(taken.lock().take());
        drop(snapshot);
        c.close().unwrap();
    }
}
