//! The rows of each list, as of one view: lists that stand side by side share a leaf, and a commit makes the leaves anew that it adds to.

use std::slice;
use std::sync::Arc;

use super::aging::to_merge_by;
use super::piece::{Entry, Piece};
use crate::budget::Charge;
use crate::kernel::Kernels;
use crate::kernel::cluster::NO_LIST;

/// Lists in a leaf.
const LEAF: usize = 64;
/// Rows of a list that stand in its leaf, with their codes as they came: a block would be mostly empty, and cost more to scan.
const LOOSE: usize = 7;
/// Pieces of a list that become one when they are of one size class: each row is copied once per class.
const FANOUT: usize = 4;
/// A piece of so many blocks of rows is never joined with others.
const SEALED_BLOCKS: usize = 64;

/// A row that comes into a list, and where its code is among those of its batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Incoming {
    list: u32,
    entry: Entry,
    code: u32,
}

/// The codes of the rows of a batch in their lists, all of one length: so many for each row.
#[derive(Clone, Copy)]
pub(super) struct BatchCodes<'a> {
    pub(super) stride: usize,
    pub(super) per_row: usize,
    pub(super) bytes: &'a [u8],
}

impl<'a> BatchCodes<'a> {
    fn get(&self, at: u32) -> &'a [u8] {
        let start = (at as usize).saturating_mul(self.stride);
        self.bytes.get(start..start.saturating_add(self.stride)).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Default)]
struct Ends {
    loose: u32,
    pieces: u32,
}

/// The first fields stand side by side: a search reads them all.
#[repr(C)]
struct Leaf {
    loose: Vec<Entry>,
    /// The codes of `loose`.
    codes: Vec<u8>,
    pieces: Vec<Arc<Piece>>,
    /// Where the rows and the pieces of each list end; those of the first begin at 0. A list has either.
    ends: [Ends; LEAF],
    /// Heap bytes of the pieces, and its own.
    bytes: usize,
    _charge: Charge,
}

/// The rows of one list.
#[derive(Clone, Copy)]
pub(crate) struct ListRows<'a> {
    /// If they are few: their codes follow each other, one for each if all rows have codes.
    pub(crate) loose: &'a [Entry],
    pub(crate) codes: &'a [u8],
    /// If they are many: the oldest first.
    pub(crate) pieces: &'a [Arc<Piece>],
}

/// A persistent map from lists to rows. Cloning copies a pointer for each 64 lists.
#[derive(Clone)]
pub(super) struct Leaves {
    leaves: Vec<Arc<Leaf>>,
}

impl ListRows<'_> {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.loose.is_empty() && self.pieces.is_empty()
    }

    /// Asks for what there is in the leaf.
    pub(super) fn ask(&self, kernels: &Kernels) {
        kernels.prefetch_values(self.loose);
        kernels.prefetch(self.codes);
        kernels.prefetch_values(self.pieces);
    }
}

impl Leaf {
    fn empty() -> Leaf {
        let (loose, codes, pieces) = (Vec::new(), Vec::new(), Vec::new());
        Leaf { ends: [Ends::default(); LEAF], loose, codes, pieces, bytes: 0, _charge: Charge::none() }
    }

    /// The same and more: sorted by list, and later than what is there.
    fn with(&self, more: &[Incoming], codes: BatchCodes<'_>, charge: &Charge) -> Leaf {
        let mut all = Leaf::empty();
        all.loose.reserve(self.loose.len() + more.len().min(LEAF));
        all.codes.reserve(self.codes.len() + more.len().min(LEAF) * codes.stride);
        all.pieces.reserve(self.pieces.len() + more.len().min(LEAF));
        let mut more = more;
        for place in 0..LEAF {
            let count = more.iter().take_while(|row| row.list as usize % LEAF == place).count();
            let (now, later) = more.split_at(count);
            more = later;
            all.push(self.at(place, codes.stride), now, codes, charge);
            all.ends[place] = Ends { loose: all.loose.len() as u32, pieces: all.pieces.len() as u32 };
        }
        let own = size_of::<Leaf>()
            + all.loose.capacity() * size_of::<Entry>()
            + all.codes.capacity()
            + all.pieces.capacity() * size_of::<Arc<Piece>>();
        all.bytes = own + all.pieces.iter().map(|piece| piece.memory_bytes()).sum::<usize>();
        all._charge = charge.another(own as u64);
        all
    }

    /// Appends a list: what it was, and more.
    fn push(&mut self, old: ListRows<'_>, more: &[Incoming], codes: BatchCodes<'_>, charge: &Charge) {
        let came = more.iter().map(|row| (row.entry, codes.get(row.code)));
        let were = old.loose.iter().enumerate().map(|(i, entry)| {
            let start = i * codes.stride;
            (*entry, old.codes.get(start..start + codes.stride).unwrap_or_default())
        });
        if old.pieces.is_empty() && old.loose.len() + more.len() <= LOOSE {
            for (entry, code) in were.chain(came) {
                self.loose.push(entry);
                self.codes.extend_from_slice(code);
            }
        } else if more.is_empty() {
            self.pieces.extend_from_slice(old.pieces);
        } else {
            extend(&mut self.pieces, old.pieces, were.chain(came), charge);
        }
    }

    fn at(&self, place: usize, stride: usize) -> ListRows<'_> {
        let start = place.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        let end = self.ends.get(place).copied().unwrap_or_default();
        let (first, last) = (start.loose as usize, end.loose as usize);
        ListRows {
            loose: self.loose.get(first..last).unwrap_or_default(),
            codes: self.codes.get(first * stride..last * stride).unwrap_or_default(),
            pieces: self.pieces.get(start.pieces as usize..end.pieces as usize).unwrap_or_default(),
        }
    }
}

/// Appends to `out` the pieces of a list, with more rows. The last piece is copied if it is not whole.
fn extend<'a>(
    out: &mut Vec<Arc<Piece>>,
    pieces: &[Arc<Piece>],
    more: impl Iterator<Item = (Entry, &'a [u8])>,
    charge: &Charge,
) {
    let first = out.len();
    let (whole, open) = match pieces.split_last() {
        Some((last, whole)) if !last.is_whole() => (whole, Some(last)),
        _ => (pieces, None),
    };
    out.extend_from_slice(whole);
    let mut last = open.map_or_else(Piece::empty, |open| open.another());
    for (entry, code) in more {
        last.push(entry, code);
        if last.is_whole() {
            out.push(Arc::new(std::mem::replace(&mut last, Piece::empty()).charged(charge)));
            join(out, first, charge);
        }
    }
    if !last.entries().is_empty() {
        out.push(Arc::new(last.charged(charge)));
    }
}

/// Joins whole pieces from `first` on as they age.
fn join(pieces: &mut Vec<Arc<Piece>>, first: usize, charge: &Charge) {
    let class = |piece: &Arc<Piece>| (piece.blocks() < SEALED_BLOCKS).then(|| piece.blocks().max(1).ilog(FANOUT));
    loop {
        let own = pieces.get(first..).unwrap_or_default();
        let count = to_merge_by(FANOUT, own.iter().rev().map(class));
        if count == 0 {
            return;
        }
        let parts: Vec<Arc<Piece>> = pieces.drain(pieces.len().saturating_sub(count)..).collect();
        pieces.push(Arc::new(Piece::joined(parts.iter().map(|part| &**part)).charged(charge)));
    }
}

impl Leaves {
    /// No rows, in so many lists.
    pub(super) fn new(lists: usize) -> Leaves {
        let empty = Arc::new(Leaf::empty());
        Leaves { leaves: vec![empty; lists.div_ceil(LEAF)] }
    }

    /// Adds rows, of which `first` is the number of the first, with the lists of each.
    pub(super) fn push(&mut self, first: u32, lists: &[[u32; 2]], codes: BatchCodes<'_>, charge: &Charge) {
        let mut more = Vec::with_capacity(lists.len() * 2);
        let per_row = codes.per_row as u32;
        for (([nearest, second], row), at) in lists.iter().zip(first..).zip(0u32..) {
            let code = at.wrapping_mul(per_row);
            more.push(Incoming { list: *nearest, entry: Entry { row, first: NO_LIST }, code });
            if second != nearest && *second != NO_LIST {
                more.push(Incoming {
                    list: *second,
                    entry: Entry { row, first: *nearest },
                    code: code.wrapping_add(1),
                });
            }
        }
        more.sort_unstable();
        for more in more.chunk_by(|a, b| a.list as usize / LEAF == b.list as usize / LEAF) {
            let place = more.first().map_or(0, |row| row.list as usize / LEAF);
            if let Some(leaf) = self.leaves.get_mut(place) {
                *leaf = Arc::new(leaf.with(more, codes, charge));
            }
        }
    }

    /// The rows of a list, whose codes have this length.
    pub(super) fn of_list(&self, list: u32, stride: usize) -> ListRows<'_> {
        const NONE: ListRows<'_> = ListRows { loose: &[], codes: &[], pieces: &[] };
        self.leaves.get(list as usize / LEAF).map_or(NONE, |leaf| leaf.at(list as usize % LEAF, stride))
    }

    /// Asks for what [`of_list`](Self::of_list) reads.
    pub(super) fn ask(&self, kernels: &Kernels, list: u32) {
        if let Some(leaf) = self.leaves.get(list as usize / LEAF) {
            let place = list as usize % LEAF;
            kernels.prefetch_values(&leaf.ends[place.saturating_sub(1)..=place]);
            kernels.prefetch_values(slice::from_ref(&leaf.loose));
            kernels.prefetch_values(slice::from_ref(&leaf.pieces));
        }
    }

    /// Heap bytes held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.leaves.iter().map(|leaf| leaf.bytes).sum()
    }
}
