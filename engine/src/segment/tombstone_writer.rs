//! Writing tombstone files.

use std::sync::Arc;

use zerocopy::IntoBytes;

use super::file_writer::{FileWriter, settle};
use super::layout::{MAX_ROWS, PAGE_ROWS, PAGE_SHIFT};
use super::tombstones::{BITMAP_BYTES, BITMAP_FROM, DeadPage, POSITION_BYTES, TombstoneFile};
use crate::error::{Error, Result};
use crate::format::container::FooterFacts;
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::unit_encoder::UnitEncoder;
use crate::storage::{FileId, FileKind, FileName, Storage, StorageFile};

/// Writes the rows that died in the interval `(lo_seq, hi_seq]` into one tombstone file, syncs it, opens it again and checks every
/// byte. `rows` is sorted and distinct. The name is durable only after a `sync_dir` by the caller.
///
/// # Errors
/// `InvalidArgument` if there are no rows, too many, or out of order; otherwise what the storage says. A file that was begun is
/// removed, as far as possible.
pub(crate) fn write_tombstones(
    storage: &dyn Storage,
    id: FileId,
    collection: u128,
    origin: u128,
    rows: &[u64],
    lo_seq: u64,
    hi_seq: u64,
) -> Result<FileFacts> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Err(Error::argument("rows", "are none; a tombstone file has at least one"));
    };
    if rows.len() as u64 > MAX_ROWS || rows.windows(2).any(|pair| matches!(pair, [a, b] if a >= b)) || lo_seq > hi_seq {
        return Err(Error::argument("rows", "are too many or not ascending, or their interval ends before it starts"));
    }
    let footer = FooterFacts {
        rows: rows.len() as u64,
        first_row: *first,
        last_row: *last,
        min_seq: lo_seq,
        max_seq: hi_seq,
        origin,
        parameters: [0; 4],
    };
    let name = FileName::File(FileKind::Tombstone, id);
    let writer = FileWriter::create(storage, name, ContainerKind::Tombstones, collection)?;
    settle(storage, name, write(writer, rows, &footer), |facts| {
        let file = TombstoneFile::open(storage, id, collection, origin, facts)?;
        let mut first = None;
        file.verify(&mut |error| {
            first.get_or_insert(error);
        });
        first.map_or(Ok(*facts), Err)
    })
}

fn write(mut file: FileWriter, rows: &[u64], footer: &FooterFacts) -> Result<(FileFacts, Arc<dyn StorageFile>)> {
    let (mut positions, mut bitmaps) = (0u64, 0u64);
    let pages: Vec<DeadPage> = pages_of(rows)
        .map(|page| {
            let is_array = (page.len() as u64) < BITMAP_FROM;
            let place = if is_array { positions } else { bitmaps };
            match is_array {
                true => positions += page.len() as u64,
                false => bitmaps += 1,
            }
            let number = page.first().map_or(0, |row| row >> PAGE_SHIFT);
            DeadPage { page: number.into(), dead_count: (page.len() as u32).into(), place: (place as u32).into() }
        })
        .collect();
    file.whole(SectionKind::DEAD_PAGES, size_of::<DeadPage>(), pages.as_bytes())?;
    if positions > 0 {
        let arrays = pages_of(rows).filter(|page| (page.len() as u64) < BITMAP_FROM);
        let positions_of = |row: &u64| ((row & (PAGE_ROWS - 1)) as u16).to_le_bytes();
        let bytes = arrays.flatten().flat_map(positions_of);
        write_units(&mut file, SectionKind::DEAD_ARRAYS, POSITION_BYTES, positions, bytes)?;
    }
    if bitmaps > 0 {
        let dense = pages_of(rows).filter(|page| (page.len() as u64) >= BITMAP_FROM);
        write_units(&mut file, SectionKind::DEAD_BITMAPS, BITMAP_BYTES, bitmaps, dense.flat_map(bitmap_of))?;
    }
    file.finish(footer)
}

/// The rows of each page that has any.
fn pages_of(rows: &[u64]) -> impl Iterator<Item = &[u64]> {
    rows.chunk_by(|a, b| a >> PAGE_SHIFT == b >> PAGE_SHIFT)
}

fn bitmap_of(page: &[u64]) -> [u8; BITMAP_BYTES] {
    let mut bits = [0u8; BITMAP_BYTES];
    for row in page {
        let at = (row & (PAGE_ROWS - 1)) as usize;
        if let Some(byte) = bits.get_mut(at / 8) {
            *byte |= 1 << (at % 8);
        }
    }
    bits
}

fn write_units(
    file: &mut FileWriter,
    kind: SectionKind,
    width: usize,
    entries: u64,
    bytes: impl Iterator<Item = u8>,
) -> Result<()> {
    let mut section = file.units(kind, width, entries)?;
    file.extend()?;
    let mut units = UnitEncoder::fixed(file.file_seed(), section.offset(), width);
    for byte in bytes {
        units.push(&[byte], section.buffer());
        section.spill()?;
    }
    units.finish(section.buffer());
    section.finish()
}
