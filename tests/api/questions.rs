//! Searches: what is refused, what is said when nothing is asked for, what an answer tells of itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stratavec::{Compact, Filter, Id, IdKind, IdRef, Include, Metric, RowFormat, Schema, Snapshot};

use super::scene::{Scene, nearest, plain};

fn hundred() -> Scene {
    let s = Scene::new(plain());
    let mut batch = s.c.batch();
    for i in 0..100u64 {
        batch.upsert(i, &[i as f32, 0.0]);
    }
    batch.commit().expect("commit");
    s
}

#[test]
fn arguments_of_a_search_are_checked_and_named() {
    let s = hundred();
    let q = [0.0, 0.0];
    s.refuses("k", &["is 0", "1 or more"], |c| c.snapshot().search(&q).k(0).run());
    s.refuses("max_distance", &["NaN"], |c| c.snapshot().search(&q).max_distance(f32::NAN).run());
    s.refuses("query", &["3 components", "has 2"], |c| c.snapshot().search(&[0.0; 3]).run());
    // Also where there is nothing to search.
    let empty = Scene::new(plain());
    empty.refuses("k", &["1 or more"], |c| c.snapshot().search(&q).k(0).run());
    assert!(empty.c.snapshot().search(&q).run().expect("search").is_empty());
}

#[test]
fn an_answer_has_at_most_k_rows_and_ten_if_nothing_is_said() {
    let s = hundred();
    let snapshot = s.c.snapshot();
    let q = [3.2, 0.0];
    assert_eq!(snapshot.search(&q).run().expect("search").len(), 10);
    for (k, found) in [(1, 1), (64, 64), (99, 99), (100, 100), (101, 100), (usize::MAX, 100)] {
        assert_eq!(snapshot.search(&q).k(k).run().expect("search").len(), found, "k = {k}: never padded");
    }
    assert_eq!(nearest(&snapshot, &q, 4), [Id::U64(3), Id::U64(4), Id::U64(2), Id::U64(5)]);
}

#[test]
fn distances_are_in_the_unit_of_the_metric() {
    // A query, and its distances from (0, 2) and (2, 0).
    let cases = [
        (Metric::L2, [-1.0, 1.0], [2.0, 10.0]),
        (Metric::Cosine, [0.0, 5.0], [0.0, 1.0]),
        (Metric::InnerProduct, [0.0, 2.0], [-4.0, 0.0]),
    ];
    for (metric, query, expected) in cases {
        for rows in [RowFormat::F32, RowFormat::F16, RowFormat::Bf16, RowFormat::I8] {
            let s = Scene::new(Schema::new(2, metric).ids(IdKind::U64).rows(rows));
            s.c.upsert(1u64, &[0.0, 2.0]).expect("upsert");
            s.c.upsert(2u64, &[2.0, 0.0]).expect("upsert");
            let hits = s.c.snapshot().search(&query).run().expect("search");
            let estimates = rows == RowFormat::I8;
            for (hit, expected) in hits.iter().zip(expected) {
                let off = (hit.distance - expected).abs();
                assert!(
                    off <= if estimates { 3.0e-4 } else { 0.0 },
                    "{metric:?} {rows:?}: {} for {expected}",
                    hit.distance
                );
            }
            assert_eq!((hits.len(), hits.all_exact(), hits[0].exact), (2, !estimates, !estimates));
        }
    }
}

#[test]
fn equal_distances_are_ordered_by_number_or_by_bytes() {
    let s = Scene::new(plain());
    for id in [10u64, 9, 100, u64::MAX - 1, 2] {
        s.c.upsert(id, &[1.0, 1.0]).expect("upsert");
    }
    assert_eq!(nearest(&s.c.snapshot(), &[0.0, 0.0], 9), [2u64, 9, 10, 100, u64::MAX - 1].map(Id::U64));
    let s = Scene::new(Schema::new(1, Metric::L2));
    for id in ["b", "ab", "a", "B", "\u{e4}", "a\0"] {
        s.c.upsert(id, &[1.0]).expect("upsert");
    }
    assert_eq!(nearest(&s.c.snapshot(), &[0.0], 9), ["B", "a", "a\0", "ab", "b", "\u{e4}"].map(Id::from));
}

#[test]
fn only_what_was_asked_for_is_returned() {
    let s = Scene::new(plain());
    let mut batch = s.c.batch();
    batch.upsert(1u64, &[1.0, 2.0]).payload(b"p").attributes([("a".to_owned(), 1.into())]);
    batch.upsert(2u64, &[9.0, 9.0]);
    batch.commit().expect("commit");
    for _ in 0..2 {
        let snapshot = s.c.snapshot();
        let ask = |what| snapshot.search(&[1.0, 2.0]).include(what).run().expect("search");
        let none = ask(Include::NONE);
        assert!(none[0].vector.is_none() && none[0].payload.is_none() && none[0].attributes.is_none());
        let all = ask(Include::VECTOR | Include::PAYLOAD | Include::ATTRIBUTES);
        assert_eq!(all[0].vector.as_deref(), Some(&[1.0, 2.0][..]));
        assert_eq!(all[0].payload.as_deref(), Some(&b"p"[..]));
        assert_eq!(all[0].attributes.as_ref().expect("asked for").get("a"), Some(&1.into()));
        assert!(all[1].payload.is_none(), "a row without payload");
        assert!(all[1].attributes.as_ref().is_some_and(|a| a.is_empty()), "asked for, and empty");
        let one = ask(Include::PAYLOAD);
        assert!(one[0].vector.is_none() && one[0].attributes.is_none() && one[0].payload.is_some());
        s.c.flush().expect("flush");
    }
}

#[test]
fn a_small_set_of_ids_is_looked_up_and_a_large_one_is_scanned_with_the_same_answer() {
    let s = hundred();
    s.c.flush().expect("flush");
    s.c.delete(7u64).expect("delete");
    let snapshot = s.c.snapshot();
    let ask = |ids: Vec<u64>| snapshot.search(&[8.1, 0.0]).filter(Filter::ids(ids)).run().expect("search");
    let few = ask(vec![7, 8, 12, 5000]);
    assert!(few.explain().by_lookup && few.explain().rows_scored == 2);
    assert_eq!(few.iter().map(|hit| hit.id.clone()).collect::<Vec<_>>(), [8u64, 12].map(Id::U64));
    let many = ask((7..40).collect());
    assert!(!many.explain().by_lookup && many.explain().rows_scored >= 99);
    assert_eq!(many[0], few[0]);
    assert!(ask(Vec::new()).is_empty(), "no id, no row");
}

#[test]
fn a_callback_is_asked_only_of_near_rows_and_once_of_each() {
    let s = hundred();
    s.c.flush().expect("flush");
    let asked = Arc::new(AtomicU64::new(0));
    let counter = asked.clone();
    let even = Filter::by(move |id| {
        counter.fetch_add(1, Ordering::Relaxed);
        matches!(id, IdRef::U64(n) if n % 2 == 0)
    });
    let hits = s.c.snapshot().search(&[0.0, 0.0]).k(3).filter(even).run().expect("search");
    assert_eq!(hits.iter().map(|hit| hit.id.clone()).collect::<Vec<_>>(), [0u64, 2, 4].map(Id::U64));
    assert!(asked.load(Ordering::Relaxed) <= 100, "asked {} times of 100 rows", asked.load(Ordering::Relaxed));
    let near = Filter::by(|id| id != IdRef::U64(0));
    let search = s.c.snapshot();
    let hits = search.search(&[0.0, 0.0]).filter(near).max_distance(4.0).run().expect("search");
    assert_eq!(hits.iter().map(|hit| hit.id.clone()).collect::<Vec<_>>(), [1u64, 2].map(Id::U64));
}

#[test]
fn an_answer_says_how_it_came_about() {
    let s = hundred();
    s.c.flush().expect("flush");
    s.c.upsert(200u64, &[500.0, 0.0]).expect("upsert");
    let snapshot = s.c.snapshot();
    let hits = snapshot.search(&[1.0, 0.0]).run().expect("search");
    let explain = hits.explain();
    assert_eq!((explain.seq, explain.rows_scored, explain.sources_scanned), (2, 101, 2));
    assert!(explain.bytes_read >= 101 * 8 && !explain.by_lookup && !explain.cut_short && explain.rows_skipped == 0);
    let cut = snapshot.search(&[1.0, 0.0]).deadline(Duration::ZERO).run().expect("search");
    assert!(cut.explain().cut_short && cut.is_empty());
    let whole = snapshot.search(&[1.0, 0.0]).deadline(Duration::from_secs(60)).run().expect("search");
    assert!(!whole.explain().cut_short);
    assert_eq!(whole.to_vec(), hits.to_vec());
}

#[test]
fn max_distance_keeps_what_lies_on_the_border() {
    let s = hundred();
    let snapshot = s.c.snapshot();
    let within = |d: f32| snapshot.search(&[10.0, 0.0]).k(100).max_distance(d).run().expect("search").len();
    assert_eq!((within(4.0), within(3.9999), within(0.0), within(-1.0)), (5, 3, 1, 0));
    assert_eq!((within(f32::INFINITY), within(f32::NEG_INFINITY)), (100, 0));
}

/// The same where rows are looked up by their ids, and between two that are equally far away, whichever is met first.
#[test]
fn max_distance_keeps_what_lies_on_the_border_of_a_look_up() {
    let s = hundred();
    let snapshot = s.c.snapshot();
    for _ in 0..20 {
        let ask = |k: usize, d: f32| {
            let few = Filter::ids([8u64, 12, 30]);
            let hits = snapshot.search(&[10.0, 0.0]).k(k).filter(few).max_distance(d).run().expect("search");
            assert!(hits.explain().by_lookup);
            hits.iter().map(|hit| hit.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ask(5, 4.0), [8u64, 12].map(Id::U64));
        assert_eq!(ask(1, 4.0), [8u64].map(Id::U64));
        assert!(ask(5, 3.9999).is_empty());
    }
}

/// In files with and without gaps, and in blocks of all sizes; over more rows than kills are laid out for at once.
#[test]
fn deletes_that_no_flush_has_seen_are_in_no_answer() {
    let s = Scene::new(plain());
    let write = |from: u64, to: u64, per_batch: usize| {
        for start in (from..to).step_by(per_batch) {
            let mut batch = s.c.batch();
            for id in start..to.min(start + per_batch as u64) {
                batch.upsert(id, &[id as f32, 0.0]);
            }
            batch.commit().expect("commit");
        }
    };
    let delete = |ids: &mut dyn Iterator<Item = u64>, per_batch: usize| {
        let ids: Vec<u64> = ids.collect();
        for ids in ids.chunks(per_batch) {
            let mut batch = s.c.batch();
            for id in ids {
                batch.delete(*id);
            }
            batch.commit().expect("commit");
        }
    };
    let rows_of = |snapshot: &Snapshot| {
        let all: BTreeSet<Id> = snapshot.iter().map(|item| item.expect("a row").id).collect();
        let hits = snapshot.search(&[0.0, 0.0]).k(usize::MAX).run().expect("search");
        assert_eq!(hits.iter().map(|hit| hit.id.clone()).collect::<BTreeSet<_>>(), all);
        assert_eq!((hits.len() as u64, all.len()), (snapshot.count(), hits.len()));
        all
    };
    let want = |keep: &dyn Fn(u64) -> bool| (0..140_000).filter(|id| keep(*id)).map(Id::U64).collect::<BTreeSet<_>>();
    write(0, 50_000, 5_000);
    delete(&mut (0..50_000).step_by(7), 1_000);
    s.c.flush().expect("flush");
    s.c.compact(Compact::Full).expect("compact").wait().expect("the merge");
    write(50_000, 130_000, 10_000);
    s.c.flush().expect("flush");
    write(130_000, 139_000, 300);
    write(139_000, 140_000, 7);
    let without = |id: u64| id >= 50_000 || !id.is_multiple_of(7);
    let before = s.c.snapshot();
    delete(&mut (0..140_000).filter(|id: &u64| id.is_multiple_of(3) && without(*id)), 999);
    let middle = s.c.snapshot();
    delete(&mut (65_000..66_000).chain([1, 139_999]), 1);
    let after =
        |id: u64| without(id) && !id.is_multiple_of(3) && !(65_000..66_000).contains(&id) && id != 1 && id != 139_999;
    assert_eq!(rows_of(&s.c.snapshot()), want(&after));
    assert_eq!(rows_of(&middle), want(&|id: u64| without(id) && !id.is_multiple_of(3)));
    assert_eq!(rows_of(&before), want(&without));
    s.c.flush().expect("flush");
    assert_eq!(rows_of(&s.c.snapshot()), want(&after));
}
