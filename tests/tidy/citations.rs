//! Every promise and every tagged sentence of the format has a test that names it, or a reason why not.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{Source, files, root};

const EXCEPTIONS: &str = "format-spec/contract-tests.md";

/// Tags like `[C7]` and `[WAL-4]` in a text.
fn tags(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices('[') {
        let inside = text[at + 1..].split([']', '\n']).next().unwrap_or_default();
        if is_tag(inside) && text[at + 1 + inside.len()..].starts_with(']') {
            found.insert(inside.to_owned());
        }
    }
    found
}

fn is_tag(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('-') {
        Some((page, number)) => {
            (2..=6).contains(&page.len()) && page.bytes().all(|b| b.is_ascii_uppercase()) && digits(number)
        }
        None => text.strip_prefix('C').is_some_and(digits),
    }
}

/// What tests cite: tag to the files that do.
fn cited() -> BTreeMap<String, BTreeSet<String>> {
    let mut cited: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let sources: Vec<Source> = ["engine/src", "tests", "cli/tests", "fuzz", "format-spec"]
        .iter()
        .flat_map(|folder| files(folder, &[".rs", ".py"]))
        .filter(|source| !source.path.starts_with("tests/tidy/"))
        .collect();
    for source in &sources {
        let whole =
            source.is_test_file() || ["cli/tests/", "fuzz/"].iter().any(|folder| source.path.starts_with(folder));
        let text = if whole { source.text.as_str() } else { source.tests() };
        for tag in tags(text) {
            cited.entry(tag).or_default().insert(source.path.clone());
        }
    }
    cited
}

/// Rows `| C10 | reason |` of the table of exceptions.
fn excepted() -> BTreeMap<String, String> {
    let page = std::fs::read_to_string(root().join(EXCEPTIONS)).expect(EXCEPTIONS);
    let section = page.split("## Not tested yet").nth(1).expect("a section `Not tested yet`");
    section
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let (tag, reason) = (cells.next()?, cells.next()?);
            is_tag(tag).then(|| (tag.to_owned(), reason.to_owned()))
        })
        .collect()
}

/// The promises of the contract: headings like `**C1 · ..`.
fn promises() -> BTreeSet<String> {
    let page = std::fs::read_to_string(root().join("format-spec/contract.md")).expect("contract.md");
    page.lines()
        .filter_map(|line| line.strip_prefix("**")?.split(' ').next().filter(|word| is_tag(word)))
        .map(str::to_owned)
        .collect()
}

/// The tagged sentences of the format's pages.
fn sentences() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for page in files("format-spec", &[".md"]).iter().filter(|page| page.path != EXCEPTIONS) {
        for tag in tags(&page.text).into_iter().filter(|tag| tag.contains('-')) {
            found.insert(tag, page.path.clone());
        }
    }
    found
}

#[test]
fn every_promise_of_the_contract_is_named_by_a_test_or_excepted_with_a_reason() {
    let promises = promises();
    assert_eq!(promises.len(), 21, "the contract has C1 to C21: {promises:?}");
    let (cited, excepted) = (cited(), excepted());
    let silent: Vec<&String> =
        promises.iter().filter(|id| !cited.contains_key(*id) && !excepted.contains_key(*id)).collect();
    assert!(silent.is_empty(), "promises without a test that cites them, as in `[C7]`: {silent:?}");
}

#[test]
fn every_tagged_sentence_of_the_format_is_cited_by_a_test_or_excepted_with_a_reason() {
    let (cited, excepted) = (cited(), excepted());
    let silent: Vec<String> = sentences()
        .into_iter()
        .filter(|(tag, _)| !cited.contains_key(tag) && !excepted.contains_key(tag))
        .map(|(tag, page)| format!("[{tag}] of {page}"))
        .collect();
    assert!(silent.is_empty(), "sentences without a test that cites them: {silent:#?}");
}

#[test]
fn tests_cite_only_what_is_written() {
    let (promises, sentences) = (promises(), sentences());
    let unknown: Vec<String> = cited()
        .into_iter()
        .filter(|(tag, _)| !promises.contains(tag) && !sentences.contains_key(tag))
        .map(|(tag, places)| format!("[{tag}] in {places:?}"))
        .collect();
    assert!(unknown.is_empty(), "tests cite sentences that no page has: {unknown:#?}");
}

#[test]
fn exceptions_are_needed_and_have_reasons() {
    let cited = cited();
    for (tag, reason) in excepted() {
        assert!(reason.len() >= 20, "{tag} is excepted without a reason");
        assert!(!cited.contains_key(&tag), "{tag} is excepted, but {:?} cite it", cited[&tag]);
    }
}

#[test]
fn tests_named_in_the_table_exist() {
    let page = std::fs::read_to_string(root().join(EXCEPTIONS)).expect(EXCEPTIONS);
    let table = page.split("## Not tested yet").next().expect("a first part");
    let sources: Vec<Source> =
        ["engine/src", "tests", "cli/tests"].iter().flat_map(|folder| files(folder, &[".rs"])).collect();
    let mut missing = Vec::new();
    for line in table.lines().filter(|line| line.starts_with("| C")) {
        for name in line.split('`').skip(1).step_by(2).filter(|name| name.contains('_')) {
            if !sources.iter().any(|source| source.text.contains(&format!("fn {name}("))) {
                missing.push(name.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "{EXCEPTIONS} names tests that do not exist: {missing:?}");
}

#[test]
fn tags_are_recognised() {
    let text = "[C7] [C77x] [WAL-4] [x] [a link](b) [WAL-] [MUCHTOOLONG-1] [C1](d)";
    assert_eq!(tags(text).into_iter().collect::<Vec<_>>(), ["C1", "C7", "WAL-4"]);
}
