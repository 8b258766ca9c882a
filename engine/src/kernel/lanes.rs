//! Sixteen f32 at a time, and the one order in which sums that reach a file are added.
//!
//! Component `i` of a vector belongs to lane `i % 16`; a sum is collected in sixteen lanes, which are then folded in half four
//! times. Nothing is fused. Code that must give the same bits on every machine is written once against [`Lanes`]; each
//! instruction set implements it (one register of AVX-512, two of AVX2, an array), and the functions are compiled for each.

/// Number of lanes.
pub(crate) const LANES: usize = 16;

/// The instructions of a path, as a token: whoever has one may use them. Comparisons and selections go by lane.
pub(super) trait Lanes: Copy {
    /// Sixteen f32.
    type Vector: Copy;
    /// Sixteen truth values.
    type Mask: Copy;

    fn splat(self, x: f32) -> Self::Vector;
    fn load(self, from: &[f32; LANES]) -> Self::Vector;
    fn store(self, x: Self::Vector, to: &mut [f32; LANES]);
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The smaller; `b` if either is NaN.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The larger; `b` if either is NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn abs(self, x: Self::Vector) -> Self::Vector;
    /// Down to an integer; magnitudes below 2^31.
    fn floor(self, x: Self::Vector) -> Self::Vector;
    /// To the nearest integer, halves to even; magnitudes below 2^22.
    fn nearest(self, x: Self::Vector) -> Self::Vector;
    /// `x >= 0`, which -0 is and NaN is not.
    fn not_negative(self, x: Self::Vector) -> Self::Mask;
    /// `a <= b`, false if either is NaN.
    fn at_most(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;
    /// The mask as bits, lane 0 lowest.
    fn bits(self, mask: Self::Mask) -> u16;
    /// `a` where the mask is set, `b` elsewhere.
    fn select(self, mask: Self::Mask, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// With every sign bit flipped.
    fn negate(self, x: Self::Vector) -> Self::Vector;
    /// Integers as their lowest byte in two's complement; magnitudes below 2^31.
    fn low_bytes(self, x: Self::Vector) -> [u8; LANES];
    /// The sum of the lanes: folded in half four times.
    fn fold(self, x: Self::Vector) -> f32;
    /// The Hadamard transform of the sixteen lanes: for h = 1, 2, 4, 8 the pair (j, j + h) becomes its sum and its difference.
    fn hadamard(self, x: Self::Vector) -> Self::Vector;
}

/// `sum f(a_i)`; a rest shorter than sixteen is left out.
#[inline(always)]
pub(super) fn sum1<L: Lanes>(lanes: L, a: &[f32], f: impl Fn(L::Vector) -> L::Vector) -> f32 {
    let mut sum = lanes.splat(0.0);
    for a in a.as_chunks::<LANES>().0 {
        sum = lanes.add(sum, f(lanes.load(a)));
    }
    lanes.fold(sum)
}

/// `sum f(a_i, b_i)`; a rest shorter than sixteen is left out.
#[inline(always)]
pub(super) fn sum2<L: Lanes>(lanes: L, a: &[f32], b: &[f32], f: impl Fn(L::Vector, L::Vector) -> L::Vector) -> f32 {
    let mut sum = lanes.splat(0.0);
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        sum = lanes.add(sum, f(lanes.load(a), lanes.load(b)));
    }
    lanes.fold(sum)
}

/// Plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Plain;

impl Plain {
    #[inline(always)]
    fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
        std::array::from_fn(|lane| f(a[lane], b[lane]))
    }
}

impl Lanes for Plain {
    type Vector = [f32; LANES];
    type Mask = u16;

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; LANES] {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> [f32; LANES] {
        *from
    }
    #[inline(always)]
    fn store(self, x: [f32; LANES], to: &mut [f32; LANES]) {
        *to = x;
    }
    #[inline(always)]
    fn add(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        Plain::zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        Plain::zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        Plain::zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn min(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        Plain::zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        Plain::zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn abs(self, x: [f32; LANES]) -> [f32; LANES] {
        x.map(f32::abs)
    }
    #[inline(always)]
    fn floor(self, x: [f32; LANES]) -> [f32; LANES] {
        x.map(|x| {
            let toward_zero = x as i32 as f32;
            if toward_zero > x { toward_zero - 1.0 } else { toward_zero }
        })
    }
    #[inline(always)]
    fn nearest(self, x: [f32; LANES]) -> [f32; LANES] {
        const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23: no room is left for a fraction
        x.map(|x| (x + SHIFT) - SHIFT)
    }
    #[inline(always)]
    fn not_negative(self, x: [f32; LANES]) -> u16 {
        x.iter().enumerate().fold(0, |mask, (lane, x)| mask | u16::from(*x >= 0.0) << lane)
    }
    #[inline(always)]
    fn at_most(self, a: [f32; LANES], b: [f32; LANES]) -> u16 {
        (0..LANES).fold(0, |mask, lane| mask | u16::from(a[lane] <= b[lane]) << lane)
    }
    #[inline(always)]
    fn bits(self, mask: u16) -> u16 {
        mask
    }
    #[inline(always)]
    fn select(self, mask: u16, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|lane| if mask >> lane & 1 == 1 { a[lane] } else { b[lane] })
    }
    #[inline(always)]
    fn negate(self, x: [f32; LANES]) -> [f32; LANES] {
        x.map(|x| -x)
    }
    #[inline(always)]
    fn low_bytes(self, x: [f32; LANES]) -> [u8; LANES] {
        x.map(|x| x as i32 as u8)
    }
    #[inline(always)]
    fn fold(self, mut x: [f32; LANES]) -> f32 {
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                x[lane] += x[lane + width];
            }
            width /= 2;
        }
        x[0]
    }
    #[inline(always)]
    fn hadamard(self, mut x: [f32; LANES]) -> [f32; LANES] {
        for h in [1, 2, 4, 8] {
            for j in (0..LANES).filter(|j| j & h == 0) {
                (x[j], x[j + h]) = (x[j] + x[j + h], x[j] - x[j + h]);
            }
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_specified_one() {
        // 2^24 + 1 is not an f32: which additions lose the one tells the order.
        let mut a = [0.0_f32; 32];
        a[0] = 16_777_216.0;
        a[16] = 1.0; // same lane as 0: lost
        a[8] = 1.0; // folded into lane 0 first: lost
        a[1] = 1.0;
        a[3] = 1.0; // lane 3 joins lane 1 before lane 0: 1 + 1 survives
        assert_eq!(sum1(Plain, &a, |x| x), 16_777_218.0);
        assert_eq!(sum2(Plain, &a, &[1.0; 32], |x, y| Plain.mul(x, y)), 16_777_218.0);
    }
}
