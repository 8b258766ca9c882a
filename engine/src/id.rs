//! The user's key: a number or a byte string, one kind per collection.

use std::borrow::Cow;
use std::fmt;

use crate::error::{Error, Result};

/// Longest byte id, in bytes.
pub const MAX_ID_BYTES: usize = 512;

/// Which kind of id a collection uses. Fixed when the collection is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum IdKind {
    /// Unsigned 64-bit numbers. `u64::MAX` is reserved: array results use it for "no hit".
    U64,
    /// Byte strings of 1..=512 bytes; strings are their UTF-8 bytes.
    #[default]
    Bytes,
}

impl IdKind {
    /// The name used in JSON, on the command line and in error texts.
    pub fn name(self) -> &'static str {
        match self {
            IdKind::U64 => "u64",
            IdKind::Bytes => "bytes",
        }
    }
}

/// An id, owned. Ordered numerically (`U64`) or bytewise (`Bytes`): the order that breaks ties between equal distances.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// A number.
    U64(u64),
    /// A byte string.
    Bytes(Box<[u8]>),
}

/// An id, borrowed: what calls accept and what filters are given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdRef<'a> {
    /// A number.
    U64(u64),
    /// A byte string.
    Bytes(&'a [u8]),
}

impl Id {
    /// The borrowed form.
    pub fn as_ref(&self) -> IdRef<'_> {
        match self {
            Id::U64(n) => IdRef::U64(*n),
            Id::Bytes(b) => IdRef::Bytes(b),
        }
    }

    /// The number, if this is one.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Id::U64(n) => Some(*n),
            Id::Bytes(_) => None,
        }
    }

    /// The bytes, if this is a byte string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Id::U64(_) => None,
            Id::Bytes(b) => Some(b),
        }
    }

    /// The id as text: the number, or the bytes as UTF-8 with other bytes escaped as `\xNN`.
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Id::U64(n) => Cow::Owned(n.to_string()),
            Id::Bytes(b) => match std::str::from_utf8(b) {
                Ok(s) => Cow::Borrowed(s),
                Err(_) => Cow::Owned(b.escape_ascii().to_string()),
            },
        }
    }
}

impl<'a> IdRef<'a> {
    /// The kind of this id.
    pub fn kind(self) -> IdKind {
        match self {
            IdRef::U64(_) => IdKind::U64,
            IdRef::Bytes(_) => IdKind::Bytes,
        }
    }

    /// An owned copy.
    pub fn to_owned(self) -> Id {
        match self {
            IdRef::U64(n) => Id::U64(n),
            IdRef::Bytes(b) => Id::Bytes(b.into()),
        }
    }

    /// Checks this id against the collection's kind and the limits.
    ///
    /// # Errors
    /// `InvalidArgument` naming `id` for the wrong kind, `u64::MAX`, an empty or an over-long byte string.
    pub fn check(self, kind: IdKind) -> Result<()> {
        match (self, kind) {
            (IdRef::U64(u64::MAX), IdKind::U64) => {
                Err(Error::argument("id", "u64::MAX is reserved; use 0..=18446744073709551614"))
            }
            (IdRef::U64(_), IdKind::U64) => Ok(()),
            (IdRef::Bytes(b), IdKind::Bytes) if b.is_empty() || b.len() > MAX_ID_BYTES => {
                Err(Error::argument("id", format!("is {} bytes long; use 1..={MAX_ID_BYTES} bytes", b.len())))
            }
            (IdRef::Bytes(_), IdKind::Bytes) => Ok(()),
            (given, want) => Err(Error::argument(
                "id",
                format!("is of kind {}; this collection's ids are {}", given.kind().name(), want.name()),
            )),
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Debug for IdRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdRef::U64(n) => write!(f, "{n}"),
            IdRef::Bytes(b) => write!(f, "\"{}\"", b.escape_ascii()),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl PartialEq<u64> for Id {
    fn eq(&self, other: &u64) -> bool {
        self.as_u64() == Some(*other)
    }
}

impl PartialEq<str> for Id {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == Some(other.as_bytes())
    }
}

impl PartialEq<&str> for Id {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

macro_rules! from_bytes_like {
    ($($source:ty => |$value:ident| $bytes:expr;)*) => {$(
        impl<'a> From<$source> for IdRef<'a> {
            fn from($value: $source) -> Self { IdRef::Bytes($bytes) }
        }
    )*};
}
from_bytes_like! {
    &'a str => |s| s.as_bytes();
    &'a String => |s| s.as_bytes();
    &'a [u8] => |b| b;
    &'a Vec<u8> => |b| b;
}

impl<'a, const N: usize> From<&'a [u8; N]> for IdRef<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        IdRef::Bytes(bytes)
    }
}

impl From<u64> for IdRef<'_> {
    fn from(n: u64) -> Self {
        IdRef::U64(n)
    }
}

impl<'a> From<&'a Id> for IdRef<'a> {
    fn from(id: &'a Id) -> Self {
        id.as_ref()
    }
}

impl From<IdRef<'_>> for Id {
    fn from(id: IdRef<'_>) -> Self {
        id.to_owned()
    }
}

impl From<u64> for Id {
    fn from(n: u64) -> Self {
        Id::U64(n)
    }
}

impl From<&str> for Id {
    fn from(s: &str) -> Self {
        Id::Bytes(s.as_bytes().into())
    }
}

impl From<String> for Id {
    fn from(s: String) -> Self {
        Id::Bytes(s.into_bytes().into())
    }
}

impl From<Vec<u8>> for Id {
    fn from(b: Vec<u8>) -> Self {
        Id::Bytes(b.into())
    }
}
