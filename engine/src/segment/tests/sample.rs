//! Rows and files to test with.

use std::cell::Cell;

use super::bytes_dir::BytesDir;
use crate::error::Result;
use crate::format::attributes::encode_attributes;
use crate::format::facts::FileFacts;
use crate::format::mix64;
use crate::id::{Id, IdKind};
use crate::metric::{Element, Metric};
use crate::segment::{
    IdEntry, IdTable, RowFile, RowInput, RowLayout, RowSource, TombstoneFile, write_id_table, write_row_file,
    write_tombstones,
};
use crate::storage::{FileId, FileKind, FileName};
use crate::value::Attributes;

pub(super) const COLLECTION: u128 = 0xC011;
pub(super) const ORIGIN: u128 = 0x0819;
pub(super) const FILE: FileId = FileId { number: 7, epoch: 99 };
pub(super) const ROW_NAME: FileName = FileName::File(FileKind::Row, FILE);
pub(super) const ID_NAME: FileName = FileName::File(FileKind::IdTable, FILE);
pub(super) const DEAD_NAME: FileName = FileName::File(FileKind::Tombstone, FILE);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) row: u64,
    pub(super) seq: u64,
    pub(super) id: Id,
    pub(super) vector: Vec<u8>,
    pub(super) norm: f32,
    pub(super) attributes: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct Rows {
    pub(super) layout: RowLayout,
    pub(super) rows: Vec<Row>,
}

impl RowSource for Rows {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn visit(&self, i: usize, take: &mut dyn FnMut(RowInput<'_>) -> Result<()>) -> Result<()> {
        let row = &self.rows[i];
        take(RowInput {
            row: row.row,
            seq: row.seq,
            id: row.id.as_ref(),
            vector: &row.vector,
            element: self.layout.element.unwrap_or(Element::F32),
            norm: row.norm,
            attributes: &row.attributes,
            payload: &row.payload,
        })
    }
}

/// Numbers that look random and are always the same.
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn next(&mut self) -> u64 {
        self.0 += 1;
        mix64(self.0)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

impl Rows {
    /// Rows with these numbers; attributes, payloads and differing sequence numbers if `rich`.
    pub(super) fn new(layout: RowLayout, numbers: impl IntoIterator<Item = u64>, rich: bool) -> Rows {
        let mut draw = Draw(5);
        let rows = numbers.into_iter().map(|row| one_row(&layout, row, rich, &mut draw)).collect();
        Rows { layout, rows }
    }

    pub(super) fn write(&self, dir: &BytesDir) -> Result<FileFacts> {
        write_row_file(dir, FILE, COLLECTION, ORIGIN, &self.layout, self).map(|file| file.facts())
    }

    pub(super) fn open(&self, dir: &BytesDir, facts: &FileFacts) -> Result<RowFile> {
        RowFile::open(dir, FILE, COLLECTION, ORIGIN, &self.layout, facts)
    }
}

fn one_row(layout: &RowLayout, row: u64, rich: bool, draw: &mut Draw) -> Row {
    let id = match layout.ids {
        IdKind::U64 => Id::U64(row.wrapping_mul(1_000_003)),
        IdKind::Bytes => Id::from(format!("document-{row:x}-{}", "x".repeat(draw.below(9) as usize))),
    };
    let mut vector: Vec<u8> = (0..layout.dim).flat_map(|_| component(layout.element, draw)).collect();
    if layout.element == Some(Element::I8) {
        vector.extend_from_slice(&0.25_f32.to_le_bytes());
    }
    let norm = if layout.metric == Metric::Cosine && layout.has_vectors() { 1.0 + draw.below(100) as f32 } else { 0.0 };
    let attributes = match rich && draw.below(4) > 0 {
        true => encode_attributes(&Attributes::from([
            ("lang".to_owned(), "en".into()),
            ("year".to_owned(), (draw.below(3_000) as i64).into()),
        ]))
        .unwrap(),
        false => Vec::new(),
    };
    let payload = match rich {
        true => payload(draw),
        false => Vec::new(),
    };
    Row { row, seq: if rich { 40 + row % 13 } else { 40 }, id, vector, norm, attributes, payload }
}

/// Numbers that no shorter element holds.
fn component(element: Option<Element>, draw: &mut Draw) -> Vec<u8> {
    match element {
        Some(Element::F32) => (draw.below(2_000) as f32 - 999.7).to_le_bytes().to_vec(),
        Some(Element::I8) => vec![(draw.below(255) as i64 - 127) as u8],
        Some(Element::U8) => vec![draw.below(256) as u8],
        None => Vec::new(),
        _ => (draw.below(0x3000) as u16).to_le_bytes().to_vec(),
    }
}

fn payload(draw: &mut Draw) -> Vec<u8> {
    let len = draw.below(60) as usize;
    match draw.below(4) {
        0 => Vec::new(),
        1 => (0..len).map(|_| draw.next() as u8).collect(),
        _ => b"all work and no play makes a dull text; ".iter().copied().cycle().take(3 * len).collect(),
    }
}

pub(super) fn layout(dim: usize, element: Element, metric: Metric, ids: IdKind) -> RowLayout {
    RowLayout { dim, element: Some(element), metric, ids }
}

pub(super) const SMALL: RowLayout =
    RowLayout { dim: 3, element: Some(Element::F32), metric: Metric::Cosine, ids: IdKind::Bytes };

/// A file of each kind: made from few rows, with every section there is.
pub(super) struct Files {
    pub(super) dir: BytesDir,
    pub(super) rows: Rows,
    pub(super) row_facts: FileFacts,
    pub(super) id_facts: FileFacts,
    pub(super) dead_facts: FileFacts,
    /// How often `read_all` got past the opening.
    pub(super) opened: Cell<usize>,
}

impl Files {
    pub(super) fn new(numbers: &[u64]) -> Files {
        let dir = BytesDir::default();
        let rows = Rows::new(SMALL, numbers.iter().copied(), true);
        let row_facts = rows.write(&dir).unwrap();
        let mut entries: Vec<IdEntry> = numbers.iter().map(|row| IdEntry { key: mix64(row % 50), row: *row }).collect();
        let ids = write_id_table(&dir, FILE, COLLECTION, ORIGIN, IdKind::Bytes, &mut entries, 40, 52).unwrap();
        let id_facts = ids.facts();
        let dead: Vec<u64> =
            numbers.iter().copied().filter(|row| row % 3 != 0).chain(1 << 20..(1 << 20) + 300).collect();
        let dead_facts = write_tombstones(&dir, FILE, COLLECTION, ORIGIN, &dead, 30, 52).unwrap();
        Files { dir, rows, row_facts, id_facts, dead_facts, opened: Cell::new(0) }
    }

    pub(super) fn open_ids(&self, facts: &FileFacts) -> Result<IdTable> {
        IdTable::open(&self.dir, FILE, COLLECTION, ORIGIN, IdKind::Bytes, facts)
    }

    pub(super) fn open_dead(&self, facts: &FileFacts) -> Result<TombstoneFile> {
        TombstoneFile::open(&self.dir, FILE, COLLECTION, ORIGIN, facts)
    }

    /// Opens the file of this name and reads everything in every way; the number of errors met.
    pub(super) fn read_all(&self, name: FileName, facts: &FileFacts) -> usize {
        let mut errors = Errors(0);
        match name.kind() {
            Some(FileKind::Row) => self.read_rows(facts, &mut errors),
            Some(FileKind::IdTable) => self.read_ids(facts, &mut errors),
            _ => self.read_dead(facts, &mut errors),
        }
        errors.0
    }

    /// Opens and verifies; the number of findings.
    pub(super) fn verify(&self, name: FileName, facts: &FileFacts) -> usize {
        let mut errors = Errors(0);
        let mut count = |error| errors.count(error);
        match name.kind() {
            Some(FileKind::Row) => match self.rows.open(&self.dir, facts) {
                Ok(file) => file.verify(&mut count),
                Err(error) => count(error),
            },
            Some(FileKind::IdTable) => match self.open_ids(facts) {
                Ok(table) => table.verify(&mut count),
                Err(error) => count(error),
            },
            _ => match self.open_dead(facts) {
                Ok(file) => file.verify(&mut count),
                Err(error) => count(error),
            },
        }
        errors.0
    }

    fn read_rows(&self, facts: &FileFacts, errors: &mut Errors) {
        let Some(file) = errors.note(self.rows.open(&self.dir, facts)) else { return };
        self.opened.set(self.opened.get() + 1);
        (0..file.len().min(5_000)).for_each(|i| read_row(&file, i, errors));
        let mut past_the_end = Errors(0);
        [file.len(), usize::MAX - 1].iter().for_each(|i| read_row(&file, *i, &mut past_the_end));
        assert!(past_the_end.0 >= 6, "rows past the end were read");
        for row in self.rows.rows.iter().map(|row| row.row).chain([0, u64::MAX]) {
            errors.note(file.ordinal(row));
        }
        file.verify(&mut |error| errors.count(error));
    }

    fn read_ids(&self, facts: &FileFacts, errors: &mut Errors) {
        let Some(table) = errors.note(self.open_ids(facts)) else { return };
        self.opened.set(self.opened.get() + 1);
        for entry in table.iter().take(5_000) {
            errors.note(entry);
        }
        for id in 0..60 {
            errors.note(table.lookup(mix64(id), |_| Ok(false)));
        }
        errors.note(table.lookup(0, |_| Ok(true)));
        errors.note(table.lookup(u64::MAX, |_| Ok(true)));
        table.verify(&mut |error| errors.count(error));
    }

    fn read_dead(&self, facts: &FileFacts, errors: &mut Errors) {
        let Some(file) = errors.note(self.open_dead(facts)) else { return };
        self.opened.set(self.opened.get() + 1);
        errors.note(file.for_each(|_| ()));
        for row in self.rows.rows.iter().map(|row| row.row).chain([0, 1 << 20, u64::MAX]) {
            errors.note(file.contains(row));
        }
        file.verify(&mut |error| errors.count(error));
    }
}

fn read_row(file: &RowFile, i: usize, errors: &mut Errors) {
    if let Some(records) = errors.note(file.records(i..i + 1)) {
        let _ = (records.norm(0), records.vector(0).bytes.len());
    }
    errors.note(file.id(i));
    errors.note(file.seq(i));
    errors.note(file.attributes(i));
    errors.note(file.payload(i));
    if let Some(row) = errors.note(file.row_number(i)) {
        errors.note(file.ordinal(row));
    }
}

/// Counts errors; each must be of a kind that a damaged or foreign file gives.
struct Errors(usize);

impl Errors {
    fn count(&mut self, error: crate::Error) {
        self.note::<()>(Err(error));
    }

    fn note<T>(&mut self, outcome: Result<T>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                let kind = error.kind();
                assert!(matches!(kind, crate::ErrorKind::Corrupt | crate::ErrorKind::UnsupportedVersion), "{error:?}");
                self.0 += 1;
                None
            }
        }
    }
}
