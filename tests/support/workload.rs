//! Small workloads: few operations each, together everything a writer can do.
//!
//! Small is on purpose: bugs of crash consistency need few operations to show (Mohan et al., "Finding Crash-Consistency
//! Bugs with Bounded Black-Box Crash Testing", OSDI 2018), and few pending units can be tried in every combination.

use stratavec::{Attributes, Codes, Durability, Id, IdKind, IndexKind, IvfOptions, Metric, RowFormat, Schema, Value};

use crate::model::{Change, Model, Row};
use crate::random::Random;

use Durability::{Group, Os, Sync};

/// What a batch consists of. Numbers are changes.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// New ids, asked for with `insert`.
    Insert(u64),
    /// Present ids if there are any, else new ones.
    Upsert(u64),
    /// Present ids, and one that is not there.
    Delete(u64),
    /// Deletes of ids that are not there.
    Miss(u64),
    /// Deletes of all ids.
    Clear,
    /// All kinds, some of them of one id.
    Mixed(u64),
    /// Upserts of new ids and of present ones, some of them twice.
    Load(u64),
}

impl Work {
    /// The same with one change more or less, or as many; at least one.
    #[must_use]
    pub fn varied(self, random: &mut Random) -> Work {
        let mut near = |count: u64| (count + random.below(3)).saturating_sub(1).max(1);
        match self {
            Work::Insert(count) => Work::Insert(near(count)),
            Work::Upsert(count) => Work::Upsert(near(count)),
            Work::Delete(count) => Work::Delete(near(count)),
            Work::Miss(count) => Work::Miss(near(count)),
            Work::Mixed(count) => Work::Mixed(near(count)),
            Work::Load(count) => Work::Load(near(count)),
            Work::Clear => Work::Clear,
        }
    }
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// One batch.
    Commit(Durability, Work),
    /// A bulk load of so many items, of new ids and present ones, some of them given twice.
    Load(u64),
    /// `sync()`.
    Sync,
    /// `wait_durable` of the last batch.
    WaitDurable,
    /// `flush()`.
    Flush,
    /// `compact(Compact::Retrain)`.
    Retrain,
    /// `checkpoint()` into an empty directory.
    Checkpoint,
    /// `close()` and open.
    Close,
    /// Drop without close, and open.
    Drop,
    /// From here on no file can be made from the delta: frozen deltas and their logs pile up, as behind a slow disk.
    Stall,
    /// The end of that.
    Resume,
}

/// Operations and the collection they are done to, after `create`.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name in failure reports.
    pub name: &'static str,
    /// Components of a vector.
    pub dim: usize,
    /// The distance.
    pub metric: Metric,
    /// The kind of ids.
    pub ids: IdKind,
    /// How vectors are stored.
    pub rows: RowFormat,
    /// Rows have attributes and payloads, of some ten bytes each.
    pub extras: bool,
    /// The delta is moved to files when it has so many rows.
    pub flush_rows: u64,
    /// The delta is moved to files when the log has so many bytes.
    pub flush_bytes: u64,
    /// So many small files are merged, and files with many dead rows are rewritten; 0: never.
    pub fanout: u32,
    /// How lists code rows.
    pub codes: Codes,
    /// So many lists are made once there are eight rows for each; 0: the collection is flat.
    pub nlist: u32,
    /// What is done.
    pub steps: &'static [Step],
}

const PLAIN: Workload = Workload {
    name: "",
    dim: 4,
    metric: Metric::L2,
    ids: IdKind::U64,
    rows: RowFormat::F32,
    extras: false,
    flush_rows: u64::MAX,
    flush_bytes: 64 << 20,
    fanout: 0,
    codes: Codes::Auto,
    nlist: 0,
    steps: &[],
};

/// The workloads of the crash suites.
pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "insert-group",
        steps: &[
            Step::Commit(Group, Work::Insert(3)),
            Step::Commit(Group, Work::Insert(1)),
            Step::Commit(Sync, Work::Upsert(2)),
        ],
        ..PLAIN
    },
    Workload {
        name: "checkpoint",
        extras: true,
        steps: &[
            Step::Commit(Group, Work::Insert(3)),
            Step::Checkpoint,
            Step::Commit(Os, Work::Mixed(3)),
            Step::Checkpoint,
        ],
        ..PLAIN
    },
    Workload {
        name: "delete",
        ids: IdKind::Bytes,
        steps: &[
            Step::Commit(Group, Work::Insert(4)),
            Step::Commit(Group, Work::Delete(2)),
            Step::Commit(Os, Work::Delete(1)),
            Step::Sync,
        ],
        ..PLAIN
    },
    Workload {
        name: "os-then-sync",
        steps: &[
            Step::Commit(Os, Work::Insert(2)),
            Step::Commit(Os, Work::Upsert(2)),
            Step::Commit(Os, Work::Delete(1)),
            Step::Sync,
            Step::Commit(Os, Work::Mixed(3)),
            Step::WaitDurable,
        ],
        ..PLAIN
    },
    Workload {
        name: "os-then-group",
        extras: true,
        steps: &[
            Step::Commit(Os, Work::Insert(3)),
            Step::Commit(Os, Work::Mixed(3)),
            Step::Commit(Group, Work::Upsert(1)),
            Step::Commit(Os, Work::Upsert(1)),
        ],
        ..PLAIN
    },
    Workload {
        name: "flush",
        steps: &[Step::Commit(Group, Work::Insert(3)), Step::Flush, Step::Commit(Group, Work::Mixed(3))],
        ..PLAIN
    },
    Workload {
        name: "flush-deletes",
        fanout: 8,
        metric: Metric::InnerProduct,
        steps: &[
            Step::Commit(Group, Work::Insert(4)),
            Step::Flush,
            Step::Commit(Group, Work::Delete(2)),
            Step::Flush,
            Step::Commit(Group, Work::Upsert(2)),
        ],
        ..PLAIN
    },
    Workload {
        name: "roll-os",
        flush_rows: 3,
        steps: &[
            Step::Commit(Os, Work::Insert(2)),
            Step::Commit(Os, Work::Mixed(3)),
            Step::Commit(Os, Work::Upsert(2)),
            Step::Commit(Os, Work::Mixed(3)),
        ],
        ..PLAIN
    },
    Workload {
        name: "roll-bytes",
        dim: 8,
        ids: IdKind::Bytes,
        extras: true,
        flush_bytes: 1 << 10,
        steps: &[
            Step::Commit(Group, Work::Insert(4)),
            Step::Commit(Os, Work::Mixed(4)),
            Step::Commit(Group, Work::Mixed(4)),
        ],
        ..PLAIN
    },
    Workload {
        name: "reopen",
        steps: &[Step::Commit(Group, Work::Insert(3)), Step::Close, Step::Commit(Group, Work::Mixed(3)), Step::Close],
        ..PLAIN
    },
    Workload {
        name: "drop",
        metric: Metric::Cosine,
        rows: RowFormat::F16,
        steps: &[
            Step::Commit(Os, Work::Insert(3)),
            Step::Drop,
            Step::Commit(Os, Work::Mixed(3)),
            Step::Drop,
            Step::Commit(Group, Work::Upsert(1)),
        ],
        ..PLAIN
    },
    Workload {
        name: "large-batch",
        dim: 8,
        rows: RowFormat::Bf16,
        extras: true,
        steps: &[Step::Commit(Group, Work::Insert(12)), Step::Commit(Group, Work::Mixed(16)), Step::Flush],
        ..PLAIN
    },
    Workload {
        name: "two-logs",
        flush_rows: 3,
        steps: &[
            Step::Stall,
            Step::Commit(Os, Work::Insert(3)),
            Step::Commit(Os, Work::Mixed(2)),
            Step::Commit(Os, Work::Delete(1)),
            Step::Resume,
            Step::Flush,
        ],
        ..PLAIN
    },
    Workload {
        name: "three-logs",
        ids: IdKind::Bytes,
        flush_rows: 2,
        steps: &[
            Step::Stall,
            Step::Commit(Group, Work::Insert(2)),
            Step::Commit(Os, Work::Upsert(2)),
            Step::Resume,
            Step::Commit(Os, Work::Mixed(1)),
            Step::Drop,
        ],
        ..PLAIN
    },
    Workload {
        name: "drop-logs",
        flush_rows: 2,
        steps: &[
            Step::Commit(Group, Work::Insert(2)),
            Step::Stall,
            Step::Commit(Os, Work::Insert(2)),
            Step::Commit(Os, Work::Mixed(2)),
            Step::Resume,
            Step::Drop,
            Step::Commit(Group, Work::Mixed(2)),
        ],
        ..PLAIN
    },
    Workload {
        name: "merge",
        fanout: 2,
        extras: true,
        steps: &[
            Step::Commit(Group, Work::Insert(3)),
            Step::Flush,
            Step::Commit(Os, Work::Insert(3)),
            Step::Flush,
            Step::Commit(Group, Work::Mixed(3)),
        ],
        ..PLAIN
    },
    Workload {
        name: "merge-to-nothing",
        ids: IdKind::Bytes,
        fanout: 2,
        steps: &[
            Step::Commit(Group, Work::Insert(2)),
            Step::Flush,
            Step::Commit(Os, Work::Clear),
            Step::Flush,
            Step::Commit(Group, Work::Insert(1)),
            Step::Drop,
        ],
        ..PLAIN
    },
    Workload {
        name: "merge-in-turn",
        fanout: 2,
        flush_rows: 2,
        steps: &[
            Step::Commit(Os, Work::Insert(2)),
            Step::Commit(Os, Work::Insert(2)),
            Step::Commit(Group, Work::Upsert(2)),
            Step::Close,
            Step::Commit(Os, Work::Mixed(4)),
        ],
        ..PLAIN
    },
    Workload {
        name: "load",
        steps: &[Step::Commit(Os, Work::Insert(3)), Step::Load(4), Step::Commit(Os, Work::Mixed(3))],
        ..PLAIN
    },
    Workload {
        name: "load-parts",
        ids: IdKind::Bytes,
        extras: true,
        flush_rows: 3,
        steps: &[
            Step::Load(7),
            Step::Commit(Os, Work::Mixed(2)),
            Step::Drop,
            Step::Load(2),
            Step::Commit(Group, Work::Delete(1)),
        ],
        ..PLAIN
    },
    Workload {
        name: "load-merge",
        fanout: 2,
        steps: &[
            Step::Commit(Group, Work::Insert(2)),
            Step::Flush,
            Step::Load(3),
            Step::Close,
            Step::Load(3),
            Step::Commit(Os, Work::Upsert(2)),
        ],
        ..PLAIN
    },
    Workload {
        name: "no-effect",
        ids: IdKind::Bytes,
        steps: &[
            Step::Commit(Os, Work::Miss(2)),
            Step::Close,
            Step::Commit(Group, Work::Miss(1)),
            Step::Drop,
            Step::Flush,
            Step::Close,
        ],
        ..PLAIN
    },
    Workload {
        name: "tombstones-merge",
        steps: &[
            Step::Commit(Group, Work::Insert(12)),
            Step::Flush,
            Step::Commit(Os, Work::Delete(1)),
            Step::Flush,
            Step::Commit(Os, Work::Delete(1)),
            Step::Flush,
            Step::Commit(Os, Work::Delete(1)),
            Step::Flush,
            Step::Commit(Os, Work::Delete(1)),
            Step::Flush,
            Step::Commit(Os, Work::Delete(1)),
            Step::Flush,
            Step::Commit(Os, Work::Delete(1)),
            Step::Flush,
            Step::Commit(Os, Work::Delete(1)),
            Step::Flush,
            Step::Commit(Os, Work::Delete(1)),
            Step::Flush,
            Step::Commit(Os, Work::Delete(1)),
            Step::Flush,
        ],
        ..PLAIN
    },
    Workload {
        name: "checkpoint-between",
        ids: IdKind::Bytes,
        fanout: 2,
        steps: &[
            Step::Checkpoint,
            Step::Commit(Os, Work::Insert(3)),
            Step::Flush,
            Step::Commit(Group, Work::Delete(1)),
            Step::Close,
            Step::Checkpoint,
            Step::Commit(Os, Work::Mixed(2)),
            Step::Drop,
            Step::Checkpoint,
        ],
        ..PLAIN
    },
    Workload {
        name: "lists",
        fanout: 2,
        nlist: 1,
        steps: &[
            Step::Commit(Group, Work::Insert(8)),
            Step::Flush,
            Step::Commit(Os, Work::Mixed(4)),
            Step::Flush,
            Step::Commit(Group, Work::Delete(2)),
        ],
        ..PLAIN
    },
    Workload {
        name: "lists-load",
        ids: IdKind::Bytes,
        metric: Metric::Cosine,
        fanout: 4,
        nlist: 1,
        codes: Codes::None,
        steps: &[
            Step::Commit(Os, Work::Insert(2)),
            Step::Load(10),
            Step::Commit(Os, Work::Mixed(3)),
            Step::Drop,
            Step::Commit(Group, Work::Upsert(2)),
        ],
        ..PLAIN
    },
    Workload {
        name: "lists-close",
        metric: Metric::InnerProduct,
        rows: RowFormat::F16,
        fanout: 2,
        nlist: 2,
        codes: Codes::Product { m: 4, codebook_size: 16 },
        steps: &[
            Step::Commit(Os, Work::Insert(17)),
            Step::Close,
            Step::Commit(Group, Work::Clear),
            Step::Checkpoint,
            Step::Commit(Os, Work::Insert(2)),
            Step::Close,
        ],
        ..PLAIN
    },
    Workload {
        name: "lists-retrain",
        fanout: 8,
        nlist: 2,
        steps: &[
            Step::Commit(Group, Work::Insert(16)),
            Step::Flush,
            // More list segments than are converted at a time.
            Step::Commit(Os, Work::Insert(1)),
            Step::Flush,
            Step::Commit(Os, Work::Insert(1)),
            Step::Flush,
            Step::Commit(Os, Work::Insert(1)),
            Step::Flush,
            Step::Commit(Os, Work::Insert(2)),
            Step::Flush,
            Step::Commit(Os, Work::Upsert(3)),
            Step::Retrain,
            Step::Commit(Group, Work::Delete(2)),
        ],
        ..PLAIN
    },
    Workload {
        name: "lists-grow",
        ids: IdKind::Bytes,
        fanout: 4,
        nlist: 1,
        steps: &[
            Step::Commit(Group, Work::Insert(8)),
            Step::Flush,
            Step::Commit(Os, Work::Insert(2)),
            Step::Load(30),
            Step::Drop,
            Step::Commit(Os, Work::Mixed(3)),
            Step::Close,
        ],
        ..PLAIN
    },
    Workload {
        name: "bytes",
        rows: RowFormat::I8,
        ids: IdKind::Bytes,
        extras: true,
        fanout: 2,
        nlist: 2,
        steps: &[
            Step::Commit(Os, Work::Insert(17)),
            Step::Flush,
            Step::Commit(Group, Work::Mixed(4)),
            Step::Drop,
            Step::Commit(Os, Work::Delete(3)),
            Step::Close,
        ],
        ..PLAIN
    },
    Workload {
        name: "lean",
        rows: RowFormat::None,
        extras: true,
        fanout: 2,
        nlist: 2,
        steps: &[
            Step::Commit(Os, Work::Insert(17)),
            Step::Flush,
            Step::Commit(Group, Work::Mixed(4)),
            Step::Close,
            Step::Commit(Os, Work::Delete(3)),
            Step::Flush,
        ],
        ..PLAIN
    },
    Workload {
        name: "lean-load",
        rows: RowFormat::None,
        metric: Metric::Cosine,
        ids: IdKind::Bytes,
        fanout: 4,
        nlist: 1,
        codes: Codes::Product { m: 4, codebook_size: 16 },
        steps: &[
            Step::Commit(Os, Work::Insert(2)),
            Step::Load(10),
            Step::Commit(Os, Work::Mixed(3)),
            Step::Drop,
            Step::Commit(Group, Work::Upsert(2)),
        ],
        ..PLAIN
    },
    Workload {
        name: "lean-retrain",
        rows: RowFormat::None,
        fanout: 8,
        nlist: 4,
        codes: Codes::Bits(2),
        steps: &[
            Step::Commit(Group, Work::Insert(36)),
            Step::Flush,
            // More list segments than are converted at a time.
            Step::Commit(Os, Work::Insert(1)),
            Step::Flush,
            Step::Commit(Os, Work::Insert(1)),
            Step::Flush,
            Step::Commit(Os, Work::Insert(1)),
            Step::Flush,
            Step::Commit(Os, Work::Insert(2)),
            Step::Flush,
            Step::Commit(Os, Work::Upsert(3)),
            Step::Retrain,
            Step::Commit(Group, Work::Delete(2)),
        ],
        ..PLAIN
    },
    Workload {
        name: "everything",
        fanout: 2,
        ids: IdKind::Bytes,
        extras: true,
        flush_rows: 4,
        steps: &[
            Step::Commit(Group, Work::Insert(3)),
            Step::Commit(Os, Work::Mixed(3)),
            Step::Close,
            Step::Commit(Os, Work::Delete(2)),
            Step::Drop,
            Step::Commit(Group, Work::Mixed(4)),
        ],
        ..PLAIN
    },
];

impl Workload {
    /// The workload with this name.
    pub fn named(name: &str) -> Option<&'static Workload> {
        WORKLOADS.iter().find(|workload| workload.name == name)
    }

    /// What `create` is given.
    pub fn schema(&self) -> Schema {
        let index = match self.nlist {
            0 => IndexKind::Flat,
            lists => IndexKind::Ivf(IvfOptions::auto().nlist(lists).codes(self.codes)),
        };
        Schema::new(self.dim, self.metric).ids(self.ids).rows(self.rows).index(index)
    }

    /// An id that the workload uses.
    pub fn id(&self, number: u64) -> Id {
        match self.ids {
            IdKind::U64 => Id::U64(number * 1_000_003),
            _ => Id::from(format!("row-{number}")),
        }
    }

    /// The changes of one batch, given what is live.
    pub fn changes(&self, work: Work, live: &Model, random: &mut Random) -> Vec<Change> {
        let present: Vec<&Id> = live.rows().keys().collect();
        let old = |random: &mut Random| match present.len() {
            0 => self.id(random.below(8)),
            count => present[random.below(count as u64) as usize].clone(),
        };
        let fresh = |random: &mut Random| {
            (0..).map(|_| self.id(random.below(1000))).find(|id| !live.rows().contains_key(id)).unwrap_or(Id::U64(0))
        };
        match work {
            Work::Insert(count) => {
                let mut changes: Vec<Change> = Vec::new();
                while changes.len() < count as usize {
                    let id = fresh(random);
                    if changes.iter().all(|change| *change.id() != id) {
                        changes.push(Change::Put { id, insert: true, row: self.row(random) });
                    }
                }
                changes
            }
            Work::Upsert(count) => {
                (0..count).map(|_| Change::Put { id: old(random), insert: false, row: self.row(random) }).collect()
            }
            Work::Delete(count) => {
                let mut changes: Vec<Change> = (0..count).map(|_| Change::Delete { id: old(random) }).collect();
                changes.push(Change::Delete { id: fresh(random) });
                changes
            }
            Work::Load(count) => {
                let mut changes: Vec<Change> = Vec::new();
                for _ in 0..count {
                    let id = match (random.below(4), changes.last()) {
                        (0, Some(change)) => change.id().clone(),
                        (1, _) => old(random),
                        _ => fresh(random),
                    };
                    changes.push(Change::Put { id, insert: false, row: self.row(random) });
                }
                changes
            }
            Work::Miss(count) => (0..count).map(|_| Change::Delete { id: fresh(random) }).collect(),
            Work::Clear => present.iter().map(|id| Change::Delete { id: (*id).clone() }).collect(),
            Work::Mixed(count) => (0..count)
                .map(|_| {
                    let id = if random.one_in(3) { fresh(random) } else { old(random) };
                    match random.one_in(3) {
                        true => Change::Delete { id },
                        false => Change::Put { id, insert: false, row: self.row(random) },
                    }
                })
                .collect(),
        }
    }

    fn row(&self, random: &mut Random) -> Row {
        let mut row =
            Row { vector: random.vector(self.dim), attributes: Attributes::new(), payload: Vec::new(), seq: 0 };
        // With this component the step of a row of bytes is 1: it holds whole numbers exactly.
        if let (RowFormat::I8, Some(last)) = (self.rows, row.vector.last_mut()) {
            *last = 127.0;
        }
        if self.extras {
            row.attributes.insert("n".to_owned(), Value::I64(random.below(100) as i64));
            if random.one_in(2) {
                row.attributes.insert("tag".to_owned(), Value::from(["red", "green"][random.below(2) as usize]));
            }
            row.payload = (0..random.below(40)).map(|_| random.below(4) as u8 + b'a').collect();
        }
        row
    }
}
