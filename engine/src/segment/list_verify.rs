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
    /// first one in another list and is the only one, every page is used, and the rows span what the footer says; what follows records is zero. Memory:
    /// at most 16 bytes per row, and one list.
    fn verify_rows(&self) -> Result<()> {
        let rows = self.file.container().footer().rows;
        let (mut first, mut others) = (RowSet::new(self.page_count(), rows), RowSet::new(self.page_count(), rows));
        let mut firsts = Vec::new();
        for list in 0..self.lists() {
            let loaded = self.load(list)?;
            let bytes = loaded.bytes();
            if !self.shape.records_end_in_zeros(bytes.count, bytes.records) {
                return Err(self.corrupt_list(list, "records are not followed by zeros"));
            }
            firsts.clear();
            for (lane, word) in bytes.rows.as_chunks::<4>().0.iter().enumerate() {
                let word = u32::from_le_bytes(*word);
                if lane >= bytes.count as usize {
                    if word != NO_ROW {
                        return Err(self.corrupt_list(list, "a lane without an entry has a row word"));
                    }
                    continue;
                }
                self.row(word)?;
                if lane < bytes.primary as usize {
                    first.add(word);
                    firsts.push(word);
                    if lane + 1 == bytes.primary as usize {
                        firsts.sort_unstable();
                    }
                } else {
                    others.add(word);
                    if firsts.binary_search(&word).is_ok() {
                        return Err(self.corrupt_list(list, "a row has both of its copies in one list"));
                    }
                }
            }
        }
        first.settle();
        others.settle();
        let problem = match (first.twice, others.twice) {
            (true, _) => Some("a row is the first copy in two places"),
            (_, true) => Some("a row has more than one second copy"),
            _ if !others.words().all(|word| first.contains(word)) => Some("a row has a second copy and no first one"),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(self.corrupt_list(0, problem));
        }
        self.verify_ends(&first)
    }

    fn verify_ends(&self, first: &RowSet) -> Result<()> {
        let (mut ends, mut pages, mut last_page) = (None::<(u32, u32)>, 0, None);
        for word in first.words() {
            ends = Some((ends.map_or(word, |ends| ends.0), word));
            pages += usize::from(last_page.replace(word >> PAGE_SHIFT) != Some(word >> PAGE_SHIFT));
        }
        let footer = self.file.container().footer();
        let ends = match ends {
            Some((first, last)) => (self.row(first)?, self.row(last)?),
            None => (0, 0),
        };
        match ends == (footer.first_row, footer.last_row) && pages == self.page_count() {
            true => Ok(()),
            false => {
                let what = format!("it states rows {}..={}, or a page is not used", footer.first_row, footer.last_row);
                Err(self.file.container().corrupt_footer(what))
            }
        }
    }
}

/// Row words, each once.
struct RowSet {
    /// A bit for each row of each page, if there are many rows to a page.
    bits: Vec<u64>,
    /// Else the words.
    listed: Vec<u32>,
    /// Whether one was added twice.
    twice: bool,
}

const WORDS_PER_PAGE: usize = 1 << (PAGE_SHIFT - 6);

impl RowSet {
    /// For rows of a file: of both numbers at most one is made room for here, and it is proven that the file has as many entries as `rows`.
    fn new(pages: usize, rows: u64) -> RowSet {
        let dense = pages as u64 <= rows / 64;
        let bits = if dense { vec![0; pages.saturating_mul(WORDS_PER_PAGE)] } else { Vec::new() };
        RowSet { bits, listed: Vec::new(), twice: false }
    }

    /// Adds a row word, which was proven to name a page.
    fn add(&mut self, word: u32) {
        match self.bits.get_mut((word / 64) as usize) {
            Some(bits) => {
                let bit = 1 << (word % 64);
                self.twice |= *bits & bit != 0;
                *bits |= bit;
            }
            None => self.listed.push(word),
        }
    }

    /// All were added.
    fn settle(&mut self) {
        self.listed.sort_unstable();
        self.twice |= self.listed.windows(2).any(|pair| matches!(pair, [a, b] if a == b));
    }

    fn contains(&self, word: u32) -> bool {
        let bit = self.bits.get((word / 64) as usize).is_some_and(|bits| bits >> (word % 64) & 1 == 1);
        bit || self.listed.binary_search(&word).is_ok()
    }

    /// Ascending.
    fn words(&self) -> impl Iterator<Item = u32> + '_ {
        let of = |(i, bits): (usize, &u64)| {
            let mut bits = *bits;
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros())?;
                bits &= bits - 1;
                Some(i as u32 * 64 + bit)
            })
        };
        self.bits.iter().enumerate().flat_map(of).chain(self.listed.iter().copied())
    }
}
