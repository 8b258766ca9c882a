//! One call through the storage traits, as the test kit names it.

use std::fmt;

use crate::storage::FileName;

/// Which method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the trait method of the same name")]
pub enum Op {
    Create,
    Open,
    Publish,
    LinkFrom,
    Remove,
    List,
    SyncDir,
    Lock,
    FreeBytes,
    Nonce,
    Len,
    ReadAt,
    WriteAt,
    Reserve,
    Truncate,
    Sync,
    Seal,
    Map,
}

impl Op {
    /// Every method, in the order of the traits.
    pub const ALL: [Op; 18] = [
        Op::Create,
        Op::Open,
        Op::Publish,
        Op::LinkFrom,
        Op::Remove,
        Op::List,
        Op::SyncDir,
        Op::Lock,
        Op::FreeBytes,
        Op::Nonce,
        Op::Len,
        Op::ReadAt,
        Op::WriteAt,
        Op::Reserve,
        Op::Truncate,
        Op::Sync,
        Op::Seal,
        Op::Map,
    ];
}

/// A call with its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Call {
    /// The method.
    pub op: Op,
    /// The file it is about (`publish`: the source); `None` for calls about the directory.
    pub name: Option<FileName>,
    /// `publish`: the target.
    pub target: Option<FileName>,
    /// Offset in bytes; `truncate`: the new length.
    pub at: u64,
    /// Bytes asked for.
    pub len: u64,
}

impl Call {
    pub(super) const fn dir(op: Op) -> Call {
        Call { op, name: None, target: None, at: 0, len: 0 }
    }

    pub(super) const fn file(op: Op, name: FileName) -> Call {
        Call { op, name: Some(name), target: None, at: 0, len: 0 }
    }

    pub(super) const fn range(op: Op, name: FileName, at: u64, len: u64) -> Call {
        Call { op, name: Some(name), target: None, at, len }
    }

    pub(super) const fn publish(from: FileName, to: FileName) -> Call {
        Call { op: Op::Publish, name: Some(from), target: Some(to), at: 0, len: 0 }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.op)?;
        if let Some(name) = self.name {
            write!(f, " {name}")?;
        }
        if let Some(target) = self.target {
            write!(f, " -> {target}")?;
        }
        match self.op {
            Op::ReadAt | Op::WriteAt | Op::Reserve => write!(f, " {}+{}", self.at, self.len),
            Op::Truncate => write!(f, " to {}", self.at),
            _ => Ok(()),
        }
    }
}
