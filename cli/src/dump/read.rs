//! Lines to records. Every line is foreign: one is held at a time, and nothing in it buys more memory than it has bytes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use stratavec::{Id, IdKind, Value};

use super::{Header, VERSION, base64};
use crate::import::{ImportError, Input, Place, Record, RecordSource};

/// A dump that is being read.
pub struct DumpSource {
    input: Input,
    header: Header,
    kind: IdKind,
    line_number: u64,
    line: Vec<u8>,
    taken: u64,
}

/// A row as it stands in its line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    #[serde(borrow)]
    id: &'l RawValue,
    #[serde(borrow)]
    vector: &'l RawValue,
    #[serde(borrow, default)]
    attributes: BTreeMap<String, &'l RawValue>,
    #[serde(default)]
    payload: Option<String>,
}

/// Values that JSON has no type for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
enum Special {
    #[serde(rename = "timestamp_micros")]
    Timestamp(i64),
    #[serde(rename = "f64")]
    Float(String),
    #[serde(rename = "base64")]
    Bytes(String),
}

impl DumpSource {
    /// Reads the header.
    ///
    /// # Errors
    /// `Malformed` if the input does not begin as a dump of a version that is known here.
    pub fn new(mut input: Input) -> Result<DumpSource, ImportError> {
        let mut line = Vec::new();
        let name = input.name().to_owned();
        let wrong = |what: String| ImportError::malformed(&name, Place::Line(1), what);
        if !input.line(&mut line, Place::Line(1))? {
            return Err(wrong("there is nothing in it".to_owned()));
        }
        let header: Header = serde_json::from_slice(&line).map_err(|error| {
            wrong(format!("this is not the header of a dump: {error}"))
                .with_hint("a dump is what `stratavec dump` writes; other files go in with `stratavec import`")
        })?;
        if header.stratavec_dump != VERSION {
            let found = header.stratavec_dump;
            return Err(wrong(format!("the dump is of version {found}; this release reads version {VERSION}")));
        }
        let schema = header.schema().map_err(wrong)?;
        if !schema.row_format().keeps_vectors() {
            let what = "the collection kept no vectors, so its dump has none, and nothing can be loaded from it";
            return Err(wrong(what.to_owned()).with_hint("a checkpoint copies such a collection with its codes"));
        }
        Ok(DumpSource { input, header, kind: schema.id_kind(), line_number: 1, line, taken: 0 })
    }

    /// What the dump says it is.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Counts the bytes read.
    pub fn input(&self) -> &Input {
        &self.input
    }

    fn wrong(&self, what: impl Into<String>) -> ImportError {
        ImportError::malformed(self.input.name(), self.place(), what.into())
    }

    fn take(&self, record: &mut Record) -> Result<(), String> {
        let line: Line<'_> = serde_json::from_slice(&self.line).map_err(|error| error.to_string())?;
        record.id = Some(read_id(line.id.get(), self.kind)?);
        read_vector(line.vector.get(), &mut record.vector)?;
        for (name, value) in line.attributes {
            let value = read_value(value.get()).ok_or_else(|| format!("attribute {name:?} has no value we know"))?;
            record.attributes.insert(name, value);
        }
        record.payload = match line.payload {
            Some(text) => Some(base64::decode(&text).ok_or("the payload is not base64")?),
            None => None,
        };
        Ok(())
    }
}

impl RecordSource for DumpSource {
    fn read(&mut self, record: &mut Record) -> Result<bool, ImportError> {
        record.clear();
        self.line_number += 1;
        if !self.input.line(&mut self.line, Place::Line(self.line_number))? {
            let (taken, stated) = (self.taken, self.header.count);
            return match taken == stated {
                true => Ok(false),
                false => Err(self.wrong(format!("the dump ends after {taken} rows; its header states {stated}"))),
            };
        }
        if self.taken == self.header.count {
            return Err(self.wrong(format!("there are more rows than the {} that the header states", self.taken)));
        }
        self.take(record).map_err(|what| self.wrong(what))?;
        self.taken += 1;
        Ok(true)
    }

    fn place(&self) -> Place {
        Place::Line(self.line_number)
    }

    fn name(&self) -> &str {
        self.input.name()
    }

    fn total(&self) -> Option<u64> {
        Some(self.header.count)
    }

    fn dim(&self) -> Option<usize> {
        Some(self.header.dim)
    }
}

fn read_id(text: &str, kind: IdKind) -> Result<Id, String> {
    let wrong = || format!("{text} is no id of kind {}", kind.name());
    match kind {
        IdKind::U64 => text.parse().map(Id::U64).map_err(|_| wrong()),
        _ if text.starts_with('"') => serde_json::from_str::<String>(text).map(Id::from).map_err(|_| wrong()),
        _ => match serde_json::from_str(text) {
            Ok(Special::Bytes(text)) => base64::decode(&text).map(|bytes| Id::Bytes(bytes.into())).ok_or_else(wrong),
            _ => Err(wrong()),
        },
    }
}

/// Each component is rounded once, from its own text.
fn read_vector(text: &str, vector: &mut Vec<f32>) -> Result<(), String> {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).ok_or("the vector is no array")?;
    for number in inside.split(',').map(str::trim).filter(|_| !inside.trim().is_empty()) {
        let component: f32 = number.parse().map_err(|_| format!("{number} is no component of a vector"))?;
        vector.push(component);
    }
    Ok(())
}

fn read_value(text: &str) -> Option<Value> {
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok().map(Value::String),
        b'[' => serde_json::from_str(text).ok().map(Value::StringList),
        b'{' => match serde_json::from_str(text).ok()? {
            Special::Timestamp(micros) => Some(Value::Timestamp(micros)),
            Special::Float(text) => text.parse().ok().map(Value::F64),
            Special::Bytes(_) => None,
        },
        b't' => Some(Value::Bool(true)),
        b'f' => Some(Value::Bool(false)),
        b'n' => Some(Value::Null),
        _ if text.contains(['.', 'e', 'E']) => text.parse().ok().map(Value::F64),
        _ => text.parse().ok().map(Value::I64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f32_reads_back_from_its_shortest_text() {
        let mut bits = 1u32;
        let mut vector = Vec::new();
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = f32::from_bits(bits);
            if number.is_finite() {
                vector.clear();
                read_vector(&format!("[{number:?}]"), &mut vector).unwrap();
                assert_eq!(vector[0].to_bits(), number.to_bits());
            }
        }
    }

    #[test]
    fn what_is_no_dump_is_refused_with_its_line() {
        let header = r#"{"stratavec_dump":1,"dim":2,"metric":"l2","ids":"u64","rows":"f32","index":"flat","seed":0,"count":1,"seq":1}"#;
        let read = |text: &str| -> Result<Vec<Record>, String> {
            let input = Input::from_bytes("d", text.as_bytes());
            let mut source = DumpSource::new(input).map_err(|error| format!("{}: {}", error.place, error.message))?;
            let mut records = Vec::new();
            let mut record = Record::default();
            while source.read(&mut record).map_err(|error| format!("{}: {}", error.place, error.message))? {
                records.push(record.clone());
            }
            Ok(records)
        };
        assert_eq!(read(&format!("{header}\n{{\"id\":1,\"vector\":[1,2]}}\n")).unwrap().len(), 1);
        for (text, says) in [
            (String::new(), "line 1: there is nothing in it"),
            ("{}".into(), "line 1: this is not the header of a dump"),
            (header.replace(":1,\"dim", ":2,\"dim"), "line 1: the dump is of version 2"),
            (header.replace("l2", "l7"), "line 1: metric \"l7\" is not known here"),
            (header.replace("\"dim\":2", "\"dim\":0"), "line 1: "),
            (header.replace("f32", "none").replace("flat", "ivf"), "line 1: the collection kept no vectors"),
            (format!("{header}\n"), "line 2: the dump ends after 0 rows; its header states 1"),
            (format!("{header}\n{{\"id\":1}}"), "line 2: missing field `vector`"),
            (format!("{header}\n{{\"id\":\"x\",\"vector\":[1,2]}}"), "line 2: \"x\" is no id of kind u64"),
            (format!("{header}\n{{\"id\":1,\"vector\":[1,\"2\"]}}"), "line 2: \"2\" is no component"),
            (format!("{header}\n{{\"id\":1,\"vector\":[1,2],\"payload\":\"*\"}}"), "line 2: the payload is not base64"),
            (
                format!("{header}\n{{\"id\":1,\"vector\":[1,2],\"attributes\":{{\"a\":[1]}}}}"),
                "line 2: attribute \"a\"",
            ),
            (
                format!("{header}\n{{\"id\":1,\"vector\":[1,2]}}\n{{\"id\":2,\"vector\":[1,2]}}"),
                "line 3: there are more rows",
            ),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.starts_with(says), "{text}: {error}");
        }
    }
}
