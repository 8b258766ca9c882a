//! A directory in which the process dies at one of its own calls, also in the middle of a write.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use stratavec::storage::{DirEntry, FileName, LockOutcome, Mapping, RealDir, Storage, StorageFile};

/// A directory of the operating system whose user has so many calls left to live that change something. A timer nearly never hits a
/// write; this ends the process in one, with a part of it done.
pub struct MortalDir {
    inner: RealDir,
    left: Arc<AtomicI64>,
}

impl MortalDir {
    /// The directory at a path, made if it is not there; the process ends in the call number `calls`, counted from 0.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn new(path: impl AsRef<Path>, calls: u64) -> io::Result<MortalDir> {
        let inner = match RealDir::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => RealDir::create(&path)?,
            other => other?,
        };
        Ok(MortalDir { inner, left: Arc::new(AtomicI64::new(calls.min(i64::MAX as u64) as i64)) })
    }

    fn file(&self, inner: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(MortalFile { inner, left: self.left.clone() })
    }
}

/// Whether this call is the last.
fn is_last(left: &AtomicI64) -> bool {
    left.fetch_sub(1, Ordering::SeqCst) == 0
}

/// No destructor runs and nothing is flushed, as after a SIGKILL.
fn live_or_die(left: &AtomicI64) {
    if is_last(left) {
        std::process::abort();
    }
}

impl Storage for MortalDir {
    fn create(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        live_or_die(&self.left);
        self.inner.create(name).map(|file| self.file(file))
    }

    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        self.inner.open(name)
    }

    fn publish(&self, from: FileName, to: FileName) -> io::Result<()> {
        live_or_die(&self.left);
        self.inner.publish(from, to)
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        live_or_die(&self.left);
        self.inner.remove(name)
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        self.inner.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        live_or_die(&self.left);
        self.inner.sync_dir()
    }

    fn lock(&self) -> io::Result<LockOutcome> {
        self.inner.lock()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }

    fn nonce(&self) -> io::Result<u64> {
        self.inner.nonce()
    }

    fn innermost(&self) -> Option<&dyn Any> {
        self.inner.innermost()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct MortalFile {
    inner: Arc<dyn StorageFile>,
    left: Arc<AtomicI64>,
}

impl StorageFile for MortalFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.inner.read_at(buf, at)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        if is_last(&self.left) {
            // Some part of it, which no two calls have in common.
            let part = (at as usize).wrapping_mul(31).wrapping_add(buf.len() * 7) % buf.len().max(1);
            let _ = self.inner.write_at(&buf[..part], at);
            std::process::abort();
        }
        self.inner.write_at(buf, at)
    }

    fn reserve(&self, at: u64, len: u64) -> io::Result<()> {
        live_or_die(&self.left);
        self.inner.reserve(at, len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        live_or_die(&self.left);
        self.inner.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        live_or_die(&self.left);
        self.inner.sync()
    }

    fn seal(&self) -> io::Result<()> {
        self.inner.seal()
    }

    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        self.inner.map()
    }
}
