//! The frame of a write-ahead log: its header and the header of each record.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use super::checksum::{file_seed, unit_crc};
use super::layout::layout;
use crate::planted::{self, Bug};

/// First bytes of a log. The line end shows a copy that was made in text mode.
pub const LOG_MAGIC: [u8; 8] = *b"STVWAL\r\n";
/// Version of the log's layout.
pub const LOG_VERSION: u32 = 0;
/// Bytes of the header; records begin here.
pub const LOG_HEADER_BYTES: u64 = size_of::<LogHeader>() as u64;
/// Bytes in front of each record's payload.
pub const RECORD_HEADER_BYTES: usize = size_of::<RecordHeader>();

layout! {
    /// At offset 0 of a log.
    pub struct LogHeader: 128 {
        magic: [u8; 8],
        version: U32,
        incompatible: U32,
        collection: [u8; 16],
        file_id: [u8; 16],
        epoch: U64,
        first_seq: U64,
        first_row: U64,
        predecessor_id: [u8; 16],
        predecessor_len: U64,
        predecessor_crc: U32,
        reserved: [u8; 24],
        crc: U32,
    }
}

layout! {
    /// In front of each record.
    pub struct RecordHeader: 32 {
        crc: U32,
        payload_len: U32,
        seq: U64,
        synced_to: U64,
        previous_crc: U32,
        kind: u8,
        reserved: [u8; 3],
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// One batch.
    Batch,
    /// Nothing: says that everything before it is durable.
    Seal,
    /// The last record of a log: the payload is the id of the log that follows.
    Roll,
}

impl RecordKind {
    /// The byte on disk.
    pub fn to_byte(self) -> u8 {
        match self {
            RecordKind::Batch => 1,
            RecordKind::Seal => 2,
            RecordKind::Roll => 3,
        }
    }

    /// The reverse of [`RecordKind::to_byte`].
    pub fn from_byte(byte: u8) -> Option<Self> {
        [RecordKind::Batch, RecordKind::Seal, RecordKind::Roll].into_iter().find(|kind| kind.to_byte() == byte)
    }
}

impl LogHeader {
    /// Sets the checksum.
    pub fn seal(mut self) -> Self {
        self.crc = self.checksum().into();
        self
    }

    fn checksum(&self) -> u32 {
        let bytes = self.as_bytes();
        unit_crc(file_seed(u128::from_le_bytes(self.file_id)), 0, bytes.get(..124).unwrap_or_default())
    }

    /// Reads a header: `Err` says what is wrong with it.
    pub fn verify(bytes: &[u8], collection: u128, file_id: u128) -> Result<LogHeader, &'static str> {
        let (header, _) = LogHeader::read_from_prefix(bytes).map_err(|_| "the file is shorter than a log's header")?;
        if header.magic != LOG_MAGIC {
            return Err("the file does not begin as a log");
        }
        if u128::from_le_bytes(header.file_id) != file_id && !planted::is(Bug::CrcWithoutFileId) {
            return Err("the header belongs to another file");
        }
        if header.crc.get() != header.checksum() && !planted::is(Bug::AcceptBadCrc) {
            return Err("the header's checksum is wrong");
        }
        if u128::from_le_bytes(header.collection) != collection {
            return Err("the log belongs to another collection");
        }
        if header.reserved != [0; 24] {
            return Err("reserved bytes of the header are not zero");
        }
        Ok(header)
    }
}

impl RecordHeader {
    /// The checksum of a record at `offset`: of the header behind its first field, and of the payload.
    pub fn checksum(&self, seed: u32, offset: u64, payload: &[u8]) -> u32 {
        let head = unit_crc(seed, offset, self.as_bytes().get(4..).unwrap_or_default());
        super::checksum::crc32(head, payload)
    }
}
