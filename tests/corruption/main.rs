//! Damage and malice: flipped bits, cut and exchanged files, and files that lie with all their checksums right.

mod bits;
mod corpus;
mod draw;
mod fixtures;
mod heap;
mod hostile;
mod lengths;
mod memory;
mod places;
mod shifted;
mod subject;
