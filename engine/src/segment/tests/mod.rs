//! What is tested here: everything comes back; every flipped bit and every cut is found; content made by an enemy who can compute
//! checksums never panics; nothing but what is asked for is touched.

mod bytes_dir;
mod dead_rows;
mod flips;
mod hostile;
mod ids;
mod lists;
mod reseal;
mod rows;
mod sample;
mod spec;
