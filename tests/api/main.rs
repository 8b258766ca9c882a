//! What the public calls do, as a user sees them.

mod basics;
mod bulk_load;
mod compaction;
