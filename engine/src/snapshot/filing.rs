//! The lists and the codes of rows that come in.

use super::lists::OpenModel;
use crate::delta::{BlockBuilder, RowLists, UnnumberedBlock, append_sign_code, sign_code_bytes};
use crate::index::ivf::{Filing, RowCodes, has_signs};
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
/// replay of the log gives the same lists. And the codes of each row, if vectors are long enough for codes to be of use.
pub(crate) fn lists_of(model: &OpenModel, schema: &Schema, seconds: bool, rows: &impl Incoming) -> RowLists {
    let mut filing = Filing::new(kernels(), &model.frame, model.centroids());
    let mut vector = vec![0.0; schema.dim()];
    let coder = RowCodes::of(&model.frame, schema.vector_bytes());
    let signs_per_row = match has_signs(&model.frame, schema.vector_bytes()) {
        true => 1 + usize::from(seconds),
        false => 0,
    };
    let sign_bytes = sign_code_bytes(model.frame.padded()).saturating_mul(signs_per_row);
    let mut found = RowLists { signs_per_row, ..RowLists::default() };
    found.codes.reserve_exact(coder.map_or(0, |coder| coder.stride().saturating_mul(rows.count())));
    found.signs.reserve_exact(sign_bytes.saturating_mul(rows.count()));
    let mut values = Vec::new();
    for i in 0..rows.count() {
        let (stored, length) = rows.vector(i);
        decode_row(schema.row_format().element(), stored.get(..schema.vector_bytes()).unwrap_or_default(), &mut vector);
        let (first, distance) = filing.list_of(&vector, length);
        found.energy += model.frame.counted(distance);
        if let Some(coder) = &coder {
            coder.append(kernels(), filing.inside(), &mut values, &mut found.codes);
        }
        let pair = [first, if seconds { filing.second_of(first) } else { NO_LIST }];
        for list in &pair[..signs_per_row] {
            append_sign_code(filing.coded_in(if *list == NO_LIST { first } else { *list }), &mut found.signs);
        }
        found.pairs.push(pair);
    }
    found
}
