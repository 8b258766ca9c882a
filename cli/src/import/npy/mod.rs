//! NumPy's `.npy`: magic, version, a header that is a Python dict literal, then the array's bytes.
//!
//! Taken: two dimensions in C order, little-endian, f2 f4 f8 u1 i1. One dimension of integers is taken for ids.

mod header;
#[cfg(test)]
mod tests;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::bin::check_end;
use super::vecs::check_dim;
use super::{ImportError, Input, Place, Record, RecordSource};

pub use header::{Element, NpyHeader};

/// A two-dimensional array, a record per row.
pub struct NpySource {
    input: Input,
    element: Element,
    dim: usize,
    total: u64,
    next: u64,
    place: Place,
    bytes: Vec<u8>,
}

impl NpySource {
    /// Reads the header.
    ///
    /// # Errors
    /// `Malformed` if the file is no two-dimensional array of an element type that is taken.
    pub fn new(mut input: Input) -> Result<Self, ImportError> {
        let header = NpyHeader::read(&mut input)?;
        let [total, dim] = header.shape[..] else {
            let message = format!("the array has {} axes; 2 are needed: (records, dim)", header.shape.len());
            return Err(ImportError::malformed(input.name(), Place::File, message));
        };
        if matches!(header.element, Element::Int(2..) | Element::Uint(2..)) {
            let message = "elements are wide integers; f2, f4, f8, u1 and i1 are taken";
            return Err(ImportError::malformed(input.name(), Place::File, message)
                .with_hint("convert first: numpy.save(path, a.astype('<f4'))"));
        }
        let dim = check_dim(input.name(), Place::File, i64::try_from(dim).unwrap_or(i64::MAX))?;
        Ok(NpySource { input, element: header.element, dim, total, next: 0, place: Place::File, bytes: Vec::new() })
    }

    fn decode(&self, vector: &mut Vec<f32>) {
        let bytes = &self.bytes;
        match self.element {
            Element::F32 => vector.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            Element::F64 => vector.extend(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32)),
            Element::F16 => {
                let halves: Vec<f16> = bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b)).collect();
                vector.resize(halves.len(), 0.0);
                halves.convert_to_f32_slice(vector);
            }
            Element::Int(_) => vector.extend(bytes.iter().map(|b| f32::from(b.cast_signed()))),
            Element::Uint(_) => vector.extend(bytes.iter().map(|b| f32::from(*b))),
        }
    }
}

impl RecordSource for NpySource {
    fn read(&mut self, record: &mut Record) -> Result<bool, ImportError> {
        record.clear();
        if self.next == self.total {
            check_end(&mut self.input, self.total)?;
            return Ok(false);
        }
        self.place = Place::Record { number: self.next, offset: self.input.offset() };
        self.bytes.resize(self.dim * self.element.width(), 0);
        self.input.exact(&mut self.bytes, &format!("record {}", self.next))?;
        self.decode(&mut record.vector);
        self.next += 1;
        Ok(true)
    }

    fn place(&self) -> Place {
        self.place
    }

    fn name(&self) -> &str {
        self.input.name()
    }

    fn total(&self) -> Option<u64> {
        Some(self.total)
    }

    fn dim(&self) -> Option<usize> {
        Some(self.dim)
    }
}

/// An array of integers of any shape, one after the other.
pub struct Integers {
    input: Input,
    element: Element,
    left: u64,
    /// The shape.
    pub shape: Vec<u64>,
}

impl Integers {
    /// Reads the header.
    ///
    /// # Errors
    /// `Malformed` if the file is no array of integers.
    pub fn new(mut input: Input) -> Result<Self, ImportError> {
        let header = NpyHeader::read(&mut input)?;
        if !matches!(header.element, Element::Int(_) | Element::Uint(_)) {
            return Err(ImportError::malformed(input.name(), Place::File, "elements are floats; integers are needed"));
        }
        Ok(Integers { input, element: header.element, left: header.shape.iter().product(), shape: header.shape })
    }

    /// The next integer; `None` behind the last.
    ///
    /// # Errors
    /// [`ImportError`] if the file ends early or cannot be read.
    pub fn next_integer(&mut self) -> Result<Option<i128>, ImportError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut word = [0; 8];
        let bytes = &mut word[..self.element.width()];
        self.input.exact(bytes, "an integer")?;
        Ok(self.element.integer(bytes))
    }

    /// The file's name, for messages.
    pub fn name(&self) -> &str {
        self.input.name()
    }
}
