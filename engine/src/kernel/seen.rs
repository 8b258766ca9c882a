//! Which keys a query has met already: a vector stands in two lists and must be scored once.

/// A set of 64-bit keys that is emptied in no time: every slot remembers in which epoch it was filled.
///
/// Open addressing, at most half full; it grows when a query needs more and keeps its size for the next.
pub struct SeenSet {
    slots: Vec<Slot>,
    epoch: u32,
    len: usize,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    key: u64,
    /// The slot is in use if this is the epoch of the set.
    epoch: u32,
}

/// Slots at the start: enough for the survivors of an ordinary query.
const FIRST_SLOTS: usize = 1024;

impl Default for SeenSet {
    fn default() -> Self {
        SeenSet::new()
    }
}

impl SeenSet {
    /// Nothing seen.
    pub fn new() -> Self {
        SeenSet { slots: vec![Slot::default(); FIRST_SLOTS], epoch: 1, len: 0 }
    }

    /// Forgets every key. Constant time, but for once in 2^32 calls.
    pub fn clear(&mut self) {
        self.len = 0;
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.slots.fill(Slot::default());
            self.epoch = 1;
        }
    }

    /// How many keys were seen since the last [`clear`](SeenSet::clear).
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `key` was seen.
    #[inline]
    pub fn has(&self, key: u64) -> bool {
        self.find(key).1
    }

    /// Notes `key`; true if it was not seen before.
    #[inline]
    pub fn insert(&mut self, key: u64) -> bool {
        if 2 * self.len >= self.slots.len() {
            self.grow();
        }
        let (at, found) = self.find(key);
        if !found {
            self.slots[at] = Slot { key, epoch: self.epoch };
            self.len += 1;
        }
        !found
    }

    /// The slot of `key`, or the free one where it belongs.
    #[inline]
    fn find(&self, key: u64) -> (usize, bool) {
        let mask = self.slots.len() - 1;
        let mut at = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.epoch != self.epoch || slot.key == key {
                return (at, slot.epoch == self.epoch);
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let room = vec![Slot::default(); self.slots.len() * 2];
        let old = std::mem::replace(&mut self.slots, room);
        for slot in old.into_iter().filter(|slot| slot.epoch == self.epoch) {
            let (at, _) = self.find(slot.key);
            self.slots[at] = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_key_is_new_once_until_all_are_forgotten() {
        let mut seen = SeenSet::new();
        for round in 0..3_u64 {
            let mut expected = HashSet::new();
            for i in 0..5000_u64 {
                let key = ((i * 7919 + round) % 3000) << (i % 40);
                assert_eq!(seen.has(key), expected.contains(&key));
                assert_eq!(seen.insert(key), expected.insert(key));
                assert_eq!(seen.len(), expected.len());
            }
            seen.clear();
            assert!(seen.is_empty());
        }
    }

    #[test]
    fn keys_of_an_epoch_long_past_do_not_come_back_when_epochs_start_again() {
        let mut seen = SeenSet::new();
        seen.insert(5);
        seen.epoch = u32::MAX;
        seen.insert(6);
        seen.clear();
        assert!(seen.insert(5) && seen.insert(6));
    }
}
