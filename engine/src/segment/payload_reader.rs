//! Payloads of an open row file.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use zerocopy::FromBytes;

use super::blob::verify_offsets;
use super::mapped_file::{BLOCK_HEADER_BYTES, MappedFile};
use super::payload_writer::{BlockEntry, BlockHeader, CODEC_LZ4, CODEC_RAW, MAX_RATIO};
use super::unit_section::UnitSection;
use crate::error::{Error, Result};
use crate::format::kind::SectionKind;
use crate::format::section::{Scheme, Section};
use crate::options::MAX_PAYLOAD_BYTES;

/// One payload per row, in blocks.
pub(super) struct PayloadColumn {
    file: Arc<MappedFile>,
    offsets: UnitSection,
    table: Table,
    blocks: Section,
    /// The block unpacked last: rows are often read in order.
    last: Mutex<Option<(u64, Arc<Unpacked>)>>,
}

/// Where the blocks start.
enum Table {
    Stored(UnitSection),
    /// Of a damaged file: the blocks that follow each other from the first on.
    Walked(Vec<BlockEntry>),
}

/// A block, decoded.
struct Unpacked {
    entry: BlockEntry,
    raw: Vec<u8>,
}

impl PayloadColumn {
    /// The payloads, `None` if the file has none.
    pub(super) fn open(file: &Arc<MappedFile>, rows: u64) -> Result<Option<PayloadColumn>> {
        let Some(offsets) = file.section(SectionKind::ROW_PAYLOAD_OFFSETS, Scheme::Offsets, 4)? else {
            return file.forbid(&[SectionKind::ROW_PAYLOAD_BLOCKS, SectionKind::ROW_PAYLOAD_TABLE]).map(|()| None);
        };
        file.check_entries(&offsets, rows)?;
        let blocks = file
            .section(SectionKind::ROW_PAYLOAD_BLOCKS, Scheme::Blocks, 1)?
            .ok_or_else(|| file.container().missing(SectionKind::ROW_PAYLOAD_BLOCKS))?;
        let table =
            file.require(SectionKind::ROW_PAYLOAD_TABLE, Scheme::Units, size_of::<BlockEntry>(), blocks.entries)?;
        let (offsets, table) = (UnitSection::new(file, offsets)?, Table::Stored(UnitSection::new(file, table)?));
        Ok(Some(PayloadColumn { file: file.clone(), offsets, table, blocks, last: Mutex::new(None) }))
    }

    /// The payloads of a damaged file, `None` if it has none: by the blocks themselves where the table is not whole.
    pub(super) fn salvage(file: &Arc<MappedFile>, rows: u64) -> Result<Option<PayloadColumn>> {
        let kinds = (SectionKind::ROW_PAYLOAD_OFFSETS, SectionKind::ROW_PAYLOAD_BLOCKS);
        let Some(offsets) = file.section(kinds.0, Scheme::Offsets, 4)? else { return PayloadColumn::open(file, rows) };
        file.check_entries(&offsets, rows)?;
        let blocks = file.section(kinds.1, Scheme::Blocks, 1)?.ok_or_else(|| file.container().missing(kinds.1))?;
        if let Ok(Some(mut column)) = PayloadColumn::open(file, rows) {
            column.find_blocks();
            return Ok(Some(column));
        }
        let table = Table::Walked(walk(file, &blocks, u64::MAX).0);
        let offsets = UnitSection::new(file, offsets)?;
        Ok(Some(PayloadColumn { file: file.clone(), offsets, table, blocks, last: Mutex::new(None) }))
    }

    /// Goes by the blocks themselves if the table is damaged.
    pub(super) fn find_blocks(&mut self) {
        if (0..self.entries()).any(|block| self.entry(block).is_err()) {
            self.table = Table::Walked(walk(&self.file, &self.blocks, u64::MAX).0);
        }
    }

    fn entries(&self) -> u64 {
        match &self.table {
            Table::Stored(table) => table.entries(),
            Table::Walked(entries) => entries.len() as u64,
        }
    }

    fn corrupt(&self, block: u64, what: &str) -> Error {
        match &self.table {
            Table::Stored(table) => table.corrupt(block, what),
            Table::Walked(_) => self.file.container().corrupt_section(&self.blocks, format!("block {block}: {what}")),
        }
    }

    /// As [`UnitSection::set_proven`]. Blocks are checked whenever they are unpacked.
    pub(super) fn set_proven(&self) {
        self.offsets.set_proven();
        if let Table::Stored(table) = &self.table {
            table.set_proven();
        }
    }

    /// The payload of one row; empty if it has none.
    pub(super) fn get(&self, row: u64) -> Result<Vec<u8>> {
        let range = self.offsets.offsets(row)?;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        if range.end - range.start > MAX_PAYLOAD_BYTES as u64 {
            return Err(self.offsets.corrupt(row, format!("the payload of row {row} is longer than the cap")));
        }
        let block = self.recent_block(self.block_of(range.start)?)?;
        let inside = |at: u64| at.checked_sub(block.entry.raw_start.get()).and_then(|at| usize::try_from(at).ok());
        let slice = match (inside(range.start), inside(range.end)) {
            (Some(start), Some(end)) => block.raw.get(start..end),
            _ => None,
        };
        slice
            .map(<[u8]>::to_vec)
            .ok_or_else(|| self.offsets.corrupt(row, format!("the payload of row {row} leaves its block")))
    }

    /// A block, from memory if it was the last; a reader never waits for another.
    fn recent_block(&self, index: u64) -> Result<Arc<Unpacked>> {
        if let Some(last) = self.last.try_lock()
            && let Some((block, unpacked)) = &*last
            && *block == index
        {
            return Ok(unpacked.clone());
        }
        let unpacked = Arc::new(self.block(index)?);
        if let Some(mut last) = self.last.try_lock() {
            *last = Some((index, unpacked.clone()));
        }
        Ok(unpacked)
    }

    /// The block that holds a place among the payloads.
    fn block_of(&self, at: u64) -> Result<u64> {
        let (mut low, mut high) = (0, self.entries());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)?.raw_start.get() <= at {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1).ok_or_else(|| self.corrupt(0, "no block holds the first payload"))
    }

    fn entry(&self, block: u64) -> Result<BlockEntry> {
        let table = match &self.table {
            Table::Stored(table) => table,
            Table::Walked(entries) => {
                let entry = usize::try_from(block).ok().and_then(|block| entries.get(block));
                return entry.copied().ok_or_else(|| self.corrupt(block, "it cannot be found"));
            }
        };
        let bytes = table.entry(block)?;
        BlockEntry::read_from_bytes(&bytes).map_err(|_| self.corrupt(block, "an entry of the table is cut"))
    }

    /// A block, decoded: never longer than [`MAX_PAYLOAD_BYTES`], never more than [`MAX_RATIO`] times what is stored.
    fn block(&self, index: u64) -> Result<Unpacked> {
        let entry = self.entry(index)?;
        let block = self.file.check_block(&self.blocks, entry.stored_start.get())?;
        let corrupt =
            |what: &str| self.file.container().corrupt_section(&self.blocks, format!("payload block {index}: {what}"));
        let (header, body) = BlockHeader::read_from_prefix(&block).map_err(|_| corrupt("it has no header"))?;
        let (raw_len, stored_len) = (header.raw_len.get() as usize, header.stored_len.get() as usize);
        let body = body.get(..stored_len).ok_or_else(|| corrupt("its body is cut"))?;
        let lengths_fit = match header.codec.get() {
            CODEC_RAW => raw_len == stored_len,
            CODEC_LZ4 => stored_len < raw_len && raw_len <= stored_len.saturating_mul(MAX_RATIO),
            _ => return Err(corrupt("its codec is unknown")),
        };
        if !lengths_fit || raw_len == 0 || raw_len > MAX_PAYLOAD_BYTES {
            return Err(corrupt("its lengths do not fit its codec"));
        }
        if header.codec.get() == CODEC_RAW {
            return Ok(Unpacked { entry, raw: body.to_vec() });
        }
        let mut raw = vec![0; raw_len];
        match lz4_flex::block::decompress_into(body, &mut raw) {
            Ok(len) if len == raw_len => Ok(Unpacked { entry, raw }),
            Ok(len) => Err(corrupt(&format!("it unpacks to {len} bytes, not {raw_len}"))),
            Err(problem) => Err(corrupt(&format!("it does not unpack: {problem}"))),
        }
    }

    /// Checks that the blocks follow each other, unpack, hold all payloads, and that no payload straddles two.
    pub(super) fn verify(&self, report: &mut dyn FnMut(Error)) {
        let mut raw_end = 0;
        let mut stored_end = 0;
        let mut ends = Vec::new();
        for index in 0..self.entries() {
            match self.block(index) {
                Ok(Unpacked { entry, raw })
                    if (entry.raw_start.get(), entry.stored_start.get()) == (raw_end, stored_end) =>
                {
                    raw_end += raw.len() as u64;
                    stored_end += self
                        .file
                        .check_block(&self.blocks, entry.stored_start.get())
                        .map_or(BLOCK_HEADER_BYTES, |block| block.len()) as u64;
                    ends.push(raw_end);
                }
                Ok(_) => return report(self.corrupt(index, "a block does not follow the one before")),
                Err(error) => return report(error),
            }
        }
        verify_offsets(&self.offsets, raw_end, report);
        for row in 0..self.offsets.entries() {
            if let Ok(range) = self.offsets.offsets(row)
                && straddles(&ends, range)
            {
                report(self.offsets.corrupt(row, format!("the payload of row {row} straddles two blocks")));
            }
        }
    }
}

/// The blocks from the first on, as far as each is whole or until they hold `raw` bytes; and their raw and stored bytes.
pub(super) fn walk(file: &MappedFile, blocks: &Section, raw: u64) -> (Vec<BlockEntry>, u64, u64) {
    let (mut entries, mut raw_start, mut stored_start) = (Vec::new(), 0u64, 0u64);
    while raw_start < raw
        && let Ok(block) = file.check_block(blocks, stored_start)
        && let Ok((header, _)) = BlockHeader::read_from_prefix(&block)
        && header.raw_len.get() > 0
    {
        entries.push(BlockEntry { raw_start: raw_start.into(), stored_start: stored_start.into() });
        raw_start = raw_start.saturating_add(header.raw_len.get().into());
        stored_start = stored_start.saturating_add(block.len() as u64);
    }
    (entries, raw_start, stored_start)
}

fn straddles(ends: &[u64], range: Range<u64>) -> bool {
    let block = ends.partition_point(|end| *end <= range.start);
    !range.is_empty() && ends.get(block).is_none_or(|end| *end < range.end)
}
