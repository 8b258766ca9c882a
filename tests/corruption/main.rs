//! Damage and malice: flipped bits, cut and exchanged files, and files that lie with all their checksums right.

mod bits;
mod fixtures;
mod subject;
