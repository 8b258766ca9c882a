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

use std::time::Instant;

use serde_json::json;
use stratavec::{Collection, IdKind, Metric, OpenOptions, RowFormat, Schema, Verify};

pub use writer::write;

use crate::args;
use crate::command::{self, Job};
use crate::failure::Failure;
use crate::import::Meter;
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
    let dir = &args.dir;
    place::clear(dir)?;

    let dim = data.rows.first().map_or(0, |row| row.vector.len());
    screen.tell(screen.paint(
        Tone::Strong,
        &format!("{} WordNet entries, embedded with MiniLM: {dim}-d, cosine", words::count(data.rows.len() as u64)),
    ))?;

    let step = |number: u32, title: &str| screen.tell(screen.paint(Tone::Strong, &format!("\n{number}  {title}")));
    step(1, "import")?;
    let schema = Schema::new(dim, Metric::Cosine).ids(IdKind::Bytes).rows(RowFormat::F16);
    let collection = Collection::create(dir, schema, OpenOptions::default()).map_err(|e| Failure::engine(&e, dir))?;
    place::mark(dir)?;
    let mut source = data::base(&folder)?;
    let imported = Job::quiet(&collection, dir, IMPORT_BATCH, Meter::default()).run(&mut *source)?;
    screen.tell(format!(
        "   {} in {}, each synced to disk before it counted: {} ({})",
        words::counted(imported.records, "entry").replace("entrys", "entries"),
        words::counted(imported.batches, "batch"),
        words::time(imported.time),
        words::rate(imported.records, imported.time)
    ))?;

    step(2, "search")?;
    tour::show_searches(&collection, &data, screen)?;
    let recall = tour::check_recall(&collection, &data, screen)?;

    step(3, "update and delete")?;
    tour::show_changes(&collection, &data, screen)?;
    command::close(collection, dir)?;

    step(4, "kill -9 the writer")?;
    let rounds = kills::run(args.kills, dir, &folder, &data, screen)?;

    step(5, "verify")?;
    let collection = Collection::open(dir, OpenOptions::default()).map_err(|e| Failure::engine(&e, dir))?;
    tour::check_recall(&collection, &data, screen)?;
    command::close(collection, dir)?;
    let report = Collection::verify(dir, Verify::Full).map_err(|e| Failure::engine(&e, dir))?;
    if let Some(finding) = report.findings.first() {
        return Err(Failure::failed("verify found damage").because(finding.to_string()));
    }
    screen.tell(format!(
        "   {}, {} checked to the last byte, {} found by id: {}",
        words::counted(report.files, "file"),
        words::bytes(report.bytes),
        words::counted(report.rows, "live row"),
        screen.paint(Tone::Good, "sound")
    ))?;

    screen.tell("")?;
    let collection = Collection::open(dir, OpenOptions::default()).map_err(|e| Failure::engine(&e, dir))?;
    if !screen.json {
        command::show_stats(&collection, dir, screen)?;
    }
    let stats = collection.stats();
    command::close(collection, dir)?;
    if screen.json {
        return screen.document(&json!({
            "collection": dir.to_string_lossy(),
            "imported": imported.records,
            "recall_at_10": recall,
            "kills": rounds.len(),
            "acknowledged_batches": rounds.iter().map(|round| round.acknowledged).sum::<u64>(),
            "lost_batches": 0,
            "half_batches": 0,
            "rows": stats.rows,
            "verified_files": report.files,
            "seconds": start.elapsed().as_secs_f64(),
        }));
    }
    farewell(args, &data, start, screen)
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
