//! What was tried and what was promised, batch by batch: the yardstick of the contract's first sentences.

use std::collections::BTreeSet;

use stratavec::{Collection, Id, Schema};

use crate::compare::compare;
use crate::model::{Change, Model};

/// How a handle ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process stopped, the machine did not: everything acknowledged must be there.
    Process,
    /// The machine stopped: everything acknowledged as durable must be there.
    Power,
}

/// The batches of one collection in commit order.
#[derive(Clone, Debug)]
pub struct History {
    /// What the collection was created as.
    pub schema: Schema,
    /// `create` returned `Ok`.
    pub created: bool,
    /// State `k` is the content after the first `k` batches that were tried and not refused.
    states: Vec<Model>,
    /// Every id ever written, live or dead.
    ids: BTreeSet<Id>,
    acknowledged: u64,
    durable: u64,
    /// The last batch of the checkpoint that was made last; `None` while it is being made.
    pub copied: Option<u64>,
}

impl History {
    /// Before `create`.
    pub fn new(schema: Schema) -> History {
        History {
            schema,
            created: false,
            states: vec![Model::default()],
            ids: BTreeSet::new(),
            acknowledged: 0,
            durable: 0,
            copied: None,
        }
    }

    /// The batch number of the last batch tried.
    pub fn attempted(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    /// The batch number of the last batch acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The batch number of the last batch known to survive a power loss.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// The content that reads must show now.
    pub fn visible(&self) -> &Model {
        &self.states[self.acknowledged as usize]
    }

    /// The content after `k` batches.
    pub fn state(&self, k: u64) -> Option<&Model> {
        self.states.get(usize::try_from(k).ok()?)
    }

    /// Every id ever tried.
    pub fn ids(&self) -> &BTreeSet<Id> {
        &self.ids
    }

    /// A commit begins. Returns what its receipt must count: inserted, replaced, deleted.
    pub fn begin(&mut self, changes: &[Change]) -> (u64, u64, u64) {
        let mut next = self.states.last().cloned().unwrap_or_default();
        let counts = next.apply(changes, self.attempted() + 1);
        self.states.push(next);
        self.ids.extend(changes.iter().map(|change| change.id().clone()));
        counts
    }

    /// The commit that began last was refused: it must never be seen.
    pub fn refuse(&mut self) {
        self.states.pop();
    }

    /// The commit that began last returned `Ok`.
    pub fn acknowledge(&mut self) {
        self.acknowledged = self.attempted();
    }

    /// Everything up to batch `k` survives a power loss from here on.
    pub fn promise(&mut self, k: u64) {
        self.durable = self.durable.max(k);
    }

    /// A crash and a recovery that left the first `k` batches, durably.
    pub fn recovered(&mut self, k: u64) {
        self.states.truncate(k as usize + 1);
        (self.created, self.acknowledged, self.durable) = (true, k, k);
    }

    /// Fewest batches that may be left after a crash now.
    pub fn lower_bound(&self, crash: Crash) -> u64 {
        match crash {
            Crash::Process => self.acknowledged,
            Crash::Power => self.durable,
        }
    }

    /// Proves that a collection opened after a crash holds the result of the first `k` batches, where everything promised
    /// is among them, and nothing else. Returns `k`.
    ///
    /// # Errors
    /// The first difference.
    pub fn matches_prefix(&self, collection: &Collection, crash: Crash) -> Result<u64, String> {
        let k = collection.last_seq();
        self.allows(k, crash)?;
        self.matches_state(collection, k)?;
        Ok(k)
    }

    /// Whether `k` batches are within what a crash may leave.
    ///
    /// # Errors
    /// Says what was lost or invented.
    pub fn allows(&self, k: u64, crash: Crash) -> Result<(), String> {
        let (least, most) = (self.lower_bound(crash), self.attempted());
        match (least..=most).contains(&k) {
            true => Ok(()),
            false => Err(format!("{k} batches are there after a {crash:?} crash; {least} were promised, {most} tried")),
        }
    }

    /// Proves that the newest state of a collection is that after `k` batches.
    ///
    /// # Errors
    /// The first difference.
    pub fn matches_state(&self, collection: &Collection, k: u64) -> Result<(), String> {
        let model = self.state(k).ok_or_else(|| format!("there are {k} batches, {} were tried", self.attempted()))?;
        let snapshot = collection.snapshot();
        if snapshot.seq() != k {
            return Err(format!("the snapshot is of batch {}, not {k}", snapshot.seq()));
        }
        compare(&snapshot, model, &self.ids).map_err(|what| format!("not the content after {k} batches: {what}"))
    }
}
