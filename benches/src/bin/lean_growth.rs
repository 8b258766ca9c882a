//! Lists of a collection without vectors while rows come: what is found, and how many entries that takes, where lists are added to a model and codes
//! are copied; beside a collection that never gets lists again, and one that was loaded at once.
//!
//! `cargo run --release -p stratavec-benches --bin lean_growth -- [name=value ..]` with `STRATAVEC_BENCH_VECTORS` naming a folder as for `ivf_path`.
//! Names: bits (1,2,4), queries (how many), rows (how many), asked (retrains asked for at the end).

use std::error::Error;
use std::path::Path;

use serde_json::{Value, json};
use stratavec::{
    BulkItem, Codes, Collection, Compact, Compaction, Effort, Hits, Id, IdKind, IndexKind, IvfOptions, Metric,
    OpenOptions, RowFormat, Schema, Snapshot, Spill,
};
use stratavec_benches::{Scratch, matrix_of_halves, provenance, write_result};

const K: usize = 10;
const CANDIDATES: usize = 64;
/// Rows that others are of the kind of, if they are nearest to them.
const KINDS: usize = 12;

struct Data {
    rows: Vec<Vec<f32>>,
    queries: Vec<Vec<f32>>,
    truth: Vec<Vec<u64>>,
    dim: usize,
}

fn product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// So many rows, and the true neighbours among them.
fn read(folder: &Path, rows: usize, queries: usize) -> Result<Data, Box<dyn Error>> {
    let unit = |row: &[f32]| {
        let length = product(row, row).sqrt();
        row.iter().map(|x| x / length).collect::<Vec<f32>>()
    };
    let (base, dim) = matrix_of_halves(&folder.join("base.f16.npy"))?;
    let (asked, _) = matrix_of_halves(&folder.join("query.f16.npy"))?;
    let rows: Vec<Vec<f32>> = base.chunks_exact(dim).take(rows).map(unit).collect();
    let queries: Vec<Vec<f32>> = asked.chunks_exact(dim).take(queries).map(unit).collect();
    let nearest = |query: &Vec<f32>| {
        let mut all: Vec<(f32, u64)> = rows.iter().zip(0..).map(|(row, id)| (-product(row, query), id)).collect();
        all.select_nth_unstable_by(K, |a, b| a.0.total_cmp(&b.0));
        all.iter().take(K).map(|(_, id)| *id).collect()
    };
    let truth = queries.iter().map(nearest).collect();
    Ok(Data { rows, queries, truth, dim })
}

/// Ids in the order in which rows come: as they are, or kind by kind, half of the rows in front, of half of the kinds.
fn order(data: &Data, by_kind: bool) -> Vec<u64> {
    let mut ids: Vec<u64> = (0..data.rows.len() as u64).collect();
    if by_kind {
        let step = data.rows.len() / KINDS;
        let kind = |id: &u64| {
            let row = &data.rows[*id as usize];
            let near = (0..KINDS).map(|kind| (product(row, &data.rows[kind * step]), kind));
            near.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |near| near.1)
        };
        ids.sort_by_cached_key(|id| kind(id));
        let half = ids.len() / 2;
        // Training sees these in no order.
        ids[..half].sort_by_key(|id| id.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }
    ids
}

fn found(
    data: &Data,
    mut ask: impl FnMut(&[f32]) -> Result<Hits, stratavec::Error>,
) -> Result<(f64, f64), Box<dyn Error>> {
    let (mut found, mut scanned) = (0, 0);
    for (query, truth) in data.queries.iter().zip(&data.truth) {
        let hits = ask(query)?;
        found += hits.iter().filter(|hit| hit.id.as_u64().is_some_and(|id| truth.contains(&id))).count();
        scanned += hits.explain().entries_scanned;
    }
    let asked = data.queries.len() as f64;
    Ok((found as f64 / (K as f64 * asked), scanned as f64 / asked))
}

/// Recall by estimates, and of reranked candidates; entries scanned for 0.90 of the nearest.
fn measure(data: &Data, snapshot: &Snapshot, lists: u64) -> Result<Value, Box<dyn Error>> {
    let mut source = |ids: &[Id]| {
        let row = |id: &Id| id.as_u64().and_then(|id| data.rows.get(id as usize)).cloned().unwrap_or_default();
        Ok::<_, std::io::Error>(ids.iter().map(row).collect())
    };
    let (plain, _) = found(data, |query| snapshot.search(query).k(K).effort(Effort::Exact).run())?;
    let mut reranked = |effort: Effort, candidates: usize| {
        found(data, |query| {
            snapshot.search(query).k(K).effort(effort).candidates(candidates).rerank_with(&mut source).run()
        })
    };
    let (few, _) = reranked(Effort::Exact, 32)?;
    let (all, _) = reranked(Effort::Exact, CANDIDATES)?;
    let mut nprobe = 2;
    let entries = loop {
        let (recall, entries) = reranked(Effort::Probe { nprobe, patience: usize::MAX }, CANDIDATES)?;
        if recall >= 0.90 || nprobe as u64 >= lists {
            break entries;
        }
        nprobe = nprobe * 8 / 7 + 1;
    };
    Ok(json!({"estimates": plain, "of_32": few, "of_64": all, "entries_for_90": entries, "nprobe": nprobe}))
}

fn report(what: &str, c: &Collection, data: &Data) -> Result<Value, Box<dyn Error>> {
    let stats = c.stats();
    let mut found = measure(data, &c.snapshot(), stats.lists)?;
    println!(
        "  {what:<26} lists {:5} retrains {:2} estimates {:.3} of 32 {:.3} of 64 {:.3} entries for 0.90 {:6.0} (nprobe {})",
        stats.lists,
        stats.retrains,
        found["estimates"].as_f64().unwrap_or(0.0),
        found["of_32"].as_f64().unwrap_or(0.0),
        found["of_64"].as_f64().unwrap_or(0.0),
        found["entries_for_90"].as_f64().unwrap_or(0.0),
        found["nprobe"]
    );
    found["what"] = what.into();
    found["lists"] = stats.lists.into();
    found["retrains"] = stats.retrains.into();
    found["bytes_of_lists_written"] = stats.list_bytes_written.into();
    Ok(found)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut bits, mut queries, mut rows, mut asked) = (vec![1_u8, 2, 4], 300, 50_000, 3);
    for word in std::env::args().skip(1) {
        match word.split_once('=').ok_or("settings are name=value")? {
            ("bits", value) => bits = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            ("queries", value) => queries = value.parse()?,
            ("rows", value) => rows = value.parse()?,
            ("asked", value) => asked = value.parse()?,
            _ => return Err(format!("no setting is {word}").into()),
        }
    }
    let folder = std::env::var("STRATAVEC_BENCH_VECTORS").map_err(|_| "STRATAVEC_BENCH_VECTORS names no folder")?;
    let data = read(Path::new(&folder), rows, queries)?;
    let scratch = Scratch::new("lean-growth");
    let mut figures = Vec::new();
    for bits in bits {
        for by_kind in [false, true] {
            println!("{bits} bits, rows {}", if by_kind { "kind by kind" } else { "in no order" });
            let ids = order(&data, by_kind);
            let mut lines = Vec::new();
            let loaded =
                create(&data, &scratch.path(&format!("loaded-{bits}-{by_kind}")), bits, Compaction::default())?;
            load(&loaded, &data, &ids)?;
            lines.push(report("loaded at once", &loaded, &data)?);
            for (what, compaction) in [("never again", Compaction::Manual), ("lists are added", Compaction::default())]
            {
                let c = create(&data, &scratch.path(&format!("{what}-{bits}-{by_kind}")), bits, compaction)?;
                let first = if by_kind { ids.len() / 2 } else { ids.len() / 8 };
                load(&c, &data, &ids[..first])?;
                for part in ids[first..].chunks(ids.len() / 32) {
                    let mut batch = c.batch();
                    part.iter().for_each(|id| {
                        batch.upsert(*id, &data.rows[*id as usize]);
                    });
                    batch.commit()?;
                    c.flush()?;
                    if compaction != Compaction::Manual {
                        c.compact(Compact::Auto)?.wait()?;
                    }
                }
                lines.push(report(what, &c, &data)?);
                if compaction != Compaction::Manual {
                    for n in 1..=asked {
                        c.compact(Compact::Retrain)?.wait()?;
                        lines.push(report(&format!("asked for, {n}"), &c, &data)?);
                    }
                }
                c.close()?;
            }
            figures.push(json!({"bits": bits, "by_kind": by_kind, "lines": lines}));
        }
    }
    let result = json!({"provenance": provenance(42), "rows": data.rows.len(), "dim": data.dim, "queries": queries, "figures": figures});
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    println!("written to {}", write_result(&results, "lean_growth", &result).display());
    Ok(())
}

fn create(data: &Data, path: &Path, bits: u8, compaction: Compaction) -> Result<Collection, Box<dyn Error>> {
    let index = IndexKind::Ivf(IvfOptions::auto().codes(Codes::Bits(bits)).spill(Spill::Off));
    let schema = Schema::new(data.dim, Metric::Cosine).rows(RowFormat::None).index(index).ids(IdKind::U64).seed(42);
    Ok(Collection::create(path, schema, OpenOptions::new().flush_bytes(1 << 30).compaction(compaction))?)
}

fn load(c: &Collection, data: &Data, ids: &[u64]) -> Result<(), Box<dyn Error>> {
    let items: Vec<BulkItem> = ids.iter().map(|id| BulkItem::new(*id, data.rows[*id as usize].clone())).collect();
    c.bulk_load(items)?.wait()?;
    c.compact(Compact::Auto)?.wait()?;
    Ok(())
}
