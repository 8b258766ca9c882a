//! What all threads of a handle share, and the order of its locks.
//!
//! Lock order, outermost first: `loading` (one bulk load at a time), `compacting` (one merge at a time) > `gate` (no commit while a bulk load is
//! installed) > `flushing` (one manifest at a time) > `writer` (the commit lock) > `pending`, `queue`, `spare` (leaves: held for a few instructions, nothing is taken inside). Reads take none of them: they load `view`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};

use super::batch::Receipt;
use super::calibration::LastLook;
use super::commit::Queue;
use super::compact::CompactReport;
use super::flush::{older_manifests, remove_all};
use super::foresight::Look;
use super::job::Jobs;
use super::scrub::Scrubbed;
use crate::budget::{Budget, Charge, Share};
use crate::compaction::Control;
use crate::delta::{Generation, KnownIds};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest;
use crate::options::{OpenOptions, RecoveryReport, Schema};
use crate::snapshot::{Version, View};
use crate::storage::{FileId, FileKind, FileName, LockGuard, Storage};
use crate::wal::{Frame, WalHead, WalWriter};

/// Generations that may wait for their flush before commits wait too.
pub(super) const MAX_FROZEN: usize = 2;

/// Buffers kept for log records, and the largest that is kept.
const SPARE_BUFFERS: usize = 2;
const SPARE_BYTES: usize = 4 << 20;

/// One open collection.
pub(super) struct Shared {
    pub(super) schema: Arc<Schema>,
    pub(super) options: OpenOptions,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) collection: u128,
    pub(super) epoch: u64,
    /// The newest committed state. Stored under the commit lock, loaded by anybody.
    pub(super) view: ArcSwap<View>,
    pub(super) queue: Mutex<Queue>,
    pub(super) writer: Mutex<Writer>,
    pub(super) loading: Mutex<()>,
    pub(super) compacting: Mutex<()>,
    /// Held by whoever commits a group, and by a bulk load from its last flush to its manifest.
    pub(super) gate: Mutex<()>,
    pub(super) flushing: Mutex<()>,
    pub(super) pending: Mutex<Pending>,
    pub(super) pending_changed: Condvar,
    /// Highest sequence number known to survive a power loss.
    pub(super) durable: AtomicU64,
    next_file: AtomicU64,
    poison: OnceLock<Error>,
    closed: AtomicBool,
    /// Memory of log records that were written, to build the next ones in: fresh memory costs more than the copy.
    spare: Mutex<Vec<Vec<u8>>>,
    /// Rows of the last batch.
    batch_rows: AtomicUsize,
    /// Ends automatic merges when the handle is closed or dropped.
    pub(super) stop_merges: Control,
    pub(super) scrubbed: Scrubbed,
    pub(super) jobs: Arc<Jobs>,
    pub(super) counters: Counters,
    pub(super) budget: Arc<Budget>,
    /// The last look at whether the calibration holds.
    pub(super) last_look: Mutex<LastLook>,
    /// What is known of the rows of files.
    pub(super) files_charge: Mutex<Charge>,
    pub(super) recovery: RecoveryReport,
    _lock: Box<dyn LockGuard>,
}

/// What only the holder of the commit lock touches.
pub(super) struct Writer {
    /// The log being written. `None` after a clean open, until the first commit: opening writes nothing.
    pub(super) wal: Option<WalWriter>,
    /// The logs of the active generation, to be removed once a manifest covers it.
    pub(super) logs: Vec<FileId>,
    /// Newest state of each id written in the active generation.
    pub(super) known: KnownIds,
    /// Memory of `known` and of the generation's kills.
    pub(super) known_charge: Charge,
    /// One per frozen generation of the view, oldest first.
    pub(super) frozen: VecDeque<Frozen>,
    pub(super) last_seq: u64,
    pub(super) next_row: u64,
    /// A roll failed; it is tried again when the log has grown to this length.
    pub(super) roll_not_before: u64,
    /// When the active generation is looked at again.
    pub(super) next_look: Look,
}

/// The writer's side of a frozen generation.
pub(super) struct Frozen {
    pub(super) generation: Arc<Generation>,
    pub(super) known: KnownIds,
    pub(super) _known_charge: Charge,
    /// Its logs, to be removed once a manifest covers it.
    pub(super) logs: Vec<FileId>,
    /// The log that follows.
    pub(super) next_wal: FileId,
    pub(super) last_seq: u64,
}

/// A model that is to be there before rows in memory go to files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum NextModel {
    #[default]
    None,
    Due,
    /// It is being trained.
    Begun,
}

/// What the flushing side and waiting commits tell each other.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) frozen: usize,
    pub(super) stop: bool,
    /// The last flush failed; it is tried again at the next commit that finds no room, or at the next roll.
    pub(super) failed: Option<Error>,
    /// The last full log could not be followed by a new one; it goes on and that is tried again.
    pub(super) roll_failed: Option<Error>,
    /// A flush may have made something to merge.
    pub(super) merge_due: bool,
    /// For rows that are in memory.
    pub(super) next_model: NextModel,
    /// What automatic merges did so far.
    pub(super) upkeep: CompactReport,
    /// Automatic merges failed this often in a row, the last time with this.
    pub(super) merge_failed: Option<(u32, Error)>,
}

/// Counts since open, for `stats`.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) batches: AtomicU64,
    pub(super) log_syncs: AtomicU64,
    pub(super) log_bytes: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) flush_bytes: AtomicU64,
    pub(super) flush_failures: AtomicU64,
    pub(super) merges: AtomicU64,
    pub(super) merge_bytes: AtomicU64,
    pub(super) filings: AtomicU64,
    pub(super) retrains: AtomicU64,
    pub(super) conversions: AtomicU64,
    pub(super) list_merges: AtomicU64,
    pub(super) list_bytes: AtomicU64,
    pub(super) merged_at: Mutex<Option<SystemTime>>,
    pub(super) loads: AtomicU64,
    pub(super) load_bytes: AtomicU64,
    pub(super) orphans_left: AtomicU64,
}

/// Adds to a counter that nobody orders anything by.
pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// What `open` and `create` hand over.
pub(super) struct Opened {
    pub(super) schema: Schema,
    pub(super) options: OpenOptions,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) epoch: u64,
    pub(super) view: View,
    pub(super) wal: Option<WalWriter>,
    pub(super) logs: Vec<FileId>,
    pub(super) next_file: u64,
    pub(super) recovery: RecoveryReport,
    pub(super) lock: Box<dyn LockGuard>,
    pub(super) budget: Arc<Budget>,
}

impl Shared {
    pub(super) fn new(mut opened: Opened) -> Shared {
        if let Some(wal) = &mut opened.wal {
            wal.keep_spare(opened.options.delete_reserve);
        }
        let view = opened.view;
        let budget = opened.budget;
        let shared = Shared {
            last_look: Mutex::default(),
            files_charge: Mutex::new(budget.charge(Share::Files, 0)),
            collection: view.version.manifest.collection,
            epoch: opened.epoch,
            queue: Mutex::new(Queue::default()),
            writer: Mutex::new(Writer {
                wal: opened.wal,
                logs: opened.logs,
                known: view.active.known_ids(opened.schema.id_kind()),
                known_charge: budget.charge(Share::Delta, 0),
                frozen: VecDeque::new(),
                last_seq: view.seq,
                next_row: view.active.end_row(),
                roll_not_before: 0,
                next_look: Look::default(),
            }),
            loading: Mutex::new(()),
            compacting: Mutex::new(()),
            gate: Mutex::new(()),
            flushing: Mutex::new(()),
            pending: Mutex::new(Pending::default()),
            pending_changed: Condvar::new(),
            durable: AtomicU64::new(view.seq),
            next_file: AtomicU64::new(opened.next_file),
            poison: OnceLock::new(),
            closed: AtomicBool::new(false),
            spare: Mutex::new(Vec::new()),
            batch_rows: AtomicUsize::new(0),
            stop_merges: Control::default(),
            scrubbed: Scrubbed::default(),
            jobs: Arc::default(),
            counters: Counters::default(),
            recovery: opened.recovery,
            schema: Arc::new(opened.schema),
            options: opened.options,
            storage: opened.storage,
            view: ArcSwap::from_pointee(view),
            _lock: opened.lock,
            budget,
        };
        shared.account_files(&shared.view.load().version);
        shared
    }

    /// A file id that was never used.
    pub(super) fn new_file_id(&self) -> FileId {
        FileId { number: self.next_file.fetch_add(1, Ordering::Relaxed), epoch: self.epoch }
    }

    /// One past the largest file number given.
    pub(super) fn next_file_number(&self) -> u64 {
        self.next_file.load(Ordering::Relaxed)
    }

    /// Refuses writes from here on: what a failed sync left is unknown until the collection is opened again.
    pub(super) fn poison(&self, cause: &Error) -> Error {
        let _ = self.poison.set(cause.clone());
        // Under the lock: who has just seen the handle sound is waiting by now, and hears of it.
        let _pending = self.pending.lock();
        self.pending_changed.notify_all();
        self.poisoned_error(cause)
    }

    /// Passes an error on; a failed sync poisons the handle.
    pub(super) fn judge(&self, error: Error) -> Error {
        if error.is_sync_failure() { self.poison(&error) } else { error }
    }

    fn poisoned_error(&self, cause: &Error) -> Error {
        cause
            .clone()
            .caused(ErrorKind::Poisoned, "this handle takes no more writes since a sync failed")
            .with_hint("reopen the collection: recovery keeps every acknowledged write")
    }

    pub(super) fn poison_cause(&self) -> Option<&Error> {
        self.poison.get()
    }

    /// `Ok` until the handle is closed.
    pub(super) fn check_open(&self) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(Error::new(ErrorKind::Closed, "the collection was closed")),
            false => Ok(()),
        }
    }

    /// `Ok` while writes are taken.
    pub(super) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        match self.poison.get() {
            Some(cause) => Err(self.poisoned_error(cause)),
            None => Ok(()),
        }
    }

    pub(super) fn mark_closed(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Raises the durable mark.
    pub(super) fn set_durable(&self, seq: u64) {
        self.durable.fetch_max(seq, Ordering::AcqRel);
    }

    pub(super) fn durable_seq(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// How many rows the next batch may have, going by the last.
    pub(super) fn expected_rows(&self) -> usize {
        self.batch_rows.load(Ordering::Relaxed)
    }

    /// Remembers how many rows a batch had.
    pub(super) fn expect_rows(&self, rows: usize) {
        self.batch_rows.store(rows, Ordering::Relaxed);
    }

    /// Memory for a log record.
    pub(super) fn spare_buffer(&self) -> Vec<u8> {
        self.spare.lock().pop().unwrap_or_default()
    }

    /// Keeps the memory of a few records of ordinary size.
    pub(super) fn keep_buffers(&self, frames: Vec<(u64, Frame)>) {
        let mut spare = self.spare.lock();
        for (_, frame) in frames {
            let buffer = frame.into_buffer();
            let most = SPARE_BYTES.min(self.options.batch_bytes() / 2);
            if spare.len() < SPARE_BUFFERS && (64 << 10..=most).contains(&buffer.capacity()) {
                spare.push(buffer);
            }
        }
    }

    /// The receipt of a batch with nothing in it.
    pub(super) fn empty_receipt(&self) -> Receipt {
        let seq = self.view.load().seq;
        Receipt { seq, durable: self.durable_seq() >= seq, inserted: 0, replaced: 0, deleted: 0 }
    }

    /// Makes everything acknowledged so far durable.
    ///
    /// 1. Sync the log. A crash before: what was acknowledged with `Os` may go, in order from the end.
    /// 2. Raise the durable mark.
    pub(super) fn sync(&self) -> Result<u64> {
        let mut writer = self.writer.lock();
        self.check_writable()?;
        self.sync_log(&mut writer)?;
        Ok(writer.last_seq)
    }

    /// Syncs the log if it holds anything that is not durable. The first failure poisons the handle.
    pub(super) fn sync_log(&self, writer: &mut Writer) -> Result<()> {
        if self.durable_seq() < writer.last_seq
            && let Some(wal) = &mut writer.wal
        {
            wal.sync().map_err(|error| self.poison(&error))?;
            count(&self.counters.log_syncs, 1);
            self.set_durable(writer.last_seq);
        }
        Ok(())
    }

    /// Creates the log that follows the newest one; synced, its name durable.
    pub(super) fn create_log(&self, writer: &Writer) -> Result<WalWriter> {
        let head = WalHead {
            collection: self.collection,
            epoch: self.epoch,
            predecessor: writer.wal.as_ref().map(WalWriter::link),
            first_seq: writer.last_seq + 1,
            first_row: writer.next_row,
        };
        let created = WalWriter::create(&*self.storage, self.new_file_id(), head);
        let mut wal = created.map_err(|error| self.judge(error))?;
        wal.keep_spare(self.options.delete_reserve);
        Ok(wal)
    }

    /// Begins the log of this handle, at its first commit after a clean open. The caller holds `flushing`: there are no
    /// frozen generations yet and so no flush is at work, but a merge may be, and no two may publish the same generation.
    ///
    /// 1. Create the log; it and its name are durable. A crash: an orphan.
    /// 2. Publish a manifest that begins with it. A crash: the old manifest and its empty log, or the new ones.
    /// 3. Remove the empty log that the older manifest names. A crash: an orphan.
    pub(super) fn begin_log(&self, writer: &mut Writer) -> Result<()> {
        let wal = self.create_log(writer)?;
        let old = self.view.load_full();
        let mut manifest = old.version.manifest.successor();
        manifest.epoch = self.epoch;
        manifest.first_wal = wal.id();
        let temp = self.new_file_id();
        manifest.next_file_number = self.next_file_number();
        if let Err(error) = manifest::publish(&*self.storage, &manifest, temp) {
            if !error.is_sync_failure() {
                let _ = self.storage.remove(FileName::File(FileKind::Wal, wal.id()));
            }
            return Err(self.judge(error));
        }
        let empty = std::mem::replace(&mut writer.logs, vec![wal.id()]);
        writer.wal = Some(wal);
        let mut dropped: Vec<FileName> = empty.into_iter().map(|id| FileName::File(FileKind::Wal, id)).collect();
        dropped.extend(older_manifests(manifest.generation));
        let version = Version { manifest: Arc::new(manifest), ..(*old.version).clone() };
        self.view.store(Arc::new(View { version: Arc::new(version), ..(*old).clone() }));
        count(&self.counters.orphans_left, remove_all(&*self.storage, &dropped));
        Ok(())
    }

    /// The log, once `begin_log` was called.
    pub(super) fn log<'w>(&self, writer: &'w mut Writer) -> Result<&'w mut WalWriter> {
        writer.wal.as_mut().ok_or_else(|| Error::new(ErrorKind::Closed, "there is no log"))
    }
}
