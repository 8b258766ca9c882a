//! Manifests to bytes and back. Reading proves everything before it is used.

use zerocopy::{FromBytes, IntoBytes};

use super::training::{MAX_MODELS, check_measured};
use super::{Calibration, CarriedTable, FileEntry, HashedEntry, Manifest, Training};
use crate::error::{Error, ErrorKind, Result};
use crate::format::FileFacts;
use crate::format::checksum::{file_seed, unit_crc};
use crate::format::code::Code;
use crate::format::index_kind::IndexCode;
use crate::format::manifest::{
    ALL_FAMILIES, COPY_ALIGN, COUNTER_END, ELEMENT_SHIFT, FORMAT_VERSION, FileEntryBytes, HashedEntryBytes, IN_LISTS,
    MANIFEST_MAGIC, MAX_MANIFEST_BYTES, ManifestHead, ManifestTail, TABLE_IGNORABLE, TableHead, TableKind,
    TrainingBytes, VECTORS, decode_properties, encode_properties,
};
use crate::metric::Element;
use crate::options::Schema;
use crate::planted::{self, Bug};
use crate::storage::{FileId, FileName};

const HEAD: usize = size_of::<ManifestHead>();
const TAIL: usize = size_of::<ManifestTail>();

/// Both copies of a manifest, as the file holds them.
pub(crate) fn encode(manifest: &Manifest) -> Vec<u8> {
    let copy = encode_body(manifest);
    let second = (copy.len() as u64).next_multiple_of(COPY_ALIGN);
    let mut file = seal(copy.clone(), manifest.generation, 0);
    file.resize(second as usize, 0);
    match planted::is(Bug::SkipManifestCopy) {
        true => file.resize(second as usize + copy.len(), 0),
        false => file.extend(seal(copy, manifest.generation, second)),
    }
    file
}

/// Puts the checksum of a copy at its place.
fn seal(mut copy: Vec<u8>, generation: u64, at: u64) -> Vec<u8> {
    let end = copy.len().saturating_sub(4);
    let crc = copy_crc(copy.get(..end).unwrap_or_default(), generation, at);
    if let Some(place) = copy.get_mut(end..) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
    copy
}

fn copy_crc(bytes: &[u8], generation: u64, at: u64) -> u32 {
    unit_crc(file_seed(FileName::Manifest(generation).file_id().to_u128()), at, bytes)
}

/// One copy, its checksum still zero.
fn encode_body(manifest: &Manifest) -> Vec<u8> {
    let mut tables = Vec::new();
    let mut count = 0u32;
    let mut last = 0;
    for kind in TableKind::ALL {
        let entries = table_bytes(manifest, kind);
        if entries.is_empty() {
            continue;
        }
        // Tables ascend: what is carried along has its place among those that are known.
        for table in manifest.carried.iter().filter(|table| (last..kind as u16).contains(&table.kind)) {
            put_table(&mut tables, table.kind, table.flags, table.width, &table.entries);
            count += 1;
        }
        last = kind as u16;
        put_table(&mut tables, kind as u16, kind.flags(), kind.width() as u32, &entries);
        count += 1;
    }
    for table in manifest.carried.iter().filter(|table| table.kind > last) {
        put_table(&mut tables, table.kind, table.flags, table.width, &table.entries);
        count += 1;
    }
    let head = encode_head(manifest, HEAD + tables.len() + TAIL, count);
    [head.as_bytes(), &tables, &[0; TAIL]].concat()
}

fn put_table(tables: &mut Vec<u8>, kind: u16, flags: u16, width: u32, entries: &[u8]) {
    let count = entries.len() as u64 / u64::from(width.max(1));
    let head = TableHead { kind: kind.into(), flags: flags.into(), width: width.into(), count: count.into() };
    tables.extend_from_slice(head.as_bytes());
    tables.extend_from_slice(entries);
}

fn encode_head(manifest: &Manifest, len: usize, tables: u32) -> ManifestHead {
    let schema = &manifest.schema;
    let index = IndexCode::of(schema.index_kind());
    ManifestHead {
        magic: MANIFEST_MAGIC,
        version: FORMAT_VERSION.into(),
        copy_len: (len as u32).into(),
        compatible: manifest.compatible.into(),
        read_compatible: 0.into(),
        incompatible: 0.into(),
        table_count: tables.into(),
        generation: manifest.generation.into(),
        parent: manifest.parent.into(),
        collection: manifest.collection.to_le_bytes(),
        epoch: manifest.epoch.into(),
        next_file_number: manifest.next_file_number.into(),
        next_row: manifest.next_row.into(),
        covered_seq: manifest.covered_seq.into(),
        first_wal: manifest.first_wal.to_u128().to_le_bytes(),
        dim: (schema.dim() as u32).into(),
        metric: schema.metric().code(),
        ids: schema.id_kind().code(),
        rows: schema.row_format().code(),
        index: index.kind,
        seed: schema.random_seed().into(),
        codes: index.codes,
        bits: index.bits,
        spill: index.spill,
        anchors: index.anchors,
        nlist: index.nlist.into(),
        parts: index.parts.into(),
        anchor_limit: index.anchor_limit.into(),
        reserved: [0; 32],
    }
}

fn table_bytes(manifest: &Manifest, kind: TableKind) -> Vec<u8> {
    let bytes = |entry: &FileEntry| FileEntryBytes::new(entry.id.to_u128(), &entry.facts, 0);
    let files = |entries: &[FileEntry]| entries.iter().flat_map(|entry| bytes(entry).as_bytes().to_vec()).collect();
    let of_rows = |entry: &FileEntry| {
        FileEntryBytes::new(entry.id.to_u128(), &entry.facts, families(entry, manifest.schema.row_format().element()))
    };
    let hashed = |entries: &[HashedEntry]| {
        let bytes = |entry: &HashedEntry| HashedEntryBytes { file: bytes(&entry.file), hash: entry.hash };
        entries.iter().flat_map(|entry| bytes(entry).as_bytes().to_vec()).collect()
    };
    match kind {
        TableKind::Origins => manifest.origins.iter().flat_map(|origin| origin.to_le_bytes()).collect(),
        TableKind::RowFiles => manifest.row_files.iter().flat_map(|entry| of_rows(entry).as_bytes().to_vec()).collect(),
        TableKind::IdTables => files(&manifest.id_tables),
        TableKind::Tombstones => files(&manifest.tombstones),
        TableKind::Properties => encode_properties(&manifest.properties),
        TableKind::Models => hashed(&manifest.models),
        TableKind::Lists => hashed(&manifest.lists),
        TableKind::Calibration => manifest.calibration.iter().flat_map(|entry| entry.to_bytes()).collect(),
        TableKind::Training => manifest.training.iter().flat_map(|entry| entry.to_bytes()).collect(),
    }
}

/// Reads a manifest file: the first copy that is whole, and whether that is the second.
pub(crate) fn decode(file: &[u8], generation: u64) -> Result<(Manifest, bool)> {
    let first = decode_copy(file, generation, 0);
    let newer = |error: &Error| error.kind() == ErrorKind::UnsupportedVersion;
    match (first, second_copy_at(file.len() as u64)) {
        (Ok((manifest, _)), _) => Ok((manifest, false)),
        (Err(error), _) if newer(&error) => Err(error),
        (Err(error), None) => Err(error),
        (Err(error), Some(at)) => match decode_copy(file, generation, at) {
            Ok((manifest, _)) => Ok((manifest, true)),
            Err(second) if newer(&second) => Err(second),
            Err(_) => Err(error.with_hint("both copies of the manifest are damaged; nothing was changed")),
        },
    }
}

/// Reports everything that is wrong with a manifest file.
pub(crate) fn check(file: &[u8], generation: u64, report: &mut dyn FnMut(Error)) {
    // Of each copy only its length is kept: a manifest as a value takes as much again as its bytes.
    let first = decode_copy(file, generation, 0).map(|(_, len)| len);
    let at = second_copy_at(file.len() as u64);
    let second = match at {
        Some(at) => decode_copy(file, generation, at).map(|(_, len)| len),
        None => Err(bad(generation, 0, "the file has a length that no manifest has")),
    };
    if let (Ok(len), Ok(second_len), Some(at)) = (&first, &second, at) {
        let said = |at: usize, len: usize| file.get(at..at.saturating_add(len).saturating_sub(4));
        if said(0, *len) != said(at as usize, *second_len) {
            report(bad(generation, at, "the two copies say different things"));
        }
        if (*len as u64).next_multiple_of(COPY_ALIGN) != at {
            report(bad(generation, at, "the second copy is not where the first one ends"));
        }
        if at.checked_add(*len as u64) != Some(file.len() as u64) {
            report(bad(generation, at, "the file does not end with the second copy"));
        }
        if file.get(*len..at as usize).is_none_or(|padding| padding.iter().any(|b| *b != 0)) {
            report(bad(generation, *len as u64, "padding is not zero"));
        }
    }
    [first.err(), second.err()].into_iter().flatten().for_each(report);
}

/// Where the second copy begins in a file of this length: `at` bytes of copy and padding, then the same copy again.
fn second_copy_at(file_len: u64) -> Option<u64> {
    let at = file_len.div_ceil(2).next_multiple_of(COPY_ALIGN);
    let len = file_len.checked_sub(at)?;
    (len > 0 && len.next_multiple_of(COPY_ALIGN) == at).then_some(at)
}

fn bad(generation: u64, offset: u64, what: impl Into<String>) -> Error {
    Error::corrupt(FileName::Manifest(generation), "manifest", offset, what)
}

/// Proves and reads the copy at `at`; its length.
fn decode_copy(file: &[u8], generation: u64, at: u64) -> Result<(Manifest, usize)> {
    let fail = |what: &str| bad(generation, at, what);
    let bytes = file.get(at as usize..).unwrap_or_default();
    let (head, _) = ManifestHead::read_from_prefix(bytes).map_err(|_| fail("the copy is shorter than its head"))?;
    if head.magic != MANIFEST_MAGIC {
        return Err(fail("the copy does not begin as a manifest"));
    }
    let len = head.copy_len.get() as usize;
    let copy = bytes.get(..len).filter(|_| len >= HEAD + TAIL).ok_or_else(|| fail("the copy is cut short"))?;
    let (covered, crc) = copy.split_at(len - 4);
    if copy_crc(covered, generation, at).to_le_bytes() != crc && !planted::is(Bug::AcceptBadCrc) {
        return Err(fail("the checksum is wrong"));
    }
    if head.version.get() != FORMAT_VERSION || head.incompatible.get() != 0 || head.read_compatible.get() != 0 {
        let (version, bits) = (head.version.get(), head.incompatible.get() | head.read_compatible.get());
        return Err(Error::new(
            ErrorKind::UnsupportedVersion,
            format!("the collection has format version {version} with features {bits:#x}; this build reads version {FORMAT_VERSION} with none"),
        )
        .with_hint("open it with a newer release"));
    }
    let manifest = read_head(&head).map_err(fail)?;
    if manifest.generation != generation {
        return Err(fail("the manifest says it is of another generation"));
    }
    let tables = covered.get(HEAD..len - TAIL).ok_or_else(|| fail("the copy is cut short"))?;
    if covered.get(len - TAIL..).is_none_or(|zero| zero.iter().any(|b| *b != 0)) {
        return Err(fail("reserved bytes are not zero"));
    }
    read_tables(manifest, tables, head.table_count.get(), &fail).map(|manifest| (manifest, len))
}

fn read_head(head: &ManifestHead) -> std::result::Result<Manifest, &'static str> {
    if head.reserved != [0; 32] {
        return Err("reserved bytes are not zero");
    }
    let unknown = "the schema holds a value this version does not know";
    let index = IndexCode {
        kind: head.index,
        codes: head.codes,
        bits: head.bits,
        spill: head.spill,
        nlist: head.nlist.get(),
        parts: head.parts.get(),
        anchors: head.anchors,
        anchor_limit: head.anchor_limit.get(),
    };
    let schema = Schema::new(head.dim.get() as usize, Code::from_code(head.metric.into()).ok_or(unknown)?)
        .ids(Code::from_code(head.ids.into()).ok_or(unknown)?)
        .rows(Code::from_code(head.rows.into()).ok_or(unknown)?)
        .index(index.decode().ok_or(unknown)?)
        .seed(head.seed.get());
    schema.check().map_err(|_| "the dimension or an option of lists is out of range")?;
    let first_wal = FileId::from_u128(u128::from_le_bytes(head.first_wal));
    let counters = [head.generation, head.parent, head.next_file_number, head.next_row, head.covered_seq];
    if counters.iter().any(|counter| counter.get() >= COUNTER_END) || first_wal.number >= COUNTER_END {
        return Err("it has counted further than any collection can");
    }
    Ok(Manifest {
        generation: head.generation.get(),
        parent: head.parent.get(),
        epoch: head.epoch.get(),
        next_file_number: head.next_file_number.get(),
        next_row: head.next_row.get(),
        covered_seq: head.covered_seq.get(),
        first_wal,
        origins: Vec::new(),
        compatible: head.compatible.get(),
        ..Manifest::new(u128::from_le_bytes(head.collection), schema)
    })
}

fn read_tables(mut manifest: Manifest, mut bytes: &[u8], count: u32, fail: &dyn Fn(&str) -> Error) -> Result<Manifest> {
    let mut previous = 0;
    let mut tables = 0;
    while !bytes.is_empty() {
        let (head, rest) = TableHead::read_from_prefix(bytes).map_err(|_| fail("a table is cut short"))?;
        let len = usize::try_from(head.count.get()).ok().and_then(|n| n.checked_mul(head.width.get() as usize));
        let (entries, rest) =
            len.and_then(|len| rest.split_at_checked(len)).ok_or_else(|| fail("a table is cut short"))?;
        if head.kind.get() <= previous || entries.is_empty() {
            return Err(fail("the tables are not in order"));
        }
        previous = head.kind.get();
        tables += 1;
        match TableKind::ALL.into_iter().find(|kind| *kind as u16 == head.kind.get()) {
            Some(kind) if kind.reads(head.width.get() as usize) && head.flags.get() == kind.flags() => {
                read_table(&mut manifest, kind, head.width.get() as usize, entries).map_err(fail)?;
            }
            Some(_) => return Err(fail("a table has another width than its kind")),
            None if head.flags.get() & TABLE_IGNORABLE != 0 => manifest.carried.push(CarriedTable {
                kind: head.kind.get(),
                flags: head.flags.get(),
                width: head.width.get(),
                entries: entries.to_vec(),
            }),
            None => {
                return Err(Error::new(
                    ErrorKind::UnsupportedVersion,
                    format!("the manifest holds table {}, which this build does not know", head.kind.get()),
                )
                .with_hint("open the collection with a newer release"));
            }
        }
        bytes = rest;
    }
    if tables != count {
        return Err(fail("the head counts another number of tables"));
    }
    check_tables(&mut manifest).map_err(fail)?;
    Ok(manifest)
}

fn read_table(
    manifest: &mut Manifest,
    kind: TableKind,
    width: usize,
    bytes: &[u8],
) -> std::result::Result<(), &'static str> {
    if kind == TableKind::Origins {
        let origins = bytes.chunks_exact(16).filter_map(|bytes| bytes.try_into().ok().map(u128::from_le_bytes));
        manifest.origins = origins.collect();
        return Ok(());
    }
    if kind == TableKind::Properties {
        manifest.properties = decode_properties(bytes)?;
        return Ok(());
    }
    if kind == TableKind::Calibration {
        let entries = bytes.chunks_exact(width.max(1));
        manifest.calibration = entries.map(Calibration::from_bytes).collect::<std::result::Result<_, _>>()?;
        return Ok(());
    }
    if kind == TableKind::Training {
        let entries = <[TrainingBytes]>::ref_from_bytes(bytes).map_err(|_| "a table is cut short")?;
        manifest.training = entries.iter().map(Training::read).collect::<std::result::Result<_, _>>()?;
        return Ok(());
    }
    if matches!(kind, TableKind::Models | TableKind::Lists) {
        let entries = <[HashedEntryBytes]>::ref_from_bytes(bytes).map_err(|_| "a table is cut short")?;
        let read = |entry: &HashedEntryBytes| Ok(HashedEntry { file: read_entry(&entry.file)?, hash: entry.hash });
        let list = entries.iter().map(read).collect::<std::result::Result<_, &'static str>>()?;
        match kind {
            TableKind::Models => manifest.models = list,
            _ => manifest.lists = list,
        }
        return Ok(());
    }
    let entries = <[FileEntryBytes]>::ref_from_bytes(bytes).map_err(|_| "a table is cut short")?;
    // One allocation of the right size: collecting results would double up to it.
    let mut list = Vec::with_capacity(entries.len());
    let own = manifest.schema.row_format().element();
    for entry in entries {
        list.push(match kind {
            TableKind::RowFiles => read_row_entry(entry, own)?,
            _ => read_entry(entry)?,
        });
    }
    match kind {
        TableKind::RowFiles => manifest.row_files = list,
        TableKind::IdTables => manifest.id_tables = list,
        _ => manifest.tombstones = list,
    }
    Ok(())
}

/// What is said of a row file in a collection whose log has vectors of `own` components.
fn families(entry: &FileEntry, own: Element) -> u32 {
    let in_lists = if entry.in_lists { IN_LISTS } else { 0 };
    let provided = match entry.element {
        None => ALL_FAMILIES & !VECTORS,
        Some(element) if element == own => ALL_FAMILIES,
        Some(narrow) => ALL_FAMILIES | u32::from(narrow.code()) << ELEMENT_SHIFT,
    };
    provided | in_lists
}

/// In lists or not, and the components of the vectors; what is wrong with it.
fn read_families(stated: u32, own: Element) -> std::result::Result<(bool, Option<Element>), &'static str> {
    let unknown = "an entry holds a value this version does not know";
    let (in_lists, narrow) = (stated & IN_LISTS != 0, stated >> ELEMENT_SHIFT);
    let element = match (stated & !IN_LISTS & ((1 << ELEMENT_SHIFT) - 1), narrow) {
        (ALL_FAMILIES, 0) => Some(own),
        (ALL_FAMILIES, code) => {
            let element = Element::from_code(code.into()).ok_or(unknown)?;
            match own.narrower().contains(&element) {
                true => Some(element),
                false => return Err("a row file has vectors that the collection has not"),
            }
        }
        (families, 0) if families == ALL_FAMILIES & !VECTORS => None,
        _ => return Err(unknown),
    };
    Ok((in_lists, element))
}

/// An entry of a table of files without rows of their own.
fn read_entry(entry: &FileEntryBytes) -> std::result::Result<FileEntry, &'static str> {
    match (entry.reserved.get(), entry.origin.get(), entry.families.get()) {
        (0, 0, 0) => Ok(FileEntry::new(file_id(entry), entry.facts())),
        _ => Err("an entry holds a value this version does not know"),
    }
}

fn read_row_entry(entry: &FileEntryBytes, own: Element) -> std::result::Result<FileEntry, &'static str> {
    let (in_lists, element) = read_families(entry.families.get(), own)?;
    match (entry.reserved.get(), entry.origin.get()) {
        (0, 0) => Ok(FileEntry { in_lists, ..FileEntry::of_rows(file_id(entry), entry.facts(), element) }),
        _ => Err("an entry holds a value this version does not know"),
    }
}

fn file_id(entry: &FileEntryBytes) -> FileId {
    FileId::from_u128(u128::from_le_bytes(entry.file_id))
}

/// What must hold between entries: one provider per row, nothing beyond what the head says.
fn check_tables(manifest: &mut Manifest) -> std::result::Result<(), &'static str> {
    if manifest.origins.len() != 1 {
        return Err("there must be one origin of row numbers");
    }
    let rows = manifest.row_files.iter().map(|entry| &entry.facts);
    let bounds: Vec<(u64, u64)> = rows.clone().map(|facts| (facts.first_row, facts.last_row)).collect();
    if bounds.iter().any(|(first, last)| first > last || *last >= manifest.next_row) {
        return Err("a row file holds row numbers that were not given");
    }
    if bounds.windows(2).any(|pair| matches!(pair, [a, b] if a.1 >= b.0)) {
        return Err("two row files provide the same rows");
    }
    if rows.clone().any(|facts| facts.rows == 0 || facts.rows > facts.last_row - facts.first_row + 1) {
        return Err("a row file counts more rows than it has numbers for");
    }
    if rows.clone().chain(manifest.id_tables.iter().map(|e| &e.facts)).any(|facts| facts.min_seq == 0) {
        return Err("a file of rows or ids has no sequence number");
    }
    let all =
        rows.chain(manifest.id_tables.iter().map(|e| &e.facts)).chain(manifest.tombstones.iter().map(|e| &e.facts));
    if all.clone().any(|facts| facts.min_seq > facts.max_seq || facts.max_seq > manifest.covered_seq) {
        return Err("a file holds batches that the manifest does not cover");
    }
    check_lists(manifest)
}

/// List segments are of a model that is named, and provide rows once.
fn check_lists(manifest: &mut Manifest) -> std::result::Result<(), &'static str> {
    let same = |a: &HashedEntry, b: &HashedEntry| a.hash == b.hash || a.file.id == b.file.id;
    if manifest.models.len() > MAX_MODELS || matches!(&manifest.models[..], [a, b] if same(a, b)) {
        return Err("there are more models than a change from one to the next takes, or one is named twice");
    }
    let has_lists = !manifest.models.is_empty() || !manifest.lists.is_empty();
    if has_lists && manifest.schema.index_kind().lists().is_none() {
        return Err("a flat collection has a model or list segments");
    }
    if manifest.models.iter().any(|model| model.file.facts.rows == 0) {
        return Err("a model has no lists");
    }
    if manifest.lists.iter().any(|list| manifest.models.iter().all(|model| model.hash != list.hash)) {
        return Err("a list segment is of a model that is not there");
    }
    let lists = manifest.lists.iter().map(|list| &list.file.facts);
    let wrong = |facts: &FileFacts| {
        let numbers = facts.first_row <= facts.last_row && facts.last_row < manifest.next_row;
        let rows = numbers && (1..=facts.last_row - facts.first_row + 1).contains(&facts.rows);
        !rows || facts.min_seq == 0 || facts.min_seq > facts.max_seq || facts.max_seq > manifest.covered_seq
    };
    if lists.clone().any(wrong) {
        return Err("a list segment has rows or batches that were not given");
    }
    let facts: Vec<&FileFacts> = lists.collect();
    if facts.windows(2).any(|pair| matches!(pair, [a, b] if a.last_row >= b.first_row)) {
        return Err("two list segments provide the same rows");
    }
    check_measured(manifest)?;
    let keeps = manifest.schema.row_format().keeps_vectors();
    if manifest.row_files.iter().any(|file| file.element.is_none() && (keeps || !file.in_lists)) {
        return Err("a row file has no vectors, and its rows are not in lists or to be kept");
    }
    match manifest.models.is_empty() && manifest.row_files.iter().any(|file| file.in_lists) {
        true => Err("a row file is in lists, and there is no model"),
        false => Ok(()),
    }
}

/// Largest file that can be a manifest.
pub(super) const MAX_FILE_BYTES: u64 = 2 * MAX_MANIFEST_BYTES + COPY_ALIGN;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::IdKind;
    use crate::metric::{Metric, RowFormat};
    use crate::options::{IndexKind, IvfOptions, Spill};

    fn sample() -> Manifest {
        let schema = Schema::new(24, Metric::Cosine).ids(IdKind::U64).rows(RowFormat::Bf16).seed(9);
        let mut manifest = Manifest::new(77, schema);
        manifest.generation = 5;
        manifest.parent = 4;
        manifest.next_row = 100;
        manifest.covered_seq = 12;
        manifest.first_wal = FileId { number: 8, epoch: 3 };
        let facts = |first_row| FileFacts {
            len: 4096,
            root: 7,
            rows: 3,
            first_row,
            last_row: first_row + 9,
            min_seq: 1,
            max_seq: 12,
        };
        let entry = |number: u64, first_row: u64| FileEntry::new(FileId { number, epoch: 3 }, facts(first_row));
        let rows = |element, entry| FileEntry { element: Some(element), ..entry };
        manifest.row_files = vec![rows(Element::Bf16, entry(1, 0)), rows(Element::U8, entry(4, 50))];
        manifest.id_tables = vec![entry(2, 0)];
        manifest.tombstones = vec![entry(5, 0)];
        manifest
    }

    /// The same with a model, a list segment and what was measured with them.
    fn with_lists() -> Manifest {
        let mut manifest = sample();
        let options = IvfOptions::auto().nlist(3).spill(Spill::Off);
        manifest.schema = manifest.schema.index(IndexKind::Ivf(options));
        let id = |number| FileId { number, epoch: 3 };
        let model = FileFacts { len: 4096, root: 9, rows: 3, ..FileFacts::default() };
        let list = FileFacts { rows: 6, last_row: 59, min_seq: 1, max_seq: 12, ..model };
        manifest.models = vec![HashedEntry { file: FileEntry::new(id(6), model), hash: [7; 32] }];
        manifest.lists = vec![HashedEntry { file: FileEntry::new(id(7), list), hash: [7; 32] }];
        manifest.row_files[1].in_lists = true;
        let entry = |k, recall| Calibration {
            model: [7; 32],
            rows: 6,
            k,
            recall,
            nprobe: 2,
            patience: 1,
            exact: 16,
            deviations: 1.5,
            horizon: 1.25,
        };
        manifest.calibration = vec![entry(10, 0.9), entry(10, 0.95), entry(100, 0.9)];
        let (rows, next_row, energy, fresh_energy) = (6, 60, 1.5, 0.25);
        let more = Training { fresh: 3, changed: 9, skew: 2.5, scanned: 7.0, ..Training::default() };
        manifest.training = vec![Training { model: [7; 32], rows, next_row, energy, fresh_energy, ..more }];
        manifest
    }

    #[test]
    fn lists_and_calibration_read_back_and_what_contradicts_itself_is_refused() {
        let manifest = with_lists();
        assert_eq!(decode(&encode(&manifest), 5).unwrap().0, manifest);
        type Change = fn(&mut Manifest);
        let wrong: [(&str, Change); 9] = [
            ("flat", |m| m.schema = m.schema.clone().index(IndexKind::Flat)),
            ("a model twice", |m| m.models.push(m.models[0])),
            ("no model", |m| m.models.clear()),
            ("a model without lists", |m| m.models[0].file.facts.rows = 0),
            ("another model", |m| m.lists[0].hash = [8; 32]),
            ("rows not given", |m| m.lists[0].file.facts.last_row = 100),
            ("batches not covered", |m| m.lists[0].file.facts.max_seq = 13),
            ("rows twice", |m| m.lists.push(m.lists[0])),
            ("calibration out of order", |m| m.calibration.reverse()),
        ];
        for (what, change) in wrong {
            let mut forged = manifest.clone();
            change(&mut forged);
            assert_eq!(decode(&encode(&forged), 5).map(drop).unwrap_err().kind(), ErrorKind::Corrupt, "{what}");
        }
        let mut two = manifest.clone();
        two.models.push(HashedEntry {
            file: FileEntry::new(FileId { number: 9, epoch: 3 }, two.models[0].file.facts),
            hash: [8; 32],
        });
        two.calibration.push(Calibration { model: [8; 32], ..two.calibration[0] });
        two.training.push(Training { model: [8; 32], rows: 12, ..Training::default() });
        assert_eq!(decode(&encode(&two), 5).unwrap().0, two, "while one model follows another");
        let wrong: [(&str, Change); 4] = [
            ("three models", |m| m.models.push(HashedEntry { hash: [9; 32], ..m.models[1] })),
            ("two files of one name", |m| m.models[1].file.id = m.models[0].file.id),
            ("training out of order", |m| m.training.reverse()),
            ("training twice", |m| m.training[1] = m.training[0]),
        ];
        for (what, change) in wrong {
            let mut forged = two.clone();
            change(&mut forged);
            assert_eq!(decode(&encode(&forged), 5).map(drop).unwrap_err().kind(), ErrorKind::Corrupt, "{what}");
        }
        two.lists[0].hash = [8; 32];
        let gone = two.drop_unnamed_models();
        assert_eq!((gone.len(), two.models.len(), two.calibration.len(), two.training.len()), (1, 1, 1, 1));
        assert_eq!(decode(&encode(&two), 5).unwrap().0, two, "what was known of it is gone with it");
        let mut stale = manifest.clone();
        stale.calibration[0].model = [9; 32];
        assert_eq!(decode(&encode(&stale), 5).unwrap().0.calibration, manifest.calibration[1..]);
        let mut impossible = manifest.clone();
        impossible.calibration[1].horizon = f32::NAN;
        assert_eq!(decode(&encode(&impossible), 5).map(drop).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_calibration_without_horizons_reads_as_one_that_looks_however_far() {
        let manifest = with_lists();
        let read = |width: usize, entries: &[u8]| {
            let head = TableHead {
                kind: (TableKind::Calibration as u16).into(),
                flags: TABLE_IGNORABLE.into(),
                width: (width as u32).into(),
                count: ((entries.len() / width) as u64).into(),
            };
            let bytes = [head.as_bytes(), entries].concat();
            read_tables(Manifest { calibration: Vec::new(), ..with_lists() }, &bytes, 1, &|what| {
                Error::new(ErrorKind::Corrupt, what)
            })
        };
        let whole = table_bytes(&manifest, TableKind::Calibration);
        assert_eq!(read(72, &whole).unwrap().calibration, manifest.calibration);
        let short: Vec<u8> = whole.chunks_exact(72).flat_map(|entry| entry[..64].to_vec()).collect();
        let far = manifest.calibration.iter().map(|entry| Calibration { horizon: f32::INFINITY, ..*entry });
        assert_eq!(read(64, &short).unwrap().calibration, far.collect::<Vec<_>>());
        let mut reserved = whole.clone();
        reserved[68] = 1;
        assert_eq!(read(72, &reserved).unwrap_err().kind(), ErrorKind::Corrupt);
        for width in [8, 56, 68, 80] {
            assert_eq!(read(width, &whole[..width]).unwrap_err().kind(), ErrorKind::Corrupt, "{width}");
        }
    }

    #[test]
    fn a_manifest_reads_back_and_survives_damage_to_either_copy() {
        let (manifest, bytes) = (sample(), encode(&sample()));
        assert_eq!(decode(&bytes, 5).unwrap(), (manifest.clone(), false));
        let second = second_copy_at(bytes.len() as u64).unwrap() as usize;
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let (read, second_used) = decode(&damaged, 5).unwrap();
            assert_eq!(read, manifest, "byte {at}");
            assert!(!second_used || at < second);
            let mut findings = Vec::new();
            check(&damaged, 5, &mut |error| findings.push(error));
            assert!(!findings.is_empty(), "byte {at} is not noticed");
        }
        let mut both = bytes.clone();
        both[40] ^= 1;
        both[second + 40] ^= 1;
        assert_eq!(decode(&both, 5).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn bytes_behind_the_second_copy_are_found() {
        for extra in [1, 8, 200, 5000] {
            let mut bytes = encode(&sample());
            bytes.resize(bytes.len() + extra, 0);
            let mut findings = 0;
            check(&bytes, 5, &mut |_| findings += 1);
            assert!(findings > 0, "{extra} bytes more");
        }
    }

    #[test]
    fn every_cut_is_found_and_another_generations_bytes_are_refused() {
        let bytes = encode(&sample());
        for len in 0..bytes.len() {
            let mut findings = 0;
            check(&bytes[..len], 5, &mut |_| findings += 1);
            assert!(findings > 0, "cut at {len}");
        }
        assert_eq!(decode(&bytes, 6).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    /// [MAN-14] And no row file has vectors that a collection of another row format has.
    #[test]
    fn shorter_components_of_row_files_read_back_and_those_that_round_are_refused() {
        let formats = [RowFormat::F32, RowFormat::F16, RowFormat::Bf16, RowFormat::I8];
        for (format, element) in formats.into_iter().flat_map(|f| Element::ALL.map(|e| (f, e))) {
            let mut manifest = sample();
            manifest.schema = Schema::new(24, Metric::Cosine).ids(IdKind::U64).rows(format);
            manifest.row_files.truncate(1);
            manifest.row_files[0].element = Some(element);
            let own = format.element();
            let read = decode(&encode(&manifest), 5).map(|(read, _)| read);
            match own == element || own.narrower().contains(&element) {
                true => assert_eq!(read.unwrap(), manifest, "{format:?} {element:?}"),
                false => assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupt, "{format:?} {element:?}"),
            }
        }
        assert_eq!(families(&sample().row_files[0], Element::Bf16), 7);
        assert_eq!(families(&sample().row_files[1], Element::Bf16), 0x6_0007);
        for unknown in [8, 3, 0x207, 0x5_0007, 0x7_0007, 0x6_0006, 0x106_0007, 0x1_0007] {
            assert!(read_families(unknown, Element::F32).is_err(), "{unknown:#x}");
        }
    }

    /// [MAN-10] what a build does not know and may ignore stands in the manifests it writes.
    #[test]
    fn tables_that_can_be_ignored_and_compatible_bits_stay_through_rewrites() {
        let carried = |kind, entries: &[u8]| CarriedTable { kind, flags: 1, width: 4, entries: entries.to_vec() };
        let mut manifest = sample();
        manifest.compatible = 0x50;
        manifest.carried = vec![carried(8, b"side-car"), carried(300, b"more")];
        let read = decode(&encode(&manifest), 5).unwrap().0;
        assert_eq!(read, manifest);
        let next = read.successor();
        assert_eq!(decode(&encode(&next), 6).unwrap().0, next);
        assert_eq!((next.compatible, next.carried), (manifest.compatible, manifest.carried.clone()));
        manifest.carried[0].flags = 0;
        assert_eq!(decode(&encode(&manifest), 5).unwrap_err().kind(), ErrorKind::UnsupportedVersion);
    }

    #[test]
    fn a_newer_version_is_named_as_such() {
        let mut manifest = encode_body(&sample());
        manifest[8] = 9;
        let bytes = seal(manifest, 5, 0);
        assert_eq!(decode(&bytes, 5).unwrap_err().kind(), ErrorKind::UnsupportedVersion);
    }

    #[test]
    fn forged_manifests_with_right_checksums_never_panic() {
        for body in [encode_body(&sample()), encode_body(&with_lists())] {
            for at in 0..body.len() - 4 {
                for value in [0u8, 1, 0x7F, 0x80, 0xFF] {
                    let mut forged = body.clone();
                    forged[at] = value;
                    let bytes = seal(forged, 5, 0);
                    if let Ok((read, _)) = decode(&bytes, 5) {
                        assert_eq!(decode(&encode(&read), 5).unwrap().0, read);
                    }
                }
            }
        }
    }
}
