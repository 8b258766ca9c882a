//! Small collections that between them have every kind of file, section and record. Made on a simulated disk with a fixed
//! seed, so that the same build always makes the same bytes.

use std::sync::Arc;

use stratavec::storage::FileKind;
use stratavec::storage::testing::{Fault, FaultDir, FaultPlan, MemDir, Op, Repeat};
use stratavec::{
    Attributes, Background, BulkOptions, Codes, Collection, Compact, Compaction, IdKind, IndexKind, IvfOptions, Metric,
    OpenOptions, RowFormat, Schema, Spill, Value,
};

/// One collection.
pub struct Scene {
    pub name: &'static str,
    pub about: &'static str,
    /// `None` for what an earlier build wrote and this one writes otherwise.
    make: Option<fn(&MemDir)>,
}

pub const SCENES: [Scene; 19] = [
    Scene { name: "empty", about: "created, nothing written, not closed", make: Some(empty) },
    Scene {
        name: "example",
        about: "two rows in a file, a change in the log: the worked example",
        make: Some(example),
    },
    Scene {
        name: "numbers",
        about: "numeric ids, three flushes, dead rows in both forms, closed",
        make: Some(numbers),
    },
    Scene {
        name: "texts",
        about: "byte ids, half-precision rows, attributes of every type, payloads, closed",
        make: Some(texts),
    },
    Scene {
        name: "log",
        about: "rows in a file, then two logs, the last with a torn tail, not closed",
        make: Some(log),
    },
    Scene { name: "loaded", about: "a bulk load between two batches, replacing rows, not closed", make: Some(loaded) },
    Scene { name: "replaced", about: "rows replaced and deleted in the log only, not closed", make: Some(replaced) },
    Scene {
        name: "lists",
        about: "a model, a list segment that was filed and one that was flushed, dead rows, rows in the log, not closed",
        make: Some(lists),
    },
    Scene {
        name: "product",
        about: "as `lists`, with product codes of 8 parts and 32 codewords, second lists, merged once",
        make: Some(product),
    },
    Scene {
        name: "nibbles",
        about: "as `lists`, with product codes of 16 parts and 16 codewords, half a byte each",
        make: Some(nibbles),
    },
    Scene {
        name: "rounded",
        about: "as `lists`, with codes of 7 bits, whose records fill up their lines",
        make: Some(rounded),
    },
    Scene { name: "packed", about: "`rounded`, as builds wrote it whose records stood end to end", make: None },
    Scene { name: "uncoded", about: "as `lists`, without codes", make: Some(uncoded) },
    Scene {
        name: "lean",
        about: "no vectors: rows that are codes only, some that wait for a rewrite, rows in the log, not closed",
        make: Some(lean),
    },
    Scene {
        name: "lean-moving",
        about: "no vectors: some codes in the lists of a model, the others in those of one that has more, not closed",
        make: Some(lean_moving),
    },
    Scene {
        name: "bytes",
        about: "rows of bytes: flushed, filed in lists, one in the log, not closed",
        make: Some(bytes),
    },
    Scene { name: "wide", about: "vectors that no shorter component holds, in files and in the log", make: Some(wide) },
    Scene {
        name: "narrow",
        about: "files of bytes, halves, bfloat16 and floats, two of them merged, rows in the log, not closed",
        make: Some(narrow),
    },
    Scene {
        name: "unnarrowed",
        about: "`lists`, as builds wrote it whose row files had no shorter components",
        make: None,
    },
];

impl Scene {
    /// The files of this collection, by name, if this build writes them. `LOCK` is left out: it holds no data.
    pub fn files(&self) -> Option<Vec<(String, Vec<u8>)>> {
        let disk = MemDir::new(self.name.len() as u64 + 2026);
        (self.make?)(&disk);
        let names = disk.names().into_iter().map(|name| (name, name.to_string())).filter(|(_, text)| text != "LOCK");
        let mut files: Vec<_> = names.map(|(name, text)| (text, disk.file_bytes(name).expect("listed"))).collect();
        files.sort();
        Some(files)
    }
}

fn options() -> OpenOptions {
    OpenOptions::default().background(Background::Inline).compaction(Compaction::Manual)
}

fn create(disk: &MemDir, schema: Schema) -> Collection {
    Collection::create_in(Arc::new(disk.clone()), schema, options()).expect("create")
}

/// Numbers of few bits, so that every row format holds them exactly.
fn vector(seed: u64, dim: usize) -> Vec<f32> {
    (0..dim as u64).map(|i| ((seed * 31 + i * 17 + seed * i * 7) % 41) as f32 / 2.0 - 10.25).collect()
}

fn empty(disk: &MemDir) {
    drop(create(disk, Schema::new(2, Metric::L2)));
}

fn example(disk: &MemDir) {
    let c = create(disk, Schema::new(3, Metric::L2).ids(IdKind::U64).seed(42));
    c.batch_of(|b| {
        b.upsert(7u64, &[1.0, 2.0, 0.3]);
        b.upsert(8u64, &[0.5, 0.0, -0.5]).payload(b"eight");
    });
    c.flush().expect("flush");
    c.batch_of(|b| {
        let attributes: Attributes = [("lang".to_owned(), Value::String("en".into()))].into();
        b.upsert(7u64, &[4.0, 5.0, 6.0]).attributes(attributes);
        b.delete(8u64);
    });
    drop(c);
}

fn numbers(disk: &MemDir) {
    let c = create(disk, Schema::new(4, Metric::L2).ids(IdKind::U64).seed(7));
    for batch in 0..3u64 {
        let mut b = c.batch();
        for i in 0..250 {
            let id = batch * 250 + i;
            b.upsert(id * id + 3, &vector(id, 4));
        }
        b.commit().expect("commit");
    }
    // Rows that die before they reach a file: the page of the first file is no run.
    let mut b = c.batch();
    for id in (0..750u64).filter(|id| id % 9 == 4) {
        b.delete(id * id + 3);
    }
    b.commit().expect("commit");
    c.flush().expect("flush");
    // Few dead rows: an array.
    let mut b = c.batch();
    for id in 0..5u64 {
        b.upsert(id * id + 3, &vector(id + 1000, 4));
    }
    b.commit().expect("commit");
    c.flush().expect("flush");
    // Many: a bitmap. The rest of the batch goes to a file of one sequence number.
    let mut b = c.batch();
    for id in (100..450u64).filter(|id| id % 9 != 4) {
        b.delete(id * id + 3);
    }
    b.upsert(u64::MAX - 1, &vector(5000, 4));
    b.commit().expect("commit");
    c.close().expect("close");
}

fn texts(disk: &MemDir) {
    let c = create(disk, Schema::new(3, Metric::Cosine).rows(RowFormat::F16));
    let every: Attributes = [
        ("absent is not null", Value::Null),
        ("bool", Value::Bool(true)),
        ("empty", Value::String(String::new())),
        ("f64", Value::F64(-0.5)),
        ("i64", Value::I64(i64::MIN)),
        ("list", Value::StringList(vec!["one".into(), String::new(), "drei".into()])),
        ("name with \u{e4}", Value::String("text with \u{1F9ED}".into())),
        ("no", Value::Bool(false)),
        ("when", Value::Timestamp(1_700_000_000_123_456)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    c.batch_of(|b| {
        b.upsert("all of it", &vector(1, 3)).attributes(every).payload(b"a payload");
        b.upsert("\u{1F4C1}", &vector(2, 3)).payload(&b"repeated ".repeat(900));
        b.upsert([0u8, 255, 10].as_slice(), &vector(3, 3));
    });
    c.batch_of(|b| {
        // Nothing to shorten, and longer than a block's target: a block of its own, stored as it is.
        let noise: Vec<u8> = (0..18_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        b.upsert("noise", &vector(4, 3)).payload(&noise);
        b.upsert("z".repeat(512).as_str(), &vector(5, 3)).payload(b"behind the noise");
        // Shrinks by more than a reader accepts: stored as it is.
        b.upsert("zeros", &vector(6, 3)).payload(&[0; 20_000]);
    });
    for i in 0..40u64 {
        c.batch_of(|b| {
            let attributes: Attributes = [("n".to_owned(), Value::I64(i as i64))].into();
            b.upsert(format!("row {i}").as_str(), &vector(10 + i, 3)).attributes(attributes);
        });
    }
    c.close().expect("close");
}

fn log(disk: &MemDir) {
    let fault = Arc::new(FaultDir::new(disk.clone()));
    let schema = Schema::new(5, Metric::InnerProduct).rows(RowFormat::Bf16);
    let c = Collection::create_in(fault.clone(), schema, options().flush_rows(8)).expect("create");
    for i in 0..9u64 {
        c.upsert(format!("file {i}").as_str(), &vector(i, 5)).expect("commit");
    }
    // From here on no row file can be made: the full log is followed by another one and stays.
    let plan = FaultPlan::new(Fault::NoSpace, 0, Repeat::Forever).on(&[Op::Create]).of(&[FileKind::Row]);
    fault.arm(plan);
    for i in 0..10u64 {
        c.batch_of(|b| {
            b.upsert(format!("log {i}").as_str(), &vector(100 + i, 5)).payload(format!("number {i}").as_bytes());
            b.delete(format!("file {i}").as_str());
        });
    }
    drop(c);
    tear_last_record(disk);
}

fn loaded(disk: &MemDir) {
    let schema = Schema::new(4, Metric::L2).ids(IdKind::U64);
    let c = Collection::create_in(Arc::new(disk.clone()), schema, options().flush_rows(16)).expect("create");
    c.batch_of(|b| {
        (0..10u64).for_each(|id| {
            b.upsert(id, &vector(id, 4));
        });
    });
    // More rows than one part has, and an id that comes twice.
    let ids = [3].into_iter().chain(0..40u64).filter(|id| id % 2 == 1);
    let items: Vec<_> = ids.enumerate().map(|(i, id)| (id, vector(1000 + i as u64, 4))).collect();
    let mark = BulkOptions::new().property("source", "numbers, 21").property("a", [0u8, 255]);
    c.bulk_load_with(items, mark).expect("begin").wait().expect("load");
    c.batch_of(|b| {
        b.delete(39u64);
        b.upsert(1u64, &vector(77, 4));
    });
    drop(c);
}

fn replaced(disk: &MemDir) {
    let c = create(disk, Schema::new(2, Metric::L2).ids(IdKind::U64).rows(RowFormat::F32));
    for round in 0..3u64 {
        let mut b = c.batch();
        for id in 0..4u64 {
            b.upsert(id, &vector(round * 10 + id, 2));
        }
        b.commit().expect("commit");
    }
    c.delete(2u64).expect("delete");
    c.insert(9u64, &vector(99, 2)).expect("insert");
    drop(c);
}

fn lists(disk: &MemDir) {
    coded_lists(disk, Codes::Bits(3));
}

fn rounded(disk: &MemDir) {
    coded_lists(disk, Codes::Bits(7));
}

fn nibbles(disk: &MemDir) {
    coded_lists(disk, Codes::Product { m: 16, codebook_size: 16 });
}

fn uncoded(disk: &MemDir) {
    coded_lists(disk, Codes::None);
}

fn product(disk: &MemDir) {
    coded_lists(disk, Codes::Product { m: 8, codebook_size: 32 });
    let c = Collection::open_in(Arc::new(disk.clone()), options()).expect("open");
    c.compact(Compact::Full).expect("begin").wait().expect("merge lists");
    c.batch_of(|b| {
        b.upsert(77u64, &vector(77, 6));
    });
    drop(c);
}

fn coded_lists(disk: &MemDir, codes: Codes) {
    let index = IndexKind::Ivf(IvfOptions::auto().nlist(3).codes(codes));
    let c = create(disk, Schema::new(6, Metric::L2).ids(IdKind::U64).seed(5).index(index));
    let put = |ids: std::ops::Range<u64>| {
        c.batch_of(|b| {
            ids.for_each(|id| {
                b.upsert(id, &vector(id, 6));
            });
        });
    };
    put(0..60);
    c.flush().expect("flush");
    c.compact(Compact::Auto).expect("begin").wait().expect("make lists");
    put(50..75);
    c.delete(7u64).expect("delete");
    c.flush().expect("flush");
    put(74..77);
    c.delete(8u64).expect("delete");
    drop(c);
}

fn lean(disk: &MemDir) {
    let index = IndexKind::Ivf(IvfOptions::auto().nlist(2).codes(Codes::Bits(2)).spill(Spill::Off));
    let schema = Schema::new(5, Metric::InnerProduct).ids(IdKind::U64).rows(RowFormat::None).seed(3).index(index);
    let c = create(disk, schema);
    let put = |ids: std::ops::Range<u64>| {
        c.batch_of(|b| {
            ids.for_each(|id| {
                b.upsert(id * 3, &vector(id, 5)).payload(b"p");
            });
        });
    };
    put(0..20);
    c.flush().expect("flush");
    c.compact(Compact::Auto).expect("begin").wait().expect("make lists and leave vectors out");
    put(19..23);
    c.flush().expect("flush");
    put(4..6);
    drop(c);
}

/// The disk is full when the second part of the segments is to be converted.
fn lean_moving(disk: &MemDir) {
    let storage = Arc::new(FaultDir::with_disk(disk.clone(), disk));
    let index = IndexKind::Ivf(IvfOptions::auto().nlist(4).codes(Codes::Bits(4)).spill(Spill::Off));
    let schema = Schema::new(5, Metric::L2).ids(IdKind::U64).rows(RowFormat::None).seed(3).index(index);
    let c = Collection::create_in(storage.clone(), schema, options()).expect("create");
    let put = |ids: std::ops::Range<u64>| {
        c.batch_of(|b| {
            ids.for_each(|id| {
                b.upsert(id * 3, &vector(id, 5));
            });
        });
        c.flush().expect("flush");
    };
    put(0..40);
    c.compact(Compact::Auto).expect("begin").wait().expect("make lists and leave vectors out");
    (40..45).for_each(|id| put(id..id + 1));
    storage.arm(FaultPlan::new(Fault::NoSpace, 2, Repeat::Forever).on(&[Op::Create]).of(&[FileKind::List]));
    c.compact(Compact::Retrain).expect("begin").wait().expect_err("no room for the second part");
    drop(c);
}

fn bytes(disk: &MemDir) {
    let index = IndexKind::Ivf(IvfOptions::auto().nlist(2).codes(Codes::Bits(1)).spill(Spill::Off));
    let c = create(disk, Schema::new(5, Metric::Cosine).rows(RowFormat::I8).seed(9).index(index));
    let put = |ids: std::ops::Range<u64>| {
        c.batch_of(|b| {
            ids.for_each(|id| {
                b.upsert(format!("row {id}").as_str(), &vector(id, 5)).payload(b"p");
            });
        });
    };
    put(0..20);
    c.flush().expect("flush");
    c.compact(Compact::Auto).expect("begin").wait().expect("make lists");
    put(19..23);
    c.flush().expect("flush");
    put(4..6);
    drop(c);
}

fn wide(disk: &MemDir) {
    let c = create(disk, Schema::new(3, Metric::Cosine).seed(4));
    let put = |ids: std::ops::Range<u64>| {
        c.batch_of(|b| {
            ids.for_each(|id| {
                b.upsert(format!("row {id}").as_str(), &[id as f32 / 3.0, 1.0, -0.1]);
            });
        });
    };
    put(0..9);
    c.flush().expect("flush");
    put(8..11);
    drop(c);
}

fn narrow(disk: &MemDir) {
    let index = IndexKind::Ivf(IvfOptions::auto().nlist(2).codes(Codes::Bits(4)));
    let c = create(disk, Schema::new(6, Metric::L2).ids(IdKind::U64).seed(5).index(index));
    let put = |ids: std::ops::Range<u64>, of: fn(u64) -> f32| {
        c.batch_of(|b| {
            ids.for_each(|id| {
                let components: Vec<f32> = (0..6).map(|i| of((id * 6 + i) * 37 % 251)).collect();
                b.upsert(id, &components);
            });
        });
        c.flush().expect("flush");
    };
    put(0..20, |n| n as f32);
    put(20..40, |n| n as f32 / 8.0 - 9.0);
    // Together they are as the second.
    c.compact(Compact::Full).expect("begin").wait().expect("merge");
    put(40..45, |n| 2.0f32.powi(16 + n as i32 % 7));
    put(45..50, |n| n as f32 / 3.0);
    put(50..55, |n| n as f32 + 4.0);
    c.batch_of(|b| {
        b.upsert(1u64, &[0.0, 1.0, 2.0, 253.0, 254.0, 255.0]);
        b.delete(46u64);
    });
    drop(c);
}

/// Cuts the last log in the middle of its last record.
fn tear_last_record(disk: &MemDir) {
    let logs = disk.names().into_iter().filter(|name| name.kind() == Some(FileKind::Wal));
    let last = logs.max_by_key(|name| name.file_id().number).expect("a log");
    disk.corrupt(last, |bytes| bytes.truncate(bytes.len() - 13));
}

/// One batch in one expression.
trait BatchOf {
    fn batch_of(&self, fill: impl FnOnce(&mut stratavec::Batch<'_>));
}

impl BatchOf for Collection {
    fn batch_of(&self, fill: impl FnOnce(&mut stratavec::Batch<'_>)) {
        let mut batch = self.batch();
        fill(&mut batch);
        batch.commit().expect("commit");
    }
}
