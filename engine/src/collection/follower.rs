//! Reading a collection that another handle, here or in another process, may be writing.
//!
//! A follower takes no lock and changes nothing. A refresh does four things:
//!
//! 1. Read the newest manifest.
//! 2. Unless it is the one that is open: open the files it names, keeping those that are open already.
//! 3. Follow its logs as far as they are whole, going on in those that were read before.
//! 4. Publish the view.
//!
//! The writer writes a batch to the log before it acknowledges it, and removes a file only when a newer manifest no longer
//! names it. So step 3 finds everything acknowledged before step 1; and a file that is missing, or a log that ends too soon,
//! means that a newer manifest is there: then the refresh begins again. With the same manifest it means damage.
//!
//! The writer may unlink files that are open here. On the systems we support their maps stay valid; what it costs is their
//! space on the disk until the next refresh and the last snapshot are over.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::build::open_version_after;
use super::compact::policy_of;
use super::open::reached;
use super::record::apply_record;
use super::stats::Stats;
use super::{Collection, real_dir};
use crate::budget::Budget;
use crate::delta::{Block, Generation};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{self, Manifest};
use crate::options::{Access, Compaction, Schema};
use crate::planted::{self, Bug};
use crate::snapshot::{Snapshot, Version, View};
use crate::storage::{DirEntry, FileId, FileKind, FileName, ReadOnlyDir, Storage};
use crate::wal::{self, Tail};

/// Times a refresh begins again because the writer has published a newer manifest meanwhile.
const MOST_TRIES: u32 = 100;

/// A collection opened for reading only, by [`Collection::open_read_only`]. Any number of them, in any processes, beside the
/// writer or without one.
///
/// It shows one committed state until [`Follower::refresh`] is called: at least everything that was acknowledged, by
/// whatever process, before the call began; and a whole number of batches in commit order. The last of them may be on its
/// way to being acknowledged. It writes nothing, not even a lock file, so it works on a directory that may not be written
/// to. All methods can be called from any thread.
///
/// Memory: what the writer has not moved to files yet is held here too; at most three times its
/// [`flush_bytes`](crate::OpenOptions::flush_bytes). Files that the writer has replaced take space on the disk until the
/// follower was refreshed and the snapshots taken before were dropped.
///
/// ```
/// use stratavec::{Collection, Metric, OpenOptions, Schema};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("idx");
/// let writer = Collection::create(&path, Schema::new(2, Metric::L2), OpenOptions::default())?;
/// let follower = Collection::open_read_only(&path)?; // in this process or in another
/// writer.upsert("a", &[0.0, 1.0])?;
/// assert_eq!(follower.snapshot().count(), 0);
/// assert_eq!(follower.refresh()?, 1);
/// assert_eq!(follower.snapshot().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Follower {
    storage: ReadOnlyDir,
    schema: Arc<Schema>,
    /// What the view was made from. One refresh at a time.
    state: Mutex<State>,
    view: ArcSwap<View>,
}

/// A manifest, its files, and its logs as far as they were read.
#[derive(Clone)]
struct State {
    version: Arc<Version>,
    /// In order; never empty.
    logs: Vec<Log>,
}

/// A log and the rows it holds.
#[derive(Clone)]
struct Log {
    tail: Tail,
    generation: Arc<Generation>,
}

impl Collection {
    /// Opens a collection for reading only, whether or not a writer is at work on it.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt`, naming file and offset; `UnsupportedVersion`; `Busy` if a writer replaced files faster than they could be
    /// opened, a hundred times in a row; `Io`.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Follower> {
        Self::open_read_only_in(real_dir(path.as_ref(), false)?)
    }

    /// [`Collection::open_read_only`] with files read in this way.
    ///
    /// # Errors
    /// As [`Collection::open_read_only`].
    pub fn open_read_only_with(path: impl AsRef<Path>, access: Access) -> Result<Follower> {
        Self::open_read_only_with_in(real_dir(path.as_ref(), false)?, access)
    }

    /// [`Collection::open_read_only`] on any [`Storage`].
    ///
    /// # Errors
    /// As [`Collection::open_read_only`].
    pub fn open_read_only_in(storage: Arc<dyn Storage>) -> Result<Follower> {
        Self::open_read_only_with_in(storage, Access::usual())
    }

    /// [`Collection::open_read_only_with`] on any [`Storage`].
    ///
    /// # Errors
    /// As [`Collection::open_read_only`].
    pub fn open_read_only_with_in(storage: Arc<dyn Storage>, access: Access) -> Result<Follower> {
        let storage = ReadOnlyDir::new(reached(storage, access, &Budget::new(None)));
        let state = State::newest(&storage, None)?;
        let schema = Arc::new(state.version.manifest.schema.clone());
        let view = ArcSwap::from_pointee(state.view());
        Ok(Follower { storage, schema, state: Mutex::new(state), view })
    }
}

impl Follower {
    /// Shows what was committed meanwhile. Returns the sequence number of the last batch shown. Costs little if nothing
    /// has changed; else it reads what is new in the log and opens the files that are new.
    ///
    /// The number never gets smaller, unless the operating system fails the writer: a batch whose sync failed can have been
    /// shown and be gone once a writer has recovered (its commit was answered with
    /// [`Outcome::Unknown`](crate::Outcome::Unknown), or promised no more than to survive a crash of the process).
    ///
    /// # Errors
    /// As [`Collection::open_read_only`]; what was shown before is still shown. `NotFound` too if another collection was made in the
    /// directory.
    pub fn refresh(&self) -> Result<u64> {
        let mut state = self.state.lock();
        let next = State::newest(&self.storage, Some(&state))?;
        let (shown, found) = (state.last_seq(), next.last_seq());
        if found < shown {
            tracing::warn!(shown, found, "batches whose sync had failed did not outlive the recovery");
        }
        if !next.shows_the_same_as(&state) {
            self.view.store(Arc::new(next.view()));
        }
        *state = next;
        Ok(found)
    }

    /// The state last refreshed to, pinned. Takes no lock; costs a few nanoseconds.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.view.load_full(), self.schema.clone())
    }

    /// What the collection is.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Sequence number of the last batch shown; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.view.load().seq
    }

    /// A property that a bulk load has set, in the state shown: see [`BulkOptions::property`](super::BulkOptions::property).
    pub fn property(&self, name: &str) -> Option<Vec<u8>> {
        self.snapshot().property(name)
    }

    /// Measures how good the lists of the state shown are: see [`Collection::health`](super::Collection::health).
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn health(&self) -> Result<super::Health> {
        super::health::health(&self.snapshot(), &policy_of(Compaction::default()), &mut || Ok(()))
    }

    /// Figures of the state shown. Those that count what a handle did are 0, `flush_bytes` too: it belongs to the writer.
    /// `durable_seq` is what the files hold; more of it may be durable.
    pub fn stats(&self) -> Stats {
        let state = self.state.lock();
        Stats {
            wal_bytes: state.logs.iter().map(|log| log.tail.bytes()).sum(),
            durable_seq: state.version.manifest.covered_seq,
            ..Stats::of_view(&self.view.load(), &self.schema, Compaction::default())
        }
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Follower({}, seq {})", self.storage.describe(), self.last_seq())
    }
}

impl State {
    /// The newest state there is, going on from an older one.
    fn newest(storage: &dyn Storage, old: Option<&State>) -> Result<State> {
        let mut tries = 0;
        loop {
            let entries = list(storage)?;
            let error = match Self::attempt(storage, &entries, old) {
                Ok(state) => return Ok(state),
                Err(error) => error,
            };
            let moved = manifest::newest_listed(&entries) != manifest::newest_listed(&list(storage)?);
            if !moved || planted::is(Bug::FollowerTriesOnce) {
                return Err(error);
            }
            tries += 1;
            if tries == MOST_TRIES {
                return Err(Error::new(
                    ErrorKind::Busy,
                    format!("files of {} were replaced faster than they could be opened", storage.describe()),
                )
                .with_hint("try again; the writer may be flushing very small batches"));
            }
        }
    }

    /// Steps 1 to 3 of a refresh. `entries` is a listing made after it began.
    fn attempt(storage: &dyn Storage, entries: &[DirEntry], old: Option<&State>) -> Result<State> {
        let manifest = manifest::load_listed(storage, entries)?.manifest;
        let mut state = match old {
            Some(old) if old.version.manifest.collection != manifest.collection => {
                let what = format!("{} holds another collection than the one that was opened", storage.describe());
                return Err(Error::new(ErrorKind::NotFound, what).with_hint("open it again"));
            }
            Some(old) if old.is_void()? => Self::open(storage, manifest, None)?,
            Some(old) if *old.version.manifest == manifest => old.clone(),
            old => Self::open(storage, manifest, old)?,
        };
        state.follow(storage)?;
        while state.refuse_loss(storage, entries)? {
            state.follow(storage)?;
        }
        Ok(state)
    }

    /// Opens a manifest's files and its first log, or takes them over.
    fn open(storage: &dyn Storage, manifest: Manifest, old: Option<&State>) -> Result<State> {
        let install = old.map_or(0, |old| old.version.install + 1);
        let (first, next_seq, next_row) =
            (manifest.first_wal, manifest.covered_seq.saturating_add(1), manifest.next_row);
        let continues = |log: &Log| {
            log.tail.id() == first && log.tail.first_seq() == next_seq && log.generation.first_row() == next_row
        };
        let read = old.and_then(|old| old.logs.get(old.logs.iter().position(continues)?..));
        let version = open_version_after(storage, manifest, install, old.map(|old| &*old.version))?;
        let mut logs = read.unwrap_or_default().to_vec();
        for log in &mut logs {
            log.generation = Arc::new((*log.generation).clone().refiled(version.filed_by()));
        }
        let mut state = State { version: Arc::new(version), logs };
        match state.logs.is_empty() {
            true => state.begin(storage, first, next_seq, next_row)?,
            false => state.mark_all()?,
        }
        Ok(state)
    }

    /// Opens the next log.
    fn begin(&mut self, storage: &dyn Storage, id: FileId, first_seq: u64, first_row: u64) -> Result<()> {
        let tail = Tail::open(storage, id, self.version.manifest.collection, first_seq)?;
        self.logs.push(Log { tail, generation: Arc::new(Generation::in_lists(first_row, self.version.filed_by())) });
        Ok(())
    }

    /// Reads the logs to their end.
    fn follow(&mut self, storage: &dyn Storage) -> Result<()> {
        while let Some((last, earlier)) = self.logs.split_last_mut() {
            let killed = last.read(&self.version)?;
            for row in killed {
                mark(&self.version, earlier, &last.generation, row)?;
            }
            let Some(next) = last.tail.next_log() else { break };
            let (next_seq, next_row) = (last.tail.next_seq(), last.generation.end_row());
            if self.logs.iter().any(|log| log.tail.id() == next) {
                return Err(damaged(next, "the logs name each other in a circle"));
            }
            self.begin(storage, next, next_seq, next_row)?;
        }
        Ok(())
    }

    /// Marks what logs that were read before kill in files that are new.
    fn mark_all(&self) -> Result<()> {
        let mut earlier = &self.logs[..0];
        for (at, log) in self.logs.iter().enumerate() {
            let mut outcome = Ok(());
            log.generation.kills().for_each_in(0..log.generation.first_row(), |row| {
                if outcome.is_ok() {
                    outcome = mark(&self.version, earlier, &log.generation, row);
                }
            });
            outcome?;
            earlier = self.logs.get(..=at).unwrap_or_default();
        }
        Ok(())
    }

    /// Refuses a chain of logs that has lost its end. True if there is more of it to follow by now.
    fn refuse_loss(&self, storage: &dyn Storage, entries: &[DirEntry]) -> Result<bool> {
        let chain: Vec<FileId> = self.logs.iter().map(|log| log.tail.id()).collect();
        match self.logs.last() {
            Some(last) => wal::refuse_later(storage, entries, &chain, &last.tail),
            None => Ok(false),
        }
    }

    /// Whether the end of what was read of a log is no longer there, a record that named the next log among it.
    fn is_void(&self) -> Result<bool> {
        self.logs.iter().try_fold(false, |void, log| Ok(void || log.tail.is_void()?))
    }

    fn last_seq(&self) -> u64 {
        let next = self.logs.last().map_or(1, |log| log.tail.next_seq());
        next.saturating_sub(1)
    }

    fn shows_the_same_as(&self, other: &State) -> bool {
        self.last_seq() == other.last_seq()
            && Arc::ptr_eq(&self.version, &other.version)
            && self.logs.len() == other.logs.len()
    }

    fn view(&self) -> View {
        let frozen = self.logs.split_last().map_or(&[][..], |(_, earlier)| earlier);
        let rows = self.version.rows.iter().map(|rows| rows.live()).sum::<u64>();
        let written = self.logs.iter().map(|log| log.generation.rows()).sum::<u64>();
        let killed = self.logs.iter().map(|log| log.generation.kills().len() as u64).sum::<u64>();
        View {
            version: self.version.clone(),
            frozen: frozen.iter().map(|log| log.generation.clone()).collect(),
            active: self.logs.last().map_or_else(|| Generation::new(0), |log| (*log.generation).clone()),
            seq: self.last_seq(),
            // Each kill was found to kill one row that was live.
            count: rows.saturating_add(written).saturating_sub(killed),
        }
    }
}

impl Log {
    /// Applies what is new in the log. Returns the rows it kills that are older than the log.
    fn read(&mut self, version: &Version) -> Result<Vec<u64>> {
        let model = version.model_of(&self.generation).cloned();
        let generation = Arc::make_mut(&mut self.generation);
        let first_row = generation.first_row();
        let mut older = Vec::new();
        self.tail.read(&mut |id, seq, payload| {
            let killed = apply_record(generation, &version.manifest, id, seq, payload, model.as_deref())?;
            // What is killed in the generation itself is looked up there once all of it is read: blocks merge.
            older.extend(killed);
            Ok(())
        })?;
        for row in older.extract_if(.., |row| *row >= first_row) {
            if let Some((block, at)) = generation.locate(row) {
                Block::mark_maybe_dead(block, at);
            }
        }
        Ok(older)
    }
}

/// Marks a row that `own` kills and that is older than it: it must be live until then. Must come before the view that
/// kills it.
fn mark(version: &Version, earlier: &[Log], own: &Generation, row: u64) -> Result<()> {
    let dead = || {
        let log = FileName::File(FileKind::Wal, version.manifest.first_wal);
        Error::corrupt(log, "record", 0, format!("the logs kill row {row}, which is dead or was never written"))
    };
    debug_assert!(row < own.first_row(), "an older row");
    if earlier.iter().any(|log| log.generation.kills().contains(row)) {
        return Err(dead());
    }
    if let Some((block, at)) = earlier.iter().find_map(|log| log.generation.locate(row)) {
        Block::mark_maybe_dead(block, at);
        return Ok(());
    }
    let (index, ordinal) = version.locate_live(row)?.ok_or_else(dead)?;
    if let Some(rows) = version.rows.get(index) {
        rows.mark_maybe_dead(ordinal);
    }
    Ok(())
}

fn damaged(log: FileId, what: &str) -> Error {
    Error::corrupt(FileName::File(FileKind::Wal, log), "log", 0, what)
}

fn list(storage: &dyn Storage) -> Result<Vec<DirEntry>> {
    storage.list().map_err(|error| Error::io("list", storage.describe(), error))
}
