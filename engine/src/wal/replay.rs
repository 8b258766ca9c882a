//! Reading logs back: which records are whole, and whether what is not is a torn tail or damage.
//!
//! **The rule.** Reading stops at the first record that fails: its length, checksum, sequence number or chain; call the
//! place X. Writes that were never synced may have reached the disk in any order and in part, so a record that fails at X
//! is normal, and so is a whole record behind it. It is damage if anything shows that the bytes past X had been durable:
//!
//! * a whole record anywhere behind X that was framed when the log was known to be durable past X (`synced_to > X`);
//! * a roll record at X or before it that names a log which is not there;
//! * a log that nothing names but that holds records later than the end of the chain: it was written to only after the
//!   roll record that named it was durable.
//!
//! Damage is `Corrupt` and changes nothing; a torn tail is dropped and counted. What remains undetectable is damage to the
//! last group of the last log, after which nothing was written (contract C15).

use std::sync::Arc;

use zerocopy::FromBytes;

use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum::file_seed;
use crate::format::log::{LOG_HEADER_BYTES, LOG_VERSION, LogHeader, RECORD_HEADER_BYTES, RecordHeader, RecordKind};
use crate::options::MAX_BATCH_BYTES;
use crate::planted::{self, Bug};
use crate::storage::{DirEntry, EntryKind, FileId, FileKind, FileName, Storage, StorageFile};
use crate::wal::candidates::Candidates;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
/// Records behind a damaged place are checksummed one by one until this many times the log's length was read. Only bytes made
/// to look like records need more; those are told apart in one pass.
const SCAN_EFFORT: u64 = 4;

/// Takes a batch: its log, its sequence number, its payload.
pub type Visit<'v> = dyn FnMut(FileId, u64, &[u8]) -> Result<()> + 'v;

/// What one log holds.
#[derive(Clone, Copy, Debug)]
pub struct Replay {
    /// The log.
    pub id: FileId,
    /// Batches.
    pub batches: u64,
    /// Bytes of whole records.
    pub bytes: u64,
    /// Bytes behind the last whole record that were dropped.
    pub dropped: u64,
    /// Sequence number that follows the last batch.
    pub next_seq: u64,
    /// Checksum of the last whole record, or of the header.
    pub last_crc: u32,
    /// The last whole record is a seal.
    pub sealed: bool,
}

impl Replay {
    /// Whether the collection was closed with this as its only log: a seal, no batch, nothing else. A log with nothing in it
    /// proves less: neither that the manifest that names it is durable nor that a failed append was cut off for good.
    pub fn is_closed(&self) -> bool {
        self.sealed && self.batches == 0 && self.dropped == 0
    }
}

/// Follows the logs from `first` and hands every batch to `visit` with its log and sequence number, in order. `next_seq` is the
/// sequence number of the first batch that the files do not cover.
///
/// # Errors
/// `Corrupt` if a log is missing or damaged where it had been durable; `UnsupportedVersion`; what `visit` returns; `Io`.
pub fn replay_chain(
    storage: &dyn Storage,
    first: FileId,
    collection: u128,
    mut next_seq: u64,
    visit: &mut Visit<'_>,
) -> Result<Vec<Replay>> {
    let mut chain: Vec<Replay> = Vec::new();
    let mut next = Some(first);
    while let Some(id) = next {
        if chain.iter().any(|replay| replay.id == id) {
            return Err(in_a_circle(id));
        }
        let mut log = LogReader::open(storage, id)?;
        let header = log.header(collection)?;
        if header.first_seq.get() != next_seq {
            let found = header.first_seq.get();
            return Err(damaged(id, 0, format!("the log begins with batch {found}; batch {next_seq} is next")));
        }
        let (replay, named) = log.replay(header, visit)?;
        next_seq = replay.next_seq;
        chain.push(replay);
        next = named;
    }
    refuse_later_records(storage, &chain, next_seq)?;
    Ok(chain)
}

/// The third proof of damage: a log outside the chain that holds records at or past its end. It must be younger than the
/// chain. An older one is what a recovery has replaced: behind its torn tail there may be whole records with numbers that
/// are given again.
fn refuse_later_records(storage: &dyn Storage, chain: &[Replay], next_seq: u64) -> Result<()> {
    let youngest = chain.iter().map(|replay| replay.id.number).max();
    let entries = storage.list().map_err(|error| Error::io("list", storage.describe(), error))?;
    match later_batch(storage, &entries, youngest, next_seq)? {
        None => Ok(()),
        Some((id, seq)) => {
            let end = chain.last().map_or(0, |replay| replay.bytes + LOG_HEADER_BYTES);
            Err(lost_logs(chain.last().map_or(id, |replay| replay.id), end, next_seq, seq))
        }
    }
}

/// The third proof of damage, for the one who words it.
pub(super) fn lost_logs(id: FileId, end: u64, next_seq: u64, seq: u64) -> Error {
    damaged(id, end, format!("the logs end before batch {next_seq}, but another log holds batch {seq}"))
}

/// A log younger than `youngest` that holds a batch from `next_seq` on, and such a batch. A log that is gone by now
/// is nobody's: only a writer removes one, and of these only the empty one of a failed roll.
pub(super) fn later_batch(
    storage: &dyn Storage,
    entries: &[DirEntry],
    youngest: Option<u64>,
    next_seq: u64,
) -> Result<Option<(FileId, u64)>> {
    for entry in entries.iter().filter(|entry| entry.entry == EntryKind::File) {
        let Some(FileName::File(FileKind::Wal, id)) = entry.name else { continue };
        if Some(id.number) <= youngest {
            continue;
        }
        let Some(mut log) = LogReader::open_if_there(storage, id)? else { continue };
        if let Some(seq) = log.batch_anywhere(next_seq)? {
            return Ok(Some((id, seq)));
        }
    }
    Ok(None)
}

/// The first proof of damage, in words.
pub(super) fn damaged_at(id: FileId, end: u64, proof: u64) -> Error {
    damaged(id, end, format!("the record here is damaged: the one at offset {proof} was written when this was durable"))
}

/// The chain of logs leads back to one of them.
pub(super) fn in_a_circle(id: FileId) -> Error {
    damaged(id, 0, "the logs name each other in a circle")
}

pub(super) fn damaged(id: FileId, offset: u64, what: impl Into<String>) -> Error {
    Error::corrupt(FileName::File(FileKind::Wal, id), "log", offset, what)
        .with_hint("nothing was changed; acknowledged batches would be lost by going on")
}

/// A record that is whole.
pub(super) struct Record {
    pub(super) header: RecordHeader,
    pub(super) kind: RecordKind,
    /// Offset of the next record.
    end: u64,
}

/// A place between two records of a log, and what the next one must state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) next_seq: u64,
    /// Where the checksum stands by which the record before it is told, or the header.
    pub(super) previous_at: u64,
    pub(super) previous_crc: u32,
}

impl Place {
    /// Where the checksum of a log's header stands.
    pub(super) const HEADER_CRC_AT: u64 = LOG_HEADER_BYTES - size_of::<u32>() as u64;

    /// The place behind the header.
    pub(super) fn first(header: &LogHeader) -> Place {
        let (next_seq, previous_crc) = (header.first_seq.get(), header.crc.get());
        Place { at: LOG_HEADER_BYTES, next_seq, previous_at: Self::HEADER_CRC_AT, previous_crc }
    }
}

/// Reads one log front to back through a buffer.
pub(super) struct LogReader {
    file: Arc<dyn StorageFile>,
    id: FileId,
    pub(super) len: u64,
    seed: u32,
    /// A writer may be at work on the log: it may become shorter, since what a failed write left is cut off.
    live: bool,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl LogReader {
    fn open(storage: &dyn Storage, id: FileId) -> Result<LogReader> {
        Self::open_if_there(storage, id)?.ok_or_else(|| damaged(id, 0, "the log is missing"))
    }

    pub(super) fn open_if_there(storage: &dyn Storage, id: FileId) -> Result<Option<LogReader>> {
        let name = FileName::File(FileKind::Wal, id);
        match storage.open(name) {
            Ok(file) => Self::new(file, id, false).map(Some),
            Err(error) => match error.kind() {
                std::io::ErrorKind::NotFound => Ok(None),
                std::io::ErrorKind::InvalidInput => Err(damaged(id, 0, "the log is not a regular file")),
                _ => Err(Error::io("open", name, error)),
            },
        }
    }

    /// Reads a log as long as it is now.
    pub(super) fn new(file: Arc<dyn StorageFile>, id: FileId, live: bool) -> Result<LogReader> {
        let len = file.len().map_err(|error| Error::io("measure", FileName::File(FileKind::Wal, id), error))?;
        let seed = file_seed(id.to_u128());
        Ok(LogReader { file, id, len, seed, live, buffer: Vec::new(), buffer_at: 0 })
    }

    /// `count` bytes at `at`; fewer at the end of the file.
    fn bytes(&mut self, at: u64, count: usize) -> Result<&[u8]> {
        let count = self.len.saturating_sub(at).min(count as u64) as usize;
        let inside = at.checked_sub(self.buffer_at).map(|skip| skip as usize);
        let hit = inside.filter(|skip| skip.checked_add(count).is_some_and(|end| end <= self.buffer.len()));
        let skip = match hit {
            Some(skip) => skip,
            None => {
                self.fill(at, count)?;
                0
            }
        };
        Ok(self.buffer.get(skip..skip + count).unwrap_or_default())
    }

    /// Reads at least `count` bytes at `at` into the buffer, all of which the file has.
    fn fill(&mut self, at: u64, count: usize) -> Result<()> {
        let want = self.len.saturating_sub(at).min(count.max(CHUNK) as u64) as usize;
        self.buffer.clear();
        self.buffer.resize(want, 0);
        self.buffer_at = at;
        let mut filled = 0;
        while let Some(rest) = self.buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let name = FileName::File(FileKind::Wal, self.id);
            let read = self.file.read_at(rest, at + filled as u64).map_err(|error| Error::io("read", name, error))?;
            if read == 0 {
                if !self.live {
                    return Err(damaged(self.id, at + filled as u64, "the log became shorter while it was read"));
                }
                self.buffer.truncate(filled);
                self.len = at + filled as u64;
                return Ok(());
            }
            filled += read;
        }
        Ok(())
    }

    pub(super) fn header(&mut self, collection: u128) -> Result<LogHeader> {
        let id = self.id;
        let bytes = self.bytes(0, LOG_HEADER_BYTES as usize)?;
        let header = LogHeader::verify(bytes, collection, id.to_u128()).map_err(|what| damaged(id, 0, what))?;
        if header.version.get() != LOG_VERSION || header.incompatible.get() != 0 {
            return Err(Error::new(
                ErrorKind::UnsupportedVersion,
                format!("log {id} is of version {}; this build reads version {LOG_VERSION}", header.version.get()),
            )
            .with_hint("open the collection with a newer release"));
        }
        Ok(header)
    }

    /// Hands out the batches; the log's end, and the log it names as its successor.
    fn replay(&mut self, header: LogHeader, visit: &mut Visit<'_>) -> Result<(Replay, Option<FileId>)> {
        let mut replay = Replay {
            id: self.id,
            batches: 0,
            bytes: 0,
            dropped: 0,
            next_seq: header.first_seq.get(),
            last_crc: 0,
            sealed: false,
        };
        let id = self.id;
        let (mut place, mut named) = (Place::first(&header), None);
        while named.is_none()
            && let Some((record, after)) = self.next(place)?
        {
            let payload = self.payload(place.at, &record)?;
            match record.kind {
                RecordKind::Batch => {
                    visit(id, place.next_seq, payload)?;
                    replay.batches += 1;
                }
                RecordKind::Seal => {}
                RecordKind::Roll => named = FileId::read(payload),
            }
            replay.sealed = record.kind == RecordKind::Seal;
            place = after;
        }
        replay.next_seq = place.next_seq;
        replay.last_crc = place.previous_crc;
        replay.bytes = place.at - LOG_HEADER_BYTES;
        replay.dropped = self.len - place.at;
        if replay.dropped > 0
            && let Some(proof) = self.proof_of_damage(place)?
        {
            return Err(damaged_at(id, place.at, proof));
        }
        Ok((replay, named))
    }

    /// The record at a place, if it is whole and continues the chain, and the place behind it.
    pub(super) fn next(&mut self, place: Place) -> Result<Option<(Record, Place)>> {
        let Some(record) = self.record(place.at)? else { return Ok(None) };
        let RecordHeader { seq, previous_crc, crc, .. } = record.header;
        if seq.get() != place.next_seq || previous_crc.get() != place.previous_crc {
            return Ok(None);
        }
        let given = u64::from(record.kind == RecordKind::Batch);
        let next_seq = seq.get().checked_add(given).ok_or_else(|| damaged(self.id, place.at, "ran out of numbers"))?;
        let after = Place { at: record.end, next_seq, previous_at: place.at, previous_crc: crc.get() };
        Ok(Some((record, after)))
    }

    pub(super) fn payload(&mut self, at: u64, record: &Record) -> Result<&[u8]> {
        self.bytes(at + RECORD_HEADER_BYTES as u64, record.header.payload_len.get() as usize)
    }

    /// The record at `at`, if it is whole: its length fits the file, its checksum is right.
    pub(super) fn record(&mut self, at: u64) -> Result<Option<Record>> {
        let Some((header, kind)) = self.plausible(at)? else { return Ok(None) };
        let seed = self.seed;
        let payload_len = header.payload_len.get() as usize;
        let bytes = self.bytes(at, RECORD_HEADER_BYTES + payload_len)?;
        let payload = bytes.get(RECORD_HEADER_BYTES..).unwrap_or_default();
        let right = header.crc.get() == header.checksum(seed, at, payload) || planted::is(Bug::AcceptBadCrc);
        Ok(right.then_some(Record { header, kind, end: at + (RECORD_HEADER_BYTES + payload_len) as u64 }))
    }

    /// The header at `at`, if its fields can be those of a record.
    fn plausible(&mut self, at: u64) -> Result<Option<(RecordHeader, RecordKind)>> {
        let left = self.len.saturating_sub(at);
        let Ok((header, _)) = RecordHeader::read_from_prefix(self.bytes(at, RECORD_HEADER_BYTES)?) else {
            return Ok(None);
        };
        let payload = u64::from(header.payload_len.get());
        let fits = payload.checked_add(RECORD_HEADER_BYTES as u64).is_some_and(|whole| whole <= left);
        let kind = RecordKind::from_byte(header.kind);
        let sane = match kind {
            Some(RecordKind::Batch) => payload > 0 && payload <= MAX_BATCH_BYTES as u64 && payload.is_multiple_of(8),
            Some(RecordKind::Seal) => payload == 0,
            Some(RecordKind::Roll) => payload == 16,
            None => false,
        };
        let ok = fits && sane && header.reserved == [0; 3] && header.synced_to.get() <= at;
        Ok(kind.filter(|_| ok).map(|kind| (header, kind)))
    }

    /// The first proof of damage: the offset of a whole record behind `end` that knew the log to be durable past `end`.
    pub(super) fn proof_of_damage(&mut self, end: Place) -> Result<Option<u64>> {
        if planted::is(Bug::IgnoreSyncedTo) {
            return Ok(None);
        }
        let proves = |header: &RecordHeader| header.synced_to.get() > end.at && header.seq.get() >= end.next_seq;
        Ok(self.scan(end.at, proves)?.map(|(at, _)| at))
    }

    /// The sequence number of a batch at or past `next_seq` in a log that nothing names, whatever its header and chain say.
    fn batch_anywhere(&mut self, next_seq: u64) -> Result<Option<u64>> {
        let batch = |header: &RecordHeader| header.kind == RecordKind::Batch.to_byte() && header.seq.get() >= next_seq;
        Ok(self.scan(LOG_HEADER_BYTES.min(self.len), batch)?.map(|(_, seq)| seq))
    }

    /// Looks for whole records at every 8-byte step from `from`, but not inside whole records; the place and sequence number
    /// of the first that `wanted` accepts.
    pub(super) fn scan(&mut self, from: u64, wanted: impl Fn(&RecordHeader) -> bool) -> Result<Option<(u64, u64)>> {
        let mut effort = self.len.saturating_mul(SCAN_EFFORT).saturating_add(MAX_BATCH_BYTES as u64);
        let mut at = from.next_multiple_of(8);
        while at + RECORD_HEADER_BYTES as u64 <= self.len {
            let step = match self.plausible(at)? {
                None => 8,
                Some((header, _)) => {
                    match effort.checked_sub(u64::from(header.payload_len.get())) {
                        Some(left) => effort = left,
                        None => return self.scan_crowded(at, wanted),
                    }
                    match self.record(at)? {
                        Some(record) if wanted(&record.header) => return Ok(Some((at, record.header.seq.get()))),
                        Some(record) => record.end - at,
                        None => 8,
                    }
                }
            };
            at += step;
        }
        Ok(None)
    }

    /// The same from a place where beginnings of records are so many that to follow each would take too long: one pass that
    /// proves all that `wanted` accepts at once. It cannot know what is inside a whole record, and need not: only bytes that
    /// were forged for this file and this very offset have a right checksum there.
    fn scan_crowded(&mut self, from: u64, wanted: impl Fn(&RecordHeader) -> bool) -> Result<Option<(u64, u64)>> {
        // As large as the largest record so far; from here on it is read in chunks.
        self.buffer = Vec::new();
        let mut candidates = Candidates::new(self.seed);
        let mut at = from;
        loop {
            if let Some(start) = candidates.whole_at(at) {
                let header = self.plausible(start)?;
                return Ok(header.map(|(header, _)| (start, header.seq.get())));
            }
            if at.saturating_add(8) > self.len {
                return Ok(None);
            }
            if let Some((header, _)) = self.plausible(at)?.filter(|(header, _)| wanted(header)) {
                candidates.begin(at, &header);
            }
            candidates.pass(self.bytes(at, 8)?);
            at += 8;
        }
    }
}
