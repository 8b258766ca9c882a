//! One row, whole; and all of them.

use super::{Killed, Snapshot, Source};
use crate::error::{Error, Result};
use crate::format::attributes::decode_attributes;
use crate::id::Id;
use crate::options::Schema;
use crate::value::Attributes;

/// One row with everything stored for it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Item {
    /// The row's id.
    pub id: Id,
    /// The vector as stored (rounded to the row format), in f32. Empty if the collection keeps none ([`RowFormat::None`](crate::RowFormat::None)).
    pub vector: Vec<f32>,
    /// The vector is what bytes stand for and not what was given, nor what rounding to shorter floats left of it.
    pub approximate: bool,
    /// Its attributes.
    pub attributes: Attributes,
    /// Its payload. An empty payload is the same as none.
    pub payload: Option<Vec<u8>>,
    /// Sequence number of the batch that wrote it.
    pub seq: u64,
}

impl Item {
    /// A row of this vector with nothing beside it: what there is more of it can be set.
    pub fn new(id: impl Into<Id>, vector: Vec<f32>) -> Item {
        Item { id: id.into(), vector, approximate: false, attributes: Attributes::new(), payload: None, seq: 0 }
    }

    pub(super) fn read(source: &Source<'_>, at: usize, schema: &Schema) -> Result<Item> {
        let vector = match schema.row_format().keeps_vectors() {
            true => read_vector(source, at, schema)?,
            false => Vec::new(),
        };
        Ok(Item {
            id: source.id(at)?,
            vector,
            approximate: !schema.row_format().is_exact(),
            attributes: read_attributes(source, at)?,
            payload: Some(source.payload(at)?).filter(|p| !p.is_empty()),
            seq: source.seq(at)?,
        })
    }
}

/// The vector of one row in f32.
pub(super) fn read_vector(source: &Source<'_>, at: usize, schema: &Schema) -> Result<Vec<f32>> {
    let mut vector = vec![0.0; schema.dim()];
    source.vector(at, schema)?.decode(&mut vector);
    Ok(vector)
}

/// The attributes of one row.
pub(super) fn read_attributes(source: &Source<'_>, at: usize) -> Result<Attributes> {
    let encoded = source.attributes(at)?;
    decode_attributes(&encoded)
        .map_err(|what| Error::corrupt(source.name(), "attributes", 0, format!("row {at}: {what}")))
}

/// All live rows of a snapshot, in the order in which they were written. Memory: one row.
pub struct Items<'s> {
    snapshot: &'s Snapshot,
    sources: std::vec::IntoIter<Source<'s>>,
    source: Option<Source<'s>>,
    killed: Killed<'s>,
    word: usize,
    live: u64,
}

impl<'s> Items<'s> {
    pub(super) fn new(snapshot: &'s Snapshot) -> Self {
        let view = snapshot.view();
        let (sources, killed) = (view.sources().collect::<Vec<_>>().into_iter(), Killed::new(view));
        Items { snapshot, sources, source: None, killed, word: 0, live: 0 }
    }

    /// The next live place: the current word's bits, then the next word, then the next source.
    fn advance(&mut self) -> Result<Option<(Source<'s>, usize)>> {
        loop {
            if let Some(source) = self.source {
                if self.live != 0 {
                    let bit = self.live.trailing_zeros() as usize;
                    self.live &= self.live - 1;
                    return Ok(Some((source, (self.word - 1) * 64 + bit)));
                }
                if self.word * 64 < source.len() {
                    self.word += 1;
                    self.live = source.live_word(self.word - 1, &mut self.killed)?;
                    continue;
                }
            }
            match self.sources.next() {
                Some(source) => (self.source, self.word) = (Some(source), 0),
                None => return Ok(None),
            }
        }
    }
}

impl Iterator for Items<'_> {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        match self.advance() {
            Ok(Some((source, at))) => Some(Item::read(&source, at, self.snapshot.schema())),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
