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
    assert_eq!(ran.err.lines().next(), Some("error: path copy is not empty"));
    place.run(&["checkpoint", "nowhere", "copy2"]).expect_code(3);
    let ran = place.run(&["checkpoint", "c", "copy2"]).expect_code(0);
    assert!(ran.out.starts_with("checkpoint of c in copy2: 37 rows up to batch 7, "), "{}", ran.out);
}

#[test]
fn a_checkpoint_into_a_directory_that_cannot_be_made_leaves_nothing() {
    let place = six_files();
    place.run(&["checkpoint", "c", "no/such/parent"]).expect_code(3);
    place.write("file", "x");
    let ran = place.run(&["checkpoint", "c", "file"]).expect_code(1);
    assert!(ran.err.starts_with("error: "), "{}", ran.err);
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
