//! A directory in memory whose files a test can read and replace.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::budget::Budget;
use crate::options::Access;
use crate::storage::{AccessPattern, DirEntry, FileName, LockOutcome, Mapping, ReadCache, Storage, StorageFile};

type Bytes = Arc<Mutex<Vec<u8>>>;

pub(super) struct BytesDir(Mutex<BTreeMap<FileName, Bytes>>, Option<Arc<ReadCache>>);

impl Default for BytesDir {
    fn default() -> Self {
        let cache = match Access::usual() {
            Access::Mmap => None,
            Access::Pread => Some(Arc::new(ReadCache::new(Budget::new(None)))),
        };
        BytesDir(Mutex::default(), cache)
    }
}

impl BytesDir {
    pub(super) fn bytes(&self, name: FileName) -> Vec<u8> {
        self.0.lock()[&name].lock().clone()
    }

    pub(super) fn put(&self, name: FileName, bytes: Vec<u8>) {
        self.0.lock().insert(name, Arc::new(Mutex::new(bytes)));
    }

    pub(super) fn names(&self) -> Vec<FileName> {
        self.0.lock().keys().copied().collect()
    }
}

impl Storage for BytesDir {
    fn create(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        let mut files = self.0.lock();
        if files.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let bytes = files.entry(name).or_default().clone();
        Ok(Arc::new(BytesFile(bytes)))
    }

    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        match self.0.lock().get(&name) {
            Some(bytes) => Ok(Arc::new(BytesFile(bytes.clone()))),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn publish(&self, _: FileName, _: FileName) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.0.lock().remove(&name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self) -> io::Result<LockOutcome> {
        Ok(LockOutcome::Busy { holder_pid: None })
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn nonce(&self) -> io::Result<u64> {
        Ok(4)
    }

    fn unmapped(&self) -> Option<&Arc<ReadCache>> {
        self.1.as_ref()
    }

    fn describe(&self) -> String {
        "bytes".into()
    }
}

struct BytesFile(Bytes);

impl StorageFile for BytesFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let bytes = self.0.lock();
        let rest = bytes.get(at as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    /// Short on purpose: writers must go on.
    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        let len = buf.len().min(10_007);
        let mut bytes = self.0.lock();
        let end = at as usize + len;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[at as usize..end].copy_from_slice(&buf[..len]);
        Ok(len)
    }

    fn reserve(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.lock().resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn seal(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        Ok(Arc::new(BytesMap(self.0.lock().clone())))
    }
}

struct BytesMap(Vec<u8>);

impl Mapping for BytesMap {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
    fn advise(&self, _: AccessPattern) {}
    fn prefetch(&self, _: u64, _: u64) {}
}
