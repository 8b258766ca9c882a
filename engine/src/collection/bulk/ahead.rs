//! A model that is trained on the rows of a load while those are being written.
//!
//! Only where they are the first rows of a collection and all of them are in memory: then training would begin with the same rows, read
//! back, a moment later. The model is a file that no manifest names until the rows have been installed; should it turn out not to be
//! that of the rows there are, it is removed and training begins anew.

use super::parts::NewestRows;
use crate::collection::flush::remove_all;
use crate::collection::shared::Shared;
use crate::compaction::{Control, LivePoints, Made};
use crate::options::{Background, Compaction};
use crate::snapshot::LiveRows;
use crate::storage::{FileId, FileKind, FileName};

/// A model and the rows that it was trained on. Dropping it removes the model's file, as far as possible.
pub(in crate::collection) struct Ahead<'s> {
    shared: &'s Shared,
    made: Option<Made>,
    lists: usize,
    live: u64,
    /// The row file, once it is written.
    file: Option<FileId>,
}

impl<'s> Ahead<'s> {
    /// Lists of the model that is to be trained on so many rows of a load, if one is.
    pub(super) fn lists(shared: &Shared, rows: usize) -> Option<usize> {
        let options = &shared.options;
        let wanted = options.background == Background::Thread && options.compaction != Compaction::Manual;
        shared.first_lists(rows as u64).filter(|_| wanted)
    }

    /// Trains so many lists. Nothing if that is not possible: the rows in files are trained on then, or it is said there why not.
    pub(super) fn train(
        shared: &'s Shared,
        rows: &NewestRows<'_>,
        origin: u128,
        lists: usize,
        control: &Control,
    ) -> Option<Ahead<'s>> {
        let live = rows.places.len() as u64;
        let points = || Ok(LivePoints::of_block(rows.block, &rows.places, &shared.schema));
        match shared.train_on(points, live, lists, |_, _, _| Ok(None), (shared.collection, origin), control) {
            Ok(made) => Some(Ahead { shared, made: Some(made), lists, live, file: None }),
            Err(error) => {
                tracing::debug!(%error, "no model was trained while rows were written");
                None
            }
        }
    }

    /// The same, of rows that are in this file.
    pub(super) fn of(mut self, file: FileId) -> Self {
        self.file = Some(file);
        self
    }

    /// The model and the number of rows that it was trained on, if it is the one that training so many lists on all rows of `files` would make.
    pub(in crate::collection) fn model_for(mut self, files: &[LiveRows], lists: usize) -> Option<(Made, u64)> {
        let fits = match files {
            [rows] => Some(rows.file.id_of_file()) == self.file && rows.live() == self.live && lists == self.lists,
            _ => false,
        };
        self.made.take_if(|_| fits).map(|made| (made, self.live))
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        // After a failed sync nothing is removed: the next open does.
        if let Some(made) = self.made.take()
            && self.shared.poison_cause().is_none()
        {
            remove_all(&*self.shared.storage, &[FileName::File(FileKind::Model, made.entry.file.id)]);
        }
    }
}
