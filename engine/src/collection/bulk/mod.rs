//! Bulk load: rows straight to files, any number of them, made visible by one manifest.

mod ahead;
mod install;
mod item;
mod overlap;
mod parts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

pub(super) use self::ahead::Ahead;
pub(super) use self::install::NUMBERS_LEFT;
use self::parts::Parts;
use super::Collection;
use super::job::Running;
use super::shared::Shared;
use crate::compaction::{BEAT, Control, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::{MAX_PROPERTIES, MAX_PROPERTY_NAME, MAX_PROPERTY_VALUE};
use crate::options::{Background, Compaction};
use crate::snapshot::{EFFORT_PROPERTY, Effort};

pub use item::{BulkItem, IntoBulkItem};

/// What names of properties begin with that the engine gives a meaning.
const OWN_PROPERTIES: &str = "engine.";

/// What a bulk load did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkReport {
    /// Its place in the commit order: all of its rows carry this one sequence number. Of an empty load: the place of the last
    /// batch before it.
    pub seq: u64,
    /// Items taken.
    pub items: u64,
    /// Ids that were not there before.
    pub inserted: u64,
    /// Ids whose row was replaced.
    pub replaced: u64,
    /// Items whose id came again later in the same load.
    pub repeated: u64,
    /// Bytes written to files.
    pub bytes_written: u64,
}

/// What a bulk load does beside loading.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BulkOptions {
    properties: BTreeMap<String, Vec<u8>>,
    /// The engine sets its own properties.
    own: bool,
}

impl BulkOptions {
    /// Nothing but loading.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a property of the collection in the same step in which the rows become visible: how far a source was read, for example.
    /// It stays until a load sets it anew; an empty value removes it. A name has 1 to 255 bytes, a value at most 4,096, and a
    /// collection at most 64 of them; names that begin with `engine.` are the engine's. See [`Collection::property`].
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    fn check(&self) -> Result<()> {
        for (name, value) in &self.properties {
            if name.starts_with(OWN_PROPERTIES) && !self.own {
                return Err(Error::argument(
                    "property",
                    format!("{name:?} begins with {OWN_PROPERTIES:?}; use another name"),
                ));
            }
            if !(1..=MAX_PROPERTY_NAME).contains(&name.len()) || value.len() > MAX_PROPERTY_VALUE {
                let found = format!("has {} bytes in its name and {} in its value", name.len(), value.len());
                let what = format!("{found}; use 1..={MAX_PROPERTY_NAME} and 0..={MAX_PROPERTY_VALUE}");
                return Err(Error::argument("property", what));
            }
        }
        Ok(())
    }

    /// The properties after this load.
    fn apply(&self, properties: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
        properties.extend(self.properties.clone());
        properties.retain(|_, value| !value.is_empty());
        match properties.len() > MAX_PROPERTIES {
            true => {
                Err(Error::argument("property", format!("would be one of {}; use {MAX_PROPERTIES}", properties.len())))
            }
            false => Ok(()),
        }
    }
}

/// A bulk load at work. Dropping it lets the work go on; so does dropping the collection, whose lock is held until it ends.
/// [`crate::Collection::close`] cancels it; a load whose iterator is waited for ends with its next item, and holds the lock until then.
#[must_use = "errors of the load are returned by `wait`"]
pub struct BulkLoad {
    control: Arc<Control>,
    thread: JoinHandle<Result<BulkReport>>,
}

impl BulkLoad {
    /// How far it is: items taken and rows merged, of what is known by now to come.
    pub fn progress(&self) -> Progress {
        self.control.progress()
    }

    /// Tells the callback how far it is: now, then about ten times a second from the thread of the job, and once more at its end. The newest
    /// callback counts. It holds the job up while it runs; one that panics cancels the job.
    pub fn on_progress(&self, callback: impl FnMut(Progress) + Send + 'static) {
        self.control.listen(Box::new(callback));
    }

    /// Asks it to stop. Unless it is visible already, nothing of it ever is, and its files are removed.
    pub fn cancel(&self) {
        self.control.cancel();
    }

    /// Whether it has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// `InvalidArgument` naming the item that was refused; what the iterator gave as an error; `Cancelled`, also if the collection was
    /// closed meanwhile; `NoSpace`;
    /// `Corrupt` if a file of the collection fails a checksum; `Io`; `Poisoned`; `Closed`. Unless [`Error::outcome`] says that it is
    /// unknown, nothing of the load is in the collection.
    pub fn wait(self) -> Result<BulkReport> {
        self.thread.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the load ended unexpectedly")))
    }

    /// Waits for the end and tells the callback ten times a second how far it is.
    ///
    /// # Errors
    /// As [`BulkLoad::wait`].
    pub fn wait_with(self, mut on_progress: impl FnMut(Progress)) -> Result<BulkReport> {
        while !self.thread.is_finished() {
            on_progress(self.progress());
            std::thread::sleep(BEAT);
        }
        on_progress(self.progress());
        self.wait()
    }
}

impl Collection {
    /// Writes any number of rows straight to files, past the log, and makes them visible all at once: after a crash all of them
    /// are there or none. Each replaces the row that has its id; of several items with one id the last counts. The load takes
    /// its place in the commit order when it ends: it replaces what was committed while it ran, and whatever comes later
    /// replaces or deletes its rows. Searches and commits go on; only for its last step, some milliseconds, commits wait.
    ///
    /// The iterator is driven by a thread of the load, one load at a time. It may yield [`BulkItem`]s, pairs of id and vector, or
    /// `Result`s of either: an error ends the load and leaves nothing. Memory: about `flush_bytes`, whatever the number of
    /// rows; disk: up to twice the rows until it ends.
    ///
    /// ```
    /// use stratavec::{BulkItem, Collection, Metric, OpenOptions, Schema};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("idx");
    /// let c = Collection::create(&path, Schema::new(2, Metric::L2), OpenOptions::default())?;
    /// let items = (0..10_000).map(|n| BulkItem::new(format!("row {n}"), [n as f32, 1.0]).payload(b"from a file"));
    /// let report = c.bulk_load(items)?.wait()?;
    /// assert_eq!((report.inserted, c.snapshot().count()), (10_000, 10_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Closed`, `Poisoned`; `NoSpace` if the disk will not hold the rows that the iterator announces; `Io` if no thread can be
    /// started. What the load meets is returned by [`BulkLoad::wait`].
    pub fn bulk_load<I>(&self, items: I) -> Result<BulkLoad>
    where
        I: IntoIterator,
        I::Item: IntoBulkItem,
        I::IntoIter: Send + 'static,
    {
        self.bulk_load_with(items, BulkOptions::default())
    }

    /// [`Collection::bulk_load`] with options. A load of no rows that sets a property takes its place in the commit order, too.
    ///
    /// # Errors
    /// As [`Collection::bulk_load`]; `InvalidArgument` naming `property`.
    pub fn bulk_load_with<I>(&self, items: I, options: BulkOptions) -> Result<BulkLoad>
    where
        I: IntoIterator,
        I::Item: IntoBulkItem,
        I::IntoIter: Send + 'static,
    {
        options.check()?;
        let shared = self.shared.clone();
        shared.check_writable()?;
        let items = items.into_iter();
        let announced = items.size_hint().0 as u64;
        let row_bytes = self.schema().vector_bytes() as u64 + 16;
        shared.refuse_without_room("load", announced.saturating_mul(row_bytes).saturating_mul(2))?;
        let control = Arc::new(Control::default());
        control.expect(announced);
        let (watched, name) = (control.clone(), shared.storage.describe());
        // What the iterator waits for may be the caller, who must be able to close.
        let running = shared.jobs.begin(control.clone(), false);
        #[cfg(any(test, feature = "testing"))]
        let bugs = crate::planted::current();
        let work = move || {
            // Dropped in the reverse order: the collection is let go of before the load counts as ended.
            let running = running;
            let shared = shared;
            let outcome = shared.bulk_load(items, announced, &options, &watched, &running);
            watched.end();
            outcome
        };
        #[cfg(any(test, feature = "testing"))]
        let work = move || crate::planted::carry(bugs, work);
        let thread = std::thread::Builder::new()
            .name("stratavec-load".into())
            .spawn(work)
            .map_err(|error| Error::io("start a thread for", name, error))?;
        Ok(BulkLoad { control, thread })
    }
}

impl Collection {
    /// A property that a bulk load has set: see [`BulkOptions::property`].
    pub fn property(&self, name: &str) -> Option<Vec<u8>> {
        self.snapshot().property(name)
    }
}

impl Collection {
    /// Stores how hard searches look that do not say it themselves, on every handle and follower that sees this or a later state. Takes a place
    /// in the commit order, and the cost of a flush. Until then it is [`Effort::default`].
    ///
    /// ```
    /// use stratavec::{Collection, Effort, Metric, OpenOptions, Schema};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("idx");
    /// let c = Collection::create(&path, Schema::new(2, Metric::L2), OpenOptions::default())?;
    /// c.set_default_effort(Effort::Recall(0.98))?;
    /// assert_eq!(c.snapshot().default_effort(), Effort::Recall(0.98));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` naming `effort`; as [`Collection::bulk_load`].
    pub fn set_default_effort(&self, effort: Effort) -> Result<()> {
        effort.check()?;
        let options = BulkOptions { own: true, ..BulkOptions::new() }.property(EFFORT_PROPERTY, effort.to_text());
        self.bulk_load_with(std::iter::empty::<BulkItem>(), options)?.wait().map(|_| ())
    }
}

impl Shared {
    fn bulk_load<I>(
        &self,
        items: I,
        announced: u64,
        options: &BulkOptions,
        control: &Control,
        running: &Running,
    ) -> Result<BulkReport>
    where
        I: Iterator,
        I::Item: IntoBulkItem,
    {
        let (mut report, ahead) = self.load(items, announced, options, control, running)?;
        if report.items > 0 && self.options.compaction != Compaction::Manual {
            // The rows are there, whatever becomes of their lists: they are searched one by one until they have some.
            match self.file_all(control, ahead) {
                Ok(bytes) => report.bytes_written += bytes,
                Err(error) => {
                    tracing::warn!(%error, "the rows of a load are not in lists yet; compaction will file them")
                }
            }
        }
        if report.items > 0 && self.options.compaction != Compaction::Manual {
            match self.options.background {
                Background::Inline => self.compact_after_flush(),
                Background::Thread => {
                    self.pending.lock().merge_due = true;
                    self.pending_changed.notify_all();
                }
            }
        }
        Ok(report)
    }

    fn load<'s, I>(
        &'s self,
        items: I,
        announced: u64,
        options: &BulkOptions,
        control: &'s Control,
        running: &Running,
    ) -> Result<(BulkReport, Option<Ahead<'s>>)>
    where
        I: Iterator,
        I::Item: IntoBulkItem,
    {
        let _one_at_a_time = control.turn(&self.loading)?;
        let mut parts = Parts::new(self, control, install::first_row(self))?;
        let mut taken = 0;
        for item in items {
            // What is wrong with it is told by the cause.
            let refused = |error: Error| error.clone().caused(error.kind(), format!("item {taken}"));
            let item = item.into_bulk_item().map_err(refused)?;
            parts.push(&item).map_err(|error| match error.kind() {
                ErrorKind::InvalidArgument => refused(error),
                _ => error,
            })?;
            taken += 1;
            if taken > announced {
                control.expect(1);
            }
            control.step()?;
        }
        running.hold()?;
        let ahead = parts.finish()?;
        if parts.done.is_empty() && options.properties.is_empty() {
            return Ok((BulkReport { seq: self.view.load().seq, ..BulkReport::default() }, None));
        }
        let done = install::install(self, &mut parts, options, control)?;
        let report = BulkReport {
            seq: done.seq,
            items: taken,
            inserted: done.rows - done.replaced,
            replaced: done.replaced,
            repeated: taken - done.rows,
            bytes_written: parts.bytes,
        };
        Ok((report, ahead))
    }
}
