//! `TraceDir`: records calls, holds the rules about their order, and hashes the whole history, so that two runs can be
//! compared.

use std::any::Any;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::call::{Call, Op};
use super::content::Hash128;
use super::mem::hash_name;
use super::order::{FileNo, OrderRules, Violation};
use crate::storage::{DirEntry, FileName, LockOutcome, Mapping, Storage, StorageFile};

/// So many calls are kept one by one; the rules and the hash go on beyond.
const KEPT_CALLS: usize = 1 << 20;

/// A call and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedCall {
    /// The call.
    pub call: Call,
    /// Bytes moved, the length or number asked for, or 0; or the kind of error.
    pub result: Result<u64, io::ErrorKind>,
}

struct Record {
    calls: Vec<TracedCall>,
    total: u64,
    hash: Hash128,
    rules: OrderRules,
}

impl Record {
    fn add(&mut self, call: Call, result: Result<u64, io::ErrorKind>, data: &[u8]) {
        self.total += 1;
        if self.calls.len() < KEPT_CALLS {
            self.calls.push(TracedCall { call, result });
        }
        self.hash.words(call.op as u64, call.at);
        for name in [call.name, call.target].into_iter().flatten() {
            hash_name(&mut self.hash, name);
        }
        match result {
            Ok(count) => self.hash.words(call.len, count),
            Err(kind) => self.hash.words(call.len, u64::MAX - kind as u64),
        }
        self.hash.bytes(data);
    }
}

/// A storage that watches the calls made through it. Clones of the handle it gives out share one record.
pub struct TraceDir<S> {
    inner: S,
    record: Arc<Mutex<Record>>,
}

impl<S: Storage> TraceDir<S> {
    /// Starts an empty record.
    pub fn new(inner: S) -> TraceDir<S> {
        let record = Record { calls: Vec::new(), total: 0, hash: Hash128::new(), rules: OrderRules::default() };
        TraceDir { inner, record: Arc::new(Mutex::new(record)) }
    }

    /// Also requires durable names of all finished files before a manifest is published. Only where one thread
    /// makes all calls.
    #[must_use]
    pub fn checking_names(self) -> TraceDir<S> {
        self.record.lock().rules.check_names();
        self
    }

    /// The rules that were broken so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.record.lock().rules.violations().to_vec()
    }

    /// Ends a test whose calls were out of order.
    ///
    /// # Panics
    /// If a rule was broken, naming each.
    pub fn assert_orderly(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "calls out of order: {violations:#?}");
    }

    /// The calls so far, oldest first; at most the first 2^20.
    pub fn calls(&self) -> Vec<TracedCall> {
        self.record.lock().calls.clone()
    }

    /// How many calls there were.
    pub fn total(&self) -> u64 {
        self.record.lock().total
    }

    /// 128 bits over all calls, their results and the bytes written. Equal for equal histories; free room and read
    /// bytes do not enter.
    pub fn trace_hash(&self) -> u128 {
        self.record.lock().hash.finish()
    }

    /// The storage below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn dir_call<T>(
        &self,
        call: Call,
        work: impl FnOnce() -> io::Result<T>,
        value: impl FnOnce(&T) -> u64,
    ) -> io::Result<T> {
        let result = work();
        let mut record = self.record.lock();
        record.rules.observe_dir(call, result.is_ok());
        record.add(call, result.as_ref().map(value).map_err(io::Error::kind), &[]);
        result
    }

    fn wrap(&self, name: FileName, inner: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        let file = self.record.lock().rules.file_of(name);
        Arc::new(TraceFile { inner, name, file, record: self.record.clone() })
    }
}

impl<S: Storage> Storage for TraceDir<S> {
    fn create(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        let inner = self.dir_call(Call::file(Op::Create, name), || self.inner.create(name), |_| 0)?;
        Ok(self.wrap(name, inner))
    }

    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        let inner = self.dir_call(Call::file(Op::Open, name), || self.inner.open(name), |_| 0)?;
        Ok(self.wrap(name, inner))
    }

    fn publish(&self, from: FileName, to: FileName) -> io::Result<()> {
        self.dir_call(Call::publish(from, to), || self.inner.publish(from, to), |()| 0)
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.dir_call(Call::file(Op::Remove, name), || self.inner.remove(name), |()| 0)
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        self.dir_call(Call::dir(Op::List), || self.inner.list(), |entries| entries.len() as u64)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.dir_call(Call::dir(Op::SyncDir), || self.inner.sync_dir(), |()| 0)
    }

    fn lock(&self) -> io::Result<LockOutcome> {
        let held = |outcome: &LockOutcome| u64::from(matches!(outcome, LockOutcome::Held(_)));
        self.dir_call(Call::dir(Op::Lock), || self.inner.lock(), held)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.dir_call(Call::dir(Op::FreeBytes), || self.inner.free_bytes(), |_| 0)
    }

    fn nonce(&self) -> io::Result<u64> {
        self.dir_call(Call::dir(Op::Nonce), || self.inner.nonce(), |nonce| *nonce)
    }

    fn link_from(&self, source: &dyn Storage, name: FileName) -> io::Result<()> {
        self.dir_call(Call::file(Op::LinkFrom, name), || self.inner.link_from(source, name), |()| 0)
    }

    fn innermost(&self) -> Option<&dyn Any> {
        self.inner.innermost()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct TraceFile {
    inner: Arc<dyn StorageFile>,
    name: FileName,
    file: FileNo,
    record: Arc<Mutex<Record>>,
}

impl TraceFile {
    fn call<T>(&self, call: Call, result: io::Result<T>, value: impl FnOnce(&T) -> u64, data: &[u8]) -> io::Result<T> {
        let outcome = result.as_ref().map(value).map_err(io::Error::kind);
        let mut record = self.record.lock();
        record.rules.observe_file(self.file, call, outcome.ok());
        record.add(call, outcome, data);
        result
    }
}

impl StorageFile for TraceFile {
    fn len(&self) -> io::Result<u64> {
        self.call(Call::file(Op::Len, self.name), self.inner.len(), |len| *len, &[])
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let call = Call::range(Op::ReadAt, self.name, at, buf.len() as u64);
        self.call(call, self.inner.read_at(buf, at), |count| *count as u64, &[])
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        let call = Call::range(Op::WriteAt, self.name, at, buf.len() as u64);
        self.call(call, self.inner.write_at(buf, at), |count| *count as u64, buf)
    }

    fn reserve(&self, at: u64, len: u64) -> io::Result<()> {
        let call = Call::range(Op::Reserve, self.name, at, len);
        self.call(call, self.inner.reserve(at, len), |()| 0, &[])
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let call = Call::range(Op::Truncate, self.name, len, 0);
        self.call(call, self.inner.truncate(len), |()| 0, &[])
    }

    fn sync(&self) -> io::Result<()> {
        self.call(Call::file(Op::Sync, self.name), self.inner.sync(), |()| 0, &[])
    }

    fn seal(&self) -> io::Result<()> {
        self.call(Call::file(Op::Seal, self.name), self.inner.seal(), |()| 0, &[])
    }

    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        let call = Call::file(Op::Map, self.name);
        self.call(call, self.inner.map(), |view| view.bytes().len() as u64, &[])
    }
}

#[cfg(test)]
#[path = "tests/trace.rs"]
mod tests;
