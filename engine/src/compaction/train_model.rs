//! A model from the rows there are: mean, unit, centroids.

use super::anchoring::centroids;
use super::codebooks::{codebook_of, train_codebook};
use super::control::{Control, Watched};
use super::filing::Filing;
use super::live_points::{LivePoints, UnitPoints};
use crate::error::Result;
use crate::format::model::centroid_stride;
use crate::index::ivf::{CentroidBytes, Frame};
use crate::kernel::cluster::{Parallel, Points, Training, Work};
use crate::kernel::{kernels, padded_dim};
use crate::manifest::{FileEntry, HashedEntry};
use crate::options::Schema;
use crate::segment::{ModelContent, ModelFile, write_model};
use crate::snapshot::OpenModel;
use crate::storage::{FileId, FileKind, FileName, Storage};

/// From so many rows on each `HELD_OUT`th is kept from training, to tell how far rows are from their centroids that those do not know. Of
/// rows that they do know it is the less the fewer there are for each list. At most so many are looked at.
const LEAST_HELD_OUT: usize = 4_096;
const HELD_OUT: usize = 32;
const MOST_HELD_OUT: usize = 4_096;
/// Rows whose mean is taken.
const MEAN_ROWS: usize = 1 << 14;

/// A model that was trained.
pub(crate) struct Made {
    pub(crate) entry: HashedEntry,
    pub(crate) model: OpenModel,
    /// Mean squared distance of rows that training did not see from the nearest centroid; 0 if there were too few to tell.
    pub(crate) energy: f64,
}

/// What a model is made of and where it goes.
pub(crate) struct ModelJob<'a> {
    pub(crate) storage: &'a dyn Storage,
    pub(crate) schema: &'a Schema,
    /// The collection's id, and where the rows' numbers were given.
    pub(crate) ids: (u128, u128),
    pub(crate) parallel: &'a dyn Parallel,
    pub(crate) control: &'a Control,
}

impl ModelJob<'_> {
    /// Trains so many lists on all live rows and writes the model; it is synced and read back, and no manifest names it yet.
    /// Holds 16 bytes per row and what `budget_bytes` lets training have.
    ///
    /// # Errors
    /// `InvalidArgument` naming `budget_bytes`; `Cancelled`; `Corrupt`; `NoSpace`; `Io`. What was made is removed, as far as possible.
    pub(crate) fn make(&self, all: LivePoints<'_>, id: FileId, nlist: usize, budget_bytes: u64) -> Result<Made> {
        let (schema, dim) = (self.schema, self.schema.dim());
        let (live, held_out) = match all.len() >= LEAST_HELD_OUT {
            true => (all.others(HELD_OUT), all.thinned(HELD_OUT, MOST_HELD_OUT)),
            false => (all, LivePoints::none(schema)),
        };
        let points = UnitPoints(&live);
        let watch = Watched(self.control);
        let work = Work { kernels: kernels(), parallel: self.parallel, watch: &watch };
        let training = Training { seed: schema.random_seed(), budget_bytes, ..Training::new(nlist) };
        let (mean, energy) = mean_and_energy(&points)?;
        let centroids = centroids(&work, &live, schema, &training, energy)?;
        let scale = Frame::scale_for(energy);
        let frame = Frame::new(schema.metric(), mean.clone(), schema.random_seed(), scale);
        let bytes = CentroidBytes::new(kernels(), &frame, centroids.values(), centroid_stride(padded_dim(dim)));
        let codes = schema.list_codes().unwrap_or_default();
        let set = bytes.records(centroid_stride(padded_dim(dim)));
        let words = match codebook_of(codes) {
            Some(book) => train_codebook(&work, &live, &frame, set, book, schema.random_seed())?,
            None => Vec::new(),
        };
        let content = ModelContent {
            metric: schema.metric(),
            seed: schema.random_seed(),
            scale,
            mean: &mean,
            centroids: &bytes.centroids,
            codes: &bytes.codes,
            codebook: codebook_of(codes).map(|book| (book, &words[..])),
        };
        let (entry, model) = self.write(id, &content)?;
        let filing = Filing::new(self.storage, schema, self.ids, &model, self.parallel, self.control);
        let energy = filing.and_then(|filing| filing.mean_energy(&held_out)).inspect_err(|_| {
            let _ = self.storage.remove(FileName::File(FileKind::Model, id));
        })?;
        Ok(Made { entry, model, energy })
    }

    /// Writes a model and opens what was written.
    pub(super) fn write(&self, id: FileId, content: &ModelContent<'_>) -> Result<(HashedEntry, OpenModel)> {
        self.control.check()?;
        let (collection, origin) = self.ids;
        let facts = write_model(self.storage, id, collection, origin, content)?;
        let file = ModelFile::open(self.storage, id, collection, origin, &facts).inspect_err(|_| {
            let _ = self.storage.remove(FileName::File(FileKind::Model, id));
        })?;
        let entry = HashedEntry { file: FileEntry::new(id, facts), hash: *file.hash() };
        Ok((entry, OpenModel::new(file, self.schema.list_codes().unwrap_or_default())?))
    }
}

/// The mean of rows taken at equal distances, and their mean squared distance from it. Summed in the order of rows: the same bits on every
/// machine.
fn mean_and_energy(points: &dyn Points) -> Result<(Vec<f32>, f64)> {
    let step = points.count().div_ceil(MEAN_ROWS).max(1);
    let rows = (0..points.count()).step_by(step);
    let count = rows.len().max(1) as f64;
    let mut row = vec![0.0_f32; points.dim()];
    let mut sums = vec![0.0_f64; points.dim()];
    for i in rows.clone() {
        points.read(i, &mut row)?;
        sums.iter_mut().zip(&row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let mean: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
    let mut energy = 0.0;
    for i in rows {
        points.read(i, &mut row)?;
        let square = |(x, mean): (&f32, &f32)| (f64::from(*x) - f64::from(*mean)).powi(2);
        energy += row.iter().zip(&mean).map(square).sum::<f64>();
    }
    Ok((mean, energy / count))
}
