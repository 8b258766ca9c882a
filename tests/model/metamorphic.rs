//! The same work in another way gives the same answers.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use stratavec::{Collection, Effort, Id, Include, Snapshot};

use crate::operation::{Level, Operation, Settings, Write, harmless_write, operation, question, settings};
use crate::place::Place;
use crate::proof::prove;
use crate::session::{Session, play};
use crate::space::{Space, any_space};

/// Everything a snapshot holds but for sequence numbers, and the answer to one search, to the last bit.
#[derive(Debug, PartialEq)]
struct Content {
    rows: BTreeMap<Id, String>,
    hits: Vec<(Id, u32)>,
}

fn content(snapshot: &Snapshot, query: &[f32]) -> Result<Content, String> {
    let rows = snapshot.iter().map(|item| {
        let item = item.map_err(|error| error.to_string())?;
        Ok((item.id.clone(), format!("{:?} {:?} {:?}", item.vector, item.attributes, item.payload)))
    });
    let rows: BTreeMap<Id, String> = rows.collect::<Result<_, String>>()?;
    let found = snapshot
        .search(query)
        .k(rows.len() + 1)
        .effort(Effort::Exact)
        .include(Include::NONE)
        .run()
        .map_err(|e| e.to_string())?;
    Ok(Content { rows, hits: found.into_iter().map(|hit| (hit.id, hit.distance.to_bits())).collect() })
}

fn query(space: &Space) -> Vec<f32> {
    (0..space.dim).map(|i| 1.5 - i as f32).collect()
}

/// Commits each list of writes as one batch, in a fresh collection, and reads everything.
fn content_after(space: Space, settings: Settings, batches: &[Vec<Write>]) -> Result<Content, String> {
    let mut session = Session::new(space, settings, Place::memory())?;
    for writes in batches {
        session.step(&Operation::Commit(Level::Default, writes.clone()))?;
    }
    let content = content(&session.snapshot(), &query(&space))?;
    session.end()?;
    Ok(content)
}

fn equal<T: PartialEq + std::fmt::Debug>(one: &T, other: &T) -> Result<(), String> {
    if one == other { Ok(()) } else { Err(format!("{one:?} became {other:?}")) }
}

/// A vector that cosine takes.
fn takes(space: &Space, write: &Write) -> bool {
    match write {
        Write::Upsert(_, vector, _) => !space.refuses(&space.vector(vector)),
        _ => true,
    }
}

// [C9]: flushes, merges and threads happen at other moments; durability and background are other ones.
#[test]
fn answers_do_not_depend_on_the_options_of_the_handle() {
    let case = (any_space(), settings(), settings(), vec(operation(), 1..40));
    prove("options", 150, &case, |(space, one, other, operations)| {
        let first = play(*space, *one, Place::memory(), operations)?;
        let second = play(*space, *other, Place::memory(), operations)?;
        equal(&first, &second)
    });
}

// [C9]: an exact search does not show whether rows are in lists.
#[test]
fn answers_do_not_depend_on_lists() {
    let case = (any_space(), settings(), vec(operation(), 1..40));
    prove("lists", 150, &case, |(space, settings, operations)| {
        let flat = play(Space { lists: 0, ..*space }, *settings, Place::memory(), operations)?;
        let lists = play(Space { lists: space.lists.max(1), ..*space }, *settings, Place::memory(), operations)?;
        equal(&flat, &lists)
    });
}

// [C9]
#[test]
fn answers_do_not_depend_on_the_place() {
    let case = (any_space(), settings(), vec(operation(), 1..30));
    prove("place", 20, &case, |(space, settings, operations)| {
        let memory = play(*space, *settings, Place::memory(), operations)?;
        let disk = play(*space, *settings, Place::disk(), operations)?;
        equal(&memory, &disk)
    });
}

#[test]
fn how_writes_are_cut_into_batches_does_not_show_in_the_content() {
    let case = (any_space(), settings(), vec(harmless_write(), 1..60), vec(1..12usize, 1..8));
    prove("batch sizes", 150, &case, |(space, settings, writes, sizes)| {
        let writes: Vec<Write> = writes.iter().filter(|write| takes(space, write)).cloned().collect();
        let one_by_one: Vec<Vec<Write>> = writes.iter().map(|write| vec![write.clone()]).collect();
        let mut parts = Vec::new();
        let mut rest = writes.as_slice();
        for size in sizes.iter().cycle().take(writes.len()) {
            let (part, after) = rest.split_at((*size).min(rest.len()));
            parts.push(part.to_vec());
            rest = after;
        }
        let single = content_after(*space, *settings, &one_by_one)?;
        equal(&single, &content_after(*space, *settings, &parts)?)?;
        equal(&single, &content_after(*space, *settings, &[writes])?)
    });
}

#[test]
fn batches_of_different_ids_may_change_places() {
    let batches = vec(vec(harmless_write(), 1..6), 2..10);
    let case = (any_space(), settings(), batches, any::<prop::sample::Index>());
    prove("order of batches", 150, &case, |(space, settings, batches, at)| {
        let mut batches: Vec<Vec<Write>> = batches.clone();
        batches.iter_mut().for_each(|batch| batch.retain(|write| takes(space, write)));
        let ids = |batch: &[Write]| -> BTreeSet<u8> {
            batch
                .iter()
                .filter_map(|write| match write {
                    Write::Upsert(id, ..) | Write::Insert(id, ..) | Write::Delete(id) => Some(*id),
                    Write::Refused(_) => None,
                })
                .collect()
        };
        let at = at.index(batches.len() - 1);
        let common = ids(&batches[at]);
        batches[at + 1].retain(|write| ids(std::slice::from_ref(write)).is_disjoint(&common));
        let before = content_after(*space, *settings, &batches)?;
        batches.swap(at, at + 1);
        equal(&before, &content_after(*space, *settings, &batches)?)
    });
}

// [C6], [C9]: a snapshot shows the same to the last bit, whatever is written, flushed, merged and closed after it.
#[test]
fn a_snapshot_never_changes() {
    let changes = (settings(), vec(operation(), 1..20), vec(operation(), 1..30));
    prove("snapshots", 120, &(any_space(), changes, question()), |(space, (settings, before, after), question)| {
        let mut session = Session::new(*space, *settings, Place::memory())?;
        before.iter().try_for_each(|operation| session.step(operation))?;
        let snapshot = session.snapshot();
        let ask = |snapshot: &Snapshot| -> Result<_, String> {
            let content = content(snapshot, &query(space))?;
            let filtered = question.filter.as_ref().map(|condition| {
                snapshot
                    .search(&query(space))
                    .k(5)
                    .effort(Effort::Exact)
                    .filter(condition.filter(space))
                    .run()
                    .map(|hits| hits.to_vec())
            });
            Ok((content, filtered.transpose().map_err(|error| error.to_string())?, snapshot.seq(), snapshot.count()))
        };
        let first = ask(&snapshot)?;
        for operation in after {
            session.step(operation)?;
            equal(&first, &ask(&snapshot)?)?;
        }
        session.end()?;
        equal(&first, &ask(&snapshot)?)
    });
}

// Writing again what is there changes sequence numbers and nothing else.
#[test]
fn an_upsert_of_what_is_there_does_not_show() {
    let case = (any_space(), settings(), vec(operation(), 1..30));
    prove("rewriting", 60, &case, |(space, settings, operations)| {
        let mut session = Session::new(*space, *settings, Place::memory())?;
        operations.iter().try_for_each(|operation| session.step(operation))?;
        let before = content(&session.snapshot(), &query(space))?;
        let copy = Place::memory();
        let collection = copy.create(space.schema(), settings.options()).map_err(|error| error.to_string())?;
        for _ in 0..2 {
            copy_into(&session.snapshot(), &collection)?;
            equal(&before, &content(&collection.snapshot(), &query(space))?)?;
        }
        Ok(())
    });
}

fn copy_into(snapshot: &Snapshot, collection: &Collection) -> Result<(), String> {
    let mut batch = collection.batch();
    for item in snapshot {
        let item = item.map_err(|error| error.to_string())?;
        let put = batch.upsert(&item.id, &item.vector);
        put.attributes(item.attributes).payload(&item.payload.unwrap_or_default());
    }
    batch.commit().map(drop).map_err(|error| error.to_string())
}
