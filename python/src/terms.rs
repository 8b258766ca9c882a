//! What a search is told beside its queries.

use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use stratavec::{Effort, Filter, IdKind, Include};

use crate::error::refuse;
use crate::filter::chosen;

/// How hard to look, as it was said.
#[derive(Default)]
pub struct Said {
    pub recall: Option<f32>,
    pub nprobe: Option<usize>,
    pub patience: Option<usize>,
    pub confidence: Option<f32>,
    pub exact: bool,
}

impl Said {
    /// The engine's word for it; `None`: its default.
    pub fn effort(&self, py: Python<'_>) -> PyResult<Option<Effort>> {
        let ways = [self.recall.is_some(), self.nprobe.is_some(), self.confidence.is_some(), self.exact];
        if ways.into_iter().filter(|said| *said).count() > 1 {
            return Err(refuse(py, "effort", "is said twice; use one of recall, nprobe, confidence and exact"));
        }
        if self.patience.is_some() && self.nprobe.is_none() {
            return Err(refuse(py, "patience", "goes with nprobe"));
        }
        Ok(match self {
            Said { exact: true, .. } => Some(Effort::Exact),
            Said { recall: Some(part), .. } => Some(Effort::Recall(*part)),
            Said { confidence: Some(part), .. } => Some(Effort::Confidence(*part)),
            Said { nprobe: Some(nprobe), patience, .. } => {
                Some(Effort::Probe { nprobe: *nprobe, patience: patience.unwrap_or(usize::MAX) })
            }
            _ => None,
        })
    }
}

/// An effort as the arguments that say it.
pub fn effort_dict(py: Python<'_>, effort: Effort) -> PyResult<Bound<'_, PyDict>> {
    let said = PyDict::new(py);
    match effort {
        Effort::Recall(part) => said.set_item("recall", short(part))?,
        Effort::Confidence(part) => said.set_item("confidence", short(part))?,
        Effort::Probe { nprobe, patience } => {
            said.set_item("nprobe", nprobe)?;
            if patience != usize::MAX {
                said.set_item("patience", patience)?;
            }
        }
        _ => said.set_item("exact", true)?,
    }
    Ok(said)
}

/// The number that people wrote, and not what 32 bits made of it: 0.95 and not 0.949999988.
fn short(part: f32) -> f64 {
    part.to_string().parse().unwrap_or(f64::from(part))
}

/// Everything but the queries, ready for the engine.
pub struct Terms {
    pub k: usize,
    pub effort: Option<Effort>,
    pub filter: Option<Filter>,
    /// Whether the filter calls Python.
    pub asks: bool,
    pub max_distance: Option<f32>,
    pub include: Include,
    pub deadline: Option<Duration>,
    pub candidates: Option<usize>,
}

/// Sets the terms of a search of either kind.
macro_rules! apply {
    ($search:expr, $terms:expr) => {{
        let terms = $terms;
        let mut search = $search.k(terms.k).include(terms.include);
        if let Some(effort) = terms.effort {
            search = search.effort(effort);
        }
        if let Some(filter) = &terms.filter {
            search = search.filter(filter.clone());
        }
        if let Some(distance) = terms.max_distance {
            search = search.max_distance(distance);
        }
        if let Some(time) = terms.deadline {
            search = search.deadline(time);
        }
        if let Some(count) = terms.candidates {
            search = search.candidates(count);
        }
        search
    }};
}
pub(crate) use apply;

impl Terms {
    /// Reads the arguments of a search.
    #[expect(clippy::too_many_arguments, reason = "they are the arguments of the Python call")]
    pub fn new(
        py: Python<'_>,
        kind: IdKind,
        k: usize,
        said: &Said,
        ids: Option<&Bound<'_, PyAny>>,
        filter: Option<&Bound<'_, PyAny>>,
        max_distance: Option<f32>,
        include: Option<&Bound<'_, PyAny>>,
        deadline: Option<Duration>,
        candidates: Option<usize>,
    ) -> PyResult<Terms> {
        let chosen = match (ids, filter) {
            (None, None) => None,
            _ => Some(chosen(ids, filter, kind)?),
        };
        Ok(Terms {
            k,
            effort: said.effort(py)?,
            asks: chosen.as_ref().is_some_and(|chosen| chosen.asks),
            filter: chosen.and_then(|chosen| chosen.filter),
            max_distance,
            include: include.map_or(Ok(Include::NONE), include_from)?,
            deadline,
            candidates,
        })
    }
}

/// One name or several.
fn include_from(given: &Bound<'_, PyAny>) -> PyResult<Include> {
    if given.is_instance_of::<PyString>() {
        return included(given);
    }
    given.try_iter()?.try_fold(Include::NONE, |all, name| Ok(all | included(&name?)?))
}

fn included(name: &Bound<'_, PyAny>) -> PyResult<Include> {
    let Ok(text) = name.cast::<PyString>() else {
        return Err(PyTypeError::new_err("include takes names: \"vector\", \"attributes\", \"payload\""));
    };
    let known = [("vector", Include::VECTOR), ("attributes", Include::ATTRIBUTES), ("payload", Include::PAYLOAD)];
    crate::options::named(name.py(), "include", &text.to_cow()?, &known)
}
