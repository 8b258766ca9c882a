//! Imports that go on where the last one ended: in bulk, straight to files and part by part, and in batches.

mod run;

use std::process::Stdio;
use std::time::Duration;

use run::{Place, npy_of};
use serde_json::{Value as Json, json};

const L2: [&str; 6] = ["--dim", "2", "--metric", "l2", "--ids", "u64"];

/// Rows `[n, n + 0.5]`.
fn rows(count: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..count).flat_map(|n| [n as f32, n as f32 + 0.5]).flat_map(f32::to_le_bytes).collect();
    npy_of("<f4", &[count, 2], &data)
}

fn json_of(place: &Place, arguments: &[&str]) -> Json {
    place.run(arguments).expect_code(0).documents().remove(0)
}

#[test]
fn a_bulk_import_commits_part_by_part() {
    let place = Place::with_collection(&L2);
    place.write("v.npy", rows(10));
    let ran = place.run(&["import", "c", "v.npy", "--bulk", "--part", "4"]).expect_code(0);
    assert_eq!(ran.out, "imported 10 records into c: 10 new, synced\n");
    let found = place.get(&["0", "4", "9"]);
    assert_eq!(found[2]["vector"], json!([9.0, 9.5]));
    assert_eq!([&found[0]["seq"], &found[1]["seq"], &found[2]["seq"]], [&json!(1), &json!(2), &json!(3)]);
    // It ended, so the same again begins at the beginning.
    let done = json_of(&place, &["import", "c", "v.npy", "--bulk", "--memory", "64", "--json"]);
    assert_eq!((&done["imported"], &done["replaced"], &done["gone_on_after"]), (&json!(10), &json!(10), &json!(0)));
    place.run(&["verify", "c"]).expect_code(0);
}

#[test]
fn ids_attributes_and_payloads_come_along() {
    let place = Place::with_collection(&["--dim", "2", "--metric", "l2"]);
    let lines: String = (0..20)
        .map(|n| format!("{{\"id\": \"r{}\", \"vector\": [{n}, 1], \"n\": {n}, \"text\": \"row {n}\"}}\n", n % 15))
        .collect();
    place.write("v.jsonl", lines);
    let arguments =
        ["import", "c", "v.jsonl", "--bulk", "--attributes", "n", "--payload-field", "text", "--limit", "18", "--json"];
    let done = json_of(&place, &arguments);
    assert_eq!((&done["imported"], &done["inserted"], &done["repeated"]), (&json!(18), &json!(15), &json!(3)));
    let row = &place.get(&["r2"])[0];
    assert_eq!((&row["attributes"], &row["payload"]), (&json!({"n": 17}), &json!("row 17")));
}

#[test]
fn an_import_that_stopped_goes_on_behind_what_it_committed() {
    let place = Place::with_collection(&L2);
    let good = rows(20_000);
    let mut bad = good.clone();
    let at = good.len() - 8 * (20_000 - 15_000);
    bad[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    place.write("v.npy", &bad);
    let import = ["import", "c", "v.npy", "--bulk", "--part", "4000", "--json"];
    let ran = place.run(&import).expect_code(1);
    assert!(ran.err.contains("cannot take record 15000 of v.npy") && ran.err.contains("--skip 12000"), "{}", ran.err);
    assert_eq!(json_of(&place, &["stats", "c", "--json"])["rows"], json!(12_000));
    // Another file is another import.
    place.write("w.npy", rows(5));
    let other = json_of(&place, &["import", "c", "w.npy", "--bulk", "--limit", "2", "--json"]);
    assert_eq!((&other["imported"], &other["gone_on_after"]), (&json!(2), &json!(0)));
    place.run(&import).expect_code(1);
    // The same length and the same beginning: the same file.
    place.write("v.npy", &good);
    let done = json_of(&place, &import);
    assert_eq!((&done["gone_on_after"], &done["imported"]), (&json!(12_000), &json!(8_000)));
    assert_eq!(json_of(&place, &["stats", "c", "--json"])["rows"], json!(20_000));
    place.write("v.npy", &bad);
    place.run(&import).expect_code(1);
    place.write("v.npy", &good);
    let done = json_of(&place, &[&import[..], &["--anew"]].concat());
    assert_eq!((&done["gone_on_after"], &done["imported"]), (&json!(0), &json!(20_000)));
}

#[test]
fn an_import_that_was_killed_goes_on_and_takes_every_record_once() {
    const RECORDS: u64 = 60_000;
    let place = Place::with_collection(&L2);
    place.write("v.npy", rows(RECORDS as usize));
    let import = ["import", "c", "v.npy", "--bulk", "--part", "2000", "--json"];
    let mut gone_on = Vec::new();
    for pause in [100, 250, 400] {
        let mut child = place.command(&import).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        let rows = json_of(&place, &["stats", "c", "--json"])["rows"].as_u64().unwrap();
        assert!(rows.is_multiple_of(2000), "{rows} rows: a part is whole or absent");
        gone_on.push(rows);
    }
    let done = json_of(&place, &import);
    let (before, now) = (done["gone_on_after"].as_u64().unwrap(), done["imported"].as_u64().unwrap());
    // An import that had ended before it was killed is done again from the beginning.
    assert!(before + now == RECORDS, "{before} + {now} after {gone_on:?}");
    assert_eq!(done["inserted"].as_u64().unwrap() + done["replaced"].as_u64().unwrap(), now);
    assert_eq!(json_of(&place, &["stats", "c", "--json"])["rows"], json!(RECORDS));
    place.run(&["verify", "c"]).expect_code(0);
}

/// An import without --bulk keeps nothing to go on by: it compares. What is there as it is in the file is not written again, up to
/// the first record that is not.
#[test]
fn an_import_in_batches_begins_where_the_file_and_the_collection_part() {
    for format in ["f32", "f16"] {
        let place = Place::with_collection(&[&L2[..], &["--rows", format]].concat());
        let (good, at) = (rows(5000), rows(5000).len() - 8 * (5000 - 3456));
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        place.write("v.npy", &bad);
        let import = ["import", "c", "v.npy", "--batch", "100", "--json"];
        let ran = place.run(&import).expect_code(1);
        assert!(ran.err.contains("3456") && ran.err.contains("--skip 3400"), "{}", ran.err);
        place.write("v.npy", &good);
        let counts =
            |done: &Json| ["gone_on_after", "imported", "inserted", "batches"].map(|n| done[n].as_u64().unwrap());
        let done = json_of(&place, &import);
        assert_eq!(counts(&done), [3400, 1600, 1600, 16], "{format}");
        let last_seq = done["seq"].clone();
        // Nothing is left to write, and so nothing is.
        let done = json_of(&place, &import);
        assert_eq!((counts(&done), &done["seq"]), ([5000, 0, 0, 0], &last_seq));
        let part = json_of(&place, &[&import[..], &["--skip", "10", "--limit", "20"]].concat());
        assert_eq!(counts(&part), [20, 0, 0, 0]);
        let done = json_of(&place, &[&import[..], &["--anew"]].concat());
        assert_eq!((counts(&done), &done["replaced"]), ([0, 5000, 0, 50], &json!(5000)));
        place.run(&["verify", "c"]).expect_code(0);
    }
}

/// The last record of an id counts, also if an earlier one is what the collection has.
#[test]
fn ids_that_come_twice_end_as_in_the_file() {
    let place = Place::with_collection(&["--dim", "1", "--metric", "l2"]);
    let line = |id: &str, x: u8, text: &str| format!("{{\"id\": \"{id}\", \"vector\": [{x}], \"text\": \"{text}\"}}\n");
    let import = ["import", "c", "v.jsonl", "--payload-field", "text", "--json"];
    let of = |lines: &[String]| {
        place.write("v.jsonl", lines.concat());
        let done = json_of(&place, &import);
        (done["gone_on_after"].as_u64().unwrap(), done["imported"].as_u64().unwrap())
    };
    let [a, b, a2] = [line("a", 1, "one"), line("b", 2, "two"), line("a", 3, "three")];
    assert_eq!(of(&[a.clone(), b.clone()]), (0, 2));
    assert_eq!(of(&[a.clone(), b.clone(), a2.clone(), a.clone()]), (2, 2));
    assert_eq!(place.get(&["a"])[0]["payload"], json!("one"));
    assert_eq!(of(&[a.clone(), b.clone(), a2.clone()]), (2, 1));
    assert_eq!(of(&[a, b.clone(), a2]), (0, 3), "the first record is not what the collection has");
    assert_eq!(place.get(&["a"])[0]["payload"], json!("three"));
    assert_eq!(of(&[line("a", 3, "other"), b]), (0, 2), "the payload counts too");
}

#[test]
fn an_import_in_batches_that_was_killed_goes_on() {
    let place = Place::with_collection(&L2);
    place.write("v.npy", rows(30_000));
    let import = ["import", "c", "v.npy", "--batch", "50", "--json"];
    let mut child = place.command(&import).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(150));
    child.kill().unwrap();
    child.wait().unwrap();
    let there = json_of(&place, &["stats", "c", "--json"])["rows"].as_u64().unwrap();
    let done = json_of(&place, &import);
    assert_eq!((&done["gone_on_after"], &done["imported"]), (&json!(there), &json!(30_000 - there)));
    assert_eq!((&done["replaced"], &done["inserted"]), (&json!(0), &done["imported"]));
}

#[test]
fn batches_and_bulk_exclude_each_other() {
    let place = Place::with_collection(&L2);
    place.write("v.npy", rows(1));
    place.run(&["import", "c", "v.npy", "--bulk", "--batch", "2"]).expect_code(2);
    let ran = place.run(&["import", "c", "v.npy", "--memory", "1"]).expect_code(2);
    assert!(ran.err.contains("memory_budget"), "{}", ran.err);
}
