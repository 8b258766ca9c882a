//! Creates a collection, commits a row, flushes and closes, and says on standard output when each is done: between two of these
//! lines a tracer sees the system calls of one step.
//!
//! `tracee DIRECTORY`

use std::io::Write;
use std::process::ExitCode;

use stratavec::{Collection, Durability, Error, IdKind, Metric, OpenOptions, Schema};

fn main() -> ExitCode {
    let Some(dir) = std::env::args().nth(1) else {
        eprintln!("usage: tracee DIRECTORY");
        return ExitCode::from(2);
    };
    match work(&dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tracee: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn work(dir: &str) -> Result<(), Error> {
    say("began");
    let schema = Schema::new(2, Metric::L2).ids(IdKind::U64);
    let collection = Collection::create(dir, schema, OpenOptions::new())?;
    say("created");
    let mut batch = collection.batch();
    batch.upsert(1, &[1.0, 2.0]);
    batch.commit_with(Durability::Os)?;
    say("committed");
    let mut batch = collection.batch();
    batch.upsert(2, &[1.0, 2.0]);
    batch.commit_with(Durability::Sync)?;
    say("synced");
    collection.flush()?;
    say("flushed");
    collection.close()?;
    say("closed");
    Ok(())
}

/// One write of one line.
fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("{what}\n").as_bytes());
    let _ = out.flush();
}
