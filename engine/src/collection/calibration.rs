//! When what was measured of searches is measured again.
//!
//! To measure takes a comparison of some hundred rows with all rows. While what comes is like what is there it would tell the same, so it is
//! done when much has changed, and in between somebody looks whether searches still find what they did: that takes some searches alone.

use super::crew::Crew;
use super::index_job::ListStep;
use super::shared::Shared;
use crate::compaction::Control;
use crate::error::Result;
use crate::manifest::Training;
use crate::snapshot::{FEWEST_CALIBRATED, LiveRows, Snapshot, Version, still_holds};

/// The part of the rows that must have come or gone until somebody looks, and looks again.
const ROWS_PER_CHANGE: u64 = 8;

/// The last look at whether a calibration holds.
#[derive(Clone, Copy, Default)]
pub(super) struct LastLook {
    model: [u8; 32],
    /// Rows that had come or gone since the calibration.
    turnover: u64,
}

/// What has happened since a calibration.
struct Since {
    /// Rows that it was made with; 0 if it is of the model before, `None` if there is none.
    measured: Option<u64>,
    /// Rows in lists now.
    rows: u64,
    /// Rows that came.
    came: u64,
}

impl Since {
    /// `None` where nothing is to be measured.
    fn of(version: &Version) -> Option<(Since, [u8; 32])> {
        let model = version.current_model().filter(|_| version.older_model().is_none())?;
        let rows: u64 = version.rows.iter().filter(|rows| rows.in_lists()).map(LiveRows::live).sum();
        let hash = *model.file.hash();
        let came = version.manifest.training_of(&hash).map_or(0, |training: &Training| training.changed);
        let measured = version.manifest.calibration_of(&hash).first().map(|entry| entry.rows);
        // Rows without vectors cannot ask: what was measured while there were some goes on to count.
        let askable = !version.is_lean() && !version.lists.is_empty() && rows >= FEWEST_CALIBRATED;
        askable.then_some((Since { measured, rows, came }, hash))
    }

    /// Whether nothing was measured yet with these lists, or with half or one and a half times as many rows, or half of the rows came since.
    fn is_long(&self) -> bool {
        let fits = |measured: u64| {
            (measured / 2..=measured.saturating_mul(3) / 2).contains(&self.rows) && self.came < measured / 2
        };
        !self.measured.is_some_and(fits)
    }

    /// Rows that came or went, whichever are more.
    fn turnover(&self) -> u64 {
        let went = self.measured.unwrap_or(0).saturating_add(self.came).saturating_sub(self.rows);
        self.came.max(went)
    }
}

impl Shared {
    /// Measuring, or a look at whether what was measured holds, if that is due.
    pub(super) fn next_calibration(&self, version: &Version) -> Option<ListStep> {
        let (since, model) = Since::of(version)?;
        if since.is_long() {
            return Some(ListStep::Calibrate);
        }
        let last = *self.last_look.lock();
        let before = if last.model == model && last.turnover <= since.turnover() { last.turnover } else { 0 };
        let due = since.turnover() >= before.saturating_add((since.rows / ROWS_PER_CHANGE).max(1));
        due.then_some(ListStep::CheckCalibration)
    }

    /// Looks whether searches find what they found when that was measured.
    pub(super) fn calibration_holds(&self, version: &Version, control: &Control) -> Result<bool> {
        let Some((since, model)) = Since::of(version) else { return Ok(true) };
        let snapshot = Snapshot::new(self.view.load_full(), self.schema.clone());
        let holds = still_holds(&snapshot, &Crew::of(self), &|| control.check())?;
        // One that was made anew begins at nothing.
        *self.last_look.lock() = LastLook { model, turnover: if holds { since.turnover() } else { 0 } };
        Ok(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_rows_are_long_and_what_came_or_went_is_counted_once() {
        let since = |measured, rows, came| Since { measured, rows, came };
        assert!(since(None, 5_000, 0).is_long() && since(Some(0), 5_000, 0).is_long(), "not measured with this model");
        assert!(!since(Some(5_000), 5_000, 2_499).is_long() && since(Some(5_000), 5_000, 2_500).is_long());
        assert!(since(Some(5_000), 2_499, 0).is_long() && since(Some(5_000), 7_501, 2_400).is_long());
        assert_eq!(since(Some(5_000), 5_000, 700).turnover(), 700, "as many came as went");
        assert_eq!(since(Some(5_000), 4_000, 0).turnover(), 1_000);
        assert_eq!(since(Some(5_000), 6_000, 1_000).turnover(), 1_000);
    }
}
