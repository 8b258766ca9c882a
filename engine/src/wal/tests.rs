//! Logs on a simulated disk: what replay finds after every cut, flip and torn write.

use super::*;
use crate::error::ErrorKind;
use crate::format::batch::BatchEncoder;
use crate::format::log::{LOG_HEADER_BYTES, RECORD_HEADER_BYTES};
use crate::storage::testing::{CrashOptions, MemDir};
use crate::storage::{FileId, FileKind, FileName};
use crate::{IdKind, Metric, Schema};

pub(super) const COLLECTION: u128 = 0xC0FFEE;

pub(super) fn id(number: u64) -> FileId {
    FileId { number, epoch: 5 }
}

pub(super) fn name(number: u64) -> FileName {
    FileName::File(FileKind::Wal, id(number))
}

pub(super) fn create(dir: &MemDir, number: u64, first_seq: u64) -> WalWriter {
    let head = WalHead { collection: COLLECTION, epoch: 5, predecessor: None, first_seq, first_row: first_seq - 1 };
    WalWriter::create(dir, id(number), head).unwrap()
}

pub(super) fn frame(seq: u64) -> (u64, Frame) {
    frame_with(seq, b"")
}

pub(super) fn frame_with(seq: u64, payload: &[u8]) -> (u64, Frame) {
    let schema = Schema::new(2, Metric::L2).ids(IdKind::U64);
    let mut encoder = BatchEncoder::new(&schema, Vec::new(), 0);
    encoder.put(seq.into(), &(seq as f64).to_le_bytes(), 0.0, b"", payload).unwrap();
    (seq, encoder.finish(seq - 1, &[]).unwrap())
}

/// Sequence numbers read back, and bytes dropped.
pub(super) fn read(dir: &MemDir, first: u64) -> crate::Result<(Vec<u64>, u64)> {
    let mut seqs = Vec::new();
    let chain = replay_chain(dir, id(first), COLLECTION, 1, &mut |_, seq, _| {
        seqs.push(seq);
        Ok(())
    })?;
    Ok((seqs, chain.iter().map(|replay| replay.dropped).sum()))
}

/// A log with batches 1..=4: 1 and 2 in one group, then each synced; the last group is batch 4.
pub(super) fn sample(dir: &MemDir) -> Vec<u64> {
    let mut wal = create(dir, 1, 1);
    let mut ends = vec![wal.len()];
    for group in [vec![1, 2], vec![3], vec![4]] {
        let mut frames: Vec<_> = group.into_iter().map(frame).collect();
        wal.append(&mut frames).unwrap();
        wal.sync().unwrap();
        ends.push(wal.len());
    }
    ends
}

#[test]
fn batches_come_back_in_order_across_three_logs() {
    let dir = MemDir::new(1);
    let mut first = create(&dir, 1, 1);
    first.append(&mut [frame(1), frame(2)]).unwrap();
    let mut second = create(&dir, 2, 3);
    first.finish(id(2)).unwrap();
    second.append(&mut [frame(3)]).unwrap();
    second.seal().unwrap();
    second.append(&mut [frame(4)]).unwrap();
    let mut third = create(&dir, 3, 5);
    second.finish(id(3)).unwrap();
    third.append(&mut [frame(5)]).unwrap();
    third.sync().unwrap();
    assert_eq!(read(&dir, 1).unwrap(), (vec![1, 2, 3, 4, 5], 0));
    // Without any one of them, acknowledged batches are missing: damage, not an end.
    for number in [1, 2, 3] {
        let copy = dir.fork();
        copy.remove_raw(name(number));
        assert_eq!(read(&copy, 1).unwrap_err().kind(), ErrorKind::Corrupt, "log {number} removed");
    }
}

// [C15] a cut tail is dropped and counted; a cut into what was durable is never taken for one.
#[test]
fn every_cut_of_a_log_leaves_a_prefix() {
    let dir = MemDir::new(2);
    let ends = sample(&dir);
    let whole = dir.file_bytes(name(1)).unwrap();
    for len in 0..whole.len() {
        let copy = dir.fork();
        copy.corrupt(name(1), |bytes| bytes.truncate(len));
        match read(&copy, 1) {
            Ok((seqs, dropped)) => {
                assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "cut at {len}");
                assert!(dropped < 200 && len as u64 >= ends[0], "cut at {len}");
            }
            Err(error) => {
                assert!(error.kind() == ErrorKind::Corrupt && (len as u64) < ends[0], "cut at {len}: {error}")
            }
        }
    }
}

// [C14] damage before the durable mark is named; only the last group can look like a torn tail [C15].
#[test]
fn every_flipped_bit_is_damage_or_drops_the_last_group_only() {
    let dir = MemDir::new(3);
    let ends = sample(&dir);
    let last_group = ends[2];
    for bit in 0..dir.file_bytes(name(1)).unwrap().len() as u64 * 8 {
        let copy = dir.fork();
        copy.flip_bit(name(1), bit);
        match read(&copy, 1) {
            Ok((seqs, dropped)) => {
                assert!(bit / 8 >= last_group, "bit {bit} was accepted");
                assert!(seqs == [1, 2, 3] && dropped > 0, "bit {bit}: {seqs:?}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}");
                assert_eq!(error.file(), Some(&*name(1).to_string()));
            }
        }
    }
}

#[test]
fn a_seal_makes_the_last_group_provable() {
    let dir = MemDir::new(4);
    let mut wal = create(&dir, 1, 1);
    wal.append(&mut [frame(1)]).unwrap();
    wal.sync().unwrap();
    wal.seal().unwrap();
    for bit in LOG_HEADER_BYTES * 8..LOG_HEADER_BYTES * 8 + 256 {
        let copy = dir.fork();
        copy.flip_bit(name(1), bit);
        assert_eq!(read(&copy, 1).unwrap_err().kind(), ErrorKind::Corrupt, "bit {bit}");
    }
    assert_eq!(read(&dir, 1).unwrap(), (vec![1], 0));
}

// [C1] [C2] whatever part of the unsynced bytes survives a power cut, what is read is a prefix that holds every synced batch.
#[test]
fn after_every_power_cut_a_prefix_with_all_synced_batches_is_read() {
    let dir = MemDir::new(5);
    let mut wal = create(&dir, 1, 1);
    wal.append(&mut [frame(1), frame(2)]).unwrap();
    wal.sync().unwrap();
    wal.append(&mut [frame(3)]).unwrap();
    wal.append(&mut [frame(4), frame(5)]).unwrap();
    let mut images = 0;
    for image in dir.crash_images(&CrashOptions::default()) {
        let (seqs, _) = read(&image, 1).unwrap();
        assert!(seqs.iter().copied().eq(1..=seqs.len() as u64) && seqs.len() >= 2, "{seqs:?}");
        images += 1;
    }
    assert!(images >= 4, "{images} images");
}

#[test]
fn short_writes_are_continued_and_a_failed_write_is_undone() {
    let dir = MemDir::new(6);
    let mut wal = create(&dir, 1, 1);
    dir.set_write_limit(Some(7));
    wal.append(&mut [frame(1)]).unwrap();
    dir.set_write_limit(None);
    dir.set_free_bytes(Some(0));
    // What was reserved is still there; what goes beyond it is not.
    wal.append(&mut [frame(2)]).unwrap();
    let large = [frame_with(3, &[1; 60_000]), frame_with(4, &[2; 60_000])];
    let failure = wal.append(&mut { large }).unwrap_err();
    assert!(failure.undone && failure.error.kind() == ErrorKind::NoSpace, "{:?}", failure.error);
    dir.set_free_bytes(None);
    wal.append(&mut [frame(3)]).unwrap();
    wal.sync().unwrap();
    assert_eq!(read(&dir, 1).unwrap(), (vec![1, 2, 3], 0));
}

#[test]
fn a_failed_sync_is_marked_as_one_that_must_not_be_tried_again() {
    let dir = MemDir::new(7);
    let mut wal = create(&dir, 1, 1);
    wal.append(&mut [frame(1)]).unwrap();
    dir.fail_next_sync();
    assert!(wal.sync().unwrap_err().is_sync_failure());
}

#[test]
fn a_log_that_nothing_names_is_ignored_unless_it_proves_a_loss() {
    let dir = MemDir::new(8);
    sample(&dir);
    drop(create(&dir, 9, 5));
    assert_eq!(read(&dir, 1).unwrap().0, [1, 2, 3, 4]);
    let mut later = create(&dir, 10, 7);
    later.append(&mut [frame(7)]).unwrap();
    assert_eq!(read(&dir, 1).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn records_of_another_log_or_place_are_not_accepted() {
    let dir = MemDir::new(9);
    let ends = sample(&dir);
    let mut other = create(&dir, 2, 4);
    other.append(&mut [frame(4)]).unwrap();
    let foreign = dir.file_bytes(name(2)).unwrap();
    dir.remove_raw(name(2));
    let copy = dir.fork();
    copy.corrupt(name(1), |bytes| {
        let len = foreign.len() - LOG_HEADER_BYTES as usize;
        bytes.truncate(ends[2] as usize);
        bytes.extend_from_slice(&foreign[LOG_HEADER_BYTES as usize..][..len]);
    });
    assert_eq!(read(&copy, 1).unwrap().0, [1, 2, 3]);
}

#[test]
fn logs_that_name_each_other_in_a_circle_end_in_an_error() {
    let dir = MemDir::new(10);
    let mut wal = create(&dir, 1, 1);
    wal.finish(id(1)).unwrap();
    assert_eq!(read(&dir, 1).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_log_full_of_forged_beginnings_costs_linear_time() {
    let dir = MemDir::new(11);
    sample(&dir);
    dir.corrupt(name(1), |bytes| {
        // Every 32 bytes the beginning of a record that claims the rest of the file.
        for i in 0..4_000usize {
            let mut head = [0u8; 32];
            head[4..8].copy_from_slice(&(((4_000 - i) * 32 - 32) as u32).to_le_bytes());
            head[8] = 9;
            head[28] = 1;
            bytes.extend_from_slice(&head);
        }
    });
    let started = std::time::Instant::now();
    assert_eq!(read(&dir, 1).unwrap(), (vec![1, 2, 3, 4], 4_000 * 32));
    assert!(started.elapsed().as_secs() < 20);
}

/// A payload that is full of beginnings of records, each of which claims `claim` bytes and that the log is durable to `synced_to`.
fn beginnings(claim: u32, synced_to: u64) -> Vec<u8> {
    let mut head = [0u8; RECORD_HEADER_BYTES];
    head[4..8].copy_from_slice(&claim.to_le_bytes());
    head[8] = 9;
    head[16..24].copy_from_slice(&synced_to.to_le_bytes());
    head[28] = 1;
    head.repeat(2_000)
}

/// A log with batch 1 synced and a batch of `rows` such payloads that is not. Where the second batch begins.
fn log_of_beginnings(dir: &MemDir, rows: u64, claim: u32) -> (WalWriter, u64) {
    let mut wal = create(dir, 1, 1);
    wal.append(&mut [frame(1)]).unwrap();
    wal.sync().unwrap();
    let durable = wal.len();
    let schema = Schema::new(2, Metric::L2).ids(IdKind::U64);
    let mut encoder = BatchEncoder::new(&schema, Vec::new(), 0);
    for row in 0..rows {
        encoder.put(row.into(), &[0; 8], 0.0, b"", &beginnings(claim, durable + 8)).unwrap();
    }
    wal.append(&mut [(2, encoder.finish(1, &[]).unwrap())]).unwrap();
    (wal, durable)
}

// [C3] [C11] what a user stores never makes a torn tail look like damage.
#[test]
fn rows_that_look_like_records_do_not_stop_a_recovery() {
    let dir = MemDir::new(12);
    let (_wal, durable) = log_of_beginnings(&dir, 64, 1 << 20);
    // A power cut before the sync: one sector of the batch is lost, the rest is there.
    dir.corrupt(name(1), |bytes| bytes[durable as usize..][..512].fill(0));
    assert_eq!(read(&dir, 1).unwrap().0, [1]);
}

// [C14] nor do they hide damage.
#[test]
fn rows_that_look_like_records_do_not_hide_damage() {
    let dir = MemDir::new(13);
    let (mut wal, durable) = log_of_beginnings(&dir, 64, 1 << 20);
    wal.sync().unwrap();
    wal.append(&mut [frame(3)]).unwrap();
    dir.corrupt(name(1), |bytes| bytes[durable as usize..][..512].fill(0));
    let error = read(&dir, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("was written when this was durable"), "{error}");
}
