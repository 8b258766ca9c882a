//! AVX2 with FMA and F16C: eight f32 lanes; tails go through a zeroed buffer.

use std::arch::x86_64::*;

/// Components per vector.
const LANES: usize = 8;
/// Gathered rows summed side by side: with four vectors of sums each they fill half of the sixteen registers.
const ROWS: usize = 2;
/// How far ahead of a gathered row the next ones are prefetched, in rows.
const AHEAD: usize = 4 * ROWS;

/// How far ahead contiguous rows are prefetched, in bytes. Measured on Zen 5 at 128 to 768 dimensions: one row at a time with
/// 8 KiB of prefetching reads memory at full speed, while several rows side by side lose up to half of it.
const STREAM_AHEAD: usize = 8192;

/// Reading stored components as f32 lanes.
pub(super) trait Component {
    const BYTES: usize;
    /// Whether the step that components are multiplied by stands behind them.
    const HAS_STEP: bool = false;
    /// Eight components at `at`.
    unsafe fn load(at: *const u8) -> __m256;
    /// The first `count` components (fewer than eight), zero after them; memory behind them is not touched.
    #[inline(always)]
    unsafe fn load_some(at: *const u8, count: usize) -> __m256 {
        let mut buffer = [0_u8; 32];
        // SAFETY: the caller grants `count` components at `at`; fewer than eight of at most four bytes fit the buffer, which is
        // as long as any full load.
        unsafe {
            std::ptr::copy_nonoverlapping(at, buffer.as_mut_ptr(), count * Self::BYTES);
            Self::load(buffer.as_ptr())
        }
    }
}

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct Bf16;
pub(super) struct I8;
pub(super) struct U8;

impl Component for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load(at: *const u8) -> __m256 {
        // SAFETY: the caller grants 32 readable bytes; the load is unaligned.
        unsafe { _mm256_loadu_ps(at.cast()) }
    }
}

impl Component for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load(at: *const u8) -> __m256 {
        // SAFETY: the caller grants 16 readable bytes; the load is unaligned.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(at.cast())) }
    }
}

impl Component for Bf16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load(at: *const u8) -> __m256 {
        // SAFETY: the caller grants 16 readable bytes; the load is unaligned.
        unsafe { widen_bf16(_mm_loadu_si128(at.cast())) }
    }
}

/// bfloat16 is the upper half of an f32.
#[inline(always)]
unsafe fn widen_bf16(halves: __m128i) -> __m256 {
    // SAFETY: arithmetic on registers; the callers run with AVX2 and FMA.
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves))) }
}

impl Component for I8 {
    const BYTES: usize = 1;
    const HAS_STEP: bool = true;
    #[inline(always)]
    unsafe fn load(at: *const u8) -> __m256 {
        // SAFETY: the caller grants 8 readable bytes; the load is unaligned.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast()))) }
    }
}

impl Component for U8 {
    const BYTES: usize = 1;
    #[inline(always)]
    unsafe fn load(at: *const u8) -> __m256 {
        // SAFETY: the caller grants 8 readable bytes; the load is unaligned.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast()))) }
    }
}

pub(super) trait Term {
    /// `sum` plus the term of `q` and `v`, lane by lane.
    unsafe fn add(sum: __m256, q: __m256, v: __m256) -> __m256;
}

pub(super) struct L2;
pub(super) struct Dot;

impl Term for L2 {
    #[inline(always)]
    unsafe fn add(sum: __m256, q: __m256, v: __m256) -> __m256 {
        // SAFETY: arithmetic on registers; the callers run with AVX2 and FMA.
        unsafe {
            let difference = _mm256_sub_ps(q, v);
            _mm256_fmadd_ps(difference, difference, sum)
        }
    }
}

impl Term for Dot {
    #[inline(always)]
    unsafe fn add(sum: __m256, q: __m256, v: __m256) -> __m256 {
        // SAFETY: arithmetic on registers; the callers run with AVX2 and FMA.
        unsafe { _mm256_fmadd_ps(q, v, sum) }
    }
}

/// The steps of `N` rows, which stand behind their components; not read if there are none.
#[inline(always)]
unsafe fn steps<C: Component, const N: usize>(dim: usize, at: [*const u8; N]) -> [__m256; N] {
    // SAFETY: where a step stands behind the components, the caller grants it; the read is unaligned.
    unsafe {
        at.map(|row| match C::HAS_STEP {
            true => _mm256_set1_ps(row.add(dim * C::BYTES).cast::<f32>().read_unaligned()),
            false => _mm256_set1_ps(1.0),
        })
    }
}

/// Components times the step of their row.
#[inline(always)]
unsafe fn scaled<C: Component>(v: __m256, step: __m256) -> __m256 {
    // SAFETY: arithmetic on registers; the callers run with the instructions of this file.
    unsafe { if C::HAS_STEP { _mm256_mul_ps(v, step) } else { v } }
}

/// Sums of `N` rows. Four vectors of partial sums per row: component `i` goes to vector `i / 8 % 4`, lane `i % 8`, whatever
/// `N` is, so that a row's result does not depend on its neighbours. With `ahead`, memory that many bytes further on is prefetched.
#[inline(always)]
unsafe fn rows<C: Component, T: Term, const N: usize>(
    query: *const f32,
    dim: usize,
    at: [*const u8; N],
    ahead: usize,
) -> [f32; N] {
    // SAFETY: the caller grants `dim` floats at `query` and `dim` components, with the step if there is one, at each of `at`; full loads stay below
    // `dim / 8 * 8`, the partial one below `dim`.
    unsafe {
        let steps = steps::<C, N>(dim, at);
        let mut sums = [[_mm256_setzero_ps(); 4]; N];
        let mut i = 0;
        macro_rules! full {
            ($u:literal) => {{
                let q = _mm256_loadu_ps(query.add(i + $u * LANES));
                for r in 0..N {
                    let v = scaled::<C>(C::load(at[r].add((i + $u * LANES) * C::BYTES)), steps[r]);
                    sums[r][$u] = T::add(sums[r][$u], q, v);
                }
            }};
        }
        macro_rules! some {
            ($u:literal) => {{
                let left = dim - i - $u * LANES;
                let q = F32::load_some(query.add(i + $u * LANES).cast(), left);
                for r in 0..N {
                    let v = C::load_some(at[r].add((i + $u * LANES) * C::BYTES), left);
                    sums[r][$u] = T::add(sums[r][$u], q, scaled::<C>(v, steps[r]));
                }
            }};
        }
        while i + 4 * LANES <= dim {
            full!(0);
            full!(1);
            full!(2);
            full!(3);
            if ahead > 0 {
                for line in (0..4 * LANES * C::BYTES).step_by(64) {
                    _mm_prefetch::<_MM_HINT_T0>(at[0].wrapping_add(i * C::BYTES + ahead + line).cast());
                }
            }
            i += 4 * LANES;
        }
        if i < dim {
            match (dim - i) / LANES {
                0 => {
                    some!(0);
                }
                1 => {
                    full!(0);
                    some!(1);
                }
                2 => {
                    full!(0);
                    full!(1);
                    some!(2);
                }
                _ => {
                    full!(0);
                    full!(1);
                    full!(2);
                    some!(3);
                }
            }
        }
        let mut results = [0.0; N];
        for r in 0..N {
            results[r] = total(sums[r]);
        }
        results
    }
}

/// The sum of 32 partial sums, in a fixed order.
#[inline(always)]
unsafe fn total(sums: [__m256; 4]) -> f32 {
    // SAFETY: arithmetic on registers; the callers run with AVX2 and FMA.
    unsafe {
        let all = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
        let four = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps::<1>(all));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

#[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]
pub(super) unsafe fn one<C: Component, T: Term>(query: *const f32, dim: usize, row: *const u8) -> f32 {
    // SAFETY: the caller grants `dim` floats and components.
    unsafe { rows::<C, T, 1>(query, dim, [row], 0)[0] }
}

#[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]
pub(super) unsafe fn many<C: Component, T: Term>(
    query: *const f32,
    dim: usize,
    base: *const u8,
    stride: usize,
    out: *mut f32,
    count: usize,
) {
    for i in 0..count {
        // SAFETY: row i is below `count`: the caller grants it and its place in `out`.
        unsafe { *out.add(i) = rows::<C, T, 1>(query, dim, [base.add(i * stride)], STREAM_AHEAD)[0] };
    }
}

#[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]
pub(super) unsafe fn gather<C: Component, T: Term>(
    query: *const f32,
    dim: usize,
    base: *const u8,
    offsets: *const usize,
    out: *mut f32,
    count: usize,
) {
    // SAFETY: every index used is below `count`; the caller grants offsets, rows and results up to it. Prefetching reads
    // nothing, and its addresses lie inside granted rows.
    unsafe {
        for i in 0..count.min(AHEAD) {
            prefetch(base.add(*offsets.add(i)), dim * C::BYTES);
        }
        let mut i = 0;
        while i + ROWS <= count {
            for next in i + AHEAD..(i + AHEAD + ROWS).min(count) {
                prefetch(base.add(*offsets.add(next)), dim * C::BYTES);
            }
            let at = std::array::from_fn::<_, ROWS, _>(|r| base.add(*offsets.add(i + r)));
            out.add(i).cast::<[f32; ROWS]>().write_unaligned(rows::<C, T, ROWS>(query, dim, at, 0));
            i += ROWS;
        }
        while i < count {
            *out.add(i) = rows::<C, T, 1>(query, dim, [base.add(*offsets.add(i))], 0)[0];
            i += 1;
        }
    }
}

/// Asks for the cache lines of `bytes` bytes at `at`.
#[inline(always)]
unsafe fn prefetch(at: *const u8, bytes: usize) {
    for line in (0..bytes).step_by(64) {
        // SAFETY: a prefetch has no effect on memory and cannot fault; the address is inside the caller's row.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.add(line).cast()) };
    }
}
