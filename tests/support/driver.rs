//! Runs a workload against a collection and keeps the history of what was promised.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stratavec::storage::Storage;
use stratavec::storage::testing::MemDir;
use stratavec::{
    Background, BulkItem, BulkLoad, Collection, Compact, Compaction, Durability, Error, ErrorKind, OpenOptions, Outcome,
};

use crate::compare::compare;
use crate::history::{Crash, History};
use crate::model::Change;
use crate::random::Random;
use crate::workload::{Step, Work, Workload};

/// Why a step did not do what it should.
#[derive(Debug)]
pub enum Failure {
    /// The engine returned an error. Whether it may depends on what was done to the disk.
    Engine(Error),
    /// The engine broke a promise.
    Promise(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Engine(error) => write!(f, "{error:?}"),
            Failure::Promise(what) => f.write_str(what),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Engine(error)
    }
}

/// Options under which equal calls give equal disk operations.
pub fn inline_options(workload: &Workload) -> OpenOptions {
    let compaction = match workload.fanout {
        0 => Compaction::Manual,
        fanout => Compaction::Auto { dead_ratio: 0.2, fanout },
    };
    OpenOptions::new()
        .background(Background::Inline)
        .compaction(compaction)
        .flush_rows(workload.flush_rows)
        .flush_bytes(workload.flush_bytes)
}

/// A collection, the workload it is given and the history of both.
pub struct Driver {
    workload: &'static Workload,
    storage: Arc<dyn Storage>,
    random: Random,
    /// Batches have other sizes than the workload says.
    varies: bool,
    history: Arc<Mutex<History>>,
    collection: Option<Collection>,
    lenient: bool,
    stall: Option<Stall>,
    copies: Option<Copies>,
}

/// Gives an empty directory for a checkpoint.
type Copies = Box<dyn Fn() -> Arc<dyn Storage>>;

/// Makes the disk refuse new files for rows, or take them again.
type Stall = Box<dyn Fn(bool)>;

impl Driver {
    /// Before `create`. With seed 1 the batches are of the sizes that the workload says; every other seed draws sizes near them, unless the
    /// workload stalls the disk, where the sizes decide how many logs pile up. Ids,
    /// their order and the contents of rows are drawn under all.
    pub fn new(workload: &'static Workload, storage: Arc<dyn Storage>, seed: u64) -> Driver {
        let history = Arc::new(Mutex::new(History::new(workload.schema())));
        Driver {
            workload,
            storage,
            random: Random::new(seed),
            varies: seed > 1 && !workload.steps.iter().any(|step| matches!(step, Step::Stall)),
            history,
            collection: None,
            lenient: false,
            stall: None,
            copies: None,
        }
    }

    /// Goes on with a collection that was opened after a crash.
    pub fn resume(
        workload: &'static Workload,
        storage: Arc<dyn Storage>,
        seed: u64,
        history: History,
        collection: Collection,
    ) -> Driver {
        let history = Arc::new(Mutex::new(history));
        Driver {
            workload,
            storage,
            random: Random::new(seed),
            varies: seed > 1 && !workload.steps.iter().any(|step| matches!(step, Step::Stall)),
            history,
            collection: Some(collection),
            lenient: false,
            stall: None,
            copies: None,
        }
    }

    /// Says how to make the disk refuse new files for rows, or take them again. Without it the steps that ask for that do
    /// nothing.
    pub fn on_stall(&mut self, stall: impl Fn(bool) + 'static) {
        self.stall = Some(Box::new(stall));
    }

    /// Says where checkpoints go. Without it each goes into a directory of its own that nobody looks into but the driver.
    pub fn on_checkpoint(&mut self, empty: impl Fn() -> Arc<dyn Storage> + 'static) {
        self.copies = Some(Box::new(empty));
    }

    /// From now on a close may leave files behind that it could not remove.
    pub fn expect_orphans(&mut self) {
        self.lenient = true;
    }

    /// The history, for reading while the driver runs.
    pub fn shared_history(&self) -> Arc<Mutex<History>> {
        self.history.clone()
    }

    /// The history.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open collection, if there is one.
    pub fn collection(&self) -> Option<&Collection> {
        self.collection.as_ref()
    }

    /// Creates the collection and does every step, checking all reads after each.
    ///
    /// # Errors
    /// The first failure, with the step it happened in.
    pub fn run(&mut self) -> Result<(), String> {
        self.create().map_err(|failure| format!("create: {failure}"))?;
        for (at, step) in self.workload.steps.iter().enumerate() {
            self.step(*step).map_err(|failure| format!("step {at}, {step:?}: {failure}"))?;
        }
        Ok(())
    }

    /// Creates the collection.
    ///
    /// # Errors
    /// Of the engine.
    pub fn create(&mut self) -> Result<(), Failure> {
        let options = inline_options(self.workload);
        let collection = Collection::create_in(self.storage.clone(), self.workload.schema(), options)?;
        self.collection = Some(collection);
        self.history().created = true;
        self.check_reads()
    }

    /// Does one step and checks what it promised and what reads show after it.
    ///
    /// # Errors
    /// Of the engine, or a broken promise.
    pub fn step(&mut self, step: Step) -> Result<(), Failure> {
        let done = match step {
            Step::Commit(level, work) => self.commit(level, work),
            Step::Load(items) => self.load(items),
            Step::Sync => self.sync(),
            Step::WaitDurable => self.wait_durable(),
            Step::Flush => self.flush(),
            Step::Retrain => self.retrain(),
            Step::Checkpoint => self.checkpoint(),
            Step::Close => self.close().and_then(|()| self.open(true)),
            Step::Drop => {
                self.collection = None;
                self.open(false)
            }
            Step::Stall | Step::Resume => {
                if let Some(stall) = &self.stall {
                    stall(matches!(step, Step::Stall));
                }
                Ok(())
            }
        };
        if self.collection.is_some() {
            self.check_reads()?;
        }
        done
    }

    /// Commits one batch.
    ///
    /// # Errors
    /// Of the engine, or a broken promise.
    pub fn commit(&mut self, level: Durability, work: Work) -> Result<(), Failure> {
        let work = if self.varies { work.varied(&mut self.random) } else { work };
        let changes = {
            let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            self.workload.changes(work, history.visible(), &mut self.random)
        };
        self.commit_changes(level, &changes)
    }

    /// Commits these changes as one batch.
    ///
    /// # Errors
    /// Of the engine, or a broken promise.
    pub fn commit_changes(&mut self, level: Durability, changes: &[Change]) -> Result<(), Failure> {
        if changes.is_empty() {
            return Ok(());
        }
        let counts = self.history().begin(changes);
        let collection = self.opened()?;
        let mut batch = collection.batch();
        for change in changes {
            match change {
                Change::Delete { id } => drop(batch.delete(id.as_ref())),
                Change::Put { id, insert, row } => {
                    let put = match insert {
                        true => batch.insert(id.as_ref(), &row.vector),
                        false => batch.upsert(id.as_ref(), &row.vector),
                    };
                    put.attributes(row.attributes.clone()).payload(&row.payload);
                }
            }
        }
        let result = batch.commit_with(level);
        let mut history = self.history();
        let receipt = match result {
            Ok(receipt) => receipt,
            Err(error) => {
                // An unknown outcome stays among what was tried: it may come back after reopening.
                if error.outcome() == Outcome::NotCommitted {
                    history.refuse();
                }
                return Err(error.into());
            }
        };
        history.acknowledge();
        if receipt.seq != history.attempted() {
            return broken(format!("the receipt says batch {}, it is {}", receipt.seq, history.attempted()));
        }
        if (receipt.inserted, receipt.replaced, receipt.deleted) != counts {
            return broken(format!("the receipt is {receipt:?}, it should count {counts:?}"));
        }
        if level != Durability::Os && !receipt.durable {
            return broken(format!("a {level:?} commit is not durable: {receipt:?}"));
        }
        if receipt.durable {
            history.promise(receipt.seq);
        }
        drop(history);
        self.note_durable()
    }

    /// One bulk load.
    ///
    /// # Errors
    /// Of the engine, or a broken promise.
    pub fn load(&mut self, items: u64) -> Result<(), Failure> {
        let changes = {
            let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            let load = if self.varies { Work::Load(items).varied(&mut self.random) } else { Work::Load(items) };
            self.workload.changes(load, history.visible(), &mut self.random)
        };
        let (inserted, replaced, _) = self.history().begin(&changes);
        let put = |change: &Change| match change {
            Change::Put { id, row, .. } => Some(
                BulkItem::new(id.clone(), row.vector.clone())
                    .attributes(row.attributes.clone())
                    .payload(row.payload.clone()),
            ),
            Change::Delete { .. } => None,
        };
        let rows: Vec<BulkItem> = changes.iter().filter_map(put).collect();
        let result = self.opened()?.bulk_load(rows).and_then(BulkLoad::wait);
        let mut history = self.history();
        let report = match result {
            Ok(report) => report,
            Err(error) => {
                if error.outcome() == Outcome::NotCommitted {
                    history.refuse();
                }
                return Err(error.into());
            }
        };
        history.acknowledge();
        let last = history.attempted();
        let counts = (report.seq, report.items, report.inserted, report.replaced);
        if counts != (last, changes.len() as u64, inserted, replaced) {
            return broken(format!("the load reports {report:?}; it is batch {last}, {inserted} new, {replaced} not"));
        }
        history.promise(last);
        drop(history);
        self.note_durable()
    }

    /// `sync()`.
    ///
    /// # Errors
    /// Of the engine, or a broken promise.
    pub fn sync(&mut self) -> Result<(), Failure> {
        let synced = self.opened()?.sync()?;
        if synced != self.history().acknowledged() {
            return broken(format!("sync() says {synced}"));
        }
        self.all_durable("sync()")
    }

    fn wait_durable(&mut self) -> Result<(), Failure> {
        let last = self.history().acknowledged();
        self.opened()?.wait_durable(last)?;
        self.all_durable("wait_durable()")
    }

    /// `flush()`.
    ///
    /// # Errors
    /// Of the engine, or a broken promise.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.opened()?.flush()?;
        self.all_durable("flush()")
    }

    /// `compact(Compact::Retrain)`, which changes nothing that can be read.
    ///
    /// # Errors
    /// Of the engine.
    pub fn retrain(&mut self) -> Result<(), Failure> {
        self.opened()?.compact(Compact::Retrain)?.wait()?;
        Ok(())
    }

    /// `checkpoint()` into an empty directory. The copy must hold everything acknowledged and open without recovery.
    ///
    /// # Errors
    /// Of the engine, or a broken promise.
    pub fn checkpoint(&mut self) -> Result<(), Failure> {
        let target = self.copies.as_ref().map_or_else(|| Arc::new(MemDir::new(9)) as Arc<dyn Storage>, |make| make());
        self.history().copied = None;
        let report = self.opened()?.checkpoint_in(&*target)?;
        let acknowledged = self.history().acknowledged();
        if report.seq != acknowledged {
            return broken(format!("a checkpoint ends with batch {}, not {acknowledged}", report.seq));
        }
        self.history().copied = Some(report.seq);
        self.all_durable("checkpoint()")?;
        let copy = Collection::open_in(target, inline_options(self.workload))?;
        if !copy.recovery().is_clean() {
            return broken(format!("a checkpoint has something to recover: {:?}", copy.recovery()));
        }
        self.history().matches_state(&copy, acknowledged).map_err(Failure::Promise)
    }

    /// `close()`.
    ///
    /// # Errors
    /// Of the engine.
    pub fn close(&mut self) -> Result<(), Failure> {
        let Some(collection) = self.collection.take() else { return broken("there is no collection".to_owned()) };
        collection.close()?;
        let mut history = self.history();
        let last = history.acknowledged();
        history.promise(last);
        Ok(())
    }

    /// Drops the handle without closing it.
    pub fn abandon(&mut self) {
        self.collection = None;
    }

    /// Opens the collection after this process let go of it.
    ///
    /// # Errors
    /// Of the engine, or a broken promise.
    pub fn open(&mut self, closed: bool) -> Result<(), Failure> {
        let collection = Collection::open_in(self.storage.clone(), inline_options(self.workload))?;
        let found = collection.recovery();
        let clean = match self.lenient {
            false => found.is_clean(),
            true => found.batches_replayed == 0 && found.tail_bytes_dropped == 0,
        };
        if closed && !clean {
            return broken(format!("after close() there was something to recover: {:?}", collection.recovery()));
        }
        let k = self.history().matches_prefix(&collection, Crash::Process).map_err(Failure::Promise)?;
        self.history().recovered(k);
        if collection.durable_seq() != k {
            return broken(format!("after opening, {} of {k} batches are called durable", collection.durable_seq()));
        }
        self.collection = Some(collection);
        Ok(())
    }

    /// Whether every read shows what was acknowledged and nothing else.
    ///
    /// # Errors
    /// The first difference.
    pub fn check_reads(&self) -> Result<(), Failure> {
        let Some(collection) = &self.collection else { return Ok(()) };
        let history = self.history();
        let snapshot = collection.snapshot();
        if snapshot.seq() != history.acknowledged() {
            let (seen, acknowledged) = (snapshot.seq(), history.acknowledged());
            return broken(format!("reads show batch {seen}, {acknowledged} was acknowledged last"));
        }
        compare(&snapshot, history.visible(), history.ids()).map_err(Failure::Promise)
    }

    fn opened(&self) -> Result<&Collection, Failure> {
        match &self.collection {
            Some(collection) => Ok(collection),
            None => Err(Error::new(ErrorKind::Closed, "there is no collection").into()),
        }
    }

    fn note_durable(&mut self) -> Result<(), Failure> {
        let durable = self.opened()?.durable_seq();
        let mut history = self.history();
        if durable > history.acknowledged() {
            return broken(format!("durable_seq() is {durable}, past the last acknowledged batch"));
        }
        history.promise(durable);
        Ok(())
    }

    fn all_durable(&mut self, call: &str) -> Result<(), Failure> {
        self.note_durable()?;
        let history = self.history();
        match history.durable() == history.acknowledged() {
            true => Ok(()),
            false => broken(format!("after {call} only {} batches are durable", history.durable())),
        }
    }
}

fn broken<T>(what: String) -> Result<T, Failure> {
    Err(Failure::Promise(what))
}
