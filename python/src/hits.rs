//! What searches and reads give: hits, and whole rows.

use std::sync::Arc;

use numpy::PyArray1;
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PySlice, PyTuple};
use stratavec::{Hit, Hits, Id, IdKind, Item};

use crate::arguments::place;
use crate::attributes::{attributes_from, attributes_to};
use crate::ids::{id_from, id_to};
use crate::pickling::{Fields, Reduced, reduced};
use crate::reports::Explain;
use crate::rows::payload_from;
use crate::vectors::Vector;

/// The rows found, nearest first: a sequence whose members are made when they are asked for.
#[pyclass(frozen, sequence, name = "Hits", module = "stratavec")]
pub struct PyHits(Arc<Hits>);

impl PyHits {
    /// An answer of the engine.
    pub fn new(hits: Hits) -> Self {
        PyHits(Arc::new(hits))
    }

    fn at(&self, at: usize) -> PyHit {
        PyHit { hits: self.0.clone(), at }
    }
}

#[pymethods]
impl PyHits {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __bool__(&self) -> bool {
        !self.0.is_empty()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if let Ok(slice) = index.cast::<PySlice>() {
            let range = slice.indices(self.0.len() as isize)?;
            let places = (0..range.slicelength as isize).map(|n| (range.start + n * range.step) as usize);
            let hits = places.map(|at| Py::new(py, self.at(at))).collect::<PyResult<Vec<_>>>()?;
            return Ok(PyList::new(py, hits)?.into_any());
        }
        let index = place(index)?;
        let len = self.0.len() as isize;
        match if index < 0 { index.saturating_add(len) } else { index } {
            at if (0..len).contains(&at) => Ok(Bound::new(py, self.at(at as usize))?.into_any()),
            _ => Err(PyIndexError::new_err(format!("there are {len} hits"))),
        }
    }

    fn __iter__(&self) -> HitsIter {
        HitsIter { hits: self.0.clone(), next: 0 }
    }

    /// Where a hit is.
    #[pyo3(signature = (value, start=0, stop=isize::MAX, /))]
    fn index(
        &self,
        value: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = place)] start: isize,
        #[pyo3(from_py_with = place)] stop: isize,
    ) -> PyResult<usize> {
        let slice = PySlice::new(value.py(), start, stop, 1);
        let range = slice.indices(self.0.len() as isize)?;
        let (start, stop) = (range.start.max(0) as usize, range.stop.max(0) as usize);
        let wanted = value.cast::<PyHit>().ok();
        let place = wanted.and_then(|hit| (start..stop).find(|at| self.0.get(*at) == Some(hit.get().hit())));
        place.ok_or_else(|| PyValueError::new_err("it is none of the hits"))
    }

    /// How often a hit is there.
    #[pyo3(signature = (value, /))]
    fn count(&self, value: &Bound<'_, PyAny>) -> usize {
        let wanted = value.cast::<PyHit>().ok();
        wanted.map_or(0, |hit| self.0.iter().filter(|other| *other == hit.get().hit()).count())
    }

    /// The ids alone.
    #[getter]
    fn ids(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        self.0.iter().map(|hit| id_to(py, hit.id.as_ref())).collect()
    }

    /// The distances alone.
    #[getter]
    fn distances<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        PyArray1::from_iter(py, self.0.iter().map(|hit| hit.distance))
    }

    /// Whether all distances are exact.
    #[getter]
    fn all_exact(&self) -> bool {
        self.0.all_exact()
    }

    /// How the answer came about.
    #[getter]
    fn explain(&self) -> Explain {
        Explain::from(self.0.explain())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let some: Vec<String> = self.0.iter().take(10).map(|hit| describe(py, hit)).collect::<PyResult<_>>()?;
        let more = if self.0.len() > some.len() { format!(", .. {} in all", self.0.len()) } else { String::new() };
        Ok(format!("[{}{more}]", some.join(", ")))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        let rows = self.0.iter().map(|hit| hit_to(py, hit)).collect::<PyResult<Vec<_>>>()?;
        let fields = [PyList::new(py, rows)?.into_any(), Bound::new(py, self.explain())?.into_any()];
        reduced::<Self>(py, PyTuple::new(py, fields)?)
    }

    #[staticmethod]
    fn _restore(fields: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let mut fields = Fields::new(fields);
        let rows = fields.any()?.try_iter()?.map(|row| hit_from(row?.cast::<PyTuple>()?)).collect::<PyResult<_>>()?;
        let explain = fields.any()?.cast::<Explain>()?.get().to_engine();
        Ok(PyHits::new(Hits::new(rows, explain)))
    }
}

/// Walks over hits.
#[pyclass]
pub struct HitsIter {
    hits: Arc<Hits>,
    next: usize,
}

#[pymethods]
impl HitsIter {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&mut self) -> Option<PyHit> {
        let at = self.next;
        (at < self.hits.len()).then(|| {
            self.next += 1;
            PyHit { hits: self.hits.clone(), at }
        })
    }

    fn __length_hint__(&self) -> usize {
        self.hits.len() - self.next
    }
}

/// One row found.
#[pyclass(frozen, name = "Hit", module = "stratavec")]
pub struct PyHit {
    hits: Arc<Hits>,
    /// Below the number of hits.
    at: usize,
}

impl PyHit {
    fn hit(&self) -> &Hit {
        &self.hits[self.at]
    }
}

#[pymethods]
impl PyHit {
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        id_to(py, self.hit().id.as_ref())
    }

    #[getter]
    fn distance(&self) -> f32 {
        self.hit().distance
    }

    #[getter]
    fn exact(&self) -> bool {
        self.hit().exact
    }

    #[getter]
    fn vector<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f32>>> {
        self.hit().vector.as_ref().map(|vector| PyArray1::from_slice(py, vector))
    }

    #[getter]
    fn attributes<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        self.hit().attributes.as_ref().map(|attributes| attributes_to(py, attributes)).transpose()
    }

    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.hit().payload.as_ref().map(|payload| PyBytes::new(py, payload))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        describe(py, self.hit())
    }

    fn __eq__(&self, other: &PyHit) -> bool {
        self.hit() == other.hit()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduced::<Self>(py, hit_to(py, self.hit())?)
    }

    #[staticmethod]
    fn _restore(fields: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let hits = Hits::new(vec![hit_from(fields)?], stratavec::Explain::default());
        Ok(PyHit { hits: Arc::new(hits), at: 0 })
    }
}

/// The fields of a hit.
fn hit_to<'py>(py: Python<'py>, hit: &Hit) -> PyResult<Bound<'py, PyTuple>> {
    let attributes = hit.attributes.as_ref().map(|attributes| attributes_to(py, attributes)).transpose()?;
    let vector = hit.vector.as_ref().map(|vector| PyArray1::from_slice(py, vector));
    let payload = hit.payload.as_ref().map(|payload| PyBytes::new(py, payload));
    (id_to(py, hit.id.as_ref())?, hit.distance, hit.exact, vector, attributes, payload).into_pyobject(py)
}

fn hit_from(fields: &Bound<'_, PyTuple>) -> PyResult<Hit> {
    let mut fields = Fields::new(fields);
    let mut hit = Hit::new(stored_id(&fields.any()?)?, fields.next()?);
    hit.exact = fields.next()?;
    hit.vector = vector_from(&fields.any()?)?;
    hit.attributes = some(&fields.any()?).map(attributes_from).transpose()?;
    hit.payload = some(&fields.any()?).map(payload_from).transpose()?;
    Ok(hit)
}

fn some<'a, 'py>(field: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyAny>> {
    (!field.is_none()).then_some(field)
}

fn vector_from(field: &Bound<'_, PyAny>) -> PyResult<Option<Vec<f32>>> {
    some(field).map(|array| Ok(Vector::from(array, "vector")?.slice()?.to_vec())).transpose()
}

/// An id of the kind that it has.
fn stored_id(field: &Bound<'_, PyAny>) -> PyResult<Id> {
    id_from(field, if field.is_instance_of::<PyInt>() { IdKind::U64 } else { IdKind::Bytes })
}

fn describe(py: Python<'_>, hit: &Hit) -> PyResult<String> {
    let id = id_to(py, hit.id.as_ref())?;
    let about = if hit.exact { "" } else { ", estimated" };
    Ok(format!("Hit({}, {}{about})", id.bind(py).repr()?, hit.distance))
}

/// One row with everything stored for it.
#[pyclass(frozen, name = "Item", module = "stratavec")]
pub struct PyItem(pub Item);

#[pymethods]
impl PyItem {
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        id_to(py, self.0.id.as_ref())
    }

    #[getter]
    fn vector<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f32>>> {
        (!self.0.vector.is_empty()).then(|| PyArray1::from_slice(py, &self.0.vector))
    }

    #[getter]
    fn approximate(&self) -> bool {
        self.0.approximate
    }

    #[getter]
    fn attributes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        attributes_to(py, &self.0.attributes)
    }

    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.payload.as_ref().map(|payload| PyBytes::new(py, payload))
    }

    #[getter]
    fn seq(&self) -> u64 {
        self.0.seq
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let id = id_to(py, self.0.id.as_ref())?;
        let payload = self
            .0
            .payload
            .as_ref()
            .map_or("no payload".to_owned(), |bytes| format!("{} bytes of payload", bytes.len()));
        let (id, dim, names) = (id.bind(py).repr()?, self.0.vector.len(), self.0.attributes.len());
        Ok(format!("Item({id}, {dim}-d vector, {names} attributes, {payload}, seq {})", self.0.seq))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        let (id, attributes) = (self.id(py)?, self.attributes(py)?);
        let fields = (id, self.vector(py), self.0.approximate, attributes, self.payload(py), self.0.seq);
        reduced::<Self>(py, fields.into_pyobject(py)?)
    }

    #[staticmethod]
    fn _restore(fields: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let mut fields = Fields::new(fields);
        let mut item = Item::new(stored_id(&fields.any()?)?, vector_from(&fields.any()?)?.unwrap_or_default());
        item.approximate = fields.next()?;
        item.attributes = attributes_from(&fields.any()?)?;
        item.payload = some(&fields.any()?).map(payload_from).transpose()?;
        item.seq = fields.next()?;
        Ok(PyItem(item))
    }
}
