//! Proof of the durability contract: crashes, failing disks, killed processes, and whether these tests would notice.

mod crash;
mod explore;
mod line;
