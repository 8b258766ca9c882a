//! Reads a collection that other processes write, until its standard input ends, and proves at every look what it is shown.
//!
//! `reader DIRECTORY SEED ACKNOWLEDGED`: the last is a file whose first 8 bytes are the sequence number acknowledged last.
//! Prints how often it looked, how often something was new, and the last batch seen; complains and fails if a look is wrong.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use stratavec::{Collection, Follower, Snapshot};
use stratavec_tests::{Errand, Random};

/// Snapshots that are kept and looked at again.
const HELD: usize = 4;

static ENDED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(Ok(seed)), Some(acknowledged)) =
        (args.next(), args.next().map(|seed| seed.parse()), args.next())
    else {
        eprintln!("usage: reader DIRECTORY SEED ACKNOWLEDGED");
        return ExitCode::from(2);
    };
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ENDED.store(true, Ordering::Release);
    });
    match Reader::new(&dir, Errand { seed }, &acknowledged).and_then(Reader::read_for_ever) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("reader: {what}");
            ExitCode::FAILURE
        }
    }
}

struct Reader {
    dir: String,
    errand: Errand,
    acknowledged: File,
    follower: Follower,
    random: Random,
    progress: Vec<u64>,
    held: VecDeque<(Snapshot, Vec<u64>)>,
}

impl Reader {
    fn new(dir: &str, errand: Errand, acknowledged: &str) -> Result<Reader, String> {
        let acknowledged = File::open(acknowledged).map_err(|error| format!("{acknowledged}: {error}"))?;
        let follower = open(dir)?;
        let random = Random::new(u64::from(std::process::id()));
        let dir = dir.to_owned();
        Ok(Reader { dir, errand, acknowledged, follower, random, progress: Vec::new(), held: VecDeque::new() })
    }

    fn read_for_ever(mut self) -> Result<String, String> {
        let (mut looks, mut news) = (0u64, 0u64);
        // One more look after the end: the writers are gone by then.
        loop {
            let last = ENDED.load(Ordering::Acquire);
            let before = self.follower.last_seq();
            self.look()?;
            looks += 1;
            news += u64::from(self.follower.last_seq() > before);
            if last {
                return Ok(format!("{looks} {news} {}", self.follower.last_seq()));
            }
        }
    }

    fn look(&mut self) -> Result<(), String> {
        let (least, before) = (self.acknowledged()?, self.follower.last_seq());
        let seq = match self.random.one_in(16) {
            true => {
                self.follower = open(&self.dir)?;
                self.follower.last_seq()
            }
            false => self.follower.refresh().map_err(|error| format!("refresh: {error:?}"))?,
        };
        if seq < least || seq < before {
            return Err(format!("batch {seq} is the last shown; {least} was acknowledged, {before} shown before"));
        }
        let snapshot = self.follower.snapshot();
        let progress = self.errand.check(&snapshot).map_err(|what| format!("at batch {seq}: {what}"))?;
        if progress.iter().zip(&self.progress).any(|(now, before)| now < before) {
            return Err(format!("versions went back from {:?} to {progress:?}", self.progress));
        }
        self.progress.clone_from(&progress);
        if self.random.one_in(8) {
            self.look_back(snapshot, progress)?;
        }
        Ok(())
    }

    /// The files of a snapshot may be gone; what it shows stays.
    fn look_back(&mut self, snapshot: Snapshot, progress: Vec<u64>) -> Result<(), String> {
        self.held.push_back((snapshot, progress));
        if self.held.len() > HELD
            && let Some((old, progress)) = self.held.pop_front()
            && self.errand.check(&old)? != progress
        {
            return Err(format!("the snapshot of batch {} has changed", old.seq()));
        }
        Ok(())
    }

    fn acknowledged(&self) -> Result<u64, String> {
        let mut bytes = [0; 8];
        self.acknowledged.read_exact_at(&mut bytes, 0).map_err(|error| format!("acknowledged: {error}"))?;
        Ok(u64::from_le_bytes(bytes))
    }
}

fn open(dir: &str) -> Result<Follower, String> {
    Collection::open_read_only(dir).map_err(|error| format!("open: {error:?}"))
}
