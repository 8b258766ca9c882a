//! One function per fuzz target.

mod codec;
mod files;
mod history;
mod import;
mod kernels;
mod search;
mod store;

pub use codec::codec;
pub use files::{delfile, footer, manifest, wal};
pub use history::{ops_crash, ops_model};
pub use import::import;
pub use kernels::kernels;
pub use search::search_params;
pub use store::{segment_raw, segment_resealed, store_dir};
