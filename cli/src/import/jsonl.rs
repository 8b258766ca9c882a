//! One JSON object per line.
//!
//! Only the fields asked for are kept; others are skipped without being built up. A component costs four bytes of
//! memory whatever its text costs, and lists are capped, so a line cannot ask for more than a few times its length.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use stratavec::{MAX_ATTRIBUTE_BYTES, MAX_DIM, Value};

use super::field::{Fields, id_from_number, id_from_text, is_whole};
use super::{ImportError, Input, Place, Record, RecordSource};

/// A file with a JSON object per line. Empty lines are skipped.
pub struct JsonlSource {
    input: Input,
    fields: Fields,
    line_number: u64,
    line: Vec<u8>,
}

impl JsonlSource {
    /// Starts reading.
    pub fn new(input: Input, fields: Fields) -> Self {
        JsonlSource { input, fields, line_number: 0, line: Vec::new() }
    }

    fn absent(&self, field: &str, hint: &str) -> ImportError {
        let message = format!("there is no field {field:?}");
        ImportError::value(self.input.name(), self.place(), message).with_hint(hint)
    }

    fn refuse(&self, error: &serde_json::Error) -> ImportError {
        // serde_json ends its text with its own idea of the place; ours has the line of the file.
        let text = error.to_string();
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
        let message = match error.column() {
            0 => text.to_owned(),
            column => format!("column {column}: {text}"),
        };
        match error.classify() {
            serde_json::error::Category::Data => ImportError::value(self.input.name(), self.place(), message),
            _ => ImportError::malformed(self.input.name(), self.place(), message)
                .with_hint("each line must be one JSON object"),
        }
    }
}

impl RecordSource for JsonlSource {
    fn read(&mut self, record: &mut Record) -> Result<bool, ImportError> {
        record.clear();
        loop {
            self.line_number += 1;
            if !self.input.line(&mut self.line, Place::Line(self.line_number))? {
                return Ok(false);
            }
            // Some editors put a byte order mark in front of a file; it says nothing in UTF-8.
            if self.line_number == 1 && self.line.starts_with(&[0xEF, 0xBB, 0xBF]) {
                self.line.drain(..3);
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let (fields, mut vector_seen) = (&self.fields, false);
        let mut json = serde_json::Deserializer::from_slice(&self.line);
        let object = Object { fields, record, vector_seen: &mut vector_seen };
        json.deserialize_map(object).and_then(|()| json.end()).map_err(|e| self.refuse(&e))?;
        match (&fields.vector, &fields.id) {
            (Some(name), _) if !vector_seen => Err(self.absent(name, "name the one there is: --vector-field NAME")),
            (_, Some(name)) if record.id.is_none() => {
                Err(self.absent(name, "name the one there is: --id-field NAME; or number the records: --number"))
            }
            _ => Ok(true),
        }
    }

    fn place(&self) -> Place {
        Place::Line(self.line_number)
    }

    fn name(&self) -> &str {
        self.input.name()
    }
}

/// Fills a record from one object.
struct Object<'a> {
    fields: &'a Fields,
    record: &'a mut Record,
    vector_seen: &'a mut bool,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Object { fields, record, vector_seen } = self;
        let is = |wanted: &Option<String>, name: &str| wanted.as_deref() == Some(name);
        while let Some(name) = map.next_key::<String>()? {
            let mut used = false;
            let attribute = fields.attributes.iter().find(|field| field.name == name);
            if is(&fields.vector, &name) {
                if std::mem::replace(vector_seen, true) {
                    return Err(twice(&name));
                }
                map.next_value_seed(Components(&mut record.vector))?;
                continue;
            }
            if !is(&fields.id, &name) && !is(&fields.payload, &name) && attribute.is_none() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            // One field may serve as id, payload and attribute at once.
            let value = scalar(map.next_value()?, &name)?;
            if is(&fields.id, &name) {
                let id = match &value {
                    Number::Value(Value::String(text)) => id_from_text(text, fields.ids),
                    Number::Value(Value::I64(n)) => id_from_number((*n).into(), fields.ids),
                    Number::Large(n) => id_from_number((*n).into(), fields.ids),
                    Number::Value(_) => Err("is neither text nor a whole number".into()),
                };
                let id = id.map_err(|e| A::Error::custom(format!("field {name:?}: {e}")))?;
                used |= record.id.replace(id).is_some();
            }
            if is(&fields.payload, &name) {
                match &value {
                    Number::Value(Value::Null) => {}
                    Number::Value(Value::String(text)) => {
                        used |= record.payload.replace(text.clone().into_bytes()).is_some();
                    }
                    _ => return Err(A::Error::custom(format!("field {name:?}: a payload must be text"))),
                }
            }
            if let Some(field) = attribute {
                let value = match value {
                    Number::Value(value) => field.kind.convert(value).map_err(|want| format!("is not {want}")),
                    Number::Large(_) => Err("does not fit a signed 64-bit integer".to_owned()),
                };
                let value = value.map_err(|e| A::Error::custom(format!("field {name:?}: {e}")))?;
                used |= record.attributes.insert(name.clone(), value).is_some();
            }
            if used {
                return Err(twice(&name));
            }
        }
        Ok(())
    }
}

/// Reads a scalar or a list of texts. A whole number that no integer type holds would come as a float, changed: it is refused.
fn scalar<E: serde::de::Error>(raw: &RawValue, name: &str) -> Result<Number, E> {
    let text = raw.get();
    if is_whole(text) && text.parse::<i64>().is_err() && text.parse::<u64>().is_err() {
        return Err(E::custom(format!(
            "field {name:?}: {text} does not fit a 64-bit integer; with a decimal point it is taken as a float"
        )));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    Scalar(name).deserialize(&mut json).map_err(|error| {
        let text = error.to_string();
        E::custom(text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text))
    })
}

fn twice<E: serde::de::Error>(name: &str) -> E {
    E::custom(format!("field {name:?} is there twice"))
}

/// The components of a vector, four bytes each, never more than the largest dimension.
struct Components<'a>(&'a mut Vec<f32>);

impl<'de> DeserializeSeed<'de> for Components<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Components<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of numbers as the vector")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(component) = list.next_element::<f64>()? {
            if self.0.len() == MAX_DIM {
                return Err(A::Error::custom(format!("the vector has more than {MAX_DIM} components")));
            }
            let rounded = component as f32;
            if !rounded.is_finite() {
                let at = self.0.len();
                return Err(A::Error::custom(format!("component {at} is {component:e}, more than an f32 holds")));
            }
            self.0.push(rounded);
        }
        Ok(())
    }
}

/// A value that an attribute can have, or a whole number above `i64::MAX` (an id can be one).
enum Number {
    Value(Value),
    Large(u64),
}

/// Reads a scalar or a list of texts; the name is for messages.
struct Scalar<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Scalar<'_> {
    type Value = Number;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Number, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalar<'_> {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "text, a number, true, false, null or a list of texts as field {:?}", self.0)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Number, E> {
        Ok(Number::Value(Value::Bool(v)))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Number, E> {
        Ok(Number::Value(Value::I64(v)))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Number, E> {
        Ok(i64::try_from(v).map_or(Number::Large(v), |v| Number::Value(Value::I64(v))))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Number, E> {
        Ok(Number::Value(Value::F64(v)))
    }

    fn visit_str<E>(self, v: &str) -> Result<Number, E> {
        Ok(Number::Value(Value::String(v.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Number, E> {
        Ok(Number::Value(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Number, A::Error> {
        let (mut texts, mut bytes) = (Vec::new(), 0);
        while let Some(text) = list.next_element::<String>()? {
            bytes += text.len() + 1;
            if bytes > MAX_ATTRIBUTE_BYTES {
                return Err(A::Error::custom(format!("the list is longer than {MAX_ATTRIBUTE_BYTES} bytes")));
            }
            texts.push(text);
        }
        Ok(Number::Value(Value::StringList(texts)))
    }
}

#[cfg(test)]
mod tests {
    use stratavec::{Id, IdKind};

    use super::*;

    fn fields(ids: IdKind) -> Fields {
        Fields {
            ids,
            id: Some("id".into()),
            vector: Some("vector".into()),
            attributes: ["lang", "year:i64", "tags"].iter().map(|a| a.parse().unwrap()).collect(),
            payload: Some("text".into()),
        }
    }

    fn read_all(text: &str, ids: IdKind) -> Result<Vec<Record>, ImportError> {
        let input = Input::from_bytes("a.jsonl", text);
        let mut source = JsonlSource::new(input, fields(ids));
        let (mut record, mut out) = (Record::default(), Vec::new());
        while source.read(&mut record)? {
            out.push(record.clone());
        }
        Ok(out)
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_start_alone() {
        let line = "{\"id\": 1, \"vector\": [1]}\n";
        assert_eq!(read_all(&format!("\u{feff}{line}"), IdKind::U64).unwrap().len(), 1);
        assert!(read_all(&format!("{line}\u{feff}{line}"), IdKind::U64).is_err());
    }

    fn error(text: &str) -> String {
        read_all(text, IdKind::Bytes).unwrap_err().to_string()
    }

    #[test]
    fn fields_become_id_vector_attributes_and_payload() {
        let text = r#"{"id": "a", "vector": [1, -0.5, 1e-3], "lang": "en", "year": 2024, "tags": ["x", "y"], "text": "héllo", "rest": {"deep": [1, {}]}}"#;
        let records = read_all(&format!("{text}\r\n\n"), IdKind::Bytes).unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].id, Some(Id::from("a")));
        assert_eq!(records[0].vector, [1.0, -0.5, 1e-3]);
        assert_eq!(records[0].attributes["year"], Value::I64(2024));
        assert_eq!(records[0].attributes["tags"], Value::StringList(vec!["x".into(), "y".into()]));
        assert_eq!(records[0].payload.as_deref(), Some("héllo".as_bytes()));
        assert!(!records[0].attributes.contains_key("rest"));
    }

    #[test]
    fn numbers_are_ids_of_both_kinds() {
        let text = r#"{"id": 18446744073709551614, "vector": []}"#;
        assert_eq!(read_all(text, IdKind::U64).unwrap()[0].id, Some(Id::U64(u64::MAX - 1)));
        assert_eq!(read_all(text, IdKind::Bytes).unwrap()[0].id, Some(Id::from("18446744073709551614")));
    }

    #[test]
    fn no_whole_number_is_changed() {
        for number in ["18446744073709551616", "-9223372036854775809", "99999999999999999999999999999999999999999"] {
            let text = format!("{{\"id\": \"a\", \"vector\": [1], \"lang\": {number}}}");
            assert!(
                error(&text).contains(&format!("field \"lang\": {number} does not fit a 64-bit integer")),
                "{text}"
            );
        }
        let read = |value: &str| {
            let text = format!("{{\"id\": \"a\", \"vector\": [1], \"lang\": {value}}}");
            read_all(&text, IdKind::Bytes).unwrap()[0].attributes["lang"].clone()
        };
        assert_eq!((read("9223372036854775807"), read("1e30")), (Value::I64(i64::MAX), Value::F64(1e30)));
    }

    #[test]
    fn every_refusal_names_file_line_and_field() {
        assert_eq!(
            error("{\"id\": \"a\", \"vector\": []}\n{\"id\": \"b\"}"),
            "a.jsonl: line 2: there is no field \"vector\""
        );
        assert!(error("{\"vector\": [1]}").contains("there is no field \"id\""));
        assert!(error("[1, 2]").contains("expected a JSON object"));
        assert!(error("{\"id\": \"a\", \"vector\": \"x\"}").contains("an array of numbers as the vector"));
        assert!(error("{\"id\": \"a\", \"vector\": [1e39]}").contains("component 0 is 1e39, more than an f32 holds"));
        assert!(error("{\"id\": {}, \"vector\": [1]}").contains("field \"id\""));
        assert!(error("{\"id\": \"a\", \"id\": \"b\", \"vector\": [1]}").contains("field \"id\" is there twice"));
        assert!(
            error("{\"id\": \"a\", \"vector\": [1], \"year\": \"x\"}")
                .contains("field \"year\": is not a 64-bit integer")
        );
        assert!(error("{\"id\": \"a\", \"vector\": [1], \"text\": 7}").contains("a payload must be text"));
        assert!(error("{\"id\": \"a\", \"vector\": [1]} x").contains("trailing characters"));
        let cut = read_all("{\"id\": \"a\", \"vec", IdKind::Bytes).unwrap_err();
        assert_eq!(cut.kind, super::super::ImportErrorKind::Malformed);
    }

    #[test]
    fn a_line_cannot_ask_for_more_memory_than_its_caps() {
        let zeros = "0,".repeat(70_000);
        assert!(error(&format!("{{\"id\": \"a\", \"vector\": [{zeros}0]}}")).contains("more than 65536 components"));
        let texts = "\"\",".repeat(70_000);
        let long = format!("{{\"id\": \"a\", \"vector\": [1], \"tags\": [{texts}\"\"]}}");
        assert!(error(&long).contains("the list is longer than 65536 bytes"));
        assert!(error(&"[".repeat(17 << 20)).contains("longer than 16 MiB"));
        let deep = format!("{{\"rest\": {}", "[".repeat(1 << 20));
        assert!(error(&deep).starts_with("a.jsonl: line 1:"));
    }
}
