//! Columns of byte strings: an offset column and a byte stream.

use std::borrow::Cow;
use std::sync::Arc;

use super::mapped_file::MappedFile;
use super::unit_section::UnitSection;
use crate::error::{Error, Result};
use crate::format::kind::SectionKind;
use crate::format::section::Scheme;

/// One byte string per row.
pub(super) struct BlobColumn {
    offsets: UnitSection,
    bytes: UnitSection,
    cap: usize,
}

impl BlobColumn {
    /// The column of these two kinds, `None` if the file has neither. No string is longer than `cap`.
    pub(super) fn open(
        file: &Arc<MappedFile>,
        kinds: (SectionKind, SectionKind),
        rows: u64,
        cap: usize,
    ) -> Result<Option<BlobColumn>> {
        let Some(offsets) = file.section(kinds.0, Scheme::Offsets, 4)? else {
            return file.forbid(&[kinds.1]).map(|()| None);
        };
        file.check_entries(&offsets, rows)?;
        let bytes = file.section(kinds.1, Scheme::Units, 1)?.ok_or_else(|| file.container().missing(kinds.1))?;
        let (offsets, bytes) = (UnitSection::new(file, offsets)?, UnitSection::new(file, bytes)?);
        Ok(Some(BlobColumn { offsets, bytes, cap }))
    }

    /// The string of one row.
    pub(super) fn get(&self, row: u64) -> Result<Cow<'_, [u8]>> {
        let range = self.offsets.offsets(row)?;
        if range.end - range.start > self.cap as u64 {
            let what = format!("the entry of row {row} has {} bytes, more than {}", range.end - range.start, self.cap);
            return Err(self.offsets.corrupt(row, what));
        }
        self.bytes.range(range)
    }

    /// As [`UnitSection::set_proven`].
    pub(super) fn set_proven(&self) {
        self.offsets.set_proven();
        self.bytes.set_proven();
    }

    /// Checks that the strings follow each other without gaps and cover the stream.
    pub(super) fn verify(&self, report: &mut dyn FnMut(Error)) {
        verify_offsets(&self.offsets, self.bytes.entries(), report);
    }

    pub(super) fn corrupt(&self, row: u64, what: impl Into<String>) -> Error {
        self.offsets.corrupt(row, what)
    }
}

/// Checks that ranges follow each other without gaps and end at `total`.
pub(super) fn verify_offsets(offsets: &UnitSection, total: u64, report: &mut dyn FnMut(Error)) {
    let mut end = 0;
    for row in 0..offsets.entries() {
        match offsets.offsets(row) {
            Ok(range) if range.start == end => end = range.end,
            Ok(range) => {
                return report(
                    offsets.corrupt(row, format!("row {row} starts at {}, the one before ends at {end}", range.start)),
                );
            }
            Err(error) => return report(error),
        }
    }
    if end != total {
        report(offsets.corrupt(offsets.entries(), format!("the rows end at {end} of {total} bytes")));
    }
}
