//! A disk whose syncs take time and whose files can be held up: what a busy device does to the engine.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use stratavec::storage::testing::MemDir;
use stratavec::storage::{DirEntry, FileKind, FileName, LockOutcome, Mapping, Storage, StorageFile};

#[derive(Default)]
struct Held {
    /// Creating files of this kind waits until it is let go.
    kind: Option<FileKind>,
    /// How many calls wait.
    waiting: u64,
}

struct Control {
    disk: MemDir,
    sync_micros: AtomicU64,
    held: Mutex<Held>,
    changed: Condvar,
}

/// A simulated disk behind a slow line.
#[derive(Clone)]
pub struct SlowDisk(Arc<Control>);

impl SlowDisk {
    pub fn new(disk: MemDir) -> Arc<SlowDisk> {
        let held = Mutex::new(Held::default());
        Arc::new(SlowDisk(Arc::new(Control { disk, sync_micros: AtomicU64::new(0), held, changed: Condvar::new() })))
    }

    /// Every sync of a file takes this long from now on.
    pub fn syncs_take(&self, time: Duration) {
        self.0.sync_micros.store(time.as_micros() as u64, Ordering::Relaxed);
    }

    /// Creating a file of this kind waits from now on.
    pub fn hold(&self, kind: FileKind) {
        self.held().kind = Some(kind);
    }

    /// Lets everything go on.
    pub fn release(&self) {
        self.held().kind = None;
        self.0.changed.notify_all();
    }

    /// Waits until a call is held up.
    pub fn wait_until_held(&self) {
        let mut held = self.held();
        while held.waiting == 0 {
            held = self.0.changed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for SlowDisk {
    fn create(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        let mut held = self.held();
        if held.kind.is_some() && held.kind == name.kind() {
            held.waiting += 1;
            self.0.changed.notify_all();
            while held.kind == name.kind() {
                held = self.0.changed.wait(held).unwrap_or_else(PoisonError::into_inner);
            }
            held.waiting -= 1;
        }
        drop(held);
        let file = self.0.disk.create(name)?;
        Ok(Arc::new(SlowFile { file, control: self.0.clone() }))
    }

    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        self.0.disk.open(name)
    }

    fn publish(&self, from: FileName, to: FileName) -> io::Result<()> {
        self.0.disk.publish(from, to)
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.0.disk.remove(name)
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        self.0.disk.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.disk.sync_dir()
    }

    fn lock(&self) -> io::Result<LockOutcome> {
        self.0.disk.lock()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.0.disk.free_bytes()
    }

    fn nonce(&self) -> io::Result<u64> {
        self.0.disk.nonce()
    }

    fn describe(&self) -> String {
        self.0.disk.describe()
    }
}

struct SlowFile {
    file: Arc<dyn StorageFile>,
    control: Arc<Control>,
}

impl StorageFile for SlowFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.file.write_at(buf, at)
    }

    fn reserve(&self, at: u64, len: u64) -> io::Result<()> {
        self.file.reserve(at, len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        std::thread::sleep(Duration::from_micros(self.control.sync_micros.load(Ordering::Relaxed)));
        self.file.sync()
    }

    fn seal(&self) -> io::Result<()> {
        self.file.seal()
    }

    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        self.file.map()
    }
}
