//! Vectors: arrays of f32 in C order are read where they lie; everything else becomes such an array by the rules of `stratavec/_arrays.py`.

use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::error::refuse;

static CONVERT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn convert<'py>(given: &Bound<'py, PyAny>, name: &str, dimensions: usize) -> PyResult<Bound<'py, PyAny>> {
    let py = given.py();
    let convert =
        CONVERT.get_or_try_init(py, || py.import("stratavec._arrays")?.getattr("as_f32").map(Bound::unbind))?.bind(py);
    convert.call1((given, name, dimensions))
}

/// Whether it is an array and nothing more: what is derived from arrays may hide numbers, as masked ones do.
fn is_plain(given: &Bound<'_, PyAny>) -> bool {
    given.cast_exact::<PyUntypedArray>().is_ok()
}

/// One vector.
pub struct Vector<'py>(PyReadonlyArray1<'py, f32>);

impl<'py> Vector<'py> {
    /// Takes the argument `name`.
    pub fn from(given: &Bound<'py, PyAny>, name: &str) -> PyResult<Self> {
        if is_plain(given)
            && let Ok(array) = given.extract::<PyReadonlyArray1<'py, f32>>()
            && array.is_c_contiguous()
            && array.is_aligned()
        {
            return Ok(Vector(array));
        }
        Ok(Vector(convert(given, name, 1)?.extract::<PyReadonlyArray1<'py, f32>>()?))
    }

    /// Its components.
    pub fn slice(&self) -> PyResult<&[f32]> {
        Ok(self.0.as_slice()?)
    }
}

/// Rows of vectors, one after another.
pub struct Vectors<'py>(PyReadonlyArray2<'py, f32>);

impl<'py> Vectors<'py> {
    /// Takes the argument `name`: rows of `dim` components each.
    pub fn from(given: &Bound<'py, PyAny>, name: &str, dim: usize) -> PyResult<Self> {
        let vectors = match given.extract::<PyReadonlyArray2<'py, f32>>() {
            // Contiguous alone could be column after column.
            Ok(array) if is_plain(given) && array.is_c_contiguous() && array.is_aligned() => Vectors(array),
            _ => Vectors(convert(given, name, 2)?.extract::<PyReadonlyArray2<'py, f32>>()?),
        };
        let [rows, columns] = vectors.shape();
        if columns != dim && rows > 0 {
            let what = format!("have {columns} components each; this collection has vectors of {dim}");
            return Err(refuse(given.py(), name, what));
        }
        Ok(vectors)
    }

    fn shape(&self) -> [usize; 2] {
        match *self.0.shape() {
            [rows, columns] => [rows, columns],
            _ => [0, 0],
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.shape()[0]
    }

    /// All components.
    pub fn slice(&self) -> PyResult<&[f32]> {
        Ok(self.0.as_slice()?)
    }
}
