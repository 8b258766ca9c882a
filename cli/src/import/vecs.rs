//! `fvecs` and `bvecs`: each record is its dimension (i32, little-endian) and its components (f32 or u8).

use stratavec::MAX_DIM;

use super::{ImportError, Input, Place, Record, RecordSource};

/// The component type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// 32-bit floats.
    F32,
    /// Unsigned bytes.
    U8,
    /// Signed bytes.
    I8,
}

impl Component {
    /// Bytes per component.
    pub fn width(self) -> usize {
        match self {
            Component::F32 => 4,
            Component::U8 | Component::I8 => 1,
        }
    }

    /// Appends the components in `bytes` to `vector`.
    pub fn decode(self, bytes: &[u8], vector: &mut Vec<f32>) {
        match self {
            Component::F32 => vector.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            Component::U8 => vector.extend(bytes.iter().map(|b| f32::from(*b))),
            Component::I8 => vector.extend(bytes.iter().map(|b| f32::from(b.cast_signed()))),
        }
    }
}

/// Checks a dimension that a file names.
///
/// # Errors
/// `Malformed` outside 1..=65,536.
pub fn check_dim(file: &str, place: Place, dim: i64) -> Result<usize, ImportError> {
    match usize::try_from(dim) {
        Ok(dim) if (1..=MAX_DIM).contains(&dim) => Ok(dim),
        _ => Err(ImportError::malformed(file, place, format!("the dimension is {dim}; 1 to {MAX_DIM} is possible"))),
    }
}

/// A file in the `fvecs` or `bvecs` format.
pub struct VecsSource {
    input: Input,
    component: Component,
    dim: Option<usize>,
    total: Option<u64>,
    next: u64,
    place: Place,
    bytes: Vec<u8>,
}

impl VecsSource {
    /// Starts reading; the first dimension is read at once.
    ///
    /// # Errors
    /// `Malformed` for an impossible dimension, or a length that is no whole number of records.
    pub fn new(mut input: Input, component: Component) -> Result<Self, ImportError> {
        let dim = read_dim(&mut input, Place::Record { number: 0, offset: 0 })?;
        let record_bytes = dim.map(|dim| (4 + dim * component.width()) as u64);
        let total = match (input.len(), record_bytes) {
            (Some(len), Some(size)) if len % size != 0 => {
                let message = format!("{len} bytes are no whole number of records of {size} bytes");
                let place = Place::Record { number: len / size, offset: len - len % size };
                return Err(ImportError::malformed(input.name(), place, message));
            }
            (Some(len), Some(size)) => Some(len / size),
            _ => None,
        };
        Ok(VecsSource { input, component, dim, total, next: 0, place: Place::File, bytes: Vec::new() })
    }
}

/// The dimension in front of a record; `None` at the end of the file.
fn read_dim(input: &mut Input, place: Place) -> Result<Option<usize>, ImportError> {
    let mut word = [0; 4];
    match input.fill(&mut word)? {
        0 => Ok(None),
        4 => check_dim(input.name(), place, i32::from_le_bytes(word).into()).map(Some),
        n => Err(ImportError::malformed(input.name(), place, format!("the file ends after {n} bytes of a dimension"))),
    }
}

impl RecordSource for VecsSource {
    fn read(&mut self, record: &mut Record) -> Result<bool, ImportError> {
        record.clear();
        let Some(dim) = self.dim else { return Ok(false) };
        if self.next == 0 {
            self.place = Place::Record { number: 0, offset: 0 };
        } else {
            self.place = Place::Record { number: self.next, offset: self.input.offset() };
            match read_dim(&mut self.input, self.place)? {
                None => return Ok(false),
                Some(found) if found != dim => {
                    let message = format!("the dimension is {found}; the records before have {dim}");
                    return Err(ImportError::malformed(self.input.name(), self.place, message));
                }
                Some(_) => {}
            }
        }
        self.bytes.resize(dim * self.component.width(), 0);
        self.input.exact(&mut self.bytes, "a record")?;
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
        self.total
    }

    fn dim(&self) -> Option<usize> {
        self.dim
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fvecs(records: &[&[f32]]) -> Vec<u8> {
        let mut out = Vec::new();
        for record in records {
            out.extend((record.len() as i32).to_le_bytes());
            record.iter().for_each(|x| out.extend(x.to_le_bytes()));
        }
        out
    }

    fn read_all(bytes: Vec<u8>, component: Component) -> Result<Vec<Vec<f32>>, ImportError> {
        let mut source = VecsSource::new(Input::from_bytes("t.fvecs", bytes), component)?;
        let (mut record, mut out) = (Record::default(), Vec::new());
        while source.read(&mut record)? {
            out.push(record.vector.clone());
        }
        Ok(out)
    }

    #[test]
    fn records_come_back() {
        let rows: [&[f32]; 2] = [&[1.0, -2.5], &[3.0, 4.0]];
        assert_eq!(read_all(fvecs(&rows), Component::F32).unwrap(), rows);
        assert_eq!(read_all(vec![2, 0, 0, 0, 7, 255], Component::U8).unwrap(), [[7.0, 255.0]]);
        assert_eq!(read_all(Vec::new(), Component::F32).unwrap(), Vec::<Vec<f32>>::new());
    }

    #[test]
    fn a_cut_file_is_reported_before_anything_is_read() {
        let mut bytes = fvecs(&[&[1.0, 2.0], &[3.0, 4.0]]);
        bytes.pop();
        let error = read_all(bytes, Component::F32).unwrap_err();
        assert_eq!(
            error.to_string(),
            "t.fvecs: record 1, offset 12: 23 bytes are no whole number of records of 12 bytes"
        );
    }

    #[test]
    fn a_dimension_that_changes_or_cannot_be_is_refused_with_its_place() {
        let mut bytes = fvecs(&[&[1.0, 2.0]]);
        bytes.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let error = read_all(bytes, Component::F32).unwrap_err().to_string();
        assert_eq!(error, "t.fvecs: record 1, offset 12: the dimension is 3; the records before have 2");
        let error = read_all(vec![255; 64], Component::F32).unwrap_err().to_string();
        assert_eq!(error, "t.fvecs: record 0, offset 0: the dimension is -1; 1 to 65536 is possible");
    }
}
