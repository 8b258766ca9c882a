//! `stratavec checkpoint`

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use stratavec::{Error, ErrorKind, OpenOptions};

use crate::args;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words;

/// Makes a copy that opens as a collection.
pub fn checkpoint(args: &args::Checkpoint, screen: &Screen) -> Result<(), Failure> {
    let path = &args.collection;
    let collection = super::open(path, OpenOptions::default(), screen)?;
    let start = Instant::now();
    let done = collection.checkpoint(&args.to).map_err(|e| refused(&e, path))?;
    let rows = collection.snapshot().count();
    super::close(collection, path)?;
    if screen.json {
        return screen.document(&json!({
            "checkpoint": args.to.to_string_lossy(),
            "seq": done.seq,
            "rows": rows,
            "files_linked": done.files_linked,
            "bytes_linked": done.bytes_linked,
            "files_copied": done.files_copied,
            "bytes_copied": done.bytes_copied,
            "seconds": start.elapsed().as_secs_f64(),
        }));
    }
    let mut parts = Vec::new();
    if done.files_linked > 0 {
        parts.push(format!("{} shared", words::counted(done.files_linked, "file")));
    }
    if done.files_copied > 0 {
        parts.push(format!(
            "{} copied ({})",
            words::counted(done.files_copied, "file"),
            words::bytes(done.bytes_copied)
        ));
    }
    if parts.is_empty() {
        parts.push("no files yet".into());
    }
    let to = args.to.display();
    let (rows, batch) = (words::counted(rows, "row"), words::count(done.seq));
    screen.line(format!(
        "checkpoint of {} in {to}: {rows} up to batch {batch}, {}",
        path.display(),
        parts.join(", ")
    ))?;
    screen.remark(format!("took {}; it opens as a collection: stratavec stats {to}", words::time(start.elapsed())))
}

/// The collection is open: what is missing is where the copy shall go.
fn refused(error: &Error, path: &Path) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => {
            Failure::from(error).hint("the copy's directory is made, the one it is in must be there")
        }
        _ => Failure::engine(error, path),
    }
}
