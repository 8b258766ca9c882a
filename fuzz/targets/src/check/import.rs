//! Readers of other people's files: any bytes end in records or an error.

use stratavec::IdKind;
use stratavec_cli::import::ids::IdSource;
use stratavec_cli::import::{AttributeField, Fields, Format, Input as Stream, Record};

use crate::input::Input;

const FORMATS: [Format; 9] = [
    Format::Npy,
    Format::Fvecs,
    Format::Bvecs,
    Format::Fbin,
    Format::U8bin,
    Format::I8bin,
    Format::Jsonl,
    Format::Csv,
    Format::Tsv,
];
/// Records read of one input.
const MOST_RECORDS: usize = 100_000;

/// The first byte chooses the reader, the second its fields.
pub fn import(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.below(FORMATS.len() + 1);
    let kind = if input.u8() & 1 == 0 { IdKind::U64 } else { IdKind::Bytes };
    let bytes = input.rest();
    match FORMATS.get(choice) {
        Some(format) => records(*format, kind, bytes),
        None => ids(kind, bytes),
    }
}

fn records(format: Format, kind: IdKind, bytes: &[u8]) {
    let fields = Fields {
        id: Some("id".to_owned()),
        ids: kind,
        vector: Some("vector".to_owned()),
        attributes: ["lang", "year:i64", "size:f64", "good:bool", "when:timestamp", "tags:string"]
            .iter()
            .filter_map(|text| text.parse::<AttributeField>().ok())
            .collect(),
        payload: Some("text".to_owned()),
    };
    let Ok(mut source) = format.source(Stream::from_bytes("input", bytes), fields) else { return };
    let mut record = Record::default();
    for count in 1..=MOST_RECORDS {
        match source.read(&mut record) {
            Ok(true) => check(&record, bytes.len()),
            Ok(false) | Err(_) => return,
        }
        assert!(count <= bytes.len(), "more records than bytes");
    }
}

/// A record is no larger than the input lets it be: each component takes at least a byte.
fn check(record: &Record, input_bytes: usize) {
    assert!(record.vector.len() <= input_bytes, "{} components from {input_bytes} bytes", record.vector.len());
    assert!(record.payload.as_ref().is_none_or(|payload| payload.len() <= input_bytes));
}

fn ids(kind: IdKind, bytes: &[u8]) {
    let name = if bytes.starts_with(b"\x93NUMPY") { "ids.npy" } else { "ids.txt" };
    let Ok(mut source) = IdSource::new(Stream::from_bytes(name, bytes), kind) else { return };
    for _ in 0..MOST_RECORDS {
        if !matches!(source.next_id(), Ok(Some(_))) {
            return;
        }
    }
}
