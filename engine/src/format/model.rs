//! Records of a model: the frame that all codes of a collection share, and centroids.
//!
//! A centroid is kept as one byte per component and one step: `c_i = step * (byte_i - 127.5)`. That *is* the centroid, not an
//! approximation of it: vectors are coded relative to it, so nothing is lost but a little of the choice where it lies.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use zerocopy::little_endian::{F32, U32, U64};

use super::layout::layout;

layout! {
    /// In front of the mean in the section `frame`.
    pub struct FrameHead: 64 {
        dim: U32,
        padded: U32,
        seed: U64,
        rounds: U32,
        metric: U32,
        scale: F32,
        reserved: [u8; 36],
    }
}

layout! {
    /// Behind the bytes of a centroid.
    pub struct CentroidTail: 8 {
        norm_squared: F32,
        step: F32,
    }
}

layout! {
    /// In front of the codewords in the section `codebooks`.
    pub struct CodebookHead: 64 {
        parts: U32,
        size: U32,
        reserved: [u8; 56],
    }
}

/// Components that vectors are padded to a multiple of.
pub const COMPONENT_STEP: usize = 64;
/// Entries of a sign block.
pub const BLOCK_ENTRIES: usize = 32;
/// Bytes of the first-stage factors of a sign block.
pub const BLOCK_FACTOR_BYTES: usize = 128;
/// Rounds of the rotation.
pub const ROTATION_ROUNDS: u32 = 4;

/// Bytes between the starts of two centroids of `padded` components: whole cache lines.
pub const fn centroid_stride(padded: usize) -> usize {
    (padded + size_of::<CentroidTail>()).next_multiple_of(64)
}

/// Bytes of one block of centroid codes with its factors.
pub const fn code_block_bytes(padded: usize) -> usize {
    padded * 4 + BLOCK_FACTOR_BYTES
}

/// Whether a number can be the unit of stored factors: a power of two that is a normal number.
pub fn is_scale(scale: f32) -> bool {
    scale.is_normal() && scale > 0.0 && scale.to_bits() & 0x007F_FFFF == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_powers_of_two() {
        assert!([1.0, 0.5, 1024.0, 2e-38_f32.log2().ceil().exp2()].into_iter().all(is_scale));
        assert!(![0.0, -1.0, 3.0, f32::NAN, f32::INFINITY, 1e-45].into_iter().any(is_scale));
    }

    #[test]
    fn centroids_take_whole_cache_lines() {
        assert_eq!((centroid_stride(64), centroid_stride(384), centroid_stride(832)), (128, 448, 896));
        assert_eq!(code_block_bytes(384), 1664);
    }
}
