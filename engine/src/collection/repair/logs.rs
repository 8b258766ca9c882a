//! What the logs still tell.

use super::report::{Loss, RepairReport};
use super::rows::Files;
use crate::collection::record::apply_record;
use crate::delta::Generation;
use crate::error::Result;
use crate::format::manifest::COUNTER_END;
use crate::manifest::Manifest;
use crate::storage::Storage;
use crate::wal;

/// The batches of the logs that chain, in memory.
pub(super) struct Logged {
    pub(super) generation: Generation,
    /// The last batch that the new collection holds, or that is known to be lost: none is given again.
    pub(super) last_seq: u64,
}

/// Reads the logs up to the first place that does not prove itself.
pub(super) fn read(from: &dyn Storage, manifest: &Manifest, report: &mut RepairReport) -> Result<Logged> {
    let mut generation = Generation::new(manifest.next_row);
    let next_seq = manifest.covered_seq.saturating_add(1);
    let found = wal::salvage(from, manifest.first_wal, manifest.collection, next_seq, &mut |id, seq, payload| {
        let before = generation.clone();
        let applied = apply_record(&mut generation, manifest, id, seq, payload, None).map(drop);
        if applied.is_err() {
            generation = before;
        }
        applied
    })?;
    if found.batches > 0 {
        report.notes.push(format!("{} batches were read back from the logs", found.batches));
    }
    report.notes.extend(found.problems.iter().map(|problem| format!("a log was read without its header: {problem}")));
    if found.dropped > 0 {
        let bytes = found.dropped;
        report.notes.push(format!(
            "the logs end in {bytes} bytes that are no whole record: an unfinished write, or damage to the last group of batches"
        ));
    }
    let last_read = found.next_seq.saturating_sub(1);
    if let Some(error) = found.lost {
        report.lose(Loss::Batches { first_seq: found.next_seq, last_seq: found.lost_up_to, error });
    }
    let lost = found.lost_up_to.filter(|seq| *seq < COUNTER_END / 2);
    Ok(Logged { generation, last_seq: lost.unwrap_or(0).max(last_read) })
}

impl Logged {
    /// Kills the rows of files that the batches killed.
    pub(super) fn bury(&self, files: &mut Files) {
        let mut dead = files.bits();
        let older = 0..self.generation.first_row();
        self.generation.kills().for_each_in(older, |row| files.kill(&mut dead, row));
        files.add_dead(&dead);
    }

    /// The same rows, without the kills of rows that are in files.
    pub(super) fn alone(&self) -> Generation {
        self.generation.without_older_kills()
    }
}
