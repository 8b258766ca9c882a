//! The list of a row that comes in alone or with few others: centroids are ranked as for a query.

use super::centroids::{CentroidSet, set_aside};
use super::doubt::Doubt;
use super::frame::Frame;
use crate::kernel::cluster::NO_LIST;
use crate::kernel::code::query::QueryTables;
use crate::kernel::code::residual::{Coded, Coding};
use crate::kernel::code::row::RowCoding;
use crate::kernel::code::scan::{ScanTerms, SignList};
use crate::kernel::{Kernels, Op, Selection};

/// Centroids whose distances are computed after all were estimated.
const REFINED: usize = 16;
/// Lists nearest to a row, the first aside, among which its second is chosen.
const CANDIDATES: usize = 8;

/// Finds the nearest list of rows, one by one. What a row gets depends on the row and the model, and in rare near-ties on the processor.
/// Keeps its room between rows; one for each thread.
pub(crate) struct Filing<'a> {
    kernels: &'static Kernels,
    frame: &'a Frame,
    centroids: CentroidSet<'a>,
    /// `|c|^2` of each centroid, under the inner product only: there the codes of centroids tell of products.
    squares: Vec<f32>,
    inside: Vec<f32>,
    tables: QueryTables,
    estimates: Vec<f32>,
    selection: Selection,
    offsets: Vec<usize>,
    refined: Vec<f32>,
    /// A centroid.
    centroid: Vec<f32>,
    /// The row less the centroid of its first list.
    residual: Vec<f32>,
    /// The lists among which a second one is chosen, with their distances.
    near: Vec<(f32, u32)>,
    coded: Coded,
}

impl<'a> Filing<'a> {
    /// Ready for rows.
    pub(crate) fn new(kernels: &'static Kernels, frame: &'a Frame, centroids: CentroidSet<'a>) -> Self {
        let squares = match frame.op() {
            Op::L2 => Vec::new(),
            Op::Dot => (0..centroids.count).map(|list| centroids.square(list, frame.padded())).collect(),
        };
        Filing {
            kernels,
            frame,
            centroids,
            squares,
            inside: Vec::new(),
            tables: QueryTables::default(),
            estimates: Vec::new(),
            selection: Selection::new(),
            offsets: Vec::new(),
            refined: Vec::new(),
            centroid: Vec::new(),
            residual: Vec::new(),
            near: Vec::new(),
            coded: Coded::default(),
        }
    }

    /// The list whose centroid is nearest to a row, the first of several, and the squared distance from it. Under cosine `length` is that of
    /// the vector.
    pub(crate) fn list_of(&mut self, vector: &[f32], length: f32) -> (u32, f32) {
        let (kernels, stride) = (self.kernels, self.centroids.stride);
        self.frame.enter(kernels, vector, length, &mut self.inside);
        kernels.prepare_query(&self.inside, &mut self.tables);
        let square = self.tables.norm_squared();
        let op = self.frame.op();
        let base = if op == Op::L2 { square } else { 0.0 };
        let terms = ScanTerms { op, base, reach: square.sqrt(), scale: self.frame.scale() };
        let list =
            SignList { codes: self.centroids.signs, factors: self.centroids.factors, count: self.centroids.count };
        self.estimates.resize(self.centroids.count, 0.0);
        kernels.estimate(&self.tables, &list, &terms, &mut self.estimates);
        for (estimate, centroid) in self.estimates.iter_mut().zip(&self.squares) {
            *estimate = 2.0 * *estimate + square + centroid;
        }
        let chosen = kernels.select_near(&self.estimates, REFINED, &mut self.selection);
        self.offsets.clear();
        self.offsets.extend(chosen.iter().map(|list| *list as usize * stride));
        self.refined.clear();
        self.refine(square);
        let mut again = true;
        while again && self.offsets.len() < self.centroids.count {
            let Some((doubtful, hid)) = self.doubtful() else { break };
            let Filing { centroids, estimates, selection, offsets, .. } = self;
            centroids.append_between(kernels, estimates, doubtful, selection, offsets);
            self.refine(square);
            again = hid;
        }
        let nearest = self.offsets.iter().zip(&self.refined).min_by(|a, b| a.1.total_cmp(b.1).then(a.0.cmp(b.0)));
        nearest.map_or((0, 0.0), |(offset, distance)| ((offset / stride.max(1)) as u32, *distance))
    }

    /// Computes the distances of the centroids at `offsets` that have none in `refined`.
    fn refine(&mut self, square: f32) {
        let first = self.refined.len();
        self.refined.resize(self.offsets.len(), 0.0);
        let coding = RowCoding { bits: 8, op: Op::L2 };
        let terms = ScanTerms { op: Op::L2, base: square, reach: square.sqrt(), scale: 1.0 };
        let bytes = self.centroids.bytes;
        if let (Some(offsets), Some(refined)) = (self.offsets.get(first..), self.refined.get_mut(first..)) {
            self.kernels.estimate_row_codes(&self.tables, &coding, &terms, bytes, offsets, refined);
        }
    }

    /// Between which estimates lists are that were not refined and may be the nearest all the same; `None` if there are none. True if lists without an
    /// estimate hid them.
    fn doubtful(&mut self) -> Option<((f32, f32), bool)> {
        let (mut doubt, mut nearest) = (Doubt::default(), f32::INFINITY);
        for (offset, distance) in self.offsets.iter().zip(&self.refined) {
            doubt.saw(*self.estimates.get(offset.checked_div(self.centroids.stride)?)?, *distance, *distance);
            nearest = nearest.min(*distance);
        }
        if doubt.unknown() > 0 {
            set_aside(&mut self.estimates);
            return Some((doubt.up_to(self.kernels.near(&self.estimates, REFINED, &mut self.selection))?, true));
        }
        doubt.range(nearest).map(|range| (range, false))
    }

    /// The row that [`list_of`](Filing::list_of) was asked about last, in the frame.
    pub(crate) fn inside(&self) -> &[f32] {
        &self.inside
    }

    /// The code of one bit that the row which [`list_of`](Filing::list_of) was asked about last has in a list.
    pub(crate) fn coded_in(&mut self, list: u32) -> &Coded {
        let coding = Coding { bits: 1, op: self.frame.op(), scale: self.frame.scale() };
        self.centroids.centroid(list as usize, self.frame.padded(), &mut self.centroid);
        self.kernels.encode(&coding, &self.inside, &self.centroid, 0.0, &mut self.coded);
        &self.coded
    }

    /// The second list of the row that [`list_of`](Filing::list_of) was asked about last: near, and away from it in another direction than
    /// the first, so that queries which miss the one find the other. The loss of Sun and others, see [`super`]; [`NO_LIST`] if there is
    /// one list only.
    pub(crate) fn second_of(&mut self, first: u32) -> u32 {
        let (padded, stride) = (self.frame.padded(), self.centroids.stride.max(1));
        self.centroids.centroid(first as usize, padded, &mut self.centroid);
        self.residual.clear();
        self.residual.extend(self.inside.iter().zip(&self.centroid).map(|(x, c)| x - c));
        let square = dot(&self.residual, &self.residual);
        let weight = if square > 0.0 { 1.0 / square } else { 0.0 };
        let near = self.offsets.iter().zip(&self.refined);
        self.near.clear();
        self.near.extend(near.map(|(offset, distance)| (*distance, (offset / stride) as u32)));
        self.near.retain(|(_, list)| *list != first);
        let order = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if self.near.len() > CANDIDATES {
            self.near.select_nth_unstable_by(CANDIDATES, order);
            self.near.truncate(CANDIDATES);
        }
        self.near.sort_unstable_by(order);
        let mut best = (f32::INFINITY, NO_LIST);
        for (distance, list) in &self.near {
            let (distance, list) = (*distance, *list);
            self.centroids.centroid(list as usize, padded, &mut self.centroid);
            // The inner product of both residuals.
            let along = dot(&self.residual, &self.inside) - dot(&self.residual, &self.centroid);
            let loss = distance + weight * (along * along);
            if loss < best.0 {
                best = (loss, list);
            }
        }
        best.1
    }
}

/// Eight sums side by side, always in the same order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::super::centroids::tests::{METRICS, PLACES, in_order, set_of, two_kinds};
    use super::*;
    use crate::kernel::kernels;
    use crate::metric::Metric;

    #[test]
    fn a_row_far_from_the_mean_gets_the_nearest_list_of_its_kind() {
        for metric in METRICS {
            for place in PLACES.into_iter().take(if metric == Metric::L2 { 2 } else { 1 }) {
                let (frame, bytes, rows) = two_kinds(metric, place);
                let set = set_of(&bytes, &frame);
                let mut filing = Filing::new(kernels(), &frame, set);
                let mut wrong = 0;
                for row in &rows {
                    let (list, _) = filing.list_of(row, dot(row, row).sqrt());
                    wrong += usize::from(in_order(&set, &frame, filing.inside(), Op::L2)[0] != list);
                }
                assert!(wrong <= rows.len() / 25, "{metric:?} {place}: {wrong} of {}", rows.len());
            }
        }
    }
}
