//! One row for each id: the newest, if it is there and alive, else none.
//!
//! In a sound collection the tombstones see to it. Where some are lost, an old row of an id that was written again must not come back
//! beside the new one, nor in its place when it is the new one that is lost. Row numbers are given in commit order, so the largest
//! decides; the id tables tell of rows that are lost themselves.
//!
//! Memory is bounded: keys are gone through in as many parts as it takes, each of a share of the key space.

use std::collections::HashSet;

use super::logs::Logged;
use super::report::RepairReport;
use super::rows::Files;
use crate::delta::Generation;
use crate::error::{ErrorKind, Result};
use crate::format::{id_key, unmix64};
use crate::id::{Id, IdKind};
use crate::manifest::Manifest;
use crate::segment::IdTable;
use crate::storage::Storage;

/// Entries gathered at a time, 24 bytes each.
const MOST_AT_ONCE: u64 = 2 << 20;

/// A row and the key of its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    key: u64,
    row: u64,
    /// File and ordinal; `NOWHERE` for a row that only an id table tells of, `MEMORY` for a row of the logs.
    place: (u32, u32),
}

const NOWHERE: u32 = u32::MAX;
const MEMORY: u32 = u32::MAX - 1;

/// Opens the id tables that can be; they are not needed, the rows have their ids.
fn open_tables(from: &dyn Storage, manifest: &Manifest, report: &mut RepairReport) -> Result<Vec<IdTable>> {
    let (collection, origin, kind) = (manifest.collection, manifest.own_origin(), manifest.schema.id_kind());
    let mut tables = Vec::new();
    for entry in &manifest.id_tables {
        match IdTable::open(from, entry.id, collection, origin, kind, &entry.facts) {
            Ok(table) => tables.push(table),
            Err(error) if error.kind() == ErrorKind::UnsupportedVersion => return Err(error),
            Err(error) => report.notes.push(format!("an id table is made anew from the rows: {error}")),
        }
    }
    Ok(tables)
}

/// Takes out every row that is not the newest of its id.
pub(super) fn settle(
    from: &dyn Storage,
    manifest: &Manifest,
    files: &mut Files,
    logged: &mut Logged,
    report: &mut RepairReport,
) -> Result<()> {
    let tables = open_tables(from, manifest, report)?;
    let rows: u64 = files.open.iter().map(|file| file.live.file.len() as u64).sum();
    let told: u64 = tables.iter().map(IdTable::len).sum();
    let parts = rows.saturating_add(told).div_ceil(MOST_AT_ONCE).max(1);
    let share = (u64::MAX / parts).saturating_add(1);
    let mut stale = Stale { files: files.bits(), logged: Vec::new() };
    for part in 0..parts {
        let first = part.saturating_mul(share);
        let keys = first..=if part + 1 == parts { u64::MAX } else { first.saturating_add(share - 1) };
        let mut claims = claims_of_rows(files, manifest, &keys);
        claims_of_logs(&logged.generation, manifest, &keys, &mut claims);
        claims_of_tables(files, &tables, &keys, &mut claims, report);
        claims.sort_unstable_by(|a, b| (a.key, b.row).cmp(&(b.key, a.row)).then(a.place.cmp(&b.place)));
        claims
            .chunk_by(|a, b| a.key == b.key)
            .for_each(|same| decide(files, &logged.generation, manifest, same, &mut stale, report));
    }
    files.add_dead(&stale.files);
    if !stale.logged.is_empty() {
        stale.logged.sort_unstable();
        logged.generation.kill(stale.logged);
    }
    Ok(())
}

/// The rows whose ids can be read, dead or alive.
fn claims_of_rows(files: &Files, manifest: &Manifest, keys: &std::ops::RangeInclusive<u64>) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (index, file) in (0u32..).zip(&files.open) {
        for ordinal in 0..file.live.file.len() {
            let (Ok(row), Ok(id)) = (file.live.file.row_number(ordinal), file.id(ordinal)) else { continue };
            let key = id_key(id.as_ref(), manifest.collection);
            if keys.contains(&key) {
                claims.push(Claim { key, row, place: (index, ordinal as u32) });
            }
        }
    }
    claims
}

/// The rows of the logs, dead or alive.
fn claims_of_logs(
    generation: &Generation,
    manifest: &Manifest,
    keys: &std::ops::RangeInclusive<u64>,
    claims: &mut Vec<Claim>,
) {
    for block in generation.blocks() {
        for i in 0..block.len() {
            let key = id_key(block.id(i), manifest.collection);
            if keys.contains(&key) {
                claims.push(Claim { key, row: block.first_row() + i as u64, place: (MEMORY, 0) });
            }
        }
    }
}

/// Rows that are not the newest of their ids.
struct Stale {
    /// One bit per ordinal of each file.
    files: Vec<Vec<u64>>,
    /// Rows of the logs.
    logged: Vec<u64>,
}

/// The rows that only id tables tell of.
fn claims_of_tables(
    files: &Files,
    tables: &[IdTable],
    keys: &std::ops::RangeInclusive<u64>,
    claims: &mut Vec<Claim>,
    report: &mut RepairReport,
) {
    for table in tables {
        for entry in table.iter() {
            match entry {
                Ok(entry) if keys.contains(&entry.key) && files.is_lost(entry.row) => {
                    claims.push(Claim { key: entry.key, row: entry.row, place: (NOWHERE, 0) });
                }
                Ok(_) => {}
                Err(error) => {
                    let note = format!("an id table is made anew from the rows: {error}");
                    if !report.notes.contains(&note) {
                        report.notes.push(note);
                    }
                }
            }
        }
    }
}

/// Rows of one key, newest first.
fn decide(
    files: &Files,
    generation: &Generation,
    manifest: &Manifest,
    same: &[Claim],
    stale: &mut Stale,
    report: &mut RepairReport,
) {
    let kind = manifest.schema.id_kind();
    if kind == IdKind::U64
        && let Some(Claim { key, row, place: (NOWHERE, _) }) = same.first()
        && !files.locate(*row).is_some_and(|place| files.is_dead(place))
    {
        report.lose_id(Id::U64(unmix64(*key)));
    }
    let (mut seen, mut hidden) = (HashSet::new(), false);
    for claim in same {
        let place = (claim.place.0 as usize, claim.place.1 as usize);
        // Numbers have keys of their own; byte strings may share one. Where only a table tells, the key stands for the id.
        let id = match claim.place.0 {
            NOWHERE => None,
            MEMORY => Some(generation.locate(claim.row).map(|(block, at)| block.id(at).to_owned())),
            _ => files.open.get(place.0).map(|file| file.id(place.1).ok()),
        };
        let Some(id) = id else {
            hidden = true;
            continue;
        };
        if !hidden && seen.insert(id) {
            continue;
        }
        match claim.place.0 {
            MEMORY if !generation.kills().contains(claim.row) => stale.logged.push(claim.row),
            MEMORY => continue,
            _ if files.is_dead(place) || files.open.get(place.0).is_none_or(|file| file.is_unproven(place.1)) => {
                continue;
            }
            _ => {
                if let Some(word) = stale.files.get_mut(place.0).and_then(|words| words.get_mut(place.1 / 64)) {
                    *word |= 1 << (place.1 % 64);
                }
            }
        }
        report.stale_rows += 1;
    }
}
