//! Rows of a kind that there are no lists for: they get lists while they are in memory, and go to files afterwards.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stratavec::storage::testing::{CrashOptions, Fault, FaultDir, FaultPlan, MemDir, Op, Phase, Repeat};
use stratavec::storage::{FileKind, FileName};
use stratavec::{Background, BulkItem, Collection, Compact, Durability, IvfOptions, OpenOptions, Verify};

use crate::retrain::{answers_exactly, compact, near, put, schema, settle, sound, vector};

/// Rows that were there before.
const KNOWN: u64 = 20_480;

fn foreign(id: u64) -> Vec<f32> {
    vector(id, 6.0)
}

/// Of one spot of 37.
fn one_spot(id: u64) -> Vec<f32> {
    near(id * 37)
}

fn inline() -> OpenOptions {
    OpenOptions::new().background(Background::Inline)
}

/// A collection with lists for what is there.
fn settled(options: OpenOptions) -> (MemDir, Arc<FaultDir<MemDir>>, Collection) {
    let disk = MemDir::new(41);
    let storage = Arc::new(FaultDir::with_disk(disk.clone(), &disk));
    let c = Collection::create_in(storage.clone(), schema(IvfOptions::auto()), options).unwrap();
    put(&c, 0..KNOWN, near);
    assert_eq!(settle(&c), 0);
    (disk, storage, c)
}

/// Puts rows of another kind, a hundred at a time, until a model was made for them: how many.
fn put_until_retrained(c: &Collection, of: impl Fn(u64) -> Vec<f32>) -> u64 {
    let before = c.stats().retrains;
    let batches = (0..40).find(|i| {
        put(c, 30_000 + i * 100..30_100 + i * 100, &of);
        c.stats().retrains > before
    });
    (batches.expect("the rows got no lists of their own") + 1) * 100
}

/// Lets the first list segment be written and none after it: what is not yet converted then can be counted.
fn one_segment() -> FaultPlan {
    FaultPlan::new(Fault::NoSpace, 1, Repeat::Forever).on(&[Op::Create]).of(&[FileKind::List])
}

/// After so many more retrains all rows are found, and the files are sound.
fn ends_well(disk: &MemDir, c: Collection, retrains: u64, of: impl Fn(u64) -> Vec<f32>) {
    assert_eq!(settle(&c), retrains);
    answers_exactly(&c, 20, of);
    c.close().unwrap();
    sound(disk);
}

#[test]
fn rows_of_a_new_kind_go_to_files_in_lists_of_their_own() {
    let (disk, storage, c) = settled(inline());
    storage.arm(one_segment());
    let came = put_until_retrained(&c, foreign);
    let stats = c.stats();
    assert_eq!((stats.models, stats.delta_rows), (2, 0), "lists first, then files");
    assert_eq!(stats.rows_to_convert, KNOWN, "none of the {came} new rows was ever in the lists there were");
    assert_eq!(c.health().unwrap().drift, None, "the new lists were made for them: they are no news");
    storage.disarm();
    ends_well(&disk, c, 0, foreign);
}

/// A load leaves row numbers out; they are no rows that came. Rows that crowd in one list are answered once a 32nd of all has come.
#[test]
fn a_load_in_between_is_no_more_news_than_its_rows() {
    let beside_one = |id: u64| near(37).iter().map(|x| x + id as f32 * 1e-6).collect::<Vec<_>>();
    let (disk, _, c) = settled(inline());
    let loaded = (25_000..25_050).map(|id| BulkItem::new(id, near(id)));
    c.bulk_load(loaded.collect::<Vec<_>>()).unwrap().wait().unwrap();
    put(&c, 30_000..30_550, beside_one);
    settle(&c);
    assert_eq!(c.stats().retrains, 0, "few rows");
    put(&c, 30_550..30_700, beside_one);
    settle(&c);
    assert_eq!(c.stats().retrains, 1, "enough of them");
    ends_well(&disk, c, 0, beside_one);
}

/// A full delta goes to files; rows that crowd, though too little to go before, have lists made all the same. The thread that flushes waits for them.
#[test]
fn a_full_delta_waits_for_the_lists_of_its_rows() {
    for background in [Background::Inline, Background::Thread] {
        let (disk, storage, c) = settled(inline().background(background).flush_rows(2_400));
        storage.arm(one_segment());
        put(&c, 30_000..31_200, one_spot);
        assert_eq!((c.stats().retrains, c.stats().delta_rows), (0, 1_200));
        put(&c, 31_200..32_400, one_spot);
        let until = Instant::now() + Duration::from_secs(60);
        while (c.stats().retrains, c.stats().delta_rows) != (1, 0) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        let stats = c.stats();
        assert_eq!((stats.retrains, stats.models, stats.delta_rows), (1, 2, 0));
        assert_eq!(stats.rows_to_convert, KNOWN, "{background:?}: none of the new rows was in the lists there were");
        storage.disarm();
        ends_well(&disk, c, 0, one_spot);
    }
}

/// Where memory is limited rows go to files first: a training would keep them in memory.
#[test]
fn within_a_budget_rows_of_a_new_kind_are_filed_first() {
    let (disk, storage, c) = settled(inline().memory_budget(64 << 20));
    storage.arm(one_segment());
    let came = put_until_retrained(&c, foreign);
    assert_eq!((c.stats().rows_to_convert, c.stats().delta_rows), (KNOWN + came, 0));
    storage.disarm();
    ends_well(&disk, c, 0, foreign);
}

/// Without room for lists the rows go to those there are, and get theirs when there is room.
#[test]
fn rows_whose_lists_find_no_room_are_filed_all_the_same() {
    let (disk, storage, c) = settled(inline());
    storage.arm(FaultPlan::new(Fault::NoSpace, 0, Repeat::Forever).on(&[Op::Create]).of(&[FileKind::Model]));
    (0..15).for_each(|i| put(&c, 30_000 + i * 100..30_100 + i * 100, foreign));
    let stats = c.stats();
    assert_eq!((stats.retrains, stats.models, stats.rows_to_convert), (0, 1, 0));
    assert!(stats.delta_rows <= 1_000 && stats.rows_in_lists > KNOWN, "{} rows in memory", stats.delta_rows);
    for id in (30_000..31_500).step_by(100) {
        let hits = c.snapshot().search(&foreign(id)).k(3).run().unwrap();
        assert!(hits.iter().any(|hit| hit.id.as_u64() == Some(id)), "row {id}");
    }
    storage.disarm();
    ends_well(&disk, c, 1, foreign);
}

/// The machine stops at every ninth call from the commit on that has lists made, until all rows are in them.
#[test]
fn a_stop_at_any_moment_loses_no_row_of_a_new_kind() {
    let (disk, _, c) = settled(inline());
    let acknowledged = Arc::new(AtomicU64::new(0));
    let moments = Arc::new(Mutex::new(Vec::new()));
    let (seen, least) = (moments.clone(), acknowledged.clone());
    disk.on_call(move |point| {
        if point.phase == Phase::After && least.load(Ordering::SeqCst) >= 400 {
            seen.lock().unwrap().push((least.load(Ordering::SeqCst), point.dir.clone()));
        }
    });
    for i in 0..40 {
        put(&c, 30_000 + i * 100..30_100 + i * 100, foreign);
        acknowledged.store((i + 1) * 100, Ordering::SeqCst);
        if c.stats().retrains > 0 {
            break;
        }
    }
    disk.clear_hook();
    assert_eq!(c.stats().rows_to_convert, 0);
    drop(c);
    let moments = moments.lock().unwrap();
    assert!(moments.len() > 30, "{} moments", moments.len());
    let options = CrashOptions { exhaustive_units: 3, random_subsets: 0, ..CrashOptions::default() };
    let mut two_models = 0;
    for (n, (acknowledged, moment)) in moments.iter().enumerate().step_by(9) {
        let set = moment.crash_set(&options);
        let powerless = if n % 18 == 0 { 0 } else { set.len() - 1 };
        for disk in [set.build(powerless), moment.process_crash()] {
            let c = Collection::open_in(Arc::new(disk.clone()), inline()).unwrap();
            let rows = c.snapshot().count();
            assert!(rows >= KNOWN + acknowledged && rows <= KNOWN + acknowledged + 100, "{rows} of {acknowledged}");
            for id in [30_000, 30_000 + acknowledged - 1] {
                let hits = c.snapshot().search(&foreign(id)).k(3).run().unwrap();
                assert!(hits.iter().any(|hit| hit.id.as_u64() == Some(id)), "row {id}");
            }
            two_models += u64::from(c.stats().models == 2);
            if n % 54 == 0 {
                compact(&c, Compact::Auto);
                assert_eq!((c.stats().rows_to_convert, c.snapshot().count()), (0, rows));
            }
            drop(c);
            let report = Collection::verify_in(&disk, Verify::Quick).unwrap();
            assert!(report.is_sound(), "{:?}", report.findings);
        }
    }
    assert!(two_models > 4, "{two_models} states with two models");
}

/// One row that is far from everything is no kind of its own, however far it is: no lists are made for it, whatever it does to the mean.
#[test]
fn rows_far_from_everything_that_come_one_by_one_train_nothing() {
    for far in [60.0, 1e6, 1e18] {
        let (disk, _, c) = settled(inline());
        for round in 0..4 {
            put(&c, 30_000 + round * 1_000..30_600 + round * 1_000, near);
            put(&c, 30_900 + round * 1_000..30_901 + round * 1_000, |id| near(id).iter().map(|x| x * far).collect());
            settle(&c);
            assert_eq!(c.stats().retrains, 0, "{far} times as far, round {round}");
        }
        let lone = near(30_900).iter().map(|x| x * far).collect::<Vec<_>>();
        // Beyond that distances are all the same in what a float holds.
        assert!(far > 1e6 || c.snapshot().search(&lone).k(1).run().unwrap()[0].id.as_u64() == Some(30_900));
        c.close().unwrap();
        sound(&disk);
    }
}

/// There is room for a model and none for the manifest that names it: rows go to the lists there are, and the same model is not trained with every commit.
#[test]
fn a_model_that_no_manifest_can_name_is_not_made_again_and_again() {
    let (disk, storage, c) = settled(inline());
    let made = Arc::new(AtomicU64::new(0));
    let count = made.clone();
    disk.on_call(move |point| {
        let of_model = matches!(point.call.name, Some(FileName::File(FileKind::Model, _)));
        count.fetch_add(
            u64::from(of_model && point.call.op == Op::Create && point.phase == Phase::After),
            Ordering::SeqCst,
        );
    });
    storage.arm(FaultPlan::new(Fault::NoSpace, 0, Repeat::Forever).on(&[Op::Create]).of(&[FileKind::Temp]));
    for i in 0..15 {
        let mut batch = c.batch();
        for id in 30_000 + i * 100..30_100 + i * 100 {
            batch.upsert(id, &foreign(id));
        }
        // Once no log can be written any more commits say so.
        let _ = batch.commit();
    }
    assert!((1..=3).contains(&made.load(Ordering::SeqCst)), "{made:?} models");
    disk.clear_hook();
    storage.disarm();
    put(&c, 30_000..31_500, foreign);
    settle(&c);
    assert_eq!(c.stats().retrains, 1);
    ends_well(&disk, c, 0, foreign);
}

/// Commits that wait for no disk, and power that fails: a model is known only together with the rows in memory that it was made for. Their numbers went
/// to others otherwise, which would count as known to it.
#[test]
fn rows_that_lists_were_made_for_are_there_after_a_power_cut() {
    let (disk, _, c) = settled(inline());
    let moments = Arc::new(Mutex::new(Vec::new()));
    let mut came = 0;
    while c.stats().retrains == 0 {
        let seen = moments.clone();
        seen.lock().unwrap().clear();
        disk.on_call(move |point| {
            if point.phase == Phase::After {
                seen.lock().unwrap().push(point.dir.clone());
            }
        });
        let mut batch = c.batch();
        for id in came..came + 100 {
            batch.upsert(30_000 + id, &foreign(id));
        }
        batch.commit_with(Durability::Os).unwrap();
        came += 100;
        assert!(came < 4_000, "the rows got no lists of their own");
    }
    disk.clear_hook();
    drop(c);
    let (mut without, mut with) = (0, 0);
    // The first of them is before the log is synced.
    for moment in moments.lock().unwrap().iter().step_by(11) {
        let disk = moment
            .crash_set(&CrashOptions { exhaustive_units: 0, random_subsets: 0, ..CrashOptions::default() })
            .build(0);
        let c = Collection::open_in(Arc::new(disk), inline()).unwrap();
        match c.stats().models {
            1 => without += u64::from(c.snapshot().count() < KNOWN + came),
            _ => {
                with += 1;
                assert_eq!(c.snapshot().count(), KNOWN + came);
            }
        }
    }
    assert!(without > 0 && with > 4, "{without} states with fewer rows, {with} with two models");
}

/// A training that does not come to an end: commits and searches go on beside it, row by row, and deletes too.
#[test]
fn writers_and_searches_do_not_wait_for_a_training() {
    let (disk, _, c) = settled(OpenOptions::new().flush_rows(20_000));
    let flag = || Arc::new(AtomicBool::new(false));
    let (held, released, gave_up) = (flag(), flag(), flag());
    let (is_held, is_released, gives_up) = (held.clone(), released.clone(), gave_up.clone());
    disk.on_call(move |point| {
        let of_model = matches!(point.call.name, Some(FileName::File(FileKind::Model, _)));
        if of_model && point.call.op == Op::Create && point.phase == Phase::Before {
            is_held.store(true, Ordering::SeqCst);
            let until = Instant::now() + Duration::from_secs(60);
            while !is_released.load(Ordering::SeqCst) && !gives_up.load(Ordering::SeqCst) {
                gives_up.store(Instant::now() > until, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    // More than enough to have a model asked for, by one commit: it is trained on the same rows however late whoever trains is, and what
    // searches that trust estimates find in its lists is the same.
    let came = 1_500;
    put(&c, 30_000..30_000 + came, foreign);
    let until = Instant::now() + Duration::from_secs(60);
    while !held.load(Ordering::SeqCst) {
        assert!(Instant::now() < until, "no model was trained");
        std::thread::sleep(Duration::from_millis(1));
    }
    for id in 30_000 + came..30_000 + came + 500 {
        c.upsert(id, &foreign(id)).unwrap();
        let hits = c.snapshot().search(&foreign(id)).k(3).run().unwrap();
        assert!(hits.iter().any(|hit| hit.id.as_u64() == Some(id)), "row {id}");
        c.delete(id - came).unwrap();
    }
    assert!(!gave_up.load(Ordering::SeqCst), "somebody waited for the training");
    assert_eq!((c.stats().retrains, c.stats().models, c.snapshot().count()), (0, 1, KNOWN + came));
    released.store(true, Ordering::SeqCst);
    settle(&c);
    assert_eq!(c.stats().retrains, 1);
    ends_well(&disk, c, 0, foreign);
    disk.clear_hook();
}

/// Writers fill one delta after the other while lists are made for the first: each row is found at once, and all of them in the end.
#[test]
fn writers_outrun_the_lists_that_are_made_for_their_rows() {
    let (disk, _, c) = settled(OpenOptions::new().flush_rows(1_500));
    let last = 30_000 + 12_000;
    for first in (30_000..last).step_by(250) {
        put(&c, first..first + 250, foreign);
        let hits = c.snapshot().search(&foreign(first + 249)).k(3).run().unwrap();
        assert!(hits.iter().any(|hit| hit.id.as_u64() == Some(first + 249)));
    }
    c.flush().unwrap();
    compact(&c, Compact::Auto);
    assert!(c.stats().retrains >= 1);
    assert_eq!(c.snapshot().count(), KNOWN + 12_000);
    ends_well(&disk, c, 0, foreign);
}
