//! Filing rows: each gets its list and its code, and all of them become one list segment.

use super::control::{Control, Watched};
use super::list_build::ListBuild;
use super::live_points::{FramedPoints, LivePoints, Place};
use crate::error::{Error, Result};
use crate::index::ivf::CentroidSet;
use crate::kernel::cluster::{Assigner, Centroids, NO_LIST, Parallel, Places, Points, Spill, Training, Work};
use crate::kernel::kernels;
use crate::manifest::{FileEntry, HashedEntry};
use crate::options::Schema;
use crate::planted::{self, Bug};
use crate::segment::{ListFile, ListFileHead, ListInput, ListSource, write_lists};
use crate::snapshot::{LiveRows, OpenModel};
use crate::storage::{FileId, FileKind, FileName, Storage};

/// Memory for each row that is filed: where it is, its number, its lists, its distance from the first, its place in them.
const ROW_BYTES: u64 = 8 + 8 + 4 + 4 + 4 + 8;

/// A list segment of rows that were filed.
pub(crate) struct Filed {
    pub(crate) entry: HashedEntry,
    pub(crate) file: ListFile,
    /// Its rows that the training of the model knew nothing of, and the sum of their squared distances from the centroids of their lists.
    pub(crate) fresh: (u64, f64),
}

/// Files rows by one model.
pub(crate) struct Filing<'a> {
    storage: &'a dyn Storage,
    schema: &'a Schema,
    parallel: &'a dyn Parallel,
    control: &'a Control,
    model: &'a OpenModel,
    head: ListFileHead,
    spill: bool,
    assigner: Assigner,
    /// Rows from this number on came after the model was trained.
    first_fresh: u64,
}

impl<'a> Filing<'a> {
    /// Prepares for the rows of a collection with lists; `ids` are the collection's and where the rows' numbers were given.
    ///
    /// # Errors
    /// `Cancelled`; `InvalidArgument` if the schema has no lists.
    pub(crate) fn new(
        storage: &'a dyn Storage,
        schema: &'a Schema,
        ids: (u128, u128),
        model: &'a OpenModel,
        parallel: &'a dyn Parallel,
        control: &'a Control,
    ) -> Result<Filing<'a>> {
        let options = schema.index_kind().lists();
        let options = options.ok_or_else(|| Error::argument("index", "has no lists"))?;
        let (shape, spill) = (model.shape()?, options.spills(schema.dim()));
        let (collection, origin) = ids;
        let head = ListFileHead { collection, origin, shape, model: *model.file.hash(), seqs: (0, 0) };
        let watch = Watched(control);
        let work = Work { kernels: kernels(), parallel, watch: &watch };
        let assigner = Assigner::new(
            &work,
            &centroids_of(&model.centroids(), model.file.padded())?,
            probes(),
            spill.then(Spill::default),
        )?;
        Ok(Filing { storage, schema, parallel, control, model, head, spill, assigner, first_fresh: u64::MAX })
    }

    /// The same, with the number of the first row that came after the model was trained: what is filed from there on tells how well its lists
    /// still suit.
    pub(crate) fn with_fresh_from(mut self, row: u64) -> Filing<'a> {
        self.first_fresh = row;
        self
    }

    /// Memory of filing so many rows at a time by a model.
    pub(crate) fn memory(model: &OpenModel, rows: u64) -> u64 {
        const BUFFERS: u64 = 8 << 20;
        let lists = model.file.lists() as u64;
        BUFFERS + lists * (14 * model.file.padded() as u64 + 256) + rows * ROW_BYTES
    }

    /// Writes one list segment of the live rows of `files` from `next` on with numbers up to `last_row`, at most so many; `next` is left behind
    /// them. It is synced and read back, and no manifest names it yet. `None` if no live row is left.
    ///
    /// # Errors
    /// `Cancelled`; `Corrupt`; `NoSpace`; `Io`. What was made is removed, as far as possible.
    pub(crate) fn file(
        &self,
        files: &[LiveRows],
        next: &mut Place,
        most: usize,
        last_row: u64,
        new_id: &dyn Fn() -> FileId,
    ) -> Result<Option<Filed>> {
        let mut points = LivePoints::some(files, self.schema, next, most, last_row)?;
        if planted::is(Bug::LeaveRowUnfiled) && points.len() > 1 {
            points.forget_last();
        }
        if points.len() == 0 {
            return Ok(None);
        }
        self.control.expect(points.len() as u64);
        let numbers = points.numbers()?;
        let (lists, seconds, distances) = self.lists_of(&points)?;
        let mut build = ListBuild::new(self.model, &points, &numbers, self.parallel, &lists, &seconds)?;
        let head = ListFileHead { seqs: points.seqs(), ..self.head };
        let mut source = Counted { inner: &mut build, control: self.control };
        let (entry, file) = write_segment(self.storage, &head, &mut source, new_id)?;
        let first = numbers.partition_point(|row| *row < self.first_fresh);
        let fresh = distances.get(first..).unwrap_or_default();
        Ok(Some(Filed { entry, file, fresh: (fresh.len() as u64, self.energy(fresh)) }))
    }

    /// Mean squared distance of rows from the nearest centroid, as far as it counts; 0 of none.
    pub(super) fn mean_energy(&self, points: &LivePoints<'_>) -> Result<f64> {
        let (_, distances) = self.nearest(points)?;
        Ok(self.energy(&distances) / distances.len().max(1) as f64)
    }

    /// The sum of squared distances, as far as they count.
    fn energy(&self, distances: &[f32]) -> f64 {
        distances.iter().map(|distance| self.model.frame.counted(*distance)).sum()
    }

    /// The list of each row, and its squared distance from the centroid.
    pub(super) fn nearest(&self, points: &LivePoints<'_>) -> Result<(Vec<u32>, Vec<f32>)> {
        let (lists, _, distances) = self.lists_of(points)?;
        Ok((lists, distances))
    }

    /// The list of each row that is in the frame of the model already, and its squared distance from the centroid.
    pub(super) fn nearest_inside(&self, points: &dyn Points) -> Result<(Vec<u32>, Vec<f32>)> {
        let (lists, _, distances) = self.place(points)?;
        Ok((lists, distances))
    }

    /// First and second lists of rows, and their squared distances from the centroids of the first.
    fn lists_of(&self, points: &LivePoints<'_>) -> Result<(Vec<u32>, Vec<u32>, Vec<f32>)> {
        self.place(&FramedPoints { points, frame: &self.model.frame })
    }

    /// The same of rows in the frame.
    fn place(&self, framed: &dyn Points) -> Result<(Vec<u32>, Vec<u32>, Vec<f32>)> {
        let watch = Watched(self.control);
        let work = Work { kernels: kernels(), parallel: self.parallel, watch: &watch };
        let count = framed.count();
        let mut lists = vec![0; count];
        let mut seconds = vec![NO_LIST; if self.spill { count } else { 0 }];
        let second = self.spill.then_some(&mut seconds[..]);
        let mut distances = vec![0.0; count];
        let places = Places { lists: &mut lists, seconds: second, distances: Some(&mut distances) };
        self.assigner.assign(&work, framed, 0, places)?;
        Ok((lists, seconds, distances))
    }
}

/// The centroids of a model, in its frame: what its bytes stand for.
pub(super) fn centroids_of(set: &CentroidSet<'_>, padded: usize) -> Result<Centroids> {
    let mut values = Vec::with_capacity(set.count * padded);
    let mut centroid = Vec::new();
    for list in 0..set.count {
        set.centroid(list, padded, &mut centroid);
        values.extend_from_slice(&centroid);
    }
    Centroids::new(values, padded)
}

/// Super-lists that a row looks at.
pub(super) fn probes() -> usize {
    Training::new(1).probes
}

/// Writes lists and opens what was written.
pub(super) fn write_segment(
    storage: &dyn Storage,
    head: &ListFileHead,
    source: &mut dyn ListSource,
    new_id: &dyn Fn() -> FileId,
) -> Result<(HashedEntry, ListFile)> {
    let id = new_id();
    let facts = write_lists(storage, id, head, source)?;
    let file = ListFile::open(storage, id, head.collection, head.origin, &head.model, &facts).inspect_err(|_| {
        let _ = storage.remove(FileName::File(FileKind::List, id));
    })?;
    Ok((HashedEntry { file: FileEntry::new(id, facts), hash: head.model }, file))
}

/// Lists that count the rows that were written, and end once the job is cancelled.
pub(super) struct Counted<'a> {
    pub(super) inner: &'a mut dyn ListSource,
    pub(super) control: &'a Control,
}

impl ListSource for Counted<'_> {
    fn lists(&self) -> usize {
        self.inner.lists()
    }

    fn rows(&self, list: usize, take: &mut dyn FnMut(&[u64], usize)) -> Result<()> {
        self.inner.rows(list, take)
    }

    fn visit(&mut self, list: usize, take: &mut dyn FnMut(ListInput<'_>) -> Result<()>) -> Result<()> {
        let mut primary = 0;
        self.inner.rows(list, &mut |_, first| primary = first)?;
        self.control.step_by(primary as u64)?;
        self.inner.visit(list, take)
    }
}
