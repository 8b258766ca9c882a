//! The blocks of a generation, as of one view.

use std::sync::Arc;

use super::aging::{FANOUT, to_merge};
use super::block::Block;

/// A block of this many rows is never merged again: what is copied with it would cost more than it saves.
const SEALED_ROWS: usize = 512;
/// Blocks that one pointer shares once none of them merges any more.
const CHUNK: usize = 128;

/// Blocks that follow each other. Cloning copies a pointer for each 128 settled blocks, for each of up to 127 that are settled and
/// not together yet, and for each of at most fifteen of three size classes.
#[derive(Clone, Default)]
pub(super) struct Blocks {
    /// Settled blocks, oldest first; none is empty.
    chunks: Vec<Arc<[Arc<Block>]>>,
    /// What follows.
    young: Vec<Arc<Block>>,
    /// Heap bytes of all blocks.
    memory: usize,
}

impl Blocks {
    /// Adds a block whose rows follow the last row.
    pub(super) fn push(&mut self, block: Block) {
        self.memory += block.memory_bytes();
        self.young.push(Arc::new(block));
        loop {
            match to_merge(self.young.iter().rev().map(|block| class(block))) {
                0 => break,
                count => self.merge(self.young.len() - count),
            }
        }
        // A block before a sealed one has nothing to merge with.
        let settled = self.young.iter().rposition(|block| class(block).is_none()).map_or(0, |sealed| sealed + 1);
        if settled >= CHUNK {
            self.chunks.push(self.young.drain(..settled).collect());
        }
    }

    /// Makes one block of the young ones from `start` on.
    fn merge(&mut self, start: usize) {
        let merged = Block::merge(&self.young[start..]);
        let parts: usize = self.young.drain(start..).map(|block| block.memory_bytes()).sum();
        self.memory = self.memory.saturating_sub(parts) + merged.memory_bytes();
        self.young.push(Arc::new(merged));
    }

    /// In row order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).chain(&self.young)
    }

    /// The block and position of a row, if a block has it.
    pub(super) fn locate(&self, row: u64) -> Option<(&Arc<Block>, usize)> {
        let end = |chunk: &Arc<[Arc<Block>]>| chunk.last().map_or(0, |block| block.end_row());
        let chunk = self.chunks.get(self.chunks.partition_point(|chunk| end(chunk) <= row));
        let blocks = chunk.map_or(&self.young[..], |chunk| &chunk[..]);
        let block = blocks.get(blocks.partition_point(|block| block.end_row() <= row))?;
        let position = row.checked_sub(block.first_row())?;
        Some((block, position as usize))
    }

    /// One past the last row; `None` if there is no row.
    pub(super) fn end_row(&self) -> Option<u64> {
        let last = self.young.last().or_else(|| self.chunks.last()?.last());
        last.map(|block| block.end_row())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.young.is_empty()
    }

    /// Heap bytes held, counted as blocks come and go.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory
    }

    /// Pointers that a clone copies.
    #[cfg(test)]
    pub(super) fn pointers(&self) -> usize {
        self.chunks.len() + self.young.len()
    }
}

/// The size class of a block, `None` if it is sealed.
fn class(block: &Block) -> Option<u32> {
    (block.len() < SEALED_ROWS).then(|| block.len().max(1).ilog(FANOUT))
}
