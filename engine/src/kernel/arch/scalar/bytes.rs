//! Sums over bytes in plain Rust.

use crate::kernel::bytes::terms;

pub(in crate::kernel::arch) const BYTES: [super::super::ByteFn; 5] = [sum::<0>, sum::<1>, sum::<2>, sum::<3>, sum::<4>];

unsafe fn sum<const OP: usize>(a: *const u8, b: *const u8, bytes: usize) -> i64 {
    // SAFETY: the caller grants `bytes` bytes at both addresses.
    let (a, b) = unsafe { (std::slice::from_raw_parts(a, bytes), std::slice::from_raw_parts(b, bytes)) };
    terms::<OP>(a, b)
}
