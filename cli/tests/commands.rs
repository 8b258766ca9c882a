//! search, get, delete, stats, verify: what they print and how they end.

mod run;

use run::{Place, npy};
use serde_json::json;

/// Five rows: row i lies at (i, 0); the payload says so.
fn line_of_five() -> Place {
    let place = Place::with_collection(&["--dim", "2", "--metric", "l2"]);
    let lines: Vec<String> = (0..5)
        .map(|i| {
            json!({"id": format!("r{i}"), "vector": [i, 0], "text": format!("at {i}"), "even": i % 2 == 0}).to_string()
        })
        .collect();
    place.write("rows.jsonl", lines.join("\n"));
    place.run(&["import", "c", "rows.jsonl", "--payload-field", "text", "--attributes", "even"]).expect_code(0);
    place
}

#[test]
fn search_prints_distance_id_and_what_was_asked_for() {
    let place = line_of_five();
    let ran = place.run(&["search", "c", "--vector", "[1.25, 0]", "--k", "2"]).expect_code(0);
    assert_eq!(ran.out, "  0.0625  r1  even=false  at 1\n  0.5625  r2  even=true  at 2\n");
    let ran = place.run(&["search", "c", "--vector", "[1.25, 0]", "--k", "1", "--include", "none"]).expect_code(0);
    assert_eq!(ran.out, "  0.0625  r1\n");
    let ran =
        place.run(&["search", "c", "--vector", "[-1, 0]", "--include", "vector", "--k", "1", "--json"]).expect_code(0);
    assert_eq!(ran.document()["hits"], json!([{"id": "r0", "distance": 1.0, "exact": true, "vector": [0.0, 0.0]}]));
}

#[test]
fn search_narrows_by_distance_and_ids() {
    let place = line_of_five();
    let ids = |arguments: &[&str]| -> Vec<String> {
        let base = ["search", "c", "--json", "--vector", "[0, 0]"];
        let answer = place.run(&[&base, arguments].concat()).expect_code(0).document();
        answer["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&["--max-distance", "4"]), ["r0", "r1", "r2"]);
    assert_eq!(ids(&["--filter-ids", "r4,r3,absent"]), ["r3", "r4"]);
    place.write("ids.txt", "r1\nr2\n");
    assert_eq!(ids(&["--filter-ids", "@ids.txt", "-k", "1"]), ["r1"]);
    assert_eq!(ids(&[]).len(), 5, "never padded to k");
}

#[test]
fn search_takes_one_effort_and_refuses_what_means_nothing() {
    let place = line_of_five();
    let base = ["search", "c", "--json", "--vector", "[0, 0]"];
    for effort in [
        &["--recall", "0.9"][..],
        &["--confidence", "0.9"],
        &["--nprobe", "3"],
        &["--nprobe", "30", "--patience", "4", "--pread"],
        &["--exact", "--pread"],
    ] {
        let answer = place.run(&[&base, effort].concat()).expect_code(0).document();
        assert_eq!((&answer["lists_probed"], answer["hits"].as_array().map(Vec::len)), (&json!(0), Some(5)), "flat");
    }
    place.run(&[&base[..], &["--exact", "--nprobe", "3"]].concat()).expect_code(2);
    let ran = place.run(&[&base[..], &["--recall", "0"]].concat());
    assert!(ran.code != 0 && ran.err.contains("effort"), "{}", ran.err);
}

#[test]
fn search_by_example_leaves_the_example_out() {
    let place = line_of_five();
    let ran = place.run(&["search", "c", "--like", "r4", "--k", "1", "--include", "payload"]).expect_code(0);
    assert_eq!(ran.out, "  1.0000  r3  at 3\n");
    let ran = place.run(&["search", "c", "--like", "nobody"]).expect_code(1);
    assert_eq!(ran.err, "error: there is no row with id nobody\n");
}

#[test]
fn search_takes_a_range_of_a_file() {
    let place = line_of_five();
    place.write("q.npy", npy(&[&[0.0, 0.0], &[4.0, 0.0], &[2.0, 0.0]]));
    let answers = place.run(&["search", "c", "--file", "q.npy", "--row", "1..", "--k", "1", "--json"]).expect_code(0);
    let found: Vec<_> = answers.documents().iter().map(|a| (a["query"].clone(), a["hits"][0]["id"].clone())).collect();
    assert_eq!(found, [(json!(1), json!("r4")), (json!(2), json!("r2"))]);
    let ran = place.run(&["search", "c", "--file", "q.npy", "--row", "7"]).expect_code(2);
    assert_eq!(ran.err, "error: there is no row 7 in q.npy\ncause: the file has 3 records\n");
}

#[test]
fn get_shows_what_is_there_and_fails_for_what_is_not() {
    let place = line_of_five();
    let ran = place.run(&["get", "c", "r3", "gone"]).expect_code(1);
    let shown = "id          r3\npayload     at 3\nattributes  even=false\nvector      [3.0000, 0.0000] 2 components\n\
                 written     in batch 1\n";
    assert_eq!(ran.out, shown);
    assert_eq!(ran.err, "error: there is no row with id gone\n");
}

#[test]
fn delete_counts_and_the_next_search_sees_it() {
    let place = line_of_five();
    let ran = place.run(&["delete", "c", "r0", "gone"]).expect_code(0);
    assert_eq!(ran.out, "deleted 1 row, 1 id not there\n");
    place.write("ids.txt", "r1\nr2\n");
    assert_eq!(place.run(&["delete", "c", "--ids", "ids.txt"]).expect_code(0).out, "deleted 2 rows\n");
    let ran = place.run(&["search", "c", "--vector", "[0, 0]", "--include", "none"]).expect_code(0);
    assert_eq!(ran.out, "  9.0000  r3\n 16.0000  r4\n");
    let stats = place.run(&["stats", "c", "--json"]).expect_code(0).document();
    // Small files are merged when the program ends.
    assert_eq!((&stats["rows"], &stats["dead_rows"]), (&json!(2), &json!(0)));
}

#[test]
fn stats_fit_a_screen() {
    let place = line_of_five();
    let ran = place.run(&["stats", "c"]).expect_code(0);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 6, "{}", ran.out);
    assert!(lines[0].starts_with("c   5 vectors · 2-d l2 f32 · "), "{}", lines[0]);
    assert!(lines[1].starts_with("delta    160 B of log   0 rows in memory"), "{}", lines[1]);
    assert!(lines[1].ends_with("last batch 1 (in files)"), "{}", lines[1]);
    assert!(
        lines[2].starts_with("files    1 row file · 1 id table · 0 tombstone files   dead rows 0 (0.0 %)"),
        "{}",
        lines[2]
    );
    assert!(lines[3].starts_with("upkeep   ") && lines[3].ends_with("or 7 small files"), "{}", lines[3]);
    assert_eq!(lines[4], "search   flat index, exact: a query scores every vector (120 B)");
    assert!(lines[5].starts_with("bytes    per vector in files: vectors 24.0 · ids "), "{}", lines[5]);
}

#[test]
fn a_collection_can_be_asked_for_lists() {
    let place = Place::new();
    let create = ["create", "c", "--dim", "2", "--metric", "l2", "--ids", "u64"];
    let ran = place.run(&[&create[..], &["--bits", "3"]].concat()).expect_code(2);
    assert!(ran.err.contains("--bits is for --index ivf"), "{}", ran.err);
    let ran = place.run(&[&create[..], &["--index", "ivf", "--bits", "9"]].concat()).expect_code(2);
    assert!(ran.err.contains("use 1..=8"), "{}", ran.err);
    let lists = ["--index", "ivf", "--bits", "3", "--nlist", "2", "--spill", "off"];
    let ran = place.run(&[&create[..], &lists].concat()).expect_code(0);
    assert!(ran.out.ends_with("ivf(bits 3, nlist 2, spill off) index\n"), "{}", ran.out);
    let rows: Vec<[f32; 2]> = (0..40).map(|i| [i as f32, (i % 7) as f32]).collect();
    place.write("rows.npy", npy(&rows.iter().map(|row| &row[..]).collect::<Vec<_>>()));
    let ran = place.run(&["health", "c"]).expect_code(0);
    assert_eq!(ran.out, "c   no row is in a list: every search is exact\n");
    let health = place.run(&["health", "c", "--json"]).expect_code(0).document();
    assert_eq!((&health["score"], &health["delta_ratio"], &health["lists"]), (&json!(null), &json!(null), &json!(0)));
    place.run(&["import", "c", "rows.npy"]).expect_code(0);
    place.run(&["compact", "c"]).expect_code(0);
    let stats = place.run(&["stats", "c", "--json"]).expect_code(0).document();
    assert_eq!((&stats["rows_in_lists"], &stats["list_segments"]), (&json!(40), &json!(1)));
    place.run(&["verify", "c"]).expect_code(0);
    let health = place.run(&["health", "c", "--json"]).expect_code(0).document();
    assert!(health["score"].as_f64().is_some_and(|score| score > 50.0), "{health}");
    assert_eq!((&health["recall"], &health["retrain"]), (&json!(1.0), &json!(null)));
    let ran = place.run(&["health", "c"]).expect_code(0);
    assert!(ran.out.starts_with("c   ") && ran.out.contains("of 100 · 40 rows looked at"), "{}", ran.out);
    let document = place.run(&["compact", "c", "--retrain", "--json"]).expect_code(0).document();
    assert_eq!((&document["retrains"], &document["refiled"]), (&json!(0), &json!(0)), "the same rows, the same lists");
    let dump = place.run(&["dump", "c"]).expect_code(0).out;
    assert!(dump.starts_with(r#"{"stratavec_dump":1,"dim":2,"metric":"l2","ids":"u64","rows":"f32","index":"ivf","bits":3,"nlist":2,"spill":false,"#), "{dump}");
    place.feed(&["load", "copy", "-"], dump.as_bytes()).expect_code(0);
    let copy = place.run(&["stats", "copy", "--json"]).expect_code(0).document();
    assert_eq!((&copy["rows"], &copy["schema"]["index"]), (&json!(40), &json!("ivf")));
}

#[test]
fn lists_can_have_other_codes_than_bits() {
    let rows: Vec<[f32; 2]> = (0..40).map(|i| [i as f32, (i % 7) as f32]).collect();
    let rows = npy(&rows.iter().map(|row| &row[..]).collect::<Vec<_>>());
    for (codes, kind, dumped) in [
        ("product:8x16", "ivf(product 8x16, nlist 2, spill auto)", r#""index":"ivf","product":[8,16],"nlist":2,"#),
        ("none", "ivf(codes none, nlist 2, spill auto)", r#""index":"ivf","codes":false,"nlist":2,"#),
    ] {
        let place = Place::new();
        let create = ["create", "c", "--dim", "2", "--metric", "l2", "--ids", "u64", "--index", "ivf", "--nlist", "2"];
        let ran = place.run(&[&create[..], &["--codes", "product:7x16"]].concat()).expect_code(2);
        assert!(ran.err.contains("do not divide 64"), "{}", ran.err);
        let ran = place.run(&[&create[..], &["--codes", "pq:7"]].concat()).expect_code(2);
        assert!(ran.err.contains("product:48x256"), "{}", ran.err);
        let ran = place.run(&[&create[..], &["--codes", codes]].concat()).expect_code(0);
        assert!(ran.out.ends_with(&format!("{kind} index\n")), "{}", ran.out);
        place.write("rows.npy", &rows);
        place.run(&["import", "c", "rows.npy"]).expect_code(0);
        place.run(&["compact", "c"]).expect_code(0);
        let stats = place.run(&["stats", "c", "--json"]).expect_code(0).document();
        assert_eq!(stats["rows_in_lists"], json!(40));
        let screen = place.run(&["stats", "c"]).expect_code(0).out;
        assert!(screen.contains("2 lists in 1 segment"), "{screen}");
        place.run(&["verify", "c"]).expect_code(0);
        let dump = place.run(&["dump", "c"]).expect_code(0).out;
        assert!(dump.contains(dumped), "{dump}");
        place.feed(&["load", "copy", "-"], dump.as_bytes()).expect_code(0);
        let copy = place.run(&["stats", "copy", "--json"]).expect_code(0).document();
        assert_eq!(copy["codes"], stats["codes"]);
    }
}

#[test]
fn verify_finds_a_flipped_bit_and_nothing_in_a_sound_collection() {
    let place = line_of_five();
    let ran = place.run(&["verify", "c"]).expect_code(0);
    assert!(ran.out.starts_with("c: sound, full check of "), "{}", ran.out);
    place.run(&["verify", "c", "--quick"]).expect_code(0);

    let file = &place.files("row-")[0];
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let writable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(file, writable).unwrap();
    std::fs::write(file, bytes).unwrap();
    let ran = place.run(&["verify", "c"]).expect_code(1);
    assert!(ran.out.starts_with("damage: "), "{}", ran.out);
    assert!(ran.out.contains(": damaged, full check of "), "{}", ran.out);
    assert!(ran.err.starts_with("error: 1 damaged place in c\nhint: "), "{}", ran.err);
    let report = place.run(&["verify", "c", "--json"]).expect_code(1).document();
    assert_eq!((&report["sound"], &report["findings"][0]["kind"]), (&json!(false), &json!("corrupt")));
}
