//! A blocked Bloom filter over id keys: one 64-byte block answers "certainly not here" for most absent keys (Putze, Sanders and
//! Singler, "Cache-, hash- and space-efficient Bloom filters", 2007).
//!
//! The block is chosen by the high bits of the key, so a table that is written in key order fills its blocks in order, and sorted
//! look-ups read them in order. Seven bits within the block come from a second mix of the key.

use crate::format::mix64;

/// Bytes of one block.
pub(super) const FILTER_BLOCK_BYTES: usize = 64;
/// Bits of filter for each key, before rounding up to blocks.
const BITS_PER_KEY: u64 = 10;
const BLOCK_BITS: u64 = 8 * FILTER_BLOCK_BYTES as u64;
/// Bits set for each key.
const PROBES: u32 = 7;

/// Blocks of a filter for this many keys.
pub(super) fn filter_blocks(keys: u64) -> u64 {
    keys.saturating_mul(BITS_PER_KEY).div_ceil(BLOCK_BITS).max(1)
}

/// The block of a key: ascending with the key.
pub(super) fn filter_block_of(key: u64, blocks: u64) -> u64 {
    ((u128::from(key) * u128::from(blocks)) >> 64) as u64
}

/// The bits of a key within its block: word `i` holds bits `64 * i ..`.
fn bits_of(key: u64) -> [u64; 8] {
    let mixed = mix64(key);
    let mut words = [0u64; 8];
    for probe in 0..PROBES {
        let bit = mixed >> (9 * probe) & (BLOCK_BITS - 1);
        if let Some(word) = words.get_mut((bit / 64) as usize) {
            *word |= 1 << (bit % 64);
        }
    }
    words
}

/// Whether a block may hold a key.
pub(super) fn filter_block_has(block: &[u8], key: u64) -> bool {
    bits_of(key)
        .iter()
        .zip(block.chunks_exact(8))
        .all(|(bits, word)| word.first_chunk::<8>().is_some_and(|word| u64::from_le_bytes(*word) & bits == *bits))
}

/// Fills the blocks of ascending keys, one after the other.
pub(super) struct FilterEncoder {
    blocks: u64,
    at: u64,
    words: [u64; 8],
}

impl FilterEncoder {
    pub(super) fn new(keys: u64) -> Self {
        FilterEncoder { blocks: filter_blocks(keys), at: 0, words: [0; 8] }
    }

    /// Adds a key that is no smaller than the one before; `out` is given each block that is complete.
    pub(super) fn push<E>(&mut self, key: u64, mut out: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.advance(filter_block_of(key, self.blocks), &mut out)?;
        self.words.iter_mut().zip(bits_of(key)).for_each(|(word, bits)| *word |= bits);
        Ok(())
    }

    /// Gives the blocks that are left.
    pub(super) fn finish<E>(mut self, mut out: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let blocks = self.blocks;
        self.advance(blocks, &mut out)
    }

    fn advance<E>(&mut self, block: u64, out: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        while self.at < block {
            out(self.words.map(u64::to_le_bytes).as_flattened())?;
            self.words = [0; 8];
            self.at += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(keys: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = FilterEncoder::new(keys.len() as u64);
        let mut put = |block: &[u8]| {
            bytes.extend_from_slice(block);
            Ok::<(), ()>(())
        };
        keys.iter().for_each(|key| encoder.push(*key, &mut put).unwrap());
        encoder.finish(&mut put).unwrap();
        bytes
    }

    fn has(bytes: &[u8], key: u64) -> bool {
        let block = filter_block_of(key, (bytes.len() / 64) as u64) as usize;
        filter_block_has(&bytes[block * 64..][..64], key)
    }

    /// [IDT-5]
    #[test]
    fn no_key_is_missed_and_few_absent_ones_pass() {
        for count in [1u64, 51, 52, 5_000, 100_000] {
            let mut keys: Vec<u64> = (0..count).map(mix64).collect();
            keys.sort_unstable();
            let bytes = filter(&keys);
            assert_eq!(bytes.len() as u64, filter_blocks(count) * 64);
            assert!(keys.iter().all(|key| has(&bytes, *key)));
            let passed = (count..count + 100_000).filter(|id| has(&bytes, mix64(*id))).count();
            assert!(passed < 2_500, "{passed} of 100,000 absent ids pass a filter of {count} keys");
        }
    }
}
