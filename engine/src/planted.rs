//! Planted bugs: faults that a test can switch on to prove that the suites would find them.
//!
//! The place that must not fail asks `planted::is(Bug::X)` and does the wrong thing if the answer is yes. Outside
//! tests, without the feature `testing`, the answer is a constant `false` and the wrong branch is not compiled into
//! the program. The switch belongs to one thread and ends with the closure it was given, so tests that run side by
//! side do not disturb each other; work that moves to another thread takes it along with `carry`.

/// A fault that can be switched on. The numbers are those of the test catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(not(any(test, feature = "testing")), allow(dead_code, reason = "some are asked for only by tests"))]
pub enum Bug {
    /// 1: a commit does not sync the log.
    SkipWalSync,
    /// 2: a commit is acknowledged before its sync has returned.
    AckBeforeSync,
    /// 3: no directory sync between creating a file and relying on it.
    SkipDirSyncAfterCreate,
    /// 4: no directory sync after a manifest was published.
    SkipDirSyncAfterPublish,
    /// 5: a file is published before its bytes are synced.
    PublishBeforeSync,
    /// 6: inputs are removed before the directory sync that makes their successor durable.
    RemoveBeforeDirSync,
    /// 7: the log rolls without syncing the old file.
    RollWithoutSync,
    /// 8: after recovery new records go behind a torn tail.
    AppendBehindTornTail,
    /// 9: after recovery the old log file is written again.
    AppendToOldLog,
    /// 10: a failed sync is tried again and its success believed.
    RetryFailedSync,
    /// 11: reads show the batch of a failed sync.
    ServeFailedBatch,
    /// 12: a record or block with a bad checksum is accepted.
    AcceptBadCrc,
    /// 13: checksums are not bound to the file they belong to.
    CrcWithoutFileId,
    /// 14: replay ignores how far the log was known to be durable.
    IgnoreSyncedTo,
    /// 16: orphans are removed before a manifest was read.
    SweepBeforeManifest,
    /// 17: a flush takes the files of a running merge for orphans.
    SweepRunningBuild,
    /// 18: a merge is installed without the deletes that were flushed while it ran.
    InstallWithoutFlushedKills,
    /// 18, too: a merge is installed without the deletes that are in memory.
    InstallWithoutKillsInMemory,
    /// 21: a merge drops tombstones of rows that are still there.
    DropTombstonesEarly,
    /// 22: an upsert is written as two records.
    SplitUpsert,
    /// 23: a batch is applied to memory before it is in the log.
    ApplyBeforeLog,
    /// 24: the second copy of the manifest body is not written.
    SkipManifestCopy,
    /// 25: a short write is taken for a complete one.
    IgnoreShortWrite,
    /// 26: what a failed write left of a record stays in the log.
    LeaveHalfRecord,
    /// 27: the length of a section is checked with a product that can wrap.
    WrappingLength,
    /// 29: a reader in another process does not begin again when a file it opens was removed.
    FollowerTriesOnce,
    /// 30: a merge lets go of the commit lock before its view is published.
    ReleaseBeforePublish,
    /// 31: a checkpoint does not sync what it copies.
    SkipCopySync,
    /// 32: a row is left out when the rows of files get their lists.
    LeaveRowUnfiled,
    /// 33: a merge of lists drops rows that only memory knows to be dead.
    MergeListsByMemory,
    /// 34: a row is left out when a list segment is converted to a new model.
    ConvertTooFew,
    /// 35: a search looks at the lists of the newest model only.
    SearchNewestModelOnly,
    /// 36: an older model goes while list segments of it are left.
    DropOlderModelEarly,
    /// 37: a merge of lists takes the code of an entry from the lane beside it.
    MergeWrongLane,
}

#[cfg(any(test, feature = "testing"))]
mod switch {
    use std::cell::RefCell;

    use super::Bug;

    thread_local! {
        static ACTIVE: RefCell<Vec<Bug>> = const { RefCell::new(Vec::new()) };
    }

    /// Whether `bug` is switched on for this thread.
    pub fn is(bug: Bug) -> bool {
        ACTIVE.with_borrow(|active| active.contains(&bug))
    }

    /// Runs `work` with `bug` switched on, on top of those that already are. A panic switches it off as well.
    pub fn with<T>(bug: Bug, work: impl FnOnce() -> T) -> T {
        let mut bugs = current();
        bugs.push(bug);
        carry(bugs, work)
    }

    /// The bugs switched on for this thread, for `carry`.
    pub fn current() -> Vec<Bug> {
        ACTIVE.with_borrow(Vec::clone)
    }

    /// Runs `work` with exactly `bugs` switched on: the way to take [`current`] to another thread.
    pub fn carry<T>(bugs: Vec<Bug>, work: impl FnOnce() -> T) -> T {
        let _restore = Restore(ACTIVE.replace(bugs));
        work()
    }

    /// `work` for another thread, with the bugs that are switched on here.
    pub fn carrying<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
        let bugs = current();
        move || carry(bugs, work)
    }

    struct Restore(Vec<Bug>);

    impl Drop for Restore {
        fn drop(&mut self) {
            ACTIVE.set(std::mem::take(&mut self.0));
        }
    }
}

#[cfg(any(test, feature = "testing"))]
pub use switch::{carry, carrying, current, is, with};

/// Always `false`: bugs can be planted only with the feature `testing`.
#[cfg(not(any(test, feature = "testing")))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}

/// The work as it is.
#[cfg(not(any(test, feature = "testing")))]
#[inline(always)]
pub fn carrying<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    work
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_on_inside_its_closure_on_its_thread_only() {
        assert!(!is(Bug::SkipWalSync));
        with(Bug::SkipWalSync, || {
            assert!(is(Bug::SkipWalSync) && !is(Bug::AckBeforeSync));
            with(Bug::AckBeforeSync, || assert!(is(Bug::SkipWalSync) && is(Bug::AckBeforeSync)));
            assert!(!is(Bug::AckBeforeSync));
            let bugs = current();
            std::thread::scope(|scope| {
                scope.spawn(|| assert!(!is(Bug::SkipWalSync)));
                scope.spawn(|| carry(bugs, || assert!(is(Bug::SkipWalSync))));
            });
        });
        assert!(!is(Bug::SkipWalSync));
    }

    #[test]
    fn a_panic_switches_the_bug_off() {
        let outcome = std::panic::catch_unwind(|| with(Bug::AcceptBadCrc, || panic!("oracle failed")));
        assert!(outcome.is_err() && !is(Bug::AcceptBadCrc));
    }
}
