//! Times of the read path; run with `--ignored --nocapture` in a release build.

use std::hint::black_box;
use std::time::Instant;

use super::sample::*;
use crate::format::mix64;
use crate::id::IdKind;
use crate::metric::{Metric, RowFormat};
use crate::segment::{IdEntry, IdTable, RowFile, write_id_table, write_row_file};
use crate::storage::RealDir;

fn time(what: &str, unit: &str, count: f64, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    println!("{what}: {:.3} {unit}", start.elapsed().as_nanos() as f64 / count);
}

#[test]
#[ignore = "prints times, asserts nothing"]
fn times_of_rows() {
    let place = tempfile::tempdir().unwrap();
    let dir = RealDir::create(place.path().join("c")).unwrap();
    let rows = Rows::new(layout(128, RowFormat::F32, Metric::L2, IdKind::U64), 0..200_000, false);
    let mut facts = Default::default();
    time("write and check", "ns/row", 200_000.0, || {
        facts = write_row_file(&dir, FILE, COLLECTION, ORIGIN, &rows.layout, &rows).unwrap();
    });
    let mut file = None;
    time("open", "us", 1_000.0, || {
        file = Some(RowFile::open(&dir, FILE, COLLECTION, ORIGIN, &rows.layout, &facts).unwrap())
    });
    let file = file.unwrap();
    let scan = || {
        let words = file.vectors().as_chunks::<8>().0;
        black_box(words.iter().fold(0u64, |sum, word| sum ^ u64::from_le_bytes(*word)));
    };
    let prove = || (0..200_000).step_by(64).for_each(|i| file.prove_vectors(i..200_000.min(i + 64)).unwrap());
    time("prove, first time", "ns/row", 200_000.0, prove);
    time("prove, again", "ns/row", 200_000.0, prove);
    time("read the bytes", "ns/row", 200_000.0, scan);
    time("verify", "ns/row", 200_000.0, || file.verify(&mut |error| panic!("{error}")));
}

#[test]
#[ignore = "prints times, asserts nothing"]
fn times_of_ids() {
    let place = tempfile::tempdir().unwrap();
    let dir = RealDir::create(place.path().join("c")).unwrap();
    let count = 1_000_000u64;
    let mut entries: Vec<IdEntry> = (0..count).map(|id| IdEntry { key: mix64(id), row: id }).collect();
    let mut facts = Default::default();
    let kind = IdKind::U64;
    time("write and check", "ns/entry", count as f64, || {
        facts = write_id_table(&dir, FILE, COLLECTION, ORIGIN, kind, &mut entries, 1, 2).unwrap();
    });
    println!("{} bytes", facts.len);
    let table = IdTable::open(&dir, FILE, COLLECTION, ORIGIN, kind, &facts).unwrap();
    for round in ["first", "second"] {
        let ids = (0..100_000).map(|i| mix64(i) % (2 * count));
        time(&format!("{round} look-up, half of them absent"), "ns", 100_000.0, || {
            for id in ids {
                assert_eq!(table.lookup(mix64(id), |_| Ok(true)).unwrap().is_some(), id < count);
            }
        });
    }
}
