//! Ids: what Python gives and gets.
//!
//! Numbers in collections of numbers; text and bytes in collections of byte strings. A byte id comes back as `str` if it is UTF-8, else as
//! `bytes`: `"a"` and `b"a"` are one id.

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyString};
use stratavec::{Id, IdKind, IdRef};

use crate::error::{OrRaise, refuse};

/// One id of a call.
pub fn id_from(value: &Bound<'_, PyAny>, kind: IdKind) -> PyResult<Id> {
    let py = value.py();
    let id = if let Ok(text) = value.cast::<PyString>() {
        Id::from(crate::arguments::text(text, "id")?.as_ref())
    } else if let Ok(bytes) = value.cast::<PyBytes>() {
        Id::from(bytes.as_bytes().to_vec())
    } else if value.is_instance_of::<PyBool>() {
        return Err(no_id(value));
    } else if value.is_instance_of::<PyInt>() {
        number(value)?
    } else if let Ok(index) = value.call_method0("__index__") {
        // Numpy's numbers.
        number(&index)?
    } else {
        return Err(no_id(value));
    };
    id.as_ref().check(kind).or_raise(py)?;
    Ok(id)
}

fn no_id(value: &Bound<'_, PyAny>) -> PyErr {
    match value.get_type().name() {
        Ok(name) => PyTypeError::new_err(format!("an id is a str, bytes or an int, not {name}")),
        Err(error) => error,
    }
}

fn number(value: &Bound<'_, PyAny>) -> PyResult<Id> {
    match value.extract::<u64>() {
        Ok(number) => Ok(Id::U64(number)),
        Err(_) => Err(refuse(value.py(), "id", format!("is {value}; use 0..=18446744073709551614"))),
    }
}

/// Whether a value is one id, and not many.
pub fn is_one(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyInt>()
        || (value.cast::<PyUntypedArray>().is_ok_and(|array| array.ndim() == 0))
        || (value.hasattr("__index__").unwrap_or(false) && !value.hasattr("__len__").unwrap_or(true))
}

/// Many ids of a call: an array of integers, or anything that can be iterated.
pub fn ids_from(values: &Bound<'_, PyAny>, kind: IdKind) -> PyResult<Vec<Id>> {
    if is_one(values) {
        return Ok(vec![id_from(values, kind)?]);
    }
    if let Some(numbers) = numbers_from(values, kind)? {
        return Ok(numbers);
    }
    // A length may be made up: of a range of a billion, or by an object that says what it likes.
    let mut ids = Vec::with_capacity(values.len().unwrap_or(0).min(LOOK));
    for value in values.try_iter()? {
        ids.push(id_from(&value?, kind)?);
        if ids.len() % LOOK == 0 {
            values.py().check_signals()?;
        }
    }
    Ok(ids)
}

/// So many ids are read between two looks for signals.
const LOOK: usize = 1 << 16;

/// The fast way for arrays of 64-bit integers; `None` for everything else.
fn numbers_from(values: &Bound<'_, PyAny>, kind: IdKind) -> PyResult<Option<Vec<Id>>> {
    if kind != IdKind::U64 {
        return Ok(None);
    }
    let py = values.py();
    // Numbers that lie askew, as in a field of packed records, are taken one by one. So are those of classes of their own: a mask hides some.
    let plain = values.cast_exact::<PyUntypedArray>().is_ok_and(|array| array.is_aligned());
    if !plain {
        return Ok(None);
    }
    if let Ok(array) = values.extract::<PyReadonlyArray1<'_, u64>>() {
        let ids: Vec<Id> = array.as_array().iter().map(|number| Id::U64(*number)).collect();
        for id in &ids {
            id.as_ref().check(kind).or_raise(py)?;
        }
        return Ok(Some(ids));
    }
    if let Ok(array) = values.extract::<PyReadonlyArray1<'_, i64>>() {
        let array = array.as_array();
        let ids = array.iter().map(|number| u64::try_from(*number).map(Id::U64).map_err(|_| *number));
        let ids: Result<Vec<Id>, i64> = ids.collect();
        return match ids {
            Ok(ids) => Ok(Some(ids)),
            Err(number) => Err(refuse(py, "id", format!("is {number}; use 0..=18446744073709551614"))),
        };
    }
    Ok(None)
}

/// One id for Python.
pub fn id_to(py: Python<'_>, id: IdRef<'_>) -> PyResult<Py<PyAny>> {
    Ok(match id {
        IdRef::U64(number) => number.into_pyobject(py)?.into_any().unbind(),
        IdRef::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => PyString::new(py, text).into_any().unbind(),
            Err(_) => PyBytes::new(py, bytes).into_any().unbind(),
        },
    })
}

/// Largest id that an array of signed integers holds.
const MOST_SIGNED: u64 = i64::MAX as u64;

/// Ids of a table of answers, `u64::MAX` where there is none: signed integers with -1 there, unless an id needs the 64th bit; then unsigned
/// ones.
pub fn number_table(py: Python<'_>, ids: Vec<u64>, rows: usize, columns: usize) -> PyResult<Py<PyAny>> {
    let unsigned = ids.iter().any(|id| *id > MOST_SIGNED && *id != u64::MAX);
    if unsigned {
        return Ok(PyArray1::from_vec(py, ids).reshape([rows, columns])?.into_any().unbind());
    }
    let signed: Vec<i64> = ids.into_iter().map(|id| id as i64).collect();
    Ok(PyArray1::from_vec(py, signed).reshape([rows, columns])?.into_any().unbind())
}
