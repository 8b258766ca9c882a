//! `fbin`, `u8bin`, `i8bin`: number of records and dimension (u32 each, little-endian), then all components.

use super::vecs::{Component, check_dim};
use super::{ImportError, Input, Place, Record, RecordSource};

const HEADER_BYTES: u64 = 8;

/// A file in one of the `bin` formats.
pub struct BinSource {
    input: Input,
    component: Component,
    dim: usize,
    total: u64,
    next: u64,
    place: Place,
    bytes: Vec<u8>,
}

impl BinSource {
    /// Reads the header.
    ///
    /// # Errors
    /// `Malformed` for an impossible dimension or a length that does not fit the header.
    pub fn new(mut input: Input, component: Component) -> Result<Self, ImportError> {
        let mut header = [[0; 4]; 2];
        input.exact(header.as_flattened_mut(), "the header")?;
        let [total, dim] = header.map(u32::from_le_bytes);
        let dim = check_dim(input.name(), Place::Offset(4), dim.into())?;
        let total = u64::from(total);
        check_len(&input, HEADER_BYTES, total, (dim * component.width()) as u64)?;
        Ok(BinSource { input, component, dim, total, next: 0, place: Place::File, bytes: Vec::new() })
    }
}

/// Checks the length of the file, if known, against `total` records of `size` bytes behind a header.
///
/// # Errors
/// `Malformed` saying what the header promises and what is there.
pub fn check_len(input: &Input, header: u64, total: u64, size: u64) -> Result<(), ImportError> {
    let promised = total.checked_mul(size).and_then(|bytes| bytes.checked_add(header));
    match input.len() {
        Some(len) if promised != Some(len) => {
            let whole = len.saturating_sub(header) / size.max(1);
            let message = format!(
                "the header promises {total} records of {size} bytes behind {header} bytes of header; the file has {len} \
                 bytes, room for {whole} records"
            );
            Err(ImportError::malformed(input.name(), Place::File, message))
        }
        _ => Ok(()),
    }
}

/// Checks that a stream of unknown length ends behind its last record.
///
/// # Errors
/// `Malformed` if more bytes follow.
pub fn check_end(input: &mut Input, total: u64) -> Result<(), ImportError> {
    let place = Place::Offset(input.offset());
    if input.fill(&mut [0])? > 0 {
        let message = format!("bytes follow the {total} records that the header promises");
        return Err(ImportError::malformed(input.name(), place, message));
    }
    Ok(())
}

impl RecordSource for BinSource {
    fn read(&mut self, record: &mut Record) -> Result<bool, ImportError> {
        record.clear();
        if self.next == self.total {
            check_end(&mut self.input, self.total)?;
            return Ok(false);
        }
        self.place = Place::Record { number: self.next, offset: self.input.offset() };
        self.bytes.resize(self.dim * self.component.width(), 0);
        self.input.exact(&mut self.bytes, &format!("record {}", self.next))?;
        self.component.decode(&self.bytes, &mut record.vector);
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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn header(total: u32, dim: u32) -> Vec<u8> {
        [total.to_le_bytes(), dim.to_le_bytes()].concat()
    }

    fn read_all(mut source: BinSource) -> Result<Vec<Vec<f32>>, ImportError> {
        let (mut record, mut out) = (Record::default(), Vec::new());
        while source.read(&mut record)? {
            out.push(record.vector.clone());
        }
        Ok(out)
    }

    #[test]
    fn floats_and_bytes_come_back() {
        let mut bytes = header(2, 1);
        [1.5f32, -8.0].iter().for_each(|x| bytes.extend(x.to_le_bytes()));
        let source = BinSource::new(Input::from_bytes("t.fbin", bytes), Component::F32).unwrap();
        assert_eq!((source.total(), source.dim()), (Some(2), Some(1)));
        assert_eq!(read_all(source).unwrap(), [[1.5], [-8.0]]);

        let bytes = [header(1, 2), vec![200, 255]].concat();
        let source = BinSource::new(Input::from_bytes("t.u8bin", bytes.clone()), Component::U8).unwrap();
        assert_eq!(read_all(source).unwrap(), [[200.0, 255.0]]);
        let source = BinSource::new(Input::from_bytes("t.i8bin", bytes), Component::I8).unwrap();
        assert_eq!(read_all(source).unwrap(), [[-56.0, -1.0]]);
    }

    #[test]
    fn a_header_that_promises_too_much_is_refused_at_once() {
        let bytes = [header(u32::MAX, 65_536), vec![0; 100]].concat();
        let error = BinSource::new(Input::from_bytes("t.fbin", bytes), Component::F32).err().unwrap();
        assert_eq!(
            error.to_string(),
            "t.fbin: the header promises 4294967295 records of 262144 bytes behind 8 bytes of header; the file has 108 \
             bytes, room for 0 records"
        );
    }

    #[test]
    fn a_stream_that_ends_early_or_late_is_refused_where_it_does() {
        let stream = |bytes: Vec<u8>| {
            read_all(BinSource::new(Input::new("standard input", Cursor::new(bytes), None), Component::U8).unwrap())
        };
        let error = stream([header(2, 2), vec![1, 2, 3]].concat()).unwrap_err().to_string();
        assert_eq!(error, "standard input: offset 10: the file ends inside record 1: 2 bytes needed, 1 there");
        let error = stream([header(1, 2), vec![1, 2, 3]].concat()).unwrap_err().to_string();
        assert_eq!(error, "standard input: offset 10: bytes follow the 1 records that the header promises");
    }
}
