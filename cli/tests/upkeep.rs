//! compact, checkpoint, upgrade, completions: what they do, print and how they end.

mod run;

use run::{Place, npy};
use serde_json::json;

/// A collection `c` of six row files with ten rows each, numbered; the second half of the rows is written twice.
fn six_files() -> Place {
    let place = Place::with_collection(&["--dim", "2", "--metric", "l2", "--ids", "u64"]);
    let rows: Vec<Vec<f32>> = (0..60).map(|i| vec![i as f32, 0.0]).collect();
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    for part in 0..6 {
        place.write("v.npy", npy(&rows[part * 10..part * 10 + 10]));
        let ids: Vec<String> = (0..10).map(|i| ((part * 10 + i) % 40).to_string()).collect();
        place.write("ids.txt", ids.join("\n"));
        place.run(&["import", "c", "v.npy", "--ids", "ids.txt"]).expect_code(0);
    }
    place
}

#[test]
fn compact_says_before_what_it_does_after() {
    let place = six_files();
    let before = place.run(&["stats", "c", "--json"]).expect_code(0).document();
    let plan = place.run(&["compact", "c", "--full", "--dry-run", "--json"]).expect_code(0).document();
    assert_eq!((&plan["dry_run"], &plan["rows"], &plan["dropped"]), (&json!(true), &json!(40), &before["dead_rows"]));
    assert_eq!(
        place.run(&["stats", "c", "--json"]).document()["row_files"],
        before["row_files"],
        "a dry run changes nothing"
    );
    let done = place.run(&["compact", "c", "--full", "--json"]).expect_code(0).document();
    for figure in ["merges", "files_read", "rows", "dropped", "bytes_read"] {
        assert_eq!(done[figure], plan[figure], "{figure}");
    }
    assert!(done["bytes_written"].as_u64() <= plan["bytes_written"].as_u64());
    let after = place.run(&["stats", "c", "--json"]).document();
    assert_eq!((&after["row_files"], &after["dead_rows"], &after["rows"]), (&json!(1), &json!(0), &json!(40)));
    assert_eq!(place.run(&["compact", "c", "--full"]).expect_code(0).out, "c: nothing to merge\n");
    place.run(&["verify", "c"]).expect_code(0);
}

#[test]
fn a_checkpoint_opens_and_is_left_alone_by_later_writes() {
    let place = six_files();
    let done = place.run(&["checkpoint", "c", "copy", "--json"]).expect_code(0).document();
    assert_eq!((&done["seq"], &done["rows"], &done["files_copied"]), (&json!(6), &json!(40), &json!(0)));
    place.run(&["delete", "c", "0", "1", "2"]).expect_code(0);
    place.run(&["compact", "c", "--full"]).expect_code(0);
    place.run(&["verify", "copy"]).expect_code(0);
    let copy = place.run(&["stats", "copy", "--json"]).expect_code(0).document();
    assert_eq!((&copy["rows"], &copy["last_seq"]), (&json!(40), &json!(6)));
    place.run(&["get", "copy", "1"]).expect_code(0);
    place.run(&["get", "c", "1"]).expect_code(1);

    let ran = place.run(&["checkpoint", "c", "copy"]).expect_code(1);
    assert_eq!(ran.err.lines().next(), Some("error: path copy already holds a collection"));
    place.run(&["checkpoint", "nowhere", "copy2"]).expect_code(3);
    let ran = place.run(&["checkpoint", "c", "copy2"]).expect_code(0);
    assert!(ran.out.starts_with("checkpoint of c in copy2: 37 rows up to batch 7, "), "{}", ran.out);
}

#[test]
fn a_checkpoint_into_a_directory_that_cannot_be_made_leaves_nothing() {
    let place = six_files();
    let ran = place.run(&["checkpoint", "c", "no/such/parent"]).expect_code(3);
    assert!(ran.err.contains("no/such/parent") && !ran.err.contains("stratavec create"), "{}", ran.err);
    place.write("file", "x");
    let ran = place.run(&["checkpoint", "c", "file"]).expect_code(1);
    assert!(ran.err.starts_with("error: "), "{}", ran.err);
    place.run(&["verify", "c"]).expect_code(0);
}

#[test]
fn a_copy_inside_of_what_is_copied_is_refused_and_leaves_nothing() {
    let place = six_files();
    for inside in ["c", "c/copy", "c/../c/copy", "./c"] {
        for command in ["checkpoint", "repair"] {
            let ran = place.run(&[command, "c", inside]).expect_code(1);
            let error = format!("error: path {inside} is in the collection's own directory");
            assert_eq!(ran.err.lines().next(), Some(error.as_str()));
            assert!(ran.err.contains("hint: it must be a directory outside of it"), "{}", ran.err);
        }
    }
    assert!(!place.path("c/copy").exists());
    let ran = place.run(&["checkpoint", "c", "."]).expect_code(1);
    assert_eq!(ran.err.lines().next(), Some("error: path . is not empty"));
    place.run(&["verify", "c"]).expect_code(0);
}

#[test]
fn upgrade_tells_the_version_and_changes_nothing() {
    let place = six_files();
    let ran = place.run(&["upgrade", "c"]).expect_code(0);
    assert_eq!(ran.out, "c is at format version 0 already; nothing was changed\n");
    let done = place.run(&["upgrade", "c", "--json"]).expect_code(0).document();
    assert_eq!(done, json!({"from": 0, "to": 0, "files_rewritten": 0}));
    place.run(&["upgrade", "nowhere"]).expect_code(3);
}

#[test]
fn completions_know_the_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&["completions", shell]).expect_code(0).out;
        for command in ["checkpoint", "compact", "import"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    place.run(&["completions", "tcsh"]).expect_code(2);
}

/// Inverts a bit in the middle of a file, whatever its mode.
fn flip(file: &std::path::Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn repair_keeps_what_proves_itself_and_lists_the_rest() {
    let place = six_files();
    let done = place.run(&["repair", "c", "sound", "--json"]).expect_code(0).document();
    assert_eq!((&done["complete"], &done["rows"], &done["losses"]), (&json!(true), &json!(40), &json!([])));
    place.run(&["verify", "sound"]).expect_code(0);

    std::fs::remove_file(place.files("row-").iter().max().unwrap()).unwrap();
    place.files("idt-").iter().for_each(|file| flip(file));
    place.run(&["verify", "c"]).expect_code(1);
    let ran = place.run(&["repair", "c", "rest", "--json"]).expect_code(1);
    let done = ran.document();
    assert_eq!((&done["complete"], &done["losses"][0]["what"]), (&json!(false), &json!("file")));
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["error"]["kind"], json!("incomplete"));
    place.run(&["verify", "rest"]).expect_code(0);
    let rows = place.run(&["stats", "rest", "--json"]).expect_code(0).document()["rows"].as_u64().unwrap();
    assert_eq!(rows, 30, "the rows of the newest file are lost, what they replaced stays replaced");

    let ran = place.run(&["repair", "c", "rest"]).expect_code(1);
    assert_eq!(ran.err.lines().next(), Some("error: path rest already holds a collection"));
    let ran = place.run(&["repair", "c", "again"]).expect_code(1);
    assert!(ran.out.starts_with("lost: a file of 10 rows"), "{}", ran.out);
    assert!(ran.err.starts_with("error: 1 thing of c could not be kept for sure\nhint: "), "{}", ran.err);
    place.run(&["repair", "nowhere", "else"]).expect_code(3);
}

const ROWS: &str = r#"{"id": "a", "vector": [0.1, -2.5e-8], "n": 9007199254740993, "x": 0.1, "t": 1714979289000001, "w": "z", "p": "text"}
{"id": "b", "vector": [16777216.0, 1e-40], "n": -1, "x": 1.0, "t": 0, "w": "", "p": ""}
{"id": "c\u0001", "vector": [1.2345679e18, -0.0], "n": 0, "x": 1e300, "t": -1, "w": "\"q\"", "p": "\u0000\u00ff"}
"#;

#[test]
fn a_dump_loads_back_bit_for_bit() {
    for rows in ["f32", "f16", "bf16"] {
        let place = Place::with_collection(&["--dim", "2", "--metric", "l2", "--rows", rows]);
        let small = ROWS.replace("1.2345679e18", "-7.25").replace("16777216.0", "0.333").replace("1e-40", "-0.0001");
        place.write("rows.jsonl", if rows == "f32" { ROWS } else { small.as_str() });
        let fields = "n:i64,x:f64,t:timestamp,w:string";
        place.run(&["import", "c", "rows.jsonl", "--attributes", fields, "--payload-field", "p"]).expect_code(0);
        let ran = place.run(&["dump", "c", "d.jsonl"]).expect_code(0);
        assert!(ran.out.starts_with("dumped 3 rows of c into d.jsonl, "), "{}", ran.out);
        let ran = place.run(&["load", "new", "d.jsonl"]).expect_code(0);
        assert_eq!(ran.out, "loaded 3 rows into new, synced\n");
        place.run(&["verify", "new"]).expect_code(0);
        let (one, two) =
            (place.run(&["dump", "c"]).expect_code(0).out, place.run(&["dump", "new", "-"]).expect_code(0).out);
        assert_eq!(one, std::fs::read_to_string(place.path("d.jsonl")).unwrap());
        assert_eq!(one, two, "{rows}");
        let ids = ["a", "b", "c\u{1}"];
        let of = |name: &str| place.run(&[&["get", name, "--json"], &ids[..]].concat()).expect_code(0).documents();
        assert_eq!(of("c"), of("new"));
    }
}

#[test]
fn a_load_goes_on_where_it_ended_and_takes_nothing_else() {
    let place = six_files();
    place.run(&["dump", "c", "d.jsonl"]).expect_code(0);
    let dump = std::fs::read_to_string(place.path("d.jsonl")).unwrap();
    let cut: Vec<&str> = dump.lines().take(26).collect();
    place.write("cut.jsonl", cut.join("\n"));
    let ran = place.run(&["load", "new", "cut.jsonl", "--batch", "10"]).expect_code(3);
    assert!(ran.err.contains("line 27: the dump ends after 25 rows; its header states 40"), "{}", ran.err);
    assert!(ran.err.ends_with("run the same command again: it goes on where this one ended\n"), "{}", ran.err);
    let ran = place.run(&["load", "new", "d.jsonl", "--json"]).expect_code(0).document();
    assert_eq!((&ran["loaded"], &ran["there_before"]), (&json!(20), &json!(20)));
    assert_eq!(
        place.run(&["dump", "new"]).out.lines().skip(1).collect::<Vec<_>>(),
        dump.lines().skip(1).collect::<Vec<_>>()
    );
    let ran = place.run(&["load", "new", "d.jsonl", "--json"]).expect_code(0).document();
    assert_eq!((&ran["loaded"], &ran["there_before"]), (&json!(0), &json!(40)));

    place.run(&["delete", "new", "39"]).expect_code(0);
    place.write("v.npy", npy(&[&[0.0, 0.0]]));
    place.write("ids.txt", "77");
    place.run(&["import", "new", "v.npy", "--ids", "ids.txt"]).expect_code(0);
    let ran = place.run(&["load", "new", "d.jsonl"]).expect_code(1);
    assert!(ran.err.starts_with("error: new is not the beginning of this dump\n"), "{}", ran.err);
    let other = place.run(&["create", "e", "--dim", "3", "--metric", "l2"]).expect_code(0);
    drop(other);
    place.run(&["load", "e", "d.jsonl"]).expect_code(2);
}

/// The same ids with other vectors are not what an interrupted load left.
#[test]
fn a_load_takes_a_collection_of_other_rows_for_what_it_is() {
    let place = six_files();
    place.run(&["dump", "c", "d.jsonl"]).expect_code(0);
    place.write("v.npy", npy(&[&[9.0, 9.0]]));
    place.write("ids.txt", "7");
    place.run(&["import", "c", "v.npy", "--ids", "ids.txt"]).expect_code(0);
    let ran = place.run(&["load", "c", "d.jsonl"]).expect_code(1);
    assert!(ran.err.starts_with("error: c is not the beginning of this dump\n"), "{}", ran.err);
    let dump = std::fs::read_to_string(place.path("d.jsonl")).unwrap();
    let at = dump.lines().skip(1).position(|line| line.starts_with(r#"{"id":7,"#)).unwrap();
    assert!(ran.err.contains(&format!("row {at} of the dump is another one there")), "{}", ran.err);
}

#[test]
fn a_dump_never_writes_over_a_file() {
    let place = six_files();
    place.write("d.jsonl", "mine");
    let ran = place.run(&["dump", "c", "d.jsonl"]).expect_code(1);
    assert!(ran.err.starts_with("error: cannot create d.jsonl\n"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(place.path("d.jsonl")).unwrap(), "mine");
    place.run(&["load", "new", "d.jsonl"]).expect_code(3);
    assert!(!place.path("new").exists());
    place.run(&["dump", "nowhere"]).expect_code(3);
}

#[test]
fn stats_tell_what_compaction_is_behind_and_what_makes_it_go_on() {
    let place = Place::with_collection(&["--dim", "2", "--metric", "l2", "--ids", "u64"]);
    let stats = place.run(&["stats", "c", "--json"]).expect_code(0).document();
    assert_eq!((&stats["files_to_compaction"], &stats["dead_rows_to_compaction"]), (&json!(8), &json!(null)));
    place.write("v.npy", npy(&[&[1.0, 0.0], &[2.0, 0.0], &[3.0, 0.0]]));
    place.run(&["import", "c", "v.npy", "--number"]).expect_code(0);
    let stats = place.run(&["stats", "c", "--json"]).expect_code(0).document();
    assert_eq!((&stats["files_to_compaction"], &stats["dead_rows_to_compaction"]), (&json!(7), &json!(1)));
    assert_eq!(stats["compaction_debt"], json!(0));
    assert!(stats["memory_bytes"].as_u64().is_some());
    let shown = place.run(&["stats", "c"]).expect_code(0).out;
    assert!(shown.contains("next merge after 1 more dead row in one file or 7 small files"), "{shown}");
}

#[test]
fn a_scrub_reads_everything_and_fails_on_damage() {
    let place = six_files();
    let report = place.run(&["scrub", "c", "--rate", "100", "--json"]).expect_code(0).document();
    assert!(report["bytes"].as_u64() > Some(1000) && report["findings"] == json!([]), "{report}");
    let row = std::fs::read_dir(place.path("c")).unwrap().flatten().map(|entry| entry.path());
    let row = row.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("row-")).max().unwrap();
    let mut bytes = std::fs::read(&row).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::remove_file(&row).unwrap();
    std::fs::write(&row, bytes).unwrap();
    let ran = place.run(&["scrub", "c"]).expect_code(1);
    assert!(
        ran.out.contains("damage:") && ran.err.contains("repair makes a new collection"),
        "{} {}",
        ran.out,
        ran.err
    );
}
