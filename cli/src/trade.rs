//! What bits of codes buy: collections without vectors answer by codes alone, or give the best candidates to a source that knows their vectors.
//! The more bits, the fewer vectors have to be given for the same recall.

use std::path::Path;

use serde_json::{Value as Json, json};
use stratavec::{
    BulkItem, Codes, Collection, Compact, Effort, Id, IdKind, IndexKind, IvfOptions, OpenOptions, RowFormat, Schema,
    Spill,
};

use crate::curve::Queries;
use crate::failure::Failure;
use crate::screen::{Screen, Tone};

/// Bits that are tried.
const BITS: [u8; 5] = [1, 2, 3, 4, 8];
/// Vectors given for each query, as multiples of `k`.
const MULTIPLES: [f64; 11] = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0];
/// Parts of the true nearest rows to be found.
const PARTS: [f64; 3] = [0.9, 0.95, 0.99];

/// What codes of so many bits do.
pub struct Line {
    bits: u8,
    /// In list files, for each row.
    bytes_per_row: f64,
    /// By codes alone.
    recall: f64,
    /// For each of [`PARTS`] the fewest vectors that are enough, if any number that was tried is.
    given: [Option<usize>; PARTS.len()],
}

/// Measures codes of all widths over these rows, which are asked with so many of their own or with `asked`. Builds collections in `dir`, which is made
/// and removed.
///
/// # Errors
/// The directory is there already; of the engine.
pub fn measure(
    schema: &Schema,
    rows: &[Vec<f32>],
    asked: Option<Vec<Vec<f32>>>,
    sample: u64,
    (k, threads): (usize, usize),
    dir: &Path,
) -> Result<Vec<Line>, Failure> {
    std::fs::create_dir(dir).map_err(|e| Failure::io("make", dir, &e).hint("choose another place: --dir DIR"))?;
    let measured = measure_in(schema, rows, asked, sample, (k, threads), dir);
    // It was made by this command, and what cannot be removed stays.
    let _ = std::fs::remove_dir_all(dir);
    measured.map_err(|e| Failure::engine(&e, dir))
}

fn measure_in(
    schema: &Schema,
    rows: &[Vec<f32>],
    asked: Option<Vec<Vec<f32>>>,
    sample: u64,
    (k, threads): (usize, usize),
    dir: &Path,
) -> stratavec::Result<Vec<Line>> {
    let flat = Schema::new(schema.dim(), schema.metric()).ids(IdKind::U64);
    let known = build(&dir.join("known"), flat.clone(), rows)?;
    let queries = match asked {
        Some(vectors) => Queries::foreign(&known.snapshot(), vectors, k, threads)?,
        None => Queries::own_rows(&known.snapshot(), sample, k, threads)?,
    };
    known.close()?;
    let lists = match schema.index_kind() {
        IndexKind::Ivf(options) => options,
        _ => IvfOptions::auto().spill(Spill::Off),
    };
    let line = |bits: u8| {
        let index = IndexKind::Ivf(lists.codes(Codes::Bits(bits)));
        let path = dir.join(format!("bits-{bits}"));
        let lean = build(&path, flat.clone().rows(RowFormat::None).index(index), rows)?;
        let line = trade(&lean, &queries, rows, k, bits)?;
        lean.close()?;
        let _ = std::fs::remove_dir_all(&path);
        Ok(line)
    };
    BITS.into_iter().map(line).collect()
}

fn build(path: &Path, schema: Schema, rows: &[Vec<f32>]) -> stratavec::Result<Collection> {
    let collection = Collection::create(path, schema, OpenOptions::default())?;
    let items: Vec<BulkItem> = rows.iter().zip(0u64..).map(|(row, id)| BulkItem::new(id, row.clone())).collect();
    collection.bulk_load(items)?.wait()?;
    // Vectors that are not kept go with the merges that follow.
    collection.compact(Compact::Full)?.wait()?;
    Ok(collection)
}

fn trade(lean: &Collection, queries: &Queries, rows: &[Vec<f32>], k: usize, bits: u8) -> stratavec::Result<Line> {
    let snapshot = lean.snapshot();
    let mut source = |ids: &[Id]| {
        let of = |id: &Id| id.as_u64().and_then(|id| rows.get(id as usize)).cloned().unwrap_or_default();
        Ok::<_, std::io::Error>(ids.iter().map(of).collect::<Vec<_>>())
    };
    let mut line = Line {
        bits,
        bytes_per_row: list_bytes(lean) / rows.len().max(1) as f64,
        recall: 0.0,
        given: Default::default(),
    };
    for multiple in MULTIPLES {
        let count = (k as f64 * multiple).ceil() as usize;
        let found = queries.found_with(|vector, asked| {
            let search = snapshot.search(vector).k(asked).effort(Effort::Exact);
            search.candidates(count + asked - k).rerank_with(&mut source).run()
        })?;
        // As many as are wanted: what codes alone would choose, measured.
        if count == k {
            line.recall = found;
        }
        for (part, enough) in PARTS.iter().zip(&mut line.given) {
            if found >= *part && enough.is_none() {
                *enough = Some(count);
            }
        }
        if line.given.iter().all(Option::is_some) {
            break;
        }
    }
    Ok(line)
}

fn list_bytes(collection: &Collection) -> f64 {
    let parts = collection.stats().bytes_by_part();
    parts.iter().filter(|(part, _)| *part == "codes").map(|(_, bytes)| *bytes as f64).sum()
}

/// As a table.
///
/// # Errors
/// The end of the command if nobody reads any more.
pub fn show(lines: &[Line], screen: &Screen) -> Result<(), Failure> {
    let what = "vectors given for each query (rerank_with) for a recall of";
    screen.line(format!("without vectors (rows none), every row looked at; {what}"))?;
    let head =
        format!("  {:<5} {:>9} {:>12} {:>6} {:>6} {:>6}", "bits", "bytes/row", "codes alone", "0.90", "0.95", "0.99");
    screen.line(screen.paint(Tone::Faint, &head))?;
    for line in lines {
        let given = line.given.map(|count| count.map_or_else(|| "-".to_owned(), |count| count.to_string()));
        let [low, middle, high] = &given;
        screen.line(format!(
            "  {:<5} {:>9.1} {:>12.4} {low:>6} {middle:>6} {high:>6}",
            line.bits, line.bytes_per_row, line.recall
        ))?;
    }
    Ok(())
}

/// For programs.
pub fn json(lines: &[Line]) -> Json {
    let given = |line: &Line| -> Json {
        let of = |(part, count): (&f64, &Option<usize>)| json!({ "recall": part, "vectors": count });
        PARTS.iter().zip(&line.given).map(of).collect()
    };
    let of = |line: &Line| json!({ "bits": line.bits, "list_bytes_per_row": line.bytes_per_row, "recall_of_codes": line.recall, "given": given(line) });
    lines.iter().map(of).collect()
}
