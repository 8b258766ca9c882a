//! Commands that look after a collection.

use std::path::PathBuf;

use clap::Args;

/// `compact`
#[derive(Debug, Args)]
pub struct Compact {
    /// The collection
    pub collection: PathBuf,
    /// Everything: as few files as can be, no dead rows
    #[arg(long)]
    pub full: bool,
    /// Train the lists anew on the rows there are now, and move all rows to the new lists; of a collection that keeps no vectors, add lists
    #[arg(long, conflicts_with = "full")]
    pub retrain: bool,
    /// Say what would be done, and how much room it takes at most, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `checkpoint`
#[derive(Debug, Args)]
pub struct Checkpoint {
    /// The collection
    pub collection: PathBuf,
    /// A directory that does not exist yet or is empty
    pub to: PathBuf,
}

/// `repair`
#[derive(Debug, Args)]
pub struct Repair {
    /// The damaged collection; it is only read
    pub collection: PathBuf,
    /// A directory that does not exist yet or is empty
    pub to: PathBuf,
}

/// `scrub`
#[derive(Debug, Args)]
pub struct Scrub {
    /// The collection
    pub collection: PathBuf,
    /// Mebibytes per second at most
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
}

/// `dump`
#[derive(Debug, Args)]
pub struct Dump {
    /// The collection; it may be open for writing elsewhere
    pub collection: PathBuf,
    /// A file that does not exist yet; - or nothing is standard output
    pub to: Option<PathBuf>,
}

/// `load`
#[derive(Debug, Args)]
pub struct Load {
    /// A directory that does not exist yet or is empty, or what an interrupted load of the same dump left
    pub collection: PathBuf,
    /// The dump; - is standard input
    pub file: PathBuf,
    /// Rows per batch; each batch is committed as a whole
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// When a batch counts as committed
    #[arg(long, default_value = "group")]
    pub durability: super::DurabilityName,
}

/// `upgrade`
#[derive(Debug, Args)]
pub struct Upgrade {
    /// The collection
    pub collection: PathBuf,
}

/// `completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}
