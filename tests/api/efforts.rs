//! Searches by lists: what they find, how hard they look, and that writes are seen at once wherever rows are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stratavec::storage::testing::MemDir;
use stratavec::{
    Background, BulkItem, Codes, Collection, Compact, Compaction, Effort, Filter, Hits, IdKind, IndexKind, IvfOptions,
    Metric, OpenOptions, RowFormat, Schema, SearchMode, Snapshot, Spill,
};

const DIM: usize = 24;
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

fn by_lists(metric: Metric) -> Schema {
    Schema::new(DIM, metric).ids(IdKind::U64).index(IndexKind::Ivf(IvfOptions::auto().nlist(40)))
}

fn manual() -> OpenOptions {
    OpenOptions::new().background(Background::Inline).compaction(Compaction::Manual)
}

fn create(schema: Schema) -> Collection {
    Collection::create_in(Arc::new(MemDir::new(1)), schema, manual()).unwrap()
}

fn put(c: &Collection, ids: impl Iterator<Item = u64>) {
    let mut batch = c.batch();
    ids.for_each(|id| {
        batch.upsert(id, &vector(id));
    });
    batch.commit().unwrap();
}

/// Rows in lists, rows in a file without lists, rows in memory, and some that are dead.
fn mixed(schema: Schema) -> Collection {
    let c = create(schema);
    put(&c, 0..2_000);
    c.flush().unwrap();
    c.compact(Compact::Auto).unwrap().wait().unwrap();
    put(&c, 2_000..2_300);
    c.flush().unwrap();
    put(&c, 2_300..2_600);
    let mut batch = c.batch();
    for id in (0..2_600).step_by(17) {
        batch.delete(id);
    }
    batch.commit().unwrap();
    c
}

fn ids(hits: &Hits) -> Vec<u64> {
    hits.iter().map(|hit| hit.id.as_u64().unwrap()).collect()
}

fn found(hits: &Hits) -> Vec<(u64, f32)> {
    hits.iter().map(|hit| (hit.id.as_u64().unwrap(), hit.distance)).collect()
}

fn queries() -> impl Iterator<Item = Vec<f32>> {
    (0..40).map(|n| vector(1_000_003 + n * 7))
}

/// Mean part of the exact answers that a search finds.
fn recall(snapshot: &Snapshot, k: usize, effort: Effort, filter: Option<&Filter>) -> f64 {
    let (mut hit, mut wanted) = (0, 0);
    for query in queries() {
        let ask = |effort: Effort| {
            let search = snapshot.search(&query).k(k).effort(effort);
            filter.map_or(search, |filter| snapshot.search(&query).k(k).effort(effort).filter(filter.clone())).run()
        };
        let (truth, hits) = (ids(&ask(Effort::Exact).unwrap()), ids(&ask(effort).unwrap()));
        hit += truth.iter().filter(|id| hits.contains(id)).count();
        wanted += truth.len();
    }
    f64::from(hit as u32) / f64::from(wanted as u32)
}

#[test]
fn an_exact_search_answers_as_a_flat_collection_does_and_any_other_finds_most_of_it() {
    for metric in METRICS {
        for rows in [RowFormat::F32, RowFormat::F16, RowFormat::Bf16, RowFormat::I8] {
            let flat = mixed(Schema::new(DIM, metric).ids(IdKind::U64).rows(rows));
            let lists = mixed(by_lists(metric).rows(rows));
            assert!(lists.stats().list_segments >= 1 && lists.stats().delta_rows == 300);
            let (flat, lists) = (flat.snapshot(), lists.snapshot());
            for query in queries().step_by(3) {
                let truth = flat.search(&query).k(25).run().unwrap();
                let exact = lists.search(&query).k(25).effort(Effort::Exact).run().unwrap();
                assert_eq!(found(&exact), found(&truth), "{metric:?} {rows:?}");
                let hits = lists.search(&query).k(25).effort(Effort::Probe { nprobe: 12, patience: 40 }).run().unwrap();
                assert!(hits.len() == 25 && hits.is_sorted_by(|a, b| (a.distance, &a.id) <= (b.distance, &b.id)));
                assert!(ids(&hits).iter().all(|id| id % 17 != 0), "a deleted row is found");
                assert_eq!(hits.explain().lists_probed, 12);
                for (id, distance) in found(&hits).into_iter().step_by(8) {
                    let alone = flat.search(&query).k(1).filter(Filter::ids([id])).run().unwrap();
                    assert_eq!(alone[0].distance, distance, "distances are those of stored rows");
                }
            }
            for part in [0.8, 0.95] {
                let found = recall(&lists, 10, Effort::Recall(part), None);
                assert!(found >= f64::from(part) - 0.03, "{metric:?} {rows:?}: {found} at {part}");
            }
        }
    }
}

#[test]
fn a_write_is_seen_by_the_next_search_wherever_the_row_is() {
    for spill in [Spill::On, Spill::Off] {
        let options = IvfOptions::auto().nlist(40).spill(spill);
        let c = create(by_lists(Metric::L2).index(IndexKind::Ivf(options)));
        put(&c, 0..1_500);
        c.flush().unwrap();
        c.compact(Compact::Auto).unwrap().wait().unwrap();
        let nearest = |query: &[f32]| {
            let hits = c.snapshot().search(query).k(1).effort(Effort::Probe { nprobe: 3, patience: 3 }).run().unwrap();
            (hits[0].id.as_u64().unwrap(), hits[0].distance)
        };
        for step in 0..3 {
            for id in (step * 31..1_500).step_by(191) {
                let (here, there) = (vector(5_000 + id + step), vector(9_000 + id + step));
                c.upsert(id, &here).unwrap();
                assert_eq!(nearest(&here), (id, 0.0));
                c.upsert(id, &there).unwrap();
                assert_ne!(nearest(&here).1, 0.0, "the row has moved");
                assert_eq!(nearest(&there), (id, 0.0));
                if step == 1 {
                    c.flush().unwrap();
                    assert_eq!(nearest(&there), (id, 0.0), "in a file");
                }
                assert!(c.delete(id).unwrap());
                assert_ne!(nearest(&there).1, 0.0, "the row is gone");
            }
            c.compact(Compact::Full).unwrap().wait().unwrap();
        }
    }
}

#[test]
fn a_pinned_snapshot_answers_as_before_across_flushes_and_merges() {
    let c = mixed(by_lists(Metric::Cosine));
    let snapshot = c.snapshot();
    let ask = |effort: Effort| -> Vec<_> {
        queries().map(|query| found(&snapshot.search(&query).effort(effort).run().unwrap())).collect()
    };
    let efforts = [Effort::Probe { nprobe: 10, patience: usize::MAX }, Effort::Recall(0.9), Effort::Exact];
    let before = efforts.map(ask);
    put(&c, 100..900);
    assert_eq!(efforts.map(ask), before);
    c.flush().unwrap();
    (900..1_200).step_by(2).for_each(|id| assert!(id % 17 == 0 || c.delete(id).unwrap()));
    assert_eq!(efforts.map(ask), before);
    c.compact(Compact::Full).unwrap().wait().unwrap();
    assert_eq!(efforts.map(ask), before);
}

#[test]
fn few_and_many_rows_are_found_and_no_more_than_there_are() {
    for count in [1u64, 6, 99, 100, 400] {
        let c = create(by_lists(Metric::L2));
        c.bulk_load((0..count).map(|id| BulkItem::new(id, vector(id))).collect::<Vec<_>>()).unwrap().wait().unwrap();
        c.compact(Compact::Full).unwrap().wait().unwrap();
        let snapshot = c.snapshot();
        for effort in [Effort::Recall(0.9), Effort::Confidence(0.9), Effort::Probe { nprobe: 1, patience: 1 }] {
            for k in [1, count as usize, 1_000] {
                let hits = snapshot.search(&vector(3)).k(k).effort(effort).run().unwrap();
                assert_eq!(hits.len(), k.min(count as usize), "{k} of {count} rows by {effort:?}");
            }
        }
        let near = snapshot.search(&vector(3)).k(1_000).max_distance(9.0).run().unwrap();
        let truth = snapshot.search(&vector(3)).k(1_000).max_distance(9.0).effort(Effort::Exact).run().unwrap();
        assert!(near.iter().all(|hit| hit.distance <= 9.0) && near.len() * 10 >= truth.len() * 9);
    }
}

#[test]
fn filters_are_kept_and_find_nearly_all_that_match() {
    let c = mixed(by_lists(Metric::L2));
    let snapshot = c.snapshot();
    for every in [2u64, 10, 100, 600] {
        let matches = move |id: u64| id % every == 1;
        let set = Filter::ids((0..2_600).filter(|id| matches(*id)));
        let asked = Filter::by(move |id| id.to_owned().as_u64().is_some_and(matches));
        let both = set.clone() & !Filter::ids([1u64]);
        for (name, filter) in [("set", &set), ("callback", &asked), ("both", &both)] {
            // Asked twice: a set is looked up once for all later searches.
            for _ in 0..2 {
                for query in queries().take(5) {
                    let hits = snapshot.search(&query).filter(filter.clone()).run().unwrap();
                    let truth = snapshot.search(&query).filter(filter.clone()).effort(Effort::Exact).run().unwrap();
                    assert_eq!(hits.len(), truth.len(), "{name}, one in {every}");
                    assert!(ids(&hits).iter().all(|id| matches(*id) && id % 17 != 0), "{name}, one in {every}");
                }
                let part = recall(&snapshot, 10, Effort::default(), Some(filter));
                assert!(part >= 0.95, "{name}, one in {every}: {part}");
            }
        }
    }
    c.delete(101u64).unwrap();
    put(&c, [201].into_iter());
    let set = Filter::ids([101u64, 201, 301]);
    for _ in 0..3 {
        let hits = c.snapshot().search(&vector(201)).filter(set.clone()).run().unwrap();
        assert_eq!((hits.len(), hits[0].id.as_u64(), hits[0].distance), (2, Some(201), 0.0));
    }
}

#[test]
fn a_batch_answers_as_its_queries_do_one_by_one() {
    let asked: Vec<Vec<f32>> = queries().chain(queries()).chain(queries().take(9)).collect();
    for schema in [by_lists(Metric::L2), Schema::new(DIM, Metric::Cosine).ids(IdKind::U64)] {
        let c = mixed(schema);
        let snapshot = c.snapshot();
        for effort in [Effort::Recall(0.9), Effort::Probe { nprobe: 6, patience: 16 }, Effort::Exact] {
            let alone: Vec<_> =
                asked.iter().map(|query| found(&snapshot.search(query).k(7).effort(effort).run().unwrap())).collect();
            for threads in [1, 2, 5] {
                let many = snapshot.search_batch(&asked).k(7).effort(effort).threads(threads).run().unwrap();
                assert_eq!(many.iter().map(found).collect::<Vec<_>>(), alone, "{effort:?}, {threads} threads");
            }
        }
        let filter = Filter::ids(0u64..900);
        let many = snapshot.search_batch(&asked).filter(filter.clone()).effort(Effort::Exact).run().unwrap();
        let one = snapshot.search(&asked[0]).filter(filter).effort(Effort::Exact).run().unwrap();
        assert_eq!(found(&many[0]), found(&one));
        assert!(snapshot.search_batch::<Vec<f32>>(&[]).run().unwrap().is_empty());
        let refused = |queries: &[Vec<f32>], threads| {
            snapshot.search_batch(queries).threads(threads).run().unwrap_err().argument_name().map(str::to_owned)
        };
        assert_eq!(refused(&asked, 0).as_deref(), Some("threads"));
        assert_eq!(refused(&[vector(1), vec![1.0]], 2).as_deref(), Some("query"));
        let effort = Effort::Recall(0.0);
        assert_eq!(snapshot.search(&asked[0]).effort(effort).run().unwrap_err().argument_name(), Some("effort"));
    }
}

#[test]
fn a_follower_finds_what_the_writer_finds() {
    let disk = Arc::new(MemDir::new(1));
    let c = Collection::create_in(disk.clone(), by_lists(Metric::L2), manual()).unwrap();
    let follower = Collection::open_read_only_in(disk).unwrap();
    let effort = Effort::Probe { nprobe: 10, patience: usize::MAX };
    let check = |what: &str| {
        follower.refresh().unwrap();
        let (mine, theirs) = (c.snapshot(), follower.snapshot());
        for query in queries() {
            let ask = |snapshot: &Snapshot| found(&snapshot.search(&query).k(12).effort(effort).run().unwrap());
            assert_eq!(ask(&mine), ask(&theirs), "{what}");
        }
    };
    put(&c, 0..1_500);
    check("in memory");
    c.flush().unwrap();
    c.compact(Compact::Auto).unwrap().wait().unwrap();
    check("in lists");
    put(&c, 1_200..1_800);
    (0..300).for_each(|id| assert!(c.delete(id).unwrap()));
    check("in lists and in memory");
    c.flush().unwrap();
    put(&c, 1_800..1_900);
    check("flushed");
    c.compact(Compact::Full).unwrap().wait().unwrap();
    check("merged");
}

/// Rows are written, replaced, flushed and merged while others search; each search finds what was acknowledged before it began.
#[test]
fn searches_beside_writes_and_merges_find_what_was_acknowledged() {
    let options = OpenOptions::new().flush_rows(700);
    let c = Collection::create_in(Arc::new(MemDir::new(1)), by_lists(Metric::L2), options).unwrap();
    put(&c, 0..1_500);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..2u64 {
            let (c, done) = (&c, &done);
            scope.spawn(move || {
                let mut asked = 0;
                while !done.load(Ordering::Acquire) || asked < 50 {
                    let id = (seed * 7_919 + asked * 104_729) % 1_500;
                    let query = vector(id);
                    let hits =
                        c.snapshot().search(&query).effort(Effort::Probe { nprobe: 8, patience: 8 }).run().unwrap();
                    assert_eq!((hits.len(), hits[0].id.as_u64(), hits[0].distance), (10, Some(id), 0.0));
                    asked += 1;
                }
            });
        }
        for round in 0..30u64 {
            // The same rows again, and others that come and go.
            put(&c, (round * 50..round * 50 + 150).map(|id| id % 1_500));
            put(&c, 10_000 + round * 40..10_100 + round * 40);
            (10_000 + round * 40..10_040 + round * 40).for_each(|id| assert!(c.delete(id).unwrap()));
        }
        c.flush().unwrap();
        c.compact(Compact::Full).unwrap().wait().unwrap();
        done.store(true, Ordering::Release);
    });
    assert!(c.stats().list_segments > 0);
    c.close().unwrap();
}

/// Six thousand rows in a hundred and fifty lists.
fn many() -> Collection {
    let lists = IndexKind::Ivf(IvfOptions::auto().nlist(150));
    let c = create(Schema::new(DIM, Metric::L2).ids(IdKind::U64).index(lists));
    put(&c, 0..6_000);
    c.flush().unwrap();
    c.compact(Compact::Auto).unwrap().wait().unwrap();
    c
}

/// Rows near one of thirteen points, half of them closer to it.
fn near_and_far(id: u64, unit: f32) -> Vec<f32> {
    let middle = |i: u64| ((id % 13 * 31 + i * 7) % 11) as f32 / 4.0 - 1.2;
    let spread = if id % 26 < 13 { 0.25 } else { 1.0 };
    vector(id).iter().zip(0..).map(|(x, i)| (middle(i) + spread * (x - middle(i))) * unit).collect()
}

#[test]
fn a_part_of_the_nearest_is_found_with_fewer_lists_where_fewer_are_enough() {
    for (metric, codes) in [
        (Metric::L2, Codes::Bits(4)),
        (Metric::L2, Codes::Product { m: 32, codebook_size: 256 }),
        (Metric::Cosine, Codes::Bits(2)),
        (Metric::Cosine, Codes::None),
        (Metric::InnerProduct, Codes::Bits(4)),
        (Metric::InnerProduct, Codes::None),
    ] {
        // In whatever unit vectors are.
        let looked = [1.0, 1024.0, 1.0 / 1024.0].map(|unit| {
            let what = format!("{metric:?} {codes:?} {unit}");
            let options = IvfOptions::auto().nlist(200).codes(codes);
            let c = create(Schema::new(DIM, metric).ids(IdKind::U64).index(IndexKind::Ivf(options)));
            let mut batch = c.batch();
            for id in 0..5_500 {
                batch.upsert(id, &near_and_far(id, unit));
            }
            batch.commit().unwrap();
            c.flush().unwrap();
            c.compact(Compact::Auto).unwrap().wait().unwrap();
            let mut batch = c.batch();
            for id in 5_500..6_000 {
                batch.upsert(id, &near_and_far(id, unit));
            }
            batch.commit().unwrap();
            c.flush().unwrap();
            assert_eq!(c.stats().list_segments, 2, "{what}");
            let snapshot = c.snapshot();
            let asked: Vec<Vec<f32>> = (0..120).map(|n| near_and_far(9_000_001 + n * 7, unit)).collect();
            let (mut right, mut looked) = (0, Vec::new());
            for query in &asked {
                let hits = snapshot.search(query).effort(Effort::Recall(0.98)).run().unwrap();
                let truth = snapshot.search(query).effort(Effort::Exact).run().unwrap();
                right += ids(&truth).iter().filter(|id| ids(&hits).contains(id)).count();
                looked.push(hits.explain().lists_probed);
                let cold = snapshot.search(query).effort(Effort::Recall(0.98)).mode(SearchMode::Cold).run().unwrap();
                assert_eq!((&*cold, cold.explain().lists_probed), (&*hits, hits.explain().lists_probed), "{what}");
                let told = Effort::Probe { nprobe: 30, patience: usize::MAX };
                let hits = snapshot.search(query).effort(told).run().unwrap();
                assert_eq!(hits.explain().lists_probed, 30, "{what}: as many as were told");
            }
            assert!(right as f64 >= 0.965 * 10.0 * asked.len() as f64, "{what}: {right}");
            let (least, most) = (*looked.iter().min().unwrap(), *looked.iter().max().unwrap());
            assert!(least < most && most < 100, "{what}: {looked:?}");
            looked
        });
        assert!(looked[0] == looked[1] && looked[1] == looked[2], "{metric:?} {codes:?}: {looked:?}");
    }
}

#[test]
fn a_patient_search_ends_once_nothing_nearer_turns_up() {
    let c = many();
    let snapshot = c.snapshot();
    let lists = |effort: Effort| {
        let looked = |query: Vec<f32>| snapshot.search(&query).effort(effort).run().unwrap().explain().lists_probed;
        queries().map(looked).collect::<Vec<_>>()
    };
    assert!(lists(Effort::Probe { nprobe: 100, patience: usize::MAX }).iter().all(|looked| *looked == 100));
    let (short, long) =
        (lists(Effort::Probe { nprobe: 100, patience: 4 }), lists(Effort::Probe { nprobe: 100, patience: 24 }));
    assert!(short.iter().zip(&long).all(|(short, long)| short <= long && *long <= 100), "{short:?} {long:?}");
    assert!(short.iter().all(|looked| *looked < 100) && short.iter().sum::<u64>() < long.iter().sum());
    let found = |patience| recall(&snapshot, 10, Effort::Probe { nprobe: 100, patience }, None);
    assert!(found(4) <= found(24) + 0.01 && found(24) <= found(usize::MAX) + 1e-9 && found(24) > 0.95);
}

#[test]
fn confidence_finds_what_it_says_and_looks_at_less_where_less_is_enough() {
    let c = many();
    let snapshot = c.snapshot();
    for part in [0.8, 0.9, 0.95] {
        let found = recall(&snapshot, 10, Effort::Confidence(part), None);
        assert!(found >= f64::from(part) - 0.02, "{found} at {part}");
        let looked = |query: Vec<f32>| {
            snapshot.search(&query).effort(Effort::Confidence(part)).run().unwrap().explain().lists_probed
        };
        let looked: Vec<u64> = queries().map(looked).collect();
        let (least, most) = (*looked.iter().min().unwrap(), *looked.iter().max().unwrap());
        assert!(least < most && most <= 150, "{part}: {looked:?}");
    }
}

/// Where what matches is far from the query nearly all lists would have to be looked at to find it: then it is measured, mostly.
#[test]
fn ids_that_are_far_from_the_query_are_measured_and_near_ones_are_found_by_lists() {
    for metric in METRICS {
        let c = create(Schema::new(DIM, metric).ids(IdKind::U64).index(IndexKind::Ivf(IvfOptions::auto().nlist(200))));
        put(&c, 0..20_000);
        c.flush().unwrap();
        c.compact(Compact::Auto).unwrap().wait().unwrap();
        let snapshot = c.snapshot();
        let wanted: Vec<u64> = (0..20_000).filter(|id| [3, 4].contains(&(id % 13))).collect();
        let filter = Filter::ids(wanted.iter().copied());
        // A set that is asked for again is known by its rows.
        snapshot.search(&vector(1)).filter(filter.clone()).run().unwrap();
        let (mut by_lists, mut measured, mut right) = (0, 0, 0);
        for (kind, n) in [3u64, 4, 9, 10].into_iter().flat_map(|kind| (0..10).map(move |n| (kind, n))) {
            let query = vector(13_000_000 + 13 * n + kind);
            let search = |mode| snapshot.search(&query).filter(filter.clone()).mode(mode).run().unwrap();
            let (hits, cold) = (search(SearchMode::Auto), search(SearchMode::Cold));
            assert_eq!(*hits, *cold, "{metric:?} {kind}");
            let truth = snapshot.search(&query).filter(filter.clone()).effort(Effort::Exact).run().unwrap();
            right += ids(&truth).iter().filter(|id| ids(&hits).contains(id)).count();
            let explain = hits.explain();
            match kind < 9 {
                true => by_lists += usize::from(explain.lists_probed > 0 && explain.rows_scored < 100),
                false => {
                    measured += usize::from(
                        explain.lists_probed == 0 && explain.rows_scored == wanted.len() as u64 && *hits == *truth,
                    )
                }
            }
        }
        assert!(right >= 380, "{metric:?}: {right} of 400");
        assert!(by_lists >= 18 && measured >= 14, "{metric:?}: {by_lists} and {measured} of 20");
    }
}
