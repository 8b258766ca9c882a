//! The process that the demo kills: it writes batches and tells of each one that was acknowledged.
//!
//! Batch `n` (from 1) writes the rows of slot `n mod slots` again with the attribute `batch = n`, inserts the row
//! `ingest:n` and deletes the row `ingest:n-1`. So every batch replaces, inserts and deletes, and from the collection
//! alone one can tell exactly which batches are in it.

use std::io::{self, Write};

use stratavec::{Collection, OpenOptions, Value};

use super::data::{Data, Entry};
use crate::args;
use crate::failure::Failure;

/// Rows that one batch replaces.
pub const SLOT_ROWS: usize = 10;
/// Bytes of log at which the delta is moved to files: small, so that kills meet that work too.
const FLUSH_BYTES: u64 = 512 << 10;
/// The writer ends by itself after so many batches.
const MOST_BATCHES: u64 = 20_000;

/// The rows that batch `number` replaces.
pub fn slot(data: &Data, number: u64) -> &[Entry] {
    let slots = data.rows.len().div_ceil(SLOT_ROWS).max(1) as u64;
    let start = usize::try_from(number % slots).unwrap_or(0) * SLOT_ROWS;
    data.rows.get(start..(start + SLOT_ROWS).min(data.rows.len())).unwrap_or_default()
}

/// The row that is there if `number` is the last batch.
pub fn ingest_id(number: u64) -> String {
    format!("ingest:{number}")
}

/// Writes batches until it is killed, telling `batch sequence-number` of each on standard output.
///
/// # Errors
/// What the engine refused. A closed standard output ends it well.
pub fn write(args: &args::DemoWriter) -> Result<(), Failure> {
    let data = Data::load(&args.data)?;
    let path = &args.collection;
    let options = OpenOptions::default().flush_bytes(FLUSH_BYTES);
    let collection = Collection::open(path, options).map_err(|e| Failure::engine(&e, path))?;
    let mut out = io::stdout().lock();
    for number in args.first..args.first.saturating_add(MOST_BATCHES) {
        let receipt = commit(&collection, &data, number).map_err(|e| Failure::engine(&e, path))?;
        // One write call per line: a kill leaves whole lines in the pipe.
        if out.write_all(format!("{number} {}\n", receipt.seq).as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn commit(collection: &Collection, data: &Data, number: u64) -> stratavec::Result<stratavec::Receipt> {
    let stamp = Value::I64(i64::try_from(number).unwrap_or(i64::MAX));
    let rows = slot(data, number);
    let mut batch = collection.batch();
    for row in rows {
        let mut attributes = row.attributes.clone();
        attributes.insert("batch".into(), stamp.clone());
        batch.upsert(&row.id, &row.vector).attributes(attributes).payload(row.text.as_bytes());
    }
    if let Some(row) = rows.first() {
        batch.insert(&ingest_id(number), &row.vector);
    }
    if let Some(before) = number.checked_sub(1).filter(|before| *before > 0) {
        batch.delete(&ingest_id(before));
    }
    batch.commit()
}
