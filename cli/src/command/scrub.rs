//! `stratavec scrub`

use serde_json::json;
use stratavec::{Compaction, OpenOptions, Scrub};

use crate::args;
use crate::failure::{Failure, printable};
use crate::screen::{Screen, Tone};
use crate::words;

/// Reads every byte again, at a rate that leaves the disk to others; fails if anything is damaged.
pub fn scrub(args: &args::Scrub, screen: &Screen) -> Result<(), Failure> {
    let path = &args.collection;
    let mut options = OpenOptions::default().compaction(Compaction::Manual);
    if let Some(mib) = args.rate {
        options = options.scrub(Scrub::Rate(u64::from(mib) << 20));
    }
    let collection = super::open(path, options, screen)?;
    let report = collection.scrub().and_then(|job| job.wait()).map_err(|e| Failure::engine(&e, path))?;
    super::close(collection, path)?;
    if screen.json {
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        screen.document(&json!({ "files": report.files, "bytes": report.bytes, "findings": findings }))?;
    } else {
        for finding in &report.findings {
            screen.line(format!("{} {}", screen.paint(Tone::Bad, "damage:"), printable(&finding.to_string())))?;
        }
        let read = format!("{} of {}", words::bytes(report.bytes), words::counted(report.files, "file"));
        screen.line(format!(
            "{}: read {read}, {} found",
            path.display(),
            words::counted(report.findings.len() as u64, "damaged place")
        ))?;
    }
    match report.findings.len() as u64 {
        0 => Ok(()),
        found => {
            let mut failure =
                Failure::failed(format!("{} in {}", words::counted(found, "damaged place"), path.display()));
            failure.kind = "damaged";
            Err(failure.hint("verify tells more; repair makes a new collection of what can be proven"))
        }
    }
}
