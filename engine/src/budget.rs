//! One account of memory for everything that a handle holds: counters that holders add to and take from. No locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// Who holds memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Rows and kills that are not in files yet, also those that only snapshots still hold.
    Delta,
    /// Batches that are being filled or committed.
    Batches,
    /// What is known of the rows of files: one bit each for proven, dead, and perhaps dead.
    Files,
    /// Flushes at work.
    Flush,
    /// Merges at work.
    Compaction,
    /// Bulk loads at work.
    BulkLoad,
    /// Searches at work.
    Search,
}

const SHARES: usize = 7;

/// Bytes held by each share, beside the one number that all of them together must not pass.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: Option<u64>,
    total: AtomicU64,
    shares: [AtomicU64; SHARES],
    peak: AtomicU64,
}

impl Budget {
    /// An account with a limit, or one that only counts.
    pub(crate) fn new(limit: Option<u64>) -> Arc<Budget> {
        Arc::new(Budget { limit, total: AtomicU64::new(0), shares: Default::default(), peak: AtomicU64::new(0) })
    }

    pub(crate) fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Bytes held by all.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// The most that was held at one time.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Bytes held by one.
    pub(crate) fn held(&self, share: Share) -> u64 {
        self.shares[share as usize].load(Ordering::Relaxed)
    }

    /// Room for bytes that are not there yet.
    ///
    /// # Errors
    /// `OverBudget` if they do not fit.
    pub(crate) fn reserve(self: &Arc<Self>, share: Share, bytes: u64) -> Result<Charge> {
        let mut charge = self.charge(share, 0);
        charge.reserve(bytes)?;
        Ok(charge)
    }

    /// Counts bytes that are there, or cannot be done without.
    pub(crate) fn charge(self: &Arc<Self>, share: Share, bytes: u64) -> Charge {
        self.add(share, bytes);
        Charge { budget: Some(self.clone()), share, bytes }
    }

    fn add(&self, share: Share, bytes: u64) {
        let total = self.total.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
        self.shares[share as usize].fetch_add(bytes, Ordering::Relaxed);
        self.peak.fetch_max(total, Ordering::Relaxed);
    }

    fn take(&self, share: Share, bytes: u64) {
        self.total.fetch_sub(bytes, Ordering::Relaxed);
        self.shares[share as usize].fetch_sub(bytes, Ordering::Relaxed);
    }

    fn refusal(&self, share: Share, bytes: u64) -> Error {
        let (limit, held) = (self.limit.unwrap_or(u64::MAX), self.total());
        let who = match share {
            Share::Delta | Share::Batches => "the batch",
            Share::Files => "the collection's files",
            Share::Flush => "the flush",
            Share::Compaction => "the merge",
            Share::BulkLoad => "the load",
            Share::Search => "the search",
        };
        Error::new(
            ErrorKind::OverBudget,
            format!("{who} needs {bytes} more bytes of memory; memory_budget is {limit}, of which {held} are in use"),
        )
        .with_hint("try again when other work has ended, or open the collection with a larger memory_budget")
    }
}

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Option<Arc<Budget>>,
    share: Share,
    bytes: u64,
}

impl Charge {
    /// Counted nowhere.
    pub(crate) fn none() -> Charge {
        Charge { budget: None, share: Share::Delta, bytes: 0 }
    }

    /// Another charge of the same share of the same account.
    pub(crate) fn another(&self, bytes: u64) -> Charge {
        match &self.budget {
            Some(budget) => budget.charge(self.share, bytes),
            None => Charge::none(),
        }
    }

    /// Whether it is counted in this account.
    pub(crate) fn is_of(&self, budget: &Arc<Budget>) -> bool {
        self.budget.as_ref().is_some_and(|own| Arc::ptr_eq(own, budget))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes it so many bytes, whether they fit or not.
    pub(crate) fn set(&mut self, bytes: u64) {
        if let Some(budget) = &self.budget {
            match bytes.checked_sub(self.bytes) {
                Some(more) => budget.add(self.share, more),
                None => budget.take(self.share, self.bytes - bytes),
            }
            self.bytes = bytes;
        }
    }

    /// Adds room for bytes that are not there yet.
    ///
    /// # Errors
    /// `OverBudget` if they do not fit; then nothing is added.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<()> {
        let Some(budget) = &self.budget else { return Ok(()) };
        if let Some(limit) = budget.limit {
            let fits = |held: u64| held.checked_add(bytes).filter(|total| *total <= limit);
            let Ok(held) = budget.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) else {
                return Err(budget.refusal(self.share, bytes));
            };
            budget.shares[self.share as usize].fetch_add(bytes, Ordering::Relaxed);
            budget.peak.fetch_max(held + bytes, Ordering::Relaxed);
        } else {
            budget.add(self.share, bytes);
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.take(self.share, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_dropped_makes_room() {
        let budget = Budget::new(Some(1000));
        let first = budget.reserve(Share::Batches, 700).unwrap();
        let error = budget.reserve(Share::Search, 301).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OverBudget);
        assert!(error.to_string().contains("memory_budget is 1000, of which 700"), "{error}");
        assert_eq!((budget.total(), budget.held(Share::Search)), (700, 0));
        let mut second = budget.reserve(Share::Search, 300).unwrap();
        assert!(second.reserve(1).is_err());
        drop(first);
        second.reserve(700).unwrap();
        assert_eq!((budget.total(), budget.held(Share::Search), budget.peak()), (1000, 1000, 1000));
        second.set(10);
        let third = second.another(5);
        assert_eq!(budget.held(Share::Search), 15);
        drop((second, third));
        assert_eq!(budget.total(), 0);
    }

    #[test]
    fn what_is_there_is_counted_even_beyond_the_limit() {
        let budget = Budget::new(Some(10));
        let charge = budget.charge(Share::Delta, 50);
        assert!(budget.reserve(Share::Search, 1).is_err());
        drop(charge);
        assert!(budget.reserve(Share::Search, 1).is_ok());
        let unlimited = Budget::new(None);
        assert!(unlimited.reserve(Share::Search, u64::MAX / 2).is_ok());
    }

    #[test]
    fn threads_that_reserve_at_once_never_pass_the_limit_together() {
        let budget = Budget::new(Some(100));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let charge = budget.reserve(Share::Search, 40);
                        assert!(charge.is_err() || budget.total() <= 100);
                    }
                });
            }
        });
        assert!(budget.total() == 0 && budget.peak() <= 100);
    }
}
