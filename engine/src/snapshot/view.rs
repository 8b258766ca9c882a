//! One committed state: what every read is made against.

use std::sync::Arc;

use super::source::Source;
use super::version::Version;
use crate::delta::Generation;
use crate::error::Result;
use crate::id::IdRef;

/// Everything up to sequence number `seq`: the files of one manifest and the generations that are still in memory.
/// Immutable; a newer commit makes a new view.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) version: Arc<Version>,
    /// Generations that take no more writes and are not in files yet, oldest first.
    pub(crate) frozen: Vec<Arc<Generation>>,
    pub(crate) active: Generation,
    pub(crate) seq: u64,
    /// Live rows.
    pub(crate) count: u64,
}

impl View {
    /// Generations in memory, oldest first.
    pub(crate) fn generations(&self) -> impl DoubleEndedIterator<Item = &Generation> {
        self.frozen.iter().map(|g| &**g).chain(std::iter::once(&self.active))
    }

    /// Whether a generation in memory kills the row. A scan asks [`Killed`](super::Killed) instead.
    pub(crate) fn killed(&self, row: u64) -> bool {
        self.generations().any(|generation| generation.kills().contains(row))
    }

    /// The newest row of an id, live or dead.
    pub(crate) fn newest_row(&self, key: u64, id: IdRef<'_>) -> Result<Option<u64>> {
        match self.generations().rev().find_map(|generation| generation.find(key, id)) {
            Some(row) => Ok(Some(row)),
            None => self.version.find(key, id),
        }
    }

    /// Where the row of an id is, if it is live.
    pub(crate) fn find_live(&self, key: u64, id: IdRef<'_>) -> Result<Option<(Source<'_>, usize)>> {
        let Some(row) = self.newest_row(key, id)? else { return Ok(None) };
        let Some((source, at)) = self.source_of(row)? else { return Ok(None) };
        let dead = source.maybe_dead(at) && self.killed(row);
        Ok((!dead).then_some((source, at)))
    }

    /// Where a row is that no tombstone file kills.
    fn source_of(&self, row: u64) -> Result<Option<(Source<'_>, usize)>> {
        if let Some((block, at)) = self.generations().find_map(|generation| generation.locate(row)) {
            return Ok(Some((Source::Block(block), at)));
        }
        let Some((index, ordinal)) = self.version.locate_live(row)? else { return Ok(None) };
        Ok(self.version.rows.get(index).map(|rows| (Source::File(rows), ordinal)))
    }

    /// Every place that holds rows, in row order.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Source<'_>> {
        let files = self.version.rows.iter().map(Source::File);
        files.chain(self.generations().flat_map(Generation::blocks).map(|block| Source::Block(block)))
    }
}
