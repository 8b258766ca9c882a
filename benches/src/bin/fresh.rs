//! Searches beside rows that are still in memory: a collection holds some rows in lists and others in its delta, and answers the same
//! queries as one that has all of them in lists. Both are asked in turns.
//!
//! `cargo run --release -p stratavec-benches --bin fresh [-- NAME=value ..]`: `rows=` (NumPy halves; default the file `base.f16.npy` in the
//! folder that `STRATAVEC_BENCH_VECTORS` names), `queries=`, `metric=cosine|l2`, `labels=` (a number for each row: rows then come in this
//! order, so that those in memory are alike), `batch=` rows of a commit, `deletes=1` (as many rows go as
//! come), `only=PART` (thousandths of the rows in memory, searched for five seconds: for a profiler). Prints the figures and writes
//! `benches/results/fresh.json`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stratavec::{
    BulkItem, Collection, Compact, Compaction, IdKind, IndexKind, IvfOptions, Metric, OpenOptions, Schema,
};
use stratavec_benches::{Scratch, matrix_of_halves, median, provenance, thread_seconds, time, write_result};

const K: usize = 10;
const TURNS: usize = 7;
/// Times that all queries are asked in a turn: the clock of a thread goes by steps of milliseconds.
const PASSES: usize = 20;
/// Thousandths of the rows that are in memory.
const PARTS: [usize; 4] = [10, 25, 50, 100];

struct Data {
    rows: Vec<f32>,
    queries: Vec<f32>,
    dim: usize,
    metric: Metric,
    batch: usize,
    deletes: bool,
}

impl Data {
    fn row(&self, id: usize) -> &[f32] {
        &self.rows[id * self.dim..][..self.dim]
    }

    fn count(&self) -> usize {
        self.rows.len() / self.dim
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let told = |name: &str| arguments.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let folder = PathBuf::from(std::env::var_os("STRATAVEC_BENCH_VECTORS").unwrap_or_default());
    let file = |name: &str, usual: &str| told(name).map_or_else(|| folder.join(usual), PathBuf::from);
    let (rows, dim) = matrix_of_halves(&file("rows", "base.f16.npy")).expect("rows");
    let (queries, _) = matrix_of_halves(&file("queries", "query.f16.npy")).expect("queries");
    let metric = if told("metric") == Some("l2") { Metric::L2 } else { Metric::Cosine };
    let batch = told("batch").map_or(250, |batch| batch.parse().expect("a number"));
    let rows = told("labels").map_or(rows.clone(), |file| sorted(&rows, dim, file));
    let data = Data { rows, queries, dim, metric, batch, deletes: told("deletes") == Some("1") };
    let scratch = Scratch::new("fresh");
    if let Some(part) = told("only") {
        let part = part.parse().expect("a number");
        let (c, rate) = with_delta(&data, &scratch, part);
        let until = Instant::now() + Duration::from_secs(5);
        let mut speeds = Vec::new();
        while Instant::now() < until {
            speeds.push(turn(&c, &data).0);
        }
        println!("{} rows in memory, {rate:.0} rows/s, {:.0} searches/s", c.stats().delta_rows, median(&speeds));
        return;
    }
    let mut figures = Vec::new();
    for part in PARTS {
        let figure = beside(&data, &scratch, part);
        println!("{figure}");
        figures.push(figure);
    }
    let result = json!({ "provenance": provenance(0), "rows": data.count(), "dim": data.dim, "batch": data.batch,
        "deletes": data.deletes, "parts": figures });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    println!("written to {}", write_result(&folder, "fresh", &result).display());
}

/// The rows in the order of their labels.
fn sorted(rows: &[f32], dim: usize, labels: &str) -> Vec<f32> {
    let labels = std::fs::read_to_string(labels).expect("labels");
    let labels: Vec<u64> = labels.split_whitespace().map(|label| label.parse().expect("a number")).collect();
    let mut order: Vec<usize> = (0..rows.len() / dim).collect();
    order.sort_by_key(|row| labels[*row]);
    order.iter().flat_map(|row| rows[row * dim..][..dim].to_vec()).collect()
}

/// All rows in lists; nothing is flushed before a gibibyte of log.
fn loaded(data: &Data, path: PathBuf, rows: std::ops::Range<usize>) -> Collection {
    let schema = Schema::new(data.dim, data.metric).ids(IdKind::U64).index(IndexKind::Ivf(IvfOptions::auto()));
    let options = OpenOptions::new().compaction(Compaction::Manual).flush_bytes(1 << 30).flush_rows(u64::MAX);
    let c = Collection::create(path, schema, options).expect("create");
    let items = rows.map(|id| BulkItem::new(id as u64, data.row(id).to_vec())).collect::<Vec<_>>();
    c.bulk_load(items).and_then(|load| load.wait()).expect("load");
    c.compact(Compact::Auto).and_then(|job| job.wait()).expect("compact");
    c
}

/// The last rows are in memory; and how many came in a second.
fn with_delta(data: &Data, scratch: &Scratch, part: usize) -> (Collection, f64) {
    let fresh = data.count() * part / 1000;
    let first = data.count() - fresh;
    let c = loaded(data, scratch.path(&format!("delta-{part}")), 0..first);
    let ids: Vec<usize> = (first..data.count()).collect();
    let begun = Instant::now();
    for ids in ids.chunks(data.batch) {
        let mut batch = c.batch();
        for id in ids {
            batch.insert(*id as u64, data.row(*id));
            if data.deletes {
                batch.delete((*id - first) as u64 * 7);
            }
        }
        batch.commit().expect("commit");
    }
    let rate = fresh as f64 / begun.elapsed().as_secs_f64();
    assert_eq!(c.stats().delta_rows, fresh as u64, "the rows are in memory");
    (c, rate)
}

/// Searches a second by the time of this thread, the 99th percentile in microseconds, and fresh rows estimated and rows measured by a search.
fn turn(c: &Collection, data: &Data) -> (f64, f64, f64, f64) {
    let (mut times, mut entries, mut scored) = (Vec::new(), 0, 0);
    let begun = thread_seconds();
    for query in (0..PASSES).flat_map(|_| data.queries.chunks_exact(data.dim)) {
        let (hits, took) = time(|| c.snapshot().search(query).k(K).run());
        let hits = hits.expect("search");
        assert_eq!(hits.len(), K);
        (entries, scored) = (entries + hits.explain().fresh_scanned, scored + hits.explain().rows_scored);
        times.push(took.as_secs_f64() * 1e6);
    }
    let count = times.len() as f64;
    let rate = count / (thread_seconds() - begun);
    times.sort_by(f64::total_cmp);
    (rate, times[times.len() * 99 / 100], entries as f64 / count, scored as f64 / count)
}

fn beside(data: &Data, scratch: &Scratch, part: usize) -> Value {
    let all = loaded(data, scratch.path(&format!("all-{part}")), 0..data.count());
    let (c, rate) = with_delta(data, scratch, part);
    let (mut still, mut fresh) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        still.push(turn(&all, data));
        fresh.push(turn(&c, data));
    }
    let middle = |of: &[(f64, f64, f64, f64)], which: fn(&(f64, f64, f64, f64)) -> f64| {
        median(&of.iter().map(which).collect::<Vec<_>>())
    };
    let (idle, beside) = (middle(&still, |t| t.0), middle(&fresh, |t| t.0));
    json!({
        "rows_in_memory": c.stats().delta_rows, "memory_bytes": c.stats().delta_bytes, "rows_per_second": rate,
        "idle_searches_per_second": idle, "searches_per_second": beside, "of_idle": beside / idle,
        "idle_p99_microseconds": middle(&still, |t| t.1), "p99_microseconds": middle(&fresh, |t| t.1),
        "fresh_scanned": middle(&fresh, |t| t.2),
        "idle_scored": middle(&still, |t| t.3), "scored": middle(&fresh, |t| t.3),
    })
}
