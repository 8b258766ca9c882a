//! A collection opened for reading only.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use stratavec::Follower;

use crate::interrupt::apart;
use crate::reader::{Reader, Source};
use crate::reports::Health;
use crate::snapshot::{PySnapshot, describe};
use crate::stats::stats_object;

/// A reader beside the writer, in this process or in another.
#[pyclass(frozen, extends = Reader, name = "Follower", module = "stratavec")]
pub struct PyFollower;

impl PyFollower {
    /// A handle for Python.
    pub fn initializer(follower: Follower, path: PathBuf) -> PyClassInitializer<Self> {
        let schema = follower.schema().clone();
        let reader = Reader::new(Source::Follower(Arc::new(follower)), schema, path);
        PyClassInitializer::from(reader).add_subclass(PyFollower)
    }
}

/// What a handle is pickled as: a call that opens the path read-only.
pub fn reopen<'py>(py: Python<'py>, reader: &Reader) -> PyResult<(Bound<'py, PyAny>, (OsString,))> {
    Ok((py.import("stratavec")?.getattr("_reopen")?, (reader.home().as_os_str().to_owned(),)))
}

#[pymethods]
impl PyFollower {
    /// Shows what was committed meanwhile; the sequence number of the last batch shown.
    fn refresh(slf: &Bound<'_, Self>) -> PyResult<u64> {
        let follower = slf.as_super().get().follower(slf.py())?;
        apart(slf.py(), move || follower.refresh())
    }

    /// The state last refreshed to, pinned.
    fn snapshot<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PySnapshot>> {
        PySnapshot::of(slf.py(), slf.as_super().get())
    }

    /// Measures how good the lists of the state shown are.
    fn health(slf: &Bound<'_, Self>) -> PyResult<Health> {
        let follower = slf.as_super().get().follower(slf.py())?;
        Ok(Health::from(&apart(slf.py(), move || follower.health())?))
    }

    /// Figures of the state shown.
    fn stats(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let (py, reader) = (slf.py(), slf.as_super().get());
        let follower = reader.follower(py)?;
        let stats = py.detach(|| follower.stats());
        stats_object(py, &stats, reader.path())
    }

    #[getter]
    fn read_only(&self) -> bool {
        true
    }

    /// Ends the handle.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let source = slf.as_super().get().take(py)?;
        py.detach(|| drop(source));
        Ok(())
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        slf.as_super().get().follower(slf.py())?;
        Ok(slf.clone())
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(slf: &Bound<'_, Self>, _raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        Self::close(slf)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (OsString,))> {
        reopen(slf.py(), slf.as_super().get())
    }

    fn __copy__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    fn __deepcopy__<'py>(slf: &Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf.clone()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        describe("Follower", slf.as_super().get(), slf.py())
    }
}
