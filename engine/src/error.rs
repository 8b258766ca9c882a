//! One error for the whole engine: a kind to act on, and everything a person needs to find the cause.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, as a class. Fronts map kinds, never texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is outside what the call accepts. Nothing changed.
    InvalidArgument,
    /// `insert` of an id that is present, or given twice in one batch. Nothing of the batch was applied.
    AlreadyExists,
    /// There is no collection at this place.
    NotFound,
    /// The options of an open call disagree with what the collection was created with.
    SchemaMismatch,
    /// The batch is larger than one log record may be (64 MiB encoded).
    BatchTooLarge,
    /// Another handle, here or in another process, is the writer.
    Locked,
    /// A writer replaced files faster than they could be opened for reading. Trying again may help.
    Busy,
    /// Bytes on disk are not what was written there. The error names file, section and offset.
    Corrupt,
    /// The files were written by a newer format than this build reads.
    UnsupportedVersion,
    /// The device or quota is full. Nothing changed, unless [`Error::outcome`] says otherwise.
    NoSpace,
    /// The operating system refused a call.
    Io,
    /// A sync failed earlier; this handle takes no more writes. Reopen to go on.
    Poisoned,
    /// The handle was closed.
    Closed,
    /// Work was cancelled. A search whose deadline passes is none of these errors: it says `cut_short`.
    Cancelled,
    /// The work needs more memory than `memory_budget` leaves. Nothing changed.
    OverBudget,
    /// A source of vectors that a search was given failed; its own error is the cause.
    Source,
}

impl ErrorKind {
    /// A stable lower-case name, used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::InvalidArgument => "invalid_argument",
            ErrorKind::AlreadyExists => "already_exists",
            ErrorKind::NotFound => "not_found",
            ErrorKind::SchemaMismatch => "schema_mismatch",
            ErrorKind::BatchTooLarge => "batch_too_large",
            ErrorKind::Locked => "locked",
            ErrorKind::Busy => "busy",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::UnsupportedVersion => "unsupported_version",
            ErrorKind::NoSpace => "no_space",
            ErrorKind::Io => "io",
            ErrorKind::Poisoned => "poisoned",
            ErrorKind::Closed => "closed",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::OverBudget => "over_budget",
            ErrorKind::Source => "source",
        }
    }
}

/// What a failed `commit` left behind (contract C4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The batch is absent, now and after every recovery.
    NotCommitted,
    /// After reopening, the batch is wholly present or wholly absent.
    Unknown,
}

/// An error with its kind, its place and its cause. Cheap to clone: waiting commits share one.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    argument: Option<String>,
    file: Option<String>,
    section: Option<&'static str>,
    offset: Option<u64>,
    hint: Option<String>,
    outcome: Outcome,
    sync_failed: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of a kind with a sentence that says what happened.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Arc::new(Inner {
            kind,
            message: message.into(),
            argument: None,
            file: None,
            section: None,
            offset: None,
            hint: None,
            outcome: Outcome::NotCommitted,
            sync_failed: false,
            source: None,
        }))
    }

    /// `InvalidArgument`: `name` is the argument, `problem` says what is wrong and what is accepted.
    pub fn argument(name: impl Into<String>, problem: impl fmt::Display) -> Self {
        let name = name.into();
        let mut error = Error::new(ErrorKind::InvalidArgument, format!("{name} {problem}"));
        error.edit().argument = Some(name);
        error
    }

    /// `Corrupt`: `what` says what was expected and what was found.
    pub fn corrupt(file: impl fmt::Display, section: &'static str, offset: u64, what: impl Into<String>) -> Self {
        let mut error = Error::new(ErrorKind::Corrupt, what);
        let inner = error.edit();
        inner.file = Some(file.to_string());
        inner.section = Some(section);
        inner.offset = Some(offset);
        error
    }

    /// An operating-system error while doing `what` to `file`. Out-of-space errors become `NoSpace`.
    pub fn io(what: &str, file: impl fmt::Display, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
            _ => ErrorKind::Io,
        };
        let mut error = Error::new(kind, format!("cannot {what} {file}"));
        let inner = error.edit();
        inner.file = Some(file.to_string());
        inner.source = Some(Arc::new(source));
        error
    }

    /// A source of vectors failed.
    pub(crate) fn of_source(source: Box<dyn std::error::Error + Send + Sync>) -> Self {
        let mut error = Error::new(ErrorKind::Source, "the source given to rerank_with failed");
        error.edit().source = Some(Arc::from(source));
        error
    }

    /// A failed sync of `file`: whether its bytes are on the disk is unknown, and the sync must not be tried again.
    pub(crate) fn sync_failed(file: impl fmt::Display, source: io::Error) -> Self {
        let mut error = Error::io("sync", file, source);
        error.edit().sync_failed = true;
        error
    }

    /// Whether this error is a failed sync, which ends a handle's writes.
    pub(crate) fn is_sync_failure(&self) -> bool {
        self.0.sync_failed
    }

    /// Adds one sentence of advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.edit().hint = Some(hint.into());
        self
    }

    /// Sets what the failed commit left behind.
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.edit().outcome = outcome;
        self
    }

    /// Wraps this error as the cause of another one, keeping its place; and, if that is of the same kind, what it says of arguments and cures.
    #[must_use]
    pub fn caused(self, kind: ErrorKind, message: impl Into<String>) -> Self {
        let mut error = Error::new(kind, message);
        let inner = error.edit();
        inner.file = self.0.file.clone();
        inner.section = self.0.section;
        inner.offset = self.0.offset;
        inner.sync_failed = self.0.sync_failed;
        if kind == self.kind() {
            inner.argument = self.0.argument.clone();
            inner.hint = self.0.hint.clone();
        }
        inner.source = Some(Arc::new(self));
        error
    }

    fn edit(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    /// The class of this error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The argument that was refused, for `InvalidArgument`.
    pub fn argument_name(&self) -> Option<&str> {
        self.0.argument.as_deref()
    }

    /// The file this is about, relative to the collection's directory.
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The section of the file, by its name in the format specification.
    pub fn section(&self) -> Option<&'static str> {
        self.0.section
    }

    /// The byte offset in the file.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// One sentence of advice, if there is any.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// For errors of `commit`: whether the batch can still appear after reopening.
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// The sentence without place, cause and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if self.0.kind == ErrorKind::Corrupt {
            let file = self.0.file.as_deref().unwrap_or("?");
            write!(f, " (file {file}")?;
            if let Some(section) = self.0.section {
                write!(f, ", section {section}")?;
            }
            if let Some(offset) = self.0.offset {
                write!(f, ", offset {offset}")?;
            }
            f.write_str(")")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        }
    }
}
