//! The lists of rows that come in.

use super::lists::OpenModel;
use crate::delta::{BlockBuilder, RowLists, UnnumberedBlock};
use crate::index::ivf::Filing;
use crate::kernel::cluster::NO_LIST;
use crate::kernel::{decode_row, kernels};
use crate::options::Schema;

/// Rows on their way into a generation.
pub(crate) trait Incoming {
    /// How many.
    fn count(&self) -> usize;
    /// The stored bytes of a vector, and its length under cosine.
    fn vector(&self, i: usize) -> (&[u8], f32);
}

impl Incoming for BlockBuilder {
    fn count(&self) -> usize {
        self.len()
    }
    fn vector(&self, i: usize) -> (&[u8], f32) {
        (BlockBuilder::vector(self, i), self.norm(i))
    }
}

impl Incoming for UnnumberedBlock {
    fn count(&self) -> usize {
        self.len()
    }
    fn vector(&self, i: usize) -> (&[u8], f32) {
        self.stored(i)
    }
}

/// The lists of each row by a model: the nearest, and a second one if there are to be `seconds`. The rows count as they are stored, so a
/// replay of the log gives the same lists.
pub(crate) fn lists_of(model: &OpenModel, schema: &Schema, seconds: bool, rows: &impl Incoming) -> RowLists {
    let mut filing = Filing::new(kernels(), &model.frame, model.centroids());
    let mut vector = vec![0.0; schema.dim()];
    let mut energy = 0.0;
    let lists = |i: usize| {
        let (stored, length) = rows.vector(i);
        decode_row(schema.row_format(), stored.get(..schema.vector_bytes()).unwrap_or_default(), &mut vector);
        let (first, distance) = filing.list_of(&vector, length);
        energy += f64::from(distance);
        [first, if seconds { filing.second_of(first) } else { NO_LIST }]
    };
    let pairs = (0..rows.count()).map(lists).collect();
    RowLists { pairs, energy }
}
