//! What can be wrong with a file that is read, and where.

use std::fmt;

/// The class of an [`ImportError`]: what the exit code is chosen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportErrorKind {
    /// The file is not there.
    Missing,
    /// The file breaks the rules of its format, or ends too early.
    Malformed,
    /// The format is kept, but a value cannot be taken: text where a number is needed, an integer that does not fit.
    Value,
    /// The options do not fit the file, such as a column that is not there.
    Options,
    /// The operating system refused a call.
    Io,
}

/// A place in a file, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nothing closer is known.
    #[default]
    File,
    /// A byte offset, before the first record.
    Offset(u64),
    /// A record by its number (from 0) and the offset it starts at.
    Record {
        /// The number, from 0.
        number: u64,
        /// The offset of its first byte.
        offset: u64,
    },
    /// A line, from 1.
    Line(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File => f.write_str("the file"),
            Place::Offset(offset) => write!(f, "offset {offset}"),
            Place::Record { number, offset } => write!(f, "record {number}, offset {offset}"),
            Place::Line(line) => write!(f, "line {line}"),
        }
    }
}

/// Why a file cannot be read on.
#[derive(Debug)]
pub struct ImportError {
    /// The class.
    pub kind: ImportErrorKind,
    /// The file as the user named it.
    pub file: String,
    /// Where.
    pub place: Place,
    /// What was expected and what was found.
    pub message: String,
    /// What to do about it, if that is known.
    pub hint: Option<String>,
}

impl ImportError {
    /// An error of a kind at a place.
    pub fn new(kind: ImportErrorKind, file: &str, place: Place, message: impl Into<String>) -> Self {
        ImportError { kind, file: file.to_owned(), place, message: message.into(), hint: None }
    }

    /// The file breaks its format's rules.
    pub fn malformed(file: &str, place: Place, message: impl Into<String>) -> Self {
        Self::new(ImportErrorKind::Malformed, file, place, message)
    }

    /// A value cannot be taken.
    pub fn value(file: &str, place: Place, message: impl Into<String>) -> Self {
        Self::new(ImportErrorKind::Value, file, place, message)
    }

    /// The operating system refused a call.
    pub fn io(file: &str, place: Place, source: &std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => ImportErrorKind::Missing,
            _ => ImportErrorKind::Io,
        };
        Self::new(kind, file, place, source.to_string())
    }

    /// Adds advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::File => write!(f, "{}: {}", self.file, self.message),
            place => write!(f, "{}: {place}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for ImportError {}
