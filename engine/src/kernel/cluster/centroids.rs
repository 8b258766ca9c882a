//! The centroids of lists.

use crate::error::{Error, Result};
use crate::kernel::{decode_row, encode_row};
use crate::metric::Element;

/// One vector per list, in the space of the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Centroids {
    dim: usize,
    values: Vec<f32>,
}

impl Centroids {
    /// Centroids of `dim` components, end to end.
    ///
    /// # Errors
    /// `InvalidArgument` if there is none, `values` does not hold whole vectors, a component is not finite, or there are more
    /// than `u32::MAX - 1`.
    pub fn new(values: Vec<f32>, dim: usize) -> Result<Self> {
        if dim == 0 || values.is_empty() || !values.len().is_multiple_of(dim) {
            let problem = format!("must hold at least one vector of dim > 0: {} values, dim {dim}", values.len());
            return Err(Error::argument("centroids", problem));
        }
        if values.len() / dim >= u32::MAX as usize {
            return Err(Error::argument("centroids", "must be fewer than 2^32 - 1"));
        }
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            return Err(Error::argument("centroids", format!("must be finite: centroid {} is not", at / dim)));
        }
        Ok(Centroids { dim, values })
    }

    /// Number of lists.
    pub fn count(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Components of a centroid.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All components, end to end.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The centroid of one list.
    pub fn get(&self, list: usize) -> Option<&[f32]> {
        self.values.chunks_exact(self.dim).nth(list)
    }

    /// The centroids as they come back from storage in `element`: a component that `element` cannot hold becomes the nearest it
    /// can, the largest instead of infinity. Assign rows to these, and no later rounding moves a centroid away from its codes.
    #[must_use]
    pub fn rounded(mut self, element: Element) -> Self {
        let largest = match element {
            Element::F16 => 65504.0,
            _ => f32::MAX,
        };
        let mut bytes = Vec::new();
        for row in self.values.chunks_exact_mut(self.dim) {
            row.iter_mut().for_each(|x| *x = x.clamp(-largest, largest));
            bytes.clear();
            encode_row(element, row, &mut bytes);
            decode_row(element, &bytes, row);
        }
        self
    }
}
