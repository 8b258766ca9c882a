//! The Python package's half that is written in Rust: what Python gives becomes the engine's types, the engine works without the
//! interpreter's lock, and what it answers becomes Python's types. `package/stratavec` is the other half.

mod answers;
mod arguments;
mod attributes;
mod batch;
mod bulk;
mod collection;
mod error;
mod filter;
mod follower;
mod fork;
mod hits;
mod ids;
mod interrupt;
mod options;
mod pickling;
mod progress;
mod reader;
mod reports;
mod rerank;
mod rows;
mod scan;
mod snapshot;
mod stats;
mod terms;
mod vectors;

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use stratavec::{Collection, Error, ErrorKind, Repair, Verify};

use crate::collection::PyCollection;
use crate::error::OrRaise;
use crate::follower::PyFollower;
use crate::interrupt::apart;
use crate::options::{Treatment, Wanted, named};

/// Opens for writing; makes the collection if there is none and enough was said.
#[pyfunction]
fn _open(
    py: Python<'_>,
    #[pyo3(from_py_with = arguments::path)] path: PathBuf,
    wanted: &Bound<'_, PyDict>,
    treatment: &Bound<'_, PyDict>,
) -> PyResult<Py<PyCollection>> {
    let (wanted, treatment) = (Wanted::read(wanted)?, Treatment::read(treatment)?);
    wanted.check(py)?;
    let (schema, options) = (wanted.schema(py)?, treatment.options(py)?);
    let place = path.clone();
    let collection = apart(py, move || match (Collection::open(&place, options.clone()), schema) {
        (Err(error), Some(schema)) if error.kind() == ErrorKind::NotFound => {
            Collection::create(&place, schema, options)
        }
        (Err(error), None) if error.kind() == ErrorKind::NotFound => {
            Err(error.with_hint("give dim and metric to create a collection there, or check the path"))
        }
        (opened, _) => opened,
    })?;
    wanted.check_same(py, collection.schema())?;
    Py::new(py, PyCollection::initializer(collection, path, treatment.does_upkeep()))
}

/// Makes a collection where there is none.
#[pyfunction]
fn _create(
    py: Python<'_>,
    #[pyo3(from_py_with = arguments::path)] path: PathBuf,
    wanted: &Bound<'_, PyDict>,
    treatment: &Bound<'_, PyDict>,
) -> PyResult<Py<PyCollection>> {
    let (wanted, treatment) = (Wanted::read(wanted)?, Treatment::read(treatment)?);
    let options = treatment.options(py)?;
    let schema =
        wanted.schema(py)?.ok_or_else(|| Error::argument("dim", "is not said; give dim and metric")).or_raise(py)?;
    let place = path.clone();
    let collection = apart(py, move || Collection::create(&place, schema, options))?;
    Py::new(py, PyCollection::initializer(collection, path, treatment.does_upkeep()))
}

/// Opens for reading.
#[pyfunction]
#[pyo3(signature = (path, wanted, access=None))]
fn _open_read_only(
    py: Python<'_>,
    #[pyo3(from_py_with = arguments::path)] path: PathBuf,
    wanted: &Bound<'_, PyDict>,
    #[pyo3(from_py_with = arguments::access)] access: Option<String>,
) -> PyResult<Py<PyFollower>> {
    let wanted = Wanted::read(wanted)?;
    wanted.check(py)?;
    let access = access.map(|name| options::access(py, &name)).transpose()?.unwrap_or_default();
    let place = path.clone();
    let follower = apart(py, move || Collection::open_read_only_with(&place, access))?;
    wanted.check_same(py, follower.schema())?;
    Py::new(py, PyFollower::initializer(follower, path))
}

/// Checks a collection without changing anything.
#[pyfunction]
#[pyo3(signature = (path, mode="full"))]
fn verify(
    py: Python<'_>,
    #[pyo3(from_py_with = arguments::path)] path: PathBuf,
    mode: &str,
) -> PyResult<reports::VerifyReport> {
    let mode = named(py, "mode", mode, &[("quick", Verify::Quick), ("full", Verify::Full)])?;
    let report = apart(py, move || Collection::verify(path, mode))?;
    reports::VerifyReport::new(py, &report)
}

/// Makes a new collection of what a damaged one can prove.
#[pyfunction]
#[pyo3(signature = (path, to, mode="keep_proven"))]
fn repair(
    py: Python<'_>,
    #[pyo3(from_py_with = arguments::path)] path: PathBuf,
    #[pyo3(from_py_with = arguments::path)] to: PathBuf,
    mode: &str,
) -> PyResult<reports::RepairReport> {
    let mode = named(py, "mode", mode, &[("keep_proven", Repair::KeepProven)])?;
    let report = apart(py, move || Collection::repair(path, to, mode))?;
    reports::RepairReport::new(py, &report)
}

/// Brings a collection to the format version that this release writes.
#[pyfunction]
fn upgrade(py: Python<'_>, #[pyo3(from_py_with = arguments::path)] path: PathBuf) -> PyResult<reports::UpgradeReport> {
    let report = apart(py, move || Collection::upgrade(path))?;
    Ok(reports::UpgradeReport::from(&report))
}

#[pymodule]
fn _stratavec(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<reader::Reader>()?;
    module.add_class::<PyCollection>()?;
    module.add_class::<PyFollower>()?;
    module.add_class::<snapshot::PySnapshot>()?;
    module.add_class::<batch::PyBatch>()?;
    module.add_class::<filter::PyFilter>()?;
    module.add_class::<hits::PyHits>()?;
    module.add_class::<hits::PyHit>()?;
    module.add_class::<hits::PyItem>()?;
    module.add_class::<scan::Scan>()?;
    module.add_class::<reports::Receipt>()?;
    module.add_class::<reports::BulkReport>()?;
    module.add_class::<reports::CompactReport>()?;
    module.add_class::<reports::CheckpointReport>()?;
    module.add_class::<reports::Health>()?;
    module.add_class::<reports::UpgradeReport>()?;
    module.add_class::<reports::RecoveryReport>()?;
    module.add_class::<reports::Explain>()?;
    module.add_class::<reports::VerifyReport>()?;
    module.add_class::<reports::ScrubReport>()?;
    module.add_class::<reports::RepairReport>()?;
    module.add_function(wrap_pyfunction!(_open, module)?)?;
    module.add_function(wrap_pyfunction!(_create, module)?)?;
    module.add_function(wrap_pyfunction!(_open_read_only, module)?)?;
    module.add_function(wrap_pyfunction!(reader::_long_scans, module)?)?;
    module.add_function(wrap_pyfunction!(verify, module)?)?;
    module.add_function(wrap_pyfunction!(repair, module)?)?;
    module.add_function(wrap_pyfunction!(upgrade, module)?)?;
    // The package says what is public.
    module.delattr("__all__")?;
    fork::watch(module)
}
