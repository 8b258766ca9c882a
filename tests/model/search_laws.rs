//! Laws that every search keeps, whatever the rows are: no oracle needed.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use stratavec::{Hit, Include, Metric, Snapshot};

use crate::operation::{Condition, Operation, components, condition, operation, settings};
use crate::place::Place;
use crate::proof::prove;
use crate::session::Session;
use crate::space::{Space, any_space};

/// Draws a collection and asks for a law of its newest state. Half of the collections have a few hundred rows.
fn holds_everywhere<S: Strategy>(
    name: &str,
    extra: S,
    law: impl Fn(&Snapshot, &Space, &[f32], &S::Value) -> Result<(), String>,
) {
    let many = any::<bool>();
    let case = (any_space(), settings(), many, vec(operation(), 1..30), components(), extra);
    prove(name, 120, &case, |(space, settings, many, operations, query, extra)| {
        let mut session = Session::new(*space, *settings, Place::memory())?;
        if *many {
            session.step(&Operation::Bulk { first: 0, rows: 200 })?;
        }
        operations.iter().try_for_each(|operation| session.step(operation))?;
        let mut query = space.vector(query);
        if space.refuses(&query) {
            query[0] = 1.0;
        }
        law(&session.snapshot(), space, &query, extra)
    });
}

fn all(snapshot: &Snapshot, query: &[f32]) -> Result<Vec<Hit>, String> {
    let hits = snapshot.search(query).k(usize::MAX).run().map_err(|error| error.to_string())?;
    match hits.len() as u64 == snapshot.count() {
        true => Ok(hits.to_vec()),
        false => Err(format!("{} hits of {snapshot:?}", hits.len())),
    }
}

fn filtered(snapshot: &Snapshot, query: &[f32], space: &Space, condition: &Condition) -> Result<Vec<Hit>, String> {
    let search = snapshot.search(query).k(usize::MAX).filter(condition.filter(space));
    search.run().map(|hits| hits.to_vec()).map_err(|error| error.to_string())
}

fn same(one: &[Hit], other: &[Hit]) -> Result<(), String> {
    let bits = |hits: &[Hit]| hits.iter().map(|hit| (hit.id.clone(), hit.distance.to_bits())).collect::<Vec<_>>();
    if bits(one) == bits(other) { Ok(()) } else { Err(format!("{one:?} is not {other:?}")) }
}

#[test]
fn a_search_for_all_rows_is_the_iteration_sorted_by_distance() {
    holds_everywhere("all rows", Just(()), |snapshot, space, query, ()| {
        let hits = all(snapshot, query)?;
        let mut ids: Vec<_> = hits.iter().map(|hit| hit.id.clone()).collect();
        ids.sort();
        let items: Vec<_> = snapshot.iter().collect::<stratavec::Result<_>>().map_err(|error| error.to_string())?;
        let mut iterated: Vec<_> = items.iter().map(|item| item.id.clone()).collect();
        iterated.sort();
        if ids != iterated {
            return Err(format!("the search gives {ids:?}, the iteration {iterated:?}"));
        }
        for hit in &hits {
            let item = items.iter().find(|item| item.id == hit.id).ok_or("the id is gone")?;
            let (distance, slack) = space.distance(query, &item.vector);
            if (f64::from(hit.distance) - distance).abs() > slack {
                return Err(format!("{:?} is at {}, its vector at {distance}", hit.id, hit.distance));
            }
        }
        let ordered = |pair: &[Hit]| {
            pair[0].distance.total_cmp(&pair[1].distance).then_with(|| pair[0].id.cmp(&pair[1].id)).is_lt()
        };
        if hits.windows(2).all(ordered) { Ok(()) } else { Err(format!("not in order: {hits:?}")) }
    });
}

#[test]
fn the_nearest_k_are_the_beginning_of_all() {
    holds_everywhere("k", 1..300usize, |snapshot, _, query, k| {
        let all = all(snapshot, query)?;
        let some = snapshot.search(query).k(*k).run().map_err(|error| error.to_string())?;
        same(&some, &all[..(*k).min(all.len())])
    });
}

#[test]
fn a_filter_restricts_and_changes_nothing_else() {
    holds_everywhere("filter", (condition(), 1..20usize), |snapshot, space, query, (condition, k)| {
        let mut expected = all(snapshot, query)?;
        expected.retain(|hit| condition.holds(&hit.id, space));
        same(&filtered(snapshot, query, space, condition)?, &expected)?;
        let some = snapshot.search(query).k(*k).filter(condition.filter(space)).run().map_err(|e| e.to_string())?;
        expected.truncate(*k);
        same(&some, &expected)
    });
}

#[test]
fn filters_obey_the_laws_of_logic() {
    use Condition::{And, Not, Or};
    holds_everywhere("logic", (condition(), condition()), |snapshot, space, query, (a, b)| {
        let (a, b) = (Box::new(a.clone()), Box::new(b.clone()));
        let not = |x: &Condition| Box::new(Not(Box::new(x.clone())));
        let pairs = [
            (Not(Box::new(And(a.clone(), b.clone()))), Or(not(&a), not(&b))),
            (Not(Box::new(Or(a.clone(), b.clone()))), And(not(&a), not(&b))),
            (And(a.clone(), b.clone()), And(b.clone(), a.clone())),
            (Not(not(&a)), *a.clone()),
        ];
        for (one, other) in &pairs {
            same(&filtered(snapshot, query, space, one)?, &filtered(snapshot, query, space, other)?)?;
        }
        // A second filter narrows the first.
        let twice = snapshot.search(query).k(usize::MAX).filter(a.filter(space)).filter(b.filter(space));
        same(&twice.run().map_err(|error| error.to_string())?, &filtered(snapshot, query, space, &And(a, b))?)
    });
}

#[test]
fn max_distance_keeps_the_beginning() {
    holds_everywhere("max_distance", any::<prop::sample::Index>(), |snapshot, _, query, at| {
        let all = all(snapshot, query)?;
        let Some(last) = all.get(at.index(all.len().max(1))) else { return Ok(()) };
        let bound = |distance: f32| {
            let search = snapshot.search(query).k(usize::MAX).max_distance(distance);
            search.run().map(|hits| hits.to_vec()).map_err(|error| error.to_string())
        };
        let upto = |keep: &dyn Fn(&Hit) -> bool| all.iter().filter(|hit| keep(hit)).cloned().collect::<Vec<_>>();
        same(&bound(last.distance)?, &upto(&|hit| hit.distance <= last.distance))?;
        same(&bound(last.distance.next_down())?, &upto(&|hit| hit.distance < last.distance))?;
        same(&bound(f32::INFINITY)?, &all)?;
        same(&bound(f32::NEG_INFINITY)?, &[])
    });
}

#[test]
fn what_is_included_does_not_change_what_is_found() {
    holds_everywhere("include", Just(()), |snapshot, _, query, ()| {
        let plain = all(snapshot, query)?;
        let everything = Include::VECTOR | Include::ATTRIBUTES | Include::PAYLOAD;
        let full = snapshot.search(query).k(usize::MAX).include(everything).run().map_err(|e| e.to_string())?;
        same(&plain, &full)?;
        if plain.iter().any(|hit| hit.vector.is_some() || hit.attributes.is_some() || hit.payload.is_some()) {
            return Err("something came that was not asked for".to_owned());
        }
        for hit in &full {
            let item = snapshot.get(&hit.id).map_err(|error| error.to_string())?.ok_or("get finds nothing")?;
            let got = (hit.vector.as_ref(), hit.attributes.as_ref(), hit.payload.as_ref());
            if got != (Some(&item.vector), Some(&item.attributes), item.payload.as_ref()) {
                return Err(format!("{hit:?} is not {item:?}"));
            }
        }
        Ok(())
    });
}

#[test]
fn a_deadline_cuts_short_and_says_so() {
    holds_everywhere("deadline", condition(), |snapshot, space, query, condition| {
        let run = |time| snapshot.search(query).k(usize::MAX).deadline(time).run().map_err(|e| e.to_string());
        let at_once = run(Duration::ZERO)?;
        if snapshot.count() > 0 && !at_once.explain().cut_short {
            return Err(format!("a deadline of nothing: {:?}", at_once.explain()));
        }
        let few = snapshot.search(query).filter(condition.filter(space)).deadline(Duration::ZERO);
        if !few.run().map_err(|error| error.to_string())?.is_empty() {
            return Err("rows were scored after the deadline".to_owned());
        }
        let patient = run(Duration::from_secs(3600))?;
        if patient.explain().cut_short {
            return Err("an hour was not enough".to_owned());
        }
        same(&patient, &all(snapshot, query)?)?;
        same(&run(Duration::MAX)?, &patient)
    });
}

// Rows that lie at equal distances in different places (files, memory) are told apart by id alone.
#[test]
fn equal_vectors_are_ordered_by_id() {
    let case = (any_space(), settings(), components(), vec(0..=255u8, 1..80));
    prove("ties", 120, &case, |(space, settings, vector, ids)| {
        let mut given = space.vector(vector);
        given[0] = 1.0;
        let place = Place::memory();
        let c = place.create(space.schema(), settings.options()).map_err(|error| error.to_string())?;
        for (at, n) in ids.iter().enumerate() {
            c.upsert(&space.id(*n), &given).map_err(|error| error.to_string())?;
            if at % 17 == 3 {
                c.flush().map_err(|error| error.to_string())?;
            }
        }
        let mut wanted: Vec<_> = ids.iter().map(|n| space.id(*n)).collect();
        wanted.sort();
        wanted.dedup();
        for k in [1, wanted.len() / 2 + 1, wanted.len()] {
            let query = [vec![2.0], vec![0.25; space.dim - 1]].concat();
            let hits = c.snapshot().search(&query).k(k).run().map_err(|error| error.to_string())?;
            let found: Vec<_> = hits.iter().map(|hit| hit.id.clone()).collect();
            let same_distance = hits.iter().all(|hit| hit.distance.to_bits() == hits[0].distance.to_bits());
            if found != wanted[..k] || !same_distance {
                return Err(format!("{hits:?} should be the first {k} of {wanted:?}"));
            }
        }
        if space.metric == Metric::Cosine && c.snapshot().search(&given).k(1).run().is_err() {
            return Err("a stored vector is no query".to_owned());
        }
        Ok(())
    });
}
