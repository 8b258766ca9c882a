//! Whether estimates of centroids say enough to leave the others alone.

/// What is known of the estimates of centroids from those that were looked at. They are made around the mean of all rows: of lists that are
/// all far from it on the same side, and near each other, they tell little.
#[derive(Default)]
pub(super) struct Doubt {
    count: f64,
    /// Of what estimates were off.
    squares: f64,
    distances: f64,
    /// All up to this estimate were looked at.
    most: Option<f32>,
    /// Centroids too far from the mean for an estimate: they come before all others.
    unknown: usize,
}

impl Doubt {
    /// A centroid that was looked at: what it was taken for, what it is, and how far it is in the same unit.
    pub(super) fn saw(&mut self, estimate: f32, exact: f32, distance: f32) {
        let off = f64::from(exact) - f64::from(estimate);
        if estimate.is_finite() && off.is_finite() {
            self.count += 1.0;
            self.squares += off * off;
            self.distances += f64::from(distance);
        }
        self.unknown += usize::from(estimate == f32::NEG_INFINITY);
        self.most = Some(self.most.map_or(estimate, |most| most.max(estimate)));
    }

    /// How many have no estimate.
    pub(super) fn unknown(&self) -> usize {
        self.unknown
    }

    /// All others that are estimated to be up to here, with a number that none of those is below; `None` if they were looked at.
    pub(super) fn up_to(&self, limit: f32) -> Option<(f32, f32)> {
        self.most.filter(|most| limit > *most).map(|most| (most, limit))
    }

    /// The range of estimates, its lower end aside, in which centroids may be better than `last`.
    ///
    /// Half a standard error is as many more as pay where errors are a small part of distances (measured: nothing on texts and images, .005 more of the
    /// nearest in the same time on local descriptors of images). Where they are as large as distances, all that may be nearer are meant.
    pub(super) fn range(&self, last: f32) -> Option<(f32, f32)> {
        let error = (self.squares / self.count).sqrt();
        let part = (error * self.count / self.distances).abs().min(1.0);
        self.up_to(last + (error * (0.5 + 6.0 * part * part)) as f32)
    }
}
