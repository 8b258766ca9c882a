//! The demo itself: it ends well, keeps its promise about foreign directories, and leaves a collection that works.

mod run;

use run::Place;
use serde_json::json;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/data");

#[test]
fn the_demo_survives_its_kills_and_can_be_run_again() {
    let place = Place::new();
    let ran = place.run(&["demo", "--dir", "c", "--data", DATA, "--kills", "2"]).expect_code(0);
    for part in ["recall@10 over 200 queries against the shipped answers: 1.000", "0 lost", "sound", "try:"] {
        assert!(ran.out.contains(part), "{part} is missing in:\n{}", ran.out);
    }
    let ran = place.run(&["demo", "--dir", "c", "--data", DATA, "--kills", "1", "--json"]).expect_code(0);
    let summary = ran.document();
    assert_eq!((&summary["rows"], &summary["recall_at_10"]), (&json!(5000), &json!(1.0)));
    assert_eq!(place.run(&["verify", "c"]).expect_code(0).err, "");
    let hits = place.run(&["search", "c", "--like", "07591961n", "-k", "3", "--json"]).expect_code(0).document();
    assert_eq!(hits["hits"].as_array().unwrap().len(), 3);
}

#[test]
fn the_demo_leaves_foreign_directories_alone() {
    let place = Place::with_collection(&["--dim", "2", "--metric", "l2"]);
    let ran = place.run(&["demo", "--dir", "c", "--data", DATA]).expect_code(1);
    assert_eq!(
        ran.err,
        "error: c was not made by the demo, so it is left alone\ncause: it has no DEMO.txt of the demo\n\
         hint: choose another place: stratavec demo --dir DIR\n"
    );
    place.run(&["stats", "c"]).expect_code(0);
}

#[test]
fn the_demo_says_where_it_looked_for_its_data() {
    let place = Place::new();
    let ran = place.run(&["demo", "--data", "elsewhere"]).expect_code(3);
    assert!(ran.err.contains("looked for base.f16.npy in elsewhere"), "{}", ran.err);
}
