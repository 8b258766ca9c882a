//! A store of one log, one segment and one manifest, small enough to see through, with defects that can be switched
//! on. It shows that the enumeration of crash images finds each of them, and finds nothing in the correct order.

use std::collections::HashSet;
use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;

use super::content::Hash128;
use super::{CrashOptions, Fault, FaultDir, FaultPlan, MemDir, Op, Repeat, Rule, TraceDir};
use crate::storage::{FileId, FileKind, FileName, Storage, StorageFile};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    NoDirSyncBeforePublish,
    ManifestNotSynced,
    AckBeforeLogSync,
    SegmentNotSynced,
    ChecksumsIgnored,
    RemoveBeforeDirSync,
    FailedSyncRetried,
}

const RECORD: usize = 200;

struct Toy {
    dir: Arc<dyn Storage>,
    defect: Defect,
    wal: Arc<dyn StorageFile>,
    wal_len: u64,
    number: u64,
    generation: u64,
    rows: Vec<Vec<u8>>,
}

fn name(kind: FileKind, number: u64) -> FileName {
    FileName::File(kind, FileId { number, epoch: 0 })
}

/// The bytes and a checksum bound to the file they are in.
fn sealed(mut bytes: Vec<u8>, number: u64) -> Vec<u8> {
    let mut hash = Hash128::new();
    hash.wide(number.into());
    hash.bytes(&bytes);
    bytes.extend((hash.finish() as u64).to_le_bytes());
    bytes
}

fn write_new(dir: &dyn Storage, name: FileName, bytes: &[u8], sync: bool) -> Result<Arc<dyn StorageFile>> {
    let file = dir.create(name)?;
    let mut done = 0;
    while done < bytes.len() {
        done += file.write_at(&bytes[done..], done as u64)?;
    }
    if sync { file.sync().map(|()| file) } else { Ok(file) }
}

fn row(seq: u64) -> Vec<u8> {
    vec![seq as u8; RECORD - 16]
}

impl Toy {
    fn unseal(defect: Defect, bytes: &[u8], number: u64) -> Option<&[u8]> {
        let body = &bytes[..bytes.len().checked_sub(8)?];
        (defect == Defect::ChecksumsIgnored || sealed(body.to_vec(), number) == bytes).then_some(body)
    }

    fn read(dir: &dyn Storage, name: FileName) -> Result<Vec<u8>> {
        let file = dir.open(name)?;
        if name.kind() == Some(FileKind::Row) {
            return Ok(file.map()?.bytes().to_vec());
        }
        let (mut bytes, mut done) = (vec![0; file.len()? as usize], 0);
        while done < bytes.len() {
            done += file.read_at(&mut bytes[done..], done as u64)?;
        }
        Ok(bytes)
    }

    /// Newest manifest, its segment, its log up to the first bad record; then everything into new files.
    fn open(dir: Arc<dyn Storage>, defect: Defect) -> Result<Toy> {
        let bad = |what| move || Error::new(ErrorKind::InvalidData, what);
        let names: Vec<FileName> = dir.list()?.iter().filter_map(|entry| entry.name).collect();
        let generation =
            names.iter().filter(|n| n.kind() == Some(FileKind::Manifest)).map(|n| n.file_id().number).max();
        let number = names.iter().map(|n| n.file_id().number).max().unwrap_or(0);
        let mut rows = Vec::new();
        if let Some(generation) = generation {
            let manifest = Toy::read(&*dir, FileName::Manifest(generation))?;
            let body = Toy::unseal(defect, &manifest, 0).ok_or_else(bad("manifest"))?;
            let files = u64::from_le_bytes(body[body.len() - 8..].try_into().unwrap());
            let segment = Toy::read(&*dir, name(FileKind::Row, files))?;
            let body = Toy::unseal(defect, &segment, files).ok_or_else(bad("segment"))?;
            rows.extend(body.chunks(RECORD - 16).map(<[u8]>::to_vec));
            for record in Toy::read(&*dir, name(FileKind::Wal, files))?.chunks_exact(RECORD) {
                let Some(body) = Toy::unseal(defect, record, files) else { break };
                if body[..8] != (rows.len() as u64 + 1).to_le_bytes() {
                    break;
                }
                rows.push(body[8..].to_vec());
            }
        }
        let wal = dir.create(name(FileKind::Temp, number + 1))?;
        let mut toy =
            Toy { dir, defect, wal, wal_len: 0, number: number + 1, generation: generation.unwrap_or(0), rows };
        toy.checkpoint()?;
        Ok(toy)
    }

    fn checkpoint(&mut self) -> Result<()> {
        self.number += 1;
        self.generation += 1;
        let (n, defect) = (self.number, self.defect);
        write_new(
            &*self.dir,
            name(FileKind::Row, n),
            &sealed(self.rows.concat(), n),
            defect != Defect::SegmentNotSynced,
        )?;
        let wal = write_new(&*self.dir, name(FileKind::Wal, n), &[], true)?;
        if defect != Defect::NoDirSyncBeforePublish {
            self.dir.sync_dir()?;
        }
        // Long enough to be torn.
        let body = [vec![7; 600], n.to_le_bytes().to_vec()].concat();
        let temp = name(FileKind::Temp, n);
        write_new(&*self.dir, temp, &sealed(body, 0), defect != Defect::ManifestNotSynced)?;
        self.dir.publish(temp, FileName::Manifest(self.generation))?;
        if defect != Defect::RemoveBeforeDirSync {
            self.dir.sync_dir()?;
        }
        let live =
            [FileName::Manifest(self.generation), name(FileKind::Row, n), name(FileKind::Wal, n), FileName::Lock];
        for old in self.dir.list()?.iter().filter_map(|e| e.name).filter(|n| !live.contains(n)) {
            self.dir.remove(old)?;
        }
        (self.wal, self.wal_len) = (wal, 0);
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        let seq = self.rows.len() as u64 + 1;
        let record = sealed([seq.to_le_bytes().to_vec(), row(seq)].concat(), self.number);
        let mut done = 0;
        while done < record.len() {
            done += self.wal.write_at(&record[done..], self.wal_len + done as u64)?;
        }
        match (self.defect, self.wal.sync()) {
            (_, Ok(())) | (Defect::AckBeforeLogSync, Err(_)) => {}
            (Defect::FailedSyncRetried, Err(_)) => self.wal.sync()?,
            (_, Err(error)) => return Err(error),
        }
        self.wal_len += RECORD as u64;
        self.rows.push(row(seq));
        Ok(())
    }
}

#[derive(Default)]
struct Tally {
    points: AtomicU64,
    images: AtomicU64,
    recoveries: AtomicU64,
    failures: AtomicU64,
    seen: Mutex<HashSet<(u128, u64, u64)>>,
}

/// Recovers one image; if `depth` is left, also every image of every call of that recovery.
fn check(image: &MemDir, defect: Defect, acked: u64, tried: u64, depth: u32, tally: &Arc<Tally>) {
    if depth > 0 {
        let inner = tally.clone();
        image.on_call(move |point| {
            for image in point.dir.crash_images(&CrashOptions::default()) {
                check(&image, defect, acked, tried, depth - 1, &inner);
            }
        });
    }
    tally.recoveries.fetch_add(1, SeqCst);
    let right = Toy::open(Arc::new(image.clone()), defect).is_ok_and(|toy| {
        let count = toy.rows.len() as u64;
        (acked..=tried).contains(&count) && toy.rows == (1..=count).map(row).collect::<Vec<_>>()
    });
    if !right {
        tally.failures.fetch_add(1, SeqCst);
    }
}

/// Runs commits and checkpoints and recovers from every image of every crash point.
fn crash_everywhere(defect: Defect, depth: u32) -> Arc<Tally> {
    let dir = MemDir::new(1);
    let mut toy = Toy::open(Arc::new(dir.clone()), defect).unwrap();
    dir.sync_dir().unwrap();
    let (tally, acked, tried) = (Arc::<Tally>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let (t, a, b) = (tally.clone(), acked.clone(), tried.clone());
    dir.on_call(move |point| {
        let (acked, tried) = (a.load(SeqCst), b.load(SeqCst));
        t.points.fetch_add(1, SeqCst);
        for image in point.dir.crash_set(&CrashOptions::default()).iter() {
            if t.seen.lock().insert((image.hash(), acked, tried)) {
                t.images.fetch_add(1, SeqCst);
                check(&image.build(), defect, acked, tried, depth, &t);
            }
        }
    });
    for step in [1, 1, 0, 1, 1, 1, 0, 1] {
        if step == 1 {
            tried.fetch_add(1, SeqCst);
            toy.commit().unwrap();
            acked.fetch_add(1, SeqCst);
        } else {
            toy.checkpoint().unwrap();
        }
    }
    tally
}

#[test]
fn the_correct_order_survives_every_crash_and_every_crash_of_its_recovery() {
    let tally = crash_everywhere(Defect::None, 1);
    assert_eq!(tally.failures.load(SeqCst), 0);
    assert!(tally.points.load(SeqCst) > 60 && tally.images.load(SeqCst) > 200);
    assert!(tally.recoveries.load(SeqCst) > 10_000);
}

#[test]
fn each_ordering_defect_is_found_by_some_crash_image() {
    for defect in [
        Defect::NoDirSyncBeforePublish,
        Defect::ManifestNotSynced,
        Defect::SegmentNotSynced,
        Defect::ChecksumsIgnored,
        Defect::RemoveBeforeDirSync,
    ] {
        assert!(crash_everywhere(defect, 0).failures.load(SeqCst) > 0, "{defect:?}");
    }
}

/// Fails each sync in turn, lying, and asks after a power loss for every commit that was acknowledged. Returns whether
/// all were there, for every sync of the run.
fn survives_failed_syncs(defect: Defect) -> bool {
    for after in 0.. {
        let mem = MemDir::new(1);
        let faults = Arc::new(FaultDir::with_disk(mem.clone(), &mem));
        let mut toy = Toy::open(faults.clone(), defect).unwrap();
        faults.arm(FaultPlan::new(Fault::LyingSync, after, Repeat::Once).on(&[Op::Sync]).of(&[FileKind::Wal]));
        let mut acked = 0;
        while acked < 5 && toy.commit().is_ok() {
            acked += 1;
        }
        if faults.fired() == 0 {
            return true;
        }
        for image in mem.crash_images(&CrashOptions::default()) {
            if Toy::open(Arc::new(image), Defect::None).is_ok_and(|toy| toy.rows.len() < acked) {
                return false;
            }
        }
    }
    unreachable!("the plan ends when no sync is left to fail")
}

#[test]
fn believing_a_sync_that_was_tried_again_is_found() {
    assert!(survives_failed_syncs(Defect::None));
    assert!(!survives_failed_syncs(Defect::FailedSyncRetried));
    assert!(!survives_failed_syncs(Defect::AckBeforeLogSync));
}

#[test]
fn the_order_rules_name_the_defect_without_any_crash() {
    let broken = |defect| -> HashSet<Rule> {
        let dir = Arc::new(TraceDir::new(MemDir::new(1)).checking_names());
        let mut toy = Toy::open(dir.clone(), defect).unwrap();
        toy.commit().unwrap();
        toy.checkpoint().unwrap();
        dir.violations().iter().map(|violation| violation.rule).collect()
    };
    assert_eq!(broken(Defect::None), HashSet::new());
    assert_eq!(broken(Defect::ManifestNotSynced), HashSet::from([Rule::PublishUnsynced]));
    assert_eq!(broken(Defect::RemoveBeforeDirSync), HashSet::from([Rule::RemoveBeforeDirSync]));
    assert_eq!(broken(Defect::NoDirSyncBeforePublish), HashSet::from([Rule::NameNotDurable]));
}

#[test]
fn every_call_of_a_run_can_be_failed_and_the_run_reopens_afterwards() {
    for fault in Fault::ALL {
        let mut after = 0;
        loop {
            let mem = MemDir::new(1);
            let dir = Arc::new(FaultDir::with_disk(mem.clone(), &mem));
            dir.arm(FaultPlan::new(fault, after, Repeat::Once));
            let mut acked = 0;
            let run = [1, 0, 2].into_iter().try_for_each(|commits| {
                let mut toy = Toy::open(dir.clone(), Defect::None)?;
                (0..commits).try_for_each(|_| toy.commit().map(|()| acked += 1))?;
                toy.checkpoint()
            });
            if dir.fired() == 0 {
                assert!(run.is_ok() && after == dir.matched() && after > 0, "{fault:?}: {after} calls failed");
                break;
            }
            for found in mem.crash_images(&CrashOptions::default()).chain([mem.process_crash()]) {
                let rows = Toy::open(Arc::new(found), Defect::None).map(|toy| toy.rows.len());
                assert!(rows.as_ref().is_ok_and(|rows| *rows >= acked), "{fault:?} after {after}: {acked}, {rows:?}");
            }
            after += 1;
        }
    }
}
