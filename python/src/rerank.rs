//! Vectors that a callback gives for the last candidates of a search.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use stratavec::{Id, SourceError, VectorSource};

use crate::error::OrRaise;
use crate::ids::id_to;
use crate::vectors::{Vector, Vectors};

/// A callback that is given a list of ids, and gives an array of as many rows, or a list with a vector or `None` for each.
pub struct PySource {
    give: Py<PyAny>,
    dim: usize,
    /// What the callback raised.
    raised: Option<PyErr>,
}

impl PySource {
    /// Calls `give` for vectors of `dim` components.
    pub fn new(give: &Bound<'_, PyAny>, dim: usize) -> PyResult<Self> {
        match give.is_callable() {
            true => Ok(PySource { give: give.clone().unbind(), dim, raised: None }),
            false => Err(PyTypeError::new_err("rerank_with is a callable that takes a list of ids")),
        }
    }

    /// The answer of a search that asked this source: what the callback raised comes first.
    pub fn answer<T>(mut self, py: Python<'_>, found: stratavec::Result<T>) -> PyResult<T> {
        self.raised().map_or_else(|| found.or_raise(py), Err)
    }

    /// What the callback raised, once.
    pub fn raised(&mut self) -> Option<PyErr> {
        self.raised.take()
    }

    fn ask(&self, py: Python<'_>, ids: &[Id]) -> PyResult<Vec<Vec<f32>>> {
        let ids: Vec<Py<PyAny>> = ids.iter().map(|id| id_to(py, id.as_ref())).collect::<PyResult<_>>()?;
        let given = self.give.bind(py).call1((ids,))?;
        if given.is_instance_of::<PyList>() || given.is_instance_of::<PyTuple>() {
            let vector = |one: PyResult<Bound<'_, PyAny>>| match one? {
                one if one.is_none() => Ok(Vec::new()),
                one => Ok(Vector::from(&one, "rerank_with")?.slice()?.to_vec()),
            };
            return given.try_iter()?.map(vector).collect();
        }
        let vectors = Vectors::from(&given, "rerank_with", self.dim)?;
        Ok(vectors.slice()?.chunks_exact(self.dim).map(<[f32]>::to_vec).collect())
    }
}

impl VectorSource for PySource {
    fn vectors(&mut self, ids: &[Id]) -> Result<Vec<Vec<f32>>, SourceError> {
        Python::attach(|py| self.ask(py, ids)).map_err(|error| {
            self.raised = Some(error);
            "the callback raised an exception".into()
        })
    }
}
