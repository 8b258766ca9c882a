//! Asking for memory before it is read. A hint: nothing depends on it.

/// Asks for the cache lines of `bytes`, wherever in its first line they start.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8]) {
    if !bytes.is_empty() {
        prefetch_from(bytes.as_ptr(), bytes.as_ptr() as usize % 64 + bytes.len());
    }
}

/// Asks for a cache line and those after it, as many as so many bytes take, to be read after others that are asked for too: into the second cache. That has room for more
/// misses at a time than the first one, whose few are wanted by what is being worked on; a line that is there is read at once.
#[inline(always)]
pub(super) fn prefetch_from(start: *const u8, length: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..length.div_ceil(64) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch is part of every x86-64, changes no memory and cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(start.wrapping_add(line * 64).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, length);
}

/// The cache lines of a slice, asked for in even portions while something else is worked on.
#[cfg(target_arch = "x86_64")]
pub(super) struct Ahead {
    next: *const u8,
    left: usize,
    portion: usize,
}

#[cfg(target_arch = "x86_64")]
impl Ahead {
    /// Portions such that `turns` of them are all.
    #[inline(always)]
    pub(super) fn new(ahead: &[u8], turns: usize) -> Self {
        let left = ahead.len().div_ceil(64);
        Ahead { next: ahead.as_ptr(), left, portion: left.div_ceil(turns.max(1)) }
    }

    /// Asks for the next portion.
    #[inline(always)]
    pub(super) fn ask(&mut self) {
        let bytes = 64 * self.portion.min(self.left);
        self.left -= bytes / 64;
        prefetch_from(self.next, bytes);
        self.next = self.next.wrapping_add(bytes);
    }
}
