//! The space of codes: vectors less the mean, padded and rotated.

use crate::kernel::{Kernels, Op, Rotation};
use crate::metric::Metric;

/// What all codes of a collection share.
pub(crate) struct Frame {
    metric: Metric,
    /// Unit of stored first-stage factors.
    scale: f32,
    mean: Vec<f32>,
    rotation: Rotation,
}

impl Frame {
    /// The frame around `mean` (its length is the dimension), rotated by the bits of `seed`.
    pub(crate) fn new(metric: Metric, mean: Vec<f32>, seed: u64, scale: f32) -> Frame {
        let rotation = Rotation::new(mean.len(), seed);
        Frame { metric, scale, mean, rotation }
    }

    /// The unit of stored factors for vectors whose mean squared distance from the mean is `energy`: a power of two near it, so
    /// that halves have their full precision there and room for numbers 65,000 times as large.
    pub(crate) fn scale_for(energy: f64) -> f32 {
        let exponent = if energy.is_finite() && energy > 0.0 { energy.log2().round() } else { 0.0 };
        (exponent.clamp(-100.0, 100.0) as f32).exp2()
    }

    /// Components of a vector.
    pub(crate) fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Components after padding.
    pub(crate) fn padded(&self) -> usize {
        self.rotation.padded_dim()
    }

    /// The metric.
    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }

    /// Which sum estimates are made of. Cosine distances are half the squared distances of unit vectors.
    pub(crate) fn op(&self) -> Op {
        match self.metric {
            Metric::InnerProduct => Op::Dot,
            _ => Op::L2,
        }
    }

    /// Unit of stored first-stage factors.
    pub(crate) fn scale(&self) -> f32 {
        self.scale
    }

    /// Takes a row or a centroid in. Under cosine `length` is that of the vector, else it is not looked at.
    pub(crate) fn enter(&self, kernels: &Kernels, vector: &[f32], length: f32, out: &mut Vec<f32>) {
        let inverse = self.inverse(length);
        out.clear();
        out.extend(vector.iter().zip(&self.mean).map(|(x, mean)| x * inverse - mean));
        out.resize(self.padded(), 0.0);
        self.rotation.apply(kernels, out);
    }

    /// Takes a query in; returns what has to be added to estimates of negated inner products.
    pub(crate) fn enter_query(&self, kernels: &Kernels, query: &[f32], length: f32, out: &mut Vec<f32>) -> f32 {
        if self.op() == Op::L2 {
            self.enter(kernels, query, length, out);
            return 0.0;
        }
        out.clear();
        out.extend_from_slice(query);
        out.resize(self.padded(), 0.0);
        self.rotation.apply(kernels, out);
        -query.iter().zip(&self.mean).map(|(q, mean)| q * mean).sum::<f32>()
    }

    /// The distance, in the unit of the metric, that an estimate stands for.
    pub(crate) fn distance_of(&self, estimate: f32) -> f32 {
        match self.metric {
            Metric::Cosine => (estimate / 2.0).clamp(0.0, 2.0),
            Metric::InnerProduct => estimate,
            _ => estimate.max(0.0),
        }
    }

    /// The estimate that stands for a distance.
    pub(crate) fn estimate_of(&self, distance: f32) -> f32 {
        match self.metric {
            Metric::Cosine => distance * 2.0,
            _ => distance,
        }
    }

    /// What the squared distance of a row from its centroid counts where it is asked how well lists suit their rows: no more than a few times the mean of all rows
    /// from their mean. How far a row is beyond that says nothing, and one of them would outweigh thousands.
    pub(crate) fn counted(&self, distance: f32) -> f64 {
        const MOST: f32 = 16.0;
        f64::from(distance.min(MOST * self.scale))
    }

    fn inverse(&self, length: f32) -> f32 {
        match self.metric {
            Metric::Cosine => 1.0 / length,
            _ => 1.0,
        }
    }
}
