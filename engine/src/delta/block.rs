//! An immutable run of rows in memory, laid out like the sections of a row file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ids::{BlobColumn, IdColumn};
use crate::budget::{Budget, Charge, Share};
use crate::format::id_key;
use crate::id::IdRef;
use crate::options::Schema;

/// Rows from which on a block gives back what its columns allocated ahead.
const SHRINK_FROM: usize = 64;

/// Bytes between the starts of two vectors: whole 8-byte words.
fn stride_of(schema: &Schema) -> usize {
    schema.vector_bytes().next_multiple_of(8)
}

/// Rows `first_row ..`, all committed, none of which ever changes. Only `maybe_dead` is written after publication, and only
/// from 0 to 1: a clear bit proves that no published view kills the row; a set bit says "ask the view".
pub(crate) struct Block {
    first_row: u64,
    stride: usize,
    vectors: Vec<u8>,
    norms: Vec<f32>,
    seqs: Vec<u64>,
    ids: IdColumn,
    attributes: BlobColumn,
    payloads: BlobColumn,
    /// (Key of the id, position), sorted, until the generation takes them.
    by_key: Arc<[(u64, u32)]>,
    maybe_dead: Box<[AtomicU64]>,
    charge: Charge,
}

impl Block {
    /// Counts the block's memory until it is dropped; blocks that it is merged into are counted as well.
    pub(crate) fn charged(mut self, budget: &Arc<Budget>) -> Block {
        self.charge = budget.charge(Share::Delta, self.memory_bytes() as u64);
        self
    }

    /// Where its memory is counted.
    pub(super) fn charge(&self) -> &Charge {
        &self.charge
    }

    /// Rows in this block, at least one.
    pub(crate) fn len(&self) -> usize {
        self.norms.len()
    }

    /// Row number of the first row.
    pub(crate) fn first_row(&self) -> u64 {
        self.first_row
    }

    /// One past the last row number.
    pub(crate) fn end_row(&self) -> u64 {
        self.first_row + self.len() as u64
    }

    /// All vectors; vector `i` starts at `i * stride()`.
    pub(crate) fn vectors(&self) -> &[u8] {
        &self.vectors
    }

    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// The stored bytes of one vector, with padding to whole words.
    pub(crate) fn vector(&self, i: usize) -> &[u8] {
        &self.vectors[i * self.stride..(i + 1) * self.stride]
    }

    pub(crate) fn norm(&self, i: usize) -> f32 {
        self.norms[i]
    }

    pub(crate) fn seq(&self, i: usize) -> u64 {
        self.seqs[i]
    }

    pub(crate) fn id(&self, i: usize) -> IdRef<'_> {
        self.ids.get(i)
    }

    pub(crate) fn attributes(&self, i: usize) -> &[u8] {
        self.attributes.get(i)
    }

    pub(crate) fn payload(&self, i: usize) -> &[u8] {
        self.payloads.get(i)
    }

    /// Heap bytes held, the keys of its rows included, which the generation keeps.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.vectors.len()
            + self.len() * (4 + 8 + 16)
            + self.ids.memory_bytes()
            + self.attributes.memory_bytes()
            + self.payloads.memory_bytes()
            + self.maybe_dead.len() * 8
    }

    /// The newest position of an id in a block that is in no generation.
    pub(crate) fn find(&self, key: u64, id: IdRef<'_>) -> Option<usize> {
        let end = self.by_key.partition_point(|(k, _)| *k <= key);
        let same = self.by_key[..end].iter().rev().take_while(|(k, _)| *k == key);
        same.map(|(_, i)| *i as usize).find(|i| self.id(*i) == id)
    }

    /// Hands over (key of the id, position) of every row, sorted.
    pub(super) fn take_keys(&mut self) -> Arc<[(u64, u32)]> {
        std::mem::take(&mut self.by_key)
    }

    /// Says that some view kills the row; called before that view is published.
    pub(crate) fn mark_maybe_dead(&self, i: usize) {
        self.maybe_dead[i / 64].fetch_or(1 << (i % 64), Ordering::Release);
    }

    /// The 64 maybe-dead bits of rows `64 * word ..`.
    pub(crate) fn maybe_dead_word(&self, word: usize) -> u64 {
        self.maybe_dead[word].load(Ordering::Acquire)
    }

    /// One block from several that follow each other, without keys.
    pub(super) fn merge(parts: &[Arc<Block>]) -> Block {
        let rows = parts.iter().map(|p| p.len()).sum();
        let first = &parts[0];
        let mut merged = Block {
            first_row: first.first_row,
            stride: first.stride,
            vectors: Vec::with_capacity(rows * first.stride),
            norms: Vec::with_capacity(rows),
            seqs: Vec::with_capacity(rows),
            ids: match &first.ids {
                IdColumn::U64(_) => IdColumn::U64(Vec::with_capacity(rows)),
                IdColumn::Bytes { .. } => IdColumn::Bytes { ends: Vec::with_capacity(rows), bytes: Vec::new() },
            },
            attributes: BlobColumn::default(),
            payloads: BlobColumn::default(),
            by_key: Arc::default(),
            maybe_dead: new_bits(rows),
            charge: Charge::none(),
        };
        for part in parts {
            merged.append(part);
        }
        merged.charge = first.charge.another(merged.memory_bytes() as u64);
        merged
    }

    fn append(&mut self, part: &Block) {
        let base = self.len();
        self.vectors.extend_from_slice(&part.vectors);
        self.norms.extend_from_slice(&part.norms);
        self.seqs.extend_from_slice(&part.seqs);
        for i in 0..part.len() {
            self.ids.push(part.id(i));
            self.attributes.push(part.attributes(i));
            self.payloads.push(part.payload(i));
            if part.maybe_dead_word(i / 64) >> (i % 64) & 1 == 1 {
                self.mark_maybe_dead(base + i);
            }
        }
    }
}

fn new_bits(rows: usize) -> Box<[AtomicU64]> {
    (0..rows.div_ceil(64)).map(|_| AtomicU64::new(0)).collect()
}

/// Rows on their way into a batch: the columns of a block before it has row numbers and a sequence number.
pub(crate) struct BlockBuilder {
    stride: usize,
    collection: u128,
    vectors: Vec<u8>,
    norms: Vec<f32>,
    ids: IdColumn,
    attributes: BlobColumn,
    payloads: BlobColumn,
    keys: Vec<u64>,
}

impl BlockBuilder {
    /// An empty builder for rows of this schema. `collection` keys the hash of byte ids.
    pub(crate) fn new(schema: &Schema, collection: u128) -> Self {
        BlockBuilder {
            stride: stride_of(schema),
            collection,
            vectors: Vec::new(),
            norms: Vec::new(),
            ids: IdColumn::new(schema.id_kind()),
            attributes: BlobColumn::default(),
            payloads: BlobColumn::default(),
            keys: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.norms.len()
    }

    /// Makes room for this many more rows at once: growing step by step touches twice the memory.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.vectors.reserve(rows.saturating_mul(self.stride));
        self.norms.reserve(rows);
        self.keys.reserve(rows);
    }

    /// Appends a row: a checked id, and a closure that appends the stored bytes of its vector and returns the vector's
    /// length under cosine (else 0). If it fails, nothing is appended.
    pub(crate) fn push<E>(
        &mut self,
        id: IdRef<'_>,
        store: impl FnOnce(&mut Vec<u8>) -> Result<f32, E>,
    ) -> Result<(), E> {
        let start = self.vectors.len();
        match store(&mut self.vectors) {
            Ok(norm) => self.norms.push(norm),
            Err(error) => {
                self.vectors.truncate(start);
                return Err(error);
            }
        }
        self.vectors.resize(start + self.stride, 0);
        self.ids.push(id);
        self.attributes.push(&[]);
        self.payloads.push(&[]);
        self.keys.push(id_key(id, self.collection));
        Ok(())
    }

    /// Appends a row whose vector is stored already.
    pub(crate) fn push_stored(&mut self, id: IdRef<'_>, vector: &[u8], norm: f32) {
        let stored: Result<(), std::convert::Infallible> = self.push(id, |bytes| {
            bytes.extend_from_slice(vector);
            Ok(norm)
        });
        debug_assert!(stored.is_ok());
    }

    /// Sets the encoded attributes of the last row.
    pub(crate) fn set_attributes(&mut self, encoded: &[u8]) {
        self.attributes.replace_last(encoded);
    }

    /// Sets the payload of the last row.
    pub(crate) fn set_payload(&mut self, payload: &[u8]) {
        self.payloads.replace_last(payload);
    }

    pub(crate) fn id(&self, i: usize) -> IdRef<'_> {
        self.ids.get(i)
    }

    /// The stored bytes of one vector, with padding to whole words.
    pub(crate) fn vector(&self, i: usize) -> &[u8] {
        &self.vectors[i * self.stride..(i + 1) * self.stride]
    }

    pub(crate) fn norm(&self, i: usize) -> f32 {
        self.norms[i]
    }

    pub(crate) fn attributes(&self, i: usize) -> &[u8] {
        self.attributes.get(i)
    }

    pub(crate) fn payload(&self, i: usize) -> &[u8] {
        self.payloads.get(i)
    }

    /// Bytes given by the caller so far, without framing.
    pub(crate) fn data_bytes(&self) -> usize {
        self.vectors.len() + self.ids.memory_bytes() + self.attributes.total_bytes() + self.payloads.total_bytes()
    }

    /// The same rows without those whose `keep` is false.
    pub(crate) fn retain(self, keep: &[bool], schema: &Schema) -> BlockBuilder {
        if keep.iter().all(|k| *k) {
            return self;
        }
        let mut kept = BlockBuilder::new(schema, self.collection);
        for i in (0..self.len()).filter(|i| keep[*i]) {
            kept.push_stored(self.id(i), self.vector(i), self.norm(i));
            kept.set_attributes(self.attributes(i));
            kept.set_payload(self.payload(i));
        }
        kept
    }

    /// The finished block; `None` if there is no row.
    pub(crate) fn finish(mut self) -> Option<UnnumberedBlock> {
        if self.len() == 0 {
            return None;
        }
        let rows = self.len();
        self.vectors.shrink_to_fit();
        if rows > SHRINK_FROM {
            self.norms.shrink_to_fit();
            self.attributes.shrink();
            self.payloads.shrink();
        }
        let mut by_key: Vec<(u64, u32)> = self.keys.iter().enumerate().map(|(i, key)| (*key, i as u32)).collect();
        by_key.sort_unstable();
        Some(UnnumberedBlock(Block {
            first_row: 0,
            stride: self.stride,
            vectors: self.vectors,
            norms: self.norms,
            seqs: Vec::new(),
            ids: self.ids,
            attributes: self.attributes,
            payloads: self.payloads,
            by_key: by_key.into(),
            maybe_dead: new_bits(rows),
            charge: Charge::none(),
        }))
    }
}

/// A block that only lacks the numbers which are given under the commit lock.
pub(crate) struct UnnumberedBlock(Block);

impl UnnumberedBlock {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn id(&self, i: usize) -> IdRef<'_> {
        self.0.id(i)
    }

    /// The stored bytes of one vector, with padding to whole words, and its length under cosine.
    pub(crate) fn stored(&self, i: usize) -> (&[u8], f32) {
        (self.0.vector(i), self.0.norm(i))
    }

    /// Gives the rows their numbers and the batch's sequence number.
    pub(crate) fn number(mut self, first_row: u64, seq: u64) -> Block {
        self.0.first_row = first_row;
        self.0.seqs = vec![seq; self.0.len()];
        self.0
    }
}
