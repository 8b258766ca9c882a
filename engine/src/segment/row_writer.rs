//! Writing row files: one pass to count, one pass to write all sections side by side.

use std::sync::Arc;

use zerocopy::IntoBytes;

use super::file_writer::{FileWriter, SectionWriter, settle};
use super::layout::{MAX_ROWS, RecordTrailer, RowLayout};
use super::narrowest::Narrowest;
use super::pages::{PageBitmap, PageCutter, PageEntry};
use super::payload_writer::{BlockEntry, PayloadEncoder, most_block_bytes};
use super::row_file::RowFile;
use super::row_source::{RowInput, RowSource};
use crate::error::{Error, Result};
use crate::format::checksum::unit_crc;
use crate::format::container::FooterFacts;
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::unit_encoder::{OffsetEncoder, UnitEncoder};
use crate::id::{IdKind, IdRef};
use crate::kernel::{decode_row, encode_row, holds};
use crate::metric::Element;
use crate::options::{MAX_ATTRIBUTE_BYTES, MAX_PAYLOAD_BYTES};
use crate::storage::{FileId, FileKind, FileName, Storage, StorageFile};

/// Writes the rows of `rows` into one row file, syncs it, opens it again and checks every byte: the file that it returns is proven, and
/// its pages are in the map. Its layout is `layout` with the shortest components that hold all vectors. The name is durable only after a
/// `sync_dir` by the caller. Memory: about a mebibyte, and 24 bytes for each page and each payload block.
///
/// # Errors
/// `InvalidArgument` if there are no rows, too many, out of order, or one that the layout cannot hold; otherwise what the source or
/// the storage says. A file that was begun is removed, as far as possible.
pub(crate) fn write_row_file(
    storage: &dyn Storage,
    id: FileId,
    collection: u128,
    origin: u128,
    layout: &RowLayout,
    rows: &dyn RowSource,
) -> Result<RowFile> {
    WrittenRows::write(storage, id, collection, origin, layout, rows)?.settle(storage, collection, origin)
}

/// A row file that is written and synced, and not yet read back.
pub(crate) struct WrittenRows {
    id: FileId,
    facts: FileFacts,
    layout: RowLayout,
    file: Arc<dyn StorageFile>,
}

impl WrittenRows {
    /// The first half of [`write_row_file`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn write(
        storage: &dyn Storage,
        id: FileId,
        collection: u128,
        origin: u128,
        layout: &RowLayout,
        rows: &dyn RowSource,
    ) -> Result<WrittenRows> {
        let (plan, layout) = Plan::count(layout, rows)?;
        let name = FileName::File(FileKind::Row, id);
        let writer = FileWriter::create(storage, name, ContainerKind::Rows, collection)?;
        let written = write(writer, origin, &layout, rows, &plan).inspect_err(|_| {
            // Nobody names the file yet: if it stays, the next open removes it.
            let _ = storage.remove(name);
        });
        written.map(|(facts, file)| WrittenRows { id, facts, layout, file })
    }

    /// The second half: opens it again and checks every byte.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn settle(self, storage: &dyn Storage, collection: u128, origin: u128) -> Result<RowFile> {
        let name = FileName::File(FileKind::Row, self.id);
        settle(storage, name, Ok((self.facts, self.file)), |facts| {
            let file = RowFile::open(storage, self.id, collection, origin, &self.layout, facts)?;
            file.prove_all()?;
            Ok(file)
        })
    }
}

/// What the first pass finds out.
struct Plan {
    rows: u64,
    first_row: u64,
    last_row: u64,
    min_seq: u64,
    max_seq: u64,
    id_bytes: u64,
    attribute_bytes: u64,
    payload_bytes: u64,
    pages: Vec<PageEntry>,
    bitmaps: u64,
}

impl Plan {
    /// And the layout of the file.
    fn count(layout: &RowLayout, rows: &dyn RowSource) -> Result<(Plan, RowLayout)> {
        layout.check()?;
        if rows.len() == 0 || rows.len() as u64 > MAX_ROWS {
            return Err(Error::argument("rows", format!("are {}; a row file has 1..={MAX_ROWS}", rows.len())));
        }
        let mut plan = Plan {
            rows: rows.len() as u64,
            first_row: 0,
            last_row: 0,
            min_seq: u64::MAX,
            max_seq: 0,
            id_bytes: 0,
            attribute_bytes: 0,
            payload_bytes: 0,
            pages: Vec::new(),
            bitmaps: 0,
        };
        let mut cutter = PageCutter::new();
        let mut narrowest = Narrowest::new(layout);
        for i in 0..rows.len() {
            rows.visit(i, &mut |row| {
                plan.check(layout, &row, i == 0)?;
                narrowest.look(&row);
                plan.add(&row, i == 0);
                plan.add_page(cutter.push(row.row));
                Ok(())
            })?;
        }
        plan.add_page(cutter.finish());
        Ok((plan, RowLayout { element: narrowest.element(), ..*layout }))
    }

    fn check(&self, layout: &RowLayout, row: &RowInput<'_>, is_first: bool) -> Result<()> {
        row.id.check(layout.ids)?;
        let bytes = row.vector.len();
        // A row of another file may be shorter there.
        let own = |own: Element| own == row.element || own.narrower().contains(&row.element);
        let given = RowLayout { element: layout.element.map(|_| row.element), ..*layout };
        let padding_is_zero = row.vector.get(given.vector_bytes()..).is_some_and(|p| p.iter().all(|b| *b == 0));
        let problem = if !is_first && row.row <= self.last_row {
            format!("are not ascending: {} follows {}", row.row, self.last_row)
        } else if !layout.has_vectors() && bytes > 0 {
            "have vectors, and the file none".to_owned()
        } else if layout.element.is_some_and(|element| !own(element)) {
            format!("have a vector of {:?} where {:?} are stored", row.element, layout.element)
        } else if !(bytes == given.vector_bytes() || bytes == given.padded_bytes()) || !padding_is_zero {
            format!("have a vector of {bytes} bytes where {} are stored", given.vector_bytes())
        } else if layout.has_vectors() && !layout.norm_is_valid(row.norm) {
            format!("have a vector of length {} under {}", row.norm, layout.metric.name())
        } else if row.attributes.len() > MAX_ATTRIBUTE_BYTES || row.payload.len() > MAX_PAYLOAD_BYTES {
            format!("have {} bytes of attributes and {} of payload", row.attributes.len(), row.payload.len())
        } else {
            return Ok(());
        };
        Err(Error::argument("rows", problem))
    }

    fn add(&mut self, row: &RowInput<'_>, is_first: bool) {
        if is_first {
            self.first_row = row.row;
        }
        self.last_row = row.row;
        self.min_seq = self.min_seq.min(row.seq);
        self.max_seq = self.max_seq.max(row.seq);
        self.id_bytes += byte_id(row.id).len() as u64;
        self.attribute_bytes += row.attributes.len() as u64;
        self.payload_bytes += row.payload.len() as u64;
    }

    fn add_page(&mut self, page: Option<(PageEntry, Option<PageBitmap>)>) {
        if let Some((entry, bitmap)) = page {
            self.pages.push(entry);
            self.bitmaps += u64::from(bitmap.is_some());
        }
    }
}

fn write(
    mut file: FileWriter,
    origin: u128,
    layout: &RowLayout,
    rows: &dyn RowSource,
    plan: &Plan,
) -> Result<(FileFacts, Arc<dyn StorageFile>)> {
    file.whole(SectionKind::ROW_PAGES, size_of::<PageEntry>(), plan.pages.as_bytes())?;
    let mut columns = Columns::place(&mut file, layout, plan)?;
    file.extend()?;
    for i in 0..rows.len() {
        rows.visit(i, &mut |row| columns.push(&row))?;
    }
    columns.finish(&mut file)?;
    file.finish(&FooterFacts {
        rows: plan.rows,
        first_row: plan.first_row,
        last_row: plan.last_row,
        min_seq: plan.min_seq,
        max_seq: plan.max_seq,
        origin,
        parameters: layout.parameters(),
    })
}

/// A section that is a unit stream.
struct Units(SectionWriter, UnitEncoder);
/// A section that is an offset column.
struct Offsets(SectionWriter, OffsetEncoder);
/// Byte strings: where they end, and themselves.
struct Blobs(Offsets, Units);

/// All sections of a row file, being filled.
struct Columns {
    vectors: Option<Vectors>,
    /// Numeric ids, where they do not stand behind vectors.
    numbers: Option<Units>,
    pages: PageCutter,
    bitmaps: Option<Units>,
    seqs: Option<Units>,
    ids: Option<Blobs>,
    attributes: Option<Blobs>,
    payloads: Option<(Offsets, SectionWriter, PayloadEncoder)>,
}

impl Columns {
    /// Places every section that these rows need; the payload blocks, whose length is not known yet, come last.
    fn place(file: &mut FileWriter, layout: &RowLayout, plan: &Plan) -> Result<Columns> {
        let rows = plan.rows;
        let bitmaps = (plan.bitmaps > 0)
            .then(|| Units::place(file, SectionKind::ROW_PAGE_BITMAPS, size_of::<PageBitmap>(), plan.bitmaps))
            .transpose()?;
        let vectors = layout.has_vectors().then(|| Vectors::place(file, layout, rows)).transpose()?;
        let seqs =
            (plan.min_seq != plan.max_seq).then(|| Units::place(file, SectionKind::ROW_SEQS, 8, rows)).transpose()?;
        let numbers = (!layout.has_vectors() && layout.ids == IdKind::U64)
            .then(|| Units::place(file, SectionKind::ROW_U64_IDS, 8, rows))
            .transpose()?;
        let ids = (layout.ids == IdKind::Bytes)
            .then(|| Blobs::place(file, SectionKind::ROW_ID_OFFSETS, SectionKind::ROW_ID_BYTES, rows, plan.id_bytes))
            .transpose()?;
        let attribute_kinds = (SectionKind::ROW_ATTRIBUTE_OFFSETS, SectionKind::ROW_ATTRIBUTE_BYTES);
        let attributes = (plan.attribute_bytes > 0)
            .then(|| Blobs::place(file, attribute_kinds.0, attribute_kinds.1, rows, plan.attribute_bytes))
            .transpose()?;
        let payloads = match plan.payload_bytes {
            0 => None,
            bytes => {
                let offsets = Offsets::place(file, SectionKind::ROW_PAYLOAD_OFFSETS, rows)?;
                let blocks = file.open_blocks(SectionKind::ROW_PAYLOAD_BLOCKS, most_block_bytes(bytes));
                let encoder = PayloadEncoder::new(file.file_seed(), blocks.offset());
                Some((offsets, blocks, encoder))
            }
        };
        Ok(Columns { vectors, numbers, pages: PageCutter::new(), bitmaps, seqs, ids, attributes, payloads })
    }

    fn push(&mut self, row: &RowInput<'_>) -> Result<()> {
        let page = self.pages.push(row.row);
        self.push_bitmap(page)?;
        if let Some(vectors) = &mut self.vectors {
            vectors.push(row)?;
        }
        if let (Some(numbers), IdRef::U64(id)) = (&mut self.numbers, row.id) {
            numbers.push(&id.to_le_bytes())?;
        }
        if let Some(seqs) = &mut self.seqs {
            seqs.push(&row.seq.to_le_bytes())?;
        }
        if let Some(ids) = &mut self.ids {
            ids.push(byte_id(row.id))?;
        }
        if let Some(attributes) = &mut self.attributes {
            attributes.push(row.attributes)?;
        }
        if let Some((offsets, blocks, encoder)) = &mut self.payloads {
            offsets.push(row.payload.len())?;
            encoder.push(row.payload, blocks.buffer());
            blocks.spill()?;
        }
        Ok(())
    }

    fn push_bitmap(&mut self, page: Option<(PageEntry, Option<PageBitmap>)>) -> Result<()> {
        match (page, &mut self.bitmaps) {
            (Some((_, Some(bitmap))), Some(bitmaps)) => bitmaps.push(bitmap.as_bytes()),
            _ => Ok(()),
        }
    }

    fn finish(mut self, file: &mut FileWriter) -> Result<()> {
        let page = self.pages.finish();
        self.push_bitmap(page)?;
        self.vectors.map_or(Ok(()), |vectors| vectors.section.finish())?;
        self.numbers.map_or(Ok(()), Units::finish)?;
        self.bitmaps.map_or(Ok(()), Units::finish)?;
        self.seqs.map_or(Ok(()), Units::finish)?;
        self.ids.map_or(Ok(()), Blobs::finish)?;
        self.attributes.map_or(Ok(()), Blobs::finish)?;
        if let Some((offsets, mut blocks, encoder)) = self.payloads {
            offsets.finish()?;
            let table = encoder.finish(blocks.buffer());
            file.close_blocks(blocks, table.len() as u64)?;
            write_table(file, &table)?;
        }
        Ok(())
    }
}

fn write_table(file: &mut FileWriter, table: &[BlockEntry]) -> Result<()> {
    let mut units = Units::place(file, SectionKind::ROW_PAYLOAD_TABLE, size_of::<BlockEntry>(), table.len() as u64)?;
    file.extend()?;
    table.iter().try_for_each(|entry| units.push(entry.as_bytes()))?;
    units.finish()
}

/// Vector records.
struct Vectors {
    section: SectionWriter,
    layout: RowLayout,
    /// Of rows that are stored otherwise where they come from.
    vector: Vec<f32>,
    file_seed: u32,
}

impl Vectors {
    fn place(file: &mut FileWriter, layout: &RowLayout, rows: u64) -> Result<Vectors> {
        let section = file.records(SectionKind::ROW_VECTORS, layout.stride(), rows)?;
        Ok(Vectors { section, layout: *layout, vector: vec![0.0; layout.dim], file_seed: file.file_seed() })
    }

    fn push(&mut self, row: &RowInput<'_>) -> Result<()> {
        let offset = self.section.offset();
        let buffer = self.section.buffer();
        let start = buffer.len();
        match self.layout.element {
            Some(element) if element != row.element => {
                decode_row(row.element, row.vector, &mut self.vector);
                debug_assert!(holds(element, &self.vector), "the source gave another row than before");
                encode_row(element, &self.vector, buffer);
            }
            _ => buffer.extend_from_slice(row.vector),
        }
        buffer.resize(start + self.layout.padded_bytes(), 0);
        let id = match row.id {
            IdRef::U64(id) => id,
            IdRef::Bytes(_) => 0,
        };
        let mut trailer = RecordTrailer { id: id.into(), norm: row.norm.into(), crc: 0.into() };
        buffer.extend_from_slice(trailer.as_bytes().get(..12).unwrap_or_default());
        trailer.crc = unit_crc(self.file_seed, offset, buffer.get(start..).unwrap_or_default()).into();
        buffer.extend_from_slice(trailer.crc.as_bytes());
        self.section.spill()
    }
}

impl Units {
    fn place(file: &mut FileWriter, kind: SectionKind, width: usize, entries: u64) -> Result<Units> {
        let section = file.units(kind, width, entries)?;
        let encoder = UnitEncoder::fixed(file.file_seed(), section.offset(), width);
        Ok(Units(section, encoder))
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.1.push(bytes, self.0.buffer());
        self.0.spill()
    }

    fn finish(mut self) -> Result<()> {
        self.1.finish(self.0.buffer());
        self.0.finish()
    }
}

impl Offsets {
    fn place(file: &mut FileWriter, kind: SectionKind, entries: u64) -> Result<Offsets> {
        let section = file.offsets(kind, entries)?;
        let encoder = OffsetEncoder::new(file.file_seed(), section.offset());
        Ok(Offsets(section, encoder))
    }

    fn push(&mut self, len: usize) -> Result<()> {
        self.1.push(len, self.0.buffer());
        self.0.spill()
    }

    fn finish(mut self) -> Result<()> {
        self.1.finish(self.0.buffer());
        self.0.finish()
    }
}

impl Blobs {
    fn place(file: &mut FileWriter, offsets: SectionKind, bytes: SectionKind, rows: u64, total: u64) -> Result<Blobs> {
        Ok(Blobs(Offsets::place(file, offsets, rows)?, Units::place(file, bytes, 1, total)?))
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.push(bytes.len())?;
        self.1.push(bytes)
    }

    fn finish(self) -> Result<()> {
        self.0.finish()?;
        self.1.finish()
    }
}

fn byte_id(id: IdRef<'_>) -> &[u8] {
    match id {
        IdRef::U64(_) => &[],
        IdRef::Bytes(bytes) => bytes,
    }
}
