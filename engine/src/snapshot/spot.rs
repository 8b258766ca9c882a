//! A row that was found, and how it becomes a hit.

use std::cell::RefCell;
use std::cmp::Ordering;

use super::hit::{Hit, Include};
use super::item::{read_attributes, read_vector};
use super::{Snapshot, Source};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::kernel::TopK;

/// Where a row is: a source and a position in it.
#[derive(Clone, Copy)]
pub(super) struct Spot<'v> {
    pub(super) source: Source<'v>,
    pub(super) at: usize,
}

impl Spot<'_> {
    /// The id.
    pub(super) fn id(&self) -> Result<Id> {
        self.source.id(self.at)
    }

    /// The row with what the caller wants of it.
    pub(super) fn hit(&self, snapshot: &Snapshot, distance: f32, include: Include) -> Result<Hit> {
        let schema = snapshot.schema();
        let (id, exact) = (self.id()?, schema.row_format().is_exact());
        let mut hit = Hit { id, distance, exact, vector: None, attributes: None, payload: None };
        self.fill(snapshot, include, &mut hit)?;
        Ok(hit)
    }

    /// Reads what the caller wants of the row.
    pub(super) fn fill(&self, snapshot: &Snapshot, include: Include, hit: &mut Hit) -> Result<()> {
        let (source, at, schema) = (&self.source, self.at, snapshot.schema());
        if include.contains(Include::VECTOR) && schema.row_format().keeps_vectors() {
            hit.vector = Some(read_vector(source, at, schema)?);
        }
        if include.contains(Include::ATTRIBUTES) {
            hit.attributes = Some(read_attributes(source, at)?);
        }
        if include.contains(Include::PAYLOAD) {
            hit.payload = Some(source.payload(at)?).filter(|payload| !payload.is_empty());
        }
        Ok(())
    }
}

/// Keeps a row if it is among the best; of equal distances the smaller id is better.
pub(super) fn keep<'v>(best: &mut TopK<Spot<'v>>, distance: f32, spot: Spot<'v>) -> Result<()> {
    let failure: RefCell<Option<Error>> = RefCell::new(None);
    best.push(distance, spot, |a, b| match (a.id(), b.id()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        (Err(error), _) | (_, Err(error)) => {
            *failure.borrow_mut() = Some(error);
            Ordering::Equal
        }
    });
    failure.into_inner().map_or(Ok(()), Err)
}

/// Nearest first, equal distances in the order of ids.
pub(super) fn sort(hits: &mut [Hit]) {
    hits.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| a.id.cmp(&b.id)));
}
