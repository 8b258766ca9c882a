//! Commands that measure: what they say, what they store, what they leave.

mod run;

use std::fmt::Write as _;

use run::Place;
use serde_json::{Value as Json, json};

/// Rows around a few places, as lines of JSON.
fn rows(count: u32) -> String {
    lines(count, 8, |id, axis| f64::from((id + axis) % 40))
}

/// Rows of so many components between 0 and 1, each moved by `place`.
fn lines(count: u32, dim: u32, place: impl Fn(u32, u32) -> f64) -> String {
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24)
    };
    let mut text = String::new();
    for id in 0..count {
        let vector: Vec<f64> = (0..dim).map(|axis| place(id, axis) + next()).collect();
        writeln!(text, "{}", json!({ "id": id.to_string(), "vector": vector })).unwrap();
    }
    text
}

fn filled(index: &[&str]) -> Place {
    let place = Place::with_collection(&[&["--dim", "8", "--metric", "l2"], index].concat());
    place.write("rows.jsonl", rows(3_000));
    place.run(&["import", "c", "rows.jsonl", "--bulk"]).expect_code(0);
    place
}

fn recalls(curve: &Json) -> Vec<f64> {
    curve.as_array().unwrap().iter().map(|point| point["recall"].as_f64().unwrap()).collect()
}

#[test]
fn tune_finds_the_least_effort_that_is_enough_and_stores_it() {
    let place = filled(&["--index", "ivf"]);
    let tune = ["tune", "c", "--recall", "0.9", "--sample", "200", "--json"];
    let dry = place.run(&[&tune[..], &["--dry-run", "--svg", "curve.svg"]].concat()).expect_code(0).document();
    let recalls = recalls(&dry["curve"]);
    assert!(recalls.len() > 3 && recalls.last() == Some(&1.0), "{recalls:?}");
    assert_eq!((&dry["stored"], &dry["stored_before"]), (&json!(false), &json!({ "recall": 0.95f32 })));
    let least = recalls.iter().position(|recall| *recall >= 0.9).unwrap();
    assert_eq!(dry["chosen"], dry["curve"][least]["effort"]);
    assert!(std::fs::read_to_string(place.path("curve.svg")).unwrap().starts_with("<svg "));

    let done = place.run(&tune).expect_code(0).document();
    assert_eq!((&done["chosen"], &done["stored"]), (&dry["chosen"], &json!(dry["chosen"] != dry["stored_before"])));
    let again = place.run(&tune).expect_code(0).document();
    assert_eq!((&again["stored"], &again["stored_before"]), (&json!(false), &done["chosen"]));
    let text = place.run(&["tune", "c", "--recall", "1", "--sample", "50"]).expect_code(0).out;
    assert!(text.contains("queries/s") && text.lines().last().unwrap().starts_with("stored: "), "{text}");
    place.run(&["verify", "c"]).expect_code(0);
}

#[test]
fn tune_takes_queries_of_a_file_and_refuses_what_does_not_fit() {
    let place = filled(&["--index", "ivf"]);
    place.write("asked.jsonl", rows(30));
    let ran = place.run(&["tune", "c", "--queries", "asked.jsonl", "--row", "10..", "--dry-run", "--json"]);
    assert_eq!(ran.expect_code(0).document()["queries"], json!("20 queries of asked.jsonl"));
    place.write("short.jsonl", r#"{"id": "a", "vector": [1, 2]}"#);
    let ran = place.run(&["tune", "c", "--queries", "short.jsonl"]).expect_code(2);
    assert!(ran.err.starts_with("error: record 0 of short.jsonl has 2 components"), "{}", ran.err);
    place.run(&["tune", "c", "--queries", "asked.jsonl", "--row", "50"]).expect_code(2);
    for recall in ["0", "1.5", "NaN"] {
        let ran = place.run(&["tune", "c", "--recall", recall]).expect_code(2);
        assert!(ran.err.contains("--recall"), "{}", ran.err);
    }
    place.run(&["tune", "nowhere"]).expect_code(3);
}

#[test]
fn tune_tells_what_bits_of_codes_buy_with_vectors_and_without() {
    let filled = |rows: &[&str]| {
        let place = Place::with_collection(
            &[&["--dim", "24", "--metric", "l2", "--index", "ivf", "--nlist", "16"], rows].concat(),
        );
        place.write("rows.jsonl", lines(900, 24, |_, _| 0.0));
        place.run(&["import", "c", "rows.jsonl", "--bulk"]).expect_code(0);
        place
    };
    let (kept, lean) = (filled(&[]), filled(&["--rows", "none", "--bits", "1"]));
    let trade = ["--trade", "--sample", "40", "--k", "5", "--json"];
    let of_rows = kept.run(&[&["tune", "c", "--dry-run"][..], &trade].concat()).expect_code(0).document();
    let of_file = lean.run(&[&["tune", "c", "--vectors", "rows.jsonl"][..], &trade].concat()).expect_code(0).document();
    assert!(!recalls(&of_rows["curve"]).is_empty() && of_file.get("curve").is_none());
    for told in [of_rows, of_file] {
        let lines = told["trade"].as_array().unwrap();
        let number = |line: &Json, of: &str| line[of].as_f64().unwrap();
        assert_eq!(lines.iter().map(|line| number(line, "bits")).collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0, 8.0]);
        let (one, eight) = (&lines[0], &lines[4]);
        assert!(number(one, "recall_of_codes") < number(eight, "recall_of_codes"), "{told}");
        assert!(number(one, "list_bytes_per_row") < number(eight, "list_bytes_per_row"), "{told}");
        // Nine of ten by the fewest bits: more than are wanted have to be measured.
        assert!(one["given"][0]["vectors"].as_u64().is_none_or(|given| given > 5), "{told}");
        assert_eq!(eight["given"][0]["vectors"], json!(5), "{told}");
    }
    assert!(!kept.path("tune-collections").exists() && !lean.path("tune-collections").exists());
    let text = lean.run(&["tune", "c", "--trade", "--vectors", "rows.jsonl", "--sample", "20"]).expect_code(0).out;
    assert!(text.contains("bytes/row") && text.contains("codes alone"), "{text}");
    let both = ["tune", "c", "--trade", "--vectors", "rows.jsonl", "--sample", "20", "--dry-run", "--json"];
    let told = kept.run(&both).expect_code(0).document();
    assert!(!recalls(&told["curve"]).is_empty() && told["trade"].as_array().is_some_and(|lines| !lines.is_empty()));
    lean.run(&["tune", "c", "--trade", "--vectors", "rows.jsonl", "--svg", "c.svg"]).expect_code(2);
    // Lists are added, or there is nothing to add: a number that comes is the number that was said.
    let planned = lean.run(&["compact", "c", "--retrain", "--dry-run", "--json"]).expect_code(0).document();
    let text = lean.run(&["compact", "c", "--retrain"]).expect_code(0).out;
    let wanted = if planned["retrains"] == 1 { "added lists and copied the codes of" } else { "no lists to add" };
    assert!(text.contains(wanted), "{planned} {text}");
    kept.run(&["tune", "c", "--dir", "elsewhere"]).expect_code(2);
    let ran = lean.run(&["tune", "c", "--trade"]).expect_code(2);
    assert!(ran.err.contains("--vectors"), "{}", ran.err);
    kept.write("tune-collections", "in the way");
    kept.run(&["tune", "c", "--trade"]).expect_code(1);
    assert!(kept.path("tune-collections").exists());
}

#[test]
fn where_every_search_measures_every_row_there_is_nothing_to_tune() {
    let place = filled(&[]);
    let ran = place.run(&["tune", "c", "--sample", "20"]).expect_code(0);
    assert!(ran.out.ends_with("there is nothing to choose\n"), "{}", ran.out);
    let done = place.run(&["tune", "c", "--sample", "20", "--json"]).expect_code(0).document();
    assert_eq!((recalls(&done["curve"]), &done["stored"]), (vec![1.0], &json!(false)));
    let empty = Place::with_collection(&["--dim", "8", "--metric", "l2"]);
    empty.run(&["tune", "c"]).expect_code(1);
}

#[test]
fn bench_measures_a_file_and_leaves_nothing_unless_asked() {
    let place = Place::new();
    place.write("rows.jsonl", rows(2_500));
    let bench = ["bench", "rows.jsonl", "--metric", "l2", "--index", "ivf", "--hold-out", "100"];
    let ran = place.run(&[&bench[..], &["--json", "--svg", "b.svg"]].concat()).expect_code(0).document();
    assert_eq!((&ran["rows"], &ran["queries"], &ran["dim"]), (&json!(2_400), &json!(100), &json!(8)));
    assert!(recalls(&ran["curve"]).last() == Some(&1.0));
    for figure in ["build_seconds", "bytes_per_vector", "open_milliseconds", "durable_rows_per_second"] {
        assert!(ran[figure].as_f64().is_some_and(|value| value > 0.0), "{figure}: {}", ran[figure]);
    }
    assert!(place.path("b.svg").exists() && !place.path("bench-collection").exists());

    let ran = place.run(&[&bench[..], &["--keep", "--dir", "kept", "--limit", "1500"]].concat()).expect_code(0);
    assert!(ran.out.contains("1,400 vectors of 8-d l2 f32"), "{}", ran.out);
    place.run(&["verify", "kept"]).expect_code(0);
    let ran = place.run(&[&bench[..], &["--dir", "kept"]].concat()).expect_code(1);
    assert!(ran.err.contains("--dir DIR"), "{}", ran.err);
    place.run(&["verify", "kept"]).expect_code(0);
    place.run(&["bench", "rows.jsonl"]).expect_code(2);
    place.run(&["bench", "rows.jsonl", "--metric", "l2", "--hold-out", "2500"]).expect_code(2);
}
