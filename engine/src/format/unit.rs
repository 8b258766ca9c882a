//! Unit streams: sections made of 4,096-byte units, each with its own checksum, proven when first touched.
//!
//! A unit is up to 4,088 payload bytes and a trailer {used, crc}. Entries of a fixed width never straddle units; a byte stream is
//! the case of width 1. An offset column puts the start of its first entry in front of each unit (see
//! [`UnitShape::offsets`]). The last unit is cut to its used bytes, rounded up to 8.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use zerocopy::little_endian::U32;

use super::checksum::{crc32, matches, unit_seed};
use super::layout::layout;
use super::proven::ProvenBits;
use crate::error::{Error, Result};

/// Bytes of a whole unit.
pub const UNIT_BYTES: usize = 4096;
/// Bytes of [`UnitTrailer`].
pub const TRAILER_BYTES: usize = size_of::<UnitTrailer>();
/// Most payload bytes of a unit.
pub const UNIT_PAYLOAD_BYTES: usize = UNIT_BYTES - TRAILER_BYTES;
/// Entries of an offset column in a whole unit.
pub const OFFSETS_PER_UNIT: usize = (UNIT_PAYLOAD_BYTES - OFFSET_BASE_BYTES) / OFFSET_BYTES;
/// Bytes of the base in front of the entries of an offset column.
pub const OFFSET_BASE_BYTES: usize = 8;
/// Bytes of one entry of an offset column.
pub const OFFSET_BYTES: usize = 4;

layout! {
    /// Behind the payload of a unit.
    pub struct UnitTrailer: 8 {
        used: U32,
        crc: U32,
    }
}

/// How the entries of a section lie in its units. Everything else about the section's layout follows from this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitShape {
    prefix: usize,
    width: usize,
    per_unit: u64,
    entries: u64,
}

impl UnitShape {
    /// Entries of `width` bytes; `None` unless `width` is 1..=4088.
    pub fn fixed(width: usize, entries: u64) -> Option<Self> {
        let per_unit = UNIT_PAYLOAD_BYTES.checked_div(width).filter(|n| *n > 0)?;
        Some(UnitShape { prefix: 0, width, per_unit: per_unit as u64, entries })
    }

    /// An offset column: each unit is a u64 base and up to 1,020 u32 ends. Entry `i` covers `base + end of the entry before it in
    /// the unit (0 for the first) .. base + its own end`.
    pub fn offsets(entries: u64) -> Self {
        UnitShape { prefix: OFFSET_BASE_BYTES, width: OFFSET_BYTES, per_unit: OFFSETS_PER_UNIT as u64, entries }
    }

    /// Number of units.
    pub fn units(&self) -> u64 {
        self.entries.div_ceil(self.per_unit)
    }

    /// Entries in a whole unit.
    pub fn per_unit(&self) -> u64 {
        self.per_unit
    }

    /// Bytes of the section; `None` if they do not fit into a u64.
    pub fn section_bytes(&self) -> Option<u64> {
        let Some(last) = self.units().checked_sub(1) else { return Some(0) };
        let tail = (self.used(last).next_multiple_of(8) as u64).checked_add(TRAILER_BYTES as u64)?;
        last.checked_mul(UNIT_BYTES as u64)?.checked_add(tail)
    }

    /// Payload bytes of one unit.
    pub fn used(&self, unit: u64) -> usize {
        let before = unit.saturating_mul(self.per_unit);
        let here = self.entries.saturating_sub(before).min(self.per_unit) as usize;
        // per_unit * width + prefix is at most UNIT_PAYLOAD_BYTES by construction.
        self.prefix + here * self.width
    }

    /// Where one unit lies in the section.
    fn range(&self, unit: u64) -> Option<Range<usize>> {
        let start = usize::try_from(unit.checked_mul(UNIT_BYTES as u64)?).ok()?;
        let padded = match unit.checked_add(1)? == self.units() {
            true => self.used(unit).next_multiple_of(8),
            false => UNIT_PAYLOAD_BYTES,
        };
        Some(start..start.checked_add(padded)?.checked_add(TRAILER_BYTES)?)
    }
}

/// The readable units of one section, and which of them are proven. Holds no bytes: each call is given the section's.
pub struct UnitStream {
    shape: UnitShape,
    file: Arc<str>,
    section: &'static str,
    file_seed: u32,
    offset: u64,
    proven: ProvenBits,
}

impl UnitStream {
    /// A section at `offset` of `file`, nothing proven yet. The caller has checked that the section has
    /// `shape.section_bytes()` bytes inside the file.
    pub fn new(shape: UnitShape, file: Arc<str>, section: &'static str, file_seed: u32, offset: u64) -> Self {
        let proven = ProvenBits::new(shape.units() as usize);
        UnitStream { shape, file, section, file_seed, offset, proven }
    }

    /// How the entries lie.
    pub fn shape(&self) -> &UnitShape {
        &self.shape
    }

    /// Takes all units as proven: for a caller that has just checked each of them in these bytes.
    pub fn set_proven(&self) {
        self.proven.set_all();
    }

    /// How many units were proven so far.
    #[cfg(test)]
    pub fn proven_units(&self) -> usize {
        (0..self.shape.units() as usize).filter(|unit| self.proven.has(*unit)).count()
    }

    /// Says that content of this section is wrong, `at` bytes from its start.
    pub fn corrupt(&self, at: u64, what: impl Into<String>) -> Error {
        Error::corrupt(&self.file, self.section, self.offset.saturating_add(at), what)
    }

    /// The payload of a unit, proven.
    ///
    /// # Errors
    /// `Corrupt` if the unit does not exist or fails its check.
    pub fn unit<'a>(&self, bytes: &'a [u8], unit: u64) -> Result<&'a [u8]> {
        if !self.proven.has(unit as usize) {
            self.check_unit(bytes, unit)?;
            self.proven.set(unit as usize);
        }
        match self.shape.range(unit).and_then(|range| bytes.get(range)) {
            Some(whole) => Ok(whole.get(..self.shape.used(unit)).unwrap_or_default()),
            None => Err(self.no_unit(unit)),
        }
    }

    /// Checks a unit whether or not it was proven before.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn check_unit(&self, bytes: &[u8], unit: u64) -> Result<()> {
        if unit >= self.shape.units() {
            return Err(self.no_unit(unit));
        }
        let range = self.shape.range(unit).ok_or_else(|| self.no_unit(unit))?;
        let whole = bytes.get(range).ok_or_else(|| self.no_unit(unit))?;
        self.check_alone(whole, unit)
    }

    /// Where a unit lies in the section, trailer included.
    ///
    /// # Errors
    /// `Corrupt` if there is no such unit.
    pub fn place(&self, unit: u64) -> Result<Range<u64>> {
        let range = self.shape.range(unit).filter(|_| unit < self.shape.units());
        range.map(|range| range.start as u64..range.end as u64).ok_or_else(|| self.no_unit(unit))
    }

    /// Checks a unit, given its bytes and nothing else.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn check_alone(&self, whole: &[u8], unit: u64) -> Result<()> {
        let at = unit.saturating_mul(UNIT_BYTES as u64);
        let used = self.shape.used(unit);
        let start = unit_seed(self.file_seed, self.offset.saturating_add(at));
        let (covered, stored) = split_u32(whole).ok_or_else(|| self.no_unit(unit))?;
        let found = crc32(start, covered);
        if !matches(found, stored) {
            return Err(self.corrupt(at, format!("checksum of the unit is {found:08x}, stored is {stored:08x}")));
        }
        let (payload, stored_used) = split_u32(covered).ok_or_else(|| self.no_unit(unit))?;
        if stored_used as usize != used {
            return Err(self.corrupt(at, format!("the unit says it uses {stored_used} bytes, its place needs {used}")));
        }
        if payload.get(used..).is_none_or(|padding| padding.iter().any(|b| *b != 0)) {
            return Err(self.corrupt(at, "padding of the unit is not zero"));
        }
        Ok(())
    }

    /// One entry of a fixed-width section.
    ///
    /// # Errors
    /// `Corrupt` if there is no such entry or its unit fails its check.
    pub fn entry<'a>(&self, bytes: &'a [u8], index: u64) -> Result<&'a [u8]> {
        let (unit, range) = self.entry_place(index)?;
        self.unit(bytes, unit)?.get(range).ok_or_else(|| self.no_unit(unit))
    }

    /// The unit of an entry, and where in its payload the entry is.
    ///
    /// # Errors
    /// `Corrupt` if there is no such entry.
    pub fn entry_place(&self, index: u64) -> Result<(u64, Range<usize>)> {
        if index >= self.shape.entries {
            return Err(self.corrupt(0, format!("entry {index} of {} was asked for", self.shape.entries)));
        }
        let start = self.shape.prefix + (index % self.shape.per_unit) as usize * self.shape.width;
        Ok((index / self.shape.per_unit, start..start + self.shape.width))
    }

    /// A range of a byte stream; copied only if it crosses units.
    ///
    /// # Errors
    /// `Corrupt` if the range is not inside the stream or a unit fails its check.
    pub fn bytes<'a>(&self, bytes: &'a [u8], range: Range<u64>) -> Result<Cow<'a, [u8]>> {
        let units = self.units_of(&range)?;
        if units.end - units.start <= 1 {
            return match units.last() {
                Some(unit) => self.piece(self.unit(bytes, unit)?, unit, &range).map(Cow::Borrowed),
                None => Ok(Cow::Borrowed(&[])),
            };
        }
        let mut joined = Vec::with_capacity((range.end - range.start) as usize);
        for unit in units {
            joined.extend_from_slice(self.piece(self.unit(bytes, unit)?, unit, &range)?);
        }
        Ok(Cow::Owned(joined))
    }

    /// The units that hold a range of a byte stream.
    ///
    /// # Errors
    /// `Corrupt` if the range is not inside the stream.
    pub fn units_of(&self, range: &Range<u64>) -> Result<Range<u64>> {
        if range.start > range.end || range.end > self.shape.entries {
            return Err(self
                .corrupt(0, format!("bytes {}..{} of {} were asked for", range.start, range.end, self.shape.entries)));
        }
        let first = range.start / self.shape.per_unit;
        Ok(if range.is_empty() { first..first } else { first..(range.end - 1) / self.shape.per_unit + 1 })
    }

    /// What the payload of one unit holds of a range of a byte stream.
    ///
    /// # Errors
    /// `Corrupt` if it is too short.
    pub fn piece<'a>(&self, payload: &'a [u8], unit: u64, range: &Range<u64>) -> Result<&'a [u8]> {
        let origin = unit * self.shape.per_unit;
        let start = range.start.saturating_sub(origin) as usize;
        let end = (range.end - origin).min(payload.len() as u64) as usize;
        payload.get(start..end).ok_or_else(|| self.no_unit(unit))
    }

    /// What an entry of an offset column covers. The range is ordered; whether it lies inside anything is the caller's to check.
    ///
    /// # Errors
    /// `Corrupt` if there is no such entry, its unit fails its check, or it ends before it starts.
    pub fn offsets(&self, bytes: &[u8], index: u64) -> Result<Range<u64>> {
        let (unit, _) = self.entry_place(index)?;
        self.offsets_in(self.unit(bytes, unit)?, index)
    }

    /// The same, given the payload of the unit that holds the entry.
    ///
    /// # Errors
    /// As [`UnitStream::offsets`].
    pub fn offsets_in(&self, payload: &[u8], index: u64) -> Result<Range<u64>> {
        let (unit, place) = self.entry_place(index)?;
        let number = |place: Range<usize>| payload.get(place).ok_or_else(|| self.no_unit(unit)).map(read_u32);
        let end = u64::from(number(place.clone())?);
        let base = read_u64(payload);
        let start = match index % self.shape.per_unit {
            0 => 0,
            _ => u64::from(number(place.start - OFFSET_BYTES..place.start)?),
        };
        match (base.checked_add(start), base.checked_add(end)) {
            (Some(from), Some(to)) if start <= end => Ok(from..to),
            _ => {
                Err(self
                    .corrupt(0, format!("entry {index} reaches from {start} to {end} behind its unit's base {base}")))
            }
        }
    }

    fn no_unit(&self, unit: u64) -> Error {
        self.corrupt(0, format!("unit {unit} of {} is not inside the section", self.shape.units()))
    }
}

fn split_u32(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let (rest, last) = bytes.split_last_chunk::<4>()?;
    Some((rest, u32::from_le_bytes(*last)))
}

/// The first four bytes as a number; 0 if there are fewer, which callers have excluded.
pub fn read_u32(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<4>().map_or(0, |b| u32::from_le_bytes(*b))
}

/// The first eight bytes as a number; 0 if there are fewer, which callers have excluded.
pub fn read_u64(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b))
}

#[cfg(test)]
#[path = "unit_tests.rs"]
mod tests;
