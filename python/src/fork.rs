//! Handles stay in the process that opened them: threads do not survive `fork()`, and two processes must not share a log.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// How often this process, as a child, came out of a fork since the first of its line loaded the package.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// The process that something was made in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Born(u64);

impl Born {
    /// In this process.
    pub fn here() -> Born {
        Born(GENERATION.load(Ordering::Relaxed))
    }

    /// Whether this is still that process.
    pub fn is_here(self) -> bool {
        self == Born::here()
    }

    /// Refuses calls in a child.
    pub fn check(self, py: Python<'_>) -> PyResult<()> {
        if self.is_here() { Ok(()) } else { Err(refusal(py)) }
    }
}

#[cold]
fn refusal(py: Python<'_>) -> PyErr {
    let make = || {
        let facts = PyDict::new(py);
        facts.set_item(
            "hint",
            "open the collection in this process, read-only if the parent writes; or start processes with spawn",
        )?;
        let what = "this handle was opened before the process was forked, and belongs to the parent";
        py.import("stratavec.errors")?.getattr("ForkedError")?.call((what,), Some(&facts))
    };
    make().map_or_else(|failed| failed, PyErr::from_value)
}

#[pyfunction]
fn _forked() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Has the interpreter tell of forks.
pub fn watch(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let forked = wrap_pyfunction!(_forked, module)?;
    let arguments = PyDict::new(module.py());
    arguments.set_item("after_in_child", forked)?;
    module.py().import("os")?.getattr("register_at_fork")?.call((), Some(&arguments)).map(drop)
}
