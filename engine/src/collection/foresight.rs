//! What rows in memory will do to the lists once they are in files, and what is done about it before.
//!
//! Rows that the lists do not suit make each search near them read more, and in files they are in those lists until a model is trained and their
//! segment converted. So the model is trained while they are in memory, and only then they go to files, by the new model. Until then rows come and
//! are found as always. If so many come that memory is full they go to the lists there are, and are moved later.

use super::compact::CompactReport;
use super::index_job::ListStep;
use super::retrain::{came_since, lengths_after, lists_after, scanned};
use super::shared::{MAX_FROZEN, NextModel, Pending, Shared};
use crate::budget::Share;
use crate::compaction::{
    Aged, Control, Extended, Filing, LivePoints, Made, ModelJob, changes_until_look, drift_with, is_crowded,
    is_watched, many_rows, most_in_files, most_in_memory,
};
use crate::delta::{Generation, Members};
use crate::error::{ErrorKind, Result};
use crate::manifest::Training;
use crate::options::{Anchors, Background, Compaction, IvfOptions};
use crate::snapshot::{Version, View};

/// What is to be done about rows in memory that will make lists worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mending {
    /// They go to files, where lists are made anew or rewritten.
    Flush,
    /// A model is trained for them, and then they go to files.
    Train,
}

/// When a generation is looked at again.
#[derive(Default)]
pub(super) struct Look {
    /// How many must have come and gone in it.
    changes: u64,
    /// A model for its rows was asked for.
    trains: bool,
}

impl Shared {
    /// What is to be done since the rows of a generation, once they are in files, will have lists made anew: because they lie so far from the
    /// centroids, or because with them and without what they replace searches scan too many entries. That is not to wait until a delta is
    /// full: new rows would be hard to find all that time, or all others. What files alone say flushes nothing: it is being mended, or cannot be.
    /// A generation that is `full` goes to files in any case.
    pub(super) fn mending_after(&self, active: &Generation, full: bool, look: &mut Look) -> Option<Mending> {
        active.members()?;
        // Where no vectors are kept lists are added, up to a number that was asked for.
        let grows = || self.schema.index_kind().lists().is_some_and(|options| options.wanted_nlist().is_none());
        let trains = self.options.compaction != Compaction::Manual && (self.keeps_vectors() || grows());
        if !trains || look.trains || self.pending.lock().next_model != NextModel::None {
            return None;
        }
        let view = self.view.load();
        // A policy that waits to write less looks at what is in files.
        let most = match most_in_memory(&self.policy()) {
            most if full && most.is_finite() => most_in_files(&self.policy()),
            most => most,
        };
        let is_time = |training: &Training| {
            let changes = active.rows() + active.kills().len() as u64;
            let (step, first) = changes_until_look(training);
            // What is frozen is about to be in files.
            let due = is_watched(training) && (full || changes >= look.changes.max(first)) && view.frozen.is_empty();
            if due {
                look.changes = changes + step.max(1);
            }
            due
        };
        let why = self.why_after(&view.version, &[active], most, is_time)?;
        // A model for rows in memory keeps them there until it is trained: where memory is limited they go to files first.
        let has_room = self.budget.limit().is_none();
        look.trains = matches!(why, Worse::By(_)) && self.keeps_vectors() && has_room;
        Some(if look.trains { Mending::Train } else { Mending::Flush })
    }

    /// Why lists will be worse with the rows of generations: searches scan more than `most` entries for each of live rows, or they are far from
    /// everything. `looks` is asked whether the lengths of lists are to be looked at, which takes all of them.
    fn why_after(
        &self,
        version: &Version,
        generations: &[&Generation],
        most: f64,
        looks: impl FnOnce(&Training) -> bool,
    ) -> Option<Worse> {
        let model = version.current_model().filter(|_| version.older_model().is_none())?;
        let training = version.manifest.training_of(model.file.hash())?;
        let filed = || generations.iter().filter(|generation| generation.model() == Some(model.id));
        let many = many_rows(&self.policy());
        let came = came_since(version, training.next_row, generations.last()?.end_row());
        let energy = filed().filter_map(|generation| generation.members()).map(Members::energy).sum();
        if let Some(why) = drift_with(training, came, filed().map(|filed| filed.rows()).sum(), energy, many) {
            return Some(Worse::By(why));
        }
        let looked = most.is_finite() && looks(training);
        let lengths = looked.then(|| lists_after(version, training, filed().copied()))?;
        match lengths.scanned() > most && scanned(version) <= most_in_files(&self.policy()) {
            true if is_crowded(training, came, lengths) => Some(Worse::By(Aged::Crowded)),
            true => Some(Worse::Dead),
            false => None,
        }
    }

    /// Asks for a model for rows in memory. The caller holds the commit lock.
    pub(super) fn ask_for_model(&self) {
        let mut pending = self.pending.lock();
        if pending.next_model == NextModel::None {
            pending.next_model = NextModel::Due;
        }
    }

    /// Whether what is frozen is better flushed later, since a model is being trained for it: not if the next delta is about to be full.
    pub(super) fn waits_for_model(&self, pending: &Pending) -> bool {
        let active = &self.view.load().active;
        let filled = active.memory_bytes() as u64 >= self.options.delta_bytes() / 2
            || active.rows() >= self.options.flush_rows / 2;
        pending.next_model != NextModel::None && pending.frozen < MAX_FROZEN && !filled
    }

    /// Trains a model for rows in memory, if a commit asked for that, and has the rows filed by it; true if anything was done. If there is no room for
    /// another model the rows are filed in the lists there are. The caller holds `compacting`.
    pub(super) fn train_for_memory(&self, control: &Control, report: &mut CompactReport) -> Result<bool> {
        {
            let mut pending = self.pending.lock();
            if pending.next_model != NextModel::Due {
                return Ok(false);
            }
            pending.next_model = NextModel::Begun;
        }
        let mut begun = Begun { shared: self, then: NextModel::None };
        let outcome = self.train_begun(control, report);
        let cancelled = outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Cancelled);
        if cancelled && self.options.background == Background::Thread {
            // Whoever compacts next goes on with it.
            begun.then = NextModel::Due;
        } else if cancelled || matches!(outcome, Ok(false)) {
            // Nothing was done: what else comes into the delta may call for it again. After another error that would fail again with every commit.
            self.writer.lock().next_look.trains = false;
        }
        outcome
    }

    fn train_begun(&self, control: &Control, report: &mut CompactReport) -> Result<bool> {
        let view = self.view.load_full();
        let Some((lists, why)) = self.training_for(&view) else { return Ok(false) };
        // The manifest will say which rows were trained on: their numbers may not go to others after a power cut.
        let synced = if self.durable_seq() < view.seq { self.sync().map(drop) } else { Ok(()) };
        let trained = synced.and_then(|()| self.train(&view, lists, Some(why), control));
        drop(view);
        match trained.and_then(|change| self.install_step(ListStep::Retrain(lists, Some(why)), change, report)) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::OverBudget | ErrorKind::NoSpace) => {
                tracing::warn!(%error, "there is no room for a model for the rows in memory; they go to the lists there are");
                self.roll_to_new_model();
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// The lists of the model that rows in memory call for, and why, if they still do: they may have gone to files meanwhile, since memory was full.
    fn training_for(&self, view: &View) -> Option<(usize, Aged)> {
        let generations: Vec<&Generation> = view.generations().collect();
        let lists = self.schema.index_kind().lists()?.lists_for(view.count);
        match self.why_after(&view.version, &generations, most_in_files(&self.policy()), is_watched)? {
            Worse::By(why) if view.count > 0 => Some((lists, why)),
            _ => None,
        }
    }

    /// The newest model with more lists, for rows that it has none for, if that is why it has aged and there would be so many lists for all rows.
    /// `None` if it has to be trained anew: there would be too many lists; or their number was asked for, or they are not around the means of rows, or
    /// they share codewords.
    pub(super) fn extend(
        &self,
        view: &View,
        why: Aged,
        job: &ModelJob<'_>,
        lists: usize,
        bytes: u64,
    ) -> Result<Option<Made>> {
        let most_lists = match why {
            Aged::Foreign => lists * 5 / 4,
            // Their lists are among others that searches look at: more of those would take more lists to find as much.
            Aged::Crowded => lists * 9 / 8,
            Aged::Grown | Aged::Drifted | Aged::Unbalanced => return Ok(None),
        };
        let version = &view.version;
        let plain = |lists: IvfOptions| lists.wanted_nlist().is_none() && lists.wanted_anchors() == Anchors::KMeans;
        let plain = self.schema.index_kind().lists().is_some_and(plain);
        let model = version.current_model().filter(|model| plain && model.file.codebook().is_none());
        let Some((model, trained)) =
            model.and_then(|model| Some((model, version.manifest.training_of(model.file.hash())?)))
        else {
            return Ok(None);
        };
        let came = came_since(version, trained.next_row, view.active.end_row()).min(self.most_filed());
        let _working = self.budget.reserve(Share::Compaction, Filing::memory(model, came))?;
        let new = LivePoints::since(view, &self.schema, trained.next_row, came as usize)?;
        let filed = view.generations().filter(|generation| generation.model() == Some(model.id));
        let lengths = lengths_after(version, filed);
        let old = Extended { model, trained, lengths: &lengths, most_lists };
        job.extend(&new, &old, self.new_file_id(), bytes)
    }
}

/// A training that has begun; when it ends, however it does, whoever waits for it goes on.
struct Begun<'s> {
    shared: &'s Shared,
    then: NextModel,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.shared.pending.lock().next_model = self.then;
        self.shared.pending_changed.notify_all();
    }
}

/// Why lists will be worse.
enum Worse {
    /// That makes them aged.
    By(Aged),
    /// Many of their rows are dead.
    Dead,
}
