//! How a command ends when it does not end well: an exit code, and lines a person can act on.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::Path;

use serde_json::json;
use stratavec::{Error, ErrorKind, Outcome};

use crate::import::{ImportError, ImportErrorKind};

/// The exit codes; they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Fine = 0,
    /// Failed, or a check found something.
    Failed = 1,
    /// The command line cannot be meant.
    Usage = 2,
    /// What was named is missing, damaged or of a newer format.
    Missing = 3,
}

/// An error on its way to the user.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The class, a stable name used in JSON.
    pub kind: &'static str,
    /// What did not happen.
    pub error: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Lines that go on with the hint.
    pub more: Vec<String>,
}

impl Failure {
    /// A failure with a sentence.
    pub fn new(exit: Exit, kind: &'static str, error: impl Into<String>) -> Self {
        Failure { exit, kind, error: error.into(), causes: Vec::new(), hint: None, more: Vec::new() }
    }

    /// An argument that cannot be meant.
    pub fn usage(error: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", error)
    }

    /// Something that was tried and did not work, or a check that did not hold.
    pub fn failed(error: impl Into<String>) -> Self {
        Self::new(Exit::Failed, "failed", error)
    }

    /// The reader of our output went away: nobody to tell, nothing wrong.
    pub fn closed_pipe() -> Self {
        Self::new(Exit::Fine, "closed_pipe", "")
    }

    /// An operating-system error while doing `what` to `path`.
    pub fn io(what: &str, path: &Path, source: &io::Error) -> Self {
        let exit = if source.kind() == io::ErrorKind::NotFound { Exit::Missing } else { Exit::Failed };
        Self::new(exit, "io", format!("cannot {what} {}", path.display())).because(source.to_string())
    }

    /// Adds a cause behind those there are.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Sets the advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts what was being done in front; what went wrong becomes the first cause.
    #[must_use]
    pub fn while_doing(mut self, what: impl Into<String>) -> Self {
        let error = std::mem::replace(&mut self.error, what.into());
        self.causes.insert(0, error);
        self
    }

    /// An engine error about the collection at `path`, with advice in words of the command line.
    pub fn engine(error: &Error, path: &Path) -> Self {
        let mut failure = Failure::from(error);
        let path = path.display();
        failure.hint = advice(error.kind(), &path.to_string()).or(failure.hint);
        failure
    }

    /// The lines for people.
    pub fn text(&self) -> String {
        let mut text = format!("error: {}", printable(&self.error));
        for cause in &self.causes {
            text += &format!("\ncause: {}", printable(cause));
        }
        if let Some(hint) = &self.hint {
            text += &format!("\nhint: {}", printable(hint));
        }
        for line in &self.more {
            text += &format!("\n      {}", printable(line));
        }
        text
    }

    /// One line for programs.
    pub fn json(&self) -> String {
        json!({
            "error": {
                "kind": self.kind,
                "exit": self.exit as u8,
                "message": self.error,
                "causes": self.causes,
                "hint": self.hint,
            }
        })
        .to_string()
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let mut failure = Failure::new(exit_of(error), error.kind().name(), error.message());
        if error.kind() == ErrorKind::Corrupt {
            failure.causes.push(place(error));
        }
        let mut source = error.source();
        while let Some(cause) = source {
            match cause.downcast_ref::<Error>() {
                Some(engine) => failure.causes.push(engine.message().to_owned()),
                None => failure.causes.push(cause.to_string()),
            }
            source = cause.source();
        }
        if error.outcome() == Outcome::Unknown {
            failure.causes.push("the batch may or may not be there: the next open decides, wholly".into());
        }
        failure.hint = error.hint().map(str::to_owned);
        failure
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::from(&error)
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let (exit, kind) = match error.kind {
            ImportErrorKind::Missing => (Exit::Missing, "file_missing"),
            ImportErrorKind::Malformed => (Exit::Missing, "file_malformed"),
            ImportErrorKind::Value => (Exit::Failed, "record_refused"),
            ImportErrorKind::Options => (Exit::Usage, "usage"),
            ImportErrorKind::Io => (Exit::Failed, "io"),
        };
        let place = match error.place {
            crate::import::Place::File => String::new(),
            place => format!("{place}: "),
        };
        let mut failure = Failure::new(exit, kind, format!("cannot read {}", error.file));
        failure.causes.push(format!("{place}{}", error.message));
        failure.hint = error.hint;
        failure
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// Where in the files an error is.
fn place(error: &Error) -> String {
    let mut text = format!("file {}", error.file().unwrap_or("unknown"));
    if let Some(section) = error.section() {
        text += &format!(", section {section}");
    }
    if let Some(offset) = error.offset() {
        text += &format!(", offset {offset}");
    }
    text
}

fn exit_of(error: &Error) -> Exit {
    match error.kind() {
        // The path is a fine argument; what stands there is in the way.
        ErrorKind::InvalidArgument if error.argument_name() == Some("path") => Exit::Failed,
        ErrorKind::InvalidArgument | ErrorKind::SchemaMismatch => Exit::Usage,
        ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::UnsupportedVersion => Exit::Missing,
        _ => Exit::Failed,
    }
}

/// What to do about a kind of error in terms of this program; the engine's advice is for people who call it.
fn advice(kind: ErrorKind, path: &str) -> Option<String> {
    Some(match kind {
        ErrorKind::NotFound => format!("create it: stratavec create {path} --dim 384 --metric cosine"),
        ErrorKind::AlreadyExists => format!("see what is there: stratavec stats {path}"),
        ErrorKind::Locked => "one process writes at a time; try again when the other one has ended".into(),
        ErrorKind::Busy => "run the command again".into(),
        ErrorKind::Corrupt => format!("list all damage: stratavec verify {path}"),
        ErrorKind::UnsupportedVersion => "use a newer stratavec for this collection".into(),
        ErrorKind::NoSpace => "free some space and run the command again; what was committed is there".into(),
        ErrorKind::Poisoned => "run the command again: opening the collection recovers it".into(),
        _ => return None,
    })
}

/// Text with control characters escaped, so that no file content can steer the terminal.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_decide_exit_codes() {
        for (kind, exit) in [
            (ErrorKind::InvalidArgument, Exit::Usage),
            (ErrorKind::NotFound, Exit::Missing),
            (ErrorKind::Corrupt, Exit::Missing),
            (ErrorKind::UnsupportedVersion, Exit::Missing),
            (ErrorKind::AlreadyExists, Exit::Failed),
            (ErrorKind::Locked, Exit::Failed),
            (ErrorKind::NoSpace, Exit::Failed),
            (ErrorKind::Io, Exit::Failed),
        ] {
            assert_eq!(Failure::from(Error::new(kind, "x")).exit, exit, "{kind:?}");
        }
    }

    #[test]
    fn corruption_names_its_place_and_what_to_do() {
        let error = Error::corrupt("row-00", "vectors", 4096, "checksum does not match");
        let text = Failure::engine(&error, Path::new("my.db")).text();
        assert_eq!(
            text,
            "error: checksum does not match\ncause: file row-00, section vectors, offset 4096\n\
             hint: list all damage: stratavec verify my.db"
        );
    }

    #[test]
    fn causes_are_told_once_each_outermost_first() {
        let denied = io::Error::new(io::ErrorKind::PermissionDenied, "permission denied");
        let text = Failure::from(Error::io("open", "man-01", denied)).while_doing("cannot open the collection").text();
        assert_eq!(text, "error: cannot open the collection\ncause: cannot open man-01\ncause: permission denied");
    }

    #[test]
    fn file_content_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\n");
    }
}
