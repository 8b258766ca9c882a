//! Writes the first inputs of every fuzz target: `cargo run -p stratavec-fuzz-targets --bin fuzz-seeds -- fuzz/corpus`.
//!
//! What fuzzers found later lies beside them under other names and is left alone.

use std::path::{Path, PathBuf};

use stratavec::storage::FileKind;
use stratavec_fuzz_targets::fixture::{Fixture, all};
use stratavec_fuzz_targets::seal::{LOG_HEADER, RECORD_HEADER, number, put, records, second_copy};

/// Inputs by target.
struct Seeds {
    root: PathBuf,
    written: usize,
    bytes: usize,
}

impl Seeds {
    fn add(&mut self, target: &str, name: &str, parts: &[&[u8]]) -> std::io::Result<()> {
        let dir = self.root.join(target);
        std::fs::create_dir_all(&dir)?;
        let input = parts.concat();
        (self.written, self.bytes) = (self.written + 1, self.bytes + input.len());
        std::fs::write(dir.join(format!("seed-{name}")), input)
    }
}

fn main() -> std::io::Result<()> {
    let root = std::env::args_os().nth(1).map_or_else(|| Path::new("fuzz/corpus").to_owned(), PathBuf::from);
    let mut seeds = Seeds { root, written: 0, bytes: 0 };
    for (i, fixture) in all().iter().enumerate() {
        files(&mut seeds, i as u8, fixture)?;
    }
    texts(&mut seeds)?;
    choices(&mut seeds)?;
    println!("{} inputs, {} bytes, in {}", seeds.written, seeds.bytes, seeds.root.display());
    Ok(())
}

/// The files of a fixture, for the targets that take files.
fn files(seeds: &mut Seeds, subject: u8, fixture: &Fixture) -> std::io::Result<()> {
    let mut candidate = 0u8;
    for (name, bytes) in fixture.files() {
        let label = format!("{}-{}", fixture.name, &name.to_string()[..20]);
        match name.kind() {
            Some(FileKind::Manifest) => {
                let mut copy = bytes[..number(&bytes, 12, 4) as usize].to_vec();
                put(&mut copy, 32, &5u64.to_le_bytes());
                debug_assert!(second_copy(bytes.len()).is_some());
                seeds.add("manifest", &label, &[&[3], &copy])?;
                continue;
            }
            Some(FileKind::Wal) => {
                seeds.add("wal", &label, &[&[0xFF], &bytes])?;
                for (i, (at, end)) in records(&bytes).iter().enumerate().filter(|(_, (at, _))| bytes[at + 28] == 1) {
                    let kind = u8::from(fixture.name == "letters");
                    let dim = (fixture.schema.vector_bytes() / 4 - 1) as u8;
                    let payload = &bytes[at + RECORD_HEADER..*end];
                    seeds.add("codec", &format!("{label}-batch-{i}"), &[&[3, kind, dim], payload])?;
                }
                debug_assert!(bytes.len() >= LOG_HEADER);
            }
            Some(FileKind::Tombstone) => seeds.add("delfile", &label, &[&[1], &bytes])?,
            _ => {}
        }
        if name.kind() != Some(FileKind::Wal) && bytes.len() < 5000 {
            seeds.add("footer", &label, &[&[1], &bytes])?;
        }
        if bytes.len() < 10_000 {
            seeds.add("segment_raw", &label, &[&[subject, candidate, 1], &bytes])?;
        }
        candidate += 1;
    }
    Ok(())
}

/// Small inputs of the import readers and of the attribute codec.
fn texts(seeds: &mut Seeds) -> std::io::Result<()> {
    let npy = |descr: &str, shape: &str, data: &[u8]| {
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        let len = (10 + header.len() + 1).next_multiple_of(64) - 10;
        header.extend(std::iter::repeat_n(' ', len - 1 - header.len()));
        header.push('\n');
        [b"\x93NUMPY\x01\x00", &(len as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    };
    let floats: Vec<u8> = [1.0f32, -2.5, 0.0, 3.0, 4.0, 5.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let three = 3u32.to_le_bytes();
    seeds.add("import", "npy-f4", &[&[0, 0], &npy("<f4", "(2, 3)", &floats)])?;
    seeds.add("import", "npy-f8", &[&[0, 1], &npy("<f8", "(1, 3)", &floats)])?;
    seeds.add("import", "npy-u1", &[&[0, 1], &npy("|u1", "(8, 3)", &floats)])?;
    seeds.add("import", "fvecs", &[&[1, 0], &three, &floats[..12], &three, &floats[12..]])?;
    seeds.add("import", "bvecs", &[&[2, 0], &three, b"abc", &three, b"xyz"])?;
    seeds.add("import", "fbin", &[&[3, 0], &2u32.to_le_bytes(), &three, &floats])?;
    seeds.add("import", "u8bin", &[&[4, 0], &2u32.to_le_bytes(), &three, b"abcdef"])?;
    seeds.add("import", "i8bin", &[&[5, 0], &2u32.to_le_bytes(), &three, b"abcdef"])?;
    let json = br#"{"id": 7, "vector": [1, -2.5e1, 3], "lang": "en", "year": 1990, "good": true, "tags": ["a", "b"], "text": "x"}
{"id": "8", "vector": [0.5, 0.25, 1e-3], "size": 1.5, "when": 1700000000000000, "lang": null, "text": "\u00e9\n"}
"#;
    seeds.add("import", "jsonl-u64", &[&[6, 0], json])?;
    seeds.add("import", "jsonl-bytes", &[&[6, 1], json])?;
    let csv =
        b"id,vector,lang,year,good,text\n7,\"[1, 2.5, 3]\",en,1990,true,\"a \"\"b\"\"\nc\"\n8,\"[4,5,6]\",,,false,\n";
    seeds.add("import", "csv", &[&[7, 1], csv])?;
    seeds.add("import", "tsv", &[&[8, 0], &csv.map(|b| if b == b',' { b'\t' } else { b })])?;
    seeds.add("import", "ids-lines", &[&[9, 0], b"1\n22\n333\n"])?;
    seeds.add("import", "ids-npy", &[&[9, 0], &npy("<i8", "(2,)", &7u64.to_le_bytes().repeat(2))])?;
    seeds.add("codec", "attributes", &[&[1], b"\x02\x04lang\x05\x02en\x04year\x03\x01\0\0\0\0\0\0\0"])?;
    seeds.add("codec", "attribute-list", &[&[1], b"\x01\x01t\x06\x02\x01a\x00"])?;
    seeds.add("codec", "varints", &[&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x80, 0x80, 1]])?;
    let run: Vec<u8> = (0..=255).collect();
    seeds.add("codec", "built", &[&[2], &run])?;
    for bits in 0..8 {
        seeds.add("codec", &format!("packed-{bits}"), &[&[4, bits], &run[..128]])?;
    }
    Ok(())
}

/// Sequences of choices for the targets that take operations.
fn choices(seeds: &mut Seeds) -> std::io::Result<()> {
    let mut state = 1u64;
    let mut draw = |len: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB) >> 32
        };
        (0..len).map(|_| next() as u8).collect()
    };
    for (target, count, len) in [
        ("ops_model", 12, 400),
        ("ops_crash", 24, 300),
        ("search_params", 16, 80),
        ("segment_resealed", 16, 40),
        ("store_dir", 24, 60),
        ("kernels", 12, 700),
    ] {
        for i in 0..count {
            let input = draw(len);
            seeds.add(target, &format!("drawn-{i}"), &[&input])?;
        }
    }
    Ok(())
}
