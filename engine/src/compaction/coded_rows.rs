//! Rows of list segments as their codes know them: for collections that keep no vectors.

use std::ops::Range;

use super::live_points::length;
use crate::error::{Error, Result};
use crate::index::ivf::{Decoded, Entries, EntryDecoder};
use crate::kernel::cluster::Points;
use crate::kernel::kernels;
use crate::metric::Metric;
use crate::options::Schema;
use crate::segment::{ListFile, LoadedList};
use crate::snapshot::{LiveRows, OpenModel, Source, Version, layout_of};

/// A first copy: its segment, its list there and its place in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    row: u64,
    segment: u32,
    list: u32,
    at: u32,
}

/// Live rows of list segments of one model, in the frame of that: decoded, or, where the vector is still there, that. In the order of segments, lists and
/// entries. Holds [`CodedRows::ROW_BYTES`] for each.
pub(crate) struct CodedRows<'a> {
    version: &'a Version,
    schema: &'a Schema,
    model: &'a OpenModel,
    segments: &'a [&'a ListFile],
    spots: Vec<Spot>,
}

impl<'a> CodedRows<'a> {
    /// Memory for each row.
    pub(crate) const ROW_BYTES: u64 = size_of::<Spot>() as u64;

    /// None yet.
    pub(crate) fn none(
        version: &'a Version,
        schema: &'a Schema,
        model: &'a OpenModel,
        segments: &'a [&'a ListFile],
    ) -> CodedRows<'a> {
        CodedRows { version, schema, model, segments, spots: Vec::new() }
    }

    /// Those of some lists with numbers from `first_row` on, each `step`th.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn of_lists(&self, lists: Range<usize>, first_row: u64, step: usize) -> Result<CodedRows<'a>> {
        let (mut spots, mut met) = (Vec::new(), 0_usize);
        for (number, segment) in self.segments.iter().enumerate() {
            if segment.facts().last_row < first_row {
                continue;
            }
            for list in lists.start..lists.end.min(segment.lists()) {
                let loaded = segment.load(list)?;
                let bytes = loaded.bytes();
                let words = bytes.rows.as_chunks::<4>().0.iter().take(bytes.primary as usize);
                for (at, word) in words.enumerate() {
                    let row = segment.row(u32::from_le_bytes(*word))?;
                    if row >= first_row && self.version.locate_live(row)?.is_some() {
                        met += 1;
                        if met.is_multiple_of(step.max(1)) {
                            spots.push(Spot { row, segment: number as u32, list: list as u32, at: at as u32 });
                        }
                    }
                }
            }
        }
        Ok(CodedRows { spots, ..*self })
    }

    /// Takes a row of others over that are in the same segments.
    pub(crate) fn push(&mut self, others: &CodedRows<'a>, i: usize) {
        self.spots.extend(others.spots.get(i));
    }

    /// First copies in a list, dead ones included.
    pub(crate) fn entries(&self, list: usize) -> usize {
        self.segments.iter().map(|segment| segment.view().counts(list).0 as usize).sum()
    }

    /// The rows that `keep` says of: one answer for each, in their order.
    pub(crate) fn only(&self, mut keep: impl FnMut(usize) -> bool) -> CodedRows<'a> {
        let spots = (0..self.len()).filter(|i| keep(*i)).filter_map(|i| self.spots.get(i)).copied().collect();
        CodedRows { spots, ..*self }
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.spots.len()
    }

    /// The number of a row.
    pub(crate) fn number(&self, i: usize) -> u64 {
        self.spots.get(i).map_or(u64::MAX, |spot| spot.row)
    }

    /// The list of a row.
    pub(crate) fn list(&self, i: usize) -> usize {
        self.spots.get(i).map_or(0, |spot| spot.list as usize)
    }

    /// Calls `take` with some rows: their place among these, the vector, and what is known of it.
    ///
    /// # Errors
    /// `Corrupt`; what `take` says.
    pub(crate) fn visit(
        &self,
        rows: impl Iterator<Item = usize>,
        take: &mut dyn FnMut(usize, &[f32], Decoded) -> Result<()>,
    ) -> Result<()> {
        let mut decoder = EntryDecoder::new(&self.model.frame, self.model.centroids(), self.model.coder());
        let mut loaded: Option<(u32, u32, LoadedList<'_>)> = None;
        let (mut inside, mut stored) = (Vec::new(), vec![0.0; self.schema.dim()]);
        for i in rows {
            let spot = *self.spots.get(i).ok_or_else(|| no_row(i, self.len()))?;
            if self.stored(spot.row, &mut stored)? {
                let length = if self.schema.metric() == Metric::Cosine { length(&stored) } else { 1.0 };
                self.model.frame.enter(kernels(), &stored, length, &mut inside);
                take(i, &inside, Decoded::default())?;
                continue;
            }
            let segment = *self.segments.get(spot.segment as usize).ok_or_else(|| no_row(i, self.len()))?;
            if loaded.as_ref().is_none_or(|(number, list, _)| (*number, *list) != (spot.segment, spot.list)) {
                loaded = Some((spot.segment, spot.list, segment.load(spot.list as usize)?));
            }
            let Some((_, _, list)) = &loaded else { continue };
            let bytes = list.bytes();
            if segment.shape().stride() > 0 {
                segment.prove_record(spot.list as usize, spot.at)?;
            }
            let (layout, stride) = (layout_of(segment.shape()), segment.shape().stride());
            let entries =
                Entries { layout, signs: bytes.signs, factors: bytes.factors, records: bytes.records, stride };
            match decoder.decode(spot.list as usize, &entries, spot.at as usize, &mut inside) {
                Some(known) => take(i, &inside, known)?,
                None => {
                    let what = format!("row {} has no code, or one that stands for no vector", spot.row);
                    return Err(segment.corrupt_list(spot.list as usize, &what));
                }
            }
        }
        Ok(())
    }

    /// Reads the vector of a row that still has one.
    fn stored(&self, row: u64, out: &mut [f32]) -> Result<bool> {
        let Some((file, ordinal)) = self.version.locate(row)? else { return Ok(false) };
        let has = |rows: &&LiveRows| rows.file.has_vectors();
        let Some(rows) = self.version.rows.get(file).filter(has) else { return Ok(false) };
        Source::File(rows).vector(ordinal, self.schema)?.decode(out);
        Ok(true)
    }
}

/// In the frame of the model.
impl Points for CodedRows<'_> {
    fn count(&self) -> usize {
        self.len()
    }

    fn dim(&self) -> usize {
        self.model.frame.padded()
    }

    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let dim = self.dim();
        let count = out.len() / dim;
        let mut rows = out.chunks_exact_mut(dim);
        self.visit(start..start + count, &mut |_, inside, _| {
            if let Some(row) = rows.next() {
                row.copy_from_slice(inside);
            }
            Ok(())
        })
    }
}

fn no_row(i: usize, rows: usize) -> Error {
    Error::argument("rows", format!("are {rows}; there is no row {i}"))
}
