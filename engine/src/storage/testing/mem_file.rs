//! A file of a `MemDir`, and a view of it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::call::{Call, Op};
use super::disk::{Disk, Inode, InodeNo, errno};
use super::mem::{MemDir, takes_lie};
use crate::storage::{AccessPattern, FileName, Mapping, StorageFile};

/// Maps start at a multiple of this, so that casts of mapped bytes meet the alignment they meet on a real system.
pub(super) const MAP_ALIGN: usize = 64;

pub(super) struct MemFile {
    dir: MemDir,
    number: InodeNo,
    name: FileName,
    writable: Mutex<bool>,
    _handle: Arc<()>,
}

impl MemFile {
    pub(super) fn new(dir: MemDir, number: InodeNo, name: FileName, writable: bool, handle: Arc<()>) -> MemFile {
        MemFile { dir, number, name, writable: Mutex::new(writable), _handle: handle }
    }

    fn inode<T>(&self, work: impl FnOnce(&mut Inode) -> io::Result<T>) -> io::Result<T> {
        work(self.dir.disk().inode(self.number)?)
    }

    fn must_be_writable(&self, disk: &mut Disk) -> io::Result<()> {
        match *self.writable.lock() && !disk.inode(self.number)?.sealed {
            true => Ok(()),
            false => Err(errno(Errno::ACCESS)),
        }
    }

    fn readable(inode: &Inode, range: Range<u64>) -> io::Result<()> {
        let bad = inode.unreadable.iter().any(|bad| bad.start < range.end && range.start < bad.end);
        if bad { Err(errno(Errno::IO)) } else { Ok(()) }
    }
}

impl StorageFile for MemFile {
    fn len(&self) -> io::Result<u64> {
        self.inode(|inode| Ok(inode.live.len()))
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut disk = self.dir.disk();
        let limit = disk.read_limit.unwrap_or(usize::MAX);
        let inode = disk.inode(self.number)?;
        let rest = usize::try_from(at).ok().and_then(|at| inode.live.as_slice().get(at..)).unwrap_or(&[]);
        let count = rest.len().min(buf.len()).min(limit);
        MemFile::readable(inode, at..at.saturating_add(count as u64))?;
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.dir.change(Call::range(Op::WriteAt, self.name, at, buf.len() as u64), |disk| {
            self.must_be_writable(disk)?;
            disk.write(self.number, buf, at)
        })
    }

    fn reserve(&self, at: u64, len: u64) -> io::Result<()> {
        let mut disk = self.dir.disk();
        self.must_be_writable(&mut disk)?;
        disk.reserve(self.number, at, len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.dir.change(Call::range(Op::Truncate, self.name, len, 0), |disk| {
            self.must_be_writable(disk)?;
            disk.truncate(self.number, len)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.dir.change(Call::file(Op::Sync, self.name), |disk| match takes_lie(disk) {
            true => Err(disk.sync_and_lie(self.number)),
            false => disk.sync(self.number),
        })
    }

    fn seal(&self) -> io::Result<()> {
        // As with real files, only the handle that may write can give that up.
        *self.writable.lock() = false;
        Ok(())
    }

    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        if *self.writable.lock() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file that may still change cannot be mapped"));
        }
        self.inode(|inode| {
            MemFile::readable(inode, 0..inode.live.len())?;
            Ok(Arc::new(MemMap::new(inode.live.as_slice())) as Arc<dyn Mapping>)
        })
    }
}

/// A copy of the bytes at an aligned place inside a slightly larger buffer.
struct MemMap {
    buffer: Vec<u8>,
    start: usize,
}

impl MemMap {
    fn new(bytes: &[u8]) -> MemMap {
        let mut buffer: Vec<u8> = Vec::with_capacity(bytes.len() + MAP_ALIGN);
        let start = buffer.as_ptr().align_offset(MAP_ALIGN).min(MAP_ALIGN);
        buffer.resize(start, 0);
        buffer.extend_from_slice(bytes);
        MemMap { buffer, start }
    }
}

impl Mapping for MemMap {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn advise(&self, _access: AccessPattern) {}

    fn prefetch(&self, _at: u64, _len: u64) {}
}
