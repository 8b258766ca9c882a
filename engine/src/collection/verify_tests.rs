//! Collections whose every checksum is right and that are wrong all the same.

use super::*;
use crate::collection::Collection;
use crate::collection::checkpoint::finish;
use crate::collection::flush::publish;
use crate::format::batch::BatchEncoder;
use crate::id::{IdKind, IdRef};
use crate::manifest::FileEntry;
use crate::metric::{Element, Metric};
use crate::options::{OpenOptions, Schema};
use crate::segment::{RowInput, RowSource, write_id_table, write_row_file, write_tombstones};
use crate::storage::FileId;
use crate::storage::testing::MemDir;
use crate::wal::{WalHead, WalWriter};

/// Row number and id.
type Rows = &'static [(u64, u64)];

struct Source(Rows);

impl RowSource for Source {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn visit(&self, i: usize, take: &mut dyn FnMut(RowInput<'_>) -> Result<()>) -> Result<()> {
        let (row, id) = self.0[i];
        let vector = 0.3f32.to_le_bytes();
        take(RowInput {
            row,
            seq: row + 1,
            id: IdRef::U64(id),
            vector: &vector,
            element: Element::F32,
            norm: 0.0,
            attributes: &[],
            payload: &[],
        })
    }
}

/// A collection of row files and id tables with these rows and entries, some of the rows dead.
fn forge(files: &[(Rows, Rows)], dead: &[u64]) -> MemDir {
    let dir = MemDir::new(1);
    let manifest = forge_files(&dir, files, dead);
    finish(&dir, manifest, WAL, TEMP, &mut Vec::new()).unwrap();
    dir
}

/// A batch in a log: ids that it writes, rows that it kills.
type Logged = (&'static [u64], &'static [u64]);

/// The same with a log that holds these batches; their first row is number 100.
fn forge_logged(files: &[(Rows, Rows)], batches: &[Logged]) -> MemDir {
    let dir = MemDir::new(1);
    let mut manifest = forge_files(&dir, files, &[]);
    manifest.first_wal = WAL;
    let (mut seq, mut row) = (manifest.covered_seq + 1, manifest.next_row);
    let (collection, epoch) = (manifest.collection, manifest.epoch);
    let head = WalHead { collection, epoch, predecessor: None, first_seq: seq, first_row: row };
    let mut log = WalWriter::create(&dir, WAL, head).unwrap();
    for (ids, kills) in batches {
        let mut encoder = BatchEncoder::new(&manifest.schema, Vec::new(), 0);
        for id in *ids {
            encoder.put(IdRef::U64(*id), &1.0f32.to_le_bytes(), 0.0, &[], &[]).unwrap();
        }
        let frame = encoder.finish(row, kills).unwrap();
        assert!(log.append(&mut [(seq, frame)]).is_ok());
        (seq, row) = (seq + 1, row + ids.len() as u64);
    }
    log.sync().unwrap();
    publish(&dir, &manifest, TEMP).unwrap();
    dir
}

const WAL: FileId = FileId { number: 500, epoch: 5 };
const TEMP: FileId = FileId { number: 501, epoch: 5 };

fn forge_files(dir: &MemDir, files: &[(Rows, Rows)], dead: &[u64]) -> Manifest {
    let schema = Schema::new(1, Metric::L2).ids(IdKind::U64);
    let mut manifest = Manifest::new(7, schema.clone()).successor();
    let (collection, origin) = (manifest.collection, manifest.own_origin());
    let id = |number| FileId { number, epoch: 5 };
    manifest.covered_seq = 100;
    manifest.next_row = 100;
    manifest.next_file_number = 1000;
    for (number, (rows, entries)) in (1u64..).zip(files) {
        let facts = write_row_file(dir, id(number), collection, origin, &RowLayout::from(&schema), &Source(rows))
            .unwrap()
            .facts();
        manifest.row_files.push(FileEntry::of_rows(id(number), facts, Some(schema.row_format().element())));
        let entry = |(row, id): &(u64, u64)| IdEntry { key: id_key(IdRef::U64(*id), collection), row: *row };
        let mut entries: Vec<IdEntry> = entries.iter().map(entry).collect();
        let (table, seqs) = (id(100 + number), (facts.min_seq, facts.max_seq));
        let made = write_id_table(dir, table, collection, origin, IdKind::U64, &mut entries, seqs.0, seqs.1).unwrap();
        manifest.id_tables.push(FileEntry::new(table, made.facts()));
    }
    if !dead.is_empty() {
        let facts = write_tombstones(dir, id(300), collection, origin, dead, 0, 100).unwrap();
        manifest.tombstones.push(FileEntry::new(id(300), facts));
    }
    manifest
}

const OLD: Rows = &[(0, 10), (1, 11), (2, 12)];
const NEW: Rows = &[(5, 11), (6, 13)];

fn findings(dir: &MemDir) -> Vec<String> {
    let quick = verify(dir, Verify::Quick).unwrap();
    assert!(quick.is_sound(), "nothing is wrong with a checksum or a header: {:?}", quick.findings);
    verify(dir, Verify::Full).unwrap().findings.iter().map(Error::to_string).collect()
}

#[test]
fn what_is_forged_for_these_tests_can_be_sound() {
    let dir = forge(&[(OLD, OLD), (NEW, NEW)], &[1]);
    assert_eq!(findings(&dir), [""; 0]);
    let collection = Collection::open_in(std::sync::Arc::new(dir), OpenOptions::default()).unwrap();
    assert_eq!(collection.snapshot().count(), 4);
}

/// [C14] Each of these opens, and all of its bytes match their checksums; yet a search would show a row that `get` does not, or the
/// other way round.
#[test]
fn rows_that_their_ids_do_not_reach_are_found() {
    let cases: [(&str, MemDir, &str); 5] = [
        (
            "an id with two live rows",
            forge(&[(OLD, OLD), (NEW, NEW)], &[]),
            "live row 1 with id 11 is found as Some(5)",
        ),
        (
            "a live row without an entry",
            forge(&[(OLD, &[(0, 10), (2, 12)])], &[]),
            "live row 1 with id 11 is found as None",
        ),
        (
            "an entry of another id's row",
            forge(&[(OLD, &[(0, 10), (1, 11), (2, 12), (1, 99)])], &[]),
            "which is not that of its id 11",
        ),
        (
            "an entry of a row that is nowhere",
            forge(&[(OLD, &[(0, 10), (1, 11), (2, 12), (50, 14)])], &[]),
            "names row 50, which no row file has",
        ),
        (
            "two ids that are exchanged",
            forge(&[(OLD, &[(0, 11), (1, 10), (2, 12)])], &[]),
            "live row 0 with id 10 is found as Some(1)",
        ),
    ];
    for (what, dir, says) in cases {
        let found = findings(&dir);
        assert!(found.iter().any(|finding| finding.contains(says)), "{what}: {found:?}");
    }
}

/// [C14] An id of the log that is alive in a file, or earlier in the log, has two live rows: searches show both, `get` one.
#[test]
fn an_id_with_live_rows_in_a_file_and_the_log_is_found() {
    let sound: [&[Logged]; 3] =
        [&[(&[11, 14], &[1])], &[(&[14], &[]), (&[14], &[100])], &[(&[11], &[1]), (&[], &[100]), (&[11], &[])]];
    for batches in sound {
        let dir = forge_logged(&[(OLD, OLD)], batches);
        assert_eq!(findings(&dir), [""; 0], "{batches:?}");
    }
    let cases: [(&str, &[Logged], &str); 4] = [
        ("alive in a file", &[(&[14, 11], &[])], "row 101 with id 11 follows row 1 of a file"),
        ("alive in a file, dead in the log", &[(&[11], &[]), (&[], &[100])], "row 100 with id 11 follows row 1"),
        ("alive in the log", &[(&[14], &[]), (&[15, 14], &[])], "row 100 with id 14 is alive beside its successor"),
        ("twice in a batch", &[(&[14, 14], &[])], "row 100 with id 14 is alive beside its successor"),
    ];
    for (what, batches, says) in cases {
        let found = findings(&forge_logged(&[(OLD, OLD)], batches));
        assert!(found.iter().any(|finding| finding.contains(says)), "{what}: {found:?}");
    }
}

/// [C14] A delete in a log says which id goes and which row dies. If they do not belong together, the id lives on and another is gone.
#[test]
fn an_id_that_the_log_deletes_and_leaves_alive_is_found() {
    let logged = |puts: &[u64], deletes: &[u64], kills: &[u64]| {
        let dir = MemDir::new(1);
        let mut manifest = forge_files(&dir, &[(OLD, OLD)], &[]);
        manifest.first_wal = WAL;
        let (first_seq, first_row) = (manifest.covered_seq + 1, manifest.next_row);
        let (collection, epoch) = (manifest.collection, manifest.epoch);
        let head = WalHead { collection, epoch, predecessor: None, first_seq, first_row };
        let mut log = WalWriter::create(&dir, WAL, head).unwrap();
        let mut encoder = BatchEncoder::new(&manifest.schema, Vec::new(), 0);
        puts.iter().for_each(|id| encoder.put(IdRef::U64(*id), &1.0f32.to_le_bytes(), 0.0, &[], &[]).unwrap());
        let first = encoder.finish(first_row, &[]).unwrap();
        let mut encoder = BatchEncoder::new(&manifest.schema, Vec::new(), 0);
        deletes.iter().for_each(|id| encoder.delete(IdRef::U64(*id)).unwrap());
        let second = encoder.finish(first_row + puts.len() as u64, kills).unwrap();
        assert!(log.append(&mut [(first_seq, first), (first_seq + 1, second)]).is_ok());
        log.sync().unwrap();
        publish(&dir, &manifest, TEMP).unwrap();
        dir
    };
    for (deletes, kills) in [(&[11u64, 99][..], &[1u64][..]), (&[20], &[100]), (&[10, 20], &[0, 100])] {
        assert_eq!(findings(&logged(&[20, 21], deletes, kills)), [""; 0], "{deletes:?} {kills:?}");
    }
    let cases: [(&str, &[u64], &[u64], &str); 4] = [
        ("no row dies", &[11], &[], "deletes id 11 and not its row 1"),
        ("another row of a file dies", &[11], &[2], "deletes id 11 and not its row 1"),
        ("no row of the log dies", &[21], &[], "deletes id 21 and not its row 101"),
        ("one of two", &[10, 20], &[0], "deletes id 20 and not its row 100"),
    ];
    for (what, deletes, kills, says) in cases {
        let found = findings(&logged(&[20, 21], deletes, kills));
        assert!(found.iter().any(|finding| finding.contains(says)), "{what}: {found:?}");
    }
}

/// A repair of such a collection makes a sound one: the ids in the rows count.
#[test]
fn a_repair_goes_by_the_rows() {
    let cases: [(Vec<(Rows, Rows)>, Vec<u64>); 3] = [
        (vec![(OLD, OLD), (NEW, NEW)], vec![]),
        (vec![(OLD, &[(0, 10), (2, 12)])], vec![]),
        (vec![(OLD, &[(0, 11), (1, 10), (2, 12)]), (NEW, NEW)], vec![1]),
    ];
    for (files, dead) in cases {
        let (from, to) = (forge(&files, &dead), MemDir::new(2));
        let report = Collection::repair_in(&from, &to, crate::Repair::KeepProven).unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(findings(&to), [""; 0]);
        let ids: std::collections::BTreeSet<u64> =
            files.iter().flat_map(|(rows, _)| *rows).map(|(_, id)| *id).collect();
        assert_eq!(report.rows, ids.len() as u64);
    }
}
