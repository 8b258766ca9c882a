//! A collection on a simulated disk, and the proof that a refused call left everything as it was.

use std::sync::Arc;

use stratavec::storage::testing::MemDir;
use stratavec::{
    Background, Collection, Compaction, Error, ErrorKind, Id, IdKind, Metric, OpenOptions, Result, Schema, Snapshot,
};

/// Two components, numbers as ids.
pub fn plain() -> Schema {
    Schema::new(2, Metric::L2).ids(IdKind::U64)
}

/// Options under which nothing happens but what the test calls for.
pub fn inline() -> OpenOptions {
    OpenOptions::new().background(Background::Inline).compaction(Compaction::Manual)
}

pub struct Scene {
    pub disk: MemDir,
    pub c: Collection,
}

impl Scene {
    pub fn new(schema: Schema) -> Scene {
        Scene::with(schema, inline())
    }

    pub fn with(schema: Schema, options: OpenOptions) -> Scene {
        let disk = MemDir::new(1);
        let c = Collection::create_in(Arc::new(disk.clone()), schema, options).expect("create");
        Scene { disk, c }
    }

    /// Drops the handle and opens again.
    pub fn reopened(self) -> Scene {
        let Scene { disk, c } = self;
        drop(c);
        let c = open(&disk);
        Scene { disk, c }
    }

    /// Makes a call that must be refused, and proves that it changed nothing: no byte on the disk, no number, no row.
    pub fn refused<T: std::fmt::Debug>(&self, call: impl FnOnce(&Collection) -> Result<T>) -> Error {
        let figures = || {
            let snapshot = self.c.snapshot();
            (self.c.last_seq(), self.c.durable_seq(), snapshot.count(), ids(&snapshot), self.disk.image_hash())
        };
        let before = (figures(), self.disk.calls());
        let error = match call(&self.c) {
            Err(error) => error,
            Ok(value) => panic!("this should have been refused: {value:?}"),
        };
        assert_eq!((figures(), self.disk.calls()), before, "a refused call changed something: {error}");
        error
    }

    /// As [`Scene::refused`], of an argument: its name, and words that the text must have.
    pub fn refuses<T: std::fmt::Debug>(
        &self,
        argument: &str,
        words: &[&str],
        call: impl FnOnce(&Collection) -> Result<T>,
    ) {
        let error = self.refused(call);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert_eq!(error.argument_name(), Some(argument), "{error}");
        let text = error.to_string();
        for word in words.iter().chain([&argument]) {
            assert!(text.contains(word), "{text:?} does not say {word:?}");
        }
    }
}

pub fn open(disk: &MemDir) -> Collection {
    Collection::open_in(Arc::new(disk.clone()), inline()).expect("open")
}

/// The ids of all rows, in the order of writing.
pub fn ids(snapshot: &Snapshot) -> Vec<Id> {
    snapshot.iter().map(|item| item.expect("a row").id).collect()
}

/// The ids found, nearest first.
pub fn nearest(snapshot: &Snapshot, query: &[f32], k: usize) -> Vec<Id> {
    snapshot.search(query).k(k).run().expect("search").into_iter().map(|hit| hit.id).collect()
}
