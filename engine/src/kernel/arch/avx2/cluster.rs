//! Clustering with AVX2 and FMA: six rows by sixteen centroids, twelve registers of sums.

use std::arch::x86_64::*;

use crate::kernel::arch::cluster::cluster_functions;
use crate::kernel::cluster::tile::Fused;

use super::lanes::Avx2;

impl Fused for Avx2 {
    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: `self` exists only where the instructions do; arithmetic on registers.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
}

cluster_functions!(Avx2::assume(), 6, 1; #[target_feature(enable = "avx2,fma,f16c")]);
