//! Repairs: everything that proves itself is kept, nothing else is, and what is missing is listed.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use stratavec::storage::testing::{CrashOptions, Fault, FaultDir, FaultPlan, MemDir, Repeat};
use stratavec::storage::{FileKind, FileName};
use stratavec::{Collection, Durability, ErrorKind, Id, IdKind, Loss, Metric, Repair, RepairReport, RowFormat};
use stratavec_tests::{Driver, History, Model, Row, Step, WORKLOADS, Work, Workload, check_copy, inline_options};

use crate::guard::guarded;

const STEPS: &[Step] = &[
    Step::Commit(Durability::Group, Work::Insert(14)),
    Step::Flush,
    Step::Commit(Durability::Group, Work::Upsert(4)),
    Step::Commit(Durability::Group, Work::Delete(2)),
    Step::Flush,
    Step::Commit(Durability::Os, Work::Mixed(5)),
    Step::Flush,
    Step::Commit(Durability::Group, Work::Mixed(4)),
    Step::Commit(Durability::Group, Work::Insert(1)),
    Step::Commit(Durability::Group, Work::Delete(1)),
];

const fn subject(ids: IdKind) -> Workload {
    Workload {
        name: "repair",
        dim: 4,
        metric: Metric::L2,
        ids,
        rows: RowFormat::F32,
        extras: true,
        flush_rows: u64::MAX,
        flush_bytes: 64 << 20,
        fanout: 0,
        codes: stratavec::Codes::Auto,
        nlist: 0,
        steps: STEPS,
    }
}

static OF_NUMBERS: Workload = subject(IdKind::U64);
static OF_TEXTS: Workload = subject(IdKind::Bytes);

/// A collection with every kind of file, and its history.
struct Subject {
    workload: &'static Workload,
    disk: MemDir,
    history: History,
}

static SUBJECTS: LazyLock<Vec<Subject>> =
    LazyLock::new(|| [&OF_NUMBERS, &OF_TEXTS].map(|workload| make(workload, 3)).into());

fn make(workload: &'static Workload, seed: u64) -> Subject {
    let disk = MemDir::new(seed);
    let mut driver = Driver::new(workload, Arc::new(disk.clone()), seed);
    driver.run().unwrap();
    driver.abandon();
    let history = driver.history().clone();
    Subject { workload, disk, history }
}

/// Repairs a directory, which must not change, and opens what came of it.
fn repaired(subject: &Subject, from: &MemDir) -> Result<(RepairReport, MemDir, BTreeMap<Id, Row>), String> {
    let (to, before) = (MemDir::new(77), from.image_hash());
    let report = Collection::repair_in(from, &to, Repair::KeepProven).map_err(|error| format!("repair: {error:?}"))?;
    if from.image_hash() != before {
        return Err("the old directory has changed".to_owned());
    }
    // The new collection survives a power loss right away.
    let least =
        to.crash_set(&CrashOptions { exhaustive_units: 0, random_subsets: 0, ..CrashOptions::default() }).build(0);
    let options = inline_options(subject.workload);
    let opened = Collection::open_in(Arc::new(least), options).map_err(|error| format!("open: {error:?}"))?;
    if !opened.recovery().is_clean() {
        return Err(format!("there is something to recover: {:?}", opened.recovery()));
    }
    let mut rows = BTreeMap::new();
    for item in opened.snapshot().iter() {
        let item = item.map_err(|error| format!("read: {error:?}"))?;
        let payload = item.payload.unwrap_or_default();
        let row = Row { vector: item.vector, attributes: item.attributes, payload, seq: item.seq };
        if rows.insert(item.id.clone(), row).is_some() {
            return Err(format!("{:?} is there twice", item.id));
        }
    }
    if report.rows != rows.len() as u64 {
        return Err(format!("the report counts {} rows, {} are there", report.rows, rows.len()));
    }
    // It takes writes, under sequence numbers of its own.
    let vector = vec![1.0; subject.workload.dim];
    let receipt = opened.upsert(subject.workload.id(5000).as_ref(), &vector).map_err(|error| format!("{error:?}"))?;
    match receipt.seq > report.last_seq {
        true => Ok((report, to, rows)),
        false => Err(format!("batch {} was given again", receipt.seq)),
    }
}

/// What a repair may have kept, going by what it says is lost.
fn judge(subject: &Subject, from: &MemDir) -> Result<RepairReport, String> {
    let (report, _, rows) = repaired(subject, from)?;
    let history = &subject.history;
    let batches = report.losses.iter().find_map(|loss| match loss {
        Loss::Batches { first_seq, .. } => Some(first_seq - 1),
        _ => None,
    });
    // Damage to the last group of a log looks like a write that was not finished (contract C15).
    let unfinished = report.notes.iter().any(|note| note.contains("no whole record"));
    let last = if unfinished { report.last_seq } else { history.acknowledged() };
    let wanted: &Model = history.state(batches.unwrap_or(last)).ok_or("no such state")?;
    let rows_may_miss = report.losses.iter().any(|loss| matches!(loss, Loss::Rows { .. } | Loss::File { .. }));
    let dead_may_live = report.losses.iter().any(|loss| matches!(loss, Loss::Deletes { .. }));
    let mut missing = 0;
    for (id, row) in wanted.rows() {
        match rows.get(id) {
            Some(kept) if *kept == **row => {}
            Some(kept) => return Err(format!("{id:?} is kept as of batch {}, not {}", kept.seq, row.seq)),
            None if rows_may_miss => missing += 1,
            None => return Err(format!("{id:?} is missing; {:?}", report.losses)),
        }
    }
    if missing > report.rows_lost {
        return Err(format!("{missing} rows are missing, {} are said to be", report.rows_lost));
    }
    match rows.keys().find(|id| !wanted.rows().contains_key(id)) {
        Some(id) if !dead_may_live => Err(format!("{id:?} is back from the dead; {:?}", report.losses)),
        _ => Ok(report),
    }
}

/// [C9] Models and lists are made from rows: however damaged they are, or gone, a repair loses nothing and the copy gets new ones.
#[test]
fn damage_to_lists_costs_a_repair_nothing() {
    let subject = make(Workload::named("lists").unwrap(), 4);
    let lists = |name: &FileName| matches!(name.kind(), Some(FileKind::List | FileKind::Model));
    let names: Vec<FileName> = subject.disk.names().into_iter().filter(lists).collect();
    assert!(names.len() >= 2, "{names:?}");
    for name in names {
        let len = subject.disk.file_bytes(name).unwrap().len();
        let mut damages: Vec<Option<usize>> = (0..len).step_by(97).map(Some).collect();
        damages.push(None);
        for damage in damages {
            let disk = subject.disk.fork();
            let changed = match damage {
                Some(at) => disk.corrupt(name, |bytes| bytes[at] ^= 0x40),
                None => disk.corrupt(name, Vec::clear),
            };
            assert!(changed);
            let (report, to, _) = repaired(&subject, &disk).unwrap_or_else(|what| panic!("{name} {damage:?}: {what}"));
            assert!(report.is_complete(), "{name} {damage:?}: {report:?}");
            let left = to.names().into_iter().filter(lists).count();
            assert_eq!(left, 0, "{name} {damage:?}: lists were taken over");
        }
    }
}

/// [C9] A collection that is sound is copied whole, whatever its last writer left.
#[test]
fn a_repair_of_a_sound_collection_loses_nothing() {
    for workload in WORKLOADS {
        let subject = make(workload, 4);
        let (report, to, _) =
            repaired(&subject, &subject.disk).unwrap_or_else(|what| panic!("{}: {what}", workload.name));
        assert!(report.is_complete() && report.stale_rows == 0, "{}: {report:?}", workload.name);
        let k = subject.history.acknowledged();
        check_copy(&to, workload, &subject.history, Some(k)).unwrap_or_else(|what| panic!("{}: {what}", workload.name));
    }
}

/// [C8] [C14] One flipped bit: all is there, or what is missing is what the report says. No row is wrong, none old, none back
/// from the dead unless the report says which deletes are lost.
#[test]
fn a_flipped_bit_costs_what_it_hits() {
    let (mut flips, mut complete, mut lost) = (0, 0, 0);
    for subject in SUBJECTS.iter() {
        for name in subject.disk.names().into_iter().filter(|name| *name != FileName::Lock) {
            let len = subject.disk.file_bytes(name).map_or(0, |bytes| bytes.len());
            // Zeros between sections hold nothing; a few of them will do.
            for at in 0..len {
                if at % 3 != 0 || (is_zeros(&subject.disk, name, at) && at % 509 != 0) {
                    continue;
                }
                let damaged = subject.disk.fork();
                damaged.flip_bit(name, at as u64 * 8 + (at as u64 / 3) % 8);
                let report = guarded(|| judge(subject, &damaged));
                let report =
                    report.unwrap_or_else(|what| panic!("{} byte {at} of {name}: {what}", subject.workload.name));
                flips += 1;
                complete += u64::from(report.is_complete());
                lost += report.rows_lost;
            }
        }
    }
    println!("{flips} flips: {complete} cost nothing, the others {lost} rows");
    assert!(flips > 1000 && complete > flips / 3);
}

fn is_zeros(disk: &MemDir, name: FileName, at: usize) -> bool {
    let bytes = disk.file_bytes(name).unwrap_or_default();
    bytes[at.saturating_sub(16)..(at + 16).min(bytes.len())].iter().all(|byte| *byte == 0)
}

/// A lost file costs what was in it, and is named.
#[test]
fn a_lost_file_costs_what_it_held() {
    for subject in SUBJECTS.iter() {
        for name in subject.disk.names() {
            let damaged = subject.disk.fork();
            damaged.remove_raw(name);
            if name == FileName::Manifest(newest(&damaged) + 1) {
                continue;
            }
            let report = judge(subject, &damaged)
                .unwrap_or_else(|what| panic!("{}: without {name}: {what}", subject.workload.name));
            let has = |wanted: fn(&Loss) -> bool| report.losses.len() == 1 && report.losses.iter().all(wanted);
            match name.kind() {
                Some(FileKind::Row) => assert!(has(|loss| matches!(loss, Loss::File { .. })), "{name}: {report:?}"),
                Some(FileKind::Tombstone) => {
                    assert!(has(|loss| matches!(loss, Loss::Deletes { .. })), "{name}: {report:?}");
                }
                Some(FileKind::Wal) => {
                    assert!(has(|loss| matches!(loss, Loss::Batches { .. })), "{name}: {report:?}");
                }
                Some(FileKind::IdTable) => {
                    assert!(report.is_complete() && report.notes.iter().any(|note| note.contains("id table")));
                }
                _ => assert!(report.is_complete(), "{name}: {report:?}"),
            }
        }
    }
}

fn newest(disk: &MemDir) -> u64 {
    let generation = |name: FileName| match name {
        FileName::Manifest(generation) => generation,
        _ => 0,
    };
    disk.names().into_iter().map(generation).max().unwrap_or(0)
}

/// [C8] A row that was replaced does not come back when the tombstones are lost that say so, nor when its successor is lost too.
#[test]
fn a_replaced_row_stays_replaced_without_tombstones() {
    for (seed, workload) in (1..20).flat_map(|seed| [&OF_NUMBERS, &OF_TEXTS].map(|workload| (seed, workload))) {
        let subject = make(workload, seed);
        let damaged = subject.disk.fork();
        let of = |kind| damaged.names().into_iter().filter(move |name| name.kind() == Some(kind));
        for name in of(FileKind::Tombstone) {
            damaged.remove_raw(name);
        }
        judge(&subject, &damaged).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        for name in of(FileKind::Row).skip(1) {
            let damaged = damaged.fork();
            damaged.remove_raw(name);
            judge(&subject, &damaged).unwrap_or_else(|what| panic!("seed {seed}, without {name}: {what}"));
        }
    }
}

#[test]
fn a_repair_goes_only_where_nothing_is_and_not_beside_a_writer() {
    let subject = &SUBJECTS[0];
    let occupied = subject.disk.fork();
    let error = Collection::repair_in(&subject.disk.fork(), &occupied, Repair::KeepProven).unwrap_err();
    assert_eq!((error.kind(), error.argument_name()), (ErrorKind::InvalidArgument, Some("path")));
    let disk = subject.disk.fork();
    let writer = Collection::open_in(Arc::new(disk.clone()), inline_options(subject.workload)).unwrap();
    let error = Collection::repair_in(&disk, &MemDir::new(1), Repair::KeepProven).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    drop(writer);
    let empty = Collection::repair_in(&MemDir::new(1), &MemDir::new(2), Repair::KeepProven).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::NotFound);
}

/// With the newest manifest gone or bad in both copies, the one before it and what was made after it tell what there was, and the
/// report says from which batch on to look.
#[test]
fn a_lost_manifest_costs_deletes_at_most() {
    let mut kept = 0;
    for (seed, workload) in (1..20).flat_map(|seed| [&OF_NUMBERS, &OF_TEXTS].map(|workload| (seed, workload))) {
        let subject = make(workload, seed);
        let newest = FileName::Manifest(newest(&subject.disk));
        for gone in [true, false] {
            let damaged = subject.disk.fork();
            match gone {
                true => drop(damaged.remove_raw(newest)),
                false => drop(damaged.corrupt(newest, |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x55))),
            }
            let (report, _, rows) = repaired(&subject, &damaged).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
            assert!(report.losses.iter().any(|loss| matches!(loss, Loss::Deletes { .. })), "{report:?}");
            assert_eq!(report.losses.iter().any(|loss| matches!(loss, Loss::Manifest { .. })), !gone, "{report:?}");
            for (id, row) in subject.history.visible().rows() {
                assert_eq!(rows.get(id), Some(&**row), "seed {seed}: {id:?}; {report:?}");
                kept += 1;
            }
        }
    }
    assert!(kept > 100);
}

/// Row files whose names were exchanged are known by what is inside.
#[test]
fn row_files_under_each_others_names_cost_nothing() {
    for subject in SUBJECTS.iter() {
        let rows = |name: &FileName| name.kind() == Some(FileKind::Row);
        let names: Vec<FileName> = subject.disk.names().into_iter().filter(rows).collect();
        let damaged = subject.disk.fork();
        for (name, other) in [(names[0], names[1]), (names[1], names[0])] {
            let bytes = subject.disk.file_bytes(other).unwrap();
            assert!(damaged.corrupt(name, |content| *content = bytes));
        }
        let report = judge(subject, &damaged).unwrap_or_else(|what| panic!("{}: {what}", subject.workload.name));
        assert!(report.is_complete(), "{report:?}");
    }
}

/// A manifest of another collection under the newest name does not hide the files that are here.
#[test]
fn a_manifest_that_strayed_in_costs_no_more_than_the_one_it_replaced() {
    let subject = make(&OF_NUMBERS, 5);
    let other = make(&OF_NUMBERS, 6);
    let (name, of_other) = (FileName::Manifest(newest(&subject.disk)), FileName::Manifest(newest(&other.disk)));
    assert_eq!(name, of_other, "the name must fit what is inside");
    let damaged = subject.disk.fork();
    damaged.put_raw(name, other.disk.file_bytes(of_other).unwrap());
    let (report, _, rows) = repaired(&subject, &damaged).unwrap();
    assert!(report.losses.iter().any(|loss| matches!(loss, Loss::Manifest { .. })), "{report:?}");
    for (id, row) in subject.history.visible().rows() {
        assert_eq!(rows.get(id), Some(&**row), "{id:?}; {report:?}");
    }
}

/// [C1] [C11] A repair that is stopped at any call leaves no collection, or all of it; its source does not mind.
#[test]
fn a_repair_stopped_at_any_call_leaves_nothing_or_all() {
    for subject in SUBJECTS.iter() {
        let to = MemDir::new(5);
        let (history, workload) = (subject.history.clone(), subject.workload);
        let images = Arc::new(Mutex::new((HashSet::new(), 0, Vec::new())));
        let seen = images.clone();
        to.on_call(move |point| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            for image in point.dir.crash_set(&CrashOptions::default()).iter() {
                if seen.0.insert(image.hash()) {
                    match guarded(|| check_copy(&image.build(), workload, &history, None)) {
                        Ok(whole) => seen.1 += u64::from(whole),
                        Err(what) => seen.2.push(format!("call {} {:?}: {what}", point.index, point.phase)),
                    }
                }
            }
        });
        Collection::repair_in(&subject.disk.fork(), &to, Repair::KeepProven).unwrap();
        to.clear_hook();
        let images = images.lock().unwrap_or_else(PoisonError::into_inner);
        println!("{} images, {} of them whole", images.0.len(), images.1);
        assert!(images.2.is_empty(), "{:?}", images.2.first());
        assert!(images.0.len() > 100 && images.1 > 0);
    }
}

/// Whatever call fails, of the old directory or of the new: an error and no collection, or a collection and a report of what could
/// not be read.
#[test]
fn a_repair_survives_every_failing_call() {
    let faults = [Fault::Io, Fault::IoAfter, Fault::NoSpace, Fault::ShortWrite, Fault::ShortRead, Fault::LyingSync];
    let mut runs = 0;
    for (subject, fault) in SUBJECTS.iter().flat_map(|subject| faults.map(|fault| (subject, fault))) {
        for repeat in [Repeat::Once, Repeat::Forever] {
            let mut after = 0;
            loop {
                let (old, new) = (subject.disk.fork(), MemDir::new(6));
                let from = FaultDir::with_disk(old.clone(), &old);
                let to = from.beside(new.clone(), &new);
                from.arm(FaultPlan::new(fault, after, repeat));
                let outcome = guarded(|| Ok(Collection::repair_in(&from, &to, Repair::KeepProven)));
                let fired = from.fired() > 0;
                let line = format!("{} {fault:?} after {after} {repeat:?}", subject.workload.name);
                let complete = match outcome.unwrap_or_else(|what| panic!("{line}: {what}")) {
                    Ok(report) => report.is_complete(),
                    Err(error) => {
                        let known = matches!(error.kind(), ErrorKind::Io | ErrorKind::NoSpace | ErrorKind::Corrupt);
                        assert!(fired && known, "{line}: {error:?}");
                        false
                    }
                };
                let done = complete.then(|| subject.history.acknowledged());
                let image = new.process_crash();
                match check_copy(&image, subject.workload, &subject.history, done) {
                    Err(what) if complete => panic!("{line}: {what}"),
                    // What was lost was reported; that it opens is all that is asked.
                    Err(what) => assert!(!what.contains("does not open"), "{line}: {what}"),
                    Ok(_) => {}
                }
                runs += 1;
                if !fired {
                    break;
                }
                after += 1;
            }
        }
    }
    println!("{runs} repairs with a failing call");
    assert!(runs > 1000);
}

/// A bulk load has its sequence number in the manifest alone. With that manifest lost, the log that follows it tells.
#[test]
fn a_bulk_load_outlives_its_manifest() {
    let disk = MemDir::new(8);
    let options = inline_options(&OF_NUMBERS);
    let schema = OF_NUMBERS.schema();
    let collection = Collection::create_in(Arc::new(disk.clone()), schema, options.clone()).unwrap();
    collection.upsert(1u64, &[1.0; 4]).unwrap();
    let items: Vec<(u64, Vec<f32>)> = (1..100).map(|id| (id, vec![id as f32 + 0.5; 4])).collect();
    collection.bulk_load(items).unwrap().wait().unwrap();
    collection.upsert(2u64, &[0.0; 4]).unwrap();
    drop(collection);
    disk.corrupt(FileName::Manifest(newest(&disk)), |bytes| bytes.fill(7));
    let to = MemDir::new(9);
    let report = Collection::repair_in(&disk, &to, Repair::KeepProven).unwrap();
    assert_eq!(report.rows, 99, "{report:?}");
    let snapshot = Collection::open_in(Arc::new(to), options).unwrap().snapshot();
    let first = |id: u64| snapshot.get(id).unwrap().unwrap().vector[0];
    assert_eq!((first(1), first(2), first(99)), (1.5, 0.0, 99.5));
}
