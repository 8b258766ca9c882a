//! Opening a row file that does not open: what the manifest states of it takes the place of what is damaged.
//!
//! Header and footer are made again from the manifest. If that and the section directory give the stated root, all sections are where they
//! say, and a file that was cut short is read as far as it goes. Else the sections are placed as the writer places them, with every
//! length that the manifest does not give taken from offset columns and blocks that prove themselves; which columns there are is known
//! when the root fits, or, where the end of the payload blocks is lost, when the first piece of each column is whole.
//! Either way a row counts only when all that belongs to it passes its own checksums, which are bound to file and place.

use std::sync::Arc;

use zerocopy::{FromBytes, IntoBytes};

use super::layout::{MAX_ROWS, RowLayout};
use super::mapped_file::MappedFile;
use super::pages::{PageBitmap, PageDirectory, PageEntry, count_entries, run_entries};
use super::payload_reader::{PayloadColumn, walk};
use super::payload_writer::{BlockEntry, MAX_RATIO, most_block_bytes};
use super::row_file::{KNOWN, RowFile};
use super::unit_section::UnitSection;
use crate::error::{Error, Result};
use crate::format::checksum::{file_seed, unit_crc};
use crate::format::container::{Container, HEADER_BYTES, Header, Identity, MAGIC};
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::section::{FLAG_REQUIRED, LARGE_ALIGN, MIDDLE_ALIGN, SMALL_ALIGN, Scheme, Section, alignment};
use crate::format::stated::Stated;
use crate::format::unit::UnitShape;
use crate::id::IdKind;
use crate::storage::{FileId, FileKind, FileName, Mapping, Storage};

/// Of a file that has lost more than all but this part nothing is looked for: memory is bounded by bytes that are there.
const LEAST_PART: u64 = 64;

impl RowFile {
    /// Which file the one under this name says it is.
    pub(crate) fn inner_id(storage: &dyn Storage, name: FileId) -> Option<FileId> {
        let file = storage.open(FileName::File(FileKind::Row, name)).ok()?;
        let mapping = file.map().ok()?;
        let (header, _) = Header::read_from_prefix(mapping.bytes()).ok()?;
        (header.magic == MAGIC).then(|| FileId::from_u128(header.file_id.get()))
    }

    /// Opens what is left of the file that `facts` states, under the name of `at`. No row is proven; rows whose numbers are not known have none.
    ///
    /// # Errors
    /// `Corrupt` if it cannot be told where rows are; `UnsupportedVersion`; `Io`.
    pub(crate) fn salvage(
        storage: &dyn Storage,
        at: FileId,
        id: FileId,
        (collection, origin): (u128, u128),
        layout: &RowLayout,
        facts: &FileFacts,
    ) -> Result<RowFile> {
        let name = FileName::File(FileKind::Row, at);
        let file = storage.open(name).map_err(|source| Error::io("open", name, source))?;
        let mapping = file.map().map_err(|source| Error::io("map", name, source))?;
        let len = mapping.bytes().len() as u64;
        let dense = facts.last_row.checked_sub(facts.first_row).filter(|gap| *gap >= facts.rows.saturating_sub(1));
        if !(1..=MAX_ROWS).contains(&facts.rows)
            || facts.min_seq > facts.max_seq
            || facts.len / LEAST_PART > len
            || dense.is_none()
        {
            return Err(Error::corrupt(
                name,
                "file",
                0,
                "too little of it is left, or its facts contradict each other",
            ));
        }
        let text = name.to_string();
        let identity = Identity { kind: ContainerKind::Rows, file_id: id.to_u128(), collection, name: &text };
        let stated = Stated { identity, facts: *facts, origin, parameters: layout.parameters() };
        let dense = dense == Some(facts.rows - 1);
        let container = match stated.by_directory(mapping.bytes()) {
            Some(container) => Some(container),
            None => Search { mapping: &mapping, stated: &stated, layout, id, collection, dense }.container(),
        };
        let container =
            container.ok_or_else(|| Error::corrupt(name, "file", 0, "it cannot be told where its sections are"))?;
        container.check_known(KNOWN)?;
        let file = MappedFile::assembled(mapping, container, ContainerKind::Rows, id, collection);
        let pages = match dense {
            true => PageDirectory::run(&file, facts.first_row, facts.last_row)?,
            false => PageDirectory::open(&file, facts.rows).or_else(|_| PageDirectory::untold(&file))?,
        };
        let payloads = PayloadColumn::salvage(&file, facts.rows)?;
        RowFile::assembled(file, layout, pages, payloads)
    }

    /// Of a file that opens: finds payloads whose table is damaged.
    pub(crate) fn find_payloads(&mut self) {
        self.payloads.iter_mut().for_each(PayloadColumn::find_blocks);
    }
}

/// Looks for the sections of a file whose directory is lost.
struct Search<'a> {
    mapping: &'a Arc<dyn Mapping>,
    stated: &'a Stated<'a>,
    layout: &'a RowLayout,
    id: FileId,
    collection: u128,
    dense: bool,
}

/// Sections so far, in the order of the writer.
#[derive(Clone)]
struct Placed {
    sections: Vec<Section>,
    end: u64,
}

impl Placed {
    fn put(&mut self, kind: SectionKind, scheme: Scheme, width: usize, entries: u64, len: Option<u64>) -> Option<()> {
        let len = len?;
        let offset = self.end.checked_next_multiple_of(alignment(len))?;
        self.end = offset.checked_add(len)?;
        let (flags, width, scheme) = (FLAG_REQUIRED, width as u32, Some(scheme));
        self.sections.push(Section { kind, flags, offset, len, entries, width, scheme, crc: 0 });
        Some(())
    }

    fn units(&mut self, kind: SectionKind, width: usize, entries: u64) -> Option<()> {
        let len = UnitShape::fixed(width, entries).and_then(|shape| shape.section_bytes());
        self.put(kind, Scheme::Units, width, entries, len)
    }
}

impl Search<'_> {
    fn container(&self) -> Option<Container> {
        let mut placed = self.pages()?;
        let rows = self.stated.facts.rows;
        let stride = self.layout.stride();
        if self.layout.has_vectors() {
            placed.put(SectionKind::ROW_VECTORS, Scheme::Record, stride, rows, rows.checked_mul(stride as u64))?;
        }
        if self.stated.facts.min_seq != self.stated.facts.max_seq {
            placed.units(SectionKind::ROW_SEQS, 8, rows)?;
        }
        if !self.layout.has_vectors() && self.layout.ids == IdKind::U64 {
            placed.units(SectionKind::ROW_U64_IDS, 8, rows)?;
        }
        // Bounds everything that is allocated for each row.
        if placed.end > self.stated.facts.len {
            return None;
        }
        if self.layout.ids == IdKind::Bytes {
            self.blobs(&mut placed, SectionKind::ROW_ID_OFFSETS, SectionKind::ROW_ID_BYTES)?;
        }
        let kinds = (SectionKind::ROW_ATTRIBUTE_OFFSETS, SectionKind::ROW_ATTRIBUTE_BYTES);
        let mut with = placed.clone();
        let ways = [Some(placed), self.blobs(&mut with, kinds.0, kinds.1).map(|()| with)];
        let ways: Vec<Placed> = ways.into_iter().flatten().collect();
        ways.iter()
            .find_map(|way| self.stated.by_sections(way.sections.clone()))
            .or_else(|| ways.iter().find_map(|way| self.with_payloads(way, true)))
            .or_else(|| ways.iter().find_map(|way| self.with_payloads(way, false)))
    }

    /// The page directory: known, if rows have no gaps, else read.
    fn pages(&self) -> Option<Placed> {
        let facts = &self.stated.facts;
        if self.dense {
            let entries = run_entries(facts.first_row, facts.last_row);
            return self.pages_of(entries.as_bytes(), 0);
        }
        [SMALL_ALIGN, MIDDLE_ALIGN, LARGE_ALIGN].into_iter().find_map(|at| {
            let bytes = self.mapping.bytes().get(at as usize..)?;
            let (pages, bitmaps) = count_entries(bytes, facts.rows)?;
            let bytes = bytes.get(..usize::try_from(pages).ok()?.checked_mul(size_of::<PageEntry>())?)?;
            self.pages_of(bytes, bitmaps).filter(|placed| placed.sections.first().is_some_and(|s| s.offset == at))
        })
    }

    fn pages_of(&self, bytes: &[u8], bitmaps: u64) -> Option<Placed> {
        let mut placed = Placed { sections: Vec::new(), end: HEADER_BYTES as u64 };
        let width = size_of::<PageEntry>();
        let (entries, len) = ((bytes.len() / width) as u64, bytes.len() as u64);
        placed.put(SectionKind::ROW_PAGES, Scheme::Whole, width, entries, Some(len))?;
        for section in &mut placed.sections {
            section.crc = unit_crc(file_seed(self.id.to_u128()), section.offset, bytes);
        }
        if bitmaps > 0 {
            placed.units(SectionKind::ROW_PAGE_BITMAPS, size_of::<PageBitmap>(), bitmaps)?;
        }
        Some(placed)
    }

    /// Places an offset column and the strings that it says there are.
    fn blobs(&self, placed: &mut Placed, offsets: SectionKind, bytes: SectionKind) -> Option<()> {
        let total = self.offsets(placed, offsets)?;
        placed.units(bytes, 1, total)
    }

    /// Places an offset column and reads where its last entry ends, which must be inside what the file can hold.
    fn offsets(&self, placed: &mut Placed, kind: SectionKind) -> Option<u64> {
        let rows = self.stated.facts.rows;
        placed.put(kind, Scheme::Offsets, 4, rows, UnitShape::offsets(rows).section_bytes())?;
        // Bounds everything that is allocated for each row.
        if placed.end > self.stated.facts.len {
            return None;
        }
        let column = UnitSection::new(&self.file(&placed.sections), *placed.sections.last()?).ok()?;
        let end = column.offsets(rows.checked_sub(1)?).ok()?.end;
        let most = self.stated.facts.len.checked_mul(MAX_RATIO as u64)?;
        (1..=most).contains(&end).then_some(end)
    }

    /// A frame with payloads: `whole` if all blocks are there and the root fits, else as far as blocks are found.
    fn with_payloads(&self, before: &Placed, whole: bool) -> Option<Container> {
        let mut placed = before.clone();
        let raw = self.offsets(&mut placed, SectionKind::ROW_PAYLOAD_OFFSETS)?;
        let offset = placed.end.checked_next_multiple_of(alignment(most_block_bytes(raw)))?;
        let len = (self.mapping.bytes().len() as u64).checked_sub(offset)?;
        let (kind, scheme, flags) = (SectionKind::ROW_PAYLOAD_BLOCKS, Some(Scheme::Blocks), FLAG_REQUIRED);
        let mut blocks = Section { kind, flags, offset, len, entries: 1, width: 1, scheme, crc: 0 };
        placed.sections.push(blocks);
        let (entries, found, stored) = walk(&self.file(&placed.sections), &blocks, raw);
        placed.sections.pop();
        (blocks.len, blocks.entries) = (stored, entries.len() as u64);
        placed.sections.push(blocks);
        placed.end = offset.checked_add(stored)?;
        if whole {
            placed.units(SectionKind::ROW_PAYLOAD_TABLE, size_of::<BlockEntry>(), blocks.entries)?;
            return self.stated.by_sections(placed.sections).filter(|_| found == raw);
        }
        (!entries.is_empty() && self.starts_whole(&before.sections))
            .then(|| self.stated.unproven(self.without_crc(placed)))
    }

    /// Whether the attributes, if there are any, begin with a whole unit: else what was taken for them is something else.
    fn starts_whole(&self, sections: &[Section]) -> bool {
        let attributes = sections.iter().find(|section| section.kind == SectionKind::ROW_ATTRIBUTE_BYTES);
        attributes.is_none_or(|section| {
            UnitSection::new(&self.file(sections), *section).is_ok_and(|bytes| bytes.unit(0).is_ok())
        })
    }

    /// Pages that were read and that no root bears out must not pass for proven.
    fn without_crc(&self, mut placed: Placed) -> Vec<Section> {
        if !self.dense {
            for section in placed.sections.iter_mut().filter(|section| section.kind == SectionKind::ROW_PAGES) {
                section.crc = !section.crc;
            }
        }
        placed.sections
    }

    fn file(&self, sections: &[Section]) -> Arc<MappedFile> {
        let container = self.stated.unproven(sections.to_vec());
        MappedFile::assembled(self.mapping.clone(), container, ContainerKind::Rows, self.id, self.collection)
    }
}
