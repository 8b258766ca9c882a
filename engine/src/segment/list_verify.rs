//! Reading a list segment to its last byte.

use super::layout::PAGE_SHIFT;
use super::list_file::ListFile;
use crate::error::{Error, Result};
use crate::format::list::NO_ROW;

impl ListFile {
    /// Checks every byte and every rule of the segment; reports all findings. If bytes fail their checksums, the rules about
    /// their meaning are not looked at.
    pub(crate) fn verify(&self, report: &mut dyn FnMut(Error)) {
        let mut damaged = false;
        let mut note = |error| {
            damaged = true;
            report(error);
        };
        self.file.verify_bytes(&mut note);
        // Without a pace nothing ends it early.
        let _ = self.check_pieces(&mut |_| Ok(()), &mut note);
        if damaged {
            return;
        }
        if let Err(error) = self.verify_rows() {
            report(error);
        }
    }

    /// Reads every byte at a pace and compares it with its checksum.
    ///
    /// # Errors
    /// What `pace` says.
    pub(crate) fn scrub(&self, pace: &mut dyn FnMut(u64) -> Result<()>, report: &mut dyn FnMut(Error)) -> Result<()> {
        self.file.verify_bytes_at(pace, report)?;
        self.check_pieces(pace, report)
    }

    /// Row words name pages, lanes behind the last entry name none, every row is once the first copy, every other copy has a
    /// first one, every page is used, and the rows span what the footer says.
    fn verify_rows(&self) -> Result<()> {
        let mut used = vec![false; self.page_count()];
        let (mut first, mut others) = (Vec::new(), Vec::new());
        for list in 0..self.lists() {
            let bytes = self.list(list)?;
            for (lane, word) in bytes.rows.as_chunks::<4>().0.iter().enumerate() {
                let word = u32::from_le_bytes(*word);
                if lane >= bytes.count as usize {
                    if word != NO_ROW {
                        return Err(self.corrupt_list(list, "a lane without an entry has a row word"));
                    }
                    continue;
                }
                let row = self.row(word)?;
                if let Some(used) = used.get_mut((word >> PAGE_SHIFT) as usize) {
                    *used = true;
                }
                if lane < bytes.primary as usize { &mut first } else { &mut others }.push(row);
            }
        }
        first.sort_unstable();
        if first.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(self.corrupt_list(0, "a row is the first copy in two places"));
        }
        if others.iter().any(|row| first.binary_search(row).is_err()) {
            return Err(self.corrupt_list(0, "a row has a second copy and no first one"));
        }
        let footer = self.file.container().footer();
        let ends = (first.first().copied().unwrap_or(0), first.last().copied().unwrap_or(0));
        match ends == (footer.first_row, footer.last_row) && !used.contains(&false) {
            true => Ok(()),
            false => {
                let what = format!("it states rows {}..={}, or a page is not used", footer.first_row, footer.last_row);
                Err(self.file.container().corrupt_footer(what))
            }
        }
    }
}
