//! The header of an array: its element type and shape.

use super::super::bin::check_len;
use super::super::{ImportError, Input, Place};

pub(super) const MAGIC: [u8; 6] = *b"\x93NUMPY";
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
    pub(super) fn integer(self, bytes: &[u8]) -> Option<i128> {
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
