//! Row numbers of a file whose page directory cannot be read, from the id tables.
//!
//! A row file and the id table that was made with it have the same rows. So if the readable id tables have as many rows within the
//! file's range as the file, these are its rows in their order. Every id that can be read in the file must stand where the tables say,
//! or nothing is believed.

use crate::format::id_key;
use crate::manifest::Manifest;
use crate::segment::{IdTable, RowFile};

/// The numbers of all rows, ascending, if the tables tell them.
pub(super) fn told_numbers(file: &RowFile, tables: &[IdTable], manifest: &Manifest) -> Option<Box<[u64]>> {
    let range = file.first_row()..=file.last_row();
    let mut told: Vec<(u64, u64)> = Vec::new();
    for entry in tables.iter().flat_map(IdTable::iter).flatten().filter(|entry| range.contains(&entry.row)) {
        if told.len() >= file.len() {
            return None;
        }
        told.push((entry.row, entry.key));
    }
    told.sort_unstable();
    let ends = (told.first().map(|told| told.0), told.last().map(|told| told.0));
    if told.len() != file.len()
        || ends != (Some(*range.start()), Some(*range.end()))
        || told.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0))
    {
        return None;
    }
    let fits = |(ordinal, (_, key)): (usize, &(u64, u64))| {
        file.id(ordinal).map_or(true, |id| id_key(id.as_ref(), manifest.collection) == *key)
    };
    told.iter().enumerate().all(fits).then(|| told.iter().map(|told| told.0).collect())
}
