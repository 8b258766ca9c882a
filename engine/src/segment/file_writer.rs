//! Writing an immutable file: sections are placed first, then filled side by side, then closed by directory and footer.

use std::sync::Arc;

use zerocopy::IntoBytes;

use crate::error::{Error, Result};
use crate::format::checksum::{file_seed, unit_crc};
use crate::format::container::{FooterFacts, Header, Identity, encode_header, encode_tail};
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::section::{FLAG_REQUIRED, Scheme, Section, alignment};
use crate::format::unit::UnitShape;
use crate::storage::{FileName, Storage, StorageFile};

/// Bytes that each section gathers before it writes.
const BUFFER_BYTES: usize = 128 << 10;
/// Bytes that a large section of records or pieces gathers, and what its writes end at a multiple of. A file system that keeps what one write brings in one
/// large page lets a map of the file use such pages too: searches then wait for fewer translations of addresses, which is a tenth
/// of the time of a query over lists.
const PAGE_BYTES: usize = 2 << 20;
/// What makes a section large.
const LARGE_BYTES: u64 = 2 * PAGE_BYTES as u64;

/// A file on its way. Dropping it leaves an orphan.
pub(super) struct FileWriter {
    file: Arc<dyn StorageFile>,
    name: FileName,
    header: Header,
    file_seed: u32,
    sections: Vec<Section>,
    end: u64,
}

impl FileWriter {
    pub(super) fn create(
        storage: &dyn Storage,
        name: FileName,
        kind: ContainerKind,
        collection: u128,
    ) -> Result<FileWriter> {
        let file = storage.create(name).map_err(|source| Error::io("create", name, source))?;
        let file_id = name.file_id().to_u128();
        let header = encode_header(&Identity { kind, file_id, collection, name: "" });
        let end = header.as_bytes().len() as u64;
        Ok(FileWriter { file, name, header, file_seed: file_seed(file_id), sections: Vec::new(), end })
    }

    pub(super) fn file_seed(&self) -> u32 {
        self.file_seed
    }

    /// Places a unit stream behind the sections so far and returns what writes it.
    pub(super) fn units(&mut self, kind: SectionKind, width: usize, entries: u64) -> Result<SectionWriter> {
        let shape = UnitShape::fixed(width, entries);
        self.place(kind, Scheme::Units, width, entries, shape.and_then(|shape| shape.section_bytes()))
    }

    /// Places an offset column.
    pub(super) fn offsets(&mut self, kind: SectionKind, entries: u64) -> Result<SectionWriter> {
        self.place(kind, Scheme::Offsets, 4, entries, UnitShape::offsets(entries).section_bytes())
    }

    /// Places records.
    pub(super) fn records(&mut self, kind: SectionKind, stride: usize, entries: u64) -> Result<SectionWriter> {
        self.place(kind, Scheme::Record, stride, entries, entries.checked_mul(stride as u64))
    }

    /// Places pieces whose checksums another section states: so many units of `width` bytes.
    pub(super) fn pieces(&mut self, kind: SectionKind, width: usize, entries: u64) -> Result<SectionWriter> {
        self.place(kind, Scheme::Pieces, width, entries, entries.checked_mul(width as u64))
    }

    /// Writes a section under one checksum.
    pub(super) fn whole(&mut self, kind: SectionKind, width: usize, bytes: &[u8]) -> Result<()> {
        let entries = (bytes.len() / width) as u64;
        let mut writer = self.place(kind, Scheme::Whole, width, entries, Some(bytes.len() as u64))?;
        self.extend()?;
        let crc = unit_crc(self.file_seed, writer.offset(), bytes);
        if let Some(section) = self.sections.last_mut() {
            section.crc = crc;
        }
        writer.buffer().extend_from_slice(bytes);
        writer.finish()
    }

    /// Starts a section of blocks, whose length is known only when it was written: nothing can be placed before
    /// [`FileWriter::close_blocks`]. `most` is at least its length.
    pub(super) fn open_blocks(&mut self, kind: SectionKind, most: u64) -> SectionWriter {
        self.end = self.end.next_multiple_of(alignment(most));
        let section = Section {
            kind,
            flags: FLAG_REQUIRED,
            offset: self.end,
            len: 0,
            entries: 0,
            width: 1,
            scheme: Some(Scheme::Blocks),
            crc: 0,
        };
        self.sections.push(section);
        self.writer(self.end, false)
    }

    /// Ends the section of blocks.
    pub(super) fn close_blocks(&mut self, writer: SectionWriter, blocks: u64) -> Result<()> {
        let end = writer.offset();
        writer.finish()?;
        if let Some(section) = self.sections.last_mut() {
            section.entries = blocks;
            section.len = end - section.offset;
        }
        self.end = end;
        Ok(())
    }

    fn place(
        &mut self,
        kind: SectionKind,
        scheme: Scheme,
        width: usize,
        entries: u64,
        len: Option<u64>,
    ) -> Result<SectionWriter> {
        let too_large =
            || Error::argument("rows", format!("make the section {} of {} too large", kind.name(), self.name));
        let len = len.ok_or_else(too_large)?;
        let offset = self.end.checked_next_multiple_of(alignment(len)).ok_or_else(too_large)?;
        self.end = offset.checked_add(len).ok_or_else(too_large)?;
        let width = width as u32;
        self.sections.push(Section {
            kind,
            flags: FLAG_REQUIRED,
            offset,
            len,
            entries,
            width,
            scheme: Some(scheme),
            crc: 0,
        });
        let searched = matches!(scheme, Scheme::Record | Scheme::Pieces);
        Ok(self.writer(offset, searched && len >= LARGE_BYTES))
    }

    fn writer(&self, at: u64, large: bool) -> SectionWriter {
        let buffer = if large { Vec::with_capacity(PAGE_BYTES + BUFFER_BYTES) } else { Vec::new() };
        SectionWriter { file: self.file.clone(), name: self.name, at, large, buffer }
    }

    /// Makes the file as long as what was placed, so that what is not written is zeros. Comes before the writes: none of
    /// them starts beyond the end, where a file system may show anything until the file is synced.
    pub(super) fn extend(&self) -> Result<()> {
        self.file.truncate(self.end).map_err(|source| Error::io("extend", self.name, source))
    }

    /// Writes header, directory and footer and syncs.
    pub(super) fn finish(self, footer: &FooterFacts) -> Result<(FileFacts, Arc<dyn StorageFile>)> {
        self.finish_under(footer, &[0; 32])
    }

    /// The same for a file whose codes depend on what has this hash.
    pub(super) fn finish_under(
        self,
        footer: &FooterFacts,
        frame_hash: &[u8; 32],
    ) -> Result<(FileFacts, Arc<dyn StorageFile>)> {
        let directory = self.end.next_multiple_of(64);
        self.file.truncate(directory).map_err(|source| Error::io("extend", self.name, source))?;
        let (tail, facts) = encode_tail(&self.header, directory, &self.sections, footer, frame_hash);
        // The gaps between sections too: some file systems (tmpfs) find room for a hole when it is first read through a map, and
        // a full disk would end the process instead of being an error.
        self.file.reserve(0, directory).map_err(|source| Error::io("write", self.name, source))?;
        write_all(&*self.file, self.name, self.header.as_bytes(), 0)?;
        write_all(&*self.file, self.name, &tail, directory)?;
        self.file.sync().map_err(|source| Error::io("sync", self.name, source))?;
        Ok((facts, self.file))
    }
}

/// Appends to one section.
pub(super) struct SectionWriter {
    file: Arc<dyn StorageFile>,
    name: FileName,
    at: u64,
    large: bool,
    buffer: Vec<u8>,
}

impl SectionWriter {
    /// Where the next byte goes in the file.
    pub(super) fn offset(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    /// Bytes to be appended. Call `spill` from time to time.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes the buffer if it is large.
    pub(super) fn spill(&mut self) -> Result<()> {
        match self.large {
            true if self.buffer.len() >= PAGE_BYTES => self.write_pages(),
            false if self.buffer.len() >= BUFFER_BYTES => self.write(),
            _ => Ok(()),
        }
    }

    /// Writes the rest.
    pub(super) fn finish(mut self) -> Result<()> {
        self.write()
    }

    /// Writes up to the last multiple of [`PAGE_BYTES`] in the file, a page at a time.
    fn write_pages(&mut self) -> Result<()> {
        let mut written = 0;
        loop {
            let to_next = PAGE_BYTES - (self.at % PAGE_BYTES as u64) as usize;
            let Some(page) = self.buffer.get(written..written + to_next) else { break };
            write_all(&*self.file, self.name, page, self.at)?;
            self.at += page.len() as u64;
            written += page.len();
        }
        self.buffer.drain(..written);
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        write_all(&*self.file, self.name, &self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

fn write_all(file: &dyn StorageFile, name: FileName, mut bytes: &[u8], mut at: u64) -> Result<()> {
    while !bytes.is_empty() {
        let written = match file.write_at(bytes, at) {
            Ok(0) => return Err(Error::io("write", name, std::io::ErrorKind::WriteZero.into())),
            Ok(written) => written,
            Err(source) => return Err(Error::io("write", name, source)),
        };
        bytes = bytes.get(written..).unwrap_or_default();
        at += written as u64;
    }
    Ok(())
}

/// The end of every writer: a file that could not be finished or does not pass its own check is removed, as far as possible; one
/// that does becomes read-only, and `settle` returns what `check` made of it.
pub(super) fn settle<T>(
    storage: &dyn Storage,
    name: FileName,
    written: Result<(FileFacts, Arc<dyn StorageFile>)>,
    check: impl FnOnce(&FileFacts) -> Result<T>,
) -> Result<T> {
    let settled = written.and_then(|(facts, file)| {
        let checked = check(&facts)?;
        // A hint against accidents; some file systems have no such mark.
        let _ = file.seal();
        Ok(checked)
    });
    if settled.is_err() {
        // Nobody names the file yet: if it stays, the next open removes it.
        let _ = storage.remove(name);
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::MemDir;
    use crate::storage::{FileId, FileKind};

    /// Sections that are written a page at a time, in pieces that never end with a page, beside one that is not: every byte is where it
    /// belongs, whatever stood in front of the section.
    #[test]
    fn a_large_section_is_the_bytes_appended_to_it() {
        let bytes: Vec<u8> = (0..5_000_003_u64).map(|i| (i.wrapping_mul(0x9E37_79B9) >> 13) as u8).collect();
        for first in [1, 3000, 4_194_304, 4_300_001] {
            let dir = MemDir::new(1);
            let name = FileName::File(FileKind::List, FileId { number: 1, epoch: 1 });
            let mut file = FileWriter::create(&dir, name, ContainerKind::Lists, 1).unwrap();
            let front = &bytes[..first];
            let mut sections = [
                (file.pieces(SectionKind::LIST_SCAN, 1, front.len() as u64).unwrap(), front),
                (file.pieces(SectionKind::LIST_RECORDS, 1, bytes.len() as u64).unwrap(), &bytes[..]),
            ];
            file.extend().unwrap();
            for (section, bytes) in &mut sections {
                for piece in bytes.chunks(99_991) {
                    section.buffer().extend_from_slice(piece);
                    section.spill().unwrap();
                    assert!(section.buffer().len() < PAGE_BYTES + piece.len());
                }
            }
            let places: Vec<usize> = sections.iter().map(|(s, bytes)| s.offset() as usize - bytes.len()).collect();
            for (section, _) in sections {
                section.finish().unwrap();
            }
            let written = dir.file_bytes(name).unwrap();
            assert!(written[places[0]..][..front.len()] == *front && written[places[1]..][..bytes.len()] == *bytes);
        }
    }
}
