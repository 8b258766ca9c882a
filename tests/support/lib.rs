//! What the suites share: oracles, seeded data, workloads.

mod compare;
mod copy;
mod driver;
mod errand;
mod forge;
mod history;
mod meddled;
mod model;
mod mortal;
mod random;
mod skip;
mod workload;

pub use compare::{Contents, compare};
pub use copy::check_copy;
pub use driver::{Driver, Failure, inline_options};
pub use errand::{Errand, RETRAINED, RETRAINED_CODES, THREADS};
pub use forge::{reseal_manifest, unit_crc};
pub use history::{Crash, History};
pub use meddled::MeddledDir;
pub use model::{Change, Model, Row};
pub use mortal::MortalDir;
pub use random::Random;
pub use skip::skip;
pub use workload::{Step, WORKLOADS, Work, Workload};
