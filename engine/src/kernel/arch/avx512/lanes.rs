//! Sixteen f32 in one register.

use std::arch::x86_64::*;

use crate::kernel::lanes::{LANES, Lanes};

/// Proof that AVX-512 F, BW, DQ and VL may be used.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The machine has AVX-512 F, BW, DQ and VL.
    #[inline(always)]
    pub(super) unsafe fn assume() -> Self {
        Avx512(())
    }
}

/// Defines methods by one intrinsic expression each; see `assume` for why that is sound.
macro_rules! by_intrinsic {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty = $body:expr;)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($argument: $type),*) -> $result {
                // SAFETY: `self` exists only where the instructions do; memory is accessed through references of the right length.
                unsafe { $body }
            }
        )*
    };
}

impl Lanes for Avx512 {
    type Vector = __m512;
    type Mask = __mmask16;

    #[inline(always)]
    fn bits(self, mask: __mmask16) -> u16 {
        mask
    }

    by_intrinsic! {
        fn splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        fn load(from: &[f32; LANES]) -> __m512 = _mm512_loadu_ps(from.as_ptr());
        fn store(x: __m512, to: &mut [f32; LANES]) -> () = _mm512_storeu_ps(to.as_mut_ptr(), x);
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        fn max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        fn abs(x: __m512) -> __m512 = _mm512_abs_ps(x);
        fn floor(x: __m512) -> __m512 = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(x);
        fn nearest(x: __m512) -> __m512 = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
        fn not_negative(x: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, _mm512_setzero_ps());
        fn at_most(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b);
        fn select(mask: __mmask16, a: __m512, b: __m512) -> __m512 = _mm512_mask_blend_ps(mask, b, a);
        fn negate(x: __m512) -> __m512 = _mm512_xor_ps(x, _mm512_set1_ps(-0.0));
        fn low_bytes(x: __m512) -> [u8; LANES] = {
            let mut bytes = [0; LANES];
            _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(x)));
            bytes
        };
        fn fold(x: __m512) -> f32 = {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        };
        fn hadamard(x: __m512) -> __m512 = {
            // Lane j + h becomes x[j] - x[j + h]: its neighbour plus its own negation.
            let minus = _mm512_set1_ps(-0.0);
            let x = _mm512_add_ps(_mm512_permute_ps::<0b10_11_00_01>(x), _mm512_mask_xor_ps(x, 0xAAAA, x, minus));
            let x = _mm512_add_ps(_mm512_permute_ps::<0b01_00_11_10>(x), _mm512_mask_xor_ps(x, 0xCCCC, x, minus));
            let x = _mm512_add_ps(_mm512_shuffle_f32x4::<0b10_11_00_01>(x, x), _mm512_mask_xor_ps(x, 0xF0F0, x, minus));
            _mm512_add_ps(_mm512_shuffle_f32x4::<0b01_00_11_10>(x, x), _mm512_mask_xor_ps(x, 0xFF00, x, minus))
        };
    }
}
