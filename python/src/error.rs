//! Errors of the engine as exceptions: one class for each kind, defined in `stratavec/errors.py`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use stratavec::{Error, Outcome};

static OF_ENGINE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The exception of an engine's error, with everything it tells.
pub fn exception(py: Python<'_>, error: &Error) -> PyErr {
    make(py, error).unwrap_or_else(|failed| failed)
}

fn make(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let of_engine =
        OF_ENGINE.get_or_try_init(py, || py.import("stratavec.errors")?.getattr("_of_engine").map(Bound::unbind))?;
    let facts = PyDict::new(py);
    facts.set_item("argument", error.argument_name())?;
    facts.set_item("file", error.file())?;
    facts.set_item("section", error.section())?;
    facts.set_item("offset", error.offset())?;
    facts.set_item("hint", error.hint())?;
    let outcome = match error.outcome() {
        Outcome::NotCommitted => "not_committed",
        Outcome::Unknown => "unknown",
    };
    facts.set_item("outcome", outcome)?;
    let value = of_engine.bind(py).call1((error.kind().name(), error.to_string(), facts))?;
    Ok(PyErr::from_value(value))
}

/// The exception as an object, for reports that list errors.
pub fn object(py: Python<'_>, error: &Error) -> Py<PyAny> {
    exception(py, error).into_value(py).into_any()
}

/// Results of the engine in calls from Python.
pub trait OrRaise<T> {
    /// The value, or the exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for stratavec::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| exception(py, &error))
    }
}

/// `InvalidArgument` of the package's own checks.
pub fn refuse(py: Python<'_>, name: &str, problem: impl std::fmt::Display) -> PyErr {
    exception(py, &Error::argument(name, problem))
}
