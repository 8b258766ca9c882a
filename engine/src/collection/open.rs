//! Creating and opening: from a directory to a handle, through recovery if the last writer did not close.

use std::collections::HashSet;
use std::sync::Arc;

use super::build::{Build, open_version};
use super::crew::Crew;
use super::flush::{older_manifests, publish, remove_all};
use super::record::apply_record;
use super::room::{check_files, check_recovery};
use super::shared::{Opened, Shared};
use crate::budget::Budget;
use crate::delta::Generation;
use crate::error::{Error, ErrorKind, Result};
use crate::format::batch::BatchView;
use crate::format::manifest::COUNTER_END;
use crate::manifest::{self, Manifest};
use crate::options::{Access, OpenOptions, RecoveryReport, Schema};
use crate::planted::{self, Bug};
use crate::snapshot::{OpenModel, Version, View};
use crate::storage::{
    DirEntry, EntryKind, FileId, FileKind, FileName, LockGuard, LockOutcome, ReadCache, Storage, UnmappedDir,
};
use crate::wal::{self, Replay, WalHead, WalWriter};

/// A directory whose files are read as a handle wants it; what is kept of them is counted in its account.
pub(super) fn reached(storage: Arc<dyn Storage>, access: Access, budget: &Arc<Budget>) -> Arc<dyn Storage> {
    match access {
        Access::Mmap => storage,
        Access::Pread => Arc::new(UnmappedDir::new(storage, ReadCache::new(budget.clone()))),
    }
}

/// Takes the writer's lock or says who holds it.
pub(super) fn take_lock(storage: &dyn Storage) -> Result<Box<dyn LockGuard>> {
    match storage.lock().map_err(|error| Error::io("lock", storage.describe(), error))? {
        LockOutcome::Held(guard) => Ok(guard),
        LockOutcome::Busy { holder_pid } => {
            let holder = holder_pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            Err(Error::new(ErrorKind::Locked, format!("{} is open for writing by {holder}", storage.describe()))
                .with_hint("close it there, or read it here with Collection::open_read_only; the lock ends with the process that holds it"))
        }
    }
}

fn list(storage: &dyn Storage) -> Result<Vec<DirEntry>> {
    storage.list().map_err(|error| Error::io("list", storage.describe(), error))
}

/// Whether a directory is what an interrupted `create` leaves: nothing but a lock, logs and temporary files. What only has
/// such a name and is no file is somebody else's.
fn is_unfinished_create(entries: &[DirEntry]) -> bool {
    entries.iter().filter(|entry| entry.name != Some(FileName::Lock)).all(|entry| {
        let kind = entry.name.and_then(FileName::kind);
        entry.entry == EntryKind::File && matches!(kind, Some(FileKind::Wal | FileKind::Temp))
    })
}

/// Whether the directory holds a collection.
pub(super) fn holds_collection(storage: &dyn Storage) -> Result<bool> {
    Ok(list(storage)?.iter().any(|entry| matches!(entry.name, Some(FileName::Manifest(_)))))
}

/// Makes a new collection:
///
/// 1. Take the lock. The directory must be empty, or hold only what an interrupted `create` left, which is removed.
/// 2. Create the first log, sync it, sync the directory. A crash: an unfinished create.
/// 3. Publish manifest 1. A crash before its name is durable: an unfinished create; after: the empty collection.
pub(super) fn create(storage: Arc<dyn Storage>, schema: Schema, options: OpenOptions) -> Result<Shared> {
    schema.check()?;
    options.check()?;
    let budget = Budget::new(options.memory_budget);
    let storage = reached(storage, options.access, &budget);
    refuse_occupied(&*storage)?;
    let lock = take_lock(&*storage)?;
    refuse_occupied(&*storage)?;
    let leftovers: Vec<FileName> =
        list(&*storage)?.iter().filter_map(|entry| entry.name).filter(|n| *n != FileName::Lock).collect();
    remove_all(&*storage, &leftovers);
    let nonce = || storage.nonce().map_err(|error| Error::io("draw a number for", storage.describe(), error));
    let (high, low, epoch) = (nonce()?, nonce()?, nonce()?);
    let collection = u128::from(high) << 64 | u128::from(low);
    let wal_id = FileId { number: 1, epoch };
    let head = WalHead { collection, epoch, predecessor: None, first_seq: 1, first_row: 0 };
    let wal = WalWriter::create(&*storage, wal_id, head)?;
    let first = Manifest::new(collection, schema.clone());
    let mut first = first.successor();
    first.epoch = epoch;
    first.first_wal = wal_id;
    first.next_file_number = 3;
    publish(&*storage, &first, FileId { number: 2, epoch })?;
    let view = View {
        version: Arc::new(open_version(&*storage, first, 0)?),
        frozen: Vec::new(),
        active: Generation::new(0),
        seq: 0,
        count: 0,
    };
    let recovery = RecoveryReport::default();
    let logs = vec![wal_id];
    Ok(Shared::new(Opened {
        schema,
        options,
        storage,
        epoch,
        view,
        wal: Some(wal),
        logs,
        next_file: 3,
        recovery,
        lock,
        budget,
    }))
}

fn refuse_occupied(storage: &dyn Storage) -> Result<()> {
    let entries = list(storage)?;
    if is_unfinished_create(&entries) {
        return Ok(());
    }
    let (problem, hint) = match entries.iter().any(|entry| matches!(entry.name, Some(FileName::Manifest(_)))) {
        true => ("already holds a collection", "open it, or choose another directory"),
        false => ("is not empty", "a new collection needs a directory of its own"),
    };
    Err(Error::argument("path", format!("{} {problem}", storage.describe())).with_hint(hint))
}

/// Opens a collection for writing:
///
/// 1. Take the lock. 2. Read the newest manifest. 3. Open the files it names. 4. Follow its logs.
/// 5. Unless the last writer closed the collection: write what they hold to new files, sync them, start a new log, publish
///    the next manifest, also if they hold nothing. What was read is never trusted to be on the disk: after a failed sync
///    the page cache shows bytes, lengths and names that are not there, the newest manifest's among them.
///    A crash in any of this leaves the old manifest and its logs; recovery runs again.
/// 6. Remove orphans.
pub(super) fn open(storage: Arc<dyn Storage>, wanted: Option<&Schema>, options: OpenOptions) -> Result<Shared> {
    options.check()?;
    let budget = Budget::new(options.memory_budget);
    let storage = reached(storage, options.access, &budget);
    if !holds_collection(&*storage)? {
        let unfinished = list(&*storage)?.iter().any(|entry| entry.name.is_some_and(|name| name != FileName::Lock));
        let hint = match unfinished {
            true => {
                "there are files of one: a checkpoint or a create that was interrupted; remove the directory, make it anew"
            }
            false => "create one there first",
        };
        return Err(Error::new(ErrorKind::NotFound, format!("there is no collection in {}", storage.describe()))
            .with_hint(hint));
    }
    let lock = take_lock(&*storage)?;
    if planted::is(Bug::SweepBeforeManifest) {
        let names = list(&*storage)?.into_iter().filter_map(|entry| entry.name);
        remove_all(&*storage, &names.filter(|name| matches!(name, FileName::File(..))).collect::<Vec<_>>());
    }
    let loaded = manifest::load_newest(&*storage)?;
    if let Some(wanted) = wanted {
        loaded.manifest.schema.check_same(wanted)?;
    }
    let epoch = storage.nonce().map_err(|error| Error::io("draw a number for", storage.describe(), error))?;
    let mut report = RecoveryReport { manifest_copy_used: loaded.second_copy_used, ..RecoveryReport::default() };
    let entries = list(&*storage)?;
    if let Some(error) = entries.iter().find_map(number_beyond_the_end) {
        return Err(error);
    }
    let numbers = Numbers::new(&loaded.manifest, &entries, epoch);
    let version = open_version(&*storage, loaded.manifest, 0)?;
    check_files(options.memory_budget, &version)?;
    check_recovery(options.memory_budget, log_bytes(&entries))?;
    let log = Log::read(&*storage, &version, &mut report)?;
    Log::check_kills(&version, &log.generation)?;
    let found = log.ids();
    let Recovered { version, generation, last_seq, wal, logs } = match log.is_clean() {
        true => Recovered {
            generation: Generation::in_lists(version.manifest.next_row, version.filed_by()),
            last_seq: log.last_seq,
            wal: None,
            logs: log.ids(),
            version,
        },
        false => recover(&*storage, version, log, &numbers, epoch).map_err(with_way_out)?,
    };
    report.orphans_removed = remove_orphans(&*storage, &version.manifest, &logs, &found)?;
    if !report.is_clean()
        && let Some(callback) = &options.on_recovery
    {
        callback(&report);
    }
    let view = View {
        seq: last_seq,
        count: version.rows.iter().map(|rows| rows.live()).sum::<u64>() + generation.rows()
            - generation.kills().len() as u64,
        active: generation,
        version: Arc::new(version),
        frozen: Vec::new(),
    };
    let schema = view.version.manifest.schema.clone();
    let next_file = numbers.next();
    Ok(Shared::new(Opened {
        schema,
        options,
        storage,
        epoch,
        view,
        wal,
        logs,
        next_file,
        recovery: report,
        lock,
        budget,
    }))
}

/// Bytes of all logs.
fn log_bytes(entries: &[DirEntry]) -> u64 {
    let is_log = |entry: &&DirEntry| entry.name.is_some_and(|name| name.kind() == Some(FileKind::Wal));
    entries.iter().filter(is_log).map(|entry| entry.len).sum()
}

/// Says that the number of a file leaves none above it to be given.
pub(super) fn number_beyond_the_end(entry: &DirEntry) -> Option<Error> {
    let name = entry.name.filter(|name| name.file_id().number >= COUNTER_END)?;
    let what = "its number is further than any collection counts";
    Some(Error::corrupt(name, "directory", 0, what).with_hint("no writer gave this name; move the file away"))
}

/// Gives file numbers above every one ever used here, of a file that is still there or not.
struct Numbers {
    next: std::cell::Cell<u64>,
    epoch: u64,
}

impl Numbers {
    fn new(manifest: &Manifest, entries: &[DirEntry], epoch: u64) -> Self {
        let seen = entries.iter().filter_map(|entry| match entry.name {
            Some(FileName::File(_, id)) => Some(id.number.saturating_add(1)),
            _ => None,
        });
        Numbers { next: std::cell::Cell::new(seen.fold(manifest.next_file_number, u64::max)), epoch }
    }

    fn give(&self) -> FileId {
        let number = self.next.get();
        self.next.set(number.saturating_add(1));
        FileId { number, epoch: self.epoch }
    }

    fn next(&self) -> u64 {
        self.next.get()
    }
}

/// What the logs of a manifest hold.
pub(super) struct Log {
    generation: Generation,
    last_seq: u64,
    chain: Vec<Replay>,
}

/// What `open` goes on with.
struct Recovered {
    version: Version,
    generation: Generation,
    last_seq: u64,
    wal: Option<WalWriter>,
    logs: Vec<FileId>,
}

impl Log {
    /// The same as recovery reads, changing nothing and perhaps beside a writer: what the logs hold, and how many there are. `see`
    /// is shown each batch.
    pub(super) fn read_only(
        storage: &dyn Storage,
        manifest: &Manifest,
        report: &mut RecoveryReport,
        see: &mut dyn FnMut(&BatchView<'_>),
    ) -> Result<(Generation, u64)> {
        let mut generation = Generation::new(manifest.next_row);
        let (first, next_seq) = (manifest.first_wal, manifest.covered_seq.saturating_add(1));
        let chain = wal::follow_chain(storage, first, manifest.collection, next_seq, &mut |id, seq, payload| {
            report.batches_replayed += 1;
            apply_record(&mut generation, manifest, id, seq, payload, None)?;
            BatchView::decode(payload, &manifest.schema).map(|batch| see(&batch))
        })?;
        for tail in &chain {
            report.bytes_replayed += if tail.next_seq() > tail.first_seq() { tail.record_bytes() } else { 0 };
            report.tail_bytes_dropped += tail.bytes_behind()?;
        }
        Ok((generation, chain.len() as u64))
    }

    /// Replays the logs.
    fn read(storage: &dyn Storage, version: &Version, report: &mut RecoveryReport) -> Result<Log> {
        let manifest = &*version.manifest;
        let model = version.current_model().map(|model| &**model);
        let generation = Generation::in_lists(manifest.next_row, version.filed_by());
        let mut log = Log { generation, last_seq: manifest.covered_seq, chain: Vec::new() };
        let (first, next_seq) = (manifest.first_wal, manifest.covered_seq.saturating_add(1));
        let chain = wal::replay_chain(storage, first, manifest.collection, next_seq, &mut |id, seq, payload| {
            log.take(seq, payload, manifest, id, model)
        })?;
        report.batches_replayed = chain.iter().map(|replay| replay.batches).sum();
        let with_batches = chain.iter().filter(|replay| replay.batches > 0);
        report.bytes_replayed = with_batches.map(|replay| replay.bytes).sum();
        report.tail_bytes_dropped = chain.iter().map(|replay| replay.dropped).sum();
        log.chain = chain;
        Ok(log)
    }

    fn ids(&self) -> Vec<FileId> {
        self.chain.iter().map(|replay| replay.id).collect()
    }

    /// Checks that each row of a file that the logs kill is there and alive: so no row is killed twice, and the number of live rows
    /// is that of all rows less that of the kills.
    pub(super) fn check_kills(version: &Version, generation: &Generation) -> Result<()> {
        let mut outcome = Ok(());
        generation.kills().for_each_in(0..generation.first_row(), |row| {
            if outcome.is_ok() {
                outcome = match version.locate_live(row) {
                    Ok(Some(_)) => Ok(()),
                    Ok(None) => {
                        let log = FileName::File(FileKind::Wal, version.manifest.first_wal);
                        Err(Error::corrupt(
                            log,
                            "record",
                            0,
                            format!("the logs kill row {row}, which no file has alive"),
                        ))
                    }
                    Err(error) => Err(error),
                };
            }
        });
        outcome
    }

    /// Whether the last writer closed the collection: there is one log, and it says so.
    fn is_clean(&self) -> bool {
        matches!(&self.chain[..], [replay] if replay.is_closed())
    }

    /// Applies one record.
    fn take(
        &mut self,
        seq: u64,
        payload: &[u8],
        manifest: &Manifest,
        wal: FileId,
        model: Option<&OpenModel>,
    ) -> Result<()> {
        apply_record(&mut self.generation, manifest, wal, seq, payload, model)?;
        self.last_seq = seq;
        Ok(())
    }
}

/// Step 5 of `open`: the same as a flush of what the logs hold, with a new first log.
fn recover(storage: &dyn Storage, old: Version, log: Log, numbers: &Numbers, epoch: u64) -> Result<Recovered> {
    #[cfg(feature = "testing")]
    if let Some(wal) = trust_the_log(storage, &log) {
        let (last_seq, logs) = (log.last_seq, log.ids());
        return Ok(Recovered { version: old, generation: log.generation, last_seq, wal: Some(wal?), logs });
    }
    let schema = old.manifest.schema.clone();
    let build = Build { storage, schema: &schema, new_id: &|| numbers.give(), parallel: &Crew::ALONE };
    let mut built = build.generation(&old, &log.generation, log.last_seq)?;
    let wal_id = numbers.give();
    let head = WalHead {
        collection: old.manifest.collection,
        epoch,
        predecessor: None,
        first_seq: log.last_seq + 1,
        first_row: built.manifest.next_row,
    };
    let wal = WalWriter::create(storage, wal_id, head).inspect_err(|error| {
        undo(storage, error, &built.made);
    })?;
    built.made.push(FileName::File(FileKind::Wal, wal_id));
    built.manifest.epoch = epoch;
    built.manifest.first_wal = wal_id;
    let temp = numbers.give();
    built.manifest.next_file_number = numbers.next();
    publish(storage, &built.manifest, temp).inspect_err(|error| undo(storage, error, &built.made))?;
    let version = built.version(0);
    let generation = Generation::in_lists(version.manifest.next_row, version.filed_by());
    Ok(Recovered { version, generation, last_seq: log.last_seq, wal: Some(wal), logs: vec![wal_id] })
}

/// Removes what a recovery made that cannot be finished: on a full disk it would be in the way of the next try. After a failed
/// sync the manifest that names it may be there.
fn undo(storage: &dyn Storage, error: &Error, made: &[FileName]) {
    if !error.is_sync_failure() {
        remove_all(storage, made);
    }
}

/// What to do about a recovery that found no space.
fn with_way_out(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NoSpace => error.with_hint(
            "nothing was changed; to recover takes about as much space as the logs have: free some, or read with Collection::open_read_only",
        ),
        _ => error,
    }
}

/// The planted bugs that go on from an old log instead of copying what it holds.
#[cfg(feature = "testing")]
fn trust_the_log(storage: &dyn Storage, log: &Log) -> Option<Result<WalWriter>> {
    use crate::format::log::LOG_HEADER_BYTES;
    let last = log.chain.last()?;
    let end = LOG_HEADER_BYTES + last.bytes;
    if planted::is(Bug::AppendBehindTornTail) && last.dropped > 0 {
        return Some(WalWriter::resume(storage, last, end + last.dropped));
    }
    planted::is(Bug::AppendToOldLog).then(|| WalWriter::resume(storage, last, end))
}

/// Step 6 of `open`: files of our grammar that neither the newest manifest nor its log needs. The manifest before the
/// newest is kept. Called only after a good manifest was read and, if there was a recovery, its successor is durable.
///
/// Counts those that an interrupted job left: not the logs just `replaced`, nor the manifest that is now one too many.
fn remove_orphans(storage: &dyn Storage, manifest: &Manifest, logs: &[FileId], replaced: &[FileId]) -> Result<u64> {
    let needed: HashSet<FileName> = manifest.files().map(|(name, _)| name).collect();
    let keep = |name: FileName| match name {
        FileName::Lock => true,
        FileName::Manifest(generation) => Some(FileName::Manifest(generation)) > older_manifests(manifest.generation),
        FileName::File(FileKind::Wal, id) => logs.contains(&id),
        FileName::File(..) => needed.contains(&name),
    };
    let entries = list(storage)?;
    let files = entries.iter().filter(|entry| entry.entry == EntryKind::File);
    let orphans: Vec<FileName> = files.filter_map(|entry| entry.name).filter(|name| !keep(*name)).collect();
    let (expected, left): (Vec<FileName>, Vec<FileName>) = orphans.into_iter().partition(|name| match name {
        FileName::File(FileKind::Wal, id) => replaced.contains(id),
        name => Some(*name) == older_manifests(manifest.generation),
    });
    remove_all(storage, &expected);
    Ok(left.len() as u64 - remove_all(storage, &left))
}
