//! Search by lists through the public interface: recall against queries per second by effort, filters against exact search over the
//! matching rows, batches by threads.
//!
//! `cargo run --release -p stratavec-benches --bin ivf_query -- [name=value ..]` with `STRATAVEC_BENCH_VECTORS` naming a folder as for
//! `ivf_path`. Names: metric (cosine, l2, ip), rows (f32, f16), passes, parts (any of e, f, b, d: efforts, filters, batches, a
//! delta), fresh (percent of the rows that part d leaves in memory).

use std::error::Error;
use std::hint::black_box;
use std::path::Path;

use serde_json::{Map, Value, json};
use stratavec::{
    BulkItem, Collection, Effort, Filter, Hits, IdKind, IndexKind, IvfOptions, Metric, OpenOptions, RowFormat, Schema,
    Snapshot,
};
use stratavec_benches::{Scratch, matrix_of_halves, matrix_of_words, provenance, time, write_result};

const K: usize = 10;

struct Settings {
    metric: Metric,
    rows: RowFormat,
    passes: usize,
    parts: String,
    fresh: usize,
}

fn settings() -> Result<Settings, Box<dyn Error>> {
    let mut settings =
        Settings { metric: Metric::Cosine, rows: RowFormat::F32, passes: 5, parts: "efb".into(), fresh: 10 };
    for word in std::env::args().skip(1) {
        let (name, value) = word.split_once('=').ok_or("settings are name=value")?;
        match (name, value) {
            ("metric", "cosine") => settings.metric = Metric::Cosine,
            ("metric", "l2") => settings.metric = Metric::L2,
            ("metric", "ip") => settings.metric = Metric::InnerProduct,
            ("rows", "f32") => settings.rows = RowFormat::F32,
            ("rows", "f16") => settings.rows = RowFormat::F16,
            ("passes", _) => settings.passes = value.parse()?,
            ("parts", _) => settings.parts = value.into(),
            ("fresh", _) => settings.fresh = value.parse()?,
            _ => return Err(format!("no setting is {word}").into()),
        }
    }
    Ok(settings)
}

/// Queries and the ids of their true neighbours.
struct Questions {
    queries: Vec<Vec<f32>>,
    truth: Vec<Vec<u64>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let settings = settings()?;
    let folder = std::env::var("STRATAVEC_BENCH_VECTORS").map_err(|_| "STRATAVEC_BENCH_VECTORS names no folder")?;
    let folder = Path::new(&folder);
    let (base, dim) = matrix_of_halves(&folder.join("base.f16.npy"))?;
    let (queries, _) = matrix_of_halves(&folder.join("query.f16.npy"))?;
    let (truth, known) = matrix_of_words(&folder.join("gt100.npy"))?;
    let questions = Questions {
        queries: queries.chunks_exact(dim).map(<[f32]>::to_vec).collect(),
        truth: truth.chunks_exact(known).map(|row| row[..K].iter().map(|id| u64::from(*id)).collect()).collect(),
    };
    let count = base.len() / dim;
    let kept = if settings.parts.contains('d') { count - count * settings.fresh / 100 } else { count };
    let schema = Schema::new(dim, settings.metric)
        .ids(IdKind::U64)
        .rows(settings.rows)
        .index(IndexKind::Ivf(IvfOptions::auto()))
        .seed(42);
    let scratch = Scratch::new("ivf-query");
    let collection = Collection::create(scratch.path("c"), schema, OpenOptions::new().flush_bytes(1 << 30))?;
    let rows: Vec<Vec<f32>> = base.chunks_exact(dim).map(<[f32]>::to_vec).collect();
    let items: Vec<BulkItem> =
        rows.iter().take(kept).zip(0u64..).map(|(row, id)| BulkItem::new(id, row.clone())).collect();
    let before = memory("VmRSS:");
    let (loaded, loading) = time(|| collection.bulk_load(items).and_then(|load| load.wait()));
    loaded?;
    let peak = memory("VmHWM:").saturating_sub(before);
    let (committed, committing) = time(|| add(&collection, &rows, kept));
    committed?;
    let stats = collection.stats();
    println!(
        "{kept} x {dim} loaded in {:.1} s, {} lists, {} of the rows in them; {} rows committed, {:.1} us each",
        loading.as_secs_f64(),
        stats.lists,
        stats.rows_in_lists,
        count - kept,
        committing.as_secs_f64() * 1e6 / (count - kept).max(1) as f64
    );
    let snapshot = collection.snapshot();
    let mut figures = Map::new();
    if settings.parts.contains(['e', 'd']) {
        figures.insert("efforts".into(), efforts(&snapshot, &questions, settings.passes)?);
    }
    if settings.parts.contains('f') {
        figures.insert("filters".into(), filters(&snapshot, &questions, &rows, settings.passes)?);
    }
    if settings.parts.contains('b') {
        figures.insert("batches".into(), batches(&snapshot, &questions, settings.passes)?);
    }
    let name = folder.file_name().map_or("ivf-query".into(), |name| format!("ivf-query-{}", name.to_string_lossy()));
    let result = json!({
        "provenance": provenance(42), "rows": count, "dim": dim, "fresh": count - kept, "lists": stats.lists,
        "load_s": loading.as_secs_f64(), "load_peak_bytes": peak, "figures": figures,
    });
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    println!("written to {}", write_result(&results, &name, &result).display());
    Ok(())
}

/// A figure of this process, in bytes; 0 where there is none. The most since the start counts what was there before too.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Commits what was not loaded, a hundred rows at a time.
fn add(collection: &Collection, rows: &[Vec<f32>], from: usize) -> stratavec::Result<()> {
    for (part, rows) in rows[from..].chunks(100).enumerate() {
        let mut batch = collection.batch();
        for (row, id) in rows.iter().zip((from + part * 100) as u64..) {
            batch.upsert(id, row);
        }
        batch.commit_with(stratavec::Durability::Os)?;
    }
    Ok(())
}

fn ids(hits: &Hits) -> Vec<u64> {
    hits.iter().filter_map(|hit| hit.id.as_u64()).collect()
}

fn overlap(found: &[u64], truth: &[u64]) -> f64 {
    truth.iter().filter(|id| found.contains(id)).count() as f64 / truth.len().max(1) as f64
}

/// Mean recall, and mean microseconds per query: of each query the fastest of some passes, and of the fastest pass.
fn measure(
    questions: &Questions,
    passes: usize,
    mut ask: impl FnMut(usize, &[f32]) -> stratavec::Result<Hits>,
) -> Result<(f64, f64, f64), Box<dyn Error>> {
    let mut best = vec![f64::INFINITY; questions.queries.len()];
    let (mut recall, mut fastest) = (0.0, f64::INFINITY);
    for pass in 0..passes.max(1) {
        let mut whole = 0.0;
        for (at, query) in questions.queries.iter().enumerate() {
            let (hits, spent) = time(|| ask(at, query));
            let hits = hits?;
            if pass == 0 {
                recall += overlap(&ids(&hits), &questions.truth[at]);
            }
            best[at] = best[at].min(spent.as_secs_f64() * 1e6);
            whole += spent.as_secs_f64() * 1e6;
            black_box(hits);
        }
        fastest = fastest.min(whole);
    }
    let count = best.len() as f64;
    Ok((recall / count, best.iter().sum::<f64>() / count, fastest / count))
}

fn efforts(snapshot: &Snapshot, questions: &Questions, passes: usize) -> Result<Value, Box<dyn Error>> {
    let probe = |nprobe| Effort::Probe { nprobe, patience: usize::MAX };
    let probes = [4, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192].map(|n| (format!("nprobe {n}"), probe(n)));
    let parts = [0.9, 0.93, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.993, 0.995]
        .map(|part| (format!("recall {part}"), Effort::Recall(part)));
    let sure = [0.9, 0.95, 0.98].map(|part| (format!("confidence {part}"), Effort::Confidence(part)));
    let mut figures = Vec::new();
    for (name, effort) in probes.into_iter().chain(parts).chain(sure) {
        let (recall, us, pass_us) =
            measure(questions, passes, |_, query| snapshot.search(query).k(K).effort(effort).run())?;
        let first = snapshot.search(&questions.queries[0]).k(K).effort(effort).run()?;
        println!(
            "{name:16} recall {recall:.4}  {us:7.1} us  {:7.0} QPS   {:?} lists",
            1e6 / us,
            first.explain().lists_probed
        );
        figures.push(json!({ "effort": name, "recall": recall, "us": us, "pass_us": pass_us }));
    }
    Ok(Value::Array(figures))
}

/// Random ids, and ids of the rows nearest to one side, at several parts of the rows: by effort, and exactly.
fn filters(
    snapshot: &Snapshot,
    questions: &Questions,
    rows: &[Vec<f32>],
    passes: usize,
) -> Result<Value, Box<dyn Error>> {
    let mut figures = Vec::new();
    for part in [0.5, 0.1, 0.03, 0.01, 0.003, 0.001] {
        let draw = |id: &u64| (id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64 / (1u64 << 53) as f64;
        let random: Vec<u64> = (0..rows.len() as u64).filter(|id| draw(id) < part).collect();
        let mut aside: Vec<(f32, u64)> = rows.iter().zip(0..).map(|(row, id)| (row[0] + row[1], id)).collect();
        aside.sort_by(|a, b| a.0.total_cmp(&b.0));
        let aside = aside[..(rows.len() as f64 * part) as usize].iter().map(|(_, id)| *id).collect();
        for (name, chosen) in [("random", random), ("one side", aside)] {
            let filter = Filter::ids(chosen.iter().copied());
            let exact = |query: &[f32]| snapshot.search(query).k(K).effort(Effort::Exact).filter(filter.clone()).run();
            let truth = questions.queries.iter().take(200).map(|query| exact(query).map(|hits| ids(&hits)));
            let some =
                Questions { queries: questions.queries[..200].to_vec(), truth: truth.collect::<Result<_, _>>()? };
            let (recall, us, _) =
                measure(&some, passes, |_, query| snapshot.search(query).k(K).filter(filter.clone()).run())?;
            let (_, brute, _) = measure(&some, passes, |_, query| exact(query))?;
            println!(
                "{name:9} {:6} of {} rows: recall {recall:.4} {us:8.1} us, exact {brute:8.1} us",
                chosen.len(),
                rows.len()
            );
            figures.push(json!({ "filter": name, "part": part, "recall": recall, "us": us, "exact_us": brute }));
        }
    }
    Ok(Value::Array(figures))
}

fn batches(snapshot: &Snapshot, questions: &Questions, passes: usize) -> Result<Value, Box<dyn Error>> {
    let mut figures = Vec::new();
    for effort in [Effort::Recall(0.95), Effort::Recall(0.99), Effort::Exact] {
        let single = (0..passes).map(|_| {
            let (outcome, spent) = time(|| {
                questions.queries.iter().try_for_each(|q| snapshot.search(q).k(K).effort(effort).run().map(|_| ()))
            });
            outcome.map(|()| spent.as_secs_f64())
        });
        let single = single.collect::<Result<Vec<_>, _>>()?.into_iter().fold(f64::INFINITY, f64::min);
        for threads in [1, 2] {
            let spent = (0..passes).map(|_| {
                let (outcome, spent) =
                    time(|| snapshot.search_batch(&questions.queries).k(K).effort(effort).threads(threads).run());
                outcome.map(|_| spent.as_secs_f64())
            });
            let spent = spent.collect::<Result<Vec<_>, _>>()?.into_iter().fold(f64::INFINITY, f64::min);
            let rate = questions.queries.len() as f64 / spent;
            println!("{effort:?} in a batch, {threads} threads: {rate:.0} QPS, {:.2} of one by one", single / spent);
            figures.push(
                json!({ "effort": format!("{effort:?}"), "threads": threads, "qps": rate, "gain": single / spent }),
            );
        }
    }
    Ok(Value::Array(figures))
}
