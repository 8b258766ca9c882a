//! Killing the writer at random moments, and proving after each kill that the collection is exactly what was
//! acknowledged: every acknowledged batch is there, and the one that was under way is there wholly or not at all.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stratavec::{Collection, OpenOptions, RecoveryReport, Snapshot, Value};

use super::data::Data;
use super::writer::{SLOT_ROWS, ingest_id, slot};
use crate::failure::Failure;
use crate::screen::{Screen, Tone};
use crate::words;

/// The writer lives at least and at most so long after its first acknowledgement.
const LIFE_MS: std::ops::Range<u64> = 5..70;
/// How long a writer may take to its first acknowledgement.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one kill showed.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Batches acknowledged in this round.
    pub acknowledged: u64,
    /// The batch under way when the writer died is there.
    pub last_one_there: bool,
}

/// Kills a writer `kills` times and checks the collection after each.
///
/// # Errors
/// The first row that is not what was acknowledged.
pub fn run(kills: u32, dir: &Path, folder: &Path, data: &Data, screen: &Screen) -> Result<Vec<Round>, Failure> {
    let mut random = Random::new();
    let mut rounds = Vec::new();
    let mut last = 0;
    let head = row(["kill", "lived", "acknowledged", "in flight", "reopened", "read back from the log"]);
    screen.tell(screen.paint(Tone::Faint, &head))?;
    for round in 1..=kills {
        let life = Duration::from_millis(random.within(LIFE_MS));
        let acknowledged = let_write_and_kill(dir, folder, last + 1, life)?;
        let opened = Instant::now();
        let collection = Collection::open(dir, OpenOptions::default()).map_err(|e| Failure::engine(&e, dir))?;
        let time = opened.elapsed();
        let there = check(&collection.snapshot(), data, acknowledged)
            .map_err(|e| e.while_doing(format!("round {round}: the collection is not what was acknowledged")))?;
        let this = Round { acknowledged: acknowledged - last, last_one_there: there > acknowledged };
        screen.tell(line(round, life, this, time, collection.recovery()))?;
        rounds.push(this);
        last = there;
    }
    leave_no_trace(dir, last)?;
    let total: u64 = rounds.iter().map(|round| round.acknowledged).sum();
    screen.tell(format!(
        "   {} acknowledged, {} lost, 0 half there; every row was compared after every kill",
        words::counted(total, "batch"),
        screen.paint(Tone::Good, "0"),
    ))?;
    Ok(rounds)
}

/// The columns of the table; a row for each kill.
fn row(columns: [&str; 6]) -> String {
    let [round, lived, acknowledged, under_way, reopened, log] = columns;
    format!("   {round:<6} {lived:>7}   {acknowledged:<24}  {under_way:<10}  {reopened:>8}   {log}")
        .trim_end()
        .to_owned()
}

fn line(round: u32, life: Duration, this: Round, time: Duration, report: &RecoveryReport) -> String {
    let mut log = vec![words::counted(report.batches_replayed, "batch")];
    if report.tail_bytes_dropped > 0 {
        log.push(format!("{} torn off", words::bytes(report.tail_bytes_dropped)));
    }
    if report.orphans_removed > 0 {
        log.push(format!("{} removed", words::counted(report.orphans_removed, "left-over file")));
    }
    row([
        &round.to_string(),
        &words::time(life),
        &format!("{}, all there", words::counted(this.acknowledged, "batch")),
        if this.last_one_there { "whole" } else { "absent" },
        &words::time(time),
        &log.join(", "),
    ])
}

/// Starts a writer, kills it, and returns the number of the last batch it told of; `first - 1` if there is none.
fn let_write_and_kill(dir: &Path, folder: &Path, first: u64, life: Duration) -> Result<u64, Failure> {
    let program = std::env::current_exe().map_err(|e| Failure::io("find", Path::new("this program"), &e))?;
    let mut command = Command::new(&program);
    command.arg("demo-writer").arg(dir).arg(folder).arg(first.to_string());
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|e| Failure::io("start", &program, &e))?;
    let told = listen(&mut child);
    let ended = wait_and_kill(&mut child, &told, life);
    // What stands in the pipe was acknowledged before the kill. The listener ends with the pipe.
    let after = told.iter().last();
    match (ended, after) {
        (Ok(before), after) => Ok(after.unwrap_or(before)),
        (Err(failure), _) => Err(failure),
    }
}

fn wait_and_kill(child: &mut Child, told: &Receiver<u64>, life: Duration) -> Result<u64, Failure> {
    let first = told.recv_timeout(PATIENCE);
    if first.is_ok() {
        thread::sleep(life);
    }
    let killed = child.kill().and_then(|()| child.wait());
    match (first, killed) {
        (Ok(batch), Ok(_)) => Ok(batch),
        (_, Err(e)) => Err(Failure::io("kill", Path::new("the writer"), &e)),
        (Err(RecvTimeoutError::Timeout), _) => Err(Failure::failed("the writer acknowledged nothing in a minute")),
        (Err(RecvTimeoutError::Disconnected), _) => {
            let mut failure = Failure::failed("the writer ended by itself");
            if let Some(errors) = child.stderr.take() {
                let lines = BufReader::new(errors).lines().map_while(Result::ok);
                failure.causes.extend(lines.take(4));
            }
            Err(failure)
        }
    }
}

/// The batch numbers that the writer tells of, as they come.
fn listen(child: &mut Child) -> Receiver<u64> {
    let (tell, told) = channel();
    if let Some(out) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let number = line.split(' ').next().and_then(|word| word.parse().ok());
                if number.is_none_or(|number| tell.send(number).is_err()) {
                    break;
                }
            }
        });
    }
    told
}

/// Checks every row against the acknowledged batches; the number of the last batch that is there.
fn check(snapshot: &Snapshot, data: &Data, acknowledged: u64) -> Result<u64, Failure> {
    let is_last = |batch: u64| snapshot.contains(&ingest_id(batch));
    let last = if is_last(acknowledged + 1)? { acknowledged + 1 } else { acknowledged };
    if last == acknowledged && last > 0 && !is_last(last)? {
        return Err(Failure::failed(format!("batch {last} was acknowledged and is not there")));
    }
    if last > acknowledged && acknowledged > 0 && is_last(acknowledged)? {
        return Err(Failure::failed(format!("batch {last} inserted its row, but did not delete the one before")));
    }
    let rows = data.rows.len() as u64 + u64::from(last > 0);
    if snapshot.count() != rows {
        return Err(Failure::failed(format!("there are {} rows; {rows} are right", snapshot.count())));
    }
    let slots = data.rows.len().div_ceil(SLOT_ROWS).max(1) as u64;
    for first in 0..slots {
        // The last batch up to `last` that wrote this slot; batch 0 is the import.
        let passes = last.saturating_sub(first) / slots;
        let batch = if first > last { 0 } else { first + passes * slots };
        check_slot(snapshot, data, first, batch)?;
    }
    Ok(last)
}

/// Checks that the rows of a slot are whole and all of one batch.
fn check_slot(snapshot: &Snapshot, data: &Data, slot_number: u64, batch: u64) -> Result<(), Failure> {
    for row in slot(data, slot_number) {
        let id = words::id(&row.id);
        let item = snapshot.get(&row.id)?.ok_or_else(|| Failure::failed(format!("row {id} is not there")))?;
        let stamp = match item.attributes.get("batch") {
            Some(Value::I64(n)) => u64::try_from(*n).unwrap_or(u64::MAX),
            _ => 0,
        };
        if stamp != batch {
            return Err(Failure::failed(format!("row {id} is of batch {stamp}; batch {batch} wrote it last")));
        }
        if item.vector != row.vector || item.payload.as_deref() != Some(row.text.as_bytes()) {
            return Err(Failure::failed(format!("row {id} is not what was written")));
        }
    }
    Ok(())
}

/// Removes the row that only counts batches.
fn leave_no_trace(dir: &Path, last: u64) -> Result<(), Failure> {
    let collection = Collection::open(dir, OpenOptions::default()).map_err(|e| Failure::engine(&e, dir))?;
    if last > 0 {
        collection.delete(&ingest_id(last))?;
    }
    crate::command::close(collection, dir)
}

/// SplitMix64 from the clock: moments need no better.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Random(now.as_nanos() as u64 ^ u64::from(std::process::id()) << 32)
    }

    fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        range.start + (z ^ (z >> 31)) % (range.end - range.start).max(1)
    }
}
