//! What the engine is built on: few packages, all counted.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::root;

const MOST_DIRECT: usize = 12;
const MOST_IN_ALL: usize = 45;

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Names in the section `[name]` of a manifest.
fn section_keys(manifest: &str, section: &str) -> Vec<String> {
    let mut inside = false;
    let mut keys = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == format!("[{section}]");
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let end = line.find(['.', '=', ' ']).unwrap_or(line.len());
            keys.push(line[..end].to_owned());
        }
    }
    keys
}

/// Package to the packages it needs on any platform, by name.
fn lock() -> BTreeMap<String, BTreeSet<String>> {
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in read("Cargo.lock").split("[[package]]").skip(1) {
        let name = package.lines().find_map(|line| line.strip_prefix("name = ")).unwrap_or_default().trim_matches('"');
        let needs = package.split_once("dependencies = [").map_or("", |(_, list)| list.split(']').next().unwrap_or(""));
        let needs = needs.split('"').filter(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()));
        let needs = needs.map(|part| part.split(' ').next().unwrap_or_default().to_owned());
        packages.entry(name.to_owned()).or_default().extend(needs);
    }
    packages
}

#[test]
fn the_engine_has_few_dependencies() {
    let direct = section_keys(&read("engine/Cargo.toml"), "dependencies");
    let lock = lock();
    let mut all = BTreeSet::new();
    let mut open = direct.clone();
    while let Some(name) = open.pop() {
        if all.insert(name.clone()) {
            let needs = lock.get(&name).unwrap_or_else(|| panic!("{name} is not in Cargo.lock"));
            open.extend(needs.iter().cloned());
        }
    }
    println!("the engine has {} direct dependencies, {} in all", direct.len(), all.len());
    assert!(direct.len() <= MOST_DIRECT, "{} direct dependencies, at most {MOST_DIRECT}: {direct:?}", direct.len());
    assert!(all.len() <= MOST_IN_ALL, "{} dependencies in all, at most {MOST_IN_ALL}: {all:?}", all.len());
    let page = read("SECURITY.md");
    let stated = format!("The engine has {} direct dependencies", direct.len());
    assert!(page.contains(&stated), "SECURITY.md should say: {stated}");
}

#[test]
fn every_dependency_is_stated_once_for_the_workspace() {
    for manifest in ["engine/Cargo.toml", "cli/Cargo.toml", "tests/Cargo.toml", "benches/Cargo.toml"] {
        let text = read(manifest);
        let own: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("version = \"") || line.trim_start().contains(" = \""))
            .filter(|line| !line.contains("workspace"))
            .filter(|line| {
                !["name", "description", "path", "default-run", "edition", "readme"]
                    .iter()
                    .any(|key| line.trim_start().starts_with(key))
            })
            .collect();
        assert!(own.is_empty(), "{manifest} states versions of its own: {own:?}");
    }
}

#[test]
fn unmaintained_floors_are_kept() {
    let lock = read("Cargo.lock");
    let version = |name: &str| {
        let package = lock.split("[[package]]").find(|p| p.contains(&format!("name = \"{name}\"\n")))?;
        let version = package.lines().find_map(|line| line.strip_prefix("version = "))?.trim_matches('"').to_owned();
        Some(version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>())
    };
    // Earlier ones did not check the range of advise and flush.
    assert!(version("memmap2") >= Some(vec![0, 9, 11]));
}
