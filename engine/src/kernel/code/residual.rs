//! Coding one vector of a list: sign bits, further bits, and the factors that turn them into estimates.
//!
//! The code `u_i` in `0 .. 2^B` of a component stands for `g_i = u_i - (2^B - 1) / 2`. Its top bit is the sign of `r_i`; the
//! rest is `floor(|r_i| / step)`, capped, and mirrored for negative components, so that the two stages of a search see the same
//! sign. The step is the best of eight around the optimum for Gaussian components.

use half::{bf16, f16};

use super::super::distance::Op;
use super::super::lanes::{LANES, Lanes, sum2};

/// Largest number of bits per component.
pub const MAX_BITS: usize = 8;

/// Best step of a uniform mid-rise quantiser for unit Gaussian components, by bits (Max 1960, extended numerically).
const STEP: [f32; 9] = [f32::NAN, 1.596, 0.9957, 0.586, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308];
/// Sixteenths of that step which are tried.
const TRIALS: [f32; 8] = [11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0];

/// What an entry's estimates need beside its bits.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Factors {
    /// `F`, in the units of the distance.
    pub add: f32,
    /// `fr`, never negative.
    pub rescale: f32,
}

/// Factors of the first stage as stored: two 16-bit words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SignFactors {
    /// `F / scale` as IEEE half. Negative infinity where it does not fit: such an entry passes every scan.
    pub add: u16,
    /// `fr` as bfloat16.
    pub rescale: u16,
}

impl SignFactors {
    /// The stored words of `F` in units of `scale`, and of `fr`.
    #[inline(always)]
    pub(super) fn new(add: f32, rescale: bf16, scale: f32) -> Self {
        let add = f16::from_f32(add / scale);
        let add = if add.is_finite() { add } else { f16::NEG_INFINITY };
        SignFactors { add: add.to_bits(), rescale: rescale.to_bits() }
    }

    /// What the words stand for.
    pub fn factors(self, scale: f32) -> Factors {
        Factors { add: f16::from_bits(self.add).to_f32() * scale, rescale: bf16::from_bits(self.rescale).to_f32() }
    }

    /// The same words with a larger or smaller `F`.
    pub fn raised(self, by: f32, scale: f32) -> Self {
        SignFactors::new(self.factors(scale).add + by, bf16::from_bits(self.rescale), scale)
    }
}

/// One coded vector.
#[derive(Clone, Debug, Default)]
pub struct Coded {
    /// Bit `i` of byte `i / 8` (lowest first) is set if `r_i >= 0`. `P / 8` bytes.
    pub signs: Vec<u8>,
    /// Factors of the sign bits.
    pub sign_factors: SignFactors,
    /// `u_i` without its top bit, one byte per component; empty if `bits == 1`.
    pub extra: Vec<u8>,
    /// Factors of the whole code; equal to those of the sign bits, before rounding, if `bits == 1`.
    pub factors: Factors,
    /// Scratch space, kept between vectors.
    pub(in crate::kernel) residual: Vec<f32>,
}

#[cfg(test)]
impl Coded {
    /// Given bits, for whoever only moves them.
    pub(crate) fn of_signs(signs: Vec<u8>, sign_factors: SignFactors) -> Coded {
        Coded { signs, sign_factors, ..Coded::default() }
    }
}

/// How the vectors of a list are coded.
#[derive(Clone, Copy, Debug)]
pub struct Coding {
    /// Bits per component, `1..=8`.
    pub bits: usize,
    /// Which sum the distance is made of: [`Op::L2`] also for cosine, on unit vectors.
    pub op: Op,
    /// Unit of the stored [`SignFactors::add`], a power of two: chosen once per model, with room above what training saw.
    pub scale: f32,
}

impl Coding {
    /// Bits per component behind the sign.
    pub fn extra_bits(&self) -> usize {
        self.bits - 1
    }
}

/// Codes `vector` relative to `centroid`. `offset` is added to the inner product of every query with this vector (the part of
/// it that centring took away); unused for L2. `residual` is scratch space. All slices have `P` components.
#[inline(always)]
pub(in crate::kernel) fn encode<L: Lanes>(
    lanes: L,
    coding: &Coding,
    vector: &[f32],
    centroid: &[f32],
    offset: f32,
    residual: &mut [f32],
    out: &mut Coded,
) {
    let sums = split(lanes, vector, centroid, residual, &mut out.signs);
    // What is left of F when nothing is estimated: the code has no part in it.
    let fixed = match coding.op {
        Op::L2 => sums.energy,
        Op::Dot => -(sum2(lanes, residual, centroid, |r, c| lanes.mul(r, c)) + offset),
    };
    let gain = gain(coding.op);
    let codable = sums.energy >= f32::MIN_POSITIVE && sums.energy.is_finite();

    let rescale = if codable { 2.0 * sums.energy / sums.size } else { 0.0 };
    let centroid_signs = 0.5 * sums.centroid;
    out.sign_factors = round(rescale, fixed, gain * centroid_signs, coding.scale);
    out.extra.clear();
    out.factors = Factors { add: fixed + rescale * (gain * centroid_signs), rescale };
    if coding.bits > 1 {
        out.extra.resize(vector.len(), 0);
        out.factors = Factors { add: fixed, rescale: 0.0 };
        if codable {
            let step = best_step(lanes, residual, sums.energy, coding.bits);
            let (inner, centre) = quantise(lanes, residual, centroid, coding.bits, step, &mut out.extra);
            let rescale = sums.energy / inner;
            out.factors = Factors { add: fixed + rescale * (gain * centre), rescale };
        }
    }
}

/// Sums over the components of a residual.
struct Sums {
    /// `|r|^2`.
    energy: f32,
    /// `sum |r_i|`.
    size: f32,
    /// `sum +-c_i`, with the signs of the residual.
    centroid: f32,
}

/// Writes the residual and its signs.
#[inline(always)]
fn split<L: Lanes>(lanes: L, vector: &[f32], centroid: &[f32], residual: &mut [f32], signs: &mut Vec<u8>) -> Sums {
    let zero = lanes.splat(0.0);
    let (mut energy, mut size, mut centre) = (zero, zero, zero);
    signs.clear();
    signs.reserve(vector.len() / 8);
    let vectors = vector.as_chunks::<LANES>().0.iter().zip(centroid.as_chunks::<LANES>().0);
    for ((o, c), residual) in vectors.zip(residual.as_chunks_mut::<LANES>().0) {
        let c = lanes.load(c);
        let r = lanes.sub(lanes.load(o), c);
        lanes.store(r, residual);
        let positive = lanes.not_negative(r);
        energy = lanes.add(energy, lanes.mul(r, r));
        size = lanes.add(size, lanes.abs(r));
        centre = lanes.add(centre, lanes.select(positive, c, lanes.negate(c)));
        signs.extend_from_slice(&lanes.bits(positive).to_le_bytes());
    }
    Sums { energy: lanes.fold(energy), size: lanes.fold(size), centroid: lanes.fold(centre) }
}

/// `k` of the estimates: 2 for L2, 1 for the inner product.
pub fn gain_of(op: Op) -> f32 {
    gain(op)
}

/// `k` of the estimates.
#[inline(always)]
pub(in crate::kernel) fn gain(op: Op) -> f32 {
    match op {
        Op::L2 => 2.0,
        Op::Dot => 1.0,
    }
}

/// First-stage factors: `fr` is rounded first, and `F` computed with the rounded value, so that the rounding of `fr` is an error
/// relative to `<q - c, g>` and not to `<q, g>`.
#[inline(always)]
fn round(exact: f32, fixed: f32, centroid_term: f32, scale: f32) -> SignFactors {
    let rescale = bf16::from_f32(exact);
    SignFactors::new(fixed + rescale.to_f32() * centroid_term, rescale, scale)
}

/// The step whose code has the largest cosine with the residual; the first of equals.
#[inline(always)]
pub(super) fn best_step<L: Lanes>(lanes: L, residual: &[f32], energy: f32, bits: usize) -> f32 {
    let unit = STEP[bits] * (energy / residual.len() as f32).sqrt() / 16.0;
    let mut best = (f32::NEG_INFINITY, unit * 16.0);
    for trial in TRIALS {
        let step = unit * trial;
        let cosine = cosine(lanes, residual, bits, 1.0 / step);
        if cosine > best.0 {
            best = (cosine, step);
        }
    }
    best.1
}

/// `<r, g> / |g|` for the code of inverse step `inverse`.
#[inline(always)]
fn cosine<L: Lanes>(lanes: L, residual: &[f32], bits: usize, inverse: f32) -> f32 {
    let (inverse, largest) = (lanes.splat(inverse), lanes.splat(largest(bits)));
    let (mut inner, mut square) = (lanes.splat(0.0), lanes.splat(0.0));
    for r in residual.as_chunks::<LANES>().0 {
        let size = lanes.abs(lanes.load(r));
        let g = lanes.add(magnitude(lanes, size, inverse, largest), lanes.splat(0.5));
        inner = lanes.add(inner, lanes.mul(size, g));
        square = lanes.add(square, lanes.mul(g, g));
    }
    lanes.fold(inner) / lanes.fold(square).sqrt()
}

/// Largest value of the bits behind the sign.
#[inline(always)]
fn largest(bits: usize) -> f32 {
    ((1 << (bits - 1)) - 1) as f32
}

/// `floor(|r| / step)`, capped.
#[inline(always)]
fn magnitude<L: Lanes>(lanes: L, size: L::Vector, inverse: L::Vector, largest: L::Vector) -> L::Vector {
    lanes.floor(lanes.min(lanes.mul(size, inverse), largest))
}

/// Writes the bits behind the sign; returns `<r, g>` and `<c, g>`.
#[inline(always)]
pub(super) fn quantise<L: Lanes>(
    lanes: L,
    residual: &[f32],
    centroid: &[f32],
    bits: usize,
    step: f32,
    extra: &mut [u8],
) -> (f32, f32) {
    let (inverse, largest) = (lanes.splat(1.0 / step), lanes.splat(largest(bits)));
    let (mut inner, mut centre) = (lanes.splat(0.0), lanes.splat(0.0));
    let centroid = centroid.as_chunks::<LANES>().0;
    let extra = extra.as_chunks_mut::<LANES>().0;
    for ((r, c), u) in residual.as_chunks::<LANES>().0.iter().zip(centroid).zip(extra) {
        let r = lanes.load(r);
        let size = lanes.abs(r);
        let m = magnitude(lanes, size, inverse, largest);
        let g = lanes.add(m, lanes.splat(0.5));
        let product = lanes.mul(lanes.load(c), g);
        let positive = lanes.not_negative(r);
        inner = lanes.add(inner, lanes.mul(size, g));
        centre = lanes.add(centre, lanes.select(positive, product, lanes.negate(product)));
        *u = lanes.low_bytes(lanes.select(positive, m, lanes.sub(largest, m)));
    }
    (lanes.fold(inner), lanes.fold(centre))
}
