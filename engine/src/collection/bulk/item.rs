//! What a bulk load takes.

use crate::collection::batch::store_vector;
use crate::delta::BlockBuilder;
use crate::error::{Error, Result};
use crate::format::attributes::encode_attributes;
use crate::id::Id;
use crate::index::flat::check_vector;
use crate::options::{MAX_ATTRIBUTE_BYTES, MAX_PAYLOAD_BYTES, Schema};
use crate::value::Attributes;

/// One row for [`Collection::bulk_load`](crate::Collection::bulk_load).
#[derive(Clone, Debug, PartialEq)]
pub struct BulkItem {
    pub(super) id: Id,
    pub(super) vector: Vec<f32>,
    pub(super) attributes: Attributes,
    pub(super) payload: Vec<u8>,
}

impl BulkItem {
    /// A row without attributes and payload.
    pub fn new(id: impl Into<Id>, vector: impl Into<Vec<f32>>) -> Self {
        BulkItem { id: id.into(), vector: vector.into(), attributes: Attributes::new(), payload: Vec::new() }
    }

    /// Sets the attributes, at most 64 KiB encoded.
    #[must_use]
    pub fn attributes(mut self, attributes: impl Into<Attributes>) -> Self {
        self.attributes = attributes.into();
        self
    }

    /// Sets the payload, at most 64 KiB; an empty payload is the same as none.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Appends the row, or refuses it and appends nothing.
    pub(super) fn push_to(&self, rows: &mut BlockBuilder, schema: &Schema) -> Result<()> {
        let id = self.id.as_ref();
        id.check(schema.id_kind())?;
        check_vector("vector", &self.vector, schema)?;
        let attributes = match self.attributes.is_empty() {
            true => Vec::new(),
            false => encode_attributes(&self.attributes)?,
        };
        let too_long = |name: &str, bytes: usize, most: usize| match bytes > most {
            true => Err(Error::argument(name, format!("take {bytes} bytes; use at most {most}"))),
            false => Ok(()),
        };
        too_long("attributes", attributes.len(), MAX_ATTRIBUTE_BYTES)?;
        too_long("payload", self.payload.len(), MAX_PAYLOAD_BYTES)?;
        rows.push(id, |stored| store_vector(&self.vector, schema, stored))?;
        rows.set_attributes(&attributes);
        rows.set_payload(&self.payload);
        Ok(())
    }
}

/// What an iterator given to [`Collection::bulk_load`](crate::Collection::bulk_load) may yield.
pub trait IntoBulkItem {
    /// The row.
    ///
    /// # Errors
    /// Whatever keeps the source from giving one: the load ends with it and changes nothing.
    fn into_bulk_item(self) -> Result<BulkItem>;
}

impl IntoBulkItem for BulkItem {
    fn into_bulk_item(self) -> Result<BulkItem> {
        Ok(self)
    }
}

impl<I: Into<Id>, V: Into<Vec<f32>>> IntoBulkItem for (I, V) {
    fn into_bulk_item(self) -> Result<BulkItem> {
        Ok(BulkItem::new(self.0, self.1))
    }
}

impl<T: IntoBulkItem> IntoBulkItem for Result<T> {
    fn into_bulk_item(self) -> Result<BulkItem> {
        self.and_then(IntoBulkItem::into_bulk_item)
    }
}
