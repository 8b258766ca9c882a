//! Whether estimates of centroids say enough to leave the others alone.

/// What is known of the estimates of centroids from those that were looked at. They are made around the mean of all rows: of lists that are
/// all far from it on the same side, and near each other, they tell little.
#[derive(Default)]
pub(super) struct Doubt {
    count: f32,
    /// Of what estimates were off.
    squares: f32,
    distances: f32,
    /// All up to this estimate were looked at.
    most: Option<f32>,
}

impl Doubt {
    /// A centroid that was looked at: what it was taken for, what it is, and its squared distance, or half of it where that is the unit.
    pub(super) fn saw(&mut self, estimate: f32, exact: f32, distance: f32) {
        let off = exact - estimate;
        self.count += 1.0;
        self.squares += off * off;
        self.distances += distance;
        self.most = Some(self.most.map_or(estimate, |most| most.max(estimate)));
    }

    /// The range of estimates, its lower end aside, in which centroids may be better than `last`.
    ///
    /// Half a standard error is as many more as pay where errors are a small part of distances (measured: nothing on texts and images, .005 more of the
    /// nearest in the same time on local descriptors of images). Where they are as large as distances, all that may be nearer are meant.
    pub(super) fn range(&self, last: f32) -> Option<(f32, f32)> {
        let most = self.most?;
        let error = (self.squares / self.count).sqrt();
        let part = (error * self.count / self.distances).abs().min(1.0);
        let up_to = last + error * (0.5 + 6.0 * part * part);
        (up_to > most).then_some((most, up_to))
    }
}
