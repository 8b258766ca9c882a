//! The best m of many estimates, without sorting them and without pushing each.
//!
//! The estimates are cut into groups; the minimum of each lane of each group is kept, about twice as many minima as are
//! wanted. The m-th smallest minimum is a threshold with at least m estimates at or below it, and not many more. One pass
//! collects those; only they are then cut to m exactly.

use super::lanes::{LANES, Lanes};

/// One chosen estimate. Ordered by estimate (as `f32::total_cmp`), then by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chosen(u64);

impl Chosen {
    /// An estimate and its index.
    #[inline(always)]
    pub fn new(estimate: f32, index: u32) -> Self {
        let bits = estimate.to_bits();
        // Flips all bits of negative numbers and the sign of the others: order of the integers is order of the numbers.
        let ordered = bits ^ ((bits as i32 >> 31) as u32 | 0x8000_0000);
        Chosen(u64::from(ordered) << 32 | u64::from(index))
    }

    /// Its place among the estimates.
    pub fn index(self) -> usize {
        (self.0 & 0xFFFF_FFFF) as usize
    }

    /// The estimate.
    pub fn estimate(self) -> f32 {
        let ordered = (self.0 >> 32) as u32;
        f32::from_bits(ordered ^ ((!ordered as i32 >> 31) as u32 | 0x8000_0000))
    }
}

/// Minima and chosen estimates; the room is kept between queries.
#[derive(Default)]
pub struct Selection {
    minima: Vec<f32>,
    chosen: Vec<Chosen>,
    pub(super) places: Vec<u32>,
}

impl Selection {
    /// Nothing chosen yet.
    pub fn new() -> Self {
        Selection::default()
    }

    /// What was chosen last, in no order.
    pub fn chosen_mut(&mut self) -> &mut [Chosen] {
        &mut self.chosen
    }
}

/// Vector code writes whole vectors: up to this many places behind the last.
pub(super) const SLACK: usize = LANES;

/// Minima kept for each estimate wanted: more make the threshold tighter and cost more to select among.
const MINIMA_PER_CHOICE: usize = 3;

#[inline(always)]
pub(super) fn select<L: Lanes>(lanes: L, estimates: &[f32], m: usize, selection: &mut Selection) {
    selection.chosen.clear();
    if m == 0 {
        return;
    }
    let threshold = threshold(lanes, estimates, m, &mut selection.minima);
    collect(lanes, estimates, threshold, &mut selection.chosen);
    if selection.chosen.len() > m {
        selection.chosen.select_nth_unstable(m - 1);
        selection.chosen.truncate(m);
    }
}

/// The places of all estimates up to `limit`, in order, at the front of `places`, which has room for all and [`SLACK`] more; how many
/// they are.
#[inline(always)]
pub(super) fn places_up_to<L: Lanes>(lanes: L, estimates: &[f32], limit: f32, places: &mut [u32]) -> usize {
    let high = lanes.splat(limit);
    let (vectors, rest) = estimates.as_chunks::<LANES>();
    let mut count = 0;
    for (i, x) in vectors.iter().enumerate() {
        let mut passed = lanes.bits(lanes.at_most(lanes.load(x), high));
        while passed != 0 {
            places[count] = (i * LANES) as u32 + passed.trailing_zeros();
            count += 1;
            passed &= passed - 1;
        }
    }
    for (lane, _) in rest.iter().enumerate().filter(|(_, x)| **x <= limit) {
        places[count] = (vectors.len() * LANES + lane) as u32;
        count += 1;
    }
    count
}

/// See [`Kernels::near`](super::Kernels::near).
#[inline(always)]
pub(super) fn near<L: Lanes>(lanes: L, estimates: &[f32], m: usize, selection: &mut Selection) -> f32 {
    match m {
        0 => f32::NEG_INFINITY,
        _ => threshold(lanes, estimates, m, &mut selection.minima),
    }
}

/// A number that at least `m` estimates do not exceed, if so many are numbers.
#[inline(always)]
fn threshold<L: Lanes>(lanes: L, estimates: &[f32], m: usize, minima: &mut Vec<f32>) -> f32 {
    let (vectors, _) = estimates.as_chunks::<LANES>();
    let groups = (MINIMA_PER_CHOICE * m).div_ceil(LANES).max(1);
    let length = (vectors.len() / groups).max(1);
    minima.clear();
    for group in vectors.chunks(length) {
        let mut least = lanes.splat(f32::INFINITY);
        for x in group {
            least = lanes.min(lanes.load(x), least);
        }
        let mut sixteen = [0.0; LANES];
        lanes.store(least, &mut sixteen);
        minima.extend_from_slice(&sixteen);
    }
    match minima.len() {
        few if few < m => f32::INFINITY,
        _ => up_to_about(lanes, minima, m),
    }
}

/// Halvings of a range of numbers before a sort decides.
const HALVINGS: usize = 24;

/// A number that at least `m` of `values` do not exceed, and not many more: by halving the range, counting a few registers each
/// time, which takes a fifth of the time of a selection by swaps. `values` are whole vectors without NaN, `m` numbers at least.
#[inline(always)]
fn up_to_about<L: Lanes>(lanes: L, values: &mut [f32], m: usize) -> f32 {
    let (least, most) = range(lanes, values);
    // Neither infinities nor a range that is none can be halved.
    if most - least < f32::INFINITY {
        let enough = m + m / 16;
        let (mut low, mut high) = (least, most);
        for _ in 0..HALVINGS {
            let middle = 0.5 * low + 0.5 * high;
            if !(middle > low && middle < high) {
                break;
            }
            match count_up_to(lanes, values, middle) {
                few if few < m => low = middle,
                fine if fine <= enough => return middle,
                _ => high = middle,
            }
        }
    }
    *values.select_nth_unstable_by(m - 1, f32::total_cmp).1
}

/// The smallest and the largest of whole vectors without NaN.
#[inline(always)]
fn range<L: Lanes>(lanes: L, values: &[f32]) -> (f32, f32) {
    let (mut least, mut most) = (lanes.splat(f32::INFINITY), lanes.splat(f32::NEG_INFINITY));
    for x in values.as_chunks::<LANES>().0 {
        least = lanes.min(lanes.load(x), least);
        most = lanes.max(lanes.load(x), most);
    }
    let (mut low, mut high) = ([0.0; LANES], [0.0; LANES]);
    lanes.store(least, &mut low);
    lanes.store(most, &mut high);
    let low = low.into_iter().fold(f32::INFINITY, |a, b| if b < a { b } else { a });
    let high = high.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    (low, high)
}

/// How many of whole vectors are at most `limit`.
#[inline(always)]
fn count_up_to<L: Lanes>(lanes: L, values: &[f32], limit: f32) -> usize {
    let limit = lanes.splat(limit);
    let count = |x: &[f32; LANES]| lanes.bits(lanes.at_most(lanes.load(x), limit)).count_ones();
    values.as_chunks::<LANES>().0.iter().map(count).sum::<u32>() as usize
}

/// See [`Kernels::front`](super::Kernels::front).
#[inline(always)]
pub(super) fn front<L: Lanes>(lanes: L, values: &[f32], m: usize) -> Option<f32> {
    let (mut low, mut high) = range(lanes, values);
    if m == 0 || high - low >= f32::INFINITY {
        return None;
    }
    for _ in 0..HALVINGS {
        let middle = 0.5 * low + 0.5 * high;
        match count_up_to(lanes, values, middle) {
            few if few < m => low = middle,
            all if all == m => return Some(middle),
            _ => high = middle,
        }
    }
    None
}

/// Every estimate up to `threshold`.
#[inline(always)]
fn collect<L: Lanes>(lanes: L, estimates: &[f32], threshold: f32, chosen: &mut Vec<Chosen>) {
    let limit = lanes.splat(threshold);
    let (vectors, rest) = estimates.as_chunks::<LANES>();
    for (i, x) in vectors.iter().enumerate() {
        let mut passed = lanes.bits(lanes.at_most(lanes.load(x), limit));
        while passed != 0 {
            let lane = passed.trailing_zeros() as usize;
            chosen.push(Chosen::new(x[lane], (i * LANES + lane) as u32));
            passed &= passed - 1;
        }
    }
    for (lane, x) in rest.iter().enumerate().filter(|(_, x)| **x <= threshold) {
        chosen.push(Chosen::new(*x, (vectors.len() * LANES + lane) as u32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{CpuPath, Kernels};
    use proptest::prelude::*;

    fn smallest(estimates: &[f32], m: usize) -> Vec<Chosen> {
        let numbers = estimates.iter().enumerate().filter(|(_, x)| !x.is_nan());
        let mut all: Vec<Chosen> = numbers.map(|(i, x)| Chosen::new(*x, i as u32)).collect();
        all.sort();
        all.truncate(m);
        all
    }

    fn check(estimates: &[f32], m: usize) {
        let mut selection = Selection::new();
        for kernels in CpuPath::ALL.into_iter().filter_map(Kernels::for_path) {
            let chosen = kernels.select(estimates, m, &mut selection);
            chosen.sort();
            assert_eq!(chosen, smallest(estimates, m), "{:?}", kernels.path());
        }
    }

    /// The two cheaper choices, on every path: enough, nothing left out below the last, in order, the same.
    fn check_near(estimates: &[f32], m: usize) {
        let mut selection = Selection::new();
        let numbers = estimates.iter().filter(|x| !x.is_nan()).count();
        let limit = Kernels::scalar().near(estimates, m, &mut selection);
        assert!(!limit.is_nan());
        let reached = estimates.iter().filter(|x| **x <= limit).count();
        assert!(reached >= m.min(numbers), "{reached} of {m} up to {limit}");
        let up_to: Vec<u32> = (0..).zip(estimates).filter(|(_, x)| m > 0 && **x <= limit).map(|(i, _)| i).collect();
        for kernels in CpuPath::ALL.into_iter().filter_map(Kernels::for_path) {
            let near = kernels.near(estimates, m, &mut selection);
            assert_eq!(near.to_bits(), limit.to_bits(), "{:?}: {near} and {limit}", kernels.path());
            assert_eq!(kernels.select_near(estimates, m, &mut selection), up_to, "{:?}", kernels.path());
        }
    }

    #[test]
    fn choices_near_a_number_of_few_or_equal_or_endless_estimates_are_alike() {
        let mixed = [1.0, f32::NAN, f32::INFINITY, -0.0, 0.0, f32::NEG_INFINITY, -1.0, 1.0, f32::MAX];
        let mixed: Vec<f32> = mixed.into_iter().cycle().take(333).collect();
        for count in [0, 1, 15, 16, 17, 31, 32, 33, 64, 100, 333] {
            for m in [0, 1, 2, 13, 16, 17, 33, 100, 333, 1000] {
                check_near(&mixed[..count], m);
                check_near(&vec![2.5; count], m);
                check_near(&vec![f32::NAN; count], m);
                check_near(&vec![f32::INFINITY; count], m);
                check_near(&vec![f32::NEG_INFINITY; count], m);
                let zeros: Vec<f32> = [0.0, -0.0].into_iter().cycle().take(count).collect();
                check_near(&zeros, m);
            }
        }
    }

    fn check_front(values: &[f32], m: usize) {
        let mut whole = values.to_vec();
        whole.resize(values.len().next_multiple_of(LANES), f32::NAN);
        let limit = Kernels::scalar().front(&whole, m);
        if let Some(limit) = limit {
            assert_eq!(values.iter().filter(|x| **x <= limit).count(), m, "{limit}");
        }
        for kernels in CpuPath::ALL.into_iter().filter_map(Kernels::for_path) {
            assert_eq!(kernels.front(&whole, m).map(f32::to_bits), limit.map(f32::to_bits), "{:?}", kernels.path());
        }
    }

    #[test]
    fn a_front_is_found_among_distinct_numbers_and_is_exact() {
        let mut draw = crate::kernel::SplitMix64::new(5);
        let values: Vec<f32> = (0..157).map(|_| (draw.next_u64() >> 44) as f32).collect();
        for m in 1..157 {
            check_front(&values, m);
            assert!(Kernels::scalar().front(&[&values[..144], &[f32::NAN; 16]].concat(), m.min(143)).is_some());
        }
        check_front(&values, 0);
        check_front(&values, 158);
        check_front(&[], 3);
        check_front(&[2.5; 40], 7);
        check_front(&[1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN], 2);
    }

    /// What makes them worth having: not all is chosen.
    #[test]
    fn a_choice_near_a_number_takes_few_more() {
        let mut draw = crate::kernel::SplitMix64::new(3);
        let estimates: Vec<f32> = (0..4000).map(|_| (draw.next_u64() >> 40) as f32).collect();
        for m in [1, 10, 48, 200] {
            let mut selection = Selection::new();
            let chosen = Kernels::scalar().select_near(&estimates, m, &mut selection).len();
            assert!((m..=2 * m + 16).contains(&chosen), "{chosen} for {m}");
        }
    }

    proptest! {
        #[test]
        fn choices_near_a_number_are_the_same_on_every_path(
            estimates in prop::collection::vec(
                prop_oneof![8 => (-40i8..40).prop_map(f32::from), 1 => Just(f32::NAN), 1 => Just(f32::NEG_INFINITY),
                    1 => Just(f32::INFINITY), 1 => Just(-0.0)],
                0..3000,
            ),
            m in 0usize..300,
        ) {
            check_near(&estimates, m);
        }

        #[test]
        fn the_chosen_are_the_smallest_with_ties_to_the_first(
            estimates in prop::collection::vec(
                prop_oneof![8 => (-40i8..40).prop_map(f32::from), 1 => Just(f32::NAN), 1 => Just(f32::NEG_INFINITY),
                    1 => Just(f32::INFINITY)],
                0..3000,
            ),
            m in 0usize..300,
        ) {
            check(&estimates, m);
        }
    }

    #[test]
    fn sorted_and_constant_estimates_are_no_special_case() {
        let rising: Vec<f32> = (0..5000).map(|i| i as f32).collect();
        let falling: Vec<f32> = rising.iter().rev().copied().collect();
        for m in [1, 7, 100, 4999, 5000, 6000] {
            check(&rising, m);
            check(&falling, m);
            check(&[1.5; 777], m);
        }
    }

    #[test]
    fn a_chosen_estimate_comes_back() {
        for x in [0.0, -0.0, 1.5, -1.5, f32::INFINITY, f32::NEG_INFINITY, 1e-45, -3e38] {
            let chosen = Chosen::new(x, 77);
            assert_eq!((chosen.estimate().to_bits(), chosen.index()), (x.to_bits(), 77));
        }
        assert!(Chosen::new(-2.0, 9) < Chosen::new(-1.0, 0));
        assert!(Chosen::new(-1.0, 0) < Chosen::new(1.0, 0));
    }
}
