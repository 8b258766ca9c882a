//! Attributes of one row as bytes: self-contained (names inline), canonical (one spelling), bounded.
//!
//! ```text
//! varint count, then per attribute, ascending by the bytes of the name:
//!   varint name length, name, u8 tag, value
//! tags: 0 null · 1 false · 2 true · 3 i64 (8 bytes) · 4 f64 (8 bytes, never NaN) · 5 string (varint length, UTF-8)
//!       6 list of strings (varint count, then strings) · 7 timestamp (8 bytes, i64 microseconds)
//! ```
//! No attributes at all are no bytes at all.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use super::varint::{read_varint, write_varint};
use crate::error::{Error, Result};
use crate::options::MAX_ATTRIBUTE_BYTES;
use crate::value::{Attributes, Value};

/// Longest name of an attribute, in bytes.
pub const MAX_ATTRIBUTE_NAME_BYTES: usize = 255;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const I64: u8 = 3;
const F64: u8 = 4;
const STRING: u8 = 5;
const STRING_LIST: u8 = 6;
const TIMESTAMP: u8 = 7;

/// Encodes attributes.
///
/// # Errors
/// `InvalidArgument` naming `attributes`: an empty or over-long name, NaN, more than [`MAX_ATTRIBUTE_BYTES`] in total.
pub fn encode_attributes(attributes: &Attributes) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    if attributes.is_empty() {
        return Ok(out);
    }
    write_varint(&mut out, attributes.len() as u64);
    for (name, value) in attributes {
        if name.is_empty() || name.len() > MAX_ATTRIBUTE_NAME_BYTES {
            return Err(Error::argument(
                "attributes",
                format!("has a name of {} bytes; use 1..={MAX_ATTRIBUTE_NAME_BYTES} bytes", name.len()),
            ));
        }
        write_text(&mut out, name);
        encode_value(&mut out, name, value)?;
        if out.len() > MAX_ATTRIBUTE_BYTES {
            return Err(Error::argument(
                "attributes",
                format!("takes more than {MAX_ATTRIBUTE_BYTES} bytes; keep long texts in the payload"),
            ));
        }
    }
    Ok(out)
}

fn encode_value(out: &mut Vec<u8>, name: &str, value: &Value) -> Result<()> {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::I64(n) => write_number(out, I64, n.to_le_bytes()),
        Value::F64(x) if x.is_nan() => {
            return Err(Error::argument("attributes", format!("has NaN as {name:?}; use a number or null")));
        }
        Value::F64(x) => write_number(out, F64, x.to_le_bytes()),
        Value::String(text) => {
            out.push(STRING);
            write_text(out, text);
        }
        Value::StringList(texts) => {
            out.push(STRING_LIST);
            write_varint(out, texts.len() as u64);
            texts.iter().for_each(|text| write_text(out, text));
        }
        Value::Timestamp(micros) => write_number(out, TIMESTAMP, micros.to_le_bytes()),
    }
    Ok(())
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn write_number(out: &mut Vec<u8>, tag: u8, bytes: [u8; 8]) {
    out.push(tag);
    out.extend_from_slice(&bytes);
}

/// Decodes attributes. Accepts exactly what [`encode_attributes`] writes. The problem comes back as text; the caller knows the file
/// and the offset.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode_attributes(encoded: &[u8]) -> std::result::Result<Attributes, &'static str> {
    RawAttributes::new(encoded)?
        .map(|entry| entry.and_then(|(name, value)| Ok((name.to_owned(), value.to_value()?))))
        .collect()
}

/// Checks encoded attributes without making anything of them.
///
/// # Errors
/// What is wrong with the bytes.
pub fn check_attributes(encoded: &[u8]) -> std::result::Result<(), &'static str> {
    RawAttributes::new(encoded)?.try_for_each(|entry| entry.map(drop))
}

/// One attribute value inside encoded bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawValue<'a> {
    /// Present and null.
    Null,
    /// True or false.
    Bool(bool),
    /// Signed 64-bit integer.
    I64(i64),
    /// 64-bit float, not NaN.
    F64(f64),
    /// Text.
    String(&'a str),
    /// Texts.
    StringList(RawTexts<'a>),
    /// Microseconds since 1970 UTC.
    Timestamp(i64),
}

impl RawValue<'_> {
    fn to_value(self) -> std::result::Result<Value, &'static str> {
        Ok(match self {
            RawValue::Null => Value::Null,
            RawValue::Bool(b) => Value::Bool(b),
            RawValue::I64(n) => Value::I64(n),
            RawValue::F64(x) => Value::F64(x),
            RawValue::String(text) => Value::String(text.to_owned()),
            RawValue::StringList(texts) => Value::StringList(texts.map(str::to_owned).collect()),
            RawValue::Timestamp(micros) => Value::Timestamp(micros),
        })
    }
}

/// The texts of a list, checked already.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawTexts<'a>(&'a [u8]);

impl<'a> Iterator for RawTexts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match self.0.is_empty() {
            true => None,
            false => read_text(&mut self.0).ok(),
        }
    }
}

/// Walks encoded attributes without copying; stops after the first error.
pub struct RawAttributes<'a> {
    rest: &'a [u8],
    left: u64,
    last: Option<&'a str>,
}

impl<'a> RawAttributes<'a> {
    /// Starts at the first attribute.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn new(encoded: &'a [u8]) -> std::result::Result<Self, &'static str> {
        let mut rest = encoded;
        if encoded.is_empty() {
            return Ok(RawAttributes { rest, left: 0, last: None });
        }
        if encoded.len() > MAX_ATTRIBUTE_BYTES {
            return Err("attributes are longer than the cap");
        }
        match read_varint(&mut rest) {
            Some(0) => Err("attributes of no entries must be no bytes"),
            Some(left) => Ok(RawAttributes { rest, left, last: None }),
            None => Err("the number of attributes is not a canonical varint"),
        }
    }

    fn read(&mut self) -> std::result::Result<(&'a str, RawValue<'a>), &'static str> {
        let name = read_text(&mut self.rest)?;
        if name.is_empty() || name.len() > MAX_ATTRIBUTE_NAME_BYTES {
            return Err("an attribute's name is empty or longer than the cap");
        }
        if self.last.is_some_and(|last| last >= name) {
            return Err("attribute names are not ascending");
        }
        let value = read_value(&mut self.rest)?;
        self.last = Some(name);
        self.left -= 1;
        if self.left == 0 && !self.rest.is_empty() {
            return Err("bytes follow the last attribute");
        }
        Ok((name, value))
    }
}

impl<'a> Iterator for RawAttributes<'a> {
    type Item = std::result::Result<(&'a str, RawValue<'a>), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let entry = self.read();
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry)
    }
}

fn read_value<'a>(rest: &mut &'a [u8]) -> std::result::Result<RawValue<'a>, &'static str> {
    let (tag, behind) = rest.split_first().ok_or("attributes end before a value")?;
    *rest = behind;
    Ok(match *tag {
        NULL => RawValue::Null,
        FALSE => RawValue::Bool(false),
        TRUE => RawValue::Bool(true),
        I64 => RawValue::I64(i64::from_le_bytes(read_number(rest)?)),
        F64 => match f64::from_le_bytes(read_number(rest)?) {
            x if x.is_nan() => return Err("an attribute is NaN"),
            x => RawValue::F64(x),
        },
        STRING => RawValue::String(read_text(rest)?),
        STRING_LIST => RawValue::StringList(read_texts(rest)?),
        TIMESTAMP => RawValue::Timestamp(i64::from_le_bytes(read_number(rest)?)),
        _ => return Err("an attribute has an unknown tag"),
    })
}

fn read_number(rest: &mut &[u8]) -> std::result::Result<[u8; 8], &'static str> {
    let (bytes, behind) = rest.split_first_chunk::<8>().ok_or("attributes end inside a number")?;
    *rest = behind;
    Ok(*bytes)
}

fn read_text<'a>(rest: &mut &'a [u8]) -> std::result::Result<&'a str, &'static str> {
    let len = read_varint(rest).ok_or("a length is not a canonical varint")?;
    let (text, behind) =
        usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len)).ok_or("attributes end inside a text")?;
    *rest = behind;
    std::str::from_utf8(text).map_err(|_| "a text is not UTF-8")
}

/// Checks a list of texts and returns its bytes.
fn read_texts<'a>(rest: &mut &'a [u8]) -> std::result::Result<RawTexts<'a>, &'static str> {
    let count = read_varint(rest).ok_or("a count is not a canonical varint")?;
    let start = *rest;
    // Each text takes at least one byte, so a false count ends with the bytes.
    for _ in 0..count {
        read_text(rest)?;
    }
    let len = start.len() - rest.len();
    Ok(RawTexts(start.get(..len).unwrap_or_default()))
}

#[cfg(test)]
#[path = "attributes_tests.rs"]
mod tests;
