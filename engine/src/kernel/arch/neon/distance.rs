//! NEON: four f32 lanes; tails go through a zeroed buffer.

use std::arch::aarch64::*;

/// Components per vector.
const LANES: usize = 4;
/// Rows summed side by side: with four vectors of sums each they fill a quarter of the 32 registers.
const ROWS: usize = 2;

/// Reading stored components as f32 lanes.
pub(super) trait Component {
    const BYTES: usize;
    /// Whether the step that components are multiplied by stands behind them.
    const HAS_STEP: bool = false;
    /// Four components at `at`.
    unsafe fn load(at: *const u8) -> float32x4_t;
    /// The first `count` components (fewer than four), zero after them; memory behind them is not touched.
    #[inline(always)]
    unsafe fn load_some(at: *const u8, count: usize) -> float32x4_t {
        let mut buffer = [0_u8; 16];
        // SAFETY: the caller grants `count` components at `at`; fewer than four of at most four bytes fit the buffer, which is
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
    unsafe fn load(at: *const u8) -> float32x4_t {
        // SAFETY: the caller grants 16 readable bytes; the load is unaligned.
        unsafe { vreinterpretq_f32_u8(vld1q_u8(at)) }
    }
}

impl Component for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load(at: *const u8) -> float32x4_t {
        // SAFETY: the caller grants 8 readable bytes; the load is unaligned.
        unsafe { widen_f16(vreinterpret_u16_u8(vld1_u8(at))) }
    }
}

impl Component for Bf16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load(at: *const u8) -> float32x4_t {
        // SAFETY: the caller grants 8 readable bytes; the load is unaligned.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vreinterpret_u16_u8(vld1_u8(at)))) }
    }
}

/// Half precision by integer steps: moved into place the exponent is 112 too small, which a multiplication mends, subnormals
/// included; the exponent of infinity and NaN is set by hand.
#[inline(always)]
unsafe fn widen_f16(halves: uint16x4_t) -> float32x4_t {
    // SAFETY: arithmetic on registers; the callers run with NEON.
    unsafe {
        let wide = vmovl_u16(halves);
        let sign = vshlq_n_u32::<16>(vandq_u32(wide, vdupq_n_u32(0x8000)));
        let magnitude = vandq_u32(wide, vdupq_n_u32(0x7FFF));
        let scale = vreinterpretq_f32_u32(vdupq_n_u32((127 + 112) << 23));
        let scaled = vmulq_f32(vreinterpretq_f32_u32(vshlq_n_u32::<13>(magnitude)), scale);
        let special = vandq_u32(vcgeq_u32(magnitude, vdupq_n_u32(0x7C00)), vdupq_n_u32(0x7F80_0000));
        vreinterpretq_f32_u32(vorrq_u32(vorrq_u32(vreinterpretq_u32_f32(scaled), special), sign))
    }
}

impl Component for I8 {
    const BYTES: usize = 1;
    const HAS_STEP: bool = true;
    #[inline(always)]
    unsafe fn load(at: *const u8) -> float32x4_t {
        // SAFETY: the caller grants 4 readable bytes; the load is unaligned.
        unsafe {
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(at.cast::<u32>().read_unaligned().into())))))
        }
    }
}

impl Component for U8 {
    const BYTES: usize = 1;
    #[inline(always)]
    unsafe fn load(at: *const u8) -> float32x4_t {
        // SAFETY: the caller grants 4 readable bytes; the load is unaligned.
        unsafe {
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(at.cast::<u32>().read_unaligned().into())))))
        }
    }
}

pub(super) trait Term {
    /// `sum` plus the term of `q` and `v`, lane by lane.
    unsafe fn add(sum: float32x4_t, q: float32x4_t, v: float32x4_t) -> float32x4_t;
}

pub(super) struct L2;
pub(super) struct Dot;

impl Term for L2 {
    #[inline(always)]
    unsafe fn add(sum: float32x4_t, q: float32x4_t, v: float32x4_t) -> float32x4_t {
        // SAFETY: arithmetic on registers; the callers run with NEON.
        unsafe {
            let difference = vsubq_f32(q, v);
            vfmaq_f32(sum, difference, difference)
        }
    }
}

impl Term for Dot {
    #[inline(always)]
    unsafe fn add(sum: float32x4_t, q: float32x4_t, v: float32x4_t) -> float32x4_t {
        // SAFETY: arithmetic on registers; the callers run with NEON.
        unsafe { vfmaq_f32(sum, q, v) }
    }
}

/// The steps of `N` rows, which stand behind their components; not read if there are none.
#[inline(always)]
unsafe fn steps<C: Component, const N: usize>(dim: usize, at: [*const u8; N]) -> [float32x4_t; N] {
    // SAFETY: where a step stands behind the components, the caller grants it; the read is unaligned.
    unsafe {
        at.map(|row| match C::HAS_STEP {
            true => vdupq_n_f32(row.add(dim * C::BYTES).cast::<f32>().read_unaligned()),
            false => vdupq_n_f32(1.0),
        })
    }
}

/// Components times the step of their row.
#[inline(always)]
unsafe fn scaled<C: Component>(v: float32x4_t, step: float32x4_t) -> float32x4_t {
    // SAFETY: arithmetic on registers; the callers run with the instructions of this file.
    unsafe { if C::HAS_STEP { vmulq_f32(v, step) } else { v } }
}

/// Sums of `N` rows. Four vectors of partial sums per row: component `i` goes to vector `i / 4 % 4`, lane `i % 4`, whatever
/// `N` is, so that a row's result does not depend on its neighbours.
#[inline(always)]
unsafe fn rows<C: Component, T: Term, const N: usize>(query: *const f32, dim: usize, at: [*const u8; N]) -> [f32; N] {
    // SAFETY: the caller grants `dim` floats at `query` and `dim` components, with the step if there is one, at each of `at`; full loads stay below
    // `dim / 4 * 4`, the partial one below `dim`.
    unsafe {
        let steps = steps::<C, N>(dim, at);
        let mut sums = [[vdupq_n_f32(0.0); 4]; N];
        let mut i = 0;
        macro_rules! full {
            ($u:literal) => {{
                let q = vld1q_f32(query.add(i + $u * LANES));
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
            i += 4 * LANES;
        }
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
        let mut results = [0.0; N];
        for r in 0..N {
            results[r] = total(sums[r]);
        }
        results
    }
}

/// The sum of sixteen partial sums, in a fixed order.
#[inline(always)]
unsafe fn total(sums: [float32x4_t; 4]) -> f32 {
    // SAFETY: arithmetic on registers; the callers run with NEON.
    unsafe { vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3]))) }
}

#[target_feature(enable = "neon")]
pub(super) unsafe fn one<C: Component, T: Term>(query: *const f32, dim: usize, row: *const u8) -> f32 {
    // SAFETY: the caller grants `dim` floats and components.
    unsafe { rows::<C, T, 1>(query, dim, [row])[0] }
}

#[target_feature(enable = "neon")]
pub(super) unsafe fn many<C: Component, T: Term>(
    query: *const f32,
    dim: usize,
    base: *const u8,
    stride: usize,
    out: *mut f32,
    count: usize,
) {
    let mut i = 0;
    while i + ROWS <= count {
        // SAFETY: rows i .. i + ROWS are below `count`; the caller grants them and their places in `out`.
        unsafe {
            let at = std::array::from_fn::<_, ROWS, _>(|r| base.add((i + r) * stride));
            out.add(i).cast::<[f32; ROWS]>().write_unaligned(rows::<C, T, ROWS>(query, dim, at));
        }
        i += ROWS;
    }
    while i < count {
        // SAFETY: row i is below `count`.
        unsafe { *out.add(i) = rows::<C, T, 1>(query, dim, [base.add(i * stride)])[0] };
        i += 1;
    }
}

#[target_feature(enable = "neon")]
pub(super) unsafe fn gather<C: Component, T: Term>(
    query: *const f32,
    dim: usize,
    base: *const u8,
    offsets: *const usize,
    out: *mut f32,
    count: usize,
) {
    // SAFETY: every index used is below `count`; the caller grants offsets, rows and results up to it.
    unsafe {
        let mut i = 0;
        while i + ROWS <= count {
            let at = std::array::from_fn::<_, ROWS, _>(|r| base.add(*offsets.add(i + r)));
            out.add(i).cast::<[f32; ROWS]>().write_unaligned(rows::<C, T, ROWS>(query, dim, at));
            i += ROWS;
        }
        while i < count {
            *out.add(i) = rows::<C, T, 1>(query, dim, [base.add(*offsets.add(i))])[0];
            i += 1;
        }
    }
}
