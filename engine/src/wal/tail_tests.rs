//! What stands behind the last whole record, and in headers: corner cases, one by one.

use zerocopy::IntoBytes;

use super::tests::{create, frame, id, name, read, sample};
use crate::error::ErrorKind;
use crate::format::checksum::file_seed;
use crate::format::log::{LOG_HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader};
use crate::storage::testing::MemDir;

/// Bytes of a record with a right checksum, as it would stand at the end of log 1, with the payload of batch 5.
fn record(dir: &MemDir, change: impl FnOnce(&mut RecordHeader)) -> Vec<u8> {
    let log = dir.file_bytes(name(1)).unwrap();
    let frame = frame(5).1;
    let mut header = RecordHeader {
        crc: 0.into(),
        payload_len: (frame.payload().len() as u32).into(),
        seq: 5.into(),
        synced_to: LOG_HEADER_BYTES.into(),
        previous_crc: last_crc(&log).into(),
        kind: 1,
        reserved: [0; 3],
    };
    change(&mut header);
    header.crc = header.checksum(file_seed(id(1).to_u128()), log.len() as u64, frame.payload()).into();
    [header.as_bytes(), frame.payload()].concat()
}

/// The checksum of the last record of `sample`, whose records are all of one length.
fn last_crc(log: &[u8]) -> u32 {
    let len = (log.len() - LOG_HEADER_BYTES as usize) / 4;
    u32::from_le_bytes(log[log.len() - len..][..4].try_into().unwrap())
}

fn sample_with(tail: &[u8]) -> MemDir {
    let dir = MemDir::new(20);
    sample(&dir);
    dir.corrupt(name(1), |bytes| bytes.extend_from_slice(tail));
    dir
}

// [WAL-1] [WAL-2] the control: the same record with nothing changed is read.
#[test]
fn a_whole_record_that_is_not_the_next_one_is_not_read() {
    let dir = sample_with(b"");
    let whole = record(&dir, |_| {});
    assert_eq!(read(&sample_with(&whole), 1).unwrap(), (vec![1, 2, 3, 4, 5], 0));
    let changes: [(&str, fn(&mut RecordHeader)); 5] = [
        ("a gap", |header| header.seq = 6.into()),
        ("a repeat", |header| header.seq = 4.into()),
        ("another chain", |header| header.previous_crc = 1.into()),
        ("a reserved byte", |header| header.reserved[1] = 1),
        ("an unknown kind", |header| header.kind = 9),
    ];
    for (what, change) in changes {
        let wrong = record(&dir, change);
        assert_eq!(read(&sample_with(&wrong), 1).unwrap(), (vec![1, 2, 3, 4], wrong.len() as u64), "{what}");
    }
}

// A record cannot have known of durable bytes that did not exist when it was made.
#[test]
fn a_record_that_claims_to_be_durable_itself_is_not_whole() {
    let dir = sample_with(b"");
    let end = dir.file_bytes(name(1)).unwrap().len() as u64;
    let claims = record(&dir, |header| header.synced_to = (end + 8).into());
    assert_eq!(read(&sample_with(&claims), 1).unwrap(), (vec![1, 2, 3, 4], claims.len() as u64));
}

// [WAL-4] room that was given and never written reads as zeros.
#[test]
fn zeros_and_noise_behind_the_end_are_dropped_and_counted() {
    for len in [1, 7, 8, RECORD_HEADER_BYTES - 1, RECORD_HEADER_BYTES, 4096, 65_537] {
        for fill in [0u8, 0xFF, 0x01] {
            let dir = sample_with(&vec![fill; len]);
            assert_eq!(read(&dir, 1).unwrap(), (vec![1, 2, 3, 4], len as u64), "{len} bytes of {fill}");
        }
    }
}

#[test]
fn a_seal_may_be_followed_by_a_torn_tail() {
    let dir = MemDir::new(21);
    let mut wal = create(&dir, 1, 1);
    wal.append(&mut [frame(1)]).unwrap();
    wal.sync().unwrap();
    wal.seal().unwrap();
    dir.corrupt(name(1), |bytes| bytes.extend_from_slice(&[0xA5; 100]));
    assert_eq!(read(&dir, 1).unwrap(), (vec![1], 100));
}

// [WAL-3] [WAL-8] the header of a log is durable before the log is named, so a torn one proves nothing only if it is not.
#[test]
fn a_torn_header_is_damage_only_in_a_log_that_is_named() {
    for len in 0..=LOG_HEADER_BYTES as usize {
        let dir = MemDir::new(22);
        let mut first = create(&dir, 1, 1);
        first.append(&mut [frame(1)]).unwrap();
        first.sync().unwrap();
        drop(create(&dir, 2, 2));
        dir.corrupt(name(2), |bytes| bytes.truncate(len));
        assert_eq!(read(&dir, 1).unwrap(), (vec![1], 0), "an orphan of {len} bytes");
        first.finish(id(2)).unwrap();
        match read(&dir, 1) {
            Ok((seqs, _)) => assert!(seqs == [1] && len as u64 == LOG_HEADER_BYTES),
            Err(error) => {
                assert!(error.kind() == ErrorKind::Corrupt && (len as u64) < LOG_HEADER_BYTES, "{len}: {error}");
                assert_eq!(error.file(), Some(&*name(2).to_string()));
            }
        }
    }
}

#[test]
fn reads_that_return_less_than_was_asked_for_are_continued() {
    let dir = MemDir::new(23);
    sample(&dir);
    dir.set_read_limit(Some(5));
    assert_eq!(read(&dir, 1).unwrap(), (vec![1, 2, 3, 4], 0));
}

// [C12] what a failed append left is cut off and cannot come back behind the batches that follow.
#[test]
fn what_a_failed_append_wrote_does_not_come_back() {
    let dir = MemDir::new(24);
    let mut wal = create(&dir, 1, 1);
    wal.append(&mut [frame(1)]).unwrap();
    wal.sync().unwrap();
    let len = dir.file_bytes(name(1)).unwrap().len();
    dir.set_free_bytes(Some(0));
    let mut many: Vec<_> = (2..2_000).map(frame).collect();
    let failure = wal.append(&mut many).unwrap_err();
    assert!(failure.undone && failure.error.kind() == ErrorKind::NoSpace, "{:?}", failure.error);
    assert_eq!(dir.file_bytes(name(1)).unwrap().len(), len);
    dir.set_free_bytes(None);
    wal.append(&mut [frame(2)]).unwrap();
    for image in dir.crash_images(&Default::default()) {
        let (seqs, _) = read(&image, 1).unwrap();
        assert!(seqs == [1] || seqs == [1, 2], "{seqs:?}");
    }
}
