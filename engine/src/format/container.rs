//! The common frame of immutable files: header, sections, section directory, footer.
//!
//! ```text
//! 0        header, 64 bytes          who this is
//! 64 ..    sections                  aligned, ascending, disjoint; zeros between them
//! D        directory, n x 64 bytes   one entry per section, ascending by offset
//! len-160  footer, 160 bytes         facts, and the root checksum over header, directory and footer
//! ```
//! Opening reads these three and nothing else. A section's own checksums are bound to the file id and to their offset; the
//! directory entries, the offsets and the file's length are under the root, and the manifest states the root.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::sync::Arc;

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, IntoBytes};

use super::checksum::{crc32, file_seed, matches, unit_crc, unit_seed};
use super::facts::FileFacts;
use super::kind::{ContainerKind, SectionKind};
use super::layout::layout;
use super::section::{FLAG_REQUIRED, Section, SectionEntry};
use crate::error::{Error, ErrorKind, Result};

/// First bytes of every immutable file. The line ends in it are destroyed by transfers that take it for text.
pub const MAGIC: [u8; 8] = *b"STVSEG\r\n";
/// Stands in front of the root checksum at the end of the file.
pub const FOOTER_MAGIC: [u8; 4] = *b"STVF";
/// The version that this build writes. 0 is provisional: files of it may become unreadable.
pub const FORMAT_VERSION: u16 = 0;
/// Bytes of [`Header`].
pub const HEADER_BYTES: usize = 64;
/// Bytes of [`Footer`].
pub const FOOTER_BYTES: usize = 160;
/// Bytes of [`SectionEntry`].
pub const SECTION_ENTRY_BYTES: usize = 64;
/// Most sections of a file.
pub const MAX_SECTIONS: usize = 256;
/// Most bytes of directory and footer.
pub const TAIL_BYTES: usize = MAX_SECTIONS * SECTION_ENTRY_BYTES + FOOTER_BYTES;

layout! {
    /// The first bytes of a file.
    pub struct Header: 64 {
        magic: [u8; 8],
        format_version: U16,
        file_kind: U16,
        features_compatible: U32,
        features_read_only: U32,
        features_incompatible: U32,
        file_id: U128,
        collection_id: U128,
        reserved: U32,
        crc: U32,
    }
}

layout! {
    /// The last bytes of a file.
    pub struct Footer: 160 {
        file_len: U64,
        directory_offset: U64,
        section_count: U32,
        reserved_a: U32,
        rows: U64,
        first_row: U64,
        last_row: U64,
        min_seq: U64,
        max_seq: U64,
        origin: U128,
        parameters: [U64; 4],
        frame_hash: [u8; 32],
        reserved_b: [u8; 8],
        magic: [u8; 4],
        root: U32,
    }
}

/// Which file a caller wants to open: what the bytes must agree with.
pub struct Identity<'a> {
    /// What it holds.
    pub kind: ContainerKind,
    /// Its 128-bit file id.
    pub file_id: u128,
    /// The collection's 128-bit id.
    pub collection: u128,
    /// Its name, for messages.
    pub name: &'a str,
}

/// What a footer says beside where the sections are.
#[derive(Clone, Copy, Debug)]
pub struct FooterFacts {
    /// Rows of a row file, entries of an id table, dead rows of a tombstone file.
    pub rows: u64,
    /// Smallest row number.
    pub first_row: u64,
    /// Largest row number.
    pub last_row: u64,
    /// Smallest sequence number, or the open lower end of a tombstone file's interval.
    pub min_seq: u64,
    /// Largest sequence number.
    pub max_seq: u64,
    /// Where the rows' numbers were given.
    pub origin: u128,
    /// Meaning by file kind.
    pub parameters: [u64; 4],
}

/// The proven frame of a file.
#[derive(Debug)]
pub struct Container {
    name: Arc<str>,
    kind: ContainerKind,
    file_seed: u32,
    len: u64,
    root: u32,
    footer: FooterFacts,
    frame_hash: [u8; 32],
    sections: Vec<Section>,
}

impl Container {
    /// Proves header, directory and footer of a whole file and that it is the one that is wanted. Touches nothing else.
    ///
    /// # Errors
    /// `UnsupportedVersion` if a newer build wrote it, `Corrupt` otherwise.
    #[cfg(feature = "testing")]
    pub fn verify(bytes: &[u8], wanted: &Identity<'_>) -> Result<Container> {
        Container::verify_ends(bytes.len() as u64, bytes, bytes, wanted)
    }

    /// Proves header, directory and footer of a file of `len` bytes from both its ends, and that it is the one that is wanted: `head`
    /// begins where the file does and has at least [`HEADER_BYTES`] if the file has as many, `tail` ends where the file does and has at least [`TAIL_BYTES`] of them.
    ///
    /// # Errors
    /// `UnsupportedVersion` if a newer build wrote it, `Corrupt` otherwise.
    pub fn verify_ends(len: u64, head: &[u8], tail: &[u8], wanted: &Identity<'_>) -> Result<Container> {
        let ends = Ends { len, head, tail };
        let file_seed = verify_header(&ends, wanted)?;
        let footer = verify_footer(&ends, wanted, file_seed)?;
        let sections = verify_directory(&ends, wanted, &footer)?;
        Ok(Container {
            name: wanted.name.into(),
            kind: wanted.kind,
            file_seed,
            len: footer.file_len.get(),
            root: footer.root.get(),
            footer: FooterFacts {
                rows: footer.rows.get(),
                first_row: footer.first_row.get(),
                last_row: footer.last_row.get(),
                min_seq: footer.min_seq.get(),
                max_seq: footer.max_seq.get(),
                origin: footer.origin.get(),
                parameters: footer.parameters.map(U64::get),
            },
            frame_hash: footer.frame_hash,
            sections,
        })
    }

    /// A frame that a salvage put together.
    pub(super) fn assembled(
        wanted: &Identity<'_>,
        facts: &FileFacts,
        footer: FooterFacts,
        sections: Vec<Section>,
    ) -> Self {
        Container {
            name: wanted.name.into(),
            kind: wanted.kind,
            file_seed: file_seed(wanted.file_id),
            len: facts.len,
            root: facts.root,
            footer,
            frame_hash: [0; 32],
            sections,
        }
    }

    /// The file's name, for messages.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The start of the file's checksums.
    pub fn file_seed(&self) -> u32 {
        self.file_seed
    }

    /// What the footer says.
    pub fn footer(&self) -> &FooterFacts {
        &self.footer
    }

    /// The hash of what codes in this file depend on, of a model that of its own content; zero if there are no codes.
    pub fn frame_hash(&self) -> &[u8; 32] {
        &self.frame_hash
    }

    /// All sections, ascending by offset.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The section of a kind, if the file has it.
    pub fn section(&self, kind: SectionKind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind)
    }

    /// What a manifest states about this file.
    pub fn facts(&self) -> FileFacts {
        FileFacts {
            len: self.len,
            root: self.root,
            rows: self.footer.rows,
            first_row: self.footer.first_row,
            last_row: self.footer.last_row,
            min_seq: self.footer.min_seq,
            max_seq: self.footer.max_seq,
        }
    }

    /// Checks that this is the very file that a manifest states. A file that states no sequence number (0, which no batch has)
    /// takes the one that the manifest gives to all of its rows.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn check_facts(&mut self, stated: &FileFacts) -> Result<()> {
        let one_for_all = self.kind.takes_seq_from_manifest() && stated.min_seq == stated.max_seq;
        if one_for_all && (self.footer.min_seq, self.footer.max_seq) == (0, 0) {
            (self.footer.min_seq, self.footer.max_seq) = (stated.min_seq, stated.max_seq);
        }
        let own = self.facts();
        match own == *stated {
            true => Ok(()),
            false => Err(self.corrupt_footer(format!("the manifest states {stated:?}, the file has {own:?}"))),
        }
    }

    /// The bytes of one of this file's sections; of a file that was cut and is salvaged, those that are there.
    pub fn section_bytes<'a>(&self, bytes: &'a [u8], section: &Section) -> &'a [u8] {
        let end = (section.end() as usize).min(bytes.len());
        bytes.get(section.offset as usize..end).unwrap_or_default()
    }

    /// Checks the checksum of a section under the scheme `Whole`, given its bytes.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn check_whole(&self, bytes: &[u8], section: &Section) -> Result<()> {
        self.check_whole_crc(unit_crc(self.file_seed, section.offset, bytes), section)
    }

    /// The same, given the checksum that was computed.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn check_whole_crc(&self, found: u32, section: &Section) -> Result<()> {
        match matches(found, section.crc) {
            true => Ok(()),
            false => Err(Error::corrupt(
                &self.name,
                section.kind.name(),
                section.offset,
                format!("checksum of the section is {found:08x}, stored is {:08x}", section.crc),
            )),
        }
    }

    /// Says that a fact of the footer is wrong.
    pub fn corrupt_footer(&self, what: impl Into<String>) -> Error {
        Error::corrupt(&self.name, "footer", self.len.saturating_sub(FOOTER_BYTES as u64), what)
    }

    /// Says that a section is wrong.
    pub fn corrupt_section(&self, section: &Section, what: impl Into<String>) -> Error {
        Error::corrupt(&self.name, section.kind.name(), section.offset, what)
    }

    /// Says that a section the kind of file cannot do without is not there.
    pub fn missing(&self, kind: SectionKind) -> Error {
        self.corrupt_footer(format!("the {} has no section {}", self.kind.name(), kind.name()))
    }

    /// The bytes that belong to no section: all of them must be zero.
    pub fn gaps(&self) -> impl Iterator<Item = std::ops::Range<u64>> + '_ {
        let directory = self.len.saturating_sub((FOOTER_BYTES + self.sections.len() * SECTION_ENTRY_BYTES) as u64);
        let starts = std::iter::once(HEADER_BYTES as u64).chain(self.sections.iter().map(Section::end));
        let ends = self.sections.iter().map(|section| section.offset).chain(std::iter::once(directory));
        starts.zip(ends).map(|(start, end)| start..end)
    }
}

/// Both ends of a file; they may overlap.
struct Ends<'a> {
    len: u64,
    head: &'a [u8],
    tail: &'a [u8],
}

impl Ends<'_> {
    /// What stands between a place in the file and its footer; `None` if the place is before the tail or behind it.
    fn directory(&self, offset: u64) -> Option<&[u8]> {
        let before = self.len.checked_sub(self.tail.len() as u64)?;
        let start = usize::try_from(offset.checked_sub(before)?).ok()?;
        self.tail.get(start..self.tail.len().checked_sub(FOOTER_BYTES)?)
    }
}

fn verify_header(ends: &Ends<'_>, wanted: &Identity<'_>) -> Result<u32> {
    let corrupt = |at: u64, what: String| Error::corrupt(wanted.name, "header", at, what);
    let (header, _) = Header::read_from_prefix(ends.head)
        .map_err(|_| corrupt(0, format!("the file has {} bytes, too few for a header", ends.len)))?;
    if header.magic != MAGIC {
        return Err(corrupt(0, "the file does not start with the magic of our files".into()));
    }
    let covered = header.as_bytes().get(..HEADER_BYTES - 4).unwrap_or_default();
    if !matches(unit_crc(file_seed(header.file_id.get()), 0, covered), header.crc.get()) {
        return Err(corrupt(60, "checksum of the header does not match".into()));
    }
    if header.format_version.get() != FORMAT_VERSION || header.features_incompatible.get() != 0 {
        return Err(unsupported(
            wanted,
            format!(
                "format version {} with features {:#x}; this build reads version {FORMAT_VERSION}",
                header.format_version, header.features_incompatible
            ),
        ));
    }
    let is = (header.file_kind.get(), header.file_id.get(), header.collection_id.get());
    let kind = ContainerKind::from_number(is.0).map_or("file of an unknown kind", ContainerKind::name);
    if is != (wanted.kind as u16, wanted.file_id, wanted.collection) {
        return Err(corrupt(
            8,
            format!(
                "it is a {kind}, id {:032x}, collection {:032x}; wanted is a {}, id {:032x}, collection {:032x}",
                is.1,
                is.2,
                wanted.kind.name(),
                wanted.file_id,
                wanted.collection
            ),
        ));
    }
    if header.reserved.get() != 0 {
        return Err(corrupt(56, "reserved bytes are set".into()));
    }
    Ok(file_seed(wanted.file_id))
}

fn verify_footer(ends: &Ends<'_>, wanted: &Identity<'_>, file_seed: u32) -> Result<Footer> {
    let at = ends.len.saturating_sub(FOOTER_BYTES as u64);
    let corrupt = |what: String| Error::corrupt(wanted.name, "footer", at, what);
    let (_, footer) = Footer::read_from_suffix(ends.tail)
        .map_err(|_| corrupt(format!("the file has {} bytes, too few for a footer", ends.len)))?;
    if footer.magic != FOOTER_MAGIC {
        return Err(corrupt("the file does not end with a footer: it is cut or was never finished".into()));
    }
    let directory = Some(footer.directory_offset.get())
        .filter(|start| *start >= HEADER_BYTES as u64 && footer.section_count.get() as usize <= MAX_SECTIONS)
        .and_then(|start| ends.directory(start))
        .filter(|directory| {
            Some(directory.len()) == (footer.section_count.get() as usize).checked_mul(SECTION_ENTRY_BYTES)
        })
        .ok_or_else(|| corrupt("the section directory does not end where the footer starts".into()))?;
    let header = ends.head.get(..HEADER_BYTES).unwrap_or_default();
    let root = root_crc(file_seed, header, directory, &footer);
    if !matches(root, footer.root.get()) {
        return Err(corrupt(format!("the root checksum is {root:08x}, stored is {:08x}", footer.root)));
    }
    if footer.file_len.get() != ends.len {
        return Err(corrupt(format!(
            "the footer was written for {} bytes, the file has {}",
            footer.file_len, ends.len
        )));
    }
    if footer.reserved_a.get() != 0 || footer.reserved_b != [0; 8] {
        return Err(corrupt("reserved bytes are set".into()));
    }
    if footer.frame_hash != [0; 32] && !matches!(wanted.kind, ContainerKind::Lists | ContainerKind::Model) {
        return Err(unsupported(wanted, "its codes depend on a frame, which this build does not know".into()));
    }
    Ok(footer)
}

fn verify_directory(ends: &Ends<'_>, wanted: &Identity<'_>, footer: &Footer) -> Result<Vec<Section>> {
    let directory_offset = footer.directory_offset.get();
    let entries = ends
        .directory(directory_offset)
        .and_then(|directory| <[SectionEntry]>::ref_from_bytes(directory).ok())
        .unwrap_or_default();
    let mut sections: Vec<Section> = Vec::with_capacity(entries.len());
    for (i, entry) in entries.iter().enumerate() {
        let free = sections.last().map_or(HEADER_BYTES as u64, Section::end)..directory_offset;
        let at = directory_offset.saturating_add((i * SECTION_ENTRY_BYTES) as u64);
        let section = Section::decode(entry, free)
            .map_err(|what| Error::corrupt(wanted.name, "directory", at, format!("section {i}: {what}")))?;
        if sections.iter().any(|other| other.kind == section.kind) {
            return Err(Error::corrupt(
                wanted.name,
                "directory",
                at,
                format!("two sections of kind {:#x}", section.kind.0),
            ));
        }
        sections.push(section);
    }
    Ok(sections)
}

impl Container {
    /// Refuses sections that this build does not know and that say a reader must.
    ///
    /// # Errors
    /// `UnsupportedVersion`.
    pub fn check_known(&self, known: &[SectionKind]) -> Result<()> {
        let unknown = self
            .sections
            .iter()
            .filter(|section| !known.contains(&section.kind))
            .find(|section| section.flags & FLAG_REQUIRED != 0);
        match unknown {
            None => Ok(()),
            Some(section) => Err(Error::new(
                ErrorKind::UnsupportedVersion,
                format!("{} has a section of kind {:#x}, which this build does not know", self.name, section.kind.0),
            )
            .with_hint("use a newer build")),
        }
    }
}

/// The root checksum: header, directory, and the footer up to the checksum itself.
pub(super) fn root_crc(file_seed: u32, header: &[u8], directory: &[u8], footer: &Footer) -> u32 {
    let start = crc32(crc32(unit_seed(file_seed, footer.directory_offset.get()), header), directory);
    crc32(start, footer.as_bytes().get(..FOOTER_BYTES - 4).unwrap_or_default())
}

fn unsupported(wanted: &Identity<'_>, what: String) -> Error {
    Error::new(ErrorKind::UnsupportedVersion, format!("{}: {what}", wanted.name)).with_hint("use a newer build")
}

/// The header of a new file.
pub fn encode_header(wanted: &Identity<'_>) -> Header {
    let mut header = Header {
        magic: MAGIC,
        format_version: FORMAT_VERSION.into(),
        file_kind: (wanted.kind as u16).into(),
        features_compatible: 0.into(),
        features_read_only: 0.into(),
        features_incompatible: 0.into(),
        file_id: wanted.file_id.into(),
        collection_id: wanted.collection.into(),
        reserved: 0.into(),
        crc: 0.into(),
    };
    let covered = header.as_bytes().get(..HEADER_BYTES - 4).unwrap_or_default();
    header.crc = unit_crc(file_seed(wanted.file_id), 0, covered).into();
    header
}

/// Directory and footer of a new file, to be written from `directory_offset` on, and the facts for the manifest.
pub fn encode_tail(
    header: &Header,
    directory_offset: u64,
    sections: &[Section],
    footer: &FooterFacts,
    frame_hash: &[u8; 32],
) -> (Vec<u8>, FileFacts) {
    let mut tail = Vec::with_capacity(sections.len() * SECTION_ENTRY_BYTES + FOOTER_BYTES);
    for section in sections {
        tail.extend_from_slice(section.encode().as_bytes());
    }
    let file_len = directory_offset + (tail.len() + FOOTER_BYTES) as u64;
    let mut last = footer_before_root(file_len, directory_offset, sections.len(), footer, frame_hash);
    let root = root_crc(file_seed(header.file_id.get()), header.as_bytes(), &tail, &last);
    last.root = root.into();
    tail.extend_from_slice(last.as_bytes());
    let facts = FileFacts {
        len: file_len,
        root,
        rows: footer.rows,
        first_row: footer.first_row,
        last_row: footer.last_row,
        min_seq: footer.min_seq,
        max_seq: footer.max_seq,
    };
    (tail, facts)
}

/// A footer but for its root checksum.
pub(super) fn footer_before_root(
    file_len: u64,
    directory_offset: u64,
    sections: usize,
    facts: &FooterFacts,
    frame_hash: &[u8; 32],
) -> Footer {
    Footer {
        file_len: file_len.into(),
        directory_offset: directory_offset.into(),
        section_count: (sections as u32).into(),
        reserved_a: 0.into(),
        rows: facts.rows.into(),
        first_row: facts.first_row.into(),
        last_row: facts.last_row.into(),
        min_seq: facts.min_seq.into(),
        max_seq: facts.max_seq.into(),
        origin: facts.origin.into(),
        parameters: facts.parameters.map(U64::new),
        frame_hash: *frame_hash,
        reserved_b: [0; 8],
        magic: FOOTER_MAGIC,
        root: 0.into(),
    }
}
