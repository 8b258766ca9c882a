//! `stratavec stats`: what a collection holds, on one screen. Every figure is counted; what nobody counted is not shown.

use std::path::Path;

use serde_json::{Value as Json, json};
use stratavec::Stats;

use crate::args;
use crate::failure::Failure;
use crate::screen::{Screen, Tone};
use crate::words;

/// Shows a collection.
pub fn stats(args: &args::Stats, screen: &Screen) -> Result<(), Failure> {
    let collection = super::open_read_only(&args.collection)?;
    show(&collection.stats(), &args.collection, screen)
}

/// Shows figures of the collection at a path.
///
/// # Errors
/// The end of the command if nobody reads any more.
pub fn show(stats: &Stats, path: &Path, screen: &Screen) -> Result<(), Failure> {
    if screen.json {
        return screen.document(&stats_json(stats, path));
    }
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    screen.line(format!("{}   {}", screen.paint(Tone::Strong, &name), heading(stats)))?;
    for (label, text) in
        [("delta", delta(stats)), ("files", files(stats)), ("upkeep", upkeep(stats)), ("search", search(stats))]
            .into_iter()
            .chain(bytes_by_part(stats).map(|text| ("bytes", text)))
    {
        screen.line(format!("{} {text}", screen.paint(Tone::Faint, &format!("{label:<8}"))))?;
    }
    for (label, error) in [("flush failed", &stats.flush_error), ("takes no writes", &stats.poisoned)] {
        if let Some(error) = error {
            screen.line(format!("{} {error}", screen.paint(Tone::Bad, label)))?;
        }
    }
    Ok(())
}

fn heading(stats: &Stats) -> String {
    let schema = &stats.schema;
    let disk = stats.file_bytes + stats.wal_bytes;
    let share = match raw_bytes(stats) {
        0 => String::new(),
        raw => format!(" ({:.0} % of raw f32)", percent(disk, raw)),
    };
    format!(
        "{} · {}-d {} {} · {} on disk{share} · generation {}",
        words::counted(stats.rows, "vector"),
        schema.dim(),
        schema.metric().name(),
        schema.row_format().name(),
        words::bytes(disk),
        words::count(stats.generation)
    )
}

fn delta(stats: &Stats) -> String {
    // Who only reads does not know when the writer flushes, nor what of the log is synced.
    let reads = stats.flush_bytes == 0;
    let known = if reads { "in files" } else { "synced" };
    let last = match stats.last_seq {
        0 => "no batch yet".to_owned(),
        last if stats.durable_seq >= last => format!("last batch {} ({known})", words::count(last)),
        last => format!("last batch {} ({known} up to {})", words::count(last), words::count(stats.durable_seq)),
    };
    let log = match percent(stats.wal_bytes, stats.flush_bytes) {
        _ if reads => format!("{} of log", words::bytes(stats.wal_bytes)),
        full => format!("{} {full:.1} % of {}", bar(full), words::limit_bytes(stats.flush_bytes)),
    };
    format!(
        "{log}   {} in memory ({})   {last}",
        words::counted(stats.delta_rows, "row"),
        words::bytes(stats.delta_bytes)
    )
}

fn files(stats: &Stats) -> String {
    format!(
        "{} · {} · {}   dead rows {} ({:.1} %)",
        words::counted(stats.row_files, "row file"),
        words::counted(stats.id_tables, "id table"),
        words::counted(stats.tombstone_files, "tombstone file"),
        words::count(stats.dead_rows),
        percent(stats.dead_rows, stats.rows + stats.dead_rows)
    )
}

/// What files spend on each row, by what it is spent on.
fn bytes_by_part(stats: &Stats) -> Option<String> {
    let rows = stats.rows.saturating_sub(stats.delta_rows).max(1);
    let each = |(part, bytes): (&str, u64)| format!("{part} {:.1}", bytes as f64 / rows as f64);
    let parts: Vec<String> = stats.bytes_by_part().into_iter().filter(|(_, bytes)| *bytes > 0).map(each).collect();
    (!parts.is_empty()).then(|| format!("per vector in files: {}", parts.join(" · ")))
}

fn search(stats: &Stats) -> String {
    if stats.lists > 0 {
        let moving = match stats.rows_to_convert {
            0 => String::new(),
            rows => format!(", {} still in lists of an older model", words::counted(rows, "row")),
        };
        return format!(
            "{} index, {}: {} in {}, {:.1} % of the rows in files are in lists{moving}",
            stats.schema.index_kind(),
            stats.schema.list_codes().unwrap_or_default(),
            words::counted(stats.lists, "list"),
            words::counted(stats.list_segments, "segment"),
            percent(stats.rows_in_lists, stats.rows.saturating_sub(stats.delta_rows).max(stats.rows_in_lists))
        );
    }
    let in_files: u64 = stats.sections.iter().filter(|(name, _)| *name == "vectors").map(|(_, bytes)| *bytes).sum();
    let bytes = in_files.saturating_add(stats.delta_rows.saturating_mul(stats.schema.vector_bytes() as u64));
    format!("{} index, exact: a query scores every vector ({})", stats.schema.index_kind().name(), words::bytes(bytes))
}

/// Seconds since 1970.
fn seconds(at: std::time::SystemTime) -> u64 {
    at.duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// What this process holds in memory, and how far the rules are from their next merge.
fn upkeep(stats: &Stats) -> String {
    let files = words::counted(stats.files_to_compaction, "small file");
    let due = match (stats.compaction_debt, stats.dead_rows_to_compaction) {
        (0, Some(rows)) => format!("next merge after {} in one file or {files}", words::counted(rows, "more dead row")),
        (0, None) => format!("next merge after {files}"),
        (debt, _) => format!("{} due to be merged", words::bytes(debt)),
    };
    format!("{} in memory   {due}", words::bytes(stats.memory.used))
}

/// Ten cells.
fn bar(percent: f64) -> String {
    let filled = (percent / 10.0).round().clamp(0.0, 10.0) as usize;
    "█".repeat(filled) + &"░".repeat(10 - filled)
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

fn raw_bytes(stats: &Stats) -> u64 {
    stats.rows.saturating_mul(4 * stats.schema.dim() as u64)
}

fn stats_json(stats: &Stats, path: &Path) -> Json {
    let schema = &stats.schema;
    json!({
        "path": path.to_string_lossy(),
        "schema": {
            "dim": schema.dim(),
            "metric": schema.metric().name(),
            "ids": schema.id_kind().name(),
            "rows": schema.row_format().name(),
            "index": schema.index_kind().name(),
            "seed": schema.random_seed(),
        },
        "rows": stats.rows,
        "dead_rows": stats.dead_rows,
        "raw_f32_bytes": raw_bytes(stats),
        "file_bytes": stats.file_bytes,
        "bytes_by_part": stats.bytes_by_part().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "row_files": stats.row_files,
        "id_tables": stats.id_tables,
        "tombstone_files": stats.tombstone_files,
        "codes": schema.list_codes().map(|codes| codes.to_string()),
        "lists": stats.lists,
        "list_segments": stats.list_segments,
        "rows_in_lists": stats.rows_in_lists,
        "models": stats.models,
        "rows_to_convert": stats.rows_to_convert,
        "generation": stats.generation,
        "delta_rows": stats.delta_rows,
        "delta_bytes": stats.delta_bytes,
        "wal_bytes": stats.wal_bytes,
        "flush_bytes": (stats.flush_bytes > 0).then_some(stats.flush_bytes),
        "last_seq": stats.last_seq,
        "durable_seq": stats.durable_seq,
        "flush_error": stats.flush_error.as_ref().map(ToString::to_string),
        "merges": stats.merges,
        "merged_at": stats.merged_at.map(seconds),
        "compaction_debt": stats.compaction_debt,
        "dead_rows_to_compaction": stats.dead_rows_to_compaction,
        "files_to_compaction": stats.files_to_compaction,
        "compaction_error": stats.compaction_error.as_ref().map(|(times, error)| format!("{times} times: {error}")),
        "memory_bytes": stats.memory.used,
        "memory_peak_bytes": stats.memory.peak,
        "memory_budget": stats.memory.budget,
        "scrub_passes": stats.scrub_passes,
        "scrubbed_at": stats.scrubbed_at.map(seconds),
        "scrub_findings": stats.scrub_findings.len(),
        "poisoned": stats.poisoned.as_ref().map(ToString::to_string),
    })
}
