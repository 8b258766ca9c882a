//! NumPy's `.npy`: magic, version, a header that is a Python dict literal, then the array's bytes.
//!
//! Taken: two dimensions in C order, little-endian, f2 f4 f8 u1 i1. One dimension of integers is taken for ids.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::bin::{check_end, check_len};
use super::vecs::check_dim;
use super::{ImportError, Input, Place, Record, RecordSource};

const MAGIC: [u8; 6] = *b"\x93NUMPY";
/// Longest header that is read; NumPy writes 118 bytes for plain arrays.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// The element type of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// Half precision.
    F16,
    /// Single precision.
    F32,
    /// Double precision, rounded to single.
    F64,
    /// A signed integer of so many bytes.
    Int(usize),
    /// An unsigned integer of so many bytes.
    Uint(usize),
}

impl Element {
    fn parse(descr: &str) -> Option<Element> {
        Some(match descr {
            "<f2" => Element::F16,
            "<f4" => Element::F32,
            "<f8" => Element::F64,
            "|u1" | "<u1" => Element::Uint(1),
            "<u2" => Element::Uint(2),
            "<u4" => Element::Uint(4),
            "<u8" => Element::Uint(8),
            "|i1" | "<i1" => Element::Int(1),
            "<i2" => Element::Int(2),
            "<i4" => Element::Int(4),
            "<i8" => Element::Int(8),
            _ => return None,
        })
    }

    /// Bytes per element.
    pub fn width(self) -> usize {
        match self {
            Element::F16 => 2,
            Element::F32 => 4,
            Element::F64 => 8,
            Element::Int(n) | Element::Uint(n) => n,
        }
    }

    /// The integer in `bytes` (of this element's width); `None` for floats.
    fn integer(self, bytes: &[u8]) -> Option<i128> {
        let mut word = [0; 16];
        word.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let unsigned = i128::from_le_bytes(word);
        match self {
            Element::Uint(_) => Some(unsigned),
            Element::Int(n) => {
                let unused = 128 - 8 * n as u32;
                Some(unsigned.checked_shl(unused)? >> unused)
            }
            _ => None,
        }
    }
}

/// The header of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpyHeader {
    /// The element type.
    pub element: Element,
    /// The size along each axis.
    pub shape: Vec<u64>,
    /// Bytes before the first element.
    pub bytes: u64,
}

impl NpyHeader {
    /// Reads the header and leaves the input at the first element.
    ///
    /// # Errors
    /// `Malformed` for a file that is not an array or of a kind that is not taken, with advice.
    pub fn read(input: &mut Input) -> Result<NpyHeader, ImportError> {
        let mut start = [0; 8];
        input.exact(&mut start, "the npy header")?;
        let bad = |input: &Input, at, what: &str| ImportError::malformed(input.name(), Place::Offset(at), what);
        if !start.starts_with(&MAGIC) {
            return Err(bad(input, 0, "is not an npy file: the first bytes are not \\x93NUMPY"));
        }
        let mut len = [0; 4];
        match start[6] {
            1 => input.exact(&mut len[..2], "the npy header")?,
            2 | 3 => input.exact(&mut len, "the npy header")?,
            _ => return Err(bad(input, 6, "npy format version is not 1, 2 or 3")),
        }
        let len = u32::from_le_bytes(len) as usize;
        if len > MAX_HEADER_BYTES {
            return Err(bad(
                input,
                8,
                &format!("the npy header is {len} bytes long; at most {MAX_HEADER_BYTES} are read"),
            ));
        }
        let at = input.offset();
        let mut text = vec![0; len];
        input.exact(&mut text, "the npy header")?;
        let header = Literal { text: &text, at: 0 }.array();
        let header = header.map_err(|(offset, what)| bad(input, at + offset as u64, what))?;
        let header = NpyHeader { bytes: input.offset(), ..header.checked(input.name(), at)? };
        let (records, rest) = header.shape.split_first().map_or((1, &[][..]), |(first, rest)| (*first, rest));
        let width = header.element.width() as u64;
        let size = rest.iter().try_fold(width, |product, n| product.checked_mul(*n));
        let size = size.filter(|size| size.checked_mul(records).is_some());
        let size = size.ok_or_else(|| bad(input, at, "the shape is larger than any file"))?;
        check_len(input, header.bytes, records, size)?;
        Ok(header)
    }
}

/// What the dict literal says.
struct Array {
    descr: String,
    fortran: bool,
    shape: Vec<u64>,
}

impl Array {
    fn checked(self, file: &str, at: u64) -> Result<NpyHeader, ImportError> {
        let refuse =
            |what: String, hint: &str| Err(ImportError::malformed(file, Place::Offset(at), what).with_hint(hint));
        if self.fortran && self.shape.len() > 1 {
            return refuse(
                "the array is in Fortran order; rows are not contiguous".into(),
                "save it again in C order: numpy.save(path, numpy.ascontiguousarray(a))",
            );
        }
        match Element::parse(&self.descr) {
            Some(element) => Ok(NpyHeader { element, shape: self.shape, bytes: 0 }),
            None => refuse(
                format!("elements of type {:?} are not taken; f2, f4, f8, u1 and i1 little-endian are", self.descr),
                "convert first: numpy.save(path, a.astype('<f4'))",
            ),
        }
    }
}

/// A reader of the dict literal: `{'descr': '<f4', 'fortran_order': False, 'shape': (5, 3), }`.
struct Literal<'a> {
    text: &'a [u8],
    at: usize,
}

type Parsed<T> = Result<T, (usize, &'static str)>;

impl Literal<'_> {
    fn array(mut self) -> Parsed<Array> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while !self.accept(b'}') {
            let key = self.string()?;
            self.expect(b':')?;
            match key.as_str() {
                "descr" => descr = Some(self.string()?),
                "fortran_order" => fortran = Some(self.boolean()?),
                "shape" => shape = Some(self.tuple()?),
                _ => return Err((self.at, "unknown key in the npy header")),
            }
            if !self.accept(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        match (descr, fortran, shape) {
            (Some(descr), Some(fortran), Some(shape)) => Ok(Array { descr, fortran, shape }),
            _ => Err((0, "the npy header lacks descr, fortran_order or shape")),
        }
    }

    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Parsed<()> {
        if self.accept(byte) { Ok(()) } else { Err((self.at, "the npy header is not the dict that NumPy writes")) }
    }

    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|b| !keep(*b)).unwrap_or(rest.len());
        self.at += len;
        std::str::from_utf8(rest.get(..len).unwrap_or_default()).unwrap_or_default()
    }

    fn string(&mut self) -> Parsed<String> {
        let quote = self.peek().filter(|b| matches!(b, b'\'' | b'"')).ok_or((self.at, "a quoted text is missing"))?;
        self.at += 1;
        let text = self.take_while(|b| b != quote && b.is_ascii_graphic()).to_owned();
        self.expect(quote)?;
        Ok(text)
    }

    fn boolean(&mut self) -> Parsed<bool> {
        self.peek();
        match self.take_while(|b| b.is_ascii_alphabetic()) {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => Err((self.at, "True or False is missing")),
        }
    }

    fn tuple(&mut self) -> Parsed<Vec<u64>> {
        let mut sizes = Vec::new();
        self.expect(b'(')?;
        while !self.accept(b')') {
            self.peek();
            let at = self.at;
            let size =
                self.take_while(|b| b.is_ascii_digit()).parse().map_err(|_| (at, "the shape is no tuple of sizes"))?;
            sizes.push(size);
            self.accept(b'L');
            if sizes.len() > 32 {
                return Err((at, "the shape has more than 32 axes"));
            }
            if !self.accept(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(sizes)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(dict: &str, data: &[u8]) -> Vec<u8> {
        let mut out = [&MAGIC[..], &[1, 0], &(dict.len() as u16).to_le_bytes(), dict.as_bytes()].concat();
        out.extend(data);
        out
    }

    fn dict(descr: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}          \n")
    }

    fn read_all(bytes: Vec<u8>) -> Result<Vec<Vec<f32>>, ImportError> {
        let mut source = NpySource::new(Input::from_bytes("a.npy", bytes))?;
        let (mut record, mut out) = (Record::default(), Vec::new());
        while source.read(&mut record)? {
            out.push(record.vector.clone());
        }
        Ok(out)
    }

    fn error(bytes: Vec<u8>) -> String {
        read_all(bytes).unwrap_err().to_string()
    }

    #[test]
    fn every_element_type_comes_back() {
        let values = [1.5f32, -2.0];
        let f2: Vec<u8> = values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect();
        let f4: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let f8: Vec<u8> = values.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect();
        for (descr, data) in [("<f2", f2), ("<f4", f4), ("<f8", f8)] {
            assert_eq!(read_all(npy(&dict(descr, "(1, 2)"), &data)).unwrap(), [values], "{descr}");
        }
        assert_eq!(read_all(npy(&dict("|u1", "(2, 1)"), &[3, 255])).unwrap(), [[3.0], [255.0]]);
        assert_eq!(read_all(npy(&dict("|i1", "(2, 1)"), &[3, 255])).unwrap(), [[3.0], [-1.0]]);
    }

    #[test]
    fn integers_keep_sign_and_width() {
        let data: Vec<u8> = [-1i32, i32::MAX].iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut integers = Integers::new(Input::from_bytes("i.npy", npy(&dict("<i4", "(2,)"), &data))).unwrap();
        assert_eq!(integers.next_integer().unwrap(), Some(-1));
        assert_eq!(integers.next_integer().unwrap(), Some(i32::MAX.into()));
        assert_eq!(integers.next_integer().unwrap(), None);
        let data = u64::MAX.to_le_bytes();
        let mut integers = Integers::new(Input::from_bytes("i.npy", npy(&dict("<u8", "(1,)"), &data))).unwrap();
        assert_eq!(integers.next_integer().unwrap(), Some(u64::MAX.into()));
    }

    #[test]
    fn arrays_that_are_not_taken_say_what_to_do() {
        let bytes = npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2)}", &[0; 8]);
        let refused = read_all(bytes).unwrap_err();
        assert!(refused.message.contains("Fortran order"), "{refused}");
        assert!(refused.hint.unwrap().contains("ascontiguousarray"));
        assert!(error(npy(&dict(">f4", "(1, 2)"), &[0; 8])).contains("\">f4\" are not taken"));
        assert!(error(npy(&dict("<f4", "(2,)"), &[0; 8])).contains("has 1 axes; 2 are needed"));
        assert!(error(npy(&dict("<i8", "(1, 1)"), &[0; 8])).contains("wide integers"));
    }

    #[test]
    fn a_shape_larger_than_the_file_costs_nothing_and_is_refused() {
        assert!(error(npy(&dict("<f4", "(4000000000, 384)"), &[0; 8])).contains("room for"));
        assert!(error(npy(&dict("<f4", "(4294967296, 4294967296)"), &[0; 8])).contains("larger than any file"));
        assert!(error(npy(&dict("<f4", "(99999999999999999999999, 2)"), &[])).contains("no tuple of sizes"));
    }

    #[test]
    fn broken_headers_are_refused_with_their_offset() {
        assert_eq!(
            error(b"PK\x03\x04....".to_vec()),
            "a.npy: offset 0: is not an npy file: the first bytes are not \\x93NUMPY"
        );
        assert!(error(npy("{'descr': <f4}", &[])).starts_with("a.npy: offset 20:"));
        assert!(error(npy("{'descr': '<f4', 'shape': (1,1)}", &[])).contains("lacks descr, fortran_order or shape"));
        assert!(error(npy("{", &[])).contains("offset 11"));
        let mut long = MAGIC.to_vec();
        long.extend([2, 0, 255, 255, 255, 255]);
        assert!(error(long).contains("at most 65536 are read"));
    }
}
