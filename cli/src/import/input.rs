//! The bytes of a file or of standard input, counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{ImportError, MAX_LINE_BYTES, Place};

/// Bytes read so far; can be watched while a source reads.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<AtomicU64>);

impl Meter {
    /// Bytes taken from the file so far.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A named, buffered, counted stream of bytes.
pub struct Input {
    name: String,
    len: Option<u64>,
    offset: u64,
    meter: Meter,
    reader: Box<dyn BufRead>,
}

impl Input {
    /// A regular file, or standard input for `-`.
    ///
    /// # Errors
    /// [`ImportError`] naming the file if it cannot be opened or is a directory.
    pub fn open(path: &Path) -> Result<Input, ImportError> {
        if path.as_os_str() == "-" {
            return Ok(Input::new("standard input", io::stdin(), None));
        }
        let name = path.display().to_string();
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (facts, file) = opened.map_err(|e| ImportError::io(&name, Place::File, &e))?;
        if facts.is_dir() {
            return Err(ImportError::malformed(&name, Place::File, "is a directory, not a file"));
        }
        let len = facts.is_file().then_some(facts.len());
        Ok(Input::new(&name, file, len))
    }

    /// Any stream; `len` if the number of bytes is known.
    pub fn new(name: &str, reader: impl Read + 'static, len: Option<u64>) -> Input {
        let reader = Box::new(BufReader::with_capacity(256 << 10, reader));
        Input { name: name.to_owned(), len, offset: 0, meter: Meter::default(), reader }
    }

    /// Bytes in memory.
    pub fn from_bytes(name: &str, bytes: impl Into<Vec<u8>>) -> Input {
        let bytes = bytes.into();
        let len = bytes.len() as u64;
        Input::new(name, io::Cursor::new(bytes), Some(len))
    }

    /// The name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Total bytes, if known.
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Whether the input is known to have no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == Some(0)
    }

    /// Bytes taken so far: the offset of the next byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// A counter to watch from outside.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// Fills `buf` as far as the input goes; fewer bytes only at the end.
    ///
    /// # Errors
    /// [`ImportError`] of the operating system.
    pub fn fill(&mut self, buf: &mut [u8]) -> Result<usize, ImportError> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(ImportError::io(&self.name, Place::Offset(self.offset), &e)),
            }
        }
        self.advance(done);
        Ok(done)
    }

    /// Fills `buf`, or says how far the file went.
    ///
    /// # Errors
    /// `Malformed` naming `what` if the input ends first.
    pub fn exact(&mut self, buf: &mut [u8], what: &str) -> Result<(), ImportError> {
        let start = self.offset;
        let got = self.fill(buf)?;
        if got < buf.len() {
            let message = format!("the file ends inside {what}: {} bytes needed, {got} there", buf.len());
            return Err(ImportError::malformed(&self.name, Place::Offset(start), message));
        }
        Ok(())
    }

    /// Reads one line without its line end into `line`; `false` at the end of the input.
    ///
    /// # Errors
    /// `Malformed` at `place` for a line over [`MAX_LINE_BYTES`].
    pub fn line(&mut self, line: &mut Vec<u8>, place: Place) -> Result<bool, ImportError> {
        line.clear();
        if !self.line_piece(line, place)? {
            return Ok(false);
        }
        trim_line_end(line);
        Ok(true)
    }

    /// Appends one line with its line end to `line`; `false` at the end of the input.
    ///
    /// # Errors
    /// `Malformed` at `place` once `line` is longer than [`MAX_LINE_BYTES`].
    pub fn line_piece(&mut self, line: &mut Vec<u8>, place: Place) -> Result<bool, ImportError> {
        let room = (MAX_LINE_BYTES + 1).saturating_sub(line.len());
        let read = self.reader.by_ref().take(room as u64).read_until(b'\n', line);
        let read = read.map_err(|e| ImportError::io(&self.name, place, &e))?;
        self.advance(read);
        if line.len() > MAX_LINE_BYTES {
            let message = format!("is longer than {} MiB", MAX_LINE_BYTES >> 20);
            return Err(ImportError::malformed(&self.name, place, message));
        }
        Ok(read > 0)
    }

    fn advance(&mut self, bytes: usize) {
        self.offset += bytes as u64;
        self.meter.0.store(self.offset, Ordering::Relaxed);
    }
}

/// Cuts `\n` or `\r\n` off.
pub fn trim_line_end(line: &mut Vec<u8>) {
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
}
