//! Marks that are set while others look at them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A mark for each of some rows, all clear at first; a mark that was set stays. Who is told of something after the mark was set sees the mark.
///
/// Most stay clear, and a search looks at them here and there: so a word of its own tells of each 4,096 of them whether any is set. Those few words stay
/// in the fast caches, which the marks of a million rows do not (a look at one of 860,000 took as long as scoring two rows).
pub(crate) struct Marks {
    words: Box<[AtomicU64]>,
    /// A bit for each 64 words: one of them may have a mark.
    any: Box<[AtomicU64]>,
}

impl Marks {
    /// For so many rows.
    pub(crate) fn new(rows: usize) -> Self {
        let clear = |words: usize| (0..words).map(|_| AtomicU64::new(0)).collect::<Box<[AtomicU64]>>();
        let words = rows.div_ceil(64);
        Marks { words: clear(words), any: clear(words.div_ceil(64).div_ceil(64)) }
    }

    /// The marks of rows `64 * at ..`; none beyond the last row.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> u64 {
        let group = at / 64;
        let any = self.any.get(group / 64).map_or(0, |bits| bits.load(Ordering::Acquire));
        match any >> (group % 64) & 1 {
            0 => 0,
            _ => self.words.get(at).map_or(0, |bits| bits.load(Ordering::Acquire)),
        }
    }

    /// Sets the mark of a row.
    pub(crate) fn set(&self, row: usize) {
        let (word, group) = (row / 64, row / 64 / 64);
        if let (Some(bits), Some(any)) = (self.words.get(word), self.any.get(group / 64)) {
            bits.fetch_or(1 << (row % 64), Ordering::Release);
            any.fetch_or(1 << (group % 64), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told_as_they_were_set() {
        for rows in [0, 1, 64, 65, 4096, 4097, 300_000] {
            let marks = Marks::new(rows);
            let set: Vec<usize> = (0..rows).filter(|row| row % 5003 == 7 || row + 1 == rows || *row == 4095).collect();
            for row in &set {
                assert_eq!(marks.word(row / 64) >> (row % 64) & 1, 0, "{rows}: {row}");
                marks.set(*row);
                marks.set(*row);
            }
            let told = (0..rows.div_ceil(64) + 3).flat_map(|at| {
                let word = marks.word(at);
                (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit)
            });
            assert_eq!(told.collect::<Vec<_>>(), set, "{rows}");
            marks.set(rows.next_multiple_of(64));
            assert_eq!(marks.word(rows.div_ceil(64)), 0);
        }
    }
}
