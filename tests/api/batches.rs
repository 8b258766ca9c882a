//! Batches: what applies, what conflicts, what the receipt counts, how large one may be.

use stratavec::{ErrorKind, Id, IdKind, MAX_BATCH_BYTES, Metric, Outcome, Receipt, Schema};

use super::scene::{Scene, ids, plain};

/// One change of a batch: letters and ids.
#[derive(Clone, Copy)]
enum Do {
    Upsert(u64),
    Insert(u64),
    Delete(u64),
}

use Do::{Delete, Insert, Upsert};

/// Rows 1 and 2 are there: 1 in a file, 2 in memory.
fn two_rows() -> Scene {
    let s = Scene::new(plain());
    s.c.upsert(1u64, &[0.0, 1.0]).expect("upsert");
    s.c.flush().expect("flush");
    s.c.upsert(2u64, &[0.0, 2.0]).expect("upsert");
    s
}

/// Commits; the n-th change writes n as the first component.
fn commit(s: &Scene, changes: &[Do]) -> stratavec::Result<Receipt> {
    let mut batch = s.c.batch();
    for (n, change) in changes.iter().enumerate() {
        let vector = [n as f32, 9.0];
        match change {
            Upsert(id) => drop(batch.upsert(*id, &vector)),
            Insert(id) => drop(batch.insert(*id, &vector)),
            Delete(id) => drop(batch.delete(*id)),
        }
    }
    batch.commit()
}

#[test]
fn an_insert_conflicts_with_a_row_that_is_there_and_with_one_of_its_own_batch() {
    let conflicts: [&[Do]; 9] = [
        &[Insert(1)],
        &[Insert(2)],
        &[Insert(3), Insert(3)],
        &[Upsert(3), Insert(3)],
        // What comes after does not undo the conflict.
        &[Insert(1), Delete(1)],
        &[Insert(2), Upsert(2)],
        &[Insert(1), Delete(1), Insert(1)],
        &[Delete(1), Insert(1), Insert(1)],
        &[Upsert(4), Delete(2), Insert(1), Upsert(5)],
    ];
    for changes in conflicts {
        let s = two_rows();
        let error = s.refused(|_| commit(&s, changes));
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::AlreadyExists, Outcome::NotCommitted), "{error}");
        assert!(error.to_string().contains("cannot insert id"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("upsert")), "{error}");
        // The same on rows that came out of files.
        let s = s.reopened();
        assert_eq!(commit(&s, changes).expect_err("a conflict").kind(), ErrorKind::AlreadyExists);
        assert_eq!(ids(&s.c.snapshot()), [1u64, 2].map(Id::U64));
    }
}

#[test]
fn an_insert_takes_the_place_of_what_its_own_batch_deleted_before() {
    // Changes, then what the receipt counts: inserted, replaced, deleted.
    let allowed: [(&[Do], [u64; 3]); 8] = [
        (&[Insert(3)], [1, 0, 0]),
        (&[Delete(1), Insert(1)], [0, 1, 0]),
        (&[Delete(2), Insert(2)], [0, 1, 0]),
        (&[Upsert(1), Delete(1), Insert(1)], [0, 1, 0]),
        (&[Insert(3), Delete(3)], [0, 0, 0]),
        (&[Insert(3), Delete(3), Insert(3)], [1, 0, 0]),
        (&[Insert(3), Upsert(3)], [1, 0, 0]),
        (&[Delete(3), Insert(3), Delete(1), Delete(1)], [1, 0, 1]),
    ];
    for (changes, counts) in allowed {
        let s = two_rows();
        let receipt = commit(&s, changes).expect("commit");
        assert_eq!([receipt.inserted, receipt.replaced, receipt.deleted], counts);
        assert_eq!((receipt.seq, receipt.durable), (3, true));
        let after = ids(&s.c.snapshot());
        assert_eq!(ids(&s.reopened().c.snapshot()), after);
    }
}

#[test]
fn of_several_changes_of_an_id_the_last_one_counts() {
    let s = two_rows();
    let receipt = commit(&s, &[Upsert(1), Upsert(3), Delete(1), Upsert(2), Delete(2), Upsert(2), Upsert(1), Delete(9)]);
    let receipt = receipt.expect("commit");
    assert_eq!([receipt.inserted, receipt.replaced, receipt.deleted], [1, 2, 0]);
    let first = |id: u64| s.c.snapshot().get(id).expect("get").expect("the row").vector[0];
    assert_eq!([first(1), first(2), first(3)], [6.0, 5.0, 1.0]);
    let receipt = commit(&s, &[Upsert(1), Delete(1), Delete(2), Delete(2), Delete(77)]).expect("commit");
    assert_eq!([receipt.inserted, receipt.replaced, receipt.deleted], [0, 0, 2]);
    assert_eq!(ids(&s.c.snapshot()), [Id::U64(3)]);
}

#[test]
fn a_batch_knows_its_changes_and_does_nothing_until_it_is_committed() {
    let s = two_rows();
    let before = s.disk.image_hash();
    let mut batch = s.c.batch();
    assert!(batch.is_empty() && batch.refused().is_none());
    batch.upsert(1u64, &[1.0, 1.0]);
    batch.upsert(1u64, &[1.0, 2.0]);
    batch.delete(2u64).delete(3u64);
    assert_eq!((batch.len(), batch.is_empty()), (3, false));
    assert!(batch.encoded_bytes() > 16);
    drop(batch);
    assert_eq!((s.c.last_seq(), s.disk.image_hash()), (2, before));
    assert!(!s.c.delete(3u64).expect("delete"), "no row to delete is no error");
    assert!(s.c.delete(2u64).expect("delete"));
}

#[test]
fn an_empty_batch_is_committed_without_a_number_of_its_own() {
    let s = Scene::new(plain());
    assert_eq!(s.c.batch().commit().expect("commit").seq, 0);
    s.c.upsert(1u64, &[1.0, 1.0]).expect("upsert");
    let calls = s.disk.calls();
    let receipt = s.c.batch().commit().expect("commit");
    assert_eq!((receipt.seq, receipt.durable), (1, true));
    assert_eq!((receipt.inserted, receipt.replaced, receipt.deleted), (0, 0, 0));
    assert_eq!((s.c.last_seq(), s.disk.calls()), (1, calls), "nothing was written");
}

#[test]
fn numbers_follow_each_other_without_holes_over_refused_batches_and_reopening() {
    let mut s = Scene::new(plain());
    for round in 0..6u64 {
        assert_eq!(s.c.upsert(round, &[0.0, 0.0]).expect("upsert").seq, round + 1);
        s.c.insert(round, &[0.0, 0.0]).expect_err("it is there");
        s.c.upsert(round, &[f32::NAN, 0.0]).expect_err("no number");
        if round % 2 == 0 {
            s.c.flush().expect("flush");
        }
        s = s.reopened();
        assert_eq!((s.c.last_seq(), s.c.snapshot().seq()), (round + 1, round + 1));
        assert_eq!(s.c.snapshot().get(round).expect("get").expect("the row").seq, round + 1);
    }
}

#[test]
fn a_batch_of_up_to_64_mib_is_taken_and_a_larger_one_is_refused_with_both_sizes() {
    const DIM: usize = 65_536;
    let rows_that_fit = MAX_BATCH_BYTES as u64 / (4 * DIM as u64 + 48);
    let s = Scene::new(Schema::new(DIM, Metric::L2).ids(IdKind::U64));
    let vector = vec![1.0; DIM];
    let fill = |rows: u64| {
        let mut batch = s.c.batch();
        for id in 0..rows {
            batch.upsert(id, &vector);
        }
        batch.commit()
    };
    let error = s.refused(|_| fill(rows_that_fit + 1));
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::BatchTooLarge, Outcome::NotCommitted));
    assert!(error.to_string().contains("at most 67108864"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("parts")), "{error}");
    assert_eq!(fill(rows_that_fit).expect("just below the limit").inserted, rows_that_fit);
    // Rows that the batch itself replaced are not in its record.
    let mut batch = s.c.batch();
    for _ in 0..=rows_that_fit {
        batch.upsert(1u64, &vector);
    }
    assert_eq!(batch.commit().expect("one row").replaced, 1);
    let s = s.reopened();
    assert_eq!((s.c.snapshot().count(), s.c.last_seq()), (rows_that_fit, 2));
}

#[test]
fn a_batch_of_many_small_changes_is_measured_too() {
    let s = Scene::new(Schema::new(1, Metric::L2));
    let id = |n: u64| [vec![b'i'; 500], n.to_be_bytes().to_vec()].concat();
    let error = s.refused(|c| {
        let mut batch = c.batch();
        for n in 0..130_000 {
            batch.delete(&id(n));
        }
        batch.commit()
    });
    assert_eq!(error.kind(), ErrorKind::BatchTooLarge, "{error}");
}
