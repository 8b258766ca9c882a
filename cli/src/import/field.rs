//! Which fields of a text format mean what, and how a field's text becomes a value.

use std::str::FromStr;

use stratavec::{Id, IdKind, Value};

/// The type an attribute is asked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeType {
    /// As the file has it: JSON's own type; text in CSV.
    AsIs,
    /// Text.
    String,
    /// Signed 64-bit integer.
    I64,
    /// 64-bit float.
    F64,
    /// `true` or `false`.
    Bool,
    /// Microseconds since 1970, as an integer.
    Timestamp,
}

/// One attribute to take: `name` or `name:type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeField {
    /// The field's name in the file and the attribute's name.
    pub name: String,
    /// The type asked for.
    pub kind: AttributeType,
}

impl FromStr for AttributeField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, kind) = match text.rsplit_once(':') {
            None => (text, AttributeType::AsIs),
            Some((name, "string")) => (name, AttributeType::String),
            Some((name, "i64")) => (name, AttributeType::I64),
            Some((name, "f64")) => (name, AttributeType::F64),
            Some((name, "bool")) => (name, AttributeType::Bool),
            Some((name, "timestamp")) => (name, AttributeType::Timestamp),
            Some((_, kind)) => return Err(format!("{kind:?} is no type; string, i64, f64, bool, timestamp are")),
        };
        if name.is_empty() {
            return Err("the name is missing".into());
        }
        Ok(AttributeField { name: name.to_owned(), kind })
    }
}

impl AttributeType {
    /// The value of a text under this type; `Err` says what the text would have to be.
    ///
    /// # Errors
    /// The expectation that the text does not meet.
    pub fn parse(self, text: &str) -> Result<Value, &'static str> {
        match self {
            AttributeType::AsIs | AttributeType::String => Ok(Value::String(text.to_owned())),
            AttributeType::I64 => text.trim().parse().map(Value::I64).map_err(|_| "a 64-bit integer"),
            AttributeType::Timestamp => {
                text.trim().parse().map(Value::Timestamp).map_err(|_| "a time in microseconds since 1970")
            }
            AttributeType::F64 => match text.trim().parse::<f64>() {
                Ok(x) if x.is_nan() => Err("a number"),
                Ok(x) if is_whole(text.trim()) && !holds(text.trim(), x) => Err(NOT_EXACT),
                Ok(x) => Ok(Value::F64(x)),
                Err(_) => Err("a number"),
            },
            AttributeType::Bool => text.trim().parse().map(Value::Bool).map_err(|_| "true or false"),
        }
    }

    /// A value of a JSON file under this type.
    ///
    /// # Errors
    /// The expectation that the value does not meet.
    pub fn convert(self, value: Value) -> Result<Value, &'static str> {
        match (self, value) {
            (AttributeType::AsIs, value) | (_, value @ Value::Null) => Ok(value),
            (AttributeType::String, value @ (Value::String(_) | Value::StringList(_))) => Ok(value),
            (AttributeType::String, Value::I64(n)) => Ok(Value::String(n.to_string())),
            (AttributeType::Bool, value @ Value::Bool(_)) => Ok(value),
            (AttributeType::I64, value @ Value::I64(_)) => Ok(value),
            (AttributeType::F64, Value::I64(n)) if n as f64 as i128 == i128::from(n) => Ok(Value::F64(n as f64)),
            (AttributeType::F64, Value::I64(_)) => Err(NOT_EXACT),
            (AttributeType::F64, value @ Value::F64(_)) => Ok(value),
            (AttributeType::Timestamp, Value::I64(n)) => Ok(Value::Timestamp(n)),
            (kind, Value::String(text)) => kind.parse(&text),
            (AttributeType::String, _) => Err("text"),
            (AttributeType::Bool, _) => Err("true or false"),
            (AttributeType::I64, _) => Err("a 64-bit integer"),
            (AttributeType::F64, _) => Err("a number"),
            (AttributeType::Timestamp, _) => Err("a time in microseconds since 1970"),
        }
    }
}

/// What a whole number would have to be that a float would change.
const NOT_EXACT: &str = "a whole number that a 64-bit float holds exactly (with a decimal point it would be rounded)";

/// Whether a text is a number without decimal point or exponent.
pub(super) fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a float is exactly a whole number.
fn holds(text: &str, x: f64) -> bool {
    text.parse::<i128>().is_ok_and(|n| n.unsigned_abs() < 1 << 120 && x as i128 == n)
}

/// Which fields are taken, and as what.
#[derive(Clone, Debug)]
pub struct Fields {
    /// The kind of ids of the collection.
    pub ids: IdKind,
    /// The field with the id; `None`: records are numbered.
    pub id: Option<String>,
    /// The field with the vector; `None`: the file has none.
    pub vector: Option<String>,
    /// The fields to keep as attributes.
    pub attributes: Vec<AttributeField>,
    /// The field to keep as payload.
    pub payload: Option<String>,
}

/// An id from text: as it is for byte ids; a plain number for number ids.
///
/// # Errors
/// What the text would have to be.
pub fn id_from_text(text: &str, kind: IdKind) -> Result<Id, String> {
    let id = match kind {
        IdKind::Bytes => Id::from(text),
        // Only the one way of writing a number: "7" and "007" as two records must not become one row unnoticed.
        _ => match text.parse::<u64>() {
            Ok(n) if n.to_string() == text => Id::U64(n),
            _ => return Err(format!("{text:?} is no number from 0 to 18446744073709551614 in plain digits")),
        },
    };
    id.as_ref().check(kind).map_err(|e| e.message().to_owned())?;
    Ok(id)
}

/// An id from a number.
///
/// # Errors
/// What the number would have to be.
pub fn id_from_number(number: i128, kind: IdKind) -> Result<Id, String> {
    id_from_text(&number.to_string(), kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_ids_are_written_one_way_only() {
        assert_eq!(id_from_text("7", IdKind::U64).unwrap(), Id::U64(7));
        for text in ["007", "+7", " 7", "-1", "seven", "", "18446744073709551615", "18446744073709551616"] {
            assert!(id_from_text(text, IdKind::U64).is_err(), "{text}");
        }
        assert_eq!(id_from_text("007", IdKind::Bytes).unwrap(), Id::from("007"));
        assert!(id_from_text("", IdKind::Bytes).is_err());
        assert!(id_from_text(&"x".repeat(513), IdKind::Bytes).is_err());
        assert!(id_from_number(-1, IdKind::U64).is_err());
    }

    #[test]
    fn attribute_fields_carry_a_type() {
        let field: AttributeField = "year:i64".parse().unwrap();
        assert_eq!((field.name.as_str(), field.kind), ("year", AttributeType::I64));
        assert!("year:int".parse::<AttributeField>().unwrap_err().contains("timestamp are"));
        assert!(":i64".parse::<AttributeField>().is_err());
        assert_eq!(AttributeType::I64.parse(" 7 "), Ok(Value::I64(7)));
        assert!(AttributeType::F64.parse("NaN").is_err());
        assert_eq!(AttributeType::Timestamp.convert(Value::I64(7)), Ok(Value::Timestamp(7)));
        assert!(AttributeType::I64.convert(Value::F64(0.5)).is_err());
    }
}
