//! A directory through which nothing can be changed.

use std::io;
use std::sync::Arc;

use super::{AccessPattern, DirEntry, FileName, LockOutcome, Mapping, ReadCache, Storage, StorageFile};

/// Passes reads on and refuses everything else with `PermissionDenied`, without asking the operating system: what holds only
/// this cannot write, whoever owns the directory.
pub struct ReadOnlyDir {
    inner: Arc<dyn Storage>,
}

impl ReadOnlyDir {
    /// The same directory without its writing half.
    pub fn new(inner: Arc<dyn Storage>) -> ReadOnlyDir {
        ReadOnlyDir { inner }
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "the collection is open read-only"))
}

impl Storage for ReadOnlyDir {
    fn create(&self, _name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        refused()
    }

    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        self.inner.open(name).map(|inner| Arc::new(ReadOnlyFile { inner }) as Arc<dyn StorageFile>)
    }

    fn publish(&self, _from: FileName, _to: FileName) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _name: FileName) -> io::Result<()> {
        refused()
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        self.inner.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        refused()
    }

    fn lock(&self) -> io::Result<LockOutcome> {
        refused()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }

    fn nonce(&self) -> io::Result<u64> {
        self.inner.nonce()
    }

    fn unmapped(&self) -> Option<&Arc<ReadCache>> {
        self.inner.unmapped()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct ReadOnlyFile {
    inner: Arc<dyn StorageFile>,
}

impl StorageFile for ReadOnlyFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.inner.read_at(buf, at)
    }

    fn write_at(&self, _buf: &[u8], _at: u64) -> io::Result<usize> {
        refused()
    }

    fn reserve(&self, _at: u64, _len: u64) -> io::Result<()> {
        refused()
    }

    fn truncate(&self, _len: u64) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }

    fn seal(&self) -> io::Result<()> {
        refused()
    }

    fn advise(&self, access: AccessPattern) {
        self.inner.advise(access);
    }

    fn ask(&self, at: u64, len: u64) {
        self.inner.ask(at, len);
    }

    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        self.inner.map()
    }
}
