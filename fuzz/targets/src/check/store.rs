//! Whole directories with false files in them.

use std::cell::OnceCell;

use stratavec::storage::{FileId, FileKind, FileName};

use crate::fixture::{self, Fixture};
use crate::input::Input;
use crate::layout::{Place, places};
use crate::reading::read_everything;
use crate::seal::{Files, dir_of, number, put, seal_all, state};

/// A fixture, taken apart.
struct Subject {
    fixture: Fixture,
    files: Files,
    places: Vec<Place>,
}

thread_local! {
    static SUBJECTS: OnceCell<Vec<Subject>> = const { OnceCell::new() };
}

fn with_subject(input: &mut Input<'_>, work: impl FnOnce(&Subject, &mut Input<'_>)) {
    SUBJECTS.with(|subjects| {
        let subjects = subjects.get_or_init(|| {
            let take = |fixture: Fixture| {
                let files = fixture.files();
                Subject { places: places(&files), files, fixture }
            };
            fixture::all().into_iter().map(take).collect()
        });
        work(&subjects[input.below(subjects.len())], input);
    });
}

/// Bytes in the place of an immutable file or a log, as they are or sealed; the manifest states what they say of themselves.
pub fn segment_raw(data: &[u8]) {
    let mut input = Input::new(data);
    with_subject(&mut input, |subject, input| {
        let kinds = [FileKind::Row, FileKind::IdTable, FileKind::Tombstone, FileKind::Wal];
        let candidates: Vec<FileName> = subject
            .files
            .keys()
            .copied()
            .filter(|name| name.kind().is_some_and(|kind| kinds.contains(&kind)))
            .collect();
        let name = candidates[input.below(candidates.len())];
        let sealed = input.u8() & 1 == 1;
        let mut files = subject.files.clone();
        files.insert(name, input.rest().to_vec());
        match sealed {
            true => seal_all(&mut files),
            false => restate(&mut files, name),
        }
        read_everything(&dir_of(&files), &subject.fixture.ids);
    });
}

/// Lets the newest manifest state what a file says of itself, right or wrong.
fn restate(files: &mut Files, name: FileName) {
    let Some(facts) = files.get(&name).and_then(|bytes| crate::seal::facts(bytes)) else { return };
    let newest = files.keys().rev().find(|name| matches!(name, FileName::Manifest(_))).copied();
    if let Some((manifest, mut bytes)) = newest.and_then(|newest| files.remove_entry(&newest)) {
        state(&mut bytes, name.file_id(), &facts);
        crate::seal::seal_file(manifest, &mut bytes);
        files.insert(manifest, bytes);
    }
}

/// Up to eight false fields, anywhere, with every checksum right.
pub fn segment_resealed(data: &[u8]) {
    let mut input = Input::new(data);
    with_subject(&mut input, |subject, input| {
        let mut files = subject.files.clone();
        for _ in 0..8 {
            if input.is_empty() {
                break;
            }
            edit_field(&mut files, &subject.places, input);
        }
        seal_all(&mut files);
        read_everything(&dir_of(&files), &subject.fixture.ids);
    });
}

fn edit_field(files: &mut Files, places: &[Place], input: &mut Input<'_>) {
    let place = &places[input.below(places.len())];
    let Some(bytes) = files.get_mut(&place.file) else { return };
    let now = number(bytes, place.at, place.size);
    let value = match input.below(8) {
        0 => input.u64(),
        1 => now.wrapping_add(1),
        2 => now.wrapping_sub(1),
        3 => u64::MAX,
        4 => u64::MAX - 1,
        5 => now ^ 1 << (input.u8() % 64),
        6 => input.u64() >> (input.u8() % 64),
        _ => u64::from(input.u8()),
    };
    let patch = value.to_le_bytes();
    let patch = &patch[..place.size.min(8)];
    put(bytes, place.at, patch);
    if let Some(twin) = place.twin {
        put(bytes, twin, patch);
    }
}

/// A directory whose files were removed, swapped, cut, doubled, overwritten in part; sealed afterwards or not.
pub fn store_dir(data: &[u8]) {
    let mut input = Input::new(data);
    with_subject(&mut input, |subject, input| {
        let sealed = input.u8() & 1 == 1;
        let mut files = subject.files.clone();
        let mut special = None;
        for _ in 0..6 {
            if input.is_empty() {
                break;
            }
            let name = pick(&files, input);
            match input.below(8) {
                0 => drop(files.remove(&name)),
                1 => swap(&mut files, name, input),
                2 => copy(&mut files, name, input),
                3 => resize(files.entry(name).or_default(), input),
                4 => special = Some(name),
                5 => edit_field(&mut files, &subject.places, input),
                _ => overwrite(files.entry(name).or_default(), input),
            }
            if files.is_empty() {
                return;
            }
        }
        if sealed {
            seal_all(&mut files);
        }
        let dir = dir_of(&files);
        if let Some(name) = special {
            dir.put_special(name);
        }
        read_everything(&dir, &subject.fixture.ids);
    });
}

fn pick(files: &Files, input: &mut Input<'_>) -> FileName {
    let at = input.below(files.len());
    files.keys().nth(at).copied().unwrap_or(FileName::Lock)
}

fn swap(files: &mut Files, one: FileName, input: &mut Input<'_>) {
    let two = pick(files, input);
    if let (Some(a), Some(b)) = (files.remove(&one), files.remove(&two)) {
        files.insert(one, b);
        files.insert(two, a);
    }
}

/// The same bytes under another name of any kind.
fn copy(files: &mut Files, name: FileName, input: &mut Input<'_>) {
    let Some(bytes) = files.get(&name).cloned() else { return };
    let number = input.u64() >> (input.u8() % 64);
    let id = FileId { number, epoch: name.file_id().epoch };
    let other = match input.below(4) {
        0 => FileName::Manifest(number),
        1 => FileName::File(FileKind::Wal, id),
        2 => FileName::File(FileKind::Temp, id),
        _ => name.kind().map_or(FileName::Lock, |kind| FileName::File(kind, id)),
    };
    if !matches!(other, FileName::File(FileKind::Manifest, _) | FileName::Lock) {
        files.insert(other, bytes);
    }
}

fn resize(bytes: &mut Vec<u8>, input: &mut Input<'_>) {
    let end = match input.u8() & 1 {
        0 => input.below(bytes.len() + 1),
        _ => bytes.len() + input.below(5000),
    };
    let fill = input.u8();
    bytes.resize(end, fill);
}

fn overwrite(bytes: &mut [u8], input: &mut Input<'_>) {
    let at = input.below(bytes.len() + 1);
    let count = input.below(64);
    let patch = input.bytes(count);
    put(bytes, at, patch);
}
