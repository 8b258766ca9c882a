//! Clustering with AVX-512: eight rows by forty-eight centroids, twenty-four registers of sums.

use std::arch::x86_64::*;

use crate::kernel::arch::cluster::cluster_functions;
use crate::kernel::cluster::tile::Fused;

use super::lanes::Avx512;

impl Fused for Avx512 {
    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: `self` exists only where the instructions do; arithmetic on registers.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
}

cluster_functions!(Avx512::assume(), 8, 3; #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]);
