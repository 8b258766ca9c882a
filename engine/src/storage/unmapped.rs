//! A directory whose files are read and not mapped.

use std::any::Any;
use std::io;
use std::sync::Arc;

use super::{DirEntry, FileName, LockOutcome, ReadCache, Storage, StorageFile};

/// Passes everything on, and says that whoever opens a file here reads it piece by piece. A medium that fails is then an error of one
/// call; under a map it ends the process.
pub(crate) struct UnmappedDir {
    inner: Arc<dyn Storage>,
    cache: Arc<ReadCache>,
}

impl UnmappedDir {
    /// The same directory; what is read of its files is kept in `cache`.
    pub(crate) fn new(inner: Arc<dyn Storage>, cache: ReadCache) -> UnmappedDir {
        UnmappedDir { inner, cache: Arc::new(cache) }
    }
}

impl Storage for UnmappedDir {
    fn create(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        self.inner.create(name)
    }

    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        self.inner.open(name)
    }

    fn publish(&self, from: FileName, to: FileName) -> io::Result<()> {
        self.inner.publish(from, to)
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        self.inner.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
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

    fn link_from(&self, source: &dyn Storage, name: FileName) -> io::Result<()> {
        self.inner.link_from(source, name)
    }

    fn innermost(&self) -> Option<&dyn Any> {
        self.inner.innermost()
    }

    fn unmapped(&self) -> Option<&Arc<ReadCache>> {
        Some(&self.cache)
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
