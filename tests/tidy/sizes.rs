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

/// A file that nothing names is not compiled and rots unseen.
#[test]
fn every_source_file_is_part_of_a_program() {
    let sources = files("", &[".rs"]);
    let manifests = files("", &["Cargo.toml"]);
    let lost: Vec<&str> = sources
        .iter()
        .map(|source| source.path.as_str())
        .filter(|path| {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let is_root = ["lib.rs", "main.rs", "build.rs"].contains(&name)
                || ["benches/benches", "cli/tests", "bin", "fuzz_targets"].iter().any(|kind| folder.ends_with(kind))
                || manifests.iter().any(|manifest| manifest.text.contains(&format!("{name}\"")));
            !is_root && !sources.iter().any(|source| contains(source, folder, name))
        })
        .collect();
    assert!(lost.is_empty(), "no program contains {lost:?}");
}

/// Whether `source` has a `mod` for the file.
fn contains(source: &super::sources::Source, folder: &str, name: &str) -> bool {
    let (around, its_name) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    // Where the modules of `source` lie: beside it, or in the folder that has its name.
    let own = format!("{around}/{}", its_name.trim_end_matches(".rs"));
    let is_head = ["mod.rs", "lib.rs", "main.rs"].contains(&its_name);
    let (place, module) = match name {
        "mod.rs" => folder.rsplit_once('/').unwrap_or(("", folder)),
        _ => (folder, name.trim_end_matches(".rs")),
    };
    // Files in a `tests` folder are heads of programs, too.
    let is_head = is_head || around.ends_with("/tests");
    let declared = source.text.contains(&format!("mod {module};")) && (own == place || is_head && around == place);
    let by_path = folder.starts_with(around) && source.text.contains(&format!("{name}\"]"));
    declared || by_path
}
