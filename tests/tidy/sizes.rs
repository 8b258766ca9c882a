//! Files stay readable in one sitting.

use super::sources::files;

const MOST_LINES: usize = 900;
const VAGUE: [&str; 6] = ["util", "helper", "common", "manager", "handler", "core"];

#[test]
fn no_source_file_is_longer_than_the_limit() {
    let long: Vec<String> = files("", &[".rs", ".py"])
        .iter()
        .map(|file| (file.text.lines().count(), &file.path))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .map(|(lines, path)| format!("{path}: {lines} lines, at most {MOST_LINES}"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn files_are_named_after_a_thing() {
    let vague: Vec<String> = files("", &[".rs", ".py"])
        .into_iter()
        .map(|file| file.path)
        .filter(|path| {
            let parts = path.trim_end_matches(".rs").trim_end_matches(".py").split(['/', '_', '-']);
            parts.into_iter().any(|part| VAGUE.contains(&part.trim_end_matches('s')))
        })
        .collect();
    assert!(vague.is_empty(), "names that say nothing: {vague:?}");
}
