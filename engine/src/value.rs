//! Attribute values: small typed facts stored beside a vector, to be filtered on and returned.

use std::collections::BTreeMap;

/// The attributes of one row: name to value, ordered by name.
/// A name that is absent ("missing") differs from one whose value is [`Value::Null`].
pub type Attributes = BTreeMap<String, Value>;

/// One attribute value. `I64` and `F64` compare numerically with each other; NaN is refused at the call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Present and null.
    Null,
    /// True or false.
    Bool(bool),
    /// Signed 64-bit integer.
    I64(i64),
    /// 64-bit float, never NaN.
    F64(f64),
    /// UTF-8 text.
    String(String),
    /// A list of texts, in the given order.
    StringList(Vec<String>),
    /// Microseconds since 1970-01-01T00:00:00 UTC.
    Timestamp(i64),
}

impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Value::Bool(v)
    }
}
impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Value::I64(v)
    }
}
impl From<i32> for Value {
    fn from(v: i32) -> Self {
        Value::I64(v.into())
    }
}
impl From<u32> for Value {
    fn from(v: u32) -> Self {
        Value::I64(v.into())
    }
}
impl From<f64> for Value {
    fn from(v: f64) -> Self {
        Value::F64(v)
    }
}
impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Value::String(v.to_owned())
    }
}
impl From<String> for Value {
    fn from(v: String) -> Self {
        Value::String(v)
    }
}
impl From<Vec<String>> for Value {
    fn from(v: Vec<String>) -> Self {
        Value::StringList(v)
    }
}
