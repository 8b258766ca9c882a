//! The engine and the independent reader see the same.

use std::path::Path;

use serde_json::Value as Json;
use stratavec::{Attributes, Collection, IdKind, IdRef, Metric, OpenOptions, RowFormat, Schema, Value};

use super::golden::{dump, expected, folder, id_json, read_files, write_files};
use super::reader::Reader;
use super::scenes::SCENES;

fn parse(lines: &str) -> Vec<Json> {
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn the_reader_finds_golden_directories_sound_and_reads_what_the_engine_wrote() {
    let Some(reader) = Reader::find("agreement on golden directories") else { return };
    for scene in &SCENES {
        let directory = folder().join(scene.name);
        assert_eq!(reader.findings(&directory), Vec::<Json>::new(), "{}", scene.name);
        assert!(reader.dump(&directory) == parse(&expected(scene)), "{}: the reader sees other rows", scene.name);
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn vector(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| (self.below(2_000_001) as f32 - 1e6) / 1e6).collect()
    }
}

/// A collection with a few hundred random changes, flushed now and then, left with a log.
fn grow(path: &Path, schema: Schema, random: &mut Random) -> Collection {
    let dim = schema.dim();
    let kind = schema.id_kind();
    let c = Collection::create(path, schema, OpenOptions::default()).expect("create");
    for _ in 0..40 {
        let mut batch = c.batch();
        for _ in 0..random.below(12) {
            let (number, vector) = (random.below(120), random.vector(dim));
            let text = format!("id {number}");
            let id: IdRef<'_> = match kind {
                IdKind::U64 => number.into(),
                _ => text.as_str().into(),
            };
            match random.below(4) {
                0 => {
                    batch.delete(id);
                }
                1 => {
                    let attributes: Attributes = [("n".to_owned(), Value::I64(number as i64))].into();
                    let payload = vec![number as u8; random.below(3_000) as usize];
                    batch.upsert(id, &vector).attributes(attributes).payload(&payload);
                }
                _ => {
                    batch.upsert(id, &vector);
                }
            }
        }
        batch.commit().expect("commit");
        if random.below(8) == 0 {
            c.flush().expect("flush");
        }
    }
    c
}

#[test]
fn the_reader_agrees_with_the_engine_on_collections_of_every_schema() {
    let Some(reader) = Reader::find("agreement on random collections") else { return };
    let mut random = Random(2026);
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        for (format, ids) in [
            (RowFormat::F32, IdKind::U64),
            (RowFormat::F16, IdKind::Bytes),
            (RowFormat::Bf16, IdKind::U64),
            (RowFormat::I8, IdKind::Bytes),
        ] {
            let place = tempfile::tempdir().expect("a temporary folder");
            let path = place.path().join("c");
            let dim = 1 + random.below(19) as usize;
            let c = grow(&path, Schema::new(dim, metric).rows(format).ids(ids), &mut random);
            let what = format!("{metric:?} {format:?} {ids:?} dim {dim}");
            assert!(reader.dump(&path) == parse(&dump(&c.snapshot())), "{what}: other rows");
            assert_eq!(reader.findings(&path), Vec::<Json>::new(), "{what}");
            let queries: Vec<Vec<f32>> = (0..4).map(|_| random.vector(dim)).collect();
            compare_searches(&reader, &path, &c, &queries, &what);
            c.close().expect("close");
            assert_eq!(reader.findings(&path), Vec::<Json>::new(), "{what}, closed");
        }
    }
}

/// Same ids at the same ranks, or at distances that rounding cannot tell apart.
fn compare_searches(reader: &Reader, path: &Path, c: &Collection, queries: &[Vec<f32>], what: &str) {
    let text = serde_json::to_string(queries).expect("JSON");
    let read = reader.lines(path, &["--search", &text, "-k", "7"]);
    for (query, read) in queries.iter().zip(read) {
        let hits = c.snapshot().search(query).k(7).run().expect("search");
        let read = read.as_array().expect("a list of hits").clone();
        assert_eq!(hits.len(), read.len(), "{what}");
        for (rank, (hit, read)) in hits.iter().zip(&read).enumerate() {
            let distance = read[0].as_f64().expect("a distance");
            let near = (f64::from(hit.distance) - distance).abs() <= 1e-4 * (1.0 + distance.abs());
            assert!(near, "{what}, rank {rank}: {} and {distance}", hit.distance);
            let tie = hits.iter().any(|other| other.id != hit.id && (other.distance - hit.distance).abs() < 1e-5);
            assert!(tie || id_json(&hit.id) == read[1], "{what}, rank {rank}: {:?} and {}", hit.id, read[1]);
        }
    }
}

/// [C14] [FMT-6] the reader, too, notices every flipped bit, or reads the same from the other copy, or reports a dropped tail [C15].
#[test]
fn the_reader_notices_flipped_bits() {
    let Some(reader) = Reader::find("flipped bits under the reader") else { return };
    for name in ["empty", "replaced", "log"] {
        let place = tempfile::tempdir().expect("a temporary folder");
        write_files(place.path(), &read_files(&folder().join(name)));
        let directory = place.path().to_string_lossy().into_owned();
        let output = reader.run_script("format/reader_flips.py", &[&directory]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
        println!("{name}: {}", text.trim());
    }
}
