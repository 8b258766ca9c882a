//! Live rows, as clustering and coding read them: of files, of a block that is about to become one, or of both.

use std::sync::Arc;

use crate::delta::Block;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::ivf::Frame;
use crate::kernel::cluster::Points;
use crate::kernel::kernels;
use crate::metric::Metric;
use crate::options::Schema;
use crate::snapshot::{Killed, LiveRows, Source, View};

/// Pages of row numbers that one list segment is given at most: half of what its page table holds.
const MOST_PAGES: u64 = 1 << 19;
const PAGE_SHIFT: u32 = 12;

/// Where to go on: a file, or whatever else has rows, and an ordinal of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) ordinal: u32,
}

/// Some live rows of neighbouring files, blocks or both, in row order. Holds eight bytes for each.
pub(crate) struct LivePoints<'a> {
    sources: Arc<[Source<'a>]>,
    schema: &'a Schema,
    places: Vec<Place>,
}

impl<'a> LivePoints<'a> {
    /// No rows.
    pub(crate) fn none(schema: &'a Schema) -> LivePoints<'a> {
        LivePoints { sources: Arc::new([]), schema, places: Vec::new() }
    }

    /// The rows of a block at some places, ascending.
    pub(crate) fn of_block(block: &'a Block, places: &[u32], schema: &'a Schema) -> LivePoints<'a> {
        let places = places.iter().map(|ordinal| Place { file: 0, ordinal: *ordinal }).collect();
        LivePoints { sources: Arc::new([Source::Block(block)]), schema, places }
    }

    /// Those from `next` on with numbers up to `last_row`, at most so many and of no more pages than a list segment may have; `next` is left
    /// behind them.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn some(
        files: &'a [LiveRows],
        schema: &'a Schema,
        next: &mut Place,
        most: usize,
        last_row: u64,
    ) -> Result<LivePoints<'a>> {
        let sources = files.iter().map(Source::File).collect();
        let mut points = LivePoints { sources, schema, places: Vec::new() };
        let (mut pages, mut last_page) = (0, None);
        while let Some(rows) = files.get(next.file as usize) {
            let at = next.ordinal as usize;
            if at >= rows.file.len() {
                *next = Place { file: next.file + 1, ordinal: 0 };
                continue;
            }
            let live = rows.live_word(at / 64) & u64::MAX << (at % 64);
            if live == 0 {
                next.ordinal = ((at / 64 + 1) * 64) as u32;
                continue;
            }
            let ordinal = at / 64 * 64 + live.trailing_zeros() as usize;
            let row = rows.file.row_number(ordinal)?;
            if row > last_row {
                break;
            }
            let page = row >> PAGE_SHIFT;
            if last_page.replace(page) != Some(page) {
                pages += 1;
            }
            if points.places.len() >= most || pages > MOST_PAGES {
                break;
            }
            points.places.push(Place { file: next.file, ordinal: ordinal as u32 });
            next.ordinal = ordinal as u32 + 1;
        }
        Ok(points)
    }

    /// Those of a view with numbers from `first_row` on, in memory or in files, at most so many.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn since(view: &'a View, schema: &'a Schema, first_row: u64, most: usize) -> Result<LivePoints<'a>> {
        let mut points = LivePoints { sources: view.sources().collect(), schema, places: Vec::new() };
        let (sources, mut killed) = (points.sources.clone(), Killed::new(view));
        for (file, source) in sources.iter().enumerate() {
            let first = match source {
                Source::File(rows) => rows.ordinal_from(first_row)?,
                Source::Block(block) => first_row.saturating_sub(block.first_row()).min(block.len() as u64) as usize,
            };
            for word in first / 64..source.len().div_ceil(64) {
                let mut live = source.live_word(word, &mut killed)?;
                live &= if word == first / 64 { u64::MAX << (first % 64) } else { u64::MAX };
                while live != 0 {
                    if points.len() >= most {
                        return Ok(points);
                    }
                    let ordinal = (word * 64) as u32 + live.trailing_zeros();
                    live &= live - 1;
                    points.places.push(Place { file: file as u32, ordinal });
                }
            }
        }
        Ok(points)
    }

    /// The rows that `keep` says of: one answer for each, in their order.
    pub(crate) fn only(&self, mut keep: impl Iterator<Item = bool>) -> LivePoints<'a> {
        let places = self.places.iter().filter(|_| keep.next().unwrap_or(false)).copied().collect();
        LivePoints { sources: self.sources.clone(), schema: self.schema, places }
    }

    /// Each `step`th row; if those are more than `most`, some of them at equal distances.
    pub(crate) fn thinned(&self, step: usize, most: usize) -> LivePoints<'a> {
        let further = (self.len() / step.max(1)).div_ceil(most.max(1)).max(1);
        let places = self.places.iter().skip(step.saturating_sub(1)).step_by(step.max(1).saturating_mul(further));
        LivePoints { sources: self.sources.clone(), schema: self.schema, places: places.copied().collect() }
    }

    /// All rows but each `step`th.
    pub(crate) fn others(&self, step: usize) -> LivePoints<'a> {
        let places =
            self.places.iter().enumerate().filter(|(i, _)| !(i + 1).is_multiple_of(step)).map(|(_, place)| *place);
        LivePoints { sources: self.sources.clone(), schema: self.schema, places: places.collect() }
    }

    /// Leaves the last row out.
    pub(crate) fn forget_last(&mut self) {
        self.places.pop();
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The number of each row.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn numbers(&self) -> Result<Vec<u64>> {
        (0..self.len()).map(|i| self.source(i).and_then(|(source, at)| source.row_number(at))).collect()
    }

    /// Smallest and largest sequence number of the rows' files; rows of blocks count as zero: they may have none yet.
    pub(crate) fn seqs(&self) -> (u64, u64) {
        let (Some(first), Some(last)) = (self.places.first(), self.places.last()) else { return (0, 0) };
        let sources = self.sources.get(first.file as usize..=last.file as usize).unwrap_or_default();
        let seqs = sources.iter().map(|source| match source {
            Source::File(rows) => (rows.file.facts().min_seq, rows.file.facts().max_seq),
            Source::Block(_) => (0, 0),
        });
        seqs.reduce(|(min, max), seqs| (min.min(seqs.0), max.max(seqs.1))).unwrap_or_default()
    }

    /// The id of a row.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn id(&self, i: usize) -> Result<Id> {
        let (source, at) = self.source(i)?;
        source.id(at)
    }

    fn source(&self, i: usize) -> Result<(Source<'a>, usize)> {
        let place = self.places.get(i);
        let found = place.and_then(|place| Some((*self.sources.get(place.file as usize)?, place.ordinal as usize)));
        match found {
            Some(found) => Ok(found),
            None => Err(Error::argument("rows", format!("are {}; there is no row {i}", self.len()))),
        }
    }

    /// Reads one row as it is stored; its checksum is proven.
    fn stored(&self, i: usize, out: &mut [f32]) -> Result<()> {
        let (source, at) = self.source(i)?;
        if let Source::File(rows) = source {
            rows.file.ask_ahead(at);
        }
        source.vector(at, self.schema)?.decode(out);
        Ok(())
    }
}

/// Rows as they are stored.
impl Points for LivePoints<'_> {
    fn count(&self) -> usize {
        self.len()
    }

    fn dim(&self) -> usize {
        self.schema.dim()
    }

    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        out.chunks_exact_mut(self.dim()).zip(start..).try_for_each(|(row, i)| self.stored(i, row))
    }
}

/// The length of a row, which cosine distances and codes leave out of account.
pub(crate) fn length(row: &[f32]) -> f32 {
    // Eight sums side by side, always in the same order.
    let (eights, rest) = row.as_chunks::<8>();
    let mut sums = [0.0_f64; 8];
    for x in eights {
        sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += f64::from(*x) * f64::from(*x));
    }
    let rest: f64 = rest.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    (sums.iter().sum::<f64>() + rest).sqrt() as f32
}

/// Rows as distances see them: of unit length under cosine.
pub(crate) struct UnitPoints<'a>(pub(crate) &'a LivePoints<'a>);

impl Points for UnitPoints<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.0.read(start, out)?;
        if self.0.schema.metric() == Metric::Cosine {
            for row in out.chunks_exact_mut(self.0.dim()) {
                let inverse = 1.0 / length(row);
                row.iter_mut().for_each(|x| *x *= inverse);
            }
        }
        Ok(())
    }
}

/// Rows in the frame of a model, where its centroids are.
pub(crate) struct FramedPoints<'a> {
    /// As they are stored.
    pub(crate) points: &'a dyn Points,
    pub(crate) frame: &'a Frame,
}

impl Points for FramedPoints<'_> {
    fn count(&self) -> usize {
        self.points.count()
    }

    fn dim(&self) -> usize {
        self.frame.padded()
    }

    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let mut row = vec![0.0; self.points.dim()];
        let mut inside = Vec::new();
        for (out, i) in out.chunks_exact_mut(self.dim()).zip(start..) {
            self.points.read(i, &mut row)?;
            let length = if self.frame.metric() == Metric::Cosine { length(&row) } else { 1.0 };
            self.frame.enter(kernels(), &row, length, &mut inside);
            out.copy_from_slice(&inside);
        }
        Ok(())
    }
}
