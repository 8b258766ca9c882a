//! Several queries at once.

use super::Snapshot;
use super::effort::measured;
use super::hit::Hits;
use super::read_ahead::ReadAhead;
use super::room::Room;
use super::scan::{CHUNK, Scan};
use super::search::{Lists, Plan, answer, collect, gathered, is_few, new_scan, plan};
use super::seek::Seek;
use super::terms::Terms;
use crate::budget::Share;
use crate::error::Result;
use crate::index::flat::FlatQuery;
use crate::index::ivf::Ready;

/// Queries that share one pass over the rows: what they have found so far fits the fast caches beside the rows.
const SHARING: usize = 32;

/// Answers queries as if each was asked alone. The terms were checked.
pub(crate) fn answer_many(snapshot: &Snapshot, queries: &[&[f32]], terms: &Terms) -> Result<Vec<Hits>> {
    let mut answers = Vec::with_capacity(queries.len());
    match plan(snapshot, terms)? {
        Plan::Scan if queries.len() > 1 => {
            for group in queries.chunks(SHARING) {
                share_scan(snapshot, group, terms, &mut answers)?;
            }
        }
        Plan::Lists(lists) if queries.len() > 1 && terms.filter.is_none() && lists.older.is_none() => {
            Room::with(|room| share_lists(snapshot, queries, terms, &lists, room, &mut answers))?;
        }
        _ => {
            for query in queries {
                answers.push(Room::with(|room| answer(snapshot, query, terms, room))?);
            }
        }
    }
    Ok(answers)
}

/// Ranks the centroids for all queries, then goes through their lists in the order of the queries' nearest lists: what one query has
/// read is still in the fast caches when the next one reads it.
fn share_lists(
    snapshot: &Snapshot,
    queries: &[&[f32]],
    terms: &Terms,
    lists: &Lists<'_>,
    room: &mut Room,
    answers: &mut Vec<Hits>,
) -> Result<()> {
    let (model, probe) = (lists.model, &lists.probe);
    let k = gathered(snapshot, terms, probe.exact);
    room.reserve(snapshot.budget.as_ref(), &lists.needs(snapshot, k, queries.len()))?;
    let cold = terms.mode.is_cold(snapshot);
    let seek = |query| Seek { snapshot, model, query, filter: None, chosen: None, k, cold };
    let mut ready = std::mem::take(&mut room.ready);
    ready.resize_with(queries.len().max(ready.len()), Ready::default);
    for (query, ready) in queries.iter().zip(&mut ready) {
        room.query.set(query, snapshot.schema())?;
        seek(query).prepare(&room.query, probe, ready, &mut room.lists);
    }
    let mut order: Vec<(u32, usize)> = ready.iter().take(queries.len()).map(Ready::nearest_list).zip(0..).collect();
    order.sort_unstable();
    let mut found: Vec<Hits> = queries.iter().map(|_| Hits::default()).collect();
    for (_, at) in order {
        let (Some(query), Some(ready), Some(place)) = (queries.get(at), ready.get_mut(at), found.get_mut(at)) else {
            continue;
        };
        let seek = seek(query);
        room.query.set(query, snapshot.schema())?;
        seek.finish(&room.query, probe, ready, &mut room.lists)?;
        // Fresh rows are compared with the query that the lists were searched for last.
        room.lists.swap_ready(ready);
        let collected = collect(&seek, None, terms, room);
        room.lists.swap_ready(ready);
        *place = collected?;
        if is_few(&seek, terms, place, room.lists.found().len()) {
            *place = answer(snapshot, query, terms, room)?;
        }
    }
    room.ready = ready;
    answers.append(&mut found);
    Ok(())
}

/// One pass over all rows for a group of queries.
fn share_scan(snapshot: &Snapshot, group: &[&[f32]], terms: &Terms, answers: &mut Vec<Hits>) -> Result<()> {
    let view = snapshot.view();
    let k = gathered(snapshot, terms, measured(terms.k));
    let bytes = k.saturating_mul(Scan::BYTES_PER_ROW).saturating_mul(group.len()) as u64;
    let _working = snapshot.budget.as_ref().map(|budget| budget.reserve(Share::Search, bytes)).transpose()?;
    let ready = |query: &&[f32]| FlatQuery::new(query, snapshot.schema());
    let ready: Vec<FlatQuery> = group.iter().map(ready).collect::<Result<_>>()?;
    let mut scans: Vec<Scan<'_, '_>> = ready.iter().map(|query| new_scan(snapshot, terms, k, query)).collect();
    let mut late = false;
    for source in view.sources() {
        scans.iter_mut().for_each(|scan| scan.explain.sources_scanned += 1);
        let mut ahead = ReadAhead::new(&source);
        for word in 0..source.len().div_ceil(CHUNK) {
            let Some(first) = scans.first_mut() else { return Ok(()) };
            late = late || first.is_late();
            if late {
                break;
            }
            let live = source.live_word(word, &mut first.killed)?;
            if live != 0 {
                ahead.before(&source, word * CHUNK);
                scans.iter_mut().try_for_each(|scan| scan.scan_chunk(source, word, live))?;
            }
        }
    }
    for mut scan in scans {
        scan.explain.cut_short |= late;
        answers.push(scan.finish(terms.first_include())?);
    }
    Ok(())
}
