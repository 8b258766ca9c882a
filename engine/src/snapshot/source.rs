//! A run of rows, in a file or in memory, behind one face.

use std::borrow::Cow;
use std::ops::Range;

use super::killed::Killed;
use super::version::LiveRows;
use crate::delta::Block;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::stored::{Run, Stored};
use crate::metric::Element;
use crate::options::Schema;
use crate::segment::Records;
use crate::storage::Bytes;

/// Rows at positions `0..len()`.
#[derive(Clone, Copy)]
pub(crate) enum Source<'v> {
    File(&'v LiveRows),
    Block(&'v Block),
}

impl<'v> Source<'v> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Source::File(rows) => rows.file.len(),
            Source::Block(block) => block.len(),
        }
    }

    /// Which of the rows `64 * word ..` are live in the view whose kills these are.
    pub(crate) fn live_word(&self, word: usize, killed: &mut Killed<'_>) -> Result<u64> {
        let start = word * 64;
        let rows = (self.len() - start).min(64);
        let (live, maybe_dead) = match self {
            Source::File(file) => (file.live_word(word), file.maybe_dead_word(word)),
            Source::Block(block) => (u64::MAX >> (64 - rows), block.maybe_dead_word(word)),
        };
        let ask = live & maybe_dead;
        if ask == 0 {
            return Ok(live);
        }
        let first = self.row_number(start)?;
        if self.row_number(start + rows - 1)?.checked_sub(first) == Some(rows as u64 - 1) {
            return Ok(live & !(ask & killed.word(first)));
        }
        self.ask_each(word, live, ask, killed)
    }

    /// As [`Source::live_word`], for rows whose numbers have gaps.
    fn ask_each(&self, word: usize, mut live: u64, mut ask: u64, killed: &mut Killed<'_>) -> Result<u64> {
        while ask != 0 {
            let bit = ask.trailing_zeros() as usize;
            ask &= ask - 1;
            if killed.contains(self.row_number(word * 64 + bit)?) {
                live &= !(1 << bit);
            }
        }
        Ok(live)
    }

    /// Whether a generation in memory perhaps kills the row: no means that none does.
    pub(crate) fn maybe_dead(&self, i: usize) -> bool {
        let word = match self {
            Source::File(rows) => rows.maybe_dead_word(i / 64),
            Source::Block(block) => block.maybe_dead_word(i / 64),
        };
        word >> (i % 64) & 1 == 1
    }

    pub(crate) fn row_number(&self, i: usize) -> Result<u64> {
        match self {
            Source::File(rows) => rows.file.row_number(i),
            Source::Block(block) => Ok(block.first_row() + i as u64),
        }
    }

    /// The stored vectors of a range of rows of a collection, proven against their checksums.
    pub(crate) fn vectors(&self, range: Range<usize>, schema: &Schema) -> Result<Vectors<'v>> {
        match self {
            Source::File(rows) => match rows.file.element() {
                Some(element) => {
                    Ok(Vectors { element, stride: rows.file.stride(), rows: RunOf::File(rows.file.records(range)?) })
                }
                None => Err(gone(rows)),
            },
            Source::Block(block) => {
                let element = schema.row_format().element();
                Ok(Vectors { element, stride: block.stride(), rows: RunOf::Block(block, range) })
            }
        }
    }

    /// The stored vector of one row.
    pub(crate) fn vector(&self, i: usize, schema: &Schema) -> Result<Stored<Bytes<'v>>> {
        match self {
            Source::File(rows) => rows.file.records(i..i + 1).map(Records::into_first),
            Source::Block(block) => Ok(Stored {
                bytes: Bytes::Mapped(&block.vector(i)[..schema.vector_bytes()]),
                element: schema.row_format().element(),
                length: block.norm(i),
            }),
        }
    }

    pub(crate) fn stride(&self) -> usize {
        match self {
            Source::File(rows) => rows.file.stride(),
            Source::Block(block) => block.stride(),
        }
    }

    /// The id.
    pub(crate) fn id(&self, i: usize) -> Result<Id> {
        match self {
            Source::File(rows) => rows.file.id(i),
            Source::Block(block) => Ok(block.id(i).to_owned()),
        }
    }

    /// The file, for messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Source::File(rows) => rows.file.name().to_string(),
            Source::Block(_) => "memory".to_owned(),
        }
    }

    pub(crate) fn seq(&self, i: usize) -> Result<u64> {
        match self {
            Source::File(rows) => rows.file.seq(i),
            Source::Block(block) => Ok(block.seq(i)),
        }
    }

    /// Encoded attributes; empty when there are none.
    pub(crate) fn attributes(&self, i: usize) -> Result<Cow<'v, [u8]>> {
        match self {
            Source::File(rows) => rows.file.attributes(i).map(Cow::Owned),
            Source::Block(block) => Ok(Cow::Borrowed(block.attributes(i))),
        }
    }

    /// The payload; empty when there is none.
    pub(crate) fn payload(&self, i: usize) -> Result<Vec<u8>> {
        match self {
            Source::File(rows) => rows.file.payload(i),
            Source::Block(block) => Ok(block.payload(i).to_vec()),
        }
    }
}

/// The stored vectors of some rows of a source.
pub(crate) struct Vectors<'v> {
    element: Element,
    stride: usize,
    rows: RunOf<'v>,
}

enum RunOf<'v> {
    File(Records<'v>),
    Block(&'v Block, Range<usize>),
}

impl Vectors<'_> {
    /// All of them.
    #[inline]
    pub(crate) fn run(&self) -> Run<'_> {
        let bytes = match &self.rows {
            RunOf::File(records) => records.bytes(),
            RunOf::Block(block, range) => &block.vectors()[range.start * block.stride()..range.end * block.stride()],
        };
        Run { bytes, stride: self.stride, element: self.element }
    }

    /// The length of the `i`-th under cosine.
    #[inline]
    pub(crate) fn norm(&self, i: usize) -> f32 {
        match &self.rows {
            RunOf::File(records) => records.norm(i),
            RunOf::Block(block, range) => block.norm(range.start + i),
        }
    }
}

/// Nobody is to ask for the vectors of rows that have none any more.
fn gone(rows: &LiveRows) -> Error {
    let what = "these rows have no vectors: the collection keeps none (rows = none) of rows that are in lists";
    Error::corrupt(rows.file.name(), "vectors", 0, what)
}
