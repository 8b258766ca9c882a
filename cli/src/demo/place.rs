//! The directory of the demo's collection. Only what an earlier demo left is ever removed.

use std::fs;
use std::path::Path;

use stratavec::storage::FileName;
use stratavec::{Collection, ErrorKind, OpenOptions};

use crate::failure::Failure;

const MARKER: &str = "DEMO.txt";
const MARKER_TEXT: &str = "Made by `stratavec demo`, which replaces this collection when it runs again.\n";

/// Makes room: the directory is absent or empty, or holds nothing but an earlier demo's collection, which is removed.
///
/// # Errors
/// Anything else is in the way; nothing was removed then.
pub fn clear(dir: &Path) -> Result<(), Failure> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Failure::io("read", dir, &e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(|e| Failure::io("read", dir, &e))?.file_name());
    }
    if names.is_empty() {
        return Ok(());
    }
    let ours = |name: &std::ffi::OsString| name == MARKER || name.to_str().and_then(FileName::parse).is_some();
    let in_the_way = match names.iter().find(|name| !ours(name)) {
        Some(foreign) => Some(format!("it holds {}", foreign.display())),
        None => match fs::read_to_string(dir.join(MARKER)) {
            Ok(text) if text == MARKER_TEXT => None,
            _ => Some(format!("it has no {MARKER} of the demo")),
        },
    };
    if let Some(reason) = in_the_way {
        return Err(Failure::failed(format!("{} was not made by the demo, so it is left alone", dir.display()))
            .because(reason)
            .hint("choose another place: stratavec demo --dir DIR"));
    }
    // A collection that somebody has open must not lose its files; damage is no reason to keep it.
    if let Err(error) = Collection::open(dir, OpenOptions::default())
        && error.kind() == ErrorKind::Locked
    {
        return Err(Failure::engine(&error, dir));
    }
    // The marker goes last: whatever interrupts this, the next run still knows the place.
    remove_names(dir)?;
    fs::remove_dir(dir).map_err(|e| Failure::io("remove", dir, &e))
}

fn remove_names(dir: &Path) -> Result<(), Failure> {
    let io = |e: std::io::Error| Failure::io("remove", dir, &e);
    for entry in fs::read_dir(dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if name.to_str().and_then(FileName::parse).is_some() {
            fs::remove_file(dir.join(name)).map_err(io)?;
        }
    }
    fs::remove_file(dir.join(MARKER)).map_err(io)
}

/// Marks a collection as the demo's.
///
/// # Errors
/// The marker cannot be written.
pub fn mark(dir: &Path) -> Result<(), Failure> {
    let path = dir.join(MARKER);
    fs::write(&path, MARKER_TEXT).map_err(|e| Failure::io("write", &path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_directories_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("thesis.tex");
        fs::write(&file, "important").unwrap();
        mark(dir.path()).unwrap();
        assert!(clear(dir.path()).unwrap_err().text().contains("it holds thesis.tex"));
        assert!(file.exists());

        let unmarked = tempfile::tempdir().unwrap();
        let lock = unmarked.path().join("LOCK");
        fs::write(&lock, "").unwrap();
        assert!(clear(unmarked.path()).unwrap_err().text().contains("it has no DEMO.txt"));
        fs::write(unmarked.path().join(MARKER), "mine").unwrap();
        assert!(clear(unmarked.path()).is_err());
        assert!(lock.exists());
    }

    #[test]
    fn what_a_demo_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("demo");
        assert!(clear(&place).is_ok());
        fs::create_dir(&place).unwrap();
        fs::write(place.join("LOCK"), "").unwrap();
        mark(&place).unwrap();
        clear(&place).unwrap();
        assert!(!place.exists());
    }
}
