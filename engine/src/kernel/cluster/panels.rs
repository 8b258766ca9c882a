//! Centroids side by side, as the tiles of scores read them.

use crate::kernel::Kernels;
use crate::kernel::lanes::LANES;

use super::tile::Block;

/// Most places of a row of scores worked on at once.
pub(super) const PART: usize = 240;

/// Panels of sixteen centroids: for each component, the sixteen numbers of that component. The last panel is filled up with
/// centroids whose score is negative infinity.
pub(super) struct Panels {
    dim: usize,
    lines: Vec<[f32; LANES]>,
    start: Vec<[f32; LANES]>,
}

impl Panels {
    /// Panels of centroids of `dim` components.
    pub(super) fn new<'a>(dim: usize, centroids: impl Iterator<Item = &'a [f32]>) -> Self {
        let mut panels = Panels { dim, lines: Vec::new(), start: Vec::new() };
        for (place, centroid) in centroids.enumerate() {
            if place.is_multiple_of(LANES) {
                panels.lines.resize(panels.lines.len() + dim, [0.0; LANES]);
                panels.start.push([f32::NEG_INFINITY; LANES]);
            }
            panels.put(place, centroid);
        }
        panels
    }

    fn put(&mut self, place: usize, centroid: &[f32]) {
        let (panel, lane) = (place / LANES, place % LANES);
        let lines = self.lines.get_mut(panel * self.dim..).unwrap_or_default();
        for (line, x) in lines.iter_mut().zip(centroid) {
            line[lane] = *x;
        }
        let norm: f64 = centroid.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        if let Some(start) = self.start.get_mut(panel) {
            start[lane] = (-0.5 * norm) as f32;
        }
    }

    /// Places in a row of scores, a multiple of the lanes.
    pub(super) fn places(&self) -> usize {
        self.start.len() * LANES
    }

    /// The best centroid of each row and its score, of equals the first; `scores` is memory to work in.
    pub(super) fn best(&self, kernels: &Kernels, rows: &[f32], scores: &mut Vec<f32>, out: &mut [(f32, u32)]) {
        out.fill((f32::NEG_INFINITY, 0));
        let mut part = vec![(0.0, 0); out.len()];
        for (from, places) in self.parts() {
            scores.resize(out.len() * places, 0.0);
            self.scores(kernels, rows, from, places, scores);
            kernels.best(scores, places, &mut part);
            for (best, (score, place)) in out.iter_mut().zip(&part) {
                if *score > best.0 {
                    *best = (*score, from as u32 + place);
                }
            }
        }
    }

    /// All places in parts small enough for the scores of a block of rows to stay in cache: first place and number.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        parts(self.places())
    }

    /// Places `from..from + out.len() / rows` (multiples of the lanes) of the scores of each row.
    pub(super) fn scores(&self, kernels: &Kernels, rows: &[f32], from: usize, places: usize, out: &mut [f32]) {
        let (first, count) = (from / LANES, places / LANES);
        let panels = self.lines.get(first * self.dim..(first + count) * self.dim).unwrap_or_default();
        let start = self.start.get(first..first + count).unwrap_or_default();
        kernels.scores(Block { rows, dim: self.dim, panels, start }, out);
    }
}

/// So many places in parts.
pub(super) fn parts(places: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
    (0..places).step_by(PART).map(move |from| (from, PART.min(places - from)))
}
