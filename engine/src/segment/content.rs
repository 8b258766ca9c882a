//! Where the bytes of an open file come from: its map, or reads.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::storage::{AccessPattern, Bytes, FileName, Mapping, ReadCache, Storage, StorageFile};

/// An open file's bytes.
pub(super) enum Content {
    /// All of them, where they are.
    Mapped(Arc<dyn Mapping>, FileName),
    /// Piece by piece.
    Read(ReadContent),
}

/// A file that is read piece by piece. What was read is private to this process: nothing that happens to the file afterwards
/// changes it, so a check holds for as long as the bytes are kept.
pub(super) struct ReadContent {
    file: Arc<dyn StorageFile>,
    name: FileName,
    /// Pieces that were proven, and this file's number among those in it.
    cache: Arc<ReadCache>,
    number: u64,
}

impl Content {
    /// Opens a file as its directory says: mapped or not. Gives its length too.
    ///
    /// # Errors
    /// `Corrupt` if it is not there, is no regular file, or is not as long as stated; `Io`.
    pub(super) fn open(storage: &dyn Storage, name: FileName, stated: Option<u64>) -> Result<(Content, u64)> {
        let file = storage.open(name).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound if stated.is_some() => {
                Error::corrupt(name, "file", 0, "a file that the manifest names is missing")
            }
            std::io::ErrorKind::InvalidInput => Error::corrupt(name, "file", 0, "it is not a regular file"),
            _ => Error::io("open", name, source),
        })?;
        let len = file.len().map_err(|source| Error::io("measure", name, source))?;
        if let Some(stated) = stated.filter(|stated| *stated != len) {
            let what = format!("the manifest states {stated} bytes, the file has {len}");
            return Err(Error::corrupt(name, "file", len, what));
        }
        match storage.unmapped() {
            None => {
                let mapping = file.map().map_err(|source| Error::io("map", name, source))?;
                // The map has the length that the file had when it was mapped.
                let len = mapping.bytes().len() as u64;
                Ok((Content::Mapped(mapping, name), len))
            }
            Some(cache) => {
                file.advise(AccessPattern::Random);
                let (cache, number) = (cache.clone(), cache.new_file());
                Ok((Content::Read(ReadContent { file, name, cache, number }), len))
            }
        }
    }

    /// A range of the file.
    ///
    /// # Errors
    /// `Corrupt` if the file ends before it; `Io`.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Bytes<'_>> {
        match self {
            Content::Mapped(mapping, name) => {
                let ends = (usize::try_from(range.start), usize::try_from(range.end));
                let bytes = match ends {
                    (Ok(start), Ok(end)) => mapping.bytes().get(start..end),
                    _ => None,
                };
                bytes.map(Bytes::Mapped).ok_or_else(|| {
                    let len = mapping.bytes().len();
                    Error::corrupt(name, "file", range.start, format!("it has {len} bytes, too few"))
                })
            }
            Content::Read(content) => content.read(range).map(Bytes::read),
        }
    }

    /// Tells the kernel how the file will be read.
    pub(super) fn advise(&self, access: AccessPattern) {
        match self {
            Content::Mapped(mapping, _) => mapping.advise(access),
            // Each read says how much it wants.
            Content::Read(_) => {}
        }
    }

    /// Asks for a range to be read soon.
    pub(super) fn ask(&self, range: Range<u64>) {
        let len = range.end.saturating_sub(range.start);
        match self {
            Content::Mapped(mapping, _) => mapping.prefetch(range.start, len),
            Content::Read(content) => content.file.ask(range.start, len),
        }
    }
}

impl ReadContent {
    /// A range of the file, read now.
    ///
    /// # Errors
    /// As [`Content::read`].
    pub(super) fn read(&self, range: Range<u64>) -> Result<Arc<[u8]>> {
        let len = range.end.saturating_sub(range.start) as usize;
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0u8, len).collect();
        if let Some(bytes) = Arc::get_mut(&mut bytes) {
            self.fill(range.start, bytes)?;
        }
        Ok(bytes)
    }

    fn fill(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = at.saturating_add(done as u64);
            match self.file.read_at(rest, at) {
                Ok(0) => return Err(Error::corrupt(self.name, "file", at, "the file is shorter than it was")),
                Ok(count) => done = done.saturating_add(count),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", self.name, error)),
            }
        }
        Ok(())
    }

    /// A range of the file that `check` has passed, now or when it was read before.
    ///
    /// # Errors
    /// As [`Content::read`]; what `check` says.
    pub(super) fn proven(&self, range: Range<u64>, check: impl FnOnce(&[u8]) -> Result<()>) -> Result<Arc<[u8]>> {
        let at = range.start;
        if let Some(kept) = self.cache.get(self.number, at)
            && kept.len() as u64 == range.end.saturating_sub(at)
        {
            return Ok(kept);
        }
        let bytes = self.read(range)?;
        check(&bytes)?;
        self.cache.keep(self.number, at, &bytes);
        Ok(bytes)
    }
}
