//! `MemDir`: a directory in memory that forgets what was not synced.

use std::any::Any;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::call::{Call, Op};
use super::content::{Content, FileBytes, Hash128};
use super::crash::{CrashOptions, CrashSet};
use super::disk::{Disk, Inode, InodeNo, SECTOR_BYTES};
use super::mem_file::MemFile;
use crate::planted::{self, Bug};
use crate::storage::{DirEntry, EntryKind, FileKind, FileName, LockGuard, LockOutcome, Storage, StorageFile};

/// What an endless disk says when asked for its room.
const ENDLESS_BYTES: u64 = 1 << 40;

/// On which side of a call a crash point lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The call has not begun; everything the program did since the last call has happened.
    Before,
    /// The call has returned.
    After,
}

/// A moment at which the machine may stop.
pub struct CrashPoint {
    /// The number of the mutating call, from 1.
    pub index: u64,
    /// Before or after it.
    pub phase: Phase,
    /// The call.
    pub call: Call,
    /// The disk at this moment, independent of the running one.
    pub dir: MemDir,
}

type Hook = Arc<dyn Fn(&CrashPoint) + Send + Sync>;

/// A simulated directory. Clones share one disk; [`MemDir::fork`] makes an independent one.
///
/// `sync` makes bytes and length durable but not the name, `sync_dir` makes names durable but not bytes, and nothing
/// else does either. Besides the [`Storage`] calls it offers what a test needs: states after a crash, lying syncs,
/// a full disk, unreadable ranges and raw edits.
#[derive(Clone)]
pub struct MemDir {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    disk: Mutex<Disk>,
    hook: Mutex<Option<Hook>>,
}

impl MemDir {
    /// An empty directory. The seed decides all nonces.
    pub fn new(seed: u64) -> MemDir {
        MemDir::from_disk(Disk { seed, ..Disk::default() })
    }

    pub(super) fn from_disk(disk: Disk) -> MemDir {
        MemDir { shared: Arc::new(Shared { disk: Mutex::new(disk), hook: Mutex::new(None) }) }
    }

    /// An independent copy of everything, pending changes included, without open handles, lock and hook. Contents are
    /// shared until one side writes, so this is cheap.
    pub fn fork(&self) -> MemDir {
        MemDir::from_disk(self.disk().fork())
    }

    /// What a new process finds after this one was killed: nothing that was written is lost, the lock is free. The
    /// handles of the killed process go on writing to the old disk, not to this one.
    pub fn process_crash(&self) -> MemDir {
        self.fork()
    }

    /// All states that a power loss at this moment may leave behind.
    pub fn crash_set(&self, options: &CrashOptions) -> CrashSet {
        CrashSet::new(self.disk().fork(), options)
    }

    /// The same, one fresh directory after the other.
    pub fn crash_images(&self, options: &CrashOptions) -> impl Iterator<Item = MemDir> + use<> {
        let set = self.crash_set(options);
        (0..set.len()).map(move |index| set.build(index))
    }

    /// Calls `hook` before and after every call that changes the disk, with an independent copy of it. The hook runs
    /// on the calling thread without any lock, so it may enumerate images and recover from them.
    /// Between two calls the disk does not change: the point before a call differs from the one after the call before
    /// only in what the program has done meanwhile, such as an acknowledgement.
    pub fn on_call(&self, hook: impl Fn(&CrashPoint) + Send + Sync + 'static) {
        *self.shared.hook.lock() = Some(Arc::new(hook));
    }

    /// Removes the hook.
    pub fn clear_hook(&self) {
        *self.shared.hook.lock() = None;
    }

    /// How many calls that change the disk there were.
    pub fn calls(&self) -> u64 {
        self.disk().calls
    }

    /// How many units a power loss could lose now.
    pub fn pending_units(&self) -> usize {
        let disk = self.disk();
        disk.pending.len() + disk.inodes.values().map(|inode| inode.pending.len()).sum::<usize>()
    }

    /// 128 bits over all names and the bytes that reads show: equal for equal directories.
    pub fn image_hash(&self) -> u128 {
        let disk = self.disk();
        let mut hash = Hash128::new();
        for (name, number) in &disk.live {
            hash_name(&mut hash, *name);
            hash.wide(disk.inodes.get(number).map_or(0, |inode| inode.live.hash()));
        }
        hash.finish()
    }

    /// Forgets cached bytes: reads now show the durable state and what is still to be written. Changes something only
    /// after a lying sync.
    pub fn evict(&self) {
        self.disk().evict();
    }

    /// The next `sync` or `sync_dir` that the calling thread makes fails with `EIO`. What it should have written is
    /// dropped, reads go on showing it until [`MemDir::evict`], and later syncs succeed without writing it.
    pub fn fail_next_sync(&self) {
        self.disk().lies.push(std::thread::current().id());
    }

    /// Lets the disk end after `bytes` more; `None` makes it endless. Removing files gives room back.
    pub fn set_free_bytes(&self, bytes: Option<u64>) {
        let mut disk = self.disk();
        disk.capacity = Some(u64::MAX);
        let used = u64::MAX - disk.room().unwrap_or(u64::MAX);
        disk.capacity = bytes.map(|bytes| used.saturating_add(bytes));
    }

    /// No file can have a second name in another directory, as between two file systems.
    pub fn refuse_links(&self) {
        self.disk().no_links = true;
    }

    /// No read returns more than `bytes` at once.
    pub fn set_read_limit(&self, bytes: Option<usize>) {
        self.disk().read_limit = bytes;
    }

    /// No write takes more than `bytes` at once.
    pub fn set_write_limit(&self, bytes: Option<usize>) {
        self.disk().write_limit = bytes;
    }

    /// Reads and maps that touch this range of the file fail with `EIO`; after an empty range all can be read again. Nothing happens if
    /// there is no such file.
    pub fn set_unreadable(&self, name: FileName, range: Range<u64>) {
        self.with_inode(name, |inode| match range.is_empty() {
            true => inode.unreadable.clear(),
            false => inode.unreadable.push(range),
        });
    }

    /// The names of our grammar, in order.
    pub fn names(&self) -> Vec<FileName> {
        self.disk().live.keys().copied().collect()
    }

    /// The bytes of a file as reads show them.
    pub fn file_bytes(&self, name: FileName) -> Option<Vec<u8>> {
        let disk = self.disk();
        let inode = disk.inodes.get(disk.live.get(&name)?)?;
        Some(inode.live.as_slice().to_vec())
    }

    /// Changes the bytes of a file in any way, durably, as damage would. `false` if there is no such file.
    pub fn corrupt(&self, name: FileName, damage: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.with_inode(name, |inode| {
            damage(FileBytes::edit(&mut inode.live));
            inode.durable = inode.live.clone();
            inode.pending.clear();
            inode.lied = false;
        })
    }

    /// Inverts one bit, counted from the lowest of the first byte. `false` if there is no such bit.
    pub fn flip_bit(&self, name: FileName, bit: u64) -> bool {
        let mut done = false;
        self.corrupt(name, |bytes| {
            if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|at| bytes.get_mut(at)) {
                *byte ^= 1 << (bit % 8);
                done = true;
            }
        });
        done
    }

    /// Puts back what the sector held before the last sync of the file that changed it. `false` if it held nothing
    /// else.
    pub fn stale_sector(&self, name: FileName, sector: u64) -> bool {
        let Some(previous) = self.previous_bytes(name) else { return false };
        let mut done = false;
        self.corrupt(name, |bytes| {
            let range = sector_range(sector, bytes.len().min(previous.as_slice().len()));
            done = bytes[range.clone()] != previous.as_slice()[range.clone()];
            bytes[range.clone()].copy_from_slice(&previous.as_slice()[range]);
        });
        done
    }

    /// Exchanges two ranges of `bytes` length, of one file or of two: misdirected writes. `false` if either does not
    /// exist whole.
    pub fn swap_ranges(&self, one: (FileName, usize), two: (FileName, usize), bytes: usize) -> bool {
        let part = |(name, at): (FileName, usize)| Some(self.file_bytes(name)?.get(at..at + bytes)?.to_vec());
        let (Some(a), Some(b)) = (part(one), part(two)) else { return false };
        self.corrupt(one.0, |file| file[one.1..one.1 + bytes].copy_from_slice(&b));
        self.corrupt(two.0, |file| file[two.1..two.1 + bytes].copy_from_slice(&a))
    }

    /// Puts a durable file there, in place of any that has the name.
    pub fn put_raw(&self, name: FileName, bytes: Vec<u8>) {
        self.put_inode(name, Inode::new(name.kind(), FileBytes::content(bytes)));
    }

    /// Puts something there that has one of our names and is no regular file.
    pub fn put_special(&self, name: FileName) {
        self.put_inode(name, Inode { special: true, ..Inode::new(name.kind(), Content::default()) });
    }

    /// Takes a name away, durably. `false` if it is not there.
    pub fn remove_raw(&self, name: FileName) -> bool {
        let mut disk = self.disk();
        disk.durable.remove(&name);
        disk.live.remove(&name).is_some()
    }

    /// Puts a regular file with a foreign name there.
    pub fn put_foreign(&self, name: &str, len: u64) {
        Arc::make_mut(&mut self.disk().foreign).insert(name.to_owned(), len);
    }

    fn put_inode(&self, name: FileName, inode: Inode) {
        let mut disk = self.disk();
        let number = disk.next_inode;
        disk.next_inode += 1;
        disk.inodes.insert(number, inode);
        disk.live.insert(name, number);
        disk.durable.insert(name, number);
    }

    fn previous_bytes(&self, name: FileName) -> Option<Content> {
        let disk = self.disk();
        disk.inodes.get(disk.live.get(&name)?)?.previous.clone()
    }

    fn with_inode(&self, name: FileName, work: impl FnOnce(&mut Inode)) -> bool {
        let mut disk = self.disk();
        let inode = disk.lookup(name).and_then(|number| disk.inode(number));
        inode.map(work).is_ok()
    }

    fn open_file(&self, number: InodeNo, name: FileName, writable: bool) -> io::Result<Arc<dyn StorageFile>> {
        let handle = self.disk().inode(number)?.handles.clone();
        Ok(Arc::new(MemFile::new(self.clone(), number, name, writable, handle)))
    }

    pub(super) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.shared.disk.lock()
    }

    /// Runs one call that changes the disk, between its two crash points.
    pub(super) fn change<T>(&self, call: Call, work: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let hook = self.shared.hook.lock().clone();
        let point = |phase, index, disk| CrashPoint { index, phase, call, dir: MemDir::from_disk(disk) };
        if let Some(hook) = &hook {
            let (index, fork) = {
                let disk = self.disk();
                (disk.calls + 1, disk.fork())
            };
            hook(&point(Phase::Before, index, fork));
        }
        let (result, after) = {
            let mut disk = self.disk();
            disk.calls += 1;
            let result = work(&mut disk);
            (result, hook.is_some().then(|| (disk.calls, disk.fork())))
        };
        if let (Some(hook), Some((index, fork))) = (&hook, after) {
            hook(&point(Phase::After, index, fork));
        }
        result
    }
}

/// Whether the calling thread's next sync has to fail; asked once.
pub(super) fn takes_lie(disk: &mut Disk) -> bool {
    let me = std::thread::current().id();
    let armed = disk.lies.iter().position(|thread| *thread == me);
    armed.map(|at| disk.lies.swap_remove(at)).is_some()
}

fn sector_range(sector: u64, len: usize) -> Range<usize> {
    let edge = |n: u64| usize::try_from(n.saturating_mul(SECTOR_BYTES)).unwrap_or(usize::MAX).min(len);
    edge(sector)..edge(sector.saturating_add(1))
}

pub(super) fn hash_name(hash: &mut Hash128, name: FileName) {
    hash.wide(name.file_id().to_u128());
    hash.words(name.kind().map_or(0, |kind| kind as u64 + 1), 0);
}

/// Whether a planted bug is on that goes on writing to a file it found: the one thing `open` never allows otherwise.
fn writes_old_logs() -> bool {
    planted::is(Bug::AppendToOldLog) || planted::is(Bug::AppendBehindTornTail)
}

impl Storage for MemDir {
    fn create(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        let number = self.change(Call::file(Op::Create, name), |disk| disk.create(name))?;
        self.open_file(number, name, true)
    }

    fn open(&self, name: FileName) -> io::Result<Arc<dyn StorageFile>> {
        let number = {
            let mut disk = self.disk();
            let number = disk.lookup(name)?;
            if disk.inode(number)?.special {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is not a regular file")));
            }
            number
        };
        self.open_file(number, name, name.kind() == Some(FileKind::Wal) && writes_old_logs())
    }

    fn publish(&self, from: FileName, to: FileName) -> io::Result<()> {
        self.change(Call::publish(from, to), |disk| disk.publish(from, to))
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.change(Call::file(Op::Remove, name), |disk| disk.remove(name))
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        let disk = self.disk();
        let ours = disk.live.iter().filter_map(|(name, number)| {
            let inode = disk.inodes.get(number)?;
            let entry = if inode.special { EntryKind::Other } else { EntryKind::File };
            Some(DirEntry { name: Some(*name), text: name.to_string(), entry, len: inode.live.len() })
        });
        let foreign = disk.foreign.iter().map(|(text, len)| DirEntry {
            name: None,
            text: text.clone(),
            entry: EntryKind::File,
            len: *len,
        });
        Ok(ours.chain(foreign).collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.change(Call::dir(Op::SyncDir), |disk| {
            if takes_lie(disk) {
                return Err(disk.sync_names_and_lie());
            }
            disk.sync_names();
            Ok(())
        })
    }

    fn lock(&self) -> io::Result<LockOutcome> {
        self.change(Call::dir(Op::Lock), |disk| {
            if disk.locked {
                return Ok(LockOutcome::Busy { holder_pid: Some(std::process::id()) });
            }
            match disk.lookup(FileName::Lock) {
                Ok(number) if disk.inode(number)?.special => {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "LOCK is not a regular file"));
                }
                Ok(_) => {}
                Err(_) => drop(disk.create(FileName::Lock)?),
            }
            disk.locked = true;
            Ok(LockOutcome::Held(Box::new(MemLock { dir: self.clone() })))
        })
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.disk().room().unwrap_or(ENDLESS_BYTES))
    }

    fn nonce(&self) -> io::Result<u64> {
        Ok(self.disk().nonce())
    }

    fn link_from(&self, source: &dyn Storage, name: FileName) -> io::Result<()> {
        let source = source.innermost().and_then(|dir| dir.downcast_ref::<MemDir>());
        let source = source.filter(|_| !self.disk().no_links).ok_or(io::ErrorKind::Unsupported)?;
        let file = {
            let mut disk = source.disk();
            let number = disk.lookup(name)?;
            disk.inode(number)?.clone()
        };
        if file.special {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is not a regular file")));
        }
        self.change(Call::file(Op::LinkFrom, name), |disk| disk.link(name, file))
    }

    fn innermost(&self) -> Option<&dyn Any> {
        Some(self)
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

struct MemLock {
    dir: MemDir,
}

impl LockGuard for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.dir.disk().locked = false;
    }
}

#[cfg(test)]
#[path = "tests/mem.rs"]
mod tests;
