//! A pinned state.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::reader::{Reader, Source};

/// One committed state; later writes do not touch it.
#[pyclass(frozen, extends = Reader, name = "Snapshot", module = "stratavec")]
pub struct PySnapshot;

impl PySnapshot {
    /// The state that a reader shows now.
    pub fn of<'py>(py: Python<'py>, reader: &Reader) -> PyResult<Bound<'py, PySnapshot>> {
        let source = Source::Pinned(Box::new(reader.snapshot(py)?));
        let pinned = reader.beside(source);
        Bound::new(py, PyClassInitializer::from(pinned).add_subclass(PySnapshot))
    }
}

/// How a reader is shown.
pub fn describe(name: &str, reader: &Reader, py: Python<'_>) -> String {
    let path = reader.path().display();
    match reader.snapshot(py) {
        Ok(snapshot) => {
            let schema = reader.schema();
            let (rows, dim, metric) = (snapshot.count(), schema.dim(), schema.metric().name());
            format!("<stratavec.{name} {path}: {rows} rows, {dim}-d {metric}, seq {}>", snapshot.seq())
        }
        Err(_) => format!("<stratavec.{name} {path}, closed>"),
    }
}

#[pymethods]
impl PySnapshot {
    /// Lets go of the state.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let source = slf.as_super().get().take(py)?;
        py.detach(|| drop(source));
        Ok(())
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        slf.as_super().get().snapshot(slf.py())?;
        Ok(slf.clone())
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(slf: &Bound<'_, Self>, _raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        Self::close(slf)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a snapshot cannot be pickled: it is a state in this process; pickle the collection, or make a checkpoint",
        ))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        describe("Snapshot", slf.as_super().get(), slf.py())
    }
}
