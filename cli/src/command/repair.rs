//! `stratavec repair`

use serde_json::{Value as Json, json};
use stratavec::{Collection, Error, ErrorKind, Loss, Repair, RepairReport};

use crate::args;
use crate::failure::{Failure, printable};
use crate::screen::{Screen, Tone};
use crate::words;

/// Ids of lost rows that are shown to people.
const SHOWN_IDS: usize = 10;

/// Makes a new collection of what a damaged one can prove; fails if anything was lost, with the new one in place.
pub fn repair(args: &args::Repair, screen: &Screen) -> Result<(), Failure> {
    let (path, to) = (&args.collection, &args.to);
    let report = Collection::repair(path, to, Repair::KeepProven).map_err(|e| refused(&e, args))?;
    if screen.json {
        screen.document(&report_json(&report, args))?;
    } else {
        show(&report, args, screen)?;
    }
    if report.is_complete() {
        return Ok(());
    }
    let kinds = words::counted(report.losses.len() as u64, "thing");
    let mut failure = Failure::failed(format!("{kinds} of {} could not be kept for sure", path.display()));
    failure.kind = "incomplete";
    Err(failure.hint(format!(
        "{} holds the rest; keep {} until you have looked at the list",
        to.display(),
        path.display()
    )))
}

fn show(report: &RepairReport, args: &args::Repair, screen: &Screen) -> Result<(), Failure> {
    for loss in &report.losses {
        screen.line(format!("{} {}", screen.paint(Tone::Bad, "lost:"), printable(&loss.to_string())))?;
    }
    if !report.ids_lost.is_empty() {
        let ids: Vec<String> = report.ids_lost.iter().take(SHOWN_IDS).map(words::id).collect();
        let more = if report.ids_lost.len() > SHOWN_IDS { ", ... (all with --json)" } else { "" };
        screen.line(format!("{} {}{more}", screen.paint(Tone::Bad, "lost ids:"), ids.join(", ")))?;
    }
    for note in &report.notes {
        screen.line(format!("{} {}", screen.paint(Tone::Faint, "note:"), printable(note)))?;
    }
    let verdict = match report.is_complete() {
        true => screen.paint(Tone::Good, "nothing lost"),
        false => screen.paint(Tone::Bad, "see above"),
    };
    let (rows, to) = (words::counted(report.rows, "row"), args.to.display());
    let batch = words::count(report.last_seq);
    screen.line(format!("{}: {rows} kept in {to}, next batch after {batch}: {verdict}", args.collection.display()))
}

/// What is missing may be where the new collection shall go.
fn refused(error: &Error, args: &args::Repair) -> Failure {
    match error.kind() {
        ErrorKind::NotFound if args.collection.is_dir() && !args.to.exists() => {
            Failure::from(error).hint("the new directory is made, the one it is in must be there")
        }
        _ => Failure::engine(error, &args.collection),
    }
}

fn report_json(report: &RepairReport, args: &args::Repair) -> Json {
    json!({
        "repaired": args.to.to_string_lossy(),
        "complete": report.is_complete(),
        "generation": report.generation,
        "rows": report.rows,
        "last_seq": report.last_seq,
        "rows_lost": report.rows_lost,
        "ids_lost": report.ids_lost.iter().map(words::id_json).collect::<Vec<_>>(),
        "stale_rows": report.stale_rows,
        "losses": report.losses.iter().map(loss_json).collect::<Vec<_>>(),
        "notes": report.notes,
    })
}

fn loss_json(loss: &Loss) -> Json {
    let mut json = match loss {
        Loss::Manifest { generation, .. } => json!({ "what": "manifest", "generation": generation }),
        Loss::File { rows, first_row, last_row, first_seq, last_seq, .. } => json!({
            "what": "file", "rows": rows, "first_row": first_row, "last_row": last_row,
            "first_seq": first_seq, "last_seq": last_seq,
        }),
        Loss::Rows { rows, first_row, last_row, .. } => {
            json!({ "what": "rows", "rows": rows, "first_row": first_row, "last_row": last_row })
        }
        Loss::Batches { first_seq, last_seq, .. } => {
            json!({ "what": "batches", "first_seq": first_seq, "last_seq": last_seq })
        }
        Loss::Deletes { after, up_to, .. } => json!({ "what": "deletes", "after_seq": after, "up_to_seq": up_to }),
        _ => json!({ "what": "other" }),
    };
    let error = loss.error();
    json["message"] = json!(error.message());
    json["file"] = json!(error.file());
    json["section"] = json!(error.section());
    json["offset"] = json!(error.offset());
    json
}
