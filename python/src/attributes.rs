//! Attributes: a `dict` of names to `None`, `bool`, `int`, `float`, `str`, lists of `str`, and `datetime` with a time zone.

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use stratavec::{Attributes, Value};

use crate::arguments;
use crate::error::refuse;

static TIMES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

fn times<'py>(py: Python<'py>) -> PyResult<&'py Bound<'py, PyModule>> {
    let module = TIMES.get_or_try_init(py, || py.import("stratavec._times").map(Bound::unbind))?;
    Ok(module.bind(py))
}

/// The attributes of one row; `None` is none.
pub fn attributes_from(given: &Bound<'_, PyAny>) -> PyResult<Attributes> {
    if given.is_none() {
        return Ok(Attributes::new());
    }
    let names = match given.cast::<PyDict>() {
        Ok(names) => names.clone(),
        // Other mappings are read into one.
        Err(_) if given.cast::<PyMapping>().is_ok() => given.py().get_type::<PyDict>().call1((given,))?.cast_into()?,
        Err(_) => return Err(arguments::wrong_type(given, "attributes", "a dict or another mapping")),
    };
    let mut attributes = Attributes::new();
    for (name, value) in names {
        let Ok(text) = name.cast::<PyString>() else {
            return Err(PyTypeError::new_err(format!(
                "the name of an attribute is a str, not {}",
                name.get_type().name()?
            )));
        };
        let name = arguments::text(text, "attributes")?;
        let value = value_from(&name, &value)?;
        attributes.insert(name.into_owned(), value);
    }
    Ok(attributes)
}

fn value_from(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Value> {
    let py = value.py();
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(truth) = value.cast::<PyBool>() {
        return Ok(Value::Bool(truth.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        return value.extract::<i64>().map(Value::I64).map_err(|_| {
            refuse(py, "attributes", format!("have {name} = {value}; use integers of 64 bits with a sign"))
        });
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        return Ok(Value::F64(number.value()));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Value::String(arguments::text(text, "attributes")?.into_owned()));
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let texts = value.try_iter()?.map(|text| match text?.cast::<PyString>() {
            Ok(text) => Ok(arguments::text(text, "attributes")?.into_owned()),
            Err(_) => {
                Err(PyTypeError::new_err(format!("attribute {name} is a list that has other things than str in it")))
            }
        });
        return texts.collect::<PyResult<Vec<String>>>().map(Value::StringList);
    }
    if let Some(micros) = times(py)?.getattr("micros")?.call1((name, value))?.extract::<Option<i64>>()? {
        return Ok(Value::Timestamp(micros));
    }
    if let Some(number) = times(py)?.getattr("number")?.call1((value,))?.extract::<Option<Bound<'_, PyAny>>>()? {
        // One of numpy's.
        return value_from(name, &number);
    }
    let what = format!(
        "attribute {name} is of type {}; use None, bool, int, float, str, a list of str or a datetime with a time zone",
        value.get_type().name()?
    );
    Err(PyTypeError::new_err(what))
}

/// Attributes as a `dict`.
pub fn attributes_to<'py>(py: Python<'py>, attributes: &Attributes) -> PyResult<Bound<'py, PyDict>> {
    let names = PyDict::new(py);
    for (name, value) in attributes {
        match value {
            Value::Null => names.set_item(name, py.None())?,
            Value::Bool(truth) => names.set_item(name, *truth)?,
            Value::I64(number) => names.set_item(name, *number)?,
            Value::F64(number) => names.set_item(name, *number)?,
            Value::String(text) => names.set_item(name, text)?,
            Value::StringList(texts) => names.set_item(name, texts)?,
            Value::Timestamp(micros) => names.set_item(name, times(py)?.getattr("from_micros")?.call1((*micros,))?)?,
            other => {
                let what = format!("attribute {name} is of a kind that this package does not know: {other:?}");
                return Err(PyOverflowError::new_err(what));
            }
        }
    }
    Ok(names)
}
