//! What one write-ahead log holds, as of one view.

use std::sync::Arc;

use super::block::Block;
use super::kills::Kills;
use super::known::{Known, KnownIds};
use crate::id::{IdKind, IdRef};

/// Blocks of the same size class merge when there are this many of them.
const FANOUT: usize = 16;
/// A block of this many rows is never merged again: what is copied with it would cost more than it saves.
const SEALED_ROWS: usize = 512;
/// One past the most rows of a block of each size class.
const SIZE_CLASSES: [usize; 3] = [FANOUT, FANOUT * FANOUT, SEALED_ROWS];

/// Rows and kills of one generation. Cloning copies a few dozen pointers; a clone never sees what is added later.
#[derive(Clone)]
pub(crate) struct Generation {
    blocks: Vec<Arc<Block>>,
    kills: Kills,
    first_row: u64,
}

impl Generation {
    /// An empty generation whose first row will be `first_row`.
    pub(crate) fn new(first_row: u64) -> Self {
        Generation { blocks: Vec::new(), kills: Kills::default(), first_row }
    }

    /// Adds the rows of one batch; they follow the generation's last row.
    pub(crate) fn push(&mut self, block: Block) {
        debug_assert_eq!(block.first_row(), self.end_row(), "row numbers follow each other");
        self.blocks.push(Arc::new(block));
        while let Some(start) = self.mergeable_suffix() {
            let merged = Block::merge(&self.blocks[start..]);
            self.blocks.truncate(start);
            self.blocks.push(Arc::new(merged));
        }
    }

    /// Adds killed rows, of this generation or of older ones.
    pub(crate) fn kill(&mut self, rows: Vec<u64>) {
        self.kills.push(rows);
    }

    /// The same rows; of the kills only those of its own rows.
    pub(crate) fn without_older_kills(&self) -> Self {
        let mut own = self.kills.to_sorted();
        own.retain(|row| *row >= self.first_row);
        let mut alone = Generation { blocks: self.blocks.clone(), kills: Kills::default(), first_row: self.first_row };
        if !own.is_empty() {
            alone.kill(own);
        }
        alone
    }

    /// Start of a suffix with [`FANOUT`] blocks of one size class and none of a higher one, none of them sealed.
    fn mergeable_suffix(&self) -> Option<usize> {
        let class = |block: &Arc<Block>| SIZE_CLASSES.iter().position(|rows| block.len() < *rows);
        (0..SIZE_CLASSES.len()).find_map(|limit| {
            let young = self.blocks.iter().rev().take_while(|block| class(block).is_some_and(|c| c <= limit)).count();
            let of_this_class =
                self.blocks.iter().rev().take(young).filter(|block| class(block) == Some(limit)).count();
            (of_this_class >= FANOUT).then(|| self.blocks.len() - young)
        })
    }

    /// Blocks in row order.
    pub(crate) fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    pub(crate) fn kills(&self) -> &Kills {
        &self.kills
    }

    /// Row number of the first row, whether or not there is one.
    pub(crate) fn first_row(&self) -> u64 {
        self.first_row
    }

    /// One past the last row number.
    pub(crate) fn end_row(&self) -> u64 {
        self.blocks.last().map_or(self.first_row, |block| block.end_row())
    }

    /// Rows added, dead ones included.
    pub(crate) fn rows(&self) -> u64 {
        self.end_row() - self.first_row
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.kills.is_empty()
    }

    /// The newest state of each id it holds. The ids of rows it kills in files are not among them: they are nowhere in it.
    pub(crate) fn known_ids(&self, kind: IdKind) -> KnownIds {
        let mut known = KnownIds::new(kind);
        for block in &self.blocks {
            for (i, row) in (block.first_row()..block.end_row()).enumerate() {
                let dead = self.kills.contains(row);
                known.set(block.id(i), if dead { Known::Dead } else { Known::Live(row) });
            }
        }
        known
    }

    /// The block and position of a row of this generation.
    pub(crate) fn locate(&self, row: u64) -> Option<(&Arc<Block>, usize)> {
        let at = self.blocks.partition_point(|block| block.end_row() <= row);
        let block = self.blocks.get(at)?;
        let position = row.checked_sub(block.first_row())?;
        Some((block, position as usize))
    }

    /// The newest row of an id, live or dead.
    pub(crate) fn find(&self, key: u64, id: IdRef<'_>) -> Option<u64> {
        self.blocks.iter().rev().find_map(|block| block.find(key, id).map(|i| block.first_row() + i as u64))
    }

    /// Heap bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.memory_bytes()).sum::<usize>() + self.kills.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::BlockBuilder;
    use super::*;
    use crate::format::id_key;
    use crate::{IdKind, Metric, Schema};

    fn schema() -> Schema {
        Schema::new(3, Metric::L2).ids(IdKind::U64)
    }

    fn block(first_row: u64, ids: &[u64]) -> Block {
        let mut builder = BlockBuilder::new(&schema(), 1);
        for id in ids {
            let vector: Vec<u8> = [*id as f32; 3].iter().flat_map(|x| x.to_le_bytes()).collect();
            builder.push_stored(IdRef::U64(*id), &vector, 0.0);
            builder.set_payload(&id.to_le_bytes());
        }
        builder.finish().unwrap().number(first_row, first_row + 1)
    }

    #[test]
    fn rows_keep_number_content_and_id_while_blocks_merge() {
        let mut generation = Generation::new(100);
        let mut next = 100;
        for i in 0..6_000u64 {
            let ids: Vec<u64> = (0..1 + i % 3).map(|j| i * 3 + j).collect();
            generation.push(block(next, &ids));
            next += ids.len() as u64;
        }
        assert_eq!(generation.end_row(), next);
        let blocks = generation.blocks().len();
        assert!(blocks < 70, "{blocks} blocks of {} rows", generation.rows());
        for i in [0u64, 17, 999, 5_999] {
            let row = generation.find(id_key(IdRef::U64(i * 3), 1), IdRef::U64(i * 3)).unwrap();
            let (block, at) = generation.locate(row).unwrap();
            assert_eq!(block.id(at), IdRef::U64(i * 3));
            assert_eq!(block.payload(at), (i * 3).to_le_bytes());
            assert_eq!(block.vector(at)[..4], ((i * 3) as f32).to_le_bytes());
        }
        assert!(generation.find(id_key(IdRef::U64(999_999), 1), IdRef::U64(999_999)).is_none());
        assert!(generation.locate(99).is_none() && generation.locate(next).is_none());
    }

    #[test]
    fn large_and_small_batches_in_turn_do_not_pile_up() {
        let mut generation = Generation::new(0);
        for i in 0..500u64 {
            let base = generation.end_row();
            generation.push(block(base, &[i]));
            let base = generation.end_row();
            generation.push(block(base, &(0..300).collect::<Vec<_>>()));
        }
        let blocks = generation.blocks().len();
        assert!(blocks < 90, "{blocks} blocks of {} rows", generation.rows());
    }

    #[test]
    fn the_newest_row_of_an_id_is_found_and_marks_survive_a_merge() {
        let mut generation = Generation::new(0);
        generation.push(block(0, &[5]));
        generation.blocks()[0].mark_maybe_dead(0);
        let older = generation.clone();
        for row in 1..40 {
            generation.push(block(row, &[5]));
        }
        assert_eq!(generation.find(id_key(IdRef::U64(5), 1), IdRef::U64(5)), Some(39));
        assert_eq!(older.find(id_key(IdRef::U64(5), 1), IdRef::U64(5)), Some(0));
        let (block, at) = generation.locate(0).unwrap();
        assert_eq!(block.maybe_dead_word(at / 64) >> (at % 64) & 1, 1);
    }
}
