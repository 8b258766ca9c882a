//! Values as people read them, and as JSON.

use std::time::Duration;

use serde_json::{Value as Json, json};
use stratavec::{Attributes, Id, Value};

use crate::failure::printable;

/// `1234567` as `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number and its noun: `1 row`, `5,000 rows`.
pub fn counted(n: u64, noun: &str) -> String {
    let plural = match noun {
        _ if n == 1 => "",
        noun if noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{} {noun}{plural}", count(n))
}

/// Bytes in powers of 1000 with about three digits: `412 MB`.
pub fn bytes(n: u64) -> String {
    let (mut value, mut unit) = (n as f64, "B");
    for next in ["kB", "MB", "GB", "TB", "PB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    match unit {
        "B" => format!("{n} B"),
        _ if value < 9.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// A limit in bytes: in binary units where it is a round number of them.
pub fn limit_bytes(n: u64) -> String {
    let mib = 1 << 20;
    if n >= mib && n.is_multiple_of(mib) { format!("{} MiB", count(n / mib)) } else { bytes(n) }
}

/// A time in a unit that fits: `0.8 ms`, `1.2 s`, `3 min 20 s`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 0.01 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s => format!("{:.0} min {:.0} s", (s / 60.0).floor(), s % 60.0),
    }
}

/// A number of things per second.
pub fn rate(n: u64, time: Duration) -> String {
    let per_second = n as f64 / time.as_secs_f64().max(1e-6);
    format!("{}/s", count(per_second.round() as u64))
}

/// An id for people.
pub fn id(id: &Id) -> String {
    printable(&id.to_text())
}

/// An id for programs: a number, a text, or `{"hex": ...}` for bytes that are no text.
pub fn id_json(id: &Id) -> Json {
    match id {
        Id::U64(n) => json!(n),
        Id::Bytes(b) => text_json(b),
    }
}

/// Bytes for programs: a text if they are one.
pub fn text_json(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "hex": bytes.iter().map(|b| format!("{b:02x}")).collect::<String>() }),
    }
}

/// Bytes for people: as text if they are one.
pub fn payload(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("{} that are no text", counted(bytes.len() as u64, "byte")),
    }
}

/// Attributes for programs.
pub fn attributes_json(attributes: &Attributes) -> Json {
    attributes.iter().map(|(name, value)| (name.clone(), value_json(value))).collect::<serde_json::Map<_, _>>().into()
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::Bool(b) => json!(b),
        Value::I64(n) => json!(n),
        // JSON has no infinity; the text is what parses back.
        Value::F64(x) if x.is_infinite() => json!(x.to_string()),
        Value::F64(x) => json!(x),
        Value::String(text) => json!(text),
        Value::StringList(texts) => json!(texts),
        Value::Timestamp(micros) => json!({ "timestamp_micros": micros }),
        _ => Json::Null,
    }
}

/// Attributes for people: `lang=en year=2024`.
pub fn attributes(attributes: &Attributes) -> String {
    let words = attributes.iter().map(|(name, value)| match value {
        Value::String(text) if !text.is_empty() && !text.contains([' ', '=', '"']) => format!("{name}={text}"),
        value => format!("{name}={}", value_json(value)),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The first components of a vector and how many there are.
pub fn vector(vector: &[f32]) -> String {
    let first: Vec<String> = vector.iter().take(6).map(|x| format!("{x:.4}")).collect();
    let more = if vector.len() > first.len() { ", …" } else { "" };
    format!("[{}{more}]", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([count(0), count(999), count(1_204_331)], ["0", "999", "1,204,331"]);
        assert_eq!([counted(1, "row"), counted(2, "batch")], ["1 row", "2 batches"]);
        assert_eq!([bytes(0), bytes(999), bytes(1000), bytes(412_345_678)], ["0 B", "999 B", "1.0 kB", "412 MB"]);
        assert_eq!([bytes(999_600), bytes(9_960)], ["1.0 MB", "10 kB"]);
        assert_eq!([limit_bytes(64 << 20), limit_bytes(1 << 10)], ["64 MiB", "1.0 kB"]);
        assert_eq!(time(Duration::from_micros(812)), "812 µs");
        assert_eq!(time(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(time(Duration::from_secs(200)), "3 min 20 s");
    }

    #[test]
    fn bytes_that_are_no_text_survive_as_json() {
        assert_eq!(text_json(&[0xff, 0x0a]), json!({ "hex": "ff0a" }));
        assert_eq!(id_json(&Id::from("a")), json!("a"));
        assert_eq!(id_json(&Id::U64(u64::MAX - 1)), json!(18_446_744_073_709_551_614u64));
    }

    #[test]
    fn attributes_read_well() {
        let mut a = Attributes::new();
        a.insert("lang".into(), "en".into());
        a.insert("tags".into(), Value::StringList(vec!["a b".into()]));
        a.insert("title".into(), "two words".into());
        assert_eq!(attributes(&a), "lang=en tags=[\"a b\"] title=\"two words\"");
    }
}
