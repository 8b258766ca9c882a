//! What reaches the system: that syncs are asked of it where they are due. The simulated disk proves that they suffice; that the
//! real directory makes them, only the system calls of a process show.

use std::path::Path;
use std::process::Command;

use stratavec_tests::skip;

const NAME: &str = "each_step_asks_the_system_for_its_syncs";

/// [C1] [C2] [C3] The parent's entry of a new collection, logs, files, and the names of both are synced by the system before the
/// step they belong to is told to be done, and a manifest before it gets its name.
#[test]
fn each_step_asks_the_system_for_its_syncs() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let parent = place.path().canonicalize().expect("its path");
    let trace = match trace(&parent) {
        Ok(trace) => trace,
        Err(why) => return skip(NAME, &why),
    };
    let dir = parent.join("c");
    let (parent, dir) = (parent.display().to_string(), dir.display().to_string());
    let syncs = |step: &[&str], call: &str, path: &str, whole: bool| {
        let wanted = format!("<{path}{}", if whole { ">" } else { "" });
        step.iter().position(|line| line.contains(&format!("{call}(")) && line.contains(&wanted))
    };
    let created = between(&trace, "began", "created");
    let log = format!("{dir}/wal-");
    assert!(syncs(&created, "fsync", &parent, true).is_some(), "the name of the collection: {created:#?}");
    assert!(syncs(&created, "fdatasync", &log, false).is_some(), "the first log: {created:#?}");
    is_published(&created, &dir);
    let os = between(&trace, "created", "committed");
    assert!(syncs(&os, "fdatasync", &dir, false).is_none(), "a commit under Os waits for no sync: {os:#?}");
    let synced = between(&trace, "committed", "synced");
    assert!(syncs(&synced, "fdatasync", &log, false).is_some(), "a commit under Sync: {synced:#?}");
    let flushed = between(&trace, "synced", "flushed");
    for kind in ["row-", "idt-"] {
        let file = format!("{dir}/{kind}");
        assert!(syncs(&flushed, "fdatasync", &file, false).is_some(), "a file {kind}: {flushed:#?}");
    }
    is_published(&flushed, &dir);
}

/// A manifest is synced, named, and its name synced, in this order.
fn is_published(step: &[&str], dir: &str) {
    let at = |from: usize, what: &[&str]| {
        let found = step.iter().skip(from).position(|line| what.iter().all(|part| line.contains(part)));
        from + found.unwrap_or_else(|| panic!("no call with {what:?} after the first {from}: {step:#?}"))
    };
    let named = at(0, &["renameat2(", "man-"]);
    let temp = format!("<{dir}/tmp-");
    assert!(at(0, &["fdatasync(", &temp]) < named, "a manifest is synced before it is named: {step:#?}");
    at(named, &["fsync(", &format!("<{dir}>")]);
}

/// The lines of a trace between two lines that the traced process printed.
fn between<'t>(trace: &'t str, first: &str, last: &str) -> Vec<&'t str> {
    let says = |line: &str, what: &str| line.contains("write(1<") && line.contains(&format!("\"{what}\\n\""));
    let step = trace.lines().skip_while(|line| !says(line, first)).skip(1);
    step.take_while(|line| !says(line, last)).collect()
}

/// The system calls of one small process, in order, descriptors with their paths.
fn trace(place: &Path) -> Result<String, String> {
    let out = place.join("trace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-s", "64", "-e", "trace=fsync,fdatasync,renameat2,write", "-o"])
        .arg(&out)
        .arg(env!("CARGO_BIN_EXE_tracee"))
        .arg(place.join("c"))
        .output()
        .map_err(|error| format!("needs strace: {error}"))?;
    let trace = std::fs::read_to_string(&out).unwrap_or_default();
    let says = String::from_utf8_lossy(&status.stderr);
    match status.status.success() {
        true => Ok(trace),
        // A process that may not be traced was never started.
        false if says.contains("ptrace") || trace.is_empty() => {
            Err(format!("strace cannot trace here: {}", says.trim()))
        }
        false => panic!("the traced process failed: {says}\n{trace}"),
    }
}
