//! Vectors from one file, ids and texts from others: record by record side by side.

use super::ids::IdSource;
use super::{ImportError, Place, Record, RecordSource};

/// A file of vectors with a file of ids, or a JSON-lines file of ids, attributes and payloads, beside it.
pub struct Paired {
    vectors: Box<dyn RecordSource>,
    ids: Option<IdSource>,
    records: Option<Box<dyn RecordSource>>,
    beside: Record,
}

impl Paired {
    /// Pairs the n-th vector with the n-th id and the n-th record.
    pub fn new(vectors: Box<dyn RecordSource>, ids: Option<IdSource>, records: Option<Box<dyn RecordSource>>) -> Self {
        Paired { vectors, ids, records, beside: Record::default() }
    }

    fn uneven(&self, file: &str, more: bool) -> ImportError {
        let than = if more { "more" } else { "fewer" };
        let message = format!("has {than} entries than {} has vectors", self.vectors.name());
        ImportError::malformed(file, Place::File, message)
    }
}

impl RecordSource for Paired {
    fn read(&mut self, record: &mut Record) -> Result<bool, ImportError> {
        let there = self.vectors.read(record)?;
        if let Some(ids) = &mut self.ids {
            let id = ids.next_id()?;
            if id.is_some() != there {
                let name = ids.name().to_owned();
                return Err(self.uneven(&name, id.is_some()));
            }
            record.id = id;
        }
        if let Some(records) = &mut self.records {
            let beside = records.read(&mut self.beside)?;
            if beside != there {
                let name = records.name().to_owned();
                return Err(self.uneven(&name, beside));
            }
            if self.ids.is_none() {
                record.id = self.beside.id.take();
            }
            std::mem::swap(&mut record.attributes, &mut self.beside.attributes);
            record.payload = self.beside.payload.take();
        }
        Ok(there)
    }

    fn place(&self) -> Place {
        self.vectors.place()
    }

    fn name(&self) -> &str {
        self.vectors.name()
    }

    fn total(&self) -> Option<u64> {
        self.vectors.total()
    }

    fn dim(&self) -> Option<usize> {
        self.vectors.dim()
    }
}
