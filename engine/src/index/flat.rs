//! Exact search: every row is scored.
//!
//! Definition of the distances (kept by every later index kind, since hits of several collections are merged by them):
//! L2 `sum (q_i - v_i)^2`; cosine `1 - <q, v> / (|q| |v|)` clamped to 0..=2, with `|v|` the length of the stored vector; inner
//! product `-<q, v>`. Components are those *stored*; sums are f32 in an order that depends on the CPU, so the last bits of a
//! distance may differ between machines.

use super::stored::{Run, Stored};
use crate::error::{Error, Result};
use crate::kernel::{Kernels, Op, kernels};
use crate::metric::Metric;
use crate::options::Schema;

/// Rows scored at a time: one word of liveness bits.
pub(crate) const CHUNK: usize = 64;

/// Largest squared length of a vector: with it no distance overflows an f32.
pub(crate) const MAX_SQUARED_LENGTH: f64 = 8.0e37;
/// Smallest length of a vector under cosine: its square is still a normal f32.
pub(crate) const MIN_COSINE_LENGTH: f64 = 1.0e-18;

/// Checks what may be asked or stored: the dimension, finite components, and a length that keeps distances finite.
/// `name` is the argument; returns the squared length.
pub(crate) fn check_vector(name: &str, vector: &[f32], schema: &Schema) -> Result<f64> {
    if vector.len() != schema.dim() {
        return Err(Error::argument(
            name,
            format!("has {} components; this collection has {}", vector.len(), schema.dim()),
        ));
    }
    let squared = kernels().squared_length(vector);
    if !squared.is_finite() {
        let at = vector.iter().position(|x| !x.is_finite()).unwrap_or(0);
        return Err(Error::argument(name, format!("has {} at component {at}; use finite numbers", vector[at])));
    }
    check_length(name, squared, schema.metric())?;
    Ok(squared)
}

/// Checks the squared length of a vector, as given or as rounded for storage.
pub(crate) fn check_length(name: &str, squared: f64, metric: Metric) -> Result<()> {
    if squared > MAX_SQUARED_LENGTH {
        return Err(Error::argument(
            name,
            format!(
                "has squared length {squared:.3e}; use at most {MAX_SQUARED_LENGTH:.0e}, so that distances stay finite"
            ),
        ));
    }
    if metric == Metric::Cosine && squared.sqrt() < MIN_COSINE_LENGTH {
        return Err(Error::argument(
            name,
            format!("has length {:.3e}; cosine needs at least {MIN_COSINE_LENGTH:.0e}", squared.sqrt()),
        ));
    }
    Ok(())
}

/// A query, ready to score rows of one collection.
pub(crate) struct FlatQuery {
    kernels: &'static Kernels,
    metric: Metric,
    op: Op,
    vector: Vec<f32>,
    length: f32,
}

impl FlatQuery {
    /// Checks the query; under cosine it is scaled to unit length.
    pub(crate) fn new(query: &[f32], schema: &Schema) -> Result<Self> {
        let mut ready = FlatQuery::blank();
        ready.set(query, schema)?;
        Ok(ready)
    }

    /// No query yet.
    pub(crate) fn blank() -> Self {
        FlatQuery { kernels: kernels(), metric: Metric::L2, op: Op::L2, vector: Vec::new(), length: 0.0 }
    }

    /// Takes another query; its room is kept.
    ///
    /// # Errors
    /// As [`check_vector`].
    pub(crate) fn set(&mut self, query: &[f32], schema: &Schema) -> Result<()> {
        let squared = check_vector("query", query, schema)?;
        (self.metric, self.length) = (schema.metric(), squared.sqrt() as f32);
        self.op = if self.metric == Metric::L2 { Op::L2 } else { Op::Dot };
        self.vector.clear();
        match self.metric {
            Metric::Cosine => {
                let scale = 1.0 / squared.sqrt();
                self.vector.extend(query.iter().map(|x| (f64::from(*x) * scale) as f32));
            }
            _ => self.vector.extend_from_slice(query),
        }
        Ok(())
    }

    /// The same, scored by these kernels.
    pub(crate) fn with_kernels(mut self, kernels: &'static Kernels) -> Self {
        self.kernels = kernels;
        self
    }

    /// The length of the query as it was given.
    pub(crate) fn length(&self) -> f32 {
        self.length
    }

    /// Distances of up to [`CHUNK`] contiguous rows; `norm(i)` is the stored length of row `i`, asked only under cosine.
    pub(crate) fn score_chunk(&self, rows: Run<'_>, norm: impl Fn(usize) -> f32, out: &mut [f32]) {
        self.kernels.many(self.op, rows.element, &self.vector, rows.bytes, rows.stride, out);
        self.to_distances(norm, out);
    }

    /// The same of few rows that other queries are compared with, too.
    pub(crate) fn score_block(&self, rows: Run<'_>, norm: impl Fn(usize) -> f32, out: &mut [f32]) {
        self.kernels.block(self.op, rows.element, &self.vector, rows.bytes, rows.stride, out);
        self.to_distances(norm, out);
    }

    #[inline]
    fn to_distances(&self, norm: impl Fn(usize) -> f32, out: &mut [f32]) {
        match self.metric {
            Metric::L2 => {}
            Metric::InnerProduct => out.iter_mut().for_each(|d| *d = 0.0 - *d),
            Metric::Cosine => out.iter_mut().enumerate().for_each(|(i, d)| *d = cosine_distance(*d, norm(i))),
        }
    }

    /// The distance of one row.
    #[inline]
    pub(crate) fn score_one<B: AsRef<[u8]>>(&self, row: &Stored<B>) -> f32 {
        let raw = self.kernels.one(self.op, row.element, &self.vector, row.bytes.as_ref());
        match self.metric {
            Metric::L2 => raw,
            Metric::InnerProduct => 0.0 - raw,
            Metric::Cosine => cosine_distance(raw, row.length),
        }
    }
}

/// `1 - dot / norm`, clamped against rounding; NaN stays NaN.
fn cosine_distance(dot: f32, norm: f32) -> f32 {
    (1.0 - dot / norm).clamp(0.0, 2.0)
}

/// Bit `i` is set if `distances[i] <= bound`; NaN never is.
pub(crate) fn within(distances: &[f32], bound: f32) -> u64 {
    distances.iter().enumerate().fold(0, |mask, (i, d)| mask | u64::from(*d <= bound) << i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_leaves_out_nan_and_keeps_the_bound() {
        let distances = [1.0, f32::NAN, 2.0, 2.5, f32::INFINITY];
        assert_eq!(within(&distances, 2.0), 0b00101);
        assert_eq!(within(&distances, f32::INFINITY), 0b11101);
    }

    #[test]
    fn vectors_that_would_make_a_distance_infinite_or_undefined_are_refused() {
        let l2 = Schema::new(2, Metric::L2);
        let cosine = Schema::new(2, Metric::Cosine);
        for (schema, vector) in [
            (&l2, vec![1.0]),
            (&l2, vec![f32::NAN, 0.0]),
            (&l2, vec![f32::INFINITY, 0.0]),
            (&l2, vec![1e19, 0.0]),
            (&cosine, vec![0.0, 0.0]),
            (&cosine, vec![1e-30, 0.0]),
        ] {
            let error = check_vector("vector", &vector, schema).unwrap_err();
            assert_eq!(error.argument_name(), Some("vector"), "{vector:?}: {error}");
        }
        assert!(check_vector("vector", &[0.0, 0.0], &l2).is_ok());
    }
}
