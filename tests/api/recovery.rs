//! What opening reports.

use std::sync::{Arc, Mutex};

use stratavec::storage::testing::MemDir;
use stratavec::storage::{FileId, FileKind, FileName};
use stratavec::{Collection, RecoveryReport, Schema};

use super::scene::{Scene, inline, open, plain};

type Told = Arc<Mutex<Vec<RecoveryReport>>>;

fn open_and_listen(disk: &MemDir) -> (Collection, Vec<RecoveryReport>) {
    let told: Told = Arc::default();
    let listener = told.clone();
    let options = inline().on_recovery(move |report| listener.lock().expect("lock").push(report.clone()));
    let c = Collection::open_in(Arc::new(disk.clone()), options).expect("open");
    let told = told.lock().expect("lock").clone();
    (c, told)
}

// [C11]
#[test]
fn the_callback_is_called_once_with_the_report_and_only_if_there_is_something_to_tell() {
    let s = Scene::new(plain());
    s.c.upsert(1u64, &[1.0, 1.0]).expect("upsert");
    s.c.upsert(2u64, &[1.0, 1.0]).expect("upsert");
    let disk = s.disk.clone();
    drop(s.c);
    let (c, told) = open_and_listen(&disk);
    assert_eq!(told.len(), 1);
    assert_eq!(&told[0], c.recovery());
    assert_eq!((told[0].batches_replayed, told[0].tail_bytes_dropped), (2, 0));
    assert!(told[0].bytes_replayed > 0);
    c.close().expect("close");
    let (c, told) = open_and_listen(&disk);
    assert!(told.is_empty(), "{told:?}");
    drop(c);
    // Only a leftover: told as well.
    let orphan = FileName::File(FileKind::Row, FileId { number: 999, epoch: 5 });
    disk.put_raw(orphan, b"half a file".to_vec());
    let (_c, told) = open_and_listen(&disk);
    assert_eq!(told.iter().map(|report| report.orphans_removed).collect::<Vec<_>>(), [1]);
    assert!(disk.file_bytes(orphan).is_none());
}

#[test]
fn creating_reports_nothing() {
    let s = Scene::new(plain());
    assert!(s.c.recovery().is_clean());
    let told: Told = Arc::default();
    let listener = told.clone();
    let options = inline().on_recovery(move |report| listener.lock().expect("lock").push(report.clone()));
    let disk = MemDir::new(2);
    let c = Collection::open_or_create_in(Arc::new(disk), Schema::new(1, stratavec::Metric::L2), options);
    assert!(c.expect("create").recovery().is_clean() && told.lock().expect("lock").is_empty());
}

// [C11]: opening twice gives what opening once gives.
#[test]
fn opening_again_and_again_changes_nothing() {
    let s = Scene::new(plain());
    for id in 0..30u64 {
        s.c.upsert(id % 20, &[id as f32, 1.0]).expect("upsert");
        if id == 11 {
            s.c.flush().expect("flush");
        }
    }
    s.c.delete(4u64).expect("delete");
    let disk = s.disk.clone();
    drop(s.c);
    let content = |c: &Collection| {
        let rows: Vec<_> = c.snapshot().iter().map(|item| item.expect("a row")).collect();
        (rows, c.last_seq())
    };
    let once = content(&open(&disk));
    assert_eq!((once.0.len(), once.1), (19, 31));
    for _ in 0..3 {
        let c = open(&disk);
        assert_eq!(content(&c), once);
        assert_eq!(c.recovery().batches_replayed, 0, "what was replayed once is in files");
    }
}
