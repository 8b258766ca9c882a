//! A directory in which something happens between the calls of one reader.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stratavec::storage::testing::MemDir;
use stratavec::storage::{DirEntry, FileName, LockOutcome, Mapping, Storage, StorageFile};

type Meddler = Box<dyn FnMut(u64)>;

thread_local! {
    static MEDDLER: RefCell<Option<Meddler>> = const { RefCell::new(None) };
}

/// Calls a closure of the same thread before each call that is made through it or through its files.
pub struct MeddledDir {
    inner: MemDir,
    calls: Arc<Calls>,
}

#[derive(Default)]
struct Calls(AtomicU64);

impl Calls {
    /// Calls made through this do not meet the meddler again.
    fn meddle(&self) {
        let call = self.0.fetch_add(1, Ordering::Relaxed);
        let meddler = MEDDLER.with_borrow_mut(Option::take);
        if let Some(mut meddler) = meddler {
            meddler(call);
            MEDDLER.with_borrow_mut(|place| *place = Some(meddler));
        }
    }
}

impl MeddledDir {
    /// Passes everything on.
    pub fn new(inner: MemDir) -> MeddledDir {
        MeddledDir { inner, calls: Arc::default() }
    }

    /// Runs `work` while `meddler` is told of each call before it is made, by its number from 0 on. How many there were.
    pub fn meddle<T>(&self, meddler: impl FnMut(u64) + 'static, work: impl FnOnce() -> T) -> (T, u64) {
        self.calls.0.store(0, Ordering::Relaxed);
        MEDDLER.with_borrow_mut(|place| *place = Some(Box::new(meddler)));
        let result = work();
        MEDDLER.with_borrow_mut(|place| *place = None);
        (result, self.calls.0.load(Ordering::Relaxed))
    }

    fn file(&self, inner: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(MeddledFile { inner, calls: self.calls.clone() })
    }
}

impl Storage for MeddledDir {
    fn create(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        self.calls.meddle();
        self.inner.create(name).map(|file| self.file(file))
    }

    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        self.calls.meddle();
        self.inner.open(name).map(|file| self.file(file))
    }

    fn publish(&self, from: FileName, to: FileName) -> io::Result<()> {
        self.calls.meddle();
        self.inner.publish(from, to)
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.calls.meddle();
        self.inner.remove(name)
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        self.calls.meddle();
        self.inner.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.calls.meddle();
        self.inner.sync_dir()
    }

    fn lock(&self) -> io::Result<LockOutcome> {
        self.calls.meddle();
        self.inner.lock()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }

    fn nonce(&self) -> io::Result<u64> {
        self.inner.nonce()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct MeddledFile {
    inner: Arc<dyn StorageFile>,
    calls: Arc<Calls>,
}

impl StorageFile for MeddledFile {
    fn len(&self) -> io::Result<u64> {
        self.calls.meddle();
        self.inner.len()
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.calls.meddle();
        self.inner.read_at(buf, at)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.calls.meddle();
        self.inner.write_at(buf, at)
    }

    fn reserve(&self, at: u64, len: u64) -> io::Result<()> {
        self.inner.reserve(at, len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.calls.meddle();
        self.inner.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.calls.meddle();
        self.inner.sync()
    }

    fn seal(&self) -> io::Result<()> {
        self.calls.meddle();
        self.inner.seal()
    }

    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        self.calls.meddle();
        self.inner.map()
    }
}
