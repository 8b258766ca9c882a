//! Several queries by turns: while the memory that one has asked for comes, another is worked on.
//!
//! A query waits for memory four times: for the records of its nearest entries, for those of the others in the first lists, for those of
//! the further lists, and for rows. Alone it can only ask for many at once. With a few queries under way each step begins with
//! what the query asked for some steps of others ago, and ends by asking for what it needs next.

use super::search::{IvfSearch, Lists, Probe, Ready, Rows, Running, Scratch};
use crate::error::Result;
use crate::index::flat::FlatQuery;

/// A place for a query under way.
pub(crate) struct Slot {
    pub(crate) scratch: Scratch,
    /// The query whose turn it is, by which rows are measured.
    pub(crate) exact: FlatQuery,
}

impl Slot {
    pub(crate) fn new() -> Self {
        Slot { scratch: Scratch::default(), exact: FlatQuery::blank() }
    }
}

impl<L: Lists, R: Rows> IvfSearch<'_, L, R> {
    /// Does for the queries `order` of `ready` what [`finish`](IvfSearch::finish) does for one, as many at a time as there are slots.
    /// Before a query begins `begin` sets its slot's `exact`, when it has ended `done` is told. The answers are the same.
    ///
    /// # Errors
    /// `Corrupt`; those of `begin` and `done`.
    pub(crate) fn finish_many(
        &self,
        k: usize,
        probe: &Probe,
        order: impl IntoIterator<Item = usize>,
        ready: &mut [Ready],
        slots: &mut [Slot],
        mut begin: impl FnMut(usize, &mut FlatQuery) -> Result<()>,
        mut done: impl FnMut(usize, &mut Slot) -> Result<()>,
    ) -> Result<()> {
        let mut order = order.into_iter();
        let mut under_way: Vec<Option<(usize, Running<'_>)>> = slots.iter().map(|_| None).collect();
        let mut left = true;
        while left {
            left = false;
            for (slot, running) in slots.iter_mut().zip(&mut under_way) {
                if running.is_none()
                    && let Some(at) = order.next()
                    && let Some(ready) = ready.get_mut(at)
                {
                    begin(at, &mut slot.exact)?;
                    *running = Some((at, self.begin(k, probe, ready, &mut slot.scratch)));
                }
                let Some((at, run)) = running else { continue };
                left = true;
                let Some(ready) = ready.get(*at) else { continue };
                if self.step(ready, &slot.exact, k, probe, run, &mut slot.scratch, &mut ())? {
                    if let Some((at, run)) = running.take() {
                        run.end(&mut slot.scratch);
                        done(at, slot)?;
                    }
                }
            }
        }
        Ok(())
    }
}
