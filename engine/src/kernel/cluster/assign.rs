//! Giving rows their lists.

use crate::error::{Error, Result};

use super::centroids::Centroids;
use super::frame::{Frame, width};
use super::parallel::ranges;
use super::points::Points;
use super::router::Router;
use super::sample::{Matrix, PART_ROWS, frame_around};
use super::spill::{Neighbours, Spill, Spiller};
use super::watch::{Stage, Work};

/// Neighbours a row looks at when it walks from list to list.
const NEIGHBOURS: usize = 32;
/// Lists nearest to a row among which its second list is chosen: with 4 the loss is 1.2 % larger. With 9 it is 0.2 % larger, 4 % of
/// the rows get another list, and a search of 48 lists reads 1 % more and finds 0.1 % less.
/// The lists nearest to its *first list* are no substitute: of 384 components their loss is 6 % larger, more than that of simply
/// the second nearest list, and a search of 24 lists finds 2 % less.
const CANDIDATES: usize = 16;

/// Finds the lists of rows. What a row gets depends on the row and the centroids alone: rows may come one by one, in any
/// batches, on any machine.
///
/// Up to 512 lists are all compared. Of more, a row looks at those of its nearest super-lists, and then walks to neighbouring
/// lists as long as that brings it nearer.
pub struct Assigner {
    frame: Frame,
    centroids: Matrix,
    router: Router,
    neighbours: Neighbours,
    probes: usize,
    spill: Option<Spill>,
}

/// Where results go; each as long as the rows to assign.
#[derive(Default)]
pub struct Places<'a> {
    /// The nearest list.
    pub lists: &'a mut [u32],
    /// The second list, [`NO_LIST`](super::NO_LIST) if there is only one.
    pub seconds: Option<&'a mut [u32]>,
    /// Squared distance to the centroid of the nearest list.
    pub distances: Option<&'a mut [f32]>,
}

impl Assigner {
    /// Prepares for rows like those the centroids were made from: `probes` super-lists are looked at (16 is customary; with 8, of texts a search
    /// of as many lists finds .1 % less, with 5 .4 % less), and second lists are chosen by `spill`, if any.
    ///
    /// Holds about `14 w` bytes per list, with `w` the dimension rounded up to 16, and 128 more.
    ///
    /// # Errors
    /// `Cancelled` if the watch says so.
    pub fn new(work: &Work<'_>, centroids: &Centroids, probes: usize, spill: Option<Spill>) -> Result<Self> {
        let width = width(centroids.dim());
        let mut rows = vec![0.0; centroids.count() * width];
        let mut sums = vec![0.0_f64; centroids.dim()];
        for (from, to) in centroids.values().chunks_exact(centroids.dim()).zip(rows.chunks_exact_mut(width)) {
            to[..from.len()].copy_from_slice(from);
            sums.iter_mut().zip(from).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        let offset = sums.iter().map(|sum| (sum / centroids.count() as f64) as f32).collect();
        let frame = frame_around(work, offset, &rows, width)?;
        rows.chunks_exact_mut(width).for_each(|row| frame.enter_in_place(row));
        let centroids = Matrix::new(work, rows, width);
        let router = Router::new(work, Stage::Assign, &centroids)?;
        let most = if spill.is_some() || !router.exact() { NEIGHBOURS } else { 0 };
        let neighbours = Neighbours::new(work, &router, &centroids, probes, most)?;
        Ok(Assigner { frame, centroids, router, neighbours, probes, spill })
    }

    /// Number of lists.
    pub fn lists(&self) -> usize {
        self.centroids.count()
    }

    /// Assigns the rows from `first` on, as many as there are places.
    ///
    /// # Errors
    /// `InvalidArgument` if the dimension is not that of the centroids, places differ in length or reach past the last row,
    /// or second lists are wanted from an assigner without spill; `Cancelled`; what the source returns.
    pub fn assign(&self, work: &Work<'_>, points: &dyn Points, first: usize, places: Places<'_>) -> Result<()> {
        let count = places.lists.len();
        self.check(points, first, &places)?;
        let seconds = parts_of(places.seconds, count);
        let distances = parts_of(places.distances, count);
        let parts =
            ranges(count, PART_ROWS).zip(places.lists.chunks_mut(PART_ROWS)).zip(seconds.into_iter().zip(distances));
        work.each(Stage::Assign, parts.collect(), |_, ((range, lists), (seconds, distances))| {
            let mut rows = vec![0.0; range.len() * points.dim()];
            points.read(first + range.start, &mut rows)?;
            self.assign_rows(work, &rows, Places { lists, seconds, distances });
            Ok(())
        })
    }

    fn check(&self, points: &dyn Points, first: usize, places: &Places<'_>) -> Result<()> {
        let count = places.lists.len();
        if points.dim() != self.frame.dim() {
            let problem = format!("have dim {}, the centroids {}", points.dim(), self.frame.dim());
            return Err(Error::argument("points", problem));
        }
        if first.checked_add(count).is_none_or(|end| end > points.count()) {
            let problem = format!("reach past the last row: {count} from {first} of {}", points.count());
            return Err(Error::argument("places", problem));
        }
        let differ = |len: Option<usize>| len.is_some_and(|len| len != count);
        if differ(places.seconds.as_ref().map(|x| x.len())) || differ(places.distances.as_ref().map(|x| x.len())) {
            return Err(Error::argument("places", "must be equal in length"));
        }
        if places.seconds.is_some() && self.spill.is_none() {
            return Err(Error::argument("seconds", "need an assigner with spill"));
        }
        Ok(())
    }

    fn assign_rows(&self, work: &Work<'_>, rows: &[f32], mut places: Places<'_>) {
        let width = self.centroids.width;
        let mut inside = vec![0.0; places.lists.len() * width];
        for (row, inside) in rows.chunks_exact(self.frame.dim()).zip(inside.chunks_exact_mut(width)) {
            self.frame.enter(row, inside);
        }
        let mut near = Vec::new();
        if places.seconds.is_some() {
            near = self.router.nearest_many(work.kernels, &self.centroids, &inside, self.probes, CANDIDATES);
            // Rows whose scores are no numbers have found nothing.
            let nearest = near.iter().map(|near| near.first().map_or(0, |nearest| nearest.1));
            places.lists.iter_mut().zip(nearest).for_each(|(list, nearest)| *list = nearest);
        } else {
            let (coarse, mut best) = (self.router.coarse(work.kernels, &inside), vec![(0.0, 0); places.lists.len()]);
            self.router.nearest(work.kernels, &self.centroids, &inside, (&coarse, 0), self.probes, &mut best);
            places.lists.iter_mut().zip(best).for_each(|(list, best)| *list = best.1);
        }
        let mut spiller = Spiller::new(work.kernels, &self.centroids, &self.neighbours);
        for (at, row) in inside.chunks_exact(width).enumerate() {
            let list = match self.router.exact() {
                true => places.lists[at],
                false => spiller.walk(row, places.lists[at]),
            };
            places.lists[at] = list;
            if let (Some(seconds), Some(spill)) = (&mut places.seconds, self.spill) {
                let candidates = near.get(at).map_or(&[][..], |near| near);
                seconds[at] = spiller.second(row, list, candidates, spill);
            }
            if let Some(distances) = &mut places.distances {
                distances[at] = self.frame.distance(f64::from(spiller.distance(row, list))) as f32;
            }
        }
    }
}

/// The parts of a place that may be missing.
fn parts_of<T>(place: Option<&mut [T]>, count: usize) -> Vec<Option<&mut [T]>> {
    match place {
        Some(place) => place.chunks_mut(PART_ROWS).map(Some).collect(),
        None => ranges(count, PART_ROWS).map(|_| None).collect(),
    }
}
