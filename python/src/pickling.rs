//! Answers and reports in `pickle` and `copy`: a class and its fields, which `_restore` of the class takes again.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::type_object::PyTypeInfo;
use pyo3::types::{PyTuple, PyTupleMethods, PyType};

/// What `__reduce__` gives: a call of `stratavec._restore`, and its arguments.
pub type Reduced<'py> = (Bound<'py, PyAny>, (Bound<'py, PyType>, Bound<'py, PyTuple>));

/// How to make an object of class `T` again of its fields.
pub fn reduced<'py, T: PyTypeInfo>(py: Python<'py>, fields: Bound<'py, PyTuple>) -> PyResult<Reduced<'py>> {
    Ok((py.import("stratavec")?.getattr("_restore")?, (T::type_object(py), fields)))
}

/// Fields one after another.
pub struct Fields<'a, 'py> {
    all: &'a Bound<'py, PyTuple>,
    next: usize,
}

impl<'a, 'py> Fields<'a, 'py> {
    /// Those that were stored.
    pub fn new(all: &'a Bound<'py, PyTuple>) -> Self {
        Fields { all, next: 0 }
    }

    /// The next one as it is.
    pub fn any(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let field = self.all.get_item(self.next);
        self.next += 1;
        field.map_err(|_| PyValueError::new_err("what was pickled is of another release: fields are missing"))
    }

    /// The next one.
    pub fn next<T: FromPyObjectOwned<'py>>(&mut self) -> PyResult<T> {
        self.any()?.extract::<T>().map_err(Into::into)
    }
}
