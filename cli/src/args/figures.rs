//! Commands that measure.

use std::path::PathBuf;

use clap::Args;

use super::{Index, MetricName, RowFormatName, RowRange};
use crate::import::Format;

/// A file with queries.
#[derive(Clone, Debug, Args)]
pub struct QueryFile {
    /// A file with queries, in any format that import reads
    #[arg(long, value_name = "FILE")]
    pub queries: Option<PathBuf>,
    /// Which records of it: one, or a range A..B without B
    #[arg(long, value_name = "A..B", requires = "queries")]
    pub row: Option<RowRange>,
    /// Format of the files; taken from their names if not given
    #[arg(long)]
    pub format: Option<Format>,
    /// Field with the vector (jsonl, csv, tsv)
    #[arg(long, value_name = "NAME", default_value = "vector")]
    pub vector_field: String,
}

/// `tune`
#[derive(Debug, Args)]
pub struct Tune {
    /// The collection
    pub collection: PathBuf,
    /// Where queries come from
    #[command(flatten)]
    pub queries: QueryFile,
    /// Without a file: so many of the collection's own rows are the queries
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000), conflicts_with = "queries")]
    pub sample: u64,
    /// How many rows a query wants
    #[arg(long, short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub k: u32,
    /// The part of the nearest rows that is to be found, on average
    #[arg(long, value_name = "PART", default_value_t = 0.95)]
    pub recall: f32,
    /// Threads that find the true nearest rows; searches are measured one at a time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Draw the curve into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Show the curve, store nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Tell too what codes of 1 to 8 bits find without vectors (rows none), and how many vectors a source has to give for how much recall
    #[arg(long)]
    pub trade: bool,
    /// The vectors of a collection that keeps none, in any format that import reads
    #[arg(long, value_name = "FILE", requires = "trade")]
    pub vectors: Option<PathBuf>,
    /// Where --trade builds collections, and removes them
    #[arg(long, value_name = "DIR", default_value = "tune-collections", requires = "trade")]
    pub dir: PathBuf,
}

/// `bench`
#[derive(Debug, Args)]
pub struct Bench {
    /// A file of vectors, in any format that import reads; or `words`: the demo's 5,000 WordNet entries
    pub data: PathBuf,
    /// Where queries come from: without a file the last records are held out
    #[command(flatten)]
    pub queries: QueryFile,
    /// How distance is defined; cosine for `words`
    #[arg(long)]
    pub metric: Option<MetricName>,
    /// How components are stored
    #[arg(long, default_value = "f32")]
    pub rows: RowFormatName,
    /// How vectors are searched
    #[command(flatten)]
    pub index: Index,
    /// Take so many records at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Records held out as queries, if no file has any [default: 1000, or a tenth of them]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "queries")]
    pub hold_out: Option<u64>,
    /// How many rows a query wants
    #[arg(long, short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub k: u32,
    /// Threads that find the true nearest rows; searches are measured one at a time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Seed of everything drawn at random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where the collection is made; it must not exist yet
    #[arg(long, default_value = "bench-collection")]
    pub dir: PathBuf,
    /// Leave the collection there
    #[arg(long)]
    pub keep: bool,
    /// Draw the curve into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}
