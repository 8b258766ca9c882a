//! Sections: aligned regions of a file, each with a kind, a checksum scheme and a length that follows from its entries.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use zerocopy::little_endian::{U32, U64};

use super::kind::SectionKind;
use super::layout::layout;
use super::unit::UnitShape;
use crate::planted::{self, Bug};

/// A reader that does not know the kind, or its scheme, must refuse the file.
pub const FLAG_REQUIRED: u32 = 1;
/// A job that does not know the kind may rewrite the file without it. With neither flag the file may be read, but must not be
/// rewritten.
pub const FLAG_IGNORABLE: u32 = 2;

/// Smallest alignment of a section.
pub const SMALL_ALIGN: u64 = 64;
/// Alignment of sections of at least this many bytes.
pub const MIDDLE_ALIGN: u64 = 4096;
/// Alignment of sections of at least [`LARGE_BYTES`].
pub const LARGE_ALIGN: u64 = 65_536;
/// Of shorter sections what lies between them would be more than a thirty-second of them.
pub const LARGE_BYTES: u64 = 1 << 20;

layout! {
    /// One entry of the section directory.
    pub struct SectionEntry: 64 {
        kind: U32,
        flags: U32,
        offset: U64,
        length: U64,
        entries: U64,
        width: U32,
        scheme: U32,
        crc: U32,
        reserved: [u8; 20],
    }
}

/// Where the checksums of a section are, and what its length must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Scheme {
    /// Entries of `width` bytes (a multiple of 8); the last four bytes of each are the checksum of the rest.
    Record = 1,
    /// A unit stream of entries of `width` bytes.
    Units = 2,
    /// A unit stream that is an offset column; `width` is 4.
    Offsets = 3,
    /// `entries * width` bytes under the one checksum of the directory entry.
    Whole = 4,
    /// `entries` self-delimiting blocks, each a 16-byte header with its own checksum and a body padded to 8; `width` is 1.
    Blocks = 5,
    /// `entries * width` bytes in pieces whose places and checksums other sections of the file state.
    Pieces = 6,
}

impl Scheme {
    fn from_number(number: u32) -> Option<Self> {
        [Self::Record, Self::Units, Self::Offsets, Self::Whole, Self::Blocks, Self::Pieces]
            .into_iter()
            .find(|scheme| *scheme as u32 == number)
    }
}

/// A section whose place and length are proven.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What it holds.
    pub kind: SectionKind,
    /// `FLAG_REQUIRED`, `FLAG_IGNORABLE`.
    pub flags: u32,
    /// Where it starts in the file.
    pub offset: u64,
    /// Its bytes.
    pub len: u64,
    /// Its entries, at least one.
    pub entries: u64,
    /// Bytes of an entry.
    pub width: u32,
    /// Where its checksums are; `None` for a scheme this build does not know, in a section that need not be read.
    pub scheme: Option<Scheme>,
    /// The checksum under [`Scheme::Whole`], else 0.
    pub crc: u32,
}

impl Section {
    /// The directory entry of this section.
    pub fn encode(&self) -> SectionEntry {
        SectionEntry {
            kind: self.kind.0.into(),
            flags: self.flags.into(),
            offset: self.offset.into(),
            length: self.len.into(),
            entries: self.entries.into(),
            width: self.width.into(),
            scheme: self.scheme.map_or(0, |s| s as u32).into(),
            crc: self.crc.into(),
            reserved: [0; 20],
        }
    }

    /// One past its last byte.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }

    /// Reads a directory entry. `free` is the interval of the file that no section before has taken.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(entry: &SectionEntry, free: std::ops::Range<u64>) -> Result<Section, String> {
        let section = Section {
            kind: SectionKind(entry.kind.get()),
            flags: entry.flags.get(),
            offset: entry.offset.get(),
            len: entry.length.get(),
            entries: entry.entries.get(),
            width: entry.width.get(),
            scheme: Scheme::from_number(entry.scheme.get()),
            crc: entry.crc.get(),
        };
        section.check_place(free)?;
        if section.flags & !(FLAG_REQUIRED | FLAG_IGNORABLE) != 0 || entry.reserved != [0; 20] {
            return Err("unknown flags or reserved bytes are set".into());
        }
        if section.entries == 0 {
            return Err("a section without entries must be absent".into());
        }
        if section.scheme.is_none() && section.flags & FLAG_REQUIRED != 0 {
            return Err(format!("checksum scheme {} is unknown", entry.scheme.get()));
        }
        if section.scheme != Some(Scheme::Whole) && section.crc != 0 {
            return Err("a checksum is given, but the scheme has none there".into());
        }
        section.check_length()?;
        Ok(section)
    }

    fn check_place(&self, free: std::ops::Range<u64>) -> Result<(), String> {
        let end = self.offset.checked_add(self.len).ok_or("it ends past the largest offset")?;
        if self.offset < free.start || end > free.end {
            return Err(format!("it covers {}..{end}, free is {}..{}", self.offset, free.start, free.end));
        }
        match self.offset.is_multiple_of(alignment(self.len)) {
            true => Ok(()),
            false => Err(format!("it starts at {}, not at a multiple of {}", self.offset, alignment(self.len))),
        }
    }

    fn check_length(&self) -> Result<(), String> {
        let width = u64::from(self.width);
        let wanted = match self.scheme {
            Some(Scheme::Record) if self.width >= 8 && self.width.is_multiple_of(8) => self.entries.checked_mul(width),
            Some(Scheme::Whole) if planted::is(Bug::WrappingLength) => Some(self.entries.wrapping_mul(width)),
            Some(Scheme::Whole | Scheme::Pieces) if self.width > 0 => self.entries.checked_mul(width),
            Some(Scheme::Units | Scheme::Offsets) => self.unit_shape().and_then(|shape| shape.section_bytes()),
            Some(Scheme::Blocks) if self.width == 1 && self.len.is_multiple_of(8) => {
                self.entries.checked_mul(24).filter(|least| *least <= self.len).map(|_| self.len)
            }
            Some(_) => None,
            None => Some(self.len),
        };
        match wanted == Some(self.len) {
            true => Ok(()),
            false => Err(format!("{} entries of {} bytes cannot take {} bytes", self.entries, self.width, self.len)),
        }
    }

    /// How the entries lie, for the schemes made of units.
    pub fn unit_shape(&self) -> Option<UnitShape> {
        match self.scheme {
            Some(Scheme::Units) => UnitShape::fixed(self.width as usize, self.entries),
            Some(Scheme::Offsets) if self.width == 4 => Some(UnitShape::offsets(self.entries)),
            _ => None,
        }
    }
}

/// What the offset of a section of `len` bytes must be a multiple of.
pub fn alignment(len: u64) -> u64 {
    match len {
        0..MIDDLE_ALIGN => SMALL_ALIGN,
        MIDDLE_ALIGN..LARGE_BYTES => MIDDLE_ALIGN,
        _ => LARGE_ALIGN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sections_of_a_mebibyte_begin_far_apart() {
        let wanted = [(0, 64), (4_095, 64), (4_096, 4_096), (1_048_575, 4_096), (1_048_576, 65_536), (1 << 40, 65_536)];
        wanted.into_iter().for_each(|(len, multiple)| assert_eq!(alignment(len), multiple, "{len}"));
    }

    /// A product of entries and width that passes 2^64 by exactly the length must not be taken for it.
    fn wrapped_length_is_refused() -> bool {
        let right = Section {
            kind: SectionKind::ID_PAGES,
            flags: FLAG_REQUIRED,
            offset: 4096,
            len: 64,
            entries: 4,
            width: 16,
            scheme: Some(Scheme::Whole),
            crc: 0,
        };
        assert!(Section::decode(&right.encode(), 0..1 << 20).is_ok());
        Section::decode(&Section { entries: 4 + (1 << 60), ..right }.encode(), 0..1 << 20).is_err()
    }

    #[test]
    fn a_length_that_wraps_is_refused_and_the_planted_bug_is_found() {
        assert!(wrapped_length_is_refused());
        assert!(!planted::with(Bug::WrappingLength, wrapped_length_is_refused));
    }
}
