//! The listings of `format-spec/worked-example.md` are the bytes of the golden directory they describe.

use std::collections::BTreeMap;
use std::fs;

use super::golden::{folder, read_files};
use super::reader::Reader;

/// File name to the lines of its listing.
fn listings() -> BTreeMap<String, Vec<String>> {
    let page = fs::read_to_string(folder().join("../../worked-example.md")).expect("worked-example.md");
    let blocks = page.split("```text\n").skip(1).filter_map(|block| block.split("```").next());
    let listings = blocks.filter_map(|block| {
        let (head, lines) = block.split_once('\n')?;
        let (name, rest) = head.split_once(", ")?;
        rest.ends_with(" bytes").then(|| (name.to_owned(), lines.lines().map(str::to_owned).collect()))
    });
    listings.collect()
}

/// The bytes that a line shows: its offset, and them. `None` for a line that shows none.
fn shown(line: &str) -> Option<(usize, Vec<u8>)> {
    let (offset, rest) = line.split_once("  ")?;
    let offset = usize::from_str_radix(offset, 16).ok()?;
    if let Some(zeros) = rest.strip_prefix("00 .. ") {
        return Some((offset, vec![0; zeros.split(' ').next()?.parse().ok()?]));
    }
    let column = rest.get(..48).unwrap_or(rest).trim_end();
    let bytes = column.split(' ').map(|byte| u8::from_str_radix(byte, 16).ok().filter(|_| byte.len() == 2));
    bytes.collect::<Option<Vec<u8>>>().map(|bytes| (offset, bytes))
}

#[test]
fn the_listings_are_the_bytes_of_the_files() {
    let files: BTreeMap<String, Vec<u8>> = read_files(&folder().join("example")).into_iter().collect();
    let listings = listings();
    assert_eq!(listings.len(), 4, "a manifest, a row file, an id table, a log");
    for (name, lines) in listings {
        let bytes = files.get(&name).unwrap_or_else(|| panic!("the page lists {name}, which is not in the directory"));
        let mut seen = vec![false; bytes.len()];
        for line in &lines {
            let Some((offset, shown)) = shown(line) else { continue };
            assert_eq!(bytes.get(offset..offset + shown.len()), Some(shown.as_slice()), "{name}: {line}");
            seen[offset..offset + shown.len()].fill(true);
        }
        // The second copy of a manifest is not listed again.
        let end = if name.starts_with("man-") { 4096 } else { bytes.len() };
        assert_eq!(seen[..end].iter().position(|seen| !seen), None, "{name}: a byte that no line shows");
    }
}

#[test]
fn the_annotating_script_prints_the_listings() {
    let Some(reader) = Reader::find("the annotated listing") else { return };
    let directory = folder().join("example");
    let directory = directory.to_string_lossy();
    let output = reader.run_script("../format-spec/annotate.py", &[&*directory]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    for (name, lines) in listings() {
        for line in lines {
            assert!(printed.contains(&line), "{name}: not printed: {line}");
        }
    }
    for other in ["numbers", "texts", "log"] {
        let directory = folder().join(other);
        let output = reader.run_script("../format-spec/annotate.py", &[&*directory.to_string_lossy()]);
        assert!(output.status.success(), "{other}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
