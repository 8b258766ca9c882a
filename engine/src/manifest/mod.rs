//! Manifests: numbered, complete, write-once descriptions of what is live.
//!
//! Everything a collection consists of is in one manifest, so there is one commit point for rows, ids and tombstones. The
//! newest generation counts. A manifest is synced before it gets its name; a torn one under its final name is damage.

#[cfg(feature = "testing")]
pub(crate) mod codec;
#[cfg(not(feature = "testing"))]
mod codec;
mod publish;
mod training;

use std::collections::BTreeMap;

use crate::format::FileFacts;
use crate::metric::Element;
use crate::options::Schema;
use crate::storage::{FileId, FileKind, FileName};

pub use training::{Calibration, Training};

pub use publish::{Loaded, list_generations, load, load_listed, load_newest, newest_listed, publish, verify};

/// One state of the immutable files, and where the log begins that continues it.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its number, and its name.
    pub generation: u64,
    /// The generation it was made from; 0 for the first.
    pub parent: u64,
    /// The collection's id: 128 random bits.
    pub collection: u128,
    /// Epoch of the writer that published it.
    pub epoch: u64,
    /// Above every file number given so far.
    pub next_file_number: u64,
    /// Above every row number in the files.
    pub next_row: u64,
    /// The files hold the effect of all batches up to this one and of none after it.
    pub covered_seq: u64,
    /// The log that holds what follows.
    pub first_wal: FileId,
    /// What the collection is.
    pub schema: Schema,
    /// Origins of row numbers; the first is this collection's own.
    pub origins: Vec<u128>,
    /// Ascending by row number.
    pub row_files: Vec<FileEntry>,
    /// Oldest first.
    pub id_tables: Vec<FileEntry>,
    /// Oldest first.
    pub tombstones: Vec<FileEntry>,
    /// Newest last.
    pub models: Vec<HashedEntry>,
    /// Ascending by row number.
    pub lists: Vec<HashedEntry>,
    /// How to search by these models: model by model, of each ascending by number of rows wanted and recall.
    pub calibration: Vec<Calibration>,
    /// What these models were trained on, as far as it is known; in their order.
    pub training: Vec<Training>,
    /// What bulk loads have set, by name.
    pub properties: BTreeMap<String, Vec<u8>>,
    /// Feature bits that a build may write without knowing them; kept as they are.
    pub compatible: u32,
    /// Tables of a later version that can be ignored, ascending by kind; kept as they are.
    pub carried: Vec<CarriedTable>,
}

/// A table of a kind this build does not know and may go on without. It stands in every manifest that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedTable {
    /// Its kind, above every kind that is known here.
    pub kind: u16,
    /// Its flags, with the one that lets it be ignored.
    pub flags: u16,
    /// Bytes of an entry.
    pub width: u32,
    /// All entries.
    pub entries: Vec<u8>,
}

/// One immutable file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its id; with the table's kind, its name.
    pub id: FileId,
    /// What the manifest states about it.
    pub facts: FileFacts,
    /// Of a row file: each of its live rows is in a list segment too.
    pub in_lists: bool,
    /// Of a row file: what the components of its vectors are. `None` if it has no vectors, only their codes in list segments are left.
    pub element: Option<Element>,
}

impl FileEntry {
    /// A file that has no rows.
    pub fn new(id: FileId, facts: FileFacts) -> Self {
        FileEntry { id, facts, in_lists: false, element: None }
    }

    /// A row file whose rows are in no list segment.
    pub fn of_rows(id: FileId, facts: FileFacts, element: Option<Element>) -> Self {
        FileEntry { id, facts, in_lists: false, element }
    }
}

/// A model with the hash of its content, or a list segment with the hash of its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashedEntry {
    /// The file.
    pub file: FileEntry,
    /// The hash.
    pub hash: [u8; 32],
}

impl Manifest {
    /// A manifest that names nothing, as generation 0.
    pub fn new(collection: u128, schema: Schema) -> Self {
        Manifest {
            generation: 0,
            parent: 0,
            collection,
            epoch: 0,
            next_file_number: 1,
            next_row: 0,
            covered_seq: 0,
            first_wal: FileId::default(),
            schema,
            origins: vec![collection],
            row_files: Vec::new(),
            id_tables: Vec::new(),
            tombstones: Vec::new(),
            models: Vec::new(),
            lists: Vec::new(),
            calibration: Vec::new(),
            training: Vec::new(),
            properties: BTreeMap::new(),
            compatible: 0,
            carried: Vec::new(),
        }
    }

    /// The manifest that follows this one, so far the same.
    pub fn successor(&self) -> Self {
        Manifest { generation: self.generation + 1, parent: self.generation, ..self.clone() }
    }

    /// The origin of the collection's own rows.
    pub fn own_origin(&self) -> u128 {
        self.origins.first().copied().unwrap_or(self.collection)
    }

    /// Every immutable file, with its kind.
    pub fn files(&self) -> impl Iterator<Item = (FileName, FileFacts)> + '_ {
        let table = |kind| move |entry: &'_ FileEntry| (FileName::File(kind, entry.id), entry.facts);
        let hashed = |kind| move |entry: &'_ HashedEntry| (FileName::File(kind, entry.file.id), entry.file.facts);
        let rows = self.row_files.iter().map(table(FileKind::Row));
        let ids = self.id_tables.iter().map(table(FileKind::IdTable));
        let dead = self.tombstones.iter().map(table(FileKind::Tombstone));
        let models = self.models.iter().map(hashed(FileKind::Model));
        let lists = self.lists.iter().map(hashed(FileKind::List));
        rows.chain(ids).chain(dead).chain(models).chain(lists)
    }
}
