//! File contents that forks share until one of them writes, and the 128-bit hash that tells crash images apart.

use std::sync::{Arc, OnceLock};

/// Bytes with their hash, computed when first asked for and kept until the bytes change.
#[derive(Clone, Default)]
pub(super) struct FileBytes {
    bytes: Vec<u8>,
    hash: OnceLock<u128>,
}

/// A shared content. Cloning it copies nothing.
pub(super) type Content = Arc<FileBytes>;

impl FileBytes {
    pub(super) fn content(bytes: Vec<u8>) -> Content {
        Arc::new(FileBytes { bytes, hash: OnceLock::new() })
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn hash(&self) -> u128 {
        *self.hash.get_or_init(|| hash_bytes(&self.bytes))
    }

    /// The bytes for writing, copied first if another fork shows them too.
    pub(super) fn edit(content: &mut Content) -> &mut Vec<u8> {
        let inner = Arc::make_mut(content);
        inner.hash = OnceLock::new();
        &mut inner.bytes
    }
}

/// A running 128-bit hash: two words, each step one widening multiplication whose factors also enter by themselves, so
/// that a zero factor loses nothing. Not for hostile input; its only use is to recognise an image seen before.
#[derive(Clone, Copy)]
pub(super) struct Hash128 {
    a: u64,
    b: u64,
}

impl Hash128 {
    pub(super) const fn new() -> Hash128 {
        Hash128 { a: 0x9e37_79b9_7f4a_7c15, b: 0xd1b5_4a32_d192_ed03 }
    }

    pub(super) fn words(&mut self, x: u64, y: u64) {
        let product = u128::from(self.a ^ x).wrapping_mul(u128::from(self.b ^ y));
        let (low, high) = (product as u64, (product >> 64) as u64);
        (self.a, self.b) =
            ((low ^ self.b.rotate_left(29)).wrapping_add(y), (high ^ self.a.rotate_left(41)).wrapping_add(x));
    }

    pub(super) fn wide(&mut self, value: u128) {
        self.words(value as u64, (value >> 64) as u64);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let (pairs, rest) = bytes.as_chunks::<16>();
        for pair in pairs {
            self.wide(u128::from_le_bytes(*pair));
        }
        let mut tail = [0u8; 16];
        tail[..rest.len()].copy_from_slice(rest);
        self.wide(u128::from_le_bytes(tail));
        self.words(bytes.len() as u64, 0x2545_f491_4f6c_dd1d);
    }

    pub(super) fn finish(mut self) -> u128 {
        self.words(0x94d0_49bb_1331_11eb, 0xbf58_476d_1ce4_e5b9);
        self.words(0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53);
        (u128::from(self.a) << 64) | u128::from(self.b)
    }
}

fn hash_bytes(bytes: &[u8]) -> u128 {
    let mut hash = Hash128::new();
    hash.bytes(bytes);
    hash.finish()
}

/// The splitmix64 sequence: the deterministic random source of the test kit.
pub(super) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_single_bit_and_every_length_changes_the_hash() {
        let base: Vec<u8> = (0..600u32).map(|i| (i * 7 + 1) as u8).collect();
        let mut seen = HashSet::new();
        for len in 0..base.len() {
            assert!(seen.insert(hash_bytes(&base[..len])));
            assert!(seen.insert(hash_bytes(&vec![0; len + 1])));
        }
        for bit in 0..base.len() * 8 {
            let mut flipped = base.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(hash_bytes(&flipped)), "bit {bit}");
        }
    }

    #[test]
    fn an_edit_is_seen_by_the_fork_that_made_it_only() {
        let mut one = FileBytes::content(b"abc".to_vec());
        let two = one.clone();
        let before = two.hash();
        FileBytes::edit(&mut one)[0] = b'x';
        assert_eq!((one.as_slice(), two.as_slice()), (&b"xbc"[..], &b"abc"[..]));
        assert_eq!(two.hash(), before);
        assert_ne!(one.hash(), before);
    }
}
