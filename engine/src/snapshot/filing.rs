//! The lists and the codes of rows that come in.

use super::lists::OpenModel;
use crate::delta::{BlockBuilder, RowLists, UnnumberedBlock};
use crate::index::ivf::{Filing, RowCodes};
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
/// replay of the log gives the same lists. And the code of each row, if vectors are long enough for codes to be of use.
pub(crate) fn lists_of(model: &OpenModel, schema: &Schema, seconds: bool, rows: &impl Incoming) -> RowLists {
    let mut filing = Filing::new(kernels(), &model.frame, model.centroids());
    let mut vector = vec![0.0; schema.dim()];
    let mut energy = 0.0;
    let coder = RowCodes::of(&model.frame, schema.vector_bytes());
    let (mut values, mut codes) = (Vec::new(), Vec::new());
    codes.reserve_exact(coder.map_or(0, |coder| coder.stride().saturating_mul(rows.count())));
    let lists = |i: usize| {
        let (stored, length) = rows.vector(i);
        decode_row(schema.row_format(), stored.get(..schema.vector_bytes()).unwrap_or_default(), &mut vector);
        let (first, distance) = filing.list_of(&vector, length);
        energy += f64::from(distance);
        if let Some(coder) = &coder {
            coder.append(kernels(), filing.inside(), &mut values, &mut codes);
        }
        [first, if seconds { filing.second_of(first) } else { NO_LIST }]
    };
    let pairs = (0..rows.count()).map(lists).collect();
    RowLists { pairs, energy, codes }
}
