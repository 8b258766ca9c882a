//! Collections with lists: they answer as flat ones do, whatever becomes of their files.

use std::sync::Arc;

use stratavec::storage::testing::MemDir;
use stratavec::{
    Background, BulkItem, Codes, Collection, Compact, Compaction, Effort, IdKind, IndexKind, IvfOptions, Metric,
    OpenOptions, Schema, Spill, Verify,
};

const DIM: usize = 24;

/// Rows near one of eight points.
fn vector(id: u64) -> Vec<f32> {
    (0..DIM as u64)
        .map(|i| ((id % 8 * 31 + i * 7) % 11) as f32 - 5.0 + ((id * 2_654_435_761 + i * 40_503) % 1_000) as f32 / 900.0)
        .collect()
}

fn schema(options: IvfOptions) -> Schema {
    Schema::new(DIM, Metric::L2).ids(IdKind::U64).index(IndexKind::Ivf(options))
}

/// Eight lists from sixty-four rows on.
fn few_lists() -> IvfOptions {
    IvfOptions::auto().nlist(8)
}

fn manual() -> OpenOptions {
    OpenOptions::new().background(Background::Inline).compaction(Compaction::Manual)
}

fn fill(c: &Collection, ids: std::ops::Range<u64>) {
    let mut batch = c.batch();
    ids.for_each(|id| {
        batch.upsert(id, &vector(id));
    });
    batch.commit().unwrap();
}

fn ids(c: &Collection) -> Vec<u64> {
    let mut ids: Vec<u64> = c.snapshot().iter().map(|item| item.unwrap().id.as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

fn sound(disk: &MemDir) {
    let report = Collection::verify_in(disk, Verify::Full).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

fn create(disk: &MemDir, schema: Schema) -> Collection {
    Collection::create_in(Arc::new(disk.clone()), schema, manual()).unwrap()
}

fn compact(c: &Collection, what: Compact) -> stratavec::CompactReport {
    c.compact(what).unwrap().wait().unwrap()
}

#[test]
fn rows_get_lists_once_there_are_enough_and_flushes_file_theirs() {
    let disk = MemDir::new(1);
    let c = create(&disk, schema(few_lists()));
    fill(&c, 0..60);
    c.flush().unwrap();
    assert_eq!(compact(&c, Compact::Auto).filed, 0);
    assert_eq!((c.stats().list_segments, c.stats().lists), (0, 0));
    fill(&c, 60..100);
    c.flush().unwrap();
    assert_eq!(compact(&c, Compact::Auto).filed, 100);
    let stats = c.stats();
    assert_eq!((stats.list_segments, stats.rows_in_lists), (1, 100));
    assert!((8..=10).contains(&stats.lists), "{} lists", stats.lists);
    sound(&disk);
    fill(&c, 100..150);
    c.delete(3u64).unwrap();
    c.flush().unwrap();
    let stats = c.stats();
    assert_eq!((stats.list_segments, stats.rows_in_lists), (2, 149));
    sound(&disk);
    let all: Vec<u64> = (0..150).filter(|id| *id != 3).collect();
    assert_eq!(ids(&c), all);
    drop(c);
    let c = Collection::open_in(Arc::new(disk.clone()), manual()).unwrap();
    assert_eq!(ids(&c), all);
    assert_eq!(c.stats().list_segments, 2);
}

#[test]
fn segments_merge_and_forget_the_dead() {
    for spill in [Spill::On, Spill::Off] {
        let disk = MemDir::new(1);
        let c = create(&disk, schema(few_lists().spill(spill).codes(Codes::Bits(3))));
        fill(&c, 0..100);
        c.flush().unwrap();
        compact(&c, Compact::Full);
        for round in 0..9u64 {
            fill(&c, round * 20 + 50..round * 20 + 90);
            c.delete(round).unwrap();
            c.flush().unwrap();
        }
        assert!(c.stats().list_segments == 10);
        let report = compact(&c, Compact::Auto);
        assert!(report.list_merges > 0, "{report:?}");
        sound(&disk);
        compact(&c, Compact::Full);
        let stats = c.stats();
        assert_eq!((stats.list_segments, stats.row_files, stats.dead_rows), (1, 1, 0));
        assert_eq!(stats.rows_in_lists, stats.rows);
        assert_eq!(ids(&c), (9..250).collect::<Vec<_>>());
        sound(&disk);
        // Nothing is left that asks for work.
        assert_eq!(compact(&c, Compact::Full).bytes_written, 0);
    }
}

#[test]
fn a_bulk_load_ends_with_its_rows_in_lists() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let c = Collection::create(&path, schema(IvfOptions::auto()), OpenOptions::new()).unwrap();
    let report = c.bulk_load((0..3_000u64).map(|id| BulkItem::new(id, vector(id)))).unwrap().wait().unwrap();
    assert_eq!(report.inserted, 3_000);
    let stats = c.stats();
    assert_eq!((stats.rows_in_lists, stats.compaction_error.is_none()), (3_000, true));
    assert!(stats.lists > 100 && stats.list_segments == 1, "{} lists", stats.lists);
    c.bulk_load((2_900..3_500u64).map(|id| BulkItem::new(id, vector(id)))).unwrap().wait().unwrap();
    assert_eq!(c.stats().rows_in_lists, 3_500);
    c.close().unwrap();
    let report = Collection::verify(&path, Verify::Full).unwrap();
    assert!(report.is_sound() && report.notes.is_empty(), "{report:?}");
    let c = Collection::open(&path, OpenOptions::new()).unwrap();
    assert_eq!(c.stats().rows_in_lists, 3_500);
    c.checkpoint(dir.path().join("copy")).unwrap();
    let copy = Collection::verify(dir.path().join("copy"), Verify::Full).unwrap();
    assert!(copy.is_sound(), "{copy:?}");
}

#[test]
fn tiny_sets_of_every_metric_work() {
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        for rows in [1u64, 6, 99, 100] {
            let disk = MemDir::new(1);
            let schema = Schema::new(DIM, metric).ids(IdKind::U64).index(IndexKind::Ivf(IvfOptions::auto().nlist(1)));
            let c = create(&disk, schema);
            fill(&c, 0..rows);
            c.flush().unwrap();
            compact(&c, Compact::Full);
            sound(&disk);
            let hits = c.snapshot().search(&vector(0)).k(200).run().unwrap();
            assert_eq!(hits.len() as u64, rows);
            assert_eq!(c.stats().rows_in_lists, if rows < 8 { 0 } else { rows });
        }
    }
}

#[test]
fn a_collection_that_decides_itself_stays_flat_while_it_is_small() {
    let disk = MemDir::new(1);
    let c = create(&disk, Schema::new(DIM, Metric::L2).ids(IdKind::U64).index(IndexKind::Auto));
    fill(&c, 0..2_000);
    c.flush().unwrap();
    compact(&c, Compact::Full);
    assert_eq!((c.stats().list_segments, c.stats().lists), (0, 0));
}

#[test]
fn what_cannot_be_made_is_refused_when_it_is_asked_for() {
    for (options, argument) in
        [(IvfOptions::auto().codes(Codes::Bits(9)), "codes"), (IvfOptions::auto().nlist(0), "nlist")]
    {
        let disk = Arc::new(MemDir::new(1));
        let error = Collection::create_in(disk, schema(options), manual()).unwrap_err();
        assert_eq!(error.argument_name(), Some(argument), "{error}");
    }
    let disk = MemDir::new(1);
    create(&disk, schema(few_lists()));
    let other = schema(IvfOptions::auto().nlist(9));
    let error = Collection::open_or_create_in(Arc::new(disk), other, manual()).unwrap_err();
    assert!(error.to_string().contains("index"), "{error}");
}

#[test]
fn a_dry_run_tells_what_would_be_filed() {
    let disk = MemDir::new(1);
    let c = create(&disk, schema(few_lists()));
    fill(&c, 0..100);
    c.flush().unwrap();
    let planned = c.compact_dry_run(Compact::Auto);
    let done = compact(&c, Compact::Auto);
    assert_eq!((planned.filed, done.filed), (100, 100));
    assert!(planned.bytes_written >= done.bytes_written, "{planned:?} {done:?}");
}

#[test]
fn followers_see_lists_come_and_go() {
    let disk = MemDir::new(1);
    let c = create(&disk, schema(few_lists()));
    let follower = Collection::open_read_only_in(Arc::new(disk.clone())).unwrap();
    for round in 0..12u64 {
        fill(&c, round * 30..round * 30 + 40);
        c.flush().unwrap();
        if round % 3 == 0 {
            compact(&c, Compact::Full);
        }
        follower.refresh().unwrap();
        let mut seen: Vec<u64> = follower.snapshot().iter().map(|item| item.unwrap().id.as_u64().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, ids(&c));
        assert_eq!(follower.stats().list_segments, c.stats().list_segments);
    }
}

/// Training that does not fit the budget is told, and row files are merged all the same.
#[test]
fn lists_that_find_no_room_do_not_hold_up_merges_of_rows() {
    const WIDE: usize = 4_096;
    let disk = MemDir::new(31);
    let schema = Schema::new(WIDE, Metric::L2).ids(IdKind::U64).index(IndexKind::Ivf(few_lists()));
    let c = Collection::create_in(Arc::new(disk.clone()), schema, manual().memory_budget(48 << 20)).unwrap();
    for round in 0..4 {
        for id in 0..100_u64 {
            let place = (id * 37 + round) as f32;
            c.upsert(id, &(0..WIDE).map(|i| (i as f32 * 0.37 + place).sin()).collect::<Vec<_>>()).unwrap();
        }
        c.flush().unwrap();
    }
    let error = c.compact(Compact::Full).unwrap().wait().unwrap_err();
    assert_eq!(error.kind(), stratavec::ErrorKind::OverBudget, "{error}");
    let stats = c.stats();
    assert_eq!((stats.row_files, stats.dead_rows, stats.rows), (1, 0, 100));
    c.close().unwrap();
    sound(&disk);
}

/// A bound on the distance does not make a search look at fewer lists than the rows within it need.
#[test]
fn a_bounded_search_finds_all_that_lies_within() {
    let disk = MemDir::new(32);
    let c = create(&disk, schema(IvfOptions::auto()));
    c.bulk_load((0..6_000).map(|id| BulkItem::new(id, vector(id)))).unwrap().wait().unwrap();
    compact(&c, Compact::Full);
    let snapshot = c.snapshot();
    for id in (0..6_000).step_by(601) {
        let query = vector(id);
        let all = snapshot.search(&query).k(700).effort(Effort::Exact).run().unwrap();
        let bound = all[all.len() - 1].distance;
        let found = snapshot.search(&query).k(700).max_distance(bound).run().unwrap();
        assert!(found.len() >= 650, "{} of 700 within {bound}", found.len());
    }
}

/// Names of files in memory that begin so.
fn files(disk: &MemDir, prefix: &str) -> Vec<String> {
    let names = stratavec::storage::Storage::list(disk).unwrap().into_iter().map(|entry| entry.text);
    names.filter(|name| name.starts_with(prefix)).collect()
}

fn answers(c: &Collection) -> Vec<Vec<(u64, f32)>> {
    let snapshot = c.snapshot();
    let ask = |id: u64| {
        let hits = snapshot.search(&vector(id)).k(5).effort(Effort::Probe { nprobe: 2, patience: 2 }).run().unwrap();
        hits.iter().map(|hit| (hit.id.as_u64().unwrap(), hit.distance)).collect()
    };
    (0..200).step_by(7).map(ask).collect()
}

// The model of a first load is trained while its rows are written where there are threads; it is the one that training later makes.
#[test]
fn a_first_load_gets_the_same_lists_with_threads_and_without() {
    let load = |background: Background, repeated: bool| {
        let disk = MemDir::new(7);
        let options = OpenOptions::new().background(background);
        let c = Collection::create_in(Arc::new(disk.clone()), schema(few_lists()).seed(3), options).unwrap();
        let ids = (0..500).chain((0..if repeated { 90 } else { 0 }).rev());
        let items: Vec<BulkItem> = ids.map(|id| BulkItem::new(id, vector(id))).collect();
        let report = c.bulk_load(items).unwrap().wait().unwrap();
        assert_eq!(report.inserted, 500);
        assert_eq!((c.stats().lists, c.stats().rows_in_lists), (8, 500));
        assert_eq!(files(&disk, "mod-").len(), 1);
        let answers = answers(&c);
        c.close().unwrap();
        sound(&disk);
        answers
    };
    for repeated in [false, true] {
        assert_eq!(load(Background::Thread, repeated), load(Background::Inline, repeated));
    }
}

// What was committed while the items came is trained on, too: a model of the load's rows alone is given up, file and all.
#[test]
fn a_model_of_other_rows_than_there_are_is_given_up() {
    let disk = MemDir::new(8);
    let c = Collection::create_in(Arc::new(disk.clone()), schema(IvfOptions::auto()), OpenOptions::new()).unwrap();
    let (send, receive) = std::sync::mpsc::sync_channel(0);
    let load = c.bulk_load(receive.into_iter().map(|id: u64| BulkItem::new(id, vector(id)))).unwrap();
    (0..1_500).for_each(|id| send.send(id).unwrap());
    fill(&c, 1_400..3_000);
    drop(send);
    load.wait().unwrap();
    assert_eq!(ids(&c), Vec::from_iter(0..3_000));
    assert_eq!(c.stats().rows_in_lists, 3_000);
    assert_eq!(files(&disk, "mod-").len(), 1);
    c.close().unwrap();
    sound(&disk);
}

// A load that is given up takes its model with it.
#[test]
fn a_load_that_is_refused_leaves_no_model() {
    let disk = MemDir::new(9);
    let c = Collection::create_in(Arc::new(disk.clone()), schema(few_lists()), OpenOptions::new()).unwrap();
    let load = c.bulk_load((0..500).map(|id| BulkItem::new(id, vector(id)))).unwrap();
    load.cancel();
    let outcome = load.wait();
    assert!(files(&disk, "mod-").len() <= usize::from(outcome.is_ok()));
    c.close().unwrap();
    sound(&disk);
}
