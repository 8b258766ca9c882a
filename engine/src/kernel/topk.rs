//! The k nearest of a stream of candidates.
//!
//! A binary heap with the worst kept candidate on top, so that most candidates cost one comparison with [`TopK::threshold`].
//! Written here because the order among equal distances is known to the caller alone and must not cost anything while
//! distances differ.

use std::cmp::Ordering;

/// The `k` candidates with the smallest distance, ties broken by the caller's order.
pub struct TopK<P> {
    k: usize,
    /// Max-heap by (distance, caller's order).
    heap: Vec<(f32, P)>,
}

impl<P: Copy> TopK<P> {
    /// Room for `k` candidates, allocated here and nowhere else. Pass at most the number of candidates there can be.
    pub fn new(k: usize) -> Self {
        TopK { k, heap: Vec::with_capacity(k) }
    }

    /// A candidate with a larger distance will not be kept: the worst kept distance, or infinity until `k` are kept. An equal
    /// distance may be kept, if the caller's order says so. Negative infinity for `k = 0`.
    pub fn threshold(&self) -> f32 {
        match self.heap.first() {
            _ if self.heap.len() < self.k => f32::INFINITY,
            Some((distance, _)) => *distance,
            None => f32::NEG_INFINITY,
        }
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Offers a candidate and says whether it was kept. Distances are ordered by `total_cmp` (NaN is farthest); `order` is asked
    /// only about candidates whose distances have equal bits, and must be a total order over all payloads ever offered.
    pub fn push(&mut self, distance: f32, payload: P, order: impl Fn(P, P) -> Ordering) -> bool {
        let new = (distance, payload);
        if self.heap.len() < self.k {
            self.heap.push(new);
            self.sift_up(&order);
            return true;
        }
        match self.heap.first_mut() {
            Some(top) if compare(new, *top, &order) == Ordering::Less => {
                *top = new;
                self.sift_down(&order);
                true
            }
            _ => false,
        }
    }

    /// The kept candidates, nearest first; `order` as in [`TopK::push`].
    pub fn into_sorted(self, order: impl Fn(P, P) -> Ordering) -> Vec<(f32, P)> {
        let mut kept = self.heap;
        kept.sort_unstable_by(|a, b| compare(*a, *b, &order));
        kept
    }

    fn sift_up(&mut self, order: &impl Fn(P, P) -> Ordering) {
        let mut at = self.heap.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if compare(self.heap[at], self.heap[parent], order) != Ordering::Greater {
                return;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    fn sift_down(&mut self, order: &impl Fn(P, P) -> Ordering) {
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let right_is_worse =
                right < self.heap.len() && compare(self.heap[right], self.heap[left], order) == Ordering::Greater;
            let worse = if right_is_worse { right } else { left };
            if compare(self.heap[worse], self.heap[at], order) != Ordering::Greater {
                return;
            }
            self.heap.swap(at, worse);
            at = worse;
        }
    }
}

fn compare<P: Copy>(a: (f32, P), b: (f32, P), order: &impl Fn(P, P) -> Ordering) -> Ordering {
    match a.0.total_cmp(&b.0) {
        Ordering::Equal => order(a.1, b.1),
        unequal => unequal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_number(a: u32, b: u32) -> Ordering {
        a.cmp(&b)
    }

    proptest! {
        #[test]
        fn what_is_kept_is_the_front_of_the_sorted_stream(
            // Few distinct values, so that ties are common.
            distances in prop::collection::vec((0u8..6).prop_map(|d| f32::from(d) - 2.0), 0..200),
            k in 0usize..40,
        ) {
            let mut best = TopK::new(k);
            for (i, d) in distances.iter().enumerate().rev() {
                best.push(*d, i as u32, by_number);
            }
            let mut sorted: Vec<(f32, u32)> = distances.iter().enumerate().map(|(i, d)| (*d, i as u32)).collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            sorted.truncate(k);
            prop_assert_eq!(best.into_sorted(by_number), sorted);
        }
    }

    #[test]
    fn the_threshold_is_infinite_until_full_and_then_the_worst_kept() {
        let mut best = TopK::new(2);
        assert_eq!(best.threshold(), f32::INFINITY);
        assert!(best.push(3.0, 0, by_number));
        assert_eq!(best.threshold(), f32::INFINITY);
        assert!(best.push(1.0, 1, by_number));
        assert_eq!(best.threshold(), 3.0);
        assert!(!best.push(4.0, 2, by_number));
        assert!(best.push(2.0, 3, by_number));
        assert_eq!(best.threshold(), 2.0);
    }

    #[test]
    fn nothing_is_kept_when_nothing_is_wanted() {
        let mut best = TopK::new(0);
        assert_eq!(best.threshold(), f32::NEG_INFINITY);
        assert!(!best.push(-1.0, 0, by_number));
        assert!(best.into_sorted(by_number).is_empty());
    }

    #[test]
    fn not_a_number_is_the_first_to_go() {
        let mut best = TopK::new(2);
        best.push(f32::NAN, 0, by_number);
        best.push(f32::INFINITY, 1, by_number);
        best.push(1.0, 2, by_number);
        assert_eq!(best.into_sorted(by_number), [(1.0, 2), (f32::INFINITY, 1)]);
    }

    #[test]
    fn the_order_is_not_asked_while_distances_differ() {
        let mut best = TopK::new(3);
        for i in 0..50u32 {
            best.push((i * 7 % 50) as f32, i, |_, _| unreachable!());
        }
        assert_eq!(best.into_sorted(|_, _| unreachable!()).len(), 3);
    }
}
