//! The forger's tool: makes every checksum of a directory right again, whatever its files say.
//!
//! Written from `format-spec/` alone, with no help of the engine's own code for checksums, so that it also proves that the pages say
//! enough.

use std::collections::BTreeMap;

use stratavec::storage::testing::MemDir;
use stratavec::storage::{FileId, FileKind, FileName};

/// The files of a collection, without its lock.
pub type Files = BTreeMap<FileName, Vec<u8>>;

/// Bytes of the header of an immutable file, and of an entry of its directory.
pub const CONTAINER_HEADER: usize = 64;
/// Bytes of an entry of the section directory.
pub const SECTION_ENTRY: usize = 64;
/// Bytes of the footer of an immutable file.
pub const FOOTER: usize = 160;
/// Bytes of a whole unit.
pub const UNIT: usize = 4096;
/// Bytes of the header of a log.
pub const LOG_HEADER: usize = 128;
/// Bytes of the header of a record.
pub const RECORD_HEADER: usize = 32;
/// Bytes of the head of a manifest.
pub const MANIFEST_HEAD: usize = 176;
/// Bytes of an entry of a manifest's tables of files.
pub const FILE_ENTRY: usize = 80;
/// Bytes of an entry of a model or a list segment.
pub const HASHED_ENTRY: usize = 112;

/// The files of a directory.
pub fn files_of(dir: &MemDir) -> Files {
    let names = dir.names().into_iter().filter(|name| *name != FileName::Lock);
    names.filter_map(|name| Some((name, dir.file_bytes(name)?))).collect()
}

/// A directory with these files.
pub fn dir_of(files: &Files) -> MemDir {
    let dir = MemDir::new(99);
    files.iter().for_each(|(name, bytes)| dir.put_raw(*name, bytes.clone()));
    dir
}

/// The number at `at`, zero where the bytes end.
pub fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    let mut wide = [0; 8];
    let there = bytes.get(at..).unwrap_or_default();
    let there = &there[..size.min(8).min(there.len())];
    wide[..there.len()].copy_from_slice(there);
    u64::from_le_bytes(wide)
}

/// Writes what fits of `patch` at `at`.
pub fn put(bytes: &mut [u8], at: usize, patch: &[u8]) {
    if let Some(place) = bytes.get_mut(at..) {
        let len = patch.len().min(place.len());
        place[..len].copy_from_slice(&patch[..len]);
    }
}

fn mix64(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

fn file_seed(id: FileId) -> u32 {
    (mix64(id.number ^ mix64(id.epoch)) >> 32) as u32
}

/// CRC-32 continued from `start`.
fn crc32(start: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(start);
    hasher.update(bytes);
    hasher.finalize()
}

fn unit_seed(seed: u32, offset: u64) -> u32 {
    seed ^ (offset >> 3) as u32 ^ (offset >> 35) as u32
}

fn unit_crc(seed: u32, offset: usize, bytes: &[u8]) -> u32 {
    crc32(unit_seed(seed, offset as u64), bytes)
}

/// Seals every file, and lets the newest manifest state of each immutable file what the file says of itself.
pub fn seal_all(files: &mut Files) {
    let names: Vec<FileName> = files.keys().copied().collect();
    let newest = names.iter().rev().find(|name| matches!(name, FileName::Manifest(_))).copied();
    for name in &names {
        let Some(mut bytes) = files.remove(name) else { continue };
        seal_file(*name, &mut bytes);
        if let Some(facts) = facts(&bytes)
            && let Some(manifest) = newest.and_then(|name| files.get_mut(&name))
        {
            state(manifest, name.file_id(), &facts);
        }
        files.insert(*name, bytes);
    }
    if let Some((name, bytes)) = newest.and_then(|name| files.remove_entry(&name)) {
        let mut bytes = bytes;
        seal_file(name, &mut bytes);
        files.insert(name, bytes);
    }
}

/// Makes the checksums of one file right.
pub fn seal_file(name: FileName, bytes: &mut [u8]) {
    match name.kind() {
        Some(FileKind::Manifest) => seal_manifest(bytes, name.file_id()),
        Some(FileKind::Wal) => seal_log(bytes, name.file_id(), None),
        Some(FileKind::List) => {
            seal_lists(bytes, name.file_id());
            seal_container(bytes, name.file_id());
        }
        Some(FileKind::Row | FileKind::IdTable | FileKind::Tombstone | FileKind::Model) => {
            seal_container(bytes, name.file_id());
        }
        _ => {}
    }
}

/// Where the second copy of a manifest of this length begins, if it can be one.
pub fn second_copy(len: usize) -> Option<usize> {
    let at = len.div_ceil(2).next_multiple_of(4096);
    (at < len && (len - at).next_multiple_of(4096) == at).then_some(at)
}

fn seal_manifest(bytes: &mut [u8], id: FileId) {
    let copies = [Some(0), second_copy(bytes.len())];
    for at in copies.into_iter().flatten() {
        let end = at.saturating_add(number(bytes, at + 12, 4) as usize);
        if end >= at + 4 && end <= bytes.len() {
            let crc = unit_crc(file_seed(id), at, &bytes[at..end - 4]);
            put(bytes, end - 4, &crc.to_le_bytes());
        }
    }
}

/// Makes the chain of a log right: each record's checksum, and the mention of it in the next. The record at `keep` keeps what it says
/// of the one before it.
pub fn seal_log(bytes: &mut [u8], id: FileId, keep: Option<usize>) {
    if bytes.len() < LOG_HEADER {
        return;
    }
    let seed = file_seed(id);
    let own = FileId { number: number(bytes, 40, 8), epoch: number(bytes, 32, 8) };
    let mut last = unit_crc(file_seed(own), 0, &bytes[..124]);
    put(bytes, 124, &last.to_le_bytes());
    for (at, end) in records(bytes) {
        if keep != Some(at) {
            put(bytes, at + 24, &last.to_le_bytes());
        }
        last = unit_crc(seed, at, &bytes[at + 4..end]);
        put(bytes, at, &last.to_le_bytes());
    }
}

/// Start and end of each record, as their lengths say.
pub fn records(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = LOG_HEADER;
    while at + RECORD_HEADER <= bytes.len() {
        let end = at + RECORD_HEADER + number(bytes, at + 4, 4) as usize;
        if end > bytes.len() {
            break;
        }
        found.push((at, end));
        at = end;
    }
    found
}

/// Appends a record; the log must be sealed afterwards.
pub fn append_record(bytes: &mut Vec<u8>, kind: u8, seq: u64, synced_to: u64, payload: &[u8]) {
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&seq.to_le_bytes());
    bytes.extend_from_slice(&synced_to.to_le_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 0, kind, 0, 0, 0]);
    bytes.extend_from_slice(payload);
}

/// One section, as its directory entry says.
#[derive(Clone, Copy, Debug)]
pub struct SectionPlace {
    /// Where the entry stands.
    pub entry: usize,
    /// What it holds.
    pub kind: u32,
    /// Where it starts.
    pub offset: usize,
    /// Its bytes.
    pub len: usize,
    /// Its entries.
    pub entries: usize,
    /// Bytes of an entry.
    pub width: usize,
    /// Where its checksums are.
    pub scheme: u32,
}

/// The sections that lie inside the file.
pub fn sections(bytes: &[u8]) -> Vec<SectionPlace> {
    let Some(footer) = bytes.len().checked_sub(FOOTER) else { return Vec::new() };
    let directory = (number(bytes, footer + 8, 8) as usize).min(footer);
    let entries = (directory..footer).step_by(SECTION_ENTRY).filter(|at| at + SECTION_ENTRY <= footer);
    let read = |at: usize| SectionPlace {
        entry: at,
        kind: number(bytes, at, 4) as u32,
        offset: number(bytes, at + 8, 8) as usize,
        len: number(bytes, at + 16, 8) as usize,
        entries: number(bytes, at + 24, 8) as usize,
        width: number(bytes, at + 32, 4) as usize,
        scheme: number(bytes, at + 36, 4) as u32,
    };
    entries.map(read).filter(|s| s.offset.checked_add(s.len).is_some_and(|end| end <= directory)).collect()
}

fn seal_container(bytes: &mut [u8], id: FileId) {
    let Some(footer) = bytes.len().checked_sub(FOOTER).filter(|at| *at >= CONTAINER_HEADER) else { return };
    let seed = file_seed(id);
    let own = FileId { number: number(bytes, 32, 8), epoch: number(bytes, 24, 8) };
    let crc = unit_crc(file_seed(own), 0, &bytes[..60]);
    put(bytes, 60, &crc.to_le_bytes());
    for section in sections(bytes) {
        let (start, end) = (section.offset, section.offset + section.len);
        match section.scheme {
            1 => seal_pieces(bytes, start..end, section.width.max(8), seed),
            2 | 3 => seal_pieces(bytes, start..end, UNIT, seed),
            4 => {
                let crc = unit_crc(seed, start, &bytes[start..end]);
                put(bytes, section.entry + 40, &crc.to_le_bytes());
            }
            5 => seal_blocks(bytes, start, end, seed),
            _ => {}
        }
    }
    let directory = number(bytes, footer + 8, 8);
    let at = (directory as usize).min(footer);
    let (front, tail) = bytes.split_at_mut(at.max(CONTAINER_HEADER));
    seal_tail(id, &front[..CONTAINER_HEADER], directory, tail);
}

/// Makes the root checksum right: `tail` is the section directory, which starts at offset `directory`, and the footer.
pub fn seal_tail(id: FileId, header: &[u8], directory: u64, tail: &mut [u8]) {
    if let Some((covered, root)) = tail.split_last_chunk_mut::<4>() {
        *root = crc32(crc32(unit_seed(file_seed(id), directory), header), covered).to_le_bytes();
    }
}

/// Pieces whose last four bytes are the checksum of the rest.
fn seal_pieces(bytes: &mut [u8], range: std::ops::Range<usize>, width: usize, seed: u32) {
    for at in range.clone().step_by(width) {
        let end = (at + width).min(range.end);
        if end >= at + 4 {
            let crc = unit_crc(seed, at, &bytes[at..end - 4]);
            put(bytes, end - 4, &crc.to_le_bytes());
        }
    }
}

/// Bytes of codes and factors of 32 entries, and between the starts of two records, as the footer of a list segment states them.
fn entry_bytes(padded: usize, kind: u64, value: usize) -> (usize, usize) {
    match kind {
        1 => {
            let (bits, zeros) = (value & !256, if value & 256 != 0 { 8 } else { 0 });
            (padded * 4 + 128, if bits <= 1 { zeros } else { padded / 8 * (bits - 1) + 8 + zeros })
        }
        2 => (0, value),
        3 if value >> 24 == 4 => ((4 * (value & 0xFF_FFFF)).next_multiple_of(64) * 4 + 128, 0),
        3 => {
            let width = if value >> 24 > 8 { 2 } else { 1 };
            (((value & 0xFF_FFFF) * 32 * width).next_multiple_of(64) + 128, 0)
        }
        _ => (0, 0),
    }
}

/// Makes the checksums of the pieces of lists right, as far as headers and footer say where those are. The hash of a model is left as it
/// is: only a full check compares it.
fn seal_lists(bytes: &mut [u8], id: FileId) {
    const CHUNK: usize = 65_536;
    let Some(footer) = bytes.len().checked_sub(FOOTER) else { return };
    let parameter = |i: usize| number(bytes, footer + 80 + 8 * i, 8);
    let (padded, kind, value) = (parameter(1).min(1 << 17) as usize, parameter(2), parameter(3).min(1 << 32) as usize);
    let (block, stride) = entry_bytes(padded, kind, value);
    let found = sections(bytes);
    let section = |kinds: &[u32]| found.iter().find(|section| kinds.contains(&section.kind)).copied();
    let (Some(headers), Some(scan), Some(checks)) = (section(&[0x0402]), section(&[0x0403]), section(&[0x0406])) else {
        return;
    };
    let records = section(&[0x0404, 0x0405]);
    let seed = file_seed(id);
    for header in (headers.offset..headers.offset + headers.len).step_by(32) {
        let total = (number(bytes, header + 20, 4) as usize).min(1 << 20);
        let blocks = total.div_ceil(32);
        let (scan_bytes, record_bytes) = (blocks * (block + 128), (total * stride).next_multiple_of(64));
        let mut chunks: Vec<(usize, usize)> = Vec::new();
        let scan_at = scan.offset.saturating_add(number(bytes, header, 8) as usize);
        chunks
            .extend((0..scan_bytes).step_by(CHUNK).map(|at| (scan_at.saturating_add(at), CHUNK.min(scan_bytes - at))));
        if let Some(records) = records.filter(|_| total * stride > 0) {
            let start = records.offset.saturating_add(number(bytes, header + 8, 8) as usize);
            let each = (CHUNK / stride).max(1);
            let count = if total * stride <= CHUNK { 1 } else { total.div_ceil(each) };
            chunks.extend((0..count).map(|i| {
                let (from, to) =
                    (i * each * stride, if i + 1 == count { record_bytes } else { (i + 1) * each * stride });
                (start.saturating_add(from), to - from)
            }));
        }
        for ((at, len), check) in chunks.into_iter().zip(number(bytes, header + 24, 4) as usize..) {
            let end = at.saturating_add(len);
            if end <= scan.offset + scan.len || records.is_some_and(|r| at >= r.offset && end <= r.offset + r.len) {
                let crc = unit_crc(seed, at, &bytes[at..end]);
                if 4 * check + 4 <= checks.len {
                    put(bytes, checks.offset + 4 * check, &crc.to_le_bytes());
                }
            }
        }
    }
}

/// Blocks: a header of 16 bytes with the length of the body at 4 and the checksum at 12; the body, padded to 8.
fn seal_blocks(bytes: &mut [u8], start: usize, end: usize, seed: u32) {
    let mut at = start;
    while at + 16 <= end {
        let next = (at + 16 + (number(bytes, at + 4, 4) as usize).next_multiple_of(8)).min(end);
        let crc = crc32(unit_crc(seed, at, &bytes[at..at + 12]), &bytes[at + 16..next]);
        put(bytes, at + 12, &crc.to_le_bytes());
        at = next;
    }
}

/// What a manifest has to state about a file, from its length and footer: the bytes of an entry behind the id, without `families`.
pub struct Facts {
    len: u64,
    root: [u8; 4],
    /// rows, first and last row, first and last sequence number.
    span: [u8; 40],
}

/// What an immutable file says of itself; `None` for other files.
pub fn facts(bytes: &[u8]) -> Option<Facts> {
    let footer = bytes.last_chunk::<FOOTER>().filter(|_| bytes.starts_with(b"STVSEG"))?;
    facts_of(bytes.len() as u64, footer)
}

/// What a file of this length and with this footer says of itself.
pub fn facts_of(len: u64, footer: &[u8; FOOTER]) -> Option<Facts> {
    Some(Facts { len, root: *footer.last_chunk()?, span: footer.get(24..64)?.try_into().ok()? })
}

/// Writes the facts of a file into both copies of a manifest, wherever its id stands.
pub fn state(manifest: &mut [u8], id: FileId, facts: &Facts) {
    for (_, at) in file_entries(manifest) {
        if number(manifest, at, 8) == id.epoch && number(manifest, at + 8, 8) == id.number {
            put(manifest, at + 16, &facts.len.to_le_bytes());
            put(manifest, at + 24, &facts.root);
            put(manifest, at + 32, &facts.span);
        }
    }
}

/// Table kind and place of each entry of a file, in both copies.
pub fn file_entries(manifest: &[u8]) -> Vec<(u64, usize)> {
    let copies = [Some(0), second_copy(manifest.len())];
    let mut found = Vec::new();
    for (kind, _, entries) in copies.into_iter().flatten().flat_map(|copy| tables(manifest, copy)) {
        match kind {
            2..=4 => found.extend(entries.step_by(FILE_ENTRY).map(|at| (kind, at))),
            6 | 7 => found.extend(entries.step_by(HASHED_ENTRY).map(|at| (kind, at))),
            _ => {}
        }
    }
    found
}

/// Kind, place of the head, and entries of each table of a copy.
pub fn tables(manifest: &[u8], copy: usize) -> Vec<(u64, usize, std::ops::Range<usize>)> {
    let end = copy.saturating_add(number(manifest, copy + 12, 4) as usize).min(manifest.len()).saturating_sub(8);
    let mut at = copy + MANIFEST_HEAD;
    let mut found = Vec::new();
    while at + 16 <= end {
        let (width, count) = (number(manifest, at + 4, 4) as usize, number(manifest, at + 8, 8) as usize);
        let start = at + 16;
        let Some(next) = width.checked_mul(count).and_then(|len| start.checked_add(len)).filter(|next| *next <= end)
        else {
            break;
        };
        found.push((number(manifest, at, 2), at, start..next));
        at = next;
    }
    found
}
