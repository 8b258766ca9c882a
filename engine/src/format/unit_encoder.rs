//! Writing unit streams: entries in, sealed units out.

use super::checksum::{crc32, unit_seed};
use super::unit::{OFFSET_BASE_BYTES, OFFSET_BYTES, OFFSETS_PER_UNIT, UNIT_BYTES, UNIT_PAYLOAD_BYTES};

/// Fills one unit at a time and hands it out when it is full. Memory: one unit.
pub struct UnitEncoder {
    file_seed: u32,
    offset: u64,
    capacity: usize,
    payload: Vec<u8>,
}

impl UnitEncoder {
    /// For a section of entries of `width` bytes (1..=4088) that starts at `offset` of its file.
    pub fn fixed(file_seed: u32, offset: u64, width: usize) -> Self {
        let capacity = UNIT_PAYLOAD_BYTES - UNIT_PAYLOAD_BYTES.checked_rem(width).unwrap_or(0);
        UnitEncoder { file_seed, offset, capacity, payload: Vec::with_capacity(UNIT_BYTES) }
    }

    /// Appends whole entries (any number of bytes for a stream of width 1); sealed units go to `out`.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if self.payload.len() == self.capacity {
                self.seal(UNIT_PAYLOAD_BYTES, out);
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.capacity - self.payload.len()));
            self.payload.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Seals the last unit.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if !self.payload.is_empty() {
            self.seal(self.payload.len().next_multiple_of(8), out);
        }
    }

    fn seal(&mut self, padded: usize, out: &mut Vec<u8>) {
        let used = self.payload.len() as u32;
        self.payload.resize(padded, 0);
        self.payload.extend_from_slice(&used.to_le_bytes());
        let crc = crc32(unit_seed(self.file_seed, self.offset), &self.payload);
        self.payload.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&self.payload);
        self.offset += self.payload.len() as u64;
        self.payload.clear();
    }
}

/// Writes an offset column from the lengths of the things it points at.
pub struct OffsetEncoder {
    units: UnitEncoder,
    base: u64,
    total: u64,
    in_unit: usize,
}

impl OffsetEncoder {
    /// For a section that starts at `offset` of its file.
    pub fn new(file_seed: u32, offset: u64) -> Self {
        let mut units = UnitEncoder::fixed(file_seed, offset, 1);
        units.capacity = OFFSET_BASE_BYTES + OFFSETS_PER_UNIT * OFFSET_BYTES;
        OffsetEncoder { units, base: 0, total: 0, in_unit: 0 }
    }

    /// Appends the next thing, `len` bytes long. 1,020 lengths in a row may not pass 4 GiB, which the caps on rows exclude.
    pub fn push(&mut self, len: usize, out: &mut Vec<u8>) {
        if self.in_unit == OFFSETS_PER_UNIT {
            self.in_unit = 0;
        }
        if self.in_unit == 0 {
            self.base = self.total;
            self.units.push(&self.base.to_le_bytes(), out);
        }
        self.total += len as u64;
        let end = (self.total - self.base) as u32;
        self.units.push(&end.to_le_bytes(), out);
        self.in_unit += 1;
    }

    /// Seals the last unit.
    pub fn finish(self, out: &mut Vec<u8>) {
        self.units.finish(out);
    }
}
