//! More lists for a collection that keeps no vectors, made of what its codes know.
//!
//! Codes are all that is left of rows, and what they say they say beside their centroid. So the lists that have rows stay as they are, the frame too, and
//! others are added: nothing has to be coded again. Lists without a row go.

use super::codebooks::codebook_of;
use super::coded_rows::CodedRows;
use super::control::Watched;
use super::extend_model::{FULL, HEADROOM, HELD_OUT, MOST_HELD_OUT, STRAY};
use super::filing::Filing;
use super::train_model::{Made, ModelJob};
use crate::error::Result;
use crate::format::model::centroid_stride;
use crate::index::ivf::CentroidBytes;
use crate::kernel::cluster::{Assigner, Centroids, Places, Points, Training, Work, train};
use crate::kernel::{kernels, padded_dim};
use crate::manifest::Training as TrainedOn;
use crate::segment::ModelContent;
use crate::snapshot::OpenModel;
use crate::storage::{FileId, FileKind, FileName};

/// Decoded vectors are off by much of their distance from the centroid; the mean of so many is off by little.
const LEAST_PER_LIST: usize = 24;
/// A list that fewer rows are nearest to is a list of their errors.
const LEAST_MEMBERS: u64 = 12;

/// The model that is to get more lists.
pub(crate) struct Added<'a> {
    pub(crate) model: &'a OpenModel,
    pub(crate) trained: &'a TrainedOn,
    /// The rows that others are made of.
    pub(crate) rows: &'a CodedRows<'a>,
    /// Lists that have rows, ascending.
    pub(crate) kept: &'a [u32],
    /// Rows in each list.
    pub(crate) lengths: &'a [u64],
    /// Lists to add; at most so many, if only those of the rows count that are far from all lists or in overfull ones.
    pub(crate) lists: usize,
    pub(crate) strays_alone: bool,
}

impl ModelJob<'_> {
    /// Writes a model with the kept lists of another and more; it is synced and read back, and no manifest names it yet. `None` if there are too few rows to
    /// make lists of. Holds what [`Filing`] needs for the rows and what `budget_bytes` lets training have.
    ///
    /// # Errors
    /// `InvalidArgument` naming `budget_bytes`; `Cancelled`; `Corrupt`; `NoSpace`; `Io`. What was made is removed, as far as possible.
    pub(crate) fn add_lists(&self, old: &Added<'_>, id: FileId, budget_bytes: u64) -> Result<Option<Made>> {
        let (schema, model) = (self.schema, old.model);
        let mean = (old.trained.rows / model.file.lists().max(1) as u64).max(1);
        let (rows, lists) = match old.strays_alone {
            true => {
                let strays = self.strays(old, mean)?;
                let lists = (strays.len() * HEADROOM / mean as usize).min(old.lists);
                (strays, lists)
            }
            false => (old.rows.only(|_| true), old.lists),
        };
        let taught = rows.only(|i| !(i + 1).is_multiple_of(HELD_OUT));
        let lists = lists.min(taught.len() / LEAST_PER_LIST);
        if lists == 0 {
            return Ok(None);
        }
        let watch = Watched(self.control);
        let work = Work { kernels: kernels(), parallel: self.parallel, watch: &watch };
        let training = Training { seed: schema.random_seed(), budget_bytes, ..Training::new(lists) };
        let more = train(&work, &taught, &training)?.centroids;
        let more = filled(&work, &taught, &more, old.lists)?;
        if more.is_empty() {
            return Ok(None);
        }
        let stride = centroid_stride(padded_dim(schema.dim()));
        let kept = (&model.centroids(), old.kept);
        let bytes = CentroidBytes::after_some(kernels(), &model.frame, kept, &more, stride);
        let codes = schema.list_codes().unwrap_or_default();
        let words = model.file.codewords();
        let content = ModelContent {
            metric: schema.metric(),
            seed: model.file.seed(),
            scale: model.file.scale(),
            mean: model.file.mean(),
            centroids: &bytes.centroids,
            codes: &bytes.codes,
            codebook: codebook_of(codes).map(|book| (book, &words[..])),
        };
        let (entry, extended) = self.write(id, &content)?;
        let energy = self.energy(&extended, old, &rows).inspect_err(|_| {
            let _ = self.storage.remove(FileName::File(FileKind::Model, id));
        })?;
        Ok(Some(Made { entry, model: extended, energy }))
    }

    /// The rows that are far from all lists, or in overfull ones.
    fn strays<'r>(&self, old: &Added<'r>, mean: u64) -> Result<CodedRows<'r>> {
        let rows = old.rows;
        let (lists, mut distances) = self.filing_of(old.model)?.nearest_inside(rows)?;
        rows.visit(0..rows.len(), &mut |i, _, known| {
            distances.get_mut(i).into_iter().for_each(|distance| *distance -= known.excess);
            Ok(())
        })?;
        let is_far = |i: usize| distances.get(i).is_some_and(|far| f64::from(*far) > STRAY * old.trained.energy);
        let length = |i: usize| lists.get(i).and_then(|list| old.lengths.get(*list as usize)).copied();
        Ok(rows.only(|i| is_far(i) || length(i).is_some_and(|length| length > FULL * mean)))
    }

    /// Mean squared distance of rows that training did not see from the nearest centroid, all rows of the collection counted; or of those that the lists
    /// are for, if these are further: they stay as far, so that more of them are no news.
    fn energy(&self, model: &OpenModel, old: &Added<'_>, rows: &CodedRows<'_>) -> Result<f64> {
        let trained = old.trained;
        let step = (rows.len() / HELD_OUT).div_ceil(MOST_HELD_OUT).max(1) * HELD_OUT;
        let held_out = rows.only(|i| (i + 1).is_multiple_of(step));
        let (_, distances) = self.filing_of(model)?.nearest_inside(&held_out)?;
        let mut sum = 0.0;
        held_out.visit(0..held_out.len(), &mut |i, _, known| {
            sum += distances.get(i).map_or(0.0, |distance| model.frame.counted((distance - known.excess).max(0.0)));
            Ok(())
        })?;
        let energy = sum / held_out.len().max(1) as f64;
        let part = (rows.len() as f64 / trained.rows.max(1) as f64).min(1.0);
        Ok((trained.energy * (1.0 - part) + energy * part).max(energy))
    }

    fn filing_of<'a>(&'a self, model: &'a OpenModel) -> Result<Filing<'a>> {
        Filing::new(self.storage, self.schema, self.ids, model, self.parallel, self.control)
    }
}

/// Those of the centroids that some rows are nearest to, at most so many, end to end.
fn filled(work: &Work<'_>, rows: &dyn Points, centroids: &Centroids, most: usize) -> Result<Vec<f32>> {
    let mut lists = vec![0; rows.count()];
    let assigner = Assigner::new(work, centroids, super::filing::probes(), None)?;
    assigner.assign(work, rows, 0, Places { lists: &mut lists, seconds: None, distances: None })?;
    let mut members = vec![0_u64; assigner.lists()];
    lists.iter().for_each(|list: &u32| {
        members.get_mut(*list as usize).into_iter().for_each(|count| *count += 1);
    });
    let values = centroids.values().chunks_exact(rows.dim()).zip(members);
    Ok(values.filter(|(_, members)| *members >= LEAST_MEMBERS).take(most).flat_map(|(row, _)| row).copied().collect())
}
