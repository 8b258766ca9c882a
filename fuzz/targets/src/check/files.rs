//! Single files: what decodes is coherent, and encodes to what decodes the same.

use stratavec::fuzzing::{self, COLLECTION, DeadRows, FILE, Frames};
use stratavec::storage::{FileKind, FileName};

use crate::input::Input;
use crate::seal::{put, seal_file, seal_log, second_copy};

/// The generation that manifests of the targets have.
const GENERATION: u64 = 5;

/// Whether the rest of an input is to be sealed: the first byte says so.
fn choose_seal(data: &[u8]) -> (bool, u8, Vec<u8>) {
    let mut input = Input::new(data);
    let choice = input.u8();
    (choice & 1 == 1, choice, input.rest().to_vec())
}

/// A log. Invariants: no panic; batches are those of whole records from the front; written again they read back the same.
pub fn wal(data: &[u8]) {
    let (sealed, _, mut bytes) = choose_seal(data);
    if sealed {
        put(&mut bytes, 16, &COLLECTION.to_le_bytes());
        put(&mut bytes, 32, &FILE.to_u128().to_le_bytes());
        seal_log(&mut bytes, FILE, None);
    }
    let Ok(read) = fuzzing::replay_log(&bytes) else { return };
    assert!(read.dropped <= bytes.len() as u64);
    let Ok(first) = u64::try_from(read.batches.len()).map(|count| read.first_seq.checked_add(count)) else { return };
    if first.is_none() {
        return;
    }
    let again = fuzzing::write_log(read.first_seq, &read.batches).expect("what was read can be written");
    let second = fuzzing::replay_log(&again).expect("what was written can be read");
    assert_eq!((read.first_seq, &read.batches, 0), (second.first_seq, &second.batches, second.dropped));
    // A prefix of the bytes gives a prefix of the batches, or is refused.
    let cut = bytes.len() * usize::from(data.first().copied().unwrap_or(0)) / 256;
    if let Ok(prefix) = fuzzing::replay_log(&bytes[..cut]) {
        assert!(read.batches.starts_with(&prefix.batches), "a cut log holds other batches");
    }
}

/// A manifest. Invariants: no panic; what decodes encodes to bytes that decode the same, without findings.
pub fn manifest(data: &[u8]) {
    let (sealed, choice, mut bytes) = choose_seal(data);
    if choice & 2 == 2 {
        // Both copies from one: edits of the first would else be met only with the second's help.
        let len = bytes.len();
        let second = len.next_multiple_of(4096);
        bytes.resize(second, 0);
        bytes.extend_from_within(..len);
        debug_assert!(len == 0 || second_copy(bytes.len()) == Some(second));
    }
    if sealed {
        seal_file(FileName::Manifest(GENERATION), &mut bytes);
    }
    let findings = fuzzing::check_manifest(&bytes, GENERATION);
    match fuzzing::recode_manifest(&bytes, GENERATION) {
        Err(_) => assert!(!findings.is_empty(), "a manifest that cannot be read has nothing wrong with it"),
        Ok((again, second_used)) => {
            assert!(!second_used || !findings.is_empty(), "a damaged copy is not named");
            assert!(fuzzing::check_manifest(&again, GENERATION).is_empty());
            let (third, second_used) = fuzzing::recode_manifest(&again, GENERATION).expect("it was encoded");
            assert!(third == again && !second_used);
        }
    }
}

/// The frame of an immutable file. Invariants: no panic; sections ascend, do not overlap, lie inside; gaps fill the rest.
pub fn footer(data: &[u8]) {
    let (sealed, _, mut bytes) = choose_seal(data);
    if sealed && bytes.len() >= 64 {
        put(&mut bytes, 24, &FILE.to_u128().to_le_bytes());
        seal_file(FileName::File(FileKind::Row, FILE), &mut bytes);
    }
    let Ok(Frames { sections, gaps }) = fuzzing::open_container(&bytes) else { return };
    let mut end = 64;
    for (kind, range) in &sections {
        assert!(range.start >= end && range.start < range.end, "section {kind:#x} at {range:?} behind {end}");
        end = range.end;
    }
    assert!(end as usize + 160 + 64 * sections.len() <= bytes.len());
    let covered: u64 = gaps.iter().chain(sections.iter().map(|(_, range)| range)).map(|r| r.end - r.start).sum();
    assert_eq!(covered as usize + 64 + 160 + 64 * sections.len(), bytes.len());
}

/// A tombstone file. Invariants: no panic; what reads without findings is ascending and, written again, gives the same rows.
pub fn delfile(data: &[u8]) {
    let (sealed, _, mut bytes) = choose_seal(data);
    if sealed && bytes.len() >= 64 {
        put(&mut bytes, 24, &FILE.to_u128().to_le_bytes());
        put(&mut bytes, 40, &COLLECTION.to_le_bytes());
        let footer = bytes.len().saturating_sub(160).max(64);
        put(&mut bytes, footer + 64, &COLLECTION.to_le_bytes());
        seal_file(FileName::File(FileKind::Tombstone, FILE), &mut bytes);
    }
    let Ok(DeadRows { rows, interval, findings }) = fuzzing::read_tombstones(&bytes) else { return };
    assert!(rows.len() <= bytes.len() * 8, "{} rows from {} bytes", rows.len(), bytes.len());
    if !findings.is_empty() {
        return;
    }
    assert!(!rows.is_empty() && rows.windows(2).all(|pair| pair[0] < pair[1]), "rows do not ascend");
    let again = fuzzing::tombstone_bytes(&rows, interval).expect("what was read can be written");
    let second = fuzzing::read_tombstones(&again).expect("what was written can be read");
    assert!(second.rows == rows && second.interval == interval && second.findings.is_empty());
}
