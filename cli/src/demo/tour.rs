//! Searching, changing, and searching again.

use std::time::Instant;

use stratavec::{Collection, Hits, Id, Include};

use super::data::{Data, Entry};
use crate::failure::{Failure, printable};
use crate::screen::{Screen, Tone};
use crate::words;

/// Queries that are shown, by id. All queries are checked.
const SHOWN: [&str; 3] = ["02105641n", "14954822n", "00429949n"];
/// Hits shown of each.
const SHOWN_HITS: usize = 3;
/// Hits compared of each query.
const NEAREST: usize = 10;
/// Columns for a text, however wide the terminal is.
const TEXT: usize = 72;

fn short(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= TEXT { text } else { text.chars().take(TEXT - 1).collect::<String>() + "…" }
}

fn search(collection: &Collection, query: &[f32], k: usize) -> Result<Hits, Failure> {
    Ok(collection.snapshot().search(query).k(k).include(Include::PAYLOAD).run()?)
}

fn shown(data: &Data) -> Vec<&Entry> {
    let named: Vec<&Entry> = data.queries.iter().filter(|query| SHOWN.iter().any(|id| query.id == *id)).collect();
    if named.is_empty() { data.queries.iter().take(SHOWN.len()).collect() } else { named }
}

/// A few queries with the texts found.
pub fn show_searches(collection: &Collection, data: &Data, screen: &Screen) -> Result<(), Failure> {
    for query in shown(data) {
        screen.tell(format!("   {} {}", screen.paint(Tone::Faint, "near"), short(&query.text)))?;
        for hit in search(collection, &query.vector, SHOWN_HITS)?.iter() {
            let text = words::payload(hit.payload.as_deref().unwrap_or_default());
            screen.tell(format!("     {:.4}  {}  {}", hit.distance, words::id(&hit.id), short(&text)))?;
        }
    }
    Ok(())
}

/// Compares the ten nearest of every query with the exact answer; the share found, which must be all.
pub fn check_recall(collection: &Collection, data: &Data, screen: &Screen) -> Result<f64, Failure> {
    let start = Instant::now();
    let (mut found, mut wanted) = (0, 0);
    for (query, truth) in data.queries.iter().zip(&data.truth) {
        let hits = search(collection, &query.vector, NEAREST)?;
        let nearest = truth.iter().take(NEAREST).filter_map(|row| data.rows.get(*row));
        for entry in nearest {
            wanted += 1;
            found += u64::from(hits.iter().any(|hit| hit.id == entry.id));
        }
    }
    let queries = data.queries.len() as u64;
    let recall = found as f64 / (wanted as f64).max(1.0);
    screen.tell(format!(
        "   recall@{NEAREST} over {} against the shipped answers: {recall:.3} ({} of {}), {} a query",
        words::counted(queries, "query").replace("querys", "queries"),
        words::count(found),
        words::count(wanted),
        words::time(start.elapsed() / u32::try_from(queries.max(1)).unwrap_or(u32::MAX))
    ))?;
    match found == wanted {
        true => Ok(recall),
        false => Err(Failure::failed(format!("exact search missed {} of the nearest rows", wanted - found))),
    }
}

/// Deletes the nearest row of a query, moves it onto the query, and puts it back; the next search sees each.
pub fn show_changes(collection: &Collection, data: &Data, screen: &Screen) -> Result<(), Failure> {
    let Some(query) = shown(data).first().copied() else { return Ok(()) };
    let first = || -> Result<(Id, f32, String), Failure> {
        let hits = search(collection, &query.vector, 1)?;
        let hit = hits.first().ok_or_else(|| Failure::failed("a search found nothing"))?;
        let text = words::payload(hit.payload.as_deref().unwrap_or_default());
        Ok((hit.id.clone(), hit.distance, lemmas(&text).to_owned()))
    };
    let line = |when: &str, (id, distance, name): &(Id, f32, String)| {
        let when = screen.paint(Tone::Faint, &format!("{when:<27}"));
        screen.tell(format!("   {when}  {distance:.4}  {}  {}", words::id(id), printable(name)))
    };
    let expect = |holds: bool, what: &str| if holds { Ok(()) } else { Err(Failure::failed(what)) };

    let before = first()?;
    let row = data.rows.iter().find(|row| row.id == before.0);
    let row = row.ok_or_else(|| Failure::failed("a search found what was never written"))?;
    screen.tell(format!("   nearest to {}", printable(lemmas(&query.text))))?;
    line("at first", &before)?;
    collection.delete(&row.id)?;
    let now = first()?;
    expect(now.0 != before.0, "a deleted row was found")?;
    line("after that one is deleted", &now)?;
    put(collection, row, &query.vector)?;
    let now = first()?;
    expect(now.0 == before.0 && now.1 < 1e-5, "an updated row was not found where it was moved")?;
    line("put back onto the query", &now)?;
    put(collection, row, &row.vector)?;
    let now = first()?;
    expect(now == before, "a row that was put back is not where it was")?;
    line("put back where it was", &now)
}

/// The words an entry is about: what stands before its gloss.
fn lemmas(text: &str) -> &str {
    text.split_once(": ").map_or(text, |(lemmas, _)| lemmas)
}

fn put(collection: &Collection, row: &Entry, vector: &[f32]) -> Result<(), Failure> {
    let mut batch = collection.batch();
    batch.upsert(&row.id, vector).attributes(row.attributes.clone()).payload(row.text.as_bytes());
    batch.commit()?;
    Ok(())
}
