//! Collections whose lists have codes of every kind: what they answer does not depend on it.

use std::sync::Arc;

use stratavec::storage::testing::{CrashOptions, MemDir};
use stratavec::{
    Background, BulkItem, Codes, Collection, Compact, Compaction, Effort, Filter, Hits, IdKind, IdRef, IndexKind,
    IvfOptions, Metric, OpenOptions, Repair, RowFormat, Schema, Snapshot, Spill, Verify,
};

const DIM: usize = 24;

const fn product(m: u32, codebook_size: u32) -> Codes {
    Codes::Product { m, codebook_size }
}

/// Every kind of codes.
const KINDS: [Codes; 14] = [
    Codes::Auto,
    Codes::Bits(1),
    Codes::Bits(2),
    Codes::Bits(3),
    Codes::Bits(4),
    Codes::Bits(5),
    Codes::Bits(6),
    Codes::Bits(7),
    Codes::Bits(8),
    Codes::None,
    product(16, 16),
    product(8, 64),
    product(16, 256),
    product(8, 512),
];
/// Those that are not bits.
const OTHERS: [Codes; 4] = [Codes::None, product(16, 16), product(16, 256), product(8, 512)];

/// Rows near one of eight points.
fn vector(id: u64) -> Vec<f32> {
    (0..DIM as u64)
        .map(|i| ((id % 8 * 31 + i * 7) % 11) as f32 - 5.0 + ((id * 2_654_435_761 + i * 40_503) % 1_000) as f32 / 900.0)
        .collect()
}

fn schema(metric: Metric, codes: Codes, spill: Spill) -> Schema {
    let options = IvfOptions::auto().nlist(20).codes(codes).spill(spill);
    Schema::new(DIM, metric).ids(IdKind::U64).index(IndexKind::Ivf(options))
}

fn manual() -> OpenOptions {
    OpenOptions::new().background(Background::Inline).compaction(Compaction::Manual)
}

fn create(disk: &MemDir, schema: Schema) -> Collection {
    Collection::create_in(Arc::new(disk.clone()), schema, manual()).unwrap()
}

fn put(c: &Collection, ids: impl Iterator<Item = u64>) {
    let mut batch = c.batch();
    ids.for_each(|id| {
        batch.upsert(id, &vector(id));
    });
    batch.commit().unwrap();
}

fn compact(c: &Collection, what: Compact) {
    c.compact(what).unwrap().wait().unwrap();
}

fn sound(disk: &MemDir) {
    let report = Collection::verify_in(disk, Verify::Full).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

fn found(hits: &Hits) -> Vec<(u64, f32)> {
    hits.iter().map(|hit| (hit.id.as_u64().unwrap(), hit.distance)).collect()
}

fn queries() -> impl Iterator<Item = Vec<f32>> {
    (0..12).map(|n| vector(100_003 + n * 7))
}

/// The same operations, whatever the options: rows filed, flushed, loaded, replaced, deleted, merged, in memory.
fn history(disk: &MemDir, schema: Schema) -> Collection {
    let c = create(disk, schema);
    put(&c, 0..400);
    c.flush().unwrap();
    compact(&c, Compact::Auto);
    put(&c, 350..500);
    for id in (0..500).step_by(13) {
        c.delete(id).unwrap();
    }
    c.flush().unwrap();
    c.bulk_load((600..700u64).map(|id| BulkItem::new(id, vector(id)))).unwrap().wait().unwrap();
    compact(&c, Compact::Full);
    put(&c, 480..560);
    c.flush().unwrap();
    put(&c, 555..580);
    c.delete(1u64).unwrap();
    c
}

/// What is asked, exactly and otherwise. Answers that are exact are returned.
fn answers(snapshot: &Snapshot) -> Vec<Vec<(u64, f32)>> {
    let even = Filter::ids((0..700u64).step_by(2));
    let mut all = Vec::new();
    for query in queries() {
        let ask = || snapshot.search(&query).k(20).effort(Effort::Exact);
        all.push(found(&ask().run().unwrap()));
        all.push(found(&ask().filter(even.clone()).run().unwrap()));
        let bound = all[0].last().unwrap().1;
        all.push(found(&ask().max_distance(bound).run().unwrap()));
    }
    all
}

/// The same operations give the same rows at `Exact` with every kind of codes, with second lists and without.
#[test]
fn codes_and_second_lists_change_no_exact_answer() {
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        let flat = answers(&history(&MemDir::new(1), Schema::new(DIM, metric).ids(IdKind::U64)).snapshot());
        for (i, codes) in KINDS.into_iter().enumerate() {
            let spill = if i % 2 == 0 { Spill::On } else { Spill::Off };
            let disk = MemDir::new(1);
            let c = history(&disk, schema(metric, codes, spill));
            assert!(c.stats().rows_in_lists > 500, "{codes}");
            assert_eq!(answers(&c.snapshot()), flat, "{metric:?} {codes} {spill:?}");
            drop(c);
            sound(&disk);
            let c = Collection::open_in(Arc::new(disk.clone()), manual()).unwrap();
            assert_eq!(answers(&c.snapshot()), flat, "{metric:?} {codes} {spill:?}, opened again");
        }
    }
}

/// All lists looked at: without codes the answer is exact; with codes nearly, and distances are those of the rows.
#[test]
fn a_search_of_every_list_finds_what_is_there() {
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        for rows in [RowFormat::F32, RowFormat::F16, RowFormat::Bf16] {
            for (codes, least) in [(Codes::None, 1.0), (product(32, 16), 0.8), (product(32, 256), 0.8)] {
                let c = history(&MemDir::new(1), schema(metric, codes, Spill::On).rows(rows));
                let snapshot = c.snapshot();
                let (mut hit, mut wanted) = (0, 0);
                for query in queries() {
                    let truth = found(&snapshot.search(&query).effort(Effort::Exact).run().unwrap());
                    let effort = Effort::Probe { nprobe: 1_000, patience: usize::MAX };
                    let hits = snapshot.search(&query).effort(effort).run().unwrap();
                    let explain = hits.explain();
                    assert!(explain.lists_probed >= 20 && explain.entries_scanned > 500, "{explain:?}");
                    assert_eq!(explain.records_read, 0);
                    if codes == Codes::None {
                        assert!(explain.rows_scored >= 500, "{explain:?}");
                    }
                    let all = snapshot.search(&query).k(700).effort(Effort::Exact).run().unwrap();
                    assert!(found(&hits).iter().all(|hit| found(&all).contains(hit)), "a distance that is not exact");
                    hit += truth.iter().filter(|row| found(&hits).contains(row)).count();
                    wanted += truth.len();
                }
                let recall = hit as f64 / wanted as f64;
                assert!(recall >= least, "{metric:?} {rows:?} {codes}: {recall}");
            }
        }
    }
}

/// Filters, ranges and batches of queries over lists of every kind.
#[test]
fn filters_ranges_and_batches_work_with_all_codes() {
    for codes in OTHERS {
        let c = history(&MemDir::new(1), schema(Metric::L2, codes, Spill::On));
        let snapshot = c.snapshot();
        let effort = Effort::Probe { nprobe: 10, patience: 8 };
        let third = Filter::ids((0..700u64).step_by(3));
        let asked = Filter::by(|id| matches!(id, IdRef::U64(id) if id % 3 == 0));
        let queries: Vec<Vec<f32>> = queries().collect();
        let mut alone = Vec::new();
        for query in &queries {
            for filter in [&third, &asked] {
                let truth = snapshot.search(query).effort(Effort::Exact).filter(filter.clone()).run().unwrap();
                let hits = snapshot.search(query).effort(effort).filter(filter.clone()).run().unwrap();
                assert!(hits.iter().all(|hit| hit.id.as_u64().unwrap() % 3 == 0));
                let same = found(&truth).iter().filter(|row| found(&hits).contains(row)).count();
                assert!(hits.len() == 10 && same >= 7, "{codes}: {same} of 10");
            }
            let near = snapshot.search(query).k(30).effort(effort).run().unwrap();
            let bound = near[14].distance;
            let within = snapshot.search(query).k(30).effort(effort).max_distance(bound).run().unwrap();
            assert_eq!(found(&within), found(&near)[..15]);
            alone.push(found(&near));
        }
        let together: Vec<&[f32]> = queries.iter().map(|query| &query[..]).collect();
        let many = snapshot.search_batch(&together).k(30).effort(effort).run().unwrap();
        assert_eq!(many.iter().map(found).collect::<Vec<_>>(), alone, "{codes}");
    }
}

/// What verify says, what survives a power loss, what a follower, a copy and a repaired collection see.
#[test]
fn files_with_all_codes_are_checked_copied_followed_and_repaired() {
    for codes in OTHERS {
        let disk = MemDir::new(3);
        let c = history(&disk, schema(Metric::Cosine, codes, Spill::On));
        let wanted = answers(&c.snapshot());
        let follower = Collection::open_read_only_in(Arc::new(disk.clone())).unwrap();
        assert_eq!(answers(&follower.snapshot()), wanted);
        let effort = Effort::Probe { nprobe: 9, patience: usize::MAX };
        let query = vector(77);
        let of = |snapshot: &Snapshot| found(&snapshot.search(&query).effort(effort).run().unwrap());
        assert_eq!(of(&follower.snapshot()), of(&c.snapshot()));
        let image = disk.crash_set(&CrashOptions::default()).build(0);
        drop(c);
        sound(&image);
        let c = Collection::open_in(Arc::new(image.clone()), manual()).unwrap();
        assert_eq!(answers(&c.snapshot()), wanted, "after a power loss");
        let copy = MemDir::new(4);
        c.checkpoint_in(&copy).unwrap();
        sound(&copy);
        c.close().unwrap();
        let repaired = MemDir::new(5);
        Collection::repair_in(&image, &repaired, Repair::KeepProven).unwrap();
        let c = Collection::open_in(Arc::new(repaired.clone()), manual()).unwrap();
        compact(&c, Compact::Full);
        assert_eq!(answers(&c.snapshot()), wanted, "repaired");
        drop(c);
        sound(&repaired);
    }
}

/// What the schema says is stored, and what a caller asks for is compared with it.
#[test]
fn a_collection_knows_its_codes() {
    for codes in OTHERS {
        let disk = MemDir::new(1);
        create(&disk, schema(Metric::L2, codes, Spill::Off)).close().unwrap();
        let open = |codes| {
            let wanted = schema(Metric::L2, codes, Spill::Off);
            Collection::open_or_create_in(Arc::new(disk.clone()), wanted, manual())
        };
        assert_eq!(open(codes).unwrap().schema().index_kind().lists().unwrap().wanted_codes(), codes);
        let error = open(product(4, 16)).unwrap_err();
        assert!(error.to_string().contains("index"), "{error}");
    }
    for codes in [product(0, 16), product(5, 16), product(8, 100), product(8, 8), product(65, 256)] {
        let disk = Arc::new(MemDir::new(1));
        let error = Collection::create_in(disk, schema(Metric::L2, codes, Spill::Off), manual()).unwrap_err();
        assert_eq!(error.argument_name(), Some("codes"), "{codes}: {error}");
    }
}

/// The texts of the demonstration, 384 components.
fn texts(npy: &[u8]) -> Vec<Vec<f32>> {
    let bytes = &npy[10 + usize::from(u16::from_le_bytes([npy[8], npy[9]]))..];
    let values: Vec<f32> =
        bytes.as_chunks::<2>().0.iter().map(|half| half::f16::from_le_bytes(*half).to_f32()).collect();
    values.chunks_exact(384).map(<[f32]>::to_vec).collect()
}

fn load(c: &Collection, texts: &[Vec<f32>]) {
    c.bulk_load((0u64..).zip(texts.to_vec()).map(|(id, text)| BulkItem::new(id, text))).unwrap().wait().unwrap();
}

/// `Recall(0.95)` is kept by what is measured on real texts, and one row more or less of memory does not change that.
#[test]
fn what_is_measured_finds_the_part_that_is_asked_for_with_all_codes() {
    let base = texts(include_bytes!("../../demo/data/base.f16.npy"));
    let queries = texts(include_bytes!("../../demo/data/query.f16.npy"));
    let flat = {
        let c = create(&MemDir::new(1), Schema::new(384, Metric::Cosine).ids(IdKind::U64));
        load(&c, &base);
        c
    };
    let truth: Vec<Vec<(u64, f32)>> =
        queries.iter().map(|query| found(&flat.snapshot().search(query).run().unwrap())).collect();
    let cases = [
        (Codes::Auto, Spill::On),
        (Codes::None, Spill::Off),
        (product(96, 16), Spill::On),
        (product(48, 64), Spill::On),
    ];
    for (codes, spill) in cases {
        let options = IvfOptions::auto().nlist(150).codes(codes).spill(spill);
        let disk = MemDir::new(1);
        let c = create(&disk, Schema::new(384, Metric::Cosine).ids(IdKind::U64).index(IndexKind::Ivf(options)));
        load(&c, &base);
        compact(&c, Compact::Full);
        assert_eq!(c.stats().rows_in_lists, base.len() as u64);
        let snapshot = c.snapshot();
        for (part, least) in [(0.95, 0.94), (0.99, 0.98)] {
            let (mut hit, mut wanted, mut scored) = (0, 0, 0);
            for (query, truth) in queries.iter().zip(&truth) {
                let hits = snapshot.search(query).effort(Effort::Recall(part)).run().unwrap();
                scored += hits.explain().rows_scored;
                hit += truth.iter().filter(|row| found(&hits).contains(row)).count();
                wanted += truth.len();
            }
            let recall = hit as f64 / wanted as f64;
            assert!(recall >= least, "{codes} {spill:?}: {recall} at {part}");
            let every = (base.len() * queries.len()) as u64;
            assert!(part > 0.95 || spill == Spill::Off || scored < every, "{codes}: every row was scored");
        }
    }
}
