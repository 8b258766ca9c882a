//! Units that were read and proven, kept for the next reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::budget::{Budget, Charge, Share};

/// Bytes that are kept where no budget says less.
const MOST_BYTES: u64 = 16 << 20;
/// The part of a budget that units may take.
const PART_OF_BUDGET: u64 = 16;
/// Bytes of a typical entry: a unit.
const UNIT_BYTES: u64 = 4096;
/// Larger entries are not kept: rows read one by one are worth it, long runs are read once.
const MOST_ENTRY_BYTES: usize = 16 << 10;

/// One kept piece of a file.
struct Kept {
    file: u64,
    at: u64,
    bytes: Arc<[u8]>,
    _charge: Charge,
}

/// A bounded number of proven pieces of files, shared by all readers of a handle. Each piece has one slot where it can be, and
/// takes it over from whoever has it: no order to keep, and nobody ever waits. A slot that another thread is at counts as empty.
pub struct ReadCache {
    slots: Box<[Mutex<Option<Kept>>]>,
    budget: Arc<Budget>,
    files: AtomicU64,
}

impl ReadCache {
    /// An empty cache whose entries are counted in this account.
    pub(crate) fn new(budget: Arc<Budget>) -> ReadCache {
        let most = budget.limit().map_or(MOST_BYTES, |limit| (limit / PART_OF_BUDGET).min(MOST_BYTES));
        let slots = (0..most / UNIT_BYTES).map(|_| Mutex::new(None)).collect();
        ReadCache { slots, budget, files: AtomicU64::new(0) }
    }

    /// A number for a file that is being opened: no other file has it.
    pub(crate) fn new_file(&self) -> u64 {
        self.files.fetch_add(1, Ordering::Relaxed)
    }

    fn slot(&self, file: u64, at: u64) -> Option<&Mutex<Option<Kept>>> {
        let mixed = (file ^ at.rotate_left(20)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let index = ((u128::from(mixed) * self.slots.len() as u128) >> 64) as usize;
        self.slots.get(index)
    }

    /// The piece that starts at this place of a file, if it is kept.
    pub(crate) fn get(&self, file: u64, at: u64) -> Option<Arc<[u8]>> {
        let slot = self.slot(file, at)?.try_lock()?;
        slot.as_ref().filter(|kept| (kept.file, kept.at) == (file, at)).map(|kept| kept.bytes.clone())
    }

    /// Keeps a piece, if there is room for it.
    pub(crate) fn keep(&self, file: u64, at: u64, bytes: &Arc<[u8]>) {
        if bytes.len() > MOST_ENTRY_BYTES {
            return;
        }
        let Some(mut slot) = self.slot(file, at).and_then(|slot| slot.try_lock()) else { return };
        *slot = None;
        if let Ok(charge) = self.budget.reserve(Share::Files, bytes.len() as u64) {
            *slot = Some(Kept { file, at, bytes: bytes.clone(), _charge: charge });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_until_another_takes_its_slot_and_the_account_knows() {
        let budget = Budget::new(Some(1 << 20));
        let cache = ReadCache::new(budget.clone());
        let (one, other) = (cache.new_file(), cache.new_file());
        assert_ne!(one, other);
        let bytes: Arc<[u8]> = vec![7; 4096].into();
        cache.keep(one, 8192, &bytes);
        assert_eq!(cache.get(one, 8192).as_deref(), Some(&bytes[..]));
        assert_eq!((cache.get(other, 8192), cache.get(one, 0)), (None, None));
        assert_eq!(budget.held(Share::Files), 4096);
        for at in 0..1000 {
            cache.keep(other, at * 4096, &bytes);
        }
        assert_eq!(cache.get(other, 999 * 4096).as_deref(), Some(&bytes[..]));
        assert!(budget.held(Share::Files) <= (1 << 20) / PART_OF_BUDGET, "{}", budget.held(Share::Files));
        cache.keep(one, 0, &vec![0; MOST_ENTRY_BYTES + 1].into());
        assert_eq!(cache.get(one, 0), None);
        drop(cache);
        assert_eq!(budget.total(), 0);
    }

    #[test]
    fn without_room_in_the_account_nothing_is_kept() {
        let budget = Budget::new(Some(1 << 20));
        let cache = ReadCache::new(budget.clone());
        let _all = budget.reserve(Share::Search, 1 << 20).unwrap();
        cache.keep(0, 0, &vec![1; 100].into());
        assert_eq!(cache.get(0, 0), None);
    }
}
