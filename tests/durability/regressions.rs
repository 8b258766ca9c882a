//! Failures that were found once, and the one that somebody wants to see again.

use crate::{crash, faults};

/// Each line is what the failing suite printed. They are tried before everything else.
const REGRESSIONS: &[&str] = &[
    "R1 workload=os-then-group seed=1 call=14 phase=after mask=48: whole records behind the torn tail of a replaced log",
    "R1 workload=roll-os seed=1 call=15 phase=after mask=38: the same after a roll",
    "R4 workload=insert-group seed=1 fault=IoAfter after=8 repeat=Once: a manifest that was seen and not durable",
    "R4 workload=flush seed=1 fault=IoAfter after=45 repeat=Once: the log it replaced was removed",
    "R4 workload=insert-group seed=1 fault=IoAfter after=10 repeat=Forever: a batch came back after it was seen to be absent",
];

/// Repeats what a failure line describes.
fn repeat(line: &str) -> Result<(), String> {
    match line.split_whitespace().next() {
        Some("R1" | "R2") => crash::repeat(line),
        Some("R4") => faults::repeat(line),
        _ => Err(format!("not a line that can be repeated: {line}")),
    }
}

/// Tries all of them.
pub fn try_all() {
    for line in REGRESSIONS {
        repeat(line).unwrap_or_else(|what| panic!("{line}\nfails again: {what}"));
    }
}

#[test]
fn what_failed_once_does_not_fail_again() {
    try_all();
}

/// `STRATAVEC_REPRODUCE='R1 workload=.. seed=.. ..' cargo test -p stratavec-tests --test durability asked_for`
#[test]
fn what_is_asked_for_does_not_fail() {
    if let Ok(line) = std::env::var("STRATAVEC_REPRODUCE") {
        repeat(&line).unwrap_or_else(|what| panic!("{what}"));
    }
}
