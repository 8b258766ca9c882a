//! Appending to a log.

use std::io;
use std::sync::Arc;

use zerocopy::IntoBytes;

use crate::error::{Error, Result};
use crate::format::batch::{FRAME_ROOM, Frame};
use crate::format::checksum::file_seed;
use crate::format::log::{
    LOG_HEADER_BYTES, LOG_MAGIC, LOG_VERSION, LogHeader, RECORD_HEADER_BYTES, RecordHeader, RecordKind,
};
use crate::planted::{self, Bug};
use crate::storage::{FileId, FileKind, FileName, Storage, StorageFile};

/// Room is asked for ahead in steps of this many bytes, doubling..
const FIRST_RESERVE: u64 = 64 << 10;
/// ..up to this.
const LAST_RESERVE: u64 = 4 << 20;

const _: () = assert!(FRAME_ROOM == RECORD_HEADER_BYTES);

/// What the header of a new log says.
#[derive(Clone, Copy, Debug)]
pub struct WalHead {
    /// The collection's id.
    pub collection: u128,
    /// The writer's epoch.
    pub epoch: u64,
    /// The log before it, if it follows one in the same manifest.
    pub predecessor: Option<WalLink>,
    /// Sequence number of its first batch.
    pub first_seq: u64,
    /// Number of its first row.
    pub first_row: u64,
}

/// The end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalLink {
    /// The log.
    pub id: FileId,
    /// Bytes up to the end of its last record.
    pub len: u64,
    /// Checksum of its last record; of its header if it has none.
    pub last_crc: u32,
}

/// An append that did not happen.
#[derive(Debug)]
pub struct AppendFailure {
    /// Why.
    pub error: Error,
    /// The log was cut back to what it was and synced: nothing of the append can come back.
    pub undone: bool,
}

/// A log being written. One owner; after a failed `sync` it must not be used again.
pub struct WalWriter {
    file: Arc<dyn StorageFile>,
    id: FileId,
    seed: u32,
    len: u64,
    durable_len: u64,
    last_crc: u32,
    reserved_to: u64,
    reserve_step: u64,
    sealed: bool,
    next_seq: u64,
    buffer: Vec<u8>,
}

impl WalWriter {
    /// Makes a log:
    ///
    /// 1. Create the file and write its header. 2. Sync it. 3. Sync the directory. A crash in between: an orphan, since
    ///    nothing names it yet.
    ///
    /// # Errors
    /// `NoSpace`, `Io`. What was made is removed again.
    pub fn create(storage: &dyn Storage, id: FileId, head: WalHead) -> Result<WalWriter> {
        let name = FileName::File(FileKind::Wal, id);
        let file = storage.create(name).map_err(|error| Error::io("create", name, error))?;
        let writer = Self::begin(file, id, head).and_then(|writer| {
            if !planted::is(Bug::SkipDirSyncAfterCreate) {
                storage.sync_dir().map_err(|error| Error::sync_failed(storage.describe(), error))?;
            }
            Ok(writer)
        });
        if writer.is_err() {
            // An orphan if this fails too.
            let _ = storage.remove(name);
        }
        writer
    }

    fn begin(file: Arc<dyn StorageFile>, id: FileId, head: WalHead) -> Result<WalWriter> {
        let name = FileName::File(FileKind::Wal, id);
        let link = head.predecessor.unwrap_or(WalLink { id: FileId::default(), len: 0, last_crc: 0 });
        let header = LogHeader {
            magic: LOG_MAGIC,
            version: LOG_VERSION.into(),
            incompatible: 0.into(),
            collection: head.collection.to_le_bytes(),
            file_id: id.to_u128().to_le_bytes(),
            epoch: head.epoch.into(),
            first_seq: head.first_seq.into(),
            first_row: head.first_row.into(),
            predecessor_id: link.id.to_u128().to_le_bytes(),
            predecessor_len: link.len.into(),
            predecessor_crc: link.last_crc.into(),
            reserved: [0; 24],
            crc: 0.into(),
        }
        .seal();
        let mut writer = WalWriter {
            file,
            id,
            seed: file_seed(id.to_u128()),
            len: 0,
            durable_len: 0,
            last_crc: header.crc.get(),
            reserved_to: 0,
            reserve_step: FIRST_RESERVE,
            sealed: true,
            next_seq: head.first_seq,
            buffer: Vec::new(),
        };
        write_all(&*writer.file, header.as_bytes(), 0).map_err(|error| Error::io("write to", name, error))?;
        writer.len = LOG_HEADER_BYTES;
        writer.sync()?;
        Ok(writer)
    }

    /// The log's id.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Bytes up to the end of the last record.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The end of the log, as the header of the next one states it.
    pub fn link(&self) -> WalLink {
        WalLink { id: self.id, len: self.len, last_crc: self.last_crc }
    }

    /// Whether the last record says that everything before it is durable, or there is none.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Appends batches, in order. Not durable until [`WalWriter::sync`].
    ///
    /// # Errors
    /// See [`AppendFailure`].
    pub fn append(&mut self, frames: &mut [(u64, Frame)]) -> std::result::Result<(), AppendFailure> {
        let (mut at, mut last_crc, mut last_seq) = (self.len, self.last_crc, self.next_seq);
        for (seq, frame) in frames.iter_mut() {
            last_crc = self.fill_header(&mut frame.0, RecordKind::Batch, *seq, at, last_crc);
            at += frame.0.len() as u64;
            last_seq = *seq;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = match frames {
            [(_, one)] => self.write(&one.0, &[]),
            many => {
                buffer.clear();
                many.iter().for_each(|(_, frame)| buffer.extend_from_slice(&frame.0));
                // Whoever reads the log meanwhile must not take the first records for batches while the last may still
                // fail: until all is there, the first has no header.
                let header: Vec<u8> = buffer.splice(..RECORD_HEADER_BYTES, [0; RECORD_HEADER_BYTES]).collect();
                self.write(&buffer, &header)
            }
        };
        if buffer.capacity() <= LAST_RESERVE as usize {
            self.buffer = buffer;
        }
        written?;
        (self.len, self.last_crc, self.next_seq, self.sealed) = (at, last_crc, last_seq + 1, false);
        Ok(())
    }

    /// Writes the header into the room in front of the payload; the record's checksum.
    fn fill_header(&self, record: &mut [u8], kind: RecordKind, seq: u64, at: u64, previous_crc: u32) -> u32 {
        let Some((room, payload)) = record.split_at_mut_checked(RECORD_HEADER_BYTES) else { return previous_crc };
        let mut header = RecordHeader {
            crc: 0.into(),
            payload_len: (payload.len() as u32).into(),
            seq: seq.into(),
            synced_to: self.durable_len.into(),
            previous_crc: previous_crc.into(),
            kind: kind.to_byte(),
            reserved: [0; 3],
        };
        let crc = header.checksum(self.seed, at, payload);
        header.crc = crc.into();
        room.copy_from_slice(header.as_bytes());
        crc
    }

    /// Writes at the end of the log, then over the beginning of that, or leaves the log as it was.
    fn write(&mut self, bytes: &[u8], over: &[u8]) -> std::result::Result<(), AppendFailure> {
        self.reserve(bytes.len() as u64);
        let written = write_all(&*self.file, bytes, self.len).and_then(|()| write_all(&*self.file, over, self.len));
        let Err(error) = written else { return Ok(()) };
        let error = Error::io("append to", self.name(), error);
        self.reserved_to = self.len;
        if planted::is(Bug::LeaveHalfRecord) {
            return Err(AppendFailure { error, undone: true });
        }
        let undone = self.file.truncate(self.len).and_then(|()| self.file.sync());
        match undone {
            Ok(()) => {
                self.durable_len = self.len;
                Err(AppendFailure { error, undone: true })
            }
            Err(second) => {
                let error = Error::sync_failed(self.name(), second).caused(error.kind(), error.to_string());
                Err(AppendFailure { error, undone: false })
            }
        }
    }

    /// Asks for room ahead, so that an append rarely meets a full disk half-way. No room is no failure yet.
    fn reserve(&mut self, bytes: u64) {
        let end = self.len + bytes;
        if end > self.reserved_to {
            let target = end.next_multiple_of(self.reserve_step);
            if self.file.reserve(self.len, target - self.len).is_ok() {
                self.reserved_to = target;
                self.reserve_step = (self.reserve_step * 2).min(LAST_RESERVE);
            }
        }
    }

    /// Makes everything appended durable. After an error the log is dead.
    ///
    /// # Errors
    /// The sync's error, marked as one that must not be tried again.
    pub fn sync(&mut self) -> Result<()> {
        if !planted::is(Bug::SkipWalSync) {
            let mut synced = self.file.sync();
            if synced.is_err() && planted::is(Bug::RetryFailedSync) {
                synced = self.file.sync();
            }
            synced.map_err(|error| Error::sync_failed(self.name(), error))?;
        }
        self.durable_len = self.len;
        Ok(())
    }

    /// Whether anything was appended.
    pub fn holds_records(&self) -> bool {
        self.len > LOG_HEADER_BYTES
    }

    /// Appends a record that says how far the log is durable; no sync of its own. As the only record it says that the
    /// manifest that begins with this log is durable and nothing follows: the collection was closed.
    ///
    /// # Errors
    /// `NoSpace`, `Io`: the log is as before, unless the error is a failed sync.
    pub fn seal(&mut self) -> Result<()> {
        self.append_marker(RecordKind::Seal, &[])?;
        self.sealed = true;
        Ok(())
    }

    /// Ends the log: appends the record that names the next one, and syncs it. The next log must be durable already; it
    /// may be written to only after this. A crash before the sync is done: the next log is an orphan without records.
    ///
    /// # Errors
    /// `NoSpace`, `Io`: the log is as before, unless the error is a failed sync.
    pub fn finish(&mut self, next: FileId) -> Result<()> {
        self.append_marker(RecordKind::Roll, &next.to_u128().to_le_bytes())?;
        if planted::is(Bug::RollWithoutSync) { Ok(()) } else { self.sync() }
    }

    /// The planted bugs that write on in an old log instead of copying what it holds: at `at`, the end of its last whole
    /// record or the end of the file.
    #[cfg(feature = "testing")]
    pub fn resume(storage: &dyn Storage, replay: &crate::wal::Replay, at: u64) -> Result<WalWriter> {
        let name = FileName::File(FileKind::Wal, replay.id);
        let file = storage.open(name).map_err(|error| Error::io("open", name, error))?;
        Ok(WalWriter {
            file,
            id: replay.id,
            seed: file_seed(replay.id.to_u128()),
            len: at,
            durable_len: at,
            last_crc: replay.last_crc,
            reserved_to: at,
            reserve_step: FIRST_RESERVE,
            sealed: false,
            next_seq: replay.next_seq,
            buffer: Vec::new(),
        })
    }

    fn append_marker(&mut self, kind: RecordKind, payload: &[u8]) -> Result<()> {
        let mut record = vec![0; RECORD_HEADER_BYTES];
        record.extend_from_slice(payload);
        let crc = self.fill_header(&mut record, kind, self.next_seq, self.len, self.last_crc);
        self.write(&record, &[]).map_err(|failure| failure.error)?;
        (self.len, self.last_crc) = (self.len + record.len() as u64, crc);
        Ok(())
    }

    fn name(&self) -> FileName {
        FileName::File(FileKind::Wal, self.id)
    }
}

/// Writes all bytes, going on after short writes.
fn write_all(file: &dyn StorageFile, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = file.write_at(bytes, at)?;
        if planted::is(Bug::IgnoreShortWrite) {
            return Ok(());
        }
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        at += written as u64;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}
