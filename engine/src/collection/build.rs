//! Turning a generation into files and a manifest: what flush and recovery share.

use std::collections::HashMap;
use std::sync::Arc;

use super::list_files::{open_lists, open_models};
use crate::compaction::{Control, Filed, Filing, Place};
use crate::delta::{Block, Generation};
use crate::error::Result;
use crate::format::{FileFacts, id_key};
use crate::kernel::cluster::Parallel;
use crate::manifest::{FileEntry, Manifest};
use crate::metric::Element;
use crate::options::Schema;
use crate::segment::{
    IdEntry, IdTable, ListFile, RowFile, RowInput, RowLayout, RowSource, TombstoneFile, write_id_table, write_row_file,
    write_tombstones,
};
use crate::snapshot::{LiveRows, OpenModel, Version};
use crate::storage::{FileId, FileKind, FileName, Storage};

/// Tombstone files that may be alive; one more merges them all.
pub(super) const MAX_TOMBSTONE_FILES: usize = 8;

/// Where files are made, and how they are named.
pub(super) struct Build<'b> {
    pub(super) storage: &'b dyn Storage,
    pub(super) schema: &'b Schema,
    pub(super) new_id: &'b dyn Fn() -> FileId,
    /// Threads that assign and code.
    pub(super) parallel: &'b dyn Parallel,
}

/// A generation in files: written, synced, read back, not yet named by a manifest.
pub(super) struct Built {
    pub(super) manifest: Manifest,
    pub(super) rows: Vec<LiveRows>,
    pub(super) id_tables: Vec<Arc<IdTable>>,
    pub(super) models: Vec<Arc<OpenModel>>,
    pub(super) lists: Vec<Arc<ListFile>>,
    /// Files made, which nothing names until the manifest is published.
    pub(super) made: Vec<FileName>,
    /// Files that only the old manifest names.
    pub(super) dropped: Vec<FileName>,
    /// The row file made, if there was a live row.
    pub(super) new_rows: Option<LiveRows>,
    pub(super) bytes: u64,
}

impl Built {
    /// The files as the next view has them.
    pub(super) fn version(self, install: u64) -> Version {
        let Built { manifest, rows, id_tables, models, lists, .. } = self;
        Version { install, manifest: Arc::new(manifest), rows, id_tables, models, lists }
    }
}

impl Build<'_> {
    /// Writes the live rows of a generation, their ids, and the tombstones of the older rows it kills.
    ///
    /// Each file: create, write, sync, re-open and check. A crash or an error leaves orphans.
    pub(super) fn generation(&self, old: &Version, generation: &Generation, covered_seq: u64) -> Result<Built> {
        let mut made = Vec::new();
        match self.write_all(old, generation, covered_seq, &mut made) {
            Ok(built) => Ok(Built { made, ..built }),
            Err(error) => {
                // Best effort: what stays is an orphan. On a full disk it would be in the way of the next try.
                made.iter().for_each(|name| drop(self.storage.remove(*name)));
                Err(error)
            }
        }
    }

    fn write_all(
        &self,
        old: &Version,
        generation: &Generation,
        covered_seq: u64,
        made: &mut Vec<FileName>,
    ) -> Result<Built> {
        let mut built = Built {
            manifest: old.manifest.successor(),
            rows: old.rows.clone(),
            id_tables: old.id_tables.clone(),
            models: old.models.clone(),
            lists: old.lists.clone(),
            made: Vec::new(),
            dropped: Vec::new(),
            new_rows: None,
            bytes: 0,
        };
        self.write_rows(generation, &mut built, made)?;
        self.write_lists(&mut built, made)?;
        self.write_kills(old, generation, covered_seq, &mut built, made)?;
        built.manifest.covered_seq = covered_seq;
        built.manifest.next_row = generation.end_row();
        Ok(built)
    }

    /// A new file's id, noted among those made.
    fn new_file(&self, kind: FileKind, made: &mut Vec<FileName>) -> FileId {
        let id = (self.new_id)();
        made.push(FileName::File(kind, id));
        id
    }

    fn write_rows(&self, generation: &Generation, built: &mut Built, made: &mut Vec<FileName>) -> Result<()> {
        let live = LiveRowsOf::new(generation, self.schema.row_format().element());
        if live.places.is_empty() {
            return Ok(());
        }
        let (collection, origin) = (built.manifest.collection, built.manifest.own_origin());
        let layout = RowLayout::from(self.schema);
        let row_id = self.new_file(FileKind::Row, made);
        let file = write_row_file(self.storage, row_id, collection, origin, &layout, &live)?;
        let facts = file.facts();
        let mut entries = live.id_entries(collection)?;
        let table_id = self.new_file(FileKind::IdTable, made);
        let kind = self.schema.id_kind();
        let table = write_id_table(
            self.storage,
            table_id,
            collection,
            origin,
            kind,
            &mut entries,
            facts.min_seq,
            facts.max_seq,
        )?;
        let table_facts = table.facts();
        built.bytes += facts.len + table_facts.len;
        built.manifest.row_files.push(FileEntry::of_rows(row_id, facts, file.element()));
        built.manifest.id_tables.push(FileEntry::new(table_id, table_facts));
        built.id_tables.insert(0, Arc::new(table));
        let rows = LiveRows::new(Arc::new(file));
        built.new_rows = Some(rows.clone());
        built.rows.push(rows);
        Ok(())
    }

    /// The new rows' lists, if there is a model.
    fn write_lists(&self, built: &mut Built, made: &mut Vec<FileName>) -> Result<()> {
        let (Some(model), Some(rows)) = (built.models.last().cloned(), built.new_rows.clone()) else { return Ok(()) };
        let ids = (built.manifest.collection, built.manifest.own_origin());
        let control = Control::default();
        let first_fresh = built.manifest.first_fresh(model.file.hash());
        let filing = Filing::new(self.storage, self.schema, ids, &model, self.parallel, &control)?;
        let filing = filing.with_fresh_from(first_fresh);
        let (files, mut next) = ([rows], Place::default());
        while let Some(Filed { entry, file, fresh }) =
            filing.file(&files, &mut next, usize::MAX, u64::MAX, self.new_id)?
        {
            if let Some(training) = built.manifest.training_of_mut(model.file.hash()) {
                training.add(fresh.0, fresh.1);
            }
            made.push(FileName::File(FileKind::List, entry.file.id));
            built.bytes += entry.file.facts.len;
            built.manifest.lists.push(entry);
            built.lists.push(Arc::new(file));
        }
        let [rows] = files;
        let rows = rows.with_lists(true);
        if let Some(entry) = built.manifest.row_files.last_mut() {
            entry.in_lists = true;
        }
        if let Some(last) = built.rows.last_mut() {
            *last = rows.clone();
        }
        built.new_rows = Some(rows);
        Ok(())
    }

    fn write_kills(
        &self,
        old: &Version,
        generation: &Generation,
        covered_seq: u64,
        built: &mut Built,
        made: &mut Vec<FileName>,
    ) -> Result<()> {
        let own = generation.first_row()..generation.end_row();
        let mut kills = generation.kills().to_sorted();
        kills.retain(|row| !own.contains(row));
        if kills.is_empty() {
            return Ok(());
        }
        self.write_dead(old, kills, covered_seq, built, made)
    }

    /// Rows in older files that died since the last manifest become a tombstone file; too many files become one.
    pub(super) fn write_dead(
        &self,
        old: &Version,
        mut kills: Vec<u64>,
        covered_seq: u64,
        built: &mut Built,
        made: &mut Vec<FileName>,
    ) -> Result<()> {
        built.rows = with_dead(&built.rows, &kills)?;
        let mut interval = (old.manifest.covered_seq, covered_seq);
        if built.manifest.tombstones.len() >= MAX_TOMBSTONE_FILES {
            kills = all_dead(&built.rows)?;
            interval.0 = 0;
            let merged = built.manifest.tombstones.drain(..).map(|entry| FileName::File(FileKind::Tombstone, entry.id));
            built.dropped.extend(merged);
        }
        let id = self.new_file(FileKind::Tombstone, made);
        let (collection, origin) = (built.manifest.collection, built.manifest.own_origin());
        let facts = write_tombstones(self.storage, id, collection, origin, &kills, interval.0, interval.1)?;
        built.bytes += facts.len;
        built.manifest.tombstones.push(FileEntry::new(id, facts));
        Ok(())
    }
}

/// The same files with more rows dead. `kills` is sorted.
pub(super) fn with_dead(rows: &[LiveRows], kills: &[u64]) -> Result<Vec<LiveRows>> {
    rows.iter()
        .map(|live| {
            let start = kills.partition_point(|row| *row < live.file.first_row());
            let end = kills.partition_point(|row| *row <= live.file.last_row());
            match kills.get(start..end) {
                Some(inside) if !inside.is_empty() => live.with_dead(inside),
                _ => Ok(live.clone()),
            }
        })
        .collect()
}

/// Rows of a tombstone file that are gathered before they are looked up: a bitmap names 64 times as many bytes of row numbers as it has.
const KILLS_AT_ONCE: usize = 1 << 20;

/// The same files with the rows of a tombstone file dead. Memory: 8 MiB, whatever the file says.
fn with_dead_of(mut rows: Vec<LiveRows>, file: &TombstoneFile) -> Result<Vec<LiveRows>> {
    let mut kills = Vec::new();
    let mut outcome = Ok(());
    file.for_each(|row| {
        if outcome.is_err() {
            return;
        }
        kills.push(row);
        if kills.len() == KILLS_AT_ONCE {
            outcome = with_dead(&rows, &kills).map(|more| rows = more);
            kills.clear();
        }
    })?;
    outcome?;
    with_dead(&rows, &kills)
}

/// Every row that is in a file and dead, sorted.
pub(super) fn all_dead(rows: &[LiveRows]) -> Result<Vec<u64>> {
    rows.iter().flat_map(|live| live.dead_ordinals().map(|ordinal| live.file.row_number(ordinal))).collect()
}

/// Opens everything a manifest names.
pub(super) fn open_version(storage: &dyn Storage, manifest: Manifest, install: u64) -> Result<Version> {
    open_version_after(storage, manifest, install, None)
}

/// The same, with the files that are open in an older version and are still named. Of tombstone files nothing is kept.
pub(super) fn open_version_after(
    storage: &dyn Storage,
    manifest: Manifest,
    install: u64,
    old: Option<&Version>,
) -> Result<Version> {
    let (collection, origin, kind) = (manifest.collection, manifest.own_origin(), manifest.schema.id_kind());
    let open = OpenFiles::of(old);
    let mut rows = Vec::with_capacity(manifest.row_files.len());
    for entry in &manifest.row_files {
        let live = match open.rows.get(&entry.id) {
            Some((facts, rows)) if **facts == entry.facts && rows.file.element() == entry.element => {
                rows.without_dead()
            }
            _ => {
                let layout = RowLayout::of(&manifest.schema, entry.element);
                LiveRows::new(Arc::new(RowFile::open(storage, entry.id, collection, origin, &layout, &entry.facts)?))
            }
        };
        rows.push(live.with_lists(entry.in_lists));
    }
    let mut id_tables = Vec::with_capacity(manifest.id_tables.len());
    for entry in manifest.id_tables.iter().rev() {
        id_tables.push(match open.id_tables.get(&entry.id) {
            Some((facts, table)) if **facts == entry.facts => (*table).clone(),
            _ => Arc::new(IdTable::open(storage, entry.id, collection, origin, kind, &entry.facts)?),
        });
    }
    for entry in &manifest.tombstones {
        let file = TombstoneFile::open(storage, entry.id, collection, origin, &entry.facts)?;
        rows = with_dead_of(rows, &file)?;
    }
    let models = open_models(storage, &manifest, old)?;
    let lists = open_lists(storage, &manifest, &models, old)?;
    Ok(Version { install, manifest: Arc::new(manifest), rows, id_tables, models, lists })
}

/// Files of a version by their ids.
#[derive(Default)]
struct OpenFiles<'v> {
    rows: HashMap<FileId, (&'v FileFacts, &'v LiveRows)>,
    id_tables: HashMap<FileId, (&'v FileFacts, &'v Arc<IdTable>)>,
}

impl<'v> OpenFiles<'v> {
    fn of(version: Option<&'v Version>) -> Self {
        let Some(Version { manifest, rows, id_tables, .. }) = version else { return Self::default() };
        let facts = |entry: &'v FileEntry| (entry.id, &entry.facts);
        let rows = manifest.row_files.iter().map(facts).zip(rows).map(|((id, facts), rows)| (id, (facts, rows)));
        // Newest first in a version, oldest first in a manifest.
        let tables = manifest.id_tables.iter().rev().map(facts).zip(id_tables);
        OpenFiles { rows: rows.collect(), id_tables: tables.map(|((id, facts), table)| (id, (facts, table))).collect() }
    }
}

/// The rows of a generation that its own batches did not kill again, in row order.
struct LiveRowsOf<'g> {
    places: Vec<(&'g Block, u32)>,
    element: Element,
}

impl<'g> LiveRowsOf<'g> {
    fn new(generation: &'g Generation, element: Element) -> Self {
        let killed = generation.kills().to_sorted();
        let mut places = Vec::with_capacity(generation.rows() as usize);
        for block in generation.blocks() {
            for i in 0..block.len() {
                if killed.binary_search(&(block.first_row() + i as u64)).is_err() {
                    places.push((&**block, i as u32));
                }
            }
        }
        LiveRowsOf { places, element }
    }

    fn id_entries(&self, collection: u128) -> Result<Vec<IdEntry>> {
        let entry = |(block, i): &(&Block, u32)| IdEntry {
            key: id_key(block.id(*i as usize), collection),
            row: block.first_row() + u64::from(*i),
        };
        Ok(self.places.iter().map(entry).collect())
    }
}

impl RowSource for LiveRowsOf<'_> {
    fn len(&self) -> usize {
        self.places.len()
    }

    fn visit(&self, i: usize, take: &mut dyn FnMut(RowInput<'_>) -> Result<()>) -> Result<()> {
        let (block, at) = self.places[i];
        let at = at as usize;
        take(RowInput {
            row: block.first_row() + at as u64,
            seq: block.seq(at),
            id: block.id(at),
            vector: block.vector(at),
            element: self.element,
            norm: block.norm(at),
            attributes: block.attributes(at),
            payload: block.payload(at),
        })
    }
}

/// Bytes of all files a manifest names.
pub(super) fn total_bytes(manifest: &Manifest) -> u64 {
    manifest.files().map(|(_, facts)| facts.len).sum()
}
