//! Any search of a sound collection: an error, or exactly the rows that brute force finds.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use stratavec::{Collection, ErrorKind, Filter, Id, IdKind, Include, Item, Metric, Snapshot};

use crate::fixture;
use crate::input::Input;
use crate::reading::check_hits;

/// A collection that stays open, and all its rows.
struct Subject {
    snapshot: Snapshot,
    rows: Vec<Item>,
    ids: Vec<Id>,
}

thread_local! {
    static SUBJECTS: OnceCell<Vec<Subject>> = const { OnceCell::new() };
}

fn open_all() -> Vec<Subject> {
    let open = |fixture: fixture::Fixture| {
        let c =
            Collection::open_in(Arc::new(fixture.dir.fork()), fixture::options()).expect("a sound collection opens");
        let snapshot = c.snapshot();
        let rows = snapshot.iter().collect::<Result<_, _>>().expect("a sound collection reads");
        Subject { snapshot, rows, ids: fixture.ids }
    };
    fixture::all().into_iter().map(open).collect()
}

/// A query with anything in it, k from 0 to the largest, filters, bounds, deadlines.
pub fn search_params(data: &[u8]) {
    SUBJECTS.with(|subjects| {
        let subjects = subjects.get_or_init(open_all);
        let mut input = Input::new(data);
        let subject = &subjects[input.below(subjects.len())];
        search(subject, &mut input);
    });
}

/// A filter, and what it says of an id.
fn filter(input: &mut Input<'_>, ids: &[Id], depth: usize) -> Filter {
    let choice = input.below(if depth > 4 { 3 } else { 6 });
    match choice {
        0 => {
            let count = input.below(2 * ids.len());
            Filter::ids((0..count).map(|_| ids[input.below(ids.len())].clone()).collect::<Vec<_>>())
        }
        1 => {
            let modulus = u32::from(input.u8() % 7) + 1;
            Filter::by(move |id| format!("{id:?}").bytes().map(u32::from).sum::<u32>() % modulus == 0)
        }
        2 => Filter::ids([arbitrary_id(input)]),
        3 => filter(input, ids, depth + 1) & filter(input, ids, depth + 1),
        4 => filter(input, ids, depth + 1) | filter(input, ids, depth + 1),
        _ => !filter(input, ids, depth + 1),
    }
}

fn arbitrary_id(input: &mut Input<'_>) -> Id {
    match input.u8() & 1 {
        0 => Id::U64(input.u64()),
        _ => {
            let len = input.below(600);
            let bytes = input.bytes(len);
            Id::Bytes(bytes.into())
        }
    }
}

fn search(subject: &Subject, input: &mut Input<'_>) {
    let schema = subject.snapshot.schema();
    let dim = if input.u8() % 16 == 15 { input.below(9) } else { schema.dim() };
    let tame = input.u8() % 4 != 3;
    let query: Vec<f32> = (0..dim).map(|_| if tame { input.small_float() } else { input.f32() }).collect();
    let k = match input.below(6) {
        0 => usize::MAX - input.below(3),
        1 => input.u16() as usize,
        _ => input.below(24),
    };
    let mut search = subject.snapshot.search(&query).k(k).include([Include::NONE, Include::VECTOR][input.below(2)]);
    let mut chosen = None;
    if input.u8() & 1 == 1 {
        let filter = filter(input, &subject.ids, 0);
        chosen = Some(filter.clone());
        search = search.filter(filter);
    }
    let bound = input.u8().is_multiple_of(3).then(|| if tame { input.small_float() * 8.0 } else { input.f32() });
    if let Some(bound) = bound {
        search = search.max_distance(bound);
    }
    let deadline = (input.u8() % 8 == 7).then(|| Duration::from_nanos(input.u64() >> (input.u8() % 64)));
    if let Some(deadline) = deadline {
        search = search.deadline(deadline);
    }
    let hits = match search.run() {
        Ok(hits) => hits,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
            let fine = dim == schema.dim() && tame && k > 0 && bound.is_none_or(|bound| !bound.is_nan());
            let zero = schema.metric() == Metric::Cosine && query.iter().all(|x| *x == 0.0);
            assert!(!fine || zero || chosen.is_some(), "refused: {error:?}");
            return;
        }
    };
    assert!(k > 0 && dim == schema.dim() && query.iter().all(|x| x.is_finite()), "accepted what it should refuse");
    check_hits(&hits, k);
    assert_eq!(hits.explain().rows_skipped, 0);
    let matching: Vec<&Item> =
        subject.rows.iter().filter(|row| chosen.as_ref().is_none_or(|f| f.matches(row.id.as_ref()))).collect();
    for hit in hits.iter() {
        assert!(matching.iter().any(|row| row.id == hit.id), "{:?} does not match the filter", hit.id);
        assert!(bound.is_none_or(|bound| hit.distance <= bound));
        assert!(schema.id_kind() == IdKind::Bytes || hit.id.as_u64().is_some());
    }
    if deadline.is_none() && bound.is_none() {
        assert_eq!(hits.len(), k.min(matching.len()), "of {} matching rows", matching.len());
    }
    if deadline.is_none() && tame && schema.metric() != Metric::Cosine {
        compare(schema.metric(), &query, &matching, k, bound, &hits);
    }
}

/// The same result by brute force: sums of these components are exact.
fn compare(metric: Metric, query: &[f32], rows: &[&Item], k: usize, bound: Option<f32>, hits: &[stratavec::Hit]) {
    let distance = |row: &Item| -> f32 {
        let pairs = query.iter().zip(&row.vector);
        match metric {
            Metric::L2 => pairs.map(|(q, v)| (q - v) * (q - v)).sum(),
            _ => 0.0 - pairs.map(|(q, v)| q * v).sum::<f32>(),
        }
    };
    let mut wanted: Vec<(f32, &Id)> = rows.iter().map(|row| (distance(row), &row.id)).collect();
    wanted.retain(|(distance, _)| bound.is_none_or(|bound| *distance <= bound));
    wanted.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    wanted.truncate(k);
    let found: Vec<(f32, &Id)> = hits.iter().map(|hit| (hit.distance, &hit.id)).collect();
    assert_eq!(found, wanted, "not what brute force finds");
}
