//! The frame of a damaged file, made again from what the manifest states of it.
//!
//! Everything in header and footer follows from the manifest and the schema but for the place of the section directory, which follows
//! from the length and the number of sections. So the root checksum that the manifest states proves a section directory, whether it
//! was read or put together, without the bytes of header and footer.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use zerocopy::{FromBytes, IntoBytes};

use super::checksum::{file_seed, matches};
use super::container::{
    Container, FOOTER_BYTES, FooterFacts, HEADER_BYTES, Identity, SECTION_ENTRY_BYTES, encode_header, encode_tail,
    footer_before_root, root_crc,
};
use super::facts::FileFacts;
use super::section::{Section, SectionEntry};

/// Most sections that a directory is looked for with.
const MOST_SECTIONS: u64 = 16;

/// What manifest and schema say of a file.
pub(crate) struct Stated<'a> {
    pub(crate) identity: Identity<'a>,
    pub(crate) facts: FileFacts,
    pub(crate) origin: u128,
    pub(crate) parameters: [u64; 4],
}

impl Stated<'_> {
    /// The frame, if the section directory of `bytes` gives the stated root.
    pub(crate) fn by_directory(&self, bytes: &[u8]) -> Option<Container> {
        (1..=MOST_SECTIONS).find_map(|count| {
            let len = count * SECTION_ENTRY_BYTES as u64;
            let at = self.facts.len.checked_sub(FOOTER_BYTES as u64 + len).filter(|at| *at >= HEADER_BYTES as u64)?;
            let start = usize::try_from(at).ok()?;
            let directory = bytes.get(start..start.checked_add(len as usize)?)?;
            let header = encode_header(&self.identity);
            let proven = self.footers().into_iter().any(|facts| {
                let footer = footer_before_root(self.facts.len, at, count as usize, &facts, &[0; 32]);
                let root = root_crc(file_seed(self.identity.file_id), header.as_bytes(), directory, &footer);
                matches(root, self.facts.root)
            });
            let entries = <[SectionEntry]>::ref_from_bytes(directory).ok().filter(|_| proven)?;
            let mut sections: Vec<Section> = Vec::with_capacity(entries.len());
            for entry in entries {
                let free = sections.last().map_or(HEADER_BYTES as u64, Section::end)..at;
                let section = Section::decode(entry, free).ok()?;
                if sections.iter().any(|other| other.kind == section.kind) {
                    return None;
                }
                sections.push(section);
            }
            Some(self.unproven(sections))
        })
    }

    /// The frame, if these sections give the stated length and root.
    pub(crate) fn by_sections(&self, sections: Vec<Section>) -> Option<Container> {
        let end = sections.last()?.end().checked_next_multiple_of(64)?;
        // No file of that length has them, and the sums below cannot wrap.
        if end >= self.facts.len {
            return None;
        }
        let header = encode_header(&self.identity);
        let proven = self.footers().into_iter().any(|facts| {
            let (_, found) = encode_tail(&header, end, &sections, &facts, &[0; 32]);
            found.len == self.facts.len && matches(found.root, self.facts.root)
        });
        proven.then(|| self.unproven(sections))
    }

    /// A frame of these sections that only their own checksums can bear out.
    pub(crate) fn unproven(&self, sections: Vec<Section>) -> Container {
        let [footer, _] = self.footers();
        Container::assembled(&self.identity, &self.facts, footer, sections)
    }

    /// The footers that fit the facts: a file of one sequence number may leave it to the manifest.
    fn footers(&self) -> [FooterFacts; 2] {
        let facts = &self.facts;
        let footer = FooterFacts {
            rows: facts.rows,
            first_row: facts.first_row,
            last_row: facts.last_row,
            min_seq: facts.min_seq,
            max_seq: facts.max_seq,
            origin: self.origin,
            parameters: self.parameters,
        };
        let one = facts.min_seq == facts.max_seq && self.identity.kind.takes_seq_from_manifest();
        [footer, if one { FooterFacts { min_seq: 0, max_seq: 0, ..footer } } else { footer }]
    }
}
