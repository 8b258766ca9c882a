//! The one order in which sums that reach a file are added.
//!
//! Component `i` goes to lane `i % 16`; the sixteen lanes are then folded in half four times. No fused multiply-add. Functions
//! here are inlined into callers compiled for each instruction set, so that the compiler may use its vectors; the order, and
//! with it every bit of the result, stays.

/// Number of partial sums.
pub(super) const LANES: usize = 16;

/// Folds the sixteen partial sums.
#[inline(always)]
pub(super) fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// `sum f(a_i, b_i)`; the slices have equal lengths, a multiple of sixteen.
#[inline(always)]
pub(super) fn sum2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            lanes[lane] += f(a[lane], b[lane]);
        }
    }
    fold(lanes)
}

/// `sum f(a_i)`; the length is a multiple of sixteen.
#[inline(always)]
pub(super) fn sum1(a: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for a in a.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            lanes[lane] += f(a[lane]);
        }
    }
    fold(lanes)
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
        assert_eq!(sum1(&a, |x| x), 16_777_218.0);
        assert_eq!(sum2(&a, &[1.0; 32], |x, y| x * y), 16_777_218.0);
    }
}
