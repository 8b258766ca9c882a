//! How much a thread stands back where processors are scarce.

/// A search or a commit gets nine times the time that a thread of upkeep gets, if both want one processor.
#[cfg(target_os = "linux")]
const STEPS: i32 = 10;

/// The calling thread, and those that it starts from now on, stand back behind others. Where the system knows niceness of whole processes
/// only, and where it refuses, all stays as it is.
pub(crate) fn stand_back() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(STEPS);
}
