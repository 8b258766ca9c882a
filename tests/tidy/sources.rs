//! The files of the repository, and Rust sources without their comments and tests.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold what is built or made by running, not what is written.
const NOT_OURS: [&str; 9] =
    ["target", ".git", ".venv", "__pycache__", "demo-collection", "corpus-work", "artifacts", "coverage", "corpus"];

/// The top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

/// One text file.
pub struct Source {
    /// Relative to the top, with forward slashes.
    pub path: String,
    pub text: String,
}

impl Source {
    /// The text without comments and without what only tests see: `#[cfg(test)]` modules at the end of a file.
    pub fn code(&self) -> String {
        let end = ["\n#[cfg(test)]\nmod ", "\n#[cfg(test)]\n#[path", "\n#[cfg(all(test"]
            .iter()
            .filter_map(|mark| self.text.find(mark))
            .min()
            .unwrap_or(self.text.len());
        without_comments(&self.text[..end])
    }

    /// What [`Source::code`] leaves out at the end.
    pub fn tests(&self) -> &str {
        match self.is_test_file() {
            true => &self.text,
            false => self.text.find("#[cfg(test)]").map_or("", |start| &self.text[start..]),
        }
    }

    /// Whether the whole file is compiled for tests only.
    pub fn is_test_file(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("_tests.rs")
            || self.path.ends_with("/tests.rs")
    }
}

/// All text files below `folder` with one of these endings, sorted.
pub fn files(folder: &str, endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut |path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if endings.iter().any(|ending| name.ends_with(ending))
            && let Ok(text) = fs::read_to_string(path)
        {
            let relative = path.strip_prefix(root()).expect("below the top");
            found.push(Source { path: relative.to_string_lossy().replace('\\', "/"), text });
        }
    });
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The engine's sources that are part of the library.
pub fn engine() -> Vec<Source> {
    let all = files("engine/src", &[".rs"]);
    let for_tests: Vec<String> = all.iter().flat_map(test_modules).collect();
    all.into_iter()
        .filter(|source| !source.is_test_file())
        .filter(|source| !for_tests.iter().any(|place| source.path.starts_with(place)))
        .collect()
}

/// Where the modules are that a file declares as `#[cfg(test)] mod name;`.
fn test_modules(source: &Source) -> Vec<String> {
    let folder = match source.path.rsplit_once('/') {
        Some((folder, "mod.rs" | "lib.rs")) => folder.to_owned(),
        _ => source.path.trim_end_matches(".rs").to_owned(),
    };
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let names = pairs.filter_map(|pair| pair[1].strip_prefix("mod ")?.strip_suffix(';'));
    names.flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/")]).collect()
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if !NOT_OURS.iter().any(|skip| *skip == name) {
                walk(&path, visit);
            }
        } else {
            visit(&path);
        }
    }
}

/// Replaces `//` comments and `/* */` comments by nothing; text in quotes stays.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        out.push_str(&line[..comment_start(line)]);
        out.push('\n');
    }
    out
}

/// Where a `//` that is not inside quotes starts.
fn comment_start(line: &str) -> usize {
    let bytes = line.as_bytes();
    let mut quoted = false;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' if !(at > 0 && bytes[at - 1] == b'\'') => quoted = !quoted,
            b'/' if !quoted && bytes.get(at + 1) == Some(&b'/') => return at,
            _ => {}
        }
        at += 1;
    }
    line.len()
}

/// Whether a byte can be part of a Rust name.
pub fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Positions of `word` that are not part of a longer name.
pub fn words<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = at.checked_sub(1).map(|i| text.as_bytes()[i]);
        let after = text.as_bytes().get(at + word.len()).copied();
        let first = word.as_bytes()[0];
        let last = word.as_bytes()[word.len() - 1];
        let goes_on = |edge: u8, beyond: Option<u8>| is_name_byte(edge) && beyond.is_some_and(is_name_byte);
        !goes_on(first, before) && !goes_on(last, after)
    })
}

/// The number of the line that holds a position, from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[test]
fn comments_go_and_quoted_slashes_stay() {
    let source = Source {
        path: "a.rs".into(),
        text: "let u = \"http://x\"; // unsafe\n/// unsafe\nlet c = '\"'; // y\n\n#[cfg(test)]\nmod tests { unsafe }\n"
            .into(),
    };
    assert_eq!(source.code(), "let u = \"http://x\"; \n\nlet c = '\"'; \n");
    assert!(source.tests().contains("unsafe"));
}
