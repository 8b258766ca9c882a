//! Bulk loads: this thread reads what Python has, a thread of the engine writes files.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use stratavec::{BulkItem, BulkLoad, BulkOptions, BulkReport, Collection, Error, ErrorKind, Result};

use crate::arguments::text;
use crate::error::{OrRaise, refuse};
use crate::interrupt::BEAT;
use crate::progress::{Teller, finish};
use crate::rows::{Facts, Given, bulk_item};

thread_local! {
    /// The collections that this thread loads rows into.
    static LOADING: RefCell<Vec<Weak<Collection>>> = const { RefCell::new(Vec::new()) };
}

/// A load of this thread, as long as it lasts.
struct Turn;

impl Turn {
    /// Begins one. Loads of a collection take turns: one that a source of rows or a callback begins would wait for its own end.
    fn begin(py: Python<'_>, call: &str, collection: &Arc<Collection>) -> PyResult<Turn> {
        check_free(py, call, collection)?;
        LOADING.with(|loading| loading.borrow_mut().push(Arc::downgrade(collection)));
        Ok(Turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        LOADING.with(|loading| loading.borrow_mut().pop());
    }
}

/// Refuses what would wait for a load that waits for this thread.
pub fn check_free(py: Python<'_>, call: &str, collection: &Arc<Collection>) -> PyResult<()> {
    let is_it = |loaded: &Weak<Collection>| std::ptr::eq(loaded.as_ptr(), Arc::as_ptr(collection));
    match LOADING.with(|loading| loading.borrow().iter().any(is_it)) {
        true => {
            Err(refuse(py, call, "is called by the rows or the progress of a bulk load; call it when that has ended"))
        }
        false => Ok(()),
    }
}

/// Bytes of vectors that are handed over at a time.
const PART_BYTES: usize = 1 << 20;

/// What is handed over: some rows, or the end. Without the end the load is given up.
enum Part {
    Rows(Vec<BulkItem>),
    End,
}

/// The engine's side: rows as they come.
struct Rows {
    coming: Receiver<Part>,
    ready: std::vec::IntoIter<BulkItem>,
    announced: usize,
    ended: bool,
}

impl Iterator for Rows {
    type Item = Result<BulkItem>;

    fn next(&mut self) -> Option<Result<BulkItem>> {
        loop {
            if let Some(item) = self.ready.next() {
                self.announced = self.announced.saturating_sub(1);
                return Some(Ok(item));
            }
            if self.ended {
                return None;
            }
            match self.coming.recv() {
                Ok(Part::Rows(some)) => self.ready = some.into_iter(),
                Ok(Part::End) => self.ended = true,
                Err(_) => {
                    self.ended = true;
                    return Some(Err(Error::new(ErrorKind::Cancelled, "the source of the rows gave up")));
                }
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.announced, None)
    }
}

/// Properties that the load sets.
pub fn options(properties: Option<&Bound<'_, PyDict>>) -> PyResult<BulkOptions> {
    let mut options = BulkOptions::new();
    for (name, value) in properties.into_iter().flatten() {
        let (Ok(name), Ok(value)) = (name.cast::<PyString>(), value.cast::<PyBytes>()) else {
            return Err(PyTypeError::new_err("properties are a dict of str and bytes"));
        };
        options = options.property(text(name, "properties")?, value.as_bytes());
    }
    Ok(options)
}

/// This thread's side.
struct Feed<'t> {
    load: BulkLoad,
    give: SyncSender<Part>,
    teller: &'t Teller,
    _turn: Turn,
}

impl<'t> Feed<'t> {
    fn start(
        py: Python<'_>,
        collection: Arc<Collection>,
        announced: usize,
        options: BulkOptions,
        teller: &'t Teller,
    ) -> PyResult<Self> {
        let turn = Turn::begin(py, "bulk_load", &collection)?;
        let (give, coming) = sync_channel(2);
        let rows = Rows { coming, ready: Vec::new().into_iter(), announced, ended: false };
        // The handle is let go of here: the load keeps what it needs, and `close` does not wait for this call.
        let load = py.detach(move || collection.bulk_load_with(rows, options)).or_raise(py)?;
        Ok(Feed { load, give, teller, _turn: turn })
    }

    /// Hands a part over. False: the load has ended early; `finish` tells why.
    fn give(&self, py: Python<'_>, part: Part) -> PyResult<bool> {
        let mut part = Some(part);
        loop {
            let tried = py.detach(|| self.try_for_a_beat(&mut part));
            if let Some(goes_on) = tried {
                return Ok(goes_on);
            }
            py.check_signals()?;
            self.teller.tell(py, self.load.progress())?;
        }
    }

    fn try_for_a_beat(&self, part: &mut Option<Part>) -> Option<bool> {
        let nap = Duration::from_millis(1);
        for _ in 0..BEAT.as_millis() / nap.as_millis() {
            match self.give.try_send(part.take()?) {
                Ok(()) => return Some(true),
                Err(TrySendError::Disconnected(_)) => return Some(false),
                Err(TrySendError::Full(back)) => *part = Some(back),
            }
            std::thread::sleep(nap);
        }
        None
    }

    /// Ends the load: with everything that `fed` gave, or with nothing if that failed.
    fn end(self, py: Python<'_>, fed: PyResult<bool>) -> PyResult<BulkReport> {
        let fed = fed.and_then(|goes_on| if goes_on { self.give(py, Part::End) } else { Ok(false) });
        if let Err(raised) = fed {
            self.load.cancel();
            let Feed { load, give, _turn, .. } = self;
            py.detach(move || {
                drop(give);
                // Cancelled; unless it was too late for that, and all of it is there.
                load.wait().map(drop)
            })
            .ok();
            return Err(raised);
        }
        let Feed { load, teller, _turn, .. } = self;
        finish(py, load, teller)
    }
}

/// Loads arrays.
pub fn arrays(
    py: Python<'_>,
    collection: Arc<Collection>,
    given: &Given<'_, '_>,
    options: BulkOptions,
    teller: &Teller,
) -> PyResult<BulkReport> {
    let schema = collection.schema().clone();
    let (mut facts, held) = given.read(py, &schema)?;
    let (vectors, dim) = (held.slice()?, schema.dim());
    let rows = (PART_BYTES / (dim * 4)).clamp(1, 8192);
    let feed = Feed::start(py, collection, facts.ids.len(), options, teller)?;
    let fed = (|| {
        for (part, vectors) in vectors.chunks(rows * dim).enumerate() {
            let items = py.detach(|| items_of(&mut facts, part * rows, vectors, dim));
            py.check_signals()?;
            teller.tell(py, feed.load.progress())?;
            if !feed.give(py, Part::Rows(items))? {
                return Ok(false);
            }
        }
        Ok(true)
    })();
    feed.end(py, fed)
}

fn items_of(facts: &mut Facts, from: usize, vectors: &[f32], dim: usize) -> Vec<BulkItem> {
    let mut items = Vec::with_capacity(vectors.len() / dim);
    for (at, vector) in (from..).zip(vectors.chunks_exact(dim)) {
        let (attributes, payload) = facts.take(at);
        let Some(id) = facts.ids.get_mut(at) else { break };
        let id = std::mem::replace(id, stratavec::Id::U64(0));
        let mut item = BulkItem::new(id, vector);
        if !attributes.is_empty() {
            item = item.attributes(attributes);
        }
        if !payload.is_empty() {
            item = item.payload(payload);
        }
        items.push(item);
    }
    items
}

/// Loads what an iterable yields.
pub fn items(
    py: Python<'_>,
    collection: Arc<Collection>,
    given: &Bound<'_, PyAny>,
    options: BulkOptions,
    teller: &Teller,
) -> PyResult<BulkReport> {
    let schema = collection.schema().clone();
    let announced = given.len().unwrap_or(0);
    let mut coming = given.try_iter()?;
    let rows = (PART_BYTES / (schema.dim() * 4)).clamp(1, 1024);
    let feed = Feed::start(py, collection, announced, options, teller)?;
    let fed = (|| loop {
        let mut part = Vec::with_capacity(rows);
        for item in coming.by_ref().take(rows) {
            part.push(bulk_item(&item?, &schema)?);
        }
        let last = part.len() < rows;
        py.check_signals()?;
        teller.tell(py, feed.load.progress())?;
        if !feed.give(py, Part::Rows(part))? {
            return Ok(false);
        }
        if last {
            return Ok(true);
        }
    })();
    feed.end(py, fed)
}
