//! The writer's handle.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use stratavec::{Collection, Compact, Durability, Schema};

use crate::arguments;
use crate::batch::PyBatch;
use crate::bulk;
use crate::error::{OrRaise, refuse};
use crate::ids::ids_from;
use crate::interrupt::apart;
use crate::options::{durability, named};
use crate::progress::{Teller, finish};
use crate::reader::{Reader, Source};
use crate::reports::{BulkReport, CheckpointReport, CompactReport, Health, Receipt, RecoveryReport, ScrubReport};
use crate::rows::{Given, Step};
use crate::snapshot::PySnapshot;
use crate::stats::stats_object;
use crate::terms::Said;

/// A collection opened for writing.
#[pyclass(frozen, extends = Reader, name = "Collection", module = "stratavec")]
pub struct PyCollection {
    recovery: RecoveryReport,
    /// Whether upkeep is done by the call that makes it due: then a commit may take long.
    does_upkeep: bool,
}

impl PyCollection {
    /// A handle for Python.
    pub fn initializer(collection: Collection, path: PathBuf, does_upkeep: bool) -> PyClassInitializer<Self> {
        let recovery = RecoveryReport::from(collection.recovery());
        let schema = collection.schema().clone();
        let reader = Reader::new(Source::Writer(Arc::new(collection)), schema, path);
        PyClassInitializer::from(reader).add_subclass(PyCollection { recovery, does_upkeep })
    }
}

/// The base of a handle.
pub fn base<'a>(slf: &'a Bound<'_, PyCollection>) -> &'a Reader {
    slf.as_super().get()
}

/// What the handle is of.
pub fn schema_of<'a>(slf: &'a Bound<'_, PyCollection>) -> &'a Schema {
    base(slf).schema()
}

/// A batch of at least so many steps looks for signals while it is committed.
const LONG_BATCH: usize = 4096;

/// Commits steps as one batch, before this call returns.
fn commit_here(
    slf: &Bound<'_, PyCollection>,
    steps: Vec<Step<'_>>,
    level: Option<&str>,
) -> PyResult<stratavec::Receipt> {
    let py = slf.py();
    let collection = base(slf).writer(py)?;
    let level = level.map(|name| durability(py, name)).transpose()?;
    py.detach(|| run(&collection, steps, level)).or_raise(py)
}

/// Commits steps that hold everything they need as one batch. A large one goes on to its end in the background if a signal's handler raises.
pub fn commit(
    slf: &Bound<'_, PyCollection>,
    steps: Vec<Step<'static>>,
    level: Option<&str>,
) -> PyResult<stratavec::Receipt> {
    if steps.iter().map(Step::len).sum::<usize>() < LONG_BATCH && !slf.get().does_upkeep {
        return commit_here(slf, steps, level);
    }
    let py = slf.py();
    let collection = base(slf).writer(py)?;
    let level = level.map(|name| durability(py, name)).transpose()?;
    apart(py, move || run(&collection, steps, level))
}

fn run(
    collection: &Collection,
    steps: Vec<Step<'_>>,
    level: Option<Durability>,
) -> stratavec::Result<stratavec::Receipt> {
    let (mut batch, dim) = (collection.batch(), collection.schema().dim());
    for step in steps {
        step.apply(&mut batch, dim);
    }
    match level {
        Some(level) => batch.commit_with(level),
        None => batch.commit(),
    }
}

fn write(slf: &Bound<'_, PyCollection>, given: &Given<'_, '_>, level: Option<&str>, insert: bool) -> PyResult<Receipt> {
    let (facts, held) = given.read(slf.py(), schema_of(slf))?;
    if slf.get().does_upkeep {
        let step = Step::Put { facts, vectors: Cow::Owned(held.slice()?.to_vec()), insert };
        return commit(slf, vec![step], level).map(|receipt| Receipt::from(&receipt));
    }
    let step = Step::Put { facts, vectors: Cow::Borrowed(held.slice()?), insert };
    commit_here(slf, vec![step], level).map(|receipt| Receipt::from(&receipt))
}

#[pymethods]
impl PyCollection {
    /// Writes rows, replacing those that have these ids, as one batch.
    #[pyo3(signature = (ids, vectors, attributes=None, payloads=None, *, durability=None))]
    fn upsert(
        slf: &Bound<'_, Self>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        attributes: Option<&Bound<'_, PyAny>>,
        payloads: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = arguments::durability)] durability: Option<String>,
    ) -> PyResult<Receipt> {
        write(slf, &Given { ids, vectors, attributes, payloads }, durability.as_deref(), false)
    }

    /// Writes rows whose ids must not be there, as one batch.
    #[pyo3(signature = (ids, vectors, attributes=None, payloads=None, *, durability=None))]
    fn insert(
        slf: &Bound<'_, Self>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        attributes: Option<&Bound<'_, PyAny>>,
        payloads: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = arguments::durability)] durability: Option<String>,
    ) -> PyResult<Receipt> {
        write(slf, &Given { ids, vectors, attributes, payloads }, durability.as_deref(), true)
    }

    /// Deletes the rows of these ids, as one batch; how many there were.
    #[pyo3(signature = (ids, *, durability=None))]
    fn delete(
        slf: &Bound<'_, Self>,
        ids: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = arguments::durability)] durability: Option<String>,
    ) -> PyResult<u64> {
        let ids = ids_from(ids, schema_of(slf).id_kind())?;
        Ok(commit(slf, vec![Step::Delete(ids)], durability.as_deref())?.deleted)
    }

    /// A batch, committed at the end of a `with` block.
    #[pyo3(signature = (*, durability=None))]
    fn batch(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::durability)] durability: Option<String>,
    ) -> PyResult<PyBatch> {
        base(slf).writer(slf.py())?;
        if let Some(name) = &durability {
            crate::options::durability(slf.py(), name)?;
        }
        Ok(PyBatch::new(slf.clone().unbind(), durability))
    }

    /// Loads any number of rows straight into files, all visible at once or none.
    #[pyo3(signature = (ids, vectors=None, attributes=None, payloads=None, *, progress=None, properties=None))]
    fn bulk_load(
        slf: &Bound<'_, Self>,
        ids: &Bound<'_, PyAny>,
        vectors: Option<&Bound<'_, PyAny>>,
        attributes: Option<&Bound<'_, PyAny>>,
        payloads: Option<&Bound<'_, PyAny>>,
        progress: Option<&Bound<'_, PyAny>>,
        properties: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<BulkReport> {
        let py = slf.py();
        let collection = base(slf).writer(py)?;
        let options = bulk::options(properties)?;
        let teller = Teller::new(py, progress, "loading", "rows")?;
        let report = match vectors {
            Some(vectors) => {
                bulk::arrays(py, collection, &Given { ids, vectors, attributes, payloads }, options, &teller)?
            }
            None if attributes.is_some() || payloads.is_some() => {
                return Err(crate::error::refuse(py, "vectors", "are not given; attributes and payloads go with them"));
            }
            None => bulk::items(py, collection, ids, options, &teller)?,
        };
        Ok(BulkReport::from(&report))
    }

    /// The newest committed state, pinned.
    fn snapshot<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PySnapshot>> {
        PySnapshot::of(slf.py(), base(slf))
    }

    /// Makes everything acknowledged so far durable.
    fn sync(slf: &Bound<'_, Self>) -> PyResult<u64> {
        let collection = base(slf).writer(slf.py())?;
        apart(slf.py(), move || collection.sync())
    }

    /// Returns when the batch with this sequence number is durable.
    fn wait_durable(slf: &Bound<'_, Self>, #[pyo3(from_py_with = arguments::seq)] seq: u64) -> PyResult<()> {
        let collection = base(slf).writer(slf.py())?;
        apart(slf.py(), move || collection.wait_durable(seq))
    }

    /// Moves everything in memory to files.
    fn flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let collection = base(slf).writer(slf.py())?;
        apart(slf.py(), move || collection.flush())
    }

    /// Merges files and drops dead rows.
    #[pyo3(signature = (what="auto", *, progress=None, dry_run=false))]
    fn compact(
        slf: &Bound<'_, Self>,
        what: &str,
        progress: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = arguments::dry_run)] dry_run: bool,
    ) -> PyResult<CompactReport> {
        let py = slf.py();
        let what = named(
            py,
            "what",
            what,
            &[("auto", Compact::Auto), ("full", Compact::Full), ("retrain", Compact::Retrain)],
        )?;
        let collection = base(slf).writer(py)?;
        if dry_run {
            return Ok(CompactReport::from(&py.detach(|| collection.compact_dry_run(what))));
        }
        let teller = Teller::new(py, progress, "compacting", "rows")?;
        let job = collection.compact(what).or_raise(py)?;
        // `close` in another thread cancels the job; it must not wait for this call.
        drop(collection);
        Ok(CompactReport::from(&finish(py, job, &teller)?))
    }

    /// Makes a copy in another directory.
    fn checkpoint(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::path)] path: PathBuf,
    ) -> PyResult<CheckpointReport> {
        let collection = base(slf).writer(slf.py())?;
        let report = apart(slf.py(), move || collection.checkpoint(path))?;
        Ok(CheckpointReport::from(&report))
    }

    /// Reads every byte of every file again.
    #[pyo3(signature = (*, progress=None))]
    fn scrub(slf: &Bound<'_, Self>, progress: Option<&Bound<'_, PyAny>>) -> PyResult<ScrubReport> {
        let py = slf.py();
        let collection = base(slf).writer(py)?;
        let teller = Teller::new(py, progress, "reading", "bytes")?;
        let job = collection.scrub().or_raise(py)?;
        drop(collection);
        Ok(ScrubReport::new(py, &finish(py, job, &teller)?))
    }

    /// Measures how good the lists are.
    fn health(slf: &Bound<'_, Self>) -> PyResult<Health> {
        let py = slf.py();
        let collection = base(slf).writer(py)?;
        Ok(Health::from(&apart(py, move || collection.health())?))
    }

    /// Stores how hard searches look that do not say it.
    #[pyo3(signature = (*, recall=None, nprobe=None, patience=None, confidence=None, exact=false))]
    fn set_default_effort(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = arguments::recall)] recall: Option<f32>,
        #[pyo3(from_py_with = arguments::nprobe)] nprobe: Option<usize>,
        #[pyo3(from_py_with = arguments::patience)] patience: Option<usize>,
        #[pyo3(from_py_with = arguments::confidence)] confidence: Option<f32>,
        #[pyo3(from_py_with = arguments::exact)] exact: bool,
    ) -> PyResult<()> {
        let py = slf.py();
        let said = Said { recall, nprobe, patience, confidence, exact };
        let Some(effort) = said.effort(py)? else {
            return Err(refuse(py, "effort", "is not said; use one of recall, nprobe, confidence and exact"));
        };
        let collection = base(slf).writer(py)?;
        bulk::check_free(py, "set_default_effort", &collection)?;
        apart(py, move || collection.set_default_effort(effort))
    }

    /// Figures of the collection and of this handle.
    fn stats(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let collection = base(slf).writer(py)?;
        let stats = py.detach(|| collection.stats());
        stats_object(py, &stats, base(slf).path())
    }

    /// Sequence number up to which everything survives a power loss.
    #[getter]
    fn durable_seq(slf: &Bound<'_, Self>) -> PyResult<u64> {
        Ok(base(slf).writer(slf.py())?.durable_seq())
    }

    /// What opening found and did.
    #[getter]
    fn recovery(&self) -> RecoveryReport {
        self.recovery.clone()
    }

    #[getter]
    fn read_only(&self) -> bool {
        false
    }

    /// Flushes and ends the handle.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let Some(Source::Writer(collection)) = base(slf).take(py)? else { return Ok(()) };
        apart(py, move || close_alone(collection))
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        base(slf).writer(slf.py())?;
        Ok(slf.clone())
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(slf: &Bound<'_, Self>, _raised: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        Self::close(slf)
    }

    /// A writer cannot be in two processes: what is pickled is the path, and what comes out is a follower.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (OsString,))> {
        crate::follower::reopen(slf.py(), base(slf))
    }

    fn __copy__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    fn __deepcopy__<'py>(slf: &Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf.clone()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        crate::snapshot::describe("Collection", base(slf), slf.py())
    }
}

/// Closes once no other thread is in a call of the handle.
fn close_alone(mut collection: Arc<Collection>) -> stratavec::Result<()> {
    loop {
        match Arc::try_unwrap(collection) {
            Ok(alone) => return alone.close(),
            Err(shared) => collection = shared,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
