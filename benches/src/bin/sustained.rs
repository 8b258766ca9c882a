//! Durable writing that goes on: two threads commit batches of new rows and delete as many old ones, each commit durable before the next, while
//! the collection flushes, merges, trains and calibrates beside them and makes them wait where it has to.
//!
//! `cargo run --release -p stratavec-benches --bin sustained -- NAME METRIC ROWS.npy [SECONDS]`: halves in NumPy's format, half of them there from
//! the beginning. Rows come in the order of the file and over again, under new ids. Prints rows per second, second by second, and writes
//! `benches/results/sustained-NAME.json`.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stratavec::{
    BulkItem, Collection, Compact, Effort, IdKind, IndexKind, IvfOptions, Metric, OpenOptions, Schema, Verify,
};
use stratavec_benches::{Scratch, matrix_of_halves, provenance, time, write_result};

const THREADS: u64 = 2;
/// Rows that come, and rows that go, with each commit.
const BATCH: u64 = 250;
const SECONDS: u64 = 30;
/// Newest rows that are looked for at the end.
const LOOKED_FOR: u64 = 500;

struct Data {
    rows: Vec<f32>,
    dim: usize,
}

impl Data {
    fn count(&self) -> u64 {
        (self.rows.len() / self.dim) as u64
    }

    /// The vector of an id: those of the file, over and over.
    fn row(&self, id: u64) -> &[f32] {
        &self.rows[(id % self.count()) as usize * self.dim..][..self.dim]
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, metric, rows, rest @ ..] = &arguments[..] else { panic!("NAME METRIC ROWS.npy [SECONDS]") };
    let (rows, dim) = matrix_of_halves(Path::new(rows)).expect("rows");
    let data = Data { rows, dim };
    let metric = if metric == "cosine" { Metric::Cosine } else { Metric::L2 };
    let seconds = rest.first().map_or(SECONDS, |word| word.parse().expect("seconds"));
    let scratch = Scratch::new("sustained");
    let schema = Schema::new(dim, metric).ids(IdKind::U64).index(IndexKind::Ivf(IvfOptions::auto()));
    let c = Collection::create(scratch.path("c"), schema, OpenOptions::new()).expect("create");
    let result = sustain(&c, &data, seconds);
    c.close().expect("close");
    assert!(Collection::verify(scratch.path("c"), Verify::Full).expect("verify").is_sound());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    println!("written to {}", write_result(&folder, &format!("sustained-{name}"), &result).display());
}

fn sustain(c: &Collection, data: &Data, seconds: u64) -> Value {
    let live = data.count() / 2;
    let items = (0..live).map(|id| BulkItem::new(id, data.row(id).to_vec())).collect::<Vec<_>>();
    c.bulk_load(items).and_then(|load| load.wait()).expect("load");
    c.compact(Compact::Auto).and_then(|job| job.wait()).expect("compact");
    let before = c.stats();
    let (next, rows) = (AtomicU64::new(live / BATCH + 1), AtomicU64::new(0));
    let (start, until) = (Instant::now(), Duration::from_secs(seconds));
    let (slowest, each) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut slowest = Duration::ZERO;
                    while start.elapsed() < until {
                        let part = next.fetch_add(1, Ordering::Relaxed);
                        let (outcome, spent) = time(|| commit(c, data, part, live));
                        outcome.expect("commit");
                        rows.fetch_add(BATCH, Ordering::Relaxed);
                        slowest = slowest.max(spent);
                    }
                    slowest
                })
            })
            .collect();
        let each = by_the_second(&rows, start, seconds);
        (writers.into_iter().map(|writer| writer.join().expect("writer")).max().unwrap_or_default(), each)
    });
    let (spent, came) = (start.elapsed(), rows.load(Ordering::Relaxed));
    let after = c.stats();
    let (outcome, upkeep) = time(|| c.compact(Compact::Auto).and_then(|job| job.wait()));
    outcome.expect("compact");
    let last = next.load(Ordering::Relaxed) * BATCH;
    let missing = (last - LOOKED_FOR..last).filter(|id| !is_found(c, data, *id)).count();
    let rate = came as f64 / spent.as_secs_f64();
    println!(
        "{rate:.0} durable rows a second for {seconds} s, {} at least in a second",
        each.iter().min().unwrap_or(&0)
    );
    json!({
        "benchmark": "sustained durable writing", "provenance": provenance(0), "dim": data.dim, "live": live,
        "threads": THREADS, "batch": BATCH, "seconds": spent.as_secs_f64(), "rows": came, "rows_per_second": rate,
        "rows_each_second": each, "slowest_commit_milliseconds": slowest.as_secs_f64() * 1e3,
        "log_syncs": after.log_syncs - before.log_syncs, "flushes": after.flushes - before.flushes,
        "retrains": after.retrains - before.retrains, "rows_in_memory_at_end": after.delta_rows,
        "upkeep_left_seconds": upkeep.as_secs_f64(), "new_rows_missing": missing,
    })
}

/// New rows come, and the oldest go.
fn commit(c: &Collection, data: &Data, part: u64, live: u64) -> stratavec::Result<()> {
    let mut batch = c.batch();
    for id in part * BATCH..(part + 1) * BATCH {
        batch.upsert(id, data.row(id));
        batch.delete(id - live);
    }
    batch.commit().map(drop)
}

/// Rows that were durable in each second.
fn by_the_second(rows: &AtomicU64, start: Instant, seconds: u64) -> Vec<u64> {
    let mut before = 0;
    let mut of = |second: u64| {
        std::thread::sleep(Duration::from_secs(second).saturating_sub(start.elapsed()));
        let now = rows.load(Ordering::Relaxed);
        now - std::mem::replace(&mut before, now)
    };
    (1..=seconds).map(&mut of).collect()
}

/// Whether a search for a row's vector finds the row, or one of the same vector.
fn is_found(c: &Collection, data: &Data, id: u64) -> bool {
    let snapshot = c.snapshot();
    let hits = snapshot.search(data.row(id)).k(1).effort(Effort::Recall(0.99)).run().expect("search");
    hits.iter().next().is_some_and(|hit| hit.distance < 1e-4)
}
