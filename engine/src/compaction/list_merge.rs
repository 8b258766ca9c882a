//! Merging list segments: entries move, nothing is coded again.
//!
//! Segments with one model, shape and rule of second copies differ in nothing that codes depend on: signs change their lane,
//! factors and records are copied as they are, row words are renamed. Dead rows stay behind.

use super::control::Control;
use super::filing::{Counted, write_segment};
use crate::error::{Error, Result};
use crate::index::ivf::{EncodedList, EntryLayout, take_entry};
use crate::manifest::HashedEntry;
use crate::planted::{self, Bug};
use crate::segment::{ListBytes, ListFile, ListFileHead, ListInput, ListSource, LoadedList};
use crate::snapshot::layout_of;
use crate::storage::{FileId, Storage};

/// Takes an entry: the segment it is of, its list there, its position and row.
type Take<'t> = dyn FnMut(&ListFile, &ListBytes<'_>, usize, u64) -> Result<()> + 't;

/// The lists of several segments as those of one.
pub(crate) struct ListMerge<'a> {
    inputs: &'a [&'a ListFile],
    dead: &'a dyn Fn(u64) -> bool,
    list: EncodedList,
}

impl<'a> ListMerge<'a> {
    /// The rows of all inputs that are not `dead`.
    ///
    /// # Errors
    /// `InvalidArgument` if there are no inputs, or they differ in the number of lists or their shape. That they have one model
    /// was proven when they were opened.
    pub(crate) fn new(inputs: &'a [&'a ListFile], dead: &'a dyn Fn(u64) -> bool) -> Result<ListMerge<'a>> {
        let shape = |file: &ListFile| file.shape().of_new_files();
        let alike = |a: &ListFile, b: &ListFile| a.lists() == b.lists() && shape(a) == shape(b);
        match inputs.first() {
            Some(first) if inputs.iter().all(|input| alike(first, input)) => {
                Ok(ListMerge { inputs, dead, list: EncodedList::new(layout_of(first.shape())) })
            }
            _ => Err(Error::argument("lists", "to be merged are none, or not of one shape")),
        }
    }

    /// Calls `take` with the input, its list, position and row of every entry that stays, first copies of all inputs in front; returns how
    /// many those are.
    fn entries(&self, list: usize, take: &mut Take<'_>) -> Result<usize> {
        let loaded = self.load(list)?;
        let primary = self.copies(&loaded, false, take)?;
        self.copies(&loaded, true, take)?;
        Ok(primary)
    }

    /// A list of each input.
    pub(super) fn load(&self, list: usize) -> Result<Vec<LoadedList<'a>>> {
        self.inputs.iter().map(|input| input.load(list)).collect()
    }

    /// The same as of [`entries`](ListMerge::entries), of first or second copies alone; how many they are.
    pub(super) fn copies(&self, loaded: &[LoadedList<'_>], second: bool, take: &mut Take<'_>) -> Result<usize> {
        let mut stay = 0;
        for (input, loaded) in self.inputs.iter().zip(loaded) {
            let bytes = loaded.bytes();
            let (first, count) = (bytes.primary as usize, bytes.count as usize);
            let range = if second { first..count } else { 0..first };
            for (at, word) in bytes.rows.as_chunks::<4>().0.iter().enumerate().take(range.end).skip(range.start) {
                let row = input.row(u32::from_le_bytes(*word))?;
                if !(self.dead)(row) {
                    take(input, &bytes, at, row)?;
                    stay += 1;
                }
            }
        }
        Ok(stay)
    }

    /// Appends an entry of a list as it is. `signs` is scratch space.
    pub(super) fn copy(
        input: &ListFile,
        list: usize,
        bytes: &ListBytes<'_>,
        at: usize,
        row: u64,
        signs: &mut Vec<u8>,
        out: &mut EncodedList,
    ) -> Result<()> {
        let shape = input.shape();
        let (layout, stride) = (layout_of(shape), shape.stride());
        if layout == EntryLayout::Bare {
            out.rows.push(row);
        } else {
            let lane = if planted::is(Bug::MergeWrongLane) { at ^ 1 } else { at };
            let factors = take_entry(layout, bytes.signs, bytes.factors, lane, signs);
            out.push(row, signs, factors.unwrap_or_default());
        }
        if stride > 0 {
            input.prove_record(list, at as u32)?;
            let record = bytes.records.get(at * stride..at * stride + shape.record_len());
            out.records.extend_from_slice(record.unwrap_or_default());
        }
        Ok(())
    }
}

impl ListSource for ListMerge<'_> {
    fn lists(&self) -> usize {
        self.inputs.first().map_or(0, |first| first.lists())
    }

    fn rows(&self, list: usize, take: &mut dyn FnMut(&[u64], usize)) -> Result<()> {
        let mut rows = Vec::new();
        let primary = self.entries(list, &mut |_, _, _, row| {
            rows.push(row);
            Ok(())
        })?;
        take(&rows, primary);
        Ok(())
    }

    fn visit(&mut self, list: usize, take: &mut dyn FnMut(ListInput<'_>) -> Result<()>) -> Result<()> {
        let mut merged = std::mem::take(&mut self.list);
        merged.clear();
        let mut signs = Vec::new();
        self.entries(list, &mut |input, bytes, at, row| {
            ListMerge::copy(input, list, bytes, at, row, &mut signs, &mut merged)
        })?;
        let EncodedList { rows, signs, factors, records, .. } = &merged;
        let outcome = take(ListInput { rows, signs, factors, records });
        self.list = merged;
        outcome
    }
}

/// Writes one segment of the live rows of several: synced, read back, named by no manifest yet. Holds one list of the output and, where files are read, of
/// the inputs, and 32 bytes per list. There must be a live row.
///
/// # Errors
/// `Cancelled`; `InvalidArgument` if the inputs differ in shape; `Corrupt`; `NoSpace`; `Io`. What was made is removed, as far as possible.
pub(crate) fn merge_lists(
    storage: &dyn Storage,
    ids: (u128, u128),
    inputs: &[&ListFile],
    dead: &dyn Fn(u64) -> bool,
    new_id: &dyn Fn() -> FileId,
    control: &Control,
) -> Result<(HashedEntry, ListFile)> {
    let mut merge = ListMerge::new(inputs, dead)?;
    let facts = inputs.iter().map(|input| input.facts());
    control.expect(facts.clone().map(|facts| facts.rows).sum());
    let seqs = facts.fold((u64::MAX, 0), |(min, max), facts| (min.min(facts.min_seq), max.max(facts.max_seq)));
    let (collection, origin) = ids;
    let first = inputs.first().ok_or_else(|| Error::argument("lists", "to be merged are none"))?;
    let head = ListFileHead { collection, origin, shape: first.shape().of_new_files(), model: *first.model(), seqs };
    write_segment(storage, &head, &mut Counted { inner: &mut merge, control }, new_id)
}
