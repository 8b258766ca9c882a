//! How far an import is: a bar on a terminal, nothing elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::screen::Screen;
use crate::words;

/// A bar with rate, bytes and remaining time.
pub struct Progress {
    bar: ProgressBar,
    /// The bar counts bytes of the file, because the number of records is not known.
    by_bytes: bool,
    start: Instant,
}

impl Progress {
    /// A bar for so many records, or so many bytes, or without an end.
    pub fn new(screen: &Screen, total: Option<u64>, skip: &u64, limit: Option<u64>, len: Option<u64>) -> Self {
        if screen.json || screen.quiet {
            return Self::hidden();
        }
        let left = total.map(|total| total.saturating_sub(*skip));
        let records = match (left, limit) {
            (Some(left), Some(limit)) => Some(left.min(limit)),
            (left, limit) => left.or(limit),
        };
        // indicatif itself draws nothing where standard error is no terminal.
        let bar = ProgressBar::with_draw_target(records.or(len), ProgressDrawTarget::stderr_with_hz(8));
        let template = match records.or(len) {
            Some(_) => "{bar:32} {percent:>3} %  {msg}  ETA {eta}",
            None => "{spinner} {msg}  {elapsed}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("█▓░"));
        bar.enable_steady_tick(Duration::from_millis(250));
        Progress { bar, by_bytes: records.is_none(), start: Instant::now() }
    }

    /// No bar.
    pub fn hidden() -> Self {
        Progress { bar: ProgressBar::hidden(), by_bytes: false, start: Instant::now() }
    }

    /// So many records and bytes are done.
    pub fn at(&self, records: u64, bytes: u64) {
        let rate = words::rate(records, self.start.elapsed());
        self.bar.set_message(format!("{}  {rate}  {}", words::counted(records, "record"), words::bytes(bytes)));
        self.bar.set_position(if self.by_bytes { bytes } else { records });
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
