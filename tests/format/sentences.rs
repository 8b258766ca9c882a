//! Tagged sentences of `format-spec/README.md`, `manifest.md` and `wal.md`, checked on golden bytes with forged changes whose
//! checksums are right.

use std::sync::Arc;

use stratavec::storage::testing::{MemDir, Op, TraceDir};
use stratavec::storage::{FileKind, FileName};
use stratavec::{Background, Collection, Compact, Compaction, ErrorKind, OpenOptions, Verify};
use stratavec_tests::{reseal_manifest, unit_crc};

use super::golden::{dump, expected, folder, read_files};
use super::scenes::SCENES;

/// A golden directory in memory.
fn load(scene: &str) -> MemDir {
    let disk = MemDir::new(99);
    // Golden directories have none; taking the lock would make one.
    disk.put_raw(FileName::Lock, Vec::new());
    for (name, bytes) in read_files(&folder().join(scene)) {
        disk.put_raw(FileName::parse(&name).expect("a name of ours"), bytes);
    }
    disk
}

fn open(disk: &MemDir) -> stratavec::Result<Collection> {
    Collection::open_in(
        Arc::new(disk.clone()),
        OpenOptions::default().background(Background::Inline).compaction(Compaction::Manual),
    )
}

/// The rows, as the golden file has them.
fn is_intact(disk: &MemDir, scene: &str) -> bool {
    let scene = SCENES.iter().find(|s| s.name == scene).expect("a scene");
    open(disk).is_ok_and(|c| dump(&c.snapshot()) == expected(scene))
}

/// The kind of error of opening, after which nothing may have changed.
fn refused(disk: &MemDir) -> ErrorKind {
    let before = disk.image_hash();
    let error = open(disk).expect_err("refused");
    assert_eq!(disk.image_hash(), before, "something was changed: {error}");
    error.kind()
}

fn of_kind(disk: &MemDir, kind: FileKind) -> Vec<FileName> {
    let mut names: Vec<_> = disk.names().into_iter().filter(|name| name.kind() == Some(kind)).collect();
    names.sort();
    names
}

fn newest(disk: &MemDir, kind: FileKind) -> FileName {
    of_kind(disk, kind).pop().expect("a file of this kind")
}

/// The directory with its newest manifest changed and its checksums right.
fn with_manifest(scene: &str, change: impl Fn(&mut Vec<u8>)) -> MemDir {
    let disk = load(scene);
    let name = newest(&disk, FileKind::Manifest);
    disk.corrupt(name, |bytes| reseal_manifest(bytes, name, &change));
    disk
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Offsets, kinds and payload ranges of the records of a log.
fn records(bytes: &[u8]) -> Vec<(usize, u8, std::ops::Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 128;
    while at + 32 <= bytes.len() && at + 32 + u32_at(bytes, at + 4) as usize <= bytes.len() {
        let end = at + 32 + u32_at(bytes, at + 4) as usize;
        found.push((at, bytes[at + 28], at + 32..end));
        at = end;
    }
    found
}

/// Makes the checksum of the record at `at` right.
fn reseal_record(bytes: &mut [u8], name: FileName, at: usize) {
    let end = at + 32 + u32_at(bytes, at + 4) as usize;
    let crc = unit_crc(name, at as u64, &bytes[at + 4..end]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// [FMT-1] [FMT-5] an own CRC over little-endian fields is the one in the file: of both copies of a manifest, of the header of
/// a log, of each of its records, of the header of an immutable file.
#[test]
fn checksums_are_the_stated_ones() {
    let disk = load("log");
    for name in disk.names() {
        let bytes = disk.file_bytes(name).expect("bytes");
        match name.kind() {
            Some(FileKind::Manifest) => {
                let mut again = bytes.clone();
                reseal_manifest(&mut again, name, |_| {});
                assert!(again == bytes, "{name}");
            }
            Some(FileKind::Wal) => {
                assert_eq!(unit_crc(name, 0, &bytes[..124]), u32_at(&bytes, 124), "{name}");
                for (at, _, payload) in records(&bytes) {
                    assert_eq!(
                        unit_crc(name, at as u64, &bytes[at + 4..payload.end]),
                        u32_at(&bytes, at),
                        "{name} {at}"
                    );
                }
            }
            Some(_) => assert_eq!(unit_crc(name, 0, &bytes[..60]), u32_at(&bytes, 60), "{name}"),
            None => {}
        }
    }
}

/// [FMT-2] a reserved byte that is not zero is damage, also under a right checksum.
#[test]
fn reserved_bytes_that_are_set_are_damage() {
    for at in [128usize, 150, 175] {
        assert_eq!(refused(&with_manifest("numbers", |copy| copy[at] = 1)), ErrorKind::Corrupt, "manifest byte {at}");
    }
    let disk = load("replaced");
    let log = newest(&disk, FileKind::Wal);
    disk.corrupt(log, |bytes| {
        bytes[100] = 1;
        let crc = unit_crc(log, 0, &bytes[..124]);
        bytes[124..128].copy_from_slice(&crc.to_le_bytes());
    });
    assert_eq!(refused(&disk), ErrorKind::Corrupt, "header of a log");
}

/// [FMT-3] names that are almost ours are nobody's.
#[test]
fn almost_our_names_are_foreign() {
    for name in ["man-0000000000000001", "row-00000000000000010000000000000002", "LOCK"] {
        assert_eq!(FileName::parse(name).map(|parsed| parsed.to_string()).as_deref(), Some(name));
    }
    let foreign =
        ["man-000000000000001", "man-000000000000000A", "row-0000000000000001", "lock", "seg-1", "tmp-", "MARK"];
    assert!(foreign.iter().all(|name| FileName::parse(name).is_none()));
}

/// [FMT-4] a file number that was ever seen is not given again, even if only an orphan has it.
#[test]
fn file_numbers_are_above_all_that_were_seen() {
    let disk = load("replaced");
    let orphan = FileName::parse("row-00000000000012340000000000000001").expect("a name");
    disk.put_raw(orphan, vec![1]);
    let before = disk.names();
    let c = open(&disk).expect("open");
    c.upsert(50u64, &[1.0, 2.0]).expect("commit");
    c.close().expect("close");
    let made: Vec<_> = disk.names().into_iter().filter(|name| !before.contains(name)).collect();
    let numbered = made.iter().filter(|name| !matches!(name.kind(), None | Some(FileKind::Manifest)));
    assert!(made.len() > 3 && numbered.into_iter().all(|name| name.file_id().number > 0x1234), "{made:?}");
}

/// [FMT-7] another version is unsupported, not damaged, and nothing is touched.
#[test]
fn other_versions_are_refused() {
    assert_eq!(refused(&with_manifest("numbers", |copy| copy[8] = 1)), ErrorKind::UnsupportedVersion);
    assert_eq!(refused(&with_manifest("numbers", |copy| copy[24] = 1)), ErrorKind::UnsupportedVersion, "a feature");
    let disk = load("replaced");
    let log = newest(&disk, FileKind::Wal);
    disk.corrupt(log, |bytes| {
        bytes[8] = 1;
        let crc = unit_crc(log, 0, &bytes[..124]);
        bytes[124..128].copy_from_slice(&crc.to_le_bytes());
    });
    assert_eq!(refused(&disk), ErrorKind::UnsupportedVersion, "a log");
}

/// [MAN-1] [MAN-2] either copy will do, the second is found from the file's length; both damaged is the end, also if an older
/// manifest is there.
#[test]
fn either_copy_of_a_manifest_will_do() {
    let scene = "numbers";
    let name = newest(&load(scene), FileKind::Manifest);
    let len = load(scene).file_bytes(name).expect("bytes").len();
    let second = len.div_ceil(2).next_multiple_of(4096);
    for (first_damaged, second_damaged) in [(true, false), (false, true), (true, true)] {
        let disk = load(scene);
        disk.corrupt(name, |bytes| {
            // The length as well, so that it cannot lead to the second copy.
            bytes[12] ^= if first_damaged { 0xFF } else { 0 };
            bytes[second + 70] ^= u8::from(second_damaged);
        });
        let findings = Collection::verify_in(&disk, Verify::Full).expect("verify").findings;
        assert!(findings.iter().any(|f| f.file() == Some(name.to_string().as_str())), "{findings:?}");
        if first_damaged && second_damaged {
            assert!(of_kind(&disk, FileKind::Manifest).len() == 2);
            assert_eq!(refused(&disk), ErrorKind::Corrupt);
        } else {
            assert!(is_intact(&disk, scene));
        }
    }
}

/// [MAN-3] an unknown table is skipped if it says so and refused if not; a table out of order is damage.
#[test]
fn unknown_tables_say_whether_they_matter() {
    let add = |flags: u16, kind: u16| {
        with_manifest("numbers", move |copy| {
            let tail = copy.len() - 8;
            let mut table = Vec::new();
            table.extend(kind.to_le_bytes());
            table.extend(flags.to_le_bytes());
            table.extend(4u32.to_le_bytes());
            table.extend(1u64.to_le_bytes());
            table.extend([1, 2, 3, 4]);
            copy.splice(tail..tail, table);
            let count = u32_at(copy, 28) + 1;
            copy[28..32].copy_from_slice(&count.to_le_bytes());
        })
    };
    assert!(is_intact(&add(1, 900), "numbers"));
    assert_eq!(refused(&add(0, 900)), ErrorKind::UnsupportedVersion);
    assert_eq!(refused(&add(1, 2)), ErrorKind::Corrupt, "kinds must ascend");
}

/// Where the first entry of the first table of files starts: behind the head, the table of origins and a table head.
const FIRST_ENTRY: usize = 176 + 16 + 16 + 16;

/// [MAN-4] a file that is not the one stated, in any fact, is refused.
#[test]
fn every_fact_stated_about_a_file_must_be_its_own() {
    let facts = [("len", 16), ("root", 24), ("rows", 32), ("first_row", 40), ("min_seq", 56), ("max_seq", 64)];
    for (fact, at) in facts {
        let disk = with_manifest("numbers", |copy| copy[FIRST_ENTRY + at] ^= 1);
        assert_eq!(refused(&disk), ErrorKind::Corrupt, "{fact}");
    }
}

/// [MAN-8] a file that states no sequence number takes the one that the manifest gives it; one that states any does not, and the
/// manifest must give one.
#[test]
fn a_loaded_file_takes_its_sequence_number_from_the_manifest() {
    let second = FIRST_ENTRY + 80;
    let give = |min: u64, max: u64| {
        with_manifest("loaded", |copy| {
            copy[second + 56..second + 64].copy_from_slice(&min.to_le_bytes());
            copy[second + 64..second + 72].copy_from_slice(&max.to_le_bytes());
        })
    };
    assert!(is_intact(&give(2, 2), "loaded"));
    let c = open(&give(1, 1)).expect("open");
    assert_eq!(c.snapshot().get(5u64).expect("get").expect("a row").seq, 1);
    for (min, max) in [(0, 0), (1, 2), (3, 3)] {
        assert_eq!(refused(&give(min, max)), ErrorKind::Corrupt, "{min}..={max}");
    }
    let first = with_manifest("loaded", |copy| copy[FIRST_ENTRY + 56] = 2);
    assert_eq!(refused(&first), ErrorKind::Corrupt, "a file that states its own");
}

/// [MAN-9] properties that are out of order, too long, cut or not text are damage.
#[test]
fn properties_are_read_as_they_stand_or_not_at_all() {
    let c = open(&load("loaded")).expect("open");
    assert_eq!(c.property("source").as_deref(), Some(&b"numbers, 21"[..]));
    assert_eq!(c.property("a").as_deref(), Some(&[0u8, 255][..]));
    assert_eq!(c.property("b"), None);
    drop(c);
    // The table is the last: {1, 2, "a", 0 255}, {6, 11, "source", "numbers, 21"}, tail.
    let table = |copy: &[u8]| copy.len() - 8 - 7 - 21;
    let changes: [(&str, usize, u8); 5] =
        [("order", 4, b"t"[0]), ("cut", 2, 200), ("long", 1, 2), ("no text", 4, 0xFF), ("no name", 0, 0)];
    for (what, at, byte) in changes {
        let disk = with_manifest("loaded", |copy| {
            let start = table(copy);
            copy[start + at] = byte;
        });
        assert_eq!(refused(&disk), ErrorKind::Corrupt, "{what}");
    }
}

/// Where the entries of a table begin in a copy of a manifest.
fn table(copy: &[u8], kind: u8) -> usize {
    let mut at = 176;
    while copy[at] != kind {
        at += 16 + u32_at(copy, at + 4) as usize * u64_at(copy, at + 8) as usize;
    }
    at + 16
}

/// [MAN-11] models and list segments that do not belong together, or not to the collection, are damage.
#[test]
fn lists_are_of_the_model_and_the_collection_that_name_them() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 7] = [
        ("a flat collection", |copy| {
            copy[119] = 1;
            copy[128..136].fill(0);
        }),
        ("another model", |copy| {
            let at = table(copy, 7);
            copy[at + 80] ^= 1;
        }),
        ("another hash of the model", |copy| {
            let at = table(copy, 6);
            copy[at + 111] ^= 1;
        }),
        ("another metric", |copy| copy[116] = 3),
        ("another dimension", |copy| copy[112] += 1),
        ("segments that overlap", |copy| {
            let at = table(copy, 7);
            let first_row = copy[at + 40..at + 48].to_vec();
            copy[at + 112 + 40..at + 112 + 48].copy_from_slice(&first_row);
        }),
        ("options that a kind does not have", |copy| copy[119] = 3),
    ];
    for (what, change) in changes {
        assert_eq!(refused(&with_manifest("lists", change)), ErrorKind::Corrupt, "{what}");
    }
}

/// [MAN-12] a row that is in a list though its file says that none is, and one that is in none though its file says that all are.
#[test]
fn a_row_file_says_whether_its_rows_are_in_lists() {
    let findings = |disk: &MemDir| Collection::verify_in(disk, Verify::Full).expect("verify").findings;
    assert!(findings(&load("lists")).is_empty());
    let unlisted = with_manifest("lists", |copy| {
        let at = table(copy, 2);
        assert_eq!(copy[at + 29], 1, "the flag");
        copy[at + 29] = 0;
    });
    assert!(findings(&unlisted).iter().any(|finding| finding.to_string().contains("not in lists")));
    // The last of two tables, and its last entry: gone.
    let forgotten = with_manifest("lists", |copy| {
        let at = table(copy, 7);
        assert_eq!(u64_at(copy, at - 8), 2, "two segments");
        copy.drain(at + 112..at + 224);
        copy[at - 8] = 1;
    });
    assert!(findings(&forgotten).iter().any(|finding| finding.to_string().contains("is in no list")));
}

/// [MAN-13] a file says whether it has vectors, and may be without only where none are kept and codes are there.
#[test]
fn a_row_file_without_vectors_is_in_lists_of_a_collection_that_keeps_none() {
    assert!(Collection::verify_in(&load("lean"), Verify::Full).expect("verify").is_sound());
    let changes: [(&str, fn(&mut Vec<u8>)); 5] = [
        ("no vectors and no codes", |copy| copy[128..130].copy_from_slice(&[3, 0])),
        ("vectors that are not there", |copy| {
            let at = table(copy, 2);
            assert_eq!(copy[at + 28], 6, "the families");
            copy[at + 28] = 7;
        }),
        ("no vectors and no lists", |copy| {
            let at = table(copy, 2);
            copy[at + 29] = 0;
        }),
        ("no vectors where they are kept", |copy| copy[118] = 4),
        ("no vectors and no index", |copy| {
            copy[119] = 1;
            copy[128..136].fill(0);
        }),
    ];
    for (what, change) in changes {
        assert_eq!(refused(&with_manifest("lean", change)), ErrorKind::Corrupt, "{what}");
    }
}

/// [MAN-13] of two models that codes are of the second goes on with the frame and lists of the first.
#[test]
fn a_model_that_codes_move_to_has_the_lists_of_the_one_before() {
    let disk = load("lean-moving");
    assert!(Collection::verify_in(&disk, Verify::Full).expect("verify").is_sound());
    let c = open(&disk).expect("open");
    let before = c.stats();
    assert!(before.models == 2 && before.rows_to_convert > 0, "{before:?}");
    c.compact(Compact::Auto).expect("begin").wait().expect("move the rest");
    let after = c.stats();
    assert_eq!((after.models, after.rows_to_convert, after.rows_in_lists), (1, 0, before.rows_in_lists));
    let all = c.snapshot().search(&[0.0; 5]).k(100).run().expect("search");
    assert_eq!(all.len() as u64, after.rows);
}

/// [MAN-5] row numbers and sequence numbers beyond what the manifest says were given are damage.
#[test]
fn files_stay_within_the_numbers_that_were_given() {
    assert_eq!(refused(&with_manifest("numbers", |copy| copy[80..88].fill(0))), ErrorKind::Corrupt, "next_row");
    assert_eq!(refused(&with_manifest("numbers", |copy| copy[88..96].fill(0))), ErrorKind::Corrupt, "covered_seq");
    let overlap = with_manifest("numbers", |copy| {
        // The second row file begins where the first one does.
        let first_row = copy[FIRST_ENTRY + 40..FIRST_ENTRY + 48].to_vec();
        copy[FIRST_ENTRY + 80 + 40..FIRST_ENTRY + 80 + 48].copy_from_slice(&first_row);
    });
    assert_eq!(refused(&overlap), ErrorKind::Corrupt, "overlapping row files");
}

/// [MAN-6] a second live row under one id, brought in by a log that calls the last row of another, is found by a full check.
#[test]
fn two_live_rows_under_one_id_are_found() {
    let disk = load("replaced");
    let log = newest(&disk, FileKind::Wal);
    disk.corrupt(log, |bytes| {
        // The last batch inserts id 9 and kills nothing; now it says id 0, which has a row.
        let (at, _, payload) = records(bytes)[4].clone();
        let id = payload.start + 40 + 16;
        assert_eq!(bytes[id], 9);
        bytes[id] = 0;
        reseal_record(bytes, log, at);
    });
    open(&disk).and_then(Collection::close).expect("a forged log is data");
    let report = Collection::verify_in(&disk, Verify::Full).expect("verify");
    assert!(report.findings.iter().any(|f| f.kind() == ErrorKind::Corrupt), "{:?}", report.notes);
}

/// [WAL-10] a log that kills a row twice, or one that nobody wrote, is refused by open and named by a check.
#[test]
fn rows_that_are_not_alive_cannot_be_killed() {
    for row in [0u64, 1, 12, 4096, u64::MAX] {
        let disk = load("replaced");
        let log = newest(&disk, FileKind::Wal);
        disk.corrupt(log, |bytes| {
            // The fourth batch deletes one row; now it names one that is dead since the second, or none.
            let (at, _, payload) = records(bytes)[3].clone();
            bytes[payload.end - 8..payload.end].copy_from_slice(&row.to_le_bytes());
            reseal_record(bytes, log, at);
            let (next, previous) = (records(bytes)[4].0, bytes[at..at + 4].to_vec());
            bytes[next + 24..next + 28].copy_from_slice(&previous);
            reseal_record(bytes, log, next);
        });
        assert_eq!(refused(&disk), ErrorKind::Corrupt, "row {row}");
        assert!(!Collection::verify_in(&disk, Verify::Full).expect("verify").is_sound(), "row {row}");
    }
}

/// [MAN-7] there are two manifests, however many there were.
#[test]
fn the_newest_manifest_and_the_one_before_are_kept() {
    let disk = load("numbers");
    let c = open(&disk).expect("open");
    for id in 0..6u64 {
        c.upsert(id, &[1.0, 2.0, 3.0, id as f32]).expect("commit");
        c.flush().expect("flush");
        let kept = of_kind(&disk, FileKind::Manifest);
        let numbers: Vec<u64> = kept.iter().map(|name| name.file_id().number).collect();
        assert_eq!(numbers, [c.stats().generation - 1, c.stats().generation]);
    }
}

/// [WAL-1] [WAL-2] a record that repeats a number, leaves one out, or is chained to another one ends the log.
#[test]
fn numbers_and_chain_of_records_have_no_gaps() {
    for (what, at, value) in [("a gap", 8, 7u8), ("a repeat", 8, 1), ("another chain", 24, 0x55)] {
        let disk = load("replaced");
        let log = newest(&disk, FileKind::Wal);
        disk.corrupt(log, |bytes| {
            let last = records(bytes).last().expect("records").0;
            bytes[last + at] = value;
            reseal_record(bytes, log, last);
        });
        let c = open(&disk).expect("open");
        assert_eq!(c.recovery().batches_replayed, 4, "{what}: of five");
        assert!(c.recovery().tail_bytes_dropped > 0, "{what}");
    }
}

/// [WAL-3] the next log is durable before the record that names it, and empty until that record is.
#[test]
fn a_log_is_named_when_it_is_durable_and_used_when_its_name_is() {
    let storage = Arc::new(TraceDir::new(MemDir::new(3)));
    let options = OpenOptions::default().background(Background::Inline).compaction(Compaction::Manual);
    let schema = stratavec::Schema::new(1, stratavec::Metric::L2).ids(stratavec::IdKind::U64);
    let c = Collection::create_in(storage.clone(), schema, options).expect("create");
    c.upsert(1u64, &[1.0]).expect("commit");
    let start = storage.calls().len();
    c.flush().expect("flush");
    c.upsert(2u64, &[2.0]).expect("commit");
    let calls = storage.calls().split_off(start);
    let logs: Vec<_> = calls.iter().filter(|t| t.call.name.and_then(|n| n.kind()) == Some(FileKind::Wal)).collect();
    let new = logs.iter().find(|t| t.call.op == Op::Create).and_then(|t| t.call.name).expect("a new log");
    let steps: Vec<(Op, bool)> = logs
        .iter()
        .filter(|t| matches!(t.call.op, Op::WriteAt | Op::Sync))
        .map(|t| (t.call.op, t.call.name == Some(new)))
        .collect();
    let header = [(Op::WriteAt, true), (Op::Sync, true)];
    let roll = [(Op::WriteAt, false), (Op::Sync, false)];
    let first_record = [(Op::WriteAt, true), (Op::Sync, true)];
    assert_eq!(steps, [header, roll, first_record].concat());
    let position = |op: Op| calls.iter().position(|t| t.call.op == op);
    let roll_at = calls.iter().position(|t| t.call.op == Op::WriteAt && t.call.name != Some(new));
    assert!(position(Op::SyncDir) < roll_at, "its name is durable as well");
}

/// [WAL-4] a torn tail is dropped, its length reported, and what is before it is kept.
#[test]
fn a_torn_tail_is_dropped_and_counted() {
    let disk = load("log");
    let log = newest(&disk, FileKind::Wal);
    let bytes = disk.file_bytes(log).expect("bytes");
    let end = records(&bytes).last().map_or(128, |(_, _, payload)| payload.end);
    assert!(end < bytes.len(), "the golden log ends in half a record");
    let c = open(&disk).expect("open");
    assert_eq!(c.recovery().tail_bytes_dropped, (bytes.len() - end) as u64);
    assert_eq!(c.recovery().batches_replayed, c.last_seq() - 8, "eight batches were in files");
}

/// [WAL-5] a damaged record before one that knew it to be durable is damage.
#[test]
fn damage_before_a_record_that_knew_better_is_refused() {
    let disk = load("replaced");
    disk.flip_bit(newest(&disk, FileKind::Wal), 8 * 200);
    assert_eq!(refused(&disk), ErrorKind::Corrupt);
}

/// [WAL-6] a log that is named and missing is damage.
#[test]
fn a_named_log_that_is_missing_is_refused() {
    let disk = load("log");
    assert_eq!(of_kind(&disk, FileKind::Wal).len(), 2);
    disk.remove_raw(newest(&disk, FileKind::Wal));
    assert_eq!(refused(&disk), ErrorKind::Corrupt);
}

/// [WAL-7] without the record that named it, the second log still proves that the first one is damaged.
#[test]
fn a_later_log_proves_that_the_first_is_cut() {
    let disk = load("log");
    let first = of_kind(&disk, FileKind::Wal)[0];
    disk.corrupt(first, |bytes| {
        let (at, kind, _) = records(bytes).last().cloned().expect("records");
        assert_eq!(kind, 3, "a roll record ends it");
        bytes.truncate(at);
    });
    assert_eq!(refused(&disk), ErrorKind::Corrupt);
}

/// [WAL-8] a log that nothing names, without records, is an orphan: removed, and nothing is lost.
#[test]
fn an_empty_log_that_nothing_names_is_an_orphan() {
    let disk = load("replaced");
    let log = newest(&disk, FileKind::Wal);
    let header = disk.file_bytes(log).expect("bytes")[..128].to_vec();
    let orphan = FileName::parse("wal-00000000000000990000000000000001").expect("a name");
    disk.put_raw(orphan, header);
    assert!(is_intact(&disk, "replaced"));
    assert!(disk.file_bytes(orphan).is_none(), "it was removed");
}

/// [WAL-9] [WAL-10] batches state the numbers of their rows and of those they kill, read here from the bytes alone.
#[test]
fn batches_state_the_rows_they_make_and_kill() {
    let disk = load("replaced");
    let bytes = disk.file_bytes(newest(&disk, FileKind::Wal)).expect("bytes");
    let mut stated = Vec::new();
    for (_, kind, payload) in records(&bytes) {
        assert_eq!(kind, 1);
        let count = u32_at(&bytes, payload.start + 20) as usize;
        let kills: Vec<u64> = (0..count).map(|i| u64_at(&bytes, payload.end - 8 * (count - i))).collect();
        stated.push((u64_at(&bytes, payload.start), u32_at(&bytes, payload.start + 16), kills));
    }
    let expected = [
        (0, 4, vec![]),
        (4, 4, vec![0, 1, 2, 3]),
        (8, 4, vec![4, 5, 6, 7]),
        (12, 0, vec![10]), // id 2
        (12, 1, vec![]),
    ];
    assert_eq!(stated, expected);
}

/// [WAL-11] the same as recovery of any log: see the contract's C11; here on a golden one, stopped by a process crash at every
/// call.
#[test]
fn recovery_of_a_golden_log_can_be_stopped_anywhere() {
    let disk = load("log");
    let stopped = Arc::new(std::sync::Mutex::new((0, 0)));
    let count = stopped.clone();
    disk.on_call(move |point| {
        let mut count = count.lock().expect("lock");
        count.0 += 1;
        count.1 += usize::from(!is_intact(&point.dir.process_crash(), "log"));
    });
    drop(open(&disk).expect("open"));
    disk.clear_hook();
    let (points, wrong) = *stopped.lock().expect("lock");
    assert!(points > 10 && wrong == 0, "{wrong} of {points} points");
}
