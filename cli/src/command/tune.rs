//! `stratavec tune`

use std::path::{Path, PathBuf};

use serde_json::json;
use stratavec::{Compaction, Effort, Follower, OpenOptions, Snapshot};

use crate::args::{self, QueryFile, RowRange};
use crate::curve::{self, Point, Queries};
use crate::failure::Failure;
use crate::import::{self, Extras, Fields, Record};
use crate::screen::{Screen, Tone};
use crate::trade::{self, Line};
use crate::words;

/// Measures efforts on a collection and stores the least that finds enough.
pub fn tune(args: &args::Tune, screen: &Screen) -> Result<(), Failure> {
    let path = &args.collection;
    if !(args.recall > 0.0 && args.recall <= 1.0) {
        return Err(Failure::usage(format!("--recall is {}; use a number above 0, at most 1", args.recall)));
    }
    let collection = super::open_read_only(path)?;
    let refused = |e: stratavec::Error| Failure::engine(&e, path);
    let snapshot = collection.snapshot();
    if snapshot.count() < 2 {
        return Err(Failure::failed(format!("{} has too few rows to measure anything", path.display()))
            .because(format!("it has {}", words::counted(snapshot.count(), "row"))));
    }
    // A collection that keeps no vectors and is given no queries cannot be asked for a curve.
    let curved = collection.schema().row_format().keeps_vectors() || args.queries.queries.is_some();
    if args.trade && !curved && args.svg.is_some() {
        return Err(Failure::usage(
            "--svg draws a curve, and the collection keeps no vectors that could ask".to_owned(),
        )
        .because("say which vectors are to be queries: --queries FILE".to_owned()));
    }
    let lines = match args.trade {
        true => trade::measure(
            collection.schema(),
            &rows_of(args, &collection, &snapshot)?,
            asked(args, &collection)?,
            args.sample,
            (args.k as usize, args.threads as usize),
            &args.dir,
        )?,
        false => Vec::new(),
    };
    if args.trade && !curved {
        return match screen.json {
            true => screen
                .document(&json!({ "collection": path.to_string_lossy(), "k": args.k, "trade": trade::json(&lines) })),
            false => trade::show(&lines, screen),
        };
    }
    let (queries, whence) = ask_with(args, &collection, &snapshot)?;
    let points = queries.curve(&snapshot, |_| ()).map_err(refused)?;
    let chosen = points.iter().position(|point| point.recall >= f64::from(args.recall));
    let chosen = chosen.unwrap_or(points.len().saturating_sub(1));
    let lists = points.len() > 1;
    if let Some(file) = &args.svg {
        let title = format!("{}: {} rows, {whence}", path.display(), words::count(snapshot.count()));
        draw(file, &title, args.k as usize, &points)?;
    }
    let effort = points.get(chosen).map_or(Effort::Exact, |point| point.effort);
    let before = snapshot.default_effort();
    let store = !args.dry_run && lists && effort != before;
    let told = Told { args, points: &points, chosen, whence: &whence, stored: store, before, lines: &lines };
    drop(snapshot);
    drop(collection);
    if store {
        let collection = super::open(path, OpenOptions::default().compaction(Compaction::Manual), screen)?;
        collection.set_default_effort(effort).map_err(refused)?;
        super::close(collection, path)?;
    }
    told.tell(screen)
}

/// Queries of a file, if there is one.
fn asked(args: &args::Tune, collection: &Follower) -> Result<Option<Vec<Vec<f32>>>, Failure> {
    let read = |file: &PathBuf| read_queries(file, &args.queries, collection.schema().dim());
    args.queries.queries.as_ref().map(read).transpose()
}

/// The vectors of all rows: its own, or those of a file.
fn rows_of(args: &args::Tune, collection: &Follower, snapshot: &Snapshot) -> Result<Vec<Vec<f32>>, Failure> {
    let keeps = collection.schema().row_format().keeps_vectors();
    match &args.vectors {
        Some(file) => {
            let all = QueryFile { row: None, ..args.queries.clone() };
            read_queries(file, &all, collection.schema().dim())
        }
        None if !keeps => Err(Failure::usage("the collection keeps no vectors (rows none)".to_owned())
            .because("say where they are: --vectors FILE".to_owned())),
        None => {
            let vectors = snapshot.iter().map(|item| item.map(|item| item.vector)).collect::<stratavec::Result<_>>();
            vectors.map_err(|e| Failure::engine(&e, &args.collection))
        }
    }
}

fn ask_with(args: &args::Tune, collection: &Follower, snapshot: &Snapshot) -> Result<(Queries, String), Failure> {
    let (k, threads) = (args.k as usize, args.threads as usize);
    let refused = |e: stratavec::Error| Failure::engine(&e, &args.collection);
    match &args.queries.queries {
        Some(file) => {
            let vectors = read_queries(file, &args.queries, collection.schema().dim())?;
            let whence = format!("{} queries of {}", words::count(vectors.len() as u64), file.display());
            Ok((Queries::foreign(snapshot, vectors, k, threads).map_err(refused)?, whence))
        }
        None if !collection.schema().row_format().keeps_vectors() => {
            Err(Failure::usage("the collection keeps no vectors (rows none) that could ask".to_owned())
                .because("say which vectors are to be queries: --queries FILE".to_owned()))
        }
        None => {
            let queries = Queries::own_rows(snapshot, args.sample, k, threads).map_err(refused)?;
            let whence = format!("{} of its own rows as queries", words::count(queries.len() as u64));
            Ok((queries, whence))
        }
    }
}

/// Reads the vectors of a file that are to be queries.
///
/// # Errors
/// What is wrong with the file; no record in the range; a vector of another dimension.
pub fn read_queries(file: &Path, which: &QueryFile, dim: usize) -> Result<Vec<Vec<f32>>, Failure> {
    let rows = which.row.unwrap_or(RowRange { start: 0, end: u64::MAX });
    let mut source = import::open(file, which.format, &vector_fields(&which.vector_field), Extras::default())?.source;
    let (mut record, mut row, mut vectors) = (Record::default(), 0, Vec::new());
    while row < rows.end && source.read(&mut record)? {
        if row >= rows.start {
            if record.vector.len() != dim {
                let problem = format!("record {row} of {} has {} components", file.display(), record.vector.len());
                return Err(Failure::usage(problem).because(format!("the rows have {dim}")));
            }
            vectors.push(record.vector.clone());
        }
        row += 1;
    }
    match vectors.is_empty() {
        true => Err(Failure::usage(format!("there is no query in {}", file.display()))
            .because(format!("the file has {}", words::counted(row, "record")))),
        false => Ok(vectors),
    }
}

/// Of text formats: only the vector counts.
pub fn vector_fields(name: &str) -> Fields {
    let ids = stratavec::IdKind::Bytes;
    Fields { ids, id: None, vector: Some(name.to_owned()), attributes: Vec::new(), payload: None }
}

/// Draws a curve into a file.
///
/// # Errors
/// The file cannot be written.
pub fn draw(file: &Path, title: &str, k: usize, points: &[Point]) -> Result<(), Failure> {
    std::fs::write(file, curve::draw(title, k, points)).map_err(|e| Failure::io("write", file, &e))
}

/// What is said of it.
struct Told<'t> {
    args: &'t args::Tune,
    points: &'t [Point],
    chosen: usize,
    whence: &'t str,
    stored: bool,
    before: Effort,
    /// What bits of codes buy, if that was asked.
    lines: &'t [Line],
}

impl Told<'_> {
    fn tell(&self, screen: &Screen) -> Result<(), Failure> {
        let Some(point) = self.points.get(self.chosen) else { return Ok(()) };
        let path = self.args.collection.display();
        if screen.json {
            return screen.document(&json!({
                "collection": path.to_string(),
                "k": self.args.k,
                "wanted_recall": self.args.recall,
                "queries": self.whence,
                "curve": curve::json(self.points),
                "chosen": curve::effort_json(point.effort),
                "stored": self.stored,
                "stored_before": curve::effort_json(self.before),
                "trade": trade::json(self.lines),
            }));
        }
        screen.line(screen.paint(Tone::Strong, &format!("{path}   k {}   {}", self.args.k, self.whence)))?;
        curve::show(self.points, Some(self.chosen), screen)?;
        if !self.lines.is_empty() {
            trade::show(self.lines, screen)?;
        }
        let effort = curve::effort_text(point.effort);
        screen.line(match (self.points.len(), self.stored, self.args.dry_run) {
            (1, ..) => "every row is measured by each search: there is nothing to choose".to_owned(),
            (_, true, _) => format!("stored: searches that do not say how hard to look do as with {effort}"),
            (_, false, true) => format!("would store {effort}"),
            (_, false, false) => format!("searches that do not say how hard to look do as with {effort} already"),
        })
    }
}
