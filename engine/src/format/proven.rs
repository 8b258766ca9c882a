//! Which pieces of a file have passed their check.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::sync::atomic::{AtomicU64, Ordering};

/// Words that stay in the fast caches: of as many pieces as 16 KiB have bits. To ask for those took longer than it saved.
const AT_HAND: usize = 2048;

/// One bit per piece, set once its checksum was found right. A droppable cache: a bit that another thread does not see yet
/// only makes it check again, so relaxed order is enough.
pub struct ProvenBits(Box<[AtomicU64]>);

impl ProvenBits {
    /// `count` clear bits. The caller has proven that `count` pieces fit into the file.
    pub fn new(count: usize) -> Self {
        ProvenBits((0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// The bits `64 * word ..`.
    #[inline]
    pub fn word(&self, word: usize) -> u64 {
        self.0.get(word).map_or(0, |bits| bits.load(Ordering::Relaxed))
    }

    /// Sets the bits of `mask` among `64 * word ..`.
    pub fn set_word(&self, word: usize, mask: u64) {
        if let Some(bits) = self.0.get(word) {
            bits.fetch_or(mask, Ordering::Relaxed);
        }
    }

    /// Sets all bits.
    pub fn set_all(&self) {
        self.0.iter().for_each(|bits| bits.store(u64::MAX, Ordering::Relaxed));
    }

    /// What [`has`](ProvenBits::has) looks at for one piece, to be asked for: nothing if the bits are few enough to be at hand.
    #[inline]
    pub fn ahead(&self, piece: usize) -> &[AtomicU64] {
        let word = piece / 64;
        match self.0.len() > AT_HAND {
            true => self.0.get(word..word.saturating_add(1)).unwrap_or_default(),
            false => &[],
        }
    }

    /// Whether the bit of one piece is set.
    #[inline]
    pub fn has(&self, piece: usize) -> bool {
        self.word(piece / 64) >> (piece % 64) & 1 == 1
    }

    /// Sets the bit of one piece.
    pub fn set(&self, piece: usize) {
        self.set_word(piece / 64, 1 << (piece % 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_independent_and_bits_past_the_end_stay_clear() {
        let bits = ProvenBits::new(70);
        bits.set(3);
        bits.set(69);
        bits.set(1_000);
        let set: Vec<usize> = (0..2_000).filter(|i| bits.has(*i)).collect();
        assert_eq!(set, [3, 69]);
        assert_eq!((bits.word(0), bits.word(1), bits.word(2)), (8, 32, 0));
        bits.set_all();
        assert!((0..70).all(|i| bits.has(i)) && !bits.has(128));
    }
}
