//! What the simulated disk keeps: for each file the bytes that are durable, the bytes that reads show, and the changes
//! in between; for the directory the same with names.
//!
//! A change that has not been synced is split into *units*, the smallest things that can survive a power loss by
//! themselves: the part of one write that lies in one 512-byte sector, the new length of a write that extended the
//! file, one truncation, one directory operation. The state after a power loss is the durable state with any subset
//! of the units applied in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread::ThreadId;

use rustix::io::Errno;

use super::content::{Content, FileBytes, next_random};
use crate::storage::{FileKind, FileName};

/// The unit in which a write reaches the medium.
pub const SECTOR_BYTES: u64 = 512;

/// No simulated file may be longer: a stray offset fails like one past the limit of a file system.
const MAX_FILE_BYTES: u64 = 1 << 32;

/// How many contents of removed files are kept for [`HoleFill::Stale`].
const RETIRED_FILES: usize = 16;

/// What a crash image shows where a file is long enough but its bytes never arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoleFill {
    /// Zeros, as most file systems do.
    Zeros,
    /// Seeded noise.
    Noise(u64),
    /// What a removed file of the same kind (else of any kind) had at that offset: recycled blocks.
    Stale,
}

pub(super) type InodeNo = u64;

/// One change of a file's bytes or length.
#[derive(Clone)]
pub(super) enum Change {
    /// `data[start..start + len]` at offset `at`, all within one sector.
    Sector { at: u64, data: Arc<[u8]>, start: usize, len: usize },
    /// The length after a write beyond the old end, without its bytes.
    Grow(u64),
    /// A truncation or an extension with zeros.
    Truncate(u64),
}

/// One change of the directory.
#[derive(Clone, Copy)]
pub(super) enum NameChange {
    Link(FileName, InodeNo),
    Rename(FileName, FileName, InodeNo),
    Unlink(FileName),
}

/// A change that is not durable: `order` counts units, `call` the calls that made them.
#[derive(Clone, Copy)]
pub(super) struct Unit<T> {
    pub(super) order: u64,
    pub(super) call: u64,
    pub(super) change: T,
}

#[derive(Clone)]
pub(super) struct Inode {
    pub(super) kind: Option<FileKind>,
    pub(super) durable: Content,
    pub(super) live: Content,
    pub(super) pending: Vec<Unit<Change>>,
    /// The durable bytes before the last sync that changed them.
    pub(super) previous: Option<Content>,
    pub(super) reserved_end: u64,
    pub(super) sealed: bool,
    /// Reads show bytes that no sync will ever write.
    pub(super) lied: bool,
    /// Neither a file nor ours: a link, a FIFO, a directory.
    pub(super) special: bool,
    /// Reads that touch one of these fail with `EIO`.
    pub(super) unreadable: Vec<Range<u64>>,
    /// Held by every open handle, so that removed files go when nobody reads them any more.
    pub(super) handles: Arc<()>,
}

impl Inode {
    pub(super) fn new(kind: Option<FileKind>, bytes: Content) -> Inode {
        Inode {
            kind,
            durable: bytes.clone(),
            live: bytes,
            pending: Vec::new(),
            previous: None,
            reserved_end: 0,
            sealed: false,
            lied: false,
            special: false,
            unreadable: Vec::new(),
            handles: Arc::new(()),
        }
    }

    fn allocated(&self) -> u64 {
        self.live.len().max(self.reserved_end)
    }
}

pub(super) type Names = BTreeMap<FileName, InodeNo>;

/// The whole simulated disk. Cloning it shares all contents.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) inodes: BTreeMap<InodeNo, Inode>,
    pub(super) live: Names,
    pub(super) durable: Names,
    pub(super) pending: Vec<Unit<NameChange>>,
    /// Names outside our grammar, with a length.
    pub(super) foreign: Arc<BTreeMap<String, u64>>,
    pub(super) retired: Arc<Vec<(Option<FileKind>, Content)>>,
    pub(super) seed: u64,
    pub(super) nonces: u64,
    pub(super) next_inode: InodeNo,
    pub(super) units: u64,
    pub(super) calls: u64,
    pub(super) capacity: Option<u64>,
    pub(super) read_limit: Option<usize>,
    pub(super) write_limit: Option<usize>,
    /// Threads whose next sync fails and lies.
    pub(super) lies: Vec<ThreadId>,
    pub(super) locked: bool,
    /// No file can have a second name in another directory.
    pub(super) no_links: bool,
}

pub(super) fn errno(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.raw_os_error())
}

impl Disk {
    pub(super) fn inode(&mut self, number: InodeNo) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&number).ok_or_else(|| errno(Errno::BADF))
    }

    pub(super) fn lookup(&self, name: FileName) -> io::Result<InodeNo> {
        self.live.get(&name).copied().ok_or_else(|| errno(Errno::NOENT))
    }

    /// Bytes that can still be written, if the disk has an end.
    pub(super) fn room(&self) -> Option<u64> {
        let used: u64 = self.live.values().filter_map(|n| self.inodes.get(n)).map(Inode::allocated).sum();
        self.capacity.map(|capacity| capacity.saturating_sub(used))
    }

    fn unit<T>(&mut self, change: T) -> Unit<T> {
        self.units += 1;
        Unit { order: self.units, call: self.calls, change }
    }

    pub(super) fn create(&mut self, name: FileName) -> io::Result<InodeNo> {
        if self.live.contains_key(&name) {
            return Err(errno(Errno::EXIST));
        }
        if self.room() == Some(0) {
            return Err(errno(Errno::NOSPC));
        }
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(number, Inode::new(name.kind(), Content::default()));
        self.live.insert(name, number);
        let unit = self.unit(NameChange::Link(name, number));
        self.pending.push(unit);
        Ok(number)
    }

    /// Gives a file of another disk a name here. What was not synced there can get lost here by itself.
    pub(super) fn link(&mut self, name: FileName, mut file: Inode) -> io::Result<()> {
        if self.live.contains_key(&name) {
            return Err(errno(Errno::EXIST));
        }
        let pending = std::mem::take(&mut file.pending);
        file.pending = pending.into_iter().map(|unit| self.unit(unit.change)).collect();
        file.handles = Arc::new(());
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(number, file);
        self.live.insert(name, number);
        let unit = self.unit(NameChange::Link(name, number));
        self.pending.push(unit);
        Ok(())
    }

    pub(super) fn publish(&mut self, from: FileName, to: FileName) -> io::Result<()> {
        let number = self.lookup(from)?;
        if self.inode(number)?.special {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{from} is not a regular file")));
        }
        if self.live.contains_key(&to) {
            return Err(errno(Errno::EXIST));
        }
        let inode = self.inode(number)?;
        inode.sealed = true;
        inode.kind = to.kind();
        self.live.remove(&from);
        self.live.insert(to, number);
        let unit = self.unit(NameChange::Rename(from, to, number));
        self.pending.push(unit);
        Ok(())
    }

    pub(super) fn remove(&mut self, name: FileName) -> io::Result<()> {
        let number = self.live.remove(&name).ok_or_else(|| errno(Errno::NOENT))?;
        let (kind, bytes) = self.inode(number).map(|inode| (inode.kind, inode.live.clone()))?;
        let retired = Arc::make_mut(&mut self.retired);
        if retired.len() == RETIRED_FILES {
            retired.remove(0);
        }
        retired.push((kind, bytes));
        let unit = self.unit(NameChange::Unlink(name));
        self.pending.push(unit);
        Ok(())
    }

    /// Makes all names durable; files that no name and no handle leads to any more are forgotten.
    pub(super) fn sync_names(&mut self) {
        for unit in std::mem::take(&mut self.pending) {
            rename(&mut self.durable, unit.change);
        }
        self.forget_unreachable(|inode| Arc::strong_count(&inode.handles) > 1);
    }

    fn forget_unreachable(&mut self, in_use: impl Fn(&Inode) -> bool) {
        let reachable: BTreeSet<InodeNo> = self.live.values().chain(self.durable.values()).copied().collect();
        let linked: BTreeSet<InodeNo> = self.pending.iter().filter_map(|unit| unit.change.inode()).collect();
        self.inodes.retain(|number, inode| reachable.contains(number) || linked.contains(number) || in_use(inode));
    }

    /// The same disk as another machine would hold it: no open handles, no lock, no armed fault.
    pub(super) fn fork(&self) -> Disk {
        let mut fork = self.clone();
        fork.inodes.values_mut().for_each(|inode| inode.handles = Arc::new(()));
        fork.locked = false;
        fork.lies.clear();
        fork.forget_unreachable(|_| false);
        fork
    }

    /// Writes what fits; fails only if nothing does.
    pub(super) fn write(&mut self, number: InodeNo, buf: &[u8], at: u64) -> io::Result<usize> {
        let room = self.room();
        let limit = self.write_limit;
        let inode = self.inode(number)?;
        let mut buf = &buf[..buf.len().min(limit.unwrap_or(usize::MAX))];
        if buf.is_empty() {
            return Ok(0);
        }
        if let Some(room) = room {
            let fits = inode.allocated().saturating_add(room).saturating_sub(at);
            if fits == 0 {
                return Err(errno(Errno::NOSPC));
            }
            buf = &buf[..buf.len().min(usize::try_from(fits).unwrap_or(usize::MAX))];
        }
        let old_len = inode.live.len();
        let end = at.saturating_add(buf.len() as u64);
        if end > MAX_FILE_BYTES {
            return Err(errno(Errno::FBIG));
        }
        let mut changes = Vec::new();
        if at > old_len {
            changes.push(Change::Truncate(at));
        }
        if end > old_len {
            changes.push(Change::Grow(end));
        }
        split_sectors(buf, at, &mut changes);
        self.change(number, changes)?;
        Ok(buf.len())
    }

    pub(super) fn truncate(&mut self, number: InodeNo, len: u64) -> io::Result<()> {
        let room = self.room();
        if len > MAX_FILE_BYTES {
            return Err(errno(Errno::FBIG));
        }
        let inode = self.inode(number)?;
        if room.is_some_and(|room| len > inode.allocated().saturating_add(room)) {
            return Err(errno(Errno::NOSPC));
        }
        if len < inode.live.len() {
            inode.reserved_end = inode.reserved_end.min(len);
        }
        self.change(number, vec![Change::Truncate(len)])
    }

    pub(super) fn reserve(&mut self, number: InodeNo, at: u64, len: u64) -> io::Result<()> {
        let room = self.room();
        let inode = self.inode(number)?;
        let end = at.saturating_add(len);
        if room.is_some_and(|room| end > inode.allocated().saturating_add(room)) {
            return Err(errno(Errno::NOSPC));
        }
        inode.reserved_end = inode.reserved_end.max(end);
        Ok(())
    }

    fn change(&mut self, number: InodeNo, changes: Vec<Change>) -> io::Result<()> {
        let units: Vec<_> = changes.into_iter().map(|change| self.unit(change)).collect();
        let inode = self.inode(number)?;
        let bytes = FileBytes::edit(&mut inode.live);
        for unit in &units {
            unit.change.apply(bytes, |hole, _| hole.fill(0));
        }
        inode.pending.extend(units);
        Ok(())
    }

    /// Makes bytes and length durable.
    pub(super) fn sync(&mut self, number: InodeNo) -> io::Result<()> {
        let inode = self.inode(number)?;
        if inode.pending.is_empty() {
            return Ok(());
        }
        inode.settle();
        Ok(())
    }

    /// A sync that fails as kernels do: the bytes it should have written are marked clean. Reads go on showing them
    /// until they are evicted, and no later sync writes them. Lengths are metadata and may still become durable.
    pub(super) fn sync_and_lie(&mut self, number: InodeNo) -> io::Error {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.pending.retain(|unit| !matches!(unit.change, Change::Sector { .. }));
            inode.lied = true;
        }
        errno(Errno::IO)
    }

    /// The same for the directory.
    pub(super) fn sync_names_and_lie(&mut self) -> io::Error {
        self.pending.clear();
        errno(Errno::IO)
    }

    /// Forgets what reads show beyond the durable state and the changes still to be written.
    pub(super) fn evict(&mut self) {
        for inode in self.inodes.values_mut() {
            let mut bytes = inode.durable.as_slice().to_vec();
            inode.pending.iter().for_each(|unit| unit.change.apply(&mut bytes, |hole, _| hole.fill(0)));
            if bytes != inode.live.as_slice() {
                inode.live = FileBytes::content(bytes);
            }
            inode.lied = false;
        }
        self.live = self.durable.clone();
        self.pending.iter().for_each(|unit| rename(&mut self.live, unit.change));
    }

    /// A number derived from the seed and the count of calls, so never given twice.
    pub(super) fn nonce(&mut self) -> u64 {
        self.nonces += 1;
        let mut state = self.seed.wrapping_add(self.nonces.wrapping_mul(0xa076_1d64_78bd_642f));
        next_random(&mut state)
    }

    /// The bytes that appear in `hole`, which starts at offset `at` of a file of this kind.
    pub(super) fn fill_hole(&self, fill: HoleFill, kind: Option<FileKind>, hole: &mut [u8], at: u64) {
        match fill {
            HoleFill::Zeros => hole.fill(0),
            HoleFill::Noise(seed) => {
                for (i, byte) in hole.iter_mut().enumerate() {
                    let mut state = seed ^ at.wrapping_add(i as u64);
                    *byte = next_random(&mut state) as u8;
                }
            }
            HoleFill::Stale => {
                let covers = |entry: &&(Option<FileKind>, Content)| entry.1.len() > at;
                let same = |entry: &&(Option<FileKind>, Content)| entry.0 == kind && covers(entry);
                let source = self.retired.iter().rev().find(same).or_else(|| self.retired.iter().rev().find(covers));
                hole.fill(0);
                if let Some((_, bytes)) = source {
                    let old = usize::try_from(at).ok().and_then(|at| bytes.as_slice().get(at..)).unwrap_or(&[]);
                    let count = old.len().min(hole.len());
                    hole[..count].copy_from_slice(&old[..count]);
                }
            }
        }
    }
}

impl NameChange {
    fn inode(self) -> Option<InodeNo> {
        match self {
            NameChange::Link(_, number) | NameChange::Rename(_, _, number) => Some(number),
            NameChange::Unlink(_) => None,
        }
    }
}

impl Inode {
    fn settle(&mut self) {
        self.previous = Some(self.durable.clone());
        if !self.lied {
            // Reads show exactly what is durable plus what is pending: share it instead of building it again.
            self.pending.clear();
            self.durable = self.live.clone();
            return;
        }
        let bytes = FileBytes::edit(&mut self.durable);
        for unit in self.pending.drain(..) {
            unit.change.apply(bytes, |hole, _| hole.fill(0));
        }
    }
}

impl Change {
    /// Applies the change; `fill` gets the bytes and the offset of a part that becomes visible without having been
    /// written.
    pub(super) fn apply(&self, bytes: &mut Vec<u8>, fill: impl Fn(&mut [u8], u64)) {
        match self {
            Change::Sector { at, data, start, len } => {
                let at = *at as usize;
                grow(bytes, at, fill);
                if bytes.len() < at + len {
                    bytes.resize(at + len, 0);
                }
                bytes[at..at + len].copy_from_slice(&data[*start..start + len]);
            }
            Change::Grow(end) => grow(bytes, *end as usize, fill),
            Change::Truncate(len) => bytes.resize(*len as usize, 0),
        }
    }
}

fn grow(bytes: &mut Vec<u8>, end: usize, fill: impl Fn(&mut [u8], u64)) {
    let old = bytes.len();
    if old < end {
        bytes.resize(end, 0);
        fill(&mut bytes[old..], old as u64);
    }
}

fn split_sectors(buf: &[u8], at: u64, changes: &mut Vec<Change>) {
    let data: Arc<[u8]> = buf.into();
    let mut start = 0;
    while start < buf.len() {
        let at = at + start as u64;
        let to_boundary = (SECTOR_BYTES - at % SECTOR_BYTES) as usize;
        let len = to_boundary.min(buf.len() - start);
        changes.push(Change::Sector { at, data: data.clone(), start, len });
        start += len;
    }
}

/// Applies a directory operation to a set of names. What it needs may be missing when earlier ones were lost.
pub(super) fn rename(names: &mut Names, change: NameChange) {
    match change {
        NameChange::Link(name, number) => {
            names.insert(name, number);
        }
        NameChange::Rename(from, to, number) => {
            names.remove(&from);
            names.insert(to, number);
        }
        NameChange::Unlink(name) => {
            names.remove(&name);
        }
    }
}
