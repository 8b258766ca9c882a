//! Rows as a call gives them: ids, vectors, and perhaps attributes and payloads.

use std::borrow::Cow;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMapping, PyMemoryView};
use stratavec::{Attributes, Batch, BulkItem, Id, Schema};

use crate::arguments;
use crate::attributes::attributes_from;
use crate::error::refuse;
use crate::ids::{id_from, ids_from, is_one};
use crate::vectors::{Vector, Vectors};

/// The arguments, before anything is read of them.
pub struct Given<'a, 'py> {
    pub ids: &'a Bound<'py, PyAny>,
    pub vectors: &'a Bound<'py, PyAny>,
    pub attributes: Option<&'a Bound<'py, PyAny>>,
    pub payloads: Option<&'a Bound<'py, PyAny>>,
}

/// Vectors that are still where Python has them.
pub enum Held<'py> {
    One(Vector<'py>),
    Many(Vectors<'py>),
}

impl Held<'_> {
    /// All components, row by row.
    pub fn slice(&self) -> PyResult<&[f32]> {
        match self {
            Held::One(vector) => vector.slice(),
            Held::Many(vectors) => vectors.slice(),
        }
    }
}

/// What goes with vectors, read and checked.
pub struct Facts {
    pub ids: Vec<Id>,
    /// Empty: no row has any.
    pub attributes: Vec<Attributes>,
    /// Empty: no row has one.
    pub payloads: Vec<Vec<u8>>,
}

impl Facts {
    /// The row's attributes and payload, taken out.
    pub fn take(&mut self, at: usize) -> (Attributes, Vec<u8>) {
        let attributes = self.attributes.get_mut(at).map(std::mem::take).unwrap_or_default();
        (attributes, self.payloads.get_mut(at).map(std::mem::take).unwrap_or_default())
    }
}

impl<'py> Given<'_, 'py> {
    /// Reads ids, attributes and payloads, and finds out where the vectors are. One id goes with one vector.
    pub fn read(&self, py: Python<'py>, schema: &Schema) -> PyResult<(Facts, Held<'py>)> {
        if is_one(self.ids) {
            let vector = Vector::from(self.vectors, "vector")?;
            let given = vector.slice()?.len();
            if given != schema.dim() {
                let what = format!("has {given} components; this collection has vectors of {}", schema.dim());
                return Err(refuse(py, "vector", what));
            }
            let facts = Facts {
                ids: vec![id_from(self.ids, schema.id_kind())?],
                attributes: self
                    .attributes
                    .map(|one| Ok::<_, PyErr>(vec![attributes_from(one)?]))
                    .transpose()?
                    .unwrap_or_default(),
                payloads: self
                    .payloads
                    .map(|one| Ok::<_, PyErr>(vec![payload_from(one)?]))
                    .transpose()?
                    .unwrap_or_default(),
            };
            return Ok((facts, Held::One(vector)));
        }
        let ids = ids_from(self.ids, schema.id_kind())?;
        let vectors = Vectors::from(self.vectors, "vectors", schema.dim())?;
        if vectors.len() != ids.len() {
            return Err(refuse(py, "vectors", format!("are {}, and there are {} ids", vectors.len(), ids.len())));
        }
        let attributes = match self.attributes {
            Some(one) if one.is_instance_of::<PyDict>() || one.cast::<PyMapping>().is_ok() => {
                return Err(refuse(
                    py,
                    "attributes",
                    format!("are one dict, and there are {} ids; use a list of dicts", ids.len()),
                ));
            }
            Some(all) => each(py, "attributes", all, ids.len(), attributes_from)?,
            None => Vec::new(),
        };
        let payloads = match self.payloads {
            Some(one) if one.is_instance_of::<PyBytes>() || one.is_instance_of::<PyByteArray>() => {
                return Err(refuse(
                    py,
                    "payloads",
                    format!("are one bytes, and there are {} ids; use a list", ids.len()),
                ));
            }
            Some(all) => each(py, "payloads", all, ids.len(), payload_from)?,
            None => Vec::new(),
        };
        Ok((Facts { ids, attributes, payloads }, Held::Many(vectors)))
    }
}

/// One thing for each id.
fn each<T>(
    py: Python<'_>,
    name: &str,
    all: &Bound<'_, PyAny>,
    ids: usize,
    read: impl Fn(&Bound<'_, PyAny>) -> PyResult<T>,
) -> PyResult<Vec<T>> {
    let read = all.try_iter()?.map(|one| read(&one?)).collect::<PyResult<Vec<T>>>()?;
    match read.len() == ids {
        true => Ok(read),
        false => Err(refuse(py, name, format!("are {}, and there are {ids} ids", read.len()))),
    }
}

/// The payload of one row; `None` is none.
pub fn payload_from(given: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if given.is_none() {
        return Ok(Vec::new());
    }
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    if given.is_instance_of::<PyByteArray>() || given.is_instance_of::<PyMemoryView>() {
        return Ok(given.py().get_type::<PyBytes>().call1((given,))?.cast::<PyBytes>()?.as_bytes().to_vec());
    }
    Err(arguments::wrong_type(given, "a payload", "bytes, a bytearray or a memoryview"))
}

/// One step of a batch.
pub enum Step<'v> {
    /// Rows to write, all of them new if `insert`.
    Put { facts: Facts, vectors: Cow<'v, [f32]>, insert: bool },
    /// Rows to delete.
    Delete(Vec<Id>),
}

impl Step<'_> {
    /// How many ids it is about.
    pub fn len(&self) -> usize {
        match self {
            Step::Put { facts, .. } => facts.ids.len(),
            Step::Delete(ids) => ids.len(),
        }
    }

    /// Adds it to the engine's batch.
    pub fn apply(self, batch: &mut Batch<'_>, dim: usize) {
        match self {
            Step::Delete(ids) => ids.iter().for_each(|id| {
                batch.delete(id);
            }),
            Step::Put { mut facts, vectors, insert } => {
                let ids = std::mem::take(&mut facts.ids);
                batch.reserve(ids.len());
                for (at, (id, vector)) in ids.iter().zip(vectors.chunks_exact(dim)).enumerate() {
                    let mut put = if insert { batch.insert(id, vector) } else { batch.upsert(id, vector) };
                    let (attributes, payload) = facts.take(at);
                    if !attributes.is_empty() {
                        put = put.attributes(attributes);
                    }
                    if !payload.is_empty() {
                        put.payload(&payload);
                    }
                    if batch.refused().is_some() {
                        return;
                    }
                }
            }
        }
    }
}

/// A row of a bulk load that an iterable yields: `(id, vector)`, `(id, vector, attributes)` or `(id, vector, attributes, payload)`.
pub fn bulk_item(given: &Bound<'_, PyAny>, schema: &Schema) -> PyResult<BulkItem> {
    let parts: Vec<Bound<'_, PyAny>> = given.try_iter()?.collect::<PyResult<_>>()?;
    let [id, vector, rest @ ..] = parts.as_slice() else {
        return Err(PyTypeError::new_err("an item is (id, vector), perhaps with attributes and payload behind them"));
    };
    if rest.len() > 2 {
        return Err(PyTypeError::new_err(format!("an item has at most four parts, not {}", parts.len())));
    }
    let vector = Vector::from(vector, "vector")?;
    let mut item = BulkItem::new(id_from(id, schema.id_kind())?, vector.slice()?);
    if let Some(attributes) = rest.first() {
        item = item.attributes(attributes_from(attributes)?);
    }
    if let Some(payload) = rest.get(1) {
        item = item.payload(payload_from(payload)?);
    }
    Ok(item)
}
