//! From rows to lists: training a model, filing rows that are in no list, merging list segments.
//!
//! A collection with lists begins without any. Once its files have enough live rows a model is trained and named by a manifest (one step); then
//! row files that are not in lists are filed, some neighbours at a time (a step each); from the model on, flushes write list segments themselves.
//! A model that has aged is followed by another one, to which list segments are converted one by one: see `retrain`. Each step is one manifest: a crash leaves the state before it or after it, and orphans. Until rows are filed they are searched one by one, so
//! every state answers alike.

use std::ops::Range;
use std::sync::Arc;

use super::bulk::Ahead;
use super::compact::{Compact, CompactReport, MOST_BYTES_AT_CLOSE};
use super::crew::Crew;
use super::flush::{older_manifests, publish, remove_all};
use super::retrain::{list_skew, scanned};
use super::shared::{Shared, count};
use crate::budget::Share;
use crate::compaction::{
    Aged, Control, Filed, Filing, ListState, LivePoints, Made, ModelJob, Place, anchor_memory, choose_lists,
    codebook_memory, merge_lists, next_old, next_unfiled, rows_for_lists,
};
use crate::delta::Generation;
use crate::error::{Error, ErrorKind, Result};
use crate::format::list::{ListCode, ListShape};
use crate::kernel::cluster::{Parallel, Training};
use crate::kernel::padded_dim;
use crate::manifest::{HashedEntry, Training as TrainedOn};
use crate::options::{Codes, IndexKind, IvfOptions};
use crate::planted::{self, Bug};
use crate::segment::ListFile;
use crate::snapshot::{Calibrated, LiveRows, OpenModel, Snapshot, Version, View, calibrate};
use crate::storage::{FileId, FileKind, FileName};

/// Most rows of a list segment that filing makes; merges make larger ones.
const MOST_FILED: u64 = 1 << 20;
/// Most bytes that training may hold.
const MOST_TRAINING: u64 = 1 << 30;
/// Rows of the sample that each list must have at least.
const LEAST_SAMPLE: usize = 8;

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ListStep {
    /// Train a model of so many lists.
    Train(usize),
    /// Train another model of so many lists, for this reason; `None`: it was asked for.
    Retrain(usize, Option<Aged>),
    /// File these row files.
    File(Range<usize>),
    /// Put these list segments, which are of an older model, into the lists of the newest.
    Convert(Range<usize>),
    /// Merge these list segments.
    Merge(Range<usize>),
    /// Measure how many lists find what part of the nearest rows.
    Calibrate,
    /// See whether they still do, and measure it again if not.
    CheckCalibration,
}

/// What a step changes: files that are written, synced and read back, and that no manifest names yet.
#[derive(Default)]
pub(super) struct ListChange {
    pub(super) model: Option<(HashedEntry, Arc<OpenModel>)>,
    /// List segments that others replace.
    pub(super) gone: Vec<FileId>,
    pub(super) new: Vec<(HashedEntry, Arc<ListFile>)>,
    /// Row files that are in lists from now on.
    pub(super) filed: Vec<FileId>,
    /// What was measured, in place of what was measured before, and how uneven the lists were then.
    pub(super) calibration: Option<(Calibrated, f32)>,
    /// What a model was trained on, in place of what was known of it.
    pub(super) training: Option<TrainedOn>,
    /// Rows that came after training and were filed, and the sum of their squared distances from their centroids.
    pub(super) fresh: (u64, f64),
}

/// Live rows of neighbouring files, from a place up to a row number.
pub(super) struct ToFile<'a> {
    pub(super) files: &'a [LiveRows],
    pub(super) first: Place,
    pub(super) last_row: u64,
    /// At least as many as there are.
    pub(super) live: u64,
}

/// What list steps are for.
pub(super) struct Wanted {
    pub(super) what: Compact,
    /// There was no room for another model: the one there is stays.
    pub(super) no_room: Option<Error>,
}

impl Wanted {
    pub(super) fn of(what: Compact) -> Wanted {
        Wanted { what, no_room: None }
    }
}

impl ListChange {
    /// The names of the files made.
    fn made(&self) -> Vec<FileName> {
        let model = self.model.iter().map(|(entry, _)| FileName::File(FileKind::Model, entry.file.id));
        model.chain(self.new.iter().map(|(entry, _)| FileName::File(FileKind::List, entry.file.id))).collect()
    }

    fn bytes(&self) -> u64 {
        let model = self.model.iter().map(|(entry, _)| entry.file.facts.len);
        model.chain(self.new.iter().map(|(entry, _)| entry.file.facts.len)).sum()
    }
}

impl Shared {
    /// What has to be done to have all rows of files in few list segments of a good model; `None` if nothing, or if the collection has
    /// no lists.
    pub(super) fn next_list_step(&self, version: &Version, wanted: &Wanted) -> Result<Option<ListStep>> {
        let Some(options) = self.schema.index_kind().lists() else { return Ok(None) };
        if version.current_model().is_none() {
            return Ok(self.next_training(version, &options));
        }
        if let Some(step) = self.next_retraining(version, wanted, &options) {
            return Ok(Some(step));
        }
        let files: Vec<(bool, u64)> = version.rows.iter().map(|rows| (rows.in_lists(), rows.live())).collect();
        if let Some(range) = next_unfiled(&files, self.most_filed()) {
            return Ok(Some(ListStep::File(range)));
        }
        let states = list_states(version)?;
        if let Some(range) = next_old(&states, self.most_filed()).filter(|_| wanted.no_room.is_none()) {
            return Ok(Some(ListStep::Convert(range)));
        }
        let merge =
            choose_lists(&states, &self.policy(), wanted.what == Compact::Full, scanned(version)).map(ListStep::Merge);
        Ok(merge.or_else(|| self.next_calibration(version)))
    }

    fn next_training(&self, version: &Version, options: &IvfOptions) -> Option<ListStep> {
        let live = version.rows.iter().map(LiveRows::live).sum();
        self.lists_of(live, options).map(ListStep::Train)
    }

    /// Lists that a first model of so many rows has; none if they are too few.
    fn lists_of(&self, live: u64, options: &IvfOptions) -> Option<usize> {
        let asked = matches!(self.schema.index_kind(), IndexKind::Ivf(_));
        let enough = live > 0 && live >= rows_for_lists(asked, options.wanted_nlist());
        enough.then(|| options.lists_for(live))
    }

    /// Lists of the model that so many rows get which are to be the first ones of the collection.
    pub(super) fn first_lists(&self, live: u64) -> Option<usize> {
        let (view, options) = (self.view.load(), self.schema.index_kind().lists()?);
        let first = view.version.rows.is_empty() && view.version.current_model().is_none();
        self.lists_of(live, &options).filter(|_| first)
    }

    /// Rows that are filed at a time.
    pub(super) fn most_filed(&self) -> u64 {
        const BYTES_PER_ROW: u64 = 32;
        let room = self.budget.limit().map_or(u64::MAX, |limit| limit / 16 / BYTES_PER_ROW);
        room.clamp(1 << 12, MOST_FILED)
    }

    /// One step. The caller holds `compacting`.
    ///
    /// 1. See that the disk and the budget will hold it.
    /// 2. Write the model or the list segments; each is synced and read back. Nothing is locked. A crash: orphans.
    /// 3. With flushes held off: publish the next manifest. A crash in it: the old or the new manifest counts, and both tell the same rows.
    /// 4. Install: swap the view under the commit lock.
    /// 5. Remove what was replaced. A crash: orphans.
    pub(super) fn take_list_step(
        &self,
        version: &Version,
        step: ListStep,
        control: &Control,
        report: &mut CompactReport,
    ) -> Result<()> {
        let change = match &step {
            ListStep::Train(nlist) => self.train(&self.files_alone(), *nlist, None, control)?,
            ListStep::Retrain(_, why) if !self.keeps_vectors() => self.add_lists(version, *why, control)?,
            ListStep::Retrain(nlist, why) => self.train(&self.files_alone(), *nlist, *why, control)?,
            ListStep::File(range) => self.file(version, range.clone(), control, report)?,
            ListStep::Convert(range) if !self.keeps_vectors() => {
                self.move_segments(version, range.clone(), control, report)?
            }
            ListStep::Convert(range) => self.convert(version, range.clone(), control, report)?,
            ListStep::Merge(range) => self.merge_segments(version, range.clone(), control, report)?,
            ListStep::CheckCalibration if self.calibration_holds(version, control)? => return Ok(()),
            ListStep::Calibrate | ListStep::CheckCalibration => {
                let snapshot = Snapshot::new(self.view.load_full(), self.schema.clone());
                let found = calibrate(&snapshot, &Crew::of(self), &|| control.check())?;
                ListChange { calibration: Some((found, list_skew(version))), ..ListChange::default() }
            }
        };
        self.install_step(step, change, report)
    }

    /// Steps 3 to 5, and what is counted.
    pub(super) fn install_step(&self, step: ListStep, change: ListChange, report: &mut CompactReport) -> Result<()> {
        let (made, bytes, trained) = (change.made(), change.bytes(), change.model.is_some());
        if let Err(error) = self.install_lists(change) {
            if !error.is_sync_failure() {
                remove_all(&*self.storage, &made);
            }
            return Err(self.judge(error));
        }
        report.bytes_written += bytes;
        count(&self.counters.list_bytes, bytes);
        match step {
            ListStep::Train(_) => self.roll_to_new_model(),
            ListStep::Retrain(..) if !trained => {}
            ListStep::Retrain(_, why) => {
                tracing::info!(?why, "a new model was trained; list segments are converted to it one by one");
                report.retrains += 1;
                count(&self.counters.retrains, 1);
                self.roll_to_new_model();
            }
            ListStep::File(_) => count(&self.counters.filings, 1),
            ListStep::Convert(_) => count(&self.counters.conversions, 1),
            ListStep::Calibrate | ListStep::CheckCalibration => {}
            ListStep::Merge(_) => {
                report.list_merges += 1;
                count(&self.counters.list_merges, 1);
            }
        }
        Ok(())
    }

    /// Rows in memory are filed by the new model, and so are those to come.
    pub(super) fn roll_to_new_model(&self) {
        if let Err(error) = self.flush_only() {
            tracing::warn!(%error, "the rows in memory could not be moved to files; they get their lists later");
        }
    }

    pub(super) fn keeps_vectors(&self) -> bool {
        self.schema.row_format().keeps_vectors()
    }

    pub(super) fn ids(&self, version: &Version) -> (u128, u128) {
        (self.collection, version.manifest.own_origin())
    }

    /// The files of the newest view without what is in memory.
    pub(super) fn files_alone(&self) -> View {
        let view = self.view.load();
        let (version, count) = (view.version.clone(), view.version.rows.iter().map(LiveRows::live).sum());
        let active = Generation::new(version.manifest.next_row);
        View { version, frozen: Vec::new(), active, seq: view.seq, count }
    }

    /// A model of all rows of a view; an extended one if that will do, for this reason.
    pub(super) fn train(&self, view: &View, nlist: usize, why: Option<Aged>, control: &Control) -> Result<ListChange> {
        let version = &view.version;
        let rows = || LivePoints::since(view, &self.schema, 0, usize::MAX);
        let extend = |job: &ModelJob<'_>, lists, bytes| match why {
            Some(why) => self.extend(view, why, job, lists, bytes),
            None => Ok(None),
        };
        let made = self.train_on(rows, view.count, nlist, extend, self.ids(version), control)?;
        Ok(self.change_of(version, made, view.count, view.active.end_row()))
    }

    /// What a model changes that was trained on so many rows, those below a number.
    fn change_of(&self, version: &Version, made: Made, live: u64, next_row: u64) -> ListChange {
        let Made { entry, model, energy } = made;
        // If it is the model that there is, what was measured with it still holds.
        let known = version.manifest.training_of(&entry.hash).copied().unwrap_or_default();
        let measured =
            TrainedOn { changed: known.changed, skew: known.skew, scanned: known.scanned, ..TrainedOn::default() };
        let training = TrainedOn { model: entry.hash, rows: live, next_row, energy, ..measured };
        let mut change = ListChange { training: Some(training), ..ListChange::default() };
        match version.current_model().is_some_and(|current| *current.file.hash() == entry.hash) {
            // Nothing has changed since: the lists are what they would become.
            true => drop(remove_all(&*self.storage, &[FileName::File(FileKind::Model, entry.file.id)])),
            false => change.model = Some((entry, Arc::new(model))),
        }
        change
    }

    /// Trains so many lists, or fewer if there is little memory, on `live` rows, if `instead` makes no model: it is told the number of
    /// lists, and the bytes that training them on those rows takes.
    pub(super) fn train_on<'r>(
        &self,
        rows: impl FnOnce() -> Result<LivePoints<'r>>,
        live: u64,
        nlist: usize,
        instead: impl FnOnce(&ModelJob<'_>, usize, u64) -> Result<Option<Made>>,
        ids: (u128, u128),
        control: &Control,
    ) -> Result<Made> {
        let codes = self.schema.list_codes().unwrap_or_default();
        let book_bytes = codebook_memory(codes, live, padded_dim(self.schema.dim()));
        let anchor_bytes = anchor_memory(&self.schema, nlist as u64, live);
        let also = (book_bytes, anchor_bytes + live * 16);
        self.with_memory(nlist, (live, self.schema.dim()), also, ids, control, |job, lists, wanted| {
            match instead(job, lists, wanted)? {
                Some(made) => Ok(made),
                None => job.make(rows()?, self.new_file_id(), lists, wanted),
            }
        })
    }

    /// Has a model made of so many lists, or fewer if there is little memory, for as many rows of so many components: `make` is told the number of lists and the bytes
    /// that it may hold to train them. Room is kept for these, or for `also.0` if that is more, and for `also.1`.
    pub(super) fn with_memory<T>(
        &self,
        nlist: usize,
        (live, dim): (u64, usize),
        also: (u64, u64),
        ids: (u128, u128),
        control: &Control,
        make: impl FnOnce(&ModelJob<'_>, usize, u64) -> Result<T>,
    ) -> Result<T> {
        let crew = Crew::of(self);
        let most = self.budget.limit().map_or(MOST_TRAINING, |limit| (limit / 4).min(MOST_TRAINING));
        let needs = |lists: usize| {
            let training = Training::new(lists);
            training.bytes((lists * LEAST_SAMPLE).min(live as usize), dim, crew.threads())
        };
        let mut lists = nlist;
        // What was asked for is not changed in silence.
        while lists > 1
            && needs(lists) > most
            && self.schema.index_kind().lists().is_some_and(|l| l.wanted_nlist().is_none())
        {
            lists /= 2;
        }
        if needs(lists) > most {
            let what = format!(
                "training {lists} lists takes {} bytes of memory, a quarter of memory_budget is {most}",
                needs(lists)
            );
            return Err(
                Error::new(ErrorKind::OverBudget, what).with_hint("open the collection with a larger memory_budget")
            );
        }
        let wanted = Training::new(lists).bytes((lists * 40).min(live as usize), dim, crew.threads()).min(most);
        let model_bytes = self.most_model_bytes(lists as u64);
        self.refuse_without_room("model", model_bytes)?;
        let _working = self.budget.reserve(Share::Compaction, wanted.max(also.0) + also.1 + model_bytes)?;
        let job = ModelJob { storage: &*self.storage, schema: &self.schema, ids, parallel: &crew, control };
        make(&job, lists, wanted)
    }

    fn file(
        &self,
        version: &Version,
        range: Range<usize>,
        control: &Control,
        report: &mut CompactReport,
    ) -> Result<ListChange> {
        let files = version.rows.get(range).unwrap_or_default();
        let filed = files.iter().map(|rows| rows.file.id_of_file()).collect();
        let mut change = ListChange { filed, ..ListChange::default() };
        let live = files.iter().map(LiveRows::live).sum();
        let rows = ToFile { files, first: Place::default(), last_row: u64::MAX, live };
        report.filed += self.file_rows(version, rows, control, &mut change)?;
        Ok(change)
    }

    /// Files rows by the newest model; how many.
    pub(super) fn file_rows(
        &self,
        version: &Version,
        rows: ToFile<'_>,
        control: &Control,
        change: &mut ListChange,
    ) -> Result<u64> {
        let Some(model) = version.current_model().filter(|_| rows.live > 0) else { return Ok(0) };
        self.refuse_without_room("list segment", self.most_filed_bytes(model.file.lists() as u64, rows.live))?;
        let most = rows.live.min(self.most_filed());
        let _working = self.budget.reserve(Share::Compaction, Filing::memory(model, most))?;
        let crew = Crew::of(self);
        let filing = Filing::new(&*self.storage, &self.schema, self.ids(version), model, &crew, control)?;
        let filing = filing.with_fresh_from(version.manifest.first_fresh(model.file.hash()));
        let (mut next, mut filed) = (rows.first, 0);
        loop {
            match filing.file(rows.files, &mut next, most as usize, rows.last_row, &|| self.new_file_id()) {
                Ok(Some(Filed { entry, file, fresh })) => {
                    filed += entry.file.facts.rows;
                    change.fresh = (change.fresh.0 + fresh.0, change.fresh.1 + fresh.1);
                    change.new.push((entry, Arc::new(file)));
                }
                Ok(None) => return Ok(filed),
                Err(error) => {
                    remove_all(&*self.storage, &change.made());
                    return Err(error);
                }
            }
        }
    }

    /// The most bytes that list segments of so many rows take: each list ends in a block that may have one entry.
    pub(super) fn most_filed_bytes(&self, lists: u64, rows: u64) -> u64 {
        let Some(options) = self.schema.index_kind().lists() else { return 0 };
        let dim = self.schema.dim();
        let copies = if options.spills(dim) { 2 } else { 1 };
        let (entry, list) = shape_for(options.codes_for(dim), padded_dim(dim)).map_or((0, 0), most_bytes);
        let segments = rows.div_ceil(self.most_filed().max(1));
        rows.saturating_mul(copies).saturating_mul(entry) + segments * (lists * list + (1 << 20))
    }

    /// The most bytes that a model of so many lists takes.
    pub(super) fn most_model_bytes(&self, lists: u64) -> u64 {
        let padded = padded_dim(self.schema.dim()) as u64;
        let book = match self.schema.list_codes() {
            Some(Codes::Product { codebook_size, .. }) => padded * 4 * u64::from(codebook_size),
            _ => 0,
        };
        (lists * 5 / 4 + 1).saturating_mul(padded * 2 + 256) + book + (1 << 20)
    }

    /// What the steps would do, added to a report.
    pub(super) fn plan_lists(&self, version: &Version, what: Compact, report: &mut CompactReport) -> Result<()> {
        let Some(options) = self.schema.index_kind().lists() else { return Ok(()) };
        let retraining =
            version.current_model().and_then(|_| self.next_retraining(version, &Wanted::of(what), &options));
        let lists =
            match (version.current_model(), retraining.as_ref().or(self.next_training(version, &options).as_ref())) {
                (Some(_), Some(ListStep::Retrain(nlist, _))) => {
                    report.retrains += 1;
                    report.bytes_written += self.most_model_bytes(*nlist as u64);
                    *nlist as u64 * 5 / 4 + 1
                }
                (Some(model), _) => model.file.lists() as u64,
                (None, Some(ListStep::Train(nlist))) => {
                    report.bytes_written += self.most_model_bytes(*nlist as u64);
                    *nlist as u64 * 5 / 4 + 1
                }
                _ => return Ok(()),
            };
        let facts = version.lists.iter().map(|file| file.facts().first_row);
        let outdated = |state: ListState| ListState { old: state.old || retraining.is_some(), ..state };
        let mut states: Vec<(u64, ListState)> = facts.zip(list_states(version)?.into_iter().map(outdated)).collect();
        let mut files: Vec<(bool, u64)> = version.rows.iter().map(|rows| (rows.in_lists(), rows.live())).collect();
        while let Some(range) = next_unfiled(&files, self.most_filed()) {
            let rows = files.get(range.clone()).unwrap_or_default().iter().map(|(_, live)| live).sum();
            let first = version.rows.get(range.start).map_or(0, |rows| rows.file.first_row());
            let bytes = self.most_filed_bytes(lists, rows);
            files.get_mut(range).unwrap_or_default().iter_mut().for_each(|file| file.0 = true);
            if rows > 0 {
                report.filed += rows;
                report.bytes_written += bytes;
                states.push((first, ListState::of_new_file(rows, bytes)));
            }
        }
        states.sort_by_key(|(first, _)| *first);
        let mut states: Vec<ListState> =
            states.into_iter().map(|(_, state)| ListState { unfiled_before: 0, ..state }).collect();
        while let Some(range) = next_old(&states, self.most_filed()) {
            let group = states.get(range.clone()).unwrap_or_default();
            let rows = group.iter().map(|list| list.rows.saturating_sub(list.dead)).sum();
            let bytes = self.most_filed_bytes(lists, rows);
            report.refiled += rows;
            report.bytes_written += if rows > 0 { bytes } else { 0 };
            states.splice(range, (rows > 0).then_some(ListState::of_new_file(rows, bytes)));
        }
        let scanned = scanned(version);
        while let Some(range) = choose_lists(&states, &self.policy(), what == Compact::Full, scanned) {
            let group = states.get(range.clone()).unwrap_or_default();
            let rows = group.iter().map(|list| list.rows.saturating_sub(list.dead)).sum();
            let (bytes, most) =
                group.iter().fold((0, 0), |(read, most), list| (read + list.bytes, most + list.rewritten));
            report.list_merges += 1;
            report.bytes_read += bytes;
            report.bytes_written += if rows > 0 { most + (1 << 20) } else { 0 };
            states.splice(range, (rows > 0).then_some(ListState::of_new_file(rows, most)));
        }
        Ok(())
    }

    fn merge_segments(
        &self,
        version: &Version,
        range: Range<usize>,
        control: &Control,
        report: &mut CompactReport,
    ) -> Result<ListChange> {
        let inputs: Vec<&ListFile> =
            version.lists.get(range.clone()).unwrap_or_default().iter().map(|f| &**f).collect();
        let gone = inputs.iter().map(|file| file.id_of_file()).collect();
        let mut change = ListChange { gone, ..ListChange::default() };
        report.bytes_read += inputs.iter().map(|file| file.facts().len).sum::<u64>();
        let mut live = 0;
        for file in &inputs {
            live += live_between(version, file.facts().first_row, file.facts().last_row)?;
        }
        if live == 0 {
            return Ok(change);
        }
        let most = inputs.iter().map(|file| file.most_rewritten()).sum::<u64>() + (1 << 20);
        self.refuse_without_room("merge of lists", most)?;
        let lists = inputs.first().map_or(0, |file| file.lists() as u64);
        let _working = self.budget.reserve(Share::Compaction, (3 << 20) + lists * 64 + self.bytes_of_lists(&inputs))?;
        // A row that cannot be looked up is kept: whoever reads it meets what is wrong.
        let in_memory = |row: u64| planted::is(Bug::MergeListsByMemory) && self.view.load().killed(row);
        let dead = |row: u64| matches!(version.locate_live(row), Ok(None)) || in_memory(row);
        let new_id = || self.new_file_id();
        let (entry, file) = merge_lists(&*self.storage, self.ids(version), &inputs, &dead, &new_id, control)?;
        change.new.push((entry, Arc::new(file)));
        Ok(change)
    }

    /// What a merge of segments holds of lists: the largest of each input where files are read, and what is made of them.
    pub(super) fn bytes_of_lists(&self, inputs: &[&ListFile]) -> u64 {
        let bytes = |input: &ListFile, list| input.list_bytes(list, input.shape().of_new_files());
        let largest = |input: &&ListFile| (0..input.lists()).map(|list| bytes(input, list)).max().unwrap_or(0) as u64;
        2 * inputs.iter().map(largest).sum::<u64>()
    }

    /// Steps 3 to 5.
    fn install_lists(&self, change: ListChange) -> Result<()> {
        let _no_flush = self.flushing.lock();
        self.check_writable()?;
        let current = self.view.load().version.clone();
        let mut manifest = current.manifest.successor();
        manifest.epoch = self.epoch;
        let mut next = (*current).clone();
        let ListChange { model, gone, new, filed, calibration, training, fresh } = change;
        let current_hash = current.current_model().map(|model| *model.file.hash());
        if let Some((entry, model)) = model {
            if let Some(hash) = current_hash {
                manifest.hand_calibration_on(&hash, &entry);
            }
            manifest.models.push(entry);
            next.models.push(model);
        }
        if let (Some((found, skew)), Some(hash)) = (calibration, current_hash) {
            manifest.calibration.retain(|entry| entry.model != hash);
            manifest.calibration.extend(found.entries);
            if let Some(training) = manifest.training_of_mut(&hash) {
                training.changed = 0;
                if training.skew == 0.0 {
                    (training.skew, training.scanned) = (skew, found.scanned);
                }
            }
        }
        if let Some(training) = training {
            manifest.training.retain(|entry| entry.model != training.model);
            manifest.training.push(training);
        }
        if let Some(training) = current_hash.and_then(|hash| manifest.training_of_mut(&hash)) {
            training.add(fresh.0, fresh.1);
        }
        manifest.lists.retain(|entry| !gone.contains(&entry.file.id));
        next.lists.retain(|file| !gone.contains(&file.id_of_file()));
        for (entry, file) in new {
            let first_row = entry.file.facts.first_row;
            let at = manifest.lists.partition_point(|other| other.file.facts.first_row < first_row);
            manifest.lists.insert(at, entry);
            next.lists.insert(at, file);
        }
        let dropped_models = manifest.drop_unnamed_models();
        next.models.retain(|model| !dropped_models.iter().any(|gone| gone.file.id == model.id));
        manifest.row_files.iter_mut().filter(|entry| filed.contains(&entry.id)).for_each(|entry| entry.in_lists = true);
        let listed = |rows: LiveRows| match filed.contains(&rows.file.id_of_file()) {
            true => rows.with_lists(true),
            false => rows,
        };
        next.rows = next.rows.into_iter().map(listed).collect();
        let log = self.log_after_clean_open()?;
        if let Some(log) = &log {
            manifest.first_wal = log.id();
        }
        manifest.next_file_number = self.next_file_number() + 1;
        if let Err(error) = publish(&*self.storage, &manifest, self.new_file_id()) {
            if let Some(log) = &log
                && !error.is_sync_failure()
            {
                remove_all(&*self.storage, &[FileName::File(FileKind::Wal, log.id())]);
            }
            return Err(error);
        }
        let mut dropped: Vec<FileName> = gone.into_iter().map(|id| FileName::File(FileKind::List, id)).collect();
        dropped.extend(dropped_models.iter().map(|model| FileName::File(FileKind::Model, model.file.id)));
        dropped.extend(older_manifests(manifest.generation));
        next.manifest = Arc::new(manifest);
        dropped.extend(self.swap_version(|install| Version { install, ..next }, None, log));
        count(&self.counters.orphans_left, remove_all(&*self.storage, &dropped));
        Ok(())
    }

    /// Trains, unless the rows are those that `ahead` was trained on, and files, at the end of a bulk load; merges nothing. Returns the bytes
    /// written.
    pub(super) fn file_all(&self, control: &Control, mut ahead: Option<Ahead<'_>>) -> Result<u64> {
        let mut report = CompactReport::default();
        if self.schema.index_kind() == IndexKind::Flat {
            return Ok(0);
        }
        let mut wanted = Wanted::of(Compact::Auto);
        loop {
            let _one_at_a_time = self.compacting.lock();
            control.check()?;
            self.check_writable()?;
            let version = self.view.load().version.clone();
            match self.next_list_step(&version, &wanted)? {
                None | Some(ListStep::Merge(_)) => return Ok(report.bytes_written),
                Some(ListStep::Train(lists)) if ahead.is_some() => {
                    let made = ahead.take().and_then(|ahead| ahead.model_for(&version.rows, lists));
                    let change = match made {
                        Some((made, live)) => self.change_of(&version, made, live, version.manifest.next_row),
                        None => self.train(&self.files_alone(), lists, None, control)?,
                    };
                    self.install_step(ListStep::Train(lists), change, &mut report)?;
                }
                Some(step) => self.take_or_leave(&version, step, &mut wanted, control, &mut report)?,
            }
        }
    }

    /// A step; if there is no room for what makes the model another one, the old one is kept and the error is left in `wanted`.
    pub(super) fn take_or_leave(
        &self,
        version: &Version,
        step: ListStep,
        wanted: &mut Wanted,
        control: &Control,
        report: &mut CompactReport,
    ) -> Result<()> {
        let trains = matches!(step, ListStep::Train(_) | ListStep::Retrain(..));
        let optional = matches!(step, ListStep::Retrain(..) | ListStep::Convert(_));
        match self.take_list_step(version, step, control, report) {
            Err(error) if optional && matches!(error.kind(), ErrorKind::OverBudget | ErrorKind::NoSpace) => {
                tracing::warn!(%error, "there is no room for lists of a new model; the rows stay in those of the old one");
                wanted.no_room = Some(error);
                Ok(())
            }
            Ok(()) if trains && wanted.what == Compact::Retrain => {
                wanted.what = Compact::Auto;
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Steps that are due and small, at the end of a handle. The caller holds `compacting`.
    pub(super) fn small_list_steps(&self, control: &Control, report: &mut CompactReport) -> Result<()> {
        while self.poison_cause().is_none() {
            let version = self.view.load().version.clone();
            let Some(step) = self.next_list_step(&version, &Wanted::of(Compact::Auto))? else { return Ok(()) };
            let row_bytes = |rows: &[LiveRows]| rows.iter().map(|rows| rows.file.facts().len).sum::<u64>();
            let bytes = match &step {
                ListStep::Train(_) | ListStep::Retrain(..) => row_bytes(&version.rows),
                ListStep::File(range) => row_bytes(version.rows.get(range.clone()).unwrap_or_default()),
                ListStep::Convert(range) => {
                    let inputs = version.lists.get(range.clone()).unwrap_or_default();
                    inputs.iter().map(|file| file.facts().rows * self.schema.vector_bytes() as u64).sum()
                }
                ListStep::Merge(range) => {
                    let inputs = version.lists.get(range.clone()).unwrap_or_default();
                    inputs.iter().map(|file| file.facts().len).sum()
                }
                // Whoever opens it next has the time.
                ListStep::Calibrate | ListStep::CheckCalibration => return Ok(()),
            };
            if bytes > MOST_BYTES_AT_CLOSE {
                return Ok(());
            }
            self.take_list_step(&version, step, control, report)?;
        }
        Ok(())
    }
}

/// The shape of new lists with such codes.
fn shape_for(codes: Codes, padded: usize) -> Option<ListShape> {
    let code = match codes {
        Codes::Bits(bits) => ListCode::Bits(bits.into()),
        Codes::Product { m, codebook_size } => ListCode::Product { parts: m, size: codebook_size },
        _ => ListCode::Rows,
    };
    ListShape::new(padded, code)
}

/// The most bytes that an entry takes, with some for the pages and checksums that name it, and a list beside its entries: a header, two checksums, a
/// block that may have one entry, and records that end with a line.
fn most_bytes(shape: ListShape) -> (u64, u64) {
    let block = shape.parts(1).scan_bytes() as u64;
    (block.div_ceil(32) + shape.stride() as u64 + 8, block + 128)
}

/// What the policy knows of the list segments.
pub(super) fn list_states(version: &Version) -> Result<Vec<ListState>> {
    let state = |file: &Arc<ListFile>| {
        let facts = file.facts();
        let before = version.rows.iter().filter(|rows| !rows.in_lists() && rows.file.first_row() < facts.first_row);
        let live = live_between(version, facts.first_row, facts.last_row)?;
        Ok(ListState {
            rows: facts.rows,
            dead: facts.rows.saturating_sub(live),
            bytes: facts.len,
            rewritten: file.most_rewritten(),
            unfiled_before: before.count(),
            old: version.current_model().is_some_and(|model| model.file.hash() != file.model()),
        })
    };
    version.lists.iter().map(state).collect()
}

/// Live rows of files that are in lists, by the tombstone files, among these numbers.
pub(super) fn live_between(version: &Version, first: u64, last: u64) -> Result<u64> {
    let mut live = 0;
    for rows in version.rows.iter().filter(|rows| rows.in_lists()) {
        if rows.file.last_row() >= first && rows.file.first_row() <= last {
            live += rows.live_between(first, last)?;
        }
    }
    Ok(live)
}
