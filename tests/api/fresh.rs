//! Rows that came last are searched beside lists: found at once, as near as they are, and by nobody who should not see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stratavec::storage::testing::MemDir;
use stratavec::{
    Background, Codes, Collection, Compact, Compaction, Effort, Filter, Hits, IdKind, IdRef, IndexKind, IvfOptions,
    Metric, OpenOptions, Schema, Snapshot, Spill,
};

/// Long enough that fresh rows have codes.
const DIM: usize = 96;
const FILED: u64 = 700;
const FRESH: u64 = 240;

fn component(id: u64, i: u64) -> f32 {
    let mut z = (id << 20 | i).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
}

/// Rows near one of twelve points.
fn vector(id: u64) -> Vec<f32> {
    (0..DIM as u64).map(|i| 2.0 * component(1_000_000 + id % 12, i) + component(id, i) + 0.3).collect()
}

fn schema(metric: Metric, codes: Codes, spill: Spill) -> Schema {
    let options = IvfOptions::auto().nlist(16).codes(codes).spill(spill);
    Schema::new(DIM, metric).ids(IdKind::U64).index(IndexKind::Ivf(options))
}

fn manual() -> OpenOptions {
    OpenOptions::new().background(Background::Inline).compaction(Compaction::Manual)
}

fn put(c: &Collection, ids: std::ops::Range<u64>) {
    let mut batch = c.batch();
    ids.for_each(|id| {
        batch.upsert(id, &vector(id));
    });
    batch.commit().unwrap();
}

/// The first rows in lists, nothing in memory.
fn filed(disk: &MemDir, schema: Schema, options: OpenOptions) -> Collection {
    let c = Collection::create_in(Arc::new(disk.clone()), schema, options).unwrap();
    put(&c, 0..FILED);
    c.flush().unwrap();
    c.compact(Compact::Auto).unwrap().wait().unwrap();
    assert!(c.stats().lists >= 16 && c.stats().delta_rows == 0);
    c
}

/// The fresh rows in batches of many sizes.
fn add_fresh(c: &Collection) {
    let (mut next, mut size) = (FILED, 1);
    while next < FILED + FRESH {
        put(c, next..(next + size).min(FILED + FRESH));
        (next, size) = (next + size, size % 37 + 9);
    }
}

fn ids(hits: &Hits) -> Vec<u64> {
    hits.iter().map(|hit| hit.id.as_u64().unwrap()).collect()
}

fn all_lists(c: &Collection) -> Effort {
    Effort::Probe { nprobe: c.stats().lists as usize, patience: usize::MAX }
}

/// With all lists looked at, those of the nearest that are fresh are found, at the distances that measuring all rows gives.
fn check(snapshot: &Snapshot, effort: Effort, what: &str) {
    let mut fresh_found = 0;
    for query in (0..60).map(|query| vector(5_000 + query)) {
        let exact = snapshot.search(&query).k(10).effort(Effort::Exact).run().unwrap();
        let found = snapshot.search(&query).k(10).effort(effort).run().unwrap();
        for hit in exact.iter().filter(|hit| hit.id.as_u64() >= Some(FILED)) {
            let twin = found.iter().find(|other| other.id == hit.id);
            assert_eq!(twin.map(|twin| twin.distance), Some(hit.distance), "{what}: {hit:?}");
            fresh_found += 1;
        }
    }
    assert!(fresh_found > 60, "{what}: the test looks at fresh rows");
}

#[test]
fn fresh_rows_are_found_at_once_and_where_they_are_by_every_metric_and_code() {
    let product = Codes::Product { m: 16, codebook_size: 256 };
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        for (codes, spill) in
            [(Codes::Bits(1), Spill::On), (Codes::Bits(4), Spill::Off), (Codes::None, Spill::On), (product, Spill::Off)]
        {
            let what = format!("{metric:?} {codes:?} {spill:?}");
            let c = filed(&MemDir::new(1), schema(metric, codes, spill), manual());
            let before = c.snapshot();
            add_fresh(&c);
            assert_eq!(c.stats().delta_rows, FRESH, "{what}");
            let middle = c.snapshot();
            check(&middle, all_lists(&c), &what);
            if metric != Metric::InnerProduct {
                for id in FILED..FILED + FRESH {
                    let hits = middle.search(&vector(id)).k(1).run().unwrap();
                    assert_eq!(ids(&hits), [id], "{what}: found by itself");
                }
            }
            // Some go, some become others.
            let mut batch = c.batch();
            for id in FILED..FILED + 60 {
                if id < FILED + 20 {
                    batch.delete(id);
                } else {
                    batch.upsert(id, &vector(id + 9_000));
                }
            }
            batch.commit().unwrap();
            let after = c.snapshot();
            check(&after, all_lists(&c), &what);
            for id in FILED..FILED + 60 {
                let near = |snapshot: &Snapshot, query: u64| {
                    ids(&snapshot.search(&vector(query)).k(10).effort(all_lists(&c)).run().unwrap())
                };
                assert!(near(&before, id).iter().all(|id| *id < FILED), "{what}: seen too early");
                if metric == Metric::InnerProduct {
                    continue;
                }
                assert_eq!(near(&middle, id)[0], id, "{what}: a pinned state does not change");
                match id < FILED + 20 {
                    true => assert!(!near(&after, id).contains(&id), "{what}: deleted"),
                    false => assert_eq!(near(&after, id + 9_000)[0], id, "{what}: replaced"),
                }
            }
        }
    }
}

#[test]
fn hardly_a_fresh_row_is_measured_that_is_not_among_the_nearest_and_explain_says_so() {
    let c = filed(&MemDir::new(1), schema(Metric::L2, Codes::Bits(4), Spill::Off), manual());
    let query = vector(5_001);
    let effort = all_lists(&c);
    let before = c.snapshot().search(&query).k(10).effort(effort).run().unwrap();
    add_fresh(&c);
    let after = c.snapshot().search(&query).k(10).effort(effort).run().unwrap();
    assert_eq!((before.explain().fresh_scanned, after.explain().fresh_scanned), (0, FRESH));
    let measured = after.explain().rows_scored - before.explain().rows_scored;
    assert!(measured <= 20, "{measured} of {FRESH} rows were measured");
    // What a bound on distances leaves, a filter that lets few through, and rows that nothing else competes with.
    let reach = after[4].distance;
    let near = c.snapshot().search(&query).k(10).effort(effort).max_distance(reach).run().unwrap();
    assert_eq!(ids(&near), ids(&after)[..5]);
    let odd = Filter::by(|id| matches!(id, IdRef::U64(id) if id >= FILED && id % 2 == 1));
    let search = |effort| c.snapshot().search(&query).k(30).effort(effort).filter(odd.clone()).run().unwrap();
    assert_eq!(ids(&search(effort)), ids(&search(Effort::Exact)));
}

#[test]
fn vectors_too_short_for_codes_are_measured() {
    let options = IvfOptions::auto().nlist(16);
    let schema = Schema::new(4, Metric::L2).ids(IdKind::U64).index(IndexKind::Ivf(options));
    let c = Collection::create_in(Arc::new(MemDir::new(1)), schema, manual()).unwrap();
    let put = |ids: std::ops::Range<u64>| {
        let mut batch = c.batch();
        for id in ids {
            batch.upsert(id, &vector(id)[..4]);
        }
        batch.commit().unwrap();
    };
    put(0..FILED);
    c.flush().unwrap();
    c.compact(Compact::Auto).unwrap().wait().unwrap();
    put(FILED..FILED + FRESH);
    for id in FILED..FILED + FRESH {
        let hits = c.snapshot().search(&vector(id)[..4]).k(10).effort(all_lists(&c)).run().unwrap();
        assert_eq!(ids(&hits)[0], id);
        assert!(hits.explain().rows_scored >= FRESH);
    }
}

#[test]
fn a_log_that_is_read_again_gives_the_same_answers() {
    let disk = MemDir::new(1);
    let c = filed(&disk, schema(Metric::Cosine, Codes::Bits(1), Spill::On), manual());
    add_fresh(&c);
    let ask = |snapshot: &Snapshot| {
        let search = |query| snapshot.search(&vector(query)).k(10).run().unwrap();
        (5_000..5_050).map(|query| ids(&search(query))).collect::<Vec<_>>()
    };
    let asked = ask(&c.snapshot());
    let follower = Collection::open_read_only_in(Arc::new(disk.clone())).unwrap();
    assert_eq!(ask(&follower.snapshot()), asked);
    put(&c, 5_000..5_010);
    follower.refresh().unwrap();
    let found = ask(&follower.snapshot());
    assert!((0..10).all(|at| found[at][0] == 5_000 + at as u64), "{found:?}");
}

#[test]
fn fresh_rows_are_found_while_models_and_generations_come_and_go() {
    let disk = MemDir::new(1);
    let c = filed(&disk, schema(Metric::L2, Codes::Bits(2), Spill::On), manual());
    let found = |ids: std::ops::Range<u64>| {
        for id in ids {
            let hits = c.snapshot().search(&vector(id)).k(1).run().unwrap();
            assert_eq!(hits[0].id.as_u64(), Some(id));
        }
    };
    put(&c, FILED..FILED + 120);
    c.flush().unwrap();
    put(&c, FILED + 120..FILED + FRESH);
    c.compact(Compact::Retrain).unwrap().wait().unwrap();
    assert_eq!(c.stats().retrains, 1);
    found(0..FILED + FRESH);
    put(&c, FILED + FRESH..FILED + FRESH + 50);
    found(FILED..FILED + FRESH + 50);
    c.flush().unwrap();
    put(&c, FILED + FRESH + 50..FILED + FRESH + 99);
    found(FILED..FILED + FRESH + 99);
    // Queries that are asked together.
    let queries: Vec<Vec<f32>> = (FILED..FILED + FRESH + 99).map(vector).collect();
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let all = c.snapshot().search_batch(&queries).k(1).threads(2).run().unwrap();
    for (hits, id) in all.iter().zip(FILED..) {
        assert_eq!(ids(hits), [id]);
    }
}

#[test]
fn a_row_is_found_as_soon_as_its_commit_returned_whatever_goes_on() {
    const ROWS: u64 = 6_000;
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions::new().flush_rows(700);
    let c = Collection::create(dir.path().join("c"), schema(Metric::L2, Codes::Auto, Spill::Auto), options).unwrap();
    put(&c, 0..FILED);
    c.flush().unwrap();
    c.compact(Compact::Auto).unwrap().wait().unwrap();
    let written = AtomicU64::new(FILED);
    std::thread::scope(|scope| {
        for searcher in 0..2u64 {
            let (c, written) = (&c, &written);
            scope.spawn(move || {
                let mut turn = searcher;
                while written.load(Ordering::Acquire) < ROWS {
                    let end = written.load(Ordering::Acquire);
                    // The newest, and one of those before it.
                    for id in [end - 1, end - 1 - turn * 7_919 % 600] {
                        let hits = c.snapshot().search(&vector(id)).k(1).run().unwrap();
                        assert_eq!(ids(&hits), [id], "of {end}");
                    }
                    turn += 1;
                }
            });
        }
        let mut end = FILED;
        while end < ROWS {
            let next = (end + 1 + end % 23).min(ROWS);
            put(&c, end..next);
            written.store(next, Ordering::Release);
            end = next;
        }
    });
    assert!(c.stats().flushes > 3);
}

/// Searches and commits come first where processors are scarce; what they wait for, a flush, does not stand back.
#[cfg(target_os = "linux")]
#[test]
fn the_thread_that_merges_and_trains_stands_back() {
    let dir = tempfile::tempdir().unwrap();
    let schema = schema(Metric::L2, Codes::Auto, Spill::Auto);
    let _open = Collection::create(dir.path().join("c"), schema, OpenOptions::new()).unwrap();
    let niceness_of = |thread: &str| {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.join("stat")).ok());
        let mut named = stats.filter(|stat| stat.contains(&format!("({thread})")));
        let stat = named.next()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(16)?.parse::<i32>().ok()
    };
    let begun = std::time::Instant::now();
    while niceness_of("stratavec-merge") != niceness_of("stratavec-flush").map(|nice| (nice + 10).min(19)) {
        assert!(begun.elapsed().as_secs() < 20, "{:?}", niceness_of("stratavec-merge"));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn codes_of_fresh_rows_are_memory_of_the_delta_until_nobody_sees_them() {
    let options = manual().memory_budget(64 << 20);
    let c = filed(&MemDir::new(1), schema(Metric::L2, Codes::Bits(4), Spill::Off), options);
    assert_eq!(c.stats().memory.delta, 0);
    add_fresh(&c);
    // A vector, a code of a byte per component after padding and two factors.
    let least = FRESH * (DIM as u64 * 4 + 128 + 8);
    assert!(c.stats().memory.delta >= least && c.stats().delta_bytes >= least, "{:?}", c.stats().memory);
    let pinned = c.snapshot();
    c.flush().unwrap();
    assert!(c.stats().memory.delta >= least, "the snapshot holds the delta: {:?}", c.stats().memory);
    drop(pinned);
    assert_eq!(c.stats().memory.delta, 0, "{:?}", c.stats().memory);
}

/// Of rows so long that codes tell nothing of them every one is looked at, and each once.
#[test]
fn rows_too_long_for_codes_are_found_once() {
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        for scale in [1e17, 5e17_f32] {
            let c = filed(&MemDir::new(5), schema(metric, Codes::Bits(4), Spill::On), manual());
            let long = |id: u64| vector(id).iter().map(|x| x * scale).collect::<Vec<f32>>();
            for ids in [FILED..FILED + 70, FILED + 70..FILED + 110, FILED + 110..FILED + 400] {
                let mut batch = c.batch();
                ids.for_each(|id| {
                    batch.upsert(id, &long(id));
                });
                batch.commit().unwrap();
            }
            let snapshot = c.snapshot();
            for query in [long(FILED + 3), vector(FILED + 9), long(5)] {
                let search = |effort| snapshot.search(&query).k(120).effort(effort).run().unwrap();
                let all = Effort::Probe { nprobe: 16, patience: usize::MAX };
                let mut found: Vec<u64> = search(all).iter().filter_map(|hit| hit.id.as_u64()).collect();
                let exact = search(Effort::Exact);
                let near = found.iter().filter(|id| exact.iter().any(|hit| hit.id.as_u64() == Some(**id))).count();
                found.sort_unstable();
                let count = found.len();
                found.dedup();
                assert_eq!((found.len(), count), (120, 120), "{metric:?} {scale}: a row was found twice");
                assert!(near >= 100 || metric == Metric::L2, "{metric:?} {scale}: {near} of the nearest");
            }
        }
    }
}
