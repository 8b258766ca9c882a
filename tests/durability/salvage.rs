//! Repairs of row files that do not open: what damage does not touch is kept, whatever frame is lost with it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use stratavec::storage::testing::MemDir;
use stratavec::storage::{FileKind, FileName};
use stratavec::{
    Attributes, Background, Collection, Compact, Compaction, Id, IdKind, IndexKind, IvfOptions, Metric, OpenOptions,
    Repair, RepairReport, RowFormat, Schema, Value,
};

const DIM: usize = 24;
const BATCHES: u64 = 4;
const PER_BATCH: u64 = 600;

/// What a subject's row file is like.
#[derive(Clone, Copy, Debug)]
struct Kind {
    ids: IdKind,
    rows: RowFormat,
    /// The components, of numbers below 509.
    of: fn(u64) -> f32,
    /// Attributes and payloads.
    extras: bool,
    /// Rows were deleted and merged away, and some more deleted since.
    gaps: bool,
    /// All rows are of one batch.
    one_batch: bool,
}

type Rows = BTreeMap<Id, (Vec<u32>, Attributes, Vec<u8>, u64)>;

/// A collection of one row file.
struct Subject {
    kind: Kind,
    disk: MemDir,
    name: FileName,
    bytes: Vec<u8>,
    rows: Rows,
    /// The ids of the file's rows in their order, dead ones too.
    order: Vec<Id>,
}

fn options() -> OpenOptions {
    OpenOptions::default().background(Background::Inline).compaction(Compaction::Manual)
}

fn id(kind: Kind, n: u64) -> Id {
    match kind.ids {
        IdKind::U64 => Id::U64(n * 7 + 1),
        _ => Id::from(format!("row {n:06} {}", "x".repeat((n % 40) as usize))),
    }
}

fn make(kind: Kind) -> Subject {
    let disk = MemDir::new(12);
    // Without vectors there have to be codes.
    let index = match kind.rows.keeps_vectors() {
        true => IndexKind::Flat,
        false => IndexKind::Ivf(IvfOptions::auto().nlist(4)),
    };
    let schema = Schema::new(DIM, Metric::L2).ids(kind.ids).rows(kind.rows).index(index);
    let collection = Collection::create_in(Arc::new(disk.clone()), schema, options()).unwrap();
    let (batches, per_batch) = if kind.one_batch { (1, BATCHES * PER_BATCH) } else { (BATCHES, PER_BATCH) };
    for batch_no in 0..batches {
        let mut batch = collection.batch();
        for n in batch_no * per_batch..(batch_no + 1) * per_batch {
            let vector: Vec<f32> = (0..DIM as u64).map(|i| (kind.of)((n * 31 + i * 17) % 509)).collect();
            let put = batch.upsert(&id(kind, n), &vector);
            if kind.extras {
                let attributes = Attributes::from([("n".to_owned(), Value::I64(n as i64))]);
                put.attributes(attributes).payload(format!("{n} {}", "y".repeat((n % 90) as usize)).as_bytes());
            }
        }
        batch.commit().unwrap();
    }
    collection.flush().unwrap();
    if !kind.rows.keeps_vectors() {
        collection.compact(Compact::Auto).unwrap().wait().unwrap();
    }
    let mut order: Vec<u64> = (0..BATCHES * PER_BATCH).collect();
    if kind.gaps {
        let delete = |dead: &dyn Fn(u64) -> bool| {
            let mut batch = collection.batch();
            for n in (0..BATCHES * PER_BATCH).filter(|n| dead(*n)) {
                batch.delete(&id(kind, n));
            }
            batch.commit().unwrap();
            collection.flush().unwrap();
        };
        delete(&|n| n % 3 == 1);
        collection.compact(Compact::Full).unwrap().wait().unwrap();
        order.retain(|n| n % 3 != 1);
        delete(&|n| n % 30 == 2);
    }
    let rows = read(&collection);
    drop(collection);
    let names: Vec<FileName> = disk.names().into_iter().filter(|name| name.kind() == Some(FileKind::Row)).collect();
    let [name] = names[..] else { panic!("{names:?}") };
    let bytes = disk.file_bytes(name).unwrap();
    let order = order.into_iter().map(|n| id(kind, n)).collect();
    Subject { kind, disk, name, bytes, rows, order }
}

fn read(collection: &Collection) -> Rows {
    let rows = collection.snapshot();
    let bits = |vector: Vec<f32>| vector.into_iter().map(f32::to_bits).collect();
    rows.iter()
        .map(|item| item.unwrap())
        .map(|item| (item.id, (bits(item.vector), item.attributes, item.payload.unwrap_or_default(), item.seq)))
        .collect()
}

/// A section, as the directory of the whole file has it.
struct Section {
    offset: usize,
    len: usize,
    entries: usize,
    width: usize,
}

impl Subject {
    fn number(&self, at: usize, len: usize) -> usize {
        self.bytes[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    fn directory(&self) -> Range<usize> {
        let footer = self.bytes.len() - 160;
        self.number(footer + 8, 8)..footer
    }

    fn section(&self, kind: usize) -> Option<Section> {
        let at = self.directory().step_by(64).find(|at| self.number(*at, 4) == kind)?;
        let (offset, len) = (self.number(at + 8, 8), self.number(at + 16, 8));
        Some(Section { offset, len, entries: self.number(at + 24, 8), width: self.number(at + 32, 4) })
    }

    /// The unit of an offset column that an entry is in, and what the entry covers.
    fn covered(&self, column: &Section, entry: usize) -> (Range<usize>, Range<usize>) {
        let unit = column.offset + entry / 1020 * 4096;
        let (base, end) = (self.number(unit, 8), self.number(unit + 8 + entry % 1020 * 4, 4));
        let start = if entry.is_multiple_of(1020) { 0 } else { self.number(unit + 4 + entry % 1020 * 4, 4) };
        (unit..(unit + 4096).min(column.offset + column.len), base + start..base + end)
    }

    /// The places of the file that a row needs: its record and the units and blocks of its other parts.
    fn needs(&self, ordinal: usize) -> Vec<Range<usize>> {
        let units = |section: &Section, bytes: Range<usize>| {
            let end = section.offset + section.len;
            section.offset + bytes.start / 4088 * 4096..(section.offset + bytes.end.div_ceil(4088) * 4096).min(end)
        };
        let record = |vectors: Section| {
            let start = vectors.offset + ordinal * vectors.width;
            start..start + vectors.width
        };
        let number = |numbers: Section| units(&numbers, ordinal / 511 * 4088..ordinal / 511 * 4088 + 8);
        let mut needs = Vec::new();
        needs.extend(self.section(0x0103).map(record));
        needs.extend([0x0104, 0x0105].into_iter().filter_map(|kind| self.section(kind)).map(number));
        for (offsets, bytes) in [(0x0106, 0x0107), (0x0108, 0x0109)] {
            if let Some(column) = self.section(offsets) {
                let (unit, bytes_of_row) = self.covered(&column, ordinal);
                needs.extend([unit, units(&self.section(bytes).unwrap(), bytes_of_row)]);
            }
        }
        if let Some(column) = self.section(0x010A) {
            let (unit, raw) = self.covered(&column, ordinal);
            let (mut at, mut before) = (self.section(0x010B).unwrap().offset, 0);
            while before + self.number(at, 4) < raw.end {
                before += self.number(at, 4);
                at += 16 + self.number(at + 4, 4).next_multiple_of(8);
            }
            needs.extend([unit, at..at + 16 + self.number(at + 4, 4)]);
        }
        needs
    }

    /// Whether the sections can be found: the directory is whole, or the last units of all offset columns are.
    fn can_be_found(&self, damage: &Range<usize>) -> bool {
        let apart = |range: &Range<usize>| range.end <= damage.start || damage.end <= range.start;
        let columns = [0x0106, 0x0108, 0x010A].into_iter().filter_map(|kind| self.section(kind));
        let ends = columns.map(|column| self.covered(&column, column.entries - 1).0);
        apart(&self.directory()) || ends.into_iter().all(|unit| apart(&unit))
    }

    /// The live rows that damage to a range of bytes leaves whole.
    fn whole(&self, damage: &Range<usize>) -> usize {
        let apart = |range: &Range<usize>| range.end <= damage.start || damage.end <= range.start;
        let safe = |ordinal: usize| self.needs(ordinal).iter().all(apart);
        let rows = self.order.iter().enumerate().filter(|(_, id)| self.rows.contains_key(id));
        rows.filter(|(ordinal, _)| self.can_be_found(damage) && safe(*ordinal)).count()
    }

    /// Repairs after damage; the rows that were kept are right, and those that were not are counted.
    fn repaired(&self, what: &str, change: impl FnOnce(&mut Vec<u8>)) -> (RepairReport, usize) {
        let (disk, to) = (self.disk.fork(), MemDir::new(13));
        assert!(disk.corrupt(self.name, change));
        let report = Collection::repair_in(&disk, &to, Repair::KeepProven)
            .unwrap_or_else(|error| panic!("{:?}, {what}: {error:?}", self.kind));
        let rows = read(&Collection::open_in(Arc::new(to), options()).unwrap());
        for (id, row) in &rows {
            assert_eq!(self.rows.get(id), Some(row), "{:?}, {what}: {id:?}", self.kind);
        }
        let missing = (self.rows.len() - rows.len()) as u64;
        assert!(report.rows_lost >= missing, "{:?}, {what}: {missing} are missing; {report:?}", self.kind);
        assert_eq!(report.is_complete(), missing == 0, "{:?}, {what}: {report:?}", self.kind);
        (report, rows.len())
    }

    fn check(&self, what: &str, damage: Range<usize>, change: impl FnOnce(&mut Vec<u8>)) {
        let (report, kept) = self.repaired(what, change);
        let whole = self.whole(&damage);
        assert!(kept >= whole, "{:?}, {what}: {kept} rows kept, {whole} were not touched; {report:?}", self.kind);
    }

    fn flip(&self, what: &str, at: usize) {
        self.check(what, at..at + 1, |bytes| bytes[at] ^= 0x10);
    }
}

fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    // Files have the shortest components that hold their vectors: here all there are.
    type Of = fn(u64) -> f32;
    let (eighths, sevenths, bytes): (Of, Of, Of) = (|k| k as f32 / 8.0, |k| k as f32 / 7.0, |k| (k % 256) as f32);
    for (ids, rows, of) in [(IdKind::U64, RowFormat::F32, sevenths), (IdKind::Bytes, RowFormat::F16, eighths)] {
        for extras in [false, true] {
            for gaps in [false, true] {
                kinds.push(Kind { ids, rows, of, extras, gaps, one_batch: false });
            }
        }
    }
    let plain =
        Kind { ids: IdKind::U64, rows: RowFormat::F16, of: eighths, extras: false, gaps: false, one_batch: true };
    kinds.extend([plain, Kind { rows: RowFormat::F32, gaps: true, ..plain }, Kind { ids: IdKind::Bytes, ..plain }]);
    kinds.extend([
        Kind { rows: RowFormat::Bf16, of: bytes, ..plain },
        Kind { rows: RowFormat::Bf16, of: sevenths, ..plain },
    ]);
    kinds.push(Kind { rows: RowFormat::F32, of: |k| (k as f32 - 99.0) * 2.0_f32.powi(20), ..plain });
    let none = RowFormat::None;
    kinds.extend([Kind { rows: RowFormat::I8, extras: true, ..plain }, Kind { rows: none, one_batch: false, ..plain }]);
    kinds.push(Kind { ids: IdKind::Bytes, rows: none, extras: true, gaps: true, one_batch: false, ..plain });
    kinds
}

/// [C8] However short a row file was cut, rows whose parts are all in what is left are kept, and no other.
#[test]
fn a_cut_row_file_costs_what_was_cut_off() {
    for subject in kinds().into_iter().map(make) {
        let len = subject.bytes.len();
        for left in [len - 1, len - 160, len - 161, len - 4096, len * 9 / 10, len / 2, len / 4, 63, 0] {
            subject.check(&format!("cut to {left} of {len}"), left..len, |bytes| bytes.truncate(left));
        }
        // Without columns behind the records a tenth of the file is little more than a tenth of the rows.
        if subject.kind.one_batch && subject.kind.ids == IdKind::U64 && !subject.kind.extras {
            let most = subject.whole(&(len * 9 / 10..len));
            assert!(most * 5 > subject.rows.len() * 4, "{:?}: {most}", subject.kind);
        }
    }
}

/// [C8] Damage to header, footer, section directory or page directory, and bytes behind the end, cost no row.
#[test]
fn damage_to_the_frame_of_a_row_file_costs_nothing() {
    for subject in kinds().into_iter().map(make) {
        let (len, all) = (subject.bytes.len(), subject.rows.len());
        let (_, kept) = subject.repaired("100 bytes more", |bytes| bytes.extend([7; 100]));
        assert_eq!(kept, all, "{:?}", subject.kind);
        let pages = subject.section(0x0101).unwrap();
        let bitmaps = subject.section(0x0102);
        let directory = subject.directory();
        let mut places: Vec<usize> = vec![0, 8, 25, 60, pages.offset, pages.offset + 9, pages.offset + pages.len - 1];
        places.extend(bitmaps.map(|bitmaps| bitmaps.offset + 100));
        places.extend(directory.clone().step_by(29).chain((len - 160..len).step_by(13)));
        for at in places {
            let (report, kept) = subject.repaired(&format!("byte {at}"), |bytes| bytes[at] ^= 0x10);
            assert_eq!(kept, all, "{:?}, byte {at} of {len}: {report:?}", subject.kind);
        }
        let (_, kept) = subject.repaired("no directory", |bytes| bytes[directory.start..].fill(0xA5));
        assert_eq!(kept, all, "{:?} without directory and footer", subject.kind);
    }
}

/// [C8] Records, units and whole stretches that are damaged cost the rows that they belong to.
#[test]
fn a_damaged_stretch_of_a_row_file_costs_the_rows_in_it() {
    for subject in kinds().into_iter().map(make) {
        // Where there are no records, the first column takes their place.
        let first = [0x0103, 0x0105, 0x0106].into_iter().find_map(|kind| subject.section(kind)).unwrap();
        subject.flip("a flip in a record", first.offset + first.len / 2);
        for zeros in [0..64 << 10, 0..(64 << 10) + 9 * first.width, first.offset..first.offset + 5000] {
            let zeros = zeros.start..zeros.end.min(subject.bytes.len());
            subject.check(&format!("zeros at {zeros:?}"), zeros.clone(), |bytes| bytes[zeros.clone()].fill(0));
        }
        for kind in 0x0104..=0x010C {
            if let Some(section) = subject.section(kind) {
                subject.flip(&format!("a flip in section {kind:#x}"), section.offset + section.len / 2);
            }
        }
    }
}
