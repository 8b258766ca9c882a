//! `stratavec demo`: the engine's main job on real data, and the proof that it keeps what it acknowledged.
//!
//! 1. Import 5,000 WordNet entries with their embeddings, durably. 2. Search, show the texts found, and compare 200
//!    answers with the exact ones. 3. Update and delete, and see the next search change. 4. Let another process write,
//!    kill it with SIGKILL at random moments, and check the whole collection after each. 5. Verify every byte.
//!
//! The collection stays for the reader to play with.

mod data;
mod kills;
mod place;
mod tour;
mod writer;

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use stratavec::{Collection, IdKind, Metric, OpenOptions, RowFormat, Schema, Stats, Verify, VerifyReport};

pub use writer::write;

use crate::args;
use crate::command::{self, Imported, Job};
use crate::failure::Failure;
use crate::import::{Meter, RecordSource};
use crate::screen::{Screen, Tone};
use crate::words;

use data::Data;

/// Records per batch of the import.
const IMPORT_BATCH: u64 = 250;

/// Runs the demo.
///
/// # Errors
/// The first thing that is not as promised.
pub fn run(args: &args::Demo, screen: &Screen) -> Result<(), Failure> {
    let start = Instant::now();
    let folder = data::find(args.data.as_deref())?;
    let data = Data::load(&folder)?;
    place::clear(&args.dir)?;
    let demo = Demo { dir: &args.dir, folder: &folder, data: &data, screen };
    let dim = demo.dim();
    let head =
        format!("{} WordNet entries, embedded with MiniLM: {dim}-d, cosine", words::count(data.rows.len() as u64));
    screen.tell(screen.paint(Tone::Strong, &head))?;

    let imported = demo.import()?;
    let recall = demo.search_and_change()?;
    demo.step(4, "kill -9 the writer")?;
    let rounds = kills::run(args.kills, &args.dir, &folder, &data, screen)?;
    let report = demo.verify()?;
    let stats = demo.stats()?;
    if screen.json {
        return screen.document(&json!({
            "collection": args.dir.to_string_lossy(),
            "imported": imported.records,
            "recall_at_10": recall,
            "kills": rounds.len(),
            "acknowledged_batches": rounds.iter().map(|round| round.acknowledged).sum::<u64>(),
            // A lost or half batch ends the demo with an error long before this line.
            "lost_batches": 0,
            "half_batches": 0,
            "rows": stats.rows,
            "verified_files": report.files,
            "seconds": start.elapsed().as_secs_f64(),
        }));
    }
    farewell(args, &data, start, screen)
}

/// The vectors of the demo's data.
///
/// # Errors
/// The data is not here, or damaged.
pub fn vectors() -> Result<Box<dyn RecordSource>, Failure> {
    data::base(&data::find(None)?)
}

/// One run.
struct Demo<'d> {
    dir: &'d Path,
    folder: &'d Path,
    data: &'d Data,
    screen: &'d Screen,
}

impl Demo<'_> {
    fn dim(&self) -> usize {
        self.data.rows.first().map_or(0, |row| row.vector.len())
    }

    fn step(&self, number: u32, title: &str) -> Result<(), Failure> {
        self.screen.tell(self.screen.paint(Tone::Strong, &format!("\n{number}  {title}")))
    }

    fn open(&self) -> Result<Collection, Failure> {
        Collection::open(self.dir, OpenOptions::default()).map_err(|e| Failure::engine(&e, self.dir))
    }

    fn import(&self) -> Result<Imported, Failure> {
        self.step(1, "import")?;
        let schema = Schema::new(self.dim(), Metric::Cosine).ids(IdKind::Bytes).rows(RowFormat::F16);
        let collection = Collection::create(self.dir, schema, OpenOptions::default());
        let collection = collection.map_err(|e| Failure::engine(&e, self.dir))?;
        place::mark(self.dir)?;
        let mut source = data::base(self.folder)?;
        let done = Job::quiet(&collection, self.dir, IMPORT_BATCH, Meter::default()).run(&mut *source)?;
        self.screen.tell(format!(
            "   {} entries in {}, each synced to disk before it counted: {} ({})",
            words::count(done.records),
            words::counted(done.batches, "batch"),
            words::time(done.time),
            words::rate(done.records, done.time)
        ))?;
        command::close(collection, self.dir)?;
        Ok(done)
    }

    fn search_and_change(&self) -> Result<f64, Failure> {
        let collection = self.open()?;
        self.step(2, "search")?;
        tour::show_searches(&collection, self.data, self.screen)?;
        let recall = tour::check_recall(&collection, self.data, self.screen)?;
        self.step(3, "update and delete")?;
        tour::show_changes(&collection, self.data, self.screen)?;
        command::close(collection, self.dir)?;
        Ok(recall)
    }

    fn verify(&self) -> Result<VerifyReport, Failure> {
        self.step(5, "verify")?;
        let collection = self.open()?;
        tour::check_recall(&collection, self.data, self.screen)?;
        command::close(collection, self.dir)?;
        let report = Collection::verify(self.dir, Verify::Full).map_err(|e| Failure::engine(&e, self.dir))?;
        if let Some(finding) = report.findings.first() {
            return Err(Failure::failed("verify found damage").because(finding.to_string()));
        }
        self.screen.tell(format!(
            "   {}, {} checked to the last byte, {} found by id: {}",
            words::counted(report.files, "file"),
            words::bytes(report.bytes),
            words::counted(report.rows, "live row"),
            self.screen.paint(Tone::Good, "sound")
        ))?;
        Ok(report)
    }

    fn stats(&self) -> Result<Stats, Failure> {
        let collection = self.open()?;
        if !self.screen.json {
            self.screen.tell("")?;
            command::show_stats(&collection.stats(), self.dir, self.screen)?;
        }
        let stats = collection.stats();
        command::close(collection, self.dir)?;
        Ok(stats)
    }
}

/// What to try next.
fn farewell(args: &args::Demo, data: &Data, start: Instant, screen: &Screen) -> Result<(), Failure> {
    let program = std::env::args_os().next().map_or_else(|| "stratavec".into(), |name| name.display().to_string());
    let dir = args.dir.display();
    let like = data.rows.first().map_or_else(String::new, |row| words::id(&row.id));
    let head = format!("\nDone in {}. The collection stays in {dir}; try:", words::time(start.elapsed()));
    screen.tell(screen.paint(Tone::Strong, &head))?;
    screen.tell(format!("  {program} search {dir} --like {like} --k 5"))?;
    screen.tell(format!("  {program} get {dir} {like}"))?;
    screen.tell(format!("  {program} verify {dir}"))
}
