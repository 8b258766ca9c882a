//! Lists for rows of a kind that a model has none for: a few centroids more, made of those rows alone.
//!
//! A kind of rows that was not there when a model was trained ends up in the few lists that are least far from it, and all searches near it
//! read all of those. To cluster the new rows by themselves takes a fraction of the time of a training, and the centroids there are stay as they are.

use super::control::Watched;
use super::filing::Filing;
use super::live_points::{LivePoints, UnitPoints};
use super::train_model::{Made, ModelJob};
use crate::error::Result;
use crate::format::model::centroid_stride;
use crate::index::ivf::CentroidBytes;
use crate::kernel::cluster::{Training, Work, train};
use crate::kernel::{kernels, padded_dim};
use crate::manifest::Training as TrainedOn;
use crate::segment::ModelContent;
use crate::snapshot::OpenModel;
use crate::storage::{FileId, FileKind, FileName};

/// How many times as far as others, as squares, a row is that belongs to none of the lists there are.
pub(super) const STRAY: f64 = 1.5;
/// How many times the mean a list is long of which new rows are to go elsewhere.
pub(super) const FULL: u64 = 2;
/// Lists for strays are so many times as many as there would be for other rows: where some of a kind have come there will be more.
pub(super) const HEADROOM: usize = 3;
const LEAST_PER_LIST: usize = 4;
/// Of the new rows every so-manyth is kept from training, to tell how far such rows are from centroids that do not know them.
pub(super) const HELD_OUT: usize = 8;
pub(super) const MOST_HELD_OUT: usize = 4_096;

/// The model that is to get more lists.
pub(crate) struct Extended<'a> {
    pub(crate) model: &'a OpenModel,
    pub(crate) trained: &'a TrainedOn,
    /// Rows in each list.
    pub(crate) lengths: &'a [u64],
    /// Lists of both kinds at most.
    pub(crate) most_lists: usize,
}

impl ModelJob<'_> {
    /// Writes a model with the lists of another one and more, for those of `new`, the rows since its training, that are far from all of them; it is
    /// synced and read back, and no manifest names it yet. `None` if these are too few, or would be too many lists: the model is to be
    /// trained anew. Holds what [`Filing`] needs for the new rows and what `budget_bytes` lets training have.
    ///
    /// # Errors
    /// `InvalidArgument` naming `budget_bytes`; `Cancelled`; `Corrupt`; `NoSpace`; `Io`. What was made is removed, as far as possible.
    pub(crate) fn extend(
        &self,
        new: &LivePoints<'_>,
        old: &Extended<'_>,
        id: FileId,
        budget_bytes: u64,
    ) -> Result<Option<Made>> {
        let (schema, trained, model) = (self.schema, old.trained, old.model);
        let (known, held_out) = (new.others(HELD_OUT), new.thinned(HELD_OUT, MOST_HELD_OUT));
        let (lists, distances) = self.filing(model)?.nearest(&known)?;
        let mean = (trained.rows / model.file.lists().max(1) as u64).max(1);
        let is_far = |distance: f32| f64::from(distance) > STRAY * trained.energy;
        let is_full = |list: u32| old.lengths.get(list as usize).is_some_and(|length| *length > FULL * mean);
        let strays = known.only(lists.iter().zip(&distances).map(|(list, far)| is_far(*far) || is_full(*list)));
        let mean = mean as usize;
        let lists = (strays.len() * HEADROOM / mean).min(strays.len() / LEAST_PER_LIST);
        // Training may halve lists and so make a quarter more.
        if lists == 0 || model.file.lists() + lists * 5 / 4 > old.most_lists {
            return Ok(None);
        }
        let watch = Watched(self.control);
        let work = Work { kernels: kernels(), parallel: self.parallel, watch: &watch };
        let training = Training { seed: schema.random_seed(), budget_bytes, ..Training::new(lists) };
        let more = train(&work, &UnitPoints(&strays), &training)?.centroids;
        let stride = centroid_stride(padded_dim(schema.dim()));
        let bytes = CentroidBytes::after(kernels(), &model.frame, Some(&model.centroids()), more.values(), stride);
        let content = ModelContent {
            metric: schema.metric(),
            seed: model.file.seed(),
            scale: model.file.scale(),
            mean: model.file.mean(),
            centroids: &bytes.centroids,
            codes: &bytes.codes,
            codebook: None,
        };
        let (entry, extended) = self.write(id, &content)?;
        let energy = self.filing(&extended).and_then(|filing| filing.mean_energy(&held_out)).inspect_err(|_| {
            let _ = self.storage.remove(FileName::File(FileKind::Model, id));
        })?;
        let part = (new.len() as f64 / trained.rows.max(1) as f64).min(1.0);
        let energy = trained.energy * (1.0 - part) + energy * part;
        Ok(Some(Made { entry, model: extended, energy }))
    }

    fn filing<'a>(&'a self, model: &'a OpenModel) -> Result<Filing<'a>> {
        Filing::new(self.storage, self.schema, self.ids, model, self.parallel, self.control)
    }
}
