//! Layers point downwards.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{engine, files, is_name_byte};

/// Modules of the engine and their layers. Those of layer 0 may use each other, but no two both ways.
const LAYERS: [(&str, u32); 21] = [
    ("budget", 0),
    ("error", 0),
    ("id", 0),
    ("metric", 0),
    ("options", 0),
    ("value", 0),
    ("planted", 0),
    ("kernel", 1),
    ("format", 1),
    ("storage", 2),
    ("wal", 3),
    ("manifest", 3),
    ("index", 4),
    ("filter", 4),
    ("segment", 5),
    ("delta", 5),
    ("snapshot", 6),
    ("compaction", 7),
    ("collection", 8),
    ("fuzzing", 9),
    ("trial", 9),
];

fn layer(module: &str) -> Option<u32> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// What the root re-exports: name to module.
fn exports() -> BTreeMap<String, String> {
    let lib =
        files("engine/src", &["lib.rs"]).into_iter().find(|f| f.path == "engine/src/lib.rs").expect("lib.rs").code();
    let mut names = BTreeMap::new();
    for statement in lib.split("pub use ").skip(1) {
        let statement = statement.split(';').next().unwrap_or_default();
        let Some((module, rest)) = statement.split_once("::") else { continue };
        for name in rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|name| !name.is_empty()) {
            names.insert(name.to_owned(), module.trim().to_owned());
        }
    }
    names
}

/// The first names behind every `crate::` of a source.
fn uses(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if at > 0 && is_name_byte(code.as_bytes()[at - 1]) {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.push(head(rest)),
        }
    }
    found
}

fn head(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// The first names of the members of a `{a, b::{c, d}, e}`.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut members = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(String::new()),
            c if depth == 0 => members.last_mut().expect("never empty").push(c),
            _ => {}
        }
    }
    members.iter().map(|member| head(member.trim())).filter(|name| !name.is_empty()).collect()
}

/// Module to the modules it uses, with one place for each.
fn graph() -> BTreeMap<String, BTreeMap<String, String>> {
    let exports = exports();
    let mut graph: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for source in engine() {
        let inside = source.path.trim_start_matches("engine/src/");
        let module = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        if module == "lib" {
            continue;
        }
        let used = graph.entry(module.clone()).or_default();
        for name in uses(&source.code()) {
            let target = exports.get(&name).cloned().unwrap_or(name);
            if target != module {
                used.entry(target).or_insert_with(|| source.path.clone());
            }
        }
    }
    graph
}

#[test]
fn every_module_has_a_layer_and_uses_only_lower_ones() {
    let mut wrong = Vec::new();
    for (module, used) in graph() {
        let Some(own) = layer(&module) else {
            wrong.push(format!("module {module} has no layer: add it to ARCHITECTURE.md and to this test"));
            continue;
        };
        for (target, place) in used {
            match layer(&target) {
                None => wrong.push(format!("{place} uses crate::{target}, which is no module with a layer")),
                Some(0) => {}
                Some(other) if other < own => {}
                Some(other) => wrong.push(format!("{place}: {module} (layer {own}) uses {target} (layer {other})")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_two_modules_use_each_other() {
    let graph = graph();
    let pairs: BTreeSet<String> = graph
        .iter()
        .flat_map(|(a, used)| used.keys().map(move |b| (a, b)))
        .filter(|(a, b)| graph.get(*b).is_some_and(|back| back.contains_key(*a)))
        .map(|(a, b)| if a < b { format!("{a} and {b}") } else { format!("{b} and {a}") })
        .collect();
    assert!(pairs.is_empty(), "use each other: {pairs:?}");
}

#[test]
fn the_table_of_layers_in_the_architecture_is_this_one() {
    let page = std::fs::read_to_string(super::sources::root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for (module, layer) in LAYERS {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| {layer} |")) && line.contains(&format!("`{module}`")));
        assert!(row.is_some(), "ARCHITECTURE.md has no row of layer {layer} with `{module}`");
    }
}

#[test]
fn groups_and_paths_are_read() {
    let code = "use crate::{error::Error, id::{Id, IdRef}, Schema};\nfn f() -> crate::wal::Frame {} let my_crate::x;";
    assert_eq!(uses(code), ["error", "id", "Schema", "wal"]);
}
