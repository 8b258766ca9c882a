use super::*;
use crate::storage::FileId;

fn row(number: u64) -> FileName {
    FileName::File(FileKind::Row, FileId { number, epoch: 7 })
}

fn wal(number: u64) -> FileName {
    FileName::File(FileKind::Wal, FileId { number, epoch: 7 })
}

fn armed(plan: FaultPlan) -> (MemDir, FaultDir<MemDir>) {
    let mem = MemDir::new(1);
    let dir = FaultDir::with_disk(mem.clone(), &mem);
    dir.arm(plan);
    (mem, dir)
}

fn os_error<T>(result: io::Result<T>) -> Option<i32> {
    result.err().expect("must fail").raw_os_error()
}

fn code(errno: Errno) -> Option<i32> {
    Some(errno.raw_os_error())
}

#[test]
fn only_the_call_that_is_due_fails() {
    let (_mem, dir) = armed(FaultPlan::new(Fault::Io, 1, Repeat::Once).on(&[Op::Create]));
    assert!(dir.create(row(1)).is_ok());
    assert_eq!(os_error(dir.create(row(2))), code(Errno::IO));
    assert!(dir.create(row(3)).is_ok());
    assert_eq!((dir.matched(), dir.fired(), dir.count(Op::Create)), (3, 1, 3));
    assert_eq!(dir.failed_calls(), [Call::file(Op::Create, row(2))]);
    assert_eq!(dir.inner().names(), [row(1), row(3)]);
}

#[test]
fn a_lasting_fault_fails_every_later_call_until_disarmed() {
    let (_mem, dir) = armed(FaultPlan::new(Fault::NoSpace, 1, Repeat::Forever).of(&[FileKind::Row]));
    assert!(dir.create(row(1)).is_ok());
    assert_eq!(os_error(dir.create(row(2))), code(Errno::NOSPC));
    assert_eq!(os_error(dir.create(row(3))), code(Errno::NOSPC));
    assert!(dir.create(wal(1)).is_ok(), "another kind of file");
    assert!(dir.sync_dir().is_ok(), "the directory is no file of that kind");
    dir.disarm();
    assert!(dir.create(row(4)).is_ok());
    assert_eq!(dir.fired(), 2);
}

#[test]
fn short_calls_have_a_real_partial_effect() {
    let (mem, dir) = armed(FaultPlan::new(Fault::ShortWrite, 0, Repeat::Once));
    let file = dir.create(row(1)).unwrap();
    assert_eq!(file.write_at(b"x", 0).unwrap(), 1, "one byte cannot be written short and is not counted");
    assert_eq!(file.write_at(b"abcdef", 0).unwrap(), 3);
    assert_eq!(mem.file_bytes(row(1)).unwrap(), b"abc");
    assert_eq!(file.write_at(b"def", 3).unwrap(), 3);
    dir.arm(FaultPlan::new(Fault::ShortRead, 0, Repeat::Forever));
    let mut buf = [0u8; 6];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 3);
    assert_eq!(&buf, b"abc\0\0\0");
    assert_eq!(file.read_at(&mut buf[..1], 5).unwrap(), 1);
    assert_eq!(buf[0], b'f');
}

#[test]
fn a_disk_that_fills_up_in_the_middle_takes_half_and_refuses_the_rest() {
    let (mem, dir) = armed(FaultPlan::new(Fault::NoSpaceMidWrite, 0, Repeat::Once));
    let file = dir.create(row(1)).unwrap();
    assert_eq!(file.write_at(b"abcdef", 0).unwrap(), 3);
    assert_eq!(os_error(file.write_at(b"def", 3)), code(Errno::NOSPC));
    assert_eq!(mem.file_bytes(row(1)).unwrap(), b"abc");
    assert_eq!(file.write_at(b"def", 3).unwrap(), 3);
}

#[test]
fn a_failed_write_leaves_half_of_its_bytes() {
    let (mem, dir) = armed(FaultPlan::new(Fault::Io, 0, Repeat::Once).on(&[Op::WriteAt]));
    let file = dir.create(row(1)).unwrap();
    assert_eq!(os_error(file.write_at(b"abcdef", 0)), code(Errno::IO));
    assert_eq!(mem.file_bytes(row(1)).unwrap(), b"abc");
}

#[test]
fn a_call_may_fail_after_its_work_was_done() {
    let (mem, dir) = armed(FaultPlan::new(Fault::IoAfter, 0, Repeat::Forever).on(&[Op::Publish, Op::Sync]));
    let file = dir.create(row(1)).unwrap();
    file.write_at(b"abc", 0).unwrap();
    assert_eq!(os_error(file.sync()), code(Errno::IO));
    assert_eq!(os_error(dir.publish(row(1), FileName::Manifest(1))), code(Errno::IO));
    dir.sync_dir().unwrap();
    assert_eq!(mem.file_bytes(FileName::Manifest(1)).unwrap(), b"abc");
    assert_eq!(mem.pending_units(), 0);
}

#[test]
fn refusals_do_nothing() {
    for (fault, errno) in [(Fault::Interrupted, Errno::INTR), (Fault::AccessDenied, Errno::ACCESS)] {
        let (mem, dir) = armed(FaultPlan::new(fault, 0, Repeat::Forever).on(&[Op::Create, Op::Open, Op::Remove]));
        mem.put_raw(row(1), b"abc".to_vec());
        assert_eq!(os_error(dir.create(row(2))), code(errno));
        assert_eq!(os_error(dir.open(row(1))), code(errno));
        assert_eq!(os_error(dir.remove(row(1))), code(errno));
        assert_eq!(mem.names(), [row(1)]);
    }
}

#[test]
fn a_lying_sync_drops_the_bytes_on_the_disk_below() {
    let (mem, dir) = armed(FaultPlan::new(Fault::LyingSync, 1, Repeat::Once));
    let file = dir.create(row(1)).unwrap();
    dir.sync_dir().unwrap();
    file.write_at(b"abc", 0).unwrap();
    assert_eq!(os_error(file.sync()), code(Errno::IO));
    assert!(file.sync().is_ok());
    assert_eq!(mem.file_bytes(row(1)).unwrap(), b"abc");
    mem.evict();
    assert_eq!(mem.file_bytes(row(1)).unwrap(), [0; 3]);
}

#[test]
fn every_method_can_be_made_to_fail() {
    for op in Op::ALL {
        let (mem, dir) = armed(FaultPlan::new(Fault::Io, 0, Repeat::Forever).on(&[op]));
        mem.put_raw(row(9), b"abc".to_vec());
        let other = MemDir::new(2);
        other.put_raw(row(5), b"xyz".to_vec());
        let run = || -> io::Result<()> {
            let file = dir.create(row(1))?;
            file.reserve(0, 10)?;
            file.write_at(b"abc", 0)?;
            file.truncate(2)?;
            file.sync()?;
            file.seal()?;
            let file = dir.open(row(9))?;
            file.len()?;
            file.read_at(&mut [0; 2], 0)?;
            file.map()?;
            dir.publish(row(1), row(2))?;
            dir.remove(row(2))?;
            dir.link_from(&other, row(5))?;
            dir.list()?;
            dir.lock()?;
            dir.free_bytes()?;
            dir.nonce()?;
            dir.sync_dir()
        };
        assert_eq!(os_error(run()), code(Errno::IO), "{op:?}");
        assert_eq!(dir.fired(), 1, "{op:?}");
        dir.disarm();
        mem.remove_raw(row(1));
        mem.remove_raw(row(2));
        mem.remove_raw(row(5));
        assert!(run().is_ok(), "{op:?}");
    }
}

#[test]
fn it_wraps_any_storage_behind_a_shared_pointer() {
    let mem = MemDir::new(1);
    let below: Arc<dyn Storage> = Arc::new(mem.clone());
    let dir: Arc<dyn Storage> = Arc::new(FaultDir::new(below));
    dir.create(row(1)).unwrap().write_at(b"abc", 0).unwrap();
    assert_eq!(mem.file_bytes(row(1)).unwrap(), b"abc");
    assert_eq!(dir.describe(), mem.describe());
}
