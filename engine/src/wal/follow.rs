//! Reading a log while its writer may be at work on it.
//!
//! Every batch that was acknowledged is in the log, whole: the writer writes before it acknowledges, and processes of one
//! machine see one page cache. So a reader takes whole records as far as the chain goes, and remembers the place for the
//! next time. What follows the last whole record is a write on its way, or the tail of a writer that is no more; both look
//! alike and neither is shown.
//!
//! A group of batches is written so that its first bytes come last: until all of it is there, the chain does not reach it,
//! and what is left of a group whose write failed is never taken for batches.
//!
//! A record that was taken stays, with two exceptions, after which the log must be read again from its beginning: a write
//! that failed although all of it is there, which the writer cuts off; and bytes of a failed sync, which the page cache may
//! drop. [`Tail::is_void`] tells.
//!
//! **Damage** is proven as in recovery. But the proof may have been written after the place it speaks of was read, so that
//! place is read again when there is one: by then it must be whole.

use std::sync::Arc;

use super::replay::{LogReader, Place, Visit, damaged, damaged_at, in_a_circle, later_batch, lost_logs};
use crate::error::{Error, Result};
use crate::format::log::{LOG_HEADER_BYTES, RecordKind};
use crate::storage::{DirEntry, FileId, FileKind, FileName, Storage, StorageFile};

/// A place in a log up to which it was read, the log held open. Cloning copies the place.
#[derive(Clone)]
pub struct Tail {
    file: Arc<dyn StorageFile>,
    id: FileId,
    first_seq: u64,
    place: Place,
    next: Option<FileId>,
    /// The log's length when the bytes behind `place` were last searched for a proof of damage; 0: they were not.
    searched: u64,
}

impl Tail {
    /// Opens a log whose first batch must be `first_seq`, at its beginning.
    ///
    /// # Errors
    /// `Corrupt` if it is missing or its header is not right; `UnsupportedVersion`; `Io`.
    pub fn open(storage: &dyn Storage, id: FileId, collection: u128, first_seq: u64) -> Result<Tail> {
        let name = FileName::File(FileKind::Wal, id);
        let file = storage.open(name).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => damaged(id, 0, "the log is missing"),
            std::io::ErrorKind::InvalidInput => damaged(id, 0, "the log is not a regular file"),
            _ => Error::io("open", name, error),
        })?;
        let header = LogReader::new(file.clone(), id, true)?.header(collection)?;
        let found = header.first_seq.get();
        if found != first_seq {
            return Err(damaged(id, 0, format!("the log begins with batch {found}; batch {first_seq} is next")));
        }
        Ok(Tail { file, id, first_seq, place: Place::first(&header), next: None, searched: 0 })
    }

    /// The log.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Sequence number of its first batch, whether or not there is one.
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Sequence number that follows the last batch read.
    pub fn next_seq(&self) -> u64 {
        self.place.next_seq
    }

    /// Bytes read, the header's among them.
    pub fn bytes(&self) -> u64 {
        self.place.at
    }

    /// Bytes of the records read.
    pub fn record_bytes(&self) -> u64 {
        self.place.at.saturating_sub(LOG_HEADER_BYTES)
    }

    /// Bytes that are there behind the last record read.
    ///
    /// # Errors
    /// `Io`.
    pub fn bytes_behind(&self) -> Result<u64> {
        Ok(LogReader::new(self.file.clone(), self.id, true)?.len.saturating_sub(self.place.at))
    }

    /// The log that follows, once the record that names it was read.
    pub fn next_log(&self) -> Option<FileId> {
        self.next
    }

    /// Whether the log no longer holds what was read last.
    ///
    /// # Errors
    /// `Io`.
    pub fn is_void(&self) -> Result<bool> {
        let name = FileName::File(FileKind::Wal, self.id);
        let mut found = [0; size_of::<u32>()];
        let mut filled = 0;
        while let Some(rest) = found.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = self.place.previous_at + filled as u64;
            match self.file.read_at(rest, at).map_err(|error| Error::io("read", name, error))? {
                0 => return Ok(true),
                count => filled += count,
            }
        }
        Ok(u32::from_le_bytes(found) != self.place.previous_crc)
    }

    /// Hands out the batches that have become whole since the last time.
    ///
    /// # Errors
    /// `Corrupt` if the log is damaged where it had been durable; what `visit` returns; `Io`.
    pub fn read(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        if self.next.is_some() {
            return Ok(());
        }
        let mut log = LogReader::new(self.file.clone(), self.id, true)?;
        loop {
            self.take_whole(&mut log, visit)?;
            if self.next.is_some() || log.len <= self.place.at || log.len == self.searched {
                return Ok(());
            }
            let Some(proof) = log.proof_of_damage(self.place)? else {
                self.searched = log.len;
                return Ok(());
            };
            log = LogReader::new(self.file.clone(), self.id, true)?;
            if log.next(self.place)?.is_none() {
                return Err(damaged_at(self.id, self.place.at, proof));
            }
        }
    }

    fn take_whole(&mut self, log: &mut LogReader, visit: &mut Visit<'_>) -> Result<()> {
        while self.next.is_none()
            && let Some((record, after)) = log.next(self.place)?
        {
            let payload = log.payload(self.place.at, &record)?;
            match record.kind {
                RecordKind::Batch => visit(self.id, self.place.next_seq, payload)?,
                RecordKind::Seal => {}
                RecordKind::Roll => self.next = FileId::read(payload),
            }
            (self.place, self.searched) = (after, 0);
        }
        Ok(())
    }
}

/// What [`replay_chain`](super::replay_chain) does in a recovery, beside a writer that may be at work: follows the logs from
/// `first`, whose first batch must be `next_seq`, as far as they are whole.
///
/// # Errors
/// As there.
pub fn follow_chain(
    storage: &dyn Storage,
    first: FileId,
    collection: u128,
    mut next_seq: u64,
    visit: &mut Visit<'_>,
) -> Result<Vec<Tail>> {
    let entries = storage.list().map_err(|error| Error::io("list", storage.describe(), error))?;
    let (mut chain, mut next) = (Vec::<Tail>::new(), Some(first));
    loop {
        if let Some(id) = next {
            if chain.iter().any(|tail| tail.id == id) {
                return Err(in_a_circle(id));
            }
            chain.push(Tail::open(storage, id, collection, next_seq)?);
        }
        let ids: Vec<FileId> = chain.iter().map(|tail| tail.id).collect();
        let Some(last) = chain.last_mut() else { return Ok(chain) };
        last.read(visit)?;
        (next, next_seq) = (last.next, last.next_seq());
        if next.is_none() && !refuse_later(storage, &entries, &ids, last)? {
            return Ok(chain);
        }
    }
}

/// Refuses a chain of logs that has lost its end: a log that does not belong to it holds a batch that would come next. True if
/// `last`, the end of the chain, has got longer since it was read: then there is more to follow before anything is proven.
/// `entries` must have been listed before `last` was read.
///
/// # Errors
/// `Corrupt`; `Io`.
pub fn refuse_later(storage: &dyn Storage, entries: &[DirEntry], chain: &[FileId], last: &Tail) -> Result<bool> {
    let youngest = chain.iter().map(|id| id.number).max();
    let Some((_, seq)) = later_batch(storage, entries, youngest, last.next_seq())? else { return Ok(false) };
    let mut log = LogReader::new(last.file.clone(), last.id, true)?;
    match log.next(last.place)? {
        Some(_) => Ok(true),
        None => Err(lost_logs(last.id, last.place.at, last.next_seq(), seq)),
    }
}
