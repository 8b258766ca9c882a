//! The payload of a log record: one batch, with everything replay needs and nothing to look up.
//!
//! ```text
//! BatchHead 40 | op, op, .. (each OpHead 16, id, vector, attributes, payload, zeros to 8) | killed row numbers, u64 each
//! ```
//! Rows are numbered `first_row ..` in the order of the puts. The kills name the rows that the batch replaces or deletes.

use zerocopy::little_endian::{F32, U16, U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use super::layout::layout;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{IdKind, IdRef};
use crate::options::{MAX_ATTRIBUTE_BYTES, MAX_BATCH_BYTES, MAX_PAYLOAD_BYTES, Schema};

layout! {
    /// In front of the operations.
    pub struct BatchHead: 40 {
        first_row: U64,
        ops_len: U32,
        op_count: U32,
        put_count: U32,
        kill_count: U32,
        fragment: u8,
        reserved: [u8; 7],
        model_hint: U64,
    }
}

layout! {
    /// In front of one operation.
    pub struct OpHead: 16 {
        kind: u8,
        flags: u8,
        id_len: U16,
        attributes_len: U32,
        payload_len: U32,
        norm: F32,
    }
}

const PUT: u8 = 1;
const DELETE: u8 = 2;
const HEAD: usize = size_of::<BatchHead>();
const OP_HEAD: usize = size_of::<OpHead>();

/// Room in front of a record's payload for the log's own header.
pub const FRAME_ROOM: usize = 32;

/// A record on its way into the log: 32 bytes of room for the log's header, then the payload.
pub struct Frame(pub(crate) Vec<u8>);

impl Frame {
    /// The memory, to build another in.
    pub fn into_buffer(self) -> Vec<u8> {
        self.0
    }

    /// The payload.
    #[cfg(test)]
    pub fn payload(&self) -> &[u8] {
        self.0.get(FRAME_ROOM..).unwrap_or_default()
    }
}

/// Builds the payload of a batch: the operations before the commit lock, the numbers under it.
pub struct BatchEncoder {
    bytes: Vec<u8>,
    ids: IdKind,
    vector_bytes: usize,
    puts: u32,
    ops: u32,
}

impl BatchEncoder {
    /// An empty batch of a collection, built in `buffer`, with room for about `room` bytes.
    pub fn new(schema: &Schema, buffer: Vec<u8>, room: usize) -> Self {
        let mut bytes = buffer;
        bytes.clear();
        bytes.reserve(FRAME_ROOM + HEAD + room);
        bytes.resize(FRAME_ROOM + HEAD, 0);
        BatchEncoder { bytes, ids: schema.id_kind(), vector_bytes: schema.vector_bytes(), puts: 0, ops: 0 }
    }

    /// Appends a row. `vector` is in the row format and has its exact length.
    ///
    /// # Errors
    /// `InvalidArgument` if a part is longer than a log record can say.
    pub fn put(&mut self, id: IdRef<'_>, vector: &[u8], norm: f32, attributes: &[u8], payload: &[u8]) -> Result<()> {
        if vector.len() != self.vector_bytes {
            return Err(Error::argument("vector", format!("has {} bytes, not {}", vector.len(), self.vector_bytes)));
        }
        self.head(PUT, id, attributes.len(), payload.len(), norm)?;
        self.id(id);
        self.bytes.extend_from_slice(vector);
        self.bytes.extend_from_slice(attributes);
        self.bytes.extend_from_slice(payload);
        self.pad();
        self.puts += 1;
        Ok(())
    }

    /// Appends a delete.
    ///
    /// # Errors
    /// `InvalidArgument` for an over-long id.
    pub fn delete(&mut self, id: IdRef<'_>) -> Result<()> {
        self.head(DELETE, id, 0, 0, 0.0)?;
        self.id(id);
        self.pad();
        Ok(())
    }

    fn head(&mut self, kind: u8, id: IdRef<'_>, attributes: usize, payload: usize, norm: f32) -> Result<()> {
        id.check(self.ids)?;
        if attributes > MAX_ATTRIBUTE_BYTES || payload > MAX_PAYLOAD_BYTES {
            return Err(Error::argument("payload", "or attributes are longer than 64 KiB"));
        }
        let id_len = match id {
            IdRef::U64(_) => 8,
            IdRef::Bytes(bytes) => bytes.len() as u16,
        };
        let head = OpHead {
            kind,
            flags: 0,
            id_len: id_len.into(),
            attributes_len: (attributes as u32).into(),
            payload_len: (payload as u32).into(),
            norm: norm.into(),
        };
        self.bytes.extend_from_slice(head.as_bytes());
        self.ops += 1;
        Ok(())
    }

    fn id(&mut self, id: IdRef<'_>) {
        match id {
            IdRef::U64(n) => self.bytes.extend_from_slice(&n.to_le_bytes()),
            IdRef::Bytes(bytes) => self.bytes.extend_from_slice(bytes),
        }
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    /// Bytes of the payload so far, without kills.
    pub fn encoded_len(&self) -> usize {
        self.bytes.len() - FRAME_ROOM
    }

    /// Fills in the numbers. The encoder is empty afterwards.
    ///
    /// # Errors
    /// `BatchTooLarge`.
    pub fn finish(&mut self, first_row: u64, kills: &[u64]) -> Result<Frame> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let ops_len = bytes.len().saturating_sub(FRAME_ROOM + HEAD);
        bytes.extend(kills.iter().flat_map(|row| row.to_le_bytes()));
        if bytes.len() - FRAME_ROOM > MAX_BATCH_BYTES {
            return Err(Error::new(ErrorKind::BatchTooLarge, "the batch is larger than a log record"));
        }
        let head = BatchHead {
            first_row: first_row.into(),
            ops_len: (ops_len as u32).into(),
            op_count: self.ops.into(),
            put_count: self.puts.into(),
            kill_count: (kills.len() as u32).into(),
            fragment: 0,
            reserved: [0; 7],
            model_hint: 0.into(),
        };
        if let Some(room) = bytes.get_mut(FRAME_ROOM..FRAME_ROOM + HEAD) {
            room.copy_from_slice(head.as_bytes());
        }
        Ok(Frame(bytes))
    }
}

/// One operation of a decoded batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op<'b> {
    /// A row.
    Put {
        /// Its number.
        row: u64,
        /// Its id.
        id: IdRef<'b>,
        /// Its vector in the row format.
        vector: &'b [u8],
        /// The vector's length under cosine.
        norm: f32,
        /// Encoded attributes.
        attributes: &'b [u8],
        /// Payload.
        payload: &'b [u8],
    },
    /// A delete.
    Delete {
        /// The id.
        id: IdRef<'b>,
    },
}

/// A decoded batch: every length was proven. The operations are decoded again when they are asked for, since as values they take
/// several times the memory of their bytes.
pub struct BatchView<'b> {
    first_row: u64,
    ops: Ops<'b>,
    kills: &'b [U64],
}

/// The operations of a batch, front to back. Ends before the first that is damaged.
#[derive(Clone)]
struct Ops<'b> {
    bytes: &'b [u8],
    row: u64,
    ids: IdKind,
    vector_bytes: usize,
}

impl<'b> BatchView<'b> {
    /// Proves a payload.
    ///
    /// # Errors
    /// `Corrupt`, with the offset in the payload; `UnsupportedVersion` for a fragment or an operation of a later version.
    pub fn decode(payload: &'b [u8], schema: &Schema) -> Result<BatchView<'b>> {
        let (head, rest) = BatchHead::read_from_prefix(payload).map_err(|_| bad(0, "is shorter than its head"))?;
        if head.fragment != 0 {
            return Err(Error::new(ErrorKind::UnsupportedVersion, "a batch in fragments needs a newer version"));
        }
        if head.reserved != [0; 7] || head.model_hint.get() != 0 {
            return Err(bad(24, "has reserved bytes that are not zero"));
        }
        let (ops, kills) =
            rest.split_at_checked(head.ops_len.get() as usize).ok_or_else(|| bad(8, "operations are cut short"))?;
        let kills = <[U64]>::ref_from_bytes(kills).map_err(|_| bad(20, "kills are not whole row numbers"))?;
        if kills.len() != head.kill_count.get() as usize {
            return Err(bad(20, "counts another number of kills than it holds"));
        }
        let (ids, vector_bytes) = (schema.id_kind(), schema.vector_bytes());
        let ops = Ops { bytes: ops, row: head.first_row.get(), ids, vector_bytes };
        let (count, puts) = ops.clone().prove()?;
        if count != head.op_count.get() as usize || puts != head.put_count.get() as usize {
            return Err(bad(12, "counts other operations than it holds"));
        }
        Ok(BatchView { first_row: head.first_row.get(), ops, kills })
    }

    /// Number of the first row.
    pub fn first_row(&self) -> u64 {
        self.first_row
    }

    /// The operations in order.
    pub fn ops(&self) -> impl Iterator<Item = Op<'b>> + use<'b> {
        let mut ops = self.ops.clone();
        // All of them were proven.
        std::iter::from_fn(move || ops.take().ok().flatten())
    }

    /// The rows the batch kills.
    pub fn kills(&self) -> impl Iterator<Item = u64> + '_ {
        self.kills.iter().map(|row| row.get())
    }
}

impl<'b> Ops<'b> {
    /// Decodes all; how many there are, and how many of them are puts.
    fn prove(mut self) -> Result<(usize, usize)> {
        let (total, mut count, mut puts) = (self.bytes.len(), 0, 0);
        loop {
            let at = HEAD + (total - self.bytes.len());
            match self.take().map_err(|what| bad(at, what))? {
                None => return Ok((count, puts)),
                Some(op) => {
                    count += 1;
                    puts += usize::from(matches!(op, Op::Put { .. }));
                }
            }
        }
    }

    /// The next operation.
    fn take(&mut self) -> std::result::Result<Option<Op<'b>>, &'static str> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let cut = "ends inside an operation";
        let (head, rest) = OpHead::read_from_prefix(self.bytes).map_err(|_| cut)?;
        let (op, used) = self.read(&head, rest)?;
        if matches!(op, Op::Put { .. }) {
            self.row = self.row.checked_add(1).ok_or("numbers rows past the end of numbers")?;
        }
        self.bytes = rest.get(used..).ok_or(cut)?;
        Ok(Some(op))
    }

    /// Reads what follows an operation's head; the operation and the bytes used, padding included.
    fn read(&self, head: &OpHead, rest: &'b [u8]) -> std::result::Result<(Op<'b>, usize), &'static str> {
        let (attributes, payload) = (head.attributes_len.get() as usize, head.payload_len.get() as usize);
        let put = match (head.kind, head.flags) {
            (PUT, 0) => true,
            (DELETE, 0) => false,
            _ => return Err("holds an operation of an unknown kind"),
        };
        if attributes > MAX_ATTRIBUTE_BYTES || payload > MAX_PAYLOAD_BYTES {
            return Err("holds attributes or a payload beyond the limit");
        }
        let mut take = Take { rest, used: OP_HEAD };
        let id = read_id(take.bytes(usize::from(head.id_len.get()))?, self.ids)?;
        let op = if put {
            let vector = take.bytes(self.vector_bytes)?;
            let (attributes, payload) = (take.bytes(attributes)?, take.bytes(payload)?);
            Op::Put { row: self.row, id, vector, norm: head.norm.get(), attributes, payload }
        } else if attributes == 0 && payload == 0 && head.norm.get().to_bits() == 0 {
            Op::Delete { id }
        } else {
            return Err("holds a delete that carries data");
        };
        let padding = take.used.next_multiple_of(8) - take.used;
        if take.bytes(padding)?.iter().any(|b| *b != 0) {
            return Err("holds padding that is not zero");
        }
        Ok((op, take.used - OP_HEAD))
    }
}

fn read_id(bytes: &[u8], kind: IdKind) -> std::result::Result<IdRef<'_>, &'static str> {
    let id = match kind {
        IdKind::Bytes => IdRef::Bytes(bytes),
        IdKind::U64 => IdRef::U64(u64::from_le_bytes(bytes.try_into().map_err(|_| "holds a number of another width")?)),
    };
    id.check(kind).map_err(|_| "holds an id that is not allowed")?;
    Ok(id)
}

/// Takes bytes from the front, counting.
struct Take<'b> {
    rest: &'b [u8],
    used: usize,
}

impl<'b> Take<'b> {
    fn bytes(&mut self, count: usize) -> std::result::Result<&'b [u8], &'static str> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("ends inside an operation")?;
        self.rest = rest;
        self.used += count;
        Ok(taken)
    }
}

fn bad(offset: usize, what: &str) -> Error {
    Error::corrupt("log record", "batch", offset as u64, format!("the batch {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metric;

    fn schema(kind: IdKind) -> Schema {
        Schema::new(3, Metric::Cosine).ids(kind)
    }

    fn sample(kind: IdKind) -> Frame {
        let mut encoder = BatchEncoder::new(&schema(kind), Vec::new(), 0);
        let ids: [IdRef<'_>; 3] = match kind {
            IdKind::U64 => [7.into(), 8.into(), 9.into()],
            IdKind::Bytes => ["a".into(), "longer id".into(), "x".into()],
        };
        encoder.put(ids[0], &[1; 12], 2.5, b"", b"payload").unwrap();
        encoder.put(ids[1], &[2; 12], 0.5, b"attributes", b"").unwrap();
        encoder.delete(ids[2]).unwrap();
        encoder.finish(40, &[3, 39]).unwrap()
    }

    #[test]
    fn a_batch_reads_back_as_it_was_written_and_encodes_to_the_same_bytes() {
        for kind in [IdKind::U64, IdKind::Bytes] {
            let frame = sample(kind);
            let view = BatchView::decode(frame.payload(), &schema(kind)).unwrap();
            assert_eq!((view.first_row(), view.kills().collect::<Vec<_>>()), (40, vec![3, 39]));
            let mut again = BatchEncoder::new(&schema(kind), Vec::new(), 0);
            let mut rows = Vec::new();
            for op in view.ops() {
                match op {
                    Op::Put { row, id, vector, norm, attributes, payload } => {
                        rows.push(row);
                        again.put(id, vector, norm, attributes, payload).unwrap();
                    }
                    Op::Delete { id } => again.delete(id).unwrap(),
                }
            }
            assert_eq!(rows, [40, 41]);
            assert_eq!(again.finish(40, &[3, 39]).unwrap().payload(), frame.payload());
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_error_or_another_batch_never_a_panic() {
        for kind in [IdKind::U64, IdKind::Bytes] {
            let frame = sample(kind);
            let payload = frame.payload();
            for len in 0..payload.len() {
                assert!(BatchView::decode(&payload[..len], &schema(kind)).is_err(), "cut at {len}");
            }
            for at in 0..payload.len() {
                for value in [0, 1, 0x7F, 0x80, 0xFF] {
                    let mut changed = payload.to_vec();
                    changed[at] = value;
                    if let Ok(view) = BatchView::decode(&changed, &schema(kind)) {
                        assert!(view.ops().count() == 3 && view.kills().count() == 2);
                    }
                }
            }
        }
    }
}
