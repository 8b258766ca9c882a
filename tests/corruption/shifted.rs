//! Collections that have counted far: the same files with larger row, sequence, file and generation numbers, coherent in every place.
//! They are as sound as the ones they were made from, up to the end of counting; beyond it they are refused.

use stratavec::storage::{FileId, FileKind, FileName};
use stratavec_fuzz_targets::fixture::{Fixture, all};
use stratavec_fuzz_targets::reading::{Reading, read_everything};
use stratavec_fuzz_targets::seal::{
    FOOTER, Files, dir_of, file_entries, number, put, records, seal_all, second_copy, sections,
};

/// No counter reaches this.
const END: u64 = 1 << 62;

fn add(bytes: &mut [u8], at: usize, by: u64) {
    let value = number(bytes, at, 8).wrapping_add(by);
    put(bytes, at, &value.to_le_bytes());
}

/// Adds to a field of the head, in both copies of every manifest.
fn add_to_heads(files: &mut Files, at: usize, by: u64) {
    for (_, bytes) in files.iter_mut().filter(|(name, _)| matches!(name, FileName::Manifest(_))) {
        for copy in [Some(0), second_copy(bytes.len())].into_iter().flatten() {
            add(bytes, copy + at, by);
        }
    }
}

fn add_to_entries(files: &mut Files, fields: &[usize], by: u64) {
    for (_, bytes) in files.iter_mut().filter(|(name, _)| matches!(name, FileName::Manifest(_))) {
        for (_, at) in file_entries(bytes) {
            fields.iter().for_each(|field| add(bytes, at + field, by));
        }
    }
}

fn of_kind(files: &mut Files, kind: FileKind) -> impl Iterator<Item = &mut Vec<u8>> {
    files.iter_mut().filter(move |(name, _)| name.kind() == Some(kind)).map(|(_, bytes)| bytes)
}

/// Every row number larger by whole pages.
fn shift_rows(files: &mut Files, pages: u64) {
    let rows = pages << 12;
    add_to_heads(files, 80, rows);
    add_to_entries(files, &[40, 48], rows);
    for bytes in of_kind(files, FileKind::Wal) {
        add(bytes, 64, rows);
        for (at, _) in records(bytes).into_iter().filter(|(at, _)| bytes[at + 28] == 1).collect::<Vec<_>>() {
            let payload = at + 32;
            add(bytes, payload, rows);
            let kills = payload + 40 + number(bytes, payload + 8, 4) as usize;
            (0..number(bytes, payload + 20, 4) as usize).for_each(|i| add(bytes, kills + 8 * i, rows));
        }
    }
    for kind in [FileKind::Row, FileKind::IdTable, FileKind::Tombstone] {
        for bytes in of_kind(files, kind) {
            let footer = bytes.len() - FOOTER;
            add(bytes, footer + 32, rows);
            add(bytes, footer + 40, rows);
            for section in sections(bytes).into_iter().filter(|s| [0x101, 0x201, 0x301].contains(&s.kind)) {
                (0..section.entries).for_each(|i| add(bytes, section.offset + i * section.width, pages));
            }
        }
    }
}

/// Every sequence number larger.
fn shift_seqs(files: &mut Files, by: u64) {
    add_to_heads(files, 88, by);
    add_to_entries(files, &[56, 64], by);
    for bytes in of_kind(files, FileKind::Wal) {
        add(bytes, 56, by);
        records(bytes).into_iter().for_each(|(at, _)| add(bytes, at + 8, by));
    }
    for kind in [FileKind::Row, FileKind::IdTable, FileKind::Tombstone] {
        for bytes in of_kind(files, kind) {
            let footer = bytes.len() - FOOTER;
            add(bytes, footer + 48, by);
            add(bytes, footer + 56, by);
            for section in sections(bytes).into_iter().filter(|s| s.kind == 0x104) {
                (0..section.entries).for_each(|i| add(bytes, section.offset + i * 8, by));
            }
        }
    }
}

/// Every manifest of a larger generation, under the name that goes with it.
fn shift_generations(files: &mut Files, by: u64) {
    add_to_heads(files, 32, by);
    add_to_heads(files, 40, by);
    let renamed = |(name, bytes)| match name {
        FileName::Manifest(generation) => (FileName::Manifest(generation + by), bytes),
        other => (other, bytes),
    };
    *files = std::mem::take(files).into_iter().map(renamed).collect();
}

fn read(fixture: &Fixture, shift: impl Fn(&mut Files)) -> Reading {
    let mut files = fixture.files();
    shift(&mut files);
    seal_all(&mut files);
    read_everything(&dir_of(&files), &fixture.ids)
}

#[test]
fn collections_that_have_counted_far_are_as_sound_as_others() {
    let is_sound = |reading: Reading, what: &str, by: u64| {
        assert!(reading.sound && reading.opened && reading.refused == 0, "{what} + {by:#x}: {reading:?}");
    };
    for fixture in all() {
        for by in [0, 1, 1 << 20, 1 << 40, (END >> 12) - 2] {
            is_sound(read(&fixture, |files| shift_rows(files, by)), "pages", by);
        }
        for by in [0, 1, 1 << 32, END - 100] {
            is_sound(read(&fixture, |files| shift_seqs(files, by)), "sequence numbers", by);
            is_sound(read(&fixture, |files| shift_generations(files, by)), "generations", by);
            is_sound(read(&fixture, |files| add_to_heads(files, 72, by)), "file numbers", by);
        }
    }
}

/// [C18] Where the numbers end, a collection may be refused; nothing overflows.
#[test]
fn counters_at_their_end_are_survived() {
    for fixture in all() {
        for below in (0..40).chain([64, 4096]) {
            for by in [END, 1 << 63, u64::MAX].map(|end| end - below) {
                read(&fixture, |files| shift_rows(files, by >> 12));
                read(&fixture, |files| shift_rows(files, (by >> 12).wrapping_add(1)));
                read(&fixture, |files| shift_seqs(files, by));
                read(&fixture, |files| add_to_heads(files, 72, by));
                if below > 9 {
                    read(&fixture, |files| shift_generations(files, by));
                }
                let stranger = FileName::File(FileKind::Temp, FileId { number: by, epoch: 1 });
                read(&fixture, |files| drop(files.insert(stranger, Vec::new())));
            }
        }
    }
}
