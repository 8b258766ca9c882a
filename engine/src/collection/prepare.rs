//! The part of a commit that needs no lock: the log record without its numbers, and which rows the batch replaces.

use super::batch::{already_exists, too_large};
use super::shared::Shared;
use crate::budget::Charge;
use crate::delta::{BlockBuilder, RowLists, UnnumberedBlock};
use crate::error::Result;
use crate::format::batch::{BatchEncoder, FRAME_ROOM};
use crate::format::id_key;
use crate::id::{Id, IdRef};
use crate::options::Schema;
use crate::snapshot::{Version, View, lists_of};
use crate::storage::FileId;

/// An id and what the batch demands of it.
pub(super) struct Change {
    pub(super) id: Id,
    pub(super) must_be_absent: bool,
}

/// The live row that a change replaces.
#[derive(Clone, Copy)]
pub(super) struct Replaced {
    pub(super) row: u64,
    /// File and ordinal, if it was in a file: found here, so that no file is touched under the commit lock.
    pub(super) in_file: Option<(usize, usize)>,
}

/// A batch ready for the commit lock.
pub(super) struct Prepared {
    pub(super) encoder: BatchEncoder,
    pub(super) block: Option<UnnumberedBlock>,
    /// One per row of the block: must the id be absent before the batch?
    inserts: Vec<bool>,
    deletes: Vec<Change>,
    /// One per row of the block, then one per delete.
    pub(super) replaced: Vec<Option<Replaced>>,
    /// The version the look-ups were made against; if another one is current, they are made again.
    pub(super) install: u64,
    /// The lists of each row by the model of the generation that the rows go to, and that model. By another model: made again.
    pub(super) lists: RowLists,
    pub(super) model: Option<FileId>,
    /// Its memory, until it is committed or refused.
    _charge: Charge,
}

impl Prepared {
    pub(super) fn new(
        shared: &Shared,
        rows: BlockBuilder,
        inserts: Vec<bool>,
        deletes: Vec<Change>,
        mut charge: Charge,
    ) -> Result<Prepared> {
        let changes = rows.len() + deletes.len();
        // The record, and its copy when several go to the log at once; and codes, which are shorter than vectors.
        let codes = shared.schema.index_kind().lists().map_or(0, |_| rows.len() * shared.schema.vector_bytes());
        shared.reserve(&mut charge, (2 * rows.data_bytes() + changes * 80 + codes) as u64)?;
        let mut encoder = BatchEncoder::new(&shared.schema, shared.spare_buffer(), rows.data_bytes() + changes * 40);
        for i in 0..rows.len() {
            let vector = &rows.vector(i)[..shared.schema.vector_bytes()];
            encoder.put(rows.id(i), vector, rows.norm(i), rows.attributes(i), rows.payload(i))?;
        }
        for change in &deletes {
            encoder.delete(change.id.as_ref())?;
        }
        let most = encoder.encoded_len() + (rows.len() + deletes.len()) * 8;
        let allowed = shared.options.batch_bytes();
        if most > allowed {
            return Err(too_large(most, allowed));
        }
        let mut prepared = Prepared {
            encoder,
            block: rows.finish(),
            inserts,
            deletes,
            replaced: Vec::new(),
            install: 0,
            lists: RowLists::default(),
            model: None,
            _charge: charge,
        };
        prepared.look_up(shared)?;
        Ok(prepared)
    }

    /// Finds the lists of the batch's rows, and the rows that it replaces in the current files. No lock; may read files.
    pub(super) fn look_up(&mut self, shared: &Shared) -> Result<()> {
        let view = shared.view.load_full();
        let version = &view.version;
        self.file(&view, &shared.schema);
        self.replaced = (0..self.len()).map(|i| find(version, self.id(i), shared.collection)).collect::<Result<_>>()?;
        self.install = version.install;
        Ok(())
    }

    /// Finds the lists of the batch's rows, unless they are known.
    fn file(&mut self, view: &View, schema: &Schema) {
        if self.model == view.active.model() {
            return;
        }
        // The model of the generation may be gone, if a flush failed that should have followed a new one: the rows are in no lists then,
        // and the generation is searched row by row.
        let model = view.version.model_of(&view.active);
        self.model = view.active.model();
        self.lists = match (model, &self.block) {
            (Some(model), Some(block)) => lists_of(model, schema, schema.has_second_lists(), block),
            _ => RowLists::default(),
        };
    }

    /// Changes: rows, then deletes.
    pub(super) fn len(&self) -> usize {
        self.rows() + self.deletes.len()
    }

    /// No less than the log record will take.
    pub(super) fn most_bytes(&self) -> u64 {
        (self.encoder.encoded_len() + self.len() * 8 + FRAME_ROOM) as u64
    }

    /// Rows written.
    pub(super) fn rows(&self) -> usize {
        self.block.as_ref().map_or(0, UnnumberedBlock::len)
    }

    pub(super) fn id(&self, i: usize) -> IdRef<'_> {
        match &self.block {
            Some(block) if i < block.len() => block.id(i),
            _ => self.deletes[i - self.rows()].id.as_ref(),
        }
    }

    /// Whether the id must not have a live row before the batch.
    pub(super) fn must_be_absent(&self, i: usize) -> bool {
        match i.checked_sub(self.rows()) {
            None => self.inserts[i],
            Some(d) => self.deletes[d].must_be_absent,
        }
    }

    /// The error of an `insert` whose id has a live row.
    pub(super) fn conflict(&self, i: usize) -> crate::error::Error {
        already_exists(self.id(i), "the collection has it")
    }
}

/// The row of an id in the files that no tombstone file kills. What the generations in memory know of the id comes first and
/// is asked under the commit lock.
fn find(version: &Version, id: IdRef<'_>, collection: u128) -> Result<Option<Replaced>> {
    let Some(row) = version.find(id_key(id, collection), id)? else { return Ok(None) };
    Ok(version.locate_live(row)?.map(|in_file| Replaced { row, in_file: Some(in_file) }))
}
