use super::super::mem_file::MAP_ALIGN;
use super::*;
use crate::storage::testing::{CrashOptions, HoleFill};
use crate::storage::{FileId, FileKind};

fn row(number: u64) -> FileName {
    FileName::File(FileKind::Row, FileId { number, epoch: 7 })
}

fn temp(number: u64) -> FileName {
    FileName::File(FileKind::Temp, FileId { number, epoch: 7 })
}

fn write(dir: &MemDir, name: FileName, bytes: &[u8]) -> Arc<dyn StorageFile> {
    let file = dir.create(name).unwrap();
    assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
    file
}

fn durable(dir: &MemDir, name: FileName, bytes: &[u8]) -> Arc<dyn StorageFile> {
    let file = write(dir, name, bytes);
    file.sync().unwrap();
    dir.sync_dir().unwrap();
    file
}

/// The state if nothing of what is pending survives.
fn lost_all(dir: &MemDir) -> MemDir {
    dir.crash_set(&CrashOptions::default()).build(0)
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().expect("must be refused").kind()
}

#[test]
fn names_and_bytes_are_durable_separately() {
    let dir = MemDir::new(1);
    let file = write(&dir, row(1), b"abc");
    assert_eq!(lost_all(&dir).file_bytes(row(1)), None, "neither");
    file.sync().unwrap();
    assert_eq!(lost_all(&dir).file_bytes(row(1)), None, "bytes only");
    dir.sync_dir().unwrap();
    assert_eq!(lost_all(&dir).file_bytes(row(1)).unwrap(), b"abc");
    file.write_at(b"def", 3).unwrap();
    assert_eq!(lost_all(&dir).file_bytes(row(1)).unwrap(), b"abc", "a later write needs its own sync");
    write(&dir, row(2), b"xyz");
    dir.sync_dir().unwrap();
    assert_eq!(lost_all(&dir).file_bytes(row(2)).unwrap(), b"", "name only");
}

#[test]
fn a_publication_is_lost_or_whole_until_the_directory_is_synced() {
    let dir = MemDir::new(1);
    durable(&dir, temp(1), b"body");
    dir.publish(temp(1), FileName::Manifest(1)).unwrap();
    let images: Vec<MemDir> = dir.crash_images(&CrashOptions::default()).collect();
    let names: Vec<_> = images.iter().map(MemDir::names).collect();
    assert_eq!(names, [vec![temp(1)], vec![FileName::Manifest(1)]]);
    dir.sync_dir().unwrap();
    assert_eq!(lost_all(&dir).names(), [FileName::Manifest(1)]);
}

#[test]
fn the_directory_calls_refuse_what_a_real_one_refuses() {
    let dir = MemDir::new(1);
    durable(&dir, temp(1), b"one");
    durable(&dir, temp(2), b"two");
    assert_eq!(kind(dir.create(temp(1))), io::ErrorKind::AlreadyExists);
    dir.publish(temp(1), FileName::Manifest(1)).unwrap();
    assert_eq!(kind(dir.publish(temp(2), FileName::Manifest(1))), io::ErrorKind::AlreadyExists);
    assert_eq!(dir.file_bytes(FileName::Manifest(1)).unwrap(), b"one");
    assert_eq!(kind(dir.publish(temp(1), FileName::Manifest(2))), io::ErrorKind::NotFound);
    assert_eq!(kind(dir.open(row(9))), io::ErrorKind::NotFound);
    assert_eq!(kind(dir.remove(row(9))), io::ErrorKind::NotFound);
    dir.put_special(row(3));
    assert_eq!(kind(dir.open(row(3))), io::ErrorKind::InvalidInput);
    assert_eq!(kind(dir.create(row(3))), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(dir.publish(row(3), row(4))), io::ErrorKind::InvalidInput);
    dir.put_special(FileName::Lock);
    assert_eq!(kind(dir.lock().map(|_| ())), io::ErrorKind::InvalidInput);
}

#[test]
fn finished_files_refuse_writes_and_unfinished_ones_maps() {
    let dir = MemDir::new(1);
    let file = durable(&dir, row(1), b"abc");
    assert_eq!(kind(file.map().map(|_| ())), io::ErrorKind::InvalidInput);
    file.seal().unwrap();
    assert_eq!(file.map().unwrap().bytes(), b"abc");
    assert_eq!(kind(file.write_at(b"x", 0)), io::ErrorKind::PermissionDenied);
    assert_eq!(kind(dir.open(row(1)).unwrap().truncate(0)), io::ErrorKind::PermissionDenied);
    let published = durable(&dir, temp(1), b"body");
    dir.publish(temp(1), FileName::Manifest(1)).unwrap();
    assert_eq!(kind(published.write_at(b"x", 0)), io::ErrorKind::PermissionDenied);
}

#[test]
fn maps_are_aligned_and_outlive_the_file() {
    let dir = MemDir::new(1);
    for len in [0usize, 1, 511, 4096, 100_000] {
        let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
        durable(&dir, row(len as u64), &bytes);
        let view = dir.open(row(len as u64)).unwrap().map().unwrap();
        dir.remove(row(len as u64)).unwrap();
        dir.sync_dir().unwrap();
        assert!(view.bytes() == bytes);
        assert_eq!(view.bytes().as_ptr().align_offset(MAP_ALIGN), 0);
    }
}

#[test]
fn a_removed_file_stays_readable_through_its_handle_and_is_forgotten_after_it() {
    let dir = MemDir::new(1);
    durable(&dir, row(1), b"abc");
    let file = dir.open(row(1)).unwrap();
    dir.remove(row(1)).unwrap();
    dir.sync_dir().unwrap();
    let mut buf = [0u8; 4];
    assert_eq!(file.read_at(&mut buf, 1).unwrap(), 2);
    assert_eq!(&buf[..2], b"bc");
    drop(file);
    dir.sync_dir().unwrap();
    assert!(dir.shared.disk.lock().inodes.is_empty());
}

#[test]
fn a_failed_sync_lies_as_kernels_do() {
    let dir = MemDir::new(1);
    let file = durable(&dir, row(1), b"old.");
    file.write_at(b"new bytes", 4).unwrap();
    dir.fail_next_sync();
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5), "first sync: EIO");
    assert!(file.sync().is_ok(), "second sync: Ok");
    let mut buf = [0u8; 16];
    assert_eq!(file.read_at(&mut buf, 4).unwrap(), 9);
    assert_eq!(&buf[..9], b"new bytes", "read before eviction");
    assert_eq!(dir.process_crash().file_bytes(row(1)).unwrap(), b"old.new bytes", "fresh open before eviction");
    dir.evict();
    assert_eq!(dir.file_bytes(row(1)).unwrap(), b"old.\0\0\0\0\0\0\0\0\0", "read after eviction");
    assert_eq!(lost_all(&dir).file_bytes(row(1)).unwrap(), b"old.\0\0\0\0\0\0\0\0\0", "after power loss");
}

#[test]
fn a_failed_sync_without_a_later_one_may_lose_the_length_too() {
    let dir = MemDir::new(1);
    let file = durable(&dir, row(1), b"old.");
    file.write_at(b"new", 4).unwrap();
    dir.fail_next_sync();
    file.sync().unwrap_err();
    let images: Vec<_> = dir.crash_images(&CrashOptions::default()).map(|d| d.file_bytes(row(1)).unwrap()).collect();
    assert_eq!(images, [b"old.".to_vec(), b"old.\0\0\0".to_vec()]);
}

#[test]
fn what_is_written_after_a_failed_sync_is_kept_by_the_next() {
    let dir = MemDir::new(1);
    let file = durable(&dir, row(1), b"aaaa");
    file.write_at(b"bb", 0).unwrap();
    dir.fail_next_sync();
    file.sync().unwrap_err();
    file.write_at(b"cc", 2).unwrap();
    file.sync().unwrap();
    assert_eq!(dir.file_bytes(row(1)).unwrap(), b"bbcc");
    assert_eq!(lost_all(&dir).file_bytes(row(1)).unwrap(), b"aacc");
}

#[test]
fn a_failed_directory_sync_loses_the_name_for_good() {
    let dir = MemDir::new(1);
    write(&dir, row(1), b"abc").sync().unwrap();
    dir.fail_next_sync();
    dir.sync_dir().unwrap_err();
    dir.sync_dir().unwrap();
    assert_eq!(dir.names(), [row(1)]);
    assert!(lost_all(&dir).names().is_empty());
    dir.evict();
    assert!(dir.names().is_empty());
}

#[test]
fn a_lie_is_told_to_the_thread_that_asked_for_it() {
    let dir = MemDir::new(1);
    let file = durable(&dir, row(1), b"abc");
    dir.fail_next_sync();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(file.sync().is_ok() && dir.sync_dir().is_ok()));
    });
    assert!(file.sync().is_err());
}

#[test]
fn eviction_changes_nothing_where_no_sync_failed() {
    let dir = MemDir::new(1);
    let file = durable(&dir, row(1), b"abc");
    file.write_at(&[7; 2000], 100).unwrap();
    file.truncate(1500).unwrap();
    write(&dir, row(2), b"pending");
    dir.remove(row(1)).unwrap();
    let before = (dir.image_hash(), dir.pending_units());
    dir.evict();
    assert_eq!((dir.image_hash(), dir.pending_units()), before);
}

#[test]
fn a_full_disk_takes_what_fits_then_refuses_until_room_is_made() {
    let dir = MemDir::new(1);
    durable(&dir, row(1), &[1; 1000]);
    dir.set_free_bytes(Some(300));
    assert_eq!(dir.free_bytes().unwrap(), 300);
    let file = dir.create(row(2)).unwrap();
    assert_eq!(file.write_at(&[2; 500], 0).unwrap(), 300, "a short write takes the rest");
    assert_eq!(kind(file.write_at(&[2; 200], 300)), io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(&[3; 300], 0).unwrap(), 300, "overwriting needs no room");
    assert_eq!(kind(dir.create(row(3))), io::ErrorKind::StorageFull);
    assert_eq!(kind(file.truncate(301)), io::ErrorKind::StorageFull);
    dir.remove(row(1)).unwrap();
    assert_eq!(file.write_at(&[2; 200], 300).unwrap(), 200);
    dir.set_free_bytes(None);
    assert!(dir.create(row(3)).is_ok());
}

#[test]
fn reserved_room_is_there_when_the_disk_is_full() {
    let dir = MemDir::new(1);
    let file = dir.create(row(1)).unwrap();
    dir.set_free_bytes(Some(1000));
    file.reserve(0, 1000).unwrap();
    assert_eq!(file.len().unwrap(), 0);
    assert_eq!(kind(dir.create(row(2))), io::ErrorKind::StorageFull);
    assert_eq!(kind(file.reserve(0, 1001)), io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(&[1; 1000], 0).unwrap(), 1000);
    assert_eq!(kind(file.write_at(b"x", 1000)), io::ErrorKind::StorageFull);
}

#[test]
fn limits_make_reads_and_writes_short() {
    let dir = MemDir::new(1);
    dir.set_write_limit(Some(3));
    let file = dir.create(row(1)).unwrap();
    assert_eq!(file.write_at(b"abcdef", 0).unwrap(), 3);
    assert_eq!(file.write_at(b"def", 3).unwrap(), 3);
    dir.set_read_limit(Some(4));
    let mut buf = [0u8; 6];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 4);
    assert_eq!(&buf, b"abcd\0\0");
}

#[test]
fn an_unreadable_range_fails_the_reads_that_touch_it() {
    let dir = MemDir::new(1);
    durable(&dir, row(1), &[5; 2000]);
    dir.set_unreadable(row(1), 512..1024);
    let file = dir.open(row(1)).unwrap();
    let mut buf = [0u8; 512];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 512);
    assert_eq!(file.read_at(&mut buf, 1).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(file.read_at(&mut buf, 1024).unwrap(), 512);
    assert_eq!(file.map().map(|_| ()).unwrap_err().raw_os_error(), Some(5));
}

#[test]
fn damage_is_durable_and_exactly_where_it_was_asked_for() {
    let dir = MemDir::new(1);
    durable(&dir, row(1), &[0; 1024]);
    assert!(dir.flip_bit(row(1), 8 * 700 + 3));
    assert!(!dir.flip_bit(row(1), 8 * 1024));
    let bytes = lost_all(&dir).file_bytes(row(1)).unwrap();
    assert_eq!(bytes[700], 8);
    assert_eq!(bytes.iter().filter(|b| **b != 0).count(), 1);
    durable(&dir, row(2), &[9; 1024]);
    assert!(dir.swap_ranges((row(1), 512), (row(2), 0), 512));
    assert_eq!(dir.file_bytes(row(1)).unwrap()[512..], [9; 512]);
    assert_eq!(dir.file_bytes(row(2)).unwrap()[188], 8);
    assert!(!dir.swap_ranges((row(1), 1000), (row(2), 0), 512));
    assert!(dir.corrupt(row(1), |bytes| bytes.truncate(10)) && !dir.corrupt(row(3), |_| ()));
    assert_eq!(dir.open(row(1)).unwrap().len().unwrap(), 10);
}

#[test]
fn a_stale_sector_shows_what_was_there_before_the_last_sync() {
    let dir = MemDir::new(1);
    let file = durable(&dir, row(1), &[1; 1536]);
    file.write_at(&[2; 600], 500).unwrap();
    file.sync().unwrap();
    assert!(dir.stale_sector(row(1), 1));
    let bytes = dir.file_bytes(row(1)).unwrap();
    assert_eq!(bytes[500..512], [2; 12]);
    assert_eq!(bytes[512..1024], [1; 512]);
    assert_eq!(bytes[1024..1100], [2; 76]);
    assert!(!dir.stale_sector(row(1), 9));
}

#[test]
fn recycled_blocks_show_an_older_file_of_the_same_kind() {
    let dir = MemDir::new(1);
    durable(&dir, row(1), &[8; 700]);
    durable(&dir, FileName::File(FileKind::Wal, FileId::default()), &[9; 700]);
    dir.remove(row(1)).unwrap();
    dir.remove(FileName::File(FileKind::Wal, FileId::default())).unwrap();
    let file = durable(&dir, row(2), &[]);
    file.write_at(&[1; 600], 0).unwrap();
    let found = |fill| -> Vec<Vec<u8>> {
        let options = CrashOptions { fill, ..CrashOptions::default() };
        dir.crash_images(&options).map(|image| image.file_bytes(row(2)).unwrap()).collect()
    };
    let old_row = vec![8; 600];
    assert!(found(HoleFill::Stale).contains(&old_row) && !found(HoleFill::Zeros).contains(&old_row));
    assert!(found(HoleFill::Zeros).contains(&vec![0; 600]));
    assert!(found(HoleFill::Noise(3)).iter().any(|bytes| bytes.len() == 600 && !old_row.contains(&bytes[5])));
}

#[test]
fn the_second_writer_is_refused_until_the_first_is_gone() {
    let dir = MemDir::new(1);
    let held = dir.lock().unwrap();
    let LockOutcome::Busy { holder_pid } = dir.lock().unwrap() else { panic!("two writers") };
    assert_eq!(holder_pid, Some(std::process::id()));
    assert!(matches!(dir.process_crash().lock().unwrap(), LockOutcome::Held(_)), "the lock ends with the process");
    drop(held);
    assert!(matches!(dir.lock().unwrap(), LockOutcome::Held(_)));
    assert_eq!(dir.list().unwrap().len(), 1, "the lock file stays");
}

#[test]
fn forks_are_independent() {
    let dir = MemDir::new(1);
    let file = durable(&dir, row(1), b"abc");
    let fork = dir.fork();
    file.write_at(b"x", 0).unwrap();
    fork.remove(row(1)).unwrap();
    assert_eq!(dir.file_bytes(row(1)).unwrap(), b"xbc");
    assert!(fork.names().is_empty());
    assert_ne!(dir.image_hash(), fork.image_hash());
}

#[test]
fn nonces_follow_from_the_seed_and_never_repeat() {
    let draw = |seed| -> Vec<u64> {
        let dir = MemDir::new(seed);
        (0..100).map(|_| dir.nonce().unwrap()).collect()
    };
    assert_eq!(draw(5), draw(5));
    assert_ne!(draw(5), draw(6));
    let dir = MemDir::new(5);
    let mut all: Vec<u64> = (0..100).map(|_| dir.nonce().unwrap()).collect();
    let after_crash = lost_all(&dir);
    all.extend((0..100).map(|_| after_crash.nonce().unwrap()));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 200, "a crash does not bring old numbers back");
}

#[test]
fn the_hook_sees_the_disk_on_both_sides_of_each_change() {
    let dir = MemDir::new(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = seen.clone();
    dir.on_call(move |point| {
        record.lock().push((point.index, point.phase, point.call.op, point.dir.file_bytes(row(1))));
    });
    let file = dir.create(row(1)).unwrap();
    file.write_at(b"abc", 0).unwrap();
    file.len().unwrap();
    dir.clear_hook();
    file.sync().unwrap();
    let expected = [
        (1, Phase::Before, Op::Create, None),
        (1, Phase::After, Op::Create, Some(vec![])),
        (2, Phase::Before, Op::WriteAt, Some(vec![])),
        (2, Phase::After, Op::WriteAt, Some(b"abc".to_vec())),
    ];
    assert_eq!(*seen.lock(), expected);
    assert_eq!(dir.calls(), 3);
}

#[test]
fn foreign_files_are_listed_and_survive_a_crash() {
    let dir = MemDir::new(1);
    dir.put_foreign("notes.txt", 12);
    dir.put_raw(row(1), b"abc".to_vec());
    dir.put_special(row(2));
    let listed: Vec<_> = lost_all(&dir).list().unwrap().into_iter().map(|e| (e.name, e.entry, e.len)).collect();
    let expected =
        [(Some(row(1)), EntryKind::File, 3), (Some(row(2)), EntryKind::Other, 0), (None, EntryKind::File, 12)];
    assert_eq!(listed, expected);
    assert!(dir.remove_raw(row(1)) && !dir.remove_raw(row(1)));
}

#[test]
fn a_stray_offset_is_refused_rather_than_filled() {
    let dir = MemDir::new(1);
    let file = dir.create(row(1)).unwrap();
    assert_eq!(kind(file.write_at(b"x", u64::MAX - 3)), io::ErrorKind::FileTooLarge);
    assert_eq!(kind(file.truncate(1 << 40)), io::ErrorKind::FileTooLarge);
    assert_eq!(file.read_at(&mut [0; 4], u64::MAX).unwrap(), 0);
}
