//! What the processes that get killed write, so that a reader can tell from the collection alone how far each had come and
//! what must be there.
//!
//! Each of a process's threads writes numbered batches. Batch `n` of thread `t` writes some rows of its own, moves the
//! thread's *head* row to `n`, and deletes the rows of batch `n - KEPT`. So the head says which batches must be there, whole,
//! and everything else must not.

use std::collections::BTreeSet;

use stratavec::{
    Attributes, Batch, Codes, Collection, Durability, Effort, Error, Id, IdKind, IndexKind, IvfOptions, Metric,
    OpenOptions, Receipt, RowFormat, Schema, Snapshot, Spill, Value,
};

use crate::random::Random;

/// Writing threads of a process.
pub const THREADS: u64 = 4;
/// Batches of a thread whose rows are not deleted yet.
pub const KEPT: u64 = 8;
/// Most rows of a batch besides the head.
const MOST_ROWS: u64 = 24;
const DIM: usize = 8;
/// Seeds from here on: the rows are in lists, and new lists are trained all the time.
pub const RETRAINED: u64 = 1 << 32;
/// Their number.
const LISTS: u32 = 4;
/// Seeds from here on: the same of a collection that keeps no vectors.
pub const RETRAINED_CODES: u64 = 1 << 33;
/// Their number: of so many some are empty again and again, and give place to others.
const LISTS_OF_CODES: u32 = 24;

/// What the killed processes write under one seed.
#[derive(Clone, Copy, Debug)]
pub struct Errand {
    /// Decides sizes and contents.
    pub seed: u64,
}

impl Errand {
    /// What `create` is given.
    pub fn schema(&self) -> Schema {
        let schema = Schema::new(DIM, Metric::L2).ids(IdKind::U64);
        match self.retrains() {
            true if !self.keeps_vectors() => {
                let options = IvfOptions::auto().nlist(LISTS_OF_CODES).codes(Codes::Bits(4)).spill(Spill::Off);
                schema.rows(RowFormat::None).index(IndexKind::Ivf(options))
            }
            true => schema.index(IndexKind::Ivf(IvfOptions::auto().nlist(LISTS))),
            false => schema,
        }
    }

    /// Whether the process trains new lists all the time.
    pub fn retrains(&self) -> bool {
        self.seed >= RETRAINED
    }

    fn keeps_vectors(&self) -> bool {
        self.seed < RETRAINED_CODES
    }

    /// A log of this size is moved to files a few times a second.
    pub fn options(&self) -> OpenOptions {
        OpenOptions::new().flush_bytes(96 << 10)
    }

    /// The durability of a thread's batch.
    pub fn durability(&self, thread: u64, n: u64) -> Durability {
        match (thread + n) % THREADS {
            0 => Durability::Sync,
            1 => Durability::Os,
            _ if thread == 2 => Durability::Os,
            _ => Durability::Group,
        }
    }

    /// Commits batch `n` of a thread.
    ///
    /// # Errors
    /// Of the engine.
    pub fn commit(&self, collection: &Collection, thread: u64, n: u64) -> Result<Receipt, Error> {
        let mut batch = collection.batch();
        self.fill(&mut batch, thread, n);
        batch.commit_with(self.durability(thread, n))
    }

    fn random(&self, thread: u64, n: u64) -> Random {
        Random::new(self.seed ^ (thread << 56) ^ n.wrapping_mul(0x9e37_79b9))
    }

    fn rows(&self, thread: u64, n: u64) -> u64 {
        let mut random = self.random(thread, n);
        if random.one_in(4) { 0 } else { random.below(MOST_ROWS + 1) }
    }

    fn head(thread: u64) -> u64 {
        thread << 48
    }

    fn id(thread: u64, n: u64, row: u64) -> u64 {
        (thread << 48) | (n << 8) | (row + 1)
    }

    fn row(&self, thread: u64, n: u64, row: u64) -> (Vec<f32>, Vec<u8>) {
        let mut random = self.random(thread, n << 8 | row);
        let vector = random.vector(DIM);
        let payload = (0..random.below(60)).map(|_| random.below(8) as u8 + b'a').collect();
        (vector, payload)
    }

    fn fill(&self, batch: &mut Batch<'_>, thread: u64, n: u64) {
        for row in 0..self.rows(thread, n) {
            let (vector, payload) = self.row(thread, n, row);
            batch.insert(Self::id(thread, n, row), &vector).payload(&payload);
        }
        let attributes = Attributes::from([("n".to_owned(), Value::I64(n as i64))]);
        batch.upsert(Self::head(thread), &[n as f32; DIM]).attributes(attributes);
        if let Some(old) = n.checked_sub(KEPT) {
            for row in 0..self.rows(thread, old) {
                batch.delete(Self::id(thread, old, row));
            }
        }
    }

    /// The last batch of a thread that is there; 0 if there is none.
    ///
    /// # Errors
    /// Of the engine.
    pub fn progress(&self, snapshot: &Snapshot, thread: u64) -> Result<u64, Error> {
        let head = snapshot.get(Self::head(thread))?;
        Ok(match head.and_then(|item| item.attributes.get("n").cloned()) {
            Some(Value::I64(n)) => n as u64,
            _ => 0,
        })
    }

    /// Proves that a snapshot holds whole batches, all those of the commit order up to its own, and nothing else; the last
    /// batch of each thread.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, snapshot: &Snapshot) -> Result<Vec<u64>, String> {
        let mut progress = Vec::new();
        let mut live = 0;
        for thread in 0..THREADS {
            let last = self.progress(snapshot, thread).map_err(|error| format!("{error:?}"))?;
            progress.push(last);
            live += u64::from(last > 0);
            for n in (last + 1).saturating_sub(KEPT).max(1)..=last {
                for row in 0..self.rows(thread, n) {
                    live += 1;
                    let id = Self::id(thread, n, row);
                    let item = snapshot.get(id).map_err(|error| format!("{error:?}"))?;
                    let item = item.ok_or_else(|| format!("row {row} of batch {n} of thread {thread} is missing"))?;
                    let (vector, payload) = self.row(thread, n, row);
                    let vector = if self.keeps_vectors() { vector } else { Vec::new() };
                    if item.vector != vector || item.payload.unwrap_or_default() != payload {
                        return Err(format!("row {row} of batch {n} of thread {thread} has another content"));
                    }
                }
            }
            // The batch that was not acknowledged, and the one whose rows were deleted last.
            for n in [last + 1, last.saturating_sub(KEPT)] {
                let id = Id::U64(Self::id(thread, n, 0));
                if n > 0 && snapshot.contains(id.as_ref()).map_err(|error| format!("{error:?}"))? {
                    return Err(format!("batch {n} of thread {thread} is there in part; {last} is the last"));
                }
            }
        }
        // Each batch moves one head by one, so none before the last is missing.
        if snapshot.seq() != progress.iter().sum::<u64>() {
            return Err(format!("the threads are at {progress:?}, but the last batch is {}", snapshot.seq()));
        }
        self.check_search(snapshot, live)?;
        match snapshot.count() == live {
            true => Ok(progress),
            false => Err(format!("{} rows are there, {live} should be", snapshot.count())),
        }
    }

    /// Proves that a search of all lists finds every row, each once.
    fn check_search(&self, snapshot: &Snapshot, live: u64) -> Result<(), String> {
        let all = Effort::Probe { nprobe: usize::MAX, patience: usize::MAX };
        let k = live.max(1) as usize;
        let hits = snapshot.search(&[0.5; DIM]).k(k).effort(all).run().map_err(|error| format!("{error:?}"))?;
        let found: BTreeSet<u64> = hits.iter().filter_map(|hit| hit.id.as_u64()).collect();
        match (found.len(), hits.len()) == (live as usize, live as usize) {
            true => Ok(()),
            false => Err(format!("a search found {} of {live} rows in {} hits", found.len(), hits.len())),
        }
    }
}
