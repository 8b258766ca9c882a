//! Asking for rows ahead of a pass over all of them.
//!
//! Rows of lists are advised against reading ahead, since a query touches a few of them anywhere. A pass over all of them then has
//! to ask by itself, but only where they come from the disk: asking for what is in memory costs half as much as reading it.

use std::time::{Duration, Instant};

use super::Source;

/// Bytes of rows between two looks at the clock, and asked for at a time.
const WINDOW_BYTES: usize = 1 << 20;
/// Windows asked for ahead.
const WINDOWS_AHEAD: usize = 4;
/// A window that takes longer than this was not in memory: there it takes a tenth.
const SLOW: Duration = Duration::from_millis(1);

/// A pass over one source.
pub(super) struct ReadAhead {
    window: usize,
    /// The row where the window ends that is being read, and when it was begun.
    end: usize,
    began: Option<Instant>,
    slow: bool,
    asked: usize,
}

impl ReadAhead {
    pub(super) fn new(source: &Source<'_>) -> ReadAhead {
        ReadAhead { window: (WINDOW_BYTES / source.stride().max(1)).max(1), end: 0, began: None, slow: false, asked: 0 }
    }

    /// Called before a row and those that follow it are read; rows ascend.
    pub(super) fn before(&mut self, source: &Source<'_>, row: usize) {
        let Source::File(rows) = source else { return };
        if row < self.end {
            return;
        }
        let now = Instant::now();
        self.slow |= self.began.is_some_and(|began| now.duration_since(began) > SLOW);
        self.began = Some(now);
        self.end = row.saturating_add(self.window);
        if self.slow {
            let until = self.end.saturating_add(WINDOWS_AHEAD * self.window).min(rows.file.len());
            let from = self.asked.max(row);
            if from < until {
                rows.file.ask(from..until);
                self.asked = until;
            }
        }
    }
}
