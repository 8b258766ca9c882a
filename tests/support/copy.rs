//! What a directory holds that a checkpoint is or was being made in.

use std::sync::Arc;

use stratavec::storage::testing::MemDir;
use stratavec::{Collection, ErrorKind, Verify};

use crate::driver::inline_options;
use crate::history::History;
use crate::workload::Workload;

/// Proves that a directory holds the whole of a checkpoint, opened without recovery, or, while none was acknowledged, no
/// collection. Returns whether it holds one.
///
/// # Errors
/// What is wrong with it.
pub fn check_copy(dir: &MemDir, workload: &Workload, history: &History, done: Option<u64>) -> Result<bool, String> {
    let before = dir.image_hash();
    let copy = match Collection::open_in(Arc::new(dir.clone()), inline_options(workload)) {
        Ok(copy) => copy,
        Err(error) if error.kind() == ErrorKind::NotFound && done.is_none() => return Ok(false),
        Err(error) => return Err(format!("a checkpoint does not open: {error:?}")),
    };
    if !copy.recovery().is_clean() {
        return Err(format!("there is something to recover in a checkpoint: {:?}", copy.recovery()));
    }
    let k = copy.last_seq();
    if done.is_some_and(|done| done != k) {
        return Err(format!("a checkpoint holds {k} batches, it was said to hold {done:?}"));
    }
    history.matches_state(&copy, k).map_err(|what| format!("a checkpoint is {what}"))?;
    drop(copy);
    if done.is_some() && dir.image_hash() != before {
        return Err("opening a checkpoint has changed it".to_owned());
    }
    let report = Collection::verify_in(dir, Verify::Full).map_err(|error| format!("verify a checkpoint: {error:?}"))?;
    report.findings.first().map_or(Ok(true), |finding| Err(format!("verify finds in a checkpoint: {finding:?}")))
}
