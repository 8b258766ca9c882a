use std::collections::BTreeMap;

use super::bytes_dir::BytesDir;
use super::sample::*;
use crate::format::mix64;
use crate::id::IdKind;
use crate::segment::{IdEntry, IdTable, write_id_table};

fn table(mut entries: Vec<IdEntry>) -> (BytesDir, IdTable) {
    let dir = BytesDir::default();
    let facts = write_id_table(&dir, FILE, COLLECTION, ORIGIN, IdKind::U64, &mut entries, 1, 9).unwrap().facts();
    let table = IdTable::open(&dir, FILE, COLLECTION, ORIGIN, IdKind::U64, &facts).unwrap();
    (dir, table)
}

#[test]
fn every_id_is_found_and_absent_ones_are_not() {
    for count in [1u64, 339, 340, 341, 20_000] {
        let (_dir, table) = table((0..count).map(|id| IdEntry { key: mix64(id), row: id * 5 }).collect());
        assert_eq!(table.len(), count);
        for id in 0..count {
            assert_eq!(table.lookup(mix64(id), |_| Ok(true)).unwrap(), Some(id * 5));
        }
        for id in count..count + 2_000 {
            assert_eq!(table.lookup(mix64(id), |_| panic!("not in the table")).unwrap(), None);
        }
    }
}

/// [IDT-3]
#[test]
fn of_several_rows_the_largest_that_is_accepted_is_given() {
    // 1,500 rows under one key cross units; keys around it must not be offered.
    let mut entries: Vec<IdEntry> = (0..1_500).map(|row| IdEntry { key: 1 << 40, row: row * 4_000 }).collect();
    entries.extend((0..700).map(|i| IdEntry { key: (1 << 40) - 1 - i, row: 3 }));
    entries.extend((0..700).map(|i| IdEntry { key: (1 << 40) + 1 + i, row: 3 }));
    let (_dir, table) = table(entries);
    assert_eq!(table.lookup(1 << 40, |_| Ok(true)).unwrap(), Some(1_499 * 4_000));
    assert_eq!(table.lookup(1 << 40, |row| Ok(row <= 8_001)).unwrap(), Some(8_000));
    let mut offered = Vec::new();
    let none = table.lookup(1 << 40, |row| {
        offered.push(row);
        Ok(false)
    });
    assert_eq!(none.unwrap(), None);
    assert_eq!(offered, (0..1_500).rev().map(|row| row * 4_000).collect::<Vec<_>>());
}

/// [IDT-4]
#[test]
fn the_smallest_and_the_largest_key_and_far_rows_come_back() {
    let entries = vec![
        IdEntry { key: 0, row: u64::MAX },
        IdEntry { key: u64::MAX, row: 0 },
        IdEntry { key: 77, row: 1 << 50 },
        IdEntry { key: 77, row: 12 },
    ];
    let (_dir, table) = table(entries.clone());
    assert_eq!(table.lookup(0, |_| Ok(true)).unwrap(), Some(u64::MAX));
    assert_eq!(table.lookup(u64::MAX, |_| Ok(true)).unwrap(), Some(0));
    let mut sorted = entries;
    sorted.sort();
    assert_eq!(table.iter().collect::<crate::Result<Vec<_>>>().unwrap(), sorted);
}

/// [FRAME-8] [IDT-2]
#[test]
fn a_lookup_touches_one_unit_of_the_filter_and_one_of_the_entries() {
    let (_dir, table) = table((0..100_000).map(|id| IdEntry { key: mix64(id), row: id }).collect());
    assert_eq!((table.filter.proven_units(), table.entries.proven_units()), (0, 0), "opening touches neither");
    table.lookup(mix64(500), |_| Ok(true)).unwrap();
    assert_eq!((table.filter.proven_units(), table.entries.proven_units()), (1, 1));
    let absent = (1 << 32..).find(|id| table.lookup(mix64(*id), |_| Ok(true)).unwrap().is_none()).unwrap();
    assert!(table.filter.proven_units() <= 3, "looked for {absent}");
}

#[test]
fn a_table_agrees_with_a_map() {
    let mut draw = Draw(8);
    let mut model: BTreeMap<u64, u64> = BTreeMap::new();
    let mut entries = Vec::new();
    for row in 0..4_000u64 {
        let key = draw.below(1_000);
        model.insert(key, row * 3);
        entries.push(IdEntry { key, row: row * 3 });
    }
    let (_dir, table) = table(entries);
    for key in 0..1_100 {
        assert_eq!(table.lookup(key, |_| Ok(true)).unwrap(), model.get(&key).copied());
    }
}

/// [IDT-1]
#[test]
fn entries_that_make_no_table_are_refused() {
    let dir = BytesDir::default();
    let twice = IdEntry { key: 4, row: 4 };
    let many = (0..1u64 << 20).map(|page| IdEntry { key: mix64(page), row: page << 12 });
    for mut entries in [vec![], vec![twice, twice], many.collect()] {
        assert!(write_id_table(&dir, FILE, COLLECTION, ORIGIN, IdKind::U64, &mut entries, 1, 9).is_err());
    }
    assert!(dir.names().is_empty());
}
