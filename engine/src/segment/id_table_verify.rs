//! Reading an id table to its last byte.

use super::id_filter::{FILTER_BLOCK_BYTES, FilterEncoder};
use super::id_table::{IdTable, KeyEntry};
use super::layout::PAGE_SHIFT;
use crate::error::{Error, Result};

impl IdTable {
    /// Checks every byte against its checksum, again, at a pace.
    ///
    /// # Errors
    /// What `pace` says.
    pub(crate) fn scrub(&self, pace: &mut dyn FnMut(u64) -> Result<()>, report: &mut dyn FnMut(Error)) -> Result<()> {
        self.file.verify_bytes_at(pace, report)
    }

    /// Checks every byte and every rule of the table; reports all findings. If bytes fail their checksums, the rules about their
    /// meaning are not looked at.
    pub(crate) fn verify(&self, report: &mut dyn FnMut(Error)) {
        let mut damaged = false;
        self.file.verify_bytes(&mut |error| {
            damaged = true;
            report(error);
        });
        if damaged {
            return;
        }
        for outcome in [self.verify_entries(), self.verify_filter()] {
            if let Err(error) = outcome {
                report(error);
            }
        }
    }

    /// As [`RowFile::prove_all`](super::row_file::RowFile::prove_all).
    ///
    /// # Errors
    /// The first finding.
    pub(super) fn prove_all(&self) -> Result<()> {
        let mut first = None;
        self.verify(&mut |error| {
            first.get_or_insert(error);
        });
        if let Some(error) = first {
            return Err(error);
        }
        self.entries.set_proven();
        self.filter.set_proven();
        Ok(())
    }

    /// Entries ascend strictly, fence keys are the first keys of units, every page is used, and the rows span what the footer says.
    fn verify_entries(&self) -> Result<()> {
        let mut last: Option<(u64, u32)> = None;
        let mut used = vec![false; self.page_names().len()];
        let (mut first_row, mut last_row) = (u64::MAX, 0);
        for unit in 0..self.entries.units() {
            let payload = self.entries.unit(unit)?;
            let entries = self.key_entries(&payload, unit)?;
            let fence = self.fences().get(unit as usize).map(|fence| fence.get());
            if fence != entries.first().map(|entry| entry.key.get()) {
                return Err(self.corrupt(unit, "the fence key is not the unit's first key"));
            }
            for KeyEntry { key, row_word } in entries {
                let here = (key.get(), row_word.get());
                if last.is_some_and(|last| last >= here) {
                    return Err(self.corrupt(unit, "the entries do not ascend"));
                }
                last = Some(here);
                let row = self.row(here.1, unit)?;
                (first_row, last_row) = (first_row.min(row), last_row.max(row));
                if let Some(used) = used.get_mut((here.1 >> PAGE_SHIFT) as usize) {
                    *used = true;
                }
            }
        }
        let footer = self.file.container().footer();
        if (first_row, last_row) != (footer.first_row, footer.last_row) || used.contains(&false) {
            let what = format!(
                "it states rows {}..={}, the entries have {first_row}..={last_row}, or a page is not used",
                footer.first_row, footer.last_row
            );
            return Err(self.file.container().corrupt_footer(what));
        }
        Ok(())
    }

    /// The filter is the one that the entries give, bit for bit.
    fn verify_filter(&self) -> Result<()> {
        let mut encoder = FilterEncoder::new(self.len());
        let mut at = 0;
        let mut compare = |block: &[u8]| {
            let stored = self.filter.entry(at)?;
            at += 1;
            match *stored == *block && block.len() == FILTER_BLOCK_BYTES {
                true => Ok(()),
                false => Err(self.filter.corrupt(at - 1, "the filter is not that of the entries")),
            }
        };
        for entry in self.iter() {
            encoder.push(entry?.key, &mut compare)?;
        }
        encoder.finish(&mut compare)
    }
}
