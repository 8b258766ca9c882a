//! Rows become entries of lists.

use super::centroids::CentroidSet;
use super::frame::Frame;
use crate::kernel::Kernels;
use crate::kernel::code::extra::append_record;
use crate::kernel::code::residual::{Coded, Coding, SignFactors};
use crate::kernel::code::sign_block::{
    BLOCK, FACTOR_BYTES, block_bytes, put_factors, put_signs, take_factors, take_signs,
};

/// The entries of one list, laid out as a segment keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EncodedList {
    padded: usize,
    /// Entries that are the first copy of their row; they stand before the others.
    pub(crate) primary: usize,
    /// The row of each entry.
    pub(crate) rows: Vec<u64>,
    /// Sign blocks; lanes behind the last entry are zeros.
    pub(crate) signs: Vec<u8>,
    /// First-stage factors of the blocks.
    pub(crate) factors: Vec<u8>,
    /// Second-stage records, end to end.
    pub(crate) records: Vec<u8>,
}

impl EncodedList {
    /// No entries, of `padded` components.
    pub(crate) fn new(padded: usize) -> EncodedList {
        EncodedList { padded, ..EncodedList::default() }
    }

    /// Forgets the entries, keeps the room.
    pub(crate) fn clear(&mut self) {
        self.primary = 0;
        self.rows.clear();
        self.signs.clear();
        self.factors.clear();
        self.records.clear();
    }

    /// Appends an entry without its record, which the caller appends to `records`.
    pub(crate) fn push(&mut self, row: u64, signs: &[u8], factors: SignFactors) {
        let lane = self.rows.len() % BLOCK;
        if lane == 0 {
            self.signs.resize(self.signs.len() + block_bytes(self.padded), 0);
            self.factors.resize(self.factors.len() + FACTOR_BYTES, 0);
        }
        self.rows.push(row);
        let start = self.signs.len().saturating_sub(block_bytes(self.padded));
        put_signs(self.signs.get_mut(start..).unwrap_or_default(), lane, signs);
        if let Some(block) = self.factors.last_chunk_mut::<FACTOR_BYTES>() {
            put_factors(block, lane, factors);
        }
    }
}

/// Reads an entry of a list back: its signs and first-stage factors. `None` if there is no such entry.
pub(crate) fn take_entry(
    padded: usize,
    signs: &[u8],
    factors: &[u8],
    position: usize,
    out: &mut Vec<u8>,
) -> Option<SignFactors> {
    let (block, lane) = (position / BLOCK, position % BLOCK);
    let bytes = block_bytes(padded);
    take_signs(signs.get(block.checked_mul(bytes)?..)?.get(..bytes)?, lane, out);
    Some(take_factors(factors.as_chunks::<FACTOR_BYTES>().0.get(block)?, lane))
}

/// Codes rows of one list after the other. One for each thread.
pub(crate) struct EntryEncoder<'a> {
    kernels: &'static Kernels,
    frame: &'a Frame,
    centroids: CentroidSet<'a>,
    coding: Coding,
    centroid: Vec<f32>,
    inside: Vec<f32>,
    coded: Coded,
}

impl<'a> EntryEncoder<'a> {
    /// Codes of `bits` bits per component, 1 to 8.
    pub(crate) fn new(kernels: &'static Kernels, frame: &'a Frame, centroids: CentroidSet<'a>, bits: usize) -> Self {
        let coding = Coding { bits, op: frame.op(), scale: frame.scale() };
        let (centroid, inside, coded) = (Vec::new(), Vec::new(), Coded::default());
        EntryEncoder { kernels, frame, centroids, coding, centroid, inside, coded }
    }

    /// What comes next belongs to `list`.
    pub(crate) fn begin(&mut self, list: usize) {
        self.centroids.centroid(list, self.frame.padded(), &mut self.centroid);
    }

    /// Appends a row. Under cosine `length` is that of the vector.
    pub(crate) fn push(&mut self, row: u64, vector: &[f32], length: f32, out: &mut EncodedList) {
        self.frame.enter(self.kernels, vector, length, &mut self.inside);
        self.kernels.encode(&self.coding, &self.inside, &self.centroid, 0.0, &mut self.coded);
        out.push(row, &self.coded.signs, self.coded.sign_factors);
        if self.coding.bits > 1 {
            append_record(&self.coded, self.coding.extra_bits(), &mut out.records);
        }
    }
}
