//! Runs the built binary in a directory of its own.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value as Json;

/// A directory to run commands in.
pub struct Place {
    dir: tempfile::TempDir,
}

/// What a command left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Self {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    /// A place with an empty collection `c`.
    pub fn with_collection(options: &[&str]) -> Self {
        let place = Place::new();
        place.run(&[&["create", "c"], options].concat()).expect_code(0);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stratavec"));
        command.current_dir(self.dir.path()).args(arguments).env_remove("NO_COLOR").env("TERM", "xterm");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.feed(arguments, b"")
    }

    pub fn feed(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that does not read its input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The rows with these ids, as JSON.
    pub fn get(&self, ids: &[&str]) -> Vec<Json> {
        self.run(&[&["get", "c", "--json"], ids].concat()).expect_code(0).documents()
    }

    /// Files of the collection `c` whose names begin so.
    pub fn files(&self, prefix: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path("c")).unwrap().map(|entry| entry.unwrap().path());
        let named = |path: &Path| path.file_name().unwrap().to_string_lossy().starts_with(prefix);
        entries.filter(|path| named(path)).collect()
    }
}

impl Ran {
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "standard output:\n{}\nstandard error:\n{}", self.out, self.err);
        self
    }

    /// The JSON documents on standard output, one per line.
    pub fn documents(&self) -> Vec<Json> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn document(&self) -> Json {
        let mut documents = self.documents();
        assert_eq!(documents.len(), 1, "{}", self.out);
        documents.remove(0)
    }
}

/// An npy file of f32 rows.
pub fn npy(rows: &[&[f32]]) -> Vec<u8> {
    let data: Vec<u8> = rows.iter().flat_map(|row| row.iter().flat_map(|x| x.to_le_bytes())).collect();
    npy_of("<f4", &[rows.len(), rows[0].len()], &data)
}

/// An npy file of any type.
pub fn npy_of(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((dict.len() as u16).to_le_bytes());
    out.extend(dict.as_bytes());
    out.extend(data);
    out
}
