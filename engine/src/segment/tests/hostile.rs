//! Damage with malice: any content, all checksums right. Readers answer or refuse; they never panic, and what they allocate is
//! bounded by the file.

use super::reseal::reseal;
use super::sample::*;
use crate::error::ErrorKind;
use crate::format::container::{FOOTER_BYTES, Footer, Header};
use crate::format::layout::Described;
use crate::format::section::SectionEntry;
use crate::storage::FileName;

const NUMBERS: &[u64] = &[1, 3, 4, 5, 4100, 4102, 70_000, 70_001];
const NAMES: [FileName; 3] = [ROW_NAME, ID_NAME, DEAD_NAME];

fn with_patch(files: &Files, name: FileName, good: &[u8], at: usize, patch: &[u8]) -> usize {
    let mut bytes = good.to_vec();
    bytes[at..at + patch.len()].copy_from_slice(patch);
    let facts = reseal(&mut bytes);
    files.dir.put(name, bytes);
    let errors = files.read_all(name, &facts);
    files.dir.put(name, good.to_vec());
    errors
}

/// Values that break arithmetic, for a field of `size` bytes that holds `now`.
fn values(now: &[u8], draw: &mut Draw) -> Vec<Vec<u8>> {
    let size = now.len().min(16);
    let mut wide = [0u8; 16];
    wide[..size].copy_from_slice(&now[..size]);
    let number = u128::from_le_bytes(wide);
    let random = u128::from(draw.next()) << 64 | u128::from(draw.next());
    let most = u128::MAX >> (128 - 8 * size);
    [
        0,
        1,
        2,
        most,
        most - 1,
        most >> 1,
        most / 64,
        number.wrapping_add(1),
        number.wrapping_sub(1),
        number.wrapping_mul(2),
        number ^ 64,
        number ^ 4096,
        random,
    ]
    .into_iter()
    .map(|value| {
        let mut bytes = now.to_vec();
        bytes[..size].copy_from_slice(&value.to_le_bytes()[..size]);
        bytes
    })
    .collect()
}

fn fields<T: Described>(at: usize) -> Vec<(usize, usize)> {
    T::fields().into_iter().map(|(_, offset, size)| (at + offset, size)).collect()
}

#[test]
fn resealing_an_intact_file_changes_nothing() {
    let files = Files::new(NUMBERS);
    for (name, facts) in [(ROW_NAME, files.row_facts), (ID_NAME, files.id_facts), (DEAD_NAME, files.dead_facts)] {
        let good = files.dir.bytes(name);
        let mut bytes = good.clone();
        assert_eq!(reseal(&mut bytes), facts);
        assert!(bytes == good);
        assert_eq!(files.read_all(name, &facts), 0, "{name}");
    }
}

#[test]
fn every_field_of_header_directory_and_footer_may_hold_anything() {
    let files = Files::new(NUMBERS);
    let mut draw = Draw(11);
    for name in NAMES {
        let good = files.dir.bytes(name);
        let footer_at = good.len() - FOOTER_BYTES;
        let directory = u64::from_le_bytes(good[footer_at + 8..footer_at + 16].try_into().unwrap()) as usize;
        let mut all = fields::<Header>(0);
        all.extend(fields::<Footer>(footer_at));
        all.extend((directory..footer_at).step_by(64).flat_map(fields::<SectionEntry>));
        for (at, size) in all {
            for value in values(&good[at..at + size], &mut draw) {
                with_patch(&files, name, &good, at, &value);
            }
        }
    }
}

/// [FRAME-9]
#[test]
fn every_place_of_every_section_may_hold_anything() {
    let files = Files::new(NUMBERS);
    let mut draw = Draw(12);
    let mut tried = 0;
    for name in NAMES {
        let good = files.dir.bytes(name);
        for at in (64..good.len() - FOOTER_BYTES).step_by(2) {
            if good[at..(at + 8).min(good.len())].iter().all(|b| *b == 0) && draw.below(40) > 0 {
                continue;
            }
            for size in [1, 2, 4, 8] {
                let choices = values(&good[at..at + size], &mut draw);
                let pick = draw.below(choices.len() as u64) as usize;
                with_patch(&files, name, &good, at, &choices[pick]);
                tried += 1;
            }
        }
    }
    assert!(files.opened.get() > tried / 2, "{} of {tried} lies got past the opening", files.opened.get());
}

#[test]
fn several_lies_at_once_are_survived() {
    let many: Vec<u64> = (0..2_500).filter(|row| row % 5 != 1).collect();
    let mut draw = Draw(13);
    for (files, rounds, name) in [(Files::new(NUMBERS), 10_000), (Files::new(&many), 150)]
        .iter()
        .flat_map(|(f, r)| NAMES.map(|name| (f, *r, name)))
    {
        let good = files.dir.bytes(name);
        for _ in 0..rounds {
            let mut bytes = good.clone();
            for _ in 0..1 + draw.below(5) {
                let size = 1 << draw.below(4);
                let near_end = draw.below(2) == 0;
                let span = if near_end { 900.min(good.len()) } else { good.len() };
                let at = good.len() - span + draw.below((span - size) as u64) as usize;
                let choices = values(&good[at..at + size], &mut draw);
                let pick = draw.below(choices.len() as u64) as usize;
                bytes[at..at + size].copy_from_slice(&choices[pick]);
            }
            let facts = reseal(&mut bytes);
            files.dir.put(name, bytes);
            files.read_all(name, &facts);
        }
    }
}

/// [FRAME-3]
#[test]
fn sections_may_be_dropped_doubled_or_swapped() {
    let files = Files::new(NUMBERS);
    for name in NAMES {
        let good = files.dir.bytes(name);
        let footer_at = good.len() - FOOTER_BYTES;
        let directory = u64::from_le_bytes(good[footer_at + 8..footer_at + 16].try_into().unwrap()) as usize;
        let count = (footer_at - directory) / 64;
        for a in 0..count {
            for b in 0..count {
                let mut kind_of_b = good.clone();
                let kind = good[directory + b * 64..][..4].to_vec();
                kind_of_b[directory + a * 64..][..4].copy_from_slice(&kind);
                let mut other = good.clone();
                let entry = good[directory + b * 64..][..64].to_vec();
                other[directory + a * 64..][..64].copy_from_slice(&entry);
                for mut bytes in [kind_of_b, other] {
                    let facts = reseal(&mut bytes);
                    let changed = bytes != good;
                    files.dir.put(name, bytes);
                    assert_eq!(files.read_all(name, &facts) > 0, changed, "{name}: section {a} as {b}");
                }
            }
            let mut shorter = good.clone();
            shorter.drain(directory + a * 64..directory + (a + 1) * 64);
            let len = shorter.len();
            shorter[len - FOOTER_BYTES..][..8].copy_from_slice(&(len as u64).to_le_bytes());
            shorter[len - FOOTER_BYTES + 16..][..4].copy_from_slice(&(count as u32 - 1).to_le_bytes());
            let facts = reseal(&mut shorter);
            files.dir.put(name, shorter);
            assert!(files.read_all(name, &facts) > 0, "{name} without section {a}");
        }
    }
}

/// [UNIT-2] [ROW-5] [ROW-8]
#[test]
fn lies_about_rows_are_found_by_verify() {
    let files = Files::new(NUMBERS);
    let good = files.dir.bytes(ROW_NAME);
    let vectors = section_offset(&good, 0x0103);
    let stride = SMALL.stride();
    let ids = section_offset(&good, 0x0107);
    let attributes = section_offset(&good, 0x0109);
    let seqs = section_offset(&good, 0x0104);
    let bitmaps = section_offset(&good, 0x0102);
    let offsets = section_offset(&good, 0x010A);
    let cases: [(&str, usize, Vec<u8>); 10] = [
        ("a payload that reaches past all of them", offsets + 8 + 4, vec![0xFF, 0xFF]),
        ("a component that is NaN", vectors, f32::NAN.to_le_bytes().to_vec()),
        ("a norm of zero", vectors + stride - 8, vec![0; 4]),
        ("a norm that is infinite", vectors + stride - 8, f32::INFINITY.to_le_bytes().to_vec()),
        ("a number as id of a row with byte ids", vectors + stride - 16, vec![1]),
        ("padding behind a vector", vectors + 12, vec![1]),
        ("an attribute tag", attributes + 6, vec![99]),
        ("a sequence number outside the file's", seqs, vec![0; 8]),
        ("a row that the bitmap has twice", bitmaps + 16, vec![0xFF]),
        ("more bytes than a unit has", ids + 4088.min(stream_used(&good, 0x0107)), vec![1]),
    ];
    for (what, at, patch) in cases {
        assert!(with_patch(&files, ROW_NAME, &good, at, &patch) > 0, "{what}");
    }
}

fn entry_of(bytes: &[u8], kind: u32) -> SectionEntry {
    entries_of(bytes).into_iter().find(|entry| entry.kind.get() == kind).unwrap()
}

fn section_offset(bytes: &[u8], kind: u32) -> usize {
    entry_of(bytes, kind).offset.get() as usize
}

/// Where the `used` field of a byte stream of one unit stands.
fn stream_used(bytes: &[u8], kind: u32) -> usize {
    entry_of(bytes, kind).length.get() as usize - 8
}

/// [FRAME-6]
#[test]
fn counts_far_above_the_file_are_refused_before_anything_is_allocated() {
    let files = Files::new(NUMBERS);
    for name in NAMES {
        let good = files.dir.bytes(name);
        let footer_at = good.len() - FOOTER_BYTES;
        for rows in [u64::MAX, 1 << 40, u64::from(u32::MAX) - 1] {
            assert!(with_patch(&files, name, &good, footer_at + 24, &rows.to_le_bytes()) > 0);
        }
    }
}

/// [FRAME-2]
#[test]
fn a_newer_version_or_feature_is_no_damage() {
    let files = Files::new(NUMBERS);
    let good = files.dir.bytes(ROW_NAME);
    for at in [8, 20] {
        let mut bytes = good.clone();
        bytes[at] = 1;
        let facts = reseal(&mut bytes);
        files.dir.put(ROW_NAME, bytes);
        let error = files.rows.open(&files.dir, &facts).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    }
}

#[test]
fn a_section_of_an_unknown_kind_is_refused_only_if_it_says_so() {
    let files = Files::new(NUMBERS);
    let good = files.dir.bytes(ROW_NAME);
    for (flags, opens) in [(0u32, true), (1, false), (2, true), (3, false)] {
        let mut bytes = good.clone();
        for at in directory_of(&bytes).step_by(64) {
            if matches!(bytes[at..at + 4], [0x08 | 0x09, 0x01, 0, 0]) {
                bytes[at + 1] = 0x7F;
                bytes[at + 4..at + 8].copy_from_slice(&flags.to_le_bytes());
            }
        }
        let facts = reseal(&mut bytes);
        files.dir.put(ROW_NAME, bytes);
        match files.rows.open(&files.dir, &facts) {
            Ok(file) => {
                assert!(opens && file.attributes(2).unwrap().is_empty());
                file.verify(&mut |error| panic!("{error}"));
            }
            Err(error) => assert!(!opens && error.kind() == ErrorKind::UnsupportedVersion, "{error:?}"),
        }
    }
}

/// [FRAME-4]
#[test]
fn sections_start_at_multiples_of_what_their_size_demands() {
    let many: Vec<u64> = (0..3_000).filter(|row| row % 5 != 1).collect();
    for files in [Files::new(NUMBERS), Files::new(&many)] {
        for name in NAMES {
            let bytes = files.dir.bytes(name);
            for entry in entries_of(&bytes) {
                let wanted = match entry.length.get() {
                    1_048_576.. => 65_536,
                    4_096.. => 4_096,
                    _ => 64,
                };
                assert_eq!(entry.offset.get() % wanted, 0, "{name}: {entry:?}");
            }
        }
    }
}

/// Where the section directory lies.
fn directory_of(bytes: &[u8]) -> std::ops::Range<usize> {
    let footer_at = bytes.len() - FOOTER_BYTES;
    let start = u64::from_le_bytes(bytes[footer_at + 8..footer_at + 16].try_into().unwrap());
    start as usize..footer_at
}

fn entries_of(bytes: &[u8]) -> Vec<SectionEntry> {
    use zerocopy::FromBytes;
    <[SectionEntry]>::ref_from_bytes(&bytes[directory_of(bytes)]).unwrap().to_vec()
}
