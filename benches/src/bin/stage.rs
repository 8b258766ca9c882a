//! The engine against the limits of the machine it runs on: commits against a bare append loop, exact search against memory
//! bandwidth, opening and recovery against the clock. Each pair is measured in turns in one run, so that noise hits both.
//!
//! `cargo run --release -p stratavec-benches --bin stage [-- SECTION ..]` prints the figures and writes
//! `benches/results/stage.json`. Sections: commit, batch, scan, reopen, recovery.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use stratavec::kernel::{Op, kernels};
use stratavec::{Collection, Durability, IdKind, Metric, OpenOptions, RowFormat, Schema};
use stratavec_benches::{Random, Scratch, median, provenance, resident_bytes, time, write_result};

const SEED: u64 = 20_261_121;
const DIM: usize = 384;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let [first, path] = &wanted[..]
        && first == REOPEN_CHILD
    {
        return println!("{}", reopen_child(Path::new(path)));
    }
    let sections: [(&str, fn() -> Value); 5] =
        [("commit", commit), ("batch", batch), ("scan", scan), ("reopen", reopen), ("recovery", recovery)];
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
    let name = if wanted.is_empty() { "stage".to_owned() } else { format!("stage-{}", wanted.join("-")) };
    println!("written to {}", write_result(&folder, &name, &Value::Object(result)).display());
}

fn schema(dim: usize) -> Schema {
    Schema::new(dim, Metric::L2).ids(IdKind::U64).rows(RowFormat::F32)
}

/// A file that grows by appends, each followed by fdatasync: what a log costs at least.
struct BareLog {
    file: File,
    len: u64,
}

impl BareLog {
    fn new(path: &Path) -> Self {
        BareLog { file: File::create(path).expect("create"), len: 0 }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.file.write_all_at(bytes, self.len).expect("write");
        self.len += bytes.len() as u64;
        self.file.sync_data().expect("sync");
    }
}

/// Durable single-row commits: one thread against the bare loop, sixteen threads against one.
fn commit() -> Value {
    let scratch = Scratch::new("commit");
    let c = Collection::create(scratch.path("c"), schema(DIM), OpenOptions::default()).expect("create");
    let mut random = Random::new(SEED);
    let vectors: Vec<Vec<f32>> = (0..1000).map(|_| random.vector(DIM)).collect();
    let mut next = 0u64;
    let mut one = |c: &Collection, level| {
        let mut batch = c.batch();
        batch.upsert(next, &vectors[next as usize % vectors.len()]);
        next += 1;
        batch.commit_with(level).expect("commit");
    };
    one(&c, Durability::Group);
    let before = c.stats().log_bytes;
    one(&c, Durability::Group);
    let record = (c.stats().log_bytes - before) as usize;
    let mut bare = BareLog::new(&scratch.path("bare"));
    let bytes = vec![7u8; record];
    let (mut ratios, mut engine_rates, mut bare_rates) = (Vec::new(), Vec::new(), Vec::new());
    const PER_ROUND: u32 = 400;
    for _ in 0..15 {
        let (_, bare_time) = time(|| (0..PER_ROUND).for_each(|_| bare.append(&bytes)));
        let (_, engine_time) = time(|| (0..PER_ROUND).for_each(|_| one(&c, Durability::Group)));
        ratios.push(bare_time.as_secs_f64() / engine_time.as_secs_f64());
        engine_rates.push(f64::from(PER_ROUND) / engine_time.as_secs_f64());
        bare_rates.push(f64::from(PER_ROUND) / bare_time.as_secs_f64());
    }
    let (mut shared, mut os) = (Vec::new(), Vec::new());
    let mut single = Vec::new();
    for _ in 0..5 {
        single.push(threads_rate(&c, 1, Durability::Group, &vectors));
        shared.push(threads_rate(&c, 16, Durability::Group, &vectors));
        os.push(threads_rate(&c, 16, Durability::Os, &vectors));
    }
    json!({
        "record_bytes": record,
        "one_thread_per_second": median(&engine_rates),
        "bare_append_fdatasync_per_second": median(&bare_rates),
        "one_thread_over_bare": median(&ratios),
        "sixteen_threads_per_second": median(&shared),
        "sixteen_threads_over_one": median(&shared) / median(&single),
        "sixteen_threads_os_per_second": median(&os),
        "sixteen_threads_over_os": median(&shared) / median(&os),
    })
}

/// Commits per second of `threads` threads over a second.
fn threads_rate(c: &Collection, threads: u64, level: Durability, vectors: &[Vec<f32>]) -> f64 {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for t in 0..threads {
            let (stop, done) = (&stop, &done);
            scope.spawn(move || {
                let mut i = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let mut batch = c.batch();
                    batch.upsert(1_000_000 + t * 100_000 + i % 5_000, &vectors[i as usize % vectors.len()]);
                    batch.commit_with(level).expect("commit");
                    done.fetch_add(1, Ordering::Relaxed);
                    i += 1;
                }
            });
        }
        std::thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

/// Durable batches of 1,000 rows against appends of the same size: the commit, the commit with the filling of the batch, and
/// both sustained, where each row is written a second time when the delta is moved to files.
fn batch() -> Value {
    let once = batch_run("commit", OpenOptions::default().flush_bytes(4 << 30));
    let sustained = batch_run("sustained", OpenOptions::default());
    json!({ "before_the_first_flush": once, "sustained": sustained })
}

fn batch_run(name: &str, options: OpenOptions) -> Value {
    const PER_ROUND: usize = 10;
    let scratch = Scratch::new(name);
    let c = Collection::create(scratch.path("c"), schema(DIM), options).expect("create");
    let mut random = Random::new(SEED);
    let vectors: Vec<Vec<f32>> = (0..1000).map(|_| random.vector(DIM)).collect();
    let mut next = 0u64;
    let mut one = || {
        let started = Instant::now();
        let mut batch = c.batch();
        for vector in &vectors {
            batch.upsert(next, vector);
            next += 1;
        }
        let filled = started.elapsed();
        let (_, committed) = time(|| batch.commit_with(Durability::Sync).expect("commit"));
        (filled.as_secs_f64(), committed.as_secs_f64())
    };
    one();
    let before = c.stats().log_bytes;
    one();
    let record = (c.stats().log_bytes - before) as usize;
    let mut bare = BareLog::new(&scratch.path("bare"));
    let bytes = vec![7u8; record];
    let (mut commit, mut whole, mut rates, mut bare_times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..15 {
        let (_, bare_time) = time(|| (0..PER_ROUND).for_each(|_| bare.append(&bytes)));
        let times: Vec<(f64, f64)> = (0..PER_ROUND).map(|_| one()).collect();
        let committed: f64 = times.iter().map(|t| t.1).sum();
        let filled: f64 = times.iter().map(|t| t.0).sum();
        let bare_time = bare_time.as_secs_f64();
        commit.push(bare_time / committed);
        whole.push(bare_time / (committed + filled));
        rates.push((PER_ROUND * 1000) as f64 / (committed + filled));
        bare_times.push(bare_time / PER_ROUND as f64 * 1e3);
    }
    json!({
        "record_bytes": record,
        "bare_append_milliseconds": median(&bare_times),
        "commit_over_bare": median(&commit),
        "fill_and_commit_over_bare": median(&whole),
        "rows_per_second": median(&rates),
    })
}

/// Fills a collection and closes it.
fn fill(path: &Path, rows: u64, dim: usize) -> Duration {
    let options = OpenOptions::default().durability(Durability::Os);
    let c = Collection::create(path, schema(dim), options).expect("create");
    let mut random = Random::new(SEED);
    let (_, took) = time(|| {
        for start in (0..rows).step_by(2000) {
            let mut batch = c.batch();
            for id in start..(start + 2000).min(rows) {
                batch.upsert(id, &random.vector(dim));
            }
            batch.commit().expect("commit");
        }
        c.close().expect("close");
    });
    took
}

/// Exact search against the bandwidth of one core, both over more bytes than any cache holds.
fn scan() -> Value {
    const ROWS: u64 = 300_000;
    let scratch = Scratch::new("scan");
    fill(&scratch.path("c"), ROWS, DIM);
    let c = Collection::open(scratch.path("c"), OpenOptions::default()).expect("open");
    let snapshot = c.snapshot();
    let mut random = Random::new(SEED + 1);
    let queries: Vec<Vec<f32>> = (0..12).map(|_| random.vector(DIM)).collect();
    let (first, first_touch) = time(|| snapshot.search(&queries[0]).k(10).run().expect("search"));
    let bytes = first.explain().bytes_read as usize;
    let stride = bytes / ROWS as usize;
    let words = vec![1u64; bytes / 8];
    let copy: &[u8] = &words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    let (mut read, mut kernel, mut engine) = (Vec::new(), Vec::new(), Vec::new());
    let mut out = [0f32; 64];
    for query in &queries {
        read.push(bytes as f64 / time(|| black_box(sum(&words))).1.as_secs_f64());
        kernel.push(
            time(|| {
                for rows in copy.chunks(64 * stride) {
                    let count = rows.len() / stride;
                    kernels().many(Op::L2, stratavec::kernel::Element::F32, query, rows, stride, &mut out[..count]);
                    black_box(&out);
                }
            })
            .1
            .as_secs_f64(),
        );
        engine.push(time(|| black_box(snapshot.search(query).k(10).run().expect("search"))).1.as_secs_f64());
    }
    let engine_bandwidth = bytes as f64 / median(&engine);
    json!({
        "rows": ROWS, "dim": DIM, "bytes": bytes,
        "read_bandwidth_gb_per_second": median(&read) / 1e9,
        "search_gb_per_second": engine_bandwidth / 1e9,
        "search_over_read_bandwidth": engine_bandwidth / median(&read),
        "bare_kernel_milliseconds": median(&kernel) * 1e3,
        "search_milliseconds": median(&engine) * 1e3,
        "everything_but_the_kernel_percent": (median(&engine) / median(&kernel) - 1.0) * 100.0,
        "first_search_after_open_milliseconds": first_touch.as_secs_f64() * 1e3,
    })
}

/// One pass over memory with eight independent sums.
fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 32];
    for chunk in words.chunks_exact(32) {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

/// Rows of the collection that is reopened.
const REOPEN_ROWS: u64 = 1_000_000;

/// Opening a cleanly closed collection of a million rows, in a process of its own.
fn reopen() -> Value {
    let scratch = Scratch::new("reopen");
    let path = scratch.path("c");
    let built = fill(&path, REOPEN_ROWS, 128);
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(program).arg(REOPEN_CHILD).arg(&path).output().expect("run");
    let mut figures: Value = serde_json::from_slice(&output.stdout).expect("figures of the other process");
    figures["built_in_seconds"] = json!(built.as_secs_f64());
    figures
}

/// First argument of the process that opens.
const REOPEN_CHILD: &str = "--reopen";

fn reopen_child(path: &Path) -> Value {
    let open = || Collection::open(path, OpenOptions::default()).expect("open");
    let (c, first) = time(open);
    assert_eq!(c.snapshot().count(), REOPEN_ROWS);
    let (anonymous, mapped) = resident_bytes();
    drop(c);
    let times: Vec<f64> = (0..10).map(|_| time(open).1.as_secs_f64() * 1e3).collect();
    let c = open();
    let mut random = Random::new(SEED + 2);
    let query = random.vector(128);
    let (_, first_search) = time(|| c.snapshot().search(&query).run().expect("search"));
    let gets: Vec<f64> = (0..2000)
        .map(|_| time(|| c.snapshot().get(random.bits() % REOPEN_ROWS).expect("get")).1.as_secs_f64() * 1e6)
        .collect();
    json!({
        "rows": REOPEN_ROWS, "dim": 128,
        "row_files": c.stats().row_files,
        "first_open_milliseconds": first.as_secs_f64() * 1e3,
        "open_milliseconds": median(&times),
        "open_milliseconds_slowest": times.iter().copied().fold(0.0, f64::max),
        "resident_mb_before_first_search": (anonymous + mapped) as f64 / 1e6,
        "resident_mb_of_that_mapped": mapped as f64 / 1e6,
        "first_search_milliseconds": first_search.as_secs_f64() * 1e3,
        "get_by_id_microseconds": median(&gets),
    })
}

/// Opening a collection whose writer stopped without closing.
fn recovery() -> Value {
    let scratch = Scratch::new("recovery");
    let mut rates = Vec::new();
    for (name, rows_per_batch) in [("large-batches", 500u64), ("single-rows", 1)] {
        let path = scratch.path(name);
        let options = OpenOptions::default().flush_bytes(1 << 30).durability(Durability::Os);
        let c = Collection::create(&path, schema(DIM), options).expect("create");
        let mut random = Random::new(SEED);
        let mut next = 0u64;
        while c.stats().wal_bytes < 64 << 20 {
            let mut batch = c.batch();
            for _ in 0..rows_per_batch {
                batch.upsert(next, &random.vector(DIM));
                next += 1;
            }
            batch.commit().expect("commit");
        }
        drop(c);
        let (c, took) = time(|| Collection::open(&path, OpenOptions::default()).expect("open"));
        let report = c.recovery().clone();
        assert_eq!(c.snapshot().count(), next);
        rates.push(json!({
            "log": name, "log_bytes": report.bytes_replayed, "batches": report.batches_replayed,
            "open_seconds": took.as_secs_f64(),
            "seconds_per_64_mib": took.as_secs_f64() * f64::from(64 << 20) / report.bytes_replayed as f64,
        }));
    }
    Value::Array(rates)
}
