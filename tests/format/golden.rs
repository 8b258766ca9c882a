//! Golden directories: the bytes of a format version, kept for ever.
//!
//! `STRATAVEC_BLESS=1 cargo test -p stratavec-tests --test format golden` writes them again, which needs a line in
//! `format-spec/CHANGES.md`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use stratavec::{Collection, Compact, Effort, Id, Item, OpenOptions, Repair, Snapshot, Value, Verify};

use super::scenes::{SCENES, Scene};

/// `format-spec/golden/` of the version this build writes.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../format-spec/golden/version-0")
}

/// Writes files into a directory.
pub fn write_files(folder: &Path, files: &[(String, Vec<u8>)]) {
    fs::create_dir_all(folder).expect("create a folder");
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).expect("write a file");
    }
}

/// The files of a directory, by name.
pub fn read_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("list").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("read a file"))
        })
        .collect();
    files.sort();
    files
}

/// An id as JSON: a number, or text with other bytes as `\xNN`.
pub fn id_json(id: &Id) -> Json {
    match id.as_u64() {
        Some(number) => json!(number),
        None => json!(readable(id.as_bytes().unwrap_or_default())),
    }
}

/// UTF-8 where the bytes are, `\xNN` for each byte where they are not.
fn readable(bytes: &[u8]) -> String {
    bytes
        .utf8_chunks()
        .flat_map(|chunk| {
            let escaped: String = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")).collect();
            [chunk.valid().to_owned(), escaped]
        })
        .collect()
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::Null => json!({"null": null}),
        Value::Bool(b) => json!({"bool": b}),
        Value::I64(n) => json!({"i64": n}),
        Value::F64(x) => json!({"f64": x}),
        Value::String(text) => json!({"string": text}),
        Value::StringList(texts) => json!({"strings": texts}),
        Value::Timestamp(micros) => json!({"timestamp": micros}),
        other => panic!("no JSON for {other:?}"),
    }
}

/// A row as the reader prints it.
pub fn item_json(item: &Item) -> Json {
    let attributes: serde_json::Map<String, Json> =
        item.attributes.iter().map(|(name, value)| (name.clone(), value_json(value))).collect();
    let payload: String = item.payload.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
    let vector: Vec<f64> = item.vector.iter().map(|x| f64::from(*x)).collect();
    json!({"id": id_json(&item.id), "seq": item.seq, "vector": vector, "attributes": attributes, "payload": payload})
}

/// All rows, one JSON text per line.
pub fn dump(snapshot: &Snapshot) -> String {
    snapshot.iter().map(|item| format!("{}\n", item_json(&item.expect("a row")))).collect()
}

/// What a golden directory must contain, beside it.
pub fn expected(scene: &Scene) -> String {
    let path = folder().join(format!("{}.expected.jsonl", scene.name));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn bless(scene: &Scene) {
    let Some(files) = scene.files() else { return };
    let target = folder().join(scene.name);
    if target.exists() {
        fs::remove_dir_all(&target).expect("remove the old directory");
    }
    write_files(&target, &files);
    let copy = tempfile::tempdir().expect("a temporary folder");
    write_files(copy.path(), &files);
    let c = Collection::open(copy.path(), OpenOptions::default()).expect("open");
    fs::write(folder().join(format!("{}.expected.jsonl", scene.name)), dump(&c.snapshot())).expect("write");
}

#[test]
fn golden_directories_are_what_this_build_writes() {
    if std::env::var_os("STRATAVEC_BLESS").is_some() {
        SCENES.iter().for_each(bless);
    }
    for scene in &SCENES {
        let Some(made) = scene.files() else { continue };
        let kept = read_files(&folder().join(scene.name));
        let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&kept), names(&made), "{}: other files", scene.name);
        for ((name, kept), (_, made)) in kept.iter().zip(&made) {
            let differ = kept.iter().zip(made).position(|(a, b)| a != b).unwrap_or(kept.len().min(made.len()));
            assert!(
                kept == made,
                "{}/{name} differs from offset {differ} on ({} and {} bytes); a changed format needs a line in CHANGES.md",
                scene.name,
                kept.len(),
                made.len()
            );
        }
    }
}

/// [C20] every kept version opens, with a clean end and with a log to replay.
#[test]
fn golden_directories_open_with_what_was_written() {
    for scene in &SCENES {
        let copy = tempfile::tempdir().expect("a temporary folder");
        write_files(copy.path(), &read_files(&folder().join(scene.name)));
        let report = Collection::verify(copy.path(), Verify::Full).expect("verify");
        assert!(report.is_sound(), "{}: {:?}", scene.name, report.findings);
        for round in ["as kept", "after recovery", "after closing"] {
            let c = Collection::open(copy.path(), OpenOptions::default()).expect("open");
            assert!(dump(&c.snapshot()) == expected(scene), "{} {round}: other rows", scene.name);
            if round == "after recovery" {
                c.close().expect("close");
            }
        }
        let report = Collection::verify(copy.path(), Verify::Full).expect("verify");
        assert!(report.is_sound(), "{}: {:?}", scene.name, report.findings);
    }
}

/// [C8] [C20] Every kept version is told, and its checkpoints and repairs hold what it does.
#[test]
fn golden_directories_are_upgraded_copied_and_repaired() {
    for scene in &SCENES {
        let place = tempfile::tempdir().expect("a temporary folder");
        let [old, repaired, copied] = ["old", "repaired", "copied"].map(|name| place.path().join(name));
        let files = read_files(&folder().join(scene.name));
        write_files(&old, &files);
        let upgrade = Collection::upgrade(&old).expect("upgrade");
        assert_eq!((upgrade.from, upgrade.to, upgrade.files_rewritten), (0, 0, 0), "{}", scene.name);
        let report = Collection::repair(&old, &repaired, Repair::KeepProven).expect("repair");
        assert!(report.is_complete(), "{}: {report:?}", scene.name);
        assert!(read_files(&old) == files, "{}: a repair or an upgrade has changed files", scene.name);
        Collection::open(&old, OpenOptions::default()).expect("open").checkpoint(&copied).expect("checkpoint");
        for path in [&repaired, &copied] {
            let c = Collection::open(path, OpenOptions::default()).expect("open");
            assert!(
                c.recovery().is_clean() && dump(&c.snapshot()) == expected(scene),
                "{}: {}",
                scene.name,
                path.display()
            );
        }
    }
}

/// Files whose records stand end to end become by merging what they would be had they been written so.
#[test]
fn golden_directories_of_before_are_merged_into_what_is_written_now() {
    let merged = |name: &str| {
        let copy = tempfile::tempdir().expect("a temporary folder");
        write_files(copy.path(), &read_files(&folder().join(name)));
        let c = Collection::open(copy.path(), OpenOptions::default()).expect("open");
        let planned = c.compact_dry_run(Compact::Full);
        let done = c.compact(Compact::Full).expect("begin").wait().expect("compact");
        assert!(done.list_merges > 0 && done.bytes_written <= planned.bytes_written, "{name}: {planned:?} {done:?}");
        let snapshot = c.snapshot();
        let found = snapshot.search(&[1.0; 6]).k(80).effort(Effort::Exact).run().expect("search");
        let found: Vec<_> = found.iter().map(|hit| (hit.id.clone(), hit.distance.to_bits())).collect();
        let (rows, sections) = (dump(&snapshot), c.stats().sections);
        drop(snapshot);
        c.close().expect("close");
        let report = Collection::verify(copy.path(), Verify::Full).expect("verify");
        assert!(report.is_sound(), "{name}: {:?}", report.findings);
        (rows, found, sections)
    };
    assert_eq!(merged("packed"), merged("rounded"));
}

#[test]
fn golden_directories_are_small_and_described() {
    let page = fs::read_to_string(folder().join("../README.md")).expect("format-spec/golden/README.md");
    let mut total = 0;
    for scene in &SCENES {
        let files = read_files(&folder().join(scene.name));
        total += files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        let row = format!("| `{}` | {} |", scene.name, scene.about);
        assert!(page.contains(&row), "format-spec/golden/README.md has no row {row}");
    }
    assert!(total < 600_000, "{total} bytes");
}
