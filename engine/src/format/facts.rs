//! What a manifest states about an immutable file, so that a file that was swapped, cut or rewritten is refused when it is opened.

/// The facts of one immutable file. Written by whoever made the file, stated by the manifest, compared at every open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FileFacts {
    /// Length in bytes.
    pub len: u64,
    /// The root checksum: covers header, section directory and footer, and through them every other checksum.
    pub root: u32,
    /// Rows of a row file, entries of an id table, dead rows of a tombstone file.
    pub rows: u64,
    /// Smallest row number in the file; 0 if there is none.
    pub first_row: u64,
    /// Largest row number in the file; 0 if there is none.
    pub last_row: u64,
    /// Smallest sequence number in the file. A tombstone file covers the interval `(min_seq, max_seq]`.
    pub min_seq: u64,
    /// Largest sequence number in the file.
    pub max_seq: u64,
}
