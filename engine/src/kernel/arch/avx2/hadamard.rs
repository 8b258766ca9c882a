//! The Hadamard transform: distances 1 to 4 inside registers, longer ones in memory.

use std::arch::x86_64::*;

use crate::kernel::rotation;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn hadamard(vector: &mut [f32]) {
    let minus = |a: bool, b: bool, c: bool| {
        let sign = |set: bool| if set { -0.0_f32 } else { 0.0 };
        _mm256_setr_ps(sign(false), sign(a), sign(b), sign(a ^ b), sign(c), sign(a ^ c), sign(b ^ c), sign(a ^ b ^ c))
    };
    let (odd, second, upper) = (minus(true, false, false), minus(false, true, false), minus(false, false, true));
    for eight in vector.as_chunks_mut::<8>().0 {
        let at = eight.as_mut_ptr();
        // SAFETY: `at` points to eight floats.
        let mut x = unsafe { _mm256_loadu_ps(at) };
        // Lane j + h becomes x[j] - x[j + h]: its neighbour plus its own negation.
        x = _mm256_add_ps(_mm256_permute_ps::<0b10_11_00_01>(x), _mm256_xor_ps(x, odd));
        x = _mm256_add_ps(_mm256_permute_ps::<0b01_00_11_10>(x), _mm256_xor_ps(x, second));
        x = _mm256_add_ps(_mm256_permute2f128_ps::<0x01>(x, x), _mm256_xor_ps(x, upper));
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(at, x) };
    }
    rotation::hadamard_from(vector, 8);
}
