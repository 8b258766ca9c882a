//! The writer's lock: an advisory whole-file lock on `LOCK`.
//!
//! The standard library's `File::try_lock` is `flock` on Linux and macOS. Such a lock belongs to the open file, not to
//! the process: a second handle in the same process is refused like a stranger's, it ends when the last descriptor is
//! closed or the process dies however it dies, and no stale lock file can block anyone. The file is never removed,
//! because a lock on an unlinked file would exclude nobody.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use super::{LockGuard, LockOutcome};

/// Longer than any decimal process id.
const PID_BYTES: usize = 20;
/// How often a file without a number is read.
const LOOKS: u32 = 10;

/// Takes the lock on an open lock file without waiting, and writes our process id into it.
pub(super) fn take(file: File) -> io::Result<LockOutcome> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(LockOutcome::Busy { holder_pid: holder(&file) }),
        Err(TryLockError::Error(e)) => return Err(e),
    }
    // The number is for messages only: a full disk must not keep a writer out.
    let _ = write_pid(&file);
    Ok(LockOutcome::Held(Box::new(FileLock { file })))
}

/// The lock lives as long as this.
struct FileLock {
    file: File,
}

impl LockGuard for FileLock {}

impl Drop for FileLock {
    /// Closing alone would not do: a child process that another thread is just starting holds a copy of the descriptor
    /// until it runs its program, and with it the lock.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

fn write_pid(file: &File) -> io::Result<()> {
    // A second hard link means that the bytes are also somebody else's file: leave them alone.
    if file.metadata()?.nlink() != 1 {
        return Ok(());
    }
    let text = format!("{}\n", std::process::id());
    file.set_len(0)?;
    file.write_all_at(text.as_bytes(), 0)
}

/// The number in the file. A holder that has just taken the lock may not have written it yet: a few looks, a millisecond
/// apart, then the message does without.
fn holder(file: &File) -> Option<u32> {
    (0..LOOKS).find_map(|look| {
        if look > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        read_pid(file)
    })
}

fn read_pid(file: &File) -> Option<u32> {
    let mut bytes = [0u8; PID_BYTES];
    let count = file.read_at(&mut bytes, 0).ok()?;
    std::str::from_utf8(bytes.get(..count)?).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child process that is just being started has copies of all descriptors.
    #[test]
    fn a_copy_of_the_descriptor_does_not_keep_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let file = File::create_new(&path).unwrap();
        let _copy = file.try_clone().unwrap();
        let again = || take(File::options().read(true).write(true).open(&path).unwrap()).unwrap();
        let held = take(file).unwrap();
        assert!(matches!(again(), LockOutcome::Busy { .. }));
        drop(held);
        assert!(matches!(again(), LockOutcome::Held(_)));
    }
}
