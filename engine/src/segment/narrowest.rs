//! The shortest components that hold all vectors of a file, to the bit.
//!
//! Pixels, counts and descriptors are often whole numbers up to 255, and what a model gave as halves comes as floats all the same. A file of such
//! vectors is shorter, and what a search reads of it too; nobody can tell by an answer.

use super::layout::RowLayout;
use super::row_source::RowInput;
use crate::kernel::{decode_row, holds};
use crate::metric::Element;

/// What is left of the elements that may do.
pub(super) struct Narrowest {
    own: Option<Element>,
    /// The shortest first.
    left: Vec<Element>,
    vector: Vec<f32>,
}

impl Narrowest {
    /// Before the first row of a file; `layout` is that of the log.
    pub(super) fn new(layout: &RowLayout) -> Self {
        let left = layout.element.map_or(Vec::new(), |own| own.narrower().to_vec());
        Narrowest { own: layout.element, left, vector: vec![0.0; layout.dim] }
    }

    /// Leaves out what does not hold this row. Most vectors leave nothing, and the rest of the file then costs nothing.
    pub(super) fn look(&mut self, row: &RowInput<'_>) {
        // Whatever there is holds a byte, and a row is what it is where it comes from.
        if row.element == Element::U8 || self.left.iter().all(|element| *element == row.element) {
            return;
        }
        decode_row(row.element, row.vector, &mut self.vector);
        if self.left.first() == Some(&Element::U8) && holds(Element::U8, &self.vector) {
            return;
        }
        self.left.retain(|element| *element != Element::U8 && holds(*element, &self.vector));
    }

    /// The shortest that holds all rows.
    pub(super) fn element(self) -> Option<Element> {
        self.left.first().copied().or(self.own)
    }
}
