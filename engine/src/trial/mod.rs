//! A door for benchmarks and tests: a model, list segments and the search over them, on real files and without a collection.
//!
//! No part of the public interface. It decides nothing: it trains, writes and opens with the customary options and hands
//! queries to the search.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::compaction::{ListBuild, ListMerge, codebook_of, train_codebook};
use crate::error::{Error, Result};
use crate::format::model::centroid_stride;
use crate::id::IdRef;
use crate::index::flat::FlatQuery;
use crate::index::ivf::{CentroidBytes, Frame, IvfSearch, Probe, Scratch, Stage, Trace};
use crate::kernel::cluster::{
    Assigner, NO_LIST, Parallel, Places, Points, Rows, Spill, Training, Unwatched, Work, train,
};
use crate::kernel::{Kernels, encode_row, kernels, padded_dim};
use crate::metric::Metric;
use crate::options::{Codes, Schema};
use crate::segment::{
    ListFile, ListFileHead, ModelContent, ModelFile, RowInput, RowLayout, RowSource, write_lists, write_model,
    write_row_file,
};
#[cfg(test)]
use crate::snapshot::layout_of;
use crate::snapshot::{CodedLists, FileRows, LiveRows, OpenModel};
use crate::storage::{FileId, Storage};

const COLLECTION: u128 = 0x0074_7269_616C;

/// What is built.
#[derive(Clone, Copy, Debug)]
pub struct TrialOptions {
    /// Lists wanted.
    pub lists: usize,
    /// Bits per component.
    pub bits: usize,
    /// Whether rows get second lists.
    pub spill: bool,
    /// List segments the rows are spread over.
    pub segments: usize,
    /// Seed of training and rotation.
    pub seed: u64,
}

/// How a query is answered.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Lists to look at.
    pub nprobe: usize,
    /// Lists without improvement after which a search ends.
    pub patience: usize,
    /// Rows measured exactly.
    pub exact: usize,
    /// Standard errors by which bounds are lower than estimates.
    pub deviations: f32,
}

impl Effort {
    /// The customary search of `nprobe` lists.
    pub fn new(nprobe: usize) -> Effort {
        let Probe { nprobe, patience, exact, deviations, .. } = Probe::new(nprobe);
        Effort { nprobe, patience, exact, deviations }
    }
}

/// Time spent in the parts of searches: query, centroids, refinement, scan, records, exact rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages {
    /// In that order.
    pub spent: [Duration; 6],
}

/// Tells time apart.
struct Stopwatch<'a> {
    stages: &'a mut Stages,
    since: Instant,
}

impl Trace for Stopwatch<'_> {
    fn ended(&mut self, stage: Stage) {
        let now = Instant::now();
        if let Some(spent) = self.stages.spent.get_mut(stage as usize) {
            *spent += now - self.since;
        }
        self.since = now;
    }
}

/// Files on a storage, open.
pub struct Trial {
    storage: Arc<dyn Storage>,
    schema: Schema,
    options: TrialOptions,
    model: Arc<OpenModel>,
    segments: Vec<Arc<ListFile>>,
    rows: Vec<LiveRows>,
    next: u64,
}

impl Trial {
    /// Trains, assigns, codes and writes `values`, rows laid end to end; row `i` has the number `i`.
    ///
    /// # Errors
    /// Those of training and of the writers.
    pub fn build(
        storage: Arc<dyn Storage>,
        schema: &Schema,
        values: &[f32],
        options: TrialOptions,
        parallel: &dyn Parallel,
    ) -> Result<Trial> {
        Trial::build_coded(storage, schema, values, options, Codes::Bits(options.bits as u8), parallel)
    }

    /// [`Trial::build`] with other codes than bits.
    ///
    /// # Errors
    /// Those of training and of the writers.
    pub fn build_coded(
        storage: Arc<dyn Storage>,
        schema: &Schema,
        values: &[f32],
        options: TrialOptions,
        codes: Codes,
        parallel: &dyn Parallel,
    ) -> Result<Trial> {
        let dim = schema.dim();
        let work = Work { kernels: kernels(), parallel, watch: &Unwatched };
        let unit = normalised(values, schema);
        let points = Rows::new(&unit, dim)?;
        let training = Training { seed: options.seed, ..Training::new(options.lists) };
        let centroids = train(&work, &points, &training)?.centroids;
        let count = points.count();
        let (mut lists, mut seconds) = (vec![0; count], vec![NO_LIST; count]);
        let assigner = Assigner::new(&work, &centroids, training.probes, options.spill.then(Spill::default))?;
        let second = options.spill.then_some(&mut seconds[..]);
        assigner.assign(&work, &points, 0, Places { lists: &mut lists, seconds: second, distances: None })?;

        let mut next = 1;
        let (mean, energy) = mean_and_energy(&unit, dim);
        let frame = Frame::new(schema.metric(), mean.clone(), options.seed, Frame::scale_for(energy));
        let bytes = CentroidBytes::new(kernels(), &frame, centroids.values(), centroid_stride(padded_dim(dim)));
        let words = match codebook_of(codes) {
            Some(book) => {
                let (set, raw) = (bytes.records(centroid_stride(padded_dim(dim))), Rows::new(values, dim)?);
                train_codebook(&work, &raw, &frame, set, book, options.seed)?
            }
            None => Vec::new(),
        };
        let id = new_id(&mut next);
        let content = ModelContent {
            metric: schema.metric(),
            seed: options.seed,
            scale: frame.scale(),
            mean: &mean,
            centroids: &bytes.centroids,
            codes: &bytes.codes,
            codebook: codebook_of(codes).map(|book| (book, &words[..])),
        };
        let facts = write_model(&*storage, id, COLLECTION, COLLECTION, &content)?;
        let file = ModelFile::open(&*storage, id, COLLECTION, COLLECTION, &facts)?;
        let model = Arc::new(OpenModel::new(file, codes)?);
        let rows = write_rows(&*storage, schema, values, &mut next)?;
        let mut trial =
            Trial { storage, schema: schema.clone(), options, model, segments: Vec::new(), rows: vec![rows], next };
        trial.write_segments(values, &lists, &seconds, parallel)?;
        Ok(trial)
    }

    fn write_segments(
        &mut self,
        values: &[f32],
        lists: &[u32],
        seconds: &[u32],
        parallel: &dyn Parallel,
    ) -> Result<()> {
        let dim = self.schema.dim();
        let part = lists.len().div_ceil(self.options.segments.max(1)).max(1);
        for (at, (lists, seconds)) in lists.chunks(part).zip(seconds.chunks(part)).enumerate() {
            let first = at * part;
            let numbers: Vec<u64> = (first as u64..).take(lists.len()).collect();
            let points = Rows::new(&values[first * dim..(first + lists.len()) * dim], dim)?;
            let head = self.head()?;
            let id = new_id(&mut self.next);
            let mut build = ListBuild::new(&self.model, &points, &numbers, parallel, lists, seconds)?;
            let facts = write_lists(&*self.storage, id, &head, &mut build)?;
            let file = ListFile::open(&*self.storage, id, COLLECTION, COLLECTION, &head.model, &facts)?;
            self.segments.push(Arc::new(file));
        }
        Ok(())
    }

    fn head(&self) -> Result<ListFileHead> {
        let shape = self.model.shape()?;
        Ok(ListFileHead {
            collection: COLLECTION,
            origin: COLLECTION,
            shape,
            model: *self.model.file.hash(),
            seqs: (1, 1),
        })
    }

    /// Writes a segment anew as files were before records were rounded up to whole lines.
    #[cfg(test)]
    fn pack(&mut self, at: usize) {
        let head = self.head().unwrap();
        let [lists, padded, kind, bits] = head.shape.parameters(self.lists() as u64);
        let (shape, _) = crate::format::list::ListShape::from_parameters([lists, padded, kind, bits & 15]).unwrap();
        let (id, head) = (new_id(&mut self.next), ListFileHead { shape, ..head });
        let inputs = [&*self.segments[at]];
        let facts = write_lists(&*self.storage, id, &head, &mut ListMerge::new(&inputs, &|_| false).unwrap()).unwrap();
        let file = ListFile::open(&*self.storage, id, COLLECTION, COLLECTION, &head.model, &facts).unwrap();
        assert!(file.shape().stride() < self.segments[at].shape().stride());
        self.segments[at] = Arc::new(file);
    }

    /// Merges all segments into one.
    ///
    /// # Errors
    /// Those of reader and writer.
    pub fn merge(&mut self) -> Result<()> {
        let id = new_id(&mut self.next);
        let head = self.head()?;
        let inputs: Vec<&ListFile> = self.segments.iter().map(|file| &**file).collect();
        let dead = |row: u64| self.is_dead(row);
        let facts = write_lists(&*self.storage, id, &head, &mut ListMerge::new(&inputs, &dead)?)?;
        let file = ListFile::open(&*self.storage, id, COLLECTION, COLLECTION, &head.model, &facts)?;
        self.segments = vec![Arc::new(file)];
        Ok(())
    }

    fn is_dead(&self, row: u64) -> bool {
        self.rows.iter().any(|rows| rows.live_word((row / 64) as usize) >> (row % 64) & 1 == 0)
    }

    /// Every entry of every segment, sorted: its list, row, whether it is the first copy, signs, factors and record.
    #[cfg(test)]
    fn entries(&self) -> Vec<(usize, u64, bool, Vec<u8>, [u16; 2], Vec<u8>)> {
        let mut entries = Vec::new();
        for segment in &self.segments {
            let (layout, shape) = (layout_of(segment.shape()), segment.shape());
            for list in 0..segment.lists() {
                let loaded = segment.load(list).unwrap();
                let bytes = loaded.bytes();
                for at in 0..bytes.count as usize {
                    let word = u32::from_le_bytes(bytes.rows[4 * at..4 * at + 4].try_into().unwrap());
                    let mut signs = Vec::new();
                    let factors = crate::index::ivf::take_entry(layout, bytes.signs, bytes.factors, at, &mut signs);
                    let factors = factors.map(|f| [f.add, f.rescale]).unwrap();
                    let record = bytes.records[at * shape.stride()..][..shape.record_len()].to_vec();
                    let first = at < bytes.primary as usize;
                    entries.push((list, segment.row(word).unwrap(), first, signs, factors, record));
                }
            }
        }
        entries.sort();
        entries
    }

    /// Marks rows as dead.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn kill(&mut self, dead: &[u64]) -> Result<()> {
        self.rows = self.rows.iter().map(|rows| rows.with_dead(dead)).collect::<Result<_>>()?;
        Ok(())
    }

    /// Number of lists, which may differ from what was wanted.
    pub fn lists(&self) -> usize {
        self.model.file.lists()
    }

    /// Bytes of the model and of all segments.
    pub fn bytes(&self) -> (u64, u64) {
        (self.model.file.facts().len, self.segments.iter().map(|segment| segment.facts().len).sum())
    }

    /// What `verify` says about the model and the segments.
    pub fn verify(&self) -> Vec<Error> {
        let mut findings = Vec::new();
        self.model.file.verify(&mut |error| findings.push(error));
        self.segments.iter().for_each(|segment| segment.verify(&mut |error| findings.push(error)));
        findings
    }

    /// Somebody who asks one query after the other.
    ///
    /// # Errors
    /// `InvalidArgument` if segments and model do not fit.
    pub fn seeker(&self) -> Result<Seeker<'_>> {
        let segments = self.segments.iter().map(|file| CodedLists::new(file, &self.model)).collect::<Result<_>>()?;
        Ok(Seeker { trial: self, segments, kernels: kernels(), scratch: Scratch::default() })
    }
}

/// Searches, with room that is kept.
pub struct Seeker<'a> {
    trial: &'a Trial,
    segments: Vec<CodedLists<'a>>,
    kernels: &'static Kernels,
    scratch: Scratch,
}

impl Seeker<'_> {
    /// The same, from now on with these kernels.
    pub fn with_kernels(mut self, kernels: &'static Kernels) -> Self {
        self.kernels = kernels;
        self
    }

    /// Distances and rows of the `k` nearest that are found, nearest first.
    ///
    /// # Errors
    /// `InvalidArgument` for the query, `Corrupt`.
    pub fn nearest(&mut self, query: &[f32], k: usize, effort: &Effort) -> Result<&[(f32, u64)]> {
        self.search(query, k, effort, &mut ())
    }

    /// The same; adds to `stages` what each part took.
    ///
    /// # Errors
    /// As [`Seeker::nearest`].
    pub fn timed(&mut self, query: &[f32], k: usize, effort: &Effort, stages: &mut Stages) -> Result<&[(f32, u64)]> {
        self.search(query, k, effort, &mut Stopwatch { stages, since: Instant::now() })
    }

    /// Entries scanned and records read by the last search.
    pub fn work(&self) -> (usize, usize) {
        self.scratch.work
    }

    fn search(&mut self, query: &[f32], k: usize, effort: &Effort, trace: &mut impl Trace) -> Result<&[(f32, u64)]> {
        let exact = FlatQuery::new(query, &self.trial.schema)?.with_kernels(self.kernels);
        let rows = FileRows { files: &self.trial.rows, killed: |_: u64| false };
        let model = &self.trial.model;
        let search = IvfSearch {
            kernels: self.kernels,
            frame: &model.frame,
            centroids: model.centroids(),
            coder: model.coder(),
            segments: &self.segments,
            rows: &rows,
        };
        let Effort { nprobe, patience, exact: measured, deviations } = *effort;
        let probe = Probe { patience, exact: measured, deviations, ..Probe::new(nprobe) };
        search.nearest(query, exact.length(), &exact, k, &probe, &mut self.scratch, trace)
    }
}

fn new_id(next: &mut u64) -> FileId {
    *next += 1;
    FileId { number: *next, epoch: 1 }
}

fn lengths(values: &[f32], dim: usize) -> impl Iterator<Item = f32> + '_ {
    let length = |row: &[f32]| row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt() as f32;
    values.chunks_exact(dim).map(length)
}

/// The rows as lists see them: of unit length under cosine.
fn normalised(values: &[f32], schema: &Schema) -> Vec<f32> {
    let mut unit = values.to_vec();
    if schema.metric() == Metric::Cosine {
        for (row, length) in unit.chunks_exact_mut(schema.dim()).zip(lengths(values, schema.dim())) {
            row.iter_mut().for_each(|x| *x /= length);
        }
    }
    unit
}

/// The mean of rows, and their mean squared distance from it.
fn mean_and_energy(values: &[f32], dim: usize) -> (Vec<f32>, f64) {
    let count = (values.len() / dim).max(1) as f64;
    let mut sums = vec![0.0_f64; dim];
    for row in values.chunks_exact(dim) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let mean: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
    let square = |(x, mean): (&f32, &f32)| f64::from(x - mean) * f64::from(x - mean);
    let energy = values.chunks_exact(dim).flat_map(|row| row.iter().zip(&mean).map(square)).sum::<f64>() / count;
    (mean, energy)
}

/// Rows of a trial, numbered from 0.
struct Numbered<'a> {
    schema: &'a Schema,
    values: &'a [f32],
    lengths: Vec<f32>,
}

impl RowSource for Numbered<'_> {
    fn len(&self) -> usize {
        self.values.len() / self.schema.dim()
    }

    fn visit(&self, i: usize, take: &mut dyn FnMut(RowInput<'_>) -> Result<()>) -> Result<()> {
        let dim = self.schema.dim();
        let (mut vector, element) = (Vec::new(), self.schema.row_format().element());
        encode_row(element, &self.values[i * dim..(i + 1) * dim], &mut vector);
        let norm = if self.schema.metric() == Metric::Cosine { self.lengths[i] } else { 0.0 };
        let id = IdRef::U64(i as u64);
        take(RowInput { row: i as u64, seq: 1, id, vector: &vector, element, norm, attributes: &[], payload: &[] })
    }
}

fn write_rows(storage: &dyn Storage, schema: &Schema, values: &[f32], next: &mut u64) -> Result<LiveRows> {
    let layout = RowLayout::from(schema);
    let rows = Numbered { schema, values, lengths: lengths(values, schema.dim()).collect() };
    let id = new_id(next);
    let file = write_row_file(storage, id, COLLECTION, COLLECTION, &layout, &rows)?;
    Ok(LiveRows::new(Arc::new(file)))
}

#[cfg(test)]
mod codes_tests;
mod pinned;
#[cfg(test)]
mod tests;
