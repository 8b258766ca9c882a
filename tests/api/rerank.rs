//! Distances from vectors that the caller gives: asked for once, and exact whatever the rows are stored as.

use std::sync::Arc;

use stratavec::storage::testing::MemDir;
use stratavec::{
    Collection, Compact, Effort, ErrorKind, Filter, Hits, Id, IdKind, Include, IndexKind, IvfOptions, Metric,
    RowFormat, Schema, Snapshot,
};

use super::scene::inline;

const DIM: usize = 24;
const ROWS: u64 = 1_500;
const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::InnerProduct];

/// Rows near one of thirteen points.
fn vector(id: u64) -> Vec<f32> {
    let mut state = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..DIM as u64).map(|i| ((id % 13 * 31 + i * 7) % 11) as f32 / 4.0 - 1.2 + draw()).collect()
}

fn query(n: u64) -> Vec<f32> {
    vector(1_000_003 + n * 7)
}

/// Rows in files, in lists if there are to be any, and the last hundred in memory.
fn filled(schema: Schema) -> Collection {
    let c = Collection::create_in(Arc::new(MemDir::new(1)), schema.ids(IdKind::U64), inline()).expect("create");
    let put = |ids: std::ops::Range<u64>| {
        let mut batch = c.batch();
        ids.for_each(|id| {
            batch.upsert(id, &vector(id)).payload(&id.to_le_bytes());
        });
        batch.commit().expect("commit");
    };
    put(0..ROWS - 100);
    c.flush().expect("flush");
    c.compact(Compact::Auto).expect("begin").wait().expect("make lists");
    put(ROWS - 100..ROWS);
    c
}

fn lists() -> IndexKind {
    IndexKind::Ivf(IvfOptions::auto().nlist(30))
}

fn number(id: &Id) -> u64 {
    id.as_u64().expect("a number")
}

fn given(ids: &[Id]) -> Result<Vec<Vec<f32>>, std::io::Error> {
    Ok(ids.iter().map(|id| vector(number(id))).collect())
}

fn found(hits: &Hits) -> Vec<(u64, f32)> {
    hits.iter().map(|hit| (number(&hit.id), hit.distance)).collect()
}

/// The nearest by the vectors that were given.
fn truth(exact: &Snapshot, query: &[f32], k: usize) -> Vec<(u64, f32)> {
    found(&exact.search(query).k(k).effort(Effort::Exact).run().expect("search"))
}

#[test]
fn distances_are_those_of_the_vectors_given_for_every_row_format() {
    for metric in METRICS {
        let exact = filled(Schema::new(DIM, metric)).snapshot();
        for rows in [RowFormat::F32, RowFormat::F16, RowFormat::I8] {
            for index in [IndexKind::Flat, lists()] {
                let snapshot = filled(Schema::new(DIM, metric).rows(rows).index(index)).snapshot();
                for n in 0..8 {
                    let mut calls = Vec::new();
                    let mut source = |ids: &[Id]| {
                        calls.push(ids.len());
                        given(ids)
                    };
                    let (query, effort) = (query(n), Effort::Probe { nprobe: 30, patience: usize::MAX });
                    let search = snapshot.search(&query).k(10).effort(effort).candidates(60);
                    let hits = search.rerank_with(&mut source).run().expect("search");
                    assert_eq!(calls, [60], "asked once, for as many as were said");
                    assert_eq!(hits.explain().reranked, 60);
                    assert_eq!(found(&hits), truth(&exact, &query, 10), "{metric:?} {rows:?} {index:?}");
                    assert!(hits.all_exact());
                }
            }
        }
    }
}

#[test]
fn bytes_lose_little_and_reranking_gets_it_back() {
    let exact = filled(Schema::new(DIM, Metric::Cosine)).snapshot();
    let snapshot = filled(Schema::new(DIM, Metric::Cosine).rows(RowFormat::I8)).snapshot();
    let (mut plain, mut reranked) = (0, 0);
    for n in 0..40 {
        let query = query(n);
        let truth: Vec<u64> = truth(&exact, &query, 10).iter().map(|(id, _)| *id).collect();
        let count = |hits: Hits| hits.iter().filter(|hit| truth.contains(&number(&hit.id))).count();
        let hits = snapshot.search(&query).run().expect("search");
        assert!(hits.iter().all(|hit| !hit.exact));
        plain += count(hits);
        reranked += count(snapshot.search(&query).rerank_with(&mut given).run().expect("search"));
    }
    assert!(plain >= 390 && reranked >= 399, "{plain} and {reranked} of 400");
}

#[test]
fn what_is_asked_for_is_read_and_counted_by_exact_distances() {
    for index in [IndexKind::Flat, lists()] {
        let snapshot = filled(Schema::new(DIM, Metric::L2).rows(RowFormat::I8).index(index)).snapshot();
        let query = query(1);
        let all = snapshot.search(&query).k(30).effort(Effort::Exact).rerank_with(&mut given).run().expect("search");
        let bound = all[12].distance;
        let odd = Filter::ids((0..ROWS).filter(|id| id % 2 == 1));
        let mut asked = Vec::new();
        let mut source = |ids: &[Id]| {
            asked.extend(ids.iter().map(number));
            given(ids)
        };
        let search = snapshot.search(&query).k(20).max_distance(bound).effort(Effort::Exact).filter(odd);
        let search = search.include(Include::VECTOR | Include::PAYLOAD).rerank_with(&mut source);
        let hits = search.run().expect("search");
        let wanted: Vec<u64> = all.iter().map(|hit| number(&hit.id)).filter(|id| id % 2 == 1).collect();
        let near = all.iter().filter(|hit| hit.distance <= bound && number(&hit.id) % 2 == 1).count();
        assert_eq!(hits.iter().map(|hit| number(&hit.id)).collect::<Vec<_>>(), wanted[..near]);
        assert!(asked.iter().all(|id| id % 2 == 1), "only what the filter lets through is asked for");
        for hit in &hits {
            assert_eq!(hit.payload.as_deref(), Some(&number(&hit.id).to_le_bytes()[..]));
            assert!(hit.exact && hit.vector.as_ref().is_some_and(|vector| vector.len() == DIM));
        }
    }
}

#[test]
fn a_batch_asks_once_for_each_query_and_answers_as_one_by_one() {
    for index in [IndexKind::Flat, lists()] {
        let snapshot = filled(Schema::new(DIM, Metric::InnerProduct).rows(RowFormat::I8).index(index)).snapshot();
        let queries: Vec<Vec<f32>> = (0..70).map(query).collect();
        let mut calls = 0;
        let mut source = |ids: &[Id]| {
            calls += 1;
            given(ids)
        };
        let batch = snapshot.search_batch(&queries).k(5).candidates(20).threads(2).rerank_with(&mut source);
        let answers = batch.run().expect("search");
        assert_eq!(calls, 70);
        for (query, answer) in queries.iter().zip(&answers) {
            let alone = snapshot.search(query).k(5).candidates(20).rerank_with(&mut given).run().expect("search");
            assert_eq!(found(&alone), found(answer));
        }
    }
}

#[test]
fn rows_that_the_source_does_not_have_keep_their_estimates() {
    let snapshot = filled(Schema::new(DIM, Metric::L2).rows(RowFormat::I8)).snapshot();
    let mut half = |ids: &[Id]| {
        let one = |id: &Id| if number(id).is_multiple_of(2) { vector(number(id)) } else { Vec::new() };
        Ok::<_, std::io::Error>(ids.iter().map(one).collect())
    };
    let query = query(3);
    let hits = snapshot.search(&query).k(12).rerank_with(&mut half).run().expect("search");
    let estimates = found(&snapshot.search(&query).k(60).run().expect("search"));
    assert!(hits.len() == 12 && !hits.all_exact() && hits.is_sorted_by(|a, b| a.distance <= b.distance));
    for hit in &hits {
        assert_eq!(hit.exact, number(&hit.id).is_multiple_of(2));
        assert!(hit.exact || estimates.contains(&(number(&hit.id), hit.distance)));
    }
}

#[test]
fn the_error_of_the_source_is_the_cause_and_wrong_vectors_are_refused() {
    let snapshot = filled(Schema::new(DIM, Metric::Cosine).rows(RowFormat::I8)).snapshot();
    let query = query(5);
    let mut fails = |_: &[Id]| Err::<Vec<Vec<f32>>, _>(std::io::Error::other("the model is not loaded"));
    let error = snapshot.search(&query).rerank_with(&mut fails).run().expect_err("it fails");
    assert_eq!(error.kind(), ErrorKind::Source);
    let cause = std::error::Error::source(&error).expect("a cause");
    assert!(cause.downcast_ref::<std::io::Error>().is_some() && error.to_string().contains("the model is not loaded"));
    let wrong: [(&str, Box<dyn Fn(u64) -> Vec<f32>>); 3] = [
        ("23 components", Box::new(|id| vector(id)[1..].to_vec())),
        ("NaN", Box::new(|_| vec![f32::NAN; DIM])),
        ("length", Box::new(|_| vec![0.0; DIM])),
    ];
    for (says, make) in wrong {
        let mut source = |ids: &[Id]| Ok::<_, std::io::Error>(ids.iter().map(|id| make(number(id))).collect());
        let error = snapshot.search(&query).rerank_with(&mut source).run().expect_err("no such vectors");
        assert_eq!((error.kind(), error.argument_name()), (ErrorKind::InvalidArgument, Some("rerank_with")));
        assert!(error.to_string().contains(says), "{error}");
    }
    let mut few = |ids: &[Id]| given(&ids[1..]);
    let error = snapshot.search(&query).rerank_with(&mut few).run().expect_err("too few");
    assert_eq!(error.argument_name(), Some("rerank_with"));
    let error = snapshot.search(&query).candidates(0).run().expect_err("no candidates");
    assert_eq!(error.argument_name(), Some("candidates"));
    let nothing = Filter::ids([u64::MAX - 1]);
    let none = snapshot.search(&query).filter(nothing).rerank_with(&mut fails).run().expect("nothing to ask for");
    assert!(none.is_empty());
}
