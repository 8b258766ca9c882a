//! Plain Rust: the oracle, and the path of machines without vector instructions we know.
//!
//! Sixteen partial sums, so that the compiler may use the vectors every x86-64 and Arm machine has.

use half::{bf16, f16};

const LANES: usize = 16;

pub(super) trait Component {
    const BYTES: usize;
    /// Whether the step that components are multiplied by stands behind them.
    const HAS_STEP: bool = false;
    /// Reads the component at `at`, which must have `BYTES` readable bytes.
    unsafe fn read(at: *const u8) -> f32;
}

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct Bf16;
pub(super) struct I8;
pub(super) struct U8;

impl Component for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn read(at: *const u8) -> f32 {
        // SAFETY: the caller grants 4 readable bytes; the read is unaligned.
        f32::from_le_bytes(unsafe { at.cast::<[u8; 4]>().read_unaligned() })
    }
}

impl Component for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn read(at: *const u8) -> f32 {
        // SAFETY: the caller grants 2 readable bytes; the read is unaligned.
        f16::from_le_bytes(unsafe { at.cast::<[u8; 2]>().read_unaligned() }).to_f32_const()
    }
}

impl Component for Bf16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn read(at: *const u8) -> f32 {
        // SAFETY: the caller grants 2 readable bytes; the read is unaligned.
        bf16::from_le_bytes(unsafe { at.cast::<[u8; 2]>().read_unaligned() }).to_f32_const()
    }
}

impl Component for I8 {
    const BYTES: usize = 1;
    const HAS_STEP: bool = true;
    #[inline(always)]
    unsafe fn read(at: *const u8) -> f32 {
        // SAFETY: the caller grants the byte.
        f32::from(unsafe { at.read() }.cast_signed())
    }
}

impl Component for U8 {
    const BYTES: usize = 1;
    #[inline(always)]
    unsafe fn read(at: *const u8) -> f32 {
        // SAFETY: the caller grants the byte.
        f32::from(unsafe { at.read() })
    }
}

pub(super) trait Term {
    fn term(q: f32, v: f32) -> f32;
}

pub(super) struct L2;
pub(super) struct Dot;

impl Term for L2 {
    #[inline(always)]
    fn term(q: f32, v: f32) -> f32 {
        (q - v) * (q - v)
    }
}

impl Term for Dot {
    #[inline(always)]
    fn term(q: f32, v: f32) -> f32 {
        q * v
    }
}

pub(super) unsafe fn one<C: Component, T: Term>(query: *const f32, dim: usize, row: *const u8) -> f32 {
    // SAFETY: the caller grants `dim` readable floats at `query`.
    let query = unsafe { std::slice::from_raw_parts(query, dim) };
    // SAFETY: where a step stands behind the components, the caller grants it.
    let step = if C::HAS_STEP { unsafe { F32::read(row.add(dim * C::BYTES)) } } else { 1.0 };
    let scaled = |v: f32| if C::HAS_STEP { v * step } else { v };
    let mut sums = [0.0_f32; LANES];
    let (chunks, rest) = query.as_chunks::<LANES>();
    for (i, chunk) in chunks.iter().enumerate() {
        for lane in 0..LANES {
            // SAFETY: component i * LANES + lane < dim, and the caller grants dim components at `row`.
            let v = unsafe { C::read(row.add((i * LANES + lane) * C::BYTES)) };
            sums[lane] += T::term(chunk[lane], scaled(v));
        }
    }
    for (lane, q) in rest.iter().enumerate() {
        // SAFETY: as above; chunks.len() * LANES + lane < dim.
        let v = unsafe { C::read(row.add((chunks.len() * LANES + lane) * C::BYTES)) };
        sums[lane] += T::term(*q, scaled(v));
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

pub(super) unsafe fn many<C: Component, T: Term>(
    query: *const f32,
    dim: usize,
    rows: *const u8,
    stride: usize,
    out: *mut f32,
    count: usize,
) {
    for i in 0..count {
        // SAFETY: i < count: the caller grants row i at i * stride and a place for its result.
        unsafe { *out.add(i) = one::<C, T>(query, dim, rows.add(i * stride)) };
    }
}

pub(super) unsafe fn gather<C: Component, T: Term>(
    query: *const f32,
    dim: usize,
    base: *const u8,
    offsets: *const usize,
    out: *mut f32,
    count: usize,
) {
    for i in 0..count {
        // SAFETY: i < count: the caller grants offset i, a row there and a place for its result.
        unsafe { *out.add(i) = one::<C, T>(query, dim, base.add(*offsets.add(i))) };
    }
}
