//! The simulated directory answers as a real one does: the same random calls on both, the same results.

use std::io;
use std::sync::Arc;

use super::MemDir;
use super::content::next_random;
use crate::storage::{FileId, FileKind, FileName, LockOutcome, RealDir, Storage, StorageFile};

type Handle = io::Result<Arc<dyn StorageFile>>;

fn name(random: u64) -> FileName {
    let kind = [FileKind::Row, FileKind::Temp, FileKind::Wal][(random % 3) as usize];
    FileName::File(kind, FileId { number: random / 3 % 3, epoch: 1 })
}

/// A result as text: the value, or the kind of error.
fn told<T: std::fmt::Debug>(result: io::Result<T>) -> String {
    result.map_or_else(|e| format!("{:?}", e.kind()), |value| format!("{value:?}"))
}

/// One side of the comparison.
struct Side {
    dir: Box<dyn Storage>,
    /// Open files, with the name they were opened by.
    files: Vec<(FileName, Arc<dyn StorageFile>)>,
}

impl Side {
    fn keep(&mut self, name: FileName, handle: Handle) -> String {
        told(handle.map(|file| self.files.push((name, file))))
    }

    fn publish(&mut self, from: FileName, to: FileName) -> String {
        let result = self.dir.publish(from, to);
        if result.is_ok() {
            // A handle that made the file must not write to it any more: on a real disk nothing would stop it.
            self.files.retain(|(name, _)| *name != from);
        }
        told(result)
    }

    fn on_file(&self, at: u64, call: impl FnOnce(&dyn StorageFile) -> String) -> String {
        match self.files.get(at as usize % self.files.len().max(1)) {
            Some((_, file)) => call(&**file),
            None => String::new(),
        }
    }

    fn listing(&self) -> String {
        let list = self.dir.list().unwrap();
        let mut entries: Vec<_> = list.into_iter().filter(|e| e.name != Some(FileName::Lock)).collect();
        entries.sort_by(|a, b| a.text.cmp(&b.text));
        format!("{entries:?}")
    }

    /// The call that the random numbers stand for.
    fn step(&mut self, r: [u64; 4]) -> String {
        let (one, two, offset) = (name(r[1]), name(r[2]), r[3] % 1500);
        match r[0] % 13 {
            0 | 1 => {
                let handle = self.dir.create(one);
                self.keep(one, handle)
            }
            2 => {
                let handle = self.dir.open(one);
                self.keep(one, handle)
            }
            3 => self.publish(one, two),
            4 => told(self.dir.remove(one)),
            5 | 6 => self.on_file(r[1], |f| told(f.write_at(&vec![r[2] as u8; (r[2] % 900) as usize], offset))),
            7 => self.on_file(r[1], |f| {
                let mut buf = vec![0; (r[2] % 900) as usize];
                told(f.read_at(&mut buf, offset)) + &format!("{buf:?}")
            }),
            8 => self.on_file(r[1], |f| told(f.truncate(offset))),
            9 => self.on_file(r[1], |f| told(f.map().map(|view| view.bytes().to_vec()))),
            10 => self.on_file(r[1], |f| told(f.sync()) + &told(f.reserve(offset, r[2] % 900)) + &told(f.len())),
            11 if r[2].is_multiple_of(4) => self.on_file(r[1], |f| told(f.seal())),
            11 => told(self.dir.sync_dir()),
            _ => {
                let busy = matches!(self.dir.lock().unwrap(), LockOutcome::Busy { .. });
                format!("{busy} {}", self.listing())
            }
        }
    }
}

#[test]
fn the_simulated_directory_answers_as_a_real_one() {
    for seed in 0..40 {
        let outer = tempfile::tempdir().unwrap();
        let real = RealDir::create(outer.path().join("collection")).unwrap();
        let mut real = Side { dir: Box::new(real), files: Vec::new() };
        let mut simulated = Side { dir: Box::new(MemDir::new(seed)), files: Vec::new() };
        let mut state = seed;
        for step in 0..300 {
            let random = [(); 4].map(|()| next_random(&mut state));
            let (expected, found) = (real.step(random), simulated.step(random));
            assert_eq!(expected, found, "seed {seed}, step {step}, call {}", random[0] % 13);
        }
        assert_eq!(real.listing(), simulated.listing());
    }
}
