//! Figures of a handle, all of them counted, none estimated.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::build::total_bytes;
use super::compact::outlook;
use super::room::file_bytes;
use super::shared::Shared;
use crate::budget::{Budget, Share};
use crate::error::Error;
use crate::options::{Compaction, Schema};
use crate::snapshot::{Version, View};

/// The state of a collection and of this handle, at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// What the collection is.
    pub schema: Schema,
    /// Live rows.
    pub rows: u64,
    /// Rows in files that are dead and still take space.
    pub dead_rows: u64,
    /// Rows in memory, dead ones included.
    pub delta_rows: u64,
    /// Bytes of memory held by rows that are not in files yet.
    pub delta_bytes: u64,
    /// Bytes of log that hold them.
    pub wal_bytes: u64,
    /// Bytes of log at which the delta is moved to files.
    pub flush_bytes: u64,
    /// Bytes of the immutable files of the newest manifest.
    pub file_bytes: u64,
    /// What row files, id tables, models and list segments spend their bytes on: the name of a kind of section in the format specification, bytes.
    pub sections: Vec<(&'static str, u64)>,
    /// Row files.
    pub row_files: u64,
    /// Id tables.
    pub id_tables: u64,
    /// Tombstone files.
    pub tombstone_files: u64,
    /// List segments.
    pub list_segments: u64,
    /// Lists that rows are kept in; 0 while the collection is flat.
    pub lists: u64,
    /// Live rows that are in list segments; the others are searched one by one.
    pub rows_in_lists: u64,
    /// Models: 2 while list segments of one are being converted to the next.
    pub models: u64,
    /// Rows of list segments that are yet to be converted.
    pub rows_to_convert: u64,
    /// Number of the newest manifest.
    pub generation: u64,
    /// Sequence number of the last committed batch.
    pub last_seq: u64,
    /// Sequence number up to which everything survives a power loss.
    pub durable_seq: u64,
    /// Batches committed through this handle.
    pub batches: u64,
    /// Syncs of the log that this handle's commits took.
    pub log_syncs: u64,
    /// Bytes this handle wrote to logs.
    pub log_bytes: u64,
    /// Times the delta was moved to files by this handle.
    pub flushes: u64,
    /// Bytes those moves wrote.
    pub flush_bytes_written: u64,
    /// Why the last flush failed, if it did. Searches and writes go on; it is tried again.
    pub flush_error: Option<Error>,
    /// Merges of row files by this handle.
    pub merges: u64,
    /// Bytes those merges wrote.
    pub merge_bytes_written: u64,
    /// Times rows of files were filed in lists by this handle; flushes, which file their own rows, not counted.
    pub filings: u64,
    /// Models that this handle has trained in place of older ones.
    pub retrains: u64,
    /// Times list segments were converted to a newer model by this handle.
    pub conversions: u64,
    /// Merges of list segments by this handle.
    pub list_merges: u64,
    /// Bytes that training, filing and merging lists wrote.
    pub list_bytes_written: u64,
    /// Bulk loads by this handle.
    pub bulk_loads: u64,
    /// Bytes those loads wrote.
    pub bulk_load_bytes_written: u64,
    /// When a merge of this handle was last installed.
    pub merged_at: Option<SystemTime>,
    /// Bytes of the files that the rules of [`Compaction`] would merge next: what compaction is behind. The rules are those of this handle;
    /// of the default for a follower and under [`Compaction::Manual`].
    pub compaction_debt: u64,
    /// Rows that still have to die in some file until the rules rewrite it; `None` if there are no files.
    pub dead_rows_to_compaction: Option<u64>,
    /// Small files that still have to come until the rules merge them.
    pub files_to_compaction: u64,
    /// Why the last automatic compaction failed, if it did, and how many in a row have. Searches and writes go on.
    pub compaction_error: Option<(u32, Error)>,
    /// Passes over all files that scrubs of this handle have finished.
    pub scrub_passes: u64,
    /// Bytes that scrubs have read.
    pub scrub_bytes: u64,
    /// When the last pass ended.
    pub scrubbed_at: Option<SystemTime>,
    /// Damage that scrubs have found; the first hundred. Searches that meet it fail; see `verify` and `repair`.
    pub scrub_findings: Vec<Error>,
    /// Memory of this handle.
    pub memory: MemoryStats,
    /// Why this handle takes no more writes, if so.
    pub poisoned: Option<Error>,
    /// When this was taken.
    pub at: SystemTime,
}

/// Bytes of memory that a handle holds, by what holds them. What each means is told by
/// [`memory_budget`](crate::OpenOptions::memory_budget).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// What all of them together may take, if that was said.
    pub budget: Option<u64>,
    /// All of them together.
    pub used: u64,
    /// The most that was used at one time since the handle was opened.
    pub peak: u64,
    /// Rows and kills that are not in files yet, also those that only snapshots still hold.
    pub delta: u64,
    /// Batches that are being filled or committed.
    pub batches: u64,
    /// What is known of the rows of files.
    pub files: u64,
    /// Flushes at work.
    pub flush: u64,
    /// Merges at work.
    pub compaction: u64,
    /// Bulk loads at work.
    pub bulk_load: u64,
    /// Searches at work.
    pub search: u64,
}

impl From<&Budget> for MemoryStats {
    fn from(budget: &Budget) -> Self {
        MemoryStats {
            budget: budget.limit(),
            used: budget.total(),
            peak: budget.peak(),
            delta: budget.held(Share::Delta),
            batches: budget.held(Share::Batches),
            files: budget.held(Share::Files),
            flush: budget.held(Share::Flush),
            compaction: budget.held(Share::Compaction),
            bulk_load: budget.held(Share::BulkLoad),
            search: budget.held(Share::Search),
        }
    }
}

impl Shared {
    pub(super) fn stats(&self) -> Stats {
        let view = self.view.load_full();
        let counters = &self.counters;
        let wal_bytes = self.writer.lock().wal.as_ref().map_or(0, |wal| wal.len());
        let (flush_error, compaction_error) = {
            let pending = self.pending.lock();
            (pending.failed.clone().or_else(|| pending.roll_failed.clone()), pending.merge_failed.clone())
        };
        let of_view = Stats::of_view(&view, &self.schema, self.options.compaction);
        let (scrub_passes, scrub_bytes, scrubbed_at, scrub_findings) = self.scrubbed.figures();
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            wal_bytes,
            flush_bytes: self.options.delta_bytes(),
            durable_seq: self.durable_seq(),
            batches: get(&counters.batches),
            log_syncs: get(&counters.log_syncs),
            log_bytes: get(&counters.log_bytes),
            flushes: get(&counters.flushes),
            flush_bytes_written: get(&counters.flush_bytes),
            flush_error,
            merges: get(&counters.merges),
            merge_bytes_written: get(&counters.merge_bytes),
            filings: get(&counters.filings),
            retrains: get(&counters.retrains),
            conversions: get(&counters.conversions),
            list_merges: get(&counters.list_merges),
            list_bytes_written: get(&counters.list_bytes),
            bulk_loads: get(&counters.loads),
            bulk_load_bytes_written: get(&counters.load_bytes),
            merged_at: *counters.merged_at.lock(),
            compaction_error,
            scrub_passes,
            scrub_bytes,
            scrubbed_at,
            scrub_findings,
            memory: MemoryStats::from(&*self.budget),
            poisoned: self.poison_cause().cloned(),
            ..of_view
        }
    }
}

impl Stats {
    /// [`sections`](Stats::sections), summed by what they are for: `vectors`, `ids`, `sequence numbers`, `attributes`, `payloads`, `codes` (of
    /// rows, with their factors and row numbers), `centroids` (all of a model), and `other`: tables of pages, tombstones, headers, padding.
    pub fn bytes_by_part(&self) -> Vec<(&'static str, u64)> {
        let part = |section: &str| match section {
            "vectors" => Some("vectors"),
            "u64-ids" | "id-offsets" | "id-bytes" | "fences" | "filter" | "entries" => Some("ids"),
            "seqs" => Some("sequence numbers"),
            "attribute-offsets" | "attribute-bytes" => Some("attributes"),
            "payload-offsets" | "payload-blocks" | "payload-table" => Some("payloads"),
            "list-headers" | "list-scan" | "list-records" | "list-raw" | "list-checks" => Some("codes"),
            "frame" | "centroids" | "centroid-codes" | "codebooks" => Some("centroids"),
            _ => None,
        };
        let mut parts = ["vectors", "ids", "sequence numbers", "attributes", "payloads", "codes", "centroids"]
            .map(|name| (name, 0));
        for (section, bytes) in &self.sections {
            if let Some(place) = parts.iter_mut().find(|(name, _)| part(section) == Some(*name)) {
                place.1 += bytes;
            }
        }
        let known: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
        parts.into_iter().chain([("other", self.file_bytes.saturating_sub(known))]).collect()
    }

    /// What a view tells; everything else is 0 or `None`.
    pub(super) fn of_view(view: &View, schema: &Schema, compaction: Compaction) -> Stats {
        let (debt, until) = outlook(&view.version, compaction);
        let manifest = &view.version.manifest;
        let delta = view.generations().map(|g| g.memory_bytes() as u64).sum();
        let files = file_bytes(&view.version);
        Stats {
            memory: MemoryStats { used: delta + files, peak: delta + files, delta, files, ..MemoryStats::default() },
            schema: schema.clone(),
            rows: view.count,
            dead_rows: view.version.rows.iter().map(|rows| rows.dead_count()).sum(),
            delta_rows: view.generations().map(|g| g.rows()).sum(),
            delta_bytes: delta,
            wal_bytes: 0,
            flush_bytes: 0,
            file_bytes: total_bytes(manifest),
            sections: section_bytes(&view.version),
            row_files: manifest.row_files.len() as u64,
            id_tables: manifest.id_tables.len() as u64,
            tombstone_files: manifest.tombstones.len() as u64,
            list_segments: manifest.lists.len() as u64,
            lists: view.version.current_model().map_or(0, |model| model.file.lists() as u64),
            models: manifest.models.len() as u64,
            rows_to_convert: view.version.older_model().map_or(0, |model| view.version.rows_in_lists_of(model)),
            rows_in_lists: view.version.rows.iter().filter(|rows| rows.in_lists()).map(|rows| rows.live()).sum(),
            generation: manifest.generation,
            last_seq: view.seq,
            durable_seq: 0,
            batches: 0,
            log_syncs: 0,
            log_bytes: 0,
            flushes: 0,
            flush_bytes_written: 0,
            flush_error: None,
            merges: 0,
            merge_bytes_written: 0,
            filings: 0,
            retrains: 0,
            conversions: 0,
            list_merges: 0,
            list_bytes_written: 0,
            bulk_loads: 0,
            bulk_load_bytes_written: 0,
            merged_at: None,
            compaction_debt: debt,
            dead_rows_to_compaction: until.dead_rows,
            files_to_compaction: until.files,
            compaction_error: None,
            scrub_passes: 0,
            scrub_bytes: 0,
            scrubbed_at: None,
            scrub_findings: Vec::new(),
            poisoned: None,
            at: SystemTime::now(),
        }
    }
}

/// Bytes by kind of section, over all files.
fn section_bytes(version: &Version) -> Vec<(&'static str, u64)> {
    let rows = version.rows.iter().flat_map(|rows| rows.file.sections());
    let tables = version.id_tables.iter().flat_map(|table| table.sections());
    let models = version.models.iter().flat_map(|model| model.file.sections());
    let lists = version.lists.iter().flat_map(|file| file.sections());
    let mut sums = BTreeMap::new();
    for (name, bytes) in rows.chain(tables).chain(models).chain(lists) {
        *sums.entry(name).or_insert(0) += bytes;
    }
    sums.into_iter().collect()
}
