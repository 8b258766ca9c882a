//! Rows written since the last flush, in memory.
//!
//! A [`Generation`] is what one write-ahead log holds: rows in [`Block`]s, their keys in [`keys`], and the rows it kills in
//! [`kills`]. All are *persistent* structures: a commit makes a new small value that shares everything older with the one
//! before, so a snapshot is a pointer, a search needs no lock, and nothing a search can see ever moves or changes. Sharing
//! costs little because all three merge as they age ([`aging`]): a row is copied at most three times and its key four
//! times, and a view holds about two hundred pointers, however many batches there were.
//!
//! Row numbers are given in commit order, so the rows of a generation are one contiguous range, and a row keeps its number
//! when it moves from memory to a file.

mod aging;
mod block;
mod blocks;
mod codes;
mod generation;
mod ids;
mod keys;
mod kills;
mod known;
mod leaves;
mod members;
mod piece;

pub(crate) use block::{Block, BlockBuilder, UnnumberedBlock};
pub(crate) use generation::Generation;
pub(crate) use kills::Kills;
pub(crate) use known::{Known, KnownIds};
pub(crate) use members::{Marked, Members, RowLists};
pub(crate) use piece::{Entry, Piece, append_sign_code, sign_code_bytes};
