//! Every field of every structure of the format, as `format-spec/` has them, found in the files of a collection.

use stratavec::storage::{FileKind, FileName};

use crate::seal::{
    CONTAINER_HEADER, FOOTER, Files, LOG_HEADER, MANIFEST_HEAD, RECORD_HEADER, SectionPlace, UNIT, number, records,
    second_copy, sections, tables,
};

/// A structure: names and sizes of its fields, one behind the other.
type Fields = &'static [(&'static str, usize)];

const MANIFEST_FIELDS: Fields = &[
    ("magic", 8),
    ("version", 4),
    ("copy_len", 4),
    ("compatible", 4),
    ("read_compatible", 4),
    ("incompatible", 4),
    ("table_count", 4),
    ("generation", 8),
    ("parent", 8),
    ("collection", 16),
    ("epoch", 8),
    ("next_file_number", 8),
    ("next_row", 8),
    ("covered_seq", 8),
    ("first_wal", 16),
    ("dim", 4),
    ("metric", 1),
    ("ids", 1),
    ("rows", 1),
    ("index", 1),
    ("seed", 8),
    ("codes", 1),
    ("bits", 1),
    ("spill", 1),
    ("zero", 1),
    ("nlist", 4),
    ("parts", 4),
    ("reserved", 36),
];
const TABLE_FIELDS: Fields = &[("kind", 2), ("flags", 2), ("width", 4), ("count", 8)];
const ORIGIN_FIELDS: Fields = &[("origin", 16)];
const FILE_ENTRY_FIELDS: Fields = &[
    ("file_id", 16),
    ("len", 8),
    ("root", 4),
    ("families", 4),
    ("rows", 8),
    ("first_row", 8),
    ("last_row", 8),
    ("min_seq", 8),
    ("max_seq", 8),
    ("origin", 4),
    ("reserved", 4),
];
const HASH_FIELDS: Fields = &[("hash", 16), ("hash, second half", 16)];
const CALIBRATION_FIELDS: Fields = &[
    ("model", 16),
    ("model, second half", 16),
    ("rows", 8),
    ("k", 4),
    ("recall", 4),
    ("nprobe", 4),
    ("patience", 4),
    ("exact", 4),
    ("deviations", 4),
    ("horizon", 4),
    ("reserved", 4),
];
const TAIL_FIELDS: Fields = &[("zero", 4)];
const LOG_FIELDS: Fields = &[
    ("magic", 8),
    ("version", 4),
    ("incompatible", 4),
    ("collection", 16),
    ("file_id", 16),
    ("epoch", 8),
    ("first_seq", 8),
    ("first_row", 8),
    ("predecessor_id", 16),
    ("predecessor_len", 8),
    ("predecessor_crc", 4),
    ("reserved", 24),
];
const RECORD_FIELDS: Fields =
    &[("crc", 4), ("payload_len", 4), ("seq", 8), ("synced_to", 8), ("previous_crc", 4), ("kind", 1), ("reserved", 3)];
const BATCH_FIELDS: Fields = &[
    ("first_row", 8),
    ("ops_len", 4),
    ("op_count", 4),
    ("put_count", 4),
    ("kill_count", 4),
    ("fragment", 1),
    ("reserved", 7),
    ("model_hint", 8),
];
const OP_FIELDS: Fields =
    &[("kind", 1), ("flags", 1), ("id_len", 2), ("attributes_len", 4), ("payload_len", 4), ("norm", 4)];
const HEADER_FIELDS: Fields = &[
    ("magic", 8),
    ("format_version", 2),
    ("file_kind", 2),
    ("features_compatible", 4),
    ("features_read_only", 4),
    ("features_incompatible", 4),
    ("file_id", 16),
    ("collection_id", 16),
    ("reserved", 4),
];
const SECTION_FIELDS: Fields = &[
    ("kind", 4),
    ("flags", 4),
    ("offset", 8),
    ("length", 8),
    ("entries", 8),
    ("width", 4),
    ("scheme", 4),
    ("crc", 4),
    ("reserved", 20),
];
const FOOTER_FIELDS: Fields = &[
    ("file_len", 8),
    ("directory_offset", 8),
    ("section_count", 4),
    ("reserved_a", 4),
    ("rows", 8),
    ("first_row", 8),
    ("last_row", 8),
    ("min_seq", 8),
    ("max_seq", 8),
    ("origin", 16),
    ("parameter 0", 8),
    ("parameter 1", 8),
    ("parameter 2", 8),
    ("parameter 3", 8),
    ("frame_hash", 32),
    ("reserved_b", 8),
    ("magic", 4),
];

/// The fields of one entry of a section, by kind; the rest of the entry, if any, is left out.
fn entry_fields(kind: u32) -> (&'static str, Fields) {
    match kind {
        0x0101 => (
            "row pages",
            &[("page", 8), ("first_ordinal", 4), ("row_count", 2), ("first", 2), ("bitmap", 4), ("reserved", 4)],
        ),
        0x0102 => ("page bitmap", &[("rank 0", 2), ("ranks 1..7", 12), ("rank 7", 2), ("word 0", 8), ("word 1", 8)]),
        0x0103 => ("vector record", &[("component 0", 4), ("component 1", 4)]),
        0x0104 => ("seqs", &[("seq", 8)]),
        0x0106 | 0x0108 | 0x010A => ("offset column", &[("end", 4)]),
        0x0107 => ("id bytes", &[("byte", 1)]),
        0x0109 => ("attribute bytes", &[("byte", 1)]),
        0x010B => ("payload block", &[("raw_len", 4), ("stored_len", 4), ("codec", 4), ("crc", 4), ("body", 8)]),
        0x010C => ("payload table", &[("raw_start", 8), ("stored_start", 8)]),
        0x0201 => ("id table pages", &[("page", 8), ("origin_index", 4), ("reserved", 4)]),
        0x0202 => ("fences", &[("key", 8)]),
        0x0203 => ("filter", &[("word 0", 8), ("word 1", 8)]),
        0x0204 => ("id table entries", &[("key", 8), ("row_word", 4)]),
        0x0301 => ("dead pages", &[("page", 8), ("dead_count", 4), ("place", 4)]),
        0x0401 => ("list pages", &[("page", 8), ("origin_index", 4), ("reserved", 4)]),
        0x0402 => (
            "list header",
            &[
                ("scan_offset", 8),
                ("record_offset", 8),
                ("n_primary", 4),
                ("n_total", 4),
                ("first_check", 4),
                ("reserved", 4),
            ],
        ),
        0x0403 => ("list scan", &[("code", 4), ("codes", 4), ("factor", 2), ("factors", 2), ("row word", 4)]),
        0x0404 => ("list records", &[("code", 4), ("codes", 4)]),
        0x0406 => ("list checks", &[("crc", 4)]),
        0x0501 => (
            "frame",
            &[
                ("dim", 4),
                ("padded", 4),
                ("seed", 8),
                ("rounds", 4),
                ("metric", 4),
                ("scale", 4),
                ("reserved", 36),
                ("mean 0", 4),
            ],
        ),
        0x0502 => ("centroids", &[("byte", 1), ("bytes", 8)]),
        0x0503 => ("centroid codes", &[("codes", 8), ("more codes", 8)]),
        0x0504 => ("codebooks", &[("parts", 4), ("size", 4), ("reserved", 8)]),
        0x0302 => ("dead arrays", &[("position", 2)]),
        0x0303 => ("dead bitmaps", &[("word 0", 8), ("word 1", 8)]),
        _ => ("unknown section", &[("word", 8)]),
    }
}

/// A field in a file.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub file: FileName,
    /// Structure and field.
    pub what: String,
    /// Where it is.
    pub at: usize,
    /// Its bytes.
    pub size: usize,
    /// The same field in the other copy, for manifests.
    pub twin: Option<usize>,
}

/// Every field of every structure in these files; of long sections the first entries, one in the middle and the last.
pub fn places(files: &Files) -> Vec<Place> {
    let mut found = Found::default();
    for (name, bytes) in files {
        found.file = Some(*name);
        match name.kind() {
            Some(FileKind::Manifest) => found.manifest(bytes),
            Some(FileKind::Wal) => found.log(bytes),
            Some(FileKind::Row | FileKind::IdTable | FileKind::Tombstone | FileKind::Model | FileKind::List) => {
                found.container(bytes);
            }
            _ => {}
        }
    }
    found.places
}

#[derive(Default)]
struct Found {
    file: Option<FileName>,
    twin: Option<usize>,
    places: Vec<Place>,
}

impl Found {
    fn add(&mut self, what: &str, at: usize, fields: Fields) -> usize {
        let mut at = at;
        for (field, size) in fields {
            if let Some(file) = self.file {
                let twin = self.twin.map(|shift| at + shift);
                self.places.push(Place { file, what: format!("{what}: {field}"), at, size: *size, twin });
            }
            at += size;
        }
        at
    }

    fn manifest(&mut self, bytes: &[u8]) {
        self.twin = second_copy(bytes.len());
        self.add("manifest head", 0, MANIFEST_FIELDS);
        let mut end = MANIFEST_HEAD;
        for (kind, head, entries) in tables(bytes, 0) {
            self.add(&format!("table {kind}"), head, TABLE_FIELDS);
            let (what, fields) = if kind == 1 { ("origin", ORIGIN_FIELDS) } else { ("file entry", FILE_ENTRY_FIELDS) };
            let mut at = entries.start;
            if kind == 10 {
                self.add("calibration", at, CALIBRATION_FIELDS);
                at = entries.end;
            }
            while at < entries.end {
                at = self.add(&format!("{what} of table {kind}"), at, fields);
                if matches!(kind, 6 | 7) {
                    at = self.add(&format!("hash of table {kind}"), at, HASH_FIELDS);
                }
            }
            end = entries.end;
        }
        self.add("manifest tail", end, TAIL_FIELDS);
        self.twin = None;
    }

    fn log(&mut self, bytes: &[u8]) {
        self.add("log header", 0, LOG_FIELDS);
        debug_assert_eq!(LOG_FIELDS.iter().map(|f| f.1).sum::<usize>() + 4, LOG_HEADER);
        for (at, end) in records(bytes) {
            let kind = bytes[at + 28];
            let payload = self.add(&format!("record of kind {kind}"), at, RECORD_FIELDS);
            match kind {
                1 => self.batch(bytes, payload, end),
                3 => drop(self.add("roll", payload, &[("next number and epoch", 16)])),
                _ => {}
            }
        }
    }

    fn batch(&mut self, bytes: &[u8], start: usize, end: usize) {
        let ops = self.add("batch", start, BATCH_FIELDS);
        let kills = (ops + number(bytes, start + 8, 4) as usize).min(end);
        let mut at = ops;
        while at < kills {
            let id_len = number(bytes, at + 2, 2) as usize;
            let body = self.add(&format!("operation of kind {}", bytes[at]), at, OP_FIELDS);
            self.add("operation's id", body, &[("bytes", 1)]);
            let vector = self.add("operation's vector", body + id_len, &[("component", 4)]);
            self.add("operation's end", vector + 8, &[("bytes", 8)]);
            // Lengths of vectors are the schema's: the next operation is found by its head.
            at = (at + 16).next_multiple_of(8);
            while at < kills && !is_op_head(bytes, at, kills) {
                at += 8;
            }
        }
        let mut at = kills;
        while at < end {
            at = self.add("kill", at, &[("row", 8)]);
        }
    }

    fn container(&mut self, bytes: &[u8]) {
        self.add("header", 0, HEADER_FIELDS);
        debug_assert_eq!(HEADER_FIELDS.iter().map(|f| f.1).sum::<usize>() + 4, CONTAINER_HEADER);
        for section in sections(bytes) {
            self.add(&format!("section entry {:#x}", section.kind), section.entry, SECTION_FIELDS);
            self.section(&section);
        }
        self.add("footer", bytes.len() - FOOTER, FOOTER_FIELDS);
    }

    fn section(&mut self, section: &SectionPlace) {
        let (name, fields) = entry_fields(section.kind);
        for i in chosen(section.entries) {
            self.add(name, entry_offset(section, i), fields);
        }
        match section.scheme {
            1 => {
                let last = section.offset + (section.entries - 1) * section.width;
                self.add("record trailer", section.offset + section.width - 16, &[("id", 8), ("norm", 4)]);
                self.add("record trailer", last + section.width - 16, &[("id", 8), ("norm", 4)]);
                self.add("record padding", section.offset + section.width - 20, &[("bytes", 4)]);
            }
            2 | 3 => self.units(section),
            _ => {}
        }
    }

    fn units(&mut self, section: &SectionPlace) {
        for start in (0..section.len).step_by(UNIT) {
            let end = (start + UNIT).min(section.len);
            if section.scheme == 3 {
                self.add("offset column", section.offset + start, &[("base", 8)]);
            }
            self.add("unit padding", section.offset + end - 16, &[("bytes", 8)]);
            self.add("unit trailer", section.offset + end - 8, &[("used", 4)]);
        }
    }
}

fn is_op_head(bytes: &[u8], at: usize, end: usize) -> bool {
    let flags = number(bytes, at + 1, 1);
    let id_len = number(bytes, at + 2, 2);
    let data = number(bytes, at + 4, 4).max(number(bytes, at + 8, 4));
    matches!(bytes[at], 1 | 2) && flags == 0 && (1..=64).contains(&id_len) && data <= (end - at) as u64
}

/// The first three entries, one in the middle, the last.
fn chosen(entries: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..entries.min(3)).chain([entries / 2, entries.saturating_sub(1)]).collect();
    chosen.dedup();
    chosen
}

/// Where entry `i` of a section starts.
fn entry_offset(section: &SectionPlace, i: usize) -> usize {
    match section.scheme {
        2 => {
            let per_unit = ((UNIT - 8) / section.width.max(1)).max(1);
            section.offset + i / per_unit * UNIT + i % per_unit * section.width
        }
        3 => section.offset + i / 1020 * UNIT + 8 + i % 1020 * 4,
        _ => section.offset + i * section.width,
    }
}

const _: () = assert!(RECORD_HEADER == 32);
