//! What rows as bytes and collections without vectors lose, what they take, and how many vectors a source has to give for how much recall.
//! Of one bit and 384 components the list files are held to 1.3 times sign bits and twelve bytes, and an example of 100,000 rows of 768
//! components in 1,000 lists to a twentieth of what the rows are as f32, all files counted.
//!
//! `cargo run --release -p stratavec-benches --bin lean -- [name=value ..]` with `STRATAVEC_BENCH_VECTORS` naming a folder as for `ivf_path`.
//! Names: metric (cosine, l2, ip), queries (how many of them), per_list (rows for each list, 256), nprobe (96), example (rows of it, 100000).

use std::error::Error;
use std::path::Path;

use serde_json::{Value, json};
use stratavec::{
    BulkItem, Codes, Collection, Compact, Effort, Hits, Id, IdKind, IndexKind, IvfOptions, Metric, OpenOptions,
    RowFormat, Schema, Snapshot, Spill,
};
use stratavec_benches::{Random, Scratch, matrix_of_halves, matrix_of_words, provenance, time, write_result};

const K: usize = 10;
const CANDIDATES: [usize; 9] = [10, 16, 24, 32, 48, 64, 96, 128, 192];

/// Rows, queries, and the ids of their true neighbours.
struct Data {
    rows: Vec<Vec<f32>>,
    queries: Vec<Vec<f32>>,
    truth: Vec<Vec<u64>>,
    dim: usize,
    metric: Metric,
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut metric, mut queries, mut per_list, mut nprobe, mut example) = (Metric::Cosine, 500, 256, 96, 100_000);
    for word in std::env::args().skip(1) {
        match word.split_once('=').ok_or("settings are name=value")? {
            ("metric", "cosine") => metric = Metric::Cosine,
            ("metric", "l2") => metric = Metric::L2,
            ("metric", "ip") => metric = Metric::InnerProduct,
            ("queries", value) => queries = value.parse()?,
            ("per_list", value) => per_list = value.parse()?,
            ("nprobe", value) => nprobe = value.parse()?,
            ("example", value) => example = value.parse()?,
            _ => return Err(format!("no setting is {word}").into()),
        }
    }
    let folder = std::env::var("STRATAVEC_BENCH_VECTORS").map_err(|_| "STRATAVEC_BENCH_VECTORS names no folder")?;
    let data = read(Path::new(&folder), metric, queries)?;
    let scratch = Scratch::new("lean");
    let bytes = as_bytes(&data, &scratch)?;
    let mut lean = Vec::new();
    for bits in [1, 2, 3, 4] {
        lean.push(without_vectors(&data, &scratch, bits, per_list, nprobe)?);
    }
    let example = of_example(&scratch, example)?;
    let result = json!({
        "provenance": provenance(42), "rows": data.rows.len(), "dim": data.dim, "bytes": bytes, "lean": lean, "example": example,
        "rows_per_list": per_list, "nprobe": nprobe, "candidates": CANDIDATES,
    });
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    println!("written to {}", write_result(&results, "lean", &result).display());
    Ok(())
}

fn read(folder: &Path, metric: Metric, queries: usize) -> Result<Data, Box<dyn Error>> {
    let (base, dim) = matrix_of_halves(&folder.join("base.f16.npy"))?;
    let (asked, _) = matrix_of_halves(&folder.join("query.f16.npy"))?;
    let (truth, known) = matrix_of_words(&folder.join("gt100.npy"))?;
    Ok(Data {
        rows: base.chunks_exact(dim).map(<[f32]>::to_vec).collect(),
        queries: asked.chunks_exact(dim).take(queries).map(<[f32]>::to_vec).collect(),
        truth: truth.chunks_exact(known).map(|row| row[..K].iter().map(|id| u64::from(*id)).collect()).collect(),
        dim,
        metric,
    })
}

fn load(data: &Data, path: &Path, schema: Schema) -> Result<Collection, Box<dyn Error>> {
    load_rows(data.rows.iter().cloned(), path, schema)
}

fn load_rows(rows: impl Iterator<Item = Vec<f32>>, path: &Path, schema: Schema) -> Result<Collection, Box<dyn Error>> {
    let collection =
        Collection::create(path, schema.ids(IdKind::U64).seed(42), OpenOptions::new().flush_bytes(1 << 30))?;
    let items: Vec<BulkItem> = rows.zip(0u64..).map(|(row, id)| BulkItem::new(id, row)).collect();
    collection.bulk_load(items)?.wait()?;
    collection.compact(Compact::Auto)?.wait()?;
    Ok(collection)
}

/// Bytes of the files in a directory whose names begin with this.
fn bytes_of(folder: &Path, begin: &str) -> Result<u64, Box<dyn Error>> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(begin) {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// What a limit is and whether it holds, which is said either way.
fn held(what: &str, found: f64, limit: f64) -> Value {
    let holds = found <= limit;
    println!("  {what}: {found:.4}, limit {limit:.4}: {}", if holds { "holds" } else { "DOES NOT HOLD" });
    json!({"found": found, "limit": limit, "holds": holds})
}

/// Rows of 768 components around 5,000 points, in 1,000 lists for 100,000 of them, one bit for each component: bytes of all files.
fn of_example(scratch: &Scratch, rows: u64) -> Result<Value, Box<dyn Error>> {
    const DIM: usize = 768;
    const POINTS: u64 = 5_000;
    let options = IvfOptions::auto().codes(Codes::Bits(1)).spill(Spill::Off).nlist((rows / 100).max(1) as u32);
    let schema = Schema::new(DIM, Metric::Cosine).rows(RowFormat::None).index(IndexKind::Ivf(options));
    let points: Vec<Vec<f32>> = (0..POINTS.min(rows)).map(|point| Random::new(point).vector(DIM)).collect();
    let row = |n: u64| {
        let noise = Random::new((1 << 32) + n).vector(DIM);
        let point = &points[n as usize % points.len()];
        point.iter().zip(&noise).map(|(x, noise)| x + 0.7 * noise).collect()
    };
    let path = scratch.path("example");
    let c = load_rows((0..rows).map(row), &path, schema)?;
    let parts = c.stats().bytes_by_part();
    let lists = c.stats().lists;
    c.close()?;
    let (all, raw) = (bytes_of(&path, "")?, rows * DIM as u64 * 4);
    println!(
        "example: {rows} rows of {DIM} components, {lists} lists: {all} bytes in all files, {raw} as f32; {parts:?}"
    );
    let part = held("all files for each byte of f32", all as f64 / raw as f64, 0.05);
    Ok(
        json!({"rows": rows, "dim": DIM, "lists": lists, "bytes": all, "raw_bytes": raw, "parts": parts, "part_of_raw": part}),
    )
}

/// The mean part of the true neighbours that `ask` finds.
fn recall(data: &Data, mut ask: impl FnMut(&[f32]) -> Result<Hits, stratavec::Error>) -> Result<f64, Box<dyn Error>> {
    let mut found = 0;
    for (query, truth) in data.queries.iter().zip(&data.truth) {
        found += ask(query)?.iter().filter(|hit| hit.id.as_u64().is_some_and(|id| truth.contains(&id))).count();
    }
    Ok(found as f64 / (K * data.queries.len()) as f64)
}

/// Recall after the source gave so many vectors.
fn reranked(data: &Data, snapshot: &Snapshot, effort: Effort, candidates: usize) -> Result<f64, Box<dyn Error>> {
    let mut source = |ids: &[Id]| {
        let row = |id: &Id| id.as_u64().and_then(|id| data.rows.get(id as usize)).cloned().unwrap_or_default();
        Ok::<_, std::io::Error>(ids.iter().map(row).collect())
    };
    recall(data, |query| {
        snapshot.search(query).k(K).effort(effort).candidates(candidates).rerank_with(&mut source).run()
    })
}

fn as_bytes(data: &Data, scratch: &Scratch) -> Result<Value, Box<dyn Error>> {
    let mut figures = Vec::new();
    for rows in [RowFormat::F32, RowFormat::F16, RowFormat::I8] {
        let name = rows.name();
        let c = load(data, &scratch.path(name), Schema::new(data.dim, data.metric).rows(rows))?;
        let snapshot = c.snapshot();
        let (found, taken) = time(|| recall(data, |query| snapshot.search(query).k(K).run()));
        let (found, micros) = (found?, taken.as_secs_f64() * 1e6 / data.queries.len() as f64);
        let again = reranked(data, &snapshot, Effort::Exact, K + 6)?;
        let stored = c.stats().bytes_by_part().iter().find(|(part, _)| *part == "vectors").map_or(0, |(_, b)| *b);
        let each = stored as f64 / data.rows.len() as f64;
        println!(
            "rows {name}: recall@10 {found:.4}, {micros:.0} us a scan, {each:.1} bytes a row; 16 reranked {again:.4}"
        );
        figures.push(json!({"rows": name, "recall": found, "scan_us": micros, "reranked": again, "bytes": each}));
    }
    Ok(figures.into())
}

fn without_vectors(
    data: &Data,
    scratch: &Scratch,
    bits: u8,
    per_list: usize,
    nprobe: usize,
) -> Result<Value, Box<dyn Error>> {
    let nlist = (data.rows.len() / per_list).max(1) as u32;
    let index = IndexKind::Ivf(IvfOptions::auto().codes(Codes::Bits(bits)).spill(Spill::Off).nlist(nlist));
    let schema = Schema::new(data.dim, data.metric).rows(RowFormat::None).index(index);
    let path = scratch.path(&format!("lean-{bits}"));
    let c = load(data, &path, schema)?;
    let (stats, snapshot) = (c.stats(), c.snapshot());
    let each = |bytes: u64| bytes as f64 / stats.rows as f64;
    let parts: Vec<(&str, f64)> = stats.bytes_by_part().into_iter().map(|(part, b)| (part, each(b))).collect();
    let effort = Effort::Probe { nprobe, patience: usize::MAX };
    let plain = recall(data, |query| snapshot.search(query).k(K).effort(effort).run())?;
    let mut curve = Vec::new();
    for candidates in CANDIDATES {
        curve.push(reranked(data, &snapshot, effort, candidates)?);
    }
    let text: Vec<String> = parts.iter().filter(|(_, b)| *b > 0.0).map(|(part, b)| format!("{part} {b:.1}")).collect();
    println!(
        "lean, {bits} bits, {} lists, {:.1} bytes a row in files: {}",
        stats.lists,
        each(stats.file_bytes),
        text.join(", ")
    );
    let points: Vec<String> = CANDIDATES.iter().zip(&curve).map(|(n, recall)| format!("{n}: {recall:.3}")).collect();
    println!("  recall@10 of estimates {plain:.3}; reranked {}", points.join("  "));
    let list_bytes = each(bytes_of(&path, "lst-")?);
    let list_bytes = match bits {
        1 => held("bytes of list files for each row", list_bytes, 1.3 * (data.dim as f64 / 8.0 + 12.0)),
        _ => json!({"found": list_bytes}),
    };
    Ok(json!({
        "bits": bits, "list_bytes": list_bytes, "lists": stats.lists, "file_bytes": each(stats.file_bytes), "parts": parts,
        "estimates": plain, "reranked": curve,
    }))
}
