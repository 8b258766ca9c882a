use super::bytes_dir::BytesDir;
use super::sample::*;
use crate::segment::{TombstoneFile, write_tombstones};

fn file(rows: &[u64]) -> TombstoneFile {
    let dir = BytesDir::default();
    let facts = write_tombstones(&dir, FILE, COLLECTION, ORIGIN, rows, 10, 20).unwrap();
    TombstoneFile::open(&dir, FILE, COLLECTION, ORIGIN, &facts).unwrap()
}

/// [DEL-1] [DEL-3]
#[test]
fn dead_rows_come_back_whether_few_or_many_in_a_page() {
    let mut draw = Draw(2);
    for rows in [
        vec![0],
        vec![u64::MAX],
        (0..255).collect(),
        (0..256).collect(),
        (0..4096).collect(),
        (100..20_000).filter(|_| draw.below(2) == 0).collect(),
        (0..3_000_000).filter(|row| row % 1_009 == 5 || (row >> 12) % 50 == 3).collect::<Vec<u64>>(),
    ] {
        let file = file(&rows);
        let mut visited = Vec::new();
        file.for_each(|row| visited.push(row)).unwrap();
        assert_eq!(visited, rows);
        assert_eq!((file.len(), file.interval()), (rows.len() as u64, (10, 20)));
        for row in rows.iter().step_by(1 + rows.len() / 3_000) {
            assert!(file.contains(*row).unwrap());
            for near in [row.wrapping_add(1), row.wrapping_sub(1), row ^ (1 << 30)] {
                assert_eq!(file.contains(near).unwrap(), rows.binary_search(&near).is_ok(), "row {near}");
            }
        }
    }
}

/// [DEL-2]
#[test]
fn few_dead_rows_take_two_bytes_each() {
    let rows: Vec<u64> = (0..100_000).map(|i| i * 41).collect();
    let file = file(&rows);
    let bytes = file.bytes();
    // And the page directory, with the gap in front of a section that is aligned to 64 KiB.
    assert!(bytes < 220_000 + 65_536, "{bytes} bytes");
}

#[test]
fn rows_that_make_no_tombstone_file_are_refused() {
    let dir = BytesDir::default();
    for (rows, interval) in [(vec![], (1, 2)), (vec![2, 1], (1, 2)), (vec![1, 1], (1, 2)), (vec![1], (3, 2))] {
        let outcome = write_tombstones(&dir, FILE, COLLECTION, ORIGIN, &rows, interval.0, interval.1);
        assert_eq!(outcome.unwrap_err().kind(), crate::ErrorKind::InvalidArgument);
    }
    assert!(dir.names().is_empty());
}
