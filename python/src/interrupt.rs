//! Ctrl-C in long calls.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use pyo3::prelude::*;
use stratavec::{Error, ErrorKind, Result};

use crate::error::OrRaise;

/// How long a signal may wait.
pub const BEAT: Duration = Duration::from_millis(50);

/// Does work in a thread of its own while this one looks for signals. If a signal's handler raises, the call ends at once; what
/// was begun goes on to its end in the background.
pub fn apart<T: Send + 'static>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send + 'static) -> PyResult<T> {
    let (done, told) = sync_channel(1);
    std::thread::Builder::new()
        .name("stratavec-call".into())
        .spawn(move || done.send(work()))
        .map_err(|error| Error::io("start", "a thread", error))
        .or_raise(py)?;
    // The receiver waits without the interpreter's lock; it can only be used by one thread.
    let told = parking_lot::Mutex::new(told);
    loop {
        match py.detach(|| told.lock().recv_timeout(BEAT)) {
            Ok(answer) => return answer.or_raise(py),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::new(ErrorKind::Io, "the work ended unexpectedly")).or_raise(py);
            }
        }
    }
}

/// Waits for a job, tells a callback ten times a second how far it is, and cancels it if the callback or a signal's handler
/// raises.
pub fn watched(
    py: Python<'_>,
    is_finished: impl Fn() -> bool + Sync,
    mut beat: impl FnMut(Python<'_>) -> PyResult<()>,
    cancel: impl Fn(),
) -> PyResult<()> {
    loop {
        let finished = py.detach(|| wait_for(&is_finished, BEAT));
        if let Err(raised) = py.check_signals().and_then(|()| beat(py)) {
            cancel();
            py.detach(|| while !wait_for(&is_finished, BEAT) {});
            return Err(raised);
        }
        if finished {
            return Ok(());
        }
    }
}

/// Whether it is finished within a time. Short jobs are not kept waiting.
fn wait_for(is_finished: &impl Fn() -> bool, time: Duration) -> bool {
    let mut nap = Duration::from_micros(100);
    let mut slept = Duration::ZERO;
    while !is_finished() {
        if slept >= time {
            return false;
        }
        std::thread::sleep(nap);
        slept += nap;
        nap = (nap * 2).min(Duration::from_millis(10));
    }
    true
}
