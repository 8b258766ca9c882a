//! Checking what the logs say against the files: rows that they replace or delete are dead, the others are not.

use std::collections::HashSet;

use super::verify::VerifyReport;
use crate::delta::Generation;
use crate::error::{Error, Result};
use crate::format::batch::{BatchView, Op};
use crate::format::id_key;
use crate::id::IdRef;
use crate::snapshot::Version;
use crate::storage::{FileKind, FileName};

/// The ids whose last operation in the logs is a delete. A delete names the row it kills, and replay goes by that alone; so that it
/// is the row of the id is for a check to prove.
///
/// Numbers stand apart from texts: a log of deletes is small, and so is what is remembered of it.
#[derive(Default)]
pub(super) struct Deleted {
    numbers: HashSet<u64>,
    texts: HashSet<Box<[u8]>>,
}

impl Deleted {
    /// Goes on with the next batch.
    pub(super) fn follow(&mut self, batch: &BatchView<'_>) {
        for op in batch.ops() {
            match op {
                Op::Put { id: IdRef::U64(number), .. } => self.numbers.remove(&number),
                Op::Put { id: IdRef::Bytes(text), .. } => self.texts.remove(text),
                Op::Delete { id: IdRef::U64(number) } => self.numbers.insert(number),
                Op::Delete { id: IdRef::Bytes(text) } => self.texts.insert(text.into()),
            };
        }
    }

    fn ids(&self) -> impl Iterator<Item = IdRef<'_>> {
        self.numbers.iter().map(|number| IdRef::U64(*number)).chain(self.texts.iter().map(|text| IdRef::Bytes(text)))
    }
}

/// What the logs hold beside the files: each row of a file that they kill is alive without them, and each id has one live row at most,
/// one whose last operation is a delete none.
pub(super) fn check_logged(version: &Version, generation: &Generation, deleted: &Deleted, report: &mut VerifyReport) {
    if let Err(error) = super::open::Log::check_kills(version, generation) {
        report.find(error);
    }
    let killed = generation.kills().to_sorted();
    let is_killed = |row: u64| killed.binary_search(&row).is_ok();
    for block in generation.blocks() {
        for (i, row) in (block.first_row()..block.end_row()).enumerate() {
            let id = block.id(i);
            let key = id_key(id, version.manifest.collection);
            let newest = generation.find(key, id);
            let outcome = if newest != Some(row) && !is_killed(row) {
                Err(wrong_log(version, format!("row {row} with id {id:?} is alive beside its successor {newest:?}")))
            } else {
                check_successor(version, row, key, id, is_killed)
            };
            if let Err(error) = outcome {
                report.find(error);
            }
        }
    }
    for id in deleted.ids() {
        if let Err(error) = check_deleted(version, generation, id, is_killed) {
            report.find(error);
        }
    }
}

/// A row of the logs: if its id has a live row in a file, the logs kill that.
fn check_successor(
    version: &Version,
    row: u64,
    key: u64,
    id: IdRef<'_>,
    is_killed: impl Fn(u64) -> bool,
) -> Result<()> {
    let Some(older) = version.find(key, id)?.filter(|older| !is_killed(*older)) else { return Ok(()) };
    match version.locate_live(older)? {
        None => Ok(()),
        Some(_) => {
            let what = format!("row {row} with id {id:?} follows row {older} of a file, which nothing kills");
            Err(wrong_log(version, what))
        }
    }
}

/// An id that the logs delete and do not write again: its rows, in the logs and in the files, are dead.
fn check_deleted(
    version: &Version,
    generation: &Generation,
    id: IdRef<'_>,
    is_killed: impl Fn(u64) -> bool,
) -> Result<()> {
    let key = id_key(id, version.manifest.collection);
    let alive = |row: u64| Err(wrong_log(version, format!("deletes id {id:?} and not its row {row}")));
    if let Some(row) = generation.find(key, id).filter(|row| !is_killed(*row)) {
        return alive(row);
    }
    match version.find(key, id)?.filter(|row| !is_killed(*row)) {
        Some(row) if version.locate_live(row)?.is_some() => alive(row),
        _ => Ok(()),
    }
}

fn wrong_log(version: &Version, what: String) -> Error {
    Error::corrupt(FileName::File(FileKind::Wal, version.manifest.first_wal), "record", 0, what)
}
