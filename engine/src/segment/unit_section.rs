//! A section made of units, in an open file.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::mapped_file::MappedFile;
use crate::error::{Error, Result};
use crate::format::section::Section;
use crate::format::unit::UnitStream;
use crate::storage::Bytes;

/// A unit stream of an open file. Where the file is mapped, units are proven when they are first touched; where it is read,
/// whenever they are read.
pub(super) struct UnitSection {
    file: Arc<MappedFile>,
    section: Section,
    units: UnitStream,
}

impl UnitSection {
    /// The units of a section; the caller has its scheme checked.
    pub(super) fn new(file: &Arc<MappedFile>, section: Section) -> Result<UnitSection> {
        let shape = section
            .unit_shape()
            .ok_or_else(|| file.container().corrupt_section(&section, "it is not made of units"))?;
        Ok(UnitSection { file: file.clone(), section, units: file.stream(&section, shape) })
    }

    pub(super) fn entries(&self) -> u64 {
        self.section.entries
    }

    /// Takes all units as proven: for a caller that has just checked the whole file.
    pub(super) fn set_proven(&self) {
        self.units.set_proven();
    }

    /// How many units were proven so far.
    #[cfg(test)]
    pub(super) fn proven_units(&self) -> usize {
        self.units.proven_units()
    }

    /// The whole section, if it is mapped.
    fn mapped(&self) -> Option<&[u8]> {
        self.file.is_mapped().then(|| self.file.section_bytes(&self.section))
    }

    pub(super) fn entry(&self, index: u64) -> Result<Bytes<'_>> {
        if let Some(bytes) = self.mapped() {
            return self.units.entry(bytes, index).map(Bytes::Mapped);
        }
        let (unit, range) = self.units.entry_place(index)?;
        let entry = self.read_unit(unit)?.part(range);
        entry.ok_or_else(|| self.corrupt(index, "its unit is too short"))
    }

    /// The payload of a unit.
    pub(super) fn unit(&self, unit: u64) -> Result<Bytes<'_>> {
        match self.mapped() {
            Some(bytes) => self.units.unit(bytes, unit).map(Bytes::Mapped),
            None => self.read_unit(unit),
        }
    }

    fn read_unit(&self, unit: u64) -> Result<Bytes<'_>> {
        let place = self.units.place(unit)?;
        let whole = self.file.proven(&self.section, place, |whole| self.units.check_alone(whole, unit))?;
        Ok(whole.part(0..self.units.shape().used(unit)).unwrap_or_default())
    }

    pub(super) fn per_unit(&self) -> u64 {
        self.units.shape().per_unit()
    }

    pub(super) fn units(&self) -> u64 {
        self.units.shape().units()
    }

    pub(super) fn range(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        if let Some(bytes) = self.mapped() {
            return self.units.bytes(bytes, range);
        }
        let units = self.units.units_of(&range)?;
        let mut joined = Vec::with_capacity((range.end - range.start) as usize);
        for unit in units {
            joined.extend_from_slice(self.units.piece(&self.read_unit(unit)?, unit, &range)?);
        }
        Ok(Cow::Owned(joined))
    }

    pub(super) fn offsets(&self, index: u64) -> Result<Range<u64>> {
        if let Some(bytes) = self.mapped() {
            return self.units.offsets(bytes, index);
        }
        let (unit, _) = self.units.entry_place(index)?;
        self.units.offsets_in(&self.read_unit(unit)?, index)
    }

    /// Says that an entry is wrong.
    pub(super) fn corrupt(&self, entry: u64, what: impl Into<String>) -> Error {
        let unit = entry / self.per_unit().max(1);
        self.units.corrupt(unit.saturating_mul(4096), what)
    }
}
