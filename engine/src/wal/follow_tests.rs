//! A log that is read while it is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Tail;
use super::tests::{COLLECTION, create, frame, frame_with, id, name, sample};
use crate::error::{ErrorKind, Result};
use crate::format::log::LOG_HEADER_BYTES;
use crate::storage::testing::MemDir;
use crate::storage::{FileKind, FileName};

fn open(dir: &MemDir) -> Tail {
    Tail::open(dir, id(1), COLLECTION, 1).unwrap()
}

/// A log with batches 1..=4 whose records are of one length, and where each begins; last its end.
fn four(dir: &MemDir) -> [usize; 5] {
    let end = *sample(dir).last().unwrap() as usize;
    let header = LOG_HEADER_BYTES as usize;
    [0, 1, 2, 3, 4].map(|n| header + (end - header) / 4 * n)
}

/// Sequence numbers that are new.
fn read(tail: &mut Tail) -> Result<Vec<u64>> {
    let mut seqs = Vec::new();
    tail.read(&mut |_, seq, _| {
        seqs.push(seq);
        Ok(())
    })?;
    Ok(seqs)
}

#[test]
fn a_reader_goes_on_where_it_was_and_finds_the_next_log() {
    let dir = MemDir::new(1);
    let mut wal = create(&dir, 1, 1);
    let mut tail = open(&dir);
    assert_eq!(read(&mut tail).unwrap(), []);
    for group in [1..4u64, 4..5, 5..9] {
        let seqs: Vec<u64> = group.collect();
        wal.append(&mut seqs.iter().map(|seq| frame(*seq)).collect::<Vec<_>>()).unwrap();
        assert_eq!(read(&mut tail).unwrap(), seqs);
        assert_eq!(read(&mut tail).unwrap(), []);
        assert!(!tail.is_void().unwrap());
    }
    wal.sync().unwrap();
    wal.seal().unwrap();
    assert_eq!((read(&mut tail).unwrap(), tail.next_log(), tail.next_seq()), (vec![], None, 9));
    wal.finish(id(2)).unwrap();
    assert_eq!((read(&mut tail).unwrap(), tail.next_log()), (vec![], Some(id(2))));
    assert_eq!((tail.bytes(), tail.first_seq()), (wal.len(), 1));
}

// [C10] [WAL-12] At every call of the append, and at every length that a write can have reached.
#[test]
fn a_group_is_read_whole_or_not_at_all() {
    let dir = MemDir::new(2);
    let mut wal = create(&dir, 1, 1);
    wal.append(&mut [frame(1)]).unwrap();
    dir.set_write_limit(Some(24));
    let looks = Arc::<AtomicU64>::default();
    let seen = looks.clone();
    dir.on_call(move |point| {
        let seqs = read(&mut open(&point.dir)).unwrap();
        assert!(seqs == [1] || seqs == [1, 2, 3, 4], "{seqs:?} at call {}", point.index);
        seen.fetch_add(1, Ordering::Relaxed);
    });
    wal.append(&mut [frame(2), frame(3), frame(4)]).unwrap();
    dir.clear_hook();
    assert_eq!(read(&mut open(&dir)).unwrap(), [1, 2, 3, 4]);
    assert!(looks.load(Ordering::Relaxed) > 10);
}

// [C10] [C4] [WAL-12]
#[test]
fn a_group_whose_write_fails_is_never_read() {
    let dir = MemDir::new(3);
    let mut wal = create(&dir, 1, 1);
    wal.append(&mut [frame(1)]).unwrap();
    let mut tail = open(&dir);
    dir.on_call(|point| assert_eq!(read(&mut open(&point.dir)).unwrap(), [1]));
    dir.set_free_bytes(Some(0));
    let failure = wal.append(&mut [frame(2), frame_with(3, &[7; 60_000]), frame_with(4, &[7; 60_000])]).unwrap_err();
    assert!(failure.undone);
    dir.clear_hook();
    dir.set_free_bytes(None);
    assert_eq!(read(&mut tail).unwrap(), [1]);
    wal.append(&mut [frame(2)]).unwrap();
    assert_eq!(read(&mut tail).unwrap(), [2]);
}

#[test]
fn half_a_record_is_waited_for_and_a_log_that_gets_shorter_is_read_to_its_end() {
    let dir = MemDir::new(4);
    let begins = four(&dir);
    let whole = dir.file_bytes(name(1)).unwrap();
    for len in 128..=whole.len() {
        let cut = dir.fork();
        cut.corrupt(name(1), |bytes| bytes.truncate(len));
        let mut tail = open(&cut);
        let first = read(&mut tail).unwrap();
        assert_eq!(first.len(), begins.iter().filter(|begin| **begin <= len).count() - 1, "{len}");
        // What is there is cut off and written again, more this time.
        cut.corrupt(name(1), |bytes| bytes.truncate(tail.bytes() as usize));
        assert_eq!(read(&mut tail).unwrap(), []);
        cut.corrupt(name(1), |bytes| bytes.clone_from(&whole));
        assert_eq!([first, read(&mut tail).unwrap()].concat(), [1, 2, 3, 4]);
    }
}

// [WAL-14]
#[test]
fn a_record_that_was_read_and_is_gone_makes_the_place_void() {
    let dir = MemDir::new(5);
    let begins = four(&dir);
    let mut tail = open(&dir);
    read(&mut tail).unwrap();
    let other = dir.fork();
    other.corrupt(name(1), |bytes| bytes[begins[3]] ^= 1);
    let mut again = open(&other);
    assert_eq!(read(&mut again).unwrap(), [1, 2, 3]);
    dir.corrupt(name(1), |bytes| bytes[begins[3]] ^= 1);
    assert!(tail.is_void().unwrap() && !again.is_void().unwrap());
    dir.corrupt(name(1), |bytes| bytes.truncate(begins[3]));
    assert!(tail.is_void().unwrap());
}

// [C14] [WAL-13]
#[test]
fn damage_is_told_from_a_write_on_its_way() {
    let dir = MemDir::new(6);
    let begins = four(&dir);
    let mut tail = open(&dir);
    dir.corrupt(name(1), |bytes| bytes[begins[1] + 40] ^= 1);
    assert_eq!(read(&mut tail).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(tail.next_seq(), 2);
    // The same byte, wrong only until it is looked at again.
    let mut tail = open(&dir);
    let _ = read(&mut tail);
    dir.corrupt(name(1), |bytes| bytes[begins[1] + 40] ^= 1);
    assert_eq!(read(&mut tail).unwrap(), [2, 3, 4]);
}

#[test]
fn a_log_that_is_not_the_one_named_is_refused() {
    let dir = MemDir::new(7);
    sample(&dir);
    let kind = |result: Result<Tail>| result.err().map(|error| error.kind());
    assert_eq!(kind(Tail::open(&dir, id(2), COLLECTION, 1)), Some(ErrorKind::Corrupt));
    assert_eq!(kind(Tail::open(&dir, id(1), COLLECTION, 2)), Some(ErrorKind::Corrupt));
    assert_eq!(kind(Tail::open(&dir, id(1), COLLECTION + 1, 1)), Some(ErrorKind::Corrupt));
    dir.put_special(FileName::File(FileKind::Wal, id(3)));
    assert_eq!(kind(Tail::open(&dir, id(3), COLLECTION, 1)), Some(ErrorKind::Corrupt));
}
