//! Comparing a snapshot with the oracle through every kind of read.

use std::collections::{BTreeMap, BTreeSet};

use stratavec::{Id, Include, Item, Metric, Snapshot};

use crate::model::{Model, Row};
use crate::random::Random;

/// What a snapshot holds, as the oracle writes it down.
pub type Contents = BTreeMap<Id, Row>;

/// Proves that a snapshot holds exactly what the model does: the count, all rows by iterating, every id of `ids` by `get`
/// and `contains`, and the order of all rows around two queries.
///
/// # Errors
/// The first difference.
pub fn compare(snapshot: &Snapshot, model: &Model, ids: &BTreeSet<Id>) -> Result<(), String> {
    let wanted = model.rows();
    if snapshot.count() != wanted.len() as u64 {
        return Err(format!("count() is {}, {} rows are live", snapshot.count(), wanted.len()));
    }
    let keeps = snapshot.schema().row_format().keeps_vectors();
    let mut seen = 0;
    for item in snapshot.iter() {
        let item = item.map_err(|error| format!("iter() failed: {error}"))?;
        let row = wanted.get(&item.id).ok_or_else(|| format!("iter() gives {:?}, which is not live", item.id))?;
        same(&item, row, keeps).map_err(|what| format!("iter() gives {:?} with {what}", item.id))?;
        seen += 1;
    }
    if seen != wanted.len() {
        return Err(format!("iter() gives {seen} rows of {}", wanted.len()));
    }
    for id in ids {
        let found = snapshot.get(id.as_ref()).map_err(|error| format!("get({id:?}) failed: {error}"))?;
        match (&found, wanted.get(id)) {
            (None, None) => {}
            (Some(item), Some(row)) => same(item, row, keeps).map_err(|what| format!("get({id:?}) gives {what}"))?,
            (Some(item), None) => return Err(format!("{id:?} is dead, get() gives batch {}", item.seq)),
            (None, Some(row)) => return Err(format!("{id:?} of batch {} is live, get() gives nothing", row.seq)),
        }
        let there = snapshot.contains(id.as_ref()).map_err(|error| format!("contains({id:?}) failed: {error}"))?;
        if there != wanted.contains_key(id) {
            return Err(format!("contains({id:?}) says {there}"));
        }
    }
    let mut random = Random::new(wanted.len() as u64);
    for _ in 0..2 {
        let query = random.vector(snapshot.schema().dim());
        search(snapshot, model, &query).map_err(|what| format!("search({query:?}) {what}"))?;
    }
    Ok(())
}

fn same(item: &Item, row: &Row, keeps_vectors: bool) -> Result<(), String> {
    if item.seq != row.seq {
        return Err(format!("batch {}, not {}", item.seq, row.seq));
    }
    let vector = if keeps_vectors { row.vector.as_slice() } else { &[] };
    if item.vector != vector {
        return Err(format!("vector {:?}, not {vector:?}", item.vector));
    }
    if item.attributes != row.attributes {
        return Err(format!("attributes {:?}, not {:?}", item.attributes, row.attributes));
    }
    if item.payload.as_deref().unwrap_or_default() != row.payload {
        return Err(format!("payload {:?}, not {:?}", item.payload, row.payload));
    }
    Ok(())
}

fn search(snapshot: &Snapshot, model: &Model, query: &[f32]) -> Result<(), String> {
    let metric = snapshot.schema().metric();
    let wanted = model.search(query, metric);
    let search = snapshot.search(query).k(wanted.len() + 1).include(Include::PAYLOAD);
    // A collection that keeps no vectors estimates: it has to find all rows, and the model says where they are.
    let mut source = |ids: &[Id]| {
        let vector =
            |id| model.rows().get(id).map(|row| row.vector.clone()).ok_or("a row that is not live is asked for");
        ids.iter().map(vector).collect::<Result<Vec<_>, _>>()
    };
    let hits = match snapshot.schema().row_format().keeps_vectors() {
        true => search.run(),
        false => search.rerank_with(&mut source).run(),
    };
    let hits = hits.map_err(|error| format!("failed: {error}"))?;
    if hits.len() != wanted.len() {
        return Err(format!("gives {} hits of {}", hits.len(), wanted.len()));
    }
    // Whole numbers are exact; a cosine is rounded, so neighbours within the rounding may change places.
    let slack = if metric == Metric::Cosine { 1e-5 } else { 0.0 };
    for (at, (hit, (id, distance))) in hits.iter().zip(&wanted).enumerate() {
        if (f64::from(hit.distance) - distance).abs() > slack {
            return Err(format!("gives distance {} at place {at}, not {distance}", hit.distance));
        }
        let tied = || wanted.iter().any(|(other, d)| *other == hit.id && (d - distance).abs() <= slack);
        if hit.id != *id && (slack == 0.0 || !tied()) {
            return Err(format!("gives {:?} at place {at}, not {id:?}", hit.id));
        }
        let payload = model.rows().get(&hit.id).map(|row| row.payload.as_slice());
        if payload != Some(hit.payload.as_deref().unwrap_or_default()) {
            return Err(format!("gives {:?} with payload {:?}", hit.id, hit.payload));
        }
    }
    Ok(())
}
