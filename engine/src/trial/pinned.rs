//! A trial as a snapshot: what the public interface makes of the same files.

use std::sync::Arc;

use super::{COLLECTION, Trial, lengths, new_id};
use crate::delta::{Block, BlockBuilder, Generation, RowLists};
use crate::error::Result;
use crate::format::id_key;
use crate::id::{IdKind, IdRef};
use crate::kernel::encode_row;
use crate::manifest::Manifest;
use crate::metric::Metric;
use crate::segment::{IdEntry, IdTable, write_id_table};
use crate::snapshot::{Snapshot, Version, View, lists_of};

/// Rows of a batch.
const BATCH: usize = 100;

impl Trial {
    /// Everything, pinned, and `fresh` rows in memory, in lists of the model if `filed`. Row `i` has the id `i`; the first fresh row
    /// has the number and id after the last.
    ///
    /// # Errors
    /// Those of the writers.
    pub fn snapshot(&mut self, fresh: &[f32], filed: bool) -> Result<Snapshot> {
        let mut manifest = Manifest::new(COLLECTION, self.schema.clone());
        manifest.next_row = self.rows.iter().map(|rows| rows.file.last_row() + 1).max().unwrap_or(0);
        let live: u64 = self.rows.iter().map(|rows| rows.live()).sum();
        let version = Version {
            install: 0,
            rows: self.rows.iter().map(|rows| rows.clone().with_lists(true)).collect(),
            id_tables: vec![Arc::new(self.id_table(manifest.next_row)?)],
            models: vec![self.model.clone()],
            lists: self.segments.clone(),
            manifest: Arc::new(manifest),
        };
        let active = self.generation(version.manifest.next_row, fresh, filed);
        let count = live + active.rows();
        let view = View { version: Arc::new(version), frozen: Vec::new(), active, seq: 1, count };
        Ok(Snapshot::new(Arc::new(view), Arc::new(self.schema.clone())))
    }

    fn id_table(&mut self, rows: u64) -> Result<IdTable> {
        let id = new_id(&mut self.next);
        let entry = |row| IdEntry { key: id_key(IdRef::U64(row), COLLECTION), row };
        let mut entries: Vec<IdEntry> = (0..rows).map(entry).collect();
        let storage = &*self.storage;
        write_id_table(storage, id, COLLECTION, COLLECTION, IdKind::U64, &mut entries, 1, 1)
    }

    fn generation(&self, first_row: u64, fresh: &[f32], filed: bool) -> Generation {
        let model = filed.then(|| (self.model.id, self.model.file.lists()));
        let mut generation = Generation::in_lists(first_row, model);
        for batch in fresh.chunks(BATCH * self.schema.dim()) {
            let (block, lists) = self.block(generation.end_row(), batch, filed);
            generation.push(block, &lists);
        }
        generation
    }

    fn block(&self, first_row: u64, batch: &[f32], filed: bool) -> (Block, RowLists) {
        let dim = self.schema.dim();
        let mut rows = BlockBuilder::new(&self.schema, COLLECTION);
        let mut stored = Vec::new();
        for ((vector, length), row) in batch.chunks_exact(dim).zip(lengths(batch, dim)).zip(first_row..) {
            stored.clear();
            encode_row(self.schema.row_format().element(), vector, &mut stored);
            let norm = if self.schema.metric() == Metric::Cosine { length } else { 0.0 };
            rows.push_stored(IdRef::U64(row), &stored, norm);
        }
        let lists =
            if filed { lists_of(&self.model, &self.schema, self.options.spill, &rows) } else { RowLists::default() };
        let block = rows.finish().map(|block| block.number(first_row, 1));
        (block.unwrap_or_else(|| unreachable!("a chunk has a row")), lists)
    }
}
