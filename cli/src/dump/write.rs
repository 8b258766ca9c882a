//! A collection to lines.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::json;
use stratavec::{Id, Item, Snapshot, Value};

use super::{Header, base64};

/// Why a dump ended early.
#[derive(Debug)]
pub enum WriteError {
    /// The lines cannot be written.
    Io(io::Error),
    /// A row cannot be read.
    Engine(stratavec::Error),
}

/// Writes all rows of a snapshot and tells after each how many there were.
///
/// # Errors
/// As [`WriteError`] says.
pub fn write(snapshot: &Snapshot, out: &mut dyn Write, mut wrote: impl FnMut(u64)) -> Result<u64, WriteError> {
    let header = Header::new(snapshot.schema(), snapshot.count(), snapshot.seq());
    let first = serde_json::to_string(&header).map_err(|error| WriteError::Io(error.into()))?;
    writeln!(out, "{first}").map_err(WriteError::Io)?;
    let (mut line, mut count) = (String::new(), 0);
    for item in snapshot.iter() {
        row(&item.map_err(WriteError::Engine)?, &mut line);
        out.write_all(line.as_bytes()).map_err(WriteError::Io)?;
        count += 1;
        wrote(count);
    }
    out.flush().map_err(WriteError::Io)?;
    Ok(count)
}

/// The components of a vector; a collection that keeps none has none to show.
fn put_vector(vector: &[f32], line: &mut String) {
    line.push_str(",\"vector\":[");
    for (at, component) in vector.iter().enumerate() {
        // The shortest text that reads back as the same number.
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(line, "{comma}{component:?}");
    }
    line.push(']');
}

/// One row, with its line end.
fn row(item: &Item, line: &mut String) {
    line.clear();
    let _ = write!(line, "{{\"id\":{}", id_json(&item.id));
    if !item.vector.is_empty() {
        put_vector(&item.vector, line);
    }
    if !item.attributes.is_empty() {
        let pairs = item.attributes.iter().map(|(name, value)| (name.clone(), value_json(value)));
        let _ = write!(line, ",\"attributes\":{}", serde_json::Value::Object(pairs.collect()));
    }
    if let Some(payload) = &item.payload {
        let _ = write!(line, ",\"payload\":\"{}\"", base64::encode(payload));
    }
    line.push_str("}\n");
}

fn id_json(id: &Id) -> serde_json::Value {
    match id {
        Id::U64(number) => json!(number),
        Id::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({ "base64": base64::encode(bytes) }),
        },
    }
}

fn value_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => json!(null),
        Value::Bool(truth) => json!(truth),
        Value::I64(number) => json!(number),
        Value::F64(number) if number.is_infinite() => json!({ "f64": number.to_string() }),
        Value::F64(number) => json!(number),
        Value::String(text) => json!(text),
        Value::StringList(texts) => json!(texts),
        Value::Timestamp(micros) => json!({ "timestamp_micros": micros }),
        // A kind of a later engine: better no attribute than a wrong one; `load` refuses the line.
        _ => json!({ "unknown": true }),
    }
}
