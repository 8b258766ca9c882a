//! Memory of a handle that writes, merges, loads and searches under a memory budget: what the system counts as this process's
//! own, sampled throughout, must stay within the budget. Pages of mapped files are reported apart: the system takes them back as
//! it likes.
//!
//! `cargo run --release -p stratavec-benches --bin memory [-- ROWS [DIM [BUDGET]]]` prints the figures and writes
//! `benches/results/memory.json`. Without arguments: 2,000,000 rows of 128 components under 256,000,000 bytes.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use stratavec::{BulkItem, Collection, Compact, Durability, IdKind, Metric, OpenOptions, Schema};
use stratavec_benches::{Random, Scratch, provenance, resident_bytes, time, write_result};

const SEED: u64 = 20_261_121;
/// Pauses between samples.
const BEAT: Duration = Duration::from_millis(2);

/// What is measured.
#[derive(Clone, Copy)]
struct Task {
    rows: u64,
    dim: usize,
    budget: u64,
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let mut next = |default: u64| numbers.next().unwrap_or(default);
    let task = Task { rows: next(2_000_000), dim: next(128) as usize, budget: next(256_000_000) };
    let (before, _) = resident_bytes();
    let sections: [(&str, fn(&Collection, Task)); 2] = [("commits", commits), ("bulk_load", bulk_load)];
    let mut result = json!({
        "provenance": provenance(SEED),
        "rows": task.rows, "dim": task.dim, "budget_bytes": task.budget,
        "anonymous_bytes_at_start": before,
    });
    let mut within = true;
    for (name, work) in sections {
        let figures = sampled(name, work, task);
        println!("{name}: {figures:#}");
        within &= figures["within_budget"] == json!(true);
        result[name] = figures;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    println!("written to {}", write_result(&folder, "memory", &result).display());
    assert!(within, "the process took more memory than the budget");
}

/// Most memory of the process while `work` and searches run on a new collection.
fn sampled(name: &str, work: fn(&Collection, Task), task: Task) -> Value {
    let scratch = Scratch::new(name);
    let schema = Schema::new(task.dim, Metric::L2).ids(IdKind::U64);
    let options = OpenOptions::new().memory_budget(task.budget).durability(Durability::Os);
    let c = Collection::create(scratch.path("c"), schema, options).expect("create");
    let stop = AtomicBool::new(false);
    let (anonymous, mapped, samples, searches) =
        (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let took = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let now = resident_bytes();
                anonymous.fetch_max(now.0, Ordering::Relaxed);
                mapped.fetch_max(now.1, Ordering::Relaxed);
                samples.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(BEAT);
            }
        });
        scope.spawn(|| {
            let mut random = Random::new(SEED + 9);
            while !stop.load(Ordering::Relaxed) {
                c.snapshot().search(&random.vector(task.dim)).k(10).run().expect("search");
                searches.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let took = time(|| work(&c, task)).1;
        stop.store(true, Ordering::Relaxed);
        took
    });
    let (stats, live) = (c.stats(), c.snapshot().count());
    let anonymous = anonymous.into_inner();
    let figures = json!({
        "seconds": took.as_secs_f64(),
        "live_rows": live,
        "rows_per_second": task.rows as f64 / took.as_secs_f64(),
        "peak_anonymous_bytes": anonymous,
        "peak_mapped_bytes": mapped.into_inner(),
        "peak_counted_bytes": stats.memory.peak,
        "within_budget": anonymous <= task.budget && stats.memory.peak <= task.budget,
        "samples": samples.into_inner(),
        "searches_meanwhile": searches.into_inner(),
        "flushes": stats.flushes, "merges": stats.merges, "bulk_loads": stats.bulk_loads,
        "file_bytes": stats.file_bytes,
        "raw_vector_bytes": live * task.dim as u64 * 4,
        "bytes_written": stats.log_bytes + stats.flush_bytes_written + stats.merge_bytes_written
            + stats.bulk_load_bytes_written,
    });
    c.close().expect("close");
    figures
}

/// All rows by batches of 1,000, every twentieth replacing an older one, then a full compaction.
fn commits(c: &Collection, task: Task) {
    let mut random = Random::new(SEED);
    for first in (0..task.rows).step_by(1000) {
        let mut batch = c.batch();
        for id in first..(first + 1000).min(task.rows) {
            let id = if id % 20 == 19 { random.bits() % id } else { id };
            batch.upsert(id, &random.vector(task.dim));
        }
        batch.commit().expect("commit");
    }
    c.compact(Compact::Full).expect("begin").wait().expect("compact");
}

/// All rows by one bulk load, a quarter of them again by another, then a full compaction.
fn bulk_load(c: &Collection, task: Task) {
    for (seed, ids) in [(SEED + 1, 0..task.rows), (SEED + 2, task.rows / 2..task.rows * 3 / 4)] {
        let mut random = Random::new(seed);
        let items = ids.map(move |id| BulkItem::new(id, random.vector(task.dim)));
        c.bulk_load(items).expect("begin").wait().expect("load");
    }
    c.compact(Compact::Full).expect("begin").wait().expect("compact");
}
