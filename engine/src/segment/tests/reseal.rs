//! The enemy's tool: makes every checksum of a file right again, whatever its content.

use zerocopy::{FromBytes, IntoBytes};

use crate::format::checksum::{crc32, file_seed, unit_crc, unit_seed};
use crate::format::container::{FOOTER_BYTES, Footer, HEADER_BYTES};
use crate::format::facts::FileFacts;
use crate::format::section::{Scheme, Section, SectionEntry};
use crate::format::unit::UNIT_BYTES;

/// Seals everything that can be reached, under the file id that the header names, and states the facts that the footer names.
pub(super) fn reseal(bytes: &mut [u8]) -> FileFacts {
    let seed = file_seed(u128::from_le_bytes(bytes[24..40].try_into().unwrap()));
    let header_crc = unit_crc(seed, 0, &bytes[..60]);
    bytes[60..64].copy_from_slice(&header_crc.to_le_bytes());
    let footer_at = bytes.len() - FOOTER_BYTES;
    let footer = Footer::read_from_bytes(&bytes[footer_at..]).unwrap();
    let directory = footer.directory_offset.get().min(footer_at as u64) as usize;
    let count = (footer_at - directory) / 64;
    for i in 0..count {
        let at = directory + i * 64;
        let mut entry = SectionEntry::read_from_bytes(&bytes[at..at + 64]).unwrap();
        if let Ok(section) = Section::decode(&entry, HEADER_BYTES as u64..directory as u64) {
            entry.crc = seal_section(bytes, seed, &section).into();
            bytes[at..at + 64].copy_from_slice(entry.as_bytes());
        }
    }
    let start = crc32(unit_seed(seed, footer.directory_offset.get()), &bytes[..HEADER_BYTES]);
    let start = crc32(start, &bytes[directory..footer_at]);
    let root = crc32(start, &bytes[footer_at..footer_at + FOOTER_BYTES - 4]);
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&root.to_le_bytes());
    FileFacts {
        len: end as u64,
        root,
        rows: footer.rows.get(),
        first_row: footer.first_row.get(),
        last_row: footer.last_row.get(),
        min_seq: footer.min_seq.get(),
        max_seq: footer.max_seq.get(),
    }
}

/// Seals what is inside a section; returns the checksum for its directory entry.
fn seal_section(bytes: &mut [u8], seed: u32, section: &Section) -> u32 {
    let (start, end) = (section.offset as usize, section.end() as usize);
    match section.scheme {
        Some(Scheme::Whole) => return unit_crc(seed, section.offset, &bytes[start..end]),
        Some(Scheme::Record) => seal_pieces(&mut bytes[start..end], section.width as usize, seed, section.offset),
        Some(Scheme::Units | Scheme::Offsets) => seal_pieces(&mut bytes[start..end], UNIT_BYTES, seed, section.offset),
        Some(Scheme::Blocks) => seal_blocks(&mut bytes[start..end], seed, section.offset),
        Some(Scheme::Pieces) | None => {}
    }
    0
}

/// Pieces whose last four bytes are the checksum of the rest.
fn seal_pieces(bytes: &mut [u8], width: usize, seed: u32, offset: u64) {
    for (i, piece) in bytes.chunks_mut(width).enumerate() {
        if let Some((covered, crc)) = piece.split_last_chunk_mut::<4>() {
            *crc = unit_crc(seed, offset + (i * width) as u64, covered).to_le_bytes();
        }
    }
}

fn seal_blocks(bytes: &mut [u8], seed: u32, offset: u64) {
    let mut at = 0;
    while at + 16 <= bytes.len() {
        let stored = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        let end = (at + 16 + stored.next_multiple_of(8)).min(bytes.len());
        let crc = crc32(crc32(unit_seed(seed, offset + at as u64), &bytes[at..at + 12]), &bytes[at + 16..end]);
        bytes[at + 12..at + 16].copy_from_slice(&crc.to_le_bytes());
        at = end;
    }
}
