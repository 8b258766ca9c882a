//! `stratavec compact`

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value as Json, json};
use stratavec::{Compact, CompactReport, Compaction, OpenOptions};

use crate::args;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words;

/// Merges files now, or says what would be merged.
pub fn compact(args: &args::Compact, screen: &Screen) -> Result<(), Failure> {
    let path = &args.collection;
    // Nothing but what was asked for is to be done, and by nobody else.
    let collection = super::open(path, OpenOptions::default().compaction(Compaction::Manual), screen)?;
    let what = match (args.full, args.retrain) {
        (true, _) => Compact::Full,
        (_, true) => Compact::Retrain,
        _ => Compact::Auto,
    };
    let refused = |e: stratavec::Error| Failure::engine(&e, path);
    let start = Instant::now();
    let keeps = collection.schema().row_format().keeps_vectors();
    if args.dry_run {
        let report = collection.compact_dry_run(what);
        return tell(&report, args, keeps, screen, start.elapsed());
    }
    collection.flush().map_err(refused)?;
    let bar = bar(screen);
    let done = collection.compact(what).and_then(|job| {
        job.wait_with(|at| {
            bar.set_length(at.total);
            bar.set_position(at.done);
        })
    });
    bar.finish_and_clear();
    let report = done.map_err(refused)?;
    super::close(collection, path)?;
    tell(&report, args, keeps, screen, start.elapsed())
}

fn bar(screen: &Screen) -> ProgressBar {
    if screen.json || screen.quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8));
    let style = ProgressStyle::with_template("{bar:32} {percent:>3} %  ETA {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("█▓░"));
    bar
}

fn tell(
    report: &CompactReport,
    args: &args::Compact,
    keeps: bool,
    screen: &Screen,
    time: Duration,
) -> Result<(), Failure> {
    let (path, dry) = (&args.collection, args.dry_run);
    if screen.json {
        return screen.document(&report_json(report, dry, time));
    }
    if report.retrains > 0 {
        let rows = words::counted(report.refiled, "row");
        let done = match (keeps, dry) {
            (true, true) => format!("would train new lists and move {rows} to them"),
            (true, false) => format!("trained new lists and moved {rows} to them"),
            (false, true) => format!("would add lists and copy the codes of {rows}"),
            (false, false) => format!("added lists and copied the codes of {rows}"),
        };
        screen.line(format!("{}: {done}", path.display()))?;
    } else if args.retrain && !keeps {
        screen.line(format!("{}: no lists to add", path.display()))?;
    }
    if report.filed + report.list_merges > 0 {
        let (files, merges) = if dry { ("would file", "merge") } else { ("filed", "merged") };
        screen.line(format!(
            "{}: {files} {} in lists, {merges} list segments {}",
            path.display(),
            words::counted(report.filed, "row"),
            words::counted(report.list_merges, "time")
        ))?;
        if report.merges == 0 {
            return Ok(());
        }
    }
    if report.merges == 0 && report.retrains > 0 {
        return Ok(());
    }
    if report.merges == 0 {
        return screen.line(format!("{}: nothing to merge", path.display()));
    }
    let (begin, at_most) = if dry { ("would merge", "at most ") } else { ("merged", "") };
    screen.line(format!(
        "{}: {begin} {} in {}, {} kept, {} dropped, {} read, {at_most}{} written",
        path.display(),
        words::counted(report.files_read, "row file"),
        words::counted(report.merges, "merge"),
        words::counted(report.rows, "row"),
        words::counted(report.dropped, "dead row"),
        words::bytes(report.bytes_read),
        words::bytes(report.bytes_written)
    ))?;
    match dry {
        true => Ok(()),
        false => screen.remark(format!("took {}", words::time(time))),
    }
}

fn report_json(report: &CompactReport, dry: bool, time: Duration) -> Json {
    json!({
        "dry_run": dry,
        "merges": report.merges,
        "files_read": report.files_read,
        "rows": report.rows,
        "dropped": report.dropped,
        "filed": report.filed,
        "list_merges": report.list_merges,
        "retrains": report.retrains,
        "refiled": report.refiled,
        "bytes_read": report.bytes_read,
        "bytes_written": report.bytes_written,
        "seconds": time.as_secs_f64(),
    })
}
