//! List segments of a model become one of a model with other lists, without the vectors of their rows.
//!
//! A code means something beside the centroid that it was made around. Where that is a centroid of the new model too the entry is copied bit for bit.
//! A row goes to another list if its vector is still there, or if its code, decoded and made again around a centroid that is nearer,
//! says as much as before: see [`Moving::pays`]. To make all codes again at each change of models would take a sixth of the
//! nearest rows away from codes of one bit the first time, and more each time.

use super::coded_rows::CodedRows;
use super::control::Control;
use super::filing::{Counted, Filing, write_segment};
use super::list_merge::ListMerge;
use crate::error::{Error, Result};
use crate::index::ivf::{CentroidSet, Coder, Decoded, EncodedList, EntryEncoder};
use crate::kernel::kernels;
use crate::manifest::HashedEntry;
use crate::segment::{ListFile, ListFileHead, ListInput, ListSource, LoadedList};
use crate::snapshot::{OpenModel, layout_of};
use crate::storage::{FileId, FileKind, FileName, Storage};

/// Noise of a code that does no harm, as a part of the squared distance from the centroid: about that of three bits.
const HARMLESS: f32 = 0.03;
/// A decoded vector that seems this much nearer than its noise allows was one of the few that its centroid was made of.
const LEAST_LEFT: f32 = 0.125;

/// A row in other hands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moving {
    /// What is known of it in its list.
    pub(super) known: Decoded,
    /// The squared distance of its decoded vector from the other centroid.
    pub(super) distance: f32,
    /// Noise of a new code, as a part of the squared distance from the centroid.
    pub(super) noise: f32,
}

impl Moving {
    /// The squared distance of the vector itself, most likely.
    pub(super) fn energy(&self) -> f32 {
        (self.distance - self.known.excess).max(self.known.excess * LEAST_LEFT).max(0.0)
    }

    /// Whether estimates of the row will be no worse than they are. A query near the row is about as far from a centroid as the row; the variance of an
    /// estimate is the product of the squared distance of the query and the noise of the code. In the other list there is the noise
    /// that is decoded and that of the new code.
    pub(super) fn pays(&self) -> bool {
        let (energy, Decoded { energy: before, excess }) = (self.energy(), self.known);
        if excess == 0.0 {
            return true;
        }
        let after = energy * (self.noise * (energy + excess) + excess);
        energy < before && after <= (before * excess).max(HARMLESS * before * before)
    }
}

/// Proves that codes of a model mean something to the one that follows it.
///
/// # Errors
/// `Corrupt` if their frames or codewords differ.
pub(crate) fn check_coding(old: &OpenModel, new: &OpenModel) -> Result<()> {
    let (a, b) = (&old.file, &new.file);
    let same = (a.seed(), a.scale().to_bits()) == (b.seed(), b.scale().to_bits())
        && a.mean() == b.mean()
        && a.codewords() == b.codewords();
    match same {
        true => Ok(()),
        false => {
            let what =
                "codes of the model before it mean nothing to this one, and no vectors are kept to make others of";
            Err(Error::corrupt(FileName::File(FileKind::Model, new.id), "footer", 0, what))
        }
    }
}

/// What becomes of the lists of a model: the list of the new one that has the same centroid.
pub(crate) struct Heirs {
    of: Vec<Option<u32>>,
    /// Lists of the new model, and the old one of each.
    from: Vec<Option<u32>>,
}

impl Heirs {
    /// Compares two models.
    ///
    /// # Errors
    /// `Corrupt` if their frames or codewords differ: codes of the one mean nothing to the other.
    pub(crate) fn new(old: &OpenModel, new: &OpenModel) -> Result<Heirs> {
        check_coding(old, new)?;
        let (before, after) = (old.centroids(), new.centroids());
        Ok(Heirs::of(&before, &after))
    }

    /// Lists that stay stand in their order in front.
    fn of(before: &CentroidSet<'_>, after: &CentroidSet<'_>) -> Heirs {
        let mut heirs = Heirs { of: vec![None; before.count], from: vec![None; after.count] };
        let mut next = 0;
        for (list, heir) in heirs.of.iter_mut().enumerate() {
            let record = before.record(list);
            if record.is_some() && record == after.record(next) {
                *heir = Some(next as u32);
                if let Some(from) = heirs.from.get_mut(next) {
                    *from = Some(list as u32);
                }
                next += 1;
            }
        }
        heirs
    }

    fn heir(&self, list: usize) -> Option<u32> {
        self.of.get(list).copied().flatten()
    }
}

/// What is moved, by what, where to.
pub(crate) struct MoveJob<'a> {
    pub(crate) storage: &'a dyn Storage,
    pub(crate) ids: (u128, u128),
    /// Neighbouring segments of the older model.
    pub(crate) inputs: &'a [&'a ListFile],
    /// Rows of those, none yet.
    pub(crate) rows: &'a CodedRows<'a>,
    /// Rows that are looked at at a time.
    pub(crate) most_rows: usize,
    pub(crate) old: &'a OpenModel,
    pub(crate) new: &'a OpenModel,
    pub(crate) filing: &'a Filing<'a>,
    pub(crate) dead: &'a dyn Fn(u64) -> bool,
    pub(crate) control: &'a Control,
}

impl MoveJob<'_> {
    /// Writes one segment of the new model: synced, read back, named by no manifest yet. There must be a live row.
    ///
    /// # Errors
    /// `Cancelled`; `Corrupt`; `NoSpace`; `Io`. What was made is removed, as far as possible.
    pub(crate) fn run(&self, new_id: &dyn Fn() -> FileId) -> Result<(HashedEntry, ListFile)> {
        let heirs = Heirs::new(self.old, self.new)?;
        self.control.expect(self.inputs.iter().map(|input| input.facts().rows).sum());
        let (rows, moved) = self.moved(&heirs)?;
        let mut numbers: Vec<u64> = (0..rows.len()).map(|i| rows.number(i)).collect();
        numbers.sort_unstable();
        let merge = ListMerge::new(self.inputs, self.dead)?;
        let shape = self.new.shape()?;
        let list = EncodedList::new(layout_of(&shape));
        let mut lists = MovedLists { new: self.new, heirs: &heirs, merge, rows, moved, numbers, list };
        let facts = self.inputs.iter().map(|input| input.facts());
        let seqs = facts.fold((u64::MAX, 0), |(min, max), facts| (min.min(facts.min_seq), max.max(facts.max_seq)));
        let (collection, origin) = self.ids;
        let head = ListFileHead { collection, origin, shape, model: *self.new.file.hash(), seqs };
        write_segment(self.storage, &head, &mut Counted { inner: &mut lists, control: self.control }, new_id)
    }

    /// The rows that do not stay where they are; the new list of each and its place among them, by list.
    fn moved(&self, heirs: &Heirs) -> Result<(CodedRows<'_>, Vec<(u32, usize)>)> {
        let lists = self.old.file.lists();
        let (mut rows, mut moved) = (self.rows.only(|_| false), Vec::new());
        let mut first = 0;
        while first < lists {
            self.control.check()?;
            let (mut end, mut count) = (first, 0);
            while end < lists && (end == first || count + self.rows.entries(end) <= self.most_rows) {
                count += self.rows.entries(end);
                end += 1;
            }
            let some = self.rows.of_lists(first..end, 0, 1)?;
            self.choose(heirs, &some, &mut |list, i| {
                moved.push((list, rows.len()));
                rows.push(&some, i);
            })?;
            first = end;
        }
        moved.sort_unstable();
        Ok((rows, moved))
    }

    /// Tells `take` the new list of each of some rows that does not stay where it is.
    fn choose(&self, heirs: &Heirs, rows: &CodedRows<'_>, take: &mut dyn FnMut(u32, usize)) -> Result<()> {
        let (nearest, distances) = self.filing.nearest_inside(rows)?;
        let heir = |i: usize| heirs.heir(rows.list(i));
        let asks = |i: &usize| heir(*i).is_none() || heir(*i) != nearest.get(*i).copied();
        let noise = noise_of(self.old.coder());
        rows.visit((0..rows.len()).filter(asks), &mut |i, _, known| {
            let (Some(list), Some(distance)) = (nearest.get(i), distances.get(i)) else { return Ok(()) };
            let own = if known.energy > 0.0 { known.excess / known.energy } else { 0.0 };
            let moving = Moving { known, distance: *distance, noise: noise.unwrap_or(own) };
            if heir(i).is_none() || moving.pays() {
                take(*list, i);
            }
            Ok(())
        })
    }
}

/// Noise of a code as a part of the squared distance from the centroid, by bits; `None` of product codes, where it is as it turns out.
fn noise_of(coder: Coder<'_>) -> Option<f32> {
    const NOISE: [f32; 6] = [0.571, 0.571, 0.133, 0.036, 0.0096, 0.0025];
    match coder {
        Coder::Bits(bits) => Some(NOISE.get(bits).copied().unwrap_or(0.0)),
        _ => None,
    }
}

/// The lists of the new segment.
struct MovedLists<'a> {
    new: &'a OpenModel,
    heirs: &'a Heirs,
    merge: ListMerge<'a>,
    /// Those that go to other lists.
    rows: CodedRows<'a>,
    /// The list of each and its place among `rows`, by list.
    moved: Vec<(u32, usize)>,
    /// Row numbers of those, ascending.
    numbers: Vec<u64>,
    list: EncodedList,
}

impl MovedLists<'_> {
    fn arriving(&self, list: usize) -> &[(u32, usize)] {
        let start = self.moved.partition_point(|(to, _)| (*to as usize) < list);
        let end = self.moved.partition_point(|(to, _)| (*to as usize) <= list);
        self.moved.get(start..end).unwrap_or_default()
    }

    /// Row numbers of those, ascending: what is a second copy there is one no more.
    fn numbers_arriving(&self, list: usize) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.arriving(list).iter().map(|(_, i)| self.rows.number(*i)).collect();
        numbers.sort_unstable();
        numbers
    }

    fn stays(&self, row: u64) -> bool {
        self.numbers.binary_search(&row).is_err()
    }

    fn from(&self, list: usize) -> Option<usize> {
        self.heirs.from.get(list).copied().flatten().map(|list| list as usize)
    }

    /// The list that one of the new model was, in each input; none if it is new.
    fn loaded(&self, list: usize) -> Result<Vec<LoadedList<'_>>> {
        self.from(list).map_or(Ok(Vec::new()), |from| self.merge.load(from))
    }
}

impl ListSource for MovedLists<'_> {
    fn lists(&self) -> usize {
        self.new.file.lists()
    }

    fn rows(&self, list: usize, take: &mut dyn FnMut(&[u64], usize)) -> Result<()> {
        let mut rows = Vec::new();
        let loaded = self.loaded(list)?;
        self.merge.copies(&loaded, false, &mut |_, _, _, row| {
            rows.extend(self.stays(row).then_some(row));
            Ok(())
        })?;
        rows.extend(self.arriving(list).iter().map(|(_, i)| self.rows.number(*i)));
        let (primary, here) = (rows.len(), self.numbers_arriving(list));
        self.merge.copies(&loaded, true, &mut |_, _, _, row| {
            rows.extend(here.binary_search(&row).is_err().then_some(row));
            Ok(())
        })?;
        take(&rows, primary);
        Ok(())
    }

    fn visit(&mut self, list: usize, take: &mut dyn FnMut(ListInput<'_>) -> Result<()>) -> Result<()> {
        let mut out = std::mem::take(&mut self.list);
        out.clear();
        let (loaded, from, mut signs) = (self.loaded(list)?, self.from(list).unwrap_or(list), Vec::new());
        self.merge.copies(&loaded, false, &mut |input, bytes, at, row| match self.stays(row) {
            true => ListMerge::copy(input, from, bytes, at, row, &mut signs, &mut out),
            false => Ok(()),
        })?;
        let new = self.new;
        let mut encoder = EntryEncoder::new(kernels(), &new.frame, new.centroids(), new.coder());
        encoder.begin(list);
        self.rows.visit(self.arriving(list).iter().map(|(_, i)| *i), &mut |i, inside, known| {
            encoder.push_inside(self.rows.number(i), inside, known.excess, &mut out);
            Ok(())
        })?;
        let here = self.numbers_arriving(list);
        self.merge.copies(&loaded, true, &mut |input, bytes, at, row| match here.binary_search(&row) {
            Err(_) => ListMerge::copy(input, from, bytes, at, row, &mut signs, &mut out),
            Ok(_) => Ok(()),
        })?;
        let EncodedList { rows, signs, factors, records, .. } = &out;
        let outcome = take(ListInput { rows, signs, factors, records });
        self.list = out;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moving(before: f32, after: f32, noise: f32) -> Moving {
        let excess = before * noise;
        Moving { known: Decoded { energy: before, excess }, distance: after + excess, noise }
    }

    #[test]
    fn codes_of_one_bit_move_where_less_than_half_of_the_distance_is_left_and_fine_ones_to_all_that_is_nearer() {
        assert!(moving(1.0, 0.48, 0.571).pays() && !moving(1.0, 0.50, 0.571).pays());
        assert!(moving(1.0, 0.57, 0.133).pays() && !moving(1.0, 0.60, 0.133).pays());
        assert!(moving(1.0, 0.95, 0.0096).pays() && !moving(1.0, 1.01, 0.0096).pays());
        let measured = Moving { known: Decoded::default(), distance: 9.0, noise: 0.571 };
        assert!(measured.pays(), "a vector that is there makes a good code anywhere");
    }

    #[test]
    fn a_centroid_made_of_noise_is_not_believed() {
        let its_own = Moving { distance: 0.0, ..moving(1.0, 0.0, 0.571) };
        assert!((its_own.energy() - 0.571 / 8.0).abs() < 1e-6);
    }

    #[test]
    fn lists_that_stay_are_found_again_and_others_are_not() {
        let bytes = |ids: &[u8]| ids.iter().flat_map(|id| [*id; 8]).collect::<Vec<u8>>();
        let set =
            |bytes: &'static [u8]| CentroidSet { count: bytes.len() / 8, bytes, stride: 8, signs: &[], factors: &[] };
        let (before, after) = (bytes(&[1, 2, 2, 3, 4]).leak(), bytes(&[1, 2, 4, 9]).leak());
        let heirs = Heirs::of(&set(before), &set(after));
        assert_eq!(heirs.of, [Some(0), Some(1), None, None, Some(2)]);
        assert_eq!(heirs.from, [Some(0), Some(1), Some(4), None]);
    }
}
