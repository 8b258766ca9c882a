//! The only door to the disk.
//!
//! Every create, write, sync, rename and unlink of the engine goes through [`Storage`] and [`StorageFile`]; nothing
//! above this layer names an operating-system file call (`tests/tidy` holds that). The traits' sentences are the
//! contract that the durability proofs stand on, so each implementation, real or simulated, keeps exactly these.
//!
//! * [`RealDir`]: a directory of the operating system.
//! * [`ReadOnlyDir`]: any of them without its writing half.
//! * `MemDir` (feature `testing`): memory that forgets what was not synced, with crash images, torn sectors and lying
//!   failed syncs; `FaultDir` fails the n-th call, `TraceDir` records calls and checks the order rules.

mod bytes;
mod lock;
mod mmap;
mod name;
mod niceness;
mod read_cache;
mod read_only;
mod real;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod unmapped;

use std::any::Any;
use std::io;
use std::sync::Arc;

pub(crate) use bytes::Bytes;
pub use name::{FileId, FileKind, FileName};
pub(crate) use niceness::stand_back;
pub use read_cache::ReadCache;
pub use read_only::ReadOnlyDir;
pub use real::RealDir;
pub(crate) use unmapped::UnmappedDir;

/// One directory: a flat set of named files.
///
/// **Names and bytes are durable separately.** `StorageFile::sync` makes a file's bytes and length durable, not its
/// name; `sync_dir` makes all names (creations, publications, removals so far) durable, not their bytes. Nothing else
/// orders anything: after a power loss any subset of what was not synced may be there, in units of 512 bytes.
pub trait Storage: Send + Sync {
    /// A new, empty file. Fails with `AlreadyExists` if the name exists; never follows a link.
    /// The name is durable only after `sync_dir`.
    fn create(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>>;

    /// An existing regular file, for reading and for `map`. Links, FIFOs, devices and directories are refused
    /// (`InvalidInput`), not followed or opened.
    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>>;

    /// Gives the file `from` the name `to`, atomically; fails with `AlreadyExists` if `to` exists. The bytes must have
    /// been synced before. Durable only after `sync_dir`. The file becomes read-only.
    fn publish(&self, from: FileName, to: FileName) -> io::Result<()>;

    /// Removes a name. Open handles and maps of the file stay valid. Durable only after `sync_dir`.
    fn remove(&self, name: FileName) -> io::Result<()>;

    /// Everything in the directory, ours and foreign, in no particular order.
    fn list(&self) -> io::Result<Vec<DirEntry>>;

    /// Makes all names durable. After one `Err` callers never call it again.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the writer's lock without waiting. It ends with the returned guard or with the process, whichever is
    /// first; the lock file itself is never removed.
    fn lock(&self) -> io::Result<LockOutcome>;

    /// Bytes that can still be written here.
    fn free_bytes(&self) -> io::Result<u64>;

    /// A number that no other call on this directory has returned: the random part of a writer epoch.
    fn nonce(&self) -> io::Result<u64>;

    /// Gives the file `name` of the directory `source` the same name here as well: one file under two names. Only for
    /// synced files that never change again. Fails with `AlreadyExists` if the name exists here, with `Unsupported` where
    /// no file can have names in both directories and has to be copied. Durable only after `sync_dir` of this directory.
    fn link_from(&self, source: &dyn Storage, name: FileName) -> io::Result<()> {
        let _ = (source, name);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The directory below all that watches its calls or disturbs them: how `link_from` knows what its source is.
    fn innermost(&self) -> Option<&dyn Any> {
        None
    }

    /// Whether files that are opened here are to be read piece by piece instead of mapped, and where pieces are kept.
    fn unmapped(&self) -> Option<&Arc<ReadCache>> {
        None
    }

    /// The directory, for messages.
    fn describe(&self) -> String;
}

/// One open file.
#[expect(clippy::len_without_is_empty, reason = "a file's length is a fact that can fail, not a container's size")]
pub trait StorageFile: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Reads at an offset; may be short; 0 at the end.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes at an offset; may be short. Not durable, and not ordered against any other write, until `sync` has
    /// returned `Ok`.
    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize>;

    /// Room for `len` bytes from `at` without changing the length, so that later writes there cannot meet a full
    /// disk (best effort on copy-on-write file systems).
    fn reserve(&self, at: u64, len: u64) -> io::Result<()>;

    /// Cuts or extends with zeros. Only for files that nobody maps.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes bytes and length durable. After one `Err` this file is dead: callers never call it again.
    fn sync(&self) -> io::Result<()>;

    /// Marks the file read-only: it never changes from here on. A hint to the operating system, not a durability step.
    fn seal(&self) -> io::Result<()>;

    /// Tells the kernel how the file will be read by [`read_at`](StorageFile::read_at). A hint.
    fn advise(&self, access: AccessPattern) {
        let _ = access;
    }

    /// Asks for bytes to be read soon. A hint.
    fn ask(&self, at: u64, len: u64) {
        let _ = (at, len);
    }

    /// A shared view of the whole file. Only for files that never change again.
    fn map(&self) -> io::Result<Arc<dyn Mapping>>;
}

/// A read-only view of an immutable file, from offset 0.
pub trait Mapping: Send + Sync {
    /// All bytes. The length is the file's length when it was mapped.
    fn bytes(&self) -> &[u8];

    /// Tells the kernel how the view will be read. A hint: failure is not an error.
    fn advise(&self, access: AccessPattern);

    /// Asks for bytes to be read soon. A hint.
    fn prefetch(&self, at: u64, len: u64);
}

/// How a view will be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessPattern {
    /// Small reads at scattered places: no read-ahead.
    Random,
    /// Front to back: read ahead.
    Sequential,
}

/// One name in the directory.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// The parsed name; `None` for a foreign file.
    pub name: Option<FileName>,
    /// The name as text, lossily.
    pub text: String,
    /// What it is.
    pub entry: EntryKind,
    /// Length in bytes, for regular files.
    pub len: u64,
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// Anything else: a directory, a link, a FIFO, a device.
    Other,
}

/// The answer of [`Storage::lock`].
pub enum LockOutcome {
    /// We hold it until the guard is dropped.
    Held(Box<dyn LockGuard>),
    /// Somebody else does.
    Busy {
        /// The holder's process id as written in the lock file; for messages only.
        holder_pid: Option<u32>,
    },
}

/// Holds the writer's lock until dropped.
pub trait LockGuard: Send + Sync {}
