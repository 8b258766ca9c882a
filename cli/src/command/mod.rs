//! One module per command: arguments -> engine call -> text or JSON.

mod bench;
mod checkpoint;
mod compact;
mod completions;
mod create;
mod delete;
mod dump;
mod get;
mod health;
mod import;
mod load;
mod repair;
mod scrub;
mod search;
mod stats;
mod tune;
mod upgrade;
mod usage;
mod verify;

use std::path::Path;

use stratavec::{Collection, Follower, Id, IdKind, OpenOptions};

pub use bench::bench;
pub use checkpoint::checkpoint;
pub use compact::compact;
pub use completions::completions;
pub use create::create;
pub use delete::delete;
pub use dump::dump;
pub use get::get;
pub use health::health;
pub use import::{Imported, Job, import};
pub use load::load;
pub use repair::repair;
pub use scrub::scrub;
pub use search::search;
pub use stats::{show as show_stats, stats};
pub use tune::tune;
pub use upgrade::upgrade;
pub use usage::{greet, usage_failure};
pub use verify::verify;

use crate::failure::Failure;
use crate::import::field::id_from_text;
use crate::screen::Screen;
use crate::words;

/// Opens a collection for commands that only read: beside a writer, on a directory that may not be written to, and without
/// recovering what a crashed writer left.
pub fn open_read_only(path: &Path) -> Result<Follower, Failure> {
    Collection::open_read_only(path).map_err(|e| Failure::engine(&e, path))
}

/// Opens a collection for writing and tells what recovery did.
pub fn open(path: &Path, options: OpenOptions, screen: &Screen) -> Result<Collection, Failure> {
    let collection = Collection::open(path, options).map_err(|e| Failure::engine(&e, path))?;
    let report = collection.recovery();
    if !report.is_clean() {
        let mut text =
            format!("recovered: {} read back from the log", words::counted(report.batches_replayed, "batch"));
        if report.tail_bytes_dropped > 0 {
            text += &format!(", {} of an unfinished write dropped", words::bytes(report.tail_bytes_dropped));
        }
        if report.orphans_removed > 0 {
            text += &format!(", {} removed", words::counted(report.orphans_removed, "left-over file"));
        }
        if report.manifest_copy_used {
            text += ", first copy of the manifest was damaged";
        }
        screen.remark(text)?;
    }
    Ok(collection)
}

/// Closes a collection that was written to.
pub fn close(collection: Collection, path: &Path) -> Result<(), Failure> {
    collection.close().map_err(|e| Failure::engine(&e, path).while_doing("cannot close the collection"))
}

/// The ids that were typed.
fn parse_ids<'t>(texts: impl IntoIterator<Item = &'t str>, kind: IdKind) -> Result<Vec<Id>, Failure> {
    let parse =
        |text| id_from_text(text, kind).map_err(|e| Failure::usage(format!("{text:?} is no id here")).because(e));
    texts.into_iter().map(parse).collect()
}
