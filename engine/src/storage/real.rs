//! A directory of the operating system.
//!
//! Every call goes through one descriptor of the directory (`openat`, `renameat2`, `unlinkat`), so a directory that is
//! renamed or replaced while it is open cannot redirect a call. Nothing is followed: a link, a FIFO, a device or a
//! directory that carries one of our names is refused before it is opened. Interrupted calls are repeated here, so
//! `Interrupted` never leaves this file.

use std::any::Any;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{AccessPattern, DirEntry, EntryKind, FileName, LockOutcome, Mapping, Storage, StorageFile, lock, mmap};

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const SEALED_MODE: u32 = 0o400;

/// A directory of the operating system.
///
/// Directories are made with mode 0700, files with 0600, and with 0400 once they are sealed or published.
pub struct RealDir {
    dir: File,
    path: PathBuf,
}

impl RealDir {
    /// Makes the directory `path` and makes its name durable. An existing directory is taken if it is empty.
    ///
    /// # Errors
    /// `NotFound` if the parent does not exist, `DirectoryNotEmpty` if anything is inside, `NotADirectory` if `path` is
    /// something else.
    pub fn create(path: impl AsRef<Path>) -> io::Result<RealDir> {
        let path = path.as_ref();
        match std::fs::DirBuilder::new().mode(DIR_MODE).create(path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        let made = RealDir::open(path)?;
        if !made.list()?.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::DirectoryNotEmpty,
                format!("{} is not empty", made.path.display()),
            ));
        }
        open_dir(&parent(path))?.sync_all()?;
        Ok(made)
    }

    /// An existing directory.
    ///
    /// # Errors
    /// `NotFound`, or `NotADirectory` if `path` is something else.
    pub fn open(path: impl AsRef<Path>) -> io::Result<RealDir> {
        let path = path.as_ref();
        Ok(RealDir { dir: open_dir(path)?, path: path.to_owned() })
    }

    /// The path this was opened with.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `path`, which need not be there, is this directory or lies inside it, whatever links lead there.
    ///
    /// # Errors
    /// The directory cannot be looked at, or there is no current directory for a relative path.
    pub fn encloses(&self, path: &Path) -> io::Result<bool> {
        let own = self.dir.metadata()?;
        let path = std::path::absolute(path)?;
        let there = path.ancestors().find_map(|folder| folder.canonicalize().ok());
        let is_own = |folder: &Path| {
            std::fs::metadata(folder).is_ok_and(|facts| (facts.dev(), facts.ino()) == (own.dev(), own.ino()))
        };
        Ok(there.is_some_and(|folder| folder.ancestors().any(is_own)))
    }

    /// Opens an entry that must be a regular file. The type is looked at twice: before, so that no device is even
    /// opened; after, because the entry may have been exchanged meanwhile (`NONBLOCK` then keeps a FIFO from blocking).
    fn open_regular(&self, name: FileName, access: OFlags) -> io::Result<File> {
        let text = name.to_string();
        let before = retry(|| rustix::fs::statat(&self.dir, text.as_str(), AtFlags::SYMLINK_NOFOLLOW))?;
        if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
            return Err(not_regular(name));
        }
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = match retry(|| rustix::fs::openat(&self.dir, text.as_str(), flags, Mode::empty())) {
            Ok(fd) => fd,
            Err(e) if [Errno::LOOP, Errno::NXIO, Errno::ISDIR].iter().any(|x| raw(*x) == e.raw_os_error()) => {
                return Err(not_regular(name));
            }
            Err(e) => return Err(e),
        };
        let after = retry(|| rustix::fs::fstat(&fd))?;
        if FileType::from_raw_mode(after.st_mode) != FileType::RegularFile {
            return Err(not_regular(name));
        }
        Ok(File::from(fd))
    }

    /// `linkat` refuses an existing target on every file system that has hard links, so the pair publishes as
    /// atomically as a no-replace rename does; a crash in between leaves the old name as an orphan.
    fn publish_by_link(&self, from: &str, to: &str) -> io::Result<()> {
        retry(|| rustix::fs::linkat(&self.dir, from, &self.dir, to, AtFlags::empty()))?;
        // The file has its name. That the old one could not be removed is for the orphan sweep, not a failure.
        let _ = retry(|| rustix::fs::unlinkat(&self.dir, from, AtFlags::empty()));
        Ok(())
    }
}

impl Storage for RealDir {
    fn create(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let text = name.to_string();
        let fd = retry(|| rustix::fs::openat(&self.dir, text.as_str(), flags, Mode::from_raw_mode(FILE_MODE as _)))?;
        Ok(Arc::new(RealFile { file: File::from(fd), writable: AtomicBool::new(true) }))
    }

    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.open_regular(name, OFlags::RDONLY)?;
        Ok(Arc::new(RealFile { file, writable: AtomicBool::new(false) }))
    }

    fn publish(&self, from: FileName, to: FileName) -> io::Result<()> {
        let source = self.open_regular(from, OFlags::RDONLY)?;
        // The mode is a hint: file systems without modes, and files of another owner, publish all the same.
        let _ = make_read_only(&source);
        let (from, to) = (from.to_string(), to.to_string());
        match retry(|| {
            rustix::fs::renameat_with(&self.dir, from.as_str(), &self.dir, to.as_str(), RenameFlags::NOREPLACE)
        }) {
            Err(e) if lacks_no_replace(&e) => self.publish_by_link(&from, &to),
            other => other,
        }
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        retry(|| rustix::fs::unlinkat(&self.dir, name.to_string().as_str(), AtFlags::empty()))
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let stat = match retry(|| rustix::fs::statat(&self.dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)) {
                Ok(stat) => stat,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            let text = OsStr::from_bytes(bytes).to_string_lossy().into_owned();
            entries.push(DirEntry {
                name: FileName::parse(&text),
                text,
                entry: if regular { EntryKind::File } else { EntryKind::Other },
                len: if regular { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
            });
        }
        Ok(entries)
    }

    fn sync_dir(&self) -> io::Result<()> {
        // On macOS the standard library asks for a full flush of the device here, as is needed there.
        self.dir.sync_all()
    }

    fn lock(&self) -> io::Result<LockOutcome> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let text = FileName::Lock.to_string();
        let mode = Mode::from_raw_mode(FILE_MODE as _);
        let file = match retry(|| rustix::fs::openat(&self.dir, text.as_str(), flags, mode)) {
            Ok(fd) => File::from(fd),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self.open_regular(FileName::Lock, OFlags::RDWR)?,
            Err(e) => return Err(e),
        };
        lock::take(file)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = retry(|| rustix::fs::fstatvfs(&self.dir))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Eight bytes of the system's entropy. Where `/dev/urandom` is not there (a bare chroot), the standard library's
    /// hash seeds, which come from the same source once per thread, mixed with process, time and a counter.
    fn nonce(&self) -> io::Result<u64> {
        let mut bytes = [0u8; 8];
        match File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)) {
            Ok(()) => Ok(u64::from_le_bytes(bytes)),
            Err(_) => Ok(seeded_nonce()),
        }
    }

    fn link_from(&self, source: &dyn Storage, name: FileName) -> io::Result<()> {
        let source = source.innermost().and_then(|dir| dir.downcast_ref::<RealDir>());
        let source = source.ok_or(io::ErrorKind::Unsupported)?;
        // Only for its check that the name is a regular file's.
        source.open_regular(name, OFlags::RDONLY)?;
        let text = name.to_string();
        match retry(|| rustix::fs::linkat(&source.dir, text.as_str(), &self.dir, text.as_str(), AtFlags::empty())) {
            Err(e) if lacks_link(&e) => Err(io::Error::new(io::ErrorKind::Unsupported, e)),
            other => other,
        }
    }

    fn innermost(&self) -> Option<&dyn Any> {
        Some(self)
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

struct RealFile {
    file: File,
    /// Cleared by `seal`; never set for files that were opened rather than created.
    writable: AtomicBool,
}

impl RealFile {
    fn must_be_writable(&self) -> io::Result<()> {
        match self.writable.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is read-only")),
        }
    }
}

impl StorageFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|meta| meta.len())
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        uninterrupted(|| self.file.read_at(buf, at))
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.must_be_writable()?;
        uninterrupted(|| self.file.write_at(buf, at))
    }

    fn reserve(&self, at: u64, len: u64) -> io::Result<()> {
        self.must_be_writable()?;
        if len == 0 {
            return Ok(());
        }
        reserve_blocks(&self.file, at, len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.must_be_writable()?;
        self.file.set_len(len)
    }

    /// On Linux `fdatasync`, which covers the length; on macOS the standard library asks for the full device flush.
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn seal(&self) -> io::Result<()> {
        self.writable.store(false, Ordering::Release);
        make_read_only(&self.file)
    }

    fn advise(&self, access: AccessPattern) {
        advise_reads(&self.file, access);
    }

    fn ask(&self, at: u64, len: u64) {
        ask_for(&self.file, at, len);
    }

    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        if self.writable.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file that may still change cannot be mapped"));
        }
        mmap::map(&self.file)
    }
}

fn open_dir(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry(|| rustix::fs::open(path, flags, Mode::empty())).map(File::from)
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        // A bare name lies in the current directory; a root's parent is itself.
        Some(_) => PathBuf::from("."),
        None => path.to_owned(),
    }
}

fn make_read_only(file: &File) -> io::Result<()> {
    retry(|| rustix::fs::fchmod(file, Mode::from_raw_mode(SEALED_MODE as _)))
}

fn not_regular(name: FileName) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is not a regular file"))
}

fn raw(errno: Errno) -> Option<i32> {
    Some(errno.raw_os_error())
}

fn lacks_no_replace(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP].iter().any(|e| raw(*e) == error.raw_os_error())
}

/// Another file system, one without links, one name too many, or a file of somebody else where the system forbids that.
fn lacks_link(error: &io::Error) -> bool {
    let refusals = [Errno::XDEV, Errno::MLINK, Errno::PERM, Errno::NOSYS, Errno::OPNOTSUPP];
    refusals.iter().any(|e| raw(*e) == error.raw_os_error())
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(target_os = "linux")]
fn reserve_blocks(file: &File, at: u64, len: u64) -> io::Result<()> {
    match retry(|| rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, at, len)) {
        // The file system cannot promise room: then writes find out by themselves.
        Err(e) if lacks_no_replace(&e) => Ok(()),
        other => other,
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve_blocks(_file: &File, _at: u64, _len: u64) -> io::Result<()> {
    Ok(())
}

/// A hint: without it reads are slower, not wrong.
#[cfg(target_os = "linux")]
fn advise_reads(file: &File, access: AccessPattern) {
    let advice = match access {
        AccessPattern::Random => rustix::fs::Advice::Random,
        AccessPattern::Sequential => rustix::fs::Advice::Sequential,
    };
    let _ = rustix::fs::fadvise(file, 0, None, advice);
}

#[cfg(not(target_os = "linux"))]
fn advise_reads(_file: &File, _access: AccessPattern) {}

/// Starts to read without waiting. A hint: failure means that a later read waits.
#[cfg(target_os = "linux")]
fn ask_for(file: &File, at: u64, len: u64) {
    if let Some(len) = std::num::NonZeroU64::new(len) {
        let _ = rustix::fs::fadvise(file, at, Some(len), rustix::fs::Advice::WillNeed);
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for(_file: &File, _at: u64, _len: u64) {}

fn seeded_nonce() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_nanos());
    RandomState::new().hash_one((std::process::id(), time, CALLS.fetch_add(1, Ordering::Relaxed)))
}

#[cfg(test)]
#[path = "tests/real.rs"]
mod tests;
