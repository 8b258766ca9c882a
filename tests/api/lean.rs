//! Collections that keep no vectors: codes answer, and a source of vectors makes the answers exact.

use std::sync::Arc;

use stratavec::storage::FileKind;
use stratavec::storage::testing::MemDir;
use stratavec::{
    Access, Attributes, Background, BulkItem, Codes, Collection, Compact, Effort, ErrorKind, Filter, Hits, Id, IdKind,
    Include, IndexKind, IvfOptions, Metric, OpenOptions, Repair, RepairReport, RowFormat, Schema, Snapshot, Spill,
    Verify,
};

use super::scene::{inline, open};

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

fn lean(metric: Metric, ids: IdKind, bits: u8) -> Schema {
    lean_with(metric, ids, Codes::Bits(bits))
}

fn lean_with(metric: Metric, ids: IdKind, codes: Codes) -> Schema {
    lean_spilling(metric, ids, codes, Spill::Off)
}

fn lean_spilling(metric: Metric, ids: IdKind, codes: Codes, spill: Spill) -> Schema {
    let options = IvfOptions::auto().nlist(30).codes(codes).spill(spill);
    Schema::new(DIM, metric).ids(ids).rows(RowFormat::None).index(IndexKind::Ivf(options))
}

fn id(kind: IdKind, number: u64) -> Id {
    match kind {
        IdKind::U64 => Id::U64(number),
        _ => Id::from(format!("row {number}")),
    }
}

fn number(id: &Id) -> u64 {
    let text = || id.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok()?.split(' ').nth(1)?.parse().ok());
    id.as_u64().or_else(text).expect("an id of ours")
}

fn given(ids: &[Id]) -> Result<Vec<Vec<f32>>, std::io::Error> {
    Ok(ids.iter().map(|id| vector(number(id))).collect())
}

fn put(c: &Collection, numbers: impl Iterator<Item = u64>) {
    let mut batch = c.batch();
    for n in numbers {
        let attributes: Attributes = [("n".to_owned(), (n as i64).into())].into();
        batch.upsert(&id(c.schema().id_kind(), n), &vector(n)).attributes(attributes).payload(&n.to_le_bytes());
    }
    batch.commit().expect("commit");
}

fn compact(c: &Collection) {
    c.compact(Compact::Auto).expect("begin").wait().expect("compact");
}

/// Rows in lists, of two flushes, and some in memory; a few replaced, a few dead.
fn filled(disk: &MemDir, schema: Schema) -> Collection {
    let c = Collection::create_in(Arc::new(disk.clone()), schema, inline()).expect("create");
    put(&c, 0..ROWS - 300);
    c.flush().expect("flush");
    compact(&c);
    put(&c, ROWS - 300..ROWS - 100);
    c.flush().expect("flush");
    compact(&c);
    put(&c, (ROWS - 100..ROWS).chain([3, 40]));
    for n in (0..ROWS).step_by(50) {
        c.delete(&id(c.schema().id_kind(), n)).expect("delete");
    }
    c
}

fn lives(n: u64) -> bool {
    !n.is_multiple_of(50)
}

fn numbers(hits: &Hits) -> Vec<u64> {
    hits.iter().map(|hit| number(&hit.id)).collect()
}

/// The nearest live rows by their vectors.
fn truth(metric: Metric, query: &[f32], k: usize) -> Vec<u64> {
    let schema = Schema::new(DIM, metric).ids(IdKind::U64);
    let c = Collection::create_in(Arc::new(MemDir::new(1)), schema, inline()).expect("create");
    put(&c, (0..ROWS).filter(|n| lives(*n)));
    numbers(&c.snapshot().search(query).k(k).run().expect("search"))
}

fn section(c: &Collection, name: &str) -> u64 {
    c.stats().sections.iter().find(|(section, _)| *section == name).map_or(0, |(_, bytes)| *bytes)
}

fn check(snapshot: &Snapshot, metric: Metric) {
    let kind = snapshot.schema().id_kind();
    assert_eq!(snapshot.count(), (0..ROWS).filter(|n| lives(*n)).count() as u64);
    for n in (0..ROWS).step_by(7) {
        let item = snapshot.get(&id(kind, n)).expect("get");
        assert_eq!(item.is_some(), lives(n));
        let Some(item) = item else { continue };
        assert!(item.vector.is_empty() && item.approximate);
        assert_eq!(item.attributes.get("n"), Some(&(n as i64).into()));
        assert_eq!(item.payload.as_deref(), Some(&n.to_le_bytes()[..]));
    }
    for n in 0..6 {
        let query = query(n);
        let truth = truth(metric, &query, 10);
        let all = Effort::Probe { nprobe: 40, patience: usize::MAX };
        let search = snapshot.search(&query).effort(all).candidates(150).include(Include::VECTOR | Include::PAYLOAD);
        let hits = search.rerank_with(&mut given).run().expect("search");
        assert_eq!(numbers(&hits), truth, "{metric:?} {kind:?}");
        assert!(hits.all_exact() && hits.iter().all(|hit| hit.vector.is_none() && hit.payload.is_some()));
        let plain = snapshot.search(&query).effort(Effort::Exact).run().expect("search");
        assert!(plain.len() == 10 && plain.iter().all(|hit| !hit.exact && lives(number(&hit.id))));
    }
}

#[test]
fn a_flat_collection_without_vectors_is_refused_when_it_is_created() {
    let schema = Schema::new(4, Metric::L2).rows(RowFormat::None);
    let disk = MemDir::new(1);
    let error = Collection::create_in(Arc::new(disk.clone()), schema, inline()).expect_err("nothing would answer");
    assert_eq!((error.kind(), error.argument_name()), (ErrorKind::InvalidArgument, Some("rows")));
    assert!(error.to_string().contains("flat") && disk.names().is_empty());
}

#[test]
fn without_vectors_and_codes_nothing_would_be_left() {
    let schema = lean_with(Metric::L2, IdKind::U64, Codes::None);
    let error = Collection::create_in(Arc::new(MemDir::new(1)), schema, inline()).expect_err("nothing would answer");
    assert_eq!((error.kind(), error.argument_name()), (ErrorKind::InvalidArgument, Some("rows")));
    assert!(error.to_string().contains("codes"), "{error}");
}

/// Numbers of codewords answer as bits do: with candidates enough the nearest are found.
#[test]
fn product_codes_answer_alone_too() {
    for (metric, codebook_size) in [(Metric::L2, 16), (Metric::Cosine, 64), (Metric::InnerProduct, 512)] {
        let disk = MemDir::new(1);
        let c = filled(&disk, lean_with(metric, IdKind::U64, Codes::Product { m: 16, codebook_size }));
        assert_eq!(section(&c, "vectors"), 0, "{:?}", c.stats().sections);
        check(&c.snapshot(), metric);
        c.compact(Compact::Full).expect("begin").wait().expect("compact");
        check(&c.snapshot(), metric);
        c.close().expect("close");
        let (whole, report) = repaired(&disk);
        assert!(report.is_complete(), "{:?}", report.losses);
        check(&open(&whole).snapshot(), metric);
    }
}

/// Rows of another kind do not flush the delta either: nothing would be trained.
#[test]
fn rows_that_are_far_from_all_lists_wait_until_the_delta_is_full() {
    let disk = MemDir::new(9);
    filled(&disk, lean(Metric::L2, IdKind::U64, 4)).close().unwrap();
    let options = OpenOptions::new().background(Background::Inline);
    let c = Collection::open_in(Arc::new(disk), options).unwrap();
    let flushes = c.stats().flushes;
    for round in 0..30u64 {
        let mut batch = c.batch();
        for id in 0..100u64 {
            let far: Vec<f32> = vector(id).iter().map(|x| x + 50.0).collect();
            batch.upsert(1_000_000 + round * 100 + id, &far);
        }
        batch.commit().unwrap();
    }
    assert_eq!((c.stats().flushes, c.stats().retrains), (flushes, 0));
}

/// A number of lists that was asked for stays, but for a quarter.
#[test]
fn lists_that_were_asked_for_stay_as_many() {
    let disk = MemDir::new(1);
    let c = filled(&disk, lean(Metric::L2, IdKind::U64, 2));
    let lists = c.stats().lists;
    put(&c, 2_000..2_000 + 4 * ROWS);
    c.flush().expect("flush");
    compact(&c);
    assert_eq!(
        (c.stats().lists, c.stats().retrains),
        (lists, 0),
        "four times as many rows stay in the lists there are"
    );
    let health = c.health().expect("health");
    assert_eq!((health.sampled, health.retrain), (0, None), "nothing is said to come that does not");
    assert_eq!(
        (health.coverage, health.quantization_error, health.recall, health.latency_ratio),
        (None, None, None, None)
    );
    assert!(health.score > Some(50.0) && health.delta_ratio < Some(0.1), "{health:?}");
    assert!(
        health.growth.expect("it is known what was trained on") > 4.0
            && health.balance > Some(0.0)
            && health.connectivity == Some(1.0)
    );
    let planned = c.compact_dry_run(Compact::Retrain);
    let done = c.compact(Compact::Retrain).expect("begin").wait().expect("retrain");
    assert_eq!((planned.retrains, planned.refiled), (done.retrains, done.refiled));
    assert!(done.retrains == 1 && (lists + 1..=37).contains(&c.stats().lists), "{} lists", c.stats().lists);
    let (planned, done) = (c.compact_dry_run(Compact::Retrain), c.compact(Compact::Retrain).expect("begin").wait());
    let retrains = (planned.retrains, done.expect("retrain").retrains);
    assert!(c.stats().lists <= 37 && retrains.1 <= retrains.0, "{retrains:?}");
    let hits = c.snapshot().search(&vector(2_500)).k(1).candidates(150).rerank_with(&mut given).run().expect("search");
    assert_eq!(numbers(&hits), [2_500]);
}

/// Codes beside centroids that stay are copied bit for bit: estimates are what they were.
#[test]
fn estimates_of_rows_that_stay_in_their_lists_do_not_change() {
    for (metric, codes) in [
        (Metric::L2, Codes::Bits(1)),
        (Metric::Cosine, Codes::Bits(1)),
        (Metric::InnerProduct, Codes::Bits(2)),
        (Metric::L2, Codes::Bits(7)),
        (Metric::L2, Codes::Product { m: 16, codebook_size: 16 }),
    ] {
        let disk = MemDir::new(1);
        let schema = lean_with(metric, IdKind::U64, codes);
        let c = filled(&disk, schema);
        c.compact(Compact::Full).expect("begin").wait().expect("compact");
        let estimates = || {
            let snapshot = c.snapshot();
            let query = query(3);
            let hits = snapshot.search(&query).k(2_000).effort(Effort::Exact).run().expect("search");
            let mut all: Vec<(u64, u32)> = hits.iter().map(|hit| (number(&hit.id), hit.distance.to_bits())).collect();
            all.sort_unstable();
            all
        };
        let before = estimates();
        let done = c.compact(Compact::Retrain).expect("begin").wait().expect("retrain");
        assert_eq!((done.retrains, c.stats().models, c.stats().rows_to_convert), (1, 1, 0), "{codes:?}");
        let after = estimates();
        assert_eq!(after.len(), before.len(), "{codes:?}");
        let same = before.iter().zip(&after).filter(|(before, after)| before == after).count();
        // The more exactly rows are known, the more of them belong to another list.
        assert!(same * 8 > before.len() * 7, "{codes:?}: {same} of {}", before.len());
        check(&c.snapshot(), metric);
        c.close().expect("close");
        let report = Collection::verify_in(&disk, Verify::Full).expect("verify");
        assert!(report.is_sound(), "{:?}", report.findings);
        check(&open(&disk).snapshot(), metric);
    }
}

/// A row that moves to the list of its second copy has one copy there.
#[test]
fn lists_with_second_copies_are_made_anew_without_vectors() {
    for (metric, codes) in [
        (Metric::L2, Codes::Bits(1)),
        (Metric::L2, Codes::Bits(7)),
        (Metric::Cosine, Codes::Bits(4)),
        (Metric::InnerProduct, Codes::Bits(2)),
        (Metric::L2, Codes::Product { m: 16, codebook_size: 16 }),
    ] {
        for spill in [Spill::Auto, Spill::On] {
            let disk = MemDir::new(1);
            let c = filled(&disk, lean_spilling(metric, IdKind::U64, codes, spill));
            let mut retrains = 0;
            for what in [Compact::Full, Compact::Auto, Compact::Full] {
                c.compact(what).expect("begin").wait().expect("compact");
                retrains += c.compact(Compact::Retrain).expect("begin").wait().expect("retrain").retrains;
                assert_eq!((c.stats().models, c.stats().rows_to_convert), (1, 0), "{codes:?}");
                check(&c.snapshot(), metric);
            }
            assert!(retrains > 0, "{codes:?}");
            c.close().expect("close");
            let report = Collection::verify_in(&disk, Verify::Full).expect("verify");
            assert!(report.is_sound(), "{codes:?}: {:?}", report.findings);
            check(&open(&disk).snapshot(), metric);
        }
    }
}

#[test]
fn rows_in_lists_have_no_vectors_and_are_found_by_their_codes() {
    for metric in METRICS {
        for ids in [IdKind::U64, IdKind::Bytes] {
            let disk = MemDir::new(1);
            let c = filled(&disk, lean(metric, ids, 2));
            assert_eq!(section(&c, "vectors"), 0, "{:?}", c.stats().sections);
            assert!(c.stats().rows_in_lists > 0 && c.stats().delta_rows == 102);
            check(&c.snapshot(), metric);
            drop(c);
            let c = open(&disk);
            check(&c.snapshot(), metric);
            c.compact(Compact::Full).expect("begin").wait().expect("compact");
            assert_eq!((section(&c, "vectors"), c.stats().dead_rows), (0, 0));
            check(&c.snapshot(), metric);
            for access in [Access::Mmap, Access::Pread] {
                let follower = Collection::open_read_only_with_in(Arc::new(disk.clone()), access);
                check(&follower.expect("open").snapshot(), metric);
            }
            let copy = MemDir::new(2);
            c.checkpoint_in(&copy).expect("checkpoint");
            check(&open(&copy).snapshot(), metric);
            c.close().expect("close");
            for disk in [&disk, &copy] {
                let report = Collection::verify_in(disk, Verify::Full).expect("verify");
                assert!(report.is_sound(), "{:?}", report.findings);
            }
        }
    }
}

#[test]
fn before_there_are_lists_rows_are_measured_as_bytes() {
    let disk = MemDir::new(1);
    let c = Collection::create_in(Arc::new(disk.clone()), lean(Metric::L2, IdKind::U64, 4), inline()).expect("create");
    put(&c, 0..200);
    for _ in 0..2 {
        let snapshot = c.snapshot();
        let hits = snapshot.search(&vector(17)).k(3).run().expect("search");
        assert!(hits[0].id == Id::U64(17) && !hits[0].exact && hits[0].distance < 1e-3);
        assert!(snapshot.get(17u64).expect("get").expect("the row").vector.is_empty(), "nothing is shown that will go");
        c.flush().expect("flush");
    }
    assert!(section(&c, "vectors") > 0, "they wait for their lists");
}

#[test]
fn a_load_ends_without_vectors_and_filters_hold() {
    let options = inline().compaction(stratavec::Compaction::default());
    let c = Collection::create_in(Arc::new(MemDir::new(1)), lean(Metric::Cosine, IdKind::U64, 4), options);
    let c = c.expect("create");
    c.bulk_load((0..ROWS).map(|n| BulkItem::new(Id::U64(n), vector(n)))).expect("begin").wait().expect("load");
    assert_eq!((section(&c, "vectors"), c.stats().rows_in_lists), (0, ROWS));
    let snapshot = c.snapshot();
    for step in [2u64, 30, 400] {
        let some = Filter::ids((0..ROWS).filter(|n| n % step == 1));
        let query = query(step);
        for effort in [Effort::default(), Effort::Exact] {
            let hits = snapshot.search(&query).k(3).effort(effort).filter(some.clone()).run().expect("search");
            assert_eq!(hits.len(), 3);
            assert!(numbers(&hits).iter().all(|n| n % step == 1), "{:?}", numbers(&hits));
        }
        let queries = vec![query.clone(); 5];
        let answers = snapshot.search_batch(&queries).k(3).effort(Effort::Exact).run().expect("search");
        let alone = snapshot.search(&query).k(3).effort(Effort::Exact).run().expect("search");
        assert!(answers.iter().all(|answer| numbers(answer) == numbers(&alone)));
    }
    let all = snapshot.search(&query(1)).k(usize::MAX).run().expect("search");
    assert_eq!(all.len() as u64, ROWS, "every row is found by its code");
}

/// Thousands of times as far from everything as other rows are from each other: a scan lets such a row pass, and it is not near for that.
#[test]
fn rows_too_far_for_their_codes_are_not_taken_for_near_ones() {
    for (bits, times) in [(1, 3_000.0), (1, 3e6), (4, 3_000.0), (4, 3e6)] {
        let c = Collection::create_in(Arc::new(MemDir::new(5)), lean(Metric::L2, IdKind::U64, bits), inline()).unwrap();
        let far = |id: u64| vector(id).iter().map(|x| x * times).collect::<Vec<_>>();
        // They come when the lists are made: those know nothing of them.
        for came in [false, true] {
            let mut batch = c.batch();
            for id in (0..ROWS).filter(|id| (id % 100 == 7) == came) {
                batch.upsert(id, &if came { far(id) } else { vector(id) });
            }
            batch.commit().unwrap();
            c.flush().unwrap();
            compact(&c);
        }
        assert_eq!(c.stats().rows_in_lists, ROWS);
        let ids = |query: &[f32]| {
            let hits = c
                .snapshot()
                .search(query)
                .k(10)
                .effort(Effort::Probe { nprobe: 30, patience: usize::MAX })
                .run()
                .unwrap();
            hits.iter().map(|hit| hit.id.as_u64().unwrap()).collect::<Vec<_>>()
        };
        for n in 0..30 {
            let found = ids(&query(n));
            assert!(found.len() == 10 && found.iter().all(|id| id % 100 != 7), "{bits} bits: {found:?}");
        }
        let found = ids(&far(307));
        assert!(found.contains(&307), "{bits} bits: {found:?}");
    }
}

#[test]
fn more_bits_find_more_and_fewer_candidates_do() {
    let found = |bits: u8, candidates: usize| {
        let options = inline().compaction(stratavec::Compaction::default());
        let c = Collection::create_in(Arc::new(MemDir::new(1)), lean(Metric::L2, IdKind::U64, bits), options).unwrap();
        c.bulk_load((0..ROWS).map(|n| BulkItem::new(Id::U64(n), vector(n)))).unwrap().wait().unwrap();
        let snapshot = c.snapshot();
        let exact = Schema::new(DIM, Metric::L2).ids(IdKind::U64);
        let exact = Collection::create_in(Arc::new(MemDir::new(1)), exact, inline()).unwrap();
        put(&exact, 0..ROWS);
        let ask = |n: u64| {
            let query = query(n);
            let truth = numbers(&exact.snapshot().search(&query).run().unwrap());
            let search = snapshot.search(&query).effort(Effort::Exact).candidates(candidates);
            let hits = search.rerank_with(&mut given).run().unwrap();
            numbers(&hits).iter().filter(|n| truth.contains(n)).count()
        };
        (0..30).map(ask).sum::<usize>()
    };
    let (one, two, four) = (found(1, 20), found(2, 20), found(4, 20));
    assert!(one < two && two <= four && four >= 297, "{one} {two} {four} of 300");
    assert!(found(1, 150) >= 290, "many candidates make up for few bits");
}

fn damaged(disk: &MemDir, kind: FileKind, at: usize) -> MemDir {
    let copy = disk.fork();
    let mut names: Vec<_> = copy.names().into_iter().filter(|name| name.kind() == Some(kind)).collect();
    names.sort();
    copy.corrupt(names[at], |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].iter_mut().for_each(|byte| *byte ^= 0x5A);
    });
    copy
}

fn repaired(from: &MemDir) -> (MemDir, RepairReport) {
    let to = MemDir::new(9);
    let report = Collection::repair_in(from, &to, Repair::KeepProven).expect("repair");
    let verified = Collection::verify_in(&to, Verify::Full).expect("verify");
    assert!(verified.is_sound(), "{:?}", verified.findings);
    (to, report)
}

#[test]
fn a_repair_keeps_whole_codes_and_says_which_rows_are_lost_with_others() {
    for ids in [IdKind::U64, IdKind::Bytes] {
        let disk = MemDir::new(1);
        drop(filled(&disk, lean(Metric::L2, ids, 2)));
        let (whole, report) = repaired(&disk);
        assert!(report.is_complete() && report.rows_lost == 0, "{:?}", report.losses);
        let c = open(&whole);
        assert!(c.stats().rows_in_lists > 1_000, "codes were taken along");
        check(&c.snapshot(), Metric::L2);
        drop(c);
        // The second of two segments: some of the rows of the second flush.
        let (rest, report) = repaired(&damaged(&disk, FileKind::List, 1));
        assert!(!report.is_complete() && report.rows_lost > 100, "{:?}", report.losses);
        let c = open(&rest);
        let snapshot = c.snapshot();
        assert_eq!(snapshot.count() + report.rows_lost, (0..ROWS).filter(|n| lives(*n)).count() as u64);
        assert!(report.ids_lost.iter().all(|id| !snapshot.contains(id).expect("contains")));
        let query = query(2);
        let effort = Effort::Probe { nprobe: 40, patience: usize::MAX };
        let hits =
            snapshot.search(&query).effort(effort).candidates(150).rerank_with(&mut given).run().expect("search");
        let lost: Vec<u64> = report.ids_lost.iter().map(number).collect();
        let wanted: Vec<u64> =
            truth(Metric::L2, &query, 200).into_iter().filter(|n| !lost.contains(n)).take(10).collect();
        assert_eq!(numbers(&hits), wanted);
        drop(c);
        // Without the model no code means anything: what is left are rows in the log.
        let (rest, report) = repaired(&damaged(&disk, FileKind::Model, 0));
        let left = open(&rest).snapshot().count();
        assert!(left > 0 && left + report.rows_lost == (0..ROWS).filter(|n| lives(*n)).count() as u64);
    }
}
