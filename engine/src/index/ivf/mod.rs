//! Search by lists: the few lists whose centroids are near the query are scanned, what may be near is looked at again with more
//! bits, and the best of that is measured exactly.
//!
//! * `frame`: the space of codes: mean, rotation, padding. Shared by everything a collection codes.
//! * `centroids`: where lists lie, and which of them a query should look at; `doubt`: how many of them have to be measured for that.
//! * `encoder`: rows become entries of lists, laid out as `entries` says; `decoder`: entries become rows again, more or less.
//! * `filing`: the nearest list of a row that has just come; `fresh`: its code until it is in a segment.
//! * `search`: waves of lists (`waves`, each a `wave`) with a bound that tightens, up to a distance that the first tells (`horizon`), candidates
//!   (`candidates`), exact distances. Lists of product codes
//!   (`product`) and lists without codes (`exact`) have waves of their own.
//! * `cold`: the same search where lists and rows are not expected to be in memory.
//!
//! Nothing here sees a file: lists and rows come through the traits [`Lists`] and [`Rows`]. After Gao and Long's RaBitQ
//! (<https://arxiv.org/abs/2405.12497>) for the codes and their bounds, and Sun and others' SOAR
//! (<https://arxiv.org/abs/2404.00774>) for second copies.

mod candidates;
mod centroids;
mod cold;
mod decoder;
mod doubt;
mod encoder;
mod entries;
mod exact;
mod filing;
mod frame;
mod fresh;
mod horizon;
mod product;
mod search;
mod wave;
mod waves;

pub(crate) use centroids::{CentroidBytes, CentroidSet};
pub(crate) use cold::{ColdLists, ColdSearch};
pub(crate) use decoder::{Decoded, Entries, EntryDecoder};
pub(crate) use encoder::{Coder, EntryEncoder};
pub(crate) use entries::{EncodedList, EntryLayout, take_entry};
pub(crate) use filing::Filing;
pub(crate) use frame::Frame;
pub(crate) use fresh::{ListedCode, RowCodes, bound_signs, has_signs, scan_signs};
pub(crate) use search::{IvfSearch, ListPieces, Lists, Probe, Ready, Rows, Scratch};
pub(crate) use wave::emptied;
pub(crate) use waves::wave_lists;

/// Parts of a search, in order; what a [`Trace`] is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Rotation of the query and its tables.
    Query,
    /// Estimates of all centroids and the choice among them.
    Centroids,
    /// Distances of the chosen centroids.
    Refine,
    /// Lower bounds of all entries of the probed lists.
    Scan,
    /// More bits of the entries that passed.
    Records,
    /// Exact distances.
    Exact,
}

/// Someone who follows a search.
pub(crate) trait Trace {
    /// The stage that ends now.
    fn ended(&mut self, _stage: Stage) {}

    /// Most lists of the wave that comes after `looked` lists: whoever wants to see what so many lists find asks for short waves.
    #[inline(always)]
    fn most_lists(&self, _looked: usize) -> usize {
        usize::MAX
    }

    /// A wave is over: so many of the lists were looked at, and the last of them is so far out as [`Probe::horizon`] tells it.
    #[inline(always)]
    fn looked(&mut self, _lists: usize, _place: f32, _scratch: &Scratch) {}
}

/// Nobody.
impl Trace for () {}
