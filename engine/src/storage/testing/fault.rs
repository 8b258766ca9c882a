//! `FaultDir`: makes the n-th matching call fail, once or from then on, and counts calls so that a suite can prove it
//! has failed every one of them.

use std::any::Any;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::call::{Call, Op};
use super::disk::errno;
use super::mem::MemDir;
use crate::storage::{DirEntry, FileKind, FileName, LockOutcome, Mapping, Storage, StorageFile};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// `EIO`. A write has stored its first half all the same; other calls have done nothing.
    Io,
    /// `EIO` although the work was done in full: a sync has synced, a rename has renamed.
    IoAfter,
    /// `ENOSPC`, nothing done.
    NoSpace,
    /// A write stores its first half and says so; the next write anywhere gets `ENOSPC`.
    NoSpaceMidWrite,
    /// A write of two bytes or more stores only its first half and says so.
    ShortWrite,
    /// A read of two bytes or more returns only its first half.
    ShortRead,
    /// `EINTR`, nothing done. Together with [`Repeat::Forever`] it never lets a caller go on that repeats such calls.
    Interrupted,
    /// `EACCES`, nothing done.
    AccessDenied,
    /// A sync fails and drops what it should have written, which reads go on showing; later syncs succeed. Needs
    /// [`FaultDir::with_disk`]; without it the sync just does not happen.
    LyingSync,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Fault; 9] = [
        Fault::Io,
        Fault::IoAfter,
        Fault::NoSpace,
        Fault::NoSpaceMidWrite,
        Fault::ShortWrite,
        Fault::ShortRead,
        Fault::Interrupted,
        Fault::AccessDenied,
        Fault::LyingSync,
    ];

    /// Whether this call can fail in this way. Calls that cannot are not counted.
    pub fn applies_to(self, call: &Call) -> bool {
        use Op::{
            Create, LinkFrom, List, Lock, Map, Open, Publish, ReadAt, Remove, Reserve, Seal, Sync, SyncDir, Truncate,
            WriteAt,
        };
        match self {
            Fault::Io | Fault::Interrupted => true,
            Fault::IoAfter => {
                matches!(call.op, Create | Publish | LinkFrom | Remove | SyncDir | WriteAt | Truncate | Sync | Seal)
            }
            Fault::NoSpace => {
                matches!(call.op, Create | Publish | LinkFrom | SyncDir | Lock | WriteAt | Reserve | Truncate | Sync)
            }
            Fault::NoSpaceMidWrite | Fault::ShortWrite => call.op == WriteAt && call.len >= 2,
            Fault::ShortRead => call.op == ReadAt && call.len >= 2,
            Fault::AccessDenied => {
                matches!(call.op, Create | Open | Publish | LinkFrom | Remove | List | Lock | Seal | Map)
            }
            Fault::LyingSync => matches!(call.op, Sync | SyncDir),
        }
    }
}

/// Whether a fault comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repeat {
    /// One call fails, the next succeeds.
    Once,
    /// That call and every later one that matches.
    Forever,
}

/// Which call fails, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// The way to fail.
    pub fault: Fault,
    /// How many matching calls succeed first.
    pub after: u64,
    /// Whether later ones fail too.
    pub repeat: Repeat,
    /// Only these methods; empty means any.
    pub ops: Vec<Op>,
    /// Only files of these kinds; empty means any file and the directory too.
    pub kinds: Vec<FileKind>,
}

impl FaultPlan {
    /// The call after `after` others to which `fault` applies.
    pub fn new(fault: Fault, after: u64, repeat: Repeat) -> FaultPlan {
        FaultPlan { fault, after, repeat, ops: Vec::new(), kinds: Vec::new() }
    }

    /// Only these methods.
    #[must_use]
    pub fn on(mut self, ops: &[Op]) -> FaultPlan {
        self.ops = ops.to_vec();
        self
    }

    /// Only files of these kinds.
    #[must_use]
    pub fn of(mut self, kinds: &[FileKind]) -> FaultPlan {
        self.kinds = kinds.to_vec();
        self
    }

    fn matches(&self, call: &Call) -> bool {
        let kind = call.name.and_then(FileName::kind);
        self.fault.applies_to(call)
            && (self.ops.is_empty() || self.ops.contains(&call.op))
            && (self.kinds.is_empty() || kind.is_some_and(|kind| self.kinds.contains(&kind)))
    }
}

#[derive(Default)]
struct State {
    plan: Option<FaultPlan>,
    matched: u64,
    fired: u64,
    full: bool,
    counts: [u64; Op::ALL.len()],
    failed: Vec<Call>,
}

#[derive(Default)]
struct Switch {
    /// Shared by directories that fail by one plan.
    state: Arc<Mutex<State>>,
    disk: Option<MemDir>,
}

impl Switch {
    /// Counts the call and says how it fails, if it does.
    fn decide(&self, call: Call) -> Option<Fault> {
        let mut state = self.state.lock();
        state.counts[call.op as usize] += 1;
        if call.op == Op::WriteAt && std::mem::take(&mut state.full) {
            return Some(Fault::NoSpace);
        }
        let plan = state.plan.as_ref().filter(|plan| plan.matches(&call))?;
        let (fault, after, repeat) = (plan.fault, plan.after, plan.repeat);
        state.matched += 1;
        let due = state.matched == after + 1 || (state.matched > after && repeat == Repeat::Forever);
        due.then(|| {
            state.fired += 1;
            state.full = fault == Fault::NoSpaceMidWrite;
            state.failed.push(call);
            fault
        })
    }

    /// A call that fails as a whole or not at all.
    fn whole<T>(&self, call: Call, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.decide(call) {
            None | Some(Fault::ShortWrite | Fault::ShortRead | Fault::NoSpaceMidWrite) => work(),
            Some(Fault::Io) => Err(errno(Errno::IO)),
            Some(Fault::IoAfter) => work().and(Err(errno(Errno::IO))),
            Some(Fault::NoSpace) => Err(errno(Errno::NOSPC)),
            Some(Fault::Interrupted) => Err(errno(Errno::INTR)),
            Some(Fault::AccessDenied) => Err(errno(Errno::ACCESS)),
            Some(Fault::LyingSync) => {
                let Some(disk) = &self.disk else { return Err(errno(Errno::IO)) };
                disk.fail_next_sync();
                work()
            }
        }
    }
}

/// A storage whose calls fail according to a [`FaultPlan`].
pub struct FaultDir<S> {
    inner: S,
    switch: Arc<Switch>,
}

impl<S: Storage> FaultDir<S> {
    /// Nothing fails until [`FaultDir::arm`].
    pub fn new(inner: S) -> FaultDir<S> {
        FaultDir { inner, switch: Arc::default() }
    }

    /// Names the simulated disk below `inner`, which [`Fault::LyingSync`] needs.
    pub fn with_disk(inner: S, disk: &MemDir) -> FaultDir<S> {
        FaultDir { inner, switch: Arc::new(Switch { state: Arc::default(), disk: Some(disk.clone()) }) }
    }

    /// Another directory whose calls are counted and fail together with this one's.
    pub fn beside<T: Storage>(&self, inner: T, disk: &MemDir) -> FaultDir<T> {
        FaultDir { inner, switch: Arc::new(Switch { state: self.switch.state.clone(), disk: Some(disk.clone()) }) }
    }

    /// Starts a plan and counts matching calls from zero.
    pub fn arm(&self, plan: FaultPlan) {
        let mut state = self.switch.state.lock();
        (state.plan, state.matched, state.fired, state.full) = (Some(plan), 0, 0, false);
        state.failed.clear();
    }

    /// Nothing fails any more. Counts stay.
    pub fn disarm(&self) {
        let mut state = self.switch.state.lock();
        (state.plan, state.full) = (None, false);
    }

    /// How many calls matched the plan since it was armed. A suite that has failed calls 0 to this number minus one
    /// has failed them all.
    pub fn matched(&self) -> u64 {
        self.switch.state.lock().matched
    }

    /// How many calls the plan made fail.
    pub fn fired(&self) -> u64 {
        self.switch.state.lock().fired
    }

    /// The calls that failed, oldest first.
    pub fn failed_calls(&self) -> Vec<Call> {
        self.switch.state.lock().failed.clone()
    }

    /// How many calls of this method there were since the beginning.
    pub fn count(&self, op: Op) -> u64 {
        self.switch.state.lock().counts[op as usize]
    }

    /// The storage below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn wrap(&self, name: FileName, inner: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(FaultFile { inner, name, switch: self.switch.clone() })
    }
}

impl<S: Storage> Storage for FaultDir<S> {
    fn create(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        let inner = self.switch.whole(Call::file(Op::Create, name), || self.inner.create(name))?;
        Ok(self.wrap(name, inner))
    }

    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        let inner = self.switch.whole(Call::file(Op::Open, name), || self.inner.open(name))?;
        Ok(self.wrap(name, inner))
    }

    fn publish(&self, from: FileName, to: FileName) -> io::Result<()> {
        self.switch.whole(Call::publish(from, to), || self.inner.publish(from, to))
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.switch.whole(Call::file(Op::Remove, name), || self.inner.remove(name))
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        self.switch.whole(Call::dir(Op::List), || self.inner.list())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.switch.whole(Call::dir(Op::SyncDir), || self.inner.sync_dir())
    }

    fn lock(&self) -> io::Result<LockOutcome> {
        self.switch.whole(Call::dir(Op::Lock), || self.inner.lock())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.switch.whole(Call::dir(Op::FreeBytes), || self.inner.free_bytes())
    }

    fn nonce(&self) -> io::Result<u64> {
        self.switch.whole(Call::dir(Op::Nonce), || self.inner.nonce())
    }

    fn link_from(&self, source: &dyn Storage, name: FileName) -> io::Result<()> {
        self.switch.whole(Call::file(Op::LinkFrom, name), || self.inner.link_from(source, name))
    }

    fn innermost(&self) -> Option<&dyn Any> {
        self.inner.innermost()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct FaultFile {
    inner: Arc<dyn StorageFile>,
    name: FileName,
    switch: Arc<Switch>,
}

impl StorageFile for FaultFile {
    fn len(&self) -> io::Result<u64> {
        self.switch.whole(Call::file(Op::Len, self.name), || self.inner.len())
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let call = Call::range(Op::ReadAt, self.name, at, buf.len() as u64);
        match self.switch.decide(call) {
            Some(Fault::ShortRead) => {
                let half = buf.len() / 2;
                self.inner.read_at(&mut buf[..half], at)
            }
            Some(Fault::Interrupted) => Err(errno(Errno::INTR)),
            Some(_) => Err(errno(Errno::IO)),
            None => self.inner.read_at(buf, at),
        }
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        let half = &buf[..buf.len() / 2];
        match self.switch.decide(Call::range(Op::WriteAt, self.name, at, buf.len() as u64)) {
            Some(Fault::ShortWrite | Fault::NoSpaceMidWrite) => self.inner.write_at(half, at),
            Some(Fault::Io) => self.inner.write_at(half, at).and(Err(errno(Errno::IO))),
            Some(Fault::IoAfter) => self.inner.write_at(buf, at).and(Err(errno(Errno::IO))),
            Some(Fault::NoSpace) => Err(errno(Errno::NOSPC)),
            Some(Fault::Interrupted) => Err(errno(Errno::INTR)),
            Some(_) => Err(errno(Errno::ACCESS)),
            None => self.inner.write_at(buf, at),
        }
    }

    fn reserve(&self, at: u64, len: u64) -> io::Result<()> {
        self.switch.whole(Call::range(Op::Reserve, self.name, at, len), || self.inner.reserve(at, len))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.switch.whole(Call::range(Op::Truncate, self.name, len, 0), || self.inner.truncate(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.switch.whole(Call::file(Op::Sync, self.name), || self.inner.sync())
    }

    fn seal(&self) -> io::Result<()> {
        self.switch.whole(Call::file(Op::Seal, self.name), || self.inner.seal())
    }

    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        self.switch.whole(Call::file(Op::Map, self.name), || self.inner.map())
    }
}

#[cfg(test)]
#[path = "tests/fault.rs"]
mod tests;
