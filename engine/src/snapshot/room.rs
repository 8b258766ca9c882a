//! Memory that a thread keeps from one search to the next, so that a search by lists allocates nothing but its hits.

use std::cell::Cell;
use std::sync::Arc;

use super::fresh::FreshRoom;
use super::hit::Hit;
use crate::budget::{Budget, Charge, Share};
use crate::error::Result;
use crate::index::flat::FlatQuery;
use crate::index::ivf::{ListedCode, Scratch};

/// A room that has grown beyond this is given back after the search.
const MOST_KEPT_BYTES: u64 = 8 << 20;
/// What a search needs whatever it asks for, and for each row wanted, each list and each component.
const FIXED_BYTES: u64 = 128 << 10;
const BYTES_PER_HIT: u64 = size_of::<Hit>() as u64 + 128;
const BYTES_PER_LIST: u64 = 64;
const BYTES_PER_COMPONENT: u64 = 128;
/// A number and a byte of a query's tables.
const BYTES_PER_CODEWORD: u64 = 5;
/// A fresh row of the probed lists: its code there and its bound if it is looked at by itself (in a piece less), and if it may be near which it is, its
/// other bound and its number.
const BYTES_PER_FRESH: u64 = size_of::<ListedCode<'_>>() as u64 + 4 + 4 + 4 + 16;
/// What a query is once its centroids are ranked: for each component, and for each list it will look at.
const READY_BYTES_PER_COMPONENT: u64 = 12;
const BYTES_PER_PROBE: u64 = 12;

/// What memory depends on.
pub(super) struct Needs {
    /// Rows wanted.
    pub(super) k: usize,
    /// Lists there are, and lists to look at.
    pub(super) lists: usize,
    pub(super) nprobe: usize,
    /// Components after padding.
    pub(super) components: usize,
    /// Codewords of all parts, if lists have product codes.
    pub(super) codewords: usize,
    /// Fresh rows that stand in the lists to look at.
    pub(super) fresh: usize,
}

impl Needs {
    /// What such a search takes.
    pub(super) fn bytes(&self) -> u64 {
        let times = |count: usize, bytes: u64| (count as u64).saturating_mul(bytes);
        let each =
            times(self.components, READY_BYTES_PER_COMPONENT).saturating_add(times(self.nprobe, BYTES_PER_PROBE));
        FIXED_BYTES
            .saturating_add(times(self.k, BYTES_PER_HIT))
            .saturating_add(times(self.lists, BYTES_PER_LIST))
            .saturating_add(times(self.components, BYTES_PER_COMPONENT))
            .saturating_add(times(self.fresh, BYTES_PER_FRESH))
            .saturating_add(times(self.codewords, BYTES_PER_CODEWORD))
            .saturating_add(each)
    }
}

/// What one search by lists works in.
pub(super) struct Room {
    pub(super) lists: Scratch,
    /// The same for the lists of an older model.
    pub(super) older: Scratch,
    pub(super) query: FlatQuery,
    /// For fresh rows in the probed lists.
    pub(super) fresh: FreshRoom,
    /// In the account of the collection that was searched last.
    charge: Charge,
}

thread_local! {
    static ROOM: Cell<Option<Box<Room>>> = const { Cell::new(None) };
}

impl Room {
    pub(super) fn new() -> Box<Room> {
        Box::new(Room {
            lists: Scratch::default(),
            older: Scratch::default(),
            query: FlatQuery::blank(),
            fresh: FreshRoom::default(),
            charge: Charge::none(),
        })
    }

    /// Calls `search` with the room of this thread. A search inside of a search (a filter may start one) gets a room of its own.
    pub(super) fn with<T>(search: impl FnOnce(&mut Room) -> T) -> T {
        let mut room = ROOM.take().unwrap_or_else(Room::new);
        let outcome = search(&mut room);
        if room.charge.bytes() <= MOST_KEPT_BYTES {
            ROOM.set(Some(room));
        }
        outcome
    }

    /// Counts what a search takes: nothing has to be done if the last one took as much in the same account.
    ///
    /// # Errors
    /// `OverBudget`.
    pub(super) fn reserve(&mut self, budget: Option<&Arc<Budget>>, needs: &Needs) -> Result<()> {
        let Some(budget) = budget else { return Ok(()) };
        let bytes = needs.bytes();
        if self.charge.is_of(budget) {
            match bytes.checked_sub(self.charge.bytes()) {
                Some(more) if more > 0 => self.charge.reserve(more),
                _ => Ok(()),
            }
        } else {
            self.charge = Charge::none();
            self.charge = budget.reserve(Share::Search, bytes)?;
            Ok(())
        }
    }
}
