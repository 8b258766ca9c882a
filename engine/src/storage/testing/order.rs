//! The rules about the order of calls, held while calls are observed.
//!
//! They are what a crash proof takes for granted, checked on every run rather than on the runs that crash: a broken
//! rule is a bug even when no crash image of this run shows it.

use std::collections::HashMap;

use super::call::{Call, Op};
use crate::storage::{FileKind, FileName};

/// A rule about the order of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// A file is published only after a successful sync that follows its last write.
    PublishUnsynced,
    /// Between a publication and a successful directory sync nothing is removed but temporary files and files that were
    /// created after it.
    RemoveBeforeDirSync,
    /// A file, or the directory, is not synced again after a failed sync. Who takes the lock anew may sync the directory.
    SyncAfterFailure,
    /// A sealed or published file is not written.
    WriteToFinished,
    /// A mapped file is not written.
    WriteAfterMap,
    /// A file is mapped only after a successful sync that follows its last write.
    MapUnsynced,
    /// A write does not start beyond the end of the file.
    HoleLeft,
    /// The lock file is never removed.
    LockRemoved,
    /// A finished file has a durable name before a manifest is published. Checked on request only: with several
    /// threads a file of somebody else's job may be in that state rightly.
    NameNotDurable,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The call that broke it.
    pub call: Call,
    /// How many calls were observed before it.
    pub at: u64,
}

/// A file, whatever its present name.
pub(super) type FileNo = u64;

#[derive(Clone, Copy, Default)]
struct FileState {
    /// Written, or created, since the last successful sync.
    dirty: bool,
    sync_failed: bool,
    finished: bool,
    mapped: bool,
    name_durable: bool,
    temporary: bool,
    /// Created after the last publication was tried: nothing published can need it.
    unneeded: bool,
    /// Known for files created while we watched.
    len: Option<u64>,
}

/// Observes calls in order and notes broken rules.
#[derive(Default)]
pub(super) struct OrderRules {
    files: HashMap<FileNo, FileState>,
    names: HashMap<FileName, FileNo>,
    next_file: FileNo,
    publish_pending: bool,
    /// Targets of publications that failed and may have happened.
    doubtful: Vec<FileName>,
    /// The same of a writer before this one: they have happened if the name is found.
    inherited: Vec<FileName>,
    dir_sync_failed: bool,
    check_names: bool,
    observed: u64,
    violations: Vec<Violation>,
}

impl OrderRules {
    pub(super) fn check_names(&mut self) {
        self.check_names = true;
    }

    pub(super) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The file behind a name that was just created or opened.
    pub(super) fn file_of(&self, name: FileName) -> FileNo {
        self.names.get(&name).copied().unwrap_or(FileNo::MAX)
    }

    /// A call about the directory has returned; `ok` says how.
    pub(super) fn observe_dir(&mut self, call: Call, ok: bool) {
        match call.op {
            Op::Create if ok => self.created(call),
            Op::Open if ok => self.opened(call),
            Op::LinkFrom if ok => self.linked(call),
            Op::Publish => self.published(call, ok),
            Op::Remove => self.removed(call, ok),
            Op::SyncDir => self.dir_synced(call, ok),
            Op::Lock if ok => {
                self.dir_sync_failed = false;
                self.inherited.append(&mut self.doubtful);
            }
            _ => {}
        }
        self.observed += 1;
    }

    /// A call about a file has returned: `None` if it failed, else the bytes it moved.
    pub(super) fn observe_file(&mut self, file: FileNo, call: Call, done: Option<u64>) {
        let before = self.files.get(&file).copied().unwrap_or_default();
        let mut after = before;
        let mut broken = Vec::new();
        match call.op {
            Op::WriteAt | Op::Truncate => {
                broken.extend(before.finished.then_some(Rule::WriteToFinished));
                broken.extend(before.mapped.then_some(Rule::WriteAfterMap));
                let hole = call.op == Op::WriteAt && before.len.is_some_and(|len| call.at > len);
                broken.extend(hole.then_some(Rule::HoleLeft));
                // A failed call may have had a part of its effect.
                after.dirty = true;
                after.len = before.len.map(|len| match (call.op, done) {
                    (Op::WriteAt, Some(count)) => len.max(call.at.saturating_add(count)),
                    (Op::WriteAt, None) => len.max(call.at.saturating_add(call.len)),
                    (_, Some(_)) => call.at,
                    (_, None) => len.max(call.at),
                });
            }
            Op::Sync => {
                broken.extend(before.sync_failed.then_some(Rule::SyncAfterFailure));
                after.sync_failed |= done.is_none();
                after.dirty &= done.is_none();
            }
            Op::Seal => after.finished |= done.is_some(),
            Op::Map => {
                broken.extend(before.dirty.then_some(Rule::MapUnsynced));
                after.mapped |= done.is_some();
            }
            _ => {}
        }
        broken.into_iter().for_each(|rule| self.broken(rule, call));
        self.files.insert(file, after);
        self.observed += 1;
    }

    fn broken(&mut self, rule: Rule, call: Call) {
        self.violations.push(Violation { rule, call, at: self.observed });
    }

    fn add(&mut self, name: FileName, state: FileState) {
        self.names.insert(name, self.next_file);
        self.files.insert(self.next_file, state);
        self.next_file += 1;
    }

    fn created(&mut self, call: Call) {
        let Some(name) = call.name else { return };
        let temporary = name.kind() == Some(FileKind::Temp);
        let state = FileState { dirty: true, len: Some(0), temporary, unneeded: true, ..FileState::default() };
        self.add(name, state);
    }

    fn opened(&mut self, call: Call) {
        self.publish_pending |= call.name.is_some_and(|name| self.inherited.contains(&name));
        let Some(name) = call.name.filter(|name| !self.names.contains_key(name)) else { return };
        self.add(name, FileState { finished: true, name_durable: true, ..FileState::default() });
    }

    /// The bytes of a linked file are durable, its name here is not.
    fn linked(&mut self, call: Call) {
        if let Some(name) = call.name {
            self.add(name, FileState { finished: true, unneeded: true, ..FileState::default() });
        }
    }

    fn published(&mut self, call: Call, ok: bool) {
        let (Some(from), Some(to)) = (call.name, call.target) else { return };
        let file = self.names.get(&from).copied();
        let state = file.and_then(|file| self.files.get(&file)).copied();
        if state.is_some_and(|state| state.dirty) {
            self.broken(Rule::PublishUnsynced, call);
        }
        let others = self.files.iter().filter(|(number, _)| Some(**number) != file);
        let nameless = others.filter(|(_, s)| !s.name_durable && !s.dirty && !s.temporary).count();
        if self.check_names && to.kind() == Some(FileKind::Manifest) && nameless > 0 {
            self.broken(Rule::NameNotDurable, call);
        }
        self.files.values_mut().for_each(|state| state.unneeded = false);
        match ok {
            true => self.publish_pending = true,
            false => self.doubtful.push(to),
        }
        if let (true, Some(file), Some(state)) = (ok, file, state) {
            self.names.remove(&from);
            self.names.insert(to, file);
            let published =
                FileState { finished: true, name_durable: false, temporary: false, unneeded: false, ..state };
            self.files.insert(file, published);
        }
    }

    fn is_unneeded(&self, name: FileName) -> bool {
        let state = self.names.get(&name).and_then(|file| self.files.get(file));
        name.kind() == Some(FileKind::Temp) || state.is_some_and(|state| state.unneeded)
    }

    fn removed(&mut self, call: Call, ok: bool) {
        let Some(name) = call.name else { return };
        if name == FileName::Lock {
            self.broken(Rule::LockRemoved, call);
        } else if (self.publish_pending || !self.doubtful.is_empty()) && !self.is_unneeded(name) {
            self.broken(Rule::RemoveBeforeDirSync, call);
        }
        if ok && let Some(file) = self.names.remove(&name) {
            // Handles may live on; the name is no longer anybody's concern.
            self.files.entry(file).and_modify(|state| state.name_durable = true);
        }
    }

    fn dir_synced(&mut self, call: Call, ok: bool) {
        if self.dir_sync_failed {
            self.broken(Rule::SyncAfterFailure, call);
        }
        if ok {
            self.publish_pending = false;
            self.doubtful.clear();
            self.inherited.clear();
            self.files.values_mut().for_each(|state| state.name_durable = true);
        } else {
            self.dir_sync_failed = true;
        }
    }
}
