//! Writes to a collection from several threads until it is killed, and says on standard output what was acknowledged.
//!
//! `victim DIRECTORY SEED`: each acknowledged batch gives 24 bytes: its thread, its number there, its sequence number.

use std::io::Write;
use std::process::ExitCode;

use stratavec::{Collection, Error};
use stratavec_tests::{Errand, THREADS};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(Ok(seed))) = (args.next(), args.next().map(|seed| seed.parse())) else {
        eprintln!("usage: victim DIRECTORY SEED");
        return ExitCode::from(2);
    };
    match write_for_ever(&dir, Errand { seed }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("victim: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn write_for_ever(dir: &str, errand: Errand) -> Result<(), Error> {
    let collection = Collection::open_or_create(dir, errand.schema(), errand.options())?;
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let collection = &collection;
                scope.spawn(move || write_batches(collection, errand, thread))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    results.into_iter().try_for_each(|result| result.unwrap_or(Ok(())))
}

fn write_batches(collection: &Collection, errand: Errand, thread: u64) -> Result<(), Error> {
    let mut n = errand.progress(collection, thread)?;
    loop {
        n += 1;
        let receipt = errand.commit(collection, thread, n)?;
        let line: Vec<u8> = [thread, n, receipt.seq].iter().flat_map(|number| number.to_le_bytes()).collect();
        // One write of so few bytes goes into a pipe whole. When nobody listens any more there is nothing left to do.
        if std::io::stdout().lock().write_all(&line).and_then(|()| std::io::stdout().flush()).is_err() {
            return Ok(());
        }
    }
}
