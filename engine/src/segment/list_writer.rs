//! Writing list segments.

use std::collections::BTreeSet;
use std::sync::Arc;

use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::file_writer::{FileWriter, SectionWriter, settle};
use super::id_table::{MAX_PAGES, PageName};
use super::layout::{MAX_ROWS, PAGE_ROWS, PAGE_SHIFT};
use super::list_file::ListFile;
use crate::error::{Error, Result};
use crate::format::checksum::unit_crc;
use crate::format::container::FooterFacts;
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::list::{ListCode, ListHeader, ListParts, ListShape, MAX_ENTRIES, NO_ROW, PIECE_ALIGN};
use crate::storage::{FileId, FileKind, FileName, Storage, StorageFile};

/// One list, as it goes into a segment.
#[derive(Clone, Copy)]
pub(crate) struct ListInput<'a> {
    /// The row of each entry, first copies in front.
    pub(crate) rows: &'a [u64],
    /// Sign blocks; none for whole vectors.
    pub(crate) signs: &'a [u8],
    /// First-stage factors of the blocks.
    pub(crate) factors: &'a [u8],
    /// Records or vectors, end to end.
    pub(crate) records: &'a [u8],
}

/// Lists to be written. Read twice, in the order of lists: rows first, then everything.
pub(crate) trait ListSource {
    /// Number of lists.
    fn lists(&self) -> usize;

    /// The rows of a list, and how many of them, in front, are first copies.
    ///
    /// # Errors
    /// What keeps the source from giving them.
    fn rows(&self, list: usize, take: &mut dyn FnMut(&[u64], usize)) -> Result<()>;

    /// A list.
    ///
    /// # Errors
    /// What keeps the source from giving it.
    fn visit(&mut self, list: usize, take: &mut dyn FnMut(ListInput<'_>) -> Result<()>) -> Result<()>;
}

/// What a segment states beside its lists.
#[derive(Clone, Copy)]
pub(crate) struct ListFileHead {
    /// The collection's id.
    pub(crate) collection: u128,
    /// Where the rows' numbers were given.
    pub(crate) origin: u128,
    /// How entries are kept.
    pub(crate) shape: ListShape,
    /// Hash of the model.
    pub(crate) model: [u8; 32],
    /// Smallest and largest sequence number of the rows.
    pub(crate) seqs: (u64, u64),
}

/// Where everything goes.
struct Plan {
    headers: Vec<ListHeader>,
    pages: Vec<PageName>,
    rows: u64,
    ends: (u64, u64),
    scan: u64,
    records: u64,
    checks: u64,
}

/// Writes lists into one segment, syncs it, opens it again and checks every byte. The same lists give the same bytes. The name
/// is durable only after a `sync_dir` by the caller. Holds 32 bytes per list and one list beside what the source holds.
///
/// # Errors
/// `InvalidArgument` if there are no rows, too many, or a list does not have the bytes its shape demands; otherwise what source
/// and storage say. A file that was begun is removed, as far as possible.
pub(crate) fn write_lists(
    storage: &dyn Storage,
    id: FileId,
    head: &ListFileHead,
    source: &mut dyn ListSource,
) -> Result<FileFacts> {
    let plan = plan(head, source)?;
    let footer = FooterFacts {
        rows: plan.rows,
        first_row: plan.ends.0,
        last_row: plan.ends.1,
        min_seq: head.seqs.0,
        max_seq: head.seqs.1,
        origin: head.origin,
        parameters: head.shape.parameters(plan.headers.len() as u64),
    };
    let name = FileName::File(FileKind::List, id);
    let writer = FileWriter::create(storage, name, ContainerKind::Lists, head.collection)?;
    settle(storage, name, write(writer, head, &plan, source, &footer), |facts| {
        let file = ListFile::open(storage, id, head.collection, head.origin, &head.model, facts)?;
        let mut first = None;
        file.verify(&mut |error| {
            first.get_or_insert(error);
        });
        first.map_or(Ok(*facts), Err)
    })
}

fn plan(head: &ListFileHead, source: &dyn ListSource) -> Result<Plan> {
    let mut plan =
        Plan { headers: Vec::new(), pages: Vec::new(), rows: 0, ends: (u64::MAX, 0), scan: 0, records: 0, checks: 0 };
    let mut pages = BTreeSet::new();
    for list in 0..source.lists() {
        let mut numbers = (0, 0);
        source.rows(list, &mut |rows, primary| {
            numbers = (primary, rows.len());
            let mut last = None;
            for row in rows {
                plan.ends = (plan.ends.0.min(*row), plan.ends.1.max(*row));
                if last.replace(row >> PAGE_SHIFT) != Some(row >> PAGE_SHIFT) {
                    pages.insert(row >> PAGE_SHIFT);
                }
            }
        })?;
        let (primary, total) = numbers;
        if primary > total || total > MAX_ENTRIES as usize || plan.checks > u64::from(u32::MAX) {
            return Err(Error::argument(
                "lists",
                format!("cannot have a list of {total} entries, {primary} of them first"),
            ));
        }
        let parts = head.shape.parts(total as u32);
        plan.headers.push(ListHeader {
            scan_offset: plan.scan.into(),
            record_offset: plan.records.into(),
            n_primary: (primary as u32).into(),
            n_total: (total as u32).into(),
            first_check: (plan.checks as u32).into(),
            reserved: 0.into(),
        });
        plan.rows += primary as u64;
        plan.scan += parts.scan_bytes() as u64;
        plan.records += parts.record_bytes() as u64;
        plan.checks += parts.checks() as u64;
    }
    if !(1..=MAX_ROWS).contains(&plan.rows) || pages.len() as u64 > MAX_PAGES {
        let what = format!(
            "have {} rows in {} pages; a list segment has 1..={MAX_ROWS} in {MAX_PAGES}",
            plan.rows,
            pages.len()
        );
        return Err(Error::argument("lists", what));
    }
    let name = |page: u64| PageName { page: page.into(), origin_index: 0.into(), reserved: 0.into() };
    plan.pages = pages.into_iter().map(name).collect();
    Ok(plan)
}

fn write(
    mut file: FileWriter,
    head: &ListFileHead,
    plan: &Plan,
    source: &mut dyn ListSource,
    footer: &FooterFacts,
) -> Result<(FileFacts, Arc<dyn StorageFile>)> {
    file.whole(SectionKind::LIST_PAGES, size_of::<PageName>(), plan.pages.as_bytes())?;
    file.whole(SectionKind::LIST_HEADERS, size_of::<ListHeader>(), plan.headers.as_bytes())?;
    let lines = |bytes: u64| bytes / PIECE_ALIGN as u64;
    let scan = file.pieces(SectionKind::LIST_SCAN, PIECE_ALIGN, lines(plan.scan))?;
    let kind = match head.shape.code() {
        ListCode::Raw(_) => SectionKind::LIST_RAW,
        _ => SectionKind::LIST_RECORDS,
    };
    let records = match plan.records {
        0 => None,
        bytes => Some(file.pieces(kind, PIECE_ALIGN, lines(bytes))?),
    };
    file.extend()?;
    let checks = Vec::with_capacity(plan.checks as usize);
    let mut columns = Columns { file_seed: file.file_seed(), scan, records, checks, piece: Vec::new() };
    for (list, header) in plan.headers.iter().enumerate() {
        let parts = head.shape.parts(header.n_total.get());
        source.visit(list, &mut |input| columns.push(&parts, header, &plan.pages, input))?;
    }
    let Columns { scan, records, checks, .. } = columns;
    scan.finish()?;
    records.map_or(Ok(()), SectionWriter::finish)?;
    file.whole(SectionKind::LIST_CHECKS, 4, checks.as_bytes())?;
    file.finish_under(footer, &head.model)
}

/// The sections being filled.
struct Columns {
    file_seed: u32,
    scan: SectionWriter,
    records: Option<SectionWriter>,
    checks: Vec<U32>,
    piece: Vec<u8>,
}

impl Columns {
    fn push(&mut self, parts: &ListParts, header: &ListHeader, pages: &[PageName], input: ListInput<'_>) -> Result<()> {
        let count = header.n_total.get() as usize;
        let fits = input.rows.len() == count
            && input.signs.len() == parts.signs().len()
            && input.factors.len() == parts.factors().len()
            && Some(input.records.len()) == count.checked_mul(parts.record_len());
        let unfit = || Error::argument("lists", "changed between two looks, or do not have the bytes of their shape");
        if !fits {
            return Err(unfit());
        }
        self.piece.clear();
        self.piece.extend_from_slice(input.signs);
        self.piece.extend_from_slice(input.factors);
        for row in input.rows {
            let page = row >> PAGE_SHIFT;
            let local = pages.partition_point(|name| name.page.get() < page) as u32;
            let word = local << PAGE_SHIFT | (row & (PAGE_ROWS - 1)) as u32;
            self.piece.extend_from_slice(&word.to_le_bytes());
        }
        self.piece.resize(parts.scan_bytes(), 0xFF);
        debug_assert_eq!(NO_ROW, u32::MAX);
        let chunks = (0..parts.scan_checks()).map(|i| parts.scan_chunk(i));
        append(&mut self.scan, self.file_seed, &self.piece, chunks, &mut self.checks)?;
        let Some(records) = &mut self.records else { return Ok(()) };
        parts.lay_out_records(input.records, &mut self.piece).ok_or_else(unfit)?;
        let chunks = (0..parts.record_checks()).map(|i| parts.record_chunk(i));
        append(records, self.file_seed, &self.piece, chunks, &mut self.checks)
    }
}

/// Appends a piece and the checksums of its chunks.
fn append(
    section: &mut SectionWriter,
    file_seed: u32,
    piece: &[u8],
    chunks: impl Iterator<Item = std::ops::Range<usize>>,
    checks: &mut Vec<U32>,
) -> Result<()> {
    let at = section.offset();
    for chunk in chunks {
        let bytes = piece.get(chunk.clone()).unwrap_or_default();
        checks.push(unit_crc(file_seed, at + chunk.start as u64, bytes).into());
    }
    section.buffer().extend_from_slice(piece);
    section.spill()
}
