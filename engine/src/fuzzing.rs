//! Doors for fuzzers and for tests of hostile bytes: the decoders, one call each, with no decision of their own.
//!
//! Only with the feature `testing`; no part of the public interface. Each door takes bytes as a file could hold them and gives back
//! what they decode to, and most give the bytes that encode it again.

use std::ops::Range;
use std::sync::Arc;

use zerocopy::FromBytes;

use crate::error::{Error, Result};
use crate::format::attributes::{decode_attributes, encode_attributes};
use crate::format::batch::{BatchEncoder, BatchView, Frame, Op};
use crate::format::container::{Container, Header, Identity};
use crate::format::kind::ContainerKind;
use crate::format::log::LogHeader;
use crate::format::varint;
use crate::manifest::codec;
use crate::options::Schema;
use crate::segment::{TombstoneFile, write_tombstones};
use crate::storage::testing::MemDir;
use crate::storage::{FileId, FileKind, FileName};
use crate::value::Attributes;
use crate::wal::{WalHead, WalWriter, replay_chain};

/// The collection that single files of these doors belong to.
pub const COLLECTION: u128 = 0x5354_5241_5441;
/// The id of single files of these doors.
pub const FILE: FileId = FileId { number: 7, epoch: 9 };

/// What a log holds.
#[derive(Debug, PartialEq, Eq)]
pub struct LogContent {
    /// Sequence number of the first batch, by the header.
    pub first_seq: u64,
    /// The payload of each batch.
    pub batches: Vec<Vec<u8>>,
    /// Bytes behind the last whole record.
    pub dropped: u64,
}

/// Replays one log with the id [`FILE`].
///
/// # Errors
/// Those of recovery.
pub fn replay_log(bytes: &[u8]) -> Result<LogContent> {
    let first_seq = LogHeader::read_from_prefix(bytes).map_or(1, |(header, _)| header.first_seq.get());
    let dir = MemDir::new(1);
    dir.put_raw(FileName::File(FileKind::Wal, FILE), bytes.to_vec());
    let mut batches = Vec::new();
    let chain = replay_chain(&dir, FILE, COLLECTION, first_seq, &mut |_, _, payload| {
        batches.push(payload.to_vec());
        Ok(())
    })?;
    Ok(LogContent { first_seq, batches, dropped: chain.iter().map(|log| log.dropped).sum() })
}

/// The log that holds these batches, as the writer makes it.
///
/// # Errors
/// Those of the writer.
pub fn write_log(first_seq: u64, batches: &[Vec<u8>]) -> Result<Vec<u8>> {
    let dir = MemDir::new(1);
    let head = WalHead { collection: COLLECTION, epoch: FILE.epoch, predecessor: None, first_seq, first_row: 0 };
    let mut log = WalWriter::create(&dir, FILE, head)?;
    for (batch, seq) in batches.iter().zip(first_seq..) {
        let mut record = vec![0; crate::format::batch::FRAME_ROOM];
        record.extend_from_slice(batch);
        log.append(&mut [(seq, Frame(record))]).map_err(|failure| failure.error)?;
    }
    log.sync()?;
    Ok(dir.file_bytes(FileName::File(FileKind::Wal, FILE)).unwrap_or_default())
}

/// Decodes the payload of a batch and encodes it again.
///
/// # Errors
/// `Corrupt`, `UnsupportedVersion`.
pub fn recode_batch(payload: &[u8], schema: &Schema) -> Result<Vec<u8>> {
    let batch = BatchView::decode(payload, schema)?;
    let mut encoder = BatchEncoder::new(schema, Vec::new(), payload.len());
    for op in batch.ops() {
        match op {
            Op::Put { id, vector, norm, attributes, payload, .. } => {
                encoder.put(id, vector, norm, attributes, payload)?;
            }
            Op::Delete { id } => encoder.delete(id)?,
        }
    }
    let kills: Vec<u64> = batch.kills().collect();
    let Frame(bytes) = encoder.finish(batch.first_row(), &kills)?;
    Ok(bytes.get(crate::format::batch::FRAME_ROOM..).unwrap_or_default().to_vec())
}

/// Decodes attributes and encodes them again.
///
/// # Errors
/// What is wrong with the bytes.
pub fn recode_attributes(bytes: &[u8]) -> std::result::Result<(Attributes, Vec<u8>), String> {
    let attributes = decode_attributes(bytes)?;
    let encoded = encode_attributes(&attributes).map_err(|error| error.to_string())?;
    Ok((attributes, encoded))
}

/// The bytes of attributes.
///
/// # Errors
/// `InvalidArgument`.
pub fn attribute_bytes(attributes: &Attributes) -> Result<Vec<u8>> {
    encode_attributes(attributes)
}

/// A number from the front of `bytes`, and how many bytes it took.
pub fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut rest = bytes;
    let value = varint::read_varint(&mut rest)?;
    Some((value, bytes.len() - rest.len()))
}

/// The bytes of a number.
pub fn write_varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write_varint(&mut out, value);
    out
}

/// Decodes a manifest and encodes it again; whether the second copy had to be used.
///
/// # Errors
/// `Corrupt`, `UnsupportedVersion`.
pub fn recode_manifest(bytes: &[u8], generation: u64) -> Result<(Vec<u8>, bool)> {
    let (manifest, second) = codec::decode(bytes, generation)?;
    Ok((codec::encode(&manifest), second))
}

/// Everything that `verify` says about the bytes of a manifest.
pub fn check_manifest(bytes: &[u8], generation: u64) -> Vec<Error> {
    let mut findings = Vec::new();
    codec::check(bytes, generation, &mut |error| findings.push(error));
    findings
}

/// The frame of an immutable file.
pub struct Frames {
    /// Kind and place of each section.
    pub sections: Vec<(u32, Range<u64>)>,
    /// The places between them.
    pub gaps: Vec<Range<u64>>,
}

/// Proves the frame of an immutable file as the one that its own header names.
///
/// # Errors
/// `Corrupt`, `UnsupportedVersion`.
pub fn open_container(bytes: &[u8]) -> Result<Frames> {
    let bad = || Error::corrupt("file", "header", 0, "there is no header of a known kind");
    let (header, _) = Header::read_from_prefix(bytes).map_err(|_| bad())?;
    let kind = ContainerKind::from_number(header.file_kind.get()).ok_or_else(bad)?;
    let (file_id, collection) = (header.file_id.get(), header.collection_id.get());
    let container = Container::verify(bytes, &Identity { kind, file_id, collection, name: "file" })?;
    let sections = container.sections().iter().map(|section| (section.kind.0, section.offset..section.end()));
    Ok(Frames { sections: sections.collect(), gaps: container.gaps().collect() })
}

/// What a tombstone file holds.
pub struct DeadRows {
    /// The rows, as they come out.
    pub rows: Vec<u64>,
    /// The interval of sequence numbers, open below.
    pub interval: (u64, u64),
    /// What `verify` says.
    pub findings: Vec<Error>,
}

/// Reads a tombstone file with the id [`FILE`].
///
/// # Errors
/// `Corrupt`, `UnsupportedVersion`.
pub fn read_tombstones(bytes: &[u8]) -> Result<DeadRows> {
    let dir = MemDir::new(1);
    dir.put_raw(FileName::File(FileKind::Tombstone, FILE), bytes.to_vec());
    let identity =
        Identity { kind: ContainerKind::Tombstones, file_id: FILE.to_u128(), collection: COLLECTION, name: "file" };
    let facts = Container::verify(bytes, &identity)?.facts();
    let file = TombstoneFile::open(&dir, FILE, COLLECTION, COLLECTION, &facts)?;
    let (mut rows, mut findings) = (Vec::new(), Vec::new());
    file.for_each(|row| rows.push(row))?;
    file.verify(&mut |error| findings.push(error));
    Ok(DeadRows { rows, interval: file.interval(), findings })
}

/// The tombstone file of these rows.
///
/// # Errors
/// Those of the writer.
pub fn tombstone_bytes(rows: &[u64], interval: (u64, u64)) -> Result<Vec<u8>> {
    let dir = Arc::new(MemDir::new(1));
    write_tombstones(&*dir, FILE, COLLECTION, COLLECTION, rows, interval.0, interval.1)?;
    Ok(dir.file_bytes(FileName::File(FileKind::Tombstone, FILE)).unwrap_or_default())
}
