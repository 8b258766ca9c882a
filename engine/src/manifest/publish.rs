//! Manifests to disk and back.

use std::io;

use super::Manifest;
use super::codec::{self, MAX_FILE_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::planted::{self, Bug};
use crate::storage::{DirEntry, EntryKind, FileId, FileKind, FileName, Storage, StorageFile};

/// The newest manifest.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub manifest: Manifest,
    /// Its first copy was damaged.
    pub second_copy_used: bool,
}

/// Publishes a manifest:
///
/// 1. Create a temporary file and write both copies. A crash: an orphan.
/// 2. Sync it. A crash: an orphan.
/// 3. Give it its name, which must be free: a second writer that got past the lock fails here. A crash: the old or the new
///    manifest counts; either is whole.
/// 4. Sync the directory. A crash after it: the new manifest counts.
///
/// # Errors
/// Of step 1: nothing changed, the temporary file is removed. From step 2 on: a failed sync or a name whose fate is unknown,
/// marked as such; the handle must take no more writes.
pub fn publish(storage: &dyn Storage, manifest: &Manifest, temp: FileId) -> Result<()> {
    let temp = FileName::File(FileKind::Temp, temp);
    let name = FileName::Manifest(manifest.generation);
    let file = match write_temp(storage, manifest, temp) {
        Ok(file) => file,
        Err(error) => {
            let _ = storage.remove(temp);
            return Err(Error::io("write", name, error));
        }
    };
    if !planted::is(Bug::PublishBeforeSync) {
        file.sync().map_err(|error| Error::sync_failed(name, error))?;
    }
    storage.publish(temp, name).map_err(|error| Error::sync_failed(name, error))?;
    if planted::is(Bug::PublishBeforeSync) {
        file.sync().map_err(|error| Error::sync_failed(name, error))?;
    }
    if planted::is(Bug::SkipDirSyncAfterPublish) {
        return Ok(());
    }
    storage.sync_dir().map_err(|error| Error::sync_failed(storage.describe(), error))
}

fn write_temp(
    storage: &dyn Storage,
    manifest: &Manifest,
    temp: FileName,
) -> io::Result<std::sync::Arc<dyn StorageFile>> {
    let file = storage.create(temp)?;
    let bytes = codec::encode(manifest);
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write_at(rest, written as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => written += count,
        }
    }
    Ok(file)
}

/// Generations of all manifests that are there, ascending.
///
/// # Errors
/// `Io`.
pub fn list_generations(storage: &dyn Storage) -> Result<Vec<u64>> {
    let entries = storage.list().map_err(|error| Error::io("list", storage.describe(), error))?;
    let mut generations: Vec<u64> = entries
        .iter()
        .filter(|entry| entry.entry == EntryKind::File)
        .filter_map(|entry| match entry.name {
            Some(FileName::Manifest(generation)) => Some(generation),
            _ => None,
        })
        .collect();
    generations.sort_unstable();
    Ok(generations)
}

/// Reads the newest manifest, from its second copy if the first is damaged. An older one never stands in for it: what it
/// would lose, `repair` has to say.
///
/// # Errors
/// `NotFound` if there is none; `Corrupt` if both copies are damaged or its name is that of no regular file, with nothing changed; `UnsupportedVersion`; `Io`.
pub fn load_newest(storage: &dyn Storage) -> Result<Loaded> {
    let entries = storage.list().map_err(|error| Error::io("list", storage.describe(), error))?;
    load_listed(storage, &entries)
}

/// The newest manifest of a listing: its generation, and what its name is that of.
pub fn newest_listed(entries: &[DirEntry]) -> Option<(u64, EntryKind)> {
    let generation_of = |entry: &DirEntry| match entry.name {
        Some(FileName::Manifest(generation)) => Some((generation, entry.entry)),
        _ => None,
    };
    entries.iter().filter_map(generation_of).max_by_key(|(generation, _)| *generation)
}

/// [`load_newest`] by a listing that was made before.
///
/// # Errors
/// As [`load_newest`]; `Io` too if the manifest was removed meanwhile.
pub fn load_listed(storage: &dyn Storage, entries: &[DirEntry]) -> Result<Loaded> {
    let Some((generation, kind)) = newest_listed(entries) else {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no collection in {}", storage.describe())));
    };
    if kind != EntryKind::File {
        let name = FileName::Manifest(generation);
        return Err(Error::corrupt(name, "manifest", 0, "the newest manifest is not a regular file"));
    }
    load(storage, generation)
}

/// Reads the manifest of a generation, whether or not it is the newest.
///
/// # Errors
/// As [`load_newest`].
pub fn load(storage: &dyn Storage, generation: u64) -> Result<Loaded> {
    let bytes = read(storage, generation)?;
    let (manifest, second_copy_used) = codec::decode(&bytes, generation)?;
    Ok(Loaded { manifest, second_copy_used })
}

/// Checks both copies of one manifest of a collection and hands out everything that is wrong with it.
pub fn verify(storage: &dyn Storage, generation: u64, collection: u128, report: &mut dyn FnMut(Error)) {
    let bytes = match read(storage, generation) {
        Ok(bytes) => bytes,
        Err(error) => return report(error),
    };
    codec::check(&bytes, generation, report);
    // Two collections count their generations alike, so the checksum does not tell their manifests apart.
    if codec::decode(&bytes, generation).is_ok_and(|(manifest, _)| manifest.collection != collection) {
        let name = FileName::Manifest(generation);
        report(Error::corrupt(name, "manifest", 0, "the manifest belongs to another collection"));
    }
}

fn read(storage: &dyn Storage, generation: u64) -> Result<Vec<u8>> {
    let name = FileName::Manifest(generation);
    let file = storage.open(name).map_err(|error| Error::io("open", name, error))?;
    let len = file.len().map_err(|error| Error::io("measure", name, error))?;
    if len > MAX_FILE_BYTES {
        return Err(Error::corrupt(name, "manifest", 0, format!("{len} bytes are too many for a manifest")));
    }
    let mut bytes = vec![0; len as usize];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64).map_err(|error| Error::io("read", name, error))? {
            0 => {
                return Err(Error::corrupt(
                    name,
                    "manifest",
                    filled as u64,
                    "the file became shorter while it was read",
                ));
            }
            count => filled += count,
        }
    }
    Ok(bytes)
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::storage::testing::{CrashOptions, MemDir};
    use crate::{Metric, Schema};

    fn temp(number: u64) -> FileId {
        FileId { number, epoch: 3 }
    }

    fn first() -> Manifest {
        Manifest { generation: 1, ..Manifest::new(77, Schema::new(4, Metric::L2)) }
    }

    #[test]
    fn a_generation_that_is_there_is_not_replaced() {
        let dir = MemDir::new(1);
        publish(&dir, &first(), temp(1)).unwrap();
        let second_writer = Manifest { epoch: 9, ..first() };
        assert!(publish(&dir, &second_writer, temp(2)).is_err());
        assert_eq!(load_newest(&dir).unwrap().manifest, first());
        for image in dir.crash_images(&CrashOptions::default()) {
            assert_eq!(load_newest(&image).unwrap().manifest, first());
        }
    }

    #[test]
    fn the_newest_generation_counts_and_an_older_one_never_stands_in_for_it() {
        let dir = MemDir::new(2);
        let second = Manifest { next_row: 9, ..first().successor() };
        publish(&dir, &first(), temp(1)).unwrap();
        publish(&dir, &second, temp(2)).unwrap();
        assert_eq!(list_generations(&dir).unwrap(), [1, 2]);
        assert_eq!(load_newest(&dir).unwrap().manifest, second);
        let names = dir.names();
        for keep in [0, 1, 100] {
            dir.corrupt(FileName::Manifest(2), |bytes| bytes.truncate(keep));
            assert_eq!(load_newest(&dir).unwrap_err().kind(), ErrorKind::Corrupt, "{keep} bytes left");
            assert_eq!(dir.names(), names, "nothing is removed");
        }
    }

    #[test]
    fn a_full_disk_leaves_the_state_before_and_no_leftovers() {
        let dir = MemDir::new(3);
        publish(&dir, &first(), temp(1)).unwrap();
        let names = dir.names();
        dir.set_free_bytes(Some(0));
        let error = publish(&dir, &first().successor(), temp(2)).unwrap_err();
        assert!(error.kind() == ErrorKind::NoSpace && !error.is_sync_failure(), "{error}");
        assert_eq!(dir.names(), names);
        dir.set_free_bytes(None);
        publish(&dir, &first().successor(), temp(3)).unwrap();
        assert_eq!(load_newest(&dir).unwrap().manifest.generation, 2);
    }
}
