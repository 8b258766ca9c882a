use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_filter("NaN is refused", |x| !x.is_nan()).prop_map(Value::F64),
        ".{0,40}".prop_map(Value::String),
        prop::collection::vec(".{0,9}", 0..5).prop_map(Value::StringList),
        any::<i64>().prop_map(Value::Timestamp),
    ]
}

proptest! {
    #[test]
    fn attributes_come_back_as_they_were(attributes in prop::collection::btree_map(".{1,12}", value(), 0..8)) {
        let encoded = encode_attributes(&attributes).unwrap();
        prop_assert_eq!(decode_attributes(&encoded), Ok(attributes));
    }

    /// [ATTR-2]
    #[test]
    fn whatever_decodes_has_one_spelling(mut bytes in prop::collection::vec(0u8..9, 0..40), at in any::<prop::sample::Index>(), b in any::<u8>()) {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = b;
        }
        if let Ok(attributes) = decode_attributes(&bytes) {
            prop_assert_eq!(encode_attributes(&attributes).unwrap(), bytes);
        }
    }
}

fn one(name: &str, value: Value) -> Attributes {
    Attributes::from([(name.to_owned(), value)])
}

/// [ATTR-3] [ATTR-5]
#[test]
fn nan_empty_names_and_too_many_bytes_are_refused_by_name() {
    let long = "n".repeat(256);
    for attributes in [
        one("x", Value::F64(f64::NAN)),
        one("", Value::Null),
        one(&long, Value::Null),
        one("text", "x".repeat(MAX_ATTRIBUTE_BYTES).into()),
    ] {
        let error = encode_attributes(&attributes).unwrap_err();
        assert_eq!((error.kind(), error.argument_name()), (ErrorKind::InvalidArgument, Some("attributes")));
    }
    let largest = "x".repeat(MAX_ATTRIBUTE_BYTES - 1 - 2 - 1 - 3);
    let encoded = encode_attributes(&one("t", largest.into())).unwrap();
    assert_eq!(encoded.len(), MAX_ATTRIBUTE_BYTES);
    assert!(decode_attributes(&encoded).is_ok());
}

/// [ATTR-1] [ATTR-4]
#[test]
fn missing_null_and_empty_are_three_things() {
    assert!(encode_attributes(&Attributes::new()).unwrap().is_empty());
    let null = decode_attributes(&encode_attributes(&one("a", Value::Null)).unwrap()).unwrap();
    let empty = decode_attributes(&encode_attributes(&one("a", "".into())).unwrap()).unwrap();
    assert_eq!(null.get("a"), Some(&Value::Null));
    assert_eq!(empty.get("a"), Some(&Value::String(String::new())));
    assert_eq!(null.get("b"), None);
}

#[test]
fn hostile_bytes_are_refused_without_allocating_for_their_counts() {
    let cases: [(&[u8], &str); 9] = [
        (&[0], "no bytes"),
        (&[1], "canonical varint"),
        (&[1, 1, b'a'], "before a value"),
        (&[1, 0, 0], "empty"),
        (&[1, 1, b'a', 9], "unknown tag"),
        (&[2, 1, b'b', 0, 1, b'a', 0], "ascending"),
        (&[1, 1, b'a', 0, 0], "follow"),
        (&[1, 1, 0xFF, 0], "UTF-8"),
        (&[1, 1, b'a', 6, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F], "canonical varint"),
    ];
    for (bytes, what) in cases {
        let problem = decode_attributes(bytes).unwrap_err();
        assert!(problem.contains(what), "{bytes:?}: {problem}");
    }
}

#[test]
fn the_walk_reads_values_in_place() {
    let attributes = Attributes::from([
        ("lang".to_owned(), "en".into()),
        ("tags".to_owned(), vec!["a".to_owned(), "b".to_owned()].into()),
    ]);
    let encoded = encode_attributes(&attributes).unwrap();
    let mut walk = RawAttributes::new(&encoded).unwrap();
    assert_eq!(walk.next(), Some(Ok(("lang", RawValue::String("en")))));
    let Some(Ok(("tags", RawValue::StringList(texts)))) = walk.next() else { panic!("a list was written") };
    assert_eq!(texts.collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(walk.next(), None);
}
