//! Long jobs: what they tell, how they end, what an end of the collection does to them.

use std::path::Path;
use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::{Duration, Instant};

use stratavec::{Collection, Compaction, ErrorKind, IdKind, Metric, OpenOptions, Schema, Scrub};

use super::backpressure::eventually;

const DIM: usize = 8;

fn create(path: &Path, options: OpenOptions) -> Collection {
    Collection::create(path, Schema::new(DIM, Metric::L2).ids(IdKind::U64), options).unwrap()
}

fn manual() -> OpenOptions {
    OpenOptions::new().compaction(Compaction::Manual).flush_rows(100)
}

fn item(id: u64) -> (u64, Vec<f32>) {
    (id, vec![id as f32; DIM])
}

/// Nobody knows how many items an iterator has that does not say so: what was taken was to be taken.
#[test]
fn a_load_never_has_done_more_than_there_is_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let c = create(&dir.path().join("c"), manual());
    let (tell, told) = channel();
    let load = c.bulk_load((0..3_000).map(|id| item(id % 2_000)).filter(|_| true)).unwrap();
    load.on_progress(move |at| tell.send(at).unwrap());
    assert_eq!(load.wait().unwrap().items, 3_000);
    let told: Vec<_> = told.iter().collect();
    assert!(told.iter().all(|at| at.done <= at.total), "{told:?}");
    let last = told.last().unwrap();
    assert!(last.done == last.total && last.done >= 3_000, "{last:?}");
}

#[test]
fn a_load_that_waits_for_another_can_be_cancelled_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let c = create(&dir.path().join("c"), manual());
    let (send, receive) = channel();
    let first = c.bulk_load(receive).unwrap();
    send.send(item(1)).unwrap();
    eventually("the first has its turn", || first.progress().done > 0);
    let second = c.bulk_load((0..10).map(item)).unwrap();
    second.cancel();
    assert_eq!(second.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    drop(send);
    assert_eq!(first.wait().unwrap().inserted, 1);
    assert_eq!(c.snapshot().count(), 1);
}

/// What was begun is removed, as after any other cancel.
#[test]
fn a_callback_that_panics_cancels_its_job() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let c = create(&path, manual());
    let before = std::fs::read_dir(&path).unwrap().count();
    let load = c.bulk_load((0..).filter(|_| true).map(|id| {
        sleep(Duration::from_micros(20));
        item(id)
    }));
    let load = load.unwrap();
    let mut heard = 0;
    load.on_progress(move |_| {
        heard += 1;
        assert!(heard < 3, "nobody wants to hear more");
    });
    assert_eq!(load.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), before);
    assert_eq!(c.bulk_load((0..10).map(item)).unwrap().wait().unwrap().inserted, 10);
}

/// Closing does not wait for an iterator, which may be waiting for whoever closes.
#[test]
fn closing_ends_a_load_and_nothing_of_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let c = create(&path, manual());
    let (send, receive) = channel();
    let load = c.bulk_load(receive).unwrap();
    (0..250).for_each(|id| send.send(item(id)).unwrap());
    c.close().unwrap();
    // A load that waits for an item ends with this one; one that was between two of them has ended, and nobody takes it.
    let _ = send.send(item(250));
    assert_eq!(load.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    let c = Collection::open(&path, manual()).unwrap();
    assert_eq!((c.snapshot().count(), c.stats().row_files), (0, 0));
}

/// A slow scrub may take hours; the next writer is not to wait for it.
#[test]
fn closing_ends_a_scrub_and_the_next_handle_opens_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let c = create(&path, manual().scrub(Scrub::Rate(1 << 16)));
    c.bulk_load((0..8_000).map(item)).unwrap().wait().unwrap();
    let scrub = c.scrub().unwrap();
    sleep(Duration::from_millis(100));
    c.close().unwrap();
    drop(Collection::open(&path, manual()).unwrap());
    assert_eq!(scrub.wait().unwrap_err().kind(), ErrorKind::Cancelled);
}

/// The rate is that of the handle, whoever reads.
#[test]
fn a_scrub_that_is_asked_for_reads_in_place_of_the_one_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let c = create(&path, manual());
    c.bulk_load((0..80_000).map(item)).unwrap().wait().unwrap();
    let bytes = c.stats().file_bytes;
    c.close().unwrap();
    // The other would read for a minute.
    let c = Collection::open(&path, manual().scrub(Scrub::Rate(1 << 16))).unwrap();
    let scrub = c.scrub().unwrap();
    eventually("it reads", || scrub.progress().done > 0);
    assert_eq!(c.stats().scrub_passes, 0, "the other gave up");
    c.close().unwrap();
    let opened = Instant::now();
    let c = Collection::open(&path, manual().scrub(Scrub::Rate(bytes))).unwrap();
    let begun = Instant::now();
    let report = c.scrub().unwrap().wait().unwrap();
    assert!(begun.elapsed() > Duration::from_millis(500));
    let stats = c.stats();
    // Whoever gave up had counted one piece that was not due. So a second pass takes a second second.
    let most = bytes as f64 * opened.elapsed().as_secs_f64() + f64::from(64 << 10);
    assert!(stats.scrub_bytes >= report.bytes && stats.scrub_bytes as f64 <= most, "{stats:?}");
    assert!((1..=stats.scrub_bytes / report.bytes).contains(&stats.scrub_passes), "{stats:?}");
}
