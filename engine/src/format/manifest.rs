//! The bytes of a manifest: a head, then tables of fixed-width entries, written twice.
//!
//! ```text
//! copy 1: ManifestHead | TableHead, entries | TableHead, entries | .. | u32 zero, u32 crc
//! zeros to a multiple of 4096, then copy 2: the same with a checksum of its own place
//! ```
//! A table whose kind is not known here is skipped if its flags allow it; otherwise a newer release is needed. Later
//! versions add tables and never change one.

use std::collections::BTreeMap;

use zerocopy::little_endian::{F32, F64, U16, U32, U64};

use super::FileFacts;
use super::layout::layout;

/// First bytes of a manifest.
pub const MANIFEST_MAGIC: [u8; 8] = *b"STVMAN\r\n";
/// Version of the manifest's layout, and with it of the whole format.
pub const FORMAT_VERSION: u32 = 0;
/// The second copy begins at a multiple of this.
pub const COPY_ALIGN: u64 = 4096;
/// No counter of a collection (generations, file numbers, row numbers, sequence numbers) gets this far: at a billion a second it
/// takes a century. What a file says beyond is a lie, and nothing that adds to a counter has to mind its end.
pub const COUNTER_END: u64 = 1 << 62;
/// Largest copy.
pub const MAX_MANIFEST_BYTES: u64 = 16 << 20;

layout! {
    /// At the start of each copy.
    pub struct ManifestHead: 176 {
        magic: [u8; 8],
        version: U32,
        copy_len: U32,
        compatible: U32,
        read_compatible: U32,
        incompatible: U32,
        table_count: U32,
        generation: U64,
        parent: U64,
        collection: [u8; 16],
        epoch: U64,
        next_file_number: U64,
        next_row: U64,
        covered_seq: U64,
        first_wal: [u8; 16],
        dim: U32,
        metric: u8,
        ids: u8,
        rows: u8,
        index: u8,
        seed: U64,
        codes: u8,
        bits: u8,
        spill: u8,
        anchors: u8,
        nlist: U32,
        parts: U32,
        anchor_limit: U32,
        reserved: [u8; 32],
    }
}

layout! {
    /// In front of each table.
    pub struct TableHead: 16 {
        kind: U16,
        flags: U16,
        width: U32,
        count: U64,
    }
}

layout! {
    /// One immutable file: entry of the tables of row files, id tables and tombstone files.
    pub struct FileEntryBytes: 80 {
        file_id: [u8; 16],
        len: U64,
        root: U32,
        families: U32,
        rows: U64,
        first_row: U64,
        last_row: U64,
        min_seq: U64,
        max_seq: U64,
        origin: U32,
        reserved: U32,
    }
}

layout! {
    /// A model with the hash of its content, or a list segment with the hash of its model.
    pub struct HashedEntryBytes: 112 {
        file: FileEntryBytes,
        hash: [u8; 32],
    }
}

layout! {
    /// How to search so that a part of the nearest rows is found: by the model of this hash, when there were so many rows.
    pub struct CalibrationBytes: 72 {
        model: [u8; 32],
        rows: U64,
        k: U32,
        recall: F32,
        nprobe: U32,
        patience: U32,
        exact: U32,
        deviations: F32,
        horizon: F32,
        reserved: [u8; 4],
    }
}

layout! {
    /// What is known of the rows a model was trained on, and of those that were filed by it since.
    pub struct TrainingBytes: 96 {
        model: [u8; 32],
        rows: U64,
        next_row: U64,
        energy: F64,
        fresh: U64,
        fresh_energy: F64,
        changed: U64,
        skew: F32,
        scanned: F32,
        reserved: [u8; 8],
    }
}

layout! {
    /// At the end of each copy.
    pub struct ManifestTail: 8 {
        zero: U32,
        crc: U32,
    }
}

/// Families that a row file provides: vectors (1), ids and sequence numbers (2), attributes and payloads (4).
pub const ALL_FAMILIES: u32 = 7;
/// Of the families: vectors. A row file of a collection that keeps none may be without.
pub const VECTORS: u32 = 1;
/// In the families of a row file: each of its live rows is in a list segment too.
pub const IN_LISTS: u32 = 0x100;

/// In the families of a row file, from this bit on: the components of its vectors, if they are shorter than the collection's.
pub const ELEMENT_SHIFT: u32 = 16;

/// A reader that does not know the table may go on without it.
pub const TABLE_IGNORABLE: u16 = 1;

/// Bytes of the entries of a calibration before they told a horizon; such a one is infinite.
pub const CALIBRATION_WITHOUT_HORIZON: usize = 64;

/// The tables of version 0, in the order in which they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum TableKind {
    /// 16-byte origins of row numbers; the collection's own is the first.
    Origins = 1,
    /// Row files, ascending by row number.
    RowFiles = 2,
    /// Id tables, oldest first.
    IdTables = 3,
    /// Tombstone files, oldest first.
    Tombstones = 4,
    /// Properties, ascending by name, as [`encode_properties`] writes them. Its entries are single bytes.
    Properties = 5,
    /// Models, newest last.
    Models = 6,
    /// List segments, ascending by row number.
    Lists = 7,
    /// How to search for a wanted part of the nearest rows. A reader may go on without it.
    Calibration = 10,
    /// What models were trained on, in their order. A reader may go on without it.
    Training = 13,
}

/// Kinds of tables that later versions will write. They have numbers so that nobody gives them twice.
#[allow(dead_code, reason = "reserved numbers")]
pub const RESERVED_TABLES: [(u16, &str); 4] = [(8, "sidecars"), (9, "retired pages"), (11, "shards"), (12, "leases")];

impl TableKind {
    /// All tables in order.
    pub const ALL: [TableKind; 9] = [
        TableKind::Origins,
        TableKind::RowFiles,
        TableKind::IdTables,
        TableKind::Tombstones,
        TableKind::Properties,
        TableKind::Models,
        TableKind::Lists,
        TableKind::Calibration,
        TableKind::Training,
    ];

    /// Flags in front of the table.
    pub const fn flags(self) -> u16 {
        match self {
            TableKind::Calibration | TableKind::Training => TABLE_IGNORABLE,
            _ => 0,
        }
    }

    /// Whether entries of so many bytes are read.
    pub const fn reads(self, width: usize) -> bool {
        width == self.width() || matches!(self, TableKind::Calibration) && width == CALIBRATION_WITHOUT_HORIZON
    }

    /// Bytes of one entry.
    pub const fn width(self) -> usize {
        match self {
            TableKind::Origins => 16,
            TableKind::Properties => 1,
            TableKind::RowFiles | TableKind::IdTables | TableKind::Tombstones => size_of::<FileEntryBytes>(),
            TableKind::Models | TableKind::Lists => size_of::<HashedEntryBytes>(),
            TableKind::Calibration => size_of::<CalibrationBytes>(),
            TableKind::Training => size_of::<TrainingBytes>(),
        }
    }
}

impl FileEntryBytes {
    /// The facts stated.
    pub fn facts(&self) -> FileFacts {
        FileFacts {
            len: self.len.get(),
            root: self.root.get(),
            rows: self.rows.get(),
            first_row: self.first_row.get(),
            last_row: self.last_row.get(),
            min_seq: self.min_seq.get(),
            max_seq: self.max_seq.get(),
        }
    }

    /// An entry that states these facts.
    pub fn new(file_id: u128, facts: &FileFacts, families: u32) -> Self {
        FileEntryBytes {
            file_id: file_id.to_le_bytes(),
            len: facts.len.into(),
            root: facts.root.into(),
            families: families.into(),
            rows: facts.rows.into(),
            first_row: facts.first_row.into(),
            last_row: facts.last_row.into(),
            min_seq: facts.min_seq.into(),
            max_seq: facts.max_seq.into(),
            origin: 0.into(),
            reserved: 0.into(),
        }
    }
}

/// Most bytes of the name of a property.
pub const MAX_PROPERTY_NAME: usize = 255;
/// Most bytes of the value of a property.
pub const MAX_PROPERTY_VALUE: usize = 4096;
/// Most properties.
pub const MAX_PROPERTIES: usize = 64;

/// Properties as bytes: of each a u16 length of its name, a u16 length of its value, the name, the value.
pub fn encode_properties(properties: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in properties {
        bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}

/// Properties from bytes; what is wrong if they are none.
pub fn decode_properties(mut bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, &'static str> {
    let mut properties: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    while !bytes.is_empty() {
        let cut = "a property is cut short";
        let (name_len, rest) = bytes.split_first_chunk::<2>().ok_or(cut)?;
        let (value_len, rest) = rest.split_first_chunk::<2>().ok_or(cut)?;
        let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*name_len).into()).ok_or(cut)?;
        let (value, rest) = rest.split_at_checked(u16::from_le_bytes(*value_len).into()).ok_or(cut)?;
        let name = std::str::from_utf8(name).map_err(|_| "the name of a property is not UTF-8")?;
        let fits = !name.is_empty() && name.len() <= MAX_PROPERTY_NAME && value.len() <= MAX_PROPERTY_VALUE;
        if !fits || properties.len() == MAX_PROPERTIES {
            return Err("a property is too long, or there are too many");
        }
        if properties.last_key_value().is_some_and(|(last, _)| last.as_str() >= name) {
            return Err("the properties are not in order");
        }
        properties.insert(name.to_owned(), value.to_vec());
        bytes = rest;
    }
    Ok(properties)
}
