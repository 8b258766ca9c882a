//! Partitioning vectors into lists: k-means, assignment to the nearest list, spilling, and other choices of anchors.
//!
//! * [`train`](fn@train) finds centroids on a sample: two levels of k-means, then passes of Lloyd's algorithm in which a row looks only
//!   at the lists of its nearest super-lists; empty lists are re-seeded and oversized ones split.
//! * [`Assigner`] gives each row its list, and with [`Spill`] a second one (SOAR).
//! * [`anchors`] holds the other selections: random rows, farthest-first coverage, k-means per group.
//!
//! **Same bits everywhere.** Centroids and lists depend on rows, options and seed alone: not on the number of threads, the
//! instruction set, or how rows are cut into calls. Rows are cut into blocks of fixed size, results of blocks have fixed
//! places, means are summed in the order of rows, scores are single chains (see `tile`), ties go to the lower number, and
//! random choices come from SplitMix64.
//!
//! **Bounded memory.** Rows are read through [`Points`] in blocks; only the sample is held, and the budget limits it (see
//! [`Training::bytes`]).

pub mod anchors;
mod assign;
mod centroids;
pub(in crate::kernel) mod coarse;
mod coverage;
mod frame;
mod groups;
mod lloyd;
mod panels;
mod parallel;
mod points;
mod router;
mod sample;
mod spill;
mod split;
mod stratify;
pub(in crate::kernel) mod tile;
mod train;
mod watch;

#[cfg(test)]
mod tests;

pub use assign::{Assigner, Places};
pub use centroids::Centroids;
pub use parallel::{Parallel, Serial};
pub use points::{Points, Rows, Subset};
pub use spill::{NO_LIST, Spill};
pub use train::{Oversize, Trained, Training, train};
pub use watch::{Progress, Stage, Unwatched, Watch, Work};
