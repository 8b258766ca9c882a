//! Error texts, exit codes, and silence where nobody watches. The texts are part of the surface: they change on purpose.

mod run;

use run::{Place, Ran, npy};
use serde_json::{Value as Json, json};

fn said(ran: Ran, code: i32, text: &str) {
    let ran = ran.expect_code(code);
    assert_eq!(ran.err, text);
    assert_eq!(ran.out, "", "errors go to standard error alone");
}

fn small() -> Place {
    Place::with_collection(&["--dim", "2", "--metric", "cosine"])
}

#[test]
fn a_bare_command_shows_three_examples() {
    let place = Place::new();
    let ran = place.run(&[]).expect_code(0);
    assert_eq!(ran.out.lines().filter(|line| line.starts_with("  stratavec ")).count(), 3);
    said(
        place.run(&["import"]),
        2,
        "error: the following required arguments were not provided: <COLLECTION> <FILE>\n\
         hint: for example: stratavec import my.db vectors.npy --ids ids.txt\n\
         \x20     stratavec import my.db docs.jsonl --payload-field text --attributes lang,year:i64\n\
         \x20     zcat docs.csv.gz | stratavec import my.db - --format csv --id-field doc --vector-field v\n",
    );
}

#[test]
fn a_mistyped_command_is_usage() {
    let place = Place::new();
    let ran = place.run(&["serach", "c"]).expect_code(2);
    assert_eq!(ran.err, "error: unrecognized subcommand 'serach'\nhint: did you mean search?\n");
    said(
        place.run(&["stats", "c", "--colour"]),
        2,
        "error: unexpected argument '--colour' found\nhint: stratavec stats --help\n",
    );
    let ran = place.run(&["create", "c", "--dim", "2", "--metric", "l3", "--json"]).expect_code(2);
    let error: Json = serde_json::from_str(&ran.err).unwrap();
    assert_eq!((&error["error"]["kind"], &error["error"]["exit"]), (&json!("usage"), &json!(2)));
}

#[test]
fn a_collection_that_is_not_there_is_missing() {
    let place = Place::new();
    let ran = place.run(&["stats", "nowhere"]).expect_code(3);
    assert_eq!(ran.err.lines().next(), Some("error: there is no directory nowhere"));
    assert!(ran.err.contains("\nhint: "), "{}", ran.err);
    assert!(!place.path("nowhere").exists(), "asking makes nothing");
    let ran = place.run(&["get", "nowhere", "1", "--json"]).expect_code(3);
    let error: Json = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["error"]["kind"], json!("not_found"));
}

#[test]
fn a_missing_folder_is_named_when_a_collection_is_created() {
    let place = Place::new();
    let ran = place.run(&["create", "a/b/c", "--dim", "2", "--metric", "cosine"]).expect_code(3);
    assert!(ran.err.contains("hint: make the folder first: mkdir -p a/b\n"), "{}", ran.err);
}

#[cfg(target_os = "linux")]
#[test]
fn help_that_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let ran = std::process::Command::new(env!("CARGO_BIN_EXE_stratavec")).arg("--help").stdout(full).status();
    assert_eq!(ran.expect("run").code(), Some(1));
}

#[test]
fn creating_over_something_fails_and_changes_nothing() {
    let place = small();
    let ran = place.run(&["create", "c", "--dim", "2", "--metric", "cosine"]).expect_code(1);
    assert!(ran.err.contains("already holds a collection"), "{}", ran.err);
    place.write("notes", "x");
    let ran = place.run(&["create", ".", "--dim", "2", "--metric", "l2"]).expect_code(1);
    assert!(ran.err.contains("is not empty"), "{}", ran.err);
    let ran = place.run(&["create", "d", "--dim", "0", "--metric", "l2"]).expect_code(2);
    assert_eq!(ran.err, "error: dim is 0; use 1..=65536\n");
}

#[test]
fn queries_that_cannot_be_are_usage() {
    let place = small();
    said(
        place.run(&["search", "c", "--vector", "0.1 0.2"]),
        2,
        "error: --vector is no JSON array of numbers\ncause: invalid type: floating point `0.1`, expected a sequence at line 1 column 3\n\
         hint: like this: --vector '[0.1, -0.2, 0.3]'\n",
    );
    let ran = place.run(&["search", "c", "--vector", "[1, 2, 3]"]).expect_code(2);
    assert!(ran.err.starts_with("error: query "), "{}", ran.err);
    let ran = place.run(&["search", "c", "--vector", "[1, 2]", "-k", "0"]).expect_code(2);
    assert_eq!(ran.err, "error: k is 0; use 1 or more\n");
    let ran = place.run(&["search", "c"]).expect_code(2);
    assert!(ran.err.contains("--vector"), "{}", ran.err);
}

#[test]
fn a_record_that_is_refused_is_named() {
    let place = small();
    place.write("v.npy", npy(&[&[1.0, 2.0], &[3.0, 4.0], &[f32::NAN, 1.0]]));
    let ran = place.run(&["import", "c", "v.npy", "--batch", "2"]).expect_code(1);
    let start = "error: cannot take record 2, offset 88 of v.npy (id 2)\ncause: vector ";
    assert!(ran.err.starts_with(start), "{}", ran.err);
    let end = "cause: 2 records before it are committed and stay\nhint: once it is put right, go on with --skip 2\n";
    assert!(ran.err.ends_with(end), "{}", ran.err);
    place.run(&["get", "c", "1"]).expect_code(0);
    place.run(&["get", "c", "2"]).expect_code(1);

    place.write("v.jsonl", "{\"id\": \"a\", \"vector\": [1, 2]}\n{\"id\": \"b\", \"vector\": [0, 0]}\n");
    let ran = place.run(&["import", "c", "v.jsonl"]).expect_code(1);
    assert!(ran.err.starts_with("error: cannot take line 2 of v.jsonl (id b)\ncause: vector "), "{}", ran.err);
    place.run(&["get", "c", "a"]).expect_code(1);
}

#[test]
fn a_file_that_is_broken_is_named_with_the_place() {
    let place = small();
    let mut cut = npy(&[&[1.0, 2.0], &[3.0, 4.0]]);
    cut.pop();
    place.write("v.npy", cut);
    said(
        place.run(&["import", "c", "v.npy"]),
        3,
        "error: cannot read v.npy\ncause: the header promises 2 records of 8 bytes behind 72 bytes of header; the file \
         has 87 bytes, room for 1 records\n",
    );
    place.write("v.jsonl", "{\"id\": \"a\", \"vector\": [1, 2]}\n{\"id\": \"b\", \"vector\": [1, 2\n");
    said(
        place.run(&["import", "c", "v.jsonl"]),
        3,
        "error: cannot read v.jsonl\ncause: line 2: column 27: EOF while parsing a list\n\
         hint: each line must be one JSON object\n",
    );
    place.write("v.csv", "id,vec\na,1 2\n");
    said(
        place.run(&["import", "c", "v.csv"]),
        2,
        "error: cannot read v.csv\n\
         cause: line 1: there is no column \"vector\" and none named vector0, vector1, ...\n\
         hint: the columns are: id, vec\n",
    );
    said(
        place.run(&["import", "c", "absent.npy"]),
        3,
        "error: cannot read absent.npy\ncause: No such file or directory (os error 2)\n",
    );
    said(
        place.run(&["import", "c", "-"]),
        2,
        "error: cannot read -\ncause: the format is not clear from the name\n\
         hint: name it: --format npy|fvecs|bvecs|fbin|u8bin|i8bin|jsonl|csv|tsv\n",
    );
}

#[test]
fn files_that_do_not_fit_are_refused_before_anything_is_written() {
    let place = small();
    place.write("v.npy", npy(&[&[1.0, 2.0, 3.0]]));
    said(
        place.run(&["import", "c", "v.npy"]),
        1,
        "error: v.npy does not fit the collection\ncause: its vectors have 3 components, the collection's 2\n",
    );
    place.write("w.npy", npy(&[&[1.0, 2.0], &[3.0, 4.0]]));
    place.write("ids.txt", "a\n");
    said(
        place.run(&["import", "c", "w.npy", "--ids", "ids.txt"]),
        3,
        "error: cannot read ids.txt\ncause: has fewer entries than w.npy has vectors\n",
    );
    place.write("v.jsonl", "{\"vector\": [1, 2]}\n");
    said(
        place.run(&["import", "c", "v.jsonl"]),
        1,
        "error: cannot read v.jsonl\ncause: line 1: there is no field \"id\"\n\
         hint: name the one there is: --id-field NAME; or number the records: --number\n",
    );
    let stats = place.run(&["stats", "c", "--json"]).expect_code(0).document();
    assert_eq!(stats["last_seq"], json!(0));
}

#[test]
fn a_damaged_collection_is_missing_or_corrupt_not_a_crash() {
    let place = small();
    for file in place.files("man-") {
        let writable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&file, writable).unwrap();
        std::fs::write(&file, vec![0; 8192]).unwrap();
    }
    let ran = place.run(&["stats", "c"]).expect_code(3);
    assert!(ran.err.starts_with("error: "), "{}", ran.err);
    assert!(ran.err.contains("\ncause: file man-"), "{}", ran.err);
    assert!(ran.err.contains("\nhint: "), "{}", ran.err);
}

#[test]
fn a_second_writer_is_told_who_has_the_collection() {
    let place = small();
    let held = stratavec::Collection::open(place.path("c"), stratavec::OpenOptions::default()).unwrap();
    let ran = place.run(&["delete", "c", "0"]).expect_code(1);
    assert!(ran.err.contains(&format!("process {}", std::process::id())), "{}", ran.err);
    drop(held);
    place.run(&["delete", "c", "0"]).expect_code(0);
}

#[test]
fn commands_that_read_work_beside_a_writer_and_change_nothing() {
    let place = small();
    let writer = stratavec::Collection::open(place.path("c"), stratavec::OpenOptions::default()).unwrap();
    writer.upsert("fresh", &[5.0, 5.0]).unwrap();
    let files = place.files("");
    let ran = place.run(&["search", "c", "--vector", "[5, 5]", "--k", "1"]).expect_code(0);
    assert_eq!(ran.out, "  0.0000  fresh\n");
    place.run(&["get", "c", "fresh"]).expect_code(0);
    let stats = place.run(&["stats", "c", "--json"]).expect_code(0).document();
    assert_eq!((&stats["last_seq"], &stats["delta_rows"]), (&json!(writer.last_seq()), &json!(1)));
    place.run(&["verify", "c"]).expect_code(0);
    assert_eq!(place.files(""), files);
    // What the writer had not moved to files is read from its log after a crash, too, and stays there.
    drop(writer);
    let ran = place.run(&["get", "c", "fresh"]).expect_code(0);
    assert!(!ran.err.contains("recovered"), "{}", ran.err);
    assert_eq!(place.files(""), files);
}

#[test]
fn nothing_is_painted_or_remarked_where_nobody_watches() {
    let place = small();
    place.write("v.npy", npy(&[&[1.0, 2.0]]));
    for arguments in [&["import", "c", "v.npy"][..], &["stats", "c"], &["search", "c", "--like", "0"], &["verify", "c"]]
    {
        let ran = place.run(arguments).expect_code(0);
        assert!(!ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'), "{arguments:?}: {ran:?}");
        assert_eq!(ran.err, "", "{arguments:?}");
        let ran = place.run(&[arguments, &["--json"]].concat()).expect_code(0);
        assert_eq!(ran.documents().len(), 1, "{arguments:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = small();
    place.write("v.npy", npy(&[&[1.0f32, 2.0][..]; 200]));
    place.run(&["import", "c", "v.npy"]).expect_code(0);
    let mut command = place.command(&["search", "c", "--file", "v.npy", "--k", "200", "--json"]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn file_contents_cannot_steer_the_terminal() {
    let place = small();
    place.write("v.jsonl", "{\"id\": \"a\\u001b[2J\", \"vector\": [1, 2], \"t\": \"x\\u0007y\"}\n");
    place.run(&["import", "c", "v.jsonl", "--payload-field", "t"]).expect_code(0);
    let ran = place.run(&["search", "c", "--vector", "[1, 2]"]).expect_code(0);
    assert!(ran.out.contains("a\\u{1b}[2J") && ran.out.contains("x\\u{7}y"), "{}", ran.out);
}

/// Promises in a file buy no memory: 250 MB of address space are enough for the worst of them.
#[test]
fn promises_in_a_file_cost_nothing() {
    let place = Place::with_collection(&["--dim", "65536", "--metric", "l2"]);
    let dict = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 65536), }\n";
    let npy = [b"\x93NUMPY\x01\x00", &(dict.len() as u16).to_le_bytes()[..], dict.as_bytes()].concat();
    let tags = format!("{{\"id\": \"a\", \"vector\": [1, 2], \"tags\": [{}\"\"]}}", "\"\",".repeat(5 << 20));
    let zeros = format!("{{\"id\": \"a\", \"vector\": [{}0]}}", "0,".repeat(7 << 20));
    let quote = format!("id,vector\n\"{}", "x\n".repeat(7 << 20));
    for (format, bytes) in [
        ("npy", npy),
        ("fbin", [[255; 4], [0, 0, 1, 0]].concat()),
        ("fvecs", vec![0, 0, 1, 0]),
        ("jsonl", tags.into()),
        ("jsonl", zeros.into()),
        ("csv", quote.into()),
    ] {
        place.write("evil", &bytes);
        let script = format!(
            "ulimit -v 250000 && exec '{}' import c - --format {format} --attributes tags <evil",
            env!("CARGO_BIN_EXE_stratavec")
        );
        let script = if format == "csv" { script.replace("--attributes tags", "") } else { script };
        let ran = std::process::Command::new("sh").current_dir(place.path("")).args(["-c", &script]).output().unwrap();
        let err = String::from_utf8(ran.stderr).unwrap();
        assert!(matches!(ran.status.code(), Some(1 | 3)), "{format}: {:?} {err}", ran.status);
        assert!(err.starts_with("error: cannot "), "{format}: {err}");
    }
}
