//! Filing rows: each gets its list and its code, and all of them become one list segment.

use super::control::{Control, Watched};
use super::list_build::ListBuild;
use super::live_points::{FramedPoints, LivePoints, Place};
use crate::error::{Error, Result};
use crate::format::list::{ListCode, ListShape};
use crate::kernel::cluster::{Assigner, Centroids, NO_LIST, Parallel, Places, Spill, Training, Work};
use crate::kernel::kernels;
use crate::manifest::{FileEntry, HashedEntry};
use crate::options::Schema;
use crate::planted::{self, Bug};
use crate::segment::{ListFile, ListFileHead, ListInput, ListSource, write_lists};
use crate::snapshot::{LiveRows, OpenModel};
use crate::storage::{FileId, FileKind, FileName, Storage};

/// Memory for each row that is filed: where it is, its number, its lists, its place in them.
const ROW_BYTES: u64 = 8 + 8 + 4 + 4 + 8;

/// Files rows by one model.
pub(crate) struct Filing<'a> {
    storage: &'a dyn Storage,
    schema: &'a Schema,
    parallel: &'a dyn Parallel,
    control: &'a Control,
    model: &'a OpenModel,
    head: ListFileHead,
    bits: usize,
    spill: bool,
    assigner: Assigner,
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
        let (bits, spill) = (options.bits_for(schema.dim()).into(), options.spills(schema.dim()));
        let shape = ListShape::new(model.file.padded(), ListCode::Bits(bits as u32))
            .ok_or_else(|| Error::argument("codes", format!("have {bits} bits")))?;
        let (collection, origin) = ids;
        let head = ListFileHead { collection, origin, shape, model: *model.file.hash(), seqs: (0, 0) };
        let watch = Watched(control);
        let work = Work { kernels: kernels(), parallel, watch: &watch };
        let assigner = Assigner::new(&work, &centroids_of(model)?, probes(), spill.then(Spill::default))?;
        Ok(Filing { storage, schema, parallel, control, model, head, bits, spill, assigner })
    }

    /// Memory of filing so many rows at a time by a model.
    pub(crate) fn memory(model: &OpenModel, rows: u64) -> u64 {
        const BUFFERS: u64 = 8 << 20;
        let lists = model.file.lists() as u64;
        BUFFERS + lists * (14 * model.file.padded() as u64 + 256) + rows * ROW_BYTES
    }

    /// Writes one list segment of the live rows of `files` from `next` on, at most so many; `next` is left behind them. It is synced and read
    /// back, and no manifest names it yet. `None` if no live row is left.
    ///
    /// # Errors
    /// `Cancelled`; `Corrupt`; `NoSpace`; `Io`. What was made is removed, as far as possible.
    pub(crate) fn file(
        &self,
        files: &[LiveRows],
        next: &mut Place,
        most: usize,
        new_id: &dyn Fn() -> FileId,
    ) -> Result<Option<(HashedEntry, ListFile)>> {
        let mut points = LivePoints::some(files, self.schema, next, most)?;
        if planted::is(Bug::LeaveRowUnfiled) && points.len() > 1 {
            points.forget_last();
        }
        if points.len() == 0 {
            return Ok(None);
        }
        self.control.expect(points.len() as u64);
        let numbers = points.numbers()?;
        let (lists, seconds) = self.assign(&points)?;
        let (model, bits) = (self.model, self.bits);
        let mut build = ListBuild::new(model, bits, &points, &numbers, self.parallel, &lists, &seconds);
        let head = ListFileHead { seqs: points.seqs(), ..self.head };
        write_segment(self.storage, &head, &mut Counted { inner: &mut build, control: self.control }, new_id).map(Some)
    }

    /// First and second lists of rows.
    fn assign(&self, points: &LivePoints<'_>) -> Result<(Vec<u32>, Vec<u32>)> {
        let watch = Watched(self.control);
        let work = Work { kernels: kernels(), parallel: self.parallel, watch: &watch };
        let framed = FramedPoints { points, frame: &self.model.frame };
        let mut lists = vec![0; points.len()];
        let mut seconds = vec![NO_LIST; if self.spill { points.len() } else { 0 }];
        let second = self.spill.then_some(&mut seconds[..]);
        self.assigner.assign(&work, &framed, 0, Places { lists: &mut lists, seconds: second, distances: None })?;
        Ok((lists, seconds))
    }
}

/// The centroids of a model, in its frame: what its bytes stand for.
fn centroids_of(model: &OpenModel) -> Result<Centroids> {
    let padded = model.file.padded();
    let set = model.centroids();
    let mut values = Vec::with_capacity(model.file.lists() * padded);
    let mut centroid = Vec::new();
    for list in 0..model.file.lists() {
        set.centroid(list, padded, &mut centroid);
        values.extend_from_slice(&centroid);
    }
    Centroids::new(values, padded)
}

/// Super-lists that a row looks at.
fn probes() -> usize {
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
