//! Which rows a load replaces: earlier rows of its own, and rows of the collection.
//!
//! Both come from one walk over the id tables of the load in the order of their keys, a few kilobytes of each at a time. What
//! it finds is kept as one bit per row, so memory does not depend on how much is replaced.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::parts::Part;
use crate::compaction::Control;
use crate::error::{Error, Result};
use crate::format::id_key;
use crate::id::{Id, IdKind};
use crate::segment::IdEntry;
use crate::snapshot::{LiveRows, Version};

/// Rows at once while bits become lists of row numbers.
const ROWS_AT_ONCE: usize = 1 << 16;

/// A part and a row number.
type Place = (usize, u64);
/// Gets a key, the last row of an id that has it, and the rows of the id before that.
type Visit<'v> = dyn FnMut(u64, Place, &[Place]) -> Result<()> + 'v;

/// One bit per row of each of some row files.
pub(super) struct RowBits {
    words: Vec<Vec<u64>>,
}

impl RowBits {
    fn new(files: usize) -> Self {
        RowBits { words: vec![Vec::new(); files] }
    }

    fn set(&mut self, file: usize, rows: usize, ordinal: usize) {
        if let Some(words) = self.words.get_mut(file) {
            words.resize(rows.div_ceil(64), 0);
            words[ordinal / 64] |= 1 << (ordinal % 64);
        }
    }

    /// Rows set.
    pub(super) fn count(&self) -> u64 {
        self.words.iter().flatten().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Hands out the row numbers, ascending, some at a time.
    pub(super) fn for_each<'f>(
        &self,
        files: impl Iterator<Item = &'f LiveRows>,
        mut take: impl FnMut(&[u64]) -> Result<()>,
    ) -> Result<()> {
        let mut rows = Vec::new();
        for (words, live) in self.words.iter().zip(files) {
            for (w, word) in words.iter().enumerate() {
                let mut left = *word;
                while left != 0 {
                    rows.push(live.file.row_number(w * 64 + left.trailing_zeros() as usize)?);
                    left &= left - 1;
                }
                if rows.len() >= ROWS_AT_ONCE {
                    take(&rows)?;
                    rows.clear();
                }
            }
        }
        take(&rows)
    }
}

/// Walks the ids of all parts; `visit` gets each id's key, its last row with the part, and the rows before it.
fn walk(parts: &[Part], kind: IdKind, visit: &mut Visit<'_>) -> Result<()> {
    let mut tables: Vec<_> = parts.iter().map(|part| part.table.iter()).collect();
    let mut heap: BinaryHeap<Reverse<(IdEntry, usize)>> = BinaryHeap::with_capacity(parts.len());
    for (part, table) in tables.iter_mut().enumerate() {
        if let Some(entry) = table.next() {
            heap.push(Reverse((entry?, part)));
        }
    }
    let mut same_key: Vec<Place> = Vec::new();
    while let Some(Reverse((entry, part))) = heap.pop() {
        if let Some(next) = tables[part].next() {
            heap.push(Reverse((next?, part)));
        }
        same_key.push((part, entry.row));
        if heap.peek().is_none_or(|Reverse((next, _))| next.key != entry.key) {
            by_id(parts, kind, entry.key, &mut same_key, visit)?;
            same_key.clear();
        }
    }
    Ok(())
}

/// Numbers have a key each. Byte strings may share one: then the rows are told apart by their ids.
fn by_id(parts: &[Part], kind: IdKind, key: u64, rows: &mut Vec<Place>, visit: &mut Visit<'_>) -> Result<()> {
    if kind == IdKind::U64 || rows.len() == 1 {
        return match rows.pop() {
            Some(last) => visit(key, last, rows),
            None => Ok(()),
        };
    }
    let mut with_ids: Vec<(Id, Place)> = Vec::with_capacity(rows.len());
    for (part, row) in rows.iter() {
        with_ids.push((id_of(&parts[*part].live, *row)?, (*part, *row)));
    }
    // Stable: the rows of one id stay in their order.
    with_ids.sort_by(|(a, _), (b, _)| a.cmp(b));
    for one in with_ids.chunk_by(|(a, _), (b, _)| a == b) {
        let mut rows: Vec<Place> = one.iter().map(|(_, row)| *row).collect();
        if let Some(last) = rows.pop() {
            visit(key, last, &rows)?;
        }
    }
    Ok(())
}

/// The id of a row of a file.
fn id_of(live: &LiveRows, row: u64) -> Result<Id> {
    let missing = || Error::corrupt(live.file.name(), "pages", 0, format!("row {row} is not in the file"));
    let ordinal = live.file.ordinal(row)?.ok_or_else(missing)?;
    live.file.id(ordinal)
}

fn set(bits: &mut RowBits, parts: &[Part], (part, row): Place) -> Result<()> {
    let file = &parts[part].live.file;
    if let Some(ordinal) = file.ordinal(row)? {
        bits.set(part, file.len(), ordinal);
    }
    Ok(())
}

/// The rows of these parts without those whose id a later one has.
pub(super) fn forget_repeated(parts: &[Part], kind: IdKind) -> Result<Vec<LiveRows>> {
    let mut repeated = RowBits::new(parts.len());
    walk(parts, kind, &mut |_, _, earlier| earlier.iter().try_for_each(|row| set(&mut repeated, parts, *row)))?;
    let mut lives: Vec<LiveRows> = parts.iter().map(|part| part.live.clone()).collect();
    repeated.for_each(parts.iter().map(|part| &part.live), |rows| with_dead(&mut lives, rows))?;
    Ok(lives)
}

fn with_dead(lives: &mut Vec<LiveRows>, rows: &[u64]) -> Result<()> {
    *lives = crate::collection::build::with_dead(lives, rows)?;
    Ok(())
}

/// What a load replaces in a version and in itself.
pub(super) struct Overlap {
    /// Rows of the load whose id a later one has.
    pub(super) repeated: RowBits,
    pub(super) repeated_rows: u64,
    /// Rows of the version's files that were live.
    pub(super) replaced: RowBits,
}

/// Compares the ids of a load with each other and with those of a version.
pub(super) fn overlap(parts: &[Part], version: &Version, kind: IdKind, control: &Control) -> Result<Overlap> {
    let mut found =
        Overlap { repeated: RowBits::new(parts.len()), repeated_rows: 0, replaced: RowBits::new(version.rows.len()) };
    walk(parts, kind, &mut |key, (part, row), earlier| {
        control.check()?;
        for row in earlier {
            set(&mut found.repeated, parts, *row)?;
        }
        found.repeated_rows += earlier.len() as u64;
        let mut id = None;
        let old = version.find_with(key, |old| {
            if kind == IdKind::U64 {
                return Ok(true);
            }
            if id.is_none() {
                id = Some(id_of(&parts[part].live, row)?);
            }
            id.as_ref().map_or(Ok(false), |id: &Id| version.row_has_id(old, id.as_ref()))
        })?;
        if let Some(old) = old
            && let Some((file, ordinal)) = version.locate_live(old)?
            && let Some(rows) = version.rows.get(file)
        {
            found.replaced.set(file, rows.file.len(), ordinal);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Live rows of a version from row number `from` on whose ids the load has: they came while it was built.
pub(super) fn replaced_since(
    parts: &[Part],
    version: &Version,
    from: u64,
    kind: IdKind,
    replaced: &mut Vec<u64>,
) -> Result<()> {
    let collection = version.manifest.collection;
    for rows in version.rows.iter().filter(|rows| rows.file.last_row() >= from) {
        for word in 0..rows.file.len().div_ceil(64) {
            let mut live = rows.live_word(word);
            while live != 0 {
                let ordinal = word * 64 + live.trailing_zeros() as usize;
                live &= live - 1;
                let row = rows.file.row_number(ordinal)?;
                if row < from {
                    continue;
                }
                let id = rows.file.id(ordinal)?;
                if has_id(parts, id_key(id.as_ref(), collection), &id, kind)? {
                    replaced.push(row);
                }
            }
        }
    }
    Ok(())
}

fn has_id(parts: &[Part], key: u64, id: &Id, kind: IdKind) -> Result<bool> {
    for part in parts {
        let found = part.table.lookup(key, |row| match kind {
            IdKind::U64 => Ok(true),
            IdKind::Bytes => Ok(id_of(&part.live, row)? == *id),
        })?;
        if found.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
