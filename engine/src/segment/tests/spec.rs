//! The pages of `format-spec/` and the program say the same.

use std::collections::BTreeMap;

use super::super::id_table::{KeyEntry, PageName};
use super::super::layout::RecordTrailer;
use super::super::pages::{PageBitmap, PageEntry};
use super::super::payload_writer::{BlockEntry, BlockHeader};
use super::super::tombstones::DeadPage;
use crate::format::batch::{BatchHead, OpHead};
use crate::format::container::{Footer, Header};
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::layout::Described;
use crate::format::list::ListHeader;
use crate::format::log::{LogHeader, RecordHeader};
use crate::format::manifest::{
    CalibrationBytes, FileEntryBytes, HashedEntryBytes, ManifestHead, ManifestTail, TableHead, TrainingBytes,
};
use crate::format::model::{CentroidTail, CodebookHead, FrameHead};
use crate::format::section::{Scheme, SectionEntry};
use crate::format::unit::UnitTrailer;

const PAGES: [(&str, &str); 8] = [
    ("manifest.md", include_str!("../../../../format-spec/manifest.md")),
    ("wal.md", include_str!("../../../../format-spec/wal.md")),
    ("container.md", include_str!("../../../../format-spec/container.md")),
    ("row-file.md", include_str!("../../../../format-spec/row-file.md")),
    ("id-table.md", include_str!("../../../../format-spec/id-table.md")),
    ("tombstones.md", include_str!("../../../../format-spec/tombstones.md")),
    ("attributes.md", include_str!("../../../../format-spec/attributes.md")),
    ("lists.md", include_str!("../../../../format-spec/lists.md")),
];

/// Where tags are cited.
const TESTS: [&str; 10] = [
    include_str!("../../format/attributes_tests.rs"),
    include_str!("../../format/unit_tests.rs"),
    include_str!("../id_filter.rs"),
    include_str!("dead_rows.rs"),
    include_str!("flips.rs"),
    include_str!("hostile.rs"),
    include_str!("lists.rs"),
    include_str!("../../trial/tests.rs"),
    concat!(include_str!("ids.rs"), include_str!("rows.rs")),
    include_str!("../../kernel/element.rs"),
];

type Fields = Vec<(String, usize, usize)>;

/// The cells of a table row; `None` for any other line.
fn cells(line: &str) -> Option<Vec<&str>> {
    Some(line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect())
}

/// Every table of fields: under a heading with the name of a structure and its size in bytes.
fn tables() -> BTreeMap<String, (usize, Fields)> {
    let mut tables = BTreeMap::new();
    for (page, text) in PAGES {
        let mut current: Option<String> = None;
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("### `") {
                let (name, rest) = heading.split_once("` ").unwrap();
                let size = rest.split(' ').next().unwrap().parse().unwrap();
                assert!(tables.insert(name.to_owned(), (size, Vec::new())).is_none(), "{page}: {name} twice");
                current = Some(name.to_owned());
            } else if line.starts_with('#') {
                current = None;
            } else if let (Some(name), Some(cells)) = (&current, cells(line))
                && let (Ok(offset), Ok(size)) = (cells[0].parse(), cells[1].parse())
            {
                tables.get_mut(name).unwrap().1.push((cells[2].to_owned(), offset, size));
            }
        }
    }
    tables
}

fn take<T: Described>(tables: &mut BTreeMap<String, (usize, Fields)>) {
    let (size, fields) = tables.remove(T::NAME).unwrap_or_else(|| panic!("no table of {}", T::NAME));
    let own: Fields = T::fields().into_iter().map(|(name, offset, size)| (name.to_owned(), offset, size)).collect();
    assert_eq!((size, fields), (T::SIZE, own), "{}", T::NAME);
}

#[test]
fn tables_of_fields_are_those_of_the_program() {
    let mut tables = tables();
    take::<Header>(&mut tables);
    take::<SectionEntry>(&mut tables);
    take::<UnitTrailer>(&mut tables);
    take::<Footer>(&mut tables);
    take::<PageEntry>(&mut tables);
    take::<PageBitmap>(&mut tables);
    take::<RecordTrailer>(&mut tables);
    take::<BlockHeader>(&mut tables);
    take::<BlockEntry>(&mut tables);
    take::<PageName>(&mut tables);
    take::<KeyEntry>(&mut tables);
    take::<DeadPage>(&mut tables);
    take::<ManifestHead>(&mut tables);
    take::<TableHead>(&mut tables);
    take::<FileEntryBytes>(&mut tables);
    take::<HashedEntryBytes>(&mut tables);
    take::<CalibrationBytes>(&mut tables);
    take::<TrainingBytes>(&mut tables);
    take::<ManifestTail>(&mut tables);
    take::<LogHeader>(&mut tables);
    take::<RecordHeader>(&mut tables);
    take::<BatchHead>(&mut tables);
    take::<OpHead>(&mut tables);
    take::<ListHeader>(&mut tables);
    take::<FrameHead>(&mut tables);
    take::<CentroidTail>(&mut tables);
    take::<CodebookHead>(&mut tables);
    assert!(tables.is_empty(), "only in the specification: {:?}", tables.keys());
}

#[test]
fn numbers_of_sections_files_and_schemes_are_those_of_the_program() {
    let rows = || PAGES.iter().flat_map(|(_, text)| text.lines()).filter_map(cells);
    let mut sections: Vec<(u32, &str)> = rows()
        .filter_map(|cells| Some((u32::from_str_radix(cells[0].strip_prefix("0x")?, 16).ok()?, cells[1])))
        .collect();
    sections.sort_unstable();
    assert_eq!(sections, SectionKind::ALL);
    let files: Vec<(u16, &str)> = rows()
        .filter(|cells| cells.len() == 4 && cells[2].ends_with("-`"))
        .map(|c| (c[0].parse().unwrap(), c[1]))
        .collect();
    let own: Vec<(u16, &str)> = (1..).map_while(|n| Some((n, ContainerKind::from_number(n)?.name()))).collect();
    assert_eq!(files, own);
    let schemes = [Scheme::Record, Scheme::Units, Scheme::Offsets, Scheme::Whole, Scheme::Blocks, Scheme::Pieces];
    for scheme in schemes {
        let (number, name) = ((scheme as u32).to_string(), format!("{scheme:?}").to_lowercase());
        assert!(rows().any(|cells| cells.len() == 3 && cells[0] == number && cells[1] == name), "{name}");
    }
}

#[test]
fn every_tagged_sentence_has_a_test() {
    let mut tags: Vec<&str> = PAGES
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.strip_prefix("`[")?.split_once("]`").map(|(tag, _)| tag))
        .collect();
    let count = tags.len();
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), count, "a tag stands at two sentences");
    assert!(count > 30, "{count} tags");
    for tag in tags {
        let cited = format!("[{tag}]");
        assert!(TESTS.iter().any(|test| test.contains(&cited)), "no test names {cited}");
    }
}
