//! Models that follow each other: why one is trained anew, that it happens once, and that searches answer as before meanwhile.

use std::sync::Arc;

use stratavec::planted::{self, Bug};
use stratavec::storage::FileKind;
use stratavec::storage::testing::{Fault, FaultDir, FaultPlan, MemDir, Op, Repeat};
use stratavec::{
    Background, BulkItem, Codes, Collection, Compact, CompactReport, Compaction, Effort, Filter, Hits, IdKind,
    IndexKind, IvfOptions, Metric, OpenOptions, Repair, RetrainReason, RowFormat, Schema, SearchMode, Snapshot, Spill,
    Verify,
};

const DIM: usize = 16;

/// Numbers between -1 and 1, the same for the same seed.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// About normal.
    fn normal(&mut self) -> f32 {
        (0..6).map(|_| self.next()).sum::<f32>() / 2.0_f32.sqrt()
    }
}

fn draw(id: u64) -> Draw {
    Draw(id.wrapping_add(7).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
}

/// A point near one of many, `place` away from the others of its kind.
pub fn vector(id: u64, place: f32) -> Vec<f32> {
    let mut spot = draw(id % 37 + 1_000_000);
    let mut draw = draw(id);
    (0..DIM).map(|_| place + 2.0 * spot.next() + 0.3 * draw.normal()).collect()
}

/// What is kept of a row beside its codes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    Vector,
    /// Nothing; codes of so many bits.
    Nothing(u8),
}

const KEPT: [Kept; 3] = [Kept::Vector, Kept::Nothing(4), Kept::Nothing(1)];

pub fn schema(options: IvfOptions) -> Schema {
    schema_of(options, Kept::Vector)
}

fn schema_of(options: IvfOptions, kept: Kept) -> Schema {
    let schema = Schema::new(DIM, Metric::L2).ids(IdKind::U64);
    match kept {
        Kept::Vector => schema.index(IndexKind::Ivf(options)),
        Kept::Nothing(bits) => {
            let options = options.codes(Codes::Bits(bits)).spill(Spill::Off);
            schema.rows(RowFormat::None).index(IndexKind::Ivf(options))
        }
    }
}

pub fn manual() -> OpenOptions {
    OpenOptions::new().background(Background::Inline).compaction(Compaction::Manual)
}

fn create(disk: &MemDir, options: IvfOptions) -> Collection {
    create_of(disk, options, Kept::Vector)
}

fn create_of(disk: &MemDir, options: IvfOptions, kept: Kept) -> Collection {
    Collection::create_in(Arc::new(disk.clone()), schema_of(options, kept), manual()).unwrap()
}

/// Bytes of vectors in files.
fn vector_bytes(c: &Collection) -> u64 {
    c.stats().sections.iter().find(|(section, _)| *section == "vectors").map_or(0, |(_, bytes)| *bytes)
}

pub fn put(c: &Collection, ids: impl Iterator<Item = u64>, of: impl Fn(u64) -> Vec<f32>) {
    let mut batch = c.batch();
    ids.for_each(|id| {
        batch.upsert(id, &of(id));
    });
    batch.commit().unwrap();
}

pub fn near(id: u64) -> Vec<f32> {
    vector(id, 0.0)
}

pub fn compact(c: &Collection, what: Compact) -> CompactReport {
    c.compact(what).unwrap().wait().unwrap()
}

pub fn sound(disk: &MemDir) {
    let report = Collection::verify_in(disk, Verify::Full).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

fn found(hits: &Hits) -> Vec<(u64, f32)> {
    hits.iter().map(|hit| (hit.id.as_u64().unwrap(), hit.distance)).collect()
}

/// Flushes and compacts by the rules until nothing is left to do: the retrains it took.
pub fn settle(c: &Collection) -> u64 {
    let before = c.stats().retrains;
    c.flush().unwrap();
    for _ in 0..4 {
        compact(c, Compact::Auto);
    }
    let stats = c.stats();
    assert_eq!((stats.models.min(1), stats.rows_to_convert), (u64::from(stats.lists > 0), 0));
    stats.retrains - before
}

#[test]
fn a_retrain_that_is_asked_for_moves_every_row_to_new_lists() {
    for spill in [Spill::On, Spill::Off] {
        let disk = MemDir::new(1);
        let c = create(&disk, IvfOptions::auto().spill(spill));
        put(&c, 0..1_200, near);
        c.flush().unwrap();
        compact(&c, Compact::Retrain);
        assert_eq!((c.stats().models, c.stats().retrains), (1, 0), "the first model is no retrain");
        put(&c, 1_200..1_900, near);
        (0..100).for_each(|id| assert!(c.delete(id * 3).unwrap()));
        c.flush().unwrap();
        let lists = c.stats().lists;
        let planned = c.compact_dry_run(Compact::Retrain);
        let done = compact(&c, Compact::Retrain);
        assert_eq!((planned.retrains, planned.refiled), (1, 1_800));
        assert_eq!((done.retrains, done.refiled), (1, 1_800));
        assert!(planned.bytes_written >= done.bytes_written, "{planned:?} {done:?}");
        let stats = c.stats();
        assert_eq!((stats.models, stats.retrains, stats.rows_to_convert, stats.rows_in_lists), (1, 1, 0, 1_800));
        assert!(stats.lists > lists + lists / 10, "{lists} lists became {}", stats.lists);
        sound(&disk);
        let when_new = c.health().unwrap().latency_ratio;
        let again = compact(&c, Compact::Retrain);
        assert_eq!((again.retrains, again.refiled), (0, 0), "the same rows make the same lists");
        assert!(when_new.is_some());
        assert_eq!(c.health().unwrap().latency_ratio, when_new, "and what was measured when they were new is known");
        drop(c);
        let c = Collection::open_in(Arc::new(disk.clone()), manual()).unwrap();
        assert_eq!((c.stats().rows_in_lists, c.stats().models), (1_800, 1));
        assert_eq!(compact(&c, Compact::Auto).retrains, 0);
    }
}

#[test]
fn four_times_a_few_rows_are_trained_on_once() {
    let disk = MemDir::new(2);
    let c = create(&disk, IvfOptions::auto().nlist(8));
    let mut expect = Vec::new();
    for rows in [100, 250, 399, 400, 1_000, 1_599, 1_600, 3_000] {
        put(&c, 0..rows, near);
        expect.push((rows, settle(&c)));
    }
    let wanted =
        [100, 250, 399, 400, 1_000, 1_599, 1_600, 3_000].map(|rows| (rows, u64::from([400, 1_600].contains(&rows))));
    assert_eq!(expect, wanted);
    sound(&disk);
}

#[test]
fn a_load_after_a_small_start_ends_with_lists_that_suit_its_rows() {
    let disk = MemDir::new(3);
    let c = create(&disk, IvfOptions::auto());
    put(&c, 0..1_000, near);
    c.flush().unwrap();
    compact(&c, Compact::Auto);
    let few = c.stats().lists;
    let c = Collection::open_in(Arc::new(disk.clone()), {
        drop(c);
        OpenOptions::new().background(Background::Inline)
    })
    .unwrap();
    c.bulk_load((0..9_000).map(|id| BulkItem::new(id, near(id)))).unwrap().wait().unwrap();
    let stats = c.stats();
    assert_eq!((stats.retrains, stats.models, stats.rows_in_lists, stats.rows), (1, 1, 9_000, 9_000));
    assert!(stats.lists > 4 * few, "{few} lists became {}", stats.lists);
    c.close().unwrap();
    sound(&disk);
}

/// Rows of another kind are far from all centroids.
#[test]
fn drift_is_answered_by_one_retrain() {
    for kept in KEPT {
        let disk = MemDir::new(4);
        let c = create_of(&disk, IvfOptions::auto(), kept);
        put(&c, 0..5_000, near);
        assert_eq!(settle(&c), 0);
        put(&c, 5_000..5_500, |id| vector(id, 0.8));
        assert_eq!(settle(&c), 0, "few rows say little");
        put(&c, 5_500..6_500, |id| vector(id, 0.8));
        assert_eq!(settle(&c), 1);
        for round in 0..2 {
            put(&c, 6_500 + round * 500..7_000 + round * 500, |id| vector(id, 0.8));
            assert_eq!(settle(&c), 0, "they are known now");
        }
        sound(&disk);
    }
}

/// The upkeep of the handle takes turns with a job and converts what that has trained for: the report tells of all of it.
#[test]
fn a_report_tells_of_all_that_was_done_while_the_job_was_at_work() {
    let disk = MemDir::new(22);
    let c = Collection::create_in(Arc::new(disk.clone()), schema(IvfOptions::auto().nlist(20)), OpenOptions::new())
        .unwrap();
    let items: Vec<BulkItem> = (0..3_000).map(|id| BulkItem::new(id, near(id))).collect();
    c.bulk_load(items).unwrap().wait().unwrap();
    for round in 0..6u64 {
        put(&c, 3_000 + round * 100..3_100 + round * 100, near);
        c.flush().unwrap();
        let report = compact(&c, Compact::Retrain);
        assert_eq!((report.retrains, report.refiled), (1, 3_100 + round * 100), "round {round}: {report:?}");
        assert!(report.bytes_written > 100_000, "{report:?}");
    }
    c.close().unwrap();
    sound(&disk);
}

/// A delta that is far from full moves to files once its rows will have a model trained, and only then.
#[test]
fn drift_does_not_wait_for_a_full_delta() {
    for kept in KEPT {
        let disk = MemDir::new(21);
        let options = OpenOptions::new().background(Background::Inline);
        let c = Collection::create_in(Arc::new(disk.clone()), schema_of(IvfOptions::auto(), kept), options).unwrap();
        put(&c, 0..5_000, near);
        assert_eq!(settle(&c), 0);
        let flushes = c.stats().flushes;
        (50..70).for_each(|i| put(&c, i * 100..i * 100 + 100, near));
        assert_eq!((c.stats().flushes - flushes, c.stats().delta_rows), (0, 2_000), "rows like those that are there");
        let far = |i: u64| put(&c, i * 100..i * 100 + 100, |id| vector(id, 0.25));
        let needed = (70..110).find(|i| {
            far(*i);
            c.stats().flushes > flushes
        });
        assert!(needed.is_some_and(|i| i > 72), "rows of another kind, once they are many: {needed:?}");
        assert_eq!((c.stats().retrains, c.stats().rows_to_convert), (1, 0));
        let flushes = c.stats().flushes;
        (110..120).for_each(far);
        assert_eq!((c.stats().flushes, c.stats().retrains), (flushes, 1), "they are known now");
        c.close().unwrap();
        sound(&disk);
    }
}

/// Rows that are replaced in memory are scanned twice, there and in lists: that is not to go on until a delta is full.
#[test]
fn a_delta_for_which_searches_scan_far_more_does_not_wait_until_it_is_full() {
    let disk = MemDir::new(25);
    let options = OpenOptions::new().background(Background::Inline);
    let c = Collection::create_in(Arc::new(disk.clone()), schema(IvfOptions::auto()), options).unwrap();
    put(&c, 0..20_480, near);
    assert_eq!(settle(&c), 0);
    let before = c.stats();
    let replace = |i: u64| put(&c, i * 256..i * 256 + 256, |id| near(id + 37_000_000));
    let needed = (0..80).find(|i| {
        replace(*i);
        c.stats().flushes > before.flushes
    });
    assert!(needed.is_some_and(|i| (20..26).contains(&i)), "three tenths are 24: {needed:?}");
    let stats = c.stats();
    assert_eq!((stats.retrains - before.retrains, stats.delta_rows), (0, 0), "rows like those that are there");
    assert_eq!(stats.list_merges - before.list_merges, 1, "dead entries are left behind");
    (26..40).for_each(replace);
    assert_eq!(c.stats().flushes - stats.flushes, 0, "lists are as good as new");
    c.close().unwrap();
    sound(&disk);
}

/// A fifth of the rows is new and lies between many lists: too few to train on, and far fewer than half, but what searches find is not what they
/// were to find.
#[test]
fn efforts_are_measured_again_once_rows_that_came_are_harder_to_find() {
    let disk = MemDir::new(26);
    let c = create(&disk, IvfOptions::auto());
    put(&c, 0..4_000, near);
    settle(&c);
    let found = || c.health().unwrap().recall.unwrap();
    assert!(found() > 0.94, "{}", found());
    let scattered = |id: u64| {
        let mut draw = draw(id);
        (0..DIM).map(|_| 1.5 * draw.normal()).collect()
    };
    put(&c, 5_000..5_950, scattered);
    c.flush().unwrap();
    let before = found();
    assert!(before < 0.94, "{before}");
    assert_eq!(settle(&c), 0);
    assert!(found() > before + 0.01 && found() > 0.945, "{before} became {}", found());
    sound(&disk);
}

/// Most rows come into two lists.
#[test]
fn lists_that_have_become_uneven_are_made_anew_once() {
    let disk = MemDir::new(5);
    let c = create(&disk, IvfOptions::auto().nlist(40));
    put(&c, 0..1_480, near);
    assert_eq!(settle(&c), 0);
    let close = |id: u64| vector(id % 2, 0.0).iter().map(|x| x + 0.02 * draw(id).next()).collect();
    put(&c, 2_000..4_600, close);
    assert_eq!(settle(&c), 1);
    put(&c, 4_600..5_000, close);
    assert_eq!(settle(&c), 0);
    sound(&disk);
}

/// Data without structure is always far from its centroids: that is no reason to train again.
#[test]
fn normal_numbers_that_come_and_go_cause_no_retrain() {
    for kept in KEPT {
        for (nlist, rows) in [(None, 5_000), (Some(600), 5_000), (None, 21_000)] {
            let disk = MemDir::new(6);
            let options = nlist.map_or(IvfOptions::auto(), |lists| IvfOptions::auto().nlist(lists));
            let c = create_of(&disk, options, kept);
            let normal = |id: u64| {
                let mut draw = draw(id);
                (0..DIM).map(|_| draw.normal()).collect()
            };
            put(&c, 0..rows, normal);
            settle(&c);
            let part = rows * 2 / 25;
            for round in 0..6 {
                (round * part..round * part + part).for_each(|id| assert!(c.delete(id).unwrap()));
                put(&c, rows + round * part..rows + part + round * part, normal);
                assert_eq!(settle(&c), 0, "round {round}");
            }
        }
    }
}

/// Who rewrites lists later trains later, and health says what will be done.
#[test]
fn health_judges_by_the_rules_of_the_handle() {
    let wider = |id: u64| -> Vec<f32> {
        let spot = vector(id % 37, 0.0);
        near(id).iter().zip(&spot).map(|(x, at)| at + 1.1 * (x - at)).collect()
    };
    let reasons = [0.2, 0.4].map(|dead_ratio| {
        let options = manual().compaction(Compaction::Auto { dead_ratio, fanout: 8 });
        let c = Collection::create_in(Arc::new(MemDir::new(47)), schema(IvfOptions::auto()), options).unwrap();
        put(&c, 0..8_000, near);
        settle(&c);
        put(&c, 10_000..11_900, wider);
        c.flush().unwrap();
        let health = c.health().unwrap();
        (c.stats().retrains, health.drift.is_some_and(|drift| drift > 1.1 && drift < 1.3), health.retrain)
    });
    assert_eq!(
        reasons,
        [(1, false, None), (0, true, None)],
        "a little drift of a fifth is answered where lists are rewritten for a fifth"
    );
}

/// Rows of a kind that was not there are few when they get lists of their own: all searches near them would read all of them.
#[test]
fn rows_of_a_new_kind_get_lists_of_their_own_while_they_are_few() {
    for kept in KEPT {
        let disk = MemDir::new(23);
        let c = create_of(&disk, IvfOptions::auto(), kept);
        put(&c, 0..20_480, near);
        assert_eq!(settle(&c), 0);
        let foreign = |id: u64| vector(id, 6.0);
        let scanned = || {
            let ask = |n: u64| {
                let query = foreign(n * 37 + 900_000);
                let hits =
                    c.snapshot().search(&query).effort(Effort::Probe { nprobe: 16, patience: 99 }).run().unwrap();
                hits.explain().entries_scanned
            };
            (0..20).map(ask).sum::<u64>() / 20
        };
        let lists = c.stats().lists;
        put(&c, 30_000..30_400, foreign);
        assert_eq!(settle(&c), 0, "few rows say little");
        put(&c, 30_400..31_200, foreign);
        c.flush().unwrap();
        let before = scanned();
        assert_eq!(c.health().unwrap().retrain, Some(RetrainReason::Drift));
        assert_eq!(settle(&c), 1);
        let stats = c.stats();
        let least = if kept == Kept::Vector { 100 } else { 20 };
        assert!(stats.lists > lists + least && stats.lists <= lists * 3 / 2, "{lists} lists became {}", stats.lists);
        assert!(scanned() * 2 < before, "{before} entries became {}", scanned());
        put(&c, 31_200..31_600, foreign);
        assert_eq!(settle(&c), 0, "they are known now");
        answers_exactly(&c, 40, foreign);
        sound(&disk);
        drop(c);
        let c = Collection::open_in(Arc::new(disk.clone()), manual()).unwrap();
        assert_eq!((c.stats().lists, c.stats().rows_to_convert), (stats.lists, 0));
    }
}

/// Without vectors there are fewer lists for a start; as rows come they get more, once for each fourfold.
#[test]
fn a_collection_without_vectors_gets_more_lists_as_it_grows() {
    for bits in [1, 4] {
        let disk = MemDir::new(31);
        let c = create_of(&disk, IvfOptions::auto(), Kept::Nothing(bits));
        let (mut lists, mut retrains) = (Vec::new(), Vec::new());
        for rows in [1_000, 3_999, 4_000, 15_999, 16_000] {
            put(&c, 0..rows, near);
            retrains.push(settle(&c));
            lists.push(c.stats().lists);
            compact(&c, Compact::Auto);
            assert_eq!((vector_bytes(&c), c.stats().rows_in_lists), (0, rows));
        }
        assert_eq!(retrains, [0, 0, 1, 0, 1], "{bits} bits");
        assert!(lists[2] > lists[0] && lists[4] > lists[2] + lists[2] / 4, "{bits} bits: {lists:?}");
        let health = c.health().unwrap();
        assert_eq!((health.growth, health.retrain), (Some(1.0), None));
        answers_exactly(&c, 20, near);
        sound(&disk);
    }
}

/// The fifty best of all lists, looked at to the end, begin with what measuring every row finds. Of the five best of a search for five one in some
/// hundreds may be missing: its bits say, by more than they err mostly, that it is behind the fifth.
pub fn answers_exactly(c: &Collection, queries: u64, of: impl Fn(u64) -> Vec<f32>) {
    for n in 0..queries {
        let (query, snapshot) = (of(n + 700_000), c.snapshot());
        let ask = |effort: Effort| {
            let search = snapshot.search(&query).k(50).effort(effort);
            // Codes alone order rows less well: a scan lets fewer of them pass than an exact search does.
            let codes_alone = c.schema().row_format() == RowFormat::None;
            let mut found = found(&if codes_alone { search.candidates(1_000) } else { search }.run().unwrap());
            found.truncate(5);
            found
        };
        assert_eq!(ask(Effort::Probe { nprobe: 99_999, patience: usize::MAX }), ask(Effort::Exact), "query {n}");
    }
}

/// Rows that are as near to centroids as others, but all to the same few.
#[test]
fn rows_that_crowd_in_a_few_lists_are_spread_over_more_of_them() {
    for kept in KEPT {
        let disk = MemDir::new(24);
        let c = create_of(&disk, IvfOptions::auto(), kept);
        put(&c, 0..20_480, near);
        assert_eq!(settle(&c), 0);
        // Of one spot of 37.
        let one_spot = |id: u64| near(id * 37);
        put(&c, 30_000..32_400, one_spot);
        c.flush().unwrap();
        assert_eq!(c.health().unwrap().retrain, Some(RetrainReason::Balance));
        assert_eq!(settle(&c), 1);
        put(&c, 32_400..32_600, one_spot);
        assert_eq!(settle(&c), 0);
        answers_exactly(&c, 20, one_spot);
        sound(&disk);
    }
}

/// Each vector the same: no centroid can be better than the one there is.
#[test]
fn equal_rows_cause_no_endless_training() {
    for kept in KEPT {
        let disk = MemDir::new(7);
        let c = create_of(&disk, IvfOptions::auto(), kept);
        put(&c, 0..1_100, |_| near(1));
        settle(&c);
        put(&c, 1_100..4_500, |_| near(1));
        assert!(settle(&c) <= 1);
        assert_eq!(settle(&c), 0);
        sound(&disk);
    }
}

/// A collection in the midst of a change of models: some list segments are converted, some are not; some rows are in memory.
fn changing(spill: Spill) -> (MemDir, Arc<FaultDir<MemDir>>, Collection) {
    changing_of(spill, Kept::Vector)
}

fn changing_of(spill: Spill, kept: Kept) -> (MemDir, Arc<FaultDir<MemDir>>, Collection) {
    let disk = MemDir::new(8);
    let storage = Arc::new(FaultDir::with_disk(disk.clone(), &disk));
    let options = IvfOptions::auto().nlist(60).spill(spill);
    let c = Collection::create_in(storage.clone(), schema_of(options, kept), manual().memory_budget(32 << 20)).unwrap();
    put(&c, 0..4_000, near);
    c.flush().unwrap();
    compact(&c, Compact::Auto);
    // More rows each time than are converted in one go.
    for at in [4_000, 8_000, 12_000, 16_000, 20_000] {
        put(&c, at..at + 2_000, near);
        put(&c, at + 2_000..at + 4_000, near);
        c.flush().unwrap();
    }
    (0..24_000).step_by(17).for_each(|id| assert!(c.delete(id).unwrap()));
    put(&c, 24_000..24_300, near);
    storage.arm(FaultPlan::new(Fault::NoSpace, 2, Repeat::Forever).on(&[Op::Create]).of(&[FileKind::List]));
    let error = c.compact(Compact::Retrain).unwrap().wait().unwrap_err();
    assert_eq!(error.kind(), stratavec::ErrorKind::NoSpace, "{error}");
    storage.disarm();
    let stats = c.stats();
    assert!(stats.models == 2 && stats.retrains == 1, "{stats:?}");
    assert!(stats.rows_to_convert > 0 && stats.rows_to_convert < 23_000, "{} to convert", stats.rows_to_convert);
    put(&c, 24_300..24_600, near);
    (300..400).filter(|id| id % 17 != 0).for_each(|id| assert!(c.delete(id).unwrap()));
    (disk, storage, c)
}

fn is_there(id: u64) -> bool {
    id < 24_600 && !(id < 24_000 && id.is_multiple_of(17)) && !(300..400).contains(&id)
}

/// Asks in every way and compares with what measuring every row finds.
fn answers_well(snapshot: &Snapshot, least: f64) {
    let queries: Vec<Vec<f32>> = (0..40).map(|n| vector(n * 601 + 100_000, 0.0)).collect();
    let third = Filter::by(|id| id.to_owned().as_u64().is_some_and(|id| id % 3 == 0));
    let few = Filter::ids((0..24_600u64).step_by(500));
    let (mut hit, mut wanted) = (0, 0);
    for query in &queries {
        for filter in [None, Some(&third), Some(&few)] {
            let ask = |effort: Effort| {
                let search = snapshot.search(query).k(10).effort(effort);
                let search = match filter {
                    Some(filter) => search.filter(filter.clone()),
                    None => search,
                };
                found(&search.run().unwrap())
            };
            let truth = ask(Effort::Exact);
            for effort in [Effort::Recall(0.95), Effort::Confidence(0.95), Effort::Probe { nprobe: 20, patience: 60 }] {
                let hits = ask(effort);
                assert_eq!(hits.len(), truth.len());
                assert!(hits.iter().all(|(id, _)| is_there(*id)), "{effort:?} finds a dead row");
                assert!(hits.is_sorted_by(|a, b| a.1 <= b.1));
                assert!(hits.windows(2).all(|pair| pair[0].0 != pair[1].0), "a row is found twice");
                hit += truth.iter().filter(|row| hits.contains(row)).count();
                wanted += truth.len();
            }
        }
        let bound = snapshot.search(query).k(200).effort(Effort::Exact).run().unwrap()[199].distance;
        let within = snapshot.search(query).k(300).max_distance(bound).run().unwrap();
        assert!(within.len() >= 150 && within.iter().all(|hit| hit.distance <= bound), "{} within", within.len());
    }
    let part = hit as f64 / wanted as f64;
    assert!(part >= least, "finds {part}");
    for effort in [Effort::Recall(0.9), Effort::Probe { nprobe: 9, patience: 9 }, Effort::Exact] {
        let alone: Vec<_> = queries.iter().map(|q| found(&snapshot.search(q).effort(effort).run().unwrap())).collect();
        let many = snapshot.search_batch(&queries).effort(effort).threads(2).run().unwrap();
        assert_eq!(many.iter().map(found).collect::<Vec<_>>(), alone, "{effort:?}");
        let cold = snapshot.search_batch(&queries).effort(effort).mode(SearchMode::Cold).run().unwrap();
        assert_eq!(cold.iter().map(found).collect::<Vec<_>>(), alone, "{effort:?}, not in memory");
    }
}

#[test]
fn searches_answer_as_well_while_one_model_follows_another() {
    for spill in [Spill::On, Spill::Off] {
        let (disk, _, c) = changing(spill);
        answers_well(&c.snapshot(), 0.94);
        let pinned = c.snapshot();
        let query = vector(5, 0.0);
        let before = found(&pinned.search(&query).k(30).run().unwrap());
        let own = |id: u64, vector: &[f32]| {
            let hits = c.snapshot().search(vector).k(1).effort(Effort::Probe { nprobe: 4, patience: 4 }).run().unwrap();
            assert_eq!((hits[0].id.as_u64(), hits[0].distance), (Some(id), 0.0), "{id}");
        };
        for id in [401, 5_001, 13_001, 23_500, 24_100, 24_500] {
            own(id, &near(id));
        }
        put(&c, [401, 23_500, 24_100, 30_000].into_iter(), |id| vector(id + 7, 0.1));
        for id in [401, 23_500, 24_100, 30_000] {
            own(id, &vector(id + 7, 0.1));
        }
        c.delete(30_000u64).unwrap();
        put(&c, [401, 23_500, 24_100].into_iter(), near);
        let follower = Collection::open_read_only_in(Arc::new(disk.clone())).unwrap();
        assert_eq!(follower.stats().models, 2);
        answers_well(&follower.snapshot(), 0.94);
        sound(&disk);
        c.flush().unwrap();
        answers_well(&c.snapshot(), 0.94);
        sound(&disk);
        follower.refresh().unwrap();
        answers_well(&follower.snapshot(), 0.94);
        let done = compact(&c, Compact::Auto);
        assert!(done.retrains == 0 && done.refiled > 0, "{done:?}");
        assert_eq!((c.stats().models, c.stats().rows_to_convert), (1, 0));
        answers_well(&c.snapshot(), 0.94);
        follower.refresh().unwrap();
        assert_eq!(follower.stats().models, 1);
        answers_well(&follower.snapshot(), 0.94);
        assert_eq!(found(&pinned.search(&query).k(30).run().unwrap()), before, "what was pinned is what it was");
        sound(&disk);
    }
}

/// The same without vectors: some codes are in the lists of the one model, some in those of the other, and some rows still have their vectors.
#[test]
fn searches_answer_as_well_while_codes_move_to_the_lists_of_another_model() {
    let (disk, _, c) = changing_of(Spill::Off, Kept::Nothing(4));
    answers_well(&c.snapshot(), 0.94);
    let pinned = c.snapshot();
    let query = vector(5, 0.0);
    let before = found(&pinned.search(&query).k(30).run().unwrap());
    let follower = Collection::open_read_only_in(Arc::new(disk.clone())).unwrap();
    assert_eq!(follower.stats().models, 2);
    answers_well(&follower.snapshot(), 0.94);
    sound(&disk);
    let mended = MemDir::new(13);
    let report = Collection::repair_in(&disk.fork(), &mended, Repair::KeepProven).unwrap();
    assert!(report.is_complete(), "{:?}", report.losses);
    let copy = MemDir::new(9);
    c.checkpoint_in(&copy).unwrap();
    for disk in [&mended, &copy] {
        sound(disk);
        let copied = Collection::open_in(Arc::new(disk.clone()), manual()).unwrap();
        assert_eq!(copied.stats().models, 2);
        answers_well(&copied.snapshot(), 0.94);
    }
    let done = compact(&c, Compact::Auto);
    assert!(done.retrains == 0 && done.refiled > 0, "{done:?}");
    assert_eq!((c.stats().models, c.stats().rows_to_convert, vector_bytes(&c)), (1, 0, 0));
    answers_well(&c.snapshot(), 0.94);
    follower.refresh().unwrap();
    assert_eq!(follower.stats().models, 1);
    answers_well(&follower.snapshot(), 0.94);
    assert_eq!(found(&pinned.search(&query).k(30).run().unwrap()), before, "what was pinned is what it was");
    sound(&disk);
    drop((pinned, follower));
    c.close().unwrap();
    let c = Collection::open_in(Arc::new(disk.clone()), manual()).unwrap();
    answers_well(&c.snapshot(), 0.94);
    assert_eq!(compact(&c, Compact::Auto).retrains, 0);
}

#[test]
fn a_change_of_models_survives_reopening_copies_and_repair_and_is_brought_to_its_end() {
    let (disk, storage, c) = changing(Spill::Auto);
    drop(c);
    drop(storage);
    // Without a close: a recovery files what the log holds by the new model.
    let c = Collection::open_in(Arc::new(disk.clone()), manual()).unwrap();
    assert_eq!(c.stats().models, 2);
    answers_well(&c.snapshot(), 0.94);
    let copy = MemDir::new(9);
    c.checkpoint_in(&copy).unwrap();
    sound(&copy);
    c.close().unwrap();
    sound(&disk);
    let copied = Collection::open_in(Arc::new(copy.clone()), manual()).unwrap();
    answers_well(&copied.snapshot(), 0.94);
    let done = compact(&copied, Compact::Retrain);
    assert_eq!((done.retrains, copied.stats().models), (1, 1), "what was begun is finished, then the next one comes");
    answers_well(&copied.snapshot(), 0.94);
    sound(&copy);
}

#[test]
fn a_cancelled_retrain_leaves_a_state_that_answers_and_goes_on_later() {
    for kept in KEPT {
        let disk = MemDir::new(10);
        let c = create_of(&disk, IvfOptions::auto(), kept);
        put(&c, 0..6_000, near);
        settle(&c);
        let job = c.compact(Compact::Retrain).unwrap();
        job.cancel();
        if let Err(error) = job.wait() {
            assert_eq!(error.kind(), stratavec::ErrorKind::Cancelled);
        }
        sound(&disk);
        assert!(compact(&c, Compact::Auto).retrains <= 1);
        assert_eq!((c.stats().models, c.stats().rows_in_lists), (1, 6_000));
        sound(&disk);
    }
}

#[test]
fn health_tells_good_lists_from_bad_ones_and_why_they_are_to_be_made_anew() {
    let disk = MemDir::new(11);
    let c = create(&disk, IvfOptions::auto());
    nothing_to_grade(&c);
    put(&c, 0..300, near);
    nothing_to_grade(&c);
    c.flush().unwrap();
    nothing_to_grade(&c);
    put(&c, 0..5_000, near);
    settle(&c);
    let good = c.health().unwrap();
    assert!(good.score > Some(80.0) && good.recall > Some(0.9) && good.sampled >= 900, "{good:?}");
    assert!(good.coverage > Some(0.7) && good.balance > Some(0.3) && good.connectivity > Some(0.9), "{good:?}");
    assert!(good.quantization_error.is_some_and(|error| error > 0.0 && error < 0.02), "{good:?}");
    assert!(good.latency_ratio.is_some_and(|ratio| ratio > 0.8 && ratio < 1.2), "{good:?}");
    assert_eq!(good.delta_ratio, Some(0.0));
    assert_eq!((good.growth, good.retrain), (Some(1.0), None));
    // Rows of another kind, half of them still in memory.
    put(&c, 5_000..6_500, |id| vector(id, 0.8));
    c.flush().unwrap();
    put(&c, 6_500..8_000, |id| vector(id, 0.8));
    let aged = c.health().unwrap();
    assert!(aged.score.unwrap() < good.score.unwrap() - 5.0 && aged.coverage < good.coverage, "{aged:?}");
    assert!(aged.delta_ratio > Some(0.2) && aged.drift.is_some_and(|drift| drift > 1.3), "{aged:?}");
    assert_eq!(aged.retrain, Some(RetrainReason::Drift));
    let follower = Collection::open_read_only_in(Arc::new(disk.clone())).unwrap();
    assert_eq!(follower.health().unwrap(), aged, "whoever measures the same state finds the same");
    settle(&c);
    let again = c.health().unwrap();
    assert!(again.score > Some(80.0) && again.retrain.is_none(), "{again:?}");
    // One bit instead of four: the same lists, coarser codes.
    let coarse = create(&MemDir::new(12), IvfOptions::auto().codes(Codes::Bits(1)));
    put(&coarse, 0..5_000, near);
    settle(&coarse);
    let coarse = coarse.health().unwrap();
    assert!(coarse.quantization_error.unwrap() > 3.0 * good.quantization_error.unwrap(), "{coarse:?}");
}

/// Searches are exact, in memory and in files.
#[track_caller]
fn nothing_to_grade(c: &Collection) {
    let flat = c.health().unwrap();
    let parts = [flat.score, flat.coverage, flat.quantization_error, flat.bias, flat.balance, flat.connectivity];
    assert_eq!(parts, [None; 6], "{flat:?}");
    let parts = [flat.delta_ratio, flat.latency_ratio, flat.entries_scanned, flat.recall, flat.skew, flat.growth];
    assert_eq!((parts, flat.drift, flat.retrain), ([None; 6], None, None), "{flat:?}");
    assert_eq!((flat.lists, flat.sampled), (0, 0));
}

/// A search that looks at the lists of the newest model only would be noticed.
#[test]
fn searches_that_forget_the_older_model_are_found_out() {
    let (_, _, c) = changing(Spill::Auto);
    let unfound = || {
        let nearest = |id: u64| {
            let hits = c.snapshot().search(&near(id)).k(1).effort(Effort::Recall(0.9)).run().unwrap();
            hits.first().is_some_and(|hit| hit.distance == 0.0)
        };
        (0..24_000).step_by(101).filter(|id| is_there(*id) && !nearest(*id)).count()
    };
    assert_eq!(unfound(), 0);
    assert!(planted::with(Bug::SearchNewestModelOnly, unfound) > 20);
}
