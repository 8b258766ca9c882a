//! Judges answers: what a snapshot shows against what a map holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use stratavec::{Effort, ErrorKind, Hit, Hits, Id, Include, Item, RowFormat, Snapshot};
use stratavec_tests::{Model, Row};

use crate::operation::Question;
use crate::space::Space;

/// A row the search may return: id, distance in f64, how far the engine's sum may be from it.
struct Candidate<'m> {
    id: &'m Id,
    row: &'m Row,
    distance: f64,
    slack: f64,
}

/// Everything that can be read from a snapshot is what the model says.
pub fn check_contents(snapshot: &Snapshot, model: &Model, space: &Space) -> Result<(), String> {
    let rows = model.rows();
    if snapshot.count() != rows.len() as u64 {
        return Err(format!("count() is {}, {} rows are live", snapshot.count(), rows.len()));
    }
    let mut seen = BTreeMap::new();
    let mut last_seq = 0;
    for item in snapshot {
        let item = item.map_err(|error| format!("iter() failed: {error}"))?;
        let row = rows.get(&item.id).ok_or_else(|| format!("iter() gives {:?}, which is not live", item.id))?;
        check_item(&item, row, space).map_err(|what| format!("iter() gives {:?} with {what}", item.id))?;
        if item.seq < last_seq {
            return Err(format!("iter() gives batch {} after batch {last_seq}", item.seq));
        }
        last_seq = item.seq;
        if seen.insert(item.id.clone(), ()).is_some() {
            return Err(format!("iter() gives {:?} twice", item.id));
        }
    }
    if seen.len() != rows.len() {
        return Err(format!("iter() gives {} rows of {}", seen.len(), rows.len()));
    }
    (0..=u8::MAX).try_for_each(|n| check_get(snapshot, model, space, &space.id(n)))
}

/// `get` and `contains` of one id.
pub fn check_get(snapshot: &Snapshot, model: &Model, space: &Space, id: &Id) -> Result<(), String> {
    let found = snapshot.get(id).map_err(|error| format!("get({id:?}) failed: {error}"))?;
    let there = snapshot.contains(id).map_err(|error| format!("contains({id:?}) failed: {error}"))?;
    match (&found, model.rows().get(id)) {
        (None, None) if !there => Ok(()),
        (Some(item), Some(row)) if there && item.id == *id => {
            check_item(item, row, space).map_err(|what| format!("get({id:?}) gives {what}"))
        }
        (found, row) => Err(format!(
            "{id:?}: get() gives {found:?}, contains() says {there}, batch {:?} is live",
            row.map(|row| row.seq)
        )),
    }
}

fn check_item(item: &Item, row: &Row, space: &Space) -> Result<(), String> {
    let payload = Some(row.payload.clone()).filter(|payload| !payload.is_empty());
    let given = (&item.vector, &item.attributes, &item.payload, item.seq);
    let nothing = Vec::new();
    let vector = if space.rows.keeps_vectors() { &row.vector } else { &nothing };
    let wanted = (vector, &row.attributes, &payload, row.seq);
    if given == wanted { Ok(()) } else { Err(format!("{given:?}, not {wanted:?}")) }
}

/// Asks and judges.
pub fn check_search(
    snapshot: &Snapshot,
    model: &Model,
    space: &Space,
    question: &Question,
) -> Result<Option<Hits>, String> {
    let query = space.vector(&question.query);
    let mut search = snapshot.search(&query).k(question.k).effort(Effort::Exact).include(question.include());
    if let Some(condition) = &question.filter {
        search = search.filter(condition.filter(space));
    }
    if let Some(distance) = question.max_distance() {
        search = search.max_distance(distance);
    }
    let answer = search.run();
    if question.k == 0 || space.refuses(&query) {
        return match answer {
            Err(error) if error.kind() == ErrorKind::InvalidArgument => Ok(None),
            other => Err(format!("a search that must be refused gives {other:?}")),
        };
    }
    let hits = answer.map_err(|error| format!("the search failed: {error}"))?;
    let explain = hits.explain();
    if explain.seq != snapshot.seq() || explain.cut_short || explain.rows_skipped != 0 {
        return Err(format!("the search explains itself as {explain:?} on {snapshot:?}"));
    }
    let judged = match space.rows.keeps_vectors() {
        true => judge(&hits, model, space, question, &query),
        false => judge_estimates(&hits, model, space, question),
    };
    judged.map_err(|what| format!("{what}; the answer was {}", brief(&hits)))?;
    check_reranked(snapshot, model, space, question, &query)?;
    check_efforts(snapshot, space, question, &query)?;
    Ok(Some(hits))
}

/// Whatever the effort, a search returns rows that the exact one returns too if it may return all, with the same distances and in the same
/// order; and as many as are wanted, if there are so many.
fn check_efforts(snapshot: &Snapshot, space: &Space, question: &Question, query: &[f32]) -> Result<(), String> {
    if space.lists == 0 || !space.rows.keeps_vectors() {
        return Ok(());
    }
    let ask = |k: usize, effort: Effort| {
        let mut search = snapshot.search(query).k(k).effort(effort);
        if let Some(condition) = &question.filter {
            search = search.filter(condition.filter(space));
        }
        if let Some(distance) = question.max_distance() {
            search = search.max_distance(distance);
        }
        let found = |hits: Hits| hits.iter().map(|hit| (hit.distance.to_bits(), hit.id.clone())).collect::<Vec<_>>();
        search.run().map(found).map_err(|error| format!("the search failed: {error}"))
    };
    let all = ask(1_000, Effort::Exact)?;
    for effort in [Effort::Recall(0.5), Effort::Confidence(0.9), Effort::Probe { nprobe: 1, patience: 1 }] {
        let hits = ask(question.k, effort)?;
        let mut rest = all.iter();
        let in_order = hits.iter().all(|hit| rest.any(|one| one == hit));
        let enough = hits.len() == question.k.min(all.len()) || question.max_distance().is_some();
        if !in_order || !enough || hits.len() > question.k {
            return Err(format!("with {effort:?} the search for {} of {all:?} finds {hits:?}", question.k));
        }
    }
    Ok(())
}

fn brief(hits: &[Hit]) -> String {
    let each: Vec<String> = hits.iter().map(|hit| format!("{:?} at {}", hit.id, hit.distance)).collect();
    format!("[{}]", each.join(", "))
}

fn judge(hits: &Hits, model: &Model, space: &Space, question: &Question, query: &[f32]) -> Result<(), String> {
    let matching = |id: &Id| question.filter.as_ref().is_none_or(|condition| condition.holds(id, space));
    let candidates: BTreeMap<&Id, Candidate<'_>> = model
        .rows()
        .iter()
        .filter(|(id, _)| matching(id))
        .map(|(id, row): (&Id, &Arc<Row>)| {
            let (distance, slack) = space.distance(query, &row.vector);
            (id, Candidate { id, row, distance, slack })
        })
        .collect();
    let bound = question.max_distance().map_or(f64::INFINITY, f64::from);
    let sure = candidates.values().filter(|c| c.distance + c.slack <= bound).count();
    let possible = candidates.values().filter(|c| c.distance - c.slack <= bound).count();
    if hits.len() < sure.min(question.k) || hits.len() > possible.min(question.k) {
        return Err(format!("{} hits, {sure} to {possible} rows match, k is {}", hits.len(), question.k));
    }
    for hit in hits {
        let candidate = candidates.get(&hit.id).ok_or_else(|| format!("{:?} is not live or does not match", hit.id))?;
        check_hit(hit, candidate, question.include(), space.rows.is_exact())?;
        if f64::from(hit.distance) > bound {
            return Err(format!("{:?} at {} is farther than {bound}", hit.id, hit.distance));
        }
    }
    in_order(hits)?;
    match hits.last() {
        Some(last) if hits.len() == question.k => {
            candidates.values().filter(|c| hits.iter().all(|hit| hit.id != *c.id)).try_for_each(|c| left_out(c, last))
        }
        _ => Ok(()),
    }
}

/// Of estimates only this is known: which rows they may be of, how many, and their order.
fn judge_estimates(hits: &Hits, model: &Model, space: &Space, question: &Question) -> Result<(), String> {
    let matches = |id: &Id| question.filter.as_ref().is_none_or(|condition| condition.holds(id, space));
    let matching = model.rows().keys().filter(|id| matches(id)).count();
    let bound = question.max_distance().unwrap_or(f32::INFINITY);
    if hits.len() > question.k || (question.max_distance().is_none() && hits.len() != question.k.min(matching)) {
        return Err(format!("{} hits, {matching} rows match, k is {}", hits.len(), question.k));
    }
    for hit in hits {
        let row = model.rows().get(&hit.id).filter(|_| matches(&hit.id));
        let row = row.ok_or_else(|| format!("{:?} is not live or does not match", hit.id))?;
        let payload = question.include().contains(Include::PAYLOAD) && !row.payload.is_empty();
        let wanted = payload.then(|| row.payload.clone());
        if hit.exact || hit.vector.is_some() || hit.payload != wanted || hit.distance > bound {
            return Err(format!("{hit:?} is no estimate of {row:?} within {bound}"));
        }
    }
    in_order(hits)
}

fn in_order(hits: &Hits) -> Result<(), String> {
    for pair in hits.windows(2) {
        if pair[0].distance.total_cmp(&pair[1].distance).then_with(|| pair[0].id.cmp(&pair[1].id)).is_ge() {
            return Err(format!("{:?} comes before {:?}", pair[0].id, pair[1].id));
        }
    }
    Ok(())
}

/// With all rows as candidates and the vectors of the model the answer is right whatever is stored.
fn check_reranked(
    snapshot: &Snapshot,
    model: &Model,
    space: &Space,
    question: &Question,
    query: &[f32],
) -> Result<(), String> {
    let mut calls = 0;
    let mut source = |ids: &[Id]| {
        calls += 1;
        let vector =
            |id| model.rows().get(id).map(|row| row.vector.clone()).ok_or("a row that is not live is asked for");
        ids.iter().map(vector).collect::<Result<Vec<_>, _>>()
    };
    let mut search = snapshot.search(query).k(question.k).candidates(usize::MAX).effort(Effort::Exact);
    if let Some(condition) = &question.filter {
        search = search.filter(condition.filter(space));
    }
    if let Some(distance) = question.max_distance() {
        search = search.max_distance(distance);
    }
    let hits = search.rerank_with(&mut source).run().map_err(|error| format!("the search failed: {error}"))?;
    // What is read back of bytes is not whole.
    let whole = space.whole && space.rows != RowFormat::I8;
    let floats = Space { rows: RowFormat::F32, whole, ..*space };
    let question = Question { include: 0, ..question.clone() };
    match calls {
        0 if hits.is_empty() => Ok(()),
        1 => judge(&hits, model, &floats, &question, query).map_err(|what| format!("reranked: {what}")),
        _ => Err(format!("the source was asked {calls} times for {} hits", hits.len())),
    }
}

/// A row that is not among k hits must not be nearer than the last of them.
fn left_out(candidate: &Candidate<'_>, last: &Hit) -> Result<(), String> {
    let worst = f64::from(last.distance);
    let nearer = candidate.distance + candidate.slack < worst;
    let first_of_tie = candidate.slack == 0.0 && candidate.distance == worst && *candidate.id < last.id;
    match nearer || first_of_tie {
        true => Err(format!("{:?} at {} is left out", candidate.id, candidate.distance)),
        false => Ok(()),
    }
}

fn check_hit(hit: &Hit, candidate: &Candidate<'_>, include: Include, exact: bool) -> Result<(), String> {
    let row = candidate.row;
    if (f64::from(hit.distance) - candidate.distance).abs() > candidate.slack {
        return Err(format!("{:?} has distance {}, not {}", hit.id, hit.distance, candidate.distance));
    }
    let vector = include.contains(Include::VECTOR).then(|| row.vector.clone());
    let attributes = include.contains(Include::ATTRIBUTES).then(|| row.attributes.clone());
    let payload = (include.contains(Include::PAYLOAD) && !row.payload.is_empty()).then(|| row.payload.clone());
    match hit.exact == exact && hit.vector == vector && hit.attributes == attributes && hit.payload == payload {
        true => Ok(()),
        false => Err(format!("{hit:?} is not {row:?} with {include:?}")),
    }
}
