//! What the generations in memory kill, as a scan asks for it: in ascending order of rows, 64 at a time.

use super::view::View;

/// Rows of a window. Each run of kills is searched once per window, so the search is shared by all its rows.
const WINDOW_ROWS: u64 = 1 << 16;
const WINDOW_WORDS: u64 = WINDOW_ROWS / 64;

/// The kills of one view, laid out as bits for the window of rows that was asked for last. Memory: 8 KiB, from the first
/// question on. Asked in ascending order, each kill is visited once; any other order is right too, and slower.
pub(crate) struct Killed<'v> {
    view: &'v View,
    window: u64,
    bits: Vec<u64>,
}

impl<'v> Killed<'v> {
    pub(crate) fn new(view: &'v View) -> Self {
        Killed { view, window: 0, bits: Vec::new() }
    }

    /// Whether a generation in memory kills the row.
    pub(crate) fn contains(&mut self, row: u64) -> bool {
        self.aligned(row / 64) >> (row % 64) & 1 == 1
    }

    /// Which of the 64 rows from `first` on are killed; the lowest bit is `first`.
    pub(crate) fn word(&mut self, first: u64) -> u64 {
        let low = self.aligned(first / 64) >> (first % 64);
        match first % 64 {
            0 => low,
            shift => low | self.aligned(first / 64 + 1) << (64 - shift),
        }
    }

    /// The kills among the rows `64 * word ..`.
    fn aligned(&mut self, word: u64) -> u64 {
        let window = word / WINDOW_WORDS;
        if self.bits.is_empty() || window != self.window {
            self.load(window);
        }
        self.bits.get((word % WINDOW_WORDS) as usize).copied().unwrap_or(0)
    }

    fn load(&mut self, window: u64) {
        self.window = window;
        self.bits.clear();
        self.bits.resize(WINDOW_WORDS as usize, 0);
        let start = window * WINDOW_ROWS;
        for generation in self.view.generations() {
            generation.kills().for_each_in(start..start.saturating_add(WINDOW_ROWS), |row| {
                let at = row - start;
                if let Some(word) = self.bits.get_mut((at / 64) as usize) {
                    *word |= 1 << (at % 64);
                }
            });
        }
    }
}
