//! `stratavec health`: how good the lists of a collection are.

use serde_json::{Value as Json, json};
use stratavec::{Health, RetrainReason};

use crate::args;
use crate::failure::Failure;
use crate::screen::{Screen, Tone};
use crate::words;

/// Measures and shows.
pub fn health(args: &args::Health, screen: &Screen) -> Result<(), Failure> {
    let path = &args.collection;
    let collection = super::open_read_only(path)?;
    let health = collection.health().map_err(|e| Failure::engine(&e, path))?;
    if screen.json {
        return screen.document(&health_json(&health));
    }
    let Some(score) = health.score else {
        return screen.line(format!("{}   no row is in a list: every search is exact", path.display()));
    };
    let tone = if score > 70.0 { Tone::Strong } else { Tone::Bad };
    let score = screen.paint(tone, &format!("{score:.0} of 100"));
    let looked_at = match health.sampled {
        0 => "no vectors to ask with".to_owned(),
        rows => format!("{} looked at", words::counted(rows, "row")),
    };
    screen.line(format!("{}   {score} · {looked_at}", path.display()))?;
    let keeps = collection.schema().row_format().keeps_vectors();
    for (label, text) in measured(&health, keeps) {
        screen.line(format!("{} {text}", screen.paint(Tone::Faint, &format!("{label:<8}"))))?;
    }
    Ok(())
}

/// What is known, with what it is called; of a collection that keeps vectors or not.
fn measured(health: &Health, keeps: bool) -> Vec<(&'static str, String)> {
    let percent = |part: f64| format!("{:.1} %", 100.0 * part);
    let recall = health.recall.zip(health.entries_scanned);
    let balance = health.balance.zip(health.connectivity);
    let lines = [
        (
            "recall",
            recall.map(|(part, entries)| format!("{} of the ten nearest, {entries:.0} entries scanned", percent(part))),
        ),
        ("coverage", health.coverage.map(percent)),
        ("codes", health.quantization_error.map(|error| format!("off by {error:.4} of the squared length"))),
        (
            "balance",
            balance.map(|(even, filled)| format!("{}, {} of the lists hold rows", percent(even), percent(filled))),
        ),
        ("delta", health.delta_ratio.map(|part| format!("{} outside of lists or dead", percent(part)))),
        ("work", health.latency_ratio.map(|ratio| format!("{ratio:.2} times that of new lists"))),
        ("lists", Some(aging(health, keeps))),
    ];
    lines.into_iter().filter_map(|(label, text)| Some((label, text?))).collect()
}

fn aging(health: &Health, keeps: bool) -> String {
    let growth =
        health.growth.map_or_else(String::new, |growth| format!(", {growth:.2} times the rows they were made for"));
    let drift = health.drift.map_or_else(String::new, |drift| format!(", new rows {drift:.2} times as far away"));
    let what = if keeps { "to be made anew" } else { "more are due" };
    let due = health.retrain.map_or_else(String::new, |why| format!("; {what}: {}", why.name()));
    format!("{}{growth}{drift}{due}", words::count(health.lists))
}

fn health_json(health: &Health) -> Json {
    json!({
        "score": health.score,
        "coverage": health.coverage,
        "quantization_error": health.quantization_error,
        "bias": health.bias,
        "balance": health.balance,
        "connectivity": health.connectivity,
        "delta_ratio": health.delta_ratio,
        "latency_ratio": health.latency_ratio,
        "entries_scanned": health.entries_scanned,
        "recall": health.recall,
        "sampled": health.sampled,
        "lists": health.lists,
        "skew": health.skew,
        "growth": health.growth,
        "drift": health.drift,
        "retrain": health.retrain.map(RetrainReason::name),
    })
}
