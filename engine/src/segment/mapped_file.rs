//! An immutable file, mapped, its frame proven.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::error::{Error, Result};
use crate::format::checksum::{crc32, matches, unit_crc, unit_seed};
use crate::format::container::{Container, Identity};
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::section::{Scheme, Section};
use crate::format::unit::{UnitStream, read_u32};
use crate::storage::{AccessPattern, FileId, FileKind, FileName, Mapping, Storage};

/// Bytes of the header of a block under the scheme `Blocks`; its stored length is at 4, its checksum at 12.
pub(super) const BLOCK_HEADER_BYTES: usize = 16;

/// Bytes that a check reads between two looks at its pace.
const PACE_BYTES: u64 = 64 << 10;
/// Bytes of a unit.
const UNIT_BYTES: u64 = 4096;

/// Shared by everything that reads one file.
pub(super) struct MappedFile {
    mapping: Arc<dyn Mapping>,
    container: Container,
    kind: ContainerKind,
    file_id: u128,
    collection: u128,
}

impl MappedFile {
    /// Maps a file and proves that it is the one the manifest states. Reads header, directory and footer only.
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
        let file = storage.open(name).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                Error::corrupt(name, "file", 0, "a file that the manifest names is missing")
            }
            std::io::ErrorKind::InvalidInput => Error::corrupt(name, "file", 0, "it is not a regular file"),
            _ => Error::io("open", name, source),
        })?;
        let len = file.len().map_err(|source| Error::io("measure", name, source))?;
        if len != facts.len {
            let what = format!("the manifest states {} bytes, the file has {len}", facts.len);
            return Err(Error::corrupt(name, "file", len, what));
        }
        let mapping = file.map().map_err(|source| Error::io("map", name, source))?;
        let text = name.to_string();
        let wanted = Identity { kind, file_id: id.to_u128(), collection, name: &text };
        let mut container = Container::verify(mapping.bytes(), &wanted)?;
        container.check_facts(facts)?;
        container.check_known(known)?;
        if container.footer().origin != origin {
            let what = format!("its rows are of origin {:032x}, wanted is {origin:032x}", container.footer().origin);
            return Err(container.corrupt_footer(what));
        }
        Ok(Arc::new(MappedFile { mapping, container, kind, file_id: id.to_u128(), collection }))
    }

    /// A file whose frame a salvage has put together.
    pub(super) fn assembled(
        mapping: Arc<dyn Mapping>,
        container: Container,
        kind: ContainerKind,
        id: FileId,
        collection: u128,
    ) -> Arc<MappedFile> {
        Arc::new(MappedFile { mapping, container, kind, file_id: id.to_u128(), collection })
    }

    pub(super) fn id(&self) -> FileId {
        FileId::from_u128(self.file_id)
    }

    pub(super) fn container(&self) -> &Container {
        &self.container
    }

    /// Tells the kernel how the file will be read.
    pub(super) fn advise(&self, access: AccessPattern) {
        self.mapping.advise(access);
    }

    pub(super) fn section_bytes(&self, section: &Section) -> &[u8] {
        self.container.section_bytes(self.mapping.bytes(), section)
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
        self.container.check_whole(self.mapping.bytes(), section)
    }

    /// The entries of a `Whole` section that was checked when the file was opened.
    pub(super) fn entries<T: FromBytes + Immutable + KnownLayout + Unaligned>(&self, section: &Section) -> &[T] {
        <[T]>::ref_from_bytes(self.section_bytes(section)).unwrap_or_default()
    }

    /// Checks every byte against its checksum, and that every byte outside the sections is zero.
    pub(super) fn verify_bytes(&self, report: &mut dyn FnMut(Error)) {
        // Without a pace nothing ends it early.
        let _ = self.verify_bytes_at(&mut |_| Ok(()), report);
    }

    /// The same at a pace: before about each [`PACE_BYTES`] it is told how many come, and may end the check.
    ///
    /// # Errors
    /// What `pace` says.
    pub(super) fn verify_bytes_at(
        &self,
        pace: &mut dyn FnMut(u64) -> Result<()>,
        report: &mut dyn FnMut(Error),
    ) -> Result<()> {
        pace(PACE_BYTES)?;
        let bytes = self.mapping.bytes();
        let name = self.container.name();
        let wanted = Identity { kind: self.kind, file_id: self.file_id, collection: self.collection, name };
        let mut again = match Container::verify(bytes, &wanted) {
            Ok(container) => container,
            Err(error) => {
                report(error);
                return Ok(());
            }
        };
        if let Err(error) = again.check_facts(&self.container.facts()) {
            report(error);
        }
        for gap in self.container.gaps() {
            let zeros = bytes.get(gap.start as usize..gap.end as usize).unwrap_or_default();
            if let Some(at) = zeros.iter().position(|b| *b != 0) {
                let at = gap.start.saturating_add(at as u64);
                report(Error::corrupt(name, "padding", at, "a byte between sections is not zero"));
            }
        }
        self.container.sections().iter().try_for_each(|section| self.verify_section(section, pace, report))
    }

    fn verify_section(
        &self,
        section: &Section,
        pace: &mut dyn FnMut(u64) -> Result<()>,
        report: &mut dyn FnMut(Error),
    ) -> Result<()> {
        let bytes = self.section_bytes(section);
        let mut owed = 0;
        let mut read = |part: u64, pace: &mut dyn FnMut(u64) -> Result<()>| {
            owed += part;
            match owed < PACE_BYTES {
                true => Ok(()),
                false => pace(std::mem::take(&mut owed)),
            }
        };
        let mut check = |outcome: Result<()>| {
            if let Err(error) = outcome {
                report(error);
            }
        };
        match section.scheme {
            Some(Scheme::Whole) => {
                read(section.len, pace)?;
                check(self.whole(section));
            }
            Some(Scheme::Record) => {
                for (i, record) in bytes.chunks_exact((section.width as usize).max(1)).enumerate() {
                    read(record.len() as u64, pace)?;
                    check(self.check_record(section, i as u64, record));
                }
            }
            Some(Scheme::Units | Scheme::Offsets) => {
                if let Some(shape) = section.unit_shape() {
                    let units = self.stream(section, shape);
                    for unit in 0..shape.units() {
                        read(UNIT_BYTES, pace)?;
                        check(units.check_unit(bytes, unit));
                    }
                }
            }
            Some(Scheme::Blocks) => {
                let (mut at, mut count) = (0, 0);
                while at < bytes.len() {
                    match self.check_block(section, at as u64) {
                        Ok(block) => at = at.saturating_add(block.len()),
                        Err(error) => {
                            check(Err(error));
                            return Ok(());
                        }
                    }
                    count += 1;
                    read(PACE_BYTES, pace)?;
                }
                check(self.check_entries(section, count));
            }
            // Whoever knows the pieces checks them.
            Some(Scheme::Pieces) | None => {}
        }
        Ok(())
    }

    fn stream(&self, section: &Section, shape: crate::format::unit::UnitShape) -> UnitStream {
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
    pub(super) fn check_block(&self, section: &Section, at: u64) -> Result<&[u8]> {
        let corrupt = |what: &str| {
            let at = section.offset.saturating_add(at);
            Error::corrupt(self.container.name(), section.kind.name(), at, what)
        };
        let rest = usize::try_from(at)
            .ok()
            .filter(|at| at.is_multiple_of(8))
            .and_then(|at| self.section_bytes(section).get(at..));
        let rest = rest.ok_or_else(|| corrupt("no block starts here"))?;
        let stored_len = rest.get(4..8).map_or(0, read_u32) as usize;
        let len = stored_len.checked_next_multiple_of(8).and_then(|len| len.checked_add(BLOCK_HEADER_BYTES));
        let block = len.and_then(|len| rest.get(..len)).ok_or_else(|| corrupt("a block reaches past its section"))?;
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
pub(crate) fn stated_facts(storage: &dyn Storage, kind: FileKind, id: FileId, collection: u128) -> Result<FileFacts> {
    let name = FileName::File(kind, id);
    let kind = match kind {
        FileKind::Row => ContainerKind::Rows,
        FileKind::IdTable => ContainerKind::IdTable,
        _ => ContainerKind::Tombstones,
    };
    let file = storage.open(name).map_err(|source| Error::io("open", name, source))?;
    let mapping = file.map().map_err(|source| Error::io("map", name, source))?;
    let text = name.to_string();
    let wanted = Identity { kind, file_id: id.to_u128(), collection, name: &text };
    Container::verify(mapping.bytes(), &wanted).map(|container| container.facts())
}

/// A unit stream of a mapped file.
pub(super) struct UnitSection {
    file: Arc<MappedFile>,
    section: Section,
    units: UnitStream,
}

impl UnitSection {
    /// The units of a section; the caller has its scheme checked.
    pub(super) fn new(file: &Arc<MappedFile>, section: Section) -> Result<UnitSection> {
        let shape =
            section.unit_shape().ok_or_else(|| file.container.corrupt_section(&section, "it is not made of units"))?;
        Ok(UnitSection { file: file.clone(), section, units: file.stream(&section, shape) })
    }

    pub(super) fn entries(&self) -> u64 {
        self.section.entries
    }

    /// Takes all units as proven: for a caller that has just checked the whole file.
    pub(super) fn set_proven(&self) {
        self.units.set_proven();
    }

    /// How many units were proven so far.
    #[cfg(test)]
    pub(super) fn proven_units(&self) -> usize {
        self.units.proven_units()
    }

    pub(super) fn entry(&self, index: u64) -> Result<&[u8]> {
        self.units.entry(self.bytes(), index)
    }

    pub(super) fn unit(&self, unit: u64) -> Result<&[u8]> {
        self.units.unit(self.bytes(), unit)
    }

    pub(super) fn per_unit(&self) -> u64 {
        self.units.shape().per_unit()
    }

    pub(super) fn units(&self) -> u64 {
        self.units.shape().units()
    }

    pub(super) fn range(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        self.units.bytes(self.bytes(), range)
    }

    pub(super) fn offsets(&self, index: u64) -> Result<Range<u64>> {
        self.units.offsets(self.bytes(), index)
    }

    /// Says that an entry is wrong.
    pub(super) fn corrupt(&self, entry: u64, what: impl Into<String>) -> Error {
        let unit = entry / self.per_unit().max(1);
        self.units.corrupt(unit.saturating_mul(4096), what)
    }

    fn bytes(&self) -> &[u8] {
        self.file.section_bytes(&self.section)
    }
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
