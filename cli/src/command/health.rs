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
    let tone = if health.score > 70.0 { Tone::Strong } else { Tone::Bad };
    let score = screen.paint(tone, &format!("{:.0} of 100", health.score));
    if health.lists == 0 {
        return screen.line(format!("{}   {score} · no lists: every search is exact", path.display()));
    }
    let blind = health.sampled == 0;
    let looked_at = match blind {
        true => "no vectors to ask with".to_owned(),
        false => format!("{} looked at", words::counted(health.sampled, "row")),
    };
    screen.line(format!("{}   {score} · {looked_at}", path.display()))?;
    let percent = |part: f64| format!("{:.1} %", 100.0 * part);
    let lines = [
        (
            "recall",
            format!("{} of the ten nearest, {:.0} entries scanned", percent(health.recall), health.entries_scanned),
        ),
        ("coverage", percent(health.coverage)),
        ("codes", format!("off by {:.4} of the squared length", health.quantization_error)),
        ("balance", format!("{}, {} of the lists hold rows", percent(health.balance), percent(health.connectivity))),
        ("delta", format!("{} outside of lists or dead", percent(health.delta_ratio))),
        ("work", format!("{:.2} times that of new lists", health.latency_ratio)),
        ("lists", aging(&health)),
    ];
    let asked = ["recall", "coverage", "codes", "work"];
    for (label, text) in lines.into_iter().filter(|(label, _)| !blind || !asked.contains(label)) {
        screen.line(format!("{} {text}", screen.paint(Tone::Faint, &format!("{label:<8}"))))?;
    }
    Ok(())
}

fn aging(health: &Health) -> String {
    let growth =
        health.growth.map_or_else(String::new, |growth| format!(", {growth:.2} times the rows they were made for"));
    let drift = health.drift.map_or_else(String::new, |drift| format!(", new rows {drift:.2} times as far away"));
    let due = health.retrain.map_or_else(String::new, |why| format!("; to be made anew: {}", why.name()));
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
