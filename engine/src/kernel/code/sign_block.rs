//! Sign bits of 32 entries side by side, in the one order all machines read.
//!
//! A block holds 16 bytes per group of four components, groups in order: `P / 4 * 16 = 4 P` bytes. Byte `j` of a group holds
//! the nibbles of two entries: `entry[j]` in its lower half, `entry[j] + 16` in its upper half, where `entry` = 0 8 1 9 2 10 3 11
//! 4 12 5 13 6 14 7 15. Bit 3 of a nibble is the sign of the group's first component. With this order one 16-byte shuffle looks
//! up a group for 16 entries on every instruction set (SSSE3, AVX2, AVX-512, NEON), and adding the even and the odd bytes as
//! 16-bit words leaves entries 0 to 7 in one register and 8 to 15 in another.
//!
//! The rival, four groups of one entry side by side for the 64-byte shuffle of AVX-512 VBMI, was measured against it (numbers
//! in `format-spec/codes.md`): a third faster there while in cache, equal from memory, and almost twice as slow on AVX2.

use super::residual::{Coded, SignFactors};

/// Entries per block.
pub const BLOCK: usize = 32;
/// Bytes of the first-stage factors of a block: 32 words of `F`, then 32 words of `fr`.
pub const FACTOR_BYTES: usize = BLOCK * 4;

/// The entry whose nibble is the lower half of byte `j`; the upper half is 16 further on.
pub(in crate::kernel) const ENTRY: [usize; 16] = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15];

/// Bytes of the signs of one block.
pub fn block_bytes(padded: usize) -> usize {
    padded * 4
}

/// Writes the signs of `entry` (`P / 8` bytes as in [`Coded::signs`]) into its lane of a block of `4 P` bytes.
pub fn put_signs(block: &mut [u8], lane: usize, signs: &[u8]) {
    // The lowest bit of a byte is the first component, which is the highest bit of its nibble.
    let nibbles = signs.iter().map(|byte| byte.reverse_bits()).flat_map(|byte| [byte >> 4, byte & 15]);
    put_nibbles(block, lane, nibbles);
}

/// Writes a nibble per group into a lane of a block.
pub fn put_nibbles(block: &mut [u8], lane: usize, nibbles: impl IntoIterator<Item = u8>) {
    let (byte, shift) = place(lane);
    for (group, nibble) in block.as_chunks_mut::<16>().0.iter_mut().zip(nibbles) {
        group[byte] = group[byte] & !(15 << shift) | (nibble & 15) << shift;
    }
}

/// Reads back what [`put_signs`] wrote.
pub fn take_signs(block: &[u8], lane: usize, signs: &mut Vec<u8>) {
    let (byte, shift) = place(lane);
    signs.clear();
    signs.extend(block.as_chunks::<32>().0.iter().map(|pair| {
        let nibble = |group: usize| pair[group * 16 + byte] >> shift & 15;
        (nibble(0) << 4 | nibble(1)).reverse_bits()
    }));
}

/// Writes the first-stage factors of a lane into the [`FACTOR_BYTES`] of its block.
pub fn put_factors(bytes: &mut [u8; FACTOR_BYTES], lane: usize, factors: SignFactors) {
    bytes[2 * lane..2 * lane + 2].copy_from_slice(&factors.add.to_le_bytes());
    bytes[64 + 2 * lane..64 + 2 * lane + 2].copy_from_slice(&factors.rescale.to_le_bytes());
}

/// Reads back what [`put_factors`] wrote.
pub fn take_factors(bytes: &[u8; FACTOR_BYTES], lane: usize) -> SignFactors {
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    SignFactors { add: word(2 * lane), rescale: word(64 + 2 * lane) }
}

/// `F`, in units of the model, and `fr` of the entry at `position` of a list; zeros if there is no such entry.
pub fn first_stage_factors(factors: &[u8], position: usize) -> (f32, f32) {
    let block = factors.as_chunks::<FACTOR_BYTES>().0.get(position / BLOCK);
    let stored = block.map_or(SignFactors::default(), |block| take_factors(block, position % BLOCK));
    (half::f16::from_bits(stored.add).to_f32(), half::bf16::from_bits(stored.rescale).to_f32())
}

/// Appends the blocks and factors of `entries`, the last block filled up with zeros.
pub fn append_blocks<'a>(
    padded: usize,
    entries: impl IntoIterator<Item = &'a Coded>,
    codes: &mut Vec<u8>,
    factors: &mut Vec<u8>,
) {
    for (i, entry) in entries.into_iter().enumerate() {
        if i.is_multiple_of(BLOCK) {
            codes.resize(codes.len() + block_bytes(padded), 0);
            factors.resize(factors.len() + FACTOR_BYTES, 0);
        }
        let start = codes.len() - block_bytes(padded);
        put_signs(&mut codes[start..], i % BLOCK, &entry.signs);
        if let Some(block) = factors.last_chunk_mut::<FACTOR_BYTES>() {
            put_factors(block, i % BLOCK, entry.sign_factors);
        }
    }
}

/// Byte of a lane within each group, and the shift of its nibble there.
fn place(lane: usize) -> (usize, u32) {
    let byte = ENTRY.iter().position(|entry| *entry == lane % 16).unwrap_or(0);
    (byte, if lane % BLOCK < 16 { 0 } else { 4 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::SplitMix64;

    #[test]
    fn every_lane_comes_back_and_leaves_the_others_alone() {
        let mut generator = SplitMix64::new(4);
        for padded in [64, 192] {
            let all: Vec<Vec<u8>> =
                (0..BLOCK).map(|_| (0..padded / 8).map(|_| generator.next_u64() as u8).collect()).collect();
            let mut block = vec![0xA5; block_bytes(padded)];
            for lane in (0..BLOCK).rev() {
                put_signs(&mut block, lane, &all[lane]);
            }
            let mut signs = Vec::new();
            for (lane, expected) in all.iter().enumerate() {
                take_signs(&block, lane, &mut signs);
                assert_eq!(&signs, expected, "lane {lane}");
            }
        }
    }

    #[test]
    fn the_first_component_is_the_highest_bit_of_the_first_byte_of_its_entry() {
        let mut block = vec![0; block_bytes(64)];
        put_signs(&mut block, 8, &[1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(block.iter().position(|b| *b != 0), Some(1));
        assert_eq!(block[1], 0x08);
        put_signs(&mut block, 24, &[0b10_0000, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(block[17], 0x40);
    }

    #[test]
    fn factors_of_all_lanes_come_back() {
        let mut bytes = [0; FACTOR_BYTES];
        let factors = |lane: usize| SignFactors { add: lane as u16 * 257, rescale: !(lane as u16) };
        for lane in 0..BLOCK {
            put_factors(&mut bytes, lane, factors(lane));
        }
        for lane in 0..BLOCK {
            assert_eq!(take_factors(&bytes, lane), factors(lane));
        }
    }
}
