//! Pages: their links lead somewhere, and nothing names the machine it was written on.

use super::sources::{files, line_of, root};

/// Every `[text](target)` of a page with its line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("](") {
        let rest = &text[at + 2..];
        if let Some(end) = rest.find([')', '\n', ' ']) {
            found.push((line_of(text, at), rest[..end].to_owned()));
        }
    }
    found
}

/// The anchor of a heading, as repository hosts make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn links_of_documents_lead_to_files_and_headings_that_exist() {
    let mut broken = Vec::new();
    for page in files("", &[".md"]) {
        let folder = root().join(&page.path).parent().expect("a file has a folder").to_owned();
        for (line, target) in links(&page.text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() { root().join(&page.path) } else { folder.join(file) };
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let headings = text.lines().filter(|line| line.starts_with('#')).map(anchor);
            if !path.exists() || (!heading.is_empty() && !headings.into_iter().any(|known| known == heading)) {
                broken.push(format!("{}:{line}: {target}", page.path));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

/// Words that only make sense where somebody worked: put together here, so that this file does not hold them.
fn forbidden() -> Vec<String> {
    let halves = [
        ("/wo", "rk/"),
        ("/tmp/", "lab"),
        ("/ro", "ot/"),
        ("/ho", "me/"),
        ("/Us", "ers/"),
        ("index.crates", ".io"),
        ("static.crates", ".io"),
        ("pypi", ".org"),
        ("files.python", "hosted"),
        ("proxy.go", "lang"),
        ("deb.de", "bian.org"),
    ];
    halves.iter().map(|(a, b)| format!("{a}{b}")).collect()
}

#[test]
fn nothing_names_a_machine_or_a_registry_host() {
    let endings = [".rs", ".md", ".toml", ".py", ".yml", "Makefile", "run", ".sh", ".json", ".txt"];
    let mut found = Vec::new();
    for file in files("", &endings).iter().filter(|file| !file.path.starts_with("demo/data/")) {
        for word in forbidden() {
            found.extend(
                file.text
                    .match_indices(&word)
                    .map(|(at, _)| format!("{}:{}: {word}", file.path, line_of(&file.text, at))),
            );
        }
    }
    assert!(found.is_empty(), "machine paths or registry hosts:\n{}", found.join("\n"));
}

#[test]
fn links_and_anchors_are_read() {
    let page = "see [a](b.md#c-d) and\n[e](http://f)";
    assert_eq!(links(page), [(1, "b.md#c-d".to_owned()), (2, "http://f".to_owned())]);
    assert_eq!(anchor("## What is missing, and where: others"), "what-is-missing-and-where-others");
}
