//! What a collection is (its schema, fixed at creation) and how a handle treats it (options of each open call).

mod anchors;
mod index;

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::id::IdKind;
use crate::metric::{Metric, RowFormat};

pub use anchors::Anchors;
pub use index::{Codes, IndexKind, IvfOptions, Spill};

/// Largest dimension of a collection.
pub const MAX_DIM: usize = 65_536;

/// Most bytes of payload that one row carries.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 10;

/// Most bytes that the attributes of one row take when encoded.
pub const MAX_ATTRIBUTE_BYTES: usize = 64 << 10;

/// Most bytes of one encoded batch: the size of the largest log record.
pub const MAX_BATCH_BYTES: usize = 64 << 20;

/// Least memory that a handle can be held to.
pub const MIN_MEMORY_BUDGET: u64 = 32 << 20;

/// Most memory that a handle can be held to: more than any machine has.
const MAX_MEMORY_BUDGET: u64 = 1 << 46;

/// What a collection is: fixed when it is created, stored in every manifest, checked by every open that names one.
///
/// ```
/// use stratavec::{IdKind, Metric, RowFormat, Schema};
/// let schema = Schema::new(384, Metric::Cosine).ids(IdKind::U64).rows(RowFormat::F16).seed(42);
/// assert_eq!(schema.dim(), 384);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    dim: usize,
    metric: Metric,
    ids: IdKind,
    rows: RowFormat,
    index: IndexKind,
    seed: u64,
}

impl Schema {
    /// Vectors of `dim` components (1..=65,536) under `metric`; byte ids, f32 rows, exact search, seed 0.
    pub fn new(dim: usize, metric: Metric) -> Self {
        Schema { dim, metric, ids: IdKind::default(), rows: RowFormat::default(), index: IndexKind::default(), seed: 0 }
    }

    /// Sets the kind of ids.
    #[must_use]
    pub fn ids(mut self, kind: IdKind) -> Self {
        self.ids = kind;
        self
    }

    /// Sets how vectors are stored.
    #[must_use]
    pub fn rows(mut self, format: RowFormat) -> Self {
        self.rows = format;
        self
    }

    /// Sets how vectors are searched.
    #[must_use]
    pub fn index(mut self, kind: IndexKind) -> Self {
        self.index = kind;
        self
    }

    /// Sets the seed of everything that is drawn at random and reaches the disk. It is stored; flat collections draw nothing, so there it
    /// has no effect, and opening a collection with another seed than its own is no mismatch: its own counts.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Components per vector.
    pub fn dim(&self) -> usize {
        self.dim
    }
    /// The distance.
    pub fn metric(&self) -> Metric {
        self.metric
    }
    /// The kind of ids.
    pub fn id_kind(&self) -> IdKind {
        self.ids
    }
    /// How vectors are stored.
    pub fn row_format(&self) -> RowFormat {
        self.rows
    }
    /// How vectors are searched.
    pub fn index_kind(&self) -> IndexKind {
        self.index
    }
    /// How lists code rows, if the kind of index has lists: by the dimension where that was left open, so never [`Codes::Auto`].
    pub fn list_codes(&self) -> Option<Codes> {
        self.index.lists().map(|options| options.codes_for(self.dim))
    }
    /// The seed.
    pub fn random_seed(&self) -> u64 {
        self.seed
    }

    /// Whether rows stand in second lists, if there are lists.
    pub(crate) fn has_second_lists(&self) -> bool {
        self.index.lists().is_some_and(|options| options.spills(self.dim))
    }

    /// Bytes of one stored vector.
    pub fn vector_bytes(&self) -> usize {
        self.rows.vector_bytes(self.dim)
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// `InvalidArgument` naming `dim`, `rows`, `codes` or `nlist`.
    pub fn check(&self) -> Result<()> {
        if self.dim == 0 || self.dim > MAX_DIM {
            return Err(Error::argument("dim", format!("is {}; use 1..={MAX_DIM}", self.dim)));
        }
        match self.index.lists() {
            Some(lists) => {
                lists.check_for(self.dim)?;
                if !self.rows.keeps_vectors() && matches!(lists.codes_for(self.dim), Codes::None) {
                    let what =
                        "are none, and so are the codes: nothing would be left of a row; use other codes, or rows i8";
                    return Err(Error::argument("rows", what));
                }
                Ok(())
            }
            None if self.rows.keeps_vectors() => Ok(()),
            None => {
                let what = "are none, and a flat collection measures its rows; use an index with lists, or rows i8";
                Err(Error::argument("rows", what))
            }
        }
    }

    /// Checks that a collection created with `self` is what `wanted` asks for. The seed is not compared.
    ///
    /// # Errors
    /// `SchemaMismatch` naming the first property that differs.
    pub fn check_same(&self, wanted: &Schema) -> Result<()> {
        let pairs = [
            ("dim", self.dim.to_string(), wanted.dim.to_string()),
            ("metric", self.metric.name().into(), wanted.metric.name().into()),
            ("ids", self.ids.name().into(), wanted.ids.name().into()),
            ("rows", self.rows.name().into(), wanted.rows.name().into()),
            ("index", self.index.to_string(), wanted.index.to_string()),
        ];
        match pairs.into_iter().find(|(_, have, want)| have != want) {
            None => Ok(()),
            Some((name, have, want)) => Err(Error::new(
                ErrorKind::SchemaMismatch,
                format!("the collection was created with {name} = {have}, the call asks for {want}"),
            )
            .with_hint("open it without a schema, or create another collection")),
        }
    }
}

/// When a commit is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// After a sync of the log that serves this batch alone. Survives power loss.
    Sync,
    /// After a sync of the log that may serve every batch waiting at that moment. Survives power loss. No fixed window:
    /// a lone commit does not wait.
    #[default]
    Group,
    /// After the operating system has the bytes. Survives a crash of the process; survives power loss only up to
    /// `durable_seq()`.
    Os,
}

impl Durability {
    /// The name used in JSON, on the command line and in error texts.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Sync => "sync",
            Durability::Group => "group",
            Durability::Os => "os",
        }
    }
}

/// Who does the work that follows writes (moving a full delta to files).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Background {
    /// Two threads of the handle: one flushes, one merges. Commits wait only when two full deltas are pending.
    #[default]
    Thread,
    /// The committing call itself, and the same calls give the same sequence of disk operations. No threads but that of a
    /// [`crate::Collection::compact`], which ends with its job.
    Inline,
}

/// When row files are merged and dead rows are dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Compaction {
    /// In the background, after flushes.
    Auto {
        /// A file of which this part of the rows is dead (0.01..=1.0) is rewritten without them. Less: less space lost to
        /// dead rows, more rewriting. It counts for files of a flat collection and for lists; files whose rows are in lists wait for twice
        /// as much, since nothing scans their dead rows. Lists never wait for more than 0.27, or searches would scan too many dead. Whoever
        /// has lists rewritten later than by default also has them trained anew later.
        dead_ratio: f64,
        /// This many small files (2..=64) become one. More: less rewriting, more files.
        fanout: u32,
    },
    /// Only by `Collection::compact`.
    Manual,
}

impl Default for Compaction {
    fn default() -> Self {
        Compaction::Auto { dead_ratio: 0.2, fanout: 8 }
    }
}

/// Whether the files are read again and again, to find out early that a medium forgets.
///
/// Searches prove what they touch when they first touch it, and so never see damage that was there when the file was opened. What rots
/// later, or where nobody looks, is found by a scrub. It reads what the operating system shows: bytes that are in its cache come from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Scrub {
    /// Only by `Collection::scrub`.
    #[default]
    Off,
    /// In the background, at most so many bytes per second (65,536..). From the end of one pass to the beginning of the next is an
    /// hour.
    Rate(u64),
}

/// How files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Access {
    /// They are mapped into the address space: the fastest where they are in memory, and what is read is in memory once. A medium that
    /// fails under a map, or another program that shortens a file, ends the process (`SIGBUS`).
    #[default]
    Mmap,
    /// They are read, piece by piece, into memory of this process, and each piece is checked whenever it is read. A medium that
    /// fails is an `Io` error of the call that met it. Costs a copy of what is read, and memory (counted in the budget) for what is known of
    /// files and for some recently read pieces: at most a sixteenth of `memory_budget`, or 16 MiB.
    Pread,
}

impl Access {
    /// The name used on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Access::Mmap => "mmap",
            Access::Pread => "pread",
        }
    }

    /// What options begin with. Tests run as a whole under the other choice too: the environment says so.
    pub(crate) fn usual() -> Access {
        #[cfg(any(test, feature = "testing"))]
        if std::env::var_os("STRATAVEC_TEST_ACCESS").is_some_and(|value| value == "pread") {
            return Access::Pread;
        }
        Access::default()
    }
}

/// Called once by an open that had to recover.
pub type RecoveryCallback = Arc<dyn Fn(&RecoveryReport) + Send + Sync>;

/// How a handle treats a collection. Nothing here is stored.
#[derive(Clone)]
#[non_exhaustive]
pub struct OpenOptions {
    pub(crate) durability: Durability,
    pub(crate) background: Background,
    pub(crate) flush_bytes: u64,
    pub(crate) flush_rows: u64,
    pub(crate) compaction: Compaction,
    pub(crate) scrub: Scrub,
    pub(crate) memory_budget: Option<u64>,
    pub(crate) access: Access,
    pub(crate) delete_reserve: u64,
    pub(crate) on_recovery: Option<RecoveryCallback>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions {
            durability: Durability::Group,
            background: Background::Thread,
            flush_bytes: 64 << 20,
            flush_rows: u64::MAX,
            compaction: Compaction::default(),
            scrub: Scrub::default(),
            memory_budget: None,
            access: Access::usual(),
            delete_reserve: 1 << 20,
            on_recovery: None,
        }
    }
}

impl OpenOptions {
    /// The defaults: group commit, one background thread, flush at 64 MiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// The durability of `commit()`. Each batch can choose its own with `commit_with`.
    #[must_use]
    pub fn durability(mut self, level: Durability) -> Self {
        self.durability = level;
        self
    }

    /// Who moves a full delta to files.
    #[must_use]
    pub fn background(mut self, who: Background) -> Self {
        self.background = who;
        self
    }

    /// Bytes of log (1 KiB..=4 GiB) after which the delta is moved to files. More: fewer, larger files; longer recovery
    /// (at most a second per 64 MiB) and more memory (about the same again).
    #[must_use]
    pub fn flush_bytes(mut self, bytes: u64) -> Self {
        self.flush_bytes = bytes;
        self
    }

    /// Rows (1..) after which the delta is moved to files, whatever their size. Default: no limit.
    #[must_use]
    pub fn flush_rows(mut self, rows: u64) -> Self {
        self.flush_rows = rows;
        self
    }

    /// When row files are merged and dead rows are dropped.
    #[must_use]
    pub fn compaction(mut self, when: Compaction) -> Self {
        self.compaction = when;
        self
    }

    /// Whether files are read again in the background, to find damage that came after they were opened. Default: off.
    #[must_use]
    pub fn scrub(mut self, when: Scrub) -> Self {
        self.scrub = when;
        self
    }

    /// Bytes of memory ([`MIN_MEMORY_BUDGET`]..=2^46) that rows not yet in files, batches, what is known of the rows of files,
    /// flushes, merges, bulk loads and searches may take together. Writes that find no room wait for flushes to make some, then
    /// fail with `OverBudget`; searches that find none fail at once. Not counted: mapped files, which the operating system
    /// takes back as it likes, the hits of a search, and some mebibytes for the program itself.
    ///
    /// Under a budget the delta moves to files at a tenth of it if that is less than `flush_bytes`, and a batch may have a
    /// sixteenth of it. Default: no limit; then memory follows from `flush_bytes` (some four times as much) and the batches.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = Some(bytes);
        self
    }

    /// How files are read. Default: mapped.
    #[must_use]
    pub fn access(mut self, how: Access) -> Self {
        self.access = how;
        self
    }

    /// Bytes of disk (0..=2^30) that the log keeps free behind it for deletes: a batch of upserts or inserts that would use them is
    /// refused with `NoSpace`, a batch of nothing but deletes is not. As far as the file system keeps promises about room.
    /// Default: 1 MiB, some 30,000 deletes.
    #[must_use]
    pub fn delete_reserve(mut self, bytes: u64) -> Self {
        self.delete_reserve = bytes;
        self
    }

    /// Bytes of delta, in memory or in the log, at which it is moved to files; also the size of a part of a bulk load.
    pub(crate) fn delta_bytes(&self) -> u64 {
        self.memory_budget.map_or(self.flush_bytes, |budget| self.flush_bytes.min(budget / 10))
    }

    /// Most bytes of one encoded batch.
    pub(crate) fn batch_bytes(&self) -> usize {
        let most = self.memory_budget.map_or(u64::MAX, |budget| budget / 16);
        usize::try_from(most).unwrap_or(usize::MAX).min(MAX_BATCH_BYTES)
    }

    /// Called before `open` returns if there was anything to recover or to clean up.
    #[must_use]
    pub fn on_recovery(mut self, callback: impl Fn(&RecoveryReport) + Send + Sync + 'static) -> Self {
        self.on_recovery = Some(Arc::new(callback));
        self
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// `InvalidArgument` naming the option.
    pub fn check(&self) -> Result<()> {
        if !(1 << 10..=4 << 30).contains(&self.flush_bytes) {
            return Err(Error::argument("flush_bytes", format!("is {}; use 1024..=4294967296", self.flush_bytes)));
        }
        if self.flush_rows == 0 {
            return Err(Error::argument("flush_rows", "is 0; use 1 or more"));
        }
        if let Scrub::Rate(rate) = self.scrub
            && rate < 1 << 16
        {
            return Err(Error::argument("scrub", format!("is {rate} bytes per second; use 65536 or more")));
        }
        if self.delete_reserve > 1 << 30 {
            return Err(Error::argument("delete_reserve", format!("is {}; use 0..=1073741824", self.delete_reserve)));
        }
        if let Some(bytes) = self.memory_budget
            && !(MIN_MEMORY_BUDGET..=MAX_MEMORY_BUDGET).contains(&bytes)
        {
            let range = format!("is {bytes}; use {MIN_MEMORY_BUDGET}..={MAX_MEMORY_BUDGET}");
            return Err(Error::argument("memory_budget", range));
        }
        if let Compaction::Auto { dead_ratio, fanout } = self.compaction {
            if !(0.01..=1.0).contains(&dead_ratio) {
                return Err(Error::argument("dead_ratio", format!("is {dead_ratio}; use 0.01..=1.0")));
            }
            if !(2..=64).contains(&fanout) {
                return Err(Error::argument("fanout", format!("is {fanout}; use 2..=64")));
            }
        }
        Ok(())
    }
}

/// What an open found and did (contract C11).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Batches read back from the log.
    pub batches_replayed: u64,
    /// Bytes of log records read back.
    pub bytes_replayed: u64,
    /// Bytes at the end of the log that form no whole record: a write that no commit was acknowledged for, or damage
    /// to the last group of a log (contract C15).
    pub tail_bytes_dropped: u64,
    /// Files left over by an interrupted job, removed.
    pub orphans_removed: u64,
    /// The manifest's first copy was damaged; the second was used.
    pub manifest_copy_used: bool,
}

impl RecoveryReport {
    /// Whether there was nothing to recover: no batch to replay, no torn tail, no left-over file, no damaged copy of the manifest. So it is
    /// after `close()`, and also if the last writer stopped without it while nothing was in the log.
    pub fn is_clean(&self) -> bool {
        *self == RecoveryReport::default()
    }
}
