//! What a search returns.

use std::ops::{BitOr, Deref};

use super::Snapshot;
use crate::id::Id;
use crate::index::ivf::Scratch;
use crate::value::Attributes;

/// What a search returns of each row beside its id and distance. Combine with `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Include(u8);

impl Include {
    /// Id and distance only.
    pub const NONE: Include = Include(0);
    /// The vector, as stored, in f32.
    pub const VECTOR: Include = Include(1);
    /// The payload.
    pub const PAYLOAD: Include = Include(2);
    /// The attributes.
    pub const ATTRIBUTES: Include = Include(4);

    /// Whether everything in `other` is in `self`.
    pub fn contains(self, other: Include) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Include {
    type Output = Include;
    fn bitor(self, other: Include) -> Include {
        Include(self.0 | other.0)
    }
}

/// One row found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// The row's id.
    pub id: Id,
    /// Its distance from the query in the metric's own unit; smaller is nearer.
    pub distance: f32,
    /// Whether the distance is that of the vector which was given, or of what rounding to the floats of the row format left of it. False: it
    /// is an estimate, made from bytes.
    pub exact: bool,
    /// The vector as stored, in f32, if [`Include::VECTOR`] was asked for and the collection keeps vectors.
    pub vector: Option<Vec<f32>>,
    /// The attributes, if [`Include::ATTRIBUTES`] was asked for.
    pub attributes: Option<Attributes>,
    /// The payload, if [`Include::PAYLOAD`] was asked for and the row has one.
    pub payload: Option<Vec<u8>>,
}

impl Hit {
    /// A row found at an exact distance, with nothing included: what there is more of it can be set.
    pub fn new(id: impl Into<Id>, distance: f32) -> Hit {
        Hit { id: id.into(), distance, exact: true, vector: None, attributes: None, payload: None }
    }
}

/// The rows found, nearest first; equal distances in the order of ids. At most k, never padded.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    pub(super) hits: Vec<Hit>,
    pub(super) explain: Explain,
}

impl Hits {
    /// These rows in this order: those of several answers merged, or of one that was stored.
    pub fn new(hits: Vec<Hit>, explain: Explain) -> Hits {
        Hits { hits, explain }
    }

    /// Whether all distances are exact; see [`Hit::exact`].
    pub fn all_exact(&self) -> bool {
        self.hits.iter().all(|hit| hit.exact)
    }

    /// How the answer came about.
    pub fn explain(&self) -> &Explain {
        &self.explain
    }
}

impl Deref for Hits {
    type Target = [Hit];
    fn deref(&self) -> &[Hit] {
        &self.hits
    }
}

impl IntoIterator for Hits {
    type Item = Hit;
    type IntoIter = std::vec::IntoIter<Hit>;
    fn into_iter(self) -> Self::IntoIter {
        self.hits.into_iter()
    }
}

impl<'h> IntoIterator for &'h Hits {
    type Item = &'h Hit;
    type IntoIter = std::slice::Iter<'h, Hit>;
    fn into_iter(self) -> Self::IntoIter {
        self.hits.iter()
    }
}

/// How an answer came about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explain {
    /// Sequence number of the state that was searched.
    pub seq: u64,
    /// Rows whose distance was computed.
    pub rows_scored: u64,
    /// Row files and in-memory blocks that were scanned.
    pub sources_scanned: u64,
    /// Bytes of vectors read; of a search that did not expect what it read in memory (see `cold`) those of lists too.
    pub bytes_read: u64,
    /// Lists and rows were not expected in memory: see [`SearchMode`](crate::SearchMode).
    pub cold: bool,
    /// Pieces of files, lists and rows, that such a search asked for.
    pub reads: u64,
    /// Lists looked at; 0 if the answer is exact.
    pub lists_probed: u64,
    /// Entries of lists whose distance was estimated.
    pub entries_scanned: u64,
    /// Rows in memory whose distance was estimated. Those that may be near enough were measured and are among `rows_scored`.
    pub fresh_scanned: u64,
    /// Entries of lists whose distance was estimated again with all bits of their codes.
    pub records_read: u64,
    /// Rows whose vectors were asked of a source.
    pub reranked: u64,
    /// Rows were looked up by the ids of the filter; nothing was scanned.
    pub by_lookup: bool,
    /// Rows left out because their stored vector gives no finite distance. Not 0 only if the files were tampered with.
    pub rows_skipped: u64,
    /// The deadline passed: rows that were not scored may be missing.
    pub cut_short: bool,
}

impl Explain {
    /// Adds what a search by lists did.
    pub(super) fn add_lists(&mut self, snapshot: &Snapshot, scratch: &Scratch) {
        let measured = scratch.measured() as u64;
        self.seq = snapshot.seq();
        self.cold |= scratch.cold.is_some();
        self.lists_probed += scratch.looked as u64;
        self.entries_scanned += scratch.work.0 as u64;
        self.records_read += scratch.work.1 as u64;
        let keeps = snapshot.schema().row_format().keeps_vectors();
        let measured = if keeps { measured } else { 0 };
        self.rows_scored += measured;
        let vectors = scratch.measured_bytes() as u64;
        self.reads += scratch.cold.map_or(0, |cold| cold.pieces);
        self.bytes_read += scratch.cold.map_or(vectors, |cold| cold.bytes);
    }
}
