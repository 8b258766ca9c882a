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
