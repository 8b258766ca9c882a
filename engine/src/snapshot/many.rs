//! Several queries at once.

use super::Snapshot;
use super::effort::measured;
use super::hit::Hits;
use super::read_ahead::ReadAhead;
use super::room::Room;
use super::scan::{CHUNK, Scan};
use super::search::{Plan, answer, gathered, new_scan, plan};
use super::terms::Terms;
use crate::budget::Share;
use crate::error::Result;
use crate::index::flat::FlatQuery;

/// Queries that share one pass over the rows: what they have found so far fits the fast caches beside the rows.
const SHARING: usize = 32;

/// Answers queries as if each was asked alone: those that are scanned share passes over the rows, the others go one after the other. The terms
/// were checked.
pub(crate) fn answer_many(snapshot: &Snapshot, queries: &[&[f32]], terms: &Terms) -> Result<Vec<Hits>> {
    let mut answers = Vec::with_capacity(queries.len());
    match plan(snapshot, terms)? {
        Plan::Scan if queries.len() > 1 => {
            for group in queries.chunks(SHARING) {
                share_scan(snapshot, group, terms, &mut answers)?;
            }
        }
        _ => {
            for query in queries {
                answers.push(Room::with(|room| answer(snapshot, query, terms, room))?);
            }
        }
    }
    Ok(answers)
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
