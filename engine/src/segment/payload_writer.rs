//! Payloads on their way into blocks.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

use crate::format::checksum::{crc32, unit_seed};
use crate::format::layout::layout;

/// Raw bytes at which a block is closed; a payload never straddles blocks, so a longer one gets its own.
pub(super) const BLOCK_TARGET_BYTES: usize = 16 << 10;
/// A block that would shrink by more is stored as it is, so that no file expands by more when it is read.
pub(super) const MAX_RATIO: usize = 64;
/// The body is the payloads.
pub(super) const CODEC_RAW: u32 = 0;
/// The body is one LZ4 block (no frame, no dictionary).
pub(super) const CODEC_LZ4: u32 = 1;

layout! {
    /// In front of the body of a payload block.
    pub(super) struct BlockHeader: 16 {
        raw_len: U32,
        stored_len: U32,
        codec: U32,
        crc: U32,
    }
}

layout! {
    /// Where a payload block starts: among the payloads of the file, and in its section.
    pub(super) struct BlockEntry: 16 {
        raw_start: U64,
        stored_start: U64,
    }
}

/// At least as many bytes as the blocks of payloads of `raw` bytes take: two neighbours hold more than the target together.
pub(super) fn most_block_bytes(raw: u64) -> u64 {
    raw + (2 * raw / BLOCK_TARGET_BYTES as u64 + 2) * 24
}

/// Gathers payloads into blocks.
pub(super) struct PayloadEncoder {
    file_seed: u32,
    /// Where the section starts in the file.
    section: u64,
    stored: u64,
    raw_start: u64,
    raw: Vec<u8>,
    table: Vec<BlockEntry>,
}

impl PayloadEncoder {
    pub(super) fn new(file_seed: u32, section: u64) -> Self {
        PayloadEncoder { file_seed, section, stored: 0, raw_start: 0, raw: Vec::new(), table: Vec::new() }
    }

    /// Appends the payload of the next row; closed blocks go to `out`.
    pub(super) fn push(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if !self.raw.is_empty() && self.raw.len() + payload.len() > BLOCK_TARGET_BYTES {
            self.close(out);
        }
        self.raw.extend_from_slice(payload);
    }

    /// Closes the last block and returns where all of them start.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> Vec<BlockEntry> {
        if !self.raw.is_empty() {
            self.close(out);
        }
        self.table
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let packed = lz4_flex::block::compress(&self.raw);
        let shrinks = packed.len() < self.raw.len() && self.raw.len() <= MAX_RATIO * packed.len();
        let (codec, body) = if shrinks { (CODEC_LZ4, &packed) } else { (CODEC_RAW, &self.raw) };
        let mut header = BlockHeader {
            raw_len: (self.raw.len() as u32).into(),
            stored_len: (body.len() as u32).into(),
            codec: codec.into(),
            crc: 0.into(),
        };
        let covered = header.as_bytes().get(..12).unwrap_or_default();
        let padding = [0u8; 8].get(..body.len().next_multiple_of(8) - body.len()).unwrap_or_default().to_vec();
        let start = crc32(unit_seed(self.file_seed, self.section + self.stored), covered);
        header.crc = crc32(crc32(start, body), &padding).into();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(body);
        out.extend_from_slice(&padding);
        self.table.push(BlockEntry { raw_start: self.raw_start.into(), stored_start: self.stored.into() });
        self.stored += (header.as_bytes().len() + body.len() + padding.len()) as u64;
        self.raw_start += self.raw.len() as u64;
        self.raw.clear();
    }
}
