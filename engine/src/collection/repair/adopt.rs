//! Files that the manifest in hand does not name, when it is not the newest there was.
//!
//! The sign is that its first log is gone: a log goes only when a newer manifest is durable. Then another log was begun, and its header
//! says which batch comes first in it. All batches before that one were committed, so a whole file whose rows are all of such
//! batches holds nothing but committed rows: it was made by a flush or a merge that the lost manifest told of.

use super::report::{Loss, RepairReport};
use crate::error::{Error, Result};
use crate::format::FileFacts;
use crate::format::manifest::COUNTER_END;
use crate::manifest::{FileEntry, Manifest};
use crate::segment::{RowLayout, stated_facts};
use crate::storage::{DirEntry, EntryKind, FileId, FileKind, FileName, Storage};
use crate::wal;

/// Makes of an older manifest what can be told of the newest.
pub(super) fn adopt(from: &dyn Storage, manifest: &mut Manifest, report: &mut RepairReport) -> Result<()> {
    let entries = from.list().map_err(|error| Error::io("list", from.describe(), error))?;
    let files: Vec<FileName> =
        entries.iter().filter(|entry: &&DirEntry| entry.entry == EntryKind::File).filter_map(|e| e.name).collect();
    let first = FileName::File(FileKind::Wal, manifest.first_wal);
    if files.contains(&first) {
        return Ok(());
    }
    let begun = |name: &FileName| match name {
        FileName::File(FileKind::Wal, id) if id.number > manifest.first_wal.number => {
            wal::begins(from, *id, manifest.collection).map(|(seq, row)| (*id, seq, row))
        }
        _ => None,
    };
    let Some((log, seq, row)) = files.iter().filter_map(begun).min_by_key(|(id, seq, _)| (*seq, id.number)) else {
        return Ok(());
    };
    if seq <= manifest.covered_seq || row < manifest.next_row || seq >= COUNTER_END || row >= COUNTER_END {
        return Ok(());
    }
    if seq > manifest.covered_seq.saturating_add(1) {
        let error = Error::corrupt(first, "log", 0, "the log is missing; what files hold of these batches was kept");
        let (first_seq, last_seq) = (manifest.covered_seq.saturating_add(1), Some(seq - 1));
        report.lose(Loss::Batches { first_seq, last_seq, error: error.clone() });
        report.lose(Loss::Deletes { after: manifest.covered_seq, up_to: seq - 1, error });
    }
    let fits = |facts: &FileFacts| facts.max_seq < seq && facts.last_row < row;
    let rows = unlisted(from, manifest, &files, FileKind::Row, &manifest.row_files, seq - 1, &fits);
    let tombstones = unlisted(from, manifest, &files, FileKind::Tombstone, &manifest.tombstones, seq - 1, &fits);
    take_rows(manifest, rows, &files, report);
    for entry in &tombstones {
        report.notes.push(format!("{} was taken up", FileName::File(FileKind::Tombstone, entry.id)));
    }
    manifest.tombstones.extend(tombstones);
    (manifest.first_wal, manifest.covered_seq, manifest.next_row) = (log, seq - 1, row);
    Ok(())
}

/// Whole files of a kind that the manifest does not name.
fn unlisted(
    from: &dyn Storage,
    manifest: &Manifest,
    files: &[FileName],
    kind: FileKind,
    listed: &[FileEntry],
    last_seq: u64,
    fits: &dyn Fn(&FileFacts) -> bool,
) -> Vec<FileEntry> {
    let id_of = |name: &FileName| match name {
        FileName::File(k, id) if *k == kind && listed.iter().all(|entry| entry.id != *id) => Some(*id),
        _ => None,
    };
    let entry = |id: FileId| {
        let (mut facts, parameters) = stated_facts(from, kind, id, manifest.collection).ok()?;
        // The sequence number of a bulk load stands in the manifest alone, which is the one that began the log.
        if kind == FileKind::Row && facts.max_seq == 0 {
            (facts.min_seq, facts.max_seq) = (last_seq, last_seq);
        }
        let facts = Some(facts).filter(fits)?;
        match kind {
            FileKind::Row => {
                let layout = RowLayout::stated(&manifest.schema, parameters).unwrap_or((&manifest.schema).into());
                Some(FileEntry::of_rows(id, facts, layout.element))
            }
            _ => Some(FileEntry::new(id, facts)),
        }
    };
    files.iter().filter_map(id_of).filter_map(entry).collect()
}

/// Adds row files in their place. A file that is gone and whose rows are all in one that is added was its input; what shares rows with
/// a file that is there is left out, the younger of two first.
fn take_rows(manifest: &mut Manifest, mut found: Vec<FileEntry>, files: &[FileName], report: &mut RepairReport) {
    found.sort_by_key(|entry| std::cmp::Reverse(entry.id.number));
    let there = |entry: &FileEntry| files.contains(&FileName::File(FileKind::Row, entry.id));
    let apart =
        |a: &FileEntry, b: &FileEntry| a.facts.last_row < b.facts.first_row || b.facts.last_row < a.facts.first_row;
    let inside =
        |a: &FileEntry, b: &FileEntry| a.facts.first_row >= b.facts.first_row && a.facts.last_row <= b.facts.last_row;
    let mut taken: Vec<FileEntry> = Vec::new();
    for entry in found {
        let clashes = manifest.row_files.iter().any(|old| !apart(old, &entry) && (there(old) || !inside(old, &entry)));
        if !clashes && taken.iter().all(|other| apart(other, &entry)) {
            report.notes.push(format!("{} was taken up", FileName::File(FileKind::Row, entry.id)));
            taken.push(entry);
        }
    }
    manifest.row_files.retain(|old| there(old) || !taken.iter().any(|new| inside(old, new)));
    manifest.row_files.extend(taken);
    manifest.row_files.sort_by_key(|entry| entry.facts.first_row);
}
