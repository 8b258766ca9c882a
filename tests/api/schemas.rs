//! Schemas and options: what is stored, what is compared, what is refused.

use std::sync::Arc;

use stratavec::storage::testing::MemDir;
use stratavec::{Collection, Compaction, ErrorKind, IdKind, Metric, OpenOptions, RowFormat, Schema};

use super::scene::{inline, open};

fn schema() -> Schema {
    Schema::new(3, Metric::Cosine).ids(IdKind::U64).rows(RowFormat::F16).seed(7)
}

#[test]
fn a_collection_is_opened_as_what_it_was_created() {
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        for rows in [RowFormat::F32, RowFormat::F16, RowFormat::Bf16, RowFormat::I8] {
            for ids in [IdKind::U64, IdKind::Bytes] {
                let schema = Schema::new(5, metric).rows(rows).ids(ids).seed(0xfeed);
                let disk = MemDir::new(1);
                drop(Collection::create_in(Arc::new(disk.clone()), schema.clone(), inline()).expect("create"));
                assert_eq!(*open(&disk).schema(), schema);
            }
        }
    }
}

#[test]
fn another_schema_is_refused_by_the_first_property_that_differs() {
    let disk = MemDir::new(1);
    drop(Collection::create_in(Arc::new(disk.clone()), schema(), inline()).expect("create"));
    let before = disk.image_hash();
    let others = [
        (Schema::new(4, Metric::Cosine).ids(IdKind::U64).rows(RowFormat::F16), "dim = 3", "4"),
        (Schema::new(3, Metric::L2).ids(IdKind::U64).rows(RowFormat::F16), "metric = cosine", "l2"),
        (Schema::new(3, Metric::Cosine).rows(RowFormat::F16), "ids = u64", "bytes"),
        (Schema::new(3, Metric::Cosine).ids(IdKind::U64), "rows = f16", "f32"),
    ];
    for (other, have, want) in others {
        let error = Collection::open_or_create_in(Arc::new(disk.clone()), other, inline()).expect_err("another schema");
        assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
        let text = error.to_string();
        assert!(text.contains(have) && text.ends_with(want), "{text}");
        assert!(error.hint().is_some());
        assert_eq!(disk.image_hash(), before, "a refused open wrote something");
    }
    let same =
        Collection::open_or_create_in(Arc::new(disk), schema().seed(8), inline()).expect("the seed is not compared");
    assert_eq!(same.schema().random_seed(), 7, "what was stored counts");
}

#[test]
fn options_out_of_range_are_refused_before_anything_is_touched() {
    let auto = |dead_ratio, fanout| OpenOptions::new().compaction(Compaction::Auto { dead_ratio, fanout });
    let cases = [
        (OpenOptions::new().flush_bytes(1023), "flush_bytes", "1024..=4294967296"),
        (OpenOptions::new().flush_bytes((4 << 30) + 1), "flush_bytes", "1024..=4294967296"),
        (OpenOptions::new().flush_rows(0), "flush_rows", "1 or more"),
        (auto(0.0, 8), "dead_ratio", "0.01..=1"),
        (auto(f64::NAN, 8), "dead_ratio", "0.01..=1"),
        (auto(0.2, 1), "fanout", "2..=64"),
        (auto(0.2, 65), "fanout", "2..=64"),
    ];
    let held = MemDir::new(1);
    drop(Collection::create_in(Arc::new(held.clone()), schema(), inline()).expect("create"));
    for (options, argument, range) in cases {
        let fresh = MemDir::new(2);
        let calls = held.calls();
        let errors = [
            Collection::create_in(Arc::new(fresh.clone()), schema(), options.clone()).expect_err("create"),
            Collection::open_in(Arc::new(held.clone()), options.clone()).expect_err("open"),
            Collection::open_or_create_in(Arc::new(held.clone()), schema(), options).expect_err("open_or_create"),
        ];
        for error in errors {
            assert_eq!((error.kind(), error.argument_name()), (ErrorKind::InvalidArgument, Some(argument)));
            assert!(error.to_string().contains(range), "{error}");
        }
        assert_eq!((fresh.calls(), held.calls()), (0, calls));
    }
    for options in [OpenOptions::new().flush_bytes(1024), OpenOptions::new().flush_bytes(4 << 30), auto(1.0, 64)] {
        drop(Collection::open_in(Arc::new(held.clone()), options).expect("the border is taken"));
    }
}
