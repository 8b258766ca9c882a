//! Storage that fails on purpose.
//!
//! * [`MemDir`]: a simulated disk that forgets what was not synced. [`MemDir::crash_set`] lists every state a power
//!   loss could leave behind at this moment; each is a new, independent `MemDir`.
//! * [`FaultDir`]: makes the n-th call of a kind fail, once or from then on.
//! * [`TraceDir`]: records calls and holds the rules about their order.
//!
//! They nest: `TraceDir<FaultDir<Arc<dyn Storage>>>` is a `Storage`.

mod call;
mod content;
mod crash;
mod disk;
mod fault;
mod mem;
mod mem_file;
mod order;
mod trace;
mod unit_mask;

use std::any::Any;
use std::io;
use std::sync::Arc;

pub use call::{Call, Op};
pub use crash::{CrashImage, CrashOptions, CrashSet};
pub use disk::{HoleFill, SECTOR_BYTES};
pub use fault::{Fault, FaultDir, FaultPlan, Repeat};
pub use mem::{CrashPoint, MemDir, Phase};
pub use order::{Rule, Violation};
pub use trace::{TraceDir, TracedCall};
pub use unit_mask::UnitMask;

use super::{DirEntry, FileName, LockOutcome, Storage, StorageFile};

impl<S: Storage + ?Sized> Storage for Arc<S> {
    fn create(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        (**self).create(name)
    }

    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        (**self).open(name)
    }

    fn publish(&self, from: FileName, to: FileName) -> io::Result<()> {
        (**self).publish(from, to)
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        (**self).remove(name)
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        (**self).list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        (**self).sync_dir()
    }

    fn lock(&self) -> io::Result<LockOutcome> {
        (**self).lock()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        (**self).free_bytes()
    }

    fn nonce(&self) -> io::Result<u64> {
        (**self).nonce()
    }

    fn link_from(&self, source: &dyn Storage, name: FileName) -> io::Result<()> {
        (**self).link_from(source, name)
    }

    fn innermost(&self) -> Option<&dyn Any> {
        (**self).innermost()
    }

    fn describe(&self) -> String {
        (**self).describe()
    }
}

#[cfg(test)]
#[path = "tests/likeness.rs"]
mod likeness;
#[cfg(test)]
#[path = "tests/toy.rs"]
mod toy_tests;
