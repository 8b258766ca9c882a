//! Clustering with AVX-512: eight rows by forty-eight centroids, twenty-four registers of sums.

use std::arch::x86_64::*;

use crate::kernel::arch::cluster::cluster_functions;
use crate::kernel::cluster::coarse::{Bytewise, QUAD};
use crate::kernel::cluster::tile::Fused;
use crate::kernel::lanes::LANES;

use super::lanes::Avx512;

impl Fused for Avx512 {
    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: `self` exists only where the instructions do; arithmetic on registers.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
}

impl Bytewise for Avx512 {
    type Sums = __m512i;

    #[inline(always)]
    fn no_sums(self) -> __m512i {
        // SAFETY: `self` exists only where the instructions do; arithmetic on registers.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn add_products(self, sums: __m512i, row: [u8; QUAD], line: &[i8; QUAD * LANES]) -> __m512i {
        // SAFETY: `self` exists only where the instructions do; a line has 64 bytes, and loads need no alignment.
        unsafe {
            let row = _mm512_set1_epi32(i32::from_le_bytes(row));
            _mm512_dpbusd_epi32(sums, row, _mm512_loadu_si512(line.as_ptr().cast()))
        }
    }

    #[inline(always)]
    fn to_numbers(self, sums: __m512i) -> Self::Vector {
        // SAFETY: `self` exists only where the instructions do; arithmetic on registers.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }
}

cluster_functions!(Avx512::assume(), 8, 3; #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,popcnt")]);
