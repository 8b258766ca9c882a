//! Reading a row file to its last byte.

use super::blob::BlobColumn;
use super::payload_reader::PayloadColumn;
use super::row_file::RowFile;
use super::unit_section::UnitSection;
use crate::error::{Error, Result};
use crate::format::attributes::decode_attributes;

impl RowFile {
    /// Checks every byte against its checksum, again, at a pace.
    ///
    /// # Errors
    /// What `pace` says.
    pub(crate) fn scrub(&self, pace: &mut dyn FnMut(u64) -> Result<()>, report: &mut dyn FnMut(Error)) -> Result<()> {
        self.file.verify_bytes_at(pace, report)
    }

    /// Checks every byte and every rule of the file; reports all findings. Nothing that was proven before is trusted. If bytes
    /// fail their checksums, the rules about their meaning are not looked at.
    pub(crate) fn verify(&self, report: &mut dyn FnMut(Error)) {
        let mut damaged = false;
        self.file.verify_bytes(&mut |error| {
            damaged = true;
            report(error);
        });
        if damaged {
            return;
        }
        self.pages.verify(report);
        for column in [&self.ids, &self.attributes].into_iter().flatten() {
            column.verify(report);
        }
        if let Some(payloads) = &self.payloads {
            payloads.verify(report);
        }
        for ordinal in 0..self.len() {
            self.verify_row(ordinal, report);
        }
        self.verify_seqs(report);
    }

    /// Checks every byte and every rule of a file that was just written and synced, and takes it as proven.
    ///
    /// Sound because what is proven is what will be read: the check goes through the very map that this file keeps, nobody
    /// writes to the file after its sync, and the rules that a first touch would look at are a part of those that are
    /// checked here. A file that is opened later knows nothing of this and proves its rows when they are first touched. The check also
    /// leaves the pages of the map in place, so the first search of a new file pays neither for checksums nor for page faults.
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
        self.proven.set_all();
        self.pages.set_proven();
        self.seqs.iter().chain(&self.numbers).for_each(UnitSection::set_proven);
        [&self.ids, &self.attributes].into_iter().flatten().for_each(BlobColumn::set_proven);
        self.payloads.iter().for_each(PayloadColumn::set_proven);
        Ok(())
    }

    /// Proves everything that belongs to one row: its number, vector, id, sequence number, attributes and payload.
    ///
    /// # Errors
    /// `Corrupt` for the first part that fails.
    pub(crate) fn prove_row(&self, ordinal: usize) -> Result<()> {
        self.row_number(ordinal)?;
        let mut first = None;
        self.verify_row(ordinal, &mut |error| {
            first.get_or_insert(error);
        });
        if let Some(error) = first {
            return Err(error);
        }
        self.seq(ordinal)?;
        self.payload(ordinal).map(drop)
    }

    fn verify_row(&self, ordinal: usize, report: &mut dyn FnMut(Error)) {
        match self.records(ordinal..ordinal.saturating_add(1)) {
            Err(error) => report(error),
            Ok(records) if self.has_vectors() && !self.layout.is_finite(records.vector(0).bytes) => {
                let what = format!("the vector of row {ordinal} has a component that is not finite");
                report(self.corrupt_record(ordinal, what));
            }
            Ok(_) => {}
        }
        if (self.ids.is_some() || self.numbers.is_some())
            && let Err(error) = self.id(ordinal)
        {
            report(error);
        }
        let Some(column) = &self.attributes else { return };
        match column.get(ordinal as u64) {
            Ok(encoded) => {
                if let Err(what) = decode_attributes(&encoded) {
                    report(column.corrupt(ordinal as u64, format!("the attributes of row {ordinal}: {what}")));
                }
            }
            Err(error) => report(error),
        }
    }

    /// Both ends of the stated range of sequence numbers must be reached.
    fn verify_seqs(&self, report: &mut dyn FnMut(Error)) {
        if self.seqs.is_none() {
            return;
        }
        let (mut min, mut max) = (u64::MAX, 0);
        for ordinal in 0..self.len() {
            match self.seq(ordinal) {
                Ok(seq) => (min, max) = (min.min(seq), max.max(seq)),
                Err(error) => return report(error),
            }
        }
        let footer = self.file.container().footer();
        if (min, max) != (footer.min_seq, footer.max_seq) {
            let what = format!(
                "it states sequence numbers {}..={}, the rows have {min}..={max}",
                footer.min_seq, footer.max_seq
            );
            report(self.file.container().corrupt_footer(what));
        }
    }
}
