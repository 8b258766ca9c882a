//! The centroids of a new model, around the anchors that the collection asked for.

use std::collections::HashMap;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::live_points::{LivePoints, UnitPoints};
use crate::error::Result;
use crate::id::Id;
use crate::kernel::cluster::anchors::{Diversity, Selection, anchors};
use crate::kernel::cluster::{Centroids, Training, Work, train};
use crate::metric::Metric;
use crate::options::{Anchors, Schema};

/// Groups that are told apart; the rows of all further ones are one.
const MOST_GROUPS: u64 = 1 << 20;
/// Rows that are read at once when centroids become means.
const MEAN_ROWS: u64 = 16 * 1024;

/// Centroids of rows, `energy` being their mean squared distance from their mean.
///
/// # Errors
/// Those of [`train`]; `Corrupt`.
pub(super) fn centroids(
    work: &Work<'_>,
    rows: &LivePoints<'_>,
    schema: &Schema,
    training: &Training,
    energy: f64,
) -> Result<Centroids> {
    let points = UnitPoints(rows);
    let selected = |selection: Selection<'_>| Ok(anchors(work, &points, selection, training)?.centroids);
    match asked(schema) {
        Anchors::KMeans => Ok(train(work, &points, training)?.centroids),
        Anchors::Random => selected(Selection::Random),
        Anchors::MaxCoverage { apart } => {
            let part = f32::from(apart) / 1_000.0;
            selected(Selection::MaxCoverage(match schema.metric() {
                Metric::Cosine => Diversity::Cosine(part),
                _ => Diversity::L2((f64::from(part) * energy) as f32),
            }))
        }
        Anchors::Stratified { least } => {
            let (groups, count) = groups(rows)?;
            let minimum = (least as usize).min(training.nlist / count.max(1));
            selected(Selection::Stratified { groups: &groups, minimum })
        }
    }
}

/// Memory beside that of [`train`], for so many lists of so many rows.
pub(crate) fn anchor_memory(schema: &Schema, lists: u64, rows: u64) -> u64 {
    let dim = schema.dim() as u64;
    let means = 12 * dim * lists + 4 * dim * MEAN_ROWS.min(rows);
    match asked(schema) {
        Anchors::KMeans => 0,
        Anchors::Random | Anchors::MaxCoverage { .. } => means,
        // The number of its group and its place among the members, which may have grown to twice as many; and groups.
        Anchors::Stratified { .. } => means + rows * (4 + 16) + MOST_GROUPS.min(rows) * 64,
    }
}

fn asked(schema: &Schema) -> Anchors {
    schema.index_kind().lists().map_or(Anchors::KMeans, |options| options.wanted_anchors())
}

/// The group of each row, and how many there are. Groups are numbered as they are met.
fn groups(rows: &LivePoints<'_>) -> Result<(Vec<u32>, usize)> {
    let mut numbers: HashMap<u64, u32> = HashMap::new();
    let mut groups = Vec::with_capacity(rows.len());
    for i in 0..rows.len() {
        let (group, next) = (group_of(&rows.id(i)?), numbers.len() as u32);
        let number = match u64::from(next) < MOST_GROUPS {
            true => *numbers.entry(group).or_insert(next),
            false => numbers.get(&group).copied().unwrap_or(next),
        };
        groups.push(number);
    }
    Ok((groups, numbers.len()))
}

/// What stands for the group of an id: the upper half of a number, or a hash of the part before the last `/`.
fn group_of(id: &Id) -> u64 {
    match id {
        Id::U64(number) => number >> 32,
        Id::Bytes(bytes) => {
            let end = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            let mut hasher = SipHasher24::new();
            hasher.write(bytes.get(..end).unwrap_or_default());
            hasher.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_group_and_so_is_the_upper_half_of_a_number() {
        let bytes = |text: &str| group_of(&Id::from(text.as_bytes().to_vec()));
        assert_eq!(bytes("src/kernel/mod.rs#4"), bytes("src/kernel/lanes.rs"));
        assert_ne!(bytes("src/kernel/a"), bytes("src/a"));
        assert_eq!(bytes("readme"), bytes("license"));
        assert_eq!(group_of(&Id::U64(7 << 32 | 1)), group_of(&Id::U64(7 << 32 | 9)));
        assert_ne!(group_of(&Id::U64(7 << 32)), group_of(&Id::U64(8 << 32)));
    }
}
