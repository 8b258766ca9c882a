//! Reading damaged logs: everything that chains, up to the first place that does not.
//!
//! What lies behind a damaged place is left out, however whole it is: a later batch never survives the loss of an earlier one. A
//! damaged header costs nothing, since records prove themselves and the manifest says which comes first.

use super::replay::{LogReader, Place, Visit, damaged, damaged_at, later_batch, lost_logs};
use crate::error::{Error, ErrorKind, Result};
use crate::format::log::{LOG_HEADER_BYTES, RecordKind};
use crate::storage::{EntryKind, FileId, FileKind, FileName, Storage};

/// Records looked at behind a damaged place to learn how much is lost.
const MOST_STEPS: usize = 10_000;

/// What could be read.
#[derive(Debug, Default)]
pub struct Salvaged {
    /// Batches.
    pub batches: u64,
    /// Sequence number that follows the last batch.
    pub next_seq: u64,
    /// Bytes behind the last whole record that were never acknowledged, as far as anything shows.
    pub dropped: u64,
    /// What is wrong with the logs.
    pub problems: Vec<Error>,
    /// Batches are lost, and what shows it.
    pub lost: Option<Error>,
    /// The last batch that is known to be lost.
    pub lost_up_to: Option<u64>,
}

/// Follows the logs from `first` and hands every batch to `visit`, as recovery does, as far as they are whole. An error of `visit`
/// ends the logs like damage.
///
/// # Errors
/// `UnsupportedVersion`; `Io` if the directory cannot be listed.
pub fn salvage(
    storage: &dyn Storage,
    first: FileId,
    collection: u128,
    next_seq: u64,
    visit: &mut Visit<'_>,
) -> Result<Salvaged> {
    let mut found = Salvaged { next_seq, ..Salvaged::default() };
    let mut chain = Vec::new();
    let mut next = Some(first);
    while let Some(id) = next.take() {
        if chain.contains(&id) {
            found.lost = Some(damaged(id, 0, "the logs name each other in a circle"));
            break;
        }
        chain.push(id);
        match read_one(storage, id, collection, &mut found, visit) {
            Ok(named) => next = named,
            Err(error) if error.kind() == ErrorKind::UnsupportedVersion => return Err(error),
            Err(error) => found.lost = Some(error),
        }
    }
    look_further(storage, &chain, &mut found)?;
    Ok(found)
}

/// The first batch and the first row of a log, if its header is right.
pub fn begins(storage: &dyn Storage, id: FileId, collection: u128) -> Option<(u64, u64)> {
    let header = LogReader::open_if_there(storage, id).ok()??.header(collection).ok()?;
    Some((header.first_seq.get(), header.first_row.get()))
}

/// Reads one log; the log it names.
fn read_one(
    storage: &dyn Storage,
    id: FileId,
    collection: u128,
    found: &mut Salvaged,
    visit: &mut Visit<'_>,
) -> Result<Option<FileId>> {
    let mut log = LogReader::open_if_there(storage, id)?.ok_or_else(|| damaged(id, 0, "the log is missing"))?;
    let mut place = match log.header(collection) {
        Ok(header) if header.first_seq.get() == found.next_seq => Place::first(&header),
        Ok(header) => {
            let (begins, wanted) = (header.first_seq.get(), found.next_seq);
            return Err(damaged(id, 0, format!("the log begins with batch {begins}; batch {wanted} is next")));
        }
        Err(error) if error.kind() == ErrorKind::UnsupportedVersion => return Err(error),
        Err(error) => {
            // Without a first record there is no telling whether there were any.
            let place = first_record(&mut log, found.next_seq)?.ok_or_else(|| error.clone())?;
            found.problems.push(error);
            place
        }
    };
    let mut named = None;
    while named.is_none()
        && let Some((record, after)) = log.next(place)?
    {
        let payload = log.payload(place.at, &record)?;
        match record.kind {
            RecordKind::Batch => {
                visit(id, place.next_seq, payload)?;
                found.batches += 1;
            }
            RecordKind::Seal => {}
            RecordKind::Roll => named = FileId::read(payload),
        }
        found.next_seq = after.next_seq;
        place = after;
    }
    if place.at < log.len {
        if let Some(proof) = log.proof_of_damage(place)? {
            return Err(damaged_at(id, place.at, proof));
        }
        found.dropped += log.len - place.at;
    }
    Ok(named)
}

/// The place of the first record of a log whose header is damaged, if it is the one that must come.
fn first_record(log: &mut LogReader, next_seq: u64) -> Result<Option<Place>> {
    let record = log.record(LOG_HEADER_BYTES)?.filter(|record| record.header.seq.get() == next_seq);
    Ok(record.map(|record| Place {
        at: LOG_HEADER_BYTES,
        next_seq,
        previous_at: Place::HEADER_CRC_AT,
        previous_crc: record.header.previous_crc.get(),
    }))
}

/// Looks for batches that come after the last one read: in the logs of the chain once it was found broken, and in younger logs.
fn look_further(storage: &dyn Storage, chain: &[FileId], found: &mut Salvaged) -> Result<()> {
    let entries = storage.list().map_err(|error| Error::io("list", storage.describe(), error))?;
    let oldest = chain.iter().map(|id| id.number).min();
    let youngest = chain.iter().map(|id| id.number).max();
    if found.lost.is_none()
        && let Ok(Some((_, seq))) = later_batch(storage, &entries, youngest, found.next_seq)
    {
        let end = chain.last().copied().unwrap_or_default();
        found.lost = Some(lost_logs(end, 0, found.next_seq, seq));
    }
    if found.lost.is_none() {
        return Ok(());
    }
    for entry in entries.iter().filter(|entry| entry.entry == EntryKind::File) {
        let Some(FileName::File(FileKind::Wal, id)) = entry.name else { continue };
        if Some(id.number) >= oldest
            && let Ok(Some(mut log)) = LogReader::open_if_there(storage, id)
        {
            let last = last_batch(&mut log, found.next_seq).ok().flatten();
            found.lost_up_to = found.lost_up_to.max(last);
        }
    }
    Ok(())
}

/// The highest sequence number of a batch in a log, from `from` on, whatever its header and chain say.
fn last_batch(log: &mut LogReader, from: u64) -> Result<Option<u64>> {
    let (mut at, mut last) = (LOG_HEADER_BYTES.min(log.len), None);
    for _ in 0..MOST_STEPS {
        let least = last.map_or(from, |last: u64| last.saturating_add(1));
        let batch = RecordKind::Batch.to_byte();
        let Some((place, seq)) = log.scan(at, |header| header.kind == batch && header.seq.get() >= least)? else {
            break;
        };
        last = Some(seq);
        at = place.saturating_add(8);
    }
    Ok(last)
}
