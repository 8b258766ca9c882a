use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::storage::{FileId, FileKind};

fn row(number: u64) -> FileName {
    FileName::File(FileKind::Row, FileId { number, epoch: 7 })
}

fn temp(number: u64) -> FileName {
    FileName::File(FileKind::Temp, FileId { number, epoch: 7 })
}

fn fresh() -> (tempfile::TempDir, RealDir) {
    let outer = tempfile::tempdir().unwrap();
    let dir = RealDir::create(outer.path().join("collection")).unwrap();
    (outer, dir)
}

fn write_file(dir: &RealDir, name: FileName, bytes: &[u8]) {
    let file = dir.create(name).unwrap();
    assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
    file.sync().unwrap();
}

fn read_file(dir: &RealDir, name: FileName) -> Vec<u8> {
    dir.open(name).unwrap().map().unwrap().bytes().to_vec()
}

fn mode(dir: &RealDir, name: FileName) -> u32 {
    std::fs::symlink_metadata(dir.path().join(name.to_string())).unwrap().permissions().mode() & 0o7777
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().expect("must be refused").kind()
}

#[test]
fn create_makes_a_private_directory_and_refuses_a_full_one() {
    let (outer, dir) = fresh();
    let meta = std::fs::metadata(dir.path()).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o700);
    assert!(RealDir::create(dir.path()).is_ok(), "an empty directory is taken");
    std::fs::write(dir.path().join("notes.txt"), b"mine").unwrap();
    assert_eq!(kind(RealDir::create(dir.path())), io::ErrorKind::DirectoryNotEmpty);
    assert_eq!(kind(RealDir::create(outer.path().join("no/where"))), io::ErrorKind::NotFound);
    assert_eq!(kind(RealDir::create(dir.path().join("notes.txt"))), io::ErrorKind::NotADirectory);
    assert_eq!(kind(RealDir::open(outer.path().join("absent"))), io::ErrorKind::NotFound);
}

#[test]
fn a_written_file_is_read_back_by_reads_and_by_maps() {
    let (_outer, dir) = fresh();
    write_file(&dir, row(1), b"hello world");
    let file = dir.open(row(1)).unwrap();
    assert_eq!(file.len().unwrap(), 11);
    let mut buf = [0u8; 16];
    assert_eq!(file.read_at(&mut buf, 6).unwrap(), 5);
    assert_eq!(&buf[..5], b"world");
    assert_eq!(file.read_at(&mut buf, 11).unwrap(), 0);
    assert_eq!(read_file(&dir, row(1)), b"hello world");
    dir.create(row(2)).unwrap();
    assert_eq!(read_file(&dir, row(2)), b"");
    dir.sync_dir().unwrap();
}

#[test]
fn create_refuses_an_existing_name_and_open_an_absent_one() {
    let (_outer, dir) = fresh();
    write_file(&dir, row(1), b"first");
    assert_eq!(kind(dir.create(row(1))), io::ErrorKind::AlreadyExists);
    assert_eq!(read_file(&dir, row(1)), b"first");
    assert_eq!(kind(dir.open(row(2))), io::ErrorKind::NotFound);
    assert_eq!(kind(dir.remove(row(2))), io::ErrorKind::NotFound);
}

#[test]
fn publish_moves_the_name_and_never_replaces() {
    let (_outer, dir) = fresh();
    write_file(&dir, temp(1), b"new");
    write_file(&dir, temp(2), b"late");
    dir.publish(temp(1), FileName::Manifest(1)).unwrap();
    assert_eq!(kind(dir.publish(temp(2), FileName::Manifest(1))), io::ErrorKind::AlreadyExists);
    assert_eq!(read_file(&dir, FileName::Manifest(1)), b"new");
    assert_eq!(kind(dir.open(temp(1))), io::ErrorKind::NotFound);
    assert_eq!(kind(dir.publish(temp(3), FileName::Manifest(3))), io::ErrorKind::NotFound);
}

#[test]
fn publishing_by_link_keeps_the_same_promises() {
    let (_outer, dir) = fresh();
    write_file(&dir, temp(1), b"new");
    write_file(&dir, temp(2), b"late");
    let (first, second, target) = (temp(1).to_string(), temp(2).to_string(), FileName::Manifest(1));
    dir.publish_by_link(&first, &target.to_string()).unwrap();
    assert_eq!(kind(dir.publish_by_link(&second, &target.to_string())), io::ErrorKind::AlreadyExists);
    assert_eq!(read_file(&dir, target), b"new");
    assert_eq!(kind(dir.open(temp(1))), io::ErrorKind::NotFound);
    assert_eq!(read_file(&dir, temp(2)), b"late");
}

#[test]
fn files_are_private_and_read_only_once_finished() {
    let (_outer, dir) = fresh();
    let file = dir.create(row(1)).unwrap();
    assert_eq!(mode(&dir, row(1)), 0o600);
    file.seal().unwrap();
    assert_eq!(mode(&dir, row(1)), 0o400);
    assert_eq!(kind(file.write_at(b"x", 0)), io::ErrorKind::PermissionDenied);
    assert_eq!(kind(file.truncate(0)), io::ErrorKind::PermissionDenied);
    write_file(&dir, temp(1), b"body");
    dir.publish(temp(1), FileName::Manifest(1)).unwrap();
    assert_eq!(mode(&dir, FileName::Manifest(1)), 0o400);
    let opened = dir.open(FileName::Manifest(1)).unwrap();
    assert_eq!(kind(opened.write_at(b"x", 0)), io::ErrorKind::PermissionDenied);
}

#[test]
fn a_file_that_may_still_change_is_not_mapped() {
    let (_outer, dir) = fresh();
    let file = dir.create(row(1)).unwrap();
    file.write_at(b"abc", 0).unwrap();
    assert_eq!(kind(file.map().map(|_| ())), io::ErrorKind::InvalidInput);
    file.seal().unwrap();
    assert_eq!(file.map().unwrap().bytes(), b"abc");
}

#[test]
fn links_fifos_directories_and_sockets_with_our_names_are_refused_at_once() {
    let (outer, dir) = fresh();
    std::fs::write(outer.path().join("target"), b"secret").unwrap();
    let path = |name: FileName| dir.path().join(name.to_string());
    symlink(outer.path().join("target"), path(row(1))).unwrap();
    symlink(outer.path().join("nothing"), path(row(2))).unwrap();
    std::fs::create_dir(path(row(3))).unwrap();
    let fifo = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path(row(4)), FileType::Fifo, fifo, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path(row(5))).unwrap();
    for number in 1..=5 {
        assert_eq!(kind(dir.open(row(number))), io::ErrorKind::InvalidInput, "open of {}", row(number));
        assert_eq!(kind(dir.create(row(number))), io::ErrorKind::AlreadyExists, "create of {}", row(number));
        assert_eq!(kind(dir.publish(row(number), row(100 + number))), io::ErrorKind::InvalidInput);
    }
    symlink(outer.path().join("target"), path(FileName::Lock)).unwrap();
    assert_eq!(kind(dir.lock().map(|_| ())), io::ErrorKind::InvalidInput);
    assert_eq!(std::fs::read(outer.path().join("target")).unwrap(), b"secret");
}

#[test]
fn list_tells_ours_from_foreign_and_files_from_the_rest() {
    let (_outer, dir) = fresh();
    write_file(&dir, row(1), b"12345");
    std::fs::write(dir.path().join("notes.txt"), b"mine").unwrap();
    std::fs::create_dir(dir.path().join(row(2).to_string())).unwrap();
    std::fs::write(dir.path().join(OsStr::from_bytes(b"row-\xff")), b"").unwrap();
    let mut entries = dir.list().unwrap();
    entries.sort_by(|a, b| a.text.cmp(&b.text));
    let seen: Vec<_> = entries.iter().map(|e| (e.name, e.entry, e.len)).collect();
    let expected = [
        (None, EntryKind::File, 4),
        (Some(row(1)), EntryKind::File, 5),
        (Some(row(2)), EntryKind::Other, 0),
        (None, EntryKind::File, 0),
    ];
    assert_eq!(seen, expected);
    assert_eq!(dir.list().unwrap().len(), 4, "a second listing starts from the beginning");
}

#[test]
fn a_second_writer_is_refused_with_the_first_ones_process_id() {
    let (_outer, dir) = fresh();
    let held = dir.lock().unwrap();
    assert!(matches!(held, LockOutcome::Held(_)));
    let again = RealDir::open(dir.path()).unwrap();
    for other in [&dir, &again] {
        let LockOutcome::Busy { holder_pid } = other.lock().unwrap() else { panic!("two writers") };
        assert_eq!(holder_pid, Some(std::process::id()));
    }
    drop(held);
    assert!(matches!(again.lock().unwrap(), LockOutcome::Held(_)));
    assert!(dir.list().unwrap().iter().any(|e| e.name == Some(FileName::Lock)), "the lock file stays");
}

#[test]
fn a_lock_file_shared_with_another_name_is_locked_but_not_written() {
    let (outer, dir) = fresh();
    let victim = outer.path().join("victim");
    std::fs::write(&victim, b"precious").unwrap();
    std::fs::hard_link(&victim, dir.path().join("LOCK")).unwrap();
    assert!(matches!(dir.lock().unwrap(), LockOutcome::Held(_)));
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn a_removed_file_stays_readable_through_handle_and_map() {
    let (_outer, dir) = fresh();
    write_file(&dir, row(1), b"still here");
    let file = dir.open(row(1)).unwrap();
    let view = file.map().unwrap();
    dir.remove(row(1)).unwrap();
    let mut buf = [0u8; 5];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 5);
    assert_eq!(&buf, b"still");
    assert_eq!(view.bytes(), b"still here");
}

#[test]
fn reserve_keeps_the_length_and_truncate_sets_it() {
    let (_outer, dir) = fresh();
    let file = dir.create(row(1)).unwrap();
    file.reserve(0, 1 << 20).unwrap();
    file.reserve(0, 0).unwrap();
    assert_eq!(file.len().unwrap(), 0);
    file.write_at(b"abc", 0).unwrap();
    file.truncate(5).unwrap();
    let mut buf = [9u8; 8];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 5);
    assert_eq!(&buf[..5], b"abc\0\0");
    file.truncate(1).unwrap();
    assert_eq!(file.len().unwrap(), 1);
}

#[test]
fn nonces_differ_and_room_is_reported() {
    let (_outer, dir) = fresh();
    let drawn: std::collections::HashSet<u64> = (0..1000).map(|_| dir.nonce().unwrap()).collect();
    assert_eq!(drawn.len(), 1000);
    let fallback: std::collections::HashSet<u64> = (0..1000).map(|_| seeded_nonce()).collect();
    assert_eq!(fallback.len(), 1000);
    assert!(dir.free_bytes().unwrap() > 0);
    assert!(dir.describe().ends_with("collection"));
}

#[test]
fn a_renamed_directory_goes_on_working() {
    let (outer, dir) = fresh();
    std::fs::rename(dir.path(), outer.path().join("moved")).unwrap();
    write_file(&dir, row(1), b"abc");
    assert!(outer.path().join("moved").join(row(1).to_string()).exists());
}
