//! Lists around anchors of every kind.

use std::sync::Arc;

use stratavec::storage::testing::MemDir;
use stratavec::{
    Anchors, Background, BulkItem, Collection, Compact, Effort, IdKind, IndexKind, IvfOptions, Metric, OpenOptions,
    Schema, Verify,
};

const DIM: usize = 16;
const ROWS: usize = 4_000;
const LISTS: u32 = 60;
/// Rows of a kind of their own, far from all others.
const RARE: usize = 12;

const KINDS: [Anchors; 4] =
    [Anchors::KMeans, Anchors::Random, Anchors::MaxCoverage { apart: 10 }, Anchors::Stratified { least: 4 }];

fn vector(row: usize) -> Vec<f32> {
    let noise = |i: usize| ((row * 2_654_435_761 + i * 40_503) % 1_000) as f32 / 1_000.0;
    match row >= ROWS - RARE {
        true => (0..DIM).map(|i| noise(i) - if i % 2 == 0 { 9.0 } else { -9.0 }).collect(),
        false => (0..DIM).map(|i| ((row % 7 * 31 + i * 5) % 13) as f32 + 3.0 * noise(i)).collect(),
    }
}

fn id(row: usize) -> String {
    let folder = if row >= ROWS - RARE { "rare" } else { "common" };
    format!("{folder}/{row}")
}

fn options(background: Background) -> OpenOptions {
    OpenOptions::new().background(background)
}

/// The nearest of what one list holds, for some rows.
fn of_one_list(c: &Collection) -> Vec<Vec<u32>> {
    let effort = Effort::Probe { nprobe: 1, patience: usize::MAX };
    let found = |row: usize| c.snapshot().search(&vector(row)).k(20).effort(effort).run().unwrap();
    (0..ROWS).step_by(211).map(|row| found(row).iter().map(|hit| hit.distance.to_bits()).collect()).collect()
}

fn made(disk: &MemDir, metric: Metric, anchors: Anchors, background: Background) -> Collection {
    let lists = IvfOptions::auto().nlist(LISTS).anchors(anchors);
    let schema = Schema::new(DIM, metric).ids(IdKind::Bytes).index(IndexKind::Ivf(lists)).seed(3);
    let c = Collection::create_in(Arc::new(disk.clone()), schema, options(background)).unwrap();
    let items: Vec<BulkItem> = (0..ROWS).map(|row| BulkItem::new(id(row).as_str(), vector(row))).collect();
    c.bulk_load(items).unwrap().wait().unwrap();
    c
}

#[test]
fn rows_are_found_around_anchors_of_every_kind_and_the_choice_is_kept() {
    for anchors in KINDS {
        for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
            let disk = MemDir::new(1);
            let c = made(&disk, metric, anchors, Background::Inline);
            let stats = c.stats();
            assert_eq!(stats.rows_in_lists, ROWS as u64, "{anchors}");
            assert!((2..=u64::from(LISTS) * 5 / 4).contains(&stats.lists), "{anchors}: {} lists", stats.lists);
            c.close().unwrap();
            let c = Collection::open_in(Arc::new(disk.clone()), options(Background::Inline)).unwrap();
            let kept = c.schema().index_kind().lists().map(|lists| lists.wanted_anchors());
            assert_eq!(kept, Some(anchors));
            let snapshot = c.snapshot();
            let mut same = 0;
            for row in (0..ROWS).step_by(97) {
                let query = vector(row);
                let exact = snapshot.search(&query).k(10).effort(Effort::Exact).run().unwrap();
                let reach = exact.iter().last().unwrap().distance;
                let found = snapshot.search(&query).k(10).effort(Effort::Recall(0.95)).run().unwrap();
                same += found.iter().filter(|hit| hit.distance <= reach).count();
            }
            let asked = 10 * (0..ROWS).step_by(97).count();
            assert!(same * 100 >= asked * 90, "{anchors} {metric:?}: {same} of {asked}");
            assert!(Collection::verify_in(&disk, Verify::Full).unwrap().findings.is_empty());
        }
    }
}

#[test]
fn each_way_makes_lists_of_its_own_and_a_retraining_makes_the_same() {
    let mut all: Vec<Vec<Vec<u32>>> = Vec::new();
    for anchors in KINDS {
        let c = made(&MemDir::new(1), Metric::L2, anchors, Background::Inline);
        if anchors == Anchors::Random {
            assert_eq!(c.stats().lists, u64::from(LISTS), "none is halved");
        }
        let answers = of_one_list(&c);
        c.compact(Compact::Retrain).unwrap().wait().unwrap();
        assert_eq!(of_one_list(&c), answers, "{anchors}");
        assert!(!all.contains(&answers), "{anchors} answers as another way does");
        all.push(answers);
    }
    // So far apart that hardly any row is left.
    let c = made(&MemDir::new(1), Metric::Cosine, Anchors::MaxCoverage { apart: 1_500 }, Background::Inline);
    assert!(c.stats().lists < 10, "{} lists", c.stats().lists);
}

#[test]
fn rare_rows_get_lists_of_their_own_by_coverage_and_by_groups() {
    for anchors in [Anchors::MaxCoverage { apart: 10 }, Anchors::Stratified { least: 4 }] {
        let disk = MemDir::new(1);
        let c = made(&disk, Metric::L2, anchors, Background::Inline);
        let effort = Effort::Probe { nprobe: 1, patience: usize::MAX };
        let hits = c.snapshot().search(&vector(ROWS - 1)).k(10).effort(effort).run().unwrap();
        let scanned = hits.explain().entries_scanned;
        assert!(scanned <= RARE as u64, "{anchors}: {scanned} entries in the nearest list");
        assert!(hits.iter().all(|hit| hit.id.as_bytes().is_some_and(|id| id.starts_with(b"rare/"))), "{anchors}");
    }
}

#[test]
fn the_same_rows_give_the_same_answers_at_any_number_of_threads() {
    for anchors in KINDS {
        let answers = [Background::Inline, Background::Thread].map(|background| {
            let disk = MemDir::new(3);
            let c = made(&disk, Metric::L2, anchors, background);
            let effort = Effort::Probe { nprobe: 2, patience: usize::MAX };
            let of = |row: usize| {
                let hits = c.snapshot().search(&vector(row)).k(20).effort(effort).run().unwrap();
                hits.iter().map(|hit| (hit.distance.to_bits(), hit.id.clone())).collect::<Vec<_>>()
            };
            (c.stats().lists, (0..ROWS).step_by(131).map(of).collect::<Vec<_>>())
        });
        assert_eq!(answers[0], answers[1], "{anchors}");
    }
}

#[test]
fn limits_are_refused_by_name() {
    for anchors in [Anchors::MaxCoverage { apart: 2_001 }, Anchors::Stratified { least: 0 }] {
        let schema = Schema::new(4, Metric::L2).index(IndexKind::Ivf(IvfOptions::auto().anchors(anchors)));
        let error = Collection::create_in(Arc::new(MemDir::new(1)), schema, options(Background::Inline)).unwrap_err();
        assert_eq!(error.argument_name(), Some("anchors"));
    }
}
