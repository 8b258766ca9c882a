//! Small collections that between them hold every kind of file and every section there is.

use std::sync::Arc;

use stratavec::storage::testing::{Fault, FaultDir, FaultPlan, MemDir, Op, Repeat};
use stratavec::storage::{FileKind, FileName};
use stratavec::{
    Attributes, Background, Codes, Collection, Compact, Compaction, Durability, Id, IdKind, IndexKind, IvfOptions,
    Metric, OpenOptions, RowFormat, Schema, Value,
};

use crate::seal::{self, Files, files_of, seal_log};

/// A collection on a simulated disk, left as by a killed process.
pub struct Fixture {
    /// What to call it.
    pub name: &'static str,
    /// What it is.
    pub schema: Schema,
    /// Its directory. Fork it.
    pub dir: MemDir,
    /// Ids that are or were there.
    pub ids: Vec<Id>,
}

/// Options that make the same calls give the same bytes.
pub fn options() -> OpenOptions {
    OpenOptions::default().background(Background::Inline).compaction(Compaction::Manual)
}

/// All of them that need no lists: 64 KiB.
pub fn all() -> Vec<Fixture> {
    vec![letters(), numbers(), chain()]
}

impl Fixture {
    /// The files, without the lock.
    pub fn files(&self) -> Files {
        files_of(&self.dir)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> usize {
        self.files().values().map(Vec::len).sum()
    }

    /// The logs, in the order of their numbers.
    pub fn logs(&self) -> Vec<FileName> {
        self.dir.names().into_iter().filter(|name| name.kind() == Some(FileKind::Wal)).collect()
    }
}

/// A component that every row format holds exactly.
fn component(i: usize, j: usize) -> f32 {
    ((i * 37 + j * 11) % 61) as f32 / 4.0 - 7.0
}

fn vector(i: usize, dim: usize) -> Vec<f32> {
    (0..dim).map(|j| component(i, j)).collect()
}

fn letter_id(i: usize) -> String {
    format!("doc:{i}{}", "z".repeat(i % 4))
}

fn attributes(i: usize) -> Attributes {
    let mut all = Attributes::from([
        ("lang".to_owned(), Value::from(["en", "de", "fr"][i % 3])),
        ("year".to_owned(), Value::from(1990 + i as i64)),
    ]);
    if i.is_multiple_of(5) {
        all.insert("empty".to_owned(), Value::Null);
        all.insert("good".to_owned(), Value::Bool(i.is_multiple_of(2)));
        all.insert("size".to_owned(), Value::F64(i as f64 / 3.0));
        all.insert("tags".to_owned(), Value::StringList(vec!["a".to_owned(), String::new(), "ccc".to_owned()]));
        all.insert("when".to_owned(), Value::Timestamp(1_700_000_000_000_000 + i as i64));
    }
    all
}

/// Text that packs well, bytes that do not, or nothing.
fn payload(i: usize) -> Vec<u8> {
    match i % 4 {
        0 => "strata upon strata ".repeat(2 + i % 7).into_bytes(),
        1 => (0..20 + i).map(|j| (i * 131 + j * 89 + j * j * 7) as u8).collect(),
        2 => b"short".to_vec(),
        _ => Vec::new(),
    }
}

/// The first thirty are whole numbers, the others are none that need fewer bits than f32 has: of their files one is short, the other is not.
fn put_letter(batch: &mut stratavec::Batch<'_>, i: usize, version: usize) {
    let number = |x: f32| if i < 30 && version == 0 { 4.0 * x + 28.0 } else { x / 3.0 };
    let vector: Vec<f32> = vector(i + 100 * version, 5).into_iter().map(number).collect();
    let mut put = batch.upsert(letter_id(i).as_str(), &vector);
    if i % 3 != 2 {
        put = put.attributes(attributes(i + version));
    }
    put.payload(&payload(i + version));
}

/// Byte ids, f32 under cosine with padding, attributes of all types, payloads in packed blocks, a page with holes, an array of dead
/// rows; a log with four batches, the last two in one group that was never synced.
pub fn letters() -> Fixture {
    let schema = Schema::new(5, Metric::Cosine);
    let dir = MemDir::new(11);
    let c = Collection::create_in(Arc::new(dir.clone()), schema.clone(), options()).expect("create");
    let commit = |level: Durability, fill: &dyn Fn(&mut stratavec::Batch<'_>)| {
        let mut batch = c.batch();
        fill(&mut batch);
        batch.commit_with(level).expect("commit")
    };
    let write = |level, range: std::ops::Range<usize>, version: usize| {
        commit(level, &|batch| range.clone().for_each(|i| put_letter(batch, i, version)));
    };
    write(Durability::Group, 0..30, 0);
    c.flush().expect("flush");
    write(Durability::Group, 30..46, 0);
    commit(Durability::Group, &|batch| {
        (33..38).for_each(|i| put_letter(batch, i, 1));
        for i in [2, 3, 11] {
            batch.delete(letter_id(i).as_str());
        }
    });
    c.flush().expect("flush");
    write(Durability::Group, 5..8, 2);
    commit(Durability::Group, &|batch| {
        batch.delete(letter_id(20).as_str()).delete(letter_id(34).as_str());
    });
    write(Durability::Os, 46..49, 0);
    write(Durability::Os, 7..9, 3);
    drop(c);
    Fixture { name: "letters", schema, dir, ids: (0..52).map(|i| Id::from(letter_id(i))).collect() }
}

/// A model and two list segments, with second copies; rows deleted since, in files and in a log with two batches.
pub fn lists() -> Fixture {
    lists_of("lists", Codes::Bits(2))
}

/// The same with product codes, and a model that has codewords.
pub fn product() -> Fixture {
    lists_of("product", Codes::Product { m: 8, codebook_size: 32 })
}

/// The same with product codes of half a byte.
pub fn nibbles() -> Fixture {
    lists_of("nibbles", Codes::Product { m: 16, codebook_size: 16 })
}

/// The same without codes.
pub fn uncoded() -> Fixture {
    lists_of("uncoded", Codes::None)
}

/// The same with records that are followed by zeros.
pub fn rounded() -> Fixture {
    lists_of("rounded", Codes::Bits(7))
}

/// One of each kind of lists.
pub fn all_lists() -> Vec<Fixture> {
    vec![lists(), rounded(), product(), nibbles(), uncoded()]
}

fn lists_of(name: &'static str, codes: Codes) -> Fixture {
    let index = IndexKind::Ivf(IvfOptions::auto().nlist(2).codes(codes));
    let schema = Schema::new(4, Metric::L2).ids(IdKind::U64).index(index);
    let dir = MemDir::new(14);
    let c = Collection::create_in(Arc::new(dir.clone()), schema.clone(), options()).expect("create");
    let write = |ids: std::ops::Range<usize>, version: usize| {
        let mut batch = c.batch();
        ids.for_each(|i| {
            batch.upsert(i as u64, &vector(i + 100 * version, 4));
        });
        batch.commit().expect("commit");
    };
    write(0..20, 0);
    c.flush().expect("flush");
    c.compact(Compact::Auto).and_then(|job| job.wait()).expect("make lists");
    write(15..24, 1);
    c.delete(3u64).expect("delete");
    c.flush().expect("flush");
    write(24..26, 0);
    c.delete(4u64).expect("delete");
    drop(c);
    Fixture { name, schema, dir, ids: (0..28).map(Id::U64).collect() }
}

/// Numeric ids, f16 under L2, a bitmap of dead rows; a log that was sealed.
pub fn numbers() -> Fixture {
    let schema = Schema::new(4, Metric::L2).ids(IdKind::U64).rows(RowFormat::F16).seed(3);
    let dir = MemDir::new(12);
    let c = Collection::create_in(Arc::new(dir.clone()), schema.clone(), options()).expect("create");
    let write = |ids: &mut dyn Iterator<Item = usize>, version: usize| {
        let mut batch = c.batch();
        for i in ids {
            batch.upsert(i as u64, &vector(i + 100 * version, 4));
        }
        batch.commit().expect("commit");
    };
    write(&mut (0..370), 0);
    c.flush().expect("flush");
    let mut batch = c.batch();
    for i in 0..270u64 {
        batch.delete(i);
    }
    batch.commit().expect("commit");
    write(&mut (290..310), 1);
    c.flush().expect("flush");
    write(&mut (0..8), 2);
    write(&mut (4..6).chain(295..297), 3);
    drop(c);
    let log = dir.names().into_iter().find(|name| name.kind() == Some(FileKind::Wal)).expect("log");
    dir.corrupt(log, |bytes| {
        let durable = bytes.len() as u64;
        let next = seal::records(bytes).last().map_or(0, |(at, _)| seal::number(bytes, at + 8, 8)) + 1;
        seal::append_record(bytes, 2, next, durable, &[]);
        seal_log(bytes, log.file_id(), None);
    });
    let ids = (0..12u64).chain(265..315).map(Id::U64).collect();
    Fixture { name: "numbers", schema, dir, ids }
}

/// Numeric ids, bf16 under the inner product, payloads only; two logs, since a flush could not create its file.
pub fn chain() -> Fixture {
    let schema = Schema::new(3, Metric::InnerProduct).ids(IdKind::U64).rows(RowFormat::Bf16);
    let dir = MemDir::new(13);
    let storage = Arc::new(FaultDir::new(dir.clone()));
    let c = Collection::create_in(storage.clone(), schema.clone(), options()).expect("create");
    let write = |range: std::ops::Range<usize>, version: usize| {
        let mut batch = c.batch();
        for i in range {
            batch.upsert(i as u64 * 3, &vector(i + 100 * version, 3)).payload(&payload(i + version));
        }
        batch.commit().expect("commit");
    };
    write(0..30, 0);
    c.flush().expect("flush");
    write(10..14, 1);
    write(30..33, 0);
    storage.arm(FaultPlan::new(Fault::Io, 0, Repeat::Forever).on(&[Op::Create]).of(&[FileKind::Row]));
    c.flush().expect_err("a flush without a file");
    write(31..36, 2);
    c.delete(3u64).expect("delete");
    drop(c);
    let dir = dir.process_crash();
    Fixture { name: "chain", schema, dir, ids: (0..115).map(Id::U64).collect() }
}
