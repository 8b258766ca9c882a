//! A model that has aged, where no vectors are kept.
//!
//! Codes are made around the centroids of lists, and nothing can make them again as they were. So the model that follows has the lists of the old one that
//! have rows, and some more; list segments are converted by copying codes, and a row goes to another list only where that makes its
//! estimate no worse: see `compaction/list_move`. Steps and what a crash leaves are those of `retrain`.

use std::ops::Range;
use std::sync::Arc;

use super::compact::CompactReport;
use super::crew::Crew;
use super::index_job::{ListChange, live_between};
use super::retrain::{list_lengths, list_skew};
use super::shared::Shared;
use crate::budget::Share;
use crate::compaction::{Added, Aged, CodedRows, Control, Filing, MoveJob};
use crate::error::Result;
use crate::manifest::Training as TrainedOn;
use crate::options::IvfOptions;
use crate::segment::ListFile;
use crate::snapshot::{LiveRows, OpenModel, Version};

/// Memory for each row that is looked at, beside that of filing it.
const ROW_BYTES: u64 = CodedRows::ROW_BYTES + 16;

/// Lists that a model may get.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Room {
    /// Lists that have entries, and so stay.
    kept: Vec<u32>,
    /// How many more there may be; at least one.
    pub(super) lists: usize,
}

/// How many lists more the newest model may get for a reason, `None` if none: the number that was asked for is there, and each has rows.
pub(super) fn room(version: &Version, live: u64, options: &IvfOptions, why: Option<Aged>) -> Option<Room> {
    let model = version.current_model()?;
    let wanted = options.lists_for(live);
    // Training may halve long lists too, and so make a quarter more.
    let most = match why {
        Some(Aged::Grown) => wanted,
        None if options.wanted_nlist().is_none() => wanted,
        _ => wanted * 5 / 4,
    };
    let files = || version.lists.iter().filter(|file| file.model() == model.file.hash());
    let has_entries = |list: &u32| files().any(|file| file.view().counts(*list as usize).1 > 0);
    let kept: Vec<u32> = (0..model.file.lists() as u32).filter(has_entries).collect();
    let lists = most.saturating_sub(kept.len());
    (lists > 0).then_some(Room { kept, lists })
}

impl Shared {
    /// A model with more lists; without one if there are too few rows to make lists of: what there is suits them then.
    pub(super) fn add_lists(&self, version: &Version, why: Option<Aged>, control: &Control) -> Result<ListChange> {
        let live = version.rows.iter().map(LiveRows::live).sum();
        let room = self.schema.index_kind().lists().and_then(|options| room(version, live, &options, why));
        let (Some(model), Some(room)) = (version.current_model(), room) else { return Ok(ListChange::default()) };
        let unknown = TrainedOn { model: *model.file.hash(), ..TrainedOn::default() };
        let trained = version.manifest.training_of(model.file.hash()).copied().unwrap_or(unknown);
        let files: Vec<&ListFile> = version.lists.iter().map(|file| &**file).collect();
        // Rows of the kind that came since, or all.
        let (first_row, strays_alone) = match why {
            Some(Aged::Foreign | Aged::Crowded | Aged::Drifted) => (trained.next_row, true),
            Some(Aged::Unbalanced) => (0, true),
            Some(Aged::Grown) | None => (0, false),
        };
        let most = live.min(self.most_filed());
        let memory = Filing::memory(model, most) + most * ROW_BYTES;
        let _working = self.budget.reserve(Share::Compaction, memory)?;
        let step = live.div_ceil(most.max(1)) as usize;
        let rows = CodedRows::none(version, &self.schema, model, &files);
        let rows = rows.of_lists(0..model.file.lists(), first_row, step)?;
        let lengths = list_lengths(version);
        // The lists that stay are part of the model.
        let also = (0, self.most_model_bytes(model.file.lists() as u64));
        let (ids, size) = (self.ids(version), (rows.len() as u64, model.frame.padded()));
        let made = self.with_memory(room.lists, size, also, ids, control, |job, lists, bytes| {
            let (trained, rows, kept, lengths) = (&trained, &rows, &room.kept[..], &lengths[..]);
            let added = Added { model, trained, rows, kept, lengths, lists, strays_alone };
            job.add_lists(&added, self.new_file_id(), bytes)
        })?;
        let next_row = version.manifest.next_row;
        let lists = made.as_ref().map_or(model.file.lists(), |made| made.model.file.lists());
        let skew = list_skew(version) * lists as f32 / model.file.lists().max(1) as f32;
        let energy = made.as_ref().map_or_else(|| settled_energy(&trained), |made| made.energy);
        let hash = made.as_ref().map_or(trained.model, |made| made.entry.hash);
        let scanned = trained.scanned;
        let training = TrainedOn { model: hash, rows: live, next_row, energy, skew, scanned, ..TrainedOn::default() };
        let model = made.map(|made| (made.entry, Arc::new(made.model)));
        Ok(ListChange { training: Some(training), model, ..ListChange::default() })
    }

    /// Puts neighbouring list segments of the model before into the lists of the newest.
    pub(super) fn move_segments(
        &self,
        version: &Version,
        range: Range<usize>,
        control: &Control,
        report: &mut CompactReport,
    ) -> Result<ListChange> {
        let inputs: Vec<&ListFile> = version.lists.get(range).unwrap_or_default().iter().map(|file| &**file).collect();
        let gone = inputs.iter().map(|file| file.id_of_file()).collect();
        let mut change = ListChange { gone, ..ListChange::default() };
        let mut live = 0;
        for file in &inputs {
            live += live_between(version, file.facts().first_row, file.facts().last_row)?;
        }
        let models: (Option<&Arc<OpenModel>>, _) = (version.older_model(), version.current_model());
        let (Some(old), Some(new)) = models else { return Ok(change) };
        if live == 0 {
            return Ok(change);
        }
        let bytes: u64 = inputs.iter().map(|file| file.facts().len).sum();
        report.bytes_read += bytes;
        let lists = new.file.lists() as u64;
        self.refuse_without_room("list segment", self.most_filed_bytes(lists, live))?;
        let most = live.min(self.most_filed());
        let memory = Filing::memory(new, most) + (most + live) * ROW_BYTES + lists * 64 + self.bytes_of_lists(&inputs);
        let _working = self.budget.reserve(Share::Compaction, memory)?;
        let crew = Crew::of(self);
        let filing = Filing::new(&*self.storage, &self.schema, self.ids(version), new, &crew, control)?;
        let rows = CodedRows::none(version, &self.schema, old, &inputs);
        // A row that cannot be looked up is kept: whoever reads it meets what is wrong.
        let dead = |row: u64| matches!(version.locate_live(row), Ok(None));
        let job = MoveJob {
            storage: &*self.storage,
            ids: self.ids(version),
            inputs: &inputs,
            rows: &rows,
            most_rows: most as usize,
            old,
            new,
            filing: &filing,
            dead: &dead,
            control,
        };
        let (entry, file) = job.run(&|| self.new_file_id())?;
        report.refiled += entry.file.facts.rows;
        change.new.push((entry, Arc::new(file)));
        Ok(change)
    }
}

/// How far rows are from their centroids, or those that came since, if these are further: they stay as far, so that more of them are no news.
fn settled_energy(trained: &TrainedOn) -> f64 {
    if trained.energy > 0.0 { trained.energy.max(trained.fresh_energy) } else { trained.energy }
}
