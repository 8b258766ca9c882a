//! Live rows, as clustering and coding read them: of files, or of a block that is about to become one.

use crate::delta::Block;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::ivf::Frame;
use crate::kernel::cluster::Points;
use crate::kernel::{decode_row, kernels};
use crate::metric::Metric;
use crate::options::Schema;
use crate::snapshot::{LiveRows, Source};

/// Pages of row numbers that one list segment is given at most: half of what its page table holds.
const MOST_PAGES: u64 = 1 << 19;
const PAGE_SHIFT: u32 = 12;

/// Where to go on: a file and an ordinal of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) ordinal: u32,
}

/// Where rows are.
#[derive(Clone, Copy)]
enum Rows<'a> {
    Files(&'a [LiveRows]),
    /// Places name it as the only file.
    Block(&'a Block),
}

/// Some live rows of neighbouring files or of a block, in row order. Holds eight bytes for each.
pub(crate) struct LivePoints<'a> {
    rows: Rows<'a>,
    schema: &'a Schema,
    places: Vec<Place>,
}

impl<'a> LivePoints<'a> {
    /// All of them.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn all(files: &'a [LiveRows], schema: &'a Schema) -> Result<LivePoints<'a>> {
        LivePoints::some(files, schema, &mut Place::default(), usize::MAX, u64::MAX)
    }

    /// No rows.
    pub(crate) fn none(schema: &'a Schema) -> LivePoints<'a> {
        LivePoints { rows: Rows::Files(&[]), schema, places: Vec::new() }
    }

    /// The rows of a block at some places, ascending.
    pub(crate) fn of_block(block: &'a Block, places: &[u32], schema: &'a Schema) -> LivePoints<'a> {
        let places = places.iter().map(|ordinal| Place { file: 0, ordinal: *ordinal }).collect();
        LivePoints { rows: Rows::Block(block), schema, places }
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
        let mut points = LivePoints { rows: Rows::Files(files), schema, places: Vec::new() };
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

    /// Those with numbers from `first_row` on, at most so many.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn since(
        files: &'a [LiveRows],
        schema: &'a Schema,
        first_row: u64,
        most: usize,
    ) -> Result<LivePoints<'a>> {
        let file = files.partition_point(|rows| rows.file.last_row() < first_row);
        let ordinal = files.get(file).map_or(Ok(0), |rows| rows.ordinal_from(first_row))?;
        LivePoints::some(files, schema, &mut Place { file: file as u32, ordinal: ordinal as u32 }, most, u64::MAX)
    }

    /// The rows that `keep` says of: one answer for each, in their order.
    pub(crate) fn only(&self, mut keep: impl Iterator<Item = bool>) -> LivePoints<'a> {
        let places = self.places.iter().filter(|_| keep.next().unwrap_or(false)).copied().collect();
        LivePoints { rows: self.rows, schema: self.schema, places }
    }

    /// Each `step`th row; if those are more than `most`, some of them at equal distances.
    pub(crate) fn thinned(&self, step: usize, most: usize) -> LivePoints<'a> {
        let further = (self.len() / step.max(1)).div_ceil(most.max(1)).max(1);
        let places = self.places.iter().skip(step.saturating_sub(1)).step_by(step.max(1).saturating_mul(further));
        LivePoints { rows: self.rows, schema: self.schema, places: places.copied().collect() }
    }

    /// All rows but each `step`th.
    pub(crate) fn others(&self, step: usize) -> LivePoints<'a> {
        let places =
            self.places.iter().enumerate().filter(|(i, _)| !(i + 1).is_multiple_of(step)).map(|(_, place)| *place);
        LivePoints { rows: self.rows, schema: self.schema, places: places.collect() }
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

    /// Smallest and largest sequence number of the rows' files; zeros of a block, whose rows have none yet.
    pub(crate) fn seqs(&self) -> (u64, u64) {
        let ends = (self.places.first(), self.places.last());
        let (Some(first), Some(last), Rows::Files(files)) = (ends.0, ends.1, self.rows) else { return (0, 0) };
        let files = files.get(first.file as usize..=last.file as usize).unwrap_or_default();
        let facts = files.iter().map(|rows| rows.file.facts());
        facts.fold((u64::MAX, 0), |(min, max), facts| (min.min(facts.min_seq), max.max(facts.max_seq)))
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
        let source = |place: &Place| match self.rows {
            Rows::Files(files) => files.get(place.file as usize).map(Source::File),
            Rows::Block(block) => Some(Source::Block(block)),
        };
        let found = self.places.get(i).and_then(|place| Some((source(place)?, place.ordinal as usize)));
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
        decode_row(self.schema.row_format(), &source.vector(at, self.schema)?.0, out);
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
