//! `stratavec verify`

use std::time::Instant;

use serde_json::{Value as Json, json};
use stratavec::{Collection, Error, Verify, VerifyReport};

use crate::args;
use crate::failure::{Failure, printable};
use crate::screen::{Screen, Tone};
use crate::words;

/// Checks a collection without changing it; fails if anything is damaged.
pub fn verify(args: &args::Verify, screen: &Screen) -> Result<(), Failure> {
    let path = &args.collection;
    let (mode, name) = if args.quick { (Verify::Quick, "quick") } else { (Verify::Full, "full") };
    let start = Instant::now();
    let report = Collection::verify(path, mode).map_err(|e| Failure::engine(&e, path))?;
    if screen.json {
        screen.document(&report_json(&report, name))?;
    } else {
        for finding in &report.findings {
            screen.line(format!("{} {}", screen.paint(Tone::Bad, "damage:"), printable(&finding.to_string())))?;
        }
        for note in &report.notes {
            screen.line(format!("{} {}", screen.paint(Tone::Faint, "note:"), printable(note)))?;
        }
        let verdict = match report.is_sound() {
            true => screen.paint(Tone::Good, "sound"),
            false => screen.paint(Tone::Bad, "damaged"),
        };
        let files = words::counted(report.files, "file");
        screen.line(format!(
            "{}: {verdict}, {name} check of {files}, {}",
            path.display(),
            words::bytes(report.bytes)
        ))?;
        if !args.quick {
            let (rows, time) = (words::counted(report.rows, "live row"), words::time(start.elapsed()));
            screen.remark(format!("{rows} read and found by id in {time}"))?;
        }
    }
    if report.is_sound() {
        return Ok(());
    }
    let found = words::counted(report.findings.len() as u64, "damaged place");
    let mut failure = Failure::failed(format!("{found} in {}", path.display()));
    failure.kind = "damaged";
    Err(failure.hint("keep a copy of the directory before you do anything else"))
}

fn report_json(report: &VerifyReport, mode: &str) -> Json {
    json!({
        "sound": report.is_sound(),
        "mode": mode,
        "files": report.files,
        "bytes": report.bytes,
        "rows": report.rows,
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
        "notes": report.notes,
    })
}

fn finding_json(finding: &Error) -> Json {
    json!({
        "kind": finding.kind().name(),
        "message": finding.message(),
        "file": finding.file(),
        "section": finding.section(),
        "offset": finding.offset(),
    })
}
