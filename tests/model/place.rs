//! Where a case's collection lives.

use std::sync::Arc;

use stratavec::storage::testing::MemDir;
use stratavec::{Collection, OpenOptions, Result, Schema, Verify, VerifyReport};

/// A directory, simulated or real.
pub enum Place {
    Memory(MemDir),
    Disk(tempfile::TempDir),
}

impl Place {
    pub fn memory() -> Place {
        Place::Memory(MemDir::new(7))
    }

    pub fn disk() -> Place {
        Place::Disk(tempfile::tempdir().expect("a temporary directory"))
    }

    pub fn create(&self, schema: Schema, options: OpenOptions) -> Result<Collection> {
        match self {
            Place::Memory(dir) => Collection::create_in(Arc::new(dir.clone()), schema, options),
            Place::Disk(dir) => Collection::create(dir.path(), schema, options),
        }
    }

    pub fn open(&self, options: OpenOptions) -> Result<Collection> {
        match self {
            Place::Memory(dir) => Collection::open_in(Arc::new(dir.clone()), options),
            Place::Disk(dir) => Collection::open(dir.path(), options),
        }
    }

    pub fn verify(&self) -> Result<VerifyReport> {
        match self {
            Place::Memory(dir) => Collection::verify_in(dir, Verify::Full),
            Place::Disk(dir) => Collection::verify(dir.path(), Verify::Full),
        }
    }

    /// What a new process finds when this one is killed now. `None` where that cannot be had without dropping the handle.
    pub fn after_kill(&self) -> Option<Place> {
        match self {
            Place::Memory(dir) => Some(Place::Memory(dir.process_crash())),
            Place::Disk(_) => None,
        }
    }
}
