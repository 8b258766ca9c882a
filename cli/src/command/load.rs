//! `stratavec load`

use std::path::Path;

use serde_json::json;
use stratavec::{Collection, OpenOptions};

use super::import::progress::Progress;
use super::import::{Imported, Job, holds};
use crate::args;
use crate::dump::DumpSource;
use crate::failure::Failure;
use crate::import::{Input, Record, RecordSource};
use crate::screen::Screen;
use crate::words;

/// Makes a collection of a dump, or goes on with one that an earlier load began.
pub fn load(args: &args::Load, screen: &Screen) -> Result<(), Failure> {
    let path = &args.collection;
    let mut source = DumpSource::new(Input::open(&args.file)?)?;
    let schema = source.header().schema().map_err(Failure::failed)?;
    let options = OpenOptions::default().durability(args.durability.into());
    let collection = Collection::open_or_create(path, schema, options).map_err(|e| Failure::engine(&e, path))?;
    let there = skip_loaded(&collection, path, &mut source)?;
    let mut job = Job {
        collection: &collection,
        path,
        batch: args.batch.into(),
        durability: args.durability.into(),
        skip: 0,
        limit: u64::MAX,
        anew: true,
        progress: Progress::new(screen, source.total(), &there, None, source.input().len()),
        meter: source.input().meter(),
    };
    let done = job.run(&mut source);
    job.progress.finish();
    let done = done.map_err(|failure| to_go_on(failure, &collection))?;
    if done.inserted != done.records {
        let again = words::counted(done.records - done.inserted, "row");
        return Err(Failure::failed(format!(
            "{again} of the dump had an id that was there before; the last one counts"
        )));
    }
    super::close(collection, path)?;
    tell(&done, there, path, screen)
}

/// The rows that an earlier load has committed: the first of the dump as they are in it, all of them and no others.
fn skip_loaded(collection: &Collection, path: &Path, source: &mut DumpSource) -> Result<u64, Failure> {
    let snapshot = collection.snapshot();
    let format = collection.schema().row_format();
    let mut record = Record::default();
    for line in 0..snapshot.count() {
        let more = source.read(&mut record)?;
        let item = match &record.id {
            Some(id) if more => snapshot.get(id).map_err(|e| Failure::engine(&e, path))?,
            _ => None,
        };
        if !item.as_ref().is_some_and(|item| holds(item, &record, format)) {
            let rows = words::counted(snapshot.count(), "row");
            let among = if item.is_some() { "is another one there" } else { "is not among them" };
            return Err(Failure::failed(format!("{} is not the beginning of this dump", path.display()))
                .because(format!("it holds {rows}, row {line} of the dump {among}"))
                .hint("load into a directory that does not exist yet"));
        }
    }
    Ok(snapshot.count())
}

fn to_go_on(mut failure: Failure, collection: &Collection) -> Failure {
    if collection.snapshot().count() > 0 {
        failure.hint = Some("once it is put right, run the same command again: it goes on where this one ended".into());
    }
    failure
}

fn tell(done: &Imported, there: u64, path: &Path, screen: &Screen) -> Result<(), Failure> {
    if screen.json {
        return screen.document(&json!({
            "loaded": done.records,
            "there_before": there,
            "batches": done.batches,
            "bytes": done.bytes,
            "seq": done.last_seq,
            "seconds": done.time.as_secs_f64(),
        }));
    }
    let before = if there > 0 { format!(", {} were there", words::count(there)) } else { String::new() };
    screen.line(format!("loaded {} into {}{before}, synced", words::counted(done.records, "row"), path.display()))?;
    screen.remark(format!(
        "{} in {}, {}",
        words::bytes(done.bytes),
        words::time(done.time),
        words::rate(done.records, done.time)
    ))
}
