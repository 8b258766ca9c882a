//! Proof of the durability contract: crashes, failing disks, killed processes, and whether these tests would notice.

mod calls;
mod checkpoint;
mod crash;
mod create;
mod damage;
mod explore;
mod failed_sync;
mod faults;
mod follow;
mod guard;
mod kill;
mod line;
mod ordeal;
mod order;
mod planted;
mod race;
mod readers;
mod regressions;
mod repair;
mod salvage;
mod snapshots;
mod threads;
