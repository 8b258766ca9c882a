//! Filters: sets of ids, callbacks, and what `&`, `|` and `~` make of them.

use std::cell::RefCell;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use stratavec::{Filter, IdKind, IdRef};

use crate::ids::{id_to, is_one};

thread_local! {
    /// What a callback raised in the search that runs in this thread.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Runs a search of this thread; what a callback of its filter raised comes first.
pub fn with_callbacks<T>(search: impl FnOnce() -> T) -> Result<T, PyErr> {
    RAISED.with(|raised| raised.borrow_mut().take());
    let answer = search();
    match RAISED.with(|raised| raised.borrow_mut().take()) {
        None => Ok(answer),
        Some(error) => Err(error),
    }
}

fn has_raised() -> bool {
    RAISED.with(|raised| raised.borrow().is_some())
}

/// A filter that asks Python.
fn by(predicate: Py<PyAny>) -> Filter {
    Filter::by(move |id: IdRef<'_>| {
        if has_raised() {
            return false;
        }
        let asked = Python::attach(|py| predicate.bind(py).call1((id_to(py, id)?,))?.is_truthy());
        asked.unwrap_or_else(|error| {
            RAISED.with(|raised| *raised.borrow_mut() = Some(error));
            false
        })
    })
}

/// Which rows a search may return.
#[pyclass(frozen, name = "Filter", module = "stratavec")]
pub struct PyFilter {
    filter: Filter,
    /// Whether a callback is part of it: then threads would only wait for each other.
    asks: bool,
}

#[pymethods]
impl PyFilter {
    /// Rows whose id is one of these.
    #[staticmethod]
    fn ids(ids: &Bound<'_, PyAny>) -> PyResult<PyFilter> {
        Ok(PyFilter { filter: id_set(ids, None)?, asks: false })
    }

    /// Rows for whose id the callback says yes.
    #[staticmethod]
    fn by(predicate: Bound<'_, PyAny>) -> PyResult<PyFilter> {
        if !predicate.is_callable() {
            return Err(PyTypeError::new_err("predicate is not callable"));
        }
        Ok(PyFilter { filter: by(predicate.unbind()), asks: true })
    }

    fn __and__(&self, other: &PyFilter) -> PyFilter {
        PyFilter { filter: self.filter.clone() & other.filter.clone(), asks: self.asks || other.asks }
    }

    fn __or__(&self, other: &PyFilter) -> PyFilter {
        PyFilter { filter: self.filter.clone() | other.filter.clone(), asks: self.asks || other.asks }
    }

    fn __invert__(&self) -> PyFilter {
        PyFilter { filter: !self.filter.clone(), asks: self.asks }
    }

    fn __repr__(&self) -> String {
        format!("Filter({:?})", self.filter)
    }
}

/// A set of ids of one kind, or of whatever kinds they have.
fn id_set(ids: &Bound<'_, PyAny>, kind: Option<IdKind>) -> PyResult<Filter> {
    let kind = match kind {
        Some(kind) => kind,
        None => kind_of(ids)?,
    };
    Ok(Filter::ids(crate::ids::ids_from(ids, kind)?))
}

/// The kind of the first of some ids.
fn kind_of(ids: &Bound<'_, PyAny>) -> PyResult<IdKind> {
    let first = match is_one(ids) {
        true => Some(ids.clone()),
        false if ids.hasattr("__len__")? => ids.try_iter()?.next().transpose()?,
        false => return Err(PyTypeError::new_err("ids is a list, a set, a tuple or an array")),
    };
    Ok(match first {
        Some(id) if id.hasattr("__index__")? => IdKind::U64,
        _ => IdKind::Bytes,
    })
}

/// A filter and whether it asks Python.
pub struct Chosen {
    /// The filter, if there is one.
    pub filter: Option<Filter>,
    /// Whether a callback is part of it.
    pub asks: bool,
}

/// What `ids` and `filter` of a search say together.
pub fn chosen(ids: Option<&Bound<'_, PyAny>>, filter: Option<&Bound<'_, PyAny>>, kind: IdKind) -> PyResult<Chosen> {
    let mut chosen = Chosen { filter: None, asks: false };
    if let Some(filter) = filter {
        if let Ok(known) = filter.cast::<PyFilter>() {
            let known = known.get();
            chosen = Chosen { filter: Some(known.filter.clone()), asks: known.asks };
        } else if filter.is_callable() {
            chosen = Chosen { filter: Some(by(filter.clone().unbind())), asks: true };
        } else {
            return Err(PyTypeError::new_err("filter is a Filter or a callable that takes an id"));
        }
    }
    if let Some(ids) = ids {
        let set = id_set(ids, Some(kind))?;
        chosen.filter = Some(match chosen.filter.take() {
            Some(filter) => filter & set,
            None => set,
        });
    }
    Ok(chosen)
}
