//! How far away lists are still looked at.

use super::centroids::Probed;
use super::frame::Frame;
use super::search::QueryState;
use crate::kernel::Op;

/// What the first wave of a search tells about the lists that come after it: one that is much farther away than the rows that were found, and
/// than the lists they were found in, hardly holds a nearer row. So a query for which that is soon said ends early, and another one goes on.
///
/// Distances are compared with the middle between the `k`-th row found and the last list of the first wave. Squared ones are told as so many
/// times that, so that it does not matter in what unit vectors are; inner products as what is missing from it, for each unit of the query's length.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Horizon {
    zero: f32,
    unit: f32,
}

impl Horizon {
    /// After the lists of the `first` wave; `kth` is the `k`-th best estimate or a larger number (see `Candidates`), infinity if there are fewer: then no list
    /// is too far.
    pub(super) fn after(first: &[Probed], kth: f32, frame: &Frame, query: &QueryState) -> Horizon {
        let last = first.iter().map(|probed| probed.rank).fold(f32::NEG_INFINITY, f32::max);
        match frame.op() {
            Op::L2 => Horizon { zero: 0.0, unit: (0.5 * (kth + last)).max(0.0) },
            Op::Dot => Horizon { zero: 0.5 * (kth - query.shift + last), unit: query.tables.norm_squared().sqrt() },
        }
    }

    /// How far out a list of this rank is.
    pub(super) fn place(&self, rank: f32) -> f32 {
        match self.unit > 0.0 {
            true => (rank - self.zero) / self.unit,
            false if rank <= self.zero => f32::NEG_INFINITY,
            false => f32::INFINITY,
        }
    }

    /// The rank of the lists that are just as far out as this.
    fn rank(&self, place: f32) -> f32 {
        match self.unit {
            0.0 => self.zero,
            f32::INFINITY => f32::INFINITY,
            unit => self.zero + place * unit,
        }
    }

    /// Takes the lists that are farther out than `most` off those that are looked at after the first `seen`; how many of the first `asked` are left.
    pub(super) fn leave_out(&self, most: f32, seen: usize, asked: usize, probes: &mut Vec<Probed>) -> usize {
        let limit = self.rank(most);
        let (mut at, mut left) = (0, 0);
        probes.retain(|probed| {
            let keep = at < seen || probed.rank <= limit;
            left += usize::from(keep && at < asked);
            at += 1;
            keep
        });
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Metric;

    fn lists(ranks: &[f32]) -> Vec<Probed> {
        ranks.iter().zip(0..).map(|(rank, list)| Probed { list, rank: *rank, reach: 0.0 }).collect()
    }

    fn frame(metric: Metric) -> Frame {
        Frame::new(metric, vec![0.0; 8], 1, 1.0)
    }

    fn query(kernels: &crate::kernel::Kernels, frame: &Frame, length: f32) -> QueryState {
        let mut state = QueryState::default();
        let vector: Vec<f32> = (0..8).map(|i| if i == 2 { length } else { 0.0 }).collect();
        state.shift = frame.enter_query(kernels, &vector, length, &mut state.rotated);
        kernels.prepare_query(&state.rotated, &mut state.tables);
        state
    }

    #[test]
    fn lists_beyond_the_horizon_are_left_out_in_any_unit() {
        let kernels = crate::kernel::kernels();
        for unit in [1e-6, 1.0, 1e6f32] {
            let (frame, state) = (frame(Metric::L2), query(kernels, &frame(Metric::L2), unit.sqrt()));
            let mut probes = lists(&[4.0, 1.0, 3.0, 2.0, 5.1, 6.1, 4.9, 2.5].map(|rank| rank * unit));
            // The middle between 6 and 4.
            let horizon = Horizon::after(&probes[..4], 6.0 * unit, &frame, &state);
            assert!((horizon.place(7.5 * unit) - 1.5).abs() < 1e-5);
            assert_eq!(horizon.leave_out(f32::INFINITY, 4, 6, &mut probes), 6);
            assert_eq!(probes.len(), 8);
            assert_eq!(horizon.leave_out(1.0, 4, 6, &mut probes), 4, "two that were asked for are not looked at");
            assert!(probes.iter().map(|probed| probed.list).eq([0, 1, 2, 3, 6, 7]));
        }
    }

    #[test]
    fn of_inner_products_what_is_missing_counts() {
        let kernels = crate::kernel::kernels();
        let frame = frame(Metric::InnerProduct);
        for length in [1e-3, 1.0, 1e3f32] {
            let state = query(kernels, &frame, length);
            let mut probes = lists(&[-4.0, -3.0, -2.0, -3.5, -1.9, -0.1].map(|rank| rank * length));
            let horizon = Horizon::after(&probes[..4], -6.0 * length, &frame, &state);
            assert!((horizon.place(-1.9 * length) - 2.1).abs() < 1e-4, "{}", horizon.place(-1.9 * length));
            horizon.leave_out(2.5, 4, 0, &mut probes);
            assert_eq!(probes.len(), 5);
            horizon.leave_out(2.0, 4, 0, &mut probes);
            assert_eq!(probes.len(), 4);
        }
    }

    #[test]
    fn with_too_few_rows_no_list_is_too_far_and_with_none_between_no_list_is_near() {
        let kernels = crate::kernel::kernels();
        for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
            let frame = frame(metric);
            let state = query(kernels, &frame, 1.0);
            let mut probes = lists(&[0.0, 0.0, 0.0, 0.0, 3.0, f32::MAX]);
            for most in [0.5, f32::INFINITY] {
                Horizon::after(&probes[..4], f32::INFINITY, &frame, &state).leave_out(most, 4, 4, &mut probes);
                assert_eq!(probes.len(), 6, "{metric:?}");
            }
            let places = [0.0, 3.0].map(|rank| Horizon::after(&probes[..4], f32::INFINITY, &frame, &state).place(rank));
            assert!(places.iter().all(|place| *place <= 0.0), "{places:?}");
            Horizon::after(&probes[..4], 0.0, &frame, &state).leave_out(0.5, 4, 4, &mut probes);
            assert_eq!(probes.len(), 4, "{metric:?}: as near as can be");
        }
        let zero = query(kernels, &frame(Metric::InnerProduct), 0.0);
        let mut probes = lists(&[0.0; 6]);
        let horizon = Horizon::after(&probes[..4], 0.0, &frame(Metric::InnerProduct), &zero);
        horizon.leave_out(0.0, 4, 4, &mut probes);
        assert_eq!(
            (probes.len(), horizon.place(0.0)),
            (6, f32::NEG_INFINITY),
            "of a query of zeros all lists are as near"
        );
    }
}
