//! Clustering with AVX2 and FMA: six rows by sixteen centroids, twelve registers of sums.

use std::arch::x86_64::*;

use crate::kernel::arch::cluster::cluster_functions;
use crate::kernel::cluster::coarse::{Bytewise, QUAD};
use crate::kernel::cluster::tile::Fused;
use crate::kernel::lanes::LANES;

use super::lanes::Avx2;

impl Fused for Avx2 {
    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: `self` exists only where the instructions do; arithmetic on registers.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
}

impl Bytewise for Avx2 {
    type Sums = [__m256i; 2];

    #[inline(always)]
    fn no_sums(self) -> [__m256i; 2] {
        // SAFETY: `self` exists only where the instructions do; arithmetic on registers.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    fn add_products(self, sums: [__m256i; 2], row: [u8; QUAD], line: &[i8; QUAD * LANES]) -> [__m256i; 2] {
        // SAFETY: `self` exists only where the instructions do; a line has 64 bytes, and loads need no alignment.
        unsafe {
            let (row, ones) = (_mm256_set1_epi32(i32::from_le_bytes(row)), _mm256_set1_epi16(1));
            let line = line.as_ptr().cast::<__m256i>();
            // Two products of a byte below 128 and one above -128 are no more than 16 bits hold.
            let low = _mm256_madd_epi16(_mm256_maddubs_epi16(row, _mm256_loadu_si256(line)), ones);
            let high = _mm256_madd_epi16(_mm256_maddubs_epi16(row, _mm256_loadu_si256(line.add(1))), ones);
            [_mm256_add_epi32(sums[0], low), _mm256_add_epi32(sums[1], high)]
        }
    }

    #[inline(always)]
    fn to_numbers(self, sums: [__m256i; 2]) -> Self::Vector {
        // SAFETY: `self` exists only where the instructions do; arithmetic on registers.
        unsafe { [_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])] }
    }
}

cluster_functions!(Avx2::assume(), 6, 1; #[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]);
