//! Group commit.
//!
//! Commits queue up; the first becomes the leader and takes everything queued at that moment. While it writes and
//! syncs, the next group gathers: no window to wait for, a lone thread commits at the speed of the device, many threads
//! share its syncs. The leader then passes the lead to the first commit that waits.

use std::mem;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::batch::Receipt;
use super::prepare::{Prepared, Replaced};
use super::roll::After;
use super::shared::{Shared, Writer, count};
use crate::delta::{Block, Known, KnownIds};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::format::batch::BatchEncoder;
use crate::options::{Durability, Schema};
use crate::planted::{self, Bug};
use crate::snapshot::View;
use crate::wal::Frame;

/// Commits that wait for a leader.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Vec<Arc<Ticket>>,
    has_leader: bool,
}

/// One waiting commit.
pub(super) struct Ticket {
    durability: Durability,
    state: Mutex<State>,
    changed: Condvar,
}

enum State {
    /// Nobody has looked at it.
    Waiting(Box<Prepared>),
    /// Its thread is to lead the next group; the batch is still its own.
    Lead(Box<Prepared>),
    /// The leader works on it.
    Taken,
    /// Its own thread has taken the answer.
    Gone,
    /// Its look-ups are out of date.
    Stale(Box<Prepared>),
    Done(Result<Receipt>),
}

impl Ticket {
    fn new(prepared: Prepared, durability: Durability) -> Self {
        Ticket { durability, state: Mutex::new(State::Waiting(Box::new(prepared))), changed: Condvar::new() }
    }

    fn set(&self, state: State) {
        *self.state.lock() = state;
        self.changed.notify_one();
    }

    /// Takes the batch out, for the leader.
    fn take(&self) -> Option<Box<Prepared>> {
        let mut state = self.state.lock();
        match mem::replace(&mut *state, State::Taken) {
            State::Waiting(prepared) | State::Lead(prepared) => Some(prepared),
            other => {
                *state = other;
                None
            }
        }
    }
}

/// A batch with its numbers, between the first and the last step of a commit.
struct Staged {
    ticket: Arc<Ticket>,
    prepared: Box<Prepared>,
    seq: u64,
    first_row: u64,
    replaced: Vec<Option<Replaced>>,
    receipt: Receipt,
}

/// The numbers and id states that staged batches will have once they are in the log.
struct Staging {
    next_seq: u64,
    next_row: u64,
    known: Option<KnownIds>,
    staged: Vec<Staged>,
    frames: Vec<(u64, Frame)>,
    /// Conflicts. What an insert met may be a batch of this very group: it is told only once that is visible.
    refused: Vec<(Arc<Ticket>, Box<Prepared>, Error)>,
}

impl Shared {
    /// Commits a prepared batch and returns when it is acknowledged or refused.
    pub(super) fn commit(&self, mut prepared: Prepared, durability: Durability) -> Result<Receipt> {
        loop {
            if let Err(error) = self.wait_for_room() {
                // Deletes are let through on a full disk: they take little memory, and are what makes room.
                let let_through = prepared.rows() == 0 && error.kind() == ErrorKind::NoSpace;
                if !let_through {
                    return Err(error);
                }
            }
            let ticket = Arc::new(Ticket::new(prepared, durability));
            match self.ride(&ticket) {
                State::Done(result) => return result,
                State::Stale(back) => {
                    prepared = *back;
                    prepared.look_up(self)?;
                }
                State::Waiting(_) | State::Lead(_) | State::Taken | State::Gone => {
                    return Err(unknown(&Error::new(ErrorKind::Io, "the commit was abandoned by its leader")));
                }
            }
        }
    }

    /// Queues the ticket and waits for its end, leading a group if it falls to this thread.
    fn ride(&self, ticket: &Arc<Ticket>) -> State {
        let lead = {
            let mut queue = self.queue.lock();
            queue.waiting.push(ticket.clone());
            !mem::replace(&mut queue.has_leader, true)
        };
        if !lead {
            let mut state = ticket.state.lock();
            while matches!(*state, State::Waiting(_) | State::Taken) {
                ticket.changed.wait(&mut state);
            }
            if !matches!(*state, State::Lead(_)) {
                return mem::replace(&mut *state, State::Gone);
            }
        }
        let after = {
            let leadership = Leadership { shared: self, group: self.take_group() };
            self.commit_group(&leadership.group)
        };
        self.follow_up(after);
        mem::replace(&mut *ticket.state.lock(), State::Gone)
    }

    /// Everything that waits, up to a commit that wants a sync of its own.
    fn take_group(&self) -> Vec<Arc<Ticket>> {
        let mut queue = self.queue.lock();
        let alone = |ticket: &Arc<Ticket>| ticket.durability == Durability::Sync;
        let count = match queue.waiting.iter().position(alone) {
            Some(0) => 1,
            Some(first_alone) => first_alone,
            None => queue.waiting.len(),
        };
        queue.waiting.drain(..count).collect()
    }

    /// Commits a group; what is to be done next.
    fn commit_group(&self, group: &[Arc<Ticket>]) -> After {
        let _no_load = self.gate.lock();
        // The first commit publishes a manifest, and so may a merge at the same moment: they take turns.
        let begins_log = self.writer.lock().wal.is_none();
        let _one_manifest_at_a_time = begins_log.then(|| self.flushing.lock());
        let mut writer = self.writer.lock();
        if let Err(error) = self.check_writable() {
            group.iter().for_each(|ticket| ticket.set(State::Done(Err(error.clone()))));
            return After::default();
        }
        if writer.wal.is_none()
            && let Err(error) = self.begin_log(&mut writer)
        {
            group.iter().for_each(|ticket| ticket.set(State::Done(Err(error.clone()))));
            return After::default();
        }
        let mut staging = self.stage(&mut writer, group);
        let refused = mem::take(&mut staging.refused);
        let outcome = self.log_and_apply(&mut writer, staging);
        let failed = outcome.iter().any(|(_, result)| result.is_err());
        for (ticket, result) in outcome {
            ticket.set(State::Done(result));
        }
        for (ticket, prepared, error) in refused {
            ticket.set(if failed { State::Stale(prepared) } else { State::Done(Err(error)) });
        }
        self.roll_if_full(&mut writer)
    }

    /// Step 1 of a commit, nothing is changed: decide conflicts, give numbers, finish the log records.
    fn stage(&self, writer: &mut Writer, group: &[Arc<Ticket>]) -> Staging {
        let mut staging = Staging {
            next_seq: writer.last_seq + 1,
            next_row: writer.next_row,
            known: (group.len() > 1).then(|| KnownIds::new(self.schema.id_kind())),
            staged: Vec::with_capacity(group.len()),
            frames: Vec::with_capacity(group.len()),
            refused: Vec::new(),
        };
        let view = self.view.load();
        let (install, model) = (view.version.install, view.active.model());
        let mut bytes = 0;
        for ticket in group {
            let Some(prepared) = ticket.take() else { continue };
            if prepared.install != install || prepared.model != model {
                ticket.set(State::Stale(prepared));
                continue;
            }
            bytes += prepared.most_bytes();
            let room = match &mut writer.wal {
                Some(wal) if prepared.rows() > 0 => wal.make_room(bytes),
                _ => Ok(()),
            };
            if let Err(error) = room {
                bytes -= prepared.most_bytes();
                let hint = "free some space; deletes are still taken";
                ticket.set(State::Done(Err(error.with_outcome(Outcome::NotCommitted).with_hint(hint))));
            } else if let Err(error) = staging.add(&self.schema, writer, ticket, prepared) {
                ticket.set(State::Done(Err(error)));
            }
        }
        staging
    }

    /// Steps 2 to 5 of a commit, for a group:
    ///
    /// 2. Write the records to the log. A crash leaves any part of them: recovery drops what is not whole.
    /// 3. Sync the log, unless all of the group is `Os`. A crash after this: recovery replays the group.
    /// 4. Apply to memory and publish the view: searches that start from here on see the group.
    /// 5. Acknowledge (the caller).
    fn log_and_apply(&self, writer: &mut Writer, staging: Staging) -> Vec<(Arc<Ticket>, Result<Receipt>)> {
        let Staging { staged, mut frames, .. } = staging;
        let Some(last) = staged.last() else { return Vec::new() };
        let last_seq = last.seq;
        let fail = |staged: Vec<Staged>, error: Error| {
            staged.into_iter().map(|s| (s.ticket, Err(error.clone()))).collect::<Vec<_>>()
        };
        if planted::is(Bug::ApplyBeforeLog) {
            let applied = self.publish(writer, staged);
            let logged = self.log(writer).and_then(|wal| {
                wal.append(&mut frames).map_err(|failure| failure.error)?;
                wal.sync()
            });
            self.set_durable(if logged.is_ok() { last_seq } else { 0 });
            let told = |receipt: Receipt| logged.clone().map(|()| Receipt { durable: true, ..receipt });
            return applied.into_iter().map(|(ticket, result)| (ticket, result.and_then(told))).collect();
        }
        let wal = match self.log(writer) {
            Ok(wal) => wal,
            Err(error) => return fail(staged, error),
        };
        if planted::is(Bug::AckBeforeSync) {
            let _ = wal.sync();
        }
        let before = wal.len();
        if let Err(failure) = wal.append(&mut frames) {
            let error = match failure.undone {
                true => failure.error.with_outcome(Outcome::NotCommitted),
                false => {
                    self.poison(&failure.error);
                    unknown(&failure.error)
                }
            };
            return fail(staged, error);
        }
        count(&self.counters.log_bytes, wal.len() - before);
        self.keep_buffers(frames);
        let durable = staged.iter().any(|s| s.ticket.durability != Durability::Os);
        if durable {
            let synced = if planted::is(Bug::AckBeforeSync) { Ok(()) } else { wal.sync() };
            if let Err(error) = synced {
                self.poison(&error);
                if planted::is(Bug::ServeFailedBatch) {
                    self.publish(writer, staged);
                    return Vec::new();
                }
                return fail(staged, unknown(&error));
            }
            count(&self.counters.log_syncs, 1);
            self.set_durable(last_seq);
        }
        count(&self.counters.batches, staged.len() as u64);
        self.publish(writer, staged)
    }

    /// Applies a group that is in the log.
    fn publish(&self, writer: &mut Writer, staged: Vec<Staged>) -> Vec<(Arc<Ticket>, Result<Receipt>)> {
        let old = self.view.load_full();
        let mut active = old.active.clone();
        let mut count = old.count;
        let mut acknowledged = Vec::with_capacity(staged.len());
        let mut seq = old.seq;
        for batch in staged {
            seq = batch.seq;
            remember(&mut writer.known, &batch.prepared, batch.first_row);
            count += batch.prepared.rows() as u64;
            writer.next_row = batch.first_row + batch.prepared.rows() as u64;
            if let Some(block) = batch.prepared.block {
                active.push(block.number(batch.first_row, batch.seq).charged(&self.budget), &batch.prepared.lists);
            }
            let killed: Vec<Replaced> = batch.replaced.into_iter().flatten().collect();
            count -= killed.len() as u64;
            killed.iter().for_each(|dead| mark(&old, &active, dead));
            active.kill(killed.iter().map(|dead| dead.row).collect());
            let receipt = Receipt { durable: self.durable_seq() >= batch.seq, ..batch.receipt };
            acknowledged.push((batch.ticket, Ok(receipt)));
        }
        writer.last_seq = seq;
        writer.known_charge.set((writer.known.memory_bytes() + active.kills().memory_bytes()) as u64);
        self.view.store(Arc::new(View {
            version: old.version.clone(),
            frozen: old.frozen.clone(),
            active,
            seq,
            count,
        }));
        acknowledged
    }
}

impl Staging {
    /// Gives a batch its numbers, or refuses it.
    fn add(
        &mut self,
        schema: &Schema,
        writer: &Writer,
        ticket: &Arc<Ticket>,
        mut prepared: Box<Prepared>,
    ) -> Result<()> {
        let replaced: Vec<Option<Replaced>> = (0..prepared.len()).map(|i| self.newest(writer, &prepared, i)).collect();
        if let Some(i) = (0..prepared.len()).find(|i| replaced[*i].is_some() && prepared.must_be_absent(*i)) {
            let error = prepared.conflict(i);
            self.refused.push((ticket.clone(), prepared, error));
            return Ok(());
        }
        let kills: Vec<u64> = replaced.iter().flatten().map(|dead| dead.row).collect();
        let killed = kills.len() as u64;
        let (seq, first_row, rows) = (self.next_seq, self.next_row, prepared.rows());
        let kills = self.split_upsert(schema, kills, first_row)?;
        let seq = seq.max(self.next_seq);
        let frame = prepared.encoder.finish(first_row, &kills)?;
        if let Some(known) = &mut self.known {
            remember(known, &prepared, first_row);
        }
        let replaced_rows = replaced[..rows].iter().flatten().count() as u64;
        let receipt = Receipt {
            seq,
            durable: false,
            inserted: rows as u64 - replaced_rows,
            replaced: replaced_rows,
            deleted: killed - replaced_rows,
        };
        self.frames.push((seq, frame));
        self.staged.push(Staged { ticket: ticket.clone(), prepared, seq, first_row, replaced, receipt });
        self.next_seq += 1;
        self.next_row += rows as u64;
        Ok(())
    }

    /// The planted bug that logs what a batch kills in a record of its own.
    fn split_upsert(&mut self, schema: &Schema, kills: Vec<u64>, first_row: u64) -> Result<Vec<u64>> {
        if kills.is_empty() || !planted::is(Bug::SplitUpsert) {
            return Ok(kills);
        }
        self.frames.push((self.next_seq, BatchEncoder::new(schema, Vec::new(), 0).finish(first_row, &kills)?));
        self.next_seq += 1;
        Ok(Vec::new())
    }

    /// The live row of change `i`'s id at this point of the commit order: by the batches staged before it, by the
    /// generations in memory, else as prepared.
    fn newest(&self, writer: &Writer, prepared: &Prepared, i: usize) -> Option<Replaced> {
        let id = prepared.id(i);
        let staged = self.known.as_ref().and_then(|known| known.get(id));
        let known = staged
            .or_else(|| writer.known.get(id))
            .or_else(|| writer.frozen.iter().rev().find_map(|frozen| frozen.known.get(id)));
        match known {
            Some(Known::Live(row)) => Some(Replaced { row, in_file: None }),
            Some(Known::Dead) => None,
            None => prepared.replaced[i],
        }
    }
}

/// Writes a batch's ids and their new states into a map.
fn remember(known: &mut KnownIds, prepared: &Prepared, first_row: u64) {
    for i in 0..prepared.len() {
        let state = if i < prepared.rows() { Known::Live(first_row + i as u64) } else { Known::Dead };
        known.set(prepared.id(i), state);
    }
}

/// Sets the maybe-dead bit of a killed row, wherever it is. Must come before the view that kills it.
fn mark(old: &View, active: &crate::delta::Generation, dead: &Replaced) {
    if let Some((index, ordinal)) = dead.in_file {
        if let Some(rows) = old.version.rows.get(index) {
            rows.mark_maybe_dead(ordinal);
        }
        return;
    }
    let in_memory = active.locate(dead.row).or_else(|| old.frozen.iter().find_map(|frozen| frozen.locate(dead.row)));
    if let Some((block, at)) = in_memory {
        Block::mark_maybe_dead(block, at);
    }
}

/// The error of a commit that may or may not be there after reopening.
fn unknown(cause: &Error) -> Error {
    cause
        .clone()
        .caused(ErrorKind::Poisoned, "the commit's outcome is unknown")
        .with_outcome(Outcome::Unknown)
        .with_hint("reopen the collection and look whether the batch is there: it is whole or absent")
}

/// Held while leading. Ends the lead however the group ended, so that nobody waits for a leader that is gone.
struct Leadership<'s> {
    shared: &'s Shared,
    group: Vec<Arc<Ticket>>,
}

impl Drop for Leadership<'_> {
    fn drop(&mut self) {
        for ticket in &self.group {
            let mut state = ticket.state.lock();
            if matches!(*state, State::Waiting(_) | State::Lead(_) | State::Taken) {
                let error = Error::new(ErrorKind::Io, "the commit was abandoned by its leader");
                self.shared.poison(&error);
                *state = State::Done(Err(unknown(&error)));
                ticket.changed.notify_one();
            }
        }
        let mut queue = self.shared.queue.lock();
        match queue.waiting.first() {
            Some(next) => {
                let mut state = next.state.lock();
                if let State::Waiting(prepared) = mem::replace(&mut *state, State::Taken) {
                    *state = State::Lead(prepared);
                }
                next.changed.notify_one();
            }
            None => queue.has_leader = false,
        }
    }
}
