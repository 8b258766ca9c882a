//! What may be done only in some places: `unsafe`, calls to the file system, starting threads.

use super::sources::{Source, engine, line_of, words};

const UNSAFE_ROOMS: [&str; 3] = ["engine/src/kernel/arch", "engine/src/storage/mmap", "engine/src/format/cast"];

/// Names that only a call to the file system needs.
const FILE_CALLS: [&str; 6] = ["std::fs", "rustix", "memmap2", "File::open", "File::create", "tokio"];

/// Names that start a thread.
const THREADS: [&str; 3] = ["thread::spawn", "thread::Builder", "thread::scope"];

fn places(sources: &[Source], needles: &[&str], allowed: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !allowed(&source.path)) {
        let code = source.code();
        for needle in needles {
            found.extend(words(&code, needle).map(|at| format!("{}:{}: {needle}", source.path, line_of(&code, at))));
        }
    }
    found
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let allowed = |path: &str| UNSAFE_ROOMS.iter().any(|room| path.starts_with(room));
    let found = places(&engine(), &["unsafe"], allowed);
    assert!(found.is_empty(), "unsafe outside its rooms:\n{}", found.join("\n"));
}

#[test]
fn no_other_package_has_unsafe_code() {
    let others: Vec<Source> = ["cli", "benches", "tests", "python/src"]
        .iter()
        .flat_map(|folder| super::sources::files(folder, &[".rs"]))
        .collect();
    // The quotes of this test hold the word; nothing else in tests/tidy may. Counting memory takes an allocator.
    let allowed = |path: &str| path.starts_with("tests/tidy/") || path == "tests/corruption/heap.rs";
    let found = places(&others, &["unsafe"], allowed);
    assert!(found.is_empty(), "unsafe outside the engine:\n{}", found.join("\n"));
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let mut silent = Vec::new();
    for source in engine() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let blocks = words(code, "unsafe").filter(|at| code[at + "unsafe".len()..].trim_start().starts_with('{'));
            let reasons = lines[i.saturating_sub(10)..=i].iter().any(|line| line.contains("SAFETY"));
            silent.extend(blocks.filter(|_| !reasons).map(|_| format!("{}:{}", source.path, i + 1)));
        }
    }
    assert!(silent.is_empty(), "unsafe blocks without a SAFETY sentence:\n{}", silent.join("\n"));
}

#[test]
fn files_are_touched_by_the_storage_layer_only() {
    let found = places(&engine(), &FILE_CALLS, |path| path.starts_with("engine/src/storage/"));
    assert!(found.is_empty(), "calls to the file system outside storage/:\n{}", found.join("\n"));
}

#[test]
fn threads_are_started_by_the_collection_only() {
    let allowed = |path: &str| path.starts_with("engine/src/collection/");
    let found = places(&engine(), &THREADS, allowed);
    assert!(found.is_empty(), "threads outside collection/:\n{}", found.join("\n"));
}
