//! Files from strangers: whatever the bytes, a reader ends with records or with an error that has a place. No panic, no
//! endless loop, no memory for promises.

use std::io::Cursor;

use stratavec::IdKind;
use stratavec_cli::import::{Fields, Format, Input, Meter, Record};

fn fields() -> Fields {
    Fields {
        ids: IdKind::Bytes,
        id: Some("id".into()),
        vector: Some("vector".into()),
        attributes: ["lang", "year:i64", "tags"].iter().map(|field| field.parse().unwrap()).collect(),
        payload: Some("text".into()),
    }
}

/// A good file of each format.
fn samples() -> Vec<(Format, Vec<u8>)> {
    let npy = |descr: &str, bytes: usize| {
        let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2, 3), }}\n");
        [b"\x93NUMPY\x01\x00", &(dict.len() as u16).to_le_bytes()[..], dict.as_bytes(), &vec![0x3c; bytes]].concat()
    };
    let text = "id,vector,lang,year,tags,text\na,\"1, 2\",en,7,t,\"say \"\"hi\"\"\nyou\"\nb,[3 4],,,,\n";
    let json = "{\"id\": \"a\", \"vector\": [1, -2.5e-3], \"lang\": null, \"year\": 7, \"tags\": [\"x\", \"\\u00e9\"], \"text\": \"t\", \
                \"rest\": {\"a\": [[], {}]}}\n\n{\"id\": 7, \"vector\": []}\n";
    vec![
        (Format::Npy, npy("<f2", 12)),
        (Format::Npy, npy("<f8", 48)),
        (Format::Fvecs, [vec![1, 0, 0, 0, 0, 0, 128, 63], vec![1, 0, 0, 0, 0, 0, 0, 64]].concat()),
        (Format::Bvecs, vec![2, 0, 0, 0, 7, 8, 2, 0, 0, 0, 9, 10]),
        (Format::Fbin, [vec![1, 0, 0, 0, 1, 0, 0, 0], vec![0, 0, 128, 63]].concat()),
        (Format::U8bin, vec![2, 0, 0, 0, 2, 0, 0, 0, 1, 2, 3, 4]),
        (Format::Jsonl, json.into()),
        (Format::Csv, text.into()),
        (Format::Tsv, text.replace(',', "\t").into_bytes()),
    ]
}

/// Reads to the end or the first error; the number of records, and whether the end was good.
fn read(format: Format, input: Input) -> (u64, bool) {
    let meter: Meter = input.meter();
    let Ok(mut source) = format.source(input, fields()) else { return (0, false) };
    let (mut record, mut records) = (Record::default(), 0);
    loop {
        let before = meter.bytes();
        match source.read(&mut record) {
            Ok(true) => records += 1,
            Ok(false) => return (records, true),
            Err(error) => {
                assert!(!error.file.is_empty() && !error.message.is_empty(), "{error:?}");
                return (records, false);
            }
        }
        assert!(meter.bytes() > before || before > 0, "{format:?}: a record from nothing");
        assert!(records <= 64, "{format:?}: more records than the file has room for");
    }
}

#[test]
fn the_samples_are_good() {
    for (format, bytes) in samples() {
        let (records, good) = read(format, Input::from_bytes("sample", bytes));
        assert!(good && records > 0, "{format:?}: {records} records");
    }
}

#[test]
fn every_cut_and_every_changed_byte_is_survived() {
    for (format, bytes) in samples() {
        for cut in 0..bytes.len() {
            read(format, Input::from_bytes("cut", &bytes[..cut]));
            read(format, Input::new("cut stream", Cursor::new(bytes[..cut].to_vec()), None));
        }
        for at in 0..bytes.len() {
            for value in
                [0, 1, 0x0a, b'"', b',', b'[', b'}', 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at].wrapping_add(1)]
            {
                let mut changed = bytes.clone();
                changed[at] = value;
                read(format, Input::from_bytes("changed", changed.clone()));
                read(format, Input::new("changed stream", Cursor::new(changed), None));
            }
        }
    }
}

#[test]
fn a_cut_binary_file_is_never_good() {
    for (format, bytes) in samples().into_iter().filter(|(format, _)| !format.is_text()) {
        let record = match format {
            Format::Fvecs => Some(8),
            Format::Bvecs => Some(6),
            _ => None,
        };
        for cut in 1..bytes.len() {
            let whole_records = record.is_some_and(|size| cut % size == 0);
            for input in [
                Input::from_bytes("cut", &bytes[..cut]),
                Input::new("cut stream", Cursor::new(bytes[..cut].to_vec()), None),
            ] {
                let (_, good) = read(format, input);
                assert_eq!(good, whole_records, "{format:?} cut to {cut} of {}", bytes.len());
            }
        }
    }
}
