//! The command line, as clap reads it.

mod figures;
mod index;
mod upkeep;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use stratavec::{Durability, IdKind, Metric, RowFormat};

use crate::import::{AttributeField, Format};

pub use figures::{Bench, QueryFile, Tune};
pub use index::Index;
pub use upkeep::{Checkpoint, Compact, Completions, Dump, Load, Repair, Scrub, Upgrade};

/// What a bare `stratavec` shows.
pub const EXAMPLES: &str = concat!(
    "  stratavec create my.db --dim 384 --metric cosine\n",
    "  stratavec import my.db vectors.npy --records texts.jsonl --payload-field text\n",
    "  stratavec search my.db --like 42 --k 5",
);

/// Stratavec: vectors on disk, durable and searchable
#[derive(Debug, Parser)]
#[command(name = "stratavec", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = format!("Exit codes: 0 fine, 1 failed or something found, 2 usage, 3 missing or corrupt\n\nExamples:\n{EXAMPLES}"))]
pub struct Cli {
    /// Print JSON, one document per result, and errors as JSON to standard error
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
    /// Print results only: no progress, no remarks
    #[arg(long, short, global = true, help_heading = "Output")]
    pub quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an empty collection
    #[command(after_help = "Examples:
  stratavec create my.db --dim 384 --metric cosine
  stratavec create my.db --dim 784 --metric l2 --ids u64
  stratavec create my.db --dim 384 --metric cosine --rows f16")]
    Create(Create),
    /// Write the records of a file, replacing rows with the same ids
    #[command(after_help = "Examples:
  stratavec import my.db vectors.npy --ids ids.txt
  stratavec import my.db docs.jsonl --payload-field text --attributes lang,year:i64
  zcat docs.csv.gz | stratavec import my.db - --format csv --id-field doc --vector-field v")]
    Import(Box<Import>),
    /// Find the rows nearest to a vector
    #[command(after_help = "Examples:
  stratavec search my.db --like doc:1 --k 5
  stratavec search my.db --vector '[0.1, 0.2, 0.3]' --max-distance 0.4
  stratavec search my.db --file queries.npy --row 0..10 --json")]
    Search(Box<Search>),
    /// Show rows by id
    #[command(after_help = "Examples:
  stratavec get my.db doc:1
  stratavec get my.db doc:1 doc:2 --json
  stratavec get my.db --json doc:1 | jq .vector")]
    Get(Get),
    /// Remove rows by id
    #[command(after_help = "Examples:
  stratavec delete my.db doc:1
  stratavec delete my.db doc:1 doc:2 doc:3
  stratavec delete my.db --ids gone.txt")]
    Delete(Delete),
    /// Show what a collection holds, on one screen
    #[command(after_help = "Examples:
  stratavec stats my.db
  stratavec stats my.db --json
  stratavec stats my.db --json | jq .rows")]
    Stats(Stats),
    /// Measure how good the lists of a collection are, on up to a thousand of its rows
    #[command(after_help = "Examples:
  stratavec health my.db
  stratavec health my.db --json | jq .score")]
    Health(Health),
    /// Check every file of a collection without changing anything
    #[command(after_help = "Examples:
  stratavec verify my.db
  stratavec verify my.db --quick
  stratavec verify my.db --json | jq .findings")]
    Verify(Verify),
    /// Merge files and drop dead rows now, instead of when the rules ask for it
    #[command(after_help = "Examples:
  stratavec compact my.db --dry-run
  stratavec compact my.db
  stratavec compact my.db --full --json
  stratavec compact my.db --retrain")]
    Compact(Compact),
    /// Make a copy that opens as a collection; on one file system it takes no room of its own at first
    #[command(after_help = "Examples:
  stratavec checkpoint my.db backup/today
  stratavec checkpoint my.db /mnt/usb/my.db
  stratavec checkpoint my.db backup/today --json")]
    Checkpoint(Checkpoint),
    /// Make a new collection of what a damaged one can prove, and list what it cannot
    #[command(after_help = "Examples:
  stratavec repair my.db repaired.db
  stratavec repair my.db repaired.db --json | jq .losses
  stratavec repair my.db repaired.db && stratavec verify repaired.db")]
    Repair(Repair),
    /// Write all rows as lines of JSON that load back bit for bit
    #[command(after_help = "Examples:
  stratavec dump my.db rows.jsonl
  stratavec dump my.db | zstd > rows.jsonl.zst
  stratavec dump my.db | sed 1d | jq -r .id")]
    Dump(Dump),
    /// Make a collection of a dump; run again, it goes on where it was interrupted
    #[command(after_help = "Examples:
  stratavec load new.db rows.jsonl
  zstdcat rows.jsonl.zst | stratavec load new.db -
  stratavec load new.db rows.jsonl --batch 10000")]
    Load(Load),
    /// Read every byte again and compare it with its checksum, as slowly as you like
    #[command(after_help = "Examples:
  stratavec scrub my.db
  stratavec scrub my.db --rate 20
  stratavec scrub my.db --json | jq .findings")]
    Scrub(Scrub),
    /// Measure what searches of a collection find and how fast, and choose how hard they look
    #[command(after_help = "Examples:
  stratavec tune my.db --recall 0.95
  stratavec tune my.db --queries asked.npy --recall 0.98 --k 20
  stratavec tune my.db --dry-run --svg curve.svg")]
    Tune(Tune),
    /// Build a collection of a file of vectors and measure everything about it
    #[command(after_help = "Examples:
  stratavec bench vectors.npy --metric cosine --index ivf
  stratavec bench base.fvecs --queries query.fvecs --metric l2 --index ivf --json
  stratavec bench words --index ivf --svg words.svg")]
    Bench(Box<Bench>),
    /// Bring the files to the format of this release
    #[command(after_help = "Examples:
  stratavec upgrade my.db
  stratavec upgrade my.db --json
  stratavec checkpoint my.db before && stratavec upgrade my.db")]
    Upgrade(Upgrade),
    /// Print what a shell needs to complete command lines
    #[command(after_help = "Examples:
  stratavec completions bash > ~/.local/share/bash-completion/completions/stratavec
  stratavec completions zsh > ~/.zfunc/_stratavec
  stratavec completions fish > ~/.config/fish/completions/stratavec.fish")]
    Completions(Completions),
    /// Run the whole engine on 5,000 WordNet entries, kill -9 included, and leave the collection to play with
    #[command(after_help = "Examples:
  stratavec demo
  stratavec demo --kills 50
  stratavec demo --dir /tmp/words --data demo/data")]
    Demo(Demo),
    /// The process that the demo kills
    #[command(hide = true)]
    DemoWriter(DemoWriter),
}

/// `create`
#[derive(Debug, Args)]
pub struct Create {
    /// A directory that does not exist yet or is empty
    pub collection: PathBuf,
    /// Components per vector
    #[arg(long)]
    pub dim: usize,
    /// How distance is defined
    #[arg(long)]
    pub metric: MetricName,
    /// What ids are: texts (bytes) or numbers (u64)
    #[arg(long, default_value = "bytes")]
    pub ids: IdKindName,
    /// How components are stored
    #[arg(long, default_value = "f32")]
    pub rows: RowFormatName,
    /// Seed of everything drawn at random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How vectors are searched
    #[command(flatten)]
    pub index: Index,
}

/// Which fields of a file mean what.
#[derive(Clone, Debug, Args)]
pub struct FieldArgs {
    /// Format of the file; taken from its name if not given
    #[arg(long)]
    pub format: Option<Format>,
    /// Field with the id (jsonl, csv, tsv, --records)
    #[arg(long, value_name = "NAME")]
    pub id_field: Option<String>,
    /// Field with the vector (jsonl, csv, tsv); in csv also the common beginning of numbered columns
    #[arg(long, value_name = "NAME", default_value = "vector")]
    pub vector_field: String,
    /// Fields to keep as attributes; a type can follow: year:i64 (string, i64, f64, bool, timestamp)
    #[arg(long, value_name = "A,B:TYPE", value_delimiter = ',')]
    pub attributes: Vec<AttributeField>,
    /// Field to keep as payload
    #[arg(long, value_name = "NAME")]
    pub payload_field: Option<String>,
}

/// `import`
#[derive(Debug, Args)]
pub struct Import {
    /// The collection
    pub collection: PathBuf,
    /// The file; - is standard input (with --format)
    pub file: PathBuf,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the help of the command")]
    pub fields: FieldArgs,
    /// Ids of the vectors, one per line, or an npy array of integers
    #[arg(long, value_name = "FILE")]
    pub ids: Option<PathBuf>,
    /// Ids, attributes and payloads of the vectors, one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub records: Option<PathBuf>,
    /// Number the records from 0 instead of reading ids
    #[arg(long, conflicts_with_all = ["ids", "id_field"])]
    pub number: bool,
    /// Records per batch; each batch is committed as a whole [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["bulk", "part"])]
    pub batch: Option<u32>,
    /// Write straight to files instead of through the log, in parts that are committed as a whole; if it is interrupted, the same
    /// command goes on where it ended. Taken by itself for files of 256 MiB or more without --batch
    #[arg(long)]
    pub bulk: bool,
    /// Records per part of a bulk import [default: 1000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub part: Option<u64>,
    /// Write every record. Else a bulk import goes on where an earlier one of this file ended, and any other begins with the first
    /// record that is not there yet as it is in the file
    #[arg(long)]
    pub anew: bool,
    /// Most memory that the collection may take, in MiB (32 or more)
    #[arg(long, value_name = "MIB")]
    pub memory: Option<u32>,
    /// When a batch counts as committed: after a sync of its own, a shared sync, or once the system has it
    #[arg(long, default_value = "group")]
    pub durability: DurabilityName,
    /// Leave out the first N records
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub skip: u64,
    /// Stop after N records
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// `search`
#[derive(Debug, Args)]
#[command(override_usage = "stratavec search <COLLECTION> <--vector [X,Y,...] | --file FILE | --like ID> [OPTIONS]")]
#[command(group = clap::ArgGroup::new("query").required(true).args(["vector", "file", "like"]))]
pub struct Search {
    /// The collection
    pub collection: PathBuf,
    /// The query as a JSON array
    #[arg(long, value_name = "[X,Y,...]", allow_hyphen_values = true)]
    pub vector: Option<String>,
    /// A file with queries, in any format that import reads
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Which records of the file: one, or a range A..B without B
    #[arg(long, value_name = "A..B", requires = "file")]
    pub row: Option<RowRange>,
    /// Format of the file; taken from its name if not given
    #[arg(long, requires = "file")]
    pub format: Option<Format>,
    /// Field with the vector (jsonl, csv, tsv)
    #[arg(long, value_name = "NAME", default_value = "vector")]
    pub vector_field: String,
    /// The vector of this row is the query; the row itself is left out
    #[arg(long, value_name = "ID")]
    pub like: Option<String>,
    /// How many rows at most
    #[arg(long, short, default_value_t = 10)]
    pub k: usize,
    /// Where there are lists: look hard enough to find this part of the nearest rows, 0.95 if nothing is said
    #[arg(long, value_name = "PART", group = "effort")]
    pub recall: Option<f32>,
    /// Where there are lists: look at this many of them
    #[arg(long, value_name = "LISTS", group = "effort")]
    pub nprobe: Option<usize>,
    /// With --nprobe: stop after so many lists without a nearer row
    #[arg(long, value_name = "LISTS", requires = "nprobe")]
    pub patience: Option<usize>,
    /// As --recall, but each query ends when it stops finding nearer rows
    #[arg(long, value_name = "PART", group = "effort")]
    pub confidence: Option<f32>,
    /// Measure every row
    #[arg(long, group = "effort")]
    pub exact: bool,
    /// Read files piece by piece instead of mapping them: a failing disk is then an error
    #[arg(long)]
    pub pread: bool,
    /// Only rows at most this far away
    #[arg(long, value_name = "D", allow_hyphen_values = true)]
    pub max_distance: Option<f32>,
    /// Only these ids: A,B,C or @FILE with one per line
    #[arg(long, value_name = "A,B,C|@FILE")]
    pub filter_ids: Option<String>,
    /// What to show of each row
    #[arg(long, value_delimiter = ',', default_value = "attributes,payload")]
    pub include: Vec<Part>,
}

/// `get`
#[derive(Debug, Args)]
pub struct Get {
    /// The collection
    pub collection: PathBuf,
    /// The ids
    #[arg(required = true)]
    pub ids: Vec<String>,
}

/// `delete`
#[derive(Debug, Args)]
pub struct Delete {
    /// The collection
    pub collection: PathBuf,
    /// The ids
    #[arg(required_unless_present = "file", value_name = "ID")]
    pub ids: Vec<String>,
    /// More ids, one per line, or an npy array of integers
    #[arg(long = "ids", value_name = "FILE", id = "file")]
    pub file: Option<PathBuf>,
}

/// `stats`
#[derive(Debug, Args)]
pub struct Stats {
    /// The collection
    pub collection: PathBuf,
}

/// `health`
#[derive(Debug, Args)]
pub struct Health {
    /// The collection
    pub collection: PathBuf,
}

/// `verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// The collection
    pub collection: PathBuf,
    /// Check the structure only: a few pages of each file
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,
    /// Check every byte of every file (this is the default)
    #[arg(long)]
    pub full: bool,
}

/// `demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Where the collection goes; an older demo there is replaced, anything else is left alone
    #[arg(long, default_value = "demo-collection")]
    pub dir: PathBuf,
    /// Folder with the demo's data; found beside the program or the current directory if not given
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// How often the writing process is killed
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub kills: u32,
}

/// `demo-writer`
#[derive(Debug, Args)]
pub struct DemoWriter {
    /// The collection
    pub collection: PathBuf,
    /// The demo's data
    pub data: PathBuf,
    /// Number of the first batch
    pub first: u64,
}

/// A record, or a range of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRange {
    /// The first.
    pub start: u64,
    /// One past the last.
    pub end: u64,
}

impl std::str::FromStr for RowRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str, otherwise: u64| match text.trim() {
            "" => Ok(otherwise),
            digits => digits.parse().map_err(|_| format!("{digits:?} is no row number")),
        };
        let range = match text.split_once("..") {
            None => number(text, 0).map(|row| RowRange { start: row, end: row.saturating_add(1) })?,
            Some((start, end)) => RowRange { start: number(start, 0)?, end: number(end, u64::MAX)? },
        };
        if range.start >= range.end {
            return Err("the range is empty".into());
        }
        Ok(range)
    }
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident => $engine:ty { $($(#[$help:meta])* $text:literal $variant:ident = $value:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
        pub enum $name {
            $($(#[$help])* #[value(name = $text)] $variant,)*
        }

        impl From<$name> for $engine {
            fn from(name: $name) -> Self {
                match name {
                    $($name::$variant => $value,)*
                }
            }
        }
    };
}

names! {
    /// Metrics by name.
    MetricName => Metric {
        /// Squared Euclidean distance
        "l2" L2 = Metric::L2,
        /// 1 - cos of the angle
        "cosine" Cosine = Metric::Cosine,
        /// Negated inner product
        "ip" InnerProduct = Metric::InnerProduct,
    }
}
names! {
    /// Kinds of ids by name.
    IdKindName => IdKind {
        /// Texts or other bytes, up to 512
        "bytes" Bytes = IdKind::Bytes,
        /// Numbers
        "u64" U64 = IdKind::U64,
    }
}
names! {
    /// Row formats by name.
    RowFormatName => RowFormat {
        /// 4 bytes per component, exact
        "f32" F32 = RowFormat::F32,
        /// 2 bytes per component, 11 bits of precision
        "f16" F16 = RowFormat::F16,
        /// 2 bytes per component, 8 bits of precision, range of f32
        "bf16" Bf16 = RowFormat::Bf16,
        /// 1 byte per component; distances are estimates
        "i8" I8 = RowFormat::I8,
        /// No vectors: their codes in lists answer. Needs --index ivf or auto
        "none" None = RowFormat::None,
    }
}
names! {
    /// Levels of durability by name.
    DurabilityName => Durability {
        /// After a sync for this batch alone
        "sync" Sync = Durability::Sync,
        /// After a sync that batches can share
        "group" Group = Durability::Group,
        /// Once the operating system has it; synced at the end of the command
        "os" Os = Durability::Os,
    }
}

/// What a search shows of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The attributes
    Attributes,
    /// The payload
    Payload,
    /// The vector as stored
    Vector,
    /// Nothing but id and distance
    None,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn row_ranges() {
        assert_eq!("3".parse(), Ok(RowRange { start: 3, end: 4 }));
        assert_eq!("2..5".parse(), Ok(RowRange { start: 2, end: 5 }));
        assert_eq!("7..".parse(), Ok(RowRange { start: 7, end: u64::MAX }));
        assert!("5..5".parse::<RowRange>().is_err());
        assert!("x".parse::<RowRange>().is_err());
    }
}
