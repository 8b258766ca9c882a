//! Damage that has to be told from a torn tail, or lived with: what the crash suites cannot cause by stopping the machine.

use std::sync::Arc;

use stratavec::storage::testing::{FaultDir, MemDir};
use stratavec::storage::{FileKind, FileName};
use stratavec::{Background, Collection, Compaction, ErrorKind, IdKind, Metric, OpenOptions, Schema, Verify};

use crate::explore::stall;

type Outcome = Result<(), String>;

fn options() -> OpenOptions {
    OpenOptions::new().background(Background::Inline).compaction(Compaction::Manual)
}

fn create(disk: &MemDir) -> Collection {
    let schema = Schema::new(4, Metric::L2).ids(IdKind::U64);
    Collection::create_in(Arc::new(disk.clone()), schema, options()).expect("create")
}

fn newest(disk: &MemDir, kind: FileKind) -> FileName {
    let of_kind = |name: &FileName| name.kind() == Some(kind);
    disk.names().into_iter().filter(of_kind).max_by_key(|name| name.file_id().number).expect("a file of this kind")
}

fn must(condition: bool, what: &str) -> Outcome {
    if condition { Ok(()) } else { Err(what.to_owned()) }
}

/// A record is damaged behind which others were written that knew it to be durable.
pub fn damage_before_durable_records_is_refused() -> Outcome {
    let disk = MemDir::new(1);
    let collection = create(&disk);
    for id in 0..3u64 {
        collection.upsert(id, &[id as f32; 4]).expect("commit");
    }
    drop(collection);
    let log = newest(&disk, FileKind::Wal);
    // Behind the header: the first record, its header and its payload.
    for byte in [128, 132, 140, 156, 170, 200] {
        let damaged = disk.fork();
        damaged.flip_bit(log, byte * 8 + 3);
        let before = damaged.image_hash();
        match Collection::open_in(Arc::new(damaged.clone()), options()) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(format!("byte {byte} of the log: {error:?}")),
            Ok(found) => return Err(format!("byte {byte}: {} of 3 batches are left, silently", found.last_seq())),
        }
        must(damaged.image_hash() == before, "a refused open changed the files")?;
    }
    Ok(())
}

/// A roll record is damaged, or the log it names is missing: the batches in the next log cannot be reached.
pub fn a_broken_chain_is_refused() -> Outcome {
    let disk = MemDir::new(1);
    let faults = Arc::new(FaultDir::new(disk.clone()));
    let schema = Schema::new(4, Metric::L2).ids(IdKind::U64);
    let stalled = options().flush_rows(2);
    let collection = Collection::create_in(faults.clone(), schema, stalled).expect("create");
    stall(&faults, true);
    for id in 0..3u64 {
        collection.upsert(id, &[id as f32; 4]).expect("commit");
    }
    drop(collection);
    let mut logs: Vec<FileName> = disk.names().into_iter().filter(|n| n.kind() == Some(FileKind::Wal)).collect();
    logs.sort_by_key(|name| name.file_id().number);
    let [first, second] = logs[..] else { return Err(format!("there are {} logs", logs.len())) };
    let end = disk.file_bytes(first).map_or(0, |bytes| bytes.len() as u64);
    let (damaged, missing) = (disk.fork(), disk.fork());
    damaged.flip_bit(first, (end - 20) * 8);
    missing.remove_raw(second);
    for (what, disk) in [("a damaged roll record", damaged), ("a missing log", missing)] {
        let before = disk.image_hash();
        match Collection::open_in(Arc::new(disk.clone()), options()) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            other => return Err(format!("{what}: {other:?}")),
        }
        must(disk.image_hash() == before, "a refused open changed the files")?;
    }
    let found = Collection::open_in(Arc::new(disk), options()).map_err(|error| format!("undamaged: {error:?}"))?;
    must(found.last_seq() == 3, "the undamaged chain holds three batches")
}

/// The first copy of the newest manifest is damaged, then the second as well.
pub fn a_manifest_survives_in_its_second_copy() -> Outcome {
    let disk = MemDir::new(1);
    let collection = create(&disk);
    collection.upsert(7u64, &[1.0; 4]).expect("commit");
    collection.close().expect("close");
    let manifest = newest(&disk, FileKind::Manifest);
    disk.flip_bit(manifest, 40 * 8);
    let once = disk.fork();
    let found = Collection::open_in(Arc::new(once), options()).map_err(|error| format!("second copy: {error:?}"))?;
    must(found.recovery().manifest_copy_used, "recovery does not say that it used the second copy")?;
    must(found.snapshot().contains(7u64).unwrap_or(false), "the row is gone")?;
    disk.flip_bit(manifest, (4096 + 40) * 8);
    match Collection::open_in(Arc::new(disk), options()) {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(()),
        other => Err(format!("both copies are damaged: {other:?}")),
    }
}

/// Every sector of two row files of the same shape and of the same ids changes places with its counterpart: blocks that a
/// disk wrote to the wrong file.
pub fn blocks_of_another_file_are_refused() -> Outcome {
    let disk = MemDir::new(1);
    let collection = create(&disk);
    let mut files = Vec::new();
    for round in 0..2 {
        let mut batch = collection.batch();
        for id in 0..40u64 {
            batch.upsert(id, &[id as f32, round as f32, 1.0, 2.0]);
        }
        batch.commit().expect("commit");
        collection.flush().expect("flush");
        files.push(newest(&disk, FileKind::Row));
    }
    collection.close().expect("close");
    let lengths = [files[0], files[1]].map(|name| disk.file_bytes(name).map_or(0, |bytes| bytes.len()));
    must(lengths[0] == lengths[1] && lengths[0] > 1024, "the row files differ in shape")?;
    // Within the vectors, which begin at the second page or in the first: any place will do that differs.
    for at in (0..lengths[0] - 32).step_by(32) {
        let mixed = disk.fork();
        mixed.swap_ranges((files[0], at), (files[1], at), 32);
        if mixed.image_hash() == disk.image_hash() {
            continue;
        }
        let report = Collection::verify_in(&mixed, Verify::Full).map_err(|error| format!("verify: {error:?}"))?;
        must(!report.is_sound(), &format!("verify does not see that 32 bytes at {at} are those of another file"))?;
        let Ok(opened) = Collection::open_in(Arc::new(mixed), options()) else { continue };
        for id in 0..40u64 {
            match opened.snapshot().get(id) {
                Err(_) => {}
                Ok(Some(item)) if item.vector[..2] == [id as f32, 1.0] => {}
                Ok(found) => return Err(format!("get({id}) gives {found:?} after 32 bytes at {at} changed files")),
            }
        }
    }
    Ok(())
}

/// Each bit of the vectors of a row file.
pub fn a_flipped_bit_is_never_served() -> Outcome {
    let disk = MemDir::new(1);
    let collection = create(&disk);
    collection.upsert(1u64, &[1.0, 2.0, 3.0, 4.0]).expect("commit");
    collection.close().expect("close");
    let rows = newest(&disk, FileKind::Row);
    let length = disk.file_bytes(rows).map_or(0, |bytes| bytes.len() as u64);
    for bit in (0..length * 8).step_by(5) {
        let damaged = disk.fork();
        damaged.flip_bit(rows, bit);
        let report = Collection::verify_in(&damaged, Verify::Full).map_err(|error| format!("verify: {error:?}"))?;
        must(!report.is_sound(), &format!("verify does not see that bit {bit} of the row file is wrong"))?;
        let Ok(opened) = Collection::open_in(Arc::new(damaged), options()) else { continue };
        match opened.snapshot().get(1u64) {
            Err(_) => {}
            Ok(Some(item)) if item.vector == [1.0, 2.0, 3.0, 4.0] => {}
            Ok(found) => return Err(format!("get() gives {found:?} with bit {bit} wrong")),
        }
    }
    Ok(())
}

/// [C14] [C15] [WAL-5] Damage to a part of the log that was durable is named, and nothing is changed.
#[test]
fn damage_to_the_durable_part_of_a_log_refuses_the_open() {
    damage_before_durable_records_is_refused().unwrap();
}

/// [C14] [WAL-6] [WAL-7] A log that cannot be reached any more is missed.
#[test]
fn a_broken_chain_of_logs_refuses_the_open() {
    a_broken_chain_is_refused().unwrap();
}

/// [C14] One damaged copy of the manifest costs nothing; two are named, and no older manifest stands in.
#[test]
fn one_damaged_manifest_copy_costs_nothing() {
    a_manifest_survives_in_its_second_copy().unwrap();
}

/// [C14] A block in the wrong file is found by verify and never served.
#[test]
fn exchanged_blocks_are_found() {
    blocks_of_another_file_are_refused().unwrap();
}

/// [C14] A flipped bit is found by verify and never served.
#[test]
fn flipped_bits_are_found() {
    a_flipped_bit_is_never_served().unwrap();
}
