//! `stratavec bench`: a collection is built of a file of vectors, and everything about it is measured.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use stratavec::{BulkItem, Collection, Durability, IdKind, Metric, OpenOptions, Schema};

use crate::args;
use crate::curve::{self, Point, Queries};
use crate::demo;
use crate::failure::Failure;
use crate::import::{self, Extras, Record};
use crate::screen::{Screen, Tone};
use crate::words;

use super::tune::{draw, read_queries, vector_fields};

/// The data set that comes with the project.
const WORDS: &str = "words";
/// Records held out as queries, if there are ten times as many.
const HELD_OUT: usize = 1_000;
/// Rows per batch, and how long batches are committed, to measure durable writing.
const BATCH: usize = 1_000;
const INGEST: Duration = Duration::from_secs(3);

/// Builds, measures, tells.
pub fn bench(args: &args::Bench, screen: &Screen) -> Result<(), Failure> {
    let index = args.index.kind().map_err(Failure::usage)?;
    let (data, metric) = read(args)?;
    let dim = data.rows.first().map_or(0, Vec::len);
    let place = Place::make(&args.dir, args.keep)?;
    let schema = Schema::new(dim, metric).ids(IdKind::U64).rows(args.rows.into()).index(index).seed(args.seed);
    let refused = |e: stratavec::Error| Failure::engine(&e, place.dir);
    let (build, bytes) = build(&place, &schema, &data.rows).map_err(refused)?;
    let start = Instant::now();
    let collection = Collection::open(place.dir, OpenOptions::default()).map_err(refused)?;
    let opened = start.elapsed();
    let snapshot = collection.snapshot();
    let queries = Queries::foreign(&snapshot, data.queries.clone(), args.k as usize, args.threads as usize);
    let queries = queries.map_err(refused)?;
    let points = queries.curve(&snapshot, |_| ()).map_err(refused)?;
    let ingest = ingest(&collection, &data.rows).map_err(refused)?;
    drop(snapshot);
    collection.close().map_err(refused)?;
    if let Some(file) = &args.svg {
        let title =
            format!("{}: {} x {dim}, {}", args.data.display(), words::count(data.rows.len() as u64), metric.name());
        draw(file, &title, args.k as usize, &points)?;
    }
    let rows = data.rows.len();
    let figures = Figures { args, schema: &schema, rows, queries: queries.len(), build, bytes, opened, ingest, points };
    figures.tell(screen)
}

/// Vectors to store and vectors to ask with.
struct Data {
    rows: Vec<Vec<f32>>,
    queries: Vec<Vec<f32>>,
}

fn read(args: &args::Bench) -> Result<(Data, Metric), Failure> {
    let shipped = args.data.as_os_str() == WORDS;
    let metric = match (args.metric, shipped) {
        (Some(metric), _) => metric.into(),
        (None, true) => Metric::Cosine,
        (None, false) => return Err(Failure::usage("--metric is missing").hint("--metric l2, cosine or ip")),
    };
    let mut rows = Vec::new();
    let mut source = match shipped {
        true => demo::vectors()?,
        false => {
            import::open(
                &args.data,
                args.queries.format,
                &vector_fields(&args.queries.vector_field),
                Extras::default(),
            )?
            .source
        }
    };
    let mut record = Record::default();
    while rows.len() as u64 != args.limit.unwrap_or(u64::MAX) && source.read(&mut record)? {
        rows.push(record.vector.clone());
    }
    let dim = rows.first().map_or(0, Vec::len);
    let queries = match &args.queries.queries {
        Some(file) => read_queries(file, &args.queries, dim)?,
        None => {
            let count = args.hold_out.map_or(HELD_OUT.min(rows.len() / 10), |count| count as usize);
            if count == 0 || count >= rows.len() {
                let found = words::counted(rows.len() as u64, "record");
                return Err(Failure::usage(format!("{found} are too few to hold {count} out as queries")));
            }
            rows.split_off(rows.len() - count)
        }
    };
    Ok((Data { rows, queries }, metric))
}

/// Loads all rows, up to a closed collection whose files are synced. How long it took, and the bytes of its files.
fn build(place: &Place<'_>, schema: &Schema, rows: &[Vec<f32>]) -> stratavec::Result<(Duration, u64)> {
    let start = Instant::now();
    let collection = Collection::create(place.dir, schema.clone(), OpenOptions::default())?;
    let items: Vec<BulkItem> = rows.iter().zip(0u64..).map(|(row, id)| BulkItem::new(id, row.clone())).collect();
    collection.bulk_load(items)?.wait()?;
    let bytes = collection.stats().file_bytes;
    collection.close()?;
    Ok((start.elapsed(), bytes))
}

/// Rows per second that are committed in batches, each synced before the next: the same vectors under new ids.
fn ingest(collection: &Collection, rows: &[Vec<f32>]) -> stratavec::Result<f64> {
    let (start, mut written) = (Instant::now(), 0u64);
    let mut vectors = rows.iter().cycle();
    while start.elapsed() < INGEST {
        let mut batch = collection.batch();
        for vector in vectors.by_ref().take(BATCH) {
            batch.upsert((1 << 40) + written, vector);
            written += 1;
        }
        batch.commit_with(Durability::Sync)?;
    }
    Ok(written as f64 / start.elapsed().as_secs_f64())
}

/// The directory of the collection, removed at the end unless it is to stay.
struct Place<'p> {
    dir: &'p Path,
    keep: bool,
}

impl<'p> Place<'p> {
    fn make(dir: &'p Path, keep: bool) -> Result<Self, Failure> {
        std::fs::create_dir(dir).map_err(|e| Failure::io("make", dir, &e).hint("choose another place: --dir DIR"))?;
        Ok(Place { dir, keep })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.keep {
            // It was made by this command, and what cannot be removed stays.
            let _ = std::fs::remove_dir_all(self.dir);
        }
    }
}

/// Everything that was measured.
struct Figures<'f> {
    args: &'f args::Bench,
    schema: &'f Schema,
    rows: usize,
    queries: usize,
    build: Duration,
    bytes: u64,
    opened: Duration,
    ingest: f64,
    points: Vec<Point>,
}

impl Figures<'_> {
    fn tell(&self, screen: &Screen) -> Result<(), Failure> {
        if screen.json {
            return screen.document(&self.json());
        }
        let schema = self.schema;
        let head = format!(
            "{}   {} of {}-d {} {}, {} index   {} queries, k {}",
            self.args.data.display(),
            words::counted(self.rows as u64, "vector"),
            schema.dim(),
            schema.metric().name(),
            schema.row_format().name(),
            schema.index_kind().name(),
            words::count(self.queries as u64),
            self.args.k
        );
        screen.line(screen.paint(Tone::Strong, &head))?;
        screen.line(format!(
            "build {} ({}, synced)   {} bytes per vector ({:.0} % of raw f32)   open {}   durable batches of {BATCH}: {} rows/s",
            words::time(self.build),
            words::rate(self.rows as u64, self.build),
            words::count(self.bytes_per_vector().round() as u64),
            self.bytes_per_vector() / (schema.dim() * 4) as f64 * 100.0,
            words::time(self.opened),
            words::count(self.ingest.round() as u64)
        ))?;
        curve::show(&self.points, None, screen)
    }

    fn bytes_per_vector(&self) -> f64 {
        self.bytes as f64 / self.rows.max(1) as f64
    }

    fn json(&self) -> Json {
        let schema = self.schema;
        json!({
            "data": self.args.data.to_string_lossy(),
            "rows": self.rows,
            "queries": self.queries,
            "dim": schema.dim(),
            "metric": schema.metric().name(),
            "row_format": schema.row_format().name(),
            "index": schema.index_kind().to_string(),
            "seed": self.args.seed,
            "k": self.args.k,
            "version": env!("CARGO_PKG_VERSION"),
            "processor": processor(),
            "threads_of_machine": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            "build_seconds": self.build.as_secs_f64(),
            "file_bytes": self.bytes,
            "bytes_per_vector": self.bytes_per_vector(),
            "open_milliseconds": self.opened.as_secs_f64() * 1e3,
            "durable_rows_per_second": self.ingest,
            "curve": curve::json(&self.points),
        })
    }
}

/// The name that the system has for the processor, if it tells.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}
