//! Dumps: a collection as lines of JSON that any program can read and that load back bit for bit.
//!
//! The first line is the header, each further line a row, in the order in which rows were written:
//!
//! ```text
//! {"stratavec_dump":1,"dim":2,"metric":"l2","ids":"bytes","rows":"f32","index":"flat","seed":0,"count":1,"seq":1}
//! {"id":"doc:1","vector":[0.1,-2.5e-8],"attributes":{"lang":"en"},"payload":"aGVsbG8="}
//! ```
//! The whole format is in `format-spec/dump.md`.

mod base64;
mod index;
mod read;
mod write;

pub use read::DumpSource;
pub use write::{WriteError, write};

use serde::{Deserialize, Serialize};
use stratavec::{IdKind, Metric, RowFormat, Schema};

use self::index::Index;

/// The version of the format that is written, and the only one read.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub stratavec_dump: u32,
    /// Components per vector.
    pub dim: usize,
    /// The metric by its name.
    pub metric: String,
    /// The kind of ids by its name.
    pub ids: String,
    /// The row format by its name.
    pub rows: String,
    /// The kind of index.
    #[serde(flatten)]
    pub index: Index,
    /// The seed.
    pub seed: u64,
    /// Rows that follow.
    pub count: u64,
    /// The last batch that is in the dump.
    pub seq: u64,
}

impl Header {
    /// The header of a dump of so many rows up to a batch.
    pub fn new(schema: &Schema, count: u64, seq: u64) -> Header {
        Header {
            stratavec_dump: VERSION,
            dim: schema.dim(),
            metric: schema.metric().name().to_owned(),
            ids: schema.id_kind().name().to_owned(),
            rows: schema.row_format().name().to_owned(),
            index: Index::from(schema.index_kind()),
            seed: schema.random_seed(),
            count,
            seq,
        }
    }

    /// The schema it states.
    ///
    /// # Errors
    /// What is unknown about it.
    pub fn schema(&self) -> Result<Schema, String> {
        let unknown = |what: &str, name: &str| format!("{what} {name:?} is not known here");
        let metrics = [Metric::L2, Metric::Cosine, Metric::InnerProduct];
        let metric =
            metrics.into_iter().find(|m| m.name() == self.metric).ok_or_else(|| unknown("metric", &self.metric));
        let kinds = [IdKind::U64, IdKind::Bytes];
        let ids =
            kinds.into_iter().find(|kind| kind.name() == self.ids).ok_or_else(|| unknown("kind of ids", &self.ids));
        let formats = [RowFormat::F32, RowFormat::F16, RowFormat::Bf16, RowFormat::I8, RowFormat::None];
        let rows = formats.into_iter().find(|f| f.name() == self.rows).ok_or_else(|| unknown("row format", &self.rows));
        let index = self.index.kind().ok_or_else(|| unknown("index", &self.index.index))?;
        let schema = Schema::new(self.dim, metric?).ids(ids?).rows(rows?).index(index).seed(self.seed);
        schema.check().map_err(|error| error.to_string())?;
        Ok(schema)
    }
}
