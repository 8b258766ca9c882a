//! What one write-ahead log holds, as of one view.

use std::sync::Arc;

use super::block::Block;
use super::blocks::Blocks;
use super::keys::Keys;
use super::kills::Kills;
use super::known::{Known, KnownIds};
use super::members::{Members, RowLists};
use crate::id::{IdKind, IdRef};
use crate::storage::FileId;

/// Rows and kills of one generation. Cloning copies some two hundred pointers, and one for each 65,536 rows; a clone never sees
/// what is added later.
#[derive(Clone)]
pub(crate) struct Generation {
    blocks: Blocks,
    keys: Keys,
    kills: Kills,
    first_row: u64,
    /// The model whose lists the rows are in, and the rows of each list. `None`: a search goes through all rows.
    filed: Option<(FileId, Members)>,
}

impl Generation {
    /// An empty generation without lists whose first row will be `first_row`.
    pub(crate) fn new(first_row: u64) -> Self {
        let (blocks, keys, kills) = (Blocks::default(), Keys::default(), Kills::default());
        Generation { blocks, keys, kills, first_row, filed: None }
    }

    /// An empty generation whose rows will be in the lists of a model, if there is one: the model file and its number of lists.
    pub(crate) fn in_lists(first_row: u64, model: Option<(FileId, usize)>) -> Self {
        let filed = model.map(|(model, lists)| (model, Members::new(first_row, lists)));
        Generation { filed, ..Generation::new(first_row) }
    }

    /// The same; if it holds no row yet, its rows will be in the lists of this model.
    pub(crate) fn refiled(self, model: Option<(FileId, usize)>) -> Self {
        match self.rows() == 0 && self.model() != model.map(|(model, _)| model) {
            true => Generation { kills: self.kills, ..Generation::in_lists(self.first_row, model) },
            false => self,
        }
    }

    /// Adds the rows of one batch; they follow the generation's last row. `lists` are those of the rows, by the generation's
    /// model. If they are not as many, the generation goes on without lists, and searches go through all of it.
    pub(crate) fn push(&mut self, mut block: Block, lists: &RowLists) {
        debug_assert_eq!(block.first_row(), self.end_row(), "row numbers follow each other");
        match &mut self.filed {
            Some((_, members)) if lists.pairs.len() == block.len() => {
                members.push(lists, block.charge());
            }
            filed => *filed = None,
        }
        self.keys.push(block.first_row(), block.take_keys());
        self.blocks.push(block);
    }

    /// Adds killed rows, of this generation or of older ones.
    pub(crate) fn kill(&mut self, rows: Vec<u64>) {
        self.kills.push(rows);
    }

    /// The same rows; of the kills only those of its own rows.
    pub(crate) fn without_older_kills(&self) -> Self {
        let mut own = self.kills.to_sorted();
        own.retain(|row| *row >= self.first_row);
        let mut alone = Generation { kills: Kills::default(), ..self.clone() };
        if !own.is_empty() {
            alone.kill(own);
        }
        alone
    }

    /// Blocks in row order.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.iter()
    }

    pub(crate) fn kills(&self) -> &Kills {
        &self.kills
    }

    /// The model whose lists the rows are in; `None` if they are in none.
    pub(crate) fn model(&self) -> Option<FileId> {
        self.filed.as_ref().map(|(model, _)| *model)
    }

    /// The rows of each list, if the rows are in lists.
    pub(crate) fn members(&self) -> Option<&Members> {
        self.filed.as_ref().map(|(_, members)| members)
    }

    /// Row number of the first row, whether or not there is one.
    pub(crate) fn first_row(&self) -> u64 {
        self.first_row
    }

    /// One past the last row number.
    pub(crate) fn end_row(&self) -> u64 {
        self.blocks.end_row().unwrap_or(self.first_row)
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
        for block in self.blocks() {
            for (i, row) in (block.first_row()..block.end_row()).enumerate() {
                let dead = self.kills.contains(row);
                known.set(block.id(i), if dead { Known::Dead } else { Known::Live(row) });
            }
        }
        known
    }

    /// The block and position of a row of this generation.
    pub(crate) fn locate(&self, row: u64) -> Option<(&Arc<Block>, usize)> {
        self.blocks.locate(row)
    }

    /// The newest row of an id, live or dead.
    pub(crate) fn find(&self, key: u64, id: IdRef<'_>) -> Option<u64> {
        self.keys.find(key, |row| self.locate(row).is_some_and(|(block, at)| block.id(at) == id))
    }

    /// Heap bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.blocks.memory_bytes() + self.kills.memory_bytes() + self.members().map_or(0, Members::memory_bytes)
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
            generation.push(block(next, &ids), &RowLists::default());
            next += ids.len() as u64;
        }
        assert_eq!(generation.end_row(), next);
        let blocks = generation.blocks().count();
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
        for (sizes, most) in [(&[1u64, 300][..], 90), (&[1, 1, 20, 1, 300, 20], 90), (&[1, 20, 600], 700)] {
            let mut generation = Generation::new(0);
            for size in sizes.iter().cycle().take(600) {
                generation.push(block(generation.end_row(), &(0..*size).collect::<Vec<_>>()), &RowLists::default());
            }
            let blocks = generation.blocks().count();
            assert!(blocks < most, "{blocks} blocks of {} rows in batches of {sizes:?}", generation.rows());
            assert!(generation.blocks.pointers() <= 180, "{} pointers", generation.blocks.pointers());
            let bytes: usize = generation.blocks().map(|block| block.memory_bytes()).sum();
            assert_eq!(generation.memory_bytes(), bytes, "the sum that is kept is that of the blocks");
        }
    }

    /// Blocks that never merge: what a commit copies and what a look-up goes through hardly grow with their number.
    #[test]
    fn many_sealed_blocks_are_shared_by_few_pointers_and_their_rows_are_found() {
        let mut generation = Generation::new(7);
        let ids: Vec<u64> = (0..512).collect();
        for i in 0..1_000u64 {
            let first = 7 + i * 512;
            generation.push(block(first, &ids.iter().map(|id| id + i * 512).collect::<Vec<_>>()), &RowLists::default());
        }
        assert_eq!((generation.blocks().count(), generation.rows()), (1_000, 512_000));
        assert!(generation.blocks.pointers() <= 7 + 127, "{} pointers", generation.blocks.pointers());
        let starts: Vec<u64> = generation.blocks().map(|block| block.first_row()).collect();
        assert!(starts.windows(2).all(|pair| pair[1] == pair[0] + 512), "in row order");
        for id in (0..512_000).step_by(1_009) {
            assert_eq!(generation.find(id_key(IdRef::U64(id), 1), IdRef::U64(id)), Some(id + 7));
            let (block, at) = generation.locate(id + 7).unwrap();
            assert_eq!(block.id(at), IdRef::U64(id));
        }
        assert!(generation.locate(6).is_none() && generation.locate(512_007).is_none());
    }

    #[test]
    fn the_newest_row_of_an_id_is_found_and_marks_survive_a_merge() {
        let mut generation = Generation::new(0);
        generation.push(block(0, &[5]), &RowLists::default());
        generation.locate(0).unwrap().0.mark_maybe_dead(0);
        let older = generation.clone();
        for row in 1..40 {
            generation.push(block(row, &[5]), &RowLists::default());
        }
        assert_eq!(generation.find(id_key(IdRef::U64(5), 1), IdRef::U64(5)), Some(39));
        assert_eq!(older.find(id_key(IdRef::U64(5), 1), IdRef::U64(5)), Some(0));
        let (block, at) = generation.locate(0).unwrap();
        assert_eq!(block.maybe_dead_word(at / 64) >> (at % 64) & 1, 1);
    }
}
