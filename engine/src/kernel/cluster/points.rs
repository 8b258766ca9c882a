//! Where rows come from.

use crate::error::{Error, Result};

/// Rows of equal dimension, read by their numbers. A file, a map or an array may be behind it; reading the same rows again must
/// give the same components.
pub trait Points: Sync {
    /// Number of rows.
    fn count(&self) -> usize;

    /// Components of a row.
    fn dim(&self) -> usize;

    /// Reads rows `start..start + out.len() / dim` into `out`, end to end. Called from several threads at once.
    ///
    /// # Errors
    /// Whatever keeps the source from giving them; it ends the work and is handed on.
    fn read(&self, start: usize, out: &mut [f32]) -> Result<()>;
}

/// Rows in memory, end to end.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    dim: usize,
}

impl<'a> Rows<'a> {
    /// Rows of `dim` components.
    ///
    /// # Errors
    /// `InvalidArgument` if `dim` is zero or `values` does not hold whole rows.
    pub fn new(values: &'a [f32], dim: usize) -> Result<Self> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            let problem = format!("must hold whole rows of dim > 0 components: {} values, dim {dim}", values.len());
            return Err(Error::argument("values", problem));
        }
        Ok(Rows { values, dim })
    }
}

impl Points for Rows<'_> {
    fn count(&self) -> usize {
        self.values.len() / self.dim
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let range = start.checked_mul(self.dim).and_then(|from| Some(from..from.checked_add(out.len())?));
        let rows = range.and_then(|range| self.values.get(range));
        out.copy_from_slice(rows.ok_or_else(|| Error::argument("start", "reaches past the last row"))?);
        Ok(())
    }
}

/// Some rows of another source, in the order they are named.
pub struct Subset<'a> {
    points: &'a dyn Points,
    rows: &'a [usize],
}

impl<'a> Subset<'a> {
    /// The rows of `points` whose numbers are `rows`.
    pub fn new(points: &'a dyn Points, rows: &'a [usize]) -> Self {
        Subset { points, rows }
    }
}

impl Points for Subset<'_> {
    fn count(&self) -> usize {
        self.rows.len()
    }

    fn dim(&self) -> usize {
        self.points.dim()
    }

    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let rows = self.rows.get(start..).unwrap_or_default();
        if rows.len() < out.len() / self.dim() {
            return Err(Error::argument("start", "reaches past the last row"));
        }
        out.chunks_exact_mut(self.dim()).zip(rows).try_for_each(|(out, row)| self.points.read(*row, out))
    }
}
