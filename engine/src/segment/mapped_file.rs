//! An immutable file, open, its frame proven.

use std::ops::Range;
use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::content::Content;
use crate::error::{Error, Result};
use crate::format::checksum::{crc32, matches, unit_crc, unit_seed};
use crate::format::container::{Container, HEADER_BYTES, Identity, TAIL_BYTES};
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::section::{Scheme, Section};
use crate::format::unit::{UnitShape, UnitStream, read_u32};
use crate::storage::{AccessPattern, Bytes, FileId, FileKind, FileName, Mapping, Storage};

/// Bytes of the header of a block under the scheme `Blocks`; its stored length is at 4, its checksum at 12.
pub(super) const BLOCK_HEADER_BYTES: usize = 16;

/// Shared by everything that reads one file.
pub(super) struct MappedFile {
    content: Content,
    container: Container,
    /// The sections under one checksum, if the file is not mapped: they are what every reader looks at first.
    resident: Vec<(SectionKind, Box<[u8]>)>,
    kind: ContainerKind,
    file_id: u128,
    collection: u128,
}

impl MappedFile {
    /// Opens a file and proves that it is the one the manifest states. Reads header, directory and footer; of a file that is not
    /// mapped also the sections under one checksum.
    pub(super) fn open(
        storage: &dyn Storage,
        kind: ContainerKind,
        id: FileId,
        collection: u128,
        origin: u128,
        facts: &FileFacts,
        known: &[SectionKind],
    ) -> Result<Arc<MappedFile>> {
        let name = FileName::File(file_kind(kind), id);
        let (content, len) = Content::open(storage, name, Some(facts.len))?;
        let text = name.to_string();
        let wanted = Identity { kind, file_id: id.to_u128(), collection, name: &text };
        let mut container = verify_ends(&content, len, &wanted)?;
        container.check_facts(facts)?;
        container.check_known(known)?;
        if container.footer().origin != origin {
            let what = format!("its rows are of origin {:032x}, wanted is {origin:032x}", container.footer().origin);
            return Err(container.corrupt_footer(what));
        }
        let mut resident = Vec::new();
        if let Content::Read(content) = &content {
            let whole = |section: &&Section| section.scheme == Some(Scheme::Whole) && known.contains(&section.kind);
            for section in container.sections().iter().filter(whole) {
                resident.push((section.kind, content.read(section.offset..section.end())?[..].into()));
            }
        }
        Ok(Arc::new(MappedFile { content, container, resident, kind, file_id: id.to_u128(), collection }))
    }

    /// Bytes of memory that an open file holds because it is not mapped.
    pub(super) fn resident_bytes(&self) -> u64 {
        self.resident.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// A file whose frame a salvage has put together.
    pub(super) fn assembled(
        mapping: Arc<dyn Mapping>,
        container: Container,
        kind: ContainerKind,
        id: FileId,
        collection: u128,
    ) -> Arc<MappedFile> {
        let content = Content::Mapped(mapping, FileName::File(file_kind(kind), id));
        Arc::new(MappedFile { content, container, resident: Vec::new(), kind, file_id: id.to_u128(), collection })
    }

    pub(super) fn id(&self) -> FileId {
        FileId::from_u128(self.file_id)
    }

    /// Kind, id and collection.
    pub(super) fn identity(&self) -> (ContainerKind, u128, u128) {
        (self.kind, self.file_id, self.collection)
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    pub(super) fn container(&self) -> &Container {
        &self.container
    }

    /// Tells the kernel how the file will be read.
    pub(super) fn advise(&self, access: AccessPattern) {
        self.content.advise(access);
    }

    /// Whether [`MappedFile::section_bytes`] gives all bytes of every section.
    pub(super) fn is_mapped(&self) -> bool {
        matches!(self.content, Content::Mapped(..))
    }

    /// A section where it is: of a file that is not mapped only those under one checksum, and nothing of the others.
    pub(super) fn section_bytes(&self, section: &Section) -> &[u8] {
        match &self.content {
            Content::Mapped(mapping, _) => self.container.section_bytes(mapping.bytes(), section),
            Content::Read(_) => {
                let of = self.resident.iter().find(|(kind, _)| *kind == section.kind);
                of.map_or(&[], |(_, bytes)| bytes)
            }
        }
    }

    /// A range of a section, read now unless it is mapped. Not proven.
    ///
    /// # Errors
    /// `Corrupt` if it reaches beyond the section; `Io`.
    pub(super) fn read(&self, section: &Section, range: Range<u64>) -> Result<Bytes<'_>> {
        self.content.read(self.place(section, range)?)
    }

    /// A range of a section of a file that is not mapped, proven by `check`, and kept for the next reader.
    ///
    /// # Errors
    /// As [`MappedFile::read`]; what `check` says.
    pub(super) fn proven(
        &self,
        section: &Section,
        range: Range<u64>,
        check: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<Bytes<'_>> {
        let place = self.place(section, range)?;
        match &self.content {
            Content::Read(content) => content.proven(place, check).map(Bytes::read),
            Content::Mapped(..) => {
                let bytes = self.content.read(place)?;
                check(&bytes)?;
                Ok(bytes)
            }
        }
    }

    /// Asks for a range of a section to be read soon. A hint.
    pub(super) fn ask(&self, section: &Section, range: Range<u64>) {
        if let Ok(place) = self.place(section, range) {
            self.content.ask(place);
        }
    }

    /// Where a range of a section is in the file.
    fn place(&self, section: &Section, range: Range<u64>) -> Result<Range<u64>> {
        let place = section.offset.saturating_add(range.start)..section.offset.saturating_add(range.end);
        match place.start <= place.end && place.end <= section.end() {
            true => Ok(place),
            false => {
                let what = format!("bytes {}..{} of {} were asked for", range.start, range.end, section.len);
                Err(self.container.corrupt_section(section, what))
            }
        }
    }

    /// A section, if the file has it, with the scheme and width that its kind prescribes.
    pub(super) fn section(&self, kind: SectionKind, scheme: Scheme, width: usize) -> Result<Option<Section>> {
        let Some(section) = self.container.section(kind) else { return Ok(None) };
        match section.scheme == Some(scheme) && section.width as usize == width {
            true => Ok(Some(*section)),
            false => Err(self.container.corrupt_section(
                section,
                format!(
                    "its scheme is {:?} of width {}; {scheme:?} of {width} is right",
                    section.scheme, section.width
                ),
            )),
        }
    }

    /// The same for a section that must be there with a number of entries.
    pub(super) fn require(&self, kind: SectionKind, scheme: Scheme, width: usize, entries: u64) -> Result<Section> {
        let section = self.section(kind, scheme, width)?.ok_or_else(|| self.container.missing(kind))?;
        self.check_entries(&section, entries)?;
        Ok(section)
    }

    /// Checks a count against another.
    pub(super) fn check_entries(&self, section: &Section, entries: u64) -> Result<()> {
        match section.entries == entries {
            true => Ok(()),
            false => Err(self
                .container
                .corrupt_section(section, format!("it has {} entries, not {entries}", section.entries))),
        }
    }

    /// Refuses sections that this layout of the file cannot have.
    pub(super) fn forbid(&self, kinds: &[SectionKind]) -> Result<()> {
        match kinds.iter().find_map(|kind| self.container.section(*kind)) {
            None => Ok(()),
            Some(section) => Err(self.container.corrupt_section(section, "this file should not have this section")),
        }
    }

    /// Checks a `Whole` section and returns its place.
    pub(super) fn whole(&self, section: &Section) -> Result<()> {
        self.container.check_whole(self.section_bytes(section), section)
    }

    /// The entries of a `Whole` section that was checked when the file was opened.
    pub(super) fn entries<T: FromBytes + Immutable + KnownLayout + Unaligned>(&self, section: &Section) -> &[T] {
        <[T]>::ref_from_bytes(self.section_bytes(section)).unwrap_or_default()
    }

    pub(super) fn stream(&self, section: &Section, shape: UnitShape) -> UnitStream {
        let name = self.container.name().clone();
        UnitStream::new(shape, name, section.kind.name(), self.container.file_seed(), section.offset)
    }

    /// Checks one record: its last four bytes are the checksum of the rest.
    pub(super) fn check_record(&self, section: &Section, index: u64, record: &[u8]) -> Result<()> {
        let at = section.offset.saturating_add(index.saturating_mul(u64::from(section.width)));
        if record.len() != section.width as usize {
            let what = format!("record {index} is not in the file");
            return Err(Error::corrupt(self.container.name(), section.kind.name(), at, what));
        }
        let (covered, stored) =
            record.split_last_chunk::<4>().map_or((record, 0), |(c, s)| (c, u32::from_le_bytes(*s)));
        let found = unit_crc(self.container.file_seed(), at, covered);
        if matches(found, stored) {
            return Ok(());
        }
        let what = format!("checksum of record {index} is {found:08x}, stored is {stored:08x}");
        Err(Error::corrupt(self.container.name(), section.kind.name(), at, what))
    }

    /// The bytes of a block, header and padding included, after its checksum was found right.
    pub(super) fn check_block(&self, section: &Section, at: u64) -> Result<Bytes<'_>> {
        let corrupt = |what: &str| {
            let at = section.offset.saturating_add(at);
            Error::corrupt(self.container.name(), section.kind.name(), at, what)
        };
        let inside = |len: u64| at.checked_add(len).filter(|end| *end <= section.len && at.is_multiple_of(8));
        let header_end = inside(BLOCK_HEADER_BYTES as u64).ok_or_else(|| corrupt("no block starts here"))?;
        let stored_len = self.read(section, at..header_end)?.get(4..8).map_or(0, read_u32) as usize;
        let len = stored_len.checked_next_multiple_of(8).and_then(|len| len.checked_add(BLOCK_HEADER_BYTES));
        let end = len.and_then(|len| inside(len as u64)).ok_or_else(|| corrupt("a block reaches past its section"))?;
        let block = self.read(section, at..end)?;
        let (header, body) =
            block.split_at_checked(BLOCK_HEADER_BYTES).ok_or_else(|| corrupt("a block is too short"))?;
        let (covered, stored) = header.split_last_chunk::<4>().ok_or_else(|| corrupt("a block is too short"))?;
        let start = unit_seed(self.container.file_seed(), section.offset.saturating_add(at));
        if !matches(crc32(crc32(start, covered), body), u32::from_le_bytes(*stored)) {
            return Err(corrupt("checksum of the block does not match"));
        }
        match body.get(stored_len..).is_some_and(|padding| padding.iter().all(|b| *b == 0)) {
            true => Ok(block),
            false => Err(corrupt("padding of the block is not zero")),
        }
    }
}

/// What a whole file says of itself, where no manifest does.
///
/// # Errors
/// `Corrupt`, `UnsupportedVersion` or `Io`.
pub(crate) fn stated_facts(
    storage: &dyn Storage,
    kind: FileKind,
    id: FileId,
    collection: u128,
) -> Result<(FileFacts, [u64; 4])> {
    let name = FileName::File(kind, id);
    let kind = match kind {
        FileKind::Row => ContainerKind::Rows,
        FileKind::IdTable => ContainerKind::IdTable,
        _ => ContainerKind::Tombstones,
    };
    let (content, len) = Content::open(storage, name, None)?;
    let text = name.to_string();
    let wanted = Identity { kind, file_id: id.to_u128(), collection, name: &text };
    verify_ends(&content, len, &wanted).map(|container| (container.facts(), container.footer().parameters))
}

/// Proves the frame of a file from what it begins and ends with.
pub(super) fn verify_ends(content: &Content, len: u64, wanted: &Identity<'_>) -> Result<Container> {
    let head = content.read(0..len.min(HEADER_BYTES as u64))?;
    let tail = content.read(len.saturating_sub(TAIL_BYTES as u64)..len)?;
    Container::verify_ends(len, &head, &tail, wanted)
}

fn file_kind(kind: ContainerKind) -> FileKind {
    match kind {
        ContainerKind::Rows => FileKind::Row,
        ContainerKind::IdTable => FileKind::IdTable,
        ContainerKind::Tombstones => FileKind::Tombstone,
        ContainerKind::Lists | ContainerKind::Sidecar => FileKind::List,
        ContainerKind::Model => FileKind::Model,
    }
}
