//! Does operations to a collection and to the oracle, and compares after each.

use stratavec::{
    Attributes, BulkItem, BulkLoad, Collection, Compact, Error, ErrorKind, Id, Job, Receipt, Snapshot, Value,
};
use stratavec_tests::{Change, Model, Random, Row};

use crate::operation::{Extras, Level, Meanwhile, Operation, Question, Refusal, Scope, Settings, Write};
use crate::oracle::{check_contents, check_get, check_search};
use crate::place::Place;
use crate::space::Space;

/// A collection, what it must hold, and every answer it gave.
pub struct Session {
    space: Space,
    settings: Settings,
    place: Place,
    collection: Option<Collection>,
    /// A compaction that goes on beside other operations.
    job: Option<Job>,
    model: Model,
    last_seq: u64,
    kept: Vec<(Snapshot, Model)>,
    /// What a user saw: equal sessions under other settings must have equal ones.
    pub answers: Vec<String>,
}

/// Does all operations in a fresh place and checks everything at the end. Returns what a user saw.
pub fn play(space: Space, settings: Settings, place: Place, operations: &[Operation]) -> Result<Vec<String>, String> {
    let mut session = Session::new(space, settings, place)?;
    for (at, operation) in operations.iter().enumerate() {
        session.step(operation).map_err(|what| format!("operation {at}, {operation:?}: {what}"))?;
    }
    session.end()
}

impl Session {
    pub fn new(space: Space, settings: Settings, place: Place) -> Result<Session, String> {
        let collection = place.create(space.schema(), settings.options()).map_err(|error| error.to_string())?;
        Ok(Session {
            space,
            settings,
            place,
            collection: Some(collection),
            job: None,
            model: Model::default(),
            last_seq: 0,
            kept: Vec::new(),
            answers: Vec::new(),
        })
    }

    pub fn snapshot(&self) -> Snapshot {
        self.open_collection().snapshot()
    }

    /// Does one operation; the cheap figures must be right after each.
    pub fn step(&mut self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::Commit(level, writes) => self.commit(*level, writes)?,
            Operation::Bulk { first, rows } => self.bulk(*first, *rows)?,
            Operation::Load { items, fails } => self.load(items, *fails)?,
            Operation::Flush => self.maintain("flush()", |c| c.flush())?,
            Operation::Sync => self.maintain("sync()", |c| c.sync().map(drop))?,
            Operation::WaitDurable => self.maintain("wait_durable()", |c| c.wait_durable(c.last_seq()))?,
            Operation::Compact { what, then } => self.compact(*what, *then)?,
            Operation::Close => self.close()?,
            Operation::Drop => {
                self.settle()?;
                self.collection = None;
                self.open()?;
            }
            Operation::Kill => self.kill()?,
            Operation::Keep => self.kept.push((self.snapshot(), self.model.clone())),
            Operation::Search(question) => self.search(&self.snapshot(), &self.model.clone(), question)?,
            Operation::SearchKept(n, question) => {
                if let Some(at) = usize::from(*n).checked_rem(self.kept.len()) {
                    let (snapshot, model) = self.kept[at].clone();
                    self.search(&snapshot, &model, question)?;
                }
            }
            Operation::Get(n) => check_get(&self.snapshot(), &self.model, &self.space, &self.space.id(*n))?,
            Operation::Iterate => check_contents(&self.snapshot(), &self.model, &self.space)?,
        }
        self.check_figures()
    }

    /// Checks everything, here and after closing; kept snapshots must not have changed.
    pub fn end(mut self) -> Result<Vec<String>, String> {
        check_contents(&self.snapshot(), &self.model, &self.space)?;
        self.close().map_err(|what| format!("at the end: {what}"))?;
        check_contents(&self.snapshot(), &self.model, &self.space).map_err(|what| format!("after closing: {what}"))?;
        for (snapshot, model) in &self.kept {
            check_contents(snapshot, model, &self.space).map_err(|what| format!("the kept {snapshot:?}: {what}"))?;
        }
        self.collection = None;
        let report = self.place.verify().map_err(|error| format!("verify: {error}"))?;
        match report.is_sound() {
            true => Ok(self.answers),
            false => Err(format!("verify finds {:?}", report.findings)),
        }
    }

    fn open_collection(&self) -> &Collection {
        self.collection.as_ref().expect("a collection is open between operations")
    }

    fn check_figures(&self) -> Result<(), String> {
        let collection = self.open_collection();
        let (snapshot, durable) = (collection.snapshot(), collection.durable_seq());
        let figures = (collection.last_seq(), snapshot.seq(), snapshot.count());
        let wanted = (self.last_seq, self.last_seq, self.model.rows().len() as u64);
        match figures == wanted && durable <= self.last_seq {
            true => Ok(()),
            false => Err(format!("last seq, its snapshot's and the count are {figures:?}, not {wanted:?}; {durable}")),
        }
    }

    fn commit(&mut self, level: Level, writes: &[Write]) -> Result<(), String> {
        let refusal = self.refusal(writes);
        let changes: Vec<Change> = writes.iter().filter_map(|write| self.change(write)).collect();
        let result = self.fill_and_commit(level, writes);
        self.answers.push(match &result {
            Ok(receipt) => format!("{:?}", (receipt.seq, receipt.inserted, receipt.replaced, receipt.deleted)),
            Err(error) => error.to_string(),
        });
        match (result, refusal) {
            (Ok(receipt), None) => self.acknowledged(level, &changes, receipt),
            (Err(error), Some(kind)) if error.kind() == kind => Ok(()),
            (result, refusal) => Err(format!("the commit gives {result:?}, it should be refused with {refusal:?}")),
        }
    }

    fn acknowledged(&mut self, level: Level, changes: &[Change], receipt: Receipt) -> Result<(), String> {
        self.last_seq += u64::from(!changes.is_empty());
        let counts = self.model.apply(changes, self.last_seq);
        if (receipt.seq, receipt.inserted, receipt.replaced, receipt.deleted)
            != (self.last_seq, counts.0, counts.1, counts.2)
        {
            return Err(format!("{receipt:?} should say {} and {counts:?}", self.last_seq));
        }
        let level = level.durability().or(self.settings.durability.durability());
        let must_be_durable = level != Some(stratavec::Durability::Os) && !changes.is_empty();
        match receipt.durable {
            false if must_be_durable => Err(format!("{receipt:?} is not durable")),
            true if self.open_collection().durable_seq() < receipt.seq => {
                Err(format!("{receipt:?} is ahead of durable_seq"))
            }
            _ => Ok(()),
        }
    }

    /// The error that the batch must end in: the first refused argument, else a conflict with a row that is there.
    fn refusal(&self, writes: &[Write]) -> Option<ErrorKind> {
        let mut written: Vec<(u8, bool)> = Vec::new();
        let mut conflict = None;
        for write in writes {
            let (id, row) = match write {
                Write::Refused(_) => return Some(ErrorKind::InvalidArgument),
                Write::Upsert(_, vector, _) | Write::Insert(_, vector, _)
                    if self.space.refuses(&self.space.vector(vector)) =>
                {
                    return Some(ErrorKind::InvalidArgument);
                }
                Write::Insert(id, ..) => {
                    match written.iter().rev().find(|(other, _)| other == id) {
                        Some((_, true)) => return Some(ErrorKind::AlreadyExists),
                        None if self.model.rows().contains_key(&self.space.id(*id)) => {
                            conflict = Some(ErrorKind::AlreadyExists);
                        }
                        _ => {}
                    }
                    (*id, true)
                }
                Write::Upsert(id, ..) => (*id, true),
                Write::Delete(id) => (*id, false),
            };
            written.push((id, row));
        }
        conflict
    }

    fn row(&self, vector: &[i8], extras: &Extras) -> Row {
        let vector = self.space.stored(&self.space.vector(vector));
        Row { vector, attributes: extras.attributes(), payload: extras.payload(), seq: 0 }
    }

    fn change(&self, write: &Write) -> Option<Change> {
        match write {
            Write::Upsert(id, vector, extras) | Write::Insert(id, vector, extras) => {
                Some(Change::Put { id: self.space.id(*id), insert: false, row: self.row(vector, extras) })
            }
            Write::Delete(id) => Some(Change::Delete { id: self.space.id(*id) }),
            Write::Refused(_) => None,
        }
    }

    fn fill_and_commit(&self, level: Level, writes: &[Write]) -> stratavec::Result<Receipt> {
        let mut batch = self.open_collection().batch();
        for write in writes {
            match write {
                Write::Upsert(id, vector, extras) => {
                    let put = batch.upsert(&self.space.id(*id), &self.space.vector(vector));
                    put.attributes(extras.attributes()).payload(&extras.payload());
                }
                Write::Insert(id, vector, extras) => {
                    let put = batch.insert(&self.space.id(*id), &self.space.vector(vector));
                    put.payload(&extras.payload()).attributes(extras.attributes());
                }
                Write::Delete(id) => drop(batch.delete(&self.space.id(*id))),
                Write::Refused(refusal) => self.put_refused(&mut batch, *refusal),
            }
        }
        match level.durability() {
            Some(level) => batch.commit_with(level),
            None => batch.commit(),
        }
    }

    fn put_refused(&self, batch: &mut stratavec::Batch<'_>, refusal: Refusal) {
        let mut vector = vec![1.0; self.space.dim];
        let mut id = self.space.id(3);
        match refusal {
            Refusal::Dimension => vector.push(1.0),
            Refusal::NotANumber => vector[0] = f32::NAN,
            Refusal::Infinite => vector[self.space.dim - 1] = f32::NEG_INFINITY,
            Refusal::KindOfId if matches!(id, Id::U64(_)) => id = Id::from("3"),
            Refusal::KindOfId => id = Id::U64(3),
            Refusal::Payload | Refusal::Attribute => {}
        }
        let put = batch.upsert(&id, &vector);
        match refusal {
            Refusal::Payload => drop(put.payload(&vec![0; stratavec::MAX_PAYLOAD_BYTES + 1])),
            Refusal::Attribute => {
                let _ = put.attributes(Attributes::from([("x".to_owned(), Value::F64(f64::NAN))]));
            }
            _ => {}
        }
    }

    fn bulk(&mut self, first: u8, rows: u8) -> Result<(), String> {
        let mut random = Random::new(u64::from(first));
        let writes: Vec<Write> = (0..rows)
            .map(|i| {
                // No zero vector: the first component is never zero.
                let vector = random.vector(self.space.dim).iter().map(|x| *x as i8).collect();
                Write::Upsert(first.wrapping_add(i), vector, Extras { attributes: i % 3, payload: 0 })
            })
            .collect();
        self.commit(Level::Default, &writes)
    }

    /// One bulk load: a batch of upserts, durable when it ends, or nothing at all.
    fn load(&mut self, items: &[(u8, Vec<i8>, Extras)], fails: bool) -> Result<(), String> {
        let write = |(id, vector, extras): &(u8, Vec<i8>, Extras)| Write::Upsert(*id, vector.clone(), *extras);
        let writes: Vec<Write> = items.iter().map(write).collect();
        let source_fails = fails.then(|| Error::new(ErrorKind::NotFound, "the source ended"));
        let refusal = self.refusal(&writes).or(source_fails.as_ref().map(Error::kind));
        let changes: Vec<Change> = writes.iter().filter_map(|write| self.change(write)).collect();
        let item = |(id, vector, extras): &(u8, Vec<i8>, Extras)| {
            let item = BulkItem::new(self.space.id(*id), self.space.vector(vector));
            Ok(item.attributes(extras.attributes()).payload(extras.payload()))
        };
        let rows: Vec<stratavec::Result<BulkItem>> = items.iter().map(item).chain(source_fails.map(Err)).collect();
        let result = self.open_collection().bulk_load(rows).and_then(BulkLoad::wait);
        match (result, refusal) {
            (Err(error), Some(kind)) if error.kind() == kind => Ok(()),
            (Ok(report), None) => {
                self.last_seq += u64::from(!changes.is_empty());
                let (inserted, replaced, _) = self.model.apply(&changes, self.last_seq);
                let counts = (report.seq, report.items, report.inserted, report.replaced);
                self.answers.push(format!("{counts:?}"));
                match counts == (self.last_seq, items.len() as u64, inserted, replaced) {
                    true if changes.is_empty() || self.open_collection().durable_seq() == self.last_seq => Ok(()),
                    _ => Err(format!("{report:?} should say {} and {inserted}, {replaced}", self.last_seq)),
                }
            }
            (result, refusal) => Err(format!("the load gives {result:?}, it should be refused with {refusal:?}")),
        }
    }

    /// A call that changes no content and makes all of it durable.
    fn maintain(&mut self, name: &str, call: impl FnOnce(&Collection) -> stratavec::Result<()>) -> Result<(), String> {
        call(self.open_collection()).map_err(|error| format!("{name}: {error}"))?;
        match self.open_collection().durable_seq() == self.last_seq {
            true => Ok(()),
            false => Err(format!("after {name} batch {} is durable", self.open_collection().durable_seq())),
        }
    }

    fn compact(&mut self, what: Scope, then: Meanwhile) -> Result<(), String> {
        self.settle()?;
        let what = match what {
            Scope::Auto => Compact::Auto,
            Scope::Full => Compact::Full,
            Scope::Retrain => Compact::Retrain,
        };
        let job = self.open_collection().compact(what).map_err(|error| format!("compact(): {error}"))?;
        match then {
            Meanwhile::GoOn => self.job = Some(job),
            Meanwhile::Wait => drop(job.wait().map_err(|error| format!("the compaction: {error}"))?),
            Meanwhile::Cancel => {
                job.cancel();
                if let Some(error) = job.wait().err().filter(|error| error.kind() != ErrorKind::Cancelled) {
                    return Err(format!("the cancelled compaction: {error}"));
                }
            }
        }
        Ok(())
    }

    /// Waits for the compaction that goes on, because it keeps the collection open.
    fn settle(&mut self) -> Result<(), String> {
        match self.job.take().map(Job::wait) {
            Some(Err(error)) => Err(format!("the compaction: {error}")),
            _ => Ok(()),
        }
    }

    fn search(&mut self, snapshot: &Snapshot, model: &Model, question: &Question) -> Result<(), String> {
        if let Some(hits) = check_search(snapshot, model, &self.space, question)? {
            let bits: Vec<(&Id, u32)> = hits.iter().map(|hit| (&hit.id, hit.distance.to_bits())).collect();
            self.answers.push(format!("{bits:?}"));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        self.settle()?;
        if let Some(collection) = self.collection.take() {
            collection.close().map_err(|error| format!("close(): {error}"))?;
        }
        self.open()?;
        match self.open_collection().recovery() {
            report if report.is_clean() => Ok(()),
            report => Err(format!("after close() there is something to recover: {report:?}")),
        }
    }

    fn kill(&mut self) -> Result<(), String> {
        match self.place.after_kill() {
            Some(place) => {
                // The old handle lives on, on a disk of its own, until the new one is there.
                let killed = (self.collection.take(), self.job.take());
                self.place = place;
                self.open()?;
                drop(killed);
            }
            None => {
                self.settle()?;
                self.collection = None;
                self.open()?;
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), String> {
        let collection = self.place.open(self.settings.options()).map_err(|error| format!("open: {error}"))?;
        let durable = collection.durable_seq();
        self.collection = Some(collection);
        match durable == self.last_seq {
            true => Ok(()),
            false => Err(format!("after opening, {durable} of {} batches are there and durable", self.last_seq)),
        }
    }
}
