//! In what order queries are answered best if each reads what its neighbours read.

use zerocopy::IntoBytes;

use crate::kernel::{Element, Op, kernels};
use crate::metric::Metric;

/// So few queries stay as they are.
const FEW: usize = 4;

/// The numbers of the queries, those near each other one after the other: all of them are cut into two halves that lie apart, each half into
/// two again, and so on. A cut goes across the line between the means of the two halves that the cut before it made; the first goes across the
/// line from the mean of all to the query that is farthest from it.
pub(super) fn by_place(queries: &[&[f32]], metric: Metric) -> Vec<usize> {
    let scale = |query: &&[f32]| {
        let square = dot(query, query);
        match metric {
            Metric::L2 => (1.0, square),
            // Which rows are near depends on the direction alone.
            Metric::Cosine | Metric::InnerProduct => (square.sqrt().max(f32::MIN_POSITIVE).recip(), 1.0),
        }
    };
    let scales: Vec<(f32, f32)> = queries.iter().map(scale).collect();
    let mut order: Vec<(f32, usize)> = (0..queries.len()).map(|at| (0.0, at)).collect();
    let dim = queries.first().map_or(0, |query| query.len());
    let mut cuts = Cuts { queries, scales: &scales, axis: vec![0.0; dim], mean: vec![0.0; dim] };
    cuts.halve(&mut order);
    order.into_iter().map(|(_, at)| at).collect()
}

/// Queries, and room for one cut.
struct Cuts<'q> {
    queries: &'q [&'q [f32]],
    /// What each is multiplied with, and its squared length then.
    scales: &'q [(f32, f32)],
    axis: Vec<f32>,
    mean: Vec<f32>,
}

impl Cuts<'_> {
    /// Orders a part of the queries: numbers, each with room for where it is along the axis.
    fn halve(&mut self, part: &mut [(f32, usize)]) {
        if part.len() <= FEW {
            return;
        }
        let middle = part.len() / 2;
        self.axis.fill(0.0);
        self.add_mean(part, 1.0);
        self.mean.copy_from_slice(&self.axis);
        if let Some(far) = self.farthest(part) {
            self.axis.iter_mut().for_each(|x| *x = -*x);
            self.add_mean(&[(0.0, far)], 1.0);
        }
        self.cut(part, middle);
        self.axis.fill(0.0);
        let (low, high) = part.split_at(middle);
        self.add_mean(high, 1.0);
        self.add_mean(low, -1.0);
        self.cut(part, middle);
        let (low, high) = part.split_at_mut(middle);
        self.halve(low);
        self.halve(high);
    }

    /// Adds `factor` times the mean of some queries to the axis.
    fn add_mean(&mut self, part: &[(f32, usize)], factor: f32) {
        for (query, (scale, _)) in part.iter().filter_map(|(_, at)| self.queries.get(*at).zip(self.scales.get(*at))) {
            let scale = scale * factor / part.len() as f32;
            self.axis.iter_mut().zip(*query).for_each(|(sum, x)| *sum += scale * x);
        }
    }

    /// The query that is farthest from the mean.
    fn farthest(&self, part: &[(f32, usize)]) -> Option<usize> {
        let mut most = (f32::NEG_INFINITY, None);
        for (_, at) in part {
            let Some((query, (scale, square))) = self.queries.get(*at).zip(self.scales.get(*at)) else { continue };
            let distance = square - 2.0 * scale * dot(query, &self.mean);
            if distance > most.0 {
                most = (distance, Some(*at));
            }
        }
        most.1
    }

    /// Puts those that lie first along the axis before `middle`.
    fn cut(&self, part: &mut [(f32, usize)], middle: usize) {
        for (along, at) in part.iter_mut() {
            let place = self.queries.get(*at).zip(self.scales.get(*at));
            *along = place.map_or(0.0, |(query, (scale, _))| scale * dot(query, &self.axis));
        }
        part.select_nth_unstable_by(middle, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    kernels().one(Op::Dot, Element::F32, a, b.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points around eight far corners, in turns.
    fn corners(dim: usize) -> Vec<Vec<f32>> {
        let near = |i: usize, d: usize| ((i * 37 + d * 101) % 17) as f32 / 100.0;
        let corner = |i: usize, d: usize| if ((i % 8) >> (d % 3)) & 1 == 1 { 1.0 } else { -1.0 };
        (0..200).map(|i| (0..dim).map(|d| corner(i, d) * (1.0 + (d % 3) as f32) + near(i, d)).collect()).collect()
    }

    #[test]
    fn queries_near_each_other_follow_each_other() {
        for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
            for dim in [3, 8, 21] {
                let points = corners(dim);
                let queries: Vec<&[f32]> = points.iter().map(Vec::as_slice).collect();
                let order = by_place(&queries, metric);
                let mut all = order.clone();
                all.sort_unstable();
                assert!(all.iter().copied().eq(0..200), "each of them once");
                let changes = order.windows(2).filter(|pair| pair[0] % 8 != pair[1] % 8).count();
                assert_eq!(changes, 7, "{metric:?} {dim}: a corner is left once");
            }
        }
    }

    #[test]
    fn any_numbers_are_put_in_some_order() {
        let rows = [[0.0, 0.0], [f32::MAX, 1.0], [f32::MAX, f32::MAX], [-f32::MAX, 0.0], [1e-30, 0.0], [1.0, 1.0]];
        let queries: Vec<&[f32]> = rows.iter().cycle().take(60).map(|row| &row[..]).collect();
        for metric in [Metric::L2, Metric::Cosine] {
            let mut order = by_place(&queries, metric);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..60));
        }
        assert!(by_place(&[], Metric::L2).is_empty());
        assert_eq!(by_place(&[&[1.0]], Metric::L2), [0]);
    }
}
