//! Bytes and types: how everything on disk is laid out, and how bytes from disk become values only after they were
//! proven. `format-spec/` describes the same byte for byte; `tests/format` compares the two.

pub mod attributes;
pub mod batch;
pub mod checksum;
pub mod code;
pub mod container;
pub mod facts;
pub mod index_kind;
mod key;
pub mod kind;
pub(crate) mod layout;
pub mod list;
pub mod log;
pub mod manifest;
pub mod model;
pub mod proven;
pub mod section;
pub mod sha256;
pub(crate) mod stated;
pub mod unit;
pub mod unit_encoder;
pub mod varint;

pub use facts::FileFacts;
pub use key::id_key;

/// The frozen 64-bit mixer (the finaliser of SplitMix64): a bijection of u64. Seeds of checksums and the order of id
/// tables depend on it, so it never changes.
pub const fn mix64(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The reverse of [`mix64`].
pub const fn unmix64(value: u64) -> u64 {
    let mut z = value;
    z = (z ^ (z >> 31) ^ (z >> 62)).wrapping_mul(0x3196_42B2_D24D_8EC3);
    z = (z ^ (z >> 27) ^ (z >> 54)).wrapping_mul(0x96DE_1B17_3F11_9089);
    z = z ^ (z >> 30) ^ (z >> 60);
    z.wrapping_sub(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixing_is_undone() {
        for value in (0..64).map(|bit| 1u64 << bit).chain(0..1000).chain([u64::MAX, 0x1234_5678_9ABC_DEF0]) {
            assert_eq!(unmix64(mix64(value)), value);
        }
    }
}
