//! Tests that cannot run on this machine say so and are counted: a skip is never silent.

use std::io::Write;

/// Prints that `test` was skipped and why, and adds it to the list that `tests/run` prints.
pub fn skip(test: &str, why: &str) {
    eprintln!("skipped: {test}: {why}");
    if let Some(list) = std::env::var_os("STRATAVEC_SKIPPED_FILE")
        && let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(list)
    {
        let _ = writeln!(file, "{test}: {why}");
    }
}
