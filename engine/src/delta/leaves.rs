//! The youngest rows of each list, as of one view: lists that stand side by side share a leaf, and a commit makes the leaves anew that it adds to.

use std::sync::Arc;

use zerocopy::{Immutable, IntoBytes};

use crate::budget::Charge;
use crate::kernel::cluster::NO_LIST;

/// Lists in a leaf.
const LEAF: usize = 64;

/// A row in a list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Entry {
    /// Row number, less the first of the generation.
    pub(super) row: u32,
    /// In the second list of the row its first list, else [`NO_LIST`].
    pub(super) first: u32,
}

/// What knows the entries of each list, in the order of their rows.
pub(super) trait Entries {
    fn of_list(&self, list: u32) -> &[Entry];
}

struct Leaf {
    /// Where the entries of each list end; those of the first begin at 0.
    ends: [u32; LEAF],
    entries: Box<[Entry]>,
    _charge: Charge,
}

/// A persistent map from lists to rows. Cloning copies a pointer for each 64 lists.
#[derive(Clone)]
pub(super) struct Leaves {
    leaves: Vec<Arc<Leaf>>,
    rows: usize,
    entries: usize,
}

impl Leaf {
    fn empty() -> Leaf {
        Leaf { ends: [0; LEAF], entries: Box::default(), _charge: Charge::none() }
    }

    /// The same and more: sorted by list, and later than what is there.
    fn with(&self, more: &[(u32, Entry)], charge: &Charge) -> Leaf {
        let mut entries = Vec::with_capacity(self.entries.len() + more.len());
        let mut ends = [0; LEAF];
        let mut more = more.iter().peekable();
        for (place, end) in ends.iter_mut().enumerate() {
            entries.extend_from_slice(self.at(place));
            while let Some((_, entry)) = more.next_if(|(list, _)| *list as usize % LEAF == place) {
                entries.push(*entry);
            }
            *end = entries.len() as u32;
        }
        let _charge = charge.another(memory_of(entries.len()));
        Leaf { ends, entries: entries.into(), _charge }
    }

    fn at(&self, place: usize) -> &[Entry] {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.entries.get(start as usize..self.ends[place] as usize).unwrap_or_default()
    }
}

fn memory_of(entries: usize) -> u64 {
    (size_of::<Leaf>() + entries * size_of::<Entry>()) as u64
}

impl Leaves {
    /// No rows, in so many lists.
    pub(super) fn new(lists: usize) -> Leaves {
        let empty = Arc::new(Leaf::empty());
        Leaves { leaves: vec![empty; lists.div_ceil(LEAF)], rows: 0, entries: 0 }
    }

    /// Rows that are here, whatever lists they are in.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Entries of all lists.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Adds rows, of which `first` is the number of the first, with the lists of each.
    pub(super) fn push(&mut self, first: u32, lists: &[[u32; 2]], charge: &Charge) {
        let mut more = Vec::with_capacity(lists.len() * 2);
        for ([nearest, second], row) in lists.iter().zip(first..) {
            more.push((*nearest, Entry { row, first: NO_LIST }));
            if second != nearest && *second != NO_LIST {
                more.push((*second, Entry { row, first: *nearest }));
            }
        }
        more.sort_unstable();
        self.rows += lists.len();
        self.entries += more.len();
        for more in more.chunk_by(|a, b| a.0 as usize / LEAF == b.0 as usize / LEAF) {
            let place = more.first().map_or(0, |(list, _)| *list as usize / LEAF);
            if let Some(leaf) = self.leaves.get_mut(place) {
                *leaf = Arc::new(leaf.with(more, charge));
            }
        }
    }

    /// The memory that [`of_list`](Entries::of_list) reads first, to be asked for.
    pub(super) fn end_of(&self, list: u32) -> &[u8] {
        let place = list as usize % LEAF;
        self.leaves.get(list as usize / LEAF).map_or(&[], |leaf| leaf.ends[place..=place].as_bytes())
    }

    /// Heap bytes held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.leaves
            .iter()
            .filter(|leaf| !leaf.entries.is_empty())
            .map(|leaf| memory_of(leaf.entries.len()))
            .sum::<u64>() as usize
    }
}

impl Entries for Leaves {
    fn of_list(&self, list: u32) -> &[Entry] {
        self.leaves.get(list as usize / LEAF).map_or(&[], |leaf| leaf.at(list as usize % LEAF))
    }
}
