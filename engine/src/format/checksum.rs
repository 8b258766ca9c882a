//! CRC-32 bound to a place: every checksum is started from the file's identity and the unit's position, so a block that
//! lands in the wrong file or at the wrong offset fails like a damaged one.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use crate::format::mix64;
use crate::planted::{self, Bug};

/// The 32-bit start value of a file's checksums, from its 128-bit id.
pub fn file_seed(file_id: u128) -> u32 {
    if planted::is(Bug::CrcWithoutFileId) {
        return 0;
    }
    let mixed = mix64((file_id >> 64) as u64 ^ mix64(file_id as u64));
    (mixed >> 32) as u32
}

/// The start value for the unit at `offset` of a file: two units of one file below 32 GiB apart never share one.
pub fn unit_seed(file_seed: u32, offset: u64) -> u32 {
    file_seed ^ (offset >> 3) as u32 ^ (offset >> 35) as u32
}

/// CRC-32 (IEEE, reflected, as zlib's `crc32`) of `bytes`, continued from `seed`.
pub fn crc32(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// The checksum of a unit: `bytes` at `offset` of the file with `file_seed`.
pub fn unit_crc(file_seed: u32, offset: u64, bytes: &[u8]) -> u32 {
    crc32(unit_seed(file_seed, offset), bytes)
}

/// Whether a checksum that was computed is the one that was stored.
pub fn matches(found: u32, stored: u32) -> bool {
    found == stored || planted::is(Bug::AcceptBadCrc)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with zlib's `crc32` and the formulas of `format-spec/container.md` alone.
    #[test]
    fn checksums_are_those_of_the_specification() {
        let seed = file_seed(7 << 64 | 99);
        assert_eq!((mix64(0), seed), (0xe220a8397b1dcdaf, 0x635e12c6));
        assert_eq!(unit_seed(seed, 0x12_3456_7890), 0x25d4ddd6);
        assert_eq!(unit_crc(seed, 0x12_3456_7890, b"stratavec"), 0x5e0fec0f);
        assert_eq!(crc32(crc32(5, b"strata"), b"vec"), crc32(5, b"stratavec"));
    }
}
