//! `stratavec dump`

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use stratavec::{Collection, Snapshot};

use super::import::progress::Progress;
use crate::args;
use crate::dump::{self, WriteError};
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words;

/// Writes all rows as lines of JSON. Needs no lock: a writer may be at work.
pub fn dump(args: &args::Dump, screen: &Screen) -> Result<(), Failure> {
    let path = &args.collection;
    let snapshot = Collection::open_read_only(path).map_err(|e| Failure::engine(&e, path))?.snapshot();
    match &args.to {
        Some(to) if to.as_os_str() != "-" => into_file(&snapshot, path, to, screen),
        _ => into_pipe(&snapshot, path),
    }
}

fn into_pipe(snapshot: &Snapshot, path: &Path) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match dump::write(snapshot, &mut out, |_| {}) {
        Ok(_) => Ok(()),
        Err(WriteError::Io(e)) if e.kind() == io::ErrorKind::BrokenPipe => Err(Failure::closed_pipe()),
        Err(error) => Err(refused(error, path, Path::new("standard output"))),
    }
}

/// A file that exists is left alone; one that could not be finished is removed.
fn into_file(snapshot: &Snapshot, path: &Path, to: &Path, screen: &Screen) -> Result<(), Failure> {
    let start = Instant::now();
    let file = File::create_new(to).map_err(|e| Failure::io("create", to, &e))?;
    let mut out = BufWriter::new(&file);
    let progress = Progress::new(screen, Some(snapshot.count()), &0, None, None);
    let written = dump::write(snapshot, &mut out, |rows| {
        if rows % 1000 == 0 {
            progress.at(rows, 0);
        }
    });
    progress.finish();
    let synced =
        written.and_then(|rows| out.flush().and_then(|()| file.sync_all()).map_err(WriteError::Io).map(|()| rows));
    let rows = synced.map_err(|error| {
        let _ = std::fs::remove_file(to);
        refused(error, path, to)
    })?;
    let bytes = file.metadata().map_or(0, |facts| facts.len());
    if screen.json {
        let seq = snapshot.seq();
        return screen.document(&json!({ "dumped": to.to_string_lossy(), "rows": rows, "seq": seq, "bytes": bytes }));
    }
    screen.line(format!(
        "dumped {} of {} into {}, {}",
        words::counted(rows, "row"),
        path.display(),
        to.display(),
        words::bytes(bytes)
    ))?;
    screen.remark(format!(
        "took {}; it goes back with: stratavec load NEW.db {}",
        words::time(start.elapsed()),
        to.display()
    ))
}

fn refused(error: WriteError, path: &Path, to: &Path) -> Failure {
    match error {
        WriteError::Io(e) => Failure::io("write to", to, &e),
        WriteError::Engine(e) => Failure::engine(&e, path),
    }
}
