//! Read-only maps of immutable files: the one place of the storage layer with unsafe code.
//!
//! Nothing is ever written through a map. Whole files are mapped from offset 0. Advice and prefetch are rounded to the
//! page size of the running system, which may be 4, 16 or 64 KiB.
#![expect(unsafe_code, reason = "mapping a file is unsafe: its bytes must not change while they are borrowed")]

use std::fs::File;
use std::io;
use std::sync::Arc;

use memmap2::{Advice, Mmap, MmapOptions};

use super::{AccessPattern, Mapping};

/// Maps all of `file`, which must not change again. A file of no bytes gives an empty view.
pub(super) fn map(file: &File) -> io::Result<Arc<dyn Mapping>> {
    let len = usize::try_from(file.metadata()?.len())
        .map_err(|_| io::Error::new(io::ErrorKind::FileTooLarge, "the file does not fit the address space"))?;
    if len == 0 {
        return Ok(Arc::new(FileMap { view: None }));
    }
    // SAFETY: the only caller, `RealFile::map`, has checked that this handle is not writable: the file was either
    // sealed or opened as an existing one. The engine creates each file under a new name, maps it only after its last
    // write, and opens existing files read-only, so none of its own code can change the bytes. Another program that
    // shortens the file makes the system end the process (SIGBUS); one that rewrites it is outside the contract.
    let view = unsafe { MmapOptions::new().len(len).map(file) }?;
    Ok(Arc::new(FileMap { view: Some(view) }))
}

struct FileMap {
    view: Option<Mmap>,
}

impl Mapping for FileMap {
    fn bytes(&self) -> &[u8] {
        self.view.as_deref().unwrap_or(&[])
    }

    fn advise(&self, access: AccessPattern) {
        let Some(view) = &self.view else { return };
        let advice = match access {
            AccessPattern::Random => Advice::Random,
            AccessPattern::Sequential => Advice::Sequential,
        };
        // A hint: without it reads are slower, not wrong.
        let _ = view.advise(advice);
    }

    fn prefetch(&self, at: u64, len: u64) {
        let Some(view) = &self.view else { return };
        if let Some((start, count)) = page_range(at, len, view.len(), rustix::param::page_size()) {
            let _ = view.advise_range(Advice::WillNeed, start, count);
        }
    }
}

/// Start and length, in bytes, of the pages that hold `at..at + len`, cut at the end of the map; `None` if nothing of
/// it lies inside. `page` is a power of two.
fn page_range(at: u64, len: u64, map_len: usize, page: usize) -> Option<(usize, usize)> {
    let end = usize::try_from(at.saturating_add(len)).unwrap_or(usize::MAX).min(map_len);
    let start = usize::try_from(at).ok()? & !(page - 1);
    (start < end && len > 0).then(|| (start, end - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefetch_covers_whole_pages_and_never_leaves_the_map() {
        for page in [4096usize, 16_384, 65_536] {
            assert_eq!(page_range(page as u64 + 1, 1, 10 * page, page), Some((page, 2)));
            assert_eq!(page_range(3, 2 * page as u64, 10 * page, page), Some((0, 2 * page + 3)));
            assert_eq!(page_range(0, u64::MAX, 10, page), Some((0, 10)));
            assert_eq!(page_range(u64::MAX, u64::MAX, 10, page), None);
            assert_eq!(page_range(5, 0, 10, page), None);
        }
    }

    #[test]
    fn a_view_shows_the_bytes_and_takes_any_hint() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        io::Write::write_all(&mut file, &bytes).unwrap();
        let view = map(&file).unwrap();
        assert!(view.bytes() == bytes);
        view.advise(AccessPattern::Random);
        view.advise(AccessPattern::Sequential);
        for (at, len) in [(0, 1), (5000, 90_000), (99_999, 1), (99_999, 7), (u64::MAX, 1), (7, u64::MAX)] {
            view.prefetch(at, len);
        }
        assert_eq!(view.bytes().last(), bytes.last());
    }

    #[test]
    fn a_file_of_no_bytes_maps_to_an_empty_view() {
        let view = map(&tempfile::tempfile().unwrap()).unwrap();
        assert_eq!(view.bytes(), &[] as &[u8]);
        view.advise(AccessPattern::Random);
        view.prefetch(0, 4096);
    }
}
