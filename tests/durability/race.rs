//! R12: whatever happens between any two calls of a compaction, nothing is lost and nothing comes back.
//!
//! The bugs this is about are known from other engines: a delete that arrives between the start of a merge and its installation
//! comes back, or an upsert is there twice. So at every call that a compaction makes to the disk, each kind of event
//! happens to an id in each place that a row can have; then the compaction goes on, is cancelled, or the machine loses power.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stratavec::planted;
use stratavec::storage::testing::{CrashOptions, MemDir};
use stratavec::{
    Codes, Collection, Compact, Compaction, Durability, ErrorKind, IdKind, IndexKind, IvfOptions, Metric, OpenOptions,
    Schema, Snapshot, Verify,
};

/// An event that waits for the compaction, such as a flush during the installation, is left to finish after it.
const PATIENCE: Duration = Duration::from_millis(10);
/// Images of one power loss that are opened.
const IMAGES: usize = 6;

/// What is live: the version of each id.
type Model = BTreeMap<u64, u32>;

/// Where the row of an id is when the compaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    FirstInput,
    SecondInput,
    /// Dead in the first input, live in the second.
    BothInputs,
    Memory,
    /// Dead in an input, live in memory.
    InputAndMemory,
    Nowhere,
}

const PLACES: [Place; 6] =
    [Place::FirstInput, Place::SecondInput, Place::BothInputs, Place::Memory, Place::InputAndMemory, Place::Nowhere];

impl Place {
    fn id(self) -> u64 {
        match self {
            Place::FirstInput => 5,
            Place::SecondInput => 45,
            Place::BothInputs => 35,
            Place::Memory => 75,
            Place::InputAndMemory => 55,
            Place::Nowhere => 100,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Delete(Place),
    Upsert(Place),
    DeleteThenInsert(Place),
    UpsertThenDelete(Place),
    /// A batch of a hundred changes in all places.
    Batch,
    Flush,
    SecondCompaction,
    SnapshotTaken,
}

impl Event {
    fn all() -> Vec<Event> {
        let of_ids = PLACES.into_iter().flat_map(|place| {
            [Event::Delete(place), Event::Upsert(place), Event::DeleteThenInsert(place), Event::UpsertThenDelete(place)]
        });
        of_ids.chain([Event::Batch, Event::Flush, Event::SecondCompaction, Event::SnapshotTaken]).collect()
    }

    fn apply(self, model: &mut Model) {
        match self {
            Event::Delete(place) | Event::UpsertThenDelete(place) => {
                model.remove(&place.id());
            }
            Event::Upsert(place) | Event::DeleteThenInsert(place) => {
                model.insert(place.id(), 9);
            }
            Event::Batch => (0..100).for_each(|id| match id % 3 {
                0 => drop(model.remove(&id)),
                1 => drop(model.insert(id, 9)),
                _ => {}
            }),
            Event::Flush | Event::SecondCompaction | Event::SnapshotTaken => {}
        }
    }

    fn happen(self, c: &Collection) -> stratavec::Result<Option<Snapshot>> {
        match self {
            Event::Delete(place) => c.delete(place.id()).map(|_| None),
            Event::Upsert(place) => c.upsert(place.id(), &vector(place.id(), 9)).map(|_| None),
            Event::DeleteThenInsert(place) => {
                c.delete(place.id())?;
                c.insert(place.id(), &vector(place.id(), 9)).map(|_| None)
            }
            Event::UpsertThenDelete(place) => {
                c.upsert(place.id(), &vector(place.id(), 8))?;
                c.delete(place.id()).map(|_| None)
            }
            Event::Batch => {
                let mut batch = c.batch();
                for id in 0..100 {
                    match id % 3 {
                        0 => {
                            batch.delete(id);
                        }
                        1 => {
                            batch.upsert(id, &vector(id, 9));
                        }
                        _ => {}
                    }
                }
                batch.commit().map(|_| None)
            }
            Event::Flush => c.flush().map(|()| None),
            Event::SecondCompaction => c.compact(Compact::Full)?.wait().map(|_| None),
            Event::SnapshotTaken => Ok(Some(c.snapshot())),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Normal,
    Cancel,
    PowerLoss,
}

fn vector(id: u64, version: u32) -> [f32; 2] {
    [id as f32, version as f32]
}

fn options() -> OpenOptions {
    OpenOptions::new().compaction(Compaction::Manual)
}

/// What the rows are in when the compaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// A collection without lists.
    Flat,
    /// Rows of which none is in a list yet, and no model.
    Unfiled,
    /// Rows in two list segments.
    Listed,
    /// The same, with product codes.
    Product,
    /// Rows in two list segments, and the compaction trains a new model and converts them.
    Aged,
}

const STARTS: [Start; 5] = [Start::Flat, Start::Unfiled, Start::Listed, Start::Product, Start::Aged];

impl Start {
    /// The compaction that begins there.
    fn what(self) -> Compact {
        if self == Start::Aged { Compact::Retrain } else { Compact::Full }
    }
}

/// Where a race begins: a closed collection, what is in it, what is to be done.
type Base = (MemDir, Model, Compact);

/// Two files, ids 0..40 and 30..70 with a tombstone file between them, closed.
fn base(start: Start) -> Base {
    let disk = MemDir::new(12);
    let index = match start {
        Start::Flat => IndexKind::Flat,
        Start::Unfiled | Start::Listed | Start::Aged => IndexKind::Ivf(IvfOptions::auto().nlist(4)),
        Start::Product => IndexKind::Ivf(IvfOptions::auto().nlist(4).codes(Codes::Product { m: 8, codebook_size: 32 })),
    };
    let schema = Schema::new(2, Metric::L2).ids(IdKind::U64).index(index);
    let c = Collection::create_in(Arc::new(disk.clone()), schema, options()).expect("create");
    let mut model = Model::new();
    write(&c, 0..40, 1, &mut model);
    c.flush().expect("flush");
    if matches!(start, Start::Listed | Start::Product | Start::Aged) {
        c.compact(Compact::Full).expect("begin").wait().expect("compact");
        assert_eq!(c.stats().list_segments, 1);
    }
    write(&c, 30..70, 2, &mut model);
    c.close().expect("close");
    (disk, model, start.what())
}

fn write(c: &Collection, ids: std::ops::Range<u64>, version: u32, model: &mut Model) {
    let mut batch = c.batch();
    for id in ids {
        batch.upsert(id, &vector(id, version));
        model.insert(id, version);
    }
    batch.commit().expect("commit");
}

/// Every live id exactly once and as last written, no other id, by every way of reading.
fn holds(snapshot: &Snapshot, model: &Model) -> Result<(), String> {
    let mut found = Model::new();
    for item in snapshot {
        let item = item.map_err(|error| format!("iterate: {error}"))?;
        let id = item.id.as_u64().ok_or("a byte id")?;
        let vector = item.vector;
        if found.insert(id, vector[1] as u32).is_some() {
            return Err(format!("id {id} is there twice"));
        }
    }
    if found != *model || snapshot.count() != model.len() as u64 {
        let wrong: Vec<u64> = (0..=100).filter(|id| found.get(id) != model.get(id)).collect();
        return Err(format!("wrong are ids {wrong:?}; {} rows, {} expected", snapshot.count(), model.len()));
    }
    let hits = snapshot.search(&[50.0, 0.0]).k(200).run().map_err(|error| format!("search: {error}"))?;
    if hits.len() != model.len() {
        return Err(format!("a search finds {} of {}", hits.len(), model.len()));
    }
    for place in PLACES {
        let item = snapshot.get(place.id()).map_err(|error| format!("get: {error}"))?;
        if item.is_some() != model.contains_key(&place.id()) {
            return Err(format!("get of {place:?} gives {item:?}"));
        }
    }
    Ok(())
}

/// Opens a disk that stopped, and looks; then compacts, and looks again.
fn holds_after_reopening(disk: &MemDir, model: &Model) -> Result<(), String> {
    let c =
        Collection::open_in(Arc::new(disk.clone()), options()).map_err(|error| format!("does not open: {error}"))?;
    holds(&c.snapshot(), model).map_err(|what| format!("after reopening: {what}"))?;
    c.compact(Compact::Full).and_then(|job| job.wait()).map_err(|error| format!("compact again: {error}"))?;
    holds(&c.snapshot(), model).map_err(|what| format!("after another compaction: {what}"))?;
    drop(c);
    let report = Collection::verify_in(disk, Verify::Full).map_err(|error| format!("verify: {error}"))?;
    match report.findings.first() {
        None => Ok(()),
        Some(finding) => Err(format!("verify finds {finding}")),
    }
}

/// What the event did, once it is over.
type Happened = (JoinHandle<()>, std::sync::mpsc::Receiver<stratavec::Result<Option<Snapshot>>>);

/// One compaction with an event at one call. The number of calls it made, and of images that were opened.
fn race(base: &Base, at: u64, event: Event, ending: Ending) -> Result<(u64, u64), String> {
    let (disk, mut model) = (base.0.fork(), base.1.clone());
    let c = Arc::new(Collection::open_in(Arc::new(disk.clone()), options()).map_err(|error| error.to_string())?);
    write(&c, 50..80, 3, &mut model);
    let before = model.clone();
    event.apply(&mut model);
    let (calls, cancel, images) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let happened: Arc<Mutex<Option<Happened>>> = Arc::default();
    let hook = {
        let (calls, cancel, images, happened) = (calls.clone(), cancel.clone(), images.clone(), happened.clone());
        let (c, disk) = (Arc::downgrade(&c), disk.clone());
        let is_over = AtomicBool::new(false);
        move |_: &stratavec::storage::testing::CrashPoint| {
            if std::thread::current().name() != Some("stratavec-compact") {
                return;
            }
            let call = calls.fetch_add(1, Ordering::SeqCst);
            let pick = |first: usize, step: usize| {
                let set = disk.crash_set(&CrashOptions::default());
                let picked = (first % set.len()..set.len())
                    .step_by(step.max(set.len().div_ceil(IMAGES)))
                    .map(|index| set.build(index));
                images.lock().unwrap_or_else(PoisonError::into_inner).extend(picked);
            };
            if call > at && is_over.load(Ordering::SeqCst) && ending == Ending::PowerLoss {
                pick(call as usize, usize::MAX);
            }
            if call != at {
                return;
            }
            let Some(c) = c.upgrade() else { return };
            let (tell, told) = channel();
            let thread = std::thread::spawn(planted::carrying(move || {
                let _ = tell.send(event.happen(&c));
            }));
            let over = match told.recv_timeout(PATIENCE) {
                Ok(result) => {
                    let (again, told) = channel();
                    let _ = again.send(result);
                    *happened.lock().unwrap_or_else(PoisonError::into_inner) = Some((thread, told));
                    true
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    *happened.lock().unwrap_or_else(PoisonError::into_inner) = Some((thread, told));
                    false
                }
            };
            is_over.store(over, Ordering::SeqCst);
            if over && ending == Ending::PowerLoss {
                pick(0, 1);
            }
            cancel.store(ending == Ending::Cancel, Ordering::SeqCst);
        }
    };
    disk.on_call(hook);
    let job = c.compact(base.2).map_err(|error| error.to_string())?;
    if ending == Ending::Cancel {
        while !cancel.load(Ordering::SeqCst) && job.progress().done < job.progress().total.max(1) {
            std::thread::yield_now();
        }
        job.cancel();
    }
    let ended = job.wait();
    disk.clear_hook();
    match ended {
        Err(error) if error.kind() != ErrorKind::Cancelled || ending != Ending::Cancel => {
            return Err(format!("the compaction ends with {error}"));
        }
        _ => {}
    }
    let happened = happened.lock().unwrap_or_else(PoisonError::into_inner).take();
    match happened {
        None => model = before.clone(),
        Some((thread, told)) => {
            let result = told.recv().map_err(|_| "the event did not end")?;
            thread.join().map_err(|_| "the event panicked")?;
            if let Some(snapshot) = result.map_err(|error| format!("the event fails: {error}"))? {
                holds(&snapshot, &before).map_err(|what| format!("the snapshot taken meanwhile: {what}"))?;
            }
        }
    }
    holds(&c.snapshot(), &model)?;
    drop(c);
    holds_after_reopening(&disk, &model)?;
    let images = std::mem::take(&mut *images.lock().unwrap_or_else(PoisonError::into_inner));
    for image in &images {
        holds_after_reopening(image, &model).map_err(|what| format!("power loss: {what}"))?;
    }
    Ok((calls.load(Ordering::SeqCst), images.len() as u64))
}

/// Rows that only a batch kills that is not durable are alive after a power loss: in files and in lists.
fn unsynced_deletes_and_lists() -> Result<(), String> {
    let (disk, model, _) = base(Start::Listed);
    let fail = |error: stratavec::Error| error.to_string();
    let c = Collection::open_in(Arc::new(disk.clone()), options().durability(Durability::Os)).map_err(fail)?;
    // The first commit begins a log; what comes behind it is not synced.
    c.upsert(99u64, &vector(99, 1)).and_then(|_| c.sync()).map_err(fail)?;
    let mut batch = c.batch();
    (0..20u64).for_each(|id| {
        batch.delete(id);
    });
    batch.commit().map_err(fail)?;
    c.compact(Compact::Full).and_then(|job| job.wait()).map_err(fail)?;
    let image = disk.crash_set(&CrashOptions::default()).build(0);
    drop(c);
    let report = Collection::verify_in(&image, Verify::Full).map_err(fail)?;
    if let Some(finding) = report.findings.first() {
        return Err(format!("after a power loss: {finding}"));
    }
    let mut model = model;
    model.insert(99, 1);
    holds_after_reopening(&image, &model)
}

/// The first failure, of fewer events.
pub fn find() -> Option<String> {
    if let Err(what) = unsynced_deletes_and_lists() {
        return Some(what);
    }
    STARTS.into_iter().find_map(find_from)
}

fn find_from(start: Start) -> Option<String> {
    let base = base(start);
    let calls = race(&base, u64::MAX, Event::Flush, Ending::Normal).map(|(calls, _)| calls).unwrap_or(100);
    let events = [Event::Delete(Place::SecondInput), Event::Upsert(Place::FirstInput), Event::Flush];
    (0..calls).flat_map(|at| events.map(|event| (at, event))).find_map(|(at, event)| {
        race(&base, at, event, Ending::PowerLoss).err().map(|what| format!("call={at} {event:?}: {what}"))
    })
}

/// Every event at every `step`-th call with these endings; `every` n-th of the power losses.
fn matrix(start: Start, step: usize, every: u64) {
    let started = Instant::now();
    let base = base(start);
    let (calls, _) = race(&base, u64::MAX, Event::Flush, Ending::Normal).expect("undisturbed");
    assert!(calls > 20, "a compaction makes more calls than {calls}");
    let (mut races, mut losses, mut images) = (0u64, 0, 0);
    for at in (0..calls).step_by(step) {
        for (i, event) in (0u64..).zip(Event::all()) {
            // These wait for the compaction wherever they come.
            if event == Event::SecondCompaction && at % 8 != 0 {
                continue;
            }
            for ending in [Ending::Normal, Ending::Cancel, Ending::PowerLoss] {
                if ending == Ending::PowerLoss && (at * 7 + i) % every != 0 {
                    continue;
                }
                let (_, opened) = race(&base, at, event, ending).unwrap_or_else(|what| {
                    panic!("R12 start={start:?} call={at} event={event:?} ending={ending:?}: {what}")
                });
                races += 1;
                losses += u64::from(ending == Ending::PowerLoss);
                images += opened;
            }
        }
    }
    println!(
        "R12, {start:?}: {races} races at {calls} calls, {losses} with a power loss and {images} images, {:.1} s",
        started.elapsed().as_secs_f64()
    );
}

/// [C8] [C9] Deletes, replacements, flushes and snapshots between any two calls of a compaction.
#[test]
fn what_happens_during_a_compaction_is_kept_wherever_it_happens() {
    matrix(Start::Flat, 1, 20);
}

/// [C8] [C9] The same while a model is trained, rows get their lists, and list segments merge.
#[test]
fn what_happens_while_lists_are_made_and_merged_is_kept() {
    matrix(Start::Unfiled, 4, 40);
    matrix(Start::Listed, 3, 40);
    matrix(Start::Product, 9, 80);
    matrix(Start::Aged, 5, 40);
    unsynced_deletes_and_lists().unwrap();
}

/// The same with a power loss after every event at every call.
#[test]
#[ignore = "takes minutes; make soak"]
fn soak_races() {
    STARTS.into_iter().for_each(|start| matrix(start, 1, 1));
}
