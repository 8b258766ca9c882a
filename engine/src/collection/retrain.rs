//! A model that has aged and the one that follows it.
//!
//! 1. Train the new model on the rows of files, and on those in memory if it is for them (see `foresight`), and name it in a manifest, behind the old one (one step). What is in memory
//!    is then flushed: it and rows that come from now on are filed by the new one. A crash: an orphan, or two models.
//! 2. Convert the list segments of the old model one by one, youngest first: the rows of that range of numbers are filed again (a step each).
//!    The manifest that names the new segments no longer names the old one, so each row is in the lists of one model at any time. A crash:
//!    orphans, or a segment that is converted; the next handle goes on with the rest.
//! 3. With the last of its segments the old model goes. Only then is another one trained.
//!
//! Where no vectors are kept the other model has the lists of the old one and more, and codes are copied: see `retrain_codes`.
//!
//! Row files are only read. Searches meanwhile rank the centroids of both models and look at the lists of both.

use std::ops::Range;
use std::sync::Arc;

use super::bulk::NUMBERS_LEFT;
use super::compact::{Compact, CompactReport};
use super::index_job::{ListChange, ListStep, ToFile, Wanted, live_between};
use super::retrain_codes::room;
use super::shared::Shared;
use crate::compaction::{Aged, Control, Lengths, Place, Policy, aged, crowding, is_watched, many_rows, skew};
use crate::delta::Generation;
use crate::error::Result;
use crate::kernel::cluster::NO_LIST;
use crate::manifest::Training;
use crate::options::IvfOptions;
use crate::planted::{self, Bug};
use crate::segment::ListFile;
use crate::snapshot::{LiveRows, Version};

impl Shared {
    /// The training of a model that is to follow, if that is due or asked for, and none is being followed yet.
    pub(super) fn next_retraining(&self, version: &Version, wanted: &Wanted, options: &IvfOptions) -> Option<ListStep> {
        let live: u64 = version.rows.iter().map(LiveRows::live).sum();
        if version.older_model().is_some() || wanted.no_room.is_some() || live == 0 {
            return None;
        }
        let lists = options.lists_for(live);
        let step = match wanted.what {
            Compact::Retrain => ListStep::Retrain(lists, None),
            _ => ListStep::Retrain(lists, Some(why_retrain(version, live, &self.policy())?)),
        };
        let asked =
            self.keeps_vectors() || wanted.what != Compact::Retrain || room(version, live, options, None).is_some();
        asked.then_some(step)
    }

    /// Files the rows of neighbouring list segments again, by the newest model.
    pub(super) fn convert(
        &self,
        version: &Version,
        range: Range<usize>,
        control: &Control,
        report: &mut CompactReport,
    ) -> Result<ListChange> {
        let inputs = version.lists.get(range).unwrap_or_default();
        let gone = inputs.iter().map(|file| file.id_of_file()).collect();
        let mut change = ListChange { gone, ..ListChange::default() };
        let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else { return Ok(change) };
        let (first_row, last_row) = (first.facts().first_row, last.facts().last_row);
        let live = live_between(version, first_row, last_row)?;
        let inside = |rows: &&LiveRows| {
            rows.in_lists() && rows.file.last_row() >= first_row && rows.file.first_row() <= last_row
        };
        let files: Vec<LiveRows> = version.rows.iter().filter(inside).cloned().collect();
        let ordinal = files.first().map_or(Ok(0), |rows| rows.ordinal_from(first_row))?;
        let first = Place { file: 0, ordinal: ordinal as u32 };
        let last_row = if planted::is(Bug::ConvertTooFew) { last_row.saturating_sub(1) } else { last_row };
        let rows = ToFile { files: &files, first, last_row, live };
        report.refiled += self.file_rows(version, rows, control, &mut change)?;
        Ok(change)
    }
}

/// Why the model is to be trained anew, if it is. Where no vectors are kept that is to get more lists, and must be possible.
pub(super) fn why_retrain(version: &Version, live: u64, policy: &Policy) -> Option<Aged> {
    let training = version.manifest.training_of(version.current_model()?.file.hash())?;
    let came = came_since(version, training.next_row, version.manifest.next_row);
    let lists = lengths_with(version, training, list_lengths(version), live_in_lists(version));
    let why = aged(training, live, came, lists, many_rows(policy))?;
    let schema = &version.manifest.schema;
    let room = || schema.index_kind().lists().and_then(|options| room(version, live, &options, Some(why)));
    (schema.row_format().keeps_vectors() || room().is_some()).then_some(why)
}

/// How many rows were written from a row number on, up to another. The numbers that loads leave out are no rows.
pub(super) fn came_since(version: &Version, first: u64, end: u64) -> u64 {
    // Commits beside a load take some of the numbers that it leaves to them.
    const LEAST_LEFT_OUT: u64 = NUMBERS_LEFT / 2;
    let files = version.rows.iter().map(|rows| (rows.file.first_row(), rows.file.last_row().saturating_add(1)));
    let (mut came, mut next) = (end.saturating_sub(first), first);
    for (from, to) in files.filter(|(_, to)| *to > first).chain([(end, end)]) {
        let gap = from.saturating_sub(next);
        if gap >= LEAST_LEFT_OUT {
            came = came.saturating_sub(gap);
        }
        next = next.max(to);
    }
    came
}

/// Live rows of files that are in lists.
fn live_in_lists(version: &Version) -> u64 {
    version.rows.iter().filter(|rows| rows.in_lists()).map(LiveRows::live).sum()
}

/// What lists tell that are so long, with so many live rows in them.
fn lengths_with(version: &Version, training: &Training, lengths: Vec<u64>, live: u64) -> Lengths {
    let entries = lengths.iter().sum();
    lists_with(version, training, lengths, entries, live)
}

/// The same where they hold so many entries: fewer if some of them never get into files.
fn lists_with(version: &Version, training: &Training, mut lengths: Vec<u64>, entries: u64, live: u64) -> Lengths {
    Lengths {
        crowded: crowded(version, training.next_row, &lengths),
        entries: entries as f64 / live.max(1) as f64,
        skew: skew(&mut lengths),
    }
}

/// Entries that searches scan for each that they would scan of live rows alone, in lists as even as they were; 1 if that is not known, if
/// nobody cares, or while another model follows.
pub(super) fn scanned(version: &Version) -> f64 {
    let model = version.current_model().filter(|_| version.older_model().is_none());
    let training = model.and_then(|model| version.manifest.training_of(model.file.hash()));
    training.filter(|training| is_watched(training)).map_or(1.0, |training| {
        lengths_with(version, training, list_lengths(version), live_in_lists(version)).scanned()
    })
}

/// What lists tell once the rows of generations that are in lists are in files, and what they have killed is dead there.
pub(super) fn lists_after<'g>(
    version: &Version,
    training: &Training,
    generations: impl Iterator<Item = &'g Generation> + Clone,
) -> Lengths {
    let (mut live, mut never_filed) = (live_in_lists(version), 0);
    for filed in generations.clone().filter(|generation| generation.members().is_some()) {
        live = (live + filed.rows()).saturating_sub(filed.kills().len() as u64);
        never_filed += filed.kills().len_from(filed.first_row()) as u64;
    }
    let lengths = lengths_after(version, generations);
    let entries = lengths.iter().sum::<u64>().saturating_sub(never_filed);
    lists_with(version, training, lengths, entries, live)
}

/// First copies in each list of the newest model, dead ones included, once the rows of generations that are in its lists are in files.
pub(super) fn lengths_after<'g>(version: &Version, generations: impl Iterator<Item = &'g Generation>) -> Vec<u64> {
    let mut lengths = list_lengths(version);
    for members in generations.filter_map(Generation::members) {
        for (list, length) in lengths.iter_mut().enumerate() {
            let rows = members.of_list(list as u32);
            let entries = rows.loose.iter().chain(rows.pieces.iter().flat_map(|piece| piece.entries()));
            *length += entries.filter(|entry| entry.first == NO_LIST).count() as u64;
        }
    }
    lengths
}

/// How uneven the lists of the newest model are: see [`skew`].
pub(super) fn list_skew(version: &Version) -> f32 {
    skew(&mut list_lengths(version))
}

/// How many times as crowded lists of these lengths are as they were with the rows below this number alone, which the model was trained on.
/// Segments with rows of either kind count as those.
fn crowded(version: &Version, next_row: u64, lengths: &[u64]) -> f64 {
    let before = crowding(&lengths_below(version, next_row));
    if before > 0.0 { crowding(lengths) / before } else { 1.0 }
}

/// First copies in each list of the newest model, dead ones included.
pub(super) fn list_lengths(version: &Version) -> Vec<u64> {
    lengths_below(version, u64::MAX)
}

/// The same, of segments that begin below this row number.
fn lengths_below(version: &Version, end_row: u64) -> Vec<u64> {
    let Some(model) = version.current_model() else { return Vec::new() };
    let mut lengths = vec![0; model.file.lists()];
    let counts = |file: &&Arc<ListFile>| file.model() == model.file.hash() && file.facts().first_row < end_row;
    for file in version.lists.iter().filter(counts) {
        let view = file.view();
        lengths.iter_mut().enumerate().for_each(|(list, length)| *length += u64::from(view.counts(list).0));
    }
    lengths
}
