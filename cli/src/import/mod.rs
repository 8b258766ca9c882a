//! Readers of other people's files: each yields records (id, vector, attributes, payload) one at a time.
//!
//! Files come from anywhere, so every reader treats its input as hostile: a number in a file buys no memory before the
//! bytes it promises have been read, one record at a time is held, and a record's size is capped. Whatever is wrong is
//! reported with the file and the offset or line.

pub mod bin;
pub mod csv;
mod error;
pub mod field;
mod format;
pub mod ids;
mod input;
pub mod jsonl;
pub mod npy;
mod paired;
pub mod vecs;

use stratavec::{Attributes, Id};

pub use error::{ImportError, ImportErrorKind, Place};
pub use field::{AttributeField, Fields};
pub use format::{Extras, Format, Opened, open};
pub use input::{Input, Meter};
pub use paired::Paired;

/// Longest line of a text format in bytes. A vector of the largest dimension, a payload and attributes of the largest
/// size fit many times.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// One record as the file has it. Buffers are reused from record to record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The id, if the file names one.
    pub id: Option<Id>,
    /// The components; empty when the file has none (a file of texts beside a file of vectors).
    pub vector: Vec<f32>,
    /// The attributes that were asked for.
    pub attributes: Attributes,
    /// The payload, if one was asked for and is there.
    pub payload: Option<Vec<u8>>,
}

impl Record {
    /// Forgets the contents, keeps the buffers.
    pub fn clear(&mut self) {
        self.id = None;
        self.vector.clear();
        self.attributes.clear();
        self.payload = None;
    }
}

/// A file that is being read record by record.
pub trait RecordSource {
    /// Reads the next record into `record`; `false` at the end of the file.
    ///
    /// # Errors
    /// [`ImportError`] naming the file and the place. After an error the source is at an unspecified place.
    fn read(&mut self, record: &mut Record) -> Result<bool, ImportError>;

    /// Where the record that was read last stands in the file.
    fn place(&self) -> Place;

    /// The file's name, for messages.
    fn name(&self) -> &str;

    /// How many records there are, if the file says so at its beginning.
    fn total(&self) -> Option<u64> {
        None
    }

    /// The dimension, if the file says so at its beginning.
    fn dim(&self) -> Option<usize> {
        None
    }
}
