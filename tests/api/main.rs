//! What the public calls do, as a user sees them.

mod arguments;
mod backpressure;
mod basics;
mod batches;
mod bulk_load;
mod compaction;
mod durability;
mod efforts;
mod endings;
mod figures;
mod followers;
mod full_disk;
mod handles;
mod interleaving;
mod invariants;
mod lists;
mod memory_budget;
mod places;
mod questions;
mod recovery;
mod rows;
mod scene;
mod schemas;
mod scrub;
mod slow_disk;
mod writers;
