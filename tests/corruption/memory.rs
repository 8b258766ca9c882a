//! Large forged files: what reading them takes is bounded by their length, not by what they say.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use stratavec::fuzzing::tombstone_bytes;
use stratavec::storage::{FileKind, FileName};
use stratavec::{Collection, OpenOptions, Verify};
use stratavec_fuzz_targets::fixture::{Fixture, numbers, options};
use stratavec_fuzz_targets::seal::{
    FOOTER, Files, append_record, facts_of, number, put, seal_all, seal_log, seal_tail, state,
};

use crate::heap::peak_of;

const FLOOR: usize = 64 << 20;

/// Writes the files, verifies and opens them, reads a little. Prints and returns the larger peak beside the bytes on disk.
fn peak(what: &str, files: &Files) -> (usize, usize) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("c");
    fs::create_dir(&dir).unwrap();
    for (name, bytes) in files {
        fs::write(dir.join(name.to_string()), bytes).unwrap();
    }
    let bytes: usize = files.values().map(Vec::len).sum();
    let start = Instant::now();
    let (sound, verified) = peak_of(|| Collection::verify(&dir, Verify::Full).unwrap().is_sound());
    let (outcome, opened) = peak_of(|| open(&dir));
    let time = start.elapsed();
    println!(
        "{what}: {} KiB on disk; verify {} KiB, sound {sound}; open {} KiB, {outcome}; {time:?}",
        bytes >> 10,
        verified >> 10,
        opened >> 10
    );
    assert!(time < Duration::from_secs(60), "{what}: {time:?}");
    (verified.max(opened), bytes)
}

fn open(dir: &Path) -> String {
    let options: OpenOptions = options();
    match Collection::open(dir, options) {
        Ok(c) => {
            let hits = c.snapshot().search(&vec![1.0; c.schema().dim()]).k(5).run();
            format!(
                "{} rows, search {:?}",
                c.snapshot().count(),
                hits.map(|hits| hits.len()).map_err(|error| error.kind())
            )
        }
        Err(error) => format!("{error:?}"),
    }
}

fn newest_manifest(files: &Files) -> FileName {
    files.keys().rfind(|name| matches!(name, FileName::Manifest(_))).copied().unwrap()
}

/// The log of a fixture cut to its header, and the numbers that continue it: next sequence number, next row.
fn empty_log(fixture: &Fixture, files: &mut Files) -> (FileName, u64, u64) {
    let manifest = &files[&newest_manifest(files)];
    let (next_row, covered) = (number(manifest, 80, 8), number(manifest, 88, 8));
    let log = fixture.logs()[0];
    files.get_mut(&log).unwrap().truncate(128);
    (log, covered + 1, next_row)
}

/// A batch of `count` operations of these bytes.
fn batch(first_row: u64, op: &dyn Fn(usize) -> Vec<u8>, count: usize, puts: usize, kills: &[u64]) -> Vec<u8> {
    let mut ops = Vec::new();
    for i in 0..count {
        ops.extend(op(i));
        ops.resize(ops.len().next_multiple_of(8), 0);
    }
    let mut payload = first_row.to_le_bytes().to_vec();
    for word in [ops.len(), count, puts, kills.len()] {
        payload.extend_from_slice(&(word as u32).to_le_bytes());
    }
    payload.extend_from_slice(&[0; 16]);
    payload.extend(ops);
    payload.extend(kills.iter().flat_map(|row| row.to_le_bytes()));
    payload
}

fn delete_op(i: usize) -> Vec<u8> {
    let mut op = vec![2, 0, 8, 0];
    op.extend_from_slice(&[0; 12]);
    op.extend_from_slice(&(i as u64).to_le_bytes());
    op
}

fn put_op(i: usize) -> Vec<u8> {
    let mut op = delete_op(i);
    op[0] = 1;
    op.extend_from_slice(&[0x00, 0x3C, 0, 0, 0, 0, 0, 0]);
    op
}

/// [C18] A log of nothing but deletes, in one record or in many.
#[test]
fn a_log_of_many_deletes_takes_little_memory() {
    for (records, each) in [(1, 1_000_000), (200_000, 2)] {
        let fixture = numbers();
        let mut files = fixture.files();
        let (log, seq, row) = empty_log(&fixture, &mut files);
        let bytes = files.get_mut(&log).unwrap();
        let payload = batch(row, &delete_op, each, 0, &[]);
        for i in 0..records {
            append_record(bytes, 1, seq + i, 128, &payload);
        }
        seal_log(bytes, log.file_id(), None);
        let (peak, bytes) = peak(&format!("{records} records of {each} deletes"), &files);
        assert!(peak <= FLOOR.max(2 * bytes), "{peak} bytes of memory for {bytes}");
    }
}

/// [C18] A log of rows as small as they can be: they become rows in memory, which take more than their bytes.
#[test]
fn a_log_of_small_rows_takes_memory_in_proportion() {
    for (records, each) in [(1, 800_000), (64, 8_000), (100_000, 3)] {
        let fixture = numbers();
        let mut files = fixture.files();
        let (log, seq, row) = empty_log(&fixture, &mut files);
        let bytes = files.get_mut(&log).unwrap();
        for i in 0..records {
            let payload = batch(row + (i * each) as u64, &|j| put_op(i * each + j), each, each, &[]);
            append_record(bytes, 1, seq + i as u64, 128, &payload);
        }
        seal_log(bytes, log.file_id(), None);
        let (peak, bytes) = peak(&format!("{records} records of {each} rows"), &files);
        println!("  {:.1} times the bytes on disk", peak as f64 / bytes as f64);
        assert!(peak <= FLOOR.max(8 * bytes), "{peak} bytes of memory for {bytes}");
    }
}

/// [C18] A tombstone file whose bitmaps name millions of rows, which no file has.
#[test]
fn a_tombstone_file_of_many_bitmaps_takes_little_memory() {
    let fixture = numbers();
    let mut files = fixture.files();
    let name = *files.keys().find(|name| name.kind() == Some(FileKind::Tombstone)).unwrap();
    let old = &files[&name];
    let (footer, interval) =
        (old.len() - FOOTER, (number(old, old.len() - FOOTER + 48, 8), number(old, old.len() - FOOTER + 56, 8)));
    let (ids, origin) = (old[24..56].to_vec(), old[footer + 64..footer + 80].to_vec());
    let rows: Vec<u64> = (0..16_000_000).collect();
    let mut bytes = tombstone_bytes(&rows, interval).unwrap();
    drop(rows);
    put(&mut bytes, 24, &ids);
    let footer = bytes.len() - FOOTER;
    put(&mut bytes, footer + 64, &origin);
    files.insert(name, bytes);
    seal_all(&mut files);
    let (peak, bytes) = peak("16 million dead rows", &files);
    assert!(peak <= FLOOR.max(2 * bytes), "{peak} bytes of memory for {bytes}");
}

/// [C18] A manifest as large as it may be, full of files that are not there.
#[test]
fn a_manifest_of_many_files_takes_memory_in_proportion() {
    let fixture = numbers();
    let mut files = fixture.files();
    let name = newest_manifest(&files);
    let old = files[&name].clone();
    // Head and origins stay; one table of tombstone files takes the place of all others.
    let (head, origins) = (&old[..176], &old[176..208]);
    let entries = 200_000u64;
    let mut entry = vec![0; 80];
    entry[8..16].copy_from_slice(&5u64.to_le_bytes());
    let mut copy = [head, origins, &4u16.to_le_bytes(), &[0, 0], &80u32.to_le_bytes(), &entries.to_le_bytes()].concat();
    for i in 0..entries {
        put(&mut entry, 0, &i.to_le_bytes());
        copy.extend_from_slice(&entry);
    }
    copy.extend_from_slice(&[0; 8]);
    let len = copy.len();
    put(&mut copy, 12, &(len as u32).to_le_bytes());
    put(&mut copy, 28, &2u32.to_le_bytes());
    let mut bytes = copy.clone();
    bytes.resize(len.next_multiple_of(4096), 0);
    bytes.extend(copy);
    files.insert(name, bytes);
    seal_all(&mut files);
    let (peak, bytes) = peak("a manifest of 200,000 files", &files);
    println!("  {:.1} times the bytes on disk", peak as f64 / bytes as f64);
    assert!(peak <= FLOOR.max(2 * bytes), "{peak} bytes of memory for {bytes}");
}

/// A file of 256 GiB that is nearly all hole costs its directory to open, and its rows to search.
#[test]
fn a_huge_sparse_file_is_opened_without_being_read() {
    use std::os::unix::fs::FileExt;
    const FAR: u64 = 256 << 30;
    let fixture = numbers();
    let mut files = fixture.files();
    let name = *files.keys().find(|name| name.kind() == Some(FileKind::Row)).unwrap();
    let bytes = files.remove(&name).unwrap();
    let (content, tail) = bytes.split_at(number(&bytes, bytes.len() - FOOTER + 8, 8) as usize);
    let mut tail = tail.to_vec();
    let len = FAR + tail.len() as u64;
    let footer = tail.len() - FOOTER;
    put(&mut tail, footer, &len.to_le_bytes());
    put(&mut tail, footer + 8, &FAR.to_le_bytes());
    seal_tail(name.file_id(), &content[..64], FAR, &mut tail);
    let manifest = newest_manifest(&files);
    let facts = facts_of(len, tail.last_chunk().unwrap()).unwrap();
    state(files.get_mut(&manifest).unwrap(), name.file_id(), &facts);
    seal_all(&mut files);
    let temp = tempfile::tempdir().unwrap();
    for (name, bytes) in &files {
        fs::write(temp.path().join(name.to_string()), bytes).unwrap();
    }
    let file = fs::File::create(temp.path().join(name.to_string())).unwrap();
    if file.set_len(len).is_err() {
        println!("skipped: no files of {len} bytes here");
        return;
    }
    file.write_all_at(content, 0).unwrap();
    file.write_all_at(&tail, FAR).unwrap();
    let start = Instant::now();
    let (outcome, peak) = peak_of(|| {
        let report = Collection::verify(temp.path(), Verify::Quick).unwrap();
        assert!(report.is_sound(), "{:?}", report.findings);
        open(temp.path())
    });
    println!("256 GiB: {outcome}, {} KiB, {:?}", peak >> 10, start.elapsed());
    assert!(outcome.ends_with("search Ok(5)"), "{outcome}");
    assert!(start.elapsed() < Duration::from_secs(20) && peak < 1 << 20, "{:?}, {peak} bytes", start.elapsed());
}
