//! Rows written since the last flush, in memory.
//!
//! A [`Generation`] is what one write-ahead log holds: rows in [`Block`]s and the rows it kills in [`Kills`]. Both are
//! *persistent* structures: a commit makes a new small value that shares everything older with the one before, so a
//! snapshot is a pointer, a search needs no lock, and nothing a search can see ever moves or changes. Sharing costs
//! little because blocks and kill runs merge as they age: a row is copied at most three times, a view holds a few dozen
//! pointers.
//!
//! Row numbers are given in commit order, so the rows of a generation are one contiguous range, and a row keeps its number
//! when it moves from memory to a file.

mod block;
mod generation;
mod ids;
mod kills;
mod known;

pub(crate) use block::{Block, BlockBuilder, UnnumberedBlock};
pub(crate) use generation::Generation;
pub(crate) use known::{Known, KnownIds};
