//! Writes to a collection from several threads until it is killed, and says on standard output what was acknowledged.
//!
//! `victim DIRECTORY SEED [ACKNOWLEDGED]`: each acknowledged batch gives 24 bytes: its thread, its number there, its sequence number.
//! With `STRATAVEC_CALLS_LEFT=N` in its environment it dies by itself, in its N-th call that changes the directory.
//! With a third argument the highest sequence number is written to the beginning of that file instead.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use stratavec::{Collection, Compact, Error};
use stratavec_tests::{Errand, MortalDir, THREADS};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(Ok(seed))) = (args.next(), args.next().map(|seed| seed.parse())) else {
        eprintln!("usage: victim DIRECTORY SEED");
        return ExitCode::from(2);
    };
    let told = match args.next().map(|file| File::options().write(true).open(file)) {
        None => Told::Pipe,
        Some(Ok(file)) => Told::File(Mutex::new((file, 0))),
        Some(Err(error)) => {
            eprintln!("victim: {error}");
            return ExitCode::from(2);
        }
    };
    match write_for_ever(&dir, Errand { seed }, &told) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("victim: {error:?}");
            ExitCode::FAILURE
        }
    }
}

/// Where acknowledgements go.
enum Told {
    Pipe,
    File(Mutex<(File, u64)>),
}

impl Told {
    /// False if nobody listens any more.
    fn tell(&self, thread: u64, n: u64, seq: u64) -> bool {
        match self {
            Told::Pipe => {
                let line: Vec<u8> = [thread, n, seq].iter().flat_map(|number| number.to_le_bytes()).collect();
                // One write of so few bytes goes into a pipe whole.
                std::io::stdout().lock().write_all(&line).and_then(|()| std::io::stdout().flush()).is_ok()
            }
            Told::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.1 = file.1.max(seq);
                file.0.write_all_at(&file.1.to_le_bytes(), 0).is_ok()
            }
        }
    }
}

fn write_for_ever(dir: &str, errand: Errand, told: &Told) -> Result<(), Error> {
    let calls = std::env::var("STRATAVEC_CALLS_LEFT").ok().and_then(|text| text.parse().ok());
    let mortal = calls.map(|calls| MortalDir::new(dir, calls)).transpose();
    let mortal = mortal.unwrap_or_else(|error| panic!("the directory {dir}: {error}"));
    let collection = match mortal {
        Some(dir) => Collection::open_or_create_in(Arc::new(dir), errand.schema(), errand.options())?,
        None => Collection::open_or_create(dir, errand.schema(), errand.options())?,
    };
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let collection = &collection;
                scope.spawn(move || write_batches(collection, errand, thread, told))
            })
            .collect();
        if errand.retrains() {
            let collection = &collection;
            scope.spawn(move || {
                while collection.compact(Compact::Retrain).and_then(|job| job.wait()).is_ok() {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
            });
        }
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    results.into_iter().try_for_each(|result| result.unwrap_or(Ok(())))
}

fn write_batches(collection: &Collection, errand: Errand, thread: u64, told: &Told) -> Result<(), Error> {
    let mut n = errand.progress(&collection.snapshot(), thread)?;
    loop {
        n += 1;
        let receipt = errand.commit(collection, thread, n)?;
        if !told.tell(thread, n, receipt.seq) {
            return Ok(());
        }
    }
}
