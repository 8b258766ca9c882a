//! The Hadamard transform: distances 1 to 8 inside registers, longer ones in memory.

use std::arch::x86_64::*;

use crate::kernel::rotation;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) fn hadamard(vector: &mut [f32]) {
    for sixteen in vector.as_chunks_mut::<16>().0 {
        let at = sixteen.as_mut_ptr();
        // SAFETY: `at` points to sixteen floats.
        let mut x = unsafe { _mm512_loadu_ps(at) };
        // Lane j + h becomes x[j] - x[j + h]: its neighbour plus its own negation.
        x = _mm512_add_ps(_mm512_permute_ps::<0b10_11_00_01>(x), negate(x, 0xAAAA));
        x = _mm512_add_ps(_mm512_permute_ps::<0b01_00_11_10>(x), negate(x, 0xCCCC));
        x = _mm512_add_ps(_mm512_shuffle_f32x4::<0b10_11_00_01>(x, x), negate(x, 0xF0F0));
        x = _mm512_add_ps(_mm512_shuffle_f32x4::<0b01_00_11_10>(x, x), negate(x, 0xFF00));
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(at, x) };
    }
    rotation::hadamard_from(vector, 16);
}

/// `x` with the sign of the lanes in `mask` flipped.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
fn negate(x: __m512, mask: __mmask16) -> __m512 {
    _mm512_mask_xor_ps(x, mask, x, _mm512_set1_ps(-0.0))
}
