//! R5: processes that write are killed without warning; everything they had acknowledged is there, whole.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use stratavec::{Collection, Verify};
use stratavec_tests::{Errand, RETRAINED, RETRAINED_CODES, Random, THREADS};

/// Kills after which a lane begins with an empty directory.
const KILLS_PER_DIRECTORY: u64 = 25;
/// Directories written to side by side.
const LANES: u64 = 2;

#[derive(Debug, Default)]
struct Count {
    kills: u64,
    inside_calls: u64,
    batches: u64,
    replayed: u64,
    dropped_tails: u64,
    flushed: u64,
    looks: u64,
    /// Looks that found one model being followed by another.
    changing: u64,
}

/// One directory, its processes and what they were promised.
struct Lane {
    errand: Errand,
    random: Random,
    /// Last batch acknowledged to each thread.
    acknowledged: Vec<u64>,
    last_seq: u64,
    count: Count,
}

/// [C3] [C5] [C1] [C11] A process that is killed loses no acknowledged batch, at any durability, and leaves no half batch.
#[test]
fn killed_writers_lose_nothing_they_acknowledged() {
    kill_many(number_from_environment("STRATAVEC_KILLS", 200), 0);
}

/// The same with 10,000 kills, or `STRATAVEC_KILLS`.
#[test]
#[ignore = "takes most of an hour; make soak"]
fn soak_kills() {
    kill_many(number_from_environment("STRATAVEC_KILLS", 10_000), 0);
}

/// [C3] [C5] The same while new lists are trained and rows are moved to them, over and over.
#[test]
fn writers_killed_while_they_retrain_lose_nothing() {
    kill_many(number_from_environment("STRATAVEC_RETRAIN_KILLS", 16), RETRAINED);
}

/// [C3] [C5] The same where no vectors are kept: codes that are copied to other lists are all there is.
#[test]
fn writers_killed_while_codes_move_to_other_lists_lose_nothing() {
    kill_many(number_from_environment("STRATAVEC_RETRAIN_KILLS", 16), RETRAINED_CODES);
}

/// The same with 100 kills.
#[test]
#[ignore = "takes minutes; make soak"]
fn soak_kills_while_retraining() {
    let kills = number_from_environment("STRATAVEC_RETRAIN_KILLS", 100);
    kill_many(kills, RETRAINED);
    kill_many(kills, RETRAINED_CODES);
}

/// A count that a longer or shorter run may set.
pub fn number_from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn kill_many(kills: u64, first_seed: u64) {
    let started = Instant::now();
    let counts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let counts = &counts;
            scope.spawn(move || {
                let mut left = kills.div_ceil(LANES);
                let mut seed = first_seed + lane;
                while left > 0 {
                    let kills = left.min(KILLS_PER_DIRECTORY);
                    let count = Lane::new(seed).run(kills).unwrap_or_else(|what| panic!("R5 seed={seed}: {what}"));
                    counts.lock().unwrap().push(count);
                    left -= kills;
                    seed += LANES;
                }
            });
        }
    });
    let counts = counts.into_inner().unwrap();
    let sum = |of: fn(&Count) -> u64| counts.iter().map(of).sum::<u64>();
    println!(
        "R5: {} kills, {} looks found two models, {} of them inside a call, {} batches acknowledged, 0 lost, {} replayed, {} torn tails, {} directories with flushed files in {} looks, {:.1} s",
        sum(|c| c.kills),
        sum(|c| c.changing),
        sum(|c| c.inside_calls),
        sum(|c| c.batches),
        sum(|c| c.replayed),
        sum(|c| c.dropped_tails),
        sum(|c| c.flushed),
        sum(|c| c.looks),
        started.elapsed().as_secs_f64()
    );
    assert!(sum(|c| c.kills) >= kills);
    assert!(sum(|c| c.batches) > kills, "the writers hardly wrote");
    assert!(sum(|c| c.inside_calls) > kills / 10, "hardly a process died inside a call");
    let retrains = first_seed >= RETRAINED;
    assert!(!retrains || kills < 100 || sum(|c| c.changing) > 0, "none died while rows were moved to new lists");
}

impl Lane {
    fn new(seed: u64) -> Lane {
        Lane {
            errand: Errand { seed },
            random: Random::new(seed),
            acknowledged: vec![0; THREADS as usize],
            last_seq: 0,
            count: Count::default(),
        }
    }

    fn run(mut self, kills: u64) -> Result<Count, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = dir.path().join("collection");
        for kill in 0..kills {
            // Many writers run for a while; some are killed as they start, in the recovery from the kill before.
            let millis = if self.random.one_in(3) { self.random.below(12) } else { self.random.below(250) };
            // Every other one dies inside a call: of the recovery, of a commit, of a flush or of a merge.
            let most = if self.random.one_in(3) { 40 } else { 3_000 };
            let calls = self.random.one_in(2).then(|| self.random.below(most));
            self.kill_one(&path, Duration::from_millis(if calls.is_some() { 400 } else { millis }), calls)?;
            if kill + 1 == kills || !self.random.one_in(3) {
                self.look(&path).map_err(|what| format!("kill {kill}: {what}"))?;
            }
        }
        let report = Collection::verify(&path, Verify::Full).map_err(|error| format!("verify: {error:?}"))?;
        report.findings.first().map_or(Ok(self.count), |finding| Err(format!("verify: {finding:?}")))
    }

    fn kill_one(&mut self, path: &Path, after: Duration, calls: Option<u64>) -> Result<(), String> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_victim"))
            .envs(calls.map(|calls| ("STRATAVEC_CALLS_LEFT", calls.to_string())))
            .arg(path)
            .arg(self.errand.seed.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start the writer: {error}"))?;
        let (acknowledged, complaint) = std::thread::scope(|scope| {
            let (out, err) = (child.stdout.take(), child.stderr.take());
            let out = scope.spawn(move || read_all(out));
            let err = scope.spawn(move || read_all(err));
            let until = Instant::now() + after;
            while Instant::now() < until && !matches!(child.try_wait(), Ok(Some(_))) {
                std::thread::sleep(after.min(Duration::from_millis(2)));
            }
            self.count.inside_calls += u64::from(matches!(child.try_wait(), Ok(Some(_))));
            kill(&mut child);
            (out.join().unwrap_or_default(), err.join().unwrap_or_default())
        });
        if !complaint.is_empty() {
            return Err(format!("the writer complained: {}", String::from_utf8_lossy(&complaint)));
        }
        self.count.kills += 1;
        for line in acknowledged.as_chunks::<24>().0 {
            let (numbers, _) = line.as_chunks::<8>();
            let [thread, n, seq] = [0, 1, 2].map(|at| u64::from_le_bytes(numbers[at]));
            let last = &mut self.acknowledged[thread as usize];
            *last = n.max(*last);
            self.last_seq = self.last_seq.max(seq);
            self.count.batches += 1;
        }
        Ok(())
    }

    /// Opens what the killed processes left and compares it with what they were promised.
    fn look(&mut self, path: &Path) -> Result<(), String> {
        let collection = Collection::open_or_create(path, self.errand.schema(), self.errand.options())
            .map_err(|error| format!("does not open: {error:?}"))?;
        self.count.changing += u64::from(collection.stats().models > 1);
        let progress = self.errand.check(&collection.snapshot())?;
        for (thread, (found, promised)) in progress.iter().zip(&self.acknowledged).enumerate() {
            // At most one batch of a thread is on its way when it is killed, and some kills are not looked at.
            if found < promised {
                return Err(format!("thread {thread}: batch {promised} was acknowledged, {found} is the last there"));
            }
        }
        if collection.last_seq() < self.last_seq {
            return Err(format!(
                "batch {} was acknowledged, {} is the last there",
                self.last_seq,
                collection.last_seq()
            ));
        }
        self.acknowledged = progress;
        let recovery = collection.recovery();
        self.count.looks += 1;
        self.count.replayed += recovery.batches_replayed;
        self.count.dropped_tails += u64::from(recovery.tail_bytes_dropped > 0);
        self.count.flushed += u64::from(collection.stats().row_files > 1);
        if self.random.one_in(2) {
            collection.close().map_err(|error| format!("close: {error:?}"))?;
        }
        Ok(())
    }
}

fn read_all(source: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut source) = source {
        let _ = source.read_to_end(&mut bytes);
    }
    bytes
}

fn kill(child: &mut Child) {
    // SIGKILL on every system with signals.
    let _ = child.kill();
    let _ = child.wait();
}
