//! Searches of lists that may have to come from the disk, several under way at a time: while one is worked on, what the next ones will read is
//! on its way.

use std::collections::VecDeque;

use super::Snapshot;
use super::hit::Hits;
use super::room::Room;
use super::search::{Attempt, Lists, by_lists, settle};
use super::terms::Terms;
use crate::error::{ErrorKind, Result};

/// Searches that wait for their lists, and as many that wait for their rows. More of them are no faster, and where little memory is left the system
/// forgets what the last ones asked for before they come to it.
const AHEAD: usize = 3;

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
    pub(super) fn new(snapshot: &'s Snapshot, queries: &'q [&'q [f32]], terms: &'q Terms, plan: &'q Lists<'s>) -> Self {
        let (asked, looked, free) = (VecDeque::new(), VecDeque::new(), Vec::new());
        let answers = Vec::with_capacity(queries.len());
        Window { snapshot, queries, terms, plan, ahead: AHEAD, asked, looked, free, answers }
    }

    /// The answers.
    ///
    /// # Errors
    /// Of the first query that fails.
    pub(super) fn answer(mut self) -> Result<Vec<Hits>> {
        for query in 0..self.queries.len() {
            match self.begin(query) {
                Err(error) if error.kind() == ErrorKind::OverBudget => self.alone(query)?,
                outcome => outcome?,
            }
            if self.asked.len() > self.ahead {
                self.look()?;
            }
            if self.looked.len() > self.ahead {
                self.measure()?;
            }
        }
        self.end()?;
        Ok(self.answers)
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
        let attempt = Attempt::first(&seek, self.plan);
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

    /// Ends all searches that are under way.
    fn end(&mut self) -> Result<()> {
        while !self.asked.is_empty() {
            self.look()?;
        }
        while !self.looked.is_empty() {
            self.measure()?;
        }
        Ok(())
    }

    /// Answers a query when all others have ended and their memory is given back: there is no room for so many. From then on fewer wait.
    fn alone(&mut self, query: usize) -> Result<()> {
        self.ahead /= 2;
        self.end()?;
        self.free.clear();
        let vector = self.query(query);
        let hits = Room::with(|room| {
            room.query.set(vector, self.snapshot.schema())?;
            by_lists(&self.plan.seek(self.snapshot, vector, self.terms, true), self.terms, self.plan, room)
        })?;
        self.answers.push(hits);
        Ok(())
    }
}
