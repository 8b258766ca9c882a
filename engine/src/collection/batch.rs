//! A batch: writes that happen together or not at all.

use std::collections::HashMap;

use super::prepare::{Change, Prepared};
use super::shared::Shared;
use crate::budget::{Charge, Share};
use crate::delta::BlockBuilder;
use crate::error::{Error, ErrorKind, Result};
use crate::format::attributes::encode_attributes;
use crate::id::{Id, IdRef};
use crate::index::flat::{check_length, check_vector};
use crate::kernel::{encode_row, kernels};
use crate::metric::{Metric, RowFormat};
use crate::options::{Durability, MAX_ATTRIBUTE_BYTES, MAX_BATCH_BYTES, MAX_PAYLOAD_BYTES, Schema};
use crate::value::Attributes;

/// Memory of a change beside its bytes: its place in the map of ids and in the columns.
const CHANGE_BYTES: usize = 128;
/// Memory of a batch is counted in steps of this much.
const COVER_STEP: u64 = 16 << 10;

/// What a committed batch did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The batch's place in the commit order. Of an empty batch: the place of the last batch before it.
    pub seq: u64,
    /// Whether the batch survives a power loss from here on.
    pub durable: bool,
    /// Ids that were not there before.
    pub inserted: u64,
    /// Ids whose row was replaced.
    pub replaced: u64,
    /// Ids whose row was deleted. Deleting an id that is not there is no error and is not counted.
    pub deleted: u64,
}

/// Writes that happen together or not at all, with one sequence number. Built by [`Collection::batch`], applied by
/// [`Batch::commit`]; dropping it changes nothing.
///
/// Of several upserts of one id the last wins; a delete and an upsert of one id apply in the order given. The first
/// refused argument makes the whole batch fail at `commit`, and nothing of it is applied.
///
/// [`Collection::batch`]: super::Collection::batch
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch<'c> {
    shared: &'c Shared,
    rows: BlockBuilder,
    newest: HashMap<Id, Wanted>,
    error: Option<Error>,
    charge: Charge,
}

/// What the batch as a whole wants of one id.
struct Wanted {
    /// An `insert` came first: the id must not be there before the batch.
    must_be_absent: bool,
    /// The position of the row that stays, `None` for a delete.
    row: Option<usize>,
}

/// The row just added to a batch, to be given attributes and a payload.
pub struct Put<'b, 'c> {
    batch: &'b mut Batch<'c>,
    added: bool,
}

impl<'c> Batch<'c> {
    pub(super) fn new(shared: &'c Shared) -> Self {
        let newest = HashMap::new();
        let rows = BlockBuilder::new(&shared.schema, shared.collection);
        let mut batch = Batch { shared, rows, newest, error: None, charge: shared.budget.charge(Share::Batches, 0) };
        batch.reserve(shared.expected_rows());
        batch
    }

    /// Makes room for this many more rows (at most 4 MiB of vectors at a time). Not needed, saves some copying; a batch
    /// begins with room for as many rows as the one before it had.
    pub fn reserve(&mut self, rows: usize) {
        let most = (4 << 20).min(self.shared.options.batch_bytes()) / self.shared.schema.vector_bytes().max(1);
        let rows = rows.min(most);
        if rows > 1 {
            self.rows.reserve(rows);
            self.newest.reserve(rows);
        }
    }

    /// Writes a row, replacing the one that has this id, if any. `vector` has `dim` finite components.
    pub fn upsert<'i>(&mut self, id: impl Into<IdRef<'i>>, vector: &[f32]) -> Put<'_, 'c> {
        self.put(id.into(), vector, false)
    }

    /// Writes a row whose id must not be there; otherwise `commit` fails with `AlreadyExists`.
    pub fn insert<'i>(&mut self, id: impl Into<IdRef<'i>>, vector: &[f32]) -> Put<'_, 'c> {
        self.put(id.into(), vector, true)
    }

    /// Removes the row of an id. No error if there is none.
    pub fn delete<'i>(&mut self, id: impl Into<IdRef<'i>>) -> &mut Self {
        let id = id.into();
        if let Err(error) = id.check(self.shared.schema.id_kind()) {
            self.refuse(error);
            return self;
        }
        self.newest.entry(id.to_owned()).or_insert(Wanted { must_be_absent: false, row: None }).row = None;
        if let Err(error) = self.cover() {
            self.refuse(error);
        }
        self
    }

    /// Distinct ids written or deleted so far.
    pub fn len(&self) -> usize {
        self.newest.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    /// About how many bytes the log record will have, rows that the batch itself replaced included, which it will not
    /// have; at most 64 MiB can be committed.
    pub fn encoded_bytes(&self) -> usize {
        encoded_bytes(&self.rows, self.newest.len())
    }

    /// The first argument that was refused, if any: what `commit` is going to fail with. Lets a caller who fills a batch
    /// from many sources say which one it was.
    pub fn refused(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Commits with the handle's durability.
    ///
    /// # Errors
    /// The first argument that was refused; `AlreadyExists`; `BatchTooLarge`; `NoSpace` and `Io` (see
    /// [`Error::outcome`] for whether the batch may still appear); `Poisoned`; `Closed`.
    pub fn commit(self) -> Result<Receipt> {
        let level = self.shared.options.durability;
        self.commit_with(level)
    }

    /// Commits with a durability of its own.
    ///
    /// # Errors
    /// As [`Batch::commit`].
    pub fn commit_with(self, durability: Durability) -> Result<Receipt> {
        let shared = self.shared;
        shared.check_writable()?;
        let prepared = self.prepare()?;
        match prepared {
            Some(prepared) => shared.commit(prepared, durability),
            None => {
                // What a commit at this level promises of the batches before it holds for an empty one too.
                if durability != Durability::Os && shared.durable_seq() < shared.view.load().seq {
                    shared.sync()?;
                }
                Ok(shared.empty_receipt())
            }
        }
    }

    fn put(&mut self, id: IdRef<'_>, vector: &[f32], insert: bool) -> Put<'_, 'c> {
        let added = match self.try_put(id, vector, insert) {
            Ok(()) => true,
            Err(error) => {
                self.refuse(error);
                false
            }
        };
        Put { batch: self, added }
    }

    fn try_put(&mut self, id: IdRef<'_>, vector: &[f32], insert: bool) -> Result<()> {
        let schema = &self.shared.schema;
        id.check(schema.id_kind())?;
        check_vector("vector", vector, schema)?;
        let entry = self.newest.entry(id.to_owned());
        if insert && matches!(&entry, std::collections::hash_map::Entry::Occupied(o) if o.get().row.is_some()) {
            return Err(already_exists(id, "it is written twice in this batch"));
        }
        let row = self.rows.len();
        self.rows.push(id, |stored| store_vector(vector, schema, stored))?;
        entry.or_insert(Wanted { must_be_absent: insert, row: None }).row = Some(row);
        self.cover()
    }

    /// Has the memory of the batch counted, in steps; waits for room.
    fn cover(&mut self) -> Result<()> {
        let limited = self.shared.options.memory_budget.is_some();
        let bytes = (self.rows.data_bytes() * 3 / 2 + self.newest.len() * CHANGE_BYTES) as u64;
        if bytes <= self.charge.bytes() {
            return Ok(());
        }
        let most = self.shared.options.batch_bytes();
        if limited && self.rows.data_bytes() > most {
            return Err(too_large(self.rows.data_bytes(), most));
        }
        let step = COVER_STEP.max(bytes / 8);
        let more = bytes - self.charge.bytes() + step;
        self.shared.reserve(&mut self.charge, more)
    }

    fn refuse(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    /// Everything that needs no lock: what stays of the batch, its log record, the rows it replaces.
    fn prepare(self) -> Result<Option<Prepared>> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.newest.is_empty() {
            return Ok(None);
        }
        let mut keep = vec![false; self.rows.len()];
        let mut inserts = vec![false; self.rows.len()];
        let mut deletes = Vec::new();
        for (id, wanted) in self.newest {
            match wanted.row {
                Some(row) => (keep[row], inserts[row]) = (true, wanted.must_be_absent),
                None => deletes.push(Change { id, must_be_absent: wanted.must_be_absent }),
            }
        }
        deletes.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        self.shared.expect_rows(keep.len());
        let inserts = keep.iter().zip(inserts).filter(|(keep, _)| **keep).map(|(_, insert)| insert).collect();
        let rows = self.rows.retain(&keep, &self.shared.schema);
        // Of what stays: rows that the batch itself replaced do not count.
        let bytes = encoded_bytes(&rows, rows.len() + deletes.len());
        let most = self.shared.options.batch_bytes();
        if bytes > most {
            return Err(too_large(bytes, most));
        }
        Prepared::new(self.shared, rows, inserts, deletes, self.charge).map(Some)
    }
}

/// Heads and kills of `changes` changes, and what the rows hold.
fn encoded_bytes(rows: &BlockBuilder, changes: usize) -> usize {
    rows.data_bytes() + changes * 24
}

impl Put<'_, '_> {
    /// Attributes of the row; replaces those set before. Names of 1 to 255 bytes; at most 64 KiB
    /// encoded.
    pub fn attributes(self, attributes: impl Into<Attributes>) -> Self {
        if self.added {
            match encode_attributes(&attributes.into()) {
                Ok(encoded) if encoded.len() <= MAX_ATTRIBUTE_BYTES => self.batch.rows.set_attributes(&encoded),
                Ok(encoded) => self.batch.refuse(Error::argument(
                    "attributes",
                    format!("take {} bytes; use at most {MAX_ATTRIBUTE_BYTES}", encoded.len()),
                )),
                Err(error) => self.batch.refuse(error),
            }
        }
        self
    }

    /// Payload of the row; replaces the one set before. At most 64 KiB; an empty payload is the same as none.
    pub fn payload(self, payload: &[u8]) -> Self {
        if self.added {
            if payload.len() > MAX_PAYLOAD_BYTES {
                self.batch.refuse(Error::argument(
                    "payload",
                    format!("has {} bytes; use at most {MAX_PAYLOAD_BYTES}", payload.len()),
                ));
            } else {
                self.batch.rows.set_payload(payload);
            }
        }
        self
    }
}

/// Appends a vector in the row format; the length that cosine divides by, which is that of the rounded vector.
pub(super) fn store_vector(vector: &[f32], schema: &Schema, stored: &mut Vec<u8>) -> Result<f32> {
    let (format, metric) = (schema.row_format(), schema.metric());
    let start = stored.len();
    encode_row(format.element(), vector, stored);
    if format == RowFormat::F32 && metric != Metric::Cosine {
        return Ok(0.0);
    }
    let squared = kernels().norm_squared(format.element(), &stored[start..]);
    if !squared.is_finite() {
        let name = format.name();
        let what = format!("has a component beyond the range of {name}; use smaller numbers or f32 rows");
        return Err(Error::argument("vector", what));
    }
    check_length("vector", squared, metric)?;
    Ok(if metric == Metric::Cosine { squared.sqrt() as f32 } else { 0.0 })
}

pub(super) fn already_exists(id: IdRef<'_>, why: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("cannot insert id {id:?}: {why}"))
        .with_hint("use upsert to replace it; nothing of the batch was applied")
}

pub(super) fn too_large(bytes: usize, most: usize) -> Error {
    let why = if most < MAX_BATCH_BYTES { ", a sixteenth of memory_budget" } else { "" };
    Error::new(ErrorKind::BatchTooLarge, format!("the batch takes {bytes} bytes; one batch takes at most {most}{why}"))
        .with_hint("commit it in parts, or give the rows to bulk_load, which takes any number at once")
}
