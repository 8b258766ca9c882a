//! Every format that `import` reads comes back from `get` as it was.

mod run;

use run::{Place, npy, npy_of};
use serde_json::json;

const L2: [&str; 4] = ["--dim", "2", "--metric", "l2"];

#[test]
fn npy_with_numbers_as_ids() {
    let place = Place::with_collection(&L2);
    place.write("v.npy", npy(&[&[1.0, 2.0], &[3.5, -4.0], &[5.0, 6.0]]));
    let ran = place.run(&["import", "c", "v.npy", "--batch", "2"]).expect_code(0);
    assert_eq!(ran.out, "imported 3 records into c: 3 new, synced\n");
    let rows = place.get(&["0", "2"]);
    assert_eq!(rows[0]["vector"], json!([1.0, 2.0]));
    assert_eq!(rows[0]["id"], json!("0"));
    assert_eq!(rows[1]["vector"], json!([5.0, 6.0]));
    assert_eq!(rows[1]["seq"], json!(2), "the third record is in the second batch");
}

#[test]
fn npy_of_halves_and_doubles() {
    let halves: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect();
    let doubles: Vec<u8> = [1.5f64, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    for (descr, data) in [("<f2", halves), ("<f8", doubles)] {
        let place = Place::with_collection(&L2);
        place.write("v.npy", npy_of(descr, &[1, 2], &data));
        place.run(&["import", "c", "v.npy"]).expect_code(0);
        assert_eq!(place.get(&["0"])[0]["vector"], json!([1.5, -2.0]), "{descr}");
    }
}

#[test]
fn ids_from_lines_and_from_an_array() {
    let place = Place::with_collection(&["--dim", "2", "--metric", "l2", "--ids", "u64"]);
    place.write("v.npy", npy(&[&[1.0, 2.0], &[3.0, 4.0]]));
    place.write("ids.txt", "18446744073709551614\n7\n");
    place.run(&["import", "c", "v.npy", "--ids", "ids.txt"]).expect_code(0);
    assert_eq!(place.get(&["18446744073709551614"])[0]["id"], json!(18_446_744_073_709_551_614u64));
    let ids: Vec<u8> = [41i64, 42].iter().flat_map(|n| n.to_le_bytes()).collect();
    place.write("ids.npy", npy_of("<i8", &[2], &ids));
    place.run(&["import", "c", "v.npy", "--ids", "ids.npy"]).expect_code(0);
    assert_eq!(place.get(&["42"])[0]["vector"], json!([3.0, 4.0]));
}

#[test]
fn records_beside_vectors_give_ids_attributes_and_payloads() {
    let place = Place::with_collection(&L2);
    place.write("v.npy", npy(&[&[1.0, 2.0], &[3.0, 4.0]]));
    place
        .write("t.jsonl", "{\"id\": \"a\", \"text\": \"één\", \"lang\": \"nl\"}\n{\"id\": \"b\", \"text\": \"two\"}\n");
    let options = ["--records", "t.jsonl", "--payload-field", "text", "--attributes", "lang"];
    place.run(&[&["import", "c", "v.npy"], &options[..]].concat()).expect_code(0);
    let rows = place.get(&["a", "b"]);
    assert_eq!(rows[0]["payload"], json!("één"));
    assert_eq!(rows[0]["attributes"], json!({"lang": "nl"}));
    assert_eq!(rows[1]["attributes"], json!({}));
    assert_eq!(rows[1]["vector"], json!([3.0, 4.0]));
}

#[test]
fn vecs_and_bin_files() {
    let floats: Vec<u8> = [1.0f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let files: [(&str, Vec<u8>, [f64; 2]); 5] = [
        ("v.fvecs", [vec![2, 0, 0, 0], floats.clone()].concat(), [1.0, 2.0]),
        ("v.bvecs", vec![2, 0, 0, 0, 7, 255], [7.0, 255.0]),
        ("v.fbin", [vec![1, 0, 0, 0, 2, 0, 0, 0], floats].concat(), [1.0, 2.0]),
        ("v.u8bin", vec![1, 0, 0, 0, 2, 0, 0, 0, 7, 255], [7.0, 255.0]),
        ("v.i8bin", vec![1, 0, 0, 0, 2, 0, 0, 0, 7, 255], [7.0, -1.0]),
    ];
    for (name, bytes, vector) in files {
        let place = Place::with_collection(&L2);
        place.write(name, bytes);
        place.run(&["import", "c", name]).expect_code(0);
        assert_eq!(place.get(&["0"])[0]["vector"], json!(vector), "{name}");
    }
}

#[test]
fn jsonl_from_standard_input_with_typed_attributes() {
    let place = Place::with_collection(&L2);
    let line = r#"{"doc": "x", "v": [0.25, 1e-3], "year": "2024", "tags": ["a", "b"], "when": 1700000000000000, "ok": true, "none": null}"#;
    let options = ["--format", "jsonl", "--id-field", "doc", "--vector-field", "v"];
    let attributes = ["--attributes", "year:i64,tags,when:timestamp,ok,none"];
    place.feed(&[&["import", "c", "-"], &options[..], &attributes].concat(), line.as_bytes()).expect_code(0);
    let row = &place.get(&["x"])[0];
    assert_eq!(row["vector"], json!([0.25, 0.001f32]));
    let attributes = json!({
        "year": 2024, "tags": ["a", "b"], "ok": true, "none": null,
        "when": {"timestamp_micros": 1_700_000_000_000_000i64},
    });
    assert_eq!(row["attributes"], attributes);
}

#[test]
fn csv_and_tsv() {
    let place = Place::with_collection(&L2);
    place.write("t.csv", "id,vector,lang,text\nq,\"1, 2\",en,\"say \"\"hi\"\",\nthen go\"\n");
    place.run(&["import", "c", "t.csv", "--attributes", "lang", "--payload-field", "text"]).expect_code(0);
    place.write("t.tsv", "v0\tv1\tid\n3\t4\tr\n");
    place.run(&["import", "c", "t.tsv", "--vector-field", "v"]).expect_code(0);
    let rows = place.get(&["q", "r"]);
    assert_eq!(rows[0]["payload"], json!("say \"hi\",\nthen go"));
    assert_eq!(rows[0]["attributes"], json!({"lang": "en"}));
    assert_eq!(rows[1]["vector"], json!([3.0, 4.0]));
}

#[test]
fn skip_limit_and_repeated_imports() {
    let place = Place::with_collection(&L2);
    place.write("v.npy", npy(&[&[0.0, 0.0], &[1.0, 1.0], &[2.0, 2.0], &[3.0, 3.0]]));
    let ran = place.run(&["import", "c", "v.npy", "--skip", "1", "--limit", "2", "--json"]).expect_code(0);
    assert_eq!(ran.document()["imported"], json!(2));
    assert_eq!(place.get(&["1", "2"])[1]["vector"], json!([2.0, 2.0]), "ids are row numbers of the file");
    place.run(&["get", "c", "3"]).expect_code(1);
    let ran = place.run(&["import", "c", "v.npy"]).expect_code(0);
    assert_eq!(ran.out, "imported 4 records into c: 2 new, 2 replaced, synced\n");
}

#[test]
fn every_durability_is_synced_in_the_end() {
    for level in ["sync", "group", "os"] {
        let place = Place::with_collection(&L2);
        place.write("v.npy", npy(&[&[1.0, 2.0]]));
        place.run(&["import", "c", "v.npy", "--durability", level]).expect_code(0);
        let stats = place.run(&["stats", "c", "--json"]).expect_code(0).document();
        assert_eq!((&stats["rows"], &stats["durable_seq"]), (&json!(1), &stats["last_seq"]), "{level}");
    }
}
