//! Sixteen f32 in two registers.

use std::arch::x86_64::*;

use crate::kernel::lanes::{LANES, Lanes};

/// Proof that AVX2 may be used.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The machine has AVX2.
    #[inline(always)]
    pub(super) unsafe fn assume() -> Self {
        Avx2(())
    }
}

type Pair = [__m256; 2];

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

/// The transform within eight lanes.
#[inline(always)]
unsafe fn hadamard8(x: __m256) -> __m256 {
    // SAFETY: arithmetic on registers; the callers have AVX2.
    unsafe {
        // Lane j + h becomes x[j] - x[j + h]: its neighbour plus its own negation.
        let (p, m) = (0.0, -0.0);
        let odd = _mm256_xor_ps(x, _mm256_setr_ps(p, m, p, m, p, m, p, m));
        let x = _mm256_add_ps(_mm256_permute_ps::<0b10_11_00_01>(x), odd);
        let second = _mm256_xor_ps(x, _mm256_setr_ps(p, p, m, m, p, p, m, m));
        let x = _mm256_add_ps(_mm256_permute_ps::<0b01_00_11_10>(x), second);
        let upper = _mm256_xor_ps(x, _mm256_setr_ps(p, p, p, p, m, m, m, m));
        _mm256_add_ps(_mm256_permute2f128_ps::<0x01>(x, x), upper)
    }
}

impl Lanes for Avx2 {
    type Vector = Pair;
    type Mask = Pair;

    by_intrinsic! {
        fn splat(x: f32) -> Pair = [_mm256_set1_ps(x); 2];
        fn load(from: &[f32; LANES]) -> Pair = [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))];
        fn store(x: Pair, to: &mut [f32; LANES]) -> () = {
            _mm256_storeu_ps(to.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), x[1]);
        };
        fn add(a: Pair, b: Pair) -> Pair = [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])];
        fn sub(a: Pair, b: Pair) -> Pair = [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])];
        fn mul(a: Pair, b: Pair) -> Pair = [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])];
        fn min(a: Pair, b: Pair) -> Pair = [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])];
        fn max(a: Pair, b: Pair) -> Pair = [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])];
        fn abs(x: Pair) -> Pair = {
            let sign = _mm256_set1_ps(-0.0);
            [_mm256_andnot_ps(sign, x[0]), _mm256_andnot_ps(sign, x[1])]
        };
        fn floor(x: Pair) -> Pair = [_mm256_floor_ps(x[0]), _mm256_floor_ps(x[1])];
        fn nearest(x: Pair) -> Pair = {
            let nearest = |x| _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
            [nearest(x[0]), nearest(x[1])]
        };
        fn not_negative(x: Pair) -> Pair = {
            let zero = _mm256_setzero_ps();
            [_mm256_cmp_ps::<_CMP_GE_OQ>(x[0], zero), _mm256_cmp_ps::<_CMP_GE_OQ>(x[1], zero)]
        };
        fn at_most(a: Pair, b: Pair) -> Pair = [_mm256_cmp_ps::<_CMP_LE_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_LE_OQ>(a[1], b[1])];
        fn bits(mask: Pair) -> u16 = (_mm256_movemask_ps(mask[0]) | _mm256_movemask_ps(mask[1]) << 8) as u16;
        fn select(mask: Pair, a: Pair, b: Pair) -> Pair =
            [_mm256_blendv_ps(b[0], a[0], mask[0]), _mm256_blendv_ps(b[1], a[1], mask[1])];
        fn negate(x: Pair) -> Pair = {
            let sign = _mm256_set1_ps(-0.0);
            [_mm256_xor_ps(x[0], sign), _mm256_xor_ps(x[1], sign)]
        };
        fn low_bytes(x: Pair) -> [u8; LANES] = {
            let byte = _mm256_set1_epi32(0xFF);
            let first = _mm256_and_si256(_mm256_cvttps_epi32(x[0]), byte);
            let second = _mm256_and_si256(_mm256_cvttps_epi32(x[1]), byte);
            // Words of lanes 0-3 8-11 | 4-7 12-15, put in order, then bytes.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(first, second));
            let low = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            let mut bytes = [0; LANES];
            _mm_storeu_si128(bytes.as_mut_ptr().cast(), low);
            bytes
        };
        fn fold(x: Pair) -> f32 = {
            let eight = _mm256_add_ps(x[0], x[1]);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        };
        fn hadamard(x: Pair) -> Pair = {
            let (a, b) = (hadamard8(x[0]), hadamard8(x[1]));
            [_mm256_add_ps(a, b), _mm256_sub_ps(a, b)]
        };
    }
}
