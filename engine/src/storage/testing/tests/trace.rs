use super::*;
use crate::storage::testing::{Fault, FaultDir, FaultPlan, MemDir, Repeat, Rule};
use crate::storage::{FileId, FileKind};

fn row(number: u64) -> FileName {
    FileName::File(FileKind::Row, FileId { number, epoch: 7 })
}

fn temp(number: u64) -> FileName {
    FileName::File(FileKind::Temp, FileId { number, epoch: 7 })
}

fn traced() -> TraceDir<MemDir> {
    TraceDir::new(MemDir::new(1))
}

fn rules<S: Storage>(dir: &TraceDir<S>) -> Vec<Rule> {
    dir.violations().iter().map(|violation| violation.rule).collect()
}

/// Creates, writes and syncs a file, and makes its name durable.
fn durable<S: Storage>(dir: &TraceDir<S>, name: FileName) -> Arc<dyn StorageFile> {
    let file = dir.create(name).unwrap();
    file.write_at(b"abc", 0).unwrap();
    file.sync().unwrap();
    dir.sync_dir().unwrap();
    file
}

#[test]
fn an_orderly_run_breaks_no_rule() {
    let dir = traced().checking_names();
    let _lock = dir.lock().unwrap();
    durable(&dir, row(1)).seal().unwrap();
    let log = durable(&dir, row(2));
    log.write_at(b"more", 3).unwrap();
    let file = dir.create(temp(1)).unwrap();
    file.write_at(b"man", 0).unwrap();
    file.write_at(b"MAN", 0).unwrap();
    file.sync().unwrap();
    dir.publish(temp(1), FileName::Manifest(1)).unwrap();
    dir.sync_dir().unwrap();
    dir.open(row(1)).unwrap().map().unwrap();
    dir.remove(row(2)).unwrap();
    dir.assert_orderly();
    assert_eq!(dir.calls().len() as u64, dir.total());
}

#[test]
fn publishing_before_the_sync_of_the_last_write_is_noticed() {
    let dir = traced();
    dir.create(temp(1)).unwrap();
    dir.publish(temp(1), row(1)).unwrap();
    let file = durable(&dir, temp(2));
    file.write_at(b"x", 0).unwrap();
    dir.publish(temp(2), row(2)).unwrap();
    assert_eq!(rules(&dir), [Rule::PublishUnsynced, Rule::PublishUnsynced]);
    assert_eq!(dir.violations()[1].call, Call::publish(temp(2), row(2)));
}

#[test]
fn a_failed_sync_does_not_count_before_a_publication() {
    let mem = MemDir::new(1);
    let faults = FaultDir::with_disk(mem.clone(), &mem);
    let dir = TraceDir::new(faults);
    let file = dir.create(temp(1)).unwrap();
    dir.inner().arm(FaultPlan::new(Fault::LyingSync, 0, Repeat::Once));
    file.sync().unwrap_err();
    dir.publish(temp(1), row(1)).unwrap();
    assert_eq!(rules(&dir), [Rule::PublishUnsynced]);
}

#[test]
fn removing_before_the_directory_sync_is_noticed() {
    let dir = traced();
    for name in [row(1), row(2), temp(1), temp(2)] {
        durable(&dir, name);
    }
    dir.remove(row(1)).unwrap();
    dir.publish(temp(1), FileName::Manifest(1)).unwrap();
    dir.remove(temp(2)).unwrap();
    assert_eq!(rules(&dir), [], "before any publication, and a temporary file at any time");
    dir.remove(row(2)).unwrap();
    assert_eq!(rules(&dir), [Rule::RemoveBeforeDirSync]);
    dir.sync_dir().unwrap();
    dir.remove(FileName::Manifest(1)).unwrap();
    assert_eq!(rules(&dir), [Rule::RemoveBeforeDirSync]);
}

#[test]
fn syncing_again_after_a_failure_is_noticed_for_files_and_the_directory() {
    let mem = MemDir::new(1);
    let dir = TraceDir::new(FaultDir::with_disk(mem.clone(), &mem));
    let (one, two) = (durable(&dir, row(1)), durable(&dir, row(2)));
    dir.inner().arm(FaultPlan::new(Fault::LyingSync, 0, Repeat::Once));
    one.sync().unwrap_err();
    two.sync().unwrap();
    assert_eq!(rules(&dir), []);
    one.sync().unwrap();
    assert_eq!(rules(&dir), [Rule::SyncAfterFailure]);
    dir.inner().arm(FaultPlan::new(Fault::Io, 0, Repeat::Once));
    dir.sync_dir().unwrap_err();
    dir.sync_dir().unwrap();
    assert_eq!(rules(&dir), [Rule::SyncAfterFailure; 2]);
}

#[test]
fn the_next_writer_may_sync_the_directory_and_believes_a_failed_publication_if_it_sees_it() {
    for (fault, expected) in [(Fault::Io, vec![]), (Fault::IoAfter, vec![Rule::RemoveBeforeDirSync])] {
        let mem = MemDir::new(1);
        let dir = TraceDir::new(FaultDir::with_disk(mem.clone(), &mem));
        for name in [row(1), row(2), temp(1)] {
            durable(&dir, name);
        }
        dir.inner().arm(FaultPlan::new(fault, 0, Repeat::Once).on(&[Op::Publish]));
        dir.publish(temp(1), FileName::Manifest(1)).unwrap_err();
        drop(dir.lock().unwrap());
        let _ = dir.open(FileName::Manifest(1));
        dir.remove(row(1)).unwrap();
        assert_eq!(rules(&dir), expected);
        dir.inner().arm(FaultPlan::new(Fault::Io, 0, Repeat::Once));
        dir.sync_dir().unwrap_err();
        drop(dir.lock().unwrap());
        dir.sync_dir().unwrap();
        dir.remove(row(2)).unwrap();
        assert_eq!(rules(&dir), expected);
    }
}

#[test]
fn writing_to_finished_files_is_noticed_even_when_it_is_refused() {
    let dir = traced();
    let sealed = durable(&dir, row(1));
    sealed.seal().unwrap();
    sealed.write_at(b"x", 0).unwrap_err();
    let published = durable(&dir, temp(1));
    dir.publish(temp(1), row(2)).unwrap();
    published.truncate(0).unwrap_err();
    dir.open(row(2)).unwrap().write_at(b"x", 0).unwrap_err();
    assert_eq!(rules(&dir), [Rule::WriteToFinished; 3]);
}

#[test]
fn mapping_what_may_change_and_changing_what_is_mapped_is_noticed() {
    let dir = traced();
    let file = dir.create(row(1)).unwrap();
    file.write_at(b"abc", 0).unwrap();
    dir.open(row(1)).unwrap().map().unwrap();
    assert_eq!(rules(&dir), [Rule::MapUnsynced]);
    file.write_at(b"d", 3).unwrap();
    assert_eq!(rules(&dir), [Rule::MapUnsynced, Rule::WriteAfterMap]);
}

#[test]
fn a_hole_is_noticed() {
    let dir = traced();
    let file = dir.create(row(1)).unwrap();
    file.write_at(b"abc", 0).unwrap();
    file.write_at(b"de", 3).unwrap();
    file.write_at(b"X", 1).unwrap();
    file.truncate(2).unwrap();
    assert_eq!(rules(&dir), []);
    file.write_at(b"f", 3).unwrap();
    assert_eq!(rules(&dir), [Rule::HoleLeft]);
}

#[test]
fn a_short_write_moves_the_end_by_what_was_written() {
    let dir = TraceDir::new(FaultDir::new(MemDir::new(1)));
    let file = dir.create(row(1)).unwrap();
    dir.inner().arm(FaultPlan::new(Fault::ShortWrite, 0, Repeat::Once));
    assert_eq!(file.write_at(b"abcdef", 0).unwrap(), 3);
    file.write_at(b"ghi", 6).unwrap();
    assert_eq!(rules(&dir), [Rule::HoleLeft], "the missing half was never written");
}

#[test]
fn removing_the_lock_file_is_noticed() {
    let dir = traced();
    drop(dir.lock().unwrap());
    dir.remove(FileName::Lock).unwrap();
    assert_eq!(rules(&dir), [Rule::LockRemoved]);
}

#[test]
fn a_manifest_over_a_file_without_a_durable_name_is_noticed_on_request() {
    for (dir, expected) in [(traced(), vec![]), (traced().checking_names(), vec![Rule::NameNotDurable])] {
        durable(&dir, temp(1));
        let file = dir.create(row(1)).unwrap();
        file.sync().unwrap();
        dir.publish(temp(1), FileName::Manifest(1)).unwrap();
        assert_eq!(rules(&dir), expected);
    }
}

#[test]
fn equal_histories_have_equal_hashes_and_others_do_not() {
    let run = |seed, bytes: &[u8], extra: bool| {
        let dir = TraceDir::new(MemDir::new(seed));
        let number = dir.nonce().unwrap();
        let file = dir.create(row(number)).unwrap();
        file.write_at(bytes, 0).unwrap();
        if extra {
            file.sync().unwrap();
        }
        dir.open(row(0)).map(|_| ()).unwrap_err();
        dir.trace_hash()
    };
    let base = run(1, b"abc", false);
    assert_eq!(base, run(1, b"abc", false));
    for other in [run(2, b"abc", false), run(1, b"abd", false), run(1, b"abc", true)] {
        assert_ne!(base, other);
    }
}
