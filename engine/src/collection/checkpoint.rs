//! Checkpoints: a copy of the collection in another directory that opens as a collection.
//!
//! **Flush first.** A checkpoint could copy the live log up to its durable end. It moves the delta to files instead, which every
//! flush does anyway, and gives the copy an empty log of its own. So there is one way in which rows get into files, the copy opens
//! without anything to replay, also where nothing can be written, and no rule about torn tails has to hold for a log that was cut off
//! on purpose. The price is a row file that may be small; compaction merges it. A log is never linked: it would go on growing inside
//! the copy.

use std::path::Path;
use std::sync::Arc;

use super::build::open_version;
use super::flush::{publish, remove_all};
use super::open::take_lock;
use super::shared::Shared;
use super::verify::check_file;
use crate::error::{Error, Result};
use crate::format::FileFacts;
use crate::manifest::{FileEntry, Manifest};
use crate::planted::{self, Bug};
use crate::storage::{FileId, FileKind, FileName, RealDir, Storage, StorageFile};
use crate::wal::{WalHead, WalWriter};

/// Bytes copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// What a checkpoint made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointReport {
    /// Sequence number of the last batch in it: at least that of the last batch acknowledged before the call.
    pub seq: u64,
    /// Files that the copy shares with the collection.
    pub files_linked: u64,
    /// Their bytes, which take no room of their own until the collection drops the files.
    pub bytes_linked: u64,
    /// Files that had to be copied, because no file can be in both directories.
    pub files_copied: u64,
    /// Their bytes.
    pub bytes_copied: u64,
}

/// A file that could not be linked, open: it stays readable when the collection drops it.
struct Copy {
    name: FileName,
    facts: FileFacts,
    file: Arc<dyn StorageFile>,
}

impl Shared {
    /// Makes a checkpoint in an empty directory:
    ///
    /// 1. Move the delta to files.
    /// 2. Take the other directory's lock.
    /// 3. With flushes and merges held off, so that no file goes: link every file that the manifest names, open those that
    ///    cannot be linked. Nothing waits for a byte of content.
    /// 4. Copy what could not be linked; sync it and check it to the last byte.
    /// 5. Create a log that holds nothing and says that the collection was closed; sync it.
    /// 6. Sync the directory, publish the manifest there.
    ///
    /// A crash before 6 has published leaves a directory that holds no collection; after it, the whole copy. The collection itself is
    /// only read from step 2 on.
    pub(super) fn checkpoint(&self, target: &dyn Storage) -> Result<CheckpointReport> {
        refuse_occupied(target)?;
        self.flush()?;
        let _lock = take_lock(target)?;
        refuse_occupied(target)?;
        let mut made = Vec::new();
        let done = self.fill(target, &mut made);
        match done {
            Ok(report) => Ok(report),
            // Whether the manifest is there is unknown: only its reader can tell.
            Err(error) if error.is_sync_failure() => Err(error.with_hint(format!(
                "whether {} now opens is unknown; remove it, and look at its disk",
                target.describe()
            ))),
            Err(error) => {
                remove_all(target, &made);
                Err(error)
            }
        }
    }

    /// Steps 3 to 6.
    fn fill(&self, target: &dyn Storage, made: &mut Vec<FileName>) -> Result<CheckpointReport> {
        let mut report = CheckpointReport::default();
        let mut copies = Vec::new();
        let mut manifest = {
            let _nothing_goes = self.flushing.lock();
            let manifest = (*self.view.load().version.manifest).clone();
            for (name, facts) in manifest.files() {
                self.link_or_open(target, name, &facts, &mut copies, &mut report, made)?;
            }
            manifest
        };
        for copy in &copies {
            made.push(copy.name);
            copy.write(target)?;
            report.files_copied += 1;
            report.bytes_copied += copy.facts.len;
        }
        let (wal, temp) = (self.new_file_id(), self.new_file_id());
        manifest.next_file_number = self.next_file_number();
        report.seq = manifest.covered_seq;
        check(target, &manifest, &copies)?;
        finish(target, manifest, wal, temp, made)?;
        Ok(report)
    }

    fn link_or_open(
        &self,
        target: &dyn Storage,
        name: FileName,
        facts: &FileFacts,
        copies: &mut Vec<Copy>,
        report: &mut CheckpointReport,
        made: &mut Vec<FileName>,
    ) -> Result<()> {
        match target.link_from(&*self.storage, name) {
            Ok(()) => {
                made.push(name);
                report.files_linked += 1;
                report.bytes_linked += facts.len;
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                let file = self.storage.open(name).map_err(|error| Error::io("open", name, error))?;
                copies.push(Copy { name, facts: *facts, file });
                Ok(())
            }
            Err(error) => Err(Error::io("link", name, error)),
        }
    }
}

/// Steps 5 and 6, for a directory whose files are there and synced: it becomes a collection that was closed.
pub(super) fn finish(
    target: &dyn Storage,
    mut manifest: Manifest,
    wal: FileId,
    temp: FileId,
    made: &mut Vec<FileName>,
) -> Result<()> {
    manifest.first_wal = wal;
    let head = WalHead {
        collection: manifest.collection,
        epoch: manifest.epoch,
        predecessor: None,
        first_seq: manifest.covered_seq.saturating_add(1),
        first_row: manifest.next_row,
    };
    made.push(FileName::File(FileKind::Wal, wal));
    let mut log = WalWriter::create(target, wal, head)?;
    log.seal()?;
    log.sync()?;
    publish(target, &manifest, temp)
}

/// Copies one file that a manifest names, and syncs the copy. A crash leaves a part of it, which nothing names.
pub(super) fn copy_file(from: &dyn Storage, to: &dyn Storage, name: FileName, facts: &FileFacts) -> Result<()> {
    let file = from.open(name).map_err(|error| Error::io("open", name, error))?;
    Copy { name, facts: *facts, file }.write(to)
}

impl Copy {
    /// Writes the copy and syncs it. A crash leaves a part of it, which no manifest names.
    fn write(&self, target: &dyn Storage) -> Result<()> {
        let name = self.name;
        let out = target.create(name).map_err(|error| Error::io("create", name, error))?;
        let mut buffer = vec![0; COPY_BYTES.min(self.facts.len as usize)];
        let mut at = 0;
        while at < self.facts.len {
            let want = (self.facts.len - at).min(buffer.len() as u64) as usize;
            let part = buffer.get_mut(..want).unwrap_or_default();
            let read = self.file.read_at(part, at).map_err(|error| Error::io("read", name, error))?;
            if read == 0 {
                let what = format!("the manifest states {} bytes, the file ends here", self.facts.len);
                return Err(Error::corrupt(name, "file", at, what));
            }
            let mut rest = part.get(..read).unwrap_or_default();
            while !rest.is_empty() {
                let written = match out.write_at(rest, at).map_err(|error| Error::io("write to", name, error))? {
                    0 => return Err(Error::io("write to", name, std::io::ErrorKind::WriteZero.into())),
                    written => written,
                };
                at += written as u64;
                rest = rest.get(written..).unwrap_or_default();
            }
        }
        if !planted::is(Bug::SkipCopySync) {
            out.sync().map_err(|error| Error::sync_failed(name, error))?;
        }
        out.seal().map_err(|error| Error::io("seal", name, error))
    }
}

/// Opens the copy's files as their readers will, and reads to the last byte what was not linked: damage is not to be copied in
/// silence.
fn check(target: &dyn Storage, manifest: &Manifest, copies: &[Copy]) -> Result<()> {
    open_version(target, manifest.clone(), 0)?;
    let mut first = None;
    for copy in copies {
        let Some(kind) = copy.name.kind() else { continue };
        let id = copy.name.file_id();
        let stated = manifest.row_files.iter().find(|entry| kind == FileKind::Row && entry.id == id);
        let entry = FileEntry { facts: copy.facts, ..stated.copied().unwrap_or(FileEntry::new(id, copy.facts)) };
        check_file(target, manifest, kind, &entry, true, &mut |error| {
            first.get_or_insert(error);
        });
    }
    match first {
        Some(error) => Err(error.with_hint("the collection is damaged, not the copy: verify it")),
        None => Ok(()),
    }
}

/// A copy inside of what it is a copy of would be lost with it, and lie among files that are not the user's. Looked at before the
/// directory is made.
pub(super) fn refuse_inside(source: &dyn Storage, target: &Path) -> Result<()> {
    let Some(own) = source.innermost().and_then(|dir| dir.downcast_ref::<RealDir>()) else { return Ok(()) };
    match own.encloses(target).map_err(|error| Error::io("look at", target.display(), error))? {
        true => Err(Error::argument("path", format!("{} is in the collection's own directory", target.display()))
            .with_hint("it must be a directory outside of it that does not exist yet or is empty")),
        false => Ok(()),
    }
}

/// A copy is never added to what a directory holds. A lock is what an earlier try may leave.
pub(super) fn refuse_occupied(target: &dyn Storage) -> Result<()> {
    let entries = target.list().map_err(|error| Error::io("list", target.describe(), error))?;
    if entries.iter().all(|entry| entry.name == Some(FileName::Lock)) {
        return Ok(());
    }
    let problem = match entries.iter().any(|entry| matches!(entry.name, Some(FileName::Manifest(_)))) {
        true => "already holds a collection",
        false => "is not empty",
    };
    Err(Error::argument("path", format!("{} {problem}", target.describe()))
        .with_hint("it must be a directory that does not exist yet or is empty"))
}
