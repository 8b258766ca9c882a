//! What a repair kept, and what it could not keep.

use std::fmt;

use crate::error::Error;
use crate::id::Id;

/// Losses that are listed one by one, and ids that are named.
const MOST_LISTED: usize = 1000;

/// What a repair did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RepairReport {
    /// The manifest it went by.
    pub generation: u64,
    /// Live rows in the new directory.
    pub rows: u64,
    /// Sequence number that the new collection goes on from. None of a lost batch is given again, as far as they are known.
    pub last_seq: u64,
    /// What is lost, or may be; the first thousand. Empty: everything was kept.
    pub losses: Vec<Loss>,
    /// Live rows that are lost, where they could be counted.
    pub rows_lost: u64,
    /// Ids of lost rows, where they are known; the first thousand.
    pub ids_lost: Vec<Id>,
    /// Rows that are older than a row of the same id that is lost or dead: they were left out.
    pub stale_rows: u64,
    /// What is worth knowing and no loss.
    pub notes: Vec<String>,
}

/// Something that a repair could not keep.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Loss {
    /// A manifest. The one before it was used.
    #[non_exhaustive]
    Manifest {
        /// Its generation.
        generation: u64,
        /// What is wrong with it.
        error: Error,
    },
    /// A row file as a whole.
    #[non_exhaustive]
    File {
        /// Rows it had, dead ones among them.
        rows: u64,
        /// Smallest row number.
        first_row: u64,
        /// Largest row number.
        last_row: u64,
        /// Sequence number of the oldest batch it had rows of.
        first_seq: u64,
        /// And of the newest.
        last_seq: u64,
        /// What is wrong with it.
        error: Error,
    },
    /// Neighbouring live rows of a file; of a list segment of a collection that keeps no vectors the codes of rows, dead ones among them.
    #[non_exhaustive]
    Rows {
        /// How many.
        rows: u64,
        /// Smallest row number, or of the rows that they are among.
        first_row: u64,
        /// Largest row number, or of the rows that they are among.
        last_row: u64,
        /// What is wrong with the first of them.
        error: Error,
    },
    /// Batches whose log is missing or damaged. What files hold of them is kept; else they are lost, and all that follow in the logs.
    #[non_exhaustive]
    Batches {
        /// Sequence number of the first.
        first_seq: u64,
        /// Sequence number of the last that is known to have been there.
        last_seq: Option<u64>,
        /// What is wrong.
        error: Error,
    },
    /// Deletes: rows that batches after `after` and up to `up_to` deleted may be back. Rows that they replaced are not: of two rows of
    /// one id the newer is kept.
    #[non_exhaustive]
    Deletes {
        /// The batch after which.
        after: u64,
        /// The last batch.
        up_to: u64,
        /// What is wrong.
        error: Error,
    },
}

impl RepairReport {
    /// Whether nothing was lost.
    pub fn is_complete(&self) -> bool {
        self.losses.is_empty()
    }

    pub(super) fn lose(&mut self, loss: Loss) {
        if self.losses.len() < MOST_LISTED {
            self.losses.push(loss);
        }
    }

    pub(super) fn lose_id(&mut self, id: Id) {
        if self.ids_lost.len() < MOST_LISTED {
            self.ids_lost.push(id);
        }
    }
}

impl Loss {
    /// What is wrong with the bytes.
    pub fn error(&self) -> &Error {
        match self {
            Loss::Manifest { error, .. }
            | Loss::File { error, .. }
            | Loss::Rows { error, .. }
            | Loss::Batches { error, .. }
            | Loss::Deletes { error, .. } => error,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Manifest { generation, .. } => {
                write!(f, "manifest {generation}; the one before it was used")?;
            }
            Loss::File { rows, first_row, last_row, first_seq, last_seq, .. } => write!(
                f,
                "a file of {rows} rows, dead ones among them: rows {first_row} to {last_row} of batches {first_seq} to {last_seq}"
            )?,
            Loss::Rows { rows, first_row, last_row, .. } => {
                write!(f, "{rows} rows within {first_row} to {last_row}")?;
            }
            Loss::Batches { first_seq, last_seq: Some(last), .. } => write!(f, "batches {first_seq} to {last}")?,
            Loss::Batches { first_seq, last_seq: None, .. } => {
                write!(f, "batches from {first_seq} on, if there were any")?
            }
            Loss::Deletes { after, up_to, .. } => {
                write!(
                    f,
                    "deletes of batches {} to {up_to}: rows that they deleted may be back",
                    after.saturating_add(1)
                )?;
            }
        }
        write!(f, ": {}", self.error())
    }
}
