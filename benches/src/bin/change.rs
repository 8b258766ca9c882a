//! Living with change: space after rounds of replacement, and what a compaction costs those who search and commit meanwhile.
//!
//! `cargo run --release -p stratavec-benches --bin change [-- SECTION ..]` prints the figures and writes
//! `benches/results/change.json`. Sections: space, latency.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use stratavec::{Collection, Compact, Compaction, Durability, IdKind, Metric, OpenOptions, Schema};
use stratavec_benches::{Random, Scratch, median, provenance, write_result};

const SEED: u64 = 20_261_121;
const DIM: usize = 384;
const BATCH: u64 = 1_000;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let sections: [(&str, fn() -> Value); 2] = [("space", space), ("latency", latency)];
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
    let name = if wanted.is_empty() { "change".to_owned() } else { format!("change-{}", wanted.join("-")) };
    println!("written to {}", write_result(&folder, &name, &Value::Object(result)).display());
}

fn create(path: PathBuf, options: OpenOptions) -> Collection {
    Collection::create(path, Schema::new(DIM, Metric::L2).ids(IdKind::U64), options).expect("create")
}

/// Writes rows with these ids, in batches.
fn write(c: &Collection, ids: impl Iterator<Item = u64>, random: &mut Random) {
    let mut ids = ids.peekable();
    while ids.peek().is_some() {
        let mut batch = c.batch();
        for id in ids.by_ref().take(BATCH as usize) {
            batch.upsert(id, &random.vector(DIM));
        }
        batch.commit().expect("commit");
    }
}

/// Bytes of a collection's files.
fn bytes_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}

/// Waits until the background merges have nothing to do.
fn settle(c: &Collection) {
    let mut quiet = 0;
    while quiet < 5 {
        std::thread::sleep(Duration::from_millis(200));
        quiet = if c.compact_dry_run(Compact::Auto).merges == 0 { quiet + 1 } else { 0 };
    }
}

/// Twenty times a tenth of 200,000 rows is replaced; nobody asks for a compaction.
fn space() -> Value {
    const ROWS: u64 = 200_000;
    const ROUNDS: u64 = 20;
    let scratch = Scratch::new("space");
    let path = scratch.path("c");
    let options = OpenOptions::new().durability(Durability::Os);
    let mut random = Random::new(SEED);
    let c = create(scratch.path("fresh"), options.clone());
    write(&c, 0..ROWS, &mut random);
    c.close().expect("close");
    let fresh = bytes_of(&scratch.path("fresh"));
    let c = create(path.clone(), options.clone());
    write(&c, 0..ROWS, &mut random);
    let (stop, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut after_rounds, mut sums) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(bytes_of(&path), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        for _ in 0..ROUNDS {
            let ids: Vec<u64> = (0..ROWS / 10).map(|_| random.bits() % ROWS).collect();
            write(&c, ids.into_iter(), &mut random);
            c.flush().expect("flush");
            settle(&c);
            after_rounds.push(bytes_of(&path) as f64 / fresh as f64);
            sums.push(c.stats().file_bytes as f64 / fresh as f64);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let written = c.stats().merge_bytes_written + c.stats().flush_bytes_written;
    let full = full_peak(&c, &path);
    c.close().expect("close");
    let replaced = (ROWS / 10 * ROUNDS + ROWS) * (DIM as u64 * 4);
    json!({
        "fresh_bytes": fresh,
        "largest_over_fresh_after_a_round": after_rounds.iter().copied().fold(0.0, f64::max),
        "median_over_fresh_after_a_round": median(&after_rounds),
        "last_over_fresh": after_rounds.last(),
        "named_files_over_fresh_at_most": sums.iter().copied().fold(0.0, f64::max),
        "peak_over_fresh": peak.into_inner() as f64 / fresh as f64,
        "bytes_written_per_vector_byte": written as f64 / replaced as f64,
        "full_compaction": full,
    })
}

/// A full compaction: the most bytes there were, against what the dry run announced.
fn full_peak(c: &Collection, path: &Path) -> Value {
    let before = bytes_of(path);
    let plan = c.compact_dry_run(Compact::Full);
    let (stop, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(bytes_of(path), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        c.compact(Compact::Full).and_then(|job| job.wait()).expect("compact");
        stop.store(true, Ordering::Relaxed);
    });
    let peak = peak.into_inner();
    json!({
        "bytes_before": before,
        "announced_bytes_written": plan.bytes_written,
        "bytes_above_what_was_there": peak.saturating_sub(before),
        "peak_over_announced": peak as f64 / (before + plan.bytes_written) as f64,
    })
}

/// Searches and commits of one thread, idle and while full compactions of all rows run one after the other without a pause: on two
/// processors the merge has one of them, or what the writes of the system leave of it.
fn latency() -> Value {
    const ROWS: u64 = 50_000;
    let scratch = Scratch::new("latency");
    let c = create(scratch.path("c"), OpenOptions::new().compaction(Compaction::Manual));
    let mut random = Random::new(SEED);
    write(&c, 0..ROWS, &mut random);
    c.flush().expect("flush");
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    let (mut idle_rates, mut busy_rates) = (Vec::new(), Vec::new());
    let mut merges = 0;
    for round in 0..5 {
        idle.extend(search_times(&c, Duration::from_secs(2), &mut random));
        idle_rates.push(commit_rate(&c, Duration::from_secs(1), round * 2));
        let (times, ran) = while_compacting(&c, &mut random, |random| search_times(&c, Duration::from_secs(2), random));
        busy.extend(times);
        let (rate, also) =
            while_compacting(&c, &mut random, |_| commit_rate(&c, Duration::from_secs(1), round * 2 + 1));
        busy_rates.push(rate);
        merges += ran + also;
    }
    let (idle_p99, busy_p99) = (percentile(&mut idle, 0.99), percentile(&mut busy, 0.99));
    json!({
        "rows": ROWS,
        "searches_idle": idle.len(),
        "searches_during_compaction": busy.len(),
        "compactions": merges,
        "p50_idle_milliseconds": percentile(&mut idle, 0.5) * 1e3,
        "p50_during_milliseconds": percentile(&mut busy, 0.5) * 1e3,
        "p99_idle_milliseconds": idle_p99 * 1e3,
        "p99_during_milliseconds": busy_p99 * 1e3,
        "p99_during_over_idle": busy_p99 / idle_p99,
        "commits_per_second_idle": median(&idle_rates),
        "commits_per_second_during": median(&busy_rates),
        "commits_during_over_idle": median(&busy_rates) / median(&idle_rates),
    })
}

/// Does `work` while full compactions run without pause; how many there were.
fn while_compacting<T>(c: &Collection, random: &mut Random, work: impl FnOnce(&mut Random) -> T) -> (T, u64) {
    let (stop, ran) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut own = Random::new(random.bits());
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut ids = Random::new(SEED ^ 7);
            while !stop.load(Ordering::Relaxed) {
                // One row becomes dead, so that there is something to do: all rows are written again for it. A batch of many
                // would measure another writer as well.
                write(c, [ids.bits() % 50_000].into_iter(), &mut own);
                c.flush().expect("flush");
                c.compact(Compact::Full).and_then(|job| job.wait()).expect("compact");
                ran.fetch_add(1, Ordering::Relaxed);
            }
        });
        let result = work(random);
        stop.store(true, Ordering::Relaxed);
        result
    });
    (result, ran.into_inner())
}

fn search_times(c: &Collection, span: Duration, random: &mut Random) -> Vec<f64> {
    let end = Instant::now() + span;
    let mut times = Vec::new();
    while Instant::now() < end {
        let query = random.vector(DIM);
        let started = Instant::now();
        let hits = c.snapshot().search(&query).k(10).run().expect("search");
        times.push(started.elapsed().as_secs_f64());
        assert_eq!(hits.len(), 10);
    }
    times
}

/// Durable single-row commits per second, on ids of their own.
fn commit_rate(c: &Collection, span: Duration, round: u64) -> f64 {
    let started = Instant::now();
    let mut count = 0u64;
    while started.elapsed() < span {
        c.upsert((1 << 40) + round * (1 << 20) + count % 500, &[0.5; DIM]).expect("commit");
        count += 1;
    }
    count as f64 / started.elapsed().as_secs_f64()
}

fn percentile(times: &mut [f64], part: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let last = times.len().saturating_sub(1);
    times.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}
