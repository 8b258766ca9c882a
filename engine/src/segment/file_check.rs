//! Reading an open file again to its last byte.

use std::ops::Range;

use super::mapped_file::{MappedFile, verify_ends};
use crate::error::{Error, Result};
use crate::format::checksum::{crc32, unit_seed};
use crate::format::container::Identity;
use crate::format::section::{Scheme, Section};
use crate::storage::Bytes;

/// Bytes that a check reads between two looks at its pace.
const PACE_BYTES: u64 = 64 << 10;
/// Bytes of a unit.
const UNIT_BYTES: u64 = 4096;

/// Asks for room to read so many bytes; may end the check.
type Pace<'p> = dyn FnMut(u64) -> Result<()> + 'p;

impl MappedFile {
    /// Checks every byte against its checksum, and that every byte outside the sections is zero.
    pub(super) fn verify_bytes(&self, report: &mut dyn FnMut(Error)) {
        // Without a pace nothing ends it early.
        let _ = self.verify_bytes_at(&mut |_| Ok(()), report);
    }

    /// The same at a pace: before about each [`PACE_BYTES`] it is told how many come, and may end the check.
    ///
    /// # Errors
    /// What `pace` says.
    pub(super) fn verify_bytes_at(&self, pace: &mut Pace<'_>, report: &mut dyn FnMut(Error)) -> Result<()> {
        pace(PACE_BYTES)?;
        let name = self.container().name();
        let (kind, file_id, collection) = self.identity();
        let wanted = Identity { kind, file_id, collection, name };
        let facts = self.container().facts();
        let mut again = match verify_ends(self.content(), facts.len, &wanted) {
            Ok(container) => container,
            Err(error) => {
                report(error);
                return Ok(());
            }
        };
        if let Err(error) = again.check_facts(&facts) {
            report(error);
        }
        for gap in self.container().gaps() {
            self.check_gap(gap, report);
        }
        self.container().sections().iter().try_for_each(|section| self.verify_section(section, pace, report))
    }

    fn check_gap(&self, gap: Range<u64>, report: &mut dyn FnMut(Error)) {
        for window in windows(gap, PACE_BYTES) {
            match self.content().read(window.clone()) {
                Err(error) => return report(error),
                Ok(bytes) => {
                    if let Some(at) = bytes.iter().position(|b| *b != 0) {
                        let at = window.start.saturating_add(at as u64);
                        let what = "a byte between sections is not zero";
                        return report(Error::corrupt(self.container().name(), "padding", at, what));
                    }
                }
            }
        }
    }

    fn verify_section(&self, section: &Section, pace: &mut Pace<'_>, report: &mut dyn FnMut(Error)) -> Result<()> {
        match section.scheme {
            Some(Scheme::Whole) => self.verify_whole(section, pace, report),
            Some(Scheme::Record) => {
                let width = u64::from(section.width).max(1);
                self.in_windows(section, width, pace, report, &mut |first, bytes, report| {
                    for (i, record) in bytes.chunks_exact(width as usize).enumerate() {
                        if let Err(error) = self.check_record(section, first + i as u64, record) {
                            report(error);
                        }
                    }
                })
            }
            Some(Scheme::Units | Scheme::Offsets) => {
                let Some(shape) = section.unit_shape() else { return Ok(()) };
                let units = self.stream(section, shape);
                self.in_windows(section, UNIT_BYTES, pace, report, &mut |first, bytes, report| {
                    for (i, unit) in bytes.chunks(UNIT_BYTES as usize).enumerate() {
                        if let Err(error) = units.check_alone(unit, first + i as u64) {
                            report(error);
                        }
                    }
                })
            }
            Some(Scheme::Blocks) => self.verify_blocks(section, pace, report),
            // Whoever knows the pieces checks them.
            Some(Scheme::Pieces) | None => Ok(()),
        }
    }

    /// Reads a section some whole steps at a time; `check` is told the number of the first step.
    fn in_windows(
        &self,
        section: &Section,
        step: u64,
        pace: &mut Pace<'_>,
        report: &mut dyn FnMut(Error),
        check: &mut dyn FnMut(u64, &[u8], &mut dyn FnMut(Error)),
    ) -> Result<()> {
        let window = (PACE_BYTES / step).max(1).saturating_mul(step);
        for range in windows(0..section.len, window) {
            pace(range.end - range.start)?;
            match self.read(section, range.clone()) {
                Ok(bytes) => check(range.start / step, &bytes, report),
                Err(error) => report(error),
            }
        }
        Ok(())
    }

    fn verify_whole(&self, section: &Section, pace: &mut Pace<'_>, report: &mut dyn FnMut(Error)) -> Result<()> {
        let mut crc = unit_seed(self.container().file_seed(), section.offset);
        for range in windows(0..section.len, PACE_BYTES) {
            pace(range.end - range.start)?;
            match self.read(section, range) {
                Ok(bytes) => crc = crc32(crc, &bytes),
                Err(error) => {
                    report(error);
                    return Ok(());
                }
            }
        }
        if let Err(error) = self.container().check_whole_crc(crc, section) {
            report(error);
        }
        Ok(())
    }

    fn verify_blocks(&self, section: &Section, pace: &mut Pace<'_>, report: &mut dyn FnMut(Error)) -> Result<()> {
        let (mut at, mut count) = (0, 0);
        while at < section.len {
            pace(PACE_BYTES)?;
            match self.check_block(section, at).map(|block: Bytes<'_>| block.len() as u64) {
                Ok(len) => at = at.saturating_add(len),
                Err(error) => {
                    report(error);
                    return Ok(());
                }
            }
            count += 1;
        }
        if let Err(error) = self.check_entries(section, count) {
            report(error);
        }
        Ok(())
    }
}

/// A range cut into parts of at most `step`.
fn windows(range: Range<u64>, step: u64) -> impl Iterator<Item = Range<u64>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let end = at.saturating_add(step).min(range.end);
        (at < end).then(|| std::mem::replace(&mut at, end)..end)
    })
}
