//! What a manifest says of its models beside where they are: how to search by them, what they were trained on, and how the rows that came
//! since differ from that.

use zerocopy::{FromZeros, IntoBytes};

use super::Manifest;
use crate::format::manifest::{CalibrationBytes, TrainingBytes};
use crate::planted::{self, Bug};

/// Most models that are alive: one that new rows are filed by, and before it one whose list segments are still being converted.
pub(super) const MAX_MODELS: usize = 2;

/// How to search so that a part of the nearest rows is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Hash of the model.
    pub model: [u8; 32],
    /// Rows that were in lists when this was measured; 0 if it was measured with the model before, and numbers of lists scaled.
    pub rows: u64,
    /// Rows wanted, 1 or more.
    pub k: u32,
    /// Part of the true nearest rows that was found, above 0, at most 1.
    pub recall: f32,
    /// Lists to look at, 1 or more.
    pub nprobe: u32,
    /// Lists without improvement after which to end, 1 or more.
    pub patience: u32,
    /// Rows to measure.
    pub exact: u32,
    /// Standard errors by which bounds are lower than estimates; finite, 0 or more.
    pub deviations: f32,
    /// How far out lists are looked at; a number or infinity, which is however far.
    pub horizon: f32,
}

/// What a model was trained on, and what was filed by it since.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Training {
    /// Hash of the model.
    pub model: [u8; 32],
    /// Live rows when it was trained.
    pub rows: u64,
    /// Rows below this number were there then.
    pub next_row: u64,
    /// Mean squared distance of rows that training did not see from the nearest centroid; 0 if it is not known.
    pub energy: f64,
    /// Rows from `next_row` on that were filed, the older ones counting for less and less.
    pub fresh: u64,
    /// Their mean squared distance from the nearest centroid.
    pub fresh_energy: f64,
    /// Of those, the ones filed since the calibration was made.
    pub changed: u64,
    /// Lists of which one in a hundred is longer, as a multiple of the mean, when the lists were last known to be as good as training
    /// makes them; 0 if that is not known.
    pub skew: f32,
    /// Entries of lists that a search of the default effort scanned then, on average; 0 if that is not known.
    pub scanned: f32,
}

impl Calibration {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let bytes = CalibrationBytes {
            model: self.model,
            rows: self.rows.into(),
            k: self.k.into(),
            recall: self.recall.into(),
            nprobe: self.nprobe.into(),
            patience: self.patience.into(),
            exact: self.exact.into(),
            deviations: self.deviations.into(),
            horizon: self.horizon.into(),
            reserved: [0; 4],
        };
        bytes.as_bytes().to_vec()
    }

    /// Of an entry with or without a horizon.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Calibration, &'static str> {
        let mut whole = CalibrationBytes { horizon: f32::INFINITY.into(), ..FromZeros::new_zeroed() };
        let place = whole.as_mut_bytes().get_mut(..bytes.len()).ok_or("a calibration is too long")?;
        place.copy_from_slice(bytes);
        Calibration::read(&whole)
    }

    fn read(entry: &CalibrationBytes) -> Result<Calibration, &'static str> {
        let read = Calibration {
            model: entry.model,
            rows: entry.rows.get(),
            k: entry.k.get(),
            recall: entry.recall.get(),
            nprobe: entry.nprobe.get(),
            patience: entry.patience.get(),
            exact: entry.exact.get(),
            deviations: entry.deviations.get(),
            horizon: entry.horizon.get(),
        };
        let sane = read.k > 0
            && read.nprobe > 0
            && read.patience > 0
            && read.recall > 0.0
            && read.recall <= 1.0
            && read.deviations.is_finite()
            && read.deviations >= 0.0
            && read.horizon > f32::NEG_INFINITY
            && entry.reserved == [0; 4];
        sane.then_some(read).ok_or("a calibration holds an impossible number")
    }
}

impl Training {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let bytes = TrainingBytes {
            model: self.model,
            rows: self.rows.into(),
            next_row: self.next_row.into(),
            energy: self.energy.into(),
            fresh: self.fresh.into(),
            fresh_energy: self.fresh_energy.into(),
            changed: self.changed.into(),
            skew: self.skew.into(),
            scanned: self.scanned.into(),
            reserved: [0; 8],
        };
        bytes.as_bytes().to_vec()
    }

    pub(super) fn read(entry: &TrainingBytes) -> Result<Training, &'static str> {
        let read = Training {
            model: entry.model,
            rows: entry.rows.get(),
            next_row: entry.next_row.get(),
            energy: entry.energy.get(),
            fresh: entry.fresh.get(),
            fresh_energy: entry.fresh_energy.get(),
            changed: entry.changed.get(),
            skew: entry.skew.get(),
            scanned: entry.scanned.get(),
        };
        let numbers = [read.energy, read.fresh_energy, read.skew.into(), read.scanned.into()];
        let sane = entry.reserved == [0; 8] && numbers.iter().all(|number| number.is_finite() && *number >= 0.0);
        sane.then_some(read).ok_or("what a model was trained on holds an impossible number")
    }

    /// Takes in rows that came after training and were filed by its model: how many, and the sum of their squared distances. Once they
    /// are more than an eighth of the rows trained on, older ones count for less, so that the mean tells of the last of them.
    pub(crate) fn add(&mut self, rows: u64, energy: f64) {
        const LEAST: u64 = 1_000;
        self.changed = self.changed.saturating_add(rows);
        let count = self.fresh.saturating_add(rows);
        let sum = self.fresh_energy * self.fresh as f64 + energy;
        if rows > 0 && sum.is_finite() {
            self.fresh_energy = sum / count as f64;
            self.fresh = count.min((self.rows / 8).max(LEAST));
        }
    }
}

impl Manifest {
    /// What is known of a model's training.
    pub(crate) fn training_of(&self, model: &[u8; 32]) -> Option<&Training> {
        self.training.iter().find(|training| training.model == *model)
    }

    /// The same, to be changed.
    pub(crate) fn training_of_mut(&mut self, model: &[u8; 32]) -> Option<&mut Training> {
        self.training.iter_mut().find(|training| training.model == *model)
    }

    /// The number of the first row that came after a model was trained; 0 if nothing is known of that.
    pub(crate) fn first_fresh(&self, model: &[u8; 32]) -> u64 {
        self.training_of(model).map_or(0, |training| training.next_row)
    }

    /// What was measured with a model.
    pub(crate) fn calibration_of(&self, model: &[u8; 32]) -> &[Calibration] {
        let of_it = |entry: &&[Calibration]| entry.first().is_some_and(|entry| entry.model == *model);
        self.calibration.chunk_by(|a, b| a.model == b.model).find(of_it).unwrap_or_default()
    }

    /// Says of a new model what was measured with the one before it, as large a part of the lists for each part of the rows: until it is
    /// measured itself that is nearer the truth than a guess.
    pub(crate) fn hand_calibration_on(&mut self, from: &[u8; 32], to: &super::HashedEntry) {
        let lists_of = |entry: &super::HashedEntry| entry.file.facts.rows.max(1) as f64;
        let Some(from) = self.models.iter().find(|model| model.hash == *from) else { return };
        let ratio = lists_of(to) / lists_of(from);
        let scale = |lists: u32| (f64::from(lists) * ratio).ceil().max(1.0) as u32;
        let scaled = |entry: &Calibration| Calibration {
            model: to.hash,
            rows: 0,
            nprobe: scale(entry.nprobe),
            patience: if entry.patience == u32::MAX { u32::MAX } else { scale(entry.patience).min(u32::MAX - 1) },
            // Nobody has seen how far out the new lists hold nearer rows.
            horizon: f32::INFINITY,
            ..*entry
        };
        let scaled: Vec<Calibration> = self.calibration_of(&from.hash).iter().map(scaled).collect();
        self.calibration.extend(scaled);
    }

    /// Forgets models that are neither the newest nor named by a list segment, and what is known of models that are not there; their entries.
    pub(crate) fn drop_unnamed_models(&mut self) -> Vec<super::HashedEntry> {
        let last = self.models.last().map(|model| model.hash);
        let early = planted::is(Bug::DropOlderModelEarly) && self.lists.iter().any(|list| Some(list.hash) == last);
        let named = |hash: &[u8; 32]| Some(*hash) == last || !early && self.lists.iter().any(|list| list.hash == *hash);
        let (keep, gone) = self.models.iter().partition(|model| named(&model.hash));
        self.models = keep;
        let alive = |hash: &[u8; 32]| self.models.iter().any(|model| model.hash == *hash);
        self.calibration.retain(|entry| alive(&entry.model));
        self.training.retain(|entry| alive(&entry.model));
        gone
    }
}

/// What is known of models stands in their order; of models that are gone it says nothing and is left out.
pub(super) fn check_measured(manifest: &mut Manifest) -> Result<(), &'static str> {
    let models: Vec<[u8; 32]> = manifest.models.iter().map(|model| model.hash).collect();
    let place = |hash: &[u8; 32]| models.iter().position(|model| model == hash);
    manifest.calibration.retain(|entry| place(&entry.model).is_some());
    manifest.training.retain(|entry| place(&entry.model).is_some());
    let key = |entry: &Calibration| (place(&entry.model), entry.k, entry.recall, entry.patience);
    if manifest.calibration.windows(2).any(|pair| matches!(pair, [a, b] if key(a) >= key(b))) {
        return Err("the calibration is not in order");
    }
    match manifest.training.windows(2).any(|pair| matches!(pair, [a, b] if place(&a.model) >= place(&b.model))) {
        true => Err("what models were trained on is not in their order"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rows_count_most() {
        let mut training = Training { rows: 16_000, energy: 1.0, ..Training::default() };
        training.add(8_000, 8_000.0);
        assert_eq!((training.fresh, training.fresh_energy, training.changed), (2_000, 1.0, 8_000));
        (0..4).for_each(|_| training.add(1_000, 2_000.0));
        assert!(training.fresh_energy > 1.7 && training.fresh_energy < 2.0, "{}", training.fresh_energy);
        training.add(5, f64::NAN);
        assert!(training.fresh_energy.is_finite());
    }
}
