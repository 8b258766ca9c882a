//! What a row carries: payload and attributes, their limits, and what replaces what.

use stratavec::{Attributes, MAX_ATTRIBUTE_BYTES, MAX_PAYLOAD_BYTES, Value};

use super::scene::{Scene, plain};

const V: [f32; 2] = [1.0, 2.0];

fn with_attributes(s: &Scene, attributes: Attributes) -> stratavec::Result<stratavec::Receipt> {
    let mut batch = s.c.batch();
    batch.upsert(1u64, &V).attributes(attributes);
    batch.commit()
}

fn one(name: &str, value: Value) -> Attributes {
    Attributes::from([(name.to_owned(), value)])
}

#[test]
fn a_payload_has_up_to_64_kib() {
    let s = Scene::new(plain());
    s.refuses("payload", &["65537 bytes", "65536"], |c| {
        let mut batch = c.batch();
        batch.upsert(1u64, &V).payload(&vec![0; MAX_PAYLOAD_BYTES + 1]);
        batch.commit()
    });
    for bytes in [0, 1, 4095, 4096, 4097, MAX_PAYLOAD_BYTES] {
        let payload: Vec<u8> = (0..bytes).map(|i| (i * 31 % 256) as u8).collect();
        let mut batch = s.c.batch();
        batch.upsert(bytes as u64, &V).payload(&payload);
        batch.commit().expect("commit");
    }
    for _ in 0..2 {
        for bytes in [0, 1, 4095, 4096, 4097, MAX_PAYLOAD_BYTES] {
            let item = s.c.snapshot().get(bytes as u64).expect("get").expect("the row");
            let expected: Vec<u8> = (0..bytes).map(|i| (i * 31 % 256) as u8).collect();
            assert_eq!(item.payload, Some(expected).filter(|p| !p.is_empty()), "an empty payload is the same as none");
        }
        s.c.flush().expect("flush");
    }
}

#[test]
fn every_kind_of_value_comes_back_as_it_was_given() {
    let s = Scene::new(plain());
    let list = vec!["b".to_owned(), String::new(), "a".to_owned(), "b".to_owned()];
    let given = Attributes::from([
        ("null".to_owned(), Value::Null),
        ("yes".to_owned(), Value::Bool(true)),
        ("no".to_owned(), Value::Bool(false)),
        ("least".to_owned(), Value::I64(i64::MIN)),
        ("most".to_owned(), Value::I64(i64::MAX)),
        ("tiny".to_owned(), Value::F64(5e-324)),
        ("minus zero".to_owned(), Value::F64(-0.0)),
        ("without end".to_owned(), Value::F64(f64::NEG_INFINITY)),
        ("empty".to_owned(), Value::String(String::new())),
        ("text".to_owned(), Value::String("n\0 ünï 🦀".to_owned())),
        ("list".to_owned(), Value::StringList(list)),
        ("no list".to_owned(), Value::StringList(Vec::new())),
        ("then".to_owned(), Value::Timestamp(-1)),
        ("ü".repeat(127), Value::Null),
    ]);
    with_attributes(&s, given.clone()).expect("commit");
    for _ in 0..2 {
        let attributes = s.c.snapshot().get(1u64).expect("get").expect("the row").attributes;
        assert_eq!(attributes, given);
        assert!(matches!(attributes.get("minus zero"), Some(Value::F64(x)) if x.is_sign_negative()));
        assert!(!attributes.contains_key("missing"), "missing is not null");
        s.c.flush().expect("flush");
    }
}

#[test]
fn attributes_beyond_the_limits_are_refused() {
    let s = Scene::new(plain());
    s.refuses("attributes", &["NaN", "\"x\""], |_| with_attributes(&s, one("x", Value::F64(f64::NAN))));
    s.refuses("attributes", &["0 bytes", "1..=255"], |_| with_attributes(&s, one("", Value::Null)));
    s.refuses("attributes", &["256 bytes", "1..=255"], |_| with_attributes(&s, one(&"n".repeat(256), Value::Null)));
    let text = |bytes| one("t", Value::String("x".repeat(bytes)));
    s.refuses("attributes", &["65536"], |_| with_attributes(&s, text(MAX_ATTRIBUTE_BYTES)));
    let many = (0..12_000).map(|n| (format!("{n}"), Value::Bool(true)));
    s.refuses("attributes", &["65536"], |_| with_attributes(&s, many.collect()));
    with_attributes(&s, text(MAX_ATTRIBUTE_BYTES - 16)).expect("just below the limit");
    with_attributes(&s, one(&"n".repeat(255), Value::Null)).expect("the longest name");
}

#[test]
fn an_upsert_replaces_the_whole_row() {
    let s = Scene::new(plain());
    let mut batch = s.c.batch();
    batch.upsert(1u64, &V).payload(b"old").attributes(one("a", 1.into()));
    batch.commit().expect("commit");
    s.c.flush().expect("flush");
    s.c.upsert(1u64, &[5.0, 5.0]).expect("upsert");
    let item = s.c.snapshot().get(1u64).expect("get").expect("the row");
    assert_eq!((item.vector, item.payload, item.attributes.len(), item.seq), (vec![5.0, 5.0], None, 0, 2));
}

#[test]
fn the_last_payload_and_the_last_attributes_of_a_put_count() {
    let s = Scene::new(plain());
    let mut batch = s.c.batch();
    batch
        .upsert(1u64, &V)
        .payload(b"a first one")
        .attributes(one("a", 1.into()))
        .payload(b"2nd")
        .attributes(one("b", 2.into()));
    batch.upsert(2u64, &V).payload(b"taken back").payload(b"");
    batch.commit().expect("commit");
    let item = s.c.snapshot().get(1u64).expect("get").expect("the row");
    assert_eq!((item.payload.as_deref(), item.attributes), (Some(&b"2nd"[..]), one("b", 2.into())));
    assert_eq!(s.c.snapshot().get(2u64).expect("get").expect("the row").payload, None);
}

#[test]
fn what_follows_a_refused_row_goes_to_no_other_row() {
    let s = Scene::new(plain());
    let error = s.refused(|c| {
        let mut batch = c.batch();
        batch.upsert(1u64, &V);
        batch.upsert(2u64, &[f32::NAN, 0.0]).payload(b"of 2").attributes(one("", Value::Null));
        batch.commit()
    });
    assert_eq!(error.argument_name(), Some("vector"), "the first refused argument is reported: {error}");
}
