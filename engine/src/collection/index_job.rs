//! From rows to lists: training a model, filing rows that are in no list, merging list segments.
//!
//! A collection with lists begins without any. Once its files have enough live rows a model is trained and named by a manifest (one step); then
//! row files that are not in lists are filed, some neighbours at a time (a step each); from the model on, flushes write list segments themselves.
//! Each step is one manifest: a crash leaves the state before it or after it, and orphans. Until rows are filed they are searched one by one, so
//! every state answers alike.

use std::ops::Range;
use std::sync::Arc;

use super::compact::{Compact, CompactReport, MOST_BYTES_AT_CLOSE};
use super::crew::Crew;
use super::flush::{older_manifests, publish, remove_all};
use super::shared::{Shared, count};
use crate::budget::Share;
use crate::compaction::{
    Control, Filing, ListState, ModelJob, Place, choose_lists, merge_lists, next_unfiled, rows_for_lists,
};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::cluster::{Parallel, Training};
use crate::kernel::padded_dim;
use crate::manifest::{Calibration, HashedEntry};
use crate::options::{IndexKind, IvfOptions};
use crate::planted::{self, Bug};
use crate::segment::ListFile;
use crate::snapshot::{FEWEST_CALIBRATED, LiveRows, OpenModel, Snapshot, Version, calibrate};
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
    /// File these row files.
    File(Range<usize>),
    /// Merge these list segments.
    Merge(Range<usize>),
    /// Measure how many lists find what part of the nearest rows.
    Calibrate,
}

/// What a step changes: files that are written, synced and read back, and that no manifest names yet.
#[derive(Default)]
struct ListChange {
    model: Option<(HashedEntry, Arc<OpenModel>)>,
    /// List segments that others replace.
    gone: Vec<FileId>,
    new: Vec<(HashedEntry, Arc<ListFile>)>,
    /// Row files that are in lists from now on.
    filed: Vec<FileId>,
    /// What was measured, in place of what was measured before.
    calibration: Option<Vec<Calibration>>,
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
    /// What has to be done to have all rows of files in few list segments; `None` if nothing, or if the collection has no lists.
    pub(super) fn next_list_step(&self, version: &Version, what: Compact) -> Result<Option<ListStep>> {
        let Some(options) = self.schema.index_kind().lists() else { return Ok(None) };
        if version.current_model().is_none() {
            return Ok(self.next_training(version, &options));
        }
        let files: Vec<(bool, u64)> = version.rows.iter().map(|rows| (rows.in_lists(), rows.live())).collect();
        if let Some(range) = next_unfiled(&files, self.most_filed()) {
            return Ok(Some(ListStep::File(range)));
        }
        let states = list_states(version)?;
        let merge = choose_lists(&states, &self.policy(), what == Compact::Full).map(ListStep::Merge);
        Ok(merge.or_else(|| calibration_is_due(version).then_some(ListStep::Calibrate)))
    }

    fn next_training(&self, version: &Version, options: &IvfOptions) -> Option<ListStep> {
        let live: u64 = version.rows.iter().map(LiveRows::live).sum();
        let asked = matches!(self.schema.index_kind(), IndexKind::Ivf(_));
        let enough = live > 0 && live >= rows_for_lists(asked, options.wanted_nlist());
        enough.then(|| ListStep::Train(options.lists_for(live)))
    }

    /// Rows that are filed at a time.
    fn most_filed(&self) -> u64 {
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
            ListStep::Train(nlist) => self.train(version, *nlist, control)?,
            ListStep::File(range) => self.file(version, range.clone(), control, report)?,
            ListStep::Merge(range) => self.merge_segments(version, range.clone(), control, report)?,
            ListStep::Calibrate => {
                let snapshot = Snapshot::new(self.view.load_full(), self.schema.clone());
                let found = calibrate(&snapshot, &mut || control.check())?;
                ListChange { calibration: Some(found), ..ListChange::default() }
            }
        };
        let (made, bytes) = (change.made(), change.bytes());
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
            ListStep::File(_) => count(&self.counters.filings, 1),
            ListStep::Calibrate => {}
            ListStep::Merge(_) => {
                report.list_merges += 1;
                count(&self.counters.list_merges, 1);
            }
        }
        Ok(())
    }

    /// Rows that are in memory have no lists yet; those to come get them.
    fn roll_to_new_model(&self) {
        if let Err(error) = self.flush_only() {
            tracing::warn!(%error, "the rows in memory could not be moved to files; they get their lists later");
        }
    }

    fn ids(&self, version: &Version) -> (u128, u128) {
        (self.collection, version.manifest.own_origin())
    }

    fn train(&self, version: &Version, nlist: usize, control: &Control) -> Result<ListChange> {
        let (crew, dim) = (Crew::of(self), self.schema.dim());
        let live: u64 = version.rows.iter().map(LiveRows::live).sum();
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
        let _working = self.budget.reserve(Share::Compaction, wanted + live * 8 + model_bytes)?;
        let (schema, ids) = (&*self.schema, self.ids(version));
        let job = ModelJob { storage: &*self.storage, schema, ids, parallel: &crew, control };
        let (entry, model) = job.make(&version.rows, self.new_file_id(), lists, wanted)?;
        Ok(ListChange { model: Some((entry, Arc::new(model))), ..ListChange::default() })
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
        let live: u64 = files.iter().map(LiveRows::live).sum();
        let Some(model) = version.current_model().filter(|_| live > 0) else { return Ok(change) };
        self.refuse_without_room("list segment", self.most_filed_bytes(model.file.lists() as u64, live))?;
        let most = live.min(self.most_filed());
        let _working = self.budget.reserve(Share::Compaction, Filing::memory(model, most))?;
        let crew = Crew::of(self);
        let filing = Filing::new(&*self.storage, &self.schema, self.ids(version), model, &crew, control)?;
        let mut next = Place::default();
        loop {
            match filing.file(files, &mut next, most as usize, &|| self.new_file_id()) {
                Ok(Some((entry, file))) => {
                    report.filed += entry.file.facts.rows;
                    change.new.push((entry, Arc::new(file)));
                }
                Ok(None) => return Ok(change),
                Err(error) => {
                    remove_all(&*self.storage, &change.made());
                    return Err(error);
                }
            }
        }
    }

    /// The most bytes that list segments of so many rows take: each list ends in a block that may have one entry.
    fn most_filed_bytes(&self, lists: u64, rows: u64) -> u64 {
        let Some(options) = self.schema.index_kind().lists() else { return 0 };
        let dim = self.schema.dim();
        let padded = padded_dim(dim) as u64;
        let copies = if options.spills(dim) { 2 } else { 1 };
        let record = padded / 8 * u64::from(options.bits_for(dim)) + 24;
        let segments = rows.div_ceil(self.most_filed().max(1));
        rows.saturating_mul(copies).saturating_mul(record) + segments * (lists * (padded * 4 + 512) + (1 << 20))
    }

    /// The most bytes that a model of so many lists takes.
    fn most_model_bytes(&self, lists: u64) -> u64 {
        (lists * 5 / 4 + 1).saturating_mul(padded_dim(self.schema.dim()) as u64 * 2 + 256) + (1 << 20)
    }

    /// What the steps would do, added to a report.
    pub(super) fn plan_lists(&self, version: &Version, what: Compact, report: &mut CompactReport) -> Result<()> {
        let Some(options) = self.schema.index_kind().lists() else { return Ok(()) };
        let lists = match (version.current_model(), self.next_training(version, &options)) {
            (Some(model), _) => model.file.lists() as u64,
            (None, Some(ListStep::Train(nlist))) => {
                report.bytes_written += self.most_model_bytes(nlist as u64);
                nlist as u64 * 5 / 4 + 1
            }
            _ => return Ok(()),
        };
        let facts = version.lists.iter().map(|file| file.facts().first_row);
        let mut states: Vec<(u64, ListState)> = facts.zip(list_states(version)?).collect();
        let mut files: Vec<(bool, u64)> = version.rows.iter().map(|rows| (rows.in_lists(), rows.live())).collect();
        while let Some(range) = next_unfiled(&files, self.most_filed()) {
            let rows = files.get(range.clone()).unwrap_or_default().iter().map(|(_, live)| live).sum();
            let first = version.rows.get(range.start).map_or(0, |rows| rows.file.first_row());
            let bytes = self.most_filed_bytes(lists, rows);
            files.get_mut(range).unwrap_or_default().iter_mut().for_each(|file| file.0 = true);
            if rows > 0 {
                report.filed += rows;
                report.bytes_written += bytes;
                states.push((first, ListState { rows, dead: 0, bytes, unfiled_before: 0 }));
            }
        }
        states.sort_by_key(|(first, _)| *first);
        let mut states: Vec<ListState> =
            states.into_iter().map(|(_, state)| ListState { unfiled_before: 0, ..state }).collect();
        while let Some(range) = choose_lists(&states, &self.policy(), what == Compact::Full) {
            let group = states.get(range.clone()).unwrap_or_default();
            let rows = group.iter().map(|list| list.rows.saturating_sub(list.dead)).sum();
            let bytes = group.iter().map(|list| list.bytes).sum();
            report.list_merges += 1;
            report.bytes_read += bytes;
            report.bytes_written += if rows > 0 { bytes + (1 << 20) } else { 0 };
            states.splice(range, (rows > 0).then_some(ListState { rows, dead: 0, bytes, unfiled_before: 0 }));
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
        let bytes: u64 = inputs.iter().map(|file| file.facts().len).sum();
        report.bytes_read += bytes;
        let mut live = 0;
        for file in &inputs {
            live += live_between(version, file.facts().first_row, file.facts().last_row)?;
        }
        if live == 0 {
            return Ok(change);
        }
        self.refuse_without_room("merge of lists", bytes + (1 << 20))?;
        let lists = inputs.first().map_or(0, |file| file.lists() as u64);
        let _working = self.budget.reserve(Share::Compaction, (3 << 20) + lists * 64 + bytes / lists.max(1) * 4)?;
        // A row that cannot be looked up is kept: whoever reads it meets what is wrong.
        let in_memory = |row: u64| planted::is(Bug::MergeListsByMemory) && self.view.load().killed(row);
        let dead = |row: u64| matches!(version.locate_live(row), Ok(None)) || in_memory(row);
        let new_id = || self.new_file_id();
        let (entry, file) = merge_lists(&*self.storage, self.ids(version), &inputs, &dead, &new_id, control)?;
        change.new.push((entry, Arc::new(file)));
        Ok(change)
    }

    /// Steps 3 to 5.
    fn install_lists(&self, change: ListChange) -> Result<()> {
        let _no_flush = self.flushing.lock();
        self.check_writable()?;
        let current = self.view.load().version.clone();
        let mut manifest = current.manifest.successor();
        manifest.epoch = self.epoch;
        let mut next = (*current).clone();
        let ListChange { model, gone, new, filed, calibration } = change;
        if let Some(found) = calibration {
            manifest.calibration = found;
        }
        if let Some((entry, model)) = model {
            manifest.models.push(entry);
            next.models.push(model);
        }
        manifest.lists.retain(|entry| !gone.contains(&entry.file.id));
        next.lists.retain(|file| !gone.contains(&file.id_of_file()));
        for (entry, file) in new {
            let first_row = entry.file.facts.first_row;
            let at = manifest.lists.partition_point(|other| other.file.facts.first_row < first_row);
            manifest.lists.insert(at, entry);
            next.lists.insert(at, file);
        }
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
        dropped.extend(older_manifests(manifest.generation));
        next.manifest = Arc::new(manifest);
        dropped.extend(self.swap_version(|install| Version { install, ..next }, None, log));
        count(&self.counters.orphans_left, remove_all(&*self.storage, &dropped));
        Ok(())
    }

    /// Trains and files, at the end of a bulk load; merges nothing. Returns the bytes written.
    pub(super) fn file_all(&self, control: &Control) -> Result<u64> {
        let mut report = CompactReport::default();
        if self.schema.index_kind() == IndexKind::Flat {
            return Ok(0);
        }
        loop {
            let _one_at_a_time = self.compacting.lock();
            control.check()?;
            self.check_writable()?;
            let version = self.view.load().version.clone();
            match self.next_list_step(&version, Compact::Auto)? {
                Some(step @ (ListStep::Train(_) | ListStep::File(_) | ListStep::Calibrate)) => {
                    self.take_list_step(&version, step, control, &mut report)?;
                }
                _ => return Ok(report.bytes_written),
            }
        }
    }

    /// Steps that are due and small, at the end of a handle. The caller holds `compacting`.
    pub(super) fn small_list_steps(&self, control: &Control, report: &mut CompactReport) -> Result<()> {
        while self.poison_cause().is_none() {
            let version = self.view.load().version.clone();
            let Some(step) = self.next_list_step(&version, Compact::Auto)? else { return Ok(()) };
            let row_bytes = |rows: &[LiveRows]| rows.iter().map(|rows| rows.file.facts().len).sum::<u64>();
            let bytes = match &step {
                ListStep::Train(_) => row_bytes(&version.rows),
                ListStep::File(range) => row_bytes(version.rows.get(range.clone()).unwrap_or_default()),
                ListStep::Merge(range) => {
                    let inputs = version.lists.get(range.clone()).unwrap_or_default();
                    inputs.iter().map(|file| file.facts().len).sum()
                }
                // Whoever opens it next has the time.
                ListStep::Calibrate => return Ok(()),
            };
            if bytes > MOST_BYTES_AT_CLOSE {
                return Ok(());
            }
            self.take_list_step(&version, step, control, report)?;
        }
        Ok(())
    }
}

/// Whether nothing was measured yet with these lists, or with half or twice as many rows.
fn calibration_is_due(version: &Version) -> bool {
    let rows: u64 = version.rows.iter().filter(|rows| rows.in_lists()).map(LiveRows::live).sum();
    let measured = version.manifest.calibration.first().map(|entry| entry.rows);
    let fits = |measured: u64| (measured / 2..=measured.saturating_mul(3) / 2).contains(&rows);
    // Rows without vectors cannot ask: what was measured while there were some goes on to count.
    let askable = !version.is_lean();
    askable && !version.lists.is_empty() && rows >= FEWEST_CALIBRATED && !measured.is_some_and(fits)
}

/// What the policy knows of the list segments.
fn list_states(version: &Version) -> Result<Vec<ListState>> {
    let state = |file: &Arc<ListFile>| {
        let facts = file.facts();
        let before = version.rows.iter().filter(|rows| !rows.in_lists() && rows.file.first_row() < facts.first_row);
        let live = live_between(version, facts.first_row, facts.last_row)?;
        Ok(ListState {
            rows: facts.rows,
            dead: facts.rows.saturating_sub(live),
            bytes: facts.len,
            unfiled_before: before.count(),
        })
    };
    version.lists.iter().map(state).collect()
}

/// Live rows of files that are in lists, by the tombstone files, among these numbers.
fn live_between(version: &Version, first: u64, last: u64) -> Result<u64> {
    let mut live = 0;
    for rows in version.rows.iter().filter(|rows| rows.in_lists()) {
        if rows.file.last_row() >= first && rows.file.first_row() <= last {
            live += rows.live_between(first, last)?;
        }
    }
    Ok(live)
}
