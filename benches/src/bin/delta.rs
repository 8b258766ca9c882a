//! The delta under small batches and many deletes: what a commit, a look-up and a search cost while nothing is flushed.
//!
//! `cargo run --release -p stratavec-benches --bin delta [-- SECTION ..]` prints the figures and writes
//! `benches/results/delta.json`. Sections: deletes, single_rows, sealed_blocks.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use stratavec::{Collection, Compaction, Durability, IdKind, Metric, OpenOptions, Schema};
use stratavec_benches::{Random, Scratch, median, provenance, write_result};

const SEED: u64 = 20_261_122;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let sections: [(&str, fn() -> Value); 3] =
        [("deletes", deletes), ("single_rows", single_rows), ("sealed_blocks", sealed_blocks)];
    let mut result = Map::new();
    result.insert("provenance".into(), provenance(SEED));
    for (name, run) in sections {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            let figures = run();
            println!("{name}: {figures:#}");
            result.insert(name.into(), figures);
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let name = if wanted.is_empty() { "delta".to_owned() } else { format!("delta-{}", wanted.join("-")) };
    println!("written to {}", write_result(&folder, &name, &Value::Object(result)).display());
}

/// Two components; nothing is flushed before a gibibyte of log.
fn create(scratch: &Scratch) -> Collection {
    let options = OpenOptions::new()
        .durability(Durability::Os)
        .compaction(Compaction::Manual)
        .flush_bytes(1 << 30)
        .flush_rows(u64::MAX);
    Collection::create(scratch.path("c"), Schema::new(2, Metric::L2).ids(IdKind::U64), options).expect("create")
}

/// Writes these rows in batches of one size; the time of each commit.
fn write(c: &Collection, rows: std::ops::Range<u64>, per_batch: usize) -> Vec<Duration> {
    let mut random = Random::new(SEED);
    let mut times = Vec::new();
    for start in rows.clone().step_by(per_batch) {
        let mut batch = c.batch();
        for id in start..rows.end.min(start + per_batch as u64) {
            batch.upsert(id, &random.vector(2));
        }
        let begun = Instant::now();
        batch.commit().expect("commit");
        times.push(begun.elapsed());
    }
    times
}

fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

/// Median of seven, in microseconds.
fn timed(mut work: impl FnMut()) -> f64 {
    let mut times = Vec::new();
    for _ in 0..7 {
        let begun = Instant::now();
        work();
        times.push(micros(begun.elapsed()));
    }
    median(&times)
}

fn search(c: &Collection) -> f64 {
    let snapshot = c.snapshot();
    timed(|| drop(black_box(snapshot.search(&[0.5, 0.5]).run().expect("search"))))
}

/// Looks up a thousand ids, a third of which are not there; microseconds each.
fn look_ups(c: &Collection, rows: u64) -> f64 {
    let snapshot = c.snapshot();
    let mut random = Random::new(SEED + 1);
    let ids: Vec<u64> = (0..1000).map(|_| random.bits() % (rows * 3 / 2)).collect();
    timed(|| ids.iter().for_each(|id| assert!(black_box(snapshot.contains(*id)).is_ok()))) / 1000.0
}

/// Half of two million rows in a file are deleted in batches of a thousand, in no order, and a search follows.
fn deletes() -> Value {
    const ROWS: u64 = 2_000_000;
    let scratch = Scratch::new("delta-deletes");
    let c = create(&scratch);
    write(&c, 0..ROWS, 20_000);
    c.flush().expect("flush");
    let before = search(&c);
    // An odd factor visits every id once; half of them in all.
    let ids: Vec<u64> = (0..ROWS).map(|i| i.wrapping_mul(1_299_709) % ROWS).collect();
    for ids in ids[..ROWS as usize / 2].chunks(1000) {
        let mut batch = c.batch();
        for id in ids {
            batch.delete(*id);
        }
        batch.commit().expect("commit");
    }
    json!({ "rows": ROWS, "deleted": ROWS / 2, "search_before_us": before, "search_unflushed_us": search(&c) })
}

fn figures(c: &Collection, rows: u64, times: Vec<Duration>) -> Value {
    let last = times.len() / 10;
    let late: Vec<f64> = times[times.len() - last..].iter().map(|time| micros(*time)).collect();
    let all: Vec<f64> = times.iter().map(|time| micros(*time)).collect();
    let worst = all.iter().copied().fold(0.0, f64::max);
    json!({
        "rows": rows, "batches": times.len(), "commit_median_us": median(&all), "commit_median_of_the_last_tenth_us":
        median(&late), "commit_worst_us": worst, "look_up_us": look_ups(c, rows), "search_us": search(c),
    })
}

/// A hundred thousand batches of one row.
fn single_rows() -> Value {
    let scratch = Scratch::new("delta-single");
    let c = create(&scratch);
    let times = write(&c, 0..100_000, 1);
    figures(&c, 100_000, times)
}

/// Batches of 512 rows: the smallest blocks that are never merged.
fn sealed_blocks() -> Value {
    const ROWS: u64 = 512 * 4_000;
    let scratch = Scratch::new("delta-sealed");
    let c = create(&scratch);
    let times = write(&c, 0..ROWS, 512);
    figures(&c, ROWS, times)
}
