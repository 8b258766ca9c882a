//! `stratavec get`

use serde_json::{Value as Json, json};
use stratavec::{Follower, Id, Item};

use crate::args;
use crate::failure::Failure;
use crate::screen::{Screen, Tone};
use crate::words;

/// Shows rows by id. Rows that are there are shown even if others are not; then the command fails.
pub fn get(args: &args::Get, screen: &Screen) -> Result<(), Failure> {
    let path = &args.collection;
    let collection = super::open_read_only(path)?;
    let ids = super::parse_ids(args.ids.iter().map(String::as_str), collection.schema().id_kind())?;
    let snapshot = collection.snapshot();
    let mut missing = Vec::new();
    for id in &ids {
        match snapshot.get(id).map_err(|e| Failure::engine(&e, path))? {
            Some(item) if screen.json => screen.document(&item_json(&item))?,
            Some(item) => show(&item, screen)?,
            None => missing.push(id),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = missing.iter().take(10).map(|id| words::id(id)).collect();
    let more = if missing.len() > names.len() { ", ..." } else { "" };
    let mut failure = Failure::failed(format!("there is no row with id {}{more}", names.join(", ")));
    failure.kind = "id_absent";
    Err(failure)
}

fn show(item: &Item, screen: &Screen) -> Result<(), Failure> {
    let label = |name: &str| screen.paint(Tone::Faint, &format!("{name:<10}  "));
    screen.line(format!("{}{}", label("id"), screen.paint(Tone::Strong, &words::id(&item.id))))?;
    if let Some(payload) = &item.payload {
        screen.line(format!("{}{}", label("payload"), crate::failure::printable(&words::payload(payload))))?;
    }
    if !item.attributes.is_empty() {
        let text = crate::failure::printable(&words::attributes(&item.attributes));
        screen.line(format!("{}{text}", label("attributes")))?;
    }
    let nearly = if item.approximate { ", approximately" } else { "" };
    let vector = match item.vector.len() {
        0 => "not kept".to_owned(),
        components => format!("{} {components} components{nearly}", words::vector(&item.vector)),
    };
    screen.line(format!("{}{vector}", label("vector")))?;
    screen.line(format!("{}{}", label("written"), format_args!("in batch {}", words::count(item.seq))))
}

fn item_json(item: &Item) -> Json {
    json!({
        "id": words::id_json(&item.id),
        "vector": (!item.vector.is_empty()).then_some(&item.vector),
        "approximate": item.approximate,
        "attributes": words::attributes_json(&item.attributes),
        "payload": item.payload.as_deref().map(words::text_json),
        "seq": item.seq,
    })
}

/// The vector of a row, for a search by example.
pub(super) fn vector_of(id: &Id, collection: &Follower) -> Result<Vec<f32>, Failure> {
    match collection.snapshot().get(id)? {
        Some(item) if item.vector.is_empty() => Err(Failure::failed("the collection keeps no vectors")
            .because("a search for rows like another one needs the vector of that one")
            .hint("give the vector with --vector, or queries in a file")),
        Some(item) => Ok(item.vector),
        None => {
            let mut failure = Failure::failed(format!("there is no row with id {}", words::id(id)));
            failure.kind = "id_absent";
            Err(failure)
        }
    }
}
