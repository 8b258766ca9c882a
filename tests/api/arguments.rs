//! Vectors and ids that are taken, and those that are refused.

use stratavec::{Filter, IdKind, MAX_DIM, MAX_ID_BYTES, Metric, RowFormat, Schema};

use super::scene::{Scene, plain};

const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::InnerProduct];
const FORMATS: [RowFormat; 3] = [RowFormat::F32, RowFormat::F16, RowFormat::Bf16];

/// One row under every way to write it, and as a query, must be refused alike.
fn refuses_vector(schema: &Schema, vector: &[f32], words: &[&str]) {
    let s = Scene::new(schema.clone());
    s.c.upsert(1u64, &vec![1.0; schema.dim()]).expect("a row that is there");
    s.refuses("vector", words, |c| c.upsert(2u64, vector));
    s.refuses("vector", words, |c| c.upsert(1u64, vector));
    s.refuses("vector", words, |c| c.insert(2u64, vector));
    s.refuses("vector", words, |c| {
        let mut batch = c.batch();
        batch.upsert(3u64, &vec![2.0; schema.dim()]);
        batch.upsert(2u64, vector).payload(b"of a row that is not there");
        batch.delete(1u64);
        assert_eq!(batch.refused().and_then(|error| error.argument_name()), Some("vector"));
        batch.commit()
    });
}

fn refuses_query(schema: &Schema, query: &[f32], words: &[&str]) {
    let s = Scene::new(schema.clone());
    s.refuses("query", words, |c| c.snapshot().search(query).run());
}

#[test]
fn a_vector_of_another_dimension_is_refused_with_both_numbers() {
    for metric in METRICS {
        let schema = Schema::new(4, metric).ids(IdKind::U64);
        for wrong in [0, 1, 3, 5, 4000] {
            let given = format!("{wrong} components");
            refuses_vector(&schema, &vec![1.0; wrong], &[&given, "has 4"]);
            refuses_query(&schema, &vec![1.0; wrong], &[&given, "has 4"]);
        }
    }
}

#[test]
fn components_that_are_no_finite_numbers_are_refused_wherever_they_stand() {
    for metric in METRICS {
        for rows in FORMATS {
            for at in [0, 8, 16] {
                for (bad, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
                    let schema = Schema::new(17, metric).ids(IdKind::U64).rows(rows);
                    let mut vector = vec![1.0; 17];
                    vector[at] = bad;
                    let place = format!("component {at}");
                    refuses_vector(&schema, &vector, &[name, &place, "finite"]);
                    refuses_query(&schema, &vector, &[name, &place, "finite"]);
                }
            }
        }
    }
}

#[test]
fn cosine_refuses_a_vector_without_direction_and_the_others_take_it() {
    for vector in [[0.0f32, 0.0], [-0.0, 0.0], [1e-30, 0.0]] {
        let cosine = Schema::new(2, Metric::Cosine).ids(IdKind::U64);
        refuses_vector(&cosine, &vector, &["length", "1e-18"]);
        refuses_query(&cosine, &vector, &["length", "1e-18"]);
        for metric in [Metric::L2, Metric::InnerProduct] {
            let s = Scene::new(Schema::new(2, metric).ids(IdKind::U64));
            s.c.upsert(1u64, &vector).expect("a zero vector is a point");
            let hits = s.c.snapshot().search(&[0.0, 0.0]).run().expect("search");
            assert_eq!(hits[0].distance.to_bits(), 0.0f32.to_bits(), "{metric:?}: no negative zero");
        }
    }
    // What is too small for the row format is a zero vector once it is stored.
    let half = Schema::new(2, Metric::Cosine).ids(IdKind::U64).rows(RowFormat::F16);
    refuses_vector(&half, &[1e-9, -1e-9], &["length"]);
}

#[test]
fn numbers_beyond_the_range_of_the_row_format_are_refused() {
    let half = |metric| Schema::new(2, metric).ids(IdKind::U64).rows(RowFormat::F16);
    for metric in METRICS {
        refuses_vector(&half(metric), &[65_520.0, 1.0], &["f16", "f32"]);
        refuses_vector(&half(metric), &[1.0, -1e9], &["f16", "f32"]);
        let s = Scene::new(half(metric));
        s.c.upsert(1u64, &[65_519.0, 1.0]).expect("rounds down to the largest half");
        let item = s.c.snapshot().get(1u64).expect("get").expect("the row");
        assert_eq!(item.vector, [65_504.0, 1.0], "the vector as stored");
    }
}

#[test]
fn vectors_whose_distances_would_overflow_are_refused() {
    for metric in METRICS {
        for rows in [RowFormat::F32, RowFormat::Bf16, RowFormat::I8] {
            let schema = Schema::new(2, metric).ids(IdKind::U64).rows(rows);
            refuses_vector(&schema, &[1e19, 0.0], &["squared length", "8e37"]);
            refuses_vector(&schema, &[7e18, 7e18], &["squared length", "8e37"]);
            refuses_vector(&schema, &[f32::MAX, f32::MIN], &["squared length"]);
            refuses_query(&schema, &[1e19, 0.0], &["squared length", "8e37"]);
            let s = Scene::new(schema);
            s.c.upsert(1u64, &[8.5e18, 0.0]).expect("long, and not too long");
            let hits = s.c.snapshot().search(&[-8.5e18, 0.0]).run().expect("search");
            assert!(hits[0].distance.is_finite(), "{metric:?}: {}", hits[0].distance);
        }
    }
}

#[test]
fn the_vector_comes_back_as_it_was_stored_to_the_last_bit() {
    let odd = [1.0f32, -0.0, f32::MIN_POSITIVE / 8.0, 0.1, -3.3e-20, 16_777_217.0, 1e18];
    for metric in METRICS {
        let s = Scene::new(Schema::new(odd.len(), metric).ids(IdKind::U64));
        s.c.upsert(1u64, &odd).expect("upsert");
        s.c.flush().expect("flush");
        s.c.upsert(2u64, &odd).expect("upsert");
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for id in [1u64, 2] {
            let item = s.c.snapshot().get(id).expect("get").expect("the row");
            assert_eq!(bits(&item.vector), bits(&odd), "{metric:?}, id {id}: nothing is normalised or rounded");
        }
    }
}

#[test]
fn one_to_65536_components_are_taken() {
    for wrong in [0, MAX_DIM + 1, usize::MAX] {
        let disk = stratavec::storage::testing::MemDir::new(1);
        let create = stratavec::Collection::create_in(
            std::sync::Arc::new(disk.clone()),
            Schema::new(wrong, Metric::L2),
            super::scene::inline(),
        );
        let error = create.expect_err("the dimension");
        assert_eq!(error.argument_name(), Some("dim"));
        assert!(error.to_string().contains("1..=65536"), "{error}");
        assert_eq!(disk.calls(), 0, "nothing was written");
    }
    for dim in [1, MAX_DIM] {
        let s = Scene::new(Schema::new(dim, Metric::InnerProduct).ids(IdKind::U64));
        s.c.upsert(1u64, &vec![0.5; dim]).expect("upsert");
        s.c.flush().expect("flush");
        let hits = s.c.snapshot().search(&vec![2.0; dim]).run().expect("search");
        assert_eq!(hits[0].distance, -(dim as f32));
    }
}

#[test]
fn byte_ids_have_1_to_512_bytes() {
    let s = Scene::new(Schema::new(1, Metric::L2));
    let long = vec![b'i'; MAX_ID_BYTES + 1];
    for (bad, bytes) in [(&long[..], "513 bytes"), (&[][..], "0 bytes")] {
        s.refuses("id", &[bytes, "1..=512"], |c| c.upsert(bad, &[1.0]));
        s.refuses("id", &[bytes, "1..=512"], |c| c.insert(bad, &[1.0]));
        s.refuses("id", &[bytes, "1..=512"], |c| c.delete(bad));
        s.refuses("id", &[bytes, "1..=512"], |c| c.snapshot().get(bad));
        s.refuses("id", &[bytes, "1..=512"], |c| c.snapshot().contains(bad));
    }
    let edges: [&[u8]; 5] = [&long[1..], b"\0", b"\xff\xfe", "ключ".as_bytes(), b"a"];
    for (n, id) in edges.iter().enumerate() {
        s.c.insert(*id, &[n as f32]).expect("insert");
    }
    for _ in 0..2 {
        for (n, id) in edges.iter().enumerate() {
            let item = s.c.snapshot().get(*id).expect("get").expect("the row");
            assert_eq!((item.id.as_bytes(), item.vector), (Some(*id), vec![n as f32]));
        }
        s.c.flush().expect("flush");
    }
    s.c.upsert("text", &[9.0]).expect("strings are their UTF-8 bytes");
    assert!(s.c.snapshot().contains(b"text").expect("contains"));
}

#[test]
fn numbers_are_ids_except_the_last_which_is_reserved() {
    let s = Scene::new(plain());
    let v = [1.0, 1.0];
    s.refuses("id", &["reserved", "18446744073709551614"], |c| c.upsert(u64::MAX, &v));
    s.refuses("id", &["reserved"], |c| c.delete(u64::MAX));
    s.refuses("id", &["reserved"], |c| c.snapshot().get(u64::MAX));
    for id in [0, 1, 1 << 63, u64::MAX - 1] {
        s.c.insert(id, &v).expect("insert");
        s.c.flush().expect("flush");
    }
    for id in [0, 1, 1 << 63, u64::MAX - 1] {
        assert_eq!(s.c.snapshot().get(id).expect("get").expect("the row").id, id);
    }
    assert!(!s.c.snapshot().contains(2u64).expect("contains"));
}

#[test]
fn an_id_of_the_other_kind_is_refused_and_both_kinds_are_named() {
    let numbers = Scene::new(plain());
    let words = ["of kind bytes", "ids are u64"];
    numbers.refuses("id", &words, |c| c.upsert("1", &[1.0, 1.0]));
    numbers.refuses("id", &words, |c| c.delete("1"));
    numbers.refuses("id", &words, |c| c.snapshot().get("1"));
    numbers.refuses("filter", &["bytes", "u64"], |c| c.snapshot().search(&[1.0, 1.0]).filter(Filter::ids(["1"])).run());
    let texts = Scene::new(Schema::new(1, Metric::L2));
    let words = ["of kind u64", "ids are bytes"];
    texts.refuses("id", &words, |c| c.insert(1, &[1.0]));
    texts.refuses("id", &words, |c| c.delete(1));
    texts.refuses("id", &words, |c| c.snapshot().contains(1));
    let nested = || !(Filter::by(|_| true) | (Filter::ids(["a"]) & Filter::ids([1u64])));
    texts.refuses("filter", &["u64", "bytes"], |c| c.snapshot().search(&[1.0]).filter(nested()).run());
}
