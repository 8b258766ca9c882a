//! Walking over all rows of a snapshot.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};

use parking_lot::Mutex;
use pyo3::prelude::*;
use stratavec::{Error, Item, Result, Snapshot};

use crate::error::OrRaise;
use crate::fork::Born;
use crate::hits::PyItem;
use crate::interrupt::BEAT;

/// Bytes of vectors that are read ahead at a time.
const AHEAD_BYTES: usize = 256 << 10;

/// An iterator over rows. A thread reads some of them ahead; it ends with the iterator.
#[pyclass(frozen, name = "Scan", module = "stratavec")]
pub struct Scan {
    state: Mutex<State>,
    born: Born,
}

struct State {
    ready: std::vec::IntoIter<Result<Item>>,
    /// `None` once it has given all it had.
    coming: Option<Receiver<Vec<Result<Item>>>>,
}

impl Scan {
    /// Begins. Few rows are read at once.
    pub fn start(py: Python<'_>, snapshot: Snapshot) -> PyResult<Scan> {
        let rows = (AHEAD_BYTES / snapshot.schema().vector_bytes().max(1)).clamp(1, 4096);
        if snapshot.count() <= rows as u64 {
            let ready = py.detach(|| snapshot.iter().collect::<Vec<_>>()).into_iter();
            return Ok(Scan { state: Mutex::new(State { ready, coming: None }), born: Born::here() });
        }
        let (give, coming) = sync_channel(2);
        std::thread::Builder::new()
            .name("stratavec-scan".into())
            .spawn(move || {
                let mut items = snapshot.iter();
                loop {
                    let some: Vec<Result<Item>> = items.by_ref().take(rows).collect();
                    // A damaged row ends the walk: what comes behind it in the file may be anything.
                    let last = some.len() < rows || some.iter().any(Result::is_err);
                    if give.send(some).is_err() || last {
                        return;
                    }
                }
            })
            .map_err(|error| Error::io("start", "a thread", error))
            .or_raise(py)?;
        Ok(Scan {
            state: Mutex::new(State { ready: Vec::new().into_iter(), coming: Some(coming) }),
            born: Born::here(),
        })
    }

    fn step(state: &mut State) -> Step {
        if let Some(item) = state.ready.next() {
            return Step::Item(Box::new(item));
        }
        let Some(coming) = &state.coming else { return Step::End };
        match coming.recv_timeout(BEAT) {
            Ok(some) => state.ready = some.into_iter(),
            Err(RecvTimeoutError::Timeout) => return Step::Wait,
            Err(RecvTimeoutError::Disconnected) => state.coming = None,
        }
        Self::step(state)
    }
}

enum Step {
    Item(Box<Result<Item>>),
    Wait,
    End,
}

#[pymethods]
impl Scan {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyItem>> {
        self.born.check(py)?;
        loop {
            match py.detach(|| Self::step(&mut self.state.lock())) {
                Step::Item(item) => return (*item).or_raise(py).map(|item| Some(PyItem(item))),
                Step::End => return Ok(None),
                Step::Wait => py.check_signals()?,
            }
        }
    }
}
