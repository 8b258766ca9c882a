//! What a collection, a follower and a snapshot have in common: everything that reads.

use std::ffi::OsStr;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use numpy::{PyArray1, PyArrayMethods};
use parking_lot::RwLock;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use stratavec::{Collection, Effort, Error, ErrorKind, Follower, IdKind, IndexKind, Schema, Snapshot};

use crate::answers::{Answers, Asked};
use crate::arguments;
use crate::error::OrRaise;
use crate::filter::with_callbacks;
use crate::fork::Born;
use crate::hits::{PyHits, PyItem};
use crate::ids::{id_from, ids_from, number_table};
use crate::interrupt::apart;
use crate::options::search_mode;
use crate::rerank::PySource;
use crate::scan::Scan;
use crate::terms::{Said, Terms, apply, effort_dict};
use crate::vectors::{Vector, Vectors};

/// Rows that are read between two looks for signals.
const GOT_AT_ONCE: usize = 4096;
/// A search that measures more bytes of vectors than that looks for signals meanwhile. It takes so long that a thread more does not show.
static LONG_SCAN_BYTES: AtomicU64 = AtomicU64::new(1 << 30);

/// Sets what a long scan is, for tests; what it was.
#[pyfunction]
pub fn _long_scans(bytes: u64) -> u64 {
    LONG_SCAN_BYTES.swap(bytes, Ordering::Relaxed)
}

/// Where a reader's snapshots come from.
pub enum Source {
    Writer(Arc<Collection>),
    Follower(Arc<Follower>),
    Pinned(Box<Snapshot>),
}

/// The base class.
#[pyclass(frozen, subclass, weakref, name = "Reader", module = "stratavec")]
pub struct Reader {
    /// `None` once closed.
    source: RwLock<Option<Source>>,
    schema: Schema,
    path: PathBuf,
    /// The same path from the root on, as it was when the handle was made: the process may go to another directory.
    home: PathBuf,
    born: Born,
}

impl Reader {
    /// A reader of the collection at `path`.
    pub fn new(source: Source, schema: Schema, path: PathBuf) -> Self {
        let home = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        Reader { source: RwLock::new(Some(source)), schema, path, home, born: Born::here() }
    }

    /// Another one of the same collection.
    pub fn beside(&self, source: Source) -> Self {
        let (schema, path, home) = (self.schema.clone(), self.path.clone(), self.home.clone());
        Reader { source: RwLock::new(Some(source)), schema, path, home, born: Born::here() }
    }

    /// What the collection is.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is, whatever directory the process is in.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The newest state, or the pinned one.
    pub fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        self.with(py, |source| match source {
            Source::Writer(collection) => Some(collection.snapshot()),
            Source::Follower(follower) => Some(follower.snapshot()),
            Source::Pinned(snapshot) => Some((**snapshot).clone()),
        })
    }

    /// The handle of the writer.
    pub fn writer(&self, py: Python<'_>) -> PyResult<Arc<Collection>> {
        self.with(py, |source| match source {
            Source::Writer(collection) => Some(collection.clone()),
            _ => None,
        })
    }

    /// The handle of a follower.
    pub fn follower(&self, py: Python<'_>) -> PyResult<Arc<Follower>> {
        self.with(py, |source| match source {
            Source::Follower(follower) => Some(follower.clone()),
            _ => None,
        })
    }

    /// Whether a search measures so many rows that it is worth a thread of its own, beside which this one looks for signals.
    fn is_long(&self, snapshot: &Snapshot, effort: Option<Effort>) -> bool {
        let measures_all = || {
            self.schema.index_kind() == IndexKind::Flat
                || effort.unwrap_or_else(|| snapshot.default_effort()) == Effort::Exact
        };
        let bytes = snapshot.count().saturating_mul(self.schema.vector_bytes() as u64);
        bytes > LONG_SCAN_BYTES.load(Ordering::Relaxed) && measures_all()
    }

    fn with<T>(&self, py: Python<'_>, take: impl FnOnce(&Source) -> Option<T>) -> PyResult<T> {
        self.born.check(py)?;
        let taken = self.source.read().as_ref().and_then(take);
        taken.ok_or_else(|| Error::new(ErrorKind::Closed, "the handle was closed")).or_raise(py)
    }

    /// Ends this reader: what is left to do with its source is the caller's. Nothing if it has ended already.
    pub fn take(&self, py: Python<'_>) -> PyResult<Option<Source>> {
        self.born.check(py)?;
        Ok(self.source.write().take())
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.source.read().is_none()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut source = ManuallyDrop::new(self.source.get_mut().take());
        // In a forked child the threads that a handle would wait for do not exist: what is inside is left alone. So it is while the
        // interpreter ends, which is like a crash and loses nothing.
        if self.born.is_here() && source.is_some() {
            Python::try_attach(|py| {
                // The threads of a handle may be at work for some time.
                let source = ManuallyDrop::into_inner(std::mem::replace(&mut source, ManuallyDrop::new(None)));
                py.detach(|| drop(source));
            });
        }
    }
}

#[pymethods]
impl Reader {
    /// Searches for the nearest rows.
    #[pyo3(signature = (query, k=10, *, recall=None, nprobe=None, patience=None, confidence=None, exact=false, ids=None, filter=None, max_distance=None, include=None, deadline=None, candidates=None, rerank_with=None, mode="auto"))]
    #[expect(clippy::too_many_arguments, reason = "they are the arguments of the Python call")]
    fn search(
        &self,
        py: Python<'_>,
        query: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = arguments::k)] k: usize,
        #[pyo3(from_py_with = arguments::recall)] recall: Option<f32>,
        #[pyo3(from_py_with = arguments::nprobe)] nprobe: Option<usize>,
        #[pyo3(from_py_with = arguments::patience)] patience: Option<usize>,
        #[pyo3(from_py_with = arguments::confidence)] confidence: Option<f32>,
        #[pyo3(from_py_with = arguments::exact)] exact: bool,
        ids: Option<&Bound<'_, PyAny>>,
        filter: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = arguments::max_distance)] max_distance: Option<f32>,
        include: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = arguments::deadline)] deadline: Option<Duration>,
        #[pyo3(from_py_with = arguments::candidates)] candidates: Option<usize>,
        rerank_with: Option<&Bound<'_, PyAny>>,
        mode: &str,
    ) -> PyResult<PyHits> {
        let snapshot = self.snapshot(py)?;
        let said = Said { recall, nprobe, patience, confidence, exact };
        let terms =
            Terms::new(py, self.schema.id_kind(), k, &said, ids, filter, max_distance, include, deadline, candidates)?;
        let query = Vector::from(query, "query")?;
        let vector = query.slice()?;
        let mode = search_mode(py, mode)?;
        if let Some(give) = rerank_with {
            let mut source = PySource::new(give, self.schema.dim())?;
            let ask = || apply!(snapshot.search(vector), &terms).mode(mode).rerank_with(&mut source).run();
            let answer = py.detach(|| with_callbacks(ask))?;
            return source.answer(py, answer).map(PyHits::new);
        }
        if !terms.asks && self.is_long(&snapshot, terms.effort) {
            let vector = vector.to_vec();
            return apart(py, move || apply!(snapshot.search(&vector), &terms).mode(mode).run()).map(PyHits::new);
        }
        let ask = || apply!(snapshot.search(vector), &terms).mode(mode).run();
        let answer = match terms.asks {
            false => py.detach(ask),
            true => py.detach(|| with_callbacks(ask))?,
        };
        answer.or_raise(py).map(PyHits::new)
    }

    /// Searches for the nearest rows of each of many queries.
    #[pyo3(signature = (queries, k=10, *, recall=None, nprobe=None, patience=None, confidence=None, exact=false, ids=None, filter=None, max_distance=None, deadline=None, candidates=None, rerank_with=None, mode="auto", threads=1))]
    #[expect(clippy::too_many_arguments, reason = "they are the arguments of the Python call")]
    fn search_batch(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = arguments::k)] k: usize,
        #[pyo3(from_py_with = arguments::recall)] recall: Option<f32>,
        #[pyo3(from_py_with = arguments::nprobe)] nprobe: Option<usize>,
        #[pyo3(from_py_with = arguments::patience)] patience: Option<usize>,
        #[pyo3(from_py_with = arguments::confidence)] confidence: Option<f32>,
        #[pyo3(from_py_with = arguments::exact)] exact: bool,
        ids: Option<&Bound<'_, PyAny>>,
        filter: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = arguments::max_distance)] max_distance: Option<f32>,
        #[pyo3(from_py_with = arguments::deadline)] deadline: Option<Duration>,
        #[pyo3(from_py_with = arguments::candidates)] candidates: Option<usize>,
        rerank_with: Option<&Bound<'_, PyAny>>,
        mode: &str,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        let snapshot = self.snapshot(py)?;
        let (kind, dim) = (self.schema.id_kind(), self.schema.dim());
        let said = Said { recall, nprobe, patience, confidence, exact };
        let terms = Terms::new(py, kind, k, &said, ids, filter, max_distance, None, deadline, candidates)?;
        let queries = Vectors::from(queries, "queries", dim)?;
        let rows: Vec<&[f32]> = queries.slice()?.chunks_exact(dim).collect();
        let mode = search_mode(py, mode)?;
        let source = rerank_with.map(|give| PySource::new(give, dim)).transpose()?;
        let asked = Asked { snapshot: &snapshot, queries: &rows, terms: &terms, source, mode, threads };
        let answers = Answers::search(py, asked)?;
        let distances = PyArray1::from_vec(py, answers.distances).reshape([rows.len(), k])?;
        let ids = match kind {
            IdKind::U64 => number_table(py, answers.numbers, rows.len(), k)?,
            _ => {
                let none = || py.None();
                let names = answers
                    .names
                    .iter()
                    .map(|id| id.as_ref().map_or_else(|| Ok(none()), |id| crate::ids::id_to(py, id.as_ref())));
                let names = names.collect::<PyResult<Vec<Py<PyAny>>>>()?;
                PyArray1::from_vec(py, names).reshape([rows.len(), k])?.into_any().unbind()
            }
        };
        Ok((ids, distances.into_any().unbind()))
    }

    /// Searches for the nearest rows of each of many queries; whole hits.
    #[pyo3(signature = (queries, k=10, *, recall=None, nprobe=None, patience=None, confidence=None, exact=false, ids=None, filter=None, max_distance=None, include=None, deadline=None, candidates=None, rerank_with=None, mode="auto", threads=1))]
    #[expect(clippy::too_many_arguments, reason = "they are the arguments of the Python call")]
    fn search_each(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = arguments::k)] k: usize,
        #[pyo3(from_py_with = arguments::recall)] recall: Option<f32>,
        #[pyo3(from_py_with = arguments::nprobe)] nprobe: Option<usize>,
        #[pyo3(from_py_with = arguments::patience)] patience: Option<usize>,
        #[pyo3(from_py_with = arguments::confidence)] confidence: Option<f32>,
        #[pyo3(from_py_with = arguments::exact)] exact: bool,
        ids: Option<&Bound<'_, PyAny>>,
        filter: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = arguments::max_distance)] max_distance: Option<f32>,
        include: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = arguments::deadline)] deadline: Option<Duration>,
        #[pyo3(from_py_with = arguments::candidates)] candidates: Option<usize>,
        rerank_with: Option<&Bound<'_, PyAny>>,
        mode: &str,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<PyHits>> {
        let snapshot = self.snapshot(py)?;
        let (kind, dim) = (self.schema.id_kind(), self.schema.dim());
        let said = Said { recall, nprobe, patience, confidence, exact };
        let terms = Terms::new(py, kind, k, &said, ids, filter, max_distance, include, deadline, candidates)?;
        let queries = Vectors::from(queries, "queries", dim)?;
        let rows: Vec<&[f32]> = queries.slice()?.chunks_exact(dim).collect();
        let mode = search_mode(py, mode)?;
        let source = rerank_with.map(|give| PySource::new(give, dim)).transpose()?;
        let asked = Asked { snapshot: &snapshot, queries: &rows, terms: &terms, source, mode, threads };
        let mut answers = Vec::with_capacity(rows.len());
        asked.run(py, |found| answers.extend(found))?;
        Ok(answers.into_iter().map(PyHits::new).collect())
    }

    /// The row of an id.
    fn get(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<PyItem>> {
        let snapshot = self.snapshot(py)?;
        let id = id_from(id, self.schema.id_kind())?;
        Ok(py.detach(|| snapshot.get(&id)).or_raise(py)?.map(PyItem))
    }

    /// The rows of many ids.
    fn get_many(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<Vec<Option<PyItem>>> {
        let snapshot = self.snapshot(py)?;
        let ids = ids_from(ids, self.schema.id_kind())?;
        let mut items = Vec::with_capacity(ids.len());
        for some in ids.chunks(GOT_AT_ONCE) {
            let got = py.detach(|| some.iter().map(|id| snapshot.get(id)).collect::<stratavec::Result<Vec<_>>>());
            items.extend(got.or_raise(py)?.into_iter().map(|item| item.map(PyItem)));
            py.check_signals()?;
        }
        Ok(items)
    }

    /// Whether an id has a row.
    fn __contains__(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let snapshot = self.snapshot(py)?;
        let id = id_from(id, self.schema.id_kind())?;
        py.detach(|| snapshot.contains(&id)).or_raise(py)
    }

    /// Live rows.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(usize::try_from(self.snapshot(py)?.count()).unwrap_or(usize::MAX))
    }

    fn __bool__(&self) -> bool {
        // A handle of an empty collection is a handle all the same.
        true
    }

    /// All rows, in the order in which they were written.
    fn scan(&self, py: Python<'_>) -> PyResult<Scan> {
        Scan::start(py, self.snapshot(py)?)
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<Scan> {
        self.scan(py)
    }

    /// Sequence number of the last batch that is seen.
    #[getter]
    fn seq(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.snapshot(py)?.seq())
    }

    /// How hard searches look that do not say it, as arguments of a search.
    #[getter]
    fn default_effort<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        effort_dict(py, self.snapshot(py)?.default_effort())
    }

    /// A property that a bulk load has set.
    fn property<'py>(&self, py: Python<'py>, name: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let value = self.snapshot(py)?.property(&arguments::text(name, "name")?);
        Ok(value.map(|value| PyBytes::new(py, &value)))
    }

    #[getter]
    fn dim(&self) -> usize {
        self.schema.dim()
    }

    #[getter]
    fn metric(&self) -> &'static str {
        self.schema.metric().name()
    }

    /// What the collection is.
    #[getter(schema)]
    fn py_schema<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        crate::stats::schema_dict(py, &self.schema)
    }

    #[getter(path)]
    fn py_path(&self) -> &OsStr {
        self.path.as_os_str()
    }

    #[getter]
    fn closed(&self) -> bool {
        self.is_closed()
    }
}
