//! File names: built from numbers, never from user text, so no name can leave the directory.

use std::fmt;

/// Which family of files a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FileKind {
    /// Numbered, complete, write-once description of what is live.
    Manifest,
    /// Write-ahead log.
    Wal,
    /// Vectors, ids, sequence numbers, attributes, payloads.
    Row,
    /// Inverted lists.
    List,
    /// Sorted ids.
    IdTable,
    /// Centroids of lists.
    Model,
    /// Tombstones.
    Tombstone,
    /// Not yet published.
    Temp,
}

impl FileKind {
    const ALL: [FileKind; 8] = [
        FileKind::Manifest,
        FileKind::Wal,
        FileKind::Row,
        FileKind::List,
        FileKind::IdTable,
        FileKind::Model,
        FileKind::Tombstone,
        FileKind::Temp,
    ];

    /// The first part of the file name, with its dash.
    pub const fn prefix(self) -> &'static str {
        match self {
            FileKind::Manifest => "man-",
            FileKind::Wal => "wal-",
            FileKind::Row => "row-",
            FileKind::List => "lst-",
            FileKind::IdTable => "idt-",
            FileKind::Model => "mod-",
            FileKind::Tombstone => "del-",
            FileKind::Temp => "tmp-",
        }
    }
}

/// Names one file for ever: 64 bits of a counter that is never reused, 64 random bits of the writer that made it.
/// Files built elsewhere can be adopted without a collision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FileId {
    /// The collection's counter.
    pub number: u64,
    /// The random part of the writer epoch.
    pub epoch: u64,
}

impl FileId {
    /// Both halves as one number, counter on top.
    pub const fn to_u128(self) -> u128 {
        ((self.number as u128) << 64) | self.epoch as u128
    }

    /// Reads the 16 little-endian bytes of an id; `None` for another number of bytes.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self::from_u128(u128::from_le_bytes(bytes)))
    }

    /// The reverse of [`FileId::to_u128`].
    pub const fn from_u128(bits: u128) -> Self {
        FileId { number: (bits >> 64) as u64, epoch: bits as u64 }
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.number, self.epoch)
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name inside a collection's directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileName {
    /// `man-` and the generation, 16 lower-case hex digits.
    Manifest(u64),
    /// Any other kind and its file id, 32 lower-case hex digits.
    File(FileKind, FileId),
    /// The writer's lock file, `LOCK`.
    Lock,
}

impl FileName {
    /// Reads a name of our grammar; anything else is a foreign file and yields `None`.
    pub fn parse(text: &str) -> Option<FileName> {
        if text == "LOCK" {
            return Some(FileName::Lock);
        }
        let kind = FileKind::ALL.into_iter().find(|k| text.starts_with(k.prefix()))?;
        let digits = text.get(kind.prefix().len()..)?;
        let lower_hex = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match (kind, digits.len(), lower_hex) {
            (FileKind::Manifest, 16, true) => u64::from_str_radix(digits, 16).ok().map(FileName::Manifest),
            (FileKind::Manifest, _, _) => None,
            (_, 32, true) => {
                u128::from_str_radix(digits, 16).ok().map(|bits| FileName::File(kind, FileId::from_u128(bits)))
            }
            _ => None,
        }
    }

    /// The kind of file, `None` for the lock.
    pub fn kind(self) -> Option<FileKind> {
        match self {
            FileName::Manifest(_) => Some(FileKind::Manifest),
            FileName::File(kind, _) => Some(kind),
            FileName::Lock => None,
        }
    }

    /// The file id that checksums of this file are bound to. A manifest's is its generation, the lock's is zero.
    pub fn file_id(self) -> FileId {
        match self {
            FileName::Manifest(generation) => FileId { number: generation, epoch: 0 },
            FileName::File(_, id) => id,
            FileName::Lock => FileId::default(),
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileName::Manifest(generation) => write!(f, "{}{generation:016x}", FileKind::Manifest.prefix()),
            FileName::File(kind, id) => write!(f, "{}{id}", kind.prefix()),
            FileName::Lock => f.write_str("LOCK"),
        }
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
