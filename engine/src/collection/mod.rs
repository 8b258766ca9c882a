//! The public handle: open, write, read, maintain.

mod background;
mod batch;
mod build;
mod bulk;
mod calibration;
mod checkpoint;
mod commit;
mod compact;
mod crew;
mod flush;
mod follower;
mod foresight;
mod health;
mod index_job;
mod job;
mod list_files;
mod open;
mod prepare;
mod record;
mod repair;
mod retired;
mod retrain;
mod retrain_codes;
mod roll;
mod room;
mod scrub;
mod search_batch;
mod shared;
mod stats;
mod upgrade;
mod verify;
mod verify_lists;
mod verify_log;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use self::background::Threads;
use self::shared::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::id::IdRef;
use crate::options::{Background, OpenOptions, RecoveryReport, Schema};
use crate::snapshot::Snapshot;
use crate::storage::{RealDir, Storage};

pub use batch::{Batch, Put, Receipt};
pub use bulk::{BulkItem, BulkLoad, BulkOptions, BulkReport, IntoBulkItem};
pub use checkpoint::CheckpointReport;
pub use compact::{Compact, CompactReport};
pub use follower::Follower;
pub use health::{Health, RetrainReason};
pub use job::Job;
pub use repair::{Loss, Repair, RepairReport};
pub use scrub::{ScrubJob, ScrubReport};
pub use search_batch::SearchBatch;
pub use stats::{MemoryStats, Stats};
pub use upgrade::UpgradeReport;
pub use verify::{Verify, VerifyReport};

/// One directory of vectors under one metric: the handle of its only writer.
///
/// All methods can be called from any thread. Commits of several threads share syncs; searches wait for nothing.
/// Dropping the handle is like a crash: nothing acknowledged is lost, the next open replays the log. [`Collection::close`]
/// leaves nothing to replay. Do not use a handle after `fork()`.
///
/// ```
/// use stratavec::{Collection, Metric, OpenOptions, Schema};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("idx");
/// let c = Collection::create(&path, Schema::new(3, Metric::L2), OpenOptions::default())?;
/// let mut batch = c.batch();
/// batch.upsert("a", &[0.0, 0.0, 1.0]).payload(b"first");
/// batch.upsert("b", &[0.0, 1.0, 0.0]);
/// batch.commit()?; // durable, and visible to the next search
/// let hits = c.snapshot().search(&[0.0, 0.1, 0.9]).k(1).run()?;
/// assert_eq!(hits[0].id, "a");
/// c.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Collection {
    shared: Arc<Shared>,
    threads: Option<Threads>,
}

impl Collection {
    /// Makes a new collection in a directory that does not exist or is empty.
    ///
    /// # Errors
    /// `InvalidArgument` naming `path`, `dim` or an option; `NotFound` if the folder that `path` is to stand in is not there;
    /// `Locked`; `NoSpace`; `Io`.
    pub fn create(path: impl AsRef<Path>, schema: Schema, options: OpenOptions) -> Result<Collection> {
        schema.check()?;
        options.check()?;
        Self::create_in(real_dir(path.as_ref(), true)?, schema, options)
    }

    /// Opens a collection for writing, recovering what the last writer left. At most one writer at a time.
    ///
    /// # Errors
    /// `NotFound`; `Locked`, naming the process that has it; `Corrupt`, naming file and offset, in which case nothing was
    /// changed; `UnsupportedVersion`; `NoSpace`; `Io`.
    pub fn open(path: impl AsRef<Path>, options: OpenOptions) -> Result<Collection> {
        Self::open_in(real_dir(path.as_ref(), false)?, options)
    }

    /// Opens the collection, or makes it if there is none.
    ///
    /// # Errors
    /// As [`Collection::create`] and [`Collection::open`]; `SchemaMismatch` if there is one that was created differently.
    pub fn open_or_create(path: impl AsRef<Path>, schema: Schema, options: OpenOptions) -> Result<Collection> {
        schema.check()?;
        options.check()?;
        Self::open_or_create_in(real_dir(path.as_ref(), true)?, schema, options)
    }

    /// [`Collection::create`] on any [`Storage`].
    ///
    /// # Errors
    /// As [`Collection::create`].
    pub fn create_in(storage: Arc<dyn Storage>, schema: Schema, options: OpenOptions) -> Result<Collection> {
        open::create(storage, schema, options).and_then(Self::start)
    }

    /// [`Collection::open`] on any [`Storage`].
    ///
    /// # Errors
    /// As [`Collection::open`].
    pub fn open_in(storage: Arc<dyn Storage>, options: OpenOptions) -> Result<Collection> {
        open::open(storage, None, options).and_then(Self::start)
    }

    /// [`Collection::open_or_create`] on any [`Storage`].
    ///
    /// # Errors
    /// As [`Collection::open_or_create`].
    pub fn open_or_create_in(storage: Arc<dyn Storage>, schema: Schema, options: OpenOptions) -> Result<Collection> {
        match open::holds_collection(&*storage)? {
            true => open::open(storage, Some(&schema), options).and_then(Self::start),
            false => Self::create_in(storage, schema, options),
        }
    }

    fn start(shared: Shared) -> Result<Collection> {
        let shared = Arc::new(shared);
        let threads = match shared.options.background {
            Background::Thread => {
                // An earlier writer may have ended before it had merged what it left.
                shared.pending.lock().merge_due = true;
                Some(Threads::start(&shared)?)
            }
            Background::Inline => None,
        };
        Ok(Collection { shared, threads })
    }

    /// What the collection is.
    pub fn schema(&self) -> &Schema {
        &self.shared.schema
    }

    /// Starts a batch of writes.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(&self.shared)
    }

    /// A batch of one upsert, committed.
    ///
    /// # Errors
    /// As [`Batch::commit`].
    pub fn upsert<'i>(&self, id: impl Into<IdRef<'i>>, vector: &[f32]) -> Result<Receipt> {
        let mut batch = self.batch();
        batch.upsert(id, vector);
        batch.commit()
    }

    /// A batch of one insert, committed.
    ///
    /// # Errors
    /// As [`Batch::commit`]; `AlreadyExists`.
    pub fn insert<'i>(&self, id: impl Into<IdRef<'i>>, vector: &[f32]) -> Result<Receipt> {
        let mut batch = self.batch();
        batch.insert(id, vector);
        batch.commit()
    }

    /// A batch of one delete, committed; whether there was a row to delete.
    ///
    /// # Errors
    /// As [`Batch::commit`].
    pub fn delete<'i>(&self, id: impl Into<IdRef<'i>>) -> Result<bool> {
        let mut batch = self.batch();
        batch.delete(id);
        Ok(batch.commit()?.deleted > 0)
    }

    /// The newest committed state, pinned. Takes no lock; costs a few nanoseconds.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.shared.view.load_full(), self.shared.schema.clone()).within(&self.shared.budget)
    }

    /// Sequence number of the last committed batch; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.shared.view.load().seq
    }

    /// Sequence number up to which everything survives a power loss.
    pub fn durable_seq(&self) -> u64 {
        self.shared.durable_seq()
    }

    /// Makes everything acknowledged so far durable; the sequence number up to which it now is.
    ///
    /// # Errors
    /// `Poisoned` if the sync fails or one failed before; `Closed`.
    pub fn sync(&self) -> Result<u64> {
        self.shared.sync()
    }

    /// Returns when the batch with this sequence number is durable, syncing the log if it is not yet.
    ///
    /// # Errors
    /// `InvalidArgument` for a number that no batch has yet; else as [`Collection::sync`].
    pub fn wait_durable(&self, seq: u64) -> Result<()> {
        if self.durable_seq() >= seq {
            return Ok(());
        }
        if seq > self.last_seq() {
            return Err(Error::argument("seq", format!("is {seq}; the last batch has {}", self.last_seq())));
        }
        self.sync().map(drop)
    }

    /// Moves everything in memory to files. Durable when it returns; the log starts afresh.
    ///
    /// # Errors
    /// `NoSpace` and `Io`, after which everything is as before and can be tried again; `Poisoned`, with the cause, if a sync or the
    /// publishing of a manifest failed, which a new handle finds out about; `Closed`.
    pub fn flush(&self) -> Result<()> {
        self.shared.flush()
    }

    /// Flushes and ends the handle: the next open has nothing to recover. Snapshots taken before stay readable. A compaction or a
    /// scrub that is at work is cancelled and waited for, a bulk load too unless it waits for its iterator; small merges that are due are still made, unless compaction is manual.
    ///
    /// # Errors
    /// As [`Collection::flush`]; the handle is gone, the log keeps what the flush could not move.
    pub fn close(mut self) -> Result<()> {
        if let Some(mut threads) = self.threads.take() {
            threads.stop();
        }
        self.shared.jobs.end_all();
        let flushed = match self.shared.poison_cause() {
            Some(_) => self.shared.check_writable(),
            None => self.shared.flush_and_seal(),
        };
        self.shared.mark_closed();
        flushed
    }

    /// Merges row files and drops dead rows, in a thread of its own; reads and writes go on. Rows that are still in memory
    /// stay there, unless lists are made anew: flush first to have them merged too.
    ///
    /// # Errors
    /// `Closed`, `Poisoned`; `Io` if no thread can be started. What the compaction meets is returned by [`Job::wait`].
    pub fn compact(&self, what: Compact) -> Result<Job> {
        self.shared.check_writable()?;
        Job::start(self.shared.clone(), what)
    }

    /// What [`Collection::compact`] would do now with what is in files, without doing it. Of `CompactReport`, the bytes written
    /// are an upper bound.
    pub fn compact_dry_run(&self, what: Compact) -> CompactReport {
        self.shared.plan(what)
    }

    /// Makes a copy in a directory that does not exist or is empty. The copy opens as a collection, with nothing to recover; it
    /// holds everything acknowledged before the call and a prefix of what is committed meanwhile.
    ///
    /// Files are shared with the copy by hard links, so on one file system this takes as long as a flush, whatever the size of the
    /// collection; onto another file system they are copied and checked. Reads and writes go on.
    ///
    /// ```
    /// # use stratavec::{Collection, Metric, OpenOptions, Schema};
    /// # let dir = tempfile::tempdir()?;
    /// # let c = Collection::create(dir.path().join("idx"), Schema::new(2, Metric::L2), OpenOptions::default())?;
    /// c.upsert("a", &[0.0, 1.0])?;
    /// c.checkpoint(dir.path().join("today"))?;
    /// c.delete("a")?;
    /// let copy = Collection::open(dir.path().join("today"), OpenOptions::default())?;
    /// assert!(copy.snapshot().contains("a")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` naming `path` if something is there, or if it is in the collection's own directory; those of [`Collection::flush`]; `Corrupt` if a file fails a check
    /// while it is copied; `NoSpace`, `Io`. After an error the directory holds no collection; only if a sync failed is that unknown.
    pub fn checkpoint(&self, path: impl AsRef<Path>) -> Result<CheckpointReport> {
        self.shared.check_writable()?;
        checkpoint::refuse_inside(&*self.shared.storage, path.as_ref())?;
        self.checkpoint_in(&*real_dir(path.as_ref(), true)?)
    }

    /// [`Collection::checkpoint`] into any [`Storage`].
    ///
    /// # Errors
    /// As [`Collection::checkpoint`].
    pub fn checkpoint_in(&self, target: &dyn Storage) -> Result<CheckpointReport> {
        self.shared.check_writable()?;
        self.shared.checkpoint(target)
    }

    /// Reads every byte of every file again and compares it with its checksum, in a thread of its own; reads and writes go on.
    /// At the pace of [`OpenOptions::scrub`] if one was given, else as fast as the disk. Damage is in the report, in
    /// [`Stats::scrub_findings`] and in the log of the program.
    ///
    /// # Errors
    /// `Closed`; `Io` if no thread can be started.
    pub fn scrub(&self) -> Result<ScrubJob> {
        self.shared.check_open()?;
        ScrubJob::start(self.shared.clone())
    }

    /// Measures how good the lists are, on up to a thousand rows: in the calling thread, one pass over all vectors.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn health(&self) -> Result<Health> {
        health::health(&self.snapshot(), &self.shared.policy(), &mut || Ok(()))
    }

    /// Figures of the collection and of this handle.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// What opening found and did.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.shared.recovery
    }

    /// Makes a new collection, in a directory that does not exist or is empty, of what a damaged one can prove: every live row whose
    /// checksums hold, and every batch of the logs that chains to the ones before. The report lists what could not be kept. The old
    /// directory is only read; no writer may have it open.
    ///
    /// If the newest manifest is damaged in both copies, the one before it is used. Where tombstones are lost, deleted rows may be back:
    /// the report names the batches. A row that was replaced never comes back in place of a newer one. Lists are not taken over: they
    /// follow from the rows, searches are exact until the first writer has made them again, and their loss is not reported.
    ///
    /// Memory: a few bits for each row, 16 bytes for each row of the largest file, 50 MiB to settle ids, and what the logs hold.
    ///
    /// # Errors
    /// `InvalidArgument` naming `path` if something is in the new directory, or if that lies in the old one; `NotFound` or `Corrupt` if no manifest can be read;
    /// `Locked`; `UnsupportedVersion`; `NoSpace`; `Io`.
    pub fn repair(from: impl AsRef<Path>, to: impl AsRef<Path>, mode: Repair) -> Result<RepairReport> {
        let from = real_dir(from.as_ref(), false)?;
        checkpoint::refuse_inside(&*from, to.as_ref())?;
        Self::repair_in(&*from, &*real_dir(to.as_ref(), true)?, mode)
    }

    /// [`Collection::repair`] on any [`Storage`].
    ///
    /// # Errors
    /// As [`Collection::repair`].
    pub fn repair_in(from: &dyn Storage, to: &dyn Storage, mode: Repair) -> Result<RepairReport> {
        repair::repair(from, to, mode)
    }

    /// Brings a collection to the format version that this release writes. Today there is one version, so a collection that opens
    /// is at it already, and nothing is changed.
    ///
    /// # Errors
    /// `UnsupportedVersion` for files of a newer release, which are not touched; `NotFound`; `Corrupt`; `Io`.
    pub fn upgrade(path: impl AsRef<Path>) -> Result<UpgradeReport> {
        Self::upgrade_in(&*real_dir(path.as_ref(), false)?)
    }

    /// [`Collection::upgrade`] on any [`Storage`].
    ///
    /// # Errors
    /// As [`Collection::upgrade`].
    pub fn upgrade_in(storage: &dyn Storage) -> Result<UpgradeReport> {
        upgrade::upgrade(storage)
    }

    /// Checks a collection without changing anything: see [`Verify`] for how much.
    ///
    /// # Errors
    /// `NotFound`, `Io`; `Busy` if a writer replaced files faster than they could be checked, twenty times in a row. Damage is no error
    /// of this call: it is in the report.
    pub fn verify(path: impl AsRef<Path>, mode: Verify) -> Result<VerifyReport> {
        Self::verify_in(&*real_dir(path.as_ref(), false)?, mode)
    }

    /// [`Collection::verify`] on any [`Storage`].
    ///
    /// # Errors
    /// As [`Collection::verify`].
    pub fn verify_in(storage: &dyn Storage, mode: Verify) -> Result<VerifyReport> {
        verify::verify(storage, mode)
    }
}

fn real_dir(path: &Path, make: bool) -> Result<Arc<dyn Storage>> {
    let dir = match make {
        true => RealDir::create(path).or_else(|error| match error.kind() {
            std::io::ErrorKind::DirectoryNotEmpty => RealDir::open(path),
            _ => Err(error),
        }),
        false => RealDir::open(path),
    };
    match dir {
        Ok(dir) => Ok(Arc::new(dir)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(ErrorKind::NotFound, format!("there is no directory {}", path.display()))
                .with_hint("check the path, or create a collection there"))
        }
        Err(error) => Err(Error::io("open directory", path.display(), error)),
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collection({}, seq {})", self.shared.storage.describe(), self.last_seq())
    }
}
