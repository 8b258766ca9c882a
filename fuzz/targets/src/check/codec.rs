//! Encodings: what decodes encodes to the same bytes, what is encoded decodes to the same.

use stratavec::fuzzing;
use stratavec::kernel::code::extra;
use stratavec::{Attributes, IdKind, Metric, Schema, Value};

use crate::input::Input;

/// Numbers, attributes, batches, bit-packed codes.
pub fn codec(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(5) {
        0 => varints(&mut input),
        1 => attributes_of(input.rest()),
        2 => built_attributes(&mut input),
        3 => batch(&mut input),
        _ => packed(&mut input),
    }
}

fn varints(input: &mut Input<'_>) {
    let number = input.u64() >> (input.u8() % 64);
    let bytes = fuzzing::write_varint(number);
    assert_eq!(fuzzing::read_varint(&bytes), Some((number, bytes.len())));
    let raw = input.rest();
    if let Some((number, used)) = fuzzing::read_varint(raw) {
        assert_eq!(fuzzing::write_varint(number), raw[..used], "a number with two spellings");
    }
}

fn attributes_of(bytes: &[u8]) {
    if let Ok((_, again)) = fuzzing::recode_attributes(bytes) {
        assert_eq!(again, bytes, "attributes with two spellings");
    }
}

fn built_attributes(input: &mut Input<'_>) {
    let mut attributes = Attributes::new();
    for _ in 0..input.below(6) {
        let len = 1 + input.below(40);
        let name = String::from_utf8_lossy(input.bytes(len)).into_owned();
        attributes.insert(name, value(input));
    }
    if let Ok(bytes) = fuzzing::attribute_bytes(&attributes) {
        let (read, again) = fuzzing::recode_attributes(&bytes).expect("what was encoded decodes");
        assert!(again == bytes && format!("{read:?}") == format!("{attributes:?}"));
    }
}

fn text(input: &mut Input<'_>) -> String {
    let len = input.below(30);
    String::from_utf8_lossy(input.bytes(len)).into_owned()
}

/// Any attribute value.
pub(super) fn value(input: &mut Input<'_>) -> Value {
    match input.below(7) {
        0 => Value::Null,
        1 => Value::Bool(input.u8() & 1 == 1),
        2 => Value::I64(input.u64().cast_signed()),
        3 => Value::F64(f64::from_bits(input.u64())),
        4 => Value::String(text(input)),
        5 => Value::StringList((0..input.below(4)).map(|_| text(input)).collect()),
        _ => Value::Timestamp(input.u64().cast_signed()),
    }
}

fn batch(input: &mut Input<'_>) {
    let kind = if input.u8() & 1 == 0 { IdKind::U64 } else { IdKind::Bytes };
    let schema = Schema::new(1 + input.below(4), Metric::Cosine).ids(kind);
    let payload = input.rest();
    if let Ok(again) = fuzzing::recode_batch(payload, &schema) {
        assert_eq!(again, payload, "a batch with two spellings");
    }
}

fn packed(input: &mut Input<'_>) {
    let bits = 1 + input.below(8);
    let mut values: Vec<u8> = input.rest().iter().map(|b| (u16::from(*b) & ((1 << bits) - 1)) as u8).collect();
    values.truncate(values.len() / extra::RUN * extra::RUN);
    let mut code = Vec::new();
    extra::append_code(&values, bits, &mut code);
    assert_eq!(code.len(), extra::code_bytes(values.len(), bits));
    let mut back = vec![0xFF; values.len()];
    extra::take_code(&code, bits, &mut back);
    assert_eq!(back, values);
}
