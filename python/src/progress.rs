//! Jobs that take long: told how far they are, ended by Ctrl-C.

use pyo3::prelude::*;
use pyo3::types::PyBool;
use stratavec::{BulkLoad, Job, Progress, Result, ScrubJob};

use crate::error::OrRaise;
use crate::interrupt::watched;

/// Tells a callback how far a job is: the caller's, or the bar of `stratavec/_progress.py`.
pub struct Teller {
    callback: Option<Py<PyAny>>,
    /// What has to be told of the end, if the callback is a bar.
    bar: Option<Py<PyAny>>,
}

impl Teller {
    /// `None`: a bar if standard error is a terminal; `True`: a bar; `False`: nothing; else a callable that is given what is done and
    /// what there is to do.
    pub fn new(py: Python<'_>, given: Option<&Bound<'_, PyAny>>, what: &str, unit: &str) -> PyResult<Teller> {
        let wanted = match given {
            Some(given) if !given.is_instance_of::<PyBool>() => {
                if !given.is_callable() {
                    return Err(crate::error::refuse(
                        py,
                        "progress",
                        "is True, False, None or a callable of (done, total)",
                    ));
                }
                return Ok(Teller { callback: Some(given.clone().unbind()), bar: None });
            }
            Some(given) => Some(given.is_truthy()?),
            None => None,
        };
        let bar = py.import("stratavec._progress")?.getattr("bar")?.call1((wanted, what, unit))?;
        if bar.is_none() {
            return Ok(Teller { callback: None, bar: None });
        }
        Ok(Teller { callback: Some(bar.getattr("update")?.unbind()), bar: Some(bar.unbind()) })
    }

    /// Tells.
    pub fn tell(&self, py: Python<'_>, progress: Progress) -> PyResult<()> {
        match &self.callback {
            Some(callback) => callback.bind(py).call1((progress.done, progress.total)).map(drop),
            None => Ok(()),
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        // A bar leaves its line whatever happened; if even that fails there is nobody to tell.
        if let Some(bar) = self.bar.take() {
            Python::try_attach(|py| bar.bind(py).call_method0("end").map(drop));
        }
    }
}

/// A job of the engine.
pub trait Watch: Sync {
    /// What it tells in the end.
    type Report: Send;
    /// How far it is.
    fn progress(&self) -> Progress;
    /// Asks it to stop.
    fn cancel(&self);
    /// Whether it has ended.
    fn is_finished(&self) -> bool;
    /// Waits for the end.
    fn wait(self) -> Result<Self::Report>;
}

macro_rules! watch {
    ($job:ty, $report:ty) => {
        impl Watch for $job {
            type Report = $report;
            fn progress(&self) -> Progress {
                <$job>::progress(self)
            }
            fn cancel(&self) {
                <$job>::cancel(self);
            }
            fn is_finished(&self) -> bool {
                <$job>::is_finished(self)
            }
            fn wait(self) -> Result<$report> {
                <$job>::wait(self)
            }
        }
    };
}

watch!(Job, stratavec::CompactReport);
watch!(BulkLoad, stratavec::BulkReport);
watch!(ScrubJob, stratavec::ScrubReport);

/// Waits for a job and tells how far it is; cancels it if a signal's handler or the callback raises.
pub fn finish<J: Watch + Send>(py: Python<'_>, job: J, teller: &Teller) -> PyResult<J::Report> {
    watched(py, || job.is_finished(), |py| teller.tell(py, job.progress()), || job.cancel())?;
    py.detach(|| job.wait()).or_raise(py)
}
