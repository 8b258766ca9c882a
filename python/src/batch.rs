//! A batch: writes that happen together or not at all.

use std::borrow::Cow;

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::collection::{PyCollection, base, commit, schema_of};
use crate::error::refuse;
use crate::ids::ids_from;
use crate::reports::Receipt;
use crate::rows::{Given, Step};

/// What was asked for so far. Arguments are read and copied by the call that gives them; what only the engine can tell, the
/// commit does.
#[pyclass(frozen, name = "Batch", module = "stratavec")]
pub struct PyBatch {
    collection: Py<PyCollection>,
    durability: Option<String>,
    state: Mutex<State>,
}

enum State {
    Open(Vec<Step<'static>>),
    Committed(Receipt),
    Discarded,
}

impl PyBatch {
    /// An empty one.
    pub fn new(collection: Py<PyCollection>, durability: Option<String>) -> Self {
        PyBatch { collection, durability, state: Mutex::new(State::Open(Vec::new())) }
    }

    fn add(&self, py: Python<'_>, step: Step<'static>) -> PyResult<()> {
        // The lock is let go of before an exception is made: that runs Python, which may run other threads that want the lock.
        let problem = match &mut *self.state.lock() {
            State::Open(steps) => {
                steps.push(step);
                return Ok(());
            }
            State::Committed(_) => "was committed; begin another one",
            State::Discarded => "was discarded; begin another one",
        };
        Err(refuse(py, "batch", problem))
    }

    /// What there is to commit, taken out; or why there is nothing.
    fn close(&self) -> Result<Vec<Step<'static>>, &'static str> {
        let state = &mut *self.state.lock();
        match state {
            State::Open(steps) => {
                let steps = std::mem::take(steps);
                *state = State::Discarded;
                Ok(steps)
            }
            State::Committed(_) => Err("was committed already"),
            State::Discarded => Err("was discarded"),
        }
    }

    fn put(&self, py: Python<'_>, given: &Given<'_, '_>, insert: bool) -> PyResult<()> {
        let (facts, held) = given.read(py, schema_of(self.collection.bind(py)))?;
        self.add(py, Step::Put { facts, vectors: Cow::Owned(held.slice()?.to_vec()), insert })
    }
}

#[pymethods]
impl PyBatch {
    /// Writes rows, replacing those that have these ids.
    #[pyo3(signature = (ids, vectors, attributes=None, payloads=None))]
    fn upsert(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        attributes: Option<&Bound<'_, PyAny>>,
        payloads: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.put(py, &Given { ids, vectors, attributes, payloads }, false)
    }

    /// Writes rows whose ids must not be there.
    #[pyo3(signature = (ids, vectors, attributes=None, payloads=None))]
    fn insert(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        attributes: Option<&Bound<'_, PyAny>>,
        payloads: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.put(py, &Given { ids, vectors, attributes, payloads }, true)
    }

    /// Deletes the rows of these ids.
    fn delete(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<()> {
        let ids = ids_from(ids, schema_of(self.collection.bind(py)).id_kind())?;
        self.add(py, Step::Delete(ids))
    }

    /// Commits. The end of a `with` block does it, too.
    #[pyo3(signature = (*, durability=None))]
    fn commit(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = crate::arguments::durability)] durability: Option<String>,
    ) -> PyResult<Receipt> {
        let steps = self.close().map_err(|problem| refuse(py, "batch", problem))?;
        let receipt = commit(self.collection.bind(py), steps, durability.as_deref().or(self.durability.as_deref()))?;
        let receipt = Receipt::from(&receipt);
        *self.state.lock() = State::Committed(receipt.clone());
        Ok(receipt)
    }

    /// Forgets everything.
    fn discard(&self) {
        let mut state = self.state.lock();
        if let State::Open(_) = *state {
            *state = State::Discarded;
        }
    }

    /// What the commit did; `None` before it.
    #[getter]
    fn receipt(&self) -> Option<Receipt> {
        match &*self.state.lock() {
            State::Committed(receipt) => Some(receipt.clone()),
            _ => None,
        }
    }

    /// Writes and deletes asked for so far.
    fn __len__(&self) -> usize {
        match &*self.state.lock() {
            State::Open(steps) => steps.iter().map(Step::len).sum(),
            _ => 0,
        }
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*raised))]
    fn __exit__(&self, py: Python<'_>, raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        let failed = raised.get_item(0).is_ok_and(|kind| !kind.is_none());
        let open = matches!(&*self.state.lock(), State::Open(_));
        match (failed, open) {
            (true, _) => self.discard(),
            (false, true) => self.commit(py, None).map(drop)?,
            (false, false) => {}
        }
        Ok(())
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let path = base(self.collection.bind(py)).path().display();
        match &*self.state.lock() {
            State::Open(steps) => {
                format!("<stratavec.Batch of {} for {path}>", steps.iter().map(Step::len).sum::<usize>())
            }
            State::Committed(receipt) => format!("<stratavec.Batch for {path}, committed as {}>", receipt.seq),
            State::Discarded => format!("<stratavec.Batch for {path}, discarded>"),
        }
    }
}
