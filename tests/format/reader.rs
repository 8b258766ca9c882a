//! Running `format-spec/reader.py`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;

/// A Python with numpy, and the reader.
pub struct Reader {
    python: PathBuf,
    script: PathBuf,
}

impl Reader {
    /// `None`, with a remark, if there is no Python with numpy. `make test` names one in `STRATAVEC_PYTHON` and then there must be.
    pub fn find(test: &str) -> Option<Reader> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let script = top.join("format-spec/reader.py");
        if let Some(python) = std::env::var_os("STRATAVEC_PYTHON") {
            let python = PathBuf::from(python);
            assert!(has_numpy(&python), "STRATAVEC_PYTHON is {}, which cannot import numpy", python.display());
            return Some(Reader { python, script });
        }
        let candidates = [top.join(".venv/bin/python"), PathBuf::from("python3")];
        match candidates.into_iter().find(|python| has_numpy(python)) {
            Some(python) => Some(Reader { python, script }),
            None => {
                stratavec_tests::skip(test, "needs Python 3 with numpy; `make test` sets one up");
                None
            }
        }
    }

    /// Runs another script that imports the reader.
    pub fn run_script(&self, script: &str, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        Command::new(&self.python).arg("-B").arg(script).args(arguments).output().expect("run Python")
    }

    fn run(&self, directory: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.python);
        command.arg("-B").arg(&self.script).arg(directory).args(arguments);
        command.output().expect("run Python")
    }

    /// What the reader prints, one JSON value per line.
    pub fn lines(&self, directory: &Path, arguments: &[&str]) -> Vec<Json> {
        let output = self.run(directory, arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "reader.py {} {arguments:?} failed\n{text}\n{}",
            directory.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// All rows, without their numbers, which the engine does not show.
    pub fn dump(&self, directory: &Path) -> Vec<Json> {
        let mut rows = self.lines(directory, &["--dump"]);
        rows.iter_mut().filter_map(Json::as_object_mut).for_each(|row| drop(row.remove("row")));
        rows
    }

    /// What `--verify` finds; empty for a sound collection.
    pub fn findings(&self, directory: &Path) -> Vec<Json> {
        let output = self.run(directory, &["--verify"]);
        let text = String::from_utf8_lossy(&output.stdout);
        let report: Json = serde_json::from_str(text.trim())
            .unwrap_or_else(|e| panic!("{e}: {text} {}", String::from_utf8_lossy(&output.stderr)));
        report["findings"].as_array().cloned().unwrap_or_default()
    }
}

fn has_numpy(python: &Path) -> bool {
    Command::new(python).args(["-c", "import numpy"]).output().is_ok_and(|output| output.status.success())
}
